// The messages on a queue: tasks and their results. Both are validated before use.
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import * as v from "valibot";
import { decodeTotals, encodeTotals, type LogitsType } from "xent";
import { fileOf } from "./arrays.ts";
import type { Content } from "./content.ts";
import { BYTES, type DType, FLOATS, INTEGERS } from "./dtypes.ts";
import { badData } from "./failure.ts";
import { type FileFlags, type FilePair, type FileResult, questionsOf } from "./files.ts";
import { Statistics } from "./statistics.ts";

/** Raised when the messages change, so that older workers refuse a task and say why. */
const PROTOCOL = 2;

/** More base64 characters than the sums of any rows take. */
const MOST_TOTALS = 2 ** 16;
const MOST_STATISTICS = 2 ** 20;
const DTYPES = Object.keys(BYTES) as DType[];

const size = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const finite = v.pipe(v.number(), v.finite());
const path = v.pipe(v.string(), v.minLength(1), v.maxLength(4096), v.excludes("\0"));
const content = v.strictObject({ size, sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)) });

const flags = v.strictObject({
  labelSmoothing: v.exactOptional(v.pipe(finite, v.minValue(0), v.ltValue(1))),
  zLoss: v.exactOptional(v.pipe(finite, v.minValue(0))),
  softcap: v.exactOptional(v.pipe(finite, v.gtValue(0))),
  temperature: v.exactOptional(v.pipe(finite, v.gtValue(0))),
  ignoreIndex: v.exactOptional(v.pipe(v.array(v.pipe(v.number(), v.safeInteger())), v.minLength(1))),
  variant: v.picklist(["simd128", "relaxed"]),
  classes: v.exactOptional(count),
  dtype: v.exactOptional(v.picklist(FLOATS)),
  classWeights: v.exactOptional(path),
  shift: size,
  sequence: v.exactOptional(count),
  batchRows: v.exactOptional(count),
  strict: v.exactOptional(v.literal(true)),
  labelsDtype: v.exactOptional(v.picklist(INTEGERS)),
  axis: v.exactOptional(v.pipe(v.number(), v.safeInteger())),
  topK: v.exactOptional(v.array(count)),
  calibration: v.exactOptional(v.pipe(count, v.maxValue(10_000))),
  group: v.exactOptional(v.picklist(["row", "sequence", "file"])),
});

const task = v.strictObject({
  protocol: v.literal(PROTOCOL),
  pair: v.strictObject({ logits: path, labels: path, mask: v.exactOptional(path) }),
  flags,
  /** The content of the files at the process that asks, in the order of {@link filesOf}. */
  contents: v.array(content),
  /** Whether `contents` covers all bytes. */
  verify: v.boolean(),
});

const result = v.strictObject({
  protocol: v.literal(PROTOCOL),
  id: v.string(),
  logits: v.strictObject({ name: v.string(), dtype: v.picklist(FLOATS), shape: v.array(size) }),
  labels: v.strictObject({ name: v.string(), dtype: v.picklist([...DTYPES, "text"]) }),
  rows: count,
  classes: count,
  totals: v.pipe(v.string(), v.maxLength(MOST_TOTALS), v.base64()),
  /** The numbers of {@link Statistics}, as f64. */
  statistics: v.pipe(v.string(), v.maxLength(MOST_STATISTICS), v.base64()),
  notFinite: v.strictObject({
    rows: size,
    first: v.exactOptional(v.strictObject({ row: size, reason: v.pipe(v.string(), v.maxLength(200)) })),
  }),
  bytes: size,
});

export type TaskData = v.InferOutput<typeof task>;

export type TaskResult = v.InferOutput<typeof result>;

/** The files of a task. */
export function filesOf({ pair, flags: { classWeights } }: { pair: FilePair; flags: FileFlags }): string[] {
  const { logits, labels, mask } = pair;
  const specs = [logits, labels, mask, classWeights].filter((spec) => spec !== undefined);
  return specs.map((spec) => fileOf(spec).path);
}

/** A task, with those flags alone that workers use. `times`: when the files were last changed. */
export function taskOf(
  pair: FilePair,
  all: FileFlags,
  contents: readonly Content[],
  times: readonly number[],
  verify: boolean,
): { id: string; data: TaskData } {
  const given = Object.keys(flags.entries).map((name) => [name, all[name as keyof FileFlags]] as const);
  const told = Object.fromEntries(given.filter(([, value]) => value !== undefined));
  const data = checked(task, { protocol: PROTOCOL, pair, flags: told, contents, verify }, "a task");
  // The same files and options have the same id, so a task with a result in Redis is not computed again.
  const hash = createHash("sha256")
    .update(JSON.stringify([data, times]))
    .digest("hex");
  return { id: `files-${PROTOCOL}-${hash}`, data };
}

/** Throws if `value` is not a task of this protocol. */
export function readTask(value: unknown): TaskData {
  const data = checked(task, value, "invalid task");
  if (data.contents.length !== filesOf(data).length) throw badData("invalid task: contents: not one for each file");
  return data;
}

/** The answer to a task. */
export function resultOf(id: string, { totals, statistics, ...found }: FileResult): TaskResult {
  const { logits, labels, rows, classes, notFinite, bytes } = found;
  const { first } = notFinite;
  return {
    protocol: PROTOCOL,
    id,
    logits: { ...logits, shape: [...logits.shape] },
    labels: { ...labels, dtype: labels.dtype as TaskResult["labels"]["dtype"] },
    ...{ rows, classes, bytes },
    totals: Buffer.from(encodeTotals(totals)).toString("base64"),
    statistics: Buffer.from(statistics.numbers.buffer).toString("base64"),
    notFinite: { rows: notFinite.rows, ...(first ? { first: { row: first.row, reason: first.reason } } : {}) },
  };
}

/** Throws if `value` cannot be a result of this task. */
export function readResult(value: unknown, id: string, { pair, flags }: TaskData): FileResult {
  const answer = checked(result, value, "invalid result");
  const { logits, labels, rows, classes, bytes, notFinite } = answer;
  const totals = decodeTotals(Buffer.from(answer.totals, "base64"));
  const { count: counted, normalizer, sum } = totals;
  const encoded = Uint8Array.from(Buffer.from(answer.statistics, "base64"));
  const numbers = new Float64Array(encoded.buffer, 0, Math.floor(encoded.length / 8));
  const statistics = Statistics.read(questionsOf(flags), numbers, totals);
  const product = logits.shape.reduce((all, length) => all * length, 1);
  const isRight = {
    id: answer.id === id,
    "logits.name": fileOf(logits.name).path === fileOf(pair.logits).path,
    "labels.name": labels.name === pair.labels,
    shape: logits.shape.at(flags.axis ?? -1) === classes && product === rows * classes,
    classes: flags.classes === undefined || flags.classes === classes,
    bytes: bytes === product * BYTES[logits.dtype],
    "rows of totals": counted <= rows,
    normalizer: flags.classWeights !== undefined || normalizer === counted,
    statistics: statistics !== undefined && encoded.length % 8 === 0,
    notFinite: notFinite.rows <= counted && notFinite.rows > 0 === (notFinite.first !== undefined),
    "notFinite.first": (notFinite.first?.row ?? 0) < rows,
    // Losses are negative only if a weight is.
    sum: notFinite.rows > 0 || (Number.isFinite(sum) && (flags.classWeights !== undefined || sum >= 0)),
  };
  const wrong = Object.entries(isRight).find(([, right]) => !right);
  if (wrong || statistics === undefined) throw badData(`invalid result for this task: ${wrong?.[0]}`);
  const { first } = notFinite;
  return {
    logits: { ...logits, dtype: logits.dtype satisfies LogitsType },
    labels,
    rows,
    classes,
    bytes,
    totals,
    statistics,
    notFinite: first ? { rows: notFinite.rows, first } : { rows: notFinite.rows },
  };
}

function checked<const S extends v.GenericSchema>(schema: S, value: unknown, what: string): v.InferOutput<S> {
  const protocol = typeof value === "object" && value !== null && "protocol" in value ? value.protocol : undefined;
  if (typeof protocol === "number" && protocol !== PROTOCOL) {
    throw badData(`${what}: protocol ${protocol}; this xent uses ${PROTOCOL}`);
  }
  const read = v.safeParse(schema, value, { abortEarly: true });
  if (read.success) {
    // Compare own properties only: the schemas do not list inherited names.
    if (isDeepStrictEqual(read.output, value)) return read.output;
    throw badData(`${what}: it has unknown fields`);
  }
  const [issue] = read.issues;
  const at = v.getDotPath(issue);
  throw badData(`${what}: ${at === null ? "" : `${at}: `}${issue.message}`);
}
