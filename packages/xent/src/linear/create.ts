import { importsOf, type Runs } from "../abi.ts";
import type { Engine } from "../engine.ts";
import { wrongType } from "../errors.ts";
import { isShared } from "../features.ts";
import type { Xent } from "../index.ts";
import type { LabelsType } from "../labels.ts";
import { variantOf } from "../load.ts";
import type { Host } from "../xent.ts";
import { Linear, type Products } from "./linear.ts";
import { compileProducts } from "./modules.ts";
import {
  type AnyLinearSpec,
  type LinearPlan,
  type LinearSpec,
  type LinearTargets,
  planLinear,
  type WeightType,
} from "./plan.ts";
import type { ChunkBatch } from "./steps.ts";

/**
 * A linear layer and its loss, in the memory of this instance and with its threads. All zero at first.
 *
 * Like `createBatch`, this may make a memory grow that is not shared, which detaches the views of batches and other layers: take those
 * anew.
 *
 * Throws RangeError where it does not fit below `maxBytes`, with the largest `chunkRows` that does.
 */
export function createLinear<
  W extends WeightType = "float32",
  K extends LabelsType = "int32",
  T extends LinearTargets = false,
>(xent: Xent, spec: LinearSpec<W, K, T>): Linear<W, K, T> {
  const host = hostOf(xent);
  const { heap, engine } = host;
  const { pool } = engine;
  const plan = planLinear(spec, pool?.indices ?? 1, pool?.slots ?? 1);
  const products = productsOf(xent, engine, spec.module);
  // Before anything grows.
  if (plan.bytes + plan.batchBytes > heap.largest) throw tooLarge(spec, host, plan);
  const address = heap.allocateZeroed(plan.bytes);
  const batches: ChunkBatch[] = [];
  try {
    for (const batch of plan.batches) batches.push(xent.createBatch(batch) as ChunkBatch);
    return new Linear(host, products, plan, address, batches);
  } catch (error) {
    for (const batch of batches) batch.dispose();
    heap.free(address);
    throw error;
  }
}

function hostOf(xent: Xent): Host {
  const made = xent as Partial<Xent> | undefined;
  if (typeof made?.host !== "function") throw wrongType("xent", "an instance of this version of xent", xent);
  return made.host("createLinear");
}

const products = new WeakMap<Engine, Products>();

/** The products' kernel over this engine's memory, which its threads have, too. */
function productsOf(xent: Xent, engine: Engine, given: WebAssembly.Module | undefined): Products {
  let found = products.get(engine);
  if (found === undefined) {
    const { memory, pool } = engine;
    const module = given ?? compileProducts(xent.variant, isShared(memory));
    if (variantOf(module) !== xent.variant) {
      throw new RangeError(`"module" expected the variant of the instance, which is "${xent.variant}"`);
    }
    const kernel = instantiate(module, memory);
    found = { kernel, number: pool?.add(module, kernel) ?? 0 };
    products.set(engine, found);
  }
  return found;
}

function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Runs {
  const fits = WebAssembly.Module.imports(module).every(({ kind }) => kind === "memory");
  if (!fits) throw new TypeError('"module" expected one of the xent-linear .wasm files of this version of xent');
  try {
    return new WebAssembly.Instance(module, importsOf(memory)).exports as unknown as Runs;
  } catch (cause) {
    const kind = isShared(memory) ? "shared memory: with" : "private memory: without";
    throw new TypeError(`"module" expected one for a ${kind} -shared in its file's name`, { cause });
  }
}

/** An error that says what could be done instead. */
function tooLarge(spec: AnyLinearSpec, { heap, engine }: Host, plan: LinearPlan): RangeError {
  const { pool } = engine;
  const needed = plan.bytes + plan.batchBytes;
  let rows = plan.chunkRows - 1;
  const fits = (): boolean => {
    const { bytes, batchBytes } = planLinear({ ...spec, chunkRows: rows }, pool?.indices ?? 1, pool?.slots ?? 1);
    return bytes + batchBytes <= heap.largest;
  };
  while (rows > 0 && !fits()) rows--;
  const advice =
    rows > 0
      ? `"chunkRows" of ${rows} is the largest that fits`
      : "not even chunks of one row fit: fewer rows, a weight of 16 bits or fewer gradients take less";
  return new RangeError(
    `this layer takes ${needed} bytes, and "maxBytes" leaves ${heap.largest} in one piece; ${advice}`,
  );
}
