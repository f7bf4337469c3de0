// One module is compiled, with fused multiply-add. This makes the one without, which is embedded: the package makes the fused one again
// by replacing digits, so a bundle has one module and both variants have the same code.
import initWabt from "wabt";

const features = {
  simd: true,
  relaxed_simd: true,
  bulk_memory: true,
  sat_float_to_int: true,
  sign_extension: true,
  mutable_globals: true,
  reference_types: true,
  multi_value: true,
};

// nop, for each byte by which a product and a sum are longer.
const NOPS = "01".repeat(7);

/** What makes simd128 relaxed: what is replaced in its hexadecimal, and by what, which is as long. */
export const relaxations = [
  // local.set n, f32x4.mul, local.get n, f32x4.add: f32x4.relaxed_madd.
  [/21(..)fde60120\1fde401/g, `fd8502${NOPS}`],
  // The same for f64x2.
  [/21(..)fdf20120\1fdf001/g, `fd8702${NOPS}`],
  // The name in the custom section, at the end.
  [/73696d64313238$/, Buffer.from("relaxed").toString("hex")],
];

/** The relaxed module, as the package makes it. */
export function relax(simd128) {
  const hex = relaxations.reduce((digits, [code, fused]) => digits.replace(code, fused), simd128.toString("hex"));
  return Buffer.from(hex, "hex");
}

/** The module with a product and a sum for each fused operation, and with the minimum and maximum that every engine has. */
export async function unfuse(module) {
  const wabt = await initWabt();
  const textOf = (bytes) => {
    const parsed = wabt.readWasm(bytes, features);
    const text = parsed.toText({ foldExprs: false, inlineExport: false });
    parsed.destroy();
    return text;
  };
  const bytesOf = (text) => {
    const parsed = wabt.parseWat("module.wat", text, features);
    const { buffer } = parsed.toBinary({});
    parsed.destroy();
    return Buffer.from(buffer);
  };
  const fused = textOf(module)
    .replace(/relaxed_(?=min|max)/g, "p")
    .split(/(?=\n {2}\(func )/)
    // Behind the other locals, which have numbers.
    .map((part) =>
      part.includes("relaxed_madd")
        ? part.replace(/^\n {2}\(func .*(\n {4}\(local .*)?/, "$&\n    (local $addend v128)")
        : part,
    )
    .join("");
  const unfused = bytesOf(fused.replace(/(.*)\.relaxed_madd/g, "local.set $addend\n$1.mul\nlocal.get $addend\n$1.add"));
  // The digits could begin in the middle of a byte, or be part of a constant.
  if (textOf(relax(unfused)).replace(/\n *nop/g, "") !== textOf(bytesOf(fused))) {
    throw new Error("what the package would make of simd128 is not the relaxed module");
  }
  return unfused;
}
