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
//! - Terms are summed in `f32` eight at a time in each lane, then in `f64`: a million equal terms would otherwise lose
//!   hundreds of ulp.
//! - The gradient's memory holds the e_j until the sum is known: one exponential for both results.

use crate::exp::{Clamped, Direct, LIFT, MAX_ANCHOR, Polynomial, Reduced, Reduction, TOO_LARGE};
use crate::exp::{ExpWide, power_of};
use crate::log1p::Log1p;
use crate::vector::{Chunk, Factor, LANES, Pair, Vector, Wide};
use core::cell::Cell;

/// Terms that are added in `f32`.
pub const BLOCK: usize = 8 * LANES;

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

/// [`Terms`] of several rows.
pub struct Ends<W> {
    /// See [`Terms::factor`].
    pub factor: W,
    /// See [`Terms::others`].
    pub others: W,
    /// See [`Terms::own`].
    pub own: W,
    /// See [`Terms::loss`].
    pub loss: W,
}

/// From the lifted sum of the others, and 1 / the label's lifted term.
#[inline(always)]
pub fn ends<W: Wide>(others: W, reciprocal: W, log1p: &Log1p<W>) -> Ends<W> {
    let ratio = others.mul(reciprocal);
    let one = W::constant(&1.0);
    let share = one.div(ratio.add(one));
    Ends { factor: reciprocal.mul(share), others: ratio.mul(share), own: share, loss: log1p.at(ratio) }
}

/// 1 / the term of a label with this logit, relative to its anchor, whose term is 2^`lift`.
#[inline(always)]
pub fn reciprocal<W: Wide>(logit: f64, lift: f64) -> W {
    ExpWide::<W>::load(-lift).at(W::splat(-logit))
}

/// How the previous row of the same run was reduced: the next one tries that first. Changes no result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// No logit was below the window.
    Direct,
    /// Some were.
    Clamped,
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
    // Now: a gradient in place replaces it.
    let logit = x.get(label);
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
    let reciprocal = reciprocal::<V::Wide>(logit, f64::from(LIFT) - f64::from(power_of(anchor)));
    let ends = ends(V::Wide::splat(others), reciprocal, &Log1p::load());
    let loss = ends.loss.to_array()[0];
    Terms {
        factor: ends.factor.to_array()[0],
        others: ends.others.to_array()[0],
        own: ends.own.to_array()[0],
        loss,
        log_sum_exp: logit + loss,
    }
}

/// The sum of all terms but the label's; NaN where this reduction is not right for the row.
#[inline(always)]
pub fn sum_of_others<V: Vector, R: Reduction<V>>(x: &[Cell<f32>], label: usize, keep: Keep, anchor: f32) -> f64 {
    match keep {
        Keep::Apart(e) => pass::<V, R, true, false>(x, x, e, label, anchor, 0.0),
        Keep::Nothing => pass::<V, R, false, false>(x, x, x, label, anchor, 0.0),
        Keep::InPlace => {
            let sum = pass::<V, R, false, false>(x, x, x, label, anchor, 0.0);
            if !sum.is_nan() {
                pass::<V, R, true, false>(x, x, x, label, anchor, 0.0);
            }
            sum
        }
    }
}

/// As [`sum_of_others`], for logits in two parts. They are not kept in place.
#[inline(always)]
pub fn sum_of_others_in_parts<V: Vector, R: Reduction<V>>(
    x: Logits,
    label: usize,
    keep: Keep,
    anchor: f32,
    anchor_low: f32,
) -> f64 {
    match keep {
        Keep::Apart(e) => pass::<V, R, true, true>(x.high, x.low, e, label, anchor, anchor_low),
        _ => pass::<V, R, false, true>(x.high, x.low, x.high, label, anchor, anchor_low),
    }
}

/// The one loop over the classes. `STORE`: into `e`. `LOW`: the logits have a second part.
#[inline(never)]
fn pass<V: Vector, R: Reduction<V>, const STORE: bool, const LOW: bool>(
    x: &[Cell<f32>],
    low: &[Cell<f32>],
    e: &[Cell<f32>],
    label: usize,
    anchor: f32,
    anchor_low: f32,
) -> f64 {
    let mut pass = Pass::<V, R> {
        polynomial: Polynomial::load(),
        reduction: R::near(anchor, LIFT),
        anchor_low: V::splat(anchor_low),
        low: V::Wide::splat(0.0),
        high: V::Wide::splat(0.0),
        trace: V::splat(0.0),
    };
    let own = label / BLOCK;
    for (i, ((x, low), e)) in x.chunks(BLOCK).zip(low.chunks(BLOCK)).zip(e.chunks(BLOCK)).enumerate() {
        // The label's block and the last one apart, so that the others need not look for the label or their end.
        if i == own || x.len() < BLOCK {
            let place = if i == own { label % BLOCK } else { BLOCK };
            pass.odd_block::<STORE, LOW>(x, low, e, place);
        } else {
            pass.block::<STORE, LOW>(x, low, e);
        }
    }
    let [a, b] = pass.low.add(pass.high).to_array();
    let sum = a + b;
    if sum < TOO_LARGE && R::accepts(pass.trace) { sum } else { f64::NAN }
}

struct Pass<V: Vector, R> {
    polynomial: Polynomial<V>,
    reduction: R,
    anchor_low: V,
    low: V::Wide,
    high: V::Wide,
    /// Of all logits, or-ed.
    trace: V,
}

impl<V: Vector, R: Reduction<V>> Pass<V, R> {
    /// The sum, plus the terms of four logits.
    #[inline(always)]
    fn term<const STORE: bool, const LOW: bool>(&mut self, x: V, low: V, e: Option<&Chunk>, sum: V) -> V {
        let reduced = if LOW { self.reduction.reduce_parts(x, low, self.anchor_low) } else { self.reduction.reduce(x) };
        let Reduced { power, r, trace } = reduced;
        self.trace = self.trace.or(trace);
        let p = self.polynomial.at(r);
        if STORE {
            let term = p.mul(power);
            if let Some(e) = e {
                term.store(e);
            }
            sum.add(term)
        } else {
            // p * 2^n is exact: fused or not, the same bits as above.
            p.mul_add(power, sum)
        }
    }

    /// Two sums side by side: equal terms are then added without rounding. (Unrolled any further, V8 runs out of
    /// registers.)
    #[inline(always)]
    fn block<const STORE: bool, const LOW: bool>(&mut self, x: &[Cell<f32>], low: &[Cell<f32>], e: &[Cell<f32>]) {
        let (mut a, mut b) = (V::splat(0.0), V::splat(0.0));
        for (([x0, x1], [low0, low1]), [e0, e1]) in pairs(x).zip(pairs(low)).zip(pairs(e)) {
            a = self.term::<STORE, LOW>(V::load(x0), V::load(low0), Some(e0), a);
            b = self.term::<STORE, LOW>(V::load(x1), V::load(low1), Some(e1), b);
        }
        self.add(a, b);
    }

    /// A block that may have an end, and the label at `place`.
    #[inline(always)]
    fn odd_block<const STORE: bool, const LOW: bool>(
        &mut self,
        x: &[Cell<f32>],
        low: &[Cell<f32>],
        e: &[Cell<f32>],
        place: usize,
    ) {
        let (mut a, mut b) = (V::splat(0.0), V::splat(0.0));
        let (chunks, x_rest) = x.as_chunks::<LANES>();
        let (low_chunks, low_rest) = low.as_chunks::<LANES>();
        let (e_chunks, e_rest) = e.as_chunks::<LANES>();
        let mut place = place;
        for ((x, low), e) in chunks.iter().zip(low_chunks).zip(e_chunks) {
            let term = self.term::<STORE, LOW>(V::load(x), V::load(low), Some(e), V::splat(0.0));
            (a, b) = (b, a.add(term.without(place)));
            place = place.wrapping_sub(LANES);
        }
        if let Some(first) = x_rest.first() {
            // The lanes beyond the row repeat a logit of it, so that they leave no trace in the check.
            let x = V::load_partial(x_rest, first.get());
            let low = V::load_partial(low_rest, 0.0);
            let term = self.term::<false, LOW>(x, low, None, V::splat(0.0));
            if STORE {
                term.store_partial(e_rest);
            }
            a = a.add(term.without(place).and(V::first_lanes(x_rest.len())));
        }
        self.add(a, b);
    }

    #[inline(always)]
    fn add(&mut self, a: V, b: V) {
        let (low, high) = a.add(b).widen();
        self.low = self.low.add(low);
        self.high = self.high.add(high);
    }
}

#[inline(always)]
fn pairs(x: &[Cell<f32>]) -> impl Iterator<Item = &[Chunk; 2]> {
    x.as_chunks::<LANES>().0.as_chunks::<2>().0.iter()
}

/// Turns the kept terms into the gradient of one row.
#[inline(always)]
pub fn scale<V: Vector>(g: &[Cell<f32>], label: usize, terms: &Terms, scale: f64) {
    const STEP: f64 = (1u128 << 96) as f64;
    let mut factor = scale * terms.factor;
    if factor != 0.0 && factor.abs() < f64::from(f32::MIN_POSITIVE) {
        // f32 has too few digits for this factor: apply it in two steps.
        multiply::<V>(g, g, 1.0 / STEP);
        factor *= STEP;
    }
    multiply::<V>(g, g, factor);
    if let Some(g) = g.get(label) {
        g.set((-scale * terms.others) as f32);
    }
}

/// Rows of up to so many classes are scaled with a factor in two parts: where a few terms make up the sum, their errors
/// do not cancel in it, and the gradient has no place to spare.
pub const SHORT: usize = 256;

/// `g = e * factor`; both may be the same memory.
#[inline(always)]
pub fn multiply<V: Vector>(e: &[Cell<f32>], g: &[Cell<f32>], factor: f64) {
    if g.len() <= SHORT {
        let factor = Factor::<V>::new(factor);
        map::<V>(e, g, |e| factor.times(e));
    } else {
        multiply_long::<V>(e, g, factor as f32);
    }
}

#[inline(never)]
fn multiply_long<V: Vector>(e: &[Cell<f32>], g: &[Cell<f32>], factor: f32) {
    let factor = V::splat(factor);
    map::<V>(e, g, |e| e.mul(factor));
}

#[inline(always)]
fn map<V: Vector>(e: &[Cell<f32>], g: &[Cell<f32>], f: impl Fn(V) -> V) {
    let (from, from_rest) = e.as_chunks::<LANES>();
    let (to, to_rest) = g.as_chunks::<LANES>();
    for (e, g) in from.iter().zip(to) {
        f(V::load(e)).store(g);
    }
    f(V::load_partial(from_rest, 0.0)).store_partial(to_rest);
}

/// The largest logit; NaN is passed over, and -inf where there is nothing else.
#[inline(never)]
pub fn max<V: Vector>(x: &[Cell<f32>]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let (fours, last) = chunks.as_chunks::<4>();
    let start = V::splat(f32::NEG_INFINITY);
    // Side by side, they do not wait for one another.
    let (mut a, mut b, mut c, mut d) = (start, start, start, start);
    for four in fours {
        a = a.max(V::load(&four[0]));
        b = b.max(V::load(&four[1]));
        c = c.max(V::load(&four[2]));
        d = d.max(V::load(&four[3]));
    }
    for chunk in last {
        a = a.max(V::load(chunk));
    }
    b = b.max(V::load_partial(rest, f32::NEG_INFINITY));
    let [a, b, c, d] = a.max(b).max(c.max(d)).to_array();
    let larger = |a: f32, b: f32| if a < b { b } else { a };
    larger(larger(a, b), larger(c, d))
}

/// The first class with the largest logit; -1 where none is larger than NaN.
#[inline(never)]
pub fn argmax<V: Vector>(x: &[Cell<f32>]) -> i32 {
    let max = max::<V>(x);
    let wanted = V::splat(max);
    let (chunks, rest) = x.as_chunks::<LANES>();
    for (i, chunk) in chunks.iter().enumerate() {
        let lane = V::load(chunk).first_equal(wanted);
        if lane < LANES {
            return (i * LANES + lane) as i32;
        }
    }
    let found = rest.iter().position(|x| x.get() == max);
    found.map_or(-1, |i| (chunks.len() * LANES + i) as i32)
}
