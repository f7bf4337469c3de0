import { openArray } from "./arrays.ts";
import { badData } from "./failure.ts";
import { wordsOf } from "./text.ts";

/** One weight a class, from a file. */
export async function readWeights(spec: string, classes: number): Promise<Float32Array> {
  const weights = spec.endsWith(".txt") ? await fromText(spec) : await fromArray(spec);
  if (weights.length !== classes) {
    throw badData(`${spec}: expected one weight for each of ${classes} classes, found ${weights.length}`);
  }
  const wrong = weights.findIndex((weight) => !Number.isFinite(weight));
  if (wrong >= 0) throw badData(`${spec}: the weight of class ${wrong} is ${weights[wrong]}`);
  return weights;
}

async function fromText(path: string): Promise<Float32Array> {
  const weights: number[] = [];
  for await (const words of wordsOf(path)) for (const word of words) weights.push(Number(word));
  return Float32Array.from(weights);
}

async function fromArray(spec: string): Promise<Float32Array> {
  const { name, dtype, bytes } = await openArray(spec, { usual: "weights", raw: { dtype: "float32" } });
  try {
    if (dtype !== "float32" && dtype !== "float64")
      throw badData(`${name}: expected float32 or float64, found ${dtype}`);
    const content = new Uint8Array(bytes.left);
    await bytes.read(content);
    return Float32Array.from(new (dtype === "float32" ? Float32Array : Float64Array)(content.buffer));
  } finally {
    await bytes.close();
  }
}
