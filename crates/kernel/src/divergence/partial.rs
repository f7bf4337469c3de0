//! A shard of the classes of a divergence, as in [`crate::partial`]: the result of a row is a [`Partial`], packages/xent/src/shards merges
//! the shards, and the gradient follows from the merged result ([`Merged`]).

use super::{Part, Rows, Run, Side, gradient};
use crate::exp::{Range, exp};
use crate::partial::{RECORD_BYTES, TOO_LARGE};
use crate::power::{above_power, over_power, times_exp};
use crate::vector::Pair;
use core::cell::Cell;

/// The partial result of a shard, for one row.
#[repr(C)]
pub struct Partial {
    /// The largest logit; -inf if all are -inf; NaN if either row has a NaN or +inf.
    maximum: Cell<f64>,
    /// The sum of e^x / 2^power over all classes; without a power, of e^(x - maximum).
    sum: Cell<f64>,
    /// NaN: none, because the maximum is too large.
    power: Cell<f64>,
    /// The largest target.
    target_maximum: Cell<f64>,
    /// The first class of the shard with the largest logit; -1 if there is none.
    prediction: Cell<f64>,
    target_power: Cell<f64>,
    target_sum: Cell<f64>,
    /// The divergence within the shard, in the unit of `target_sum`.
    within: Cell<f64>,
    /// How much `sum` exceeds the value that minimises the divergence of these classes.
    excess: Cell<f64>,
    reserved: Cell<f64>,
}

/// The merged result of a row, from which a shard computes its gradient.
#[repr(C)]
pub struct Merged {
    /// 1: compute the gradient. 0 or NaN: the gradient of the whole row.
    fill: Cell<f64>,
    /// The largest logit of all shards.
    maximum: Cell<f64>,
    /// The factor from e^(x - maximum) to the gradient.
    factor: Cell<f64>,
    /// The largest target of all shards.
    target_maximum: Cell<f64>,
    /// The factor from e^(t - target_maximum) to the gradient.
    target_factor: Cell<f64>,
    reserved: [Cell<f64>; 5],
}

const _: () = assert!(size_of::<Partial>() == RECORD_BYTES && size_of::<Merged>() == RECORD_BYTES);

impl Partial {
    /// Fills the record of a row: the class of the largest logit, both largest, how terms were made, and what they sum to.
    #[inline(always)]
    pub(super) fn set<W: Pair>(
        &self,
        rows: &impl Rows,
        run: &Run,
        best: i32,
        (t, x): (f64, f64),
        of: (Side, Side),
        all: Part,
    ) {
        let broken = all.p.is_nan();
        let range = Range::of_type(rows.double());
        let c = rows.log_ratio(all.p / all.q - 1.0, all.p / all.q, 1.0);
        let excess = all.q * (1.0 - exp::<W>(c - all.c));
        let put = |logit: f64, side: Side, sum: f64, [to_maximum, to_power, to_sum]: [&Cell<f64>; 3]| {
            let centre = if logit.is_finite() { logit / run.temperature } else { 0.0 };
            let power = if centre.abs() < TOO_LARGE { Range::power_of(centre) } else { f64::NAN };
            // What the unit of the terms is of it.
            let centred = side.centre != 0.0 && !power.is_nan();
            let unit = if centred { over_power::<W>(centre, power) } else { 1.0 } / range.unit();
            to_maximum.set(if broken { f64::NAN } else { logit / run.temperature });
            to_power.set(power);
            to_sum.set(sum * unit);
            unit
        };
        let unit = put(x, of.1, all.q, [&self.maximum, &self.power, &self.sum]);
        self.excess.set(if (excess + all.within).is_finite() { excess * unit } else { 0.0 });
        let unit = put(t, of.0, all.p, [&self.target_maximum, &self.target_power, &self.target_sum]);
        // As in a whole row.
        let within = if all.within.is_nan() { f64::INFINITY } else { all.within.max(0.0) };
        self.within.set(if broken { f64::NAN } else { within * (unit / all.scale) });
        self.prediction.set(f64::from(best));
    }
}

/// Writes the gradient of a shard from the merged result.
#[inline(always)]
pub fn write<W: Pair>(rows: &impl Rows, run: &Run, merged: &Merged) {
    if merged.fill.get() != 1.0 {
        return rows.fill(merged.fill.get());
    }
    let largest = |of_targets: bool| rows.at(of_targets, rows.best(of_targets));
    let side = |logit: f64| Side::around(logit, run.temperature, rows.double());
    let (t, x) = (largest(true), largest(false));
    let of = (side(t), side(x));
    let factor = |largest: f64, side: Side, maximum: f64, factor: f64| {
        if largest == f64::NEG_INFINITY {
            return 0.0;
        }
        times_exp::<W>(factor, -above_power(maximum - side.centre / run.temperature, side.power))
    };
    let of_p = factor(t, of.0, merged.target_maximum.get(), merged.target_factor.get());
    let of_q = factor(x, of.1, merged.maximum.get(), merged.factor.get());
    gradient(rows, run, of, (true, true), (of_p, of_q));
}
