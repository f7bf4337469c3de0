//! The Kullback-Leibler divergence of a row's softmax q from p, that of other logits t, the targets:
//!
//! ```text
//! loss = sum_j p_j d_j,    d_j = log p_j - log q_j = (t_j - x_j) / T - c,    c = log-sum-exp of t / T - that of x / T
//! g_j  = (q_j - p_j) / T
//! ```
//!
//! Summed as p_j (d_j + expm1(-d_j)), whose terms are never negative: where both agree almost, the sum of p_j d_j is a small difference of
//! large parts. Where d_j is small, such a term is p_j d_j^2 times a polynomial, and else p_j (d_j - 1) + q_j.
//!
//! That sum is least where c is right. So an error of c matters by its square only, and the sum of p_j expm1(-d_j), which should be
//! 0, tells that square: it is taken off.
//!
//! A row goes tile by tile, each logit read once: a tile's terms have a c of their own, around which the divergence within the tile is
//! summed while they are at hand. The row is a fold of its tiles. With P and Q, what a part has of all p and of all q,
//!
//! ```text
//! loss = sum of P (divergence within the part) + divergence of the Q from the P
//! ```
//!
//! The classes of a job may be a shard of more: see [`partial`].

mod loops;
pub mod partial;

pub use loops::{sum, sum_terms, write};

use crate::exp::{INVERSE_FACTORIALS, Range, exp};
use crate::log1p::log1p;
use crate::power::{above_powers, with_power};
use crate::scratch::{Scratch, tile_length};
use crate::terms::Way;
use crate::vector::{Pair, Vector, Wide};
use partial::Partial;

/// Where |d_j| is less, its term is made by the polynomial; of `f64` logits the first one left out is 2e-17 of all there.
const NEAR: (f64, f64) = (0.75, 0.35);

/// Sums of terms that are further apart belong to no common tile: one of the two has almost nothing here.
const EVEN: core::ops::Range<f64> = 1e-18..1e18;

/// One of the two rows of logits, as its terms are made.
#[derive(Clone, Copy)]
pub struct Side {
    /// Logits below the window have the term 0, or are not there.
    pub way: Way,
    /// See [`Range::shift`].
    pub shift: f64,
    /// log2 of what the terms are divided by.
    pub power: f64,
    /// What is subtracted from the logits before; exact for all that are in the window.
    pub centre: f64,
}

impl Side {
    /// Terms near that of a logit, or of 0 where that is not finite.
    #[inline(always)]
    fn around(logit: f64, temperature: f64, double: bool, way: Way) -> Self {
        let range = Range::of_type(double);
        let logit = if logit.is_finite() { logit } else { 0.0 };
        let x = logit / temperature;
        let near = x.abs() <= range.max_shift;
        let n0 = if near { Range::power_near(x) } else { 0.0 };
        Self { way, shift: range.shift(n0), power: n0 - range.lift, centre: if near { 0.0 } else { logit } }
    }

    /// The log-sum-exp of logits whose terms have this sum.
    #[inline(always)]
    fn log_sum_exp(self, sum: f64, temperature: f64, log: impl Fn(f64, f64, f64) -> f64) -> f64 {
        self.centre / temperature + (self.power * core::f64::consts::LN_2 + log(sum - 1.0, sum, 1.0))
    }
}

/// log(x / y), given x - y.
#[inline(never)]
pub fn log_ratio<V: Vector>(difference: f64, x: f64, y: f64) -> f64 {
    let (less, more) = if difference < 0.0 { (x, y) } else { (y, x) };
    let splat = V::Wide::splat;
    let log = log1p::<V::Wide, V::Element>(splat(difference.abs()), splat(less), splat(more)).to_array()[0];
    if difference < 0.0 { -log } else { log }
}

/// A row of a job, whose type [`row`] does not know.
pub trait Rows {
    /// Whether numbers are `f64`.
    fn double(&self) -> bool;

    /// A target, or a logit.
    fn logit(&self, of_targets: bool, class: usize) -> f64;

    /// The first class with the largest of the targets, or of the logits; -1 where there is none.
    fn best(&self, of_targets: bool) -> i32;

    /// A target, or a logit; NaN for the class -1.
    #[inline(always)]
    fn at(&self, of_targets: bool, class: i32) -> f64 {
        usize::try_from(class).map_or(f64::NAN, |class| self.logit(of_targets, class))
    }

    /// [`sum_terms`] of a tile.
    fn terms(&self, of_targets: bool, side: Side, from: usize, to: usize) -> f64;

    /// [`sum`] of a tile whose terms were made last.
    fn sum(&self, of: (Side, Side), centre: f64, ratio: f64, scale: f64, from: usize, to: usize);

    /// [`write`] of a tile whose terms were made last.
    fn write(&self, of_p: f64, of_q: f64, from: usize, to: usize);

    /// Whether terms of the logits are kept in the gradient's memory.
    fn keeps(&self) -> bool;

    /// The same gradient everywhere.
    fn fill(&self, value: f64);

    /// log(x / y), given x - y.
    fn log_ratio(&self, difference: f64, x: f64, y: f64) -> f64;
}

/// What all rows of a run have in common.
#[derive(Clone, Copy)]
pub struct Run {
    /// Classes of a row.
    pub classes: usize,
    /// T
    pub temperature: f64,
    /// Factor of the gradient, but for 1 / T; none: no gradient is asked for.
    pub scale: Option<f64>,
}

/// Loss and log-sum-exp of a row with this sample weight; NaN both where one of its logits or targets is NaN or +inf, or all of either
/// are -inf. Writes its gradient, if there is one. Of a shard, fills the record instead.
#[inline(always)]
pub fn row<W: Pair>(
    rows: &impl Rows,
    run: &Run,
    sample: f64,
    record: Option<&Partial>,
    scratch: &Scratch,
) -> (f64, f64) {
    let double = rows.double();
    let mut attempt = if record.is_some() {
        2
    } else if double || scratch.clamped.get() != 0.0 {
        1
    } else {
        0
    };
    let (mut best, mut t, mut x, mut of, mut all);
    loop {
        // Around the first logits, which need no search, and else around the largest ones.
        let searched = attempt == 2;
        let find = |of_targets: bool| if searched { rows.best(of_targets) } else { 0 };
        best = find(false);
        (t, x) = (rows.at(true, find(true)), rows.at(false, best));
        let way = if attempt == 0 { Way::Direct } else { Way::Clamped };
        let side = |logit: f64| Side::around(logit, run.temperature, double, way);
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
        attempt += 1;
        if attempt == 1 {
            // Most likely the next rows, too.
            scratch.clamped.set(1.0);
        }
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
            gradient(rows, run, of, (again, again && !rows.keeps()), (scale / all.p, scale / all.q));
        }
    }
    let loss = all.within / (all.p * all.scale);
    let loss = match (broken, sample == 0.0) {
        (_, true) => 0.0,
        (true, _) => f64::NAN,
        // A class that the logits forbid and the targets do not: infinite, even where 0 stands for its p.
        _ if loss.is_nan() => sample * f64::INFINITY,
        // What rounding leaves of 0 may be below.
        _ => sample * if loss < 0.0 { 0.0 } else { loss },
    };
    let log_sum_exp = of.1.log_sum_exp(all.q, run.temperature, |difference, x, y| rows.log_ratio(difference, x, y));
    (loss, log_sum_exp)
}

/// The gradient of a row, with these factors of both rows' terms. `again`: which of these are no longer there.
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

/// Of a divergence that overflows in units of the terms of p.
const SMALL: f64 = f64::from_bits((1023 - 750) << 52);

/// What is known of a part of a row: the sums of its terms, the logarithm c of what the first is of the second, as sums in their own
/// units, and the divergence within it, in units of `scale` of the first; NaN where it is infinite.
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

/// All tiles of a row; NaN where one of them has terms that are not right.
#[inline(always)]
fn fold<W: Pair>(rows: &impl Rows, run: &Run, of: (Side, Side), scratch: &Scratch) -> Part {
    let most = Range::of_type(rows.double()).too_large;
    let power = of.0.power - of.1.power;
    let (mut whole, mut scale) = (f64::NAN, 1.0);
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
                let mut c = rows.log_ratio(ratio - 1.0, ratio, 1.0);
                let mut turns = 3;
                let e = loop {
                    let centre = with_power(c, power) * run.temperature;
                    c = above_powers(centre, run.temperature, power);
                    rows.sum(of, centre, ratio, scale, from, to);
                    let (sums, errors) = scratch.weights::<W>();
                    (sum, error) = (sum + sums.total(), error + errors.total());
                    if !whole.is_nan() {
                        all.c = c;
                        break 0.0;
                    }
                    let e = error / p.max(f64::MIN_POSITIVE);
                    c -= e;
                    turns -= 1;
                    // NaN where the loss is infinite.
                    if turns == 0 || sum.is_nan() || sum >= 16.0 * p * scale * e * e {
                        break e;
                    }
                    // Too much of the sum is what c was wrong by.
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
            all.within = sum - all.p * scale * excess(e);
            all.c -= e;
        } else if uneven && (all.p == 0.0 || all.q == 0.0) {
            // Part of a shard: no logit, or no target, is above -inf.
            all.within = if all.p > 0.0 { f64::NAN } else { 0.0 };
            all.c = f64::NAN;
        } else if uneven {
            // A tile has much of one row and nothing of the other: again, around what the whole rows say.
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

/// How much the sum of p (d + expm1(-d)) around a c close by exceeds the least around any: e - log1p(e), where e is the sum of
/// p expm1(-d), both in units of the sum of p.
#[inline(always)]
fn excess(e: f64) -> f64 {
    e * e * (0.5 - e * (1.0 / 3.0))
}

/// Two parts of a row. Not from the sums of the q: in these the errors of terms differ from part to part.
#[inline(always)]
fn join<W: Pair>(rows: &impl Rows, a: Part, b: Part) -> Part {
    let (p, q) = (a.p + b.p, a.q + b.q);
    if a.p == 0.0 {
        return Part { p, q, within: a.within + b.within, ..b };
    }
    // From the larger part, whose c is nearly that of both where the other one is small. e^-c is the mean of the parts' own.
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
