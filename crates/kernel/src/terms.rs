//! One row, whatever is in it and however many classes it has: [`crate::narrow`] or [`crate::row`], and where those are not
//! right [`crate::general`].

use crate::general;
use crate::narrow;
use crate::row::{self, Keep, Logits, Terms};
use crate::scratch::Scratch;
use crate::vector::{FACTORS, Factor, LANES, Vector};
use core::cell::Cell;

/// Terms of one row, from which its gradient is made.
#[derive(Clone, Copy)]
pub enum Kept<'a> {
    /// Rounded to `f32`.
    Rounded(&'a [Cell<f32>]),
    /// Their powers and tails: a short row's gradient has no place for a rounding that the row's sum does not average.
    Parts(&'a [Cell<f32>], &'a [Cell<f32>]),
}

impl<'a> Kept<'a> {
    /// Where [`terms`] leaves those of a row, if it was told to keep them in `e`.
    #[inline(always)]
    pub fn of(classes: usize, e: &'a [Cell<f32>], scratch: &'a Scratch) -> Self {
        match (scratch.powers.get(..classes), scratch.tails.get(..classes)) {
            (Some(powers), Some(tails)) if classes <= narrow::MAX_CLASSES => Self::Parts(powers, tails),
            _ => Self::Rounded(e),
        }
    }

    /// One term.
    #[inline(always)]
    pub fn get(&self, class: usize) -> f64 {
        let at = |x: &[Cell<f32>]| x.get(class).map_or(f64::NAN, |x| f64::from(x.get()));
        match self {
            Self::Rounded(e) => at(e),
            Self::Parts(powers, tails) => at(powers) + at(tails),
        }
    }

    /// `g` = terms * factor; `g` may be where they are.
    #[inline(always)]
    pub fn multiply<V: Vector>(&self, g: &[Cell<f32>], factor: f64) {
        if factor != 0.0 && !FACTORS.contains(&factor.abs()) {
            for (class, g) in g.iter().enumerate() {
                g.set((self.get(class) * factor) as f32);
            }
            return;
        }
        match self {
            Self::Rounded(e) => row::multiply::<V>(e, g, factor),
            Self::Parts(powers, tails) => {
                let factor = Factor::<V>::new(factor);
                let (to, rest) = g.as_chunks::<LANES>();
                let (powers, powers_rest) = powers.as_chunks::<LANES>();
                let (tails, tails_rest) = tails.as_chunks::<LANES>();
                for ((power, tail), g) in powers.iter().zip(tails).zip(to) {
                    factor.times_parts(V::load(power), V::load(tail)).store(g);
                }
                let (power, tail) = (V::load_partial(powers_rest, 0.0), V::load_partial(tails_rest, 0.0));
                factor.times_parts(power, tail).store_partial(rest);
            }
        }
    }
}

/// One row. The terms of the gradient are left where [`Kept::of`] says, if `keep` does; that of the label is undefined.
/// Logits in two parts are not kept in place.
#[inline(always)]
pub fn terms<V: Vector>(x: Logits, label: usize, keep: Keep, scratch: &Scratch) -> Terms {
    let (e, keep) = match keep {
        Keep::Nothing => (x.high, 0),
        Keep::Apart(e) => (e, 1),
        Keep::InPlace => (x.high, 2),
    };
    compiled_once::<V>(x.high, x.low, e, keep, label, scratch);
    scratch.found()
}

/// A function of scalars and addresses only, its result in memory that the caller owns: it is called from two places, and
/// structs across a call would live in stack memory, which the threads have in common.
#[inline(never)]
fn compiled_once<V: Vector>(
    high: &[Cell<f32>],
    low: &[Cell<f32>],
    e: &[Cell<f32>],
    keep: u32,
    label: usize,
    scratch: &Scratch,
) {
    let x = Logits { high, low };
    // Now: a gradient in place replaces it.
    let logit = x.get(label);
    let narrow = high.len() <= narrow::MAX_CLASSES;
    let keep = match keep {
        1 => Keep::Apart(e),
        2 => Keep::InPlace,
        _ => Keep::Nothing,
    };
    let mut found = if narrow {
        narrow::near::<V>(x, label, scratch)
    } else {
        let mut hint = scratch.hint();
        let found = row::near::<V>(x, label, keep, &mut hint);
        scratch.set_hint(hint);
        found
    };
    if found.factor.is_nan() {
        found = general::terms::<V>(x, label, logit, |centre, centre_low| {
            if narrow {
                narrow::sum_around::<V>(x, label, centre, centre_low, scratch)
            } else {
                row::sum_around::<V>(x, label, keep, centre, centre_low)
            }
        });
    }
    scratch.set_found(found);
}
