import { readFileSync } from "node:fs";
import { generate as generateRows } from "../../scripts/bench/data.mjs";

export interface GoldenCase {
  name: string;
  dtype: "float32" | "float64" | "float16" | "bfloat16";
  shape: number[];
  logits: number[];
  labels?: number[];
  targets?: number[];
  options: Record<string, unknown>;
  loss: number[];
  gradient?: number[];
  gradientOf: "sum" | "mean";
  gradientChecks?: { sumAbs: number; sumSquares: number; weighted: number };
  gradientSamples?: [number, number][];
  logSumExp?: number[];
  predictions?: (number | null)[];
  reduced: { sum: number; mean?: number; normalizer?: number };
  /** The exact loss is above the largest float32, so float32 has Infinity. */
  lossOverflowsFloat32?: boolean;
  /** The numbers are probabilities, for Keras only. */
  kerasProbabilities?: boolean;
}

const SPECIAL: Record<string, number> = { NaN: Number.NaN, Infinity: Infinity, "-Infinity": -Infinity, "-0": -0 };

function number(value: unknown): number {
  return typeof value === "string" ? (SPECIAL[value] ?? Number(value)) : (value as number);
}

function flat(nested: unknown): number[] {
  return Array.isArray(nested) ? nested.flatMap(flat) : [number(nested)];
}

/** A case of the file: nested arrays, special numbers as strings. */
export interface RawCase {
  name: string;
  options: Record<string, unknown>;
  logitsFrom?: string;
  logits?: unknown;
  labels?: unknown;
  predictions?: unknown[];
  generator?: Generator;
  logitsChecksum?: number;
  labelsChecksum?: number;
  gradientOf?: "sum" | "mean";
  labelGradient?: number[];
  gradientSamples?: [number, number, number][];
  [field: string]: unknown;
}

export function readGolden(file: string): { cases: RawCase[] } {
  return JSON.parse(readFileSync(new URL(`../golden/${file}.json`, import.meta.url), "utf8"));
}

function flatPredictions(nested: unknown): (number | null)[] {
  return Array.isArray(nested) ? nested.flatMap(flatPredictions) : [nested as number | null];
}

/** The cases of a file, their arrays flat. */
export function goldenCases(file: string): GoldenCase[] {
  const raw = readGolden(file).cases;
  return raw.map((entry) => {
    const logits = entry.logits ?? raw.find((other) => other.name === entry.logitsFrom)?.logits;
    const result: Record<string, unknown> = { ...entry, logits: flat(logits) };
    for (const key of ["labels", "targets", "loss", "gradient", "logSumExp"]) {
      if (key in entry) result[key] = flat(entry[key]);
    }
    for (const key of ["reduced", "gradientChecks"]) {
      if (entry[key]) {
        const entries = Object.entries(entry[key] as Record<string, unknown>);
        result[key] = Object.fromEntries(
          entries.filter(([name]) => !name.endsWith("Note")).map(([name, value]) => [name, number(value)]),
        );
      }
    }
    if (entry.predictions) result["predictions"] = flatPredictions(entry.predictions);
    return result as unknown as GoldenCase;
  });
}

// The generator of test/golden/README.md.

export interface Generator {
  rows: number;
  classes: number;
  seed: number;
  bits: number;
  shift: number;
  boost: number;
  constant?: number;
  ignoreEvery?: number;
}

export function generate(spec: Generator, ignoreIndex = 0): { labels: Int32Array; logits: Float32Array } {
  const { labels, logits }: { labels: Int32Array; logits: Float32Array } = generateRows(spec);
  if (spec.ignoreEvery) for (let i = 0; i < labels.length; i += spec.ignoreEvery) labels[i] = ignoreIndex;
  return { labels, logits };
}

export function checksum(array: Float32Array | Int32Array): number {
  const words = new Uint32Array(array.buffer, array.byteOffset, array.length);
  let sum = 0;
  for (let i = 0; i < words.length; i++) sum = (sum + Math.imul(words[i] as number, 2 * i + 1)) >>> 0;
  return sum;
}
