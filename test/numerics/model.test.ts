// Random calls on one instance with several batches, against a model in plain JavaScript: each result must have the bits of a fresh batch
// and follow the formula in f64, and after each call every byte of every array must be that of the model.
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { attach, createXent, createXentSync, type Xent } from "xent";
import { holds, TIMEOUT } from "../support/cases.ts";
import { bitsOf } from "../support/example.ts";
import { optionsFor, specs, type Wishes, wishes } from "../support/specs.ts";
import { type AnySpec, NO_ROOM, Twin } from "../support/twin.ts";

const PAGE = 65536;
const MAX_PAGES = 64;
const BUSY = /this batch is in the middle of runAsync\(\): wait for its promise first$/;

interface Model {
  alive: Twin[];
  gone: Twin[];
  /** Another instance over the same memory, as a worker has it. */
  attached: Xent | undefined;
}
type Command = fc.AsyncCommand<Model, Xent>;

abstract class Step implements Command {
  check(_: Readonly<Model>): boolean {
    return true;
  }
  async run(model: Model, xent: Xent): Promise<void> {
    const { buffer } = xent.memory;
    const { length } = model.alive;
    await this.step(model, xent);
    // Only these create batches, which may detach the views of a private memory.
    const creates = this instanceof Create || this instanceof Meanwhile || this instanceof Grow;
    if (length > 0 && buffer instanceof ArrayBuffer && !creates) expect(xent.memory.buffer).toBe(buffer);
    for (const twin of model.alive) twin.check(xent);
  }
  abstract step(model: Model, xent: Xent): void | Promise<void>;
  toString(): string {
    return `${this.constructor.name}(${JSON.stringify(this)})`;
  }
}

/** With one of the batches that are alive. */
abstract class WithOne extends Step {
  readonly index: number;
  constructor(index: number) {
    super();
    this.index = index;
  }
  override check({ alive }: Readonly<Model>): boolean {
    return alive.length > 0;
  }
  one({ alive }: Model, index = this.index): Twin {
    return alive[index % alive.length] as Twin;
  }
}

class Create extends Step {
  readonly spec: AnySpec;
  readonly seed: number;
  constructor(spec: AnySpec, seed: number) {
    super();
    this.spec = spec;
    this.seed = seed;
  }
  step({ alive }: Model, xent: Xent): void {
    let twin: Twin;
    try {
      twin = new Twin(this.spec, xent);
    } catch (error) {
      expect(error).toBeInstanceOf(RangeError);
      expect(String(error)).toMatch(/"maxBytes" allows|the gradient of \w+ logits is float32/);
      return;
    }
    // All zero at first.
    twin.check(xent);
    twin.fill(this.seed, this.seed % 5 === 0);
    alive.push(twin);
  }
}

class Fill extends WithOne {
  readonly seed: number;
  constructor(index: number, seed: number) {
    super(index);
    this.seed = seed;
  }
  step(model: Model): void {
    this.one(model).fill(this.seed, this.seed % 5 === 0);
  }
}

class Run extends WithOne {
  readonly wishes: Wishes;
  /** Whether the attached batch runs it, or the one of the owner. */
  readonly attached: boolean;
  constructor(index: number, wishes: Wishes, attached: boolean) {
    super(index);
    this.wishes = wishes;
    this.attached = attached;
  }
  step(model: Model): void {
    const twin = this.one(model);
    const options = optionsFor(twin.batch, this.wishes);
    const batch = (this.attached && twin.attached) || twin.batch;
    twin.compare(twin.expected(options), () => batch.run(options), options);
  }
}

/** A job that runs while other calls are made. */
class Meanwhile extends WithOne {
  readonly wishes: Wishes;
  readonly other: number;
  readonly dispose: boolean;
  readonly create: AnySpec;
  readonly ticks: number;
  constructor(index: number, wishes: Wishes, other: number, dispose: boolean, create: AnySpec, ticks: number) {
    super(index);
    this.ticks = ticks;
    this.wishes = wishes;
    this.other = other;
    this.dispose = dispose;
    this.create = create;
  }
  async step(model: Model, xent: Xent): Promise<void> {
    const [twin, other] = [this.one(model), this.one(model, this.other)];
    const options = optionsFor(twin.batch, this.wishes);
    const outcome = twin.expected(options);
    const job = twin.batch.runAsync(options).catch(String);
    // Options are refused at once, labels when the job begins.
    if (typeof outcome === "string" && !outcome.includes("label value")) {
      expect(await job).toBe(outcome);
      return;
    }
    const second = twin.batch.runAsync().catch(String);
    expect(() => twin.batch.run()).toThrow(BUSY);
    if (other !== twin) other.compare(other.expected(undefined), () => other.batch.run(), undefined);
    // Nothing has been awaited yet, so the job has not begun. Later it may have ended.
    for (let tick = 0; tick < this.ticks; tick++) await undefined;
    if (this.dispose) new Dispose(this.index).step(model);
    new Create(this.create, 1).step(model, xent);
    const result = await job;
    expect(await second).toMatch(BUSY);
    if (this.dispose) {
      // Of a job that has ended, the views are detached.
      if (this.ticks === 0) expect(result).toBe("TypeError: this batch was disposed");
    } else if (typeof result === "string" && NO_ROOM.test(result)) {
      // The memory is full, and nothing has been written.
    } else if (typeof result === "string" || typeof outcome === "string") expect(result).toBe(outcome);
    else twin.settle(outcome, result, options);
  }
}

class Dispose extends WithOne {
  step({ alive, gone }: Model): void {
    const [twin] = alive.splice(this.index % alive.length, 1);
    twin?.batch.dispose();
    twin?.checkDisposed();
    gone.push(twin as Twin);
  }
}

/** A disposed batch stays disposed, even if another batch has its memory. */
class DisposeAgain extends Step {
  override check = ({ gone }: Readonly<Model>): boolean => gone.length > 0;
  step({ gone }: Model): void {
    for (const twin of gone) twin.checkDisposed();
  }
}

/** The memory is public, so the caller may grow it, too. */
class Grow extends Step {
  step(_: Model, { memory }: Xent): void {
    if (memory.buffer.byteLength < MAX_PAGES * PAGE) memory.grow(1);
  }
}

class Share extends WithOne {
  step(model: Model, xent: Xent): void {
    const twin = this.one(model);
    try {
      model.attached ??= attach(structuredClone(xent.share()));
      twin.attached?.dispose();
      twin.attached = model.attached.attachBatch(structuredClone(twin.batch.share()));
    } catch (error) {
      twin.attached = undefined;
      expect(String(error)).toMatch(
        twin.shared ? /"maxBytes" allows/ : /^TypeError: share\(\) expected a shared memory/,
      );
    }
  }
}

/** A one-call with the numbers of a batch. */
class OneCall extends WithOne {
  readonly rows: number;
  constructor(index: number, rows: number) {
    super(index);
    this.rows = rows;
  }
  step(_: Model, xent: Xent): void {
    const rows = Array.from({ length: this.rows }, (_, i) => [Math.sin(i), this.index, 0]);
    const call = (on: Xent) => {
      try {
        return bitsOf(
          on.sparseSoftmaxCrossEntropyWithLogits(
            rows,
            rows.map((_, i) => i % 3),
            { gradient: true },
          ),
        );
      } catch (error) {
        return String(error);
      }
    };
    const result = call(xent);
    if (typeof result === "string") expect(result).toMatch(/"maxBytes" allows/);
    else expect(result).toEqual(call(REFERENCE));
  }
}

const REFERENCE = createXentSync();

function commands(spec: fc.Arbitrary<AnySpec>, index = fc.nat(7)): fc.Arbitrary<Iterable<Command>> {
  const seed = fc.nat();
  const create = fc.tuple(spec, seed).map(([spec, seed]) => new Create(spec, seed));
  const run = fc.tuple(index, wishes, fc.boolean()).map((of) => new Run(...of));
  return fc.commands(
    [
      create,
      create,
      run,
      run,
      run,
      fc.tuple(index, wishes, index, fc.boolean(), spec, fc.nat(9)).map((of) => new Meanwhile(...of)),
      fc.tuple(index, seed).map((of) => new Fill(...of)),
      index.map((at) => new Dispose(at)),
      index.map((at) => new Share(at)),
      fc.tuple(index, fc.nat(40)).map((of) => new OneCall(...of)),
      fc.constant(new DisposeAgain()),
      fc.constant(new Grow()),
    ],
    { maxCommands: 24, size: "+1" },
  ) as fc.Arbitrary<Iterable<Command>>;
}

const start = (real: Xent) => () => ({ model: { alive: [], gone: [], attached: undefined } as Model, real });

describe("after any calls in any order, every result and every array is that of the model", () => {
  test.each([
    ["private", false, 3500],
    ["shared", true, 3500],
  ])(
    "in a %s memory",
    async (_, shared, cases) => {
      await holds(
        fc.asyncProperty(commands(specs(6, 24)), async (commands) => {
          using xent = createXentSync({ maxBytes: MAX_PAGES * PAGE, shared });
          await fc.asyncModelRun(start(xent), commands);
        }),
        cases,
      );
    },
    TIMEOUT,
  );

  test(
    "with threads",
    async () => {
      const xent = await createXent({ threads: 3, maxBytes: MAX_PAGES * PAGE });
      afterAll(() => xent.dispose());
      await holds(
        fc.asyncProperty(commands(specs(60, 1500)), async (commands) => {
          const { model, real } = start(xent)();
          await fc.asyncModelRun(() => ({ model, real }), commands);
          for (const { batch } of model.alive) batch.dispose();
        }),
        300,
      );
    },
    TIMEOUT,
  );
});
