// Only xent: how much longer each option, type and layout takes than plain rows of as many classes, and with another
// build of the package beside it, how much longer than there. The core's developer wants to know.
import { dataOf, plainOf, title } from "./cases.mjs";
import { measure, problem, quartiles, ratio } from "./measure.mjs";
import { ours } from "./peers.mjs";
import { digits } from "./report.mjs";

/** Prints a line for each case and variant. */
export async function ratios(children, cases, { variants, dist, beside, settings }) {
  let above = 0;
  const plainToBeside = [];
  for (const one of cases) {
    const plain = problem(plainOf(one), "plain");
    const own = problem(dataOf(one), "case");
    for (const variant of variants) {
      const cells = [];
      for (const gradient of [false, true]) {
        const run = (name, data, path) => ({
          peer: ours(name, [1], { variant, dist: path }),
          problem: data,
          entry: { peer: name, threads: 1, gradient },
        });
        const now = run(variant, own, dist);
        const plainNow = run(`${variant}, plain`, plain, dist);
        const before = beside ? run(`${variant}, beside`, own, beside) : undefined;
        await measure(children, [now, plainNow, ...(before ? [before] : [])], settings);
        if (now.entry.status !== "ok" || plainNow.entry.status !== "ok") {
          cells.push(now.entry.reason ?? plainNow.entry.reason);
          continue;
        }
        const times = ratio(now, plainNow);
        const most = limit(one, gradient, plainNow.entry.nanoseconds.median);
        if (times > most) above += 1;
        const toBeside = before && ratio(now, before);
        if (toBeside && one.name === "plain") plainToBeside.push(toBeside);
        cells.push(
          [
            `${gradient ? "both" : "forward"} ${digits(now.entry.nanoseconds.median, 3).padStart(5)} ns`,
            `${times.toFixed(2).padStart(6)} of ${most?.toFixed(2) ?? "1.00"}${times > most ? " !" : "  "}`,
            ...(before ? [`${toBeside?.toFixed(3) ?? before.entry.status} of beside`] : []),
          ].join("  "),
        );
      }
      console.log(`${title(one).padEnd(36)} ${variant.padEnd(8)} ${cells.join("   ")}`);
    }
  }
  console.log(`\nnanoseconds per logit; times plain rows of as many classes, of the target; !: above it (${above})`);
  if (plainToBeside.length > 0) {
    const { median, lower, upper } = quartiles(plainToBeside);
    console.log(`plain rows: ${median} of beside (quartiles ${lower}, ${upper}) in ${plainToBeside.length} ratios`);
  }
}

/** The target, if there is one, as a ratio to plain rows that take so many nanoseconds per logit. */
function limit({ target }, gradient, plain) {
  if (target?.plus) return 1 + target.plus[Number(gradient)] / plain;
  return target?.times[Number(gradient)];
}
