import { isLanguage, type Language } from "./texts/index.ts";

/** What the page shows. An address can hold it. Logits are `f32` numbers. */
export interface State {
  logits: readonly number[];
  label: number;
  /** The logits of the comparison are `scale * x + offset`. */
  offset: number;
  scale: number;
  option: OptionName;
  value: number;
  language: Language;
}

export const MIN_CLASSES = 2;
export const MAX_CLASSES = 20;
const LARGEST = 1e6;

export interface Range {
  min: number;
  max: number;
  step: number;
}

export const OFFSET: Range = { min: -120, max: 120, step: 1 };
export const SCALE: Range = { min: 0, max: 40, step: 0.25 };

/** The options that the page shows, with the ranges of their sliders. `ignoreIndex` ends at the last class. */
export const OPTIONS = {
  labelSmoothing: { min: 0, max: 0.95, step: 0.01, initial: 0.1 },
  zLoss: { min: 0, max: 1, step: 0.01, initial: 0.1 },
  softcap: { min: 0.5, max: 20, step: 0.5, initial: 2 },
  temperature: { min: 0.1, max: 5, step: 0.1, initial: 2 },
  classWeights: { min: 0, max: 5, step: 0.1, initial: 2 },
  ignoreIndex: { min: -1, max: MAX_CLASSES - 1, step: 1, initial: 0 },
} as const satisfies Record<string, Range & { initial: number }>;

export type OptionName = keyof typeof OPTIONS;

/** The first row of the README's example. */
export const INITIAL: Omit<State, "language"> = {
  logits: [2, -5, 0.5, -0.1].map(Math.fround),
  label: 0,
  offset: 0,
  scale: 1,
  option: "labelSmoothing",
  value: OPTIONS.labelSmoothing.initial,
};

/** Parses logits separated by commas, spaces or lines, with or without brackets. With semicolons, commas are decimal. */
export function parseLogits(text: string): number[] | undefined {
  const plain = text.replace(/[[\](){}]/g, " ").replace(/\u2212/g, "-");
  const parts = (plain.includes(";") ? plain.replaceAll(",", ".").split(/[\s;]+/) : plain.split(/[\s,]+/)).filter(
    Boolean,
  );
  const logits = parts.map((part) => Math.fround(Number(part)));
  const fits = logits.length >= MIN_CLASSES && logits.length <= MAX_CLASSES;
  return fits && logits.every((x) => Math.abs(x) <= LARGEST) ? logits : undefined;
}

/** The shortest decimals that round to these `f32` numbers. */
export function formatLogits(logits: readonly number[]): string {
  return logits.map(shortest).join(", ");
}

function shortest(x: number): string {
  for (let digits = 1; digits < 9; digits++) {
    const text = String(Number(x.toPrecision(digits)));
    if (Math.fround(Number(text)) === x) return text;
  }
  return String(x);
}

/** The differences from the initial state, for the address. The option always has its value. */
export function toHash(state: State, preferred: Language): string {
  const parts: string[] = [];
  const add = (name: string, value: string | number, initial: string | number): void => {
    if (value !== initial) parts.push(`${name}=${value}`);
  };
  add("x", formatLogits(state.logits).replaceAll(" ", ""), formatLogits(INITIAL.logits).replaceAll(" ", ""));
  add("y", state.label, INITIAL.label);
  add("offset", state.offset, INITIAL.offset);
  add("scale", state.scale, INITIAL.scale);
  if (state.option !== INITIAL.option || state.value !== INITIAL.value) parts.push(`${state.option}=${state.value}`);
  add("lang", state.language, preferred);
  return parts.join("&");
}

/** The state of an address. Missing or invalid parts are as in the initial state. */
export function fromHash(hash: string, preferred: Language): State {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const logits = parseLogits(given.get("x") ?? "") ?? INITIAL.logits;
  const number = (name: string, { min, max }: { min: number; max: number }, otherwise: number): number => {
    const value = Number(given.get(name) ?? Number.NaN);
    return value >= min && value <= max ? value : otherwise;
  };
  const label = number("y", { min: 0, max: logits.length - 1 }, INITIAL.label);
  const option = (Object.keys(OPTIONS) as OptionName[]).find((name) => given.has(name)) ?? INITIAL.option;
  const value = number(option, OPTIONS[option], OPTIONS[option].initial);
  const language = given.get("lang");
  return {
    logits,
    label: Number.isInteger(label) ? label : INITIAL.label,
    offset: number("offset", OFFSET, INITIAL.offset),
    scale: number("scale", SCALE, INITIAL.scale),
    option,
    value: option === "ignoreIndex" ? Math.round(value) : value,
    language: isLanguage(language) ? language : preferred,
  };
}
