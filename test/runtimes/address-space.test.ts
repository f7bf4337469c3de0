// A process with a small address space, in every version of Node.js.
import { describe, expect, test } from "vitest";
import { printed } from "../support/script.ts";
import { engines } from "./engines.ts";

describe.skipIf(process.platform !== "linux")("in a small address space", () => {
  const limited = (command: string): string[] => ["bash", "-c", 'ulimit -v 8000000; "$@"', "bash", command];
  const three = `
    const all = [];
    for (let i = 0; i < 3; i++) all.push(await xent.createXent({ shared: true }).then((x) => x.createBatch({ rows: 1, classes: 2 }).run().loss[0].toFixed(3), String));
    console.log(JSON.stringify(all));`;

  for (const { name, command, installed } of engines.filter(({ name }) => name.startsWith("Node.js"))) {
    // V8 sets aside 8 GB for each memory, or does without since Node.js 24.
    const falls = Number(name.slice(8)) < 24;
    test.skipIf(!installed)(
      `${name} ${falls ? "throws an error that names a flag" : "allocates smaller memories"}`,
      () => {
        const message =
          'RangeError: "maxBytes" of 268435456: the process has no address space left for a shared memory (ulimit -v, a container\'s limit, or many instances): engines set aside some 8 GB for each; in Node.js --disable-wasm-trap-handler takes less';
        expect(printed(limited(command), three)).toEqual(Array(3).fill(falls ? message : "0.693"));
        if (falls) {
          const flags = [...limited(command), "--disable-wasm-trap-handler"];
          expect(printed(flags, three)).toEqual(Array(3).fill("0.693"));
        }
      },
    );
  }
});
