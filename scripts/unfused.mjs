// The compiler builds one module, with fused multiply-add, which is embedded. This script gives the fused operations room for a product
// and a sum, into which the package turns them: so a bundle has one module, and both variants have the same code.
import initWabt from "wabt";
import { importSource } from "./import-source.mjs";

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

const { unfuse } = await importSource("packages/xent/src/unfuse.ts");

// local.set n, f32x4.mul or f64x2.mul, local.get n, and the sum.
const PRODUCT_AND_SUM = /21(..)fd(?:e60120\1fde4|f20120\1fdf0)01/g;

// As long as these, and with the same n.
const FUSED_AND_LOCAL = { e6: "fd8502", f2: "fd8702" };
const CONSTANT_AND_NOPS = /\n *i32\.const -?\d+\n *drop(\n *nop){4}/g;

// The package recognises its modules by this custom section, also if the caller compiled them.
function customSection(name, text) {
  const content = Buffer.from(`${String.fromCharCode(name.length)}${name}${text}`);
  return Buffer.concat([Buffer.from([0, content.length]), content]);
}

/**
 * Both variants of a relaxed module. simd128 has a product and a sum for each fused operation.
 * In both, minimum and maximum are the operations that all engines have.
 */
export async function bothVariants(module) {
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
    // Declare it after the other locals, whose numbers must not change.
    .map((part) =>
      part.includes("relaxed_madd")
        ? part.replace(/^\n {2}\(func .*(\n {4}\(local .*)?/, "$&\n    (local $addend v128)")
        : part,
    )
    .join("");
  const unfused = fused.replace(/(.*)\.relaxed_madd/g, "local.set $addend\n$1.mul\nlocal.get $addend\n$1.add");
  const code = bytesOf(unfused).toString("hex");
  // i32.const n, drop and nops cost nothing in compiled code.
  const padded = code.replace(
    PRODUCT_AND_SUM,
    (operations, local) => `${FUSED_AND_LOCAL[operations.slice(6, 8)]}41${local}1a01010101`,
  );
  const simd128 = Buffer.concat([Buffer.from(code, "hex"), customSection("xent", "simd128")]);
  const relaxed = Buffer.concat([Buffer.from(padded, "hex"), customSection("xent", "relaxed")]);
  // A match of the pattern may begin in the middle of a byte, or lie in a constant.
  if (textOf(relaxed).replace(CONSTANT_AND_NOPS, "") !== textOf(bytesOf(fused))) {
    throw new Error("the relaxed module does not compute what the compiler built");
  }
  const made = Buffer.from(relaxed);
  unfuse(made);
  if (!made.equals(simd128)) throw new Error("what the package would make of the relaxed module is not simd128");
  return { simd128, relaxed };
}
