import { InferenceSession, Tensor } from "onnxruntime-node";
import { createXent } from "xent";

const classes = 32; // the vocabulary of your model
const tokens = BigInt64Array.of(3n, 1n, 4n, 1n, 5n, 9n, 2n, 6n); // your text
const rows = tokens.length;

const session = await InferenceSession.create("causal-lm/onnx/model.onnx");
const xent = await createXent();
const batch = xent.createBatch({ rows, classes, labels: "int64", shift: 1 });
batch.labels.set(tokens);

const logits = new Tensor("float32", batch.logits, [1, rows, classes]);
await session.run({ input_ids: new Tensor("int64", tokens, [1, rows]) }, { logits });

const { mean, loss } = batch.run();
console.log(mean, ...loss);
