// Runs the built command as often as it is asked to, in one thread. Each run loads the command's own modules anew, as a process would,
// for they have state; the packages that they import stay loaded.
import { closeSync, openSync, ReadStream, writeFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { Writable } from "node:stream";
import { pathToFileURL } from "node:url";
import { workerData } from "node:worker_threads";

const { binary, inputFile, answered, port } = workerData;
let runs = 0;

registerHooks({
  resolve(specifier, { parentURL = "", ...context }, next) {
    const resolved = next(specifier, { parentURL, ...context });
    const [run = ""] = /\?run=\d+$/.exec(parentURL) ?? [];
    // The plotting library takes long to load, and has no state.
    const isOwn = specifier.startsWith("./") && specifier !== "./pictures.js";
    return isOwn ? { ...resolved, url: resolved.url + run } : resolved;
  },
});

/** Puts a stream in the place of one of the process. Returns what gives its text. */
function collect(name) {
  const chunks = [];
  const write = (chunk, _, done) => {
    chunks.push(chunk);
    done();
  };
  Object.defineProperty(process, name, { value: new Writable({ write }), configurable: true });
  return () => Buffer.concat(chunks).toString();
}

/** Calls what the command has to be called at the end of its process, and forgets its other listeners. */
function endListeners(before, status) {
  for (const name of process.eventNames()) {
    for (const listener of process.listeners(name).filter((one) => !before.get(name)?.includes(one))) {
      if (name === "exit") listener(status);
      process.off(name, listener);
    }
  }
}

async function run({ args, env, input }) {
  const before = new Map(process.eventNames().map((name) => [name, process.listeners(name)]));
  process.argv = [process.execPath, binary, ...args];
  process.env = env;
  process.exitCode = 0;
  writeFileSync(inputFile, input);
  const fd = openSync(inputFile);
  Object.defineProperty(process, "stdin", { value: new ReadStream("", { fd, autoClose: false }), configurable: true });
  const [stdout, stderr] = [collect("stdout"), collect("stderr")];
  await import(`${pathToFileURL(binary)}?run=${runs++}`);
  const status = process.exitCode;
  endListeners(before, status);
  closeSync(fd);
  process.exitCode = 0;
  return { status, stdout: stdout(), stderr: stderr() };
}

port.on("message", async (given) => {
  port.postMessage(await run(given));
  Atomics.store(answered, 0, 1);
  Atomics.notify(answered, 0);
});
