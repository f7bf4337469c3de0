// The peers. Those with the same `process` share one; every other peer has its own. `cases`: measured also with the options,
// types and layouts of cases.mjs.

const js = (name, module, threads, more) => ({ name, module, threads, language: "js", process: name, ...more });
/** A build of xent. */
export const ours = (name, threads, options) => js(name, "xent", threads, { process: "xent", ours: true, options });
const bound = (name, pass) => js(name, "bounds", [1, 2], { process: "xent", bound: true, options: { pass } });
const native = (name, module, options) => ({
  name,
  module,
  threads: [1, 2],
  language: "python",
  process: name,
  options,
});
const withCases = (peer) => ({ ...peer, cases: true });

export const peers = [
  bound("max-scan", "maxScan"),
  bound("memcpy", "copy"),
  withCases(ours("xent relaxed", [1, 2], { variant: "relaxed" })),
  withCases(ours("xent simd128", [1, 2], { variant: "simd128" })),
  ours("xent one call", [1], { oneCall: true }),
  withCases(js("plain JavaScript", "plain", [1])),
  js("onnxruntime-node", "onnxruntime-node", [1, 2]),
  js("onnxruntime-web", "onnxruntime-web", [1, 2]),
  js("tfjs wasm", "tfjs", [1, 2]),
  js("jax-js wasm", "jax-js", [1, 2]),
  withCases(native("PyTorch", "pytorch", { compile: false })),
  withCases(native("PyTorch compiled", "pytorch", { compile: true })),
  native("TensorFlow op", "tf", { jit: false }),
  native("TensorFlow XLA", "tf", { jit: true }),
  withCases(native("JAX + optax jit", "jax_optax", {})),
];

/** The peer that all others are compared with. */
export const reference = "xent relaxed";
