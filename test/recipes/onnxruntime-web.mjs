import { InferenceSession, Tensor } from "onnxruntime-web";
import { createXent } from "xent";

const classes = 32; // the vocabulary of your model
const tokens = BigInt64Array.of(3n, 1n, 4n, 1n, 5n, 9n, 2n, 6n); // your text
const rows = tokens.length;

const session = await InferenceSession.create("causal-lm/onnx/model.onnx");
const xent = await createXent();

const { logits } = await session.run({ input_ids: new Tensor("int64", tokens, [1, rows]) });
const batch = xent.createBatch({ rows, classes, logits: logits.type, labels: "int64", shift: 1 });
batch.setLogits(logits.data); // "float32" or "float16", in the array that this runtime has for it
batch.setLabels(tokens);

const { mean, loss } = batch.run();
console.log(mean, ...loss);
