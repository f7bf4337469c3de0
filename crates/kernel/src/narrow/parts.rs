//! Powers and tails of many logits, as if they were one row.

use crate::exp::{Clamped, Direct, Hint, Polynomial, Reduced, Reduction};
use crate::scratch::Scratch;
use crate::vector::{Chunk, LANES, Vector};
use core::cell::Cell;

/// log2 of the anchor's term in [`split`].
pub const ANCHOR_LIFT: i32 = 46;

/// Powers and tails of all logits. False where that is not right for one of them.
#[inline(always)]
pub fn split<V: Vector>(x: &[Cell<f32>], anchor: f32, scratch: &Scratch) -> bool {
    if scratch.hint() == Hint::Direct {
        if pass::<V, Direct<V>>(x, &[], anchor, 0.0, ANCHOR_LIFT, scratch) {
            return true;
        }
        scratch.set_hint(Hint::Clamped);
    }
    pass::<V, Clamped<V>>(x, &[], anchor, 0.0, ANCHOR_LIFT, scratch)
}

/// `low`: second parts of the logits, or none.
#[inline(never)]
pub fn pass<V: Vector, R: Reduction<V>>(
    x: &[Cell<f32>],
    low: &[Cell<f32>],
    anchor: f32,
    anchor_low: f32,
    lift: i32,
    scratch: &Scratch,
) -> bool {
    let parts = R::PARTS && !low.is_empty();
    let low = if parts { low } else { x };
    let mut pass = Pass::<V, R> {
        polynomial: Polynomial::load(),
        reduction: R::near(anchor, lift),
        anchor_low: V::splat(anchor_low),
        parts,
        traces: V::splat(0.0),
    };
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (low, low_rest) = low.as_chunks::<LANES>();
    let (powers, _) = scratch.powers.as_chunks::<LANES>();
    let (tails, _) = scratch.tails.as_chunks::<LANES>();
    // Two at a time, without a loop inside.
    let to = powers.as_chunks::<2>().0.iter().zip(tails.as_chunks::<2>().0);
    for ((x, low), (power, tail)) in x.as_chunks::<2>().0.iter().zip(low.as_chunks::<2>().0).zip(to) {
        pass.store(V::load(&x[0]), V::load(&low[0]), &power[0], &tail[0]);
        pass.store(V::load(&x[1]), V::load(&low[1]), &power[1], &tail[1]);
    }
    let odd = x.len() & !1;
    if let (Some(x), Some(low), Some(power), Some(tail)) = (x.get(odd), low.get(odd), powers.get(odd), tails.get(odd)) {
        pass.store(V::load(x), V::load(low), power, tail);
    }
    if let (Some(first), Some(power), Some(tail)) = (x_rest.first(), powers.get(x.len()), tails.get(x.len())) {
        // The lanes beyond repeat a logit, so that they leave no trace in the check.
        pass.store(V::load_partial(x_rest, first.get()), V::load_partial(low_rest, 0.0), power, tail);
    }
    R::accepts(pass.traces)
}

struct Pass<V, R> {
    polynomial: Polynomial<V>,
    reduction: R,
    anchor_low: V,
    parts: bool,
    /// Of all logits, or-ed.
    traces: V,
}

impl<V: Vector, R: Reduction<V>> Pass<V, R> {
    #[inline(always)]
    fn store(&mut self, x: V, low: V, to_power: &Chunk, to_tail: &Chunk) {
        let reduced = if R::PARTS && self.parts {
            self.reduction.reduce_parts(x, low, self.anchor_low)
        } else {
            self.reduction.reduce(x)
        };
        let Reduced { power, r, trace } = reduced;
        self.traces = self.traces.or(trace);
        power.store(to_power);
        self.polynomial.at(r).mul(power).store(to_tail);
    }
}
