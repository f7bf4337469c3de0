// Only xent, for work on the kernel: the time of each option, type and layout as a ratio to plain rows with the same number
// of classes and, with --beside, to another build of the package.
import { dataOf, plainOf, title } from "./cases.mjs";
import { measure, problem, quartiles, ratio } from "./measure.mjs";
import { ours } from "./peers.mjs";
import { digits } from "./report.mjs";

/** Prints a line for each case and variant. */
export async function ratios(children, cases, { variants, settings, ...places }) {
  const all = [];
  for (const one of cases) {
    const problems = { own: problem(dataOf(one), "case"), plain: problem(plainOf(one), "plain") };
    for (const variant of variants) {
      const results = [];
      for (const gradient of [false, true]) {
        const runs = runsOf(problems, { variant, gradient, ...places });
        await measure(children, Object.values(runs), settings);
        results.push(resultOf(one, runs, gradient));
      }
      all.push(...results);
      const text = results.map((result) => `${result.gradient ? "both" : "forward"} ${textOf(result)}`);
      console.log(`${title(one).padEnd(36)} ${variant.padEnd(8)} ${text.join("   ")}`);
    }
  }
  const above = all.filter((result) => result.above).length;
  console.log(
    `\nnanoseconds per logit; ratio to plain rows with as many classes; ratio to the target; !: above it (${above})`,
  );
  const plain = all.filter((result) => result.plain && result.timesBeside).map((result) => result.timesBeside);
  if (plain.length > 0) {
    const { median, lower, upper } = quartiles(plain);
    console.log(`plain rows: ${median} of beside (quartiles ${lower}, ${upper}) in ${plain.length} ratios`);
  }
}

function runsOf({ own, plain }, { variant, gradient, dist, beside }) {
  const run = (name, data, path) => ({
    peer: ours(name, [1], { variant, dist: path }),
    problem: data,
    entry: { peer: name, threads: 1, gradient },
  });
  const runs = { own: run(variant, own, dist), plain: run(`${variant}, plain`, plain, dist) };
  return beside ? { ...runs, beside: run(`${variant}, beside`, own, beside) } : runs;
}

function resultOf(one, { own, plain, beside }, gradient) {
  const times = ratio(own, plain);
  if (times === undefined) return { gradient, reason: own.entry.reason ?? plain.entry.reason };
  const most = limit(one, gradient, plain.entry.nanoseconds.median);
  return {
    gradient,
    plain: one.name === "plain",
    nanoseconds: own.entry.nanoseconds.median,
    times,
    most,
    above: times > most,
    timesBeside: beside && ratio(own, beside),
  };
}

function textOf({ reason, nanoseconds, times, most = 1, above, timesBeside }) {
  if (reason) return reason;
  const cells = [
    `${digits(nanoseconds, 3).padStart(5)} ns`,
    `${times.toFixed(2).padStart(6)} of ${most.toFixed(2)}${above ? " !" : "  "}`,
  ];
  if (timesBeside) cells.push(`${timesBeside.toFixed(3)} of beside`);
  return cells.join("  ");
}

/** The target, if there is one, as a ratio to plain rows. `plain`: their nanoseconds per logit. */
function limit({ target }, gradient, plain) {
  if (target?.plus) return 1 + target.plus[Number(gradient)] / plain;
  return target?.times[Number(gradient)];
}
