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
use crate::row::{self, BLOCK, Hint, Terms};
use crate::vector::{LANES, Vector, Wide};
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
    /// Of each row.
    pub terms: [Cell<Terms>; MAX_ROWS],
    /// Lifted terms of all logits, and a vector that the last row's end may be read with.
    pub exponentials: [Cell<f32>; CHUNK + LANES],
}

/// log2 of the first label's term: half way between what a label must reach ([`LIFT`]) and [`MAX_SUM`].
const FIRST_LIFT: i32 = 80;

/// A row is accepted where its label's term is at least 2^48 (as in `row`: what the window cuts off is then 2^174 times
/// smaller), the others at most 2^46 times as large (so that `row` would not call their sum too large either) and all
/// together below 2^120 (the reciprocal is a normal number).
const MIN_OWN: f64 = (1u64 << LIFT) as f64;
const MAX_RATIO: f64 = (1u64 << 46) as f64;
const MAX_SUM: f64 = (1u128 << 120) as f64;

/// Terms of consecutive rows of `classes` logits, and of each row as a whole; `labels` gives `None` for rows that have
/// no label. Rows that must be computed alone get [`Terms::NONE`].
#[inline(always)]
pub fn terms<V: Vector>(
    x: &[Cell<f32>],
    classes: usize,
    labels: impl Iterator<Item = Option<usize>> + Clone,
    scratch: &Scratch,
    hint: &mut Hint,
) {
    let Scratch { terms, exponentials } = scratch;
    let logits = || {
        labels.clone().zip(x.chunks_exact(classes)).map(|(label, x)| label.and_then(|label| x.get(label)).map(Cell::get))
    };
    let anchor = logits().flatten().next().unwrap_or(f32::NAN);
    if anchor.is_nan() || anchor.abs() > MAX_ANCHOR {
        for terms in terms.iter().take(x.len() / classes) {
            terms.set(Terms::NONE);
        }
        return;
    }
    if *hint == Hint::Clamped || !pass::<V, Direct<V>>(x, exponentials, anchor) {
        pass::<V, Clamped<V>>(x, exponentials, anchor);
        *hint = Hint::Clamped;
    }
    for (label, e) in labels.clone().zip(exponentials.chunks_exact(classes)) {
        if let Some(own) = label.and_then(|label| e.get(label)) {
            own.set(0.0);
        }
    }
    let lift = f64::from(FIRST_LIFT) - f64::from(power_of(anchor));
    let mut logits = logits();
    let mut rest = &exponentials[..];
    for two in terms.as_chunks::<2>().0 {
        let Some(first) = logits.next() else { break };
        let second = logits.next().flatten();
        let a = sum::<V>(rest, classes);
        rest = rest.get(classes..).unwrap_or(&[]);
        let b = sum::<V>(rest, classes);
        rest = rest.get(classes..).unwrap_or(&[]);
        let found = pair::<V>([a, b], [first, second].map(|logit| logit.unwrap_or(f32::NAN)), lift);
        two[0].set(found[0]);
        two[1].set(found[1]);
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

/// Two rows: sums of the others, each as two numbers to be added, and the labels' logits.
#[inline(always)]
fn pair<V: Vector>([a, b]: [V::Wide; 2], logits: [f32; 2], lift: f64) -> [Terms; 2] {
    let (a, b) = a.interleave(b);
    let logit = V::Wide::new(f64::from(logits[0]), f64::from(logits[1]));
    let ends = row::ends(a.add(b), logit, lift);
    let log_sum_exp = logit.add(ends.loss).to_array();
    let (factor, others, loss) = (ends.factor.to_array(), ends.others.to_array(), ends.loss.to_array());
    let (ratio, reciprocal) = (ends.ratio.to_array(), ends.reciprocal.to_array());
    core::array::from_fn(|i| {
        let right = logits[i].abs() <= MAX_ANCHOR
            && reciprocal[i] <= 1.0 / MIN_OWN
            && ratio[i] < MAX_RATIO
            && factor[i] > 1.0 / MAX_SUM;
        Terms {
            factor: if right { factor[i] } else { f64::NAN },
            others: others[i],
            loss: loss[i],
            log_sum_exp: log_sum_exp[i],
        }
    })
}

/// Sum of the terms of the row that `e` begins with, in the order of [`crate::row`], as two numbers to be added.
#[inline(always)]
fn sum<V: Vector>(e: &[Cell<f32>], classes: usize) -> V::Wide {
    let mut low = V::Wide::splat(0.0);
    let mut high = V::Wide::splat(0.0);
    let mut left = classes;
    for block in e.as_chunks::<LANES>().0.chunks(BLOCK / LANES) {
        let mut sums = [V::splat(0.0); 2];
        for chunk in block {
            if left < LANES {
                // Reads into the next row, or behind the last one.
                sums = [sums[1], sums[0].add(V::load(chunk).first_lanes(left))];
                left = 0;
                break;
            }
            sums = [sums[1], sums[0].add(V::load(chunk))];
            left -= LANES;
        }
        let (a, b) = sums[0].add(sums[1]).widen();
        low = low.add(a);
        high = high.add(b);
        if left == 0 {
            break;
        }
    }
    low.add(high)
}
