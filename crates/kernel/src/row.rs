//! One row of many classes.
//!
//! ```text
//! anchor at the label's logit; for each class j but the label:
//!     e_j = exp(x_j), lifted           -> the gradient's memory, if there is one
//!     others += e_j
//! e_y  = exp(x_y), lifted, in f64
//! loss = log1p(others / e_y)
//! g_j  = scale * e_j / (others + e_y)      g_y = -scale * others / (others + e_y)
//! ```
//!
//! Where this departs from the usual "subtract the maximum, then log of the sum", and why:
//!
//! - No maximum is looked for: one pass over the logits instead of two. Any power of two near the label's term keeps the
//!   sum in range (see [`crate::exp`]), and rows for which it does not are recognised afterwards and done again, by
//!   `general`.
//! - The label's own term is left out of the sum. A confident row's loss is the ratio of the two; once they are added,
//!   it is gone. For the same reason the label's gradient is not p - 1.
//! - Powers are summed in `f32` four at a time in each lane, tails eight, then in `f64`: a million equal terms would otherwise
//!   lose hundreds of ulp, and a large power swallows small ones.
//! - Powers and tails (see [`crate::exp`]) are summed apart: where one term makes up the sum, that saves the rounding of this
//!   term, which every entry of the gradient would have.
//! - The gradient's memory holds the e_j until the sum is known: one exponential for both results.

use crate::exp::{Centred, Clamped, Direct, ExpWide, Hint, LIFT, MAX_ANCHOR, Reduction, in_range, power_of};
use crate::log1p::log1p;
use crate::pass;
use crate::vector::{Factor, LANES, Pair, Vector};
use core::cell::Cell;

/// Classes of a segment. The sum of a row is that of its segments, in order: several threads may each have found some of them
/// (see [`crate::split`]), and no bit of the result shows it.
pub const SEGMENT: usize = 8192;

/// What a row's loss and gradient are made of.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// 1 / sum of the lifted terms: from a lifted term to a probability. NaN where the row has no result.
    pub factor: f64,
    /// Probability of all classes but the label.
    pub others: f64,
    /// Probability of the label.
    pub own: f64,
    /// The loss.
    pub loss: f64,
    /// Logarithm of the sum of all exponentials.
    pub log_sum_exp: f64,
}

impl Terms {
    /// No result: the row has a NaN or +inf, or is -inf throughout.
    pub const NONE: Self =
        Self { factor: f64::NAN, others: f64::NAN, own: f64::NAN, loss: f64::NAN, log_sum_exp: f64::NAN };
}

impl Terms {
    /// From the lifted sum of the others, and the label's lifted term and logit.
    #[inline(always)]
    pub fn new<W: Pair>(others: f64, own: f64, logit: f64) -> Self {
        let total = others + own;
        let factor = 1.0 / total;
        let [loss, _] = log1p(W::splat(others), W::splat(own), W::splat(total)).to_array();
        Self { factor, others: others * factor, own: own * factor, loss, log_sum_exp: logit + loss }
    }
}

/// The term of this logit, times 2^`lift`.
#[inline(always)]
pub fn term<W: Pair>(logit: f64, lift: f64) -> f64 {
    ExpWide::<W>::load(lift).at(W::splat(logit)).to_array()[0]
}

/// Where the terms are kept until they are scaled.
#[derive(Clone, Copy)]
pub enum Keep<'a> {
    /// Nowhere: loss only.
    Nothing,
    /// In other memory than the logits'.
    Apart(&'a [Cell<f32>]),
    /// Over the logits, which therefore are read once more after it is known how.
    InPlace,
}

/// The logits of a row: `high`, and where that has been rounded what is missing.
#[derive(Clone, Copy)]
pub struct Logits<'a> {
    /// Of each class.
    pub high: &'a [Cell<f32>],
    /// Of each class, at most half a unit in the last place of `high`; or empty.
    pub low: &'a [Cell<f32>],
}

impl<'a> Logits<'a> {
    /// Logits that are `f32`.
    #[inline(always)]
    pub fn plain(x: &'a [Cell<f32>]) -> Self {
        Self { high: x, low: &[] }
    }

    /// One logit.
    #[inline(always)]
    pub fn get(&self, class: usize) -> f64 {
        let high = self.high.get(class).map_or(f64::NAN, |x| f64::from(x.get()));
        high + self.low.get(class).map_or(0.0, |x| f64::from(x.get()))
    }
}

/// One row whose label's logit is the anchor; [`Terms::NONE`] where it can not be. `hint` says how to begin, and then how
/// it went.
#[inline(always)]
pub fn near<V: Vector>(x: Logits, label: usize, keep: Keep, hint: &mut Hint) -> Terms {
    let Some(anchor) = x.high.get(label).map(Cell::get) else {
        return Terms::NONE;
    };
    let mut others = f64::NAN;
    if anchor.abs() <= MAX_ANCHOR && x.low.is_empty() {
        if *hint == Hint::Direct {
            others = sum_of_others::<V, Direct<V>>(x.high, label, keep, anchor);
        }
        if others.is_nan() {
            others = sum_of_others::<V, Clamped<V>>(x.high, label, keep, anchor);
            *hint = Hint::Clamped;
        }
    }
    finish::<V>(others, anchor)
}

/// What follows from the sum of the others' terms, once it is known.
#[inline(always)]
pub fn finish<V: Vector>(others: f64, anchor: f32) -> Terms {
    let logit = f64::from(anchor);
    let own = term::<V::Wide>(logit, f64::from(LIFT) - f64::from(power_of(anchor)));
    Terms::new::<V::Wide>(others, own, logit)
}

/// The sum of all terms but the label's; NaN where this reduction is not right for the row.
#[inline(always)]
fn sum_of_others<V: Vector, R: Reduction<V>>(x: &[Cell<f32>], label: usize, keep: Keep, anchor: f32) -> f64 {
    match keep {
        Keep::Apart(e) => sum_of_segments::<V, R>(x, e, label, anchor, true),
        Keep::Nothing => sum_of_segments::<V, R>(x, x, label, anchor, false),
        Keep::InPlace => {
            let found = sum_of_segments::<V, R>(x, x, label, anchor, false);
            if !found.is_nan() {
                sum_of_segments::<V, R>(x, x, label, anchor, true);
            }
            found
        }
    }
}

/// See [`SEGMENT`].
#[inline(never)]
fn sum_of_segments<V: Vector, R: Reduction<V>>(
    x: &[Cell<f32>],
    e: &[Cell<f32>],
    label: usize,
    anchor: f32,
    kept: bool,
) -> f64 {
    let mut sum = 0.0;
    let mut place = label;
    for (x, e) in x.chunks(SEGMENT).zip(e.chunks(SEGMENT)) {
        sum += pass::sum::<V, R>(x, e, place, anchor, kept);
        if sum.is_nan() {
            break;
        }
        place = place.wrapping_sub(SEGMENT);
    }
    in_range(sum)
}

/// As [`near`], of one segment: the sum of its terms but the label's, and how it was found. The terms are kept in `e`, if
/// there is one; in place, only where it is known which hint will do.
#[inline(always)]
pub fn near_segment<V: Vector>(
    x: &[Cell<f32>],
    label: usize,
    anchor: f32,
    e: Option<&[Cell<f32>]>,
    hint: Hint,
) -> (f64, Hint) {
    let (kept, e) = (e.is_some(), e.unwrap_or(x));
    if anchor.is_nan() || anchor.abs() > MAX_ANCHOR {
        return (f64::NAN, hint);
    }
    if hint == Hint::Direct {
        let sum = pass::sum::<V, Direct<V>>(x, e, label, anchor, kept);
        if !sum.is_nan() {
            return (sum, Hint::Direct);
        }
    }
    (pass::sum::<V, Clamped<V>>(x, e, label, anchor, kept), Hint::Clamped)
}

/// As [`near`], around any centre in two parts. Logits in two parts are not kept in place.
#[inline(always)]
pub fn sum_around<V: Vector>(x: Logits, label: usize, keep: Keep, centre: f32, centre_low: f32) -> f64 {
    if x.low.is_empty() {
        return sum_of_others::<V, Centred<V>>(x.high, label, keep, centre);
    }
    let (e, kept) = match keep {
        Keep::Apart(e) => (e, true),
        _ => (x.high, false),
    };
    pass::sum_of_parts::<V, Centred<V>>((x.high, x.low), e, label, (centre, centre_low), kept)
}

/// `g = e * factor`; both may be the same memory.
#[inline(never)]
pub fn multiply<V: Vector>(e: &[Cell<f32>], g: &[Cell<f32>], factor: f64) {
    let factor = Factor::<V>::new(factor);
    let (from, from_rest) = e.as_chunks::<LANES>();
    let (to, to_rest) = g.as_chunks::<LANES>();
    for (e, g) in from.iter().zip(to) {
        factor.times(V::load(e)).store(g);
    }
    factor.times(V::load_partial(from_rest, 0.0)).store_partial(to_rest);
}
