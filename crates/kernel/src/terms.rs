//! One row of many classes, whatever is in it: [`crate::row`], and where that is not right [`crate::general`].

use crate::general;
use crate::row::{self, Hint, Keep, Logits, Terms};
use crate::vector::Vector;
use core::cell::Cell;

/// What a row's routine leaves behind, for itself and its caller.
#[repr(C)]
pub struct Memory {
    found: Cell<Terms>,
    /// See [`Hint`]; whatever else it holds at first counts as [`Hint::Direct`].
    hint: Cell<u32>,
    reserved: u32,
}

impl Memory {
    /// See [`Hint`].
    #[inline(always)]
    pub fn hint(&self) -> Hint {
        if self.hint.get() == 1 { Hint::Clamped } else { Hint::Direct }
    }

    /// See [`Hint`].
    #[inline(always)]
    pub fn set_hint(&self, hint: Hint) {
        self.hint.set(u32::from(hint == Hint::Clamped));
    }
}

/// One row. The terms of the gradient are left where `keep` says; that of the label is undefined. Logits in two parts are
/// not kept in place.
#[inline(always)]
pub fn terms<V: Vector>(x: Logits, label: usize, keep: Keep, memory: &Memory) -> Terms {
    let (e, keep) = match keep {
        Keep::Nothing => (x.high, 0),
        Keep::Apart(e) => (e, 1),
        Keep::InPlace => (x.high, 2),
    };
    compiled_once::<V>(x.high, x.low, e, keep, label, memory);
    memory.found.get()
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
    memory: &Memory,
) {
    let x = Logits { high, low };
    let keep = match keep {
        1 => Keep::Apart(e),
        2 => Keep::InPlace,
        _ => Keep::Nothing,
    };
    let logit = x.get(label);
    let mut hint = memory.hint();
    let mut found = row::near::<V>(x, label, keep, &mut hint);
    memory.set_hint(hint);
    if found.factor.is_nan() {
        found = general::terms::<V>(x, label, logit, keep);
    }
    memory.found.set(found);
}
