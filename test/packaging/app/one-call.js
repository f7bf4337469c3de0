// An application that uses the one-call form only.
import { sparseSoftmaxCrossEntropyWithLogits } from "xent";

console.log(sparseSoftmaxCrossEntropyWithLogits([[2, -5, 0.5, -0.1]], [0]).loss[0]);
