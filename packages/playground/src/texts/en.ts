export const en = {
  title: "What sparse softmax cross-entropy computes",
  lead: "A model gives each class a score, its logit. One class is the correct one, the label. `sparse_softmax_cross_entropy_with_logits` turns the scores into one number, the loss: how little probability the model gives the label. This page shows each step, with your numbers.",
  formulas: "The formula",
  loss: "loss",
  language: "Language",
  theme: { title: "Colours", auto: "Auto", light: "Light", dark: "Dark" },
  skip: "Skip to the numbers",

  numbers: {
    heading: "Your numbers",
    text: "Logits",
    hint: "2 to 20 numbers. Commas, spaces, lines and brackets are all fine.",
    invalid: "These are not 2 to 20 numbers between −1,000,000 and 1,000,000; the page still shows the previous ones.",
    label: "Choose the label, move the logits",
    isLabel: (j: number) => `class ${j} is the label`,
    logit: (j: number) => `logit of class ${j}`,
    add: "Add a class",
    remove: "Remove the last",
    examples: "Examples",
    example: {
      readme: "Four classes",
      equal: "All equal",
      right: "Confident and right",
      wrong: "Confident and wrong",
      ten: "A digit, 0 to 9",
    },
    result: "Loss",
    probability: "Probability of the label",
    byKernel: "computed by xent while you move the sliders",
    curve: (p: string, loss: string) =>
      `The loss as a function of the label's probability; here ${p}, with a loss of ${loss}`,
    curveAxis: "probability of the label",
    copy: "Copy a link to these numbers",
    copied: "Copied",
    notCopied: "Copy it from the address bar",
  },

  steps: {
    heading: "Step by step",
    step: (n: number) => `Step ${n}`,
    names: ["Logits", "Minus the largest", "Exponentials", "Softmax", "Loss", "Gradient"],
    texts: [
      "The scores, as the model gives them. Only the differences between them matter.",
      "The largest is subtracted from all. That changes no result, because the factor cancels in step 4; but now no exponential can exceed 1.",
      "All become positive. The largest is exactly 1, and a class that is 7 lower is about a thousandth of it.",
      "Divided by their sum S, they are probabilities: they add up to 1.",
      "The negative logarithm of the label's probability. It is computed without the softmax, so that nothing can vanish on the way:",
      "How the loss changes with each logit: the softmax, minus 1 at the label. Training moves each logit the other way. The entries add up to 0.",
    ],
    bars: (name: string) => `${name} of each class`,
  },

  compare: {
    heading: "Naive and stable",
    text: "In a textbook, the loss is `-log(softmax(x)[y])`. In exact arithmetic, all forms of the loss are equal. In `f32`, the numbers that neural networks use, they agree within 2e-6 for ordinary rows: logits in [-8, 8], up to 100 classes. Beyond that, they do not. Move the logits there:",
    scale: "Scale: multiply each logit by",
    offset: "Offset: then add to each logit",
    examples: "Go to",
    example: {
      ordinary: "An ordinary row",
      large: "Large logits",
      low: "Very low logits",
      confident: "A confident row",
      unlikely: "An unlikely label",
    },
    logits: "The logits are now",
    table: "Losses and their errors",
    columns: ["", "loss", "difference", "relative"],
    rows: {
      naive: "Naive",
      stable: "Stable",
      xent: "xent",
      exact: "Exact",
    },
    how: {
      naive: "-log(softmax(x)[y]) in f32",
      stable: "log S - (x[y] - m) in f32",
      xent: "the real kernel",
      exact: "from the same logits, in f64",
    },
    verdict: {
      overflow: "An exponential is above 3.4e38, the largest f32: ∞ / ∞ is not a number.",
      overflowOfOthers:
        "An exponential is above 3.4e38, the largest f32. Divided by ∞, the label's probability is 0; -log(0) is infinite.",
      infinite:
        "The probability of the label has become 0, because the smallest positive f32 is 1.4e-45; -log(0) is infinite.",
      vanished: "Every exponential has become 0: 0 / 0 is not a number.",
      zero: "Probability rounded to 1: nothing is left of the loss.",
      stableZero:
        "S rounded to 1: nothing is left of the loss. TensorFlow, PyTorch, JAX and ONNX Runtime return this 0.",
      far: "More than 2e-6 off.",
      digits: "Within 2e-6, but the loss itself is small: few of its digits are right.",
      fine: "Within 2e-6.",
      tiny: "The loss is below the smallest positive f32, so 0 is right.",
      exact: "Right to the last digits of f32.",
    },
    byOffset: (scale: string) => `Difference from the exact loss, by offset (scale ${scale})`,
    byScale: (offset: string) => `Relative difference, by scale (offset ${offset})`,
    offsetAxis: "offset",
    scaleAxis: "scale",
    notFinite: "∞ or NaN",
    afterword:
      "Subtracting the largest first, as in step 2, fixes large logits and unlikely labels. It does not fix confident rows: 1 + 1e-9 is 1 in `f32`, and its logarithm is 0. xent leaves the label's own term out of the sum, loss = log1p(sum of the others / the label's term), so confident rows are right, too.",
  },

  options: {
    heading: "What each option does",
    text: "The same row with one option of xent. Pale bars: without it.",
    choose: "Option",
    value: {
      labelSmoothing: "e, spread over all classes",
      zLoss: "z",
      softcap: "c",
      temperature: "t",
      classWeights: "w, the weight of the label",
      ignoreIndex: "the label that is ignored",
    },
    formula: {
      labelSmoothing: "loss = (1 - e) · nll[y] + e / C · sum(nll)",
      zLoss: "loss + z · log(sum(exp(x)))²",
      softcap: "x = c · tanh(x / c)",
      temperature: "x = x / t",
      classWeights: "w[y] · loss",
      ignoreIndex: "y == ignoreIndex ? 0 : loss",
    },
    says: {
      labelSmoothing:
        "A part e of the target is spread evenly over all classes; nll is the loss that each class would have as the label. A logit no longer gains by growing without bound.",
      zLoss:
        "Adds a penalty for a large sum of exponentials, so that the logits do not drift as a whole. Softmax alone would not notice.",
      softcap:
        "Caps the logits first, so that none leaves the range from -c to c. The gradient of a capped logit is small.",
      temperature:
        "Divides the logits first. Above 1, the probabilities come closer together; below 1, the largest takes more.",
      classWeights:
        "Makes a class count more or less than others: a rare class more, for example. Here the others have weight 1.",
      ignoreIndex:
        "A row with this label has loss 0 and gradient 0, and does not count in the mean: padding, for example.",
    },
    without: "without",
    with: "with it",
    gradient: "Gradient",
  },

  origin: {
    heading: "Where the original is",
    text: "In TensorFlow, `tf.nn.sparse_softmax_cross_entropy_with_logits` passes through four places:",
    places: [
      "The Python function. It checks the shapes, turns each position in the batch into one row, casts `float16` to `float32`, and calls the op. Newer versions instead take `log_softmax_v2` and `gather` the label's entry, but only after `enable_op_determinism`: the same loss, without the other three places.",
      "The op, `SparseSoftmaxXentWithLogitsOp`. On a CPU, `CheckInvalidLabelIndex` rejects labels that are not a class; on a GPU, their rows become NaN. Then it calls `SparseXentFunctor`.",
      "The computation, in `SparseXentEigenImpl`. Two arrays serve for everything: `scratch`, with one number for each row, and `backprop`, with one for each logit.",
      "The gradient, `_SparseSoftmaxCrossEntropyWithLogitsGrad`. There is nothing left to compute: it multiplies the op's second output, `backprop`, by the incoming gradient of each row.",
    ],
    table: "The steps of this page in SparseXentEigenImpl",
    columns: ["Step", "TensorFlow", "What it does"],
    steps: [
      { step: "2", code: "RowMaxReduction → scratch", says: "the largest logit of each row" },
      { step: "2", code: "backprop = logits - scratch", says: "minus the largest" },
      {
        step: "3",
        code: "scratch = backprop.exp().sum(along_class)",
        says: "the sum S; the exponentials are not kept yet",
      },
      {
        step: "5",
        code: "SparseXentLossGenerator → loss",
        says: "log(S) - (x[y] - m) at the label, 0 elsewhere, added up: the loss, without a softmax",
      },
      { step: "3", code: "backprop = backprop.exp()", says: "the exponentials, once more" },
      {
        step: "4, 6",
        code: "SparseXentGradGenerator → backprop",
        says: "divided by S, minus 1 at the label: the gradient",
      },
    ],
    same: "So the gradient comes with the loss, from the same pass, even where it is not requested. The softmax is never stored: it is part of step 6.",
    otherwise:
      "xent computes two of these numbers in another way: the loss of a confident row, and the gradient at the label. That gradient is minus the sum of the others instead of p - 1, which loses its digits if p is close to 1.",
  },
  footer: "This page is one file. It computes everything itself, and makes no requests.",
};

export type Texts = typeof en;
