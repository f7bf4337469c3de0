import type { LogitsType, Xent } from "xent";
import { fileOf } from "./arrays.ts";
import {
  assertSameRows,
  type ComparedFiles,
  type CompareFlags,
  comparedFiles,
  openOther,
  sizeOf,
} from "./compared-files.ts";
import {
  type Compared,
  type ComparedRows,
  type Comparison,
  changeOf,
  type Extremes,
  endOf,
  estimate,
  type FileComparison,
  type ModelSummary,
  modelOf,
  observe,
  observing,
  relationOf,
} from "./comparison.ts";
import { ComparisonReport } from "./comparison-report.ts";
import { assertDifferentLogits } from "./different-files.ts";
import { Divergences } from "./divergence.ts";
import { type Notice, together } from "./evaluation.ts";
import { badData } from "./failure.ts";
import { assertGroup, assertSequences, standardErrorBy } from "./file-summary.ts";
import { assertAlike, type Closers, closing, inputsOf, instance, lossOptions, openPair, threadsFor } from "./files.ts";
import { REPORT } from "./html.ts";
import { IGNORED } from "./labels.ts";
import { LikenessCheck, noticeOf } from "./likeness.ts";
import type { LogitsFile } from "./logits.ts";
import { LogitsView } from "./logits-view.ts";
import type { NotFinite } from "./not-finite.ts";
import { assertWritable, OutputFile } from "./output-file.ts";
import { type Content, fieldOf, PerRow } from "./per-row.ts";
import { progressBar } from "./progress.ts";
import { Quantiles } from "./quantiles.ts";
import { namesWithInput } from "./standard-input.ts";
import type { ComputedRows } from "./statistics.ts";
import { eachBatch, lookForNotFinite } from "./stream.ts";

/** A pair of files that was compared. */
interface ComparedPair {
  readonly pair: ComparedFiles;
  readonly compared: Compared;
  readonly rows: number;
  readonly classes: number;
  readonly bytes: number;
  readonly types: { readonly base: LogitsType; readonly other: LogitsType; readonly labels: string };
  readonly notFinite: { readonly base: NotFinite; readonly other: NotFinite };
  readonly notices: readonly Notice[];
}

export function compare(files: readonly string[], flags: CompareFlags, signal: AbortSignal): Promise<Comparison> {
  return closing((closers) => compareAll(files, flags, signal, closers));
}

async function compareAll(
  names: readonly string[],
  given: CompareFlags,
  signal: AbortSignal,
  closers: Closers,
): Promise<Comparison> {
  const start = performance.now();
  const { base, other } = given;
  const named = [given.labels, given.mask, ...names, ...(base ?? []), ...(other ?? [])] as const;
  const [labelNames, mask, ...rest] = await namesWithInput(named, closers);
  const next = (count: number): string[] => rest.splice(0, count) as string[];
  const files = next(names.length);
  const flags = {
    ...given,
    labels: labelNames,
    ...(mask === undefined ? {} : { mask }),
    ...(base === undefined ? {} : { base: next(base.length) }),
    ...(other === undefined ? {} : { other: next(other.length) }),
  };
  const all = comparedFiles(files, flags);
  await assertDifferentLogits(all.map((pair) => pair.logits));
  await assertDifferentLogits(all.map((pair) => pair.other));
  const by = flags.group ?? "row";
  assertGroup(by, all.length);
  const sizes: LogitsFile[] = [];
  for (const pair of all) sizes.push(await sizeOf(pair, flags));
  assertSequences(flags, sizes);
  const rows = sizes.reduce((sum, file) => sum + file.rows, 0);
  const inputs = all.flatMap((pair) => [...inputsOf(pair, flags), fileOf(pair.other).path]);
  const several = all.length > 1;
  const content: Content = { what: "divergences", columns: several ? ["file", ...COLUMNS] : COLUMNS };
  const perRowFile = flags.perRow === undefined ? undefined : PerRow.output(flags.perRow, content);
  const htmlFile = flags.html === undefined ? undefined : { option: "--html", path: flags.html, kinds: [REPORT] };
  await assertWritable(
    [perRowFile, htmlFile].filter((output) => output !== undefined),
    inputs,
  );
  const html = htmlFile && (await OutputFile.open(htmlFile, inputs));
  closers.push(() => html?.discard());
  const longest = sizes.reduce((most, { sequence }) => Math.max(most, flags.sequence ?? sequence), 1);
  const report = html && new ComparisonReport(longest);
  const perRow = flags.perRow === undefined ? undefined : await PerRow.open(flags.perRow, rows, inputs, content);
  closers.push(() => perRow?.discard());
  const threads = await threadsFor(
    flags.threads,
    all.flatMap((pair) => [pair.logits, pair.other]),
  );
  const xent = await instance(threads, flags.variant, signal, closers);
  const extremes: Extremes = {
    divergences: new Quantiles(rows),
    largest: undefined,
    increase: undefined,
    decrease: undefined,
    infinite: 0,
  };
  const pairs: ComparedPair[] = [];
  for (const pair of all) {
    const onRows = async (compared: ComparedRows, sequence: number): Promise<void> => {
      report?.add(compared, pair.logits, sequence);
      await perRow?.writeLines(compared.divergence, lineOf(compared, several ? pair.logits : undefined));
    };
    const result = await comparePair(pair, flags, { xent, signal, extremes, several, onRows });
    assertAlike(pairs[0] === undefined ? aboutOf(result) : aboutOf(pairs[0]), aboutOf(result));
    pairs.push(result);
  }
  const compared = pairs.map((pair) => pair.compared);
  const counted = compared.reduce((sum, { base }) => sum + base.rows.count, 0);
  const labels = together(all.map((pair) => pair.labels));
  if (counted === 0) throw badData(`${labels}: all ${rows} rows are ignored: there is nothing to average`);
  const [first] = pairs as [ComparedPair];
  const summary = (model: "base" | "other"): ModelSummary =>
    modelOf(compared, model, by, {
      name: together(all.map((pair) => (model === "base" ? pair.logits : pair.other))),
      dtype: first.types[model],
      notFinite: notFiniteOf(pairs, model),
    });
  const comparison: Comparison = {
    base: summary("base"),
    other: summary("other"),
    labels: { name: labels, dtype: first.types.labels },
    rows,
    classes: first.classes,
    counted,
    ignored: rows - counted,
    ...relationOf(compared, extremes, by),
    group: standardErrorBy(
      by,
      compared.map(({ base }) => base),
    ).group,
    files: pairs.map(fileComparison),
    notices: pairs.flatMap(({ notices }) => notices),
    variant: xent.variant,
    threads,
    bytes: pairs.reduce((sum, { bytes }) => sum + bytes, 0),
    seconds: (performance.now() - start) / 1000,
  };
  if (html && report) await html.write(await report.html(comparison, extremes));
  await perRow?.finish();
  await html?.finish();
  return comparison;
}

/** The columns of a .csv. A .npy has only the divergences. */
const COLUMNS: readonly string[] = [
  ...["row", "label", "base_loss", "other_loss", "divergence"],
  ...["base_prediction", "other_prediction", "label_probability_change"],
];

function lineOf({ first, labels, base, other, divergence }: ComparedRows, file: string | undefined) {
  return (row: number): string => {
    const [a, b] = [base.loss[row] as number, other.loss[row] as number];
    const isCounted = labels[row] !== IGNORED;
    const cells = [
      first + row,
      ...(isCounted ? [labels[row], a, b, divergence[row]] : ["", "", "", ""]),
      base.predictions[row],
      other.predictions[row],
      isCounted ? changeOf(a, b) : "",
    ];
    return `${fieldOf(file)}${cells.join(",")}`;
  };
}

interface Comparing {
  readonly xent: Xent;
  readonly signal: AbortSignal;
  readonly extremes: Extremes;
  /** Whether there is more than one pair. */
  readonly several: boolean;
  readonly onRows: (compared: ComparedRows, sequence: number) => Promise<void>;
}

function comparePair(pair: ComparedFiles, flags: CompareFlags, comparing: Comparing): Promise<ComparedPair> {
  const { xent, signal, extremes, several, onRows } = comparing;
  return closing(async (closers) => {
    const { logits, labels, dtype } = await openPair(pair, { ...flags, anyType: true }, closers);
    const other = await openOther(pair, flags);
    closers.push(() => other.array.bytes.close());
    assertSameRows(logits, other, flags);
    const { rows, classes, inner } = logits;
    const bytes = logits.array.bytes.left + other.array.bytes.left;
    const file = several ? pair.logits : undefined;
    const progress = progressBar(rows, bytes, file ?? "");
    closers.push(() => progress.stop());
    const options = lossOptions(flags, undefined);
    const compared = observing(flags.group === "sequence" ? logits.sequence : undefined);
    const models = { base: new ModelCheck(pair.logits), other: new ModelCheck(pair.other) };
    let divergences: Divergences | undefined;
    closers.push(() => divergences?.dispose());
    const stream = { xent, logits, others: [other], labels, batchRows: flags.batchRows, signal };
    await eachBatch({ ...stream, onRows: progress.update }, async ([ours, theirs], first, count) => {
      const run = { ...options, predictions: true, rows: [0, count] } as const;
      const results = [await ours.runAsync(run), await (theirs as typeof ours).runAsync(run)] as const;
      const [base, changed] = results;
      const views = [ours, theirs as typeof ours].map(
        (batch, i) => new LogitsView(batch.logits, i === 0 ? logits.dtype : other.dtype, classes, inner),
      ) as [LogitsView, LogitsView];
      const own = ours.labels.subarray(0, count);
      models.base.add({ ...base, first, labels: own, logits: views[0] }, flags);
      models.other.add({ ...changed, first, labels: own, logits: views[1] }, flags);
      divergences ??= new Divergences(xent, ...views, ours.rows, flags.temperature);
      const divergence = await divergences.of(...views, own);
      const all = { first, labels: own, base, other: changed, divergence };
      observe(compared, extremes, all, file);
      await onRows(all, logits.sequence);
    });
    endOf(compared);
    return {
      pair,
      compared,
      rows,
      classes,
      bytes,
      types: { base: logits.dtype, other: other.dtype, labels: dtype },
      notFinite: { base: models.base.notFinite, other: models.other.notFinite },
      notices: [...models.base.notices, ...models.other.notices],
    };
  });
}

/** The checks of one model's logits. */
class ModelCheck {
  readonly notFinite: NotFinite = { rows: 0 };
  readonly #likeness = new LikenessCheck();
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  add(computed: ComputedRows, { temperature }: CompareFlags): void {
    lookForNotFinite(this.notFinite, computed);
    const { labels, predictions, logSumExp, logits } = computed;
    for (let row = 0; row < labels.length; row++) {
      if (labels[row] === IGNORED) continue;
      const known = temperature === undefined ? (logSumExp[row] as number) : undefined;
      this.#likeness.add(logits, row, predictions[row] as number, known);
    }
  }

  get notices(): Notice[] {
    const { result } = this.#likeness;
    return result === undefined ? [] : [{ file: this.#file, looksLike: result, message: noticeOf(result) }];
  }
}

function notFiniteOf(pairs: readonly ComparedPair[], model: "base" | "other"): NotFinite {
  const rows = pairs.reduce((sum, { notFinite }) => sum + notFinite[model].rows, 0);
  const of = pairs.find(({ notFinite }) => notFinite[model].first);
  const first = of?.notFinite[model].first;
  if (of === undefined || first === undefined) return { rows };
  const file = model === "base" ? of.pair.logits : of.pair.other;
  return { rows, first: { ...first, ...(pairs.length > 1 ? { file } : {}) } };
}

function fileComparison({ pair, compared, rows }: ComparedPair): FileComparison {
  const of = (name: "base" | "other" | "difference" | "divergence" | "agreement") => estimate([compared], name, "row");
  return {
    base: pair.logits,
    other: pair.other,
    rows,
    counted: compared.base.rows.count,
    baseMean: of("base").mean,
    otherMean: of("other").mean,
    difference: of("difference"),
    divergence: of("divergence"),
    agreement: of("agreement").mean,
  };
}

function aboutOf({ pair, classes }: ComparedPair) {
  return { classes, logits: { name: pair.logits } };
}
