// The parent's side of child.mjs and child.py.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { output } from "../toolchain.mjs";
import { venvPython } from "./install.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const PATIENCE = 120_000; // ms, enough to import TensorFlow and to compile
const scratch = mkdtempSync(join(tmpdir(), "xent-bench-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

/**
 * The cores that this process may use, if taskset exists. A child gets the last ones, as many as it has threads: so all
 * children with one thread share a core, and libraries without a setting (JAX) get no more cores than the others.
 */
const cores = output("taskset", ["-cp", String(process.pid)])
  ?.match(/[\d,-]+$/)?.[0]
  .split(",")
  .flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
export const pinned = cores !== undefined;

// Some libraries read their number of threads when they start.
const environment = (threads) => ({
  ...process.env,
  OMP_NUM_THREADS: String(threads),
  MKL_NUM_THREADS: String(threads),
  TF_CPP_MIN_LOG_LEVEL: "3",
  CUDA_VISIBLE_DEVICES: "",
  JAX_PLATFORMS: "cpu",
  ...(threads === 1 ? { XLA_FLAGS: "--xla_cpu_multi_thread_eigen=false" } : {}),
});

/** A child process that answers one request at a time. */
class Child {
  #process;
  #answers;

  constructor(language, threads, node) {
    const command = language === "js" ? [node, join(here, "child.mjs")] : [venvPython, join(here, "child.py")];
    const whole = pinned ? ["taskset", "-c", cores.slice(-threads).join(), ...command] : command;
    this.#process = spawn(whole[0], whole.slice(1), {
      env: environment(threads),
      stdio: ["pipe", "pipe", process.env.XENT_BENCH_VERBOSE ? "inherit" : "ignore"],
    });
    this.#process.on("error", () => {}); // its lines end: see ask
    this.#process.stdin.on("error", () => {});
    // Skip lines that libraries print.
    const lines = createInterface({ input: this.#process.stdout });
    this.#answers = (async function* () {
      for await (const line of lines) if (line.startsWith("{")) yield JSON.parse(line);
    })();
  }

  async ask(request) {
    this.#signal("SIGCONT");
    this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    let timer;
    const silence = new Promise((resolve) => {
      timer = setTimeout(resolve, PATIENCE, "silence");
    });
    const answer = await Promise.race([this.#answers.next(), silence]);
    clearTimeout(timer);
    if (answer === "silence") {
      this.kill();
      throw new ChildFailure("timeout", `no answer in ${PATIENCE / 1000} s`);
    }
    const { value, done } = answer;
    if (done) {
      const { signalCode, exitCode } = this.#process;
      throw new ChildFailure("crashed", `the process ended (${signalCode ?? exitCode ?? "it closed its output"})`);
    }
    // Threads that a library leaves spinning would run on the core of the others.
    this.#signal("SIGSTOP");
    if (value.error !== undefined) throw new ChildFailure("not available", value.error);
    return value;
  }

  #signal(name) {
    if (process.platform !== "win32") this.#process.kill(name);
  }

  kill() {
    this.#process.kill("SIGKILL");
  }
}

export class ChildFailure extends Error {
  /** @param {"crashed" | "timeout" | "not available"} status */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The children of a run. Each starts when it is first needed, and again if it has ended. */
export class Children {
  versions = {};
  #children = new Map();
  #hung = new Map();
  #node;

  constructor(node) {
    this.#node = node;
  }

  async ask(peer, threads, operation, request = {}) {
    const key = `${peer.process}, ${threads}`;
    if (this.#hung.has(key)) throw this.#hung.get(key);
    let entry = this.#children.get(key);
    if (entry === undefined) {
      entry = { child: new Child(peer.language, threads, this.#node), opened: new Set() };
      this.#children.set(key, entry);
    }
    try {
      if (!entry.opened.has(peer.name)) {
        const { name, module, options } = peer;
        const { version } = await entry.child.ask({ operation: "open", peer: name, module, options, threads });
        if (version) this.versions[name] = version;
        entry.opened.add(peer.name);
      }
      return await entry.child.ask({ operation, peer: peer.name, ...request });
    } catch (error) {
      if (error.status !== "not available") this.#children.delete(key);
      if (error.status === "timeout") this.#hung.set(key, error); // waiting once is enough
      throw error;
    }
  }

  close() {
    for (const { child } of this.#children.values()) child.kill();
    this.#children.clear();
  }
}

const ARRAYS = ["logits", "labels", "targets", "teacher", "classWeights", "sampleWeights"];

/** Writes the arrays of the data to files for the children. Data that exist at the same time need different names. */
export function writeData(data, name = "data") {
  const { rows, classes, stride = classes, shape, axis, type = "float32", labelsType = "int32", options = {} } = data;
  const files = {};
  for (const array of ARRAYS) {
    if (data[array] === undefined) continue;
    files[array] = join(scratch, `${name}-${array}`);
    writeFileSync(files[array], data[array]);
  }
  return { rows, classes, stride, shape, axis, type, labelsType, options, files };
}

/** The results of one call and their types, or undefined for a bound. */
export async function readResults(children, peer, threads, gradient) {
  const files = { loss: join(scratch, "loss"), gradient: join(scratch, "gradient") };
  const { none, types } = await children.ask(peer, threads, "results", files);
  if (none) return undefined;
  return { types, loss: floats(files.loss), gradient: gradient ? floats(files.gradient) : undefined };
}

function floats(file) {
  const { buffer, byteOffset, byteLength } = readFileSync(file);
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}
