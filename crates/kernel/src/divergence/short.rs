//! Rows of few classes, many at a time, as in [`crate::short`]: terms, sums and logarithms of a group of rows are computed together. All
//! rows are relative to the first, by powers of two, which change no result.

use super::loops::{rounded, sum_near, write};
use super::{Rows, Run, Side, enough, excess, log_ratios, weighted};
use crate::exp::Range;
use crate::largest;
use crate::numbers::Numbers;
use crate::power::{split, with_power};
use crate::scratch::{PerRow, ROWS, Scratch, fours};
use crate::short::row_sums;
use crate::vector::{Single, Twice, Wide};
use core::cell::Cell;

/// Consecutive rows of the targets `t` and the logits `x`, at most as many as [`crate::short::group`] returns.
#[derive(Clone, Copy)]
pub struct Group<'a> {
    /// How many.
    pub rows: usize,
    /// Constants of the run.
    pub run: Run,
    /// `[rows, classes]`
    pub t: Numbers<'a>,
    /// `[rows, classes]`
    pub x: Numbers<'a>,
    /// The gradient to write, `[rows, classes]`, or none.
    pub gradient: Numbers<'a>,
    /// `[rows]`, or none: all 1.
    pub samples: &'a [Cell<f32>],
    /// Whether to find the largest logits, which are then in the labels of the scratch area.
    pub predict: bool,
    /// The scratch area of this thread.
    pub scratch: &'a Scratch,
}

/// Computes losses and log-sum-exps, in the scratch area's arrays, and gradients. The loss is NaN if a row is not accepted; its gradient is
/// not written. Returns whether all rows are accepted.
#[inline(always)]
pub fn run<V: Single>(all: &impl Rows, group: &Group) -> bool {
    let Group { rows, run, scratch, .. } = *group;
    let double = all.double();
    let side = |of_targets| Side::around(all.logit(of_targets, 0), run.temperature, double);
    let (of_p, of_q) = (side(true), side(false));
    let right = |of_targets, side: Side| !all.terms(of_targets, side, 0, rows * run.classes).is_nan();
    if of_p.centre != 0.0 || of_q.centre != 0.0 || !right(true, of_p) || !right(false, of_q) {
        for loss in scratch.loss.iter().take(rows) {
            loss.set(f64::NAN);
        }
        return false;
    }
    if group.predict {
        largest::of_rows::<V>(group.x, run.classes, rows, &scratch.labels);
    }
    let (p, q) = (scratch.term_of(double), scratch.target_of(double));
    row_sums::<V>(p, run.classes, rows, &scratch.off_label);
    row_sums::<V>(q, run.classes, rows, &scratch.label_term);
    logarithms::<V>(rows, of_q.power, scratch);
    let mut complete = true;
    for row in 0..rows {
        complete &= one::<V>(group, row, of_p.power - of_q.power, double);
    }
    complete
}

/// Computes log-sum-exps, and the logarithms of the ratios of both sums in two parts: `quotient + k_ln_2 ln 2`.
#[inline(never)]
fn logarithms<V: Single>(rows: usize, power: f64, scratch: &Scratch) {
    let sums = scratch.off_label.iter().zip(&scratch.label_term);
    let parts = scratch.quotient.iter().zip(&scratch.k_ln_2).zip(scratch.factor.iter().zip(&scratch.power));
    for ((p, q), ((ratio, n), (sum, sum_n))) in sums.zip(parts).take(rows) {
        let put = |x: f64, (to, to_n): (&Cell<f64>, &Cell<f64>)| {
            let (x, n) = split(x);
            to.set(x);
            to_n.set(n);
        };
        put(p.get() / q.get(), (ratio, n));
        put(q.get(), (sum, sum_n));
    }
    logarithms_of::<V>(rows, &scratch.quotient);
    logarithms_of::<V>(rows, &scratch.factor);
    let inputs = fours(&scratch.factor, rows).zip(fours(&scratch.power, rows));
    for ((log, n), to) in inputs.zip(fours(&scratch.log_sum_exp, rows)) {
        let n = Twice::<V::Wide>::load(n).add(Twice::splat(power));
        n.mul(Twice::splat(core::f64::consts::LN_2)).add(Twice::load(log)).store(to);
    }
}

/// Replaces numbers by their logarithms.
#[inline(never)]
fn logarithms_of<V: Single>(rows: usize, all: &PerRow) {
    let one = Twice::<V::Wide>::splat(1.0);
    for four in fours(all, rows) {
        let x = Twice::<V::Wide>::load(four);
        log_ratios(x.sub(one), x, one).store(four);
    }
}

/// A smaller divergence is computed alone: classes that are 0 only in the units of the group may count.
const LEAST: f64 = f64::from_bits((1023 - 64) << 52);

/// Computes the loss and the gradient of a row.
#[inline(always)]
fn one<V: Single>(group: &Group, row: usize, power: f64, double: bool) -> bool {
    let Group { run: Run { classes, temperature, scale }, scratch, .. } = *group;
    let first = row * classes;
    let [t, x, p, q] =
        [group.t, group.x, scratch.term_of(double), scratch.target_of(double)].map(|all| all.from(first));
    let of = |all: &PerRow| all[row % ROWS].get();
    let (sum_p, sum_q) = (of(&scratch.off_label), of(&scratch.label_term));
    let centre = rounded(with_power(of(&scratch.quotient), power + of(&scratch.k_ln_2)) * temperature, double);
    let far = sum_near::<V>(classes, (t, p), (x, q), centre, temperature, sum_p / sum_q, scratch);
    let (sums, errors) = scratch.weights::<V::Wide>();
    let (sum, e) = (sums.total(), errors.total() / sum_p);
    let (least, most) = Range::of_type(double).label;
    let in_range = |sum: f64| least < sum && sum < most;
    let good = !far && in_range(sum_p) && in_range(sum_q) && enough(sum, sum_p, e);
    let good = good && (sum == 0.0 || sum >= LEAST * sum_p) && sum < f64::INFINITY;
    let sample = group.samples.get(row).map_or(1.0, |sample| f64::from(sample.get()));
    let loss = (sum - sum_p * excess(e)) / sum_p;
    scratch.loss[row % ROWS].set(if good { weighted(loss, sample) } else { f64::NAN });
    if let (true, Some(scale)) = (good, scale) {
        let scale = scale * sample / temperature;
        let [p, q, to] = [p, q, group.gradient.from(first)].map(|all| all.part(0, classes));
        write::<V>(p, q, scale / sum_p, scale / sum_q, to);
    }
    good
}
