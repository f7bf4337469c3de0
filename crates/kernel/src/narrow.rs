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
use crate::vector::{Chunk, LANES, Vector, Wide};
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
    pub exponentials: [Cell<f32>; CHUNK + LANES],
    /// 1 / the label's term of each row.
    reciprocal: [Cell<f64>; MAX_ROWS],
    /// Sum of the other terms of each row.
    others: [Cell<f64>; MAX_ROWS],
    /// The logit of each row's label, NaN where there is none or it is too large.
    logit: [Cell<f32>; MAX_ROWS],
    /// From the lifted terms of each row to its gradient. NaN where the row must be computed alone.
    pub factor: [Cell<f32>; MAX_ROWS],
    /// Gradient of each row at its label.
    pub own: [Cell<f32>; MAX_ROWS],
    /// Of each row.
    pub loss: [Cell<f32>; MAX_ROWS],
    /// Of each row.
    pub log_sum_exp: [Cell<f32>; MAX_ROWS],
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

/// Consecutive rows of `classes` logits; `label` gives the label of a row, or none. Results are in `scratch`.
#[inline(always)]
pub fn group<V: Vector>(
    x: &[Cell<f32>],
    classes: usize,
    rows: usize,
    label: impl Fn(usize) -> Option<usize>,
    scale: f64,
    scratch: &Scratch,
    hint: &mut Hint,
) {
    let mut anchor = f32::NAN;
    for row in 0..rows {
        let logit = label(row).and_then(|label| x.get(row * classes + label)).map_or(f32::NAN, Cell::get);
        let usable = if logit.abs() <= MAX_ANCHOR { logit } else { f32::NAN };
        if anchor.is_nan() {
            anchor = usable;
        }
        if let Some(cell) = scratch.logit.get(row) {
            cell.set(usable);
        }
    }
    if anchor.is_nan() || scale.abs() < MIN_SCALE {
        for factor in scratch.factor.iter().take(rows) {
            factor.set(f32::NAN);
        }
        return;
    }
    if *hint == Hint::Clamped || !pass::<V, Direct<V>>(x, &scratch.exponentials, anchor) {
        pass::<V, Clamped<V>>(x, &scratch.exponentials, anchor);
        *hint = Hint::Clamped;
    }
    for row in 0..rows {
        if let Some(own) = label(row).and_then(|label| scratch.exponentials.get(row * classes + label)) {
            own.set(0.0);
        }
    }
    // Three loops, not one: within one, a pair of rows is a single long chain of dependent operations, longer than what
    // a processor looks ahead.
    let pairs = rows.div_ceil(2);
    let lift = f64::from(FIRST_LIFT) - f64::from(power_of(anchor));
    for (logit, reciprocal) in of_pairs(&scratch.logit).zip(of_pairs(&scratch.reciprocal)).take(pairs) {
        row::reciprocal(V::Wide::load_narrow(logit), lift).store(reciprocal);
    }
    for (pair, others) in of_pairs(&scratch.others).take(pairs).enumerate() {
        let at = 2 * pair * classes;
        let a = sum::<V>(scratch.exponentials.get(at..).unwrap_or(&[]), classes);
        let b = sum::<V>(scratch.exponentials.get(at + classes..).unwrap_or(&[]), classes);
        let (a, b) = a.interleave(b);
        a.add(b).store(others);
    }
    let inputs = of_pairs(&scratch.logit).zip(of_pairs(&scratch.reciprocal)).zip(of_pairs(&scratch.others));
    let results = of_pairs(&scratch.factor).zip(of_pairs(&scratch.own));
    let results = results.zip(of_pairs(&scratch.loss)).zip(of_pairs(&scratch.log_sum_exp));
    for (((logit, reciprocal), others), (((factor, own), loss), log_sum_exp)) in inputs.zip(results).take(pairs) {
        let reciprocal = V::Wide::load(reciprocal);
        let ends = row::ends(V::Wide::load(others), reciprocal);
        let nan = V::Wide::splat(f64::NAN);
        let mut right = ends.factor.mul(V::Wide::splat(scale));
        right = ends.ratio.select_less(V::Wide::constant(&MAX_RATIO), right, nan);
        right = reciprocal.select_less(V::Wide::constant(&MAX_RECIPROCAL), right, nan);
        right = V::Wide::constant(&MIN_FACTOR).select_less(ends.factor, right, nan);
        right.store_narrow(factor);
        ends.others.mul(V::Wide::splat(-scale)).store_narrow(own);
        ends.loss.store_narrow(loss);
        V::Wide::load_narrow(logit).add(ends.loss).store_narrow(log_sum_exp);
    }
}

fn of_pairs<T>(all: &[Cell<T>]) -> impl Iterator<Item = &[Cell<T>; 2]> {
    all.as_chunks::<2>().0.iter()
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
    let zero = V::splat(0.0);
    let mut total = (V::Wide::splat(0.0), V::Wide::splat(0.0));
    let mut add = |a: V, b: V| {
        let (low, high) = a.add(b).widen();
        total = (total.0.add(low), total.1.add(high));
    };
    let (mut a, mut b) = (zero, zero);
    let mut left = classes;
    for chunk in e.as_chunks::<LANES>().0 {
        if left < LANES {
            // Reads into the next row, or behind the last one.
            a = a.add(V::load(chunk).first_lanes(left));
            break;
        }
        (a, b) = (b, a.add(V::load(chunk)));
        left -= LANES;
        if (classes - left).is_multiple_of(BLOCK) {
            add(a, b);
            (a, b) = (zero, zero);
        }
    }
    add(a, b);
    total.0.add(total.1)
}

/// Turns a row's terms into its gradient. `e` may be read for a vector more than `g` is long.
#[inline(always)]
pub fn scale<V: Vector>(e: &[Cell<f32>], g: &[Cell<f32>], factor: f32) {
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
