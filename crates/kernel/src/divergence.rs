//! The Kullback-Leibler divergence of a row's softmax q from p, the softmax of other logits t, the targets:
//!
//! ```text
//! loss = sum_j p_j d_j,    d_j = log p_j - log q_j = (t_j - x_j) / T - c,    c = lse(t / T) - lse(x / T)
//! g_j  = (q_j - p_j) / T
//! ```
//!
//! The sum is computed as p_j (d_j + expm1(-d_j)), whose terms are never negative: if p and q almost agree, the sum of p_j d_j cancels. If
//! d_j is small, the term is p_j d_j^2 times a polynomial, otherwise p_j (d_j - 1) + q_j.
//!
//! As a function of c, this sum is least at the exact c. So an error of c enters only by its square. The sum of p_j expm1(-d_j), which is
//! 0 for the exact c, gives this square, which is subtracted.
//!
//! A row is computed tile by tile, and each logit is read once: a tile has its own c, around which the divergence within the tile is
//! summed while its terms are in the cache. The row is a fold of its tiles. With P and Q, the shares of a part in all p and in all q,
//!
//! ```text
//! loss = sum of P * (divergence within the part) + divergence of the Q from the P
//! ```
//!
//! Most rows of `f32` logits need only a part of that loop: see [`sums`].
//!
//! Rows of few classes are computed together: see [`short`]. The classes of a job may be a shard of more: see [`partial`].

mod loops;
pub mod partial;
pub mod short;
pub mod sums;

pub use loops::{sum, sum_terms, write};

use crate::exp::{INVERSE_FACTORIALS, Range, exp};
use crate::log1p::log1p;
use crate::power::{above_powers, split, with_power};
use crate::scratch::{Scratch, tile_length};
use crate::vector::{Element, Pair, Wide};
use partial::Partial;

/// If |d_j| is less, the polynomial gives its term. (For `f64` logits, the first omitted term of the series is 2e-17 of the sum.)
const NEAR: (f64, f64) = (0.75, 0.35);

/// The ratio of the two sums of a tile. Outside of this range, one of the rows has almost nothing in the tile.
const EVEN: core::ops::Range<f64> = 1e-18..1e18;

/// How the terms of one of the two rows of logits are computed.
#[derive(Clone, Copy)]
pub struct Side {
    /// See [`Range::shift`].
    pub shift: f64,
    /// log2 of the divisor of the terms.
    pub power: f64,
    /// A number that is subtracted from the logits first; the difference is exact for all logits in the window.
    pub centre: f64,
}

impl Side {
    /// Terms relative to that of a logit, or of 0 if it is not finite.
    #[inline(always)]
    fn around(logit: f64, temperature: f64, double: bool) -> Self {
        let range = Range::of_type(double);
        let logit = if logit.is_finite() { logit } else { 0.0 };
        let x = logit / temperature;
        let in_range = x.abs() <= range.max_shift;
        let n0 = if in_range { Range::power_of(x) } else { 0.0 };
        Self { shift: range.shift(n0), power: n0 - range.lift, centre: if in_range { 0.0 } else { logit } }
    }

    /// The log-sum-exp of logits from the sum of their terms.
    #[inline(always)]
    fn log_sum_exp(self, sum: f64, temperature: f64, log: impl Fn(f64, f64, f64) -> f64) -> f64 {
        let (sum, n) = split(sum);
        self.centre / temperature + ((self.power + n) * core::f64::consts::LN_2 + log(sum - 1.0, sum, 1.0))
    }
}

/// log(x / y), given x - y.
#[inline(never)]
pub fn log_ratio<W: Pair>(difference: f64, x: f64, y: f64) -> f64 {
    let [difference, x, y] = [difference, x, y].map(W::splat);
    log_ratios::<W, f64>(difference, x, y).to_array()[0]
}

/// [`log_ratio`] of several numbers, as exact as logits of the type need.
#[inline(always)]
fn log_ratios<W: Wide, E: Element>(difference: W, x: W, y: W) -> W {
    let zero = W::splat(0.0);
    let negative = difference.below(zero);
    let size = negative.select(zero.sub(difference), difference);
    let log = log1p::<W, E>(size, negative.select(x, y), negative.select(y, x));
    negative.select(zero.sub(log), log)
}

/// Access to a row of a job, so that [`row`] is independent of the job's type.
pub trait Rows {
    /// Whether the logits are `f64`.
    fn double(&self) -> bool;

    /// A target, or a logit.
    fn logit(&self, of_targets: bool, class: usize) -> f64;

    /// The first class with the largest of the targets, or of the logits; -1 if there is none.
    fn best(&self, of_targets: bool) -> i32;

    /// A target, or a logit; NaN for the class -1.
    #[inline(always)]
    fn at(&self, of_targets: bool, class: i32) -> f64 {
        usize::try_from(class).map_or(f64::NAN, |class| self.logit(of_targets, class))
    }

    /// [`sum_terms`] of a tile.
    fn terms(&self, of_targets: bool, side: Side, from: usize, to: usize) -> f64;

    /// [`sum`] of the tile whose terms were computed last.
    fn sum(&self, of: (Side, Side), centre: f64, ratio: f64, scale: f64, from: usize, to: usize);

    /// [`write()`] of the tile whose terms were computed last.
    fn write(&self, of_p: f64, of_q: f64, from: usize, to: usize);

    /// Whether terms of the logits are kept in the gradient's memory.
    fn holds_terms(&self) -> bool;

    /// Sets all entries of the gradient to a value.
    fn fill(&self, value: f64);

    /// log(x / y), given x - y.
    fn log_ratio(&self, difference: f64, x: f64, y: f64) -> f64;
}

/// Constants of a run.
#[derive(Clone, Copy)]
pub struct Run {
    /// Classes of a row.
    pub classes: usize,
    /// T
    pub temperature: f64,
    /// Factor of the gradient, without 1 / T; none if no gradient is asked for.
    pub scale: Option<f64>,
}

/// Loss and log-sum-exp of a row with this sample weight. Both are NaN if a logit or target is NaN or +inf, or if all of either are
/// -inf. Writes the gradient, if there is one. In a shard, fills the record instead.
#[inline(always)]
pub fn row<W: Pair>(
    rows: &impl Rows,
    run: &Run,
    sample: f64,
    record: Option<&Partial>,
    scratch: &Scratch,
) -> (f64, f64) {
    let double = rows.double();
    let mut searched = record.is_some();
    let (mut best, mut t, mut x, mut of, mut all);
    loop {
        // Try around the first logits, which needs no search, and then around the largest ones.
        let find = |of_targets: bool| if searched { rows.best(of_targets) } else { 0 };
        best = find(false);
        (t, x) = (rows.at(true, find(true)), rows.at(false, best));
        let side = |logit: f64| Side::around(logit, run.temperature, double);
        of = (side(t), side(x));
        all = Part::BROKEN;
        // A shard may have nothing but -inf.
        let least = if record.is_some() { f64::NEG_INFINITY } else { f64::MIN };
        let sound = |logit: f64| logit >= least && logit < f64::INFINITY;
        if sound(t) && sound(x) && (searched || of.0.centre == 0.0 && of.1.centre == 0.0) {
            all = fold::<W>(rows, run, of, scratch);
        }
        if searched || !all.p.is_nan() {
            break;
        }
        searched = true;
    }
    if let Some(record) = record {
        record.set::<W>(rows, run, best, (t, x), of, all);
        return (f64::NAN, f64::NAN);
    }
    let broken = all.p.is_nan();
    if let Some(scale) = run.scale {
        if broken || sample == 0.0 {
            rows.fill(if sample == 0.0 { 0.0 } else { f64::NAN });
        } else {
            let scale = scale * sample / run.temperature;
            let again = run.classes > tile_length(double);
            gradient(rows, run, of, (again, again && !rows.holds_terms()), (scale / all.p, scale / all.q));
        }
    }
    let loss = all.within / (all.p * all.scale);
    let loss = match (broken, sample == 0.0) {
        (_, true) => 0.0,
        (true, _) => f64::NAN,
        // A class has probability 0 by the logits but not by the targets: the loss is infinite, even if its p underflows to 0.
        _ if loss.is_nan() => sample * f64::INFINITY,
        _ => weighted(loss, sample),
    };
    let log_sum_exp = of.1.log_sum_exp(all.q, run.temperature, |difference, x, y| rows.log_ratio(difference, x, y));
    (loss, log_sum_exp)
}

/// A loss times the sample weight. Rounding may make a loss of 0 negative.
#[inline(always)]
fn weighted(loss: f64, sample: f64) -> f64 {
    sample * if loss < 0.0 { 0.0 } else { loss }
}

/// Writes the gradient of a row, with these factors of the terms of both rows. `again`: which terms must be computed again.
#[inline(always)]
fn gradient(rows: &impl Rows, run: &Run, of: (Side, Side), again: (bool, bool), (of_p, of_q): (f64, f64)) {
    let tile = tile_length(rows.double());
    let mut from = 0;
    while from < run.classes {
        let to = run.classes.min(from + tile);
        if again.0 {
            rows.terms(true, of.0, from, to);
        }
        if again.1 {
            rows.terms(false, of.1, from, to);
        }
        rows.write(of_p, of_q, from, to);
        from = to;
    }
}

/// Keeps a divergence from overflowing in units of the terms of p.
const SMALL: f64 = f64::from_bits((1023 - 750) << 52);

/// The results of a part of a row: the sums of its terms, each in its own unit; c, the logarithm of their ratio in these units; and the
/// divergence within the part, in units of `scale` times the first sum's, which is NaN if it is infinite.
#[derive(Clone, Copy)]
struct Part {
    p: f64,
    q: f64,
    c: f64,
    within: f64,
    scale: f64,
}

impl Part {
    const NOTHING: Self = Self { p: 0.0, q: 0.0, c: 0.0, within: 0.0, scale: 1.0 };
    const BROKEN: Self = Self { p: f64::NAN, q: f64::NAN, ..Self::NOTHING };
}

/// Folds all tiles of a row; NaN if a tile has terms that are not right.
#[inline(always)]
fn fold<W: Pair>(rows: &impl Rows, run: &Run, of: (Side, Side), scratch: &Scratch) -> Part {
    let most = Range::of_type(rows.double()).too_large;
    let power = of.0.power - of.1.power;
    let (mut whole, mut scale) = (f64::NAN, 1.0);
    // What the c of the whole row exceeds the exact one by, as far as it is known.
    let (mut known, mut rounds) = (0.0, 3);
    loop {
        let mut all = Part { scale, ..Part::NOTHING };
        let (mut sum, mut error) = (0.0, 0.0);
        let mut uneven = false;
        let mut from = 0;
        while from < run.classes {
            let to = run.classes.min(from + tile_length(rows.double()));
            let (p, q) = (rows.terms(true, of.0, from, to), rows.terms(false, of.1, from, to));
            if !(all.p + p < most && all.q + q < most) {
                return Part::BROKEN;
            }
            // A tile whose terms are all 0 has distances nevertheless, which may be so large that they count.
            let ratio = match (whole.is_nan(), p + q == 0.0) {
                (false, _) => whole,
                (_, true) => 1.0,
                _ => p / q,
            };
            let even = EVEN.contains(&ratio);
            uneven |= !even;
            if (even || !whole.is_nan()) && !(all.within + sum).is_nan() {
                scratch.off_label[0].set(p);
                let (rest, n) = split(ratio);
                let (mut c, mut unit) = (rows.log_ratio(rest - 1.0, rest, 1.0) - known, power + n);
                let mut turns = 3;
                let e = loop {
                    let centre = loops::rounded(with_power(c, unit) * run.temperature, rows.double());
                    c = above_powers(centre, run.temperature, power);
                    rows.sum(of, centre, ratio, scale, from, to);
                    (sum, error) = (sum + scratch.weight[0].get(), error + scratch.margin[0].get());
                    if !whole.is_nan() {
                        all.c = c;
                        break 0.0;
                    }
                    let e = error / p.max(f64::MIN_POSITIVE);
                    (c, unit) = (c - e, power);
                    turns -= 1;
                    // NaN if the loss is infinite.
                    if turns == 0 || sum.is_nan() || enough(sum, p * scale, e) {
                        break e;
                    }
                    // The error of c makes up too much of the sum.
                    (sum, error) = (0.0, 0.0);
                };
                if whole.is_nan() {
                    all = join::<W>(rows, all, Part { p, q, c, within: sum - p * scale * excess(e), scale });
                    (sum, error) = (0.0, 0.0);
                } else {
                    (all.p, all.q) = (all.p + p, all.q + q);
                }
            } else {
                (all.p, all.q) = (all.p + p, all.q + q);
            }
            from = to;
        }
        if !whole.is_nan() {
            let e = error / all.p;
            rounds -= 1;
            if rounds > 0 && !sum.is_nan() && !enough(sum, all.p * scale, e) {
                known += e;
                continue;
            }
            all.within = sum - all.p * scale * excess(e);
            all.c -= e;
        } else if uneven && (all.p == 0.0 || all.q == 0.0) {
            // In a shard, all logits or all targets may be -inf.
            all.within = if all.p > 0.0 { f64::NAN } else { 0.0 };
            all.c = f64::NAN;
        } else if uneven {
            // A tile has a large part of one row and almost nothing of the other: sum again around the c of the whole rows.
            whole = all.p / all.q;
            continue;
        }
        if all.within == f64::INFINITY && scale == 1.0 {
            (whole, scale) = (f64::NAN, SMALL);
            continue;
        }
        return all;
    }
}

/// Whether a sum around a c that is off by e has enough digits once [`excess`] is subtracted.
#[inline(always)]
fn enough(sum: f64, p: f64, e: f64) -> bool {
    sum >= 16.0 * p * e * e
}

/// The sum of p (d + expm1(-d)) around a close c exceeds the least sum over all c by e - log1p(e), where e is the sum of p expm1(-d). All
/// are in units of the sum of p.
#[inline(always)]
fn excess(e: f64) -> f64 {
    e * e * (0.5 - e * (1.0 / 3.0))
}

/// Joins two parts of a row. Does not use the sums of the q, where the errors of terms differ between parts.
#[inline(always)]
fn join<W: Pair>(rows: &impl Rows, a: Part, b: Part) -> Part {
    let (p, q) = (a.p + b.p, a.q + b.q);
    if a.p == 0.0 {
        return Part { p, q, within: a.within + b.within, ..b };
    }
    // Start from the larger part, because its c is close to that of both if the other part is small. e^-c is the weighted mean of the
    // parts' e^-c.
    let (a, b) = if a.p < b.p { (b, a) } else { (a, b) };
    let more = b.p / p * (exp::<W>(a.c - b.c) - 1.0);
    let step = rows.log_ratio(more, 1.0 + more, 1.0);
    let c = a.c - step;
    let between = a.p * apart::<W>(step) + b.p * apart::<W>(b.c - c);
    Part { p, q, c, within: a.within + b.within + between * a.scale, ..a }
}

/// d + expm1(-d)
#[inline(never)]
fn apart<W: Pair>(d: f64) -> f64 {
    if d.abs() >= NEAR.1 {
        return d - 1.0 + exp::<W>(-d);
    }
    d * d * INVERSE_FACTORIALS.iter().rev().fold(0.0, |sum, c| c - sum * d)
}
