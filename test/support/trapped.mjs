// Runs jobs with traps in all interfaces that a loss does not need, and prints the losses and the traps that were hit.
import childProcess from "node:child_process";
import dns from "node:dns";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import { createXent, createXentSync, sparseSoftmaxCrossEntropyWithLogits } from "xent";

// Node.js creates these at their first use, with functions that are trapped below.
const { stdout, stderr: _ } = process;
const touched = [];
const trap = (owner, name, of) => {
  const { value, writable } = Object.getOwnPropertyDescriptor(owner, name) ?? {};
  if (!writable) return;
  const note = (how) => touched.push(`${of}.${name}${how}`);
  owner[name] = new Proxy(Object(value), {
    apply: () => note("()"),
    construct: () => Object(note(" made")),
    get: (target, member) => note(`.${String(member)}`) && target[member],
  });
};
for (const [of, module] of Object.entries({ childProcess, dns, fs, "fs.promises": fs.promises, http, https, net }))
  for (const name of Object.keys(module)) trap(module, name, of);
syncBuiltinESMExports();
for (const name of ["eval", "Function", "fetch", "WebSocket", "EventSource", "XMLHttpRequest", "localStorage"])
  trap(globalThis, name, "globalThis");
for (const name of ["env", "argv", "execArgv", "cwd", "chdir", "binding", "dlopen", "kill"])
  trap(process, name, "process");

const options = { gradient: true, predictions: true, softcap: 30, labelSmoothing: 0.1 };
const losses = [sparseSoftmaxCrossEntropyWithLogits([[2, -5, 0.5, -0.1]], [0], options).loss[0]];
const alone = createXentSync();
const pooled = await createXent({ threads: 2 });
for (const xent of [alone, pooled]) {
  const batch = xent.createBatch({ rows: 1000, classes: 100, gradient: true });
  losses.push(batch.run(options).sum, (await batch.runAsync(options)).sum);
}
const { threads } = pooled;
alone.dispose();
pooled.dispose();
// Node.js asks for this when a worker is made.
const seen = touched.splice(0).filter((name) => name !== "process.env.WATCH_REPORT_DEPENDENCIES");
// The control: the traps work.
fs.readFileSync(0);
fetch("http://localhost");
// biome-ignore lint: what is forbidden
globalThis.eval("1");
new net.Socket();
process.env.HOME?.length;
stdout.write(`${JSON.stringify({ threads, losses, seen, control: touched })}\n`);
