// The recipes of docs/recipes.md run with the packages of test/recipes. No model is downloaded: their working directory has that of
// support/causal-lm.ts.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sparseSoftmaxCrossEntropyWithLogits } from "xent";
import { loadTokens } from "../../packages/examples/src/language-model.mjs";
import { blocksRunBy } from "../support/blocks.ts";
import { embeddingOf, logitsAfter, tokensOf, writeCausalLm, writeEmbedder } from "../support/causal-lm.ts";
import { nearestFloat16 } from "../support/half.ts";
import { exactRow } from "../support/oracle.ts";
import { ulp } from "../support/ulp.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const runtimes = join(root, "test/runtimes/node_modules");
const folder = mkdtempSync(join(tmpdir(), "xent-recipes-"));
beforeAll(() => {
  writeCausalLm(join(folder, "causal-lm"));
  writeEmbedder(join(folder, "embedder"));
  writeCausalLm(join(folder, "16 bits/causal-lm"), "float16");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A command that runs scripts. */
type Engine = [command: string, ...args: string[]];
const THIS_NODE: Engine = [process.execPath];
/** The versions of Node.js that the set-up installs, without the one that runs this. */
const others = ["20", "22", "24", "26"]
  .map((version): Engine => [join(runtimes, `node-${version}/bin/node`)])
  .filter(([path]) => path !== process.execPath);
const DENO: Engine = [join(runtimes, "@deno/linux-x64-glibc/deno"), "run", "--allow-all"];
const BUN: Engine = [join(runtimes, "@oven/bun-linux-x64/bin/bun")];

interface Run {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a script of this repository in the folder of the model. */
function run([command, ...flags]: Engine, script: string, args: string[], place = "."): Run {
  const all = [...flags, join(root, script), ...args];
  const { error, ...ended } = spawnSync(command, all, { cwd: join(folder, place), encoding: "utf8", timeout: 60_000 });
  if (error) throw error;
  return ended;
}

/** The output of a script, which has to succeed. */
function printed(engine: Engine, script: string, args: string[] = [], place?: string): string {
  const { status, stdout, stderr } = run(engine, script, args, place);
  expect(status, `${script}:\n${stdout}${stderr}`).toBe(0);
  return stdout.trim();
}

function numbers(engine: Engine, script: string, place?: string): number[] {
  return printed(engine, script, [], place).split(" ").map(Number);
}

function testIf(...needed: string[]) {
  return test.skipIf(!needed.every((path) => existsSync(path)));
}

/** A package of test/recipes. */
const packageOf = (name: string): string => join(root, "test/recipes/node_modules", name);

function expectUlp(got: readonly number[], exact: readonly number[], bound: number): void {
  expect(got.length).toBe(exact.length);
  expect(Math.max(...got.map((value, i) => ulp(value, exact[i] as number)))).toBeLessThanOrEqual(bound);
}

describe("the next-token loss of a causal language model", () => {
  /** The loss of each row: 0 for the last one, and for those before padding. */
  function exactLosses(tokens: number[], rounded: (x: number) => number, sequence = tokens.length): number[] {
    const next = Array.from({ length: sequence }, (_, i) => tokens[i + 1]);
    return next.map((target, i) => {
      const x = logitsAfter(tokens[i] as number).map(rounded);
      return target === undefined ? 0 : exactRow({ x, target, sampleWeight: 1 }, {}).loss;
    });
  }

  const meanOf = (losses: number[]): number => {
    const counted = losses.filter((loss) => loss !== 0);
    return counted.reduce((sum, loss) => sum + loss) / counted.length;
  };

  const text = [3, 1, 4, 1, 5, 9, 2, 6];
  const asIs = (x: number): number => x;

  testIf(packageOf("onnxruntime-node"))("with onnxruntime-node, from the file of a model", () => {
    const exact = exactLosses(text, asIs);
    const [mean, ...losses] = numbers(THIS_NODE, "test/recipes/onnxruntime-node.mjs");
    expect(mean).toBeCloseTo(meanOf(exact), 5);
    expectUlp(losses, exact, 2);
  });

  testIf(packageOf("onnxruntime-node"))("with onnxruntime-node is refused for a model of 16 bits", () => {
    const { status, stderr } = run(THIS_NODE, "test/recipes/onnxruntime-node.mjs", [], "16 bits");
    expect(status).toBe(1);
    expect(stderr).toContain("Unexpected output data type");
  });

  // They give 16-bit logits as a Uint16Array, or as a Float16Array if the runtime has it.
  const nodes = [THIS_NODE, ...others];
  for (const node of nodes) {
    for (const [place, rounded] of [[".", asIs] as const, ["16 bits", nearestFloat16] as const]) {
      const where = `${node === THIS_NODE ? `Node ${process.version}` : node[0].slice(runtimes.length + 1)}, model: ${place}`;

      testIf(packageOf("onnxruntime-web"), node[0])(`with onnxruntime-web, in ${where}`, () => {
        const exact = exactLosses(text, rounded);
        const [mean, ...losses] = numbers(node, "test/recipes/onnxruntime-web.mjs", place);
        expect(mean).toBeCloseTo(meanOf(exact), 5);
        expectUlp(losses, exact, 2);
      });

      testIf(packageOf("@huggingface/transformers"), node[0])(`with transformers.js, padded, in ${where}`, () => {
        const [short, long] = ["the cat sat", "on the mat, or near it"].map(tokensOf) as [number[], number[]];
        const exact = [...exactLosses(short, rounded, long.length), ...exactLosses(long, rounded)];
        const [perplexity, ...losses] = numbers(node, "test/recipes/transformers.mjs", place);
        expect(perplexity).toBeCloseTo(Math.exp(meanOf(exact)), 1);
        expectUlp(losses, exact, 2);
      });
    }
  }
});

testIf(packageOf("@huggingface/transformers"))("a probe on the embeddings of transformers.js, trained by Adam", () => {
  const inputs = ["the cat sat", "on the mat", "near it", "a cat, a mat"].map((text) => {
    const tokens = tokensOf(text).map(embeddingOf);
    return [
      ...(tokens[0] as number[]).map((_, k) => tokens.reduce((sum, of) => sum + (of[k] as number), 0) / tokens.length),
      1,
    ];
  });
  const categories = [0, 1, 1, 0];
  const width = inputs[0]?.length as number;
  // The bias is the weight of the last input, which is 1.
  const weight = Array.from({ length: 2 }, () => new Float64Array(width));
  const [first, second] = [0, 1].map(() => weight.map(() => new Float64Array(width))) as [
    Float64Array[],
    Float64Array[],
  ];
  const logits = (input: number[]) => weight.map((row) => input.reduce((sum, x, k) => sum + x * (row[k] as number), 0));
  const rows = () =>
    inputs.map((input, i) => exactRow({ x: logits(input), target: categories[i] as number, sampleWeight: 1 }, {}));
  for (let step = 1; step <= 50; step++) {
    const gradients = rows().map((row) => row.gradient);
    for (const [j, own] of weight.entries()) {
      for (let k = 0; k < width; k++) {
        const g = inputs.reduce((sum, input, i) => sum + ((gradients[i]?.[j] as number) * (input[k] as number)) / 4, 0);
        const [m, v] = [first[j], second[j]] as [Float64Array, Float64Array];
        m[k] = 0.9 * (m[k] as number) + 0.1 * g;
        v[k] = 0.999 * (v[k] as number) + 0.001 * g ** 2;
        const size = Math.sqrt((v[k] as number) / (1 - 0.999 ** step)) + 1e-8;
        own[k] = (own[k] as number) - (0.02 * (m[k] as number)) / (1 - 0.9 ** step) / size;
      }
    }
  }
  const mean = rows().reduce((sum, { loss }) => sum + loss / 4, 0);
  const found = numbers(THIS_NODE, "test/recipes/probe.mjs");
  expect(found[0]).toBeCloseTo(mean, 5);
  expect(found.slice(1, 5)).toEqual(categories);
  const features = weight.flatMap((row) => [...row.subarray(0, -1)]);
  for (const [k, x] of features.entries()) expect(found[5 + k]).toBeCloseTo(x, 4);
});

testIf(packageOf("@tensorflow/tfjs-core"))("the loss is an operation of TensorFlow.js, with its gradient", () => {
  const rows = [
    exactRow({ x: [2, -5, 0.5, -0.1].map(Math.fround), target: 0, sampleWeight: 1 }, {}),
    exactRow({ x: [0, 0, 1.9, 1.4].map(Math.fround), target: 3, sampleWeight: 1 }, {}),
  ];
  const mean = rows.reduce((sum, { loss }) => sum + loss / 2, 0);
  const gradient = rows.flatMap((row) => row.gradient.map((g) => g / 2));
  expectUlp(numbers(THIS_NODE, "test/recipes/tfjs.mjs"), [mean, ...gradient], 3);
});

describe("your own workers", () => {
  test("eight producers fill one batch, and their losses have the bits of one thread", async () => {
    const { logits, labels, expected } = await loadTokens();
    const alone = sparseSoftmaxCrossEntropyWithLogits(logits, labels);
    const [mean, ...losses] = numbers(THIS_NODE, "packages/examples/src/producers.mjs");
    expect(losses).toEqual([...alone.loss]);
    expectUlp(losses, expected.loss, 2);
    expect(mean).toBeCloseTo(expected.mean, 6);
  });

  const rows = 8;
  const classes = 1000;
  const logits = Float32Array.from({ length: rows * classes }, (_, i) => (i % 7) + (i % 11));
  const labels = Array.from({ length: rows }, (_, i) => 100 * i);

  testIf(packageOf("piscina"))("workers of piscina give the bits of one thread", () => {
    const { loss } = sparseSoftmaxCrossEntropyWithLogits(logits, labels);
    expect(numbers(THIS_NODE, "test/recipes/piscina.mjs")).toEqual([...loss]);
  });

  for (const [name, engine] of [["Deno", DENO] as const, ["Bun", BUN] as const]) {
    testIf(engine[0])(`Web Workers give the right losses, in ${name}`, () => {
      const exact = labels.map((target, i) => {
        const x = [...logits.subarray(i * classes, (i + 1) * classes)];
        return exactRow({ x, target, sampleWeight: 1 }, {}).loss;
      });
      expectUlp(numbers(engine, "test/recipes/web-workers.mjs"), exact, 2);
    });
  }
});

// docs/recipes.md describes these limits. A failure means that a runtime has changed, maybe for the better.
describe("an output tensor over the logits of a batch", () => {
  const written = logitsAfter(3).join(" ");
  const unwritten = logitsAfter(3).fill(0).join(" ");

  const engines: [name: string, engine: Engine, takesShared: boolean][] = [
    [`Node ${process.version}`, THIS_NODE, Number.parseInt(process.versions.node, 10) >= 22],
    ...others
      .filter(([path]) => path.includes("node-24"))
      .map((engine): [string, Engine, boolean] => ["Node 24", engine, true]),
    ["Deno", DENO, false],
    ["Bun", BUN, true],
  ];
  const probe = "test/support/preallocated.mjs";

  for (const [name, engine, takesShared] of engines) {
    testIf(packageOf("onnxruntime-node"), engine[0])(`is written by onnxruntime-node, in ${name}`, () => {
      expect(printed(engine, probe, ["onnxruntime-node", "private"])).toBe(written);
    });

    const does = takesShared ? "is written" : "is refused";
    testIf(packageOf("onnxruntime-node"), engine[0])(`${does} by onnxruntime-node in shared memory, in ${name}`, () => {
      const expected = takesShared ? written : "Error: Invalid argument";
      expect(printed(engine, probe, ["onnxruntime-node", "shared"])).toBe(expected);
    });

    testIf(packageOf("onnxruntime-web"), engine[0])(`is not written by onnxruntime-web, in ${name}`, () => {
      expect(printed(engine, probe, ["onnxruntime-web", "private"])).toBe(unwritten);
    });
  }
});

describe("docs/recipes.md", () => {
  const page = readFileSync(join(root, "docs/recipes.md"), "utf8");
  const shown = [...page.matchAll(/\]\(\.\.\/(\S+\.mjs)\):\n\n```js\n(.+?)```/gs)].map(([, file, code]) => ({
    file,
    code,
  }));

  test.each(shown)("quotes $file", ({ file, code }) => {
    expect(readFileSync(join(root, file as string), "utf8")).toContain(code);
  });

  test("quotes every recipe", () => {
    const files = readdirSync(join(root, "test/recipes")).filter((file) => file.endsWith(".mjs"));
    expect(files.length).toBeGreaterThan(5);
    expect(shown.map(({ file }) => file)).toEqual(expect.arrayContaining(files.map((file) => `test/recipes/${file}`)));
    expect(blocksRunBy("recipes").map(({ code }) => code)).toEqual(shown.map(({ code }) => code));
  });
});
