import { pipeline } from "@huggingface/transformers";
import { createXent } from "xent";
import { createLinear } from "xent/linear";

const texts = ["the cat sat", "on the mat", "near it", "a cat, a mat"];
const categories = [0, 1, 1, 0];
const embed = await pipeline("feature-extraction", "./embedder"); // or a model's name on the hub
const embeddings = await embed(texts, { pooling: "mean" });

const [rows, features] = embeddings.dims;
const xent = await createXent();
const probe = createLinear(xent, { rows, features, classes: 2, bias: true, gradient: ["weight", "bias"] });
probe.setFeatures(embeddings.data);
probe.setLabels(categories);

const parameters = ["weight", "bias"].map((name) => {
  const [values, gradient] = [probe[name], probe[`${name}Gradient`]];
  return { values, gradient, first: new Float64Array(values.length), second: new Float64Array(values.length) };
});
for (let step = 1; step <= 50; step++) {
  probe.run({ gradient: true, reduction: "mean" });
  // Adam
  for (const { values, gradient, first, second } of parameters) {
    for (let i = 0; i < values.length; i++) {
      first[i] += 0.1 * (gradient[i] - first[i]);
      second[i] += 0.001 * (gradient[i] ** 2 - second[i]);
      const size = Math.sqrt(second[i] / (1 - 0.999 ** step)) + 1e-8;
      values[i] -= (0.02 * first[i]) / (1 - 0.9 ** step) / size;
    }
  }
}

const { mean, predictions } = probe.run({ predictions: true });
console.log(mean, ...predictions, ...probe.weight);
