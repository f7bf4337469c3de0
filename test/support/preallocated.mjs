// Prints the logits of a batch after an ONNX Runtime got an output tensor over them, or the error that it throws.
// Arguments: the runtime's package, and "shared" for a shared memory.
import { createRequire } from "node:module";
import { createXent } from "xent";

const [name, memory] = process.argv.slice(2);
const { InferenceSession, Tensor } = createRequire(new URL("../recipes/", import.meta.url))(name);

const session = await InferenceSession.create("causal-lm/onnx/model.onnx");
const xent = await createXent({ shared: memory === "shared" });
const { logits } = xent.createBatch({ rows: 1, classes: 32 });
try {
  const input_ids = new Tensor("int64", BigInt64Array.of(3n), [1, 1]);
  await session.run({ input_ids }, { logits: new Tensor("float32", logits, [1, 1, 32]) });
  console.log(...logits);
} catch (error) {
  console.log(String(error));
}
