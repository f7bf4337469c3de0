import { fileOf, isText, openArray } from "./arrays.ts";
import { FLOATS, isFloat } from "./dtypes.ts";
import { badData } from "./failure.ts";
import { LogitsView } from "./logits-view.ts";
import { decimal } from "./numbers.ts";
import { wordsOf } from "./text.ts";

/** Reads one weight for each class. */
export async function readWeights(spec: string, classes: number): Promise<Float32Array> {
  const weights = isText(spec) ? await fromText(spec, classes) : await fromArray(spec, classes);
  const wrong = weights.findIndex((weight) => !Number.isFinite(weight));
  if (wrong >= 0) throw badData(`${spec}: the weight of class ${wrong} is ${weights[wrong]}`);
  return weights;
}

function assertCount(spec: string, found: number | string, classes: number): void {
  if (found !== classes) {
    throw badData(`${spec}: expected one weight for each of ${classes} classes, found ${found}`);
  }
}

async function fromText(spec: string, classes: number): Promise<Float32Array> {
  const { path, name } = fileOf(spec);
  const weights: number[] = [];
  for await (const words of wordsOf(path, name)) {
    weights.push(...words.map(decimal));
    if (weights.length > classes) assertCount(name, `more than ${classes}`, classes);
  }
  assertCount(name, weights.length, classes);
  return Float32Array.from(weights);
}

async function fromArray(spec: string, classes: number): Promise<Float32Array> {
  const { name, dtype, shape, bytes } = await openArray(spec, { usual: "weights", raw: { dtype: "float32" } });
  try {
    if (!isFloat(dtype)) throw badData(`${name}: expected weights of type ${FLOATS.join(", ")}, found ${dtype}`);
    // Check before memory of that size is allocated.
    assertCount(
      spec,
      shape.reduce((product, length) => product * length, 1),
      classes,
    );
    if (shape.filter((length) => length !== 1).length > 1) {
      throw badData(`${name}: expected weights of shape [${classes}], found [${shape.join(", ")}]`);
    }
    const content = new Uint8Array(bytes.left);
    await bytes.read(content);
    const { buffer } = content;
    const data =
      dtype === "float32"
        ? new Float32Array(buffer)
        : dtype === "float64"
          ? new Float64Array(buffer)
          : new Uint16Array(buffer);
    return Float32Array.from(new LogitsView(data, dtype, classes, 1).numbers(0));
  } finally {
    await bytes.close();
  }
}
