// Each option alone, for each type, layout and gradient, with few classes and with many: each combination is a path of its own through
// the kernel, and random cases do not reach all of them.
import { describe, expect, test } from "vitest";
import { createXentSync, type RunOptions } from "xent";
import { type AnySpec, Twin } from "../support/twin.ts";
import { variants } from "../support/variants.ts";

const options = (classes: number): RunOptions[] => [
  {},
  { reduction: "mean" },
  { predictions: true },
  { ignoreIndex: 0 },
  { labelSmoothing: 0.1 },
  { zLoss: 0.01 },
  { softcap: 5 },
  { temperature: 2 },
  { classWeights: new Float32Array(classes).fill(0.5) },
  { sampleWeights: Float32Array.of(2, 0.5) },
  { rows: [1, 2] },
];

const layouts = (classes: number): AnySpec[] => [
  { rows: 2, classes },
  { rows: 2, classes, stride: classes + 3 },
  { shape: [1, classes, 2], axis: 1 },
  { rows: 2, classes, targets: true },
  { rows: 2, classes, labels: "int64", shift: 1, sequence: 2 },
];

describe.each(variants)("%s", (variant) => {
  test.each([1, 5, 300, 990, 1100])("%d classes", (classes) => {
    using xent = createXentSync({ variant });
    let tried = 0;
    for (const layout of layouts(classes)) {
      for (const logits of ["float32", "float64", "float16", "bfloat16"] as const) {
        for (const gradient of logits.endsWith("16") ? [false, true] : [false, true, "in-place" as const]) {
          const twin = new Twin({ ...layout, logits, gradient }, xent);
          for (const option of options(classes)) {
            if (layout.targets && option.ignoreIndex !== undefined) continue;
            twin.fill(3, false);
            const asked = { ...option, gradient: gradient !== false };
            twin.compare(twin.expected(asked), () => twin.batch.run(asked), asked);
            twin.check(xent);
            tried++;
          }
          twin.batch.dispose();
        }
      }
    }
    expect(tried).toBeGreaterThan(500);
  });
});
