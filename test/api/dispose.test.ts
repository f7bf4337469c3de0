// A batch or an instance that was disposed throws when it is used.
import { describe, expect, test } from "vitest";
import { type Batch, createXentSync } from "xent";
import { EVERYTHING, exampleBatch, exampleRows, type RowsSpec } from "../support/example.ts";
import { thrown } from "../support/thrown.ts";

describe("after dispose", () => {
  const uses: [string, (batch: Batch) => unknown][] = [
    ["logits", (batch) => batch.logits],
    ["labels", (batch) => batch.labels],
    ["gradient", (batch) => batch.gradient],
    ["run", (batch) => batch.run()],
    ["share", (batch) => batch.share()],
  ];
  const spec: RowsSpec = { rows: 4, classes: 3, gradient: true };

  test.each(uses)("of a batch, its %s throws", (_, use) => {
    using xent = createXentSync({ shared: true });
    const [batch, other] = [exampleBatch(xent, spec), exampleBatch(xent, spec)];
    batch.dispose();
    expect(thrown(() => use(batch))).toBe("TypeError: this batch was disposed");
    expect(thrown(() => use(other))).toBe("nothing");
  });

  test.each(uses)("of the instance, %s of its batches throws", (_, use) => {
    const xent = createXentSync({ shared: true });
    const batch = exampleBatch(xent, spec);
    xent.dispose();
    expect(thrown(() => use(batch))).toBe("TypeError: this Xent was disposed");
    expect(thrown(() => batch.dispose())).toBe("nothing");
  });

  test("of the instance, its methods throw", () => {
    const xent = createXentSync({ shared: true });
    const shared = exampleBatch(xent, spec).share();
    const { logits, labels } = exampleRows(4, 3);
    xent.dispose();
    xent.dispose();
    for (const use of [
      () => xent.createBatch(spec),
      () => xent.attachBatch(shared),
      () => xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels),
      () => xent.share(),
    ]) {
      expect(thrown(use)).toBe("TypeError: this Xent was disposed");
    }
  });

  test("of a batch, a second dispose frees nothing", () => {
    using xent = createXentSync();
    const first = xent.createBatch(spec);
    first.dispose();
    const second = exampleBatch(xent, spec);
    first.dispose();
    const third = exampleBatch(xent, spec, 3);
    expect(third.logits.byteOffset).not.toBe(second.logits.byteOffset);
    third.run(EVERYTHING);
    expect(second.logits).toEqual(exampleRows(4, 3).logits);
  });

  test("which `using` calls, they throw", () => {
    const left: Batch[] = [];
    const xent = createXentSync();
    {
      using batch = exampleBatch(xent, spec);
      left.push(batch);
      expect(batch.run().loss.length).toBe(4);
    }
    expect(thrown(() => left[0]?.run())).toBe("TypeError: this batch was disposed");
    {
      using alias = xent;
      left.push(alias.createBatch(spec));
    }
    expect(thrown(() => left[1]?.run())).toBe("TypeError: this Xent was disposed");
  });
});
