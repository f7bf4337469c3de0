//! Rows of few classes, many at a time, as in [`crate::short`]: terms, sums and logarithms of a group of rows are computed together. All
//! rows are relative to the first, by powers of two, which change no result.

use super::loops::{MOST_TEMPERATURE, rounded, write};
use super::sums::sum_rows;
use super::{Rows, Run, Side, enough, excess, log_ratio, log_ratios, weighted};
use crate::exp::Range;
use crate::largest;
use crate::numbers::{Kind, Numbers};
use crate::power::{power_of_two, split, with_power};
use crate::scratch::{PerRow, ROWS, Scratch, fours};
use crate::short::row_sums;
use crate::vector::{Single, Twice, Wide};
use core::cell::Cell;

/// Rows of more classes are computed one by one, which is faster then.
pub const MAX_CLASSES: usize = 256;

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
    if run.temperature > MOST_TEMPERATURE
        || of_p.centre != 0.0
        || of_q.centre != 0.0
        || !right(true, of_p)
        || !right(false, of_q)
    {
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
    split_sums(rows, scratch);
    logarithms::<V>(rows, of_q.power, double, scratch);
    let power = of_p.power - of_q.power;
    for row in 0..rows {
        let log = with_power(scratch.quotient[row % ROWS].get(), power + scratch.k_ln_2[row % ROWS].get());
        scratch.anchor[row % ROWS].set(rounded(log * run.temperature, double));
    }
    sum_rows::<V>(rows, run.classes, (group.t, p), (group.x, q), run.temperature, scratch);
    let mut complete = true;
    for row in 0..rows {
        complete &= finish::<V>(group, row, (of_p.power, of_q.power), double);
    }
    complete
}

/// Splits the sums of q, and the ratios of both sums, into powers of two and what is left.
#[inline(never)]
fn split_sums(rows: usize, scratch: &Scratch) {
    for row in (0..rows).map(|row| row % ROWS) {
        let q = scratch.label_term[row].get();
        let ratio = scratch.off_label[row].get() / q;
        scratch.slope_at_label[row].set(ratio);
        for (x, to, to_n) in [(ratio, &scratch.quotient, &scratch.k_ln_2), (q, &scratch.factor, &scratch.power)] {
            let (rest, n) = split(x);
            to[row].set(rest);
            to_n[row].set(n);
        }
    }
}

/// Computes log-sum-exps, and the logarithms of what is left of the ratios.
#[inline(always)]
fn logarithms<V: Single>(rows: usize, power: f64, double: bool, scratch: &Scratch) {
    for all in [&scratch.quotient, &scratch.factor] {
        if double {
            for x in all.iter().take(rows) {
                x.set(log_ratio::<V::Wide>(x.get() - 1.0, x.get(), 1.0));
            }
        } else {
            logarithms_of::<V>(rows, all);
        }
    }
    let [power, ln_2] = [power, core::f64::consts::LN_2].map(Twice::<V::Wide>::splat);
    let sums = fours(&scratch.factor, rows).zip(fours(&scratch.power, rows));
    for ((log, n), to) in sums.zip(fours(&scratch.log_sum_exp, rows)) {
        Twice::load(n).add(power).mul(ln_2).add(Twice::load(log)).store(to);
    }
}

/// Replaces numbers by their logarithms, as exact as `f32` logits need.
#[inline(never)]
fn logarithms_of<V: Single>(rows: usize, all: &PerRow) {
    let one = Twice::<V::Wide>::splat(1.0);
    for four in fours(all, rows) {
        let x = Twice::load(four);
        log_ratios::<_, f32>(x.sub(one), x, one).store(four);
    }
}

/// A smaller divergence, or one of 0, is computed alone: classes that are 0 only in the units of the group may count.
const LEAST: f64 = f64::from_bits((1023 - 64) << 52);

/// Whether the sum of a row's terms is in range: in the units of the group, and in those of a group of its own, so that the neighbours of
/// a row do not matter.
#[inline(always)]
fn in_range(x: Numbers, terms: Numbers, first: usize, sum: f64, power: f64, temperature: f64) -> bool {
    let double = terms.kind() == Kind::Double;
    let range = Range::of_type(double);
    let (least, most) = range.label;
    if !(least < sum && sum < most) {
        return false;
    }
    // The term of the first logit tells both without that logit, unless it is close to a limit.
    let term = terms.get(first);
    let absolute = sum * range.unit();
    let calm = power.abs() * core::f64::consts::LN_2 < 0.8 * range.max_shift && term * range.unit() > 1.0;
    if calm && 2.0 * least * term < absolute && 2.0 * absolute < most * term {
        return true;
    }
    is_in_own_range(x.get(first), sum, power, temperature, double)
}

/// Whether the sum of a row's terms is in range in a group of its own, from its first logit.
#[inline(never)]
fn is_in_own_range(x: f64, sum: f64, power: f64, temperature: f64, double: bool) -> bool {
    let side = Side::around(x, temperature, double);
    let absolute = sum * power_of_two(power - side.power);
    let (least, most) = Range::of_type(double).label;
    side.centre == 0.0 && least < absolute && absolute < most
}

/// Computes the loss and the gradient of a row from its sums.
#[inline(always)]
fn finish<V: Single>(group: &Group, row: usize, power: (f64, f64), double: bool) -> bool {
    let Group { run: Run { classes, temperature, scale }, scratch, .. } = *group;
    let of = |all: &PerRow| all[row % ROWS].get();
    let (sum_p, sum_q, sum) = (of(&scratch.off_label), of(&scratch.label_term), of(&scratch.weight));
    let (far, e) = (of(&scratch.sample), of(&scratch.margin) / sum_p);
    let good = far == 0.0
        && in_range(group.t, scratch.term_of(double), row * classes, sum_p, power.0, temperature)
        && in_range(group.x, scratch.target_of(double), row * classes, sum_q, power.1, temperature);
    let good = good && enough(sum, sum_p, e) && sum >= LEAST * sum_p && sum < f64::INFINITY;
    let sample = group.samples.get(row).map_or(1.0, |sample| f64::from(sample.get()));
    let loss = (sum - sum_p * excess(e)) / sum_p;
    scratch.loss[row % ROWS].set(if good { weighted(loss, sample) } else { f64::NAN });
    if let (true, Some(scale)) = (good, scale) {
        let scale = scale * sample / temperature;
        let first = row * classes;
        let [p, q, to] = [scratch.term_of(double), scratch.target_of(double), group.gradient]
            .map(|all| all.part(first, first + classes));
        write::<V>(p, q, scale / sum_p, scale / sum_q, to);
    }
    good
}
