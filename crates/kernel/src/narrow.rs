//! Many rows of few classes.
//!
//! Row by row, ten classes cost as much as forty: each row fills three vectors badly and then waits for a logarithm.
//! So about a thousand elements, whole rows, go through together:
//!
//! ```text
//! anchor at the first label's logit; over the rows' memory as if it were one row:
//!     e = exp(x), lifted                  -> scratch
//! at each row's label: e = 0
//! two rows at a time, in f64: others, label's term, loss, gradient's factor
//! ```
//!
//! A lifted term may be moved by any power of two, so the bits are those of [`crate::row`] wherever a row is accepted
//! here. A row that is not, because its label is far from the first row's or something in it is not finite, is
//! computed by [`crate::row`]. This may depend on its neighbours, its result does not.

use crate::exp::{Clamped, Direct, LIFT, MAX_ANCHOR, Polynomial, Reduced, Reduction};
use crate::exp::{in_window, power_of};
use crate::row::{self, BLOCK, Hint};
use crate::vector::{Chunk, LANES, Pair as _, Twice, Vector, Wide};
use core::cell::Cell;

/// Rows of more classes are computed one by one.
pub const MAX_CLASSES: usize = 256;

/// Elements, and rows, that go through together at most.
pub const CHUNK: usize = 1024;
/// See [`CHUNK`].
pub const MAX_ROWS: usize = 128;

/// Memory of one thread, reused by each group of rows.
#[repr(C)]
pub struct Scratch {
    /// Lifted terms of all logits, 0 at the labels; and a vector that the last row's end may be read with.
    exponentials: [Cell<f32>; CHUNK + LANES],
    pairs: [Pair; MAX_ROWS / 2],
}

/// What two rows leave behind from loop to loop.
#[repr(C)]
struct Pair {
    /// 1 / the label's term.
    reciprocal: [Cell<f64>; 2],
    /// Sum of the other terms.
    others: [Cell<f64>; 2],
    /// The label's logit, NaN where there is none or it is too large.
    logit: [Cell<f32>; 2],
    /// From the lifted terms to the gradient. NaN where the row must be computed alone.
    factor: [Cell<f32>; 2],
    /// Gradient at the label.
    own: [Cell<f32>; 2],
    loss: [Cell<f32>; 2],
    log_sum_exp: [Cell<f32>; 2],
    /// Place of the label among all elements.
    place: [Cell<u32>; 2],
}

/// log2 of the first label's term: half way between what a label must reach ([`LIFT`]) and [`MAX_SUM`].
const FIRST_LIFT: i32 = 72;

/// A row is accepted where its label's term is at least 2^48 (as in `row`: what the window cuts off is then 2^174 times
/// smaller), the others at most 2^46 times as large (so that `row` would not call their sum too large either) and all
/// together at most 2^96.
const MAX_RECIPROCAL: f64 = 1.0 / (1u64 << LIFT) as f64;
const MAX_RATIO: f64 = (1u64 << 46) as f64;
const MIN_FACTOR: f64 = 1.0 / (1u128 << 96) as f64;

/// From this scale on, its product with an accepted factor is a normal number.
const MIN_SCALE: f64 = 1.0 / (1u32 << 30) as f64;

/// Consecutive rows.
pub struct Group<'a> {
    /// [rows, classes]
    pub x: &'a [Cell<f32>],
    /// See `x`.
    pub classes: usize,
    /// Factor of the gradient.
    pub scale: f64,
    /// Output, and the number of rows.
    pub loss: &'a [Cell<f32>],
    /// Output.
    pub log_sum_exp: &'a [Cell<f32>],
}

impl Group<'_> {
    /// Losses of all rows. `label` gives the label of a row, or none. False where some must be computed alone.
    #[inline(always)]
    pub fn run<V: Vector>(&self, label: impl Fn(usize) -> Option<usize>, scratch: &Scratch, hint: &mut Hint) -> bool {
        let Scratch { exponentials, pairs } = scratch;
        let pairs = pairs.get(..2 * self.loss.len().div_ceil(4)).unwrap_or(&[]);
        let anchor = self.read_labels(label, pairs);
        if anchor.is_nan() || self.scale.abs() < MIN_SCALE {
            for pair in pairs {
                pair.factor[0].set(f32::NAN);
                pair.factor[1].set(f32::NAN);
            }
            return false;
        }
        if *hint == Hint::Clamped || !pass::<V, Direct<V>>(self.x, exponentials, anchor) {
            pass::<V, Clamped<V>>(self.x, exponentials, anchor);
            *hint = Hint::Clamped;
        }
        // Loops of their own: in one, two rows are a single long chain of dependent operations, longer than what a
        // processor looks ahead.
        let lift = f64::from(FIRST_LIFT) - f64::from(power_of(anchor));
        for pair in pairs {
            for place in &pair.place {
                if let Some(own) = exponentials.get(place.get() as usize) {
                    own.set(0.0);
                }
            }
            row::reciprocal(V::Wide::load_narrow(&pair.logit), lift).store(&pair.reciprocal);
        }
        let mut rest = &exponentials[..];
        for pair in pairs {
            let a = sum::<V>(rest, self.classes);
            rest = rest.get(self.classes..).unwrap_or(&[]);
            let b = sum::<V>(rest, self.classes);
            rest = rest.get(self.classes..).unwrap_or(&[]);
            let (a, b) = a.interleave(b);
            a.add(b).store(&pair.others);
        }
        self.ends::<V>(pairs)
    }

    /// The first usable logit of a label.
    #[inline(always)]
    fn read_labels(&self, label: impl Fn(usize) -> Option<usize>, pairs: &[Pair]) -> f32 {
        let mut anchor = f32::NAN;
        let mut row = 0;
        for pair in pairs {
            for i in 0..2 {
                let place = label(row).map_or(usize::MAX, |label| row * self.classes + label);
                let logit = self.x.get(place).map_or(f32::NAN, Cell::get);
                let logit = if logit.abs() <= MAX_ANCHOR { logit } else { f32::NAN };
                anchor = if anchor.is_nan() { logit } else { anchor };
                pair.place[i].set(place as u32);
                // What is behind the last row passes as right.
                pair.logit[i].set(if row < self.loss.len() { logit } else { anchor });
                row += 1;
            }
        }
        anchor
    }

    #[inline(always)]
    fn ends<V: Vector>(&self, pairs: &[Pair]) -> bool {
        type Both<V> = Twice<<V as Vector>::Wide>;
        let mut all_right = V::Wide::splat(0.0);
        for [first, second] in pairs.as_chunks::<2>().0 {
            let reciprocal = Twice(V::Wide::load(&first.reciprocal), V::Wide::load(&second.reciprocal));
            let others = Twice(V::Wide::load(&first.others), V::Wide::load(&second.others));
            let ends = row::ends(others, reciprocal);
            let right = ends.ratio.below(Both::<V>::constant(&MAX_RATIO));
            let right = right.and(reciprocal.below(Both::<V>::constant(&MAX_RECIPROCAL)));
            let right = right.and(Both::<V>::constant(&MIN_FACTOR).below(ends.factor));
            let factor = right.select(ends.factor.mul(Both::<V>::splat(self.scale)), Both::<V>::splat(f64::NAN));
            let own = ends.others.mul(Both::<V>::splat(-self.scale));
            all_right = all_right.add(factor.0).add(factor.1);
            let log_sum_exp =
                ends.loss.add(Twice(V::Wide::load_narrow(&first.logit), V::Wide::load_narrow(&second.logit)));
            factor.0.store_narrow(&first.factor);
            factor.1.store_narrow(&second.factor);
            own.0.store_narrow(&first.own);
            own.1.store_narrow(&second.own);
            ends.loss.0.store_narrow(&first.loss);
            ends.loss.1.store_narrow(&second.loss);
            log_sum_exp.0.store_narrow(&first.log_sum_exp);
            log_sum_exp.1.store_narrow(&second.log_sum_exp);
        }
        for ((pair, loss), log_sum_exp) in pairs.iter().zip(self.loss.chunks(2)).zip(self.log_sum_exp.chunks(2)) {
            for i in 0..loss.len().min(log_sum_exp.len()).min(2) {
                loss[i].set(pair.loss[i].get());
                log_sum_exp[i].set(pair.log_sum_exp[i].get());
            }
        }
        let [a, b] = all_right.to_array();
        !(a + b).is_nan()
    }
}

impl Scratch {
    /// Gradient of a row of a group that has run. False where the row must be computed alone.
    #[inline(always)]
    pub fn gradient<V: Vector>(&self, row: usize, g: &[Cell<f32>]) -> bool {
        let Some(pair) = self.pairs.get(row / 2) else { return false };
        let factor = pair.factor[row % 2].get();
        if factor.is_nan() {
            return false;
        }
        let first = row * g.len();
        scale::<V>(self.exponentials.get(first..).unwrap_or(&[]), g, factor);
        if let Some(g) = g.get((pair.place[row % 2].get() as usize).wrapping_sub(first)) {
            g.set(pair.own[row % 2].get());
        }
        true
    }

    /// Whether a row of a group that has run must be computed alone.
    #[inline(always)]
    pub fn is_odd(&self, row: usize) -> bool {
        self.pairs.get(row / 2).is_none_or(|pair| pair.factor[row % 2].get().is_nan())
    }
}

#[inline(never)]
fn pass<V: Vector, R: Reduction<V>>(x: &[Cell<f32>], e: &[Cell<f32>], anchor: f32) -> bool {
    let polynomial = Polynomial::<V>::load();
    let reduction = R::near(anchor, FIRST_LIFT);
    let mut seen = V::splat(0.0);
    let mut term = |x: V| {
        let Reduced { power, r, shifted } = reduction.reduce(x);
        if R::CHECKED {
            seen = seen.or(shifted);
        }
        polynomial.at(r).mul(power)
    };
    let (chunks, rest) = x.as_chunks::<LANES>();
    let (to, _) = e.as_chunks::<LANES>();
    for (x, e) in chunks.iter().zip(to) {
        term(V::load(x)).store(e);
    }
    if let (Some(first), Some(e)) = (rest.first(), to.get(chunks.len())) {
        term(V::load_partial(rest, first.get())).store(e);
    }
    !R::CHECKED || in_window(seen)
}

/// Sum of the terms of the row that `e` begins with, in the order of [`crate::row`], as two numbers to be added.
#[inline(always)]
fn sum<V: Vector>(e: &[Cell<f32>], classes: usize) -> V::Wide {
    let mut total = (V::Wide::splat(0.0), V::Wide::splat(0.0));
    let mut rest = e;
    let mut left = classes;
    while left > 0 {
        let (mut a, mut b) = (V::splat(0.0), V::splat(0.0));
        let block = left.min(BLOCK);
        let (chunks, _) = rest.as_chunks::<LANES>();
        for chunk in chunks.iter().take(block / LANES) {
            (a, b) = (b, a.add(V::load(chunk)));
        }
        if !block.is_multiple_of(LANES)
            && let Some(chunk) = chunks.get(block / LANES)
        {
            // Reads into the next row, or behind the last one.
            a = a.add(V::load(chunk).and(V::first_lanes(block % LANES)));
        }
        let (low, high) = a.add(b).widen();
        total = (total.0.add(low), total.1.add(high));
        rest = rest.get(block..).unwrap_or(&[]);
        left -= block;
    }
    total.0.add(total.1)
}

/// Turns a row's terms into its gradient. `e` may be read for a vector more than `g` is long.
#[inline(always)]
fn scale<V: Vector>(e: &[Cell<f32>], g: &[Cell<f32>], factor: f32) {
    let by = V::splat(factor);
    let (to, rest) = g.as_chunks::<LANES>();
    let from: &[Chunk] = e.as_chunks::<LANES>().0;
    for (e, g) in from.iter().zip(to) {
        V::load(e).mul(by).store(g);
    }
    if let Some(e) = from.get(to.len()) {
        V::load(e).mul(by).store_partial(rest);
    }
}
