import { AutoModelForCausalLM, AutoTokenizer } from "@huggingface/transformers";
import { createXent } from "xent";

const name = "./causal-lm"; // or a model's name on the hub
const tokenizer = await AutoTokenizer.from_pretrained(name);
const model = await AutoModelForCausalLM.from_pretrained(name);
const inputs = tokenizer(["the cat sat", "on the mat, or near it"], { padding: true });
const { logits } = await model(inputs);

const [texts, sequence, classes] = logits.dims;
const xent = await createXent();
const rows = texts * sequence;
const batch = xent.createBatch({ rows, classes, logits: logits.type, labels: "int64", shift: 1, sequence });
batch.setLogits(logits.data);
batch.setLabels(inputs.input_ids.data.map((token, i) => (inputs.attention_mask.data[i] ? token : -100n)));

const { mean, loss } = batch.run({ ignoreIndex: -100 });
console.log(Math.exp(mean), ...loss);
