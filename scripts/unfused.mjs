// The compiler builds one module, with fused multiply-add, which is embedded. This script gives the fused operations room for a product
// and a sum, into which the package turns them: so a bundle has one module, and both variants have the same code.
import initWabt from "wabt";
import { importSource } from "./import-source.mjs";
import { interleave } from "./interleave.mjs";

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

// The package recognises its modules by this custom section, also if the caller compiled them.
function customSection(name, text) {
  const content = Buffer.from(`${String.fromCharCode(name.length)}${name}${text}`);
  return Buffer.concat([Buffer.from([0, content.length]), content]);
}

/** Lets each fused operation of a function be preceded by a read of what it adds to, which can move between a product and a sum. */
function readAddends(part) {
  const read = part
    .replace(/local\.tee (.*)(?=\n.*relaxed_madd)/g, "local.set $1\nlocal.get $1")
    .replace(/(?<!local\.get.*)\n(?=.*relaxed_madd)/g, "\nlocal.set $addend\nlocal.get $addend\n");
  // Declared after the other locals, whose numbers must not change.
  return read.includes("$addend")
    ? read.replace(/^ {2}\(func .*(\n {4}\(local .*)?/, "$&\n    (local $addend v128)")
    : read;
}

/**
 * Both variants of a relaxed module. simd128 has a product and a sum for each fused operation.
 * In both, minimum and maximum are the operations that all engines have.
 */
export async function bothVariants(module, { interleaved }) {
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
    .split(/(?=^ {2}\(func )/m)
    .map((part) => readAddends(interleaved ? interleave(part) : part))
    .join("");
  const binaryOf = (text, name) => Buffer.concat([bytesOf(text), customSection("xent", name)]);
  const unfused = fused.replace(/(.*local\.get.*)\n(.*)\.relaxed_madd/g, "$2.mul\n$1\n$2.add");
  const simd128 = binaryOf(unfused, "simd128");
  // Nops are nothing in compiled code, nor in the size of a loop, up to which V8 peels it.
  const relaxed = binaryOf(fused.replace(/relaxed_madd/g, "$&\nnop\nnop\nnop"), "relaxed");
  const made = Buffer.from(relaxed);
  unfuse(made);
  if (!made.equals(simd128)) throw new Error("what the package would make of the relaxed module is not simd128");
  return { simd128, relaxed };
}
