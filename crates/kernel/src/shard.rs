//! Part of the classes of a row, where the others lie elsewhere: what is known of it, and its part of the gradient when all
//! parts are known.
//!
//! ```text
//! sum    a shard's logits -> Partial     maximum, sum of the exponentials, the label's logit if it lies here
//!        all of these     -> Merged      TypeScript's business (packages/xent/src/partials.ts)
//! scale  Merged, logits   -> gradient
//! ```
//!
//! A sum is relative to a power of two near the exponential of the maximum, not to that itself: whoever adds such sums only
//! shifts them, and rounds nothing. The label's own term is left out of it, as everywhere (see [`crate::row`]).
//!
//! `f32` logits (or 16-bit ones, staged) of more classes than [`narrow::MAX_CLASSES`] go through the loop of [`crate::pass`];
//! all else is scalar, in `f64`.

use crate::exp::{Hint, LIFT, MAX_ANCHOR, power_of};
use crate::largest;
use crate::math;
use crate::narrow;
use crate::row::{self, Keep, Logits, SEGMENT};
use crate::staged::{Source, Transform};
use crate::terms::Kept;
use crate::vector::Vector;
use crate::wide::Sink;
use core::cell::Cell;

/// What a shard knows of a row.
#[repr(C)]
pub struct Partial {
    /// The largest logit, -inf where all are that; NaN where the row is broken (a NaN or +inf).
    maximum: Cell<f64>,
    /// Of e^x / 2^power over all classes but the label; of e^(x - maximum) where there is no power.
    sum: Cell<f64>,
    /// See there. NaN: none, the maximum is too large for it.
    power: Cell<f64>,
    /// The label's logit; NaN where the label lies elsewhere.
    label: Cell<f64>,
    /// The first class of the shard with the largest logit; -1 where there is none.
    prediction: Cell<f64>,
    /// The label's class weight; NaN where the label lies elsewhere.
    label_weight: Cell<f64>,
    /// With smoothing, of all classes but the label: the sum of their weights w, and of w x. In two parts.
    weight: Cell<f64>,
    weight_low: Cell<f64>,
    weighted: Cell<f64>,
    weighted_low: Cell<f64>,
}

/// What a shard's gradient takes of the whole row.
#[repr(C)]
pub struct Merged {
    /// 1; 0 and NaN: that is the gradient of the row.
    fill: Cell<f64>,
    /// Of all shards.
    maximum: Cell<f64>,
    /// From e^(x - maximum) to the gradient.
    factor: Cell<f64>,
    /// Gradient at the label.
    own: Cell<f64>,
    /// With smoothing, what a class weight of 1 takes from the gradient.
    target: Cell<f64>,
    reserved: [Cell<f64>; 5],
}

/// Bytes of a [`Partial`], and of a [`Merged`].
pub const RECORD_BYTES: usize = 80;
const _: () = assert!(size_of::<Partial>() == RECORD_BYTES && size_of::<Merged>() == RECORD_BYTES);

/// One row of a shard.
#[derive(Clone, Copy)]
pub struct Shard<'a> {
    /// Number of classes here.
    pub classes: usize,
    /// The logits as they are given.
    pub logits: Source<'a>,
    /// Softcap and temperature.
    pub transform: Transform,
    /// The label's place, beyond the classes where it lies elsewhere.
    pub label: usize,
    /// Of the classes here; `None`: all 1.
    pub class_weights: Option<&'a [Cell<f32>]>,
    /// Whether classes other than the label have weight.
    pub smooth: bool,
    /// As many as `classes`, for logits of 16 bits.
    pub buffer: &'a [Cell<f32>],
}

/// 2^-LIFT
const UNLIFT: f64 = 1.0 / (1u64 << LIFT) as f64;

impl<'a> Shard<'a> {
    /// Sums it. `single`: see there.
    #[inline(always)]
    pub fn sum<V: Vector>(&self, single: Option<&[Cell<f32>]>, out: &Partial) {
        match single {
            Some(x) => sum_single::<V>(x, self.label, out),
            None => self.sum_wide(out),
        }
        let here = self.label < self.classes;
        let (logit, weight) =
            if here { (self.logit(self.label), self.class_weight(self.label)) } else { (f64::NAN, f64::NAN) };
        out.label.set(logit);
        out.label_weight.set(weight);
        if here && (logit.is_nan() || logit == f64::INFINITY) || out.sum.get().is_nan() {
            out.maximum.set(f64::NAN);
        }
        self.sum_weights(out);
    }

    /// The gradient, given what is known of all shards. `single`: see there.
    #[inline(always)]
    pub fn scale<V: Vector>(&self, single: Option<&[Cell<f32>]>, merged: &Merged, gradient: Sink<'a>) {
        let fill = merged.fill.get();
        if fill == 1.0
            && !self.smooth
            && let (Some(x), Sink::F32(g, 1)) = (single, gradient)
        {
            scale_single::<V>(x, g, self.label, merged);
            return;
        }
        for class in 0..self.classes {
            let mut value = fill;
            if fill == 1.0 {
                let x = self.logits.get(class);
                value = merged.own.get();
                if class != self.label {
                    let logit = transformed(x, self.transform.softcap, self.transform.temperature);
                    value = merged.factor.get() * math::exp(logit - merged.maximum.get());
                    if self.smooth {
                        value -= merged.target.get() * self.class_weight(class);
                    }
                }
                value *= self.transform.slope(x);
            }
            gradient.set(class, value);
        }
    }

    /// The logits, where they are enough to be worth the loop.
    #[inline(always)]
    pub fn single<V: Vector>(&self) -> Option<&'a [Cell<f32>]> {
        if self.classes <= narrow::MAX_CLASSES || !self.transform.is_none() {
            return None;
        }
        let plain = self.logits.plain(self.classes);
        if plain.is_none() && self.logits.stride == 1 && self.buffer.len() >= self.classes {
            let (staged, _) = self.buffer.split_at(self.classes);
            self.logits.stage::<V>(&self.transform, staged, &[]);
            return Some(staged);
        }
        plain
    }

    #[inline(always)]
    fn logit(&self, class: usize) -> f64 {
        transformed(self.logits.get(class), self.transform.softcap, self.transform.temperature)
    }

    #[inline(always)]
    fn class_weight(&self, class: usize) -> f64 {
        self.class_weights.map_or(1.0, |weights| weights.get(class).map_or(f64::NAN, |w| f64::from(w.get())))
    }

    #[inline(always)]
    fn sum_wide(&self, out: &Partial) {
        let (mut best, mut max, mut sum) = (-1, f64::NEG_INFINITY, 0.0);
        for class in 0..self.classes {
            let x = self.logit(class);
            if x > max || best < 0 && x == max {
                (best, max) = (class as i32, x);
            }
        }
        let centre = if max == f64::NEG_INFINITY { 0.0 } else { max };
        for class in 0..self.classes {
            if class != self.label {
                sum += math::exp(self.logit(class) - centre);
            }
        }
        let power = power_near(centre);
        finish(max, best, sum * from_centre(centre, power), power, out);
    }

    #[inline(always)]
    fn sum_weights(&self, out: &Partial) {
        let (mut weight, mut weight_low, mut weighted, mut weighted_low) = (0.0, 0.0, 0.0, 0.0);
        if self.smooth {
            for class in 0..self.classes {
                let w = self.class_weight(class);
                if class != self.label && w != 0.0 {
                    (weight, weight_low) = add(weight, weight_low, w);
                    (weighted, weighted_low) = add(weighted, weighted_low, w * self.logit(class));
                }
            }
        }
        (weight, weight_low) = add(weight, 0.0, weight_low);
        (weighted, weighted_low) = add(weighted, 0.0, weighted_low);
        out.weight.set(weight);
        out.weight_low.set(weight_low);
        out.weighted.set(weighted);
        out.weighted_low.set(weighted_low);
    }
}

/// [`Transform::at`], once in the module for all places.
#[inline(never)]
fn transformed(x: f64, softcap: f64, temperature: f64) -> f64 {
    Transform { softcap, temperature }.at(x)
}

#[inline(never)]
fn sum_single<V: Vector>(x: &[Cell<f32>], label: usize, out: &Partial) {
    let best = largest::argmax::<V>(x);
    let max = usize::try_from(best).ok().and_then(|best| x.get(best)).map_or(f32::NAN, Cell::get);
    let centre = if max == f32::NEG_INFINITY { 0.0 } else { max };
    let power = power_near(f64::from(centre));
    let mut sum = if centre.is_finite() { sum_near::<V>(x, x, label, centre, false) } else { f64::NAN };
    if centre.abs() > MAX_ANCHOR {
        sum *= from_centre(f64::from(centre), power);
    }
    finish(f64::from(max), best, sum * UNLIFT, power, out);
}

#[inline(never)]
fn scale_single<V: Vector>(x: &[Cell<f32>], g: &[Cell<f32>], label: usize, merged: &Merged) {
    let maximum = merged.maximum.get();
    let centre = maximum as f32;
    sum_near::<V>(x, g, label, centre, true);
    // Logits of other shards may be f64.
    let mut log = f64::from(centre) - maximum;
    if centre.abs() <= MAX_ANCHOR {
        log -= beside(f64::from(centre), f64::from(power_of(centre)));
    }
    Kept::Rounded(g).multiply::<V>(g, merged.factor.get() * UNLIFT * math::exp(log));
    if let Some(own) = g.get(label) {
        own.set(merged.own.get() as f32);
    }
}

/// The lifted sum of all terms but the label's: of e^x / 2^power of the centre or, where that is large, of e^(x - centre). The terms
/// go into `e`, which may be where the logits are, if they are `kept`.
#[inline(never)]
fn sum_near<V: Vector>(x: &[Cell<f32>], e: &[Cell<f32>], label: usize, centre: f32, kept: bool) -> f64 {
    let in_place = core::ptr::eq(x, e);
    if centre.abs() > MAX_ANCHOR {
        let keep = match (kept, in_place) {
            (false, _) => Keep::Nothing,
            (true, false) => Keep::Apart(e),
            (true, true) => Keep::InPlace,
        };
        return row::sum_around::<V>(Logits::plain(x), label, keep, centre, 0.0);
    }
    // In place, logits are gone after the first try. The other way has the same bits.
    let mut hint = if kept && in_place { Hint::Clamped } else { Hint::Direct };
    let (mut sum, mut place) = (0.0, label);
    for (x, e) in x.chunks(SEGMENT).zip(e.chunks(SEGMENT)) {
        let (found, how) = row::near_segment::<V>(x, place, centre, kept.then_some(e), hint);
        (sum, hint) = (sum + found, how);
        place = place.wrapping_sub(SEGMENT);
    }
    sum
}

#[inline(always)]
fn finish(max: f64, best: i32, sum: f64, power: f64, out: &Partial) {
    out.maximum.set(max);
    out.prediction.set(f64::from(best));
    out.sum.set(sum);
    out.power.set(power);
}

/// From this size on a maximum has no power: what is left between the two would be less exact than the sums.
const LARGEST: f64 = 2_147_483_648.0;
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

/// ln 2 in three parts; the first two are of 21 bits, so that their products with a power are exact.
const LN2: [f64; 3] = [0.693_146_705_627_441_4, 4.749_324_489_239_370_5e-7, 5.497_923_018_708_371e-14];

/// The power of two near e^x.
#[inline(always)]
fn power_near(x: f64) -> f64 {
    if x.abs() <= f64::from(MAX_ANCHOR) {
        f64::from(power_of(x as f32))
    } else if x.abs() < LARGEST {
        (x * core::f64::consts::LOG2_E + ROUND) - ROUND
    } else {
        f64::NAN
    }
}

/// x - power ln 2
#[inline(always)]
fn beside(x: f64, power: f64) -> f64 {
    let [high, middle, low] = LN2;
    (x - power * high) - power * middle - power * low
}

/// e^centre / 2^power, and 1 where there is no power.
#[inline(always)]
fn from_centre(centre: f64, power: f64) -> f64 {
    if power.is_nan() { 1.0 } else { math::exp(beside(centre, power)) }
}

/// A sum in two parts, and a summand.
#[inline(always)]
fn add(high: f64, low: f64, x: f64) -> (f64, f64) {
    let sum = high + x;
    let back = sum - high;
    let lost = (high - (sum - back)) + (x - back);
    let low = if sum.is_finite() { low + lost } else { 0.0 };
    (sum, low)
}
