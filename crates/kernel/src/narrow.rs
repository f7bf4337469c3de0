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

use crate::exp::{Clamped, Direct, LIFT, MAX_ANCHOR, Polynomial, Reduced, Reduction, power_of};
use crate::row::{self, BLOCK, Hint};
use crate::vector::{LANES, Pair as _, Twice, Vector, Wide};
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

/// Bytes of a [`Scratch`].
pub const SCRATCH_BYTES: usize = 9232;
const _: () = assert!(size_of::<Scratch>() == SCRATCH_BYTES);

/// What two rows leave behind from loop to loop.
#[repr(C)]
struct Pair {
    /// 1 / the label's term.
    reciprocal: [Cell<f64>; 2],
    /// Sum of the other terms. NaN where the row must be computed alone.
    others: [Cell<f64>; 2],
    /// The label's logit, NaN where there is none or it is outside of what is accepted.
    logit: [Cell<f32>; 2],
    /// From the lifted terms to the gradient.
    factor: [Cell<f32>; 2],
    /// Gradient at the label.
    own: [Cell<f32>; 2],
    loss: [Cell<f32>; 2],
    log_sum_exp: [Cell<f32>; 2],
    /// Place of the label in its row.
    label: [Cell<u32>; 2],
}

/// log2 of the first label's term: half way between what a label must reach, as in `row`, and what it may reach.
const FIRST_LIFT: i32 = LIFT + 22;

/// A row is accepted where its label's term is from 2^48 (what the window cuts off is then 2^174 times smaller) to 2^92,
/// and the sum of the others is below 2^93. So their ratio is below 2^46: `row` would not call the sum too large either.
const MAX_OTHERS: f64 = (1u128 << 93) as f64;

/// log of the ratio between the first label's term and the ends of that range, a little inside.
const REACH: f32 = 22.0 * core::f32::consts::LN_2 - 1.0;

/// From this scale on, its product with an accepted row's factor is a normal `f32`.
const MIN_SCALE: f64 = 1.0 / (1u32 << 30) as f64;

/// Consecutive rows.
pub struct Group<'a> {
    /// [rows, classes]
    pub x: &'a [Cell<f32>],
    /// See `x`.
    pub classes: usize,
    /// Factor of the gradient, if there is to be one.
    pub scale: Option<f64>,
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
        // Whole pairs of pairs; what is behind the last row looks like one that is accepted.
        let pairs = pairs.get(..2 * self.loss.len().div_ceil(4)).unwrap_or(&[]);
        let logit = |row: usize| {
            let logit = label(row).and_then(|label| self.x.get(row * self.classes + label));
            logit.map_or(f32::NAN, Cell::get)
        };
        let anchor = (0..self.loss.len()).map(logit).find(|logit| logit.abs() <= MAX_ANCHOR).unwrap_or(f32::NAN);
        if anchor.is_nan() || self.scale.is_some_and(|scale| scale.abs() < MIN_SCALE) {
            refuse(pairs);
            return false;
        }
        let mut accepted = *hint == Hint::Direct && pass::<V, Direct<V>>(self.x, exponentials, anchor);
        if !accepted {
            *hint = Hint::Clamped;
            accepted = pass::<V, Clamped<V>>(self.x, exponentials, anchor);
        }
        if !accepted {
            refuse(pairs);
            return false;
        }
        // Many short loops: in one, two rows are a single long chain of dependent operations, longer than what a
        // processor looks ahead, and it would wait for each pair of small writes that is read back as a large one.
        let lift = f64::from(FIRST_LIFT) - f64::from(power_of(anchor));
        let (lowest, highest) = ((anchor - REACH).max(-MAX_ANCHOR), (anchor + REACH).min(MAX_ANCHOR));
        let mut row = 0;
        for pair in pairs {
            for i in 0..2 {
                let mut logit = anchor;
                if row < self.loss.len() {
                    let label = label(row);
                    let at = label.map_or(usize::MAX, |label| row * self.classes + label);
                    logit = f32::NAN;
                    if let (Some(x), Some(own)) = (self.x.get(at), exponentials.get(at)) {
                        logit = x.get();
                        own.set(0.0);
                    }
                    pair.label[i].set(label.unwrap_or(0) as u32);
                }
                pair.logit[i].set(if lowest <= logit && logit <= highest { logit } else { f32::NAN });
                row += 1;
            }
        }
        for pair in pairs {
            row::reciprocal(V::Wide::load_narrow(&pair.logit), lift).store(&pair.reciprocal);
        }
        let mut rest = &exponentials[..];
        let mut total = V::Wide::splat(0.0);
        let end = V::first_lanes(self.classes % LANES);
        for pair in pairs {
            let a = sum::<V>(rest, self.classes, end);
            rest = rest.get(self.classes..).unwrap_or(&[]);
            let b = sum::<V>(rest, self.classes, end);
            rest = rest.get(self.classes..).unwrap_or(&[]);
            let (a, b) = a.interleave(b);
            let others = a.add(b);
            let right = others.below(V::Wide::constant(&MAX_OTHERS));
            let right = right.and(V::Wide::load(&pair.reciprocal).below(V::Wide::constant(&1.0)));
            let others = right.select(others, V::Wide::constant(&f64::NAN));
            others.store(&pair.others);
            total = total.add(others);
        }
        match self.scale {
            None => ends::<V, false>(pairs, 0.0),
            Some(scale) => ends::<V, true>(pairs, scale),
        }
        for ((pair, loss), log_sum_exp) in pairs.iter().zip(self.loss.chunks(2)).zip(self.log_sum_exp.chunks(2)) {
            for (out, found) in loss.iter().zip(&pair.loss) {
                out.set(found.get());
            }
            for (out, found) in log_sum_exp.iter().zip(&pair.log_sum_exp) {
                out.set(found.get());
            }
        }
        let [a, b] = total.to_array();
        !(a + b).is_nan()
    }

    /// Gradients of all rows of a group that has run, but of those that must be computed alone.
    #[inline(always)]
    pub fn gradients<V: Vector>(&self, g: &[Cell<f32>], scratch: &Scratch) {
        let mut rest = &scratch.exponentials[..];
        for (pair, two) in scratch.pairs.iter().zip(g.chunks((2 * self.classes).max(1))) {
            for (i, g) in two.chunks(self.classes.max(1)).take(2).enumerate() {
                if !pair.others[i].get().is_nan() {
                    scale::<V>(rest, g, pair.factor[i].get());
                    if let Some(g) = g.get(pair.label[i].get() as usize) {
                        g.set(pair.own[i].get());
                    }
                }
                rest = rest.get(self.classes..).unwrap_or(&[]);
            }
        }
    }
}

/// All rows must be computed alone.
#[inline(always)]
fn refuse(pairs: &[Pair]) {
    for others in pairs.iter().flat_map(|pair| &pair.others) {
        others.set(f64::NAN);
    }
}

impl Scratch {
    /// Whether a row of a group that has run must be computed alone.
    #[inline(always)]
    pub fn is_odd(&self, row: usize) -> bool {
        self.pairs.get(row / 2).is_none_or(|pair| pair.others[row % 2].get().is_nan())
    }
}

#[inline(never)]
fn pass<V: Vector, R: Reduction<V>>(x: &[Cell<f32>], e: &[Cell<f32>], anchor: f32) -> bool {
    let polynomial = Polynomial::<V>::load();
    let reduction = R::near(anchor, FIRST_LIFT);
    let mut traces = V::splat(0.0);
    let mut term = |x: V| {
        let Reduced { power, r, trace } = reduction.reduce(x);
        traces = traces.or(trace);
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
    R::accepts(traces)
}

#[inline(always)]
fn ends<V: Vector, const GRADIENT: bool>(pairs: &[Pair], scale: f64) {
    for [first, second] in pairs.as_chunks::<2>().0 {
        let reciprocal = Twice(V::Wide::load(&first.reciprocal), V::Wide::load(&second.reciprocal));
        let others = Twice(V::Wide::load(&first.others), V::Wide::load(&second.others));
        let logit = Twice(V::Wide::load_narrow(&first.logit), V::Wide::load_narrow(&second.logit));
        let ends = row::ends(others, reciprocal);
        let log_sum_exp = ends.loss.add(logit);
        ends.loss.0.store_narrow(&first.loss);
        ends.loss.1.store_narrow(&second.loss);
        log_sum_exp.0.store_narrow(&first.log_sum_exp);
        log_sum_exp.1.store_narrow(&second.log_sum_exp);
        if GRADIENT {
            let factor = ends.factor.mul(Twice::splat(scale));
            let own = ends.others.mul(Twice::splat(-scale));
            factor.0.store_narrow(&first.factor);
            factor.1.store_narrow(&second.factor);
            own.0.store_narrow(&first.own);
            own.1.store_narrow(&second.own);
        }
    }
}

/// Sum of the terms of the row that `e` begins with, in the order of [`crate::row`], as two numbers to be added. `end`
/// masks the row's part of a last vector, which reads into the next row, or behind the last one.
#[inline(always)]
fn sum<V: Vector>(e: &[Cell<f32>], classes: usize, end: V) -> V::Wide {
    let zero = V::splat(0.0);
    let mut total = (V::Wide::splat(0.0), V::Wide::splat(0.0));
    let mut rest = e;
    let mut left = classes;
    loop {
        let (mut a, mut b) = (zero, zero);
        let block = left.min(BLOCK);
        let (chunks, _) = rest.as_chunks::<LANES>();
        for chunk in chunks.iter().take(block / LANES) {
            (a, b) = (b, a.add(V::load(chunk)));
        }
        if !block.is_multiple_of(LANES)
            && let Some(chunk) = chunks.get(block / LANES)
        {
            a = a.add(V::load(chunk).and(end));
        }
        let (low, high) = a.add(b).widen();
        total = (total.0.add(low), total.1.add(high));
        left -= block;
        if left == 0 {
            return total.0.add(total.1);
        }
        rest = rest.get(block..).unwrap_or(&[]);
    }
}

/// Turns a row's terms into its gradient. `e` may be read for a vector more than `g` is long.
#[inline(always)]
fn scale<V: Vector>(e: &[Cell<f32>], g: &[Cell<f32>], factor: f32) {
    let by = V::splat(factor);
    let (to, rest) = g.as_chunks::<LANES>();
    let from = e.as_chunks::<LANES>().0;
    for (e, g) in from.iter().zip(to) {
        V::load(e).mul(by).store(g);
    }
    if let Some(e) = from.get(to.len()) {
        V::load(e).mul(by).store_partial(rest);
    }
}
