// Runs the built command any number of times in one thread. Each run loads the modules of the command anew, as a process would, for they
// have state. The packages that they import stay loaded.
import { closeSync, openSync, ReadStream, rmSync, writeFileSync } from "node:fs";
import module from "node:module";
import { Writable } from "node:stream";
import { pathToFileURL } from "node:url";
import { workerData } from "node:worker_threads";

const { binary, inputFile, answered, port } = workerData;
let runs = 0;

/** Gives the modules of the command the query of their run; but the plotting library, which has no state, takes long to load. */
function ofRun(specifier, { parentURL = "" }, resolved) {
  const [run = ""] = /\?run=\d+$/.exec(parentURL) ?? [];
  const isOwn = specifier.startsWith("./") && specifier !== "./pictures.js";
  return isOwn ? { ...resolved, url: resolved.url + run } : resolved;
}

// The first kind takes a third less time for a command. Node.js 20 has only the second one.
if (module.registerHooks) {
  module.registerHooks({ resolve: (specifier, context, next) => ofRun(specifier, context, next(specifier, context)) });
} else {
  const source = `${ofRun}
    export const resolve = async (specifier, context, next) => ofRun(specifier, context, await next(specifier, context));`;
  module.register(`data:text/javascript,${encodeURIComponent(source)}`);
}

/** Replaces a stream of the process. Returns a function that gives its text. */
function collect(name) {
  const chunks = [];
  const write = (chunk, _, done) => {
    chunks.push(chunk);
    done();
  };
  Object.defineProperty(process, name, { value: new Writable({ write }), configurable: true });
  return () => Buffer.concat(chunks).toString();
}

/** Calls the listeners of the command for the end of the process, and removes all of its listeners. */
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
  rmSync(inputFile, { force: true });
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
  // Without an answer, the other thread would wait until its time is over.
  port.postMessage(await run(given).catch((error) => ({ error })));
  Atomics.store(answered, 0, 1);
  Atomics.notify(answered, 0);
});
