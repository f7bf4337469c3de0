//! Memory of one thread, reused by each call: what the loops leave to one another, and what is left behind for the caller.
//! Everything that would otherwise live in stack memory, which threads have in common.

use crate::exp::Hint;
use crate::row::Terms;
use crate::vector::LANES;
use core::cell::Cell;

/// Elements that go through [`crate::narrow`] together at most.
pub const CHUNK: usize = 1024;
/// Rows that do.
pub const MAX_ROWS: usize = 128;

/// See above. Any bytes will do at first.
#[repr(C)]
pub struct Scratch {
    found: Cell<Terms>,
    /// 1: [`Hint::Clamped`]
    hint: Cell<u32>,
    reserved: u32,
    /// A bit for each row that its group has left undone.
    alone: [Cell<u32>; MAX_ROWS / 32],
    /// Lifted powers of all logits, 0 at the labels; and a vector that the last row's end may be read with.
    pub powers: [Cell<f32>; CHUNK + LANES],
    /// Lifted tails, likewise.
    pub tails: [Cell<f32>; CHUNK + LANES],
    /// Of each row: the label's term, NaN where there is no label.
    pub own: [Cell<f64>; MAX_ROWS],
    /// Sum of the other terms.
    pub others: [Cell<f64>; MAX_ROWS],
    /// See [`crate::log1p`].
    pub quotient: [Cell<f64>; MAX_ROWS],
    /// See [`crate::log1p`].
    pub k_ln_2: [Cell<f64>; MAX_ROWS],
    /// From the lifted terms to the gradient.
    pub factor: [Cell<f64>; MAX_ROWS],
    /// Gradient at the label.
    pub own_gradient: [Cell<f32>; MAX_ROWS],
    /// The label's logit.
    pub logit: [Cell<f32>; MAX_ROWS],
    /// See there.
    pub loss: [Cell<f32>; MAX_ROWS],
    /// See there.
    pub log_sum_exp: [Cell<f32>; MAX_ROWS],
}

/// Bytes of a [`Scratch`].
pub const SCRATCH_BYTES: usize = 15456;
const _: () = assert!(size_of::<Scratch>() == SCRATCH_BYTES);

impl Scratch {
    /// What the last row's routine has found.
    #[inline(always)]
    pub fn found(&self) -> Terms {
        self.found.get()
    }

    /// See `found`.
    #[inline(always)]
    pub fn set_found(&self, terms: Terms) {
        self.found.set(terms);
    }

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

    /// The last group has left all of its rows undone.
    #[inline(always)]
    pub fn leave_all_alone(&self) {
        for bits in &self.alone {
            bits.set(u32::MAX);
        }
    }

    /// The last group has left those of its rows undone whose loss is NaN.
    #[inline(always)]
    pub fn leave_nan_alone(&self, rows: usize) {
        for bits in &self.alone {
            bits.set(0);
        }
        for (row, loss) in self.loss.iter().enumerate().take(rows) {
            if let (true, Some(bits)) = (loss.get().is_nan(), self.alone.get(row / 32)) {
                bits.set(bits.get() | 1 << (row % 32));
            }
        }
    }

    /// Whether the last group has left this row of its undone.
    #[inline(always)]
    pub fn is_alone(&self, row: usize) -> bool {
        self.alone.get(row / 32).is_none_or(|bits| bits.get() >> (row % 32) & 1 == 1)
    }
}

/// Four rows at a time, and up to three beyond the last one.
#[inline(always)]
pub fn fours<T>(all: &[Cell<T>], rows: usize) -> impl Iterator<Item = &[Cell<T>; 4]> {
    all.as_chunks::<4>().0.iter().take(rows.div_ceil(4))
}
