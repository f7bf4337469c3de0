import { encodePartials } from "xent";
import { badUsage } from "./failure.ts";
import { closing, type FileFlags, inputsOf, instance, lossOptions, openPair, threadsFor } from "./files.ts";
import { OutputFile } from "./output-file.ts";
import { progressBar } from "./progress.ts";
import { partialsOfRows } from "./stream.ts";
import { PARTIALS } from "./totals-file.ts";
import { readWeights } from "./weights.ts";

export interface PartialsFlags extends FileFlags {
  readonly logits: string;
  readonly labels: string;
  readonly classOffset: number;
  readonly classesTotal: number;
  readonly output: string;
  readonly threads: number | "auto";
}

/** Writes the partials of a file that has some of the classes. */
export function partials(flags: PartialsFlags, signal: AbortSignal): Promise<void> {
  const { classOffset, classesTotal, output, batchRows } = flags;
  return closing(async (closers) => {
    const file = await OutputFile.open({ option: "--output", path: output, kinds: [PARTIALS] }, inputsOf(flags, flags));
    closers.push(() => file.discard());
    const { logits, labels } = await openPair(flags, flags, closers, classesTotal);
    const { array, rows, classes } = logits;
    if (classOffset + classes > classesTotal) {
      throw badUsage(
        `${array.name}: its ${classes} classes, from ${classOffset} on, do not fit into --classes-total ${classesTotal}`,
      );
    }
    // All shards share one file of weights.
    const all = flags.classWeights === undefined ? undefined : await readWeights(flags.classWeights, classesTotal);
    const options = lossOptions(flags, all?.subarray(classOffset, classOffset + classes));
    const threads = await threadsFor(flags.threads, [flags.logits]);
    const xent = await instance(threads, flags.variant, signal, closers);
    const progress = progressBar(rows, array.bytes.left);
    closers.push(() => progress.stop());
    const stream = { xent, logits, labels, batchRows, signal, onRows: progress.update };
    await file.write(encodePartials(await partialsOfRows(stream, { ...options, classOffset, classesTotal })));
    await file.finish();
  });
}
