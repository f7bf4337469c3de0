import "@tensorflow/tfjs-backend-cpu"; // or another; "@tensorflow/tfjs" has the core and backends in one
import * as tf from "@tensorflow/tfjs-core";
import { sparseSoftmaxCrossEntropyWithLogits } from "xent";

/** The mean loss, as an operation that knows its gradient. */
const crossEntropy = (logits, labels) =>
  tf.customGrad((x) => {
    const { mean, gradient } = sparseSoftmaxCrossEntropyWithLogits(x.dataSync(), labels, {
      gradient: true,
      reduction: "mean",
    });
    return { value: tf.scalar(mean), gradFunc: (dy) => tf.mul(dy, tf.tensor(gradient, x.shape)) };
  })(logits);

const logits = tf.tensor2d([2, -5, 0.5, -0.1, 0, 0, 1.9, 1.4], [2, 4]); // your model's
const { value, grad } = tf.valueAndGrad((x) => crossEntropy(x, [0, 3]))(logits);
console.log(value.dataSync()[0], ...grad.dataSync());
