// Lower bounds for any implementation: a pass that only reads the logits (forward), and one that copies them (a gradient
// is as large as the logits).
import binaryen from "binaryen";

// Four accumulators hide the latency of pmax.
const WAT = `(module
  (memory (import "m" "memory") 1)
  (func (export "maxScan") (param $at i32) (param $count i32) (result f32)
    (local $end i32) (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local.set $end (i32.add (local.get $at) (i32.shl (local.get $count) (i32.const 2))))
    (local.set $a (v128.const f32x4 -inf -inf -inf -inf))
    (local.set $b (local.get $a)) (local.set $c (local.get $a)) (local.set $d (local.get $a))
    (loop $next
      (local.set $a (f32x4.pmax (local.get $a) (v128.load (local.get $at))))
      (local.set $b (f32x4.pmax (local.get $b) (v128.load offset=16 (local.get $at))))
      (local.set $c (f32x4.pmax (local.get $c) (v128.load offset=32 (local.get $at))))
      (local.set $d (f32x4.pmax (local.get $d) (v128.load offset=48 (local.get $at))))
      (local.set $a (f32x4.pmax (local.get $a) (v128.load offset=64 (local.get $at))))
      (local.set $b (f32x4.pmax (local.get $b) (v128.load offset=80 (local.get $at))))
      (local.set $c (f32x4.pmax (local.get $c) (v128.load offset=96 (local.get $at))))
      (local.set $d (f32x4.pmax (local.get $d) (v128.load offset=112 (local.get $at))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 128))) (local.get $end))))
    (local.set $a (f32x4.pmax (f32x4.pmax (local.get $a) (local.get $b)) (f32x4.pmax (local.get $c) (local.get $d))))
    (f32.max
      (f32.max (f32x4.extract_lane 0 (local.get $a)) (f32x4.extract_lane 1 (local.get $a)))
      (f32.max (f32x4.extract_lane 2 (local.get $a)) (f32x4.extract_lane 3 (local.get $a))))))`;

function assemble(wat) {
  const module = binaryen.parseText(wat);
  module.setFeatures(binaryen.Features.SIMD128);
  if (!module.validate()) throw new Error("bounds.mjs: the module is not valid");
  return module.emitBinary();
}

const BLOCK = 32; // elements in one iteration of the loop

/** Both passes, over a copy of the logits. The last logit fills the rest of the last block. */
export function bounds(logits) {
  const count = Math.ceil(logits.length / BLOCK) * BLOCK;
  const memory = new WebAssembly.Memory({ initial: Math.ceil((8 * count) / 65536) });
  const { maxScan } = new WebAssembly.Instance(new WebAssembly.Module(assemble(WAT)), { m: { memory } }).exports;
  const floats = new Float32Array(memory.buffer, 0, 2 * count);
  floats.fill(logits.at(-1), 0, count).set(logits);
  return { maxScan: () => maxScan(0, count), copy: () => floats.copyWithin(count, 0, count) };
}
