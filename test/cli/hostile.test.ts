// Malformed files, devices and pipes: the command prints one line, has status 1, and leaves nothing behind.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync } from "node:fs";
import { zipSync } from "fflate";
import { describe, expect, test } from "vitest";
import { encodeTotals, Totals } from "xent";
import { FileBytes, openFile } from "../../packages/cli/src/bytes.ts";
import { wordsOf } from "../../packages/cli/src/text.ts";
import { npy, safetensors, withHeader } from "../support/array-files.ts";
import { binary, type Ended } from "../support/cli.ts";
import { cliFolder, logits } from "../support/cli-folder.ts";

const { folder, path, write, run, evaluate } = cliFolder("hostile");
const isLinux = process.platform === "linux";

/** Runs a command to its end, and measures its peak memory in MB. */
function peakOf(args: readonly string[]): Ended & { peak: number } {
  const program = `import { readFileSync, writeFileSync } from "node:fs";
    process.on("exit", () => writeFileSync("peak", /VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]));`;
  const flags = ["--import", `data:text/javascript,${encodeURIComponent(program)}`, binary, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, flags, { cwd: folder, encoding: "utf8" });
  return { status, stdout, stderr, peak: Number(readFileSync(path("peak"), "utf8")) / 1024 };
}

/** Peak memory of an evaluation with these class weights. */
const peakOfWeights = (file: string) =>
  peakOf(["evaluate", "--threads", "1", "--logits", "logits.npy", "--labels", "labels.txt", "--class-weights", file]);

describe("a zip with a wrong directory", () => {
  const CENTRAL = { method: 10, crc: 16, compressed: 20, uncompressed: 24, offset: 42 };
  const content = { "logits.npy": logits };

  /** A zip with these numbers in its directory. */
  function lying(level: 0 | 6, changes: Partial<Record<keyof typeof CENTRAL, number>>): Buffer {
    const bytes = Buffer.from(zipSync(content, { level }));
    const directory = bytes.indexOf("PK\x01\x02");
    for (const [name, value] of Object.entries(changes)) {
      const at = directory + CENTRAL[name as keyof typeof CENTRAL];
      if (name === "method") bytes.writeUInt16LE(value, at);
      else bytes.writeUInt32LE(value, at);
    }
    return bytes;
  }

  test.each<[string, Buffer]>([
    ["a deflated array longer than it is", lying(6, { uncompressed: logits.length + 1 })],
    ["a deflated array shorter than it is", lying(6, { uncompressed: logits.length - 1 })],
    ["less than its header", lying(6, { uncompressed: 5 })],
    ["nothing at all", lying(6, { uncompressed: 0 })],
    ["4 GB in some bytes", lying(6, { uncompressed: 2 ** 32 - 2 })],
    ["less deflated than there is", lying(6, { compressed: 20 })],
    ["no byte of what is deflated", lying(6, { compressed: 0 })],
    ["what is stored as deflated", lying(0, { method: 8 })],
    ["what is deflated as stored", lying(6, { method: 0 })],
    ["a place behind its end", lying(6, { offset: 2 ** 32 - 2 })],
    ["a place in the middle", lying(6, { offset: 7 })],
    ["another checksum", lying(6, { crc: 1 })],
    ["an array shorter than it is, stored", lying(0, { compressed: 200, uncompressed: 200 })],
  ])("that claims %s is an error, for logits and for weights", (_, bytes) => {
    write("bad.npz", bytes);
    for (const option of ["--logits", "--class-weights"]) {
      const { status, stdout, stderr } = evaluate(option, "bad.npz");
      expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
      expect(stderr).toMatch(/^xent: bad\.npz[^\n]*\n$/);
    }
  });

  test("is an error if an entry is empty", () => {
    write("bad.npz", zipSync({ "logits.npy": new Uint8Array() }));
    expect(evaluate("--logits", "bad.npz").stderr).toBe(
      "xent: bad.npz:logits: truncated: its header needs 8 bytes, but 0 are left\n",
    );
  });

  test("that points beyond the file is an error", () => {
    const bytes = Buffer.from(zipSync(content, { level: 0 }));
    const end = bytes.indexOf("PK\x05\x06");
    // A directory of the 64-bit kind, which is nowhere.
    const locator = Buffer.alloc(20);
    locator.write("PK\x06\x07", "latin1");
    locator.writeBigUInt64LE(2n ** 63n, 8);
    write("far.npz", Buffer.concat([bytes.subarray(0, end), locator, bytes.subarray(end)]));
    expect(evaluate("--logits", "far.npz")).toEqual({
      status: 1,
      stdout: "",
      stderr: "xent: far.npz: its directory leads out of it\n",
    });
  });
});

describe.runIf(isLinux)("memory is allocated only after the shape has been checked:", () => {
  test("weights that decompress to a thousand times their size", () => {
    const weights = npy("float64", [2e7], new Float64Array(2e7));
    write("huge.npz", zipSync({ "weights.npy": weights }, { level: 6 }));
    expect(statSync(path("huge.npz")).size).toBeLessThan(500_000);
    const { status, stderr, peak } = peakOfWeights("huge.npz");
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: "xent: huge.npz: expected one weight for each of 4 classes, found 20000000\n",
    });
    expect(peak).toBeLessThan(150);
  }, 60_000);

  test("weights in a very long text", () => {
    write("many.txt", "1 ".repeat(2e7));
    const { status, stderr, peak } = peakOfWeights("many.txt");
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: "xent: many.txt: expected one weight for each of 4 classes, found more than 4\n",
    });
    expect(peak).toBeLessThan(150);
  });

  test.each<[string, string]>([
    [
      "tensors",
      `{${Array.from({ length: 400_000 }, (_, i) => `"${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`).join(",")}}`,
    ],
    ["brackets", `{"logits":${"[".repeat(2e7)}${"]".repeat(2e7)}}`],
    ["numbers", `{"logits":{"dtype":"F32","shape":[${"1,".repeat(1e7)}1],"data_offsets":[0,0]}}`],
  ])("a safetensors header with millions of %s", (_, header) => {
    write("many.safetensors", withHeader(header));
    const { status, stderr, peak } = peakOf([
      "evaluate",
      "--threads",
      "1",
      "--logits",
      "many.safetensors",
      "--labels",
      "labels.txt",
    ]);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: "xent: many.safetensors: not a .safetensors file: a header of more than 1000000 values\n",
    });
    expect(peak).toBeLessThan(100 + (3 * header.length) / 2 ** 20);
  });

  test("a long text in a header counts as one value", () => {
    const text = '[,\\"'.repeat(1e6);
    const tensor = { dtype: "F32", shape: [3, 4], data_offsets: [0, 48] };
    const header = JSON.stringify({ __metadata__: { text }, logits: tensor });
    write("text.safetensors", withHeader(header, logits.subarray(-48)));
    expect(evaluate("--logits", "text.safetensors")).toMatchObject({ status: 0, stderr: "" });
  });

  test.each<[string, string, string]>([
    ["endless", "/dev/zero", "is not a regular file"],
    ["none", "/dev/null", "is not a regular file"],
    ["empty", "/proc/self/environ", 'neither partials nor totals of xent: it begins with ""'],
  ])("merge reads no device: %s", (name, target, message) => {
    rmSync(path("link.part"), { force: true });
    symlinkSync(target, path("link.part"));
    expect(run("merge", "link.part")).toEqual({ status: 1, stdout: "", stderr: `xent: link.part: ${message}\n` });
    expect(name).not.toBe("");
  });

  test("merge waits for no pipe", () => {
    execFileSync("mkfifo", [path("pipe.part")]);
    expect(run("merge", "pipe.part").stderr).toBe("xent: pipe.part: is not a regular file\n");
  });

  test("merge reads no more than the length in the header", () => {
    write("long.totals", encodeTotals(Totals.of({ sum: [1], normalizer: [1] }, 1, 0)));
    truncateSync(path("long.totals"), 2 ** 33);
    const { status, stderr, peak } = peakOf(["merge", "long.totals"]);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: "xent: long.totals: expected XENTTOTL, got 1 bytes more than the 76 of the file\n",
    });
    expect(peak).toBeLessThan(150);
  });
});

describe("a file that shrinks while it is read is an error", () => {
  test("in binary", async () => {
    write("cut.npy", npy("float32", [5000], new Float32Array(5000)));
    const { file, size } = await openFile(path("cut.npy"));
    const bytes = new FileBytes("cut.npy", file, 0, size);
    await bytes.read(new Uint8Array(128));
    truncateSync(path("cut.npy"), 1000);
    await expect(bytes.read(new Uint8Array(20_000))).rejects.toThrow("cut.npy: truncated while being read");
    await bytes.close();
  });

  test("in text", async () => {
    write("cut.txt", "1 ".repeat(200_000));
    const words = wordsOf(path("cut.txt"));
    expect((await words.next()).value).toHaveLength(32_768);
    truncateSync(path("cut.txt"), 70_000);
    const rest = async (): Promise<void> => {
      for await (const some of words) expect(some.length).toBeGreaterThan(0);
    };
    await expect(rest()).rejects.toThrow("cut.txt: truncated while being read");
  });
});

describe("a text of numbers", () => {
  test.each([
    ["digits", "1".repeat(1500)],
    ["zeros", "0".repeat(1500)],
  ])("is read beyond a word of 1,500 %s", (_, word) => {
    write("labels.txt", `0 1 2 ${word} 0 1 2 0 1 2 0`);
    expect(evaluate().status).toBe(1);
    write("labels.txt", `0 1 ${word} 0 1 2 0 1 2 0`);
    expect(evaluate().stderr).toMatch(
      /^xent: labels\.txt: (not a text of numbers: it has a word of more than 1000|row 2 has label 1)/,
    );
    write("weights.txt", `1 1 1 1 ${word}`);
    expect(evaluate("--class-weights", "weights.txt").status).toBe(1);
  });

  test("is read across the end of a chunk", () => {
    write("labels.txt", `${" ".repeat(65_536 - 6)}0 1 2 ${"0".repeat(1500)}`);
    expect(evaluate().status).toBe(1);
    write("labels.txt", `0 1${" ".repeat(65_536 - 6)}${"2".repeat(1500)} 2`);
    expect(evaluate("--shift", "1").stderr).toBe(
      "xent: labels.txt: row 1 has, shifted by 1, label 22222222222222222222222222222…, which is outside of the range [0, 4)\n",
    );
    write("labels.txt", `0 1 2${" ".repeat(65_536 - 6)}${"0".repeat(1500)}`);
    expect(evaluate().stderr).toBe("xent: labels.txt: more than 3 labels do not fit the 3 rows of logits.npy\n");
  });
});

describe("names in files", () => {
  const evil = "\u001b]0;owned\u0007\u001b[2J\u009b31m\u202egnp";
  const seen = "\\u001b]0;owned\\u0007\\u001b[2J\\u009b31m\\u202egnp";
  const tensor = { type: "float32", shape: [3, 4], data: new Float32Array(12) };

  test("do not control the terminal", () => {
    write("names.safetensors", safetensors({ [evil]: tensor }));
    const { status, stdout } = evaluate("--logits", "names.safetensors");
    expect(status).toBe(0);
    expect(stdout).toContain(`names.safetensors:${seen}, [3, 4]`);
    const json = evaluate("--logits", "names.safetensors", "--json").stdout;
    expect(json).toContain(seen);
    expect(JSON.parse(json).logits.name).toBe(`names.safetensors:${evil}`);
    write("names.safetensors", safetensors({ [evil]: tensor, other: tensor }));
    expect(evaluate("--logits", "names.safetensors").stderr).toBe(
      `xent: names.safetensors: has no array "logits": choose one of ${seen}, other as names.safetensors:name\n`,
    );
    write("names.npz", zipSync({ [`${evil}.npy`]: logits, "a\nxent: all is well\n.npy": logits }));
    const { stderr } = evaluate("--logits", "names.npz");
    expect(stderr).toContain(seen);
    expect(stderr.split("\n").length).toBe(2);
  });

  test.each<[string, string]>([
    ["a type that is an object", `{"logits":{"dtype":{"toString":1},"shape":[3,4],"data_offsets":[0,48]}}`],
    [
      "one offset",
      `{"logits":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},"b":{"dtype":"F32","shape":[0],"data_offsets":[5]}}`,
    ],
    ["three offsets", `{"logits":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48,48]}}`],
    ["no tensor", `{"logits":null}`],
    ["an array", `[1,2]`],
    ["a shape that is no list", `{"logits":{"dtype":"F32","shape":{"length":2},"data_offsets":[0,48]}}`],
  ])("a safetensors header with %s is an error", (_, header) => {
    write("bad.safetensors", withHeader(header, new Uint8Array(48)));
    expect(evaluate("--logits", "bad.safetensors")).toEqual({
      status: 1,
      stdout: "",
      stderr: "xent: bad.safetensors: not a .safetensors file: invalid header\n",
    });
  });

  test.each([
    ["(3)", "'shape': (3, 4)", "'shape': (3)   "],
    ["two shapes", "'fortran_order': False, 'shape': (3, 4)", "'shape': (4, 3), 'shape': (3, 4)       "],
    ["a fourth entry", "}                  ", ", 'x': '<f8' }     "],
    ["something behind it", "}                  ", "} + 1              "],
    ["a zero before a number", "(3, 4)", "(03,4)"],
    ["no end", "}", " "],
  ])("a .npy header with %s is an error, as in NumPy", (_, from, to) => {
    const header = logits.toString("latin1", 0, 128);
    expect(header).toContain(from);
    write("bad.npy", Buffer.concat([Buffer.from(header.replace(from, to), "latin1"), logits.subarray(128)]));
    expect(evaluate("--logits", "bad.npy").stderr).toMatch(/^xent: bad\.npy: expected an array of plain numbers/);
  });

  test("0x10 and 0b1 are no weights", () => {
    write("w.txt", "1 0x10 0b1 1");
    expect(evaluate("--class-weights", "w.txt").stderr).toBe("xent: w.txt: the weight of class 1 is NaN\n");
  });

  test("a .npy with two shapes, with a header of 10,001 bytes or with a huge shape is an error", () => {
    const twice = Buffer.from(
      logits.toString("latin1").replace("False, ", "False, 'shape': (4, 3), ").replace(/ {17}/, ""),
      "latin1",
    );
    write("bad.npy", twice);
    expect(evaluate("--logits", "bad.npy").stderr).toMatch(/^xent: bad\.npy: expected an array of plain numbers/);
    const long = Buffer.concat([logits.subarray(0, 128), Buffer.alloc(10_001, " "), logits.subarray(128)]);
    long.writeUInt16LE(10_001, 8);
    write("bad.npy", long);
    expect(evaluate("--logits", "bad.npy").stderr).toBe("xent: bad.npy: not a .npy file: a header of 10001 bytes\n");
    write(
      "bad.npy",
      npy("float32", [3, 4], new Float32Array(12))
        .toString("latin1")
        .replace("(3, 4), }", "(99999999999999999999, 0), }")
        .replace(/ {18}\n/, "\n"),
    );
    expect(evaluate("--logits", "bad.npy").status).toBe(1);
  });
});

test("an unexpected error is one line, without a stack trace", () => {
  const fault = "Object.defineProperty(Array.prototype, 'flatMap', { get() { throw new TypeError('boom') } })";
  const flags = ["--import", `data:text/javascript,${encodeURIComponent(fault)}`, binary];
  const args = ["evaluate", "--logits", "logits.npy", "--labels", "labels.txt", "--totals", "x"];
  const { status, stderr } = spawnSync(process.execPath, [...flags, ...args], { cwd: folder, encoding: "utf8" });
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: "xent: internal error: TypeError: boom\n",
  });
  expect(existsSync(path("x"))).toBe(false);
});
