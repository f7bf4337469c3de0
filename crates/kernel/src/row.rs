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

use crate::exp::{
    Centred, Clamped, Direct, ExpWide, Hint, LIFT, MAX_ANCHOR, Polynomial, Reduced, Reduction, TOO_LARGE, power_of,
};
use crate::log1p::log1p;
use crate::vector::{Chunk, Factor, LANES, Pair, Vector, Wide};
use core::cell::Cell;

/// Logits of one round of the loop.
const BLOCK: usize = 8 * LANES;

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
    let logit = f64::from(anchor);
    let own = term::<V::Wide>(logit, f64::from(LIFT) - f64::from(power_of(anchor)));
    Terms::new::<V::Wide>(others, own, logit)
}

/// The sum of all terms but the label's; NaN where this reduction is not right for the row.
#[inline(always)]
fn sum_of_others<V: Vector, R: Reduction<V>>(x: &[Cell<f32>], label: usize, keep: Keep, anchor: f32) -> f64 {
    let sum = |e, kept: bool| match (R::OFTEN, kept) {
        (true, true) => pass::<V, R, ALWAYS>(x, &[], e, label, anchor, 0.0, true),
        (true, false) => pass::<V, R, NEVER>(x, &[], e, label, anchor, 0.0, false),
        (false, kept) => pass::<V, R, ASK>(x, &[], e, label, anchor, 0.0, kept),
    };
    match keep {
        Keep::Apart(e) => sum(e, true),
        Keep::Nothing => sum(x, false),
        Keep::InPlace => {
            let found = sum(x, false);
            if !found.is_nan() {
                sum(x, true);
            }
            found
        }
    }
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
    pass::<V, Centred<V>, ASK>(x.high, x.low, e, label, centre, centre_low, kept)
}

/// Whether terms are kept: what is not known when the loop is compiled is a branch in it.
const NEVER: u32 = 0;
const ALWAYS: u32 = 1;
const ASK: u32 = 2;

/// The one loop over the classes. Terms go into `e`; `low`: second parts of the logits, or none.
#[inline(never)]
fn pass<V: Vector, R: Reduction<V>, const KEEP: u32>(
    x: &[Cell<f32>],
    low: &[Cell<f32>],
    e: &[Cell<f32>],
    label: usize,
    anchor: f32,
    anchor_low: f32,
    keep: bool,
) -> f64 {
    let parts = R::PARTS && !low.is_empty();
    let low = if parts { low } else { x };
    let mut pass = Pass::<V, R, KEEP> {
        polynomial: Polynomial::load(),
        reduction: R::near(anchor, LIFT),
        anchor_low: V::splat(anchor_low),
        parts,
        keep,
        low: V::Wide::splat(0.0),
        high: V::Wide::splat(0.0),
        trace: V::splat(0.0),
    };
    // The label's block and the last one apart, so that the others need not look for the label or their end.
    let (own, whole) = (label / BLOCK, x.len() / BLOCK);
    let mut begin = 0;
    loop {
        let end = if (begin..whole).contains(&own) { own } else { whole };
        pass.blocks(part(x, begin, end), part(low, begin, end), part(e, begin, end));
        let (x, low, e) = (part(x, end, end + 1), part(low, end, end + 1), part(e, end, end + 1));
        pass.odd_block(x, low, e, label.wrapping_sub(end * BLOCK));
        if end == whole {
            break;
        }
        begin = end + 1;
    }
    let [a, b] = pass.low.add(pass.high).to_array();
    let sum = a + b;
    if sum < TOO_LARGE && R::accepts(pass.trace) { sum } else { f64::NAN }
}

/// Blocks `begin` to `end`, as far as there are any.
#[inline(always)]
fn part(x: &[Cell<f32>], begin: usize, end: usize) -> &[Cell<f32>] {
    let end = (end * BLOCK).min(x.len());
    x.get(begin * BLOCK..end).unwrap_or(&[])
}

struct Pass<V: Vector, R, const KEEP: u32> {
    polynomial: Polynomial<V>,
    reduction: R,
    anchor_low: V,
    /// Whether logits have a second part.
    parts: bool,
    /// Where KEEP is ASK.
    keep: bool,
    low: V::Wide,
    high: V::Wide,
    /// Of all logits, or-ed.
    trace: V,
}

impl<V: Vector, R: Reduction<V>, const KEEP: u32> Pass<V, R, KEEP> {
    #[inline(always)]
    fn keeps(&self) -> bool {
        KEEP == ALWAYS || KEEP == ASK && self.keep
    }

    /// Power and e^r - 1 of four logits.
    #[inline(always)]
    fn split(&mut self, x: V, low: V) -> (V, V) {
        let reduced = if R::PARTS && self.parts {
            self.reduction.reduce_parts(x, low, self.anchor_low)
        } else {
            self.reduction.reduce(x)
        };
        let Reduced { power, r, trace } = reduced;
        self.trace = self.trace.or(trace);
        (power, self.polynomial.at(r))
    }

    /// Whole blocks.
    #[inline(always)]
    fn blocks(&mut self, x: &[Cell<f32>], low: &[Cell<f32>], e: &[Cell<f32>]) {
        // A length that the compiler does not know. Otherwise it would make one straight line of a block, sorted by
        // operations, with more numbers under way than there are registers for.
        let size = V::hidden(&BLOCK).max(1);
        for ((x, low), e) in x.chunks_exact(size).zip(low.chunks_exact(size)).zip(e.chunks_exact(size)) {
            let mut pairs = chunks(x).zip(chunks(low)).zip(chunks(e));
            if R::OFTEN {
                // The two halves, without the costs of a loop.
                let first = self.half(pairs.next(), pairs.next());
                let second = self.half(pairs.next(), pairs.next());
                self.add(first.add(second));
            } else {
                let mut tails = V::splat(0.0);
                while let Some(pair) = pairs.next() {
                    tails = tails.add(self.half(Some(pair), pairs.next()));
                }
                self.add(tails);
            }
        }
    }

    /// Four vectors: their powers are added, their tails returned. (It takes options where one could hope that there are
    /// pairs: see `blocks`.)
    #[inline(always)]
    fn half(&mut self, first: Option<((&Two, &Two), &Two)>, second: Option<((&Two, &Two), &Two)>) -> V {
        let mut tails = V::splat(0.0);
        let powers = self.pair(first, &mut tails).add(self.pair(second, &mut tails));
        self.add(powers);
        tails
    }

    #[inline(always)]
    fn pair(&mut self, pair: Option<((&Two, &Two), &Two)>, tails: &mut V) -> V {
        let Some(((x, low), e)) = pair else { return V::splat(0.0) };
        let a = self.term(&x[0], &low[0], &e[0], tails);
        let b = self.term(&x[1], &low[1], &e[1], tails);
        a.add(b)
    }

    /// The power of four logits; their tail is added to others.
    #[inline(always)]
    fn term(&mut self, x: &Chunk, low: &Chunk, e: &Chunk, tails: &mut V) -> V {
        let (power, tail) = self.split(V::load(x), V::load(low));
        if self.keeps() {
            tail.mul_add(power, power).store(e);
        }
        // A power times anything is exact: fused or not, the same bits.
        *tails = tail.mul_add(power, *tails);
        power
    }

    /// A block that may have an end, and the label at `place`.
    #[inline(always)]
    fn odd_block(&mut self, x: &[Cell<f32>], low: &[Cell<f32>], e: &[Cell<f32>], place: usize) {
        let (chunks, x_rest) = x.as_chunks::<LANES>();
        let (low_chunks, low_rest) = low.as_chunks::<LANES>();
        let (e_chunks, e_rest) = e.as_chunks::<LANES>();
        let mut place = place;
        for ((x, low), e) in chunks.iter().zip(low_chunks).zip(e_chunks) {
            let mut tail = V::splat(0.0);
            let power = self.term(x, low, e, &mut tail);
            self.add(power.without(place));
            self.add(tail.without(place));
            place = place.wrapping_sub(LANES);
        }
        if let Some(first) = x_rest.first() {
            // The lanes beyond the row repeat a logit of it, so that they leave no trace in the check.
            let x = V::load_partial(x_rest, first.get());
            let (power, tail) = self.split(x, V::load_partial(low_rest, 0.0));
            if self.keeps() {
                tail.mul_add(power, power).store_partial(e_rest);
            }
            let power = power.without(place).and(V::first_lanes(x_rest.len()));
            self.add(power);
            self.add(tail.mul(power));
        }
    }

    #[inline(always)]
    fn add(&mut self, parts: V) {
        let (low, high) = parts.widen();
        self.low = self.low.add(low);
        self.high = self.high.add(high);
    }
}

/// Two vectors.
type Two = [Chunk; 2];

#[inline(always)]
fn chunks(x: &[Cell<f32>]) -> impl Iterator<Item = &Two> {
    x.as_chunks::<LANES>().0.as_chunks::<2>().0.iter()
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
