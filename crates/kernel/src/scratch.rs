//! The scratch memory of a thread, which each call reuses and in which the loops pass on results. It replaces the stack, which threads
//! that share a memory would share, too.

use crate::numbers::Numbers;
use crate::vector::{Element, Pair, Table, Twice, Vector, Wide};
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;

/// Logits of a tile (half as many for `f64`): together with their terms and slopes, they fit the L1 cache.
pub const TILE: usize = 1024;

/// How many logits are staged at a time, for `f64` or other types.
#[inline(always)]
pub const fn tile_length(double: bool) -> usize {
    if double { TILE / 2 } else { TILE }
}

/// The largest number of rows that [`crate::short`] or [`crate::column`] computes together.
pub const ROWS: usize = 256;

/// The size of a buffer in `f64`: a tile, and a vector for reads past the end of its last row.
const BUFFER: usize = TILE / 2 + 4;

/// Words of the room for a [`crate::row::Row`] or a [`crate::short::Group`].
pub const ROOM: usize = 36;

/// One number for each row of a group.
pub type PerRow = [Cell<f64>; ROWS];

/// The scratch memory. It must be zero at first. The table is kept between runs; each run sets everything else that it reads.
#[repr(C)]
pub struct Scratch {
    /// For each point of the softcap's table: y, its second part, the slope, -y / c^2.
    pub table: Table,
    /// The cap and the step of the table; 0 if it is not filled.
    pub table_of: [Cell<f64>; 2],
    /// The step of this run; 0 if the table is not for it.
    pub step: Cell<f64>,
    /// 1 if slopes are needed.
    pub sloped: Cell<u64>,
    /// [`crate::exp::Range::constants`] of the run.
    range: [Cell<f64>; 6],
    /// The shift of the row or the group.
    pub shift: Cell<f64>,
    /// The number that [`crate::exp::Centred`] subtracts.
    pub centre: Cell<f64>,
    /// The second part of the centre.
    pub centre_low: Cell<f64>,
    /// Memory for the row or the group that is being computed.
    room: UnsafeCell<MaybeUninit<[u64; ROOM]>>,
    /// The row's reference: class, and logit, slope and anchor.
    reference_class: Cell<usize>,
    reference: [Cell<f64>; 3],
    /// The sums of the last segment.
    sums: [Cell<f64>; 3],
    /// A capped logit and its slope.
    pub capped: [Cell<f64>; 2],
    /// The slope of the softcap at the label, if another class is the reference.
    pub label_slope: Cell<f64>,
    /// Sums of the terms, in four lanes; see [`Scratch::begin`].
    terms: [Cell<f64>; 4],
    /// Traces of the terms, or-ed.
    pub trace: Cell<u64>,
    /// Sums of q_j, and of q_j times the distance from the reference, in four lanes.
    weights: [Cell<f64>; 4],
    margins: [Cell<f64>; 4],

    /// Logits of a tile that are not read in place.
    tile: [Cell<f64>; BUFFER],
    /// Second parts of capped logits.
    low: [Cell<f64>; BUFFER],
    /// Derivatives of the softcap.
    slope: [Cell<f64>; BUFFER],
    /// Terms of a tile.
    term: [Cell<f64>; BUFFER],
    /// q_j of a tile.
    target: [Cell<f64>; BUFFER],

    /// The label's logit, after softcap and temperature. (`f64` logits are divided by the temperature only when the label's term is
    /// computed.)
    pub logit: PerRow,
    /// The label's term; NaN if there is no label.
    pub label_term: PerRow,
    /// Sum of the other terms.
    pub off_label: PerRow,
    /// The label's q, the sum of the other classes' q_j, and their margin: the sum of q_j times the distance from the label.
    pub weight: PerRow,
    /// See `weight`.
    pub off_weight: PerRow,
    /// See `weight`.
    pub margin: PerRow,
    /// Sample weight; 0 if the row is ignored.
    pub sample: PerRow,
    /// The first half of the logarithm: see [`crate::log1p`].
    pub quotient: PerRow,
    /// See `quotient`.
    pub k_ln_2: PerRow,
    /// The loss; NaN if the row must be computed alone.
    pub loss: PerRow,
    /// log-sum-exp.
    pub log_sum_exp: PerRow,
    /// The factor from terms to the gradient.
    pub factor: PerRow,
    /// Gradient at the label, without the softcap's slope.
    pub label_gradient: PerRow,
    /// For rows side by side: the label's logit before the temperature, the softcap's slope there, and the power of two that the
    /// terms are relative to; NaN if there is none. For a divergence: T c, and the ratio of both sums.
    pub anchor: PerRow,
    /// See `anchor`.
    pub slope_at_label: PerRow,
    /// See `anchor`.
    pub power: PerRow,
    /// For rows side by side: shifts, traces, and factors in two parts.
    pub shifts: [Cell<f32>; ROWS + 4],
    /// See `shifts`.
    pub traces: [Cell<f32>; ROWS + 4],
    /// See `shifts`.
    pub factors: [[Cell<f32>; ROWS + 4]; 2],
    /// The labels as classes; -1 if a row has none.
    pub labels: [Cell<i32>; ROWS + 4],
}

/// Bytes of a [`Scratch`].
pub const SCRATCH_BYTES: usize = 75568;
const _: () = assert!(size_of::<Scratch>() == SCRATCH_BYTES);

impl Scratch {
    /// The memory in which the job keeps the row or the group that is being computed.
    #[inline(always)]
    pub fn room<T>(&self) -> *mut T {
        const { assert!(size_of::<T>() <= 8 * ROOM && align_of::<T>() <= 8) };
        self.room.get().cast()
    }

    /// The constants of the range reduction.
    #[inline(always)]
    pub fn range(&self) -> [f64; 6] {
        self.range.each_ref().map(Cell::get)
    }

    /// Begins a run.
    #[inline(always)]
    pub fn set_range(&self, range: [f64; 6]) {
        for (cell, x) in self.range.iter().zip(range) {
            cell.set(x);
        }
        self.centre.set(0.0);
        self.centre_low.set(0.0);
    }

    /// The reference of the row that is being computed.
    #[inline(always)]
    pub fn reference(&self) -> Reference {
        let [logit, slope, anchor] = self.reference.each_ref().map(Cell::get);
        Reference { class: self.reference_class.get(), logit, slope, anchor }
    }

    /// Sets [`Scratch::reference`], number by number: LLVM copies structs through the stack.
    #[inline(always)]
    pub fn set_reference(&self, reference: Reference) {
        let Reference { class, logit, slope, anchor } = reference;
        self.reference_class.set(class);
        self.reference[0].set(logit);
        self.reference[1].set(slope);
        self.reference[2].set(anchor);
    }

    /// The sums of the row, or of the part of it that was summed last.
    #[inline(always)]
    pub fn sums(&self) -> Sums {
        let [off_label, off_weight, margin] = self.sums.each_ref().map(Cell::get);
        Sums { off_label, off_weight, margin }
    }

    /// See [`Scratch::sums`].
    #[inline(always)]
    pub fn set_sums(&self, sums: Sums) {
        self.sums[0].set(sums.off_label);
        self.sums[1].set(sums.off_weight);
        self.sums[2].set(sums.margin);
    }

    /// Sets the sums of a row, or of a segment, to zero; those of weights and margins only if targets are `dense`.
    #[inline(always)]
    pub fn begin(&self, dense: bool) {
        self.terms.iter().for_each(|cell| cell.set(0.0));
        self.trace.set(0);
        if dense {
            self.weights.iter().chain(&self.margins).for_each(|cell| cell.set(0.0));
        }
    }

    /// Sums of the terms so far.
    #[inline(always)]
    pub fn terms<W: Pair>(&self) -> Twice<W> {
        Twice::load(&self.terms)
    }

    /// See [`Scratch::terms`].
    #[inline(always)]
    pub fn set_terms<W: Pair>(&self, sums: Twice<W>) {
        sums.store(&self.terms);
    }

    /// Sums of the weights, and of the margins.
    #[inline(always)]
    pub fn weights<W: Pair>(&self) -> (Twice<W>, Twice<W>) {
        (Twice::load(&self.weights), Twice::load(&self.margins))
    }

    /// See [`Scratch::weights`].
    #[inline(always)]
    pub fn set_weights<W: Pair>(&self, weights: Twice<W>, margins: Twice<W>) {
        weights.store(&self.weights);
        margins.store(&self.margins);
    }

    /// Logits of a tile.
    #[inline(always)]
    pub fn tile<E: Element>(&self) -> &[Cell<E>] {
        E::cells(&self.tile)
    }

    /// See [`Scratch::tile`].
    #[inline(always)]
    pub fn tile_of(&self, double: bool) -> Numbers<'_> {
        Numbers::in_memory(&self.tile, double)
    }

    /// Second parts of the logits of a tile.
    #[inline(always)]
    pub fn low<E: Element>(&self) -> &[Cell<E>] {
        E::cells(&self.low)
    }

    /// See [`Scratch::low`].
    #[inline(always)]
    pub fn low_of(&self, double: bool) -> Numbers<'_> {
        Numbers::in_memory(&self.low, double)
    }

    /// Derivatives of the softcap, of a tile.
    #[inline(always)]
    pub fn slope<E: Element>(&self) -> &[Cell<E>] {
        E::cells(&self.slope)
    }

    /// See [`Scratch::slope`].
    #[inline(always)]
    pub fn slope_of(&self, double: bool) -> Numbers<'_> {
        Numbers::in_memory(&self.slope, double)
    }

    /// Terms of a tile.
    #[inline(always)]
    pub fn term<E: Element>(&self) -> &[Cell<E>] {
        E::cells(&self.term)
    }

    /// See [`Scratch::term`].
    #[inline(always)]
    pub fn term_of(&self, double: bool) -> Numbers<'_> {
        Numbers::in_memory(&self.term, double)
    }

    /// q_j of a tile.
    #[inline(always)]
    pub fn target<E: Element>(&self) -> &[Cell<E>] {
        E::cells(&self.target)
    }

    /// See [`Scratch::target`].
    #[inline(always)]
    pub fn target_of(&self, double: bool) -> Numbers<'_> {
        Numbers::in_memory(&self.target, double)
    }
}

/// The sums of the terms, of q and of the margins, over some of a row's classes but not the reference.
#[derive(Clone, Copy, Default)]
pub struct Sums {
    /// O
    pub off_label: f64,
    /// Q
    pub off_weight: f64,
    /// T M
    pub margin: f64,
}

impl Sums {
    /// The sums of a row that was not summed.
    pub const UNKNOWN: Self = Self { off_label: f64::NAN, off_weight: 0.0, margin: 0.0 };

    /// Adds the sums of the next segment.
    #[inline(always)]
    pub fn add(&mut self, other: &Self) {
        self.off_label += other.off_label;
        self.off_weight += other.off_weight;
        self.margin += other.margin;
    }
}

/// The reference class of a row: its label or, with soft targets, its largest logit.
#[derive(Clone, Copy)]
pub struct Reference {
    /// The class; beyond the end if the row has none.
    pub class: usize,
    /// Its logit after the softcap.
    pub logit: f64,
    /// The slope of the softcap there.
    pub slope: f64,
    /// The anchor, a finite logit from which margins are measured: that of the class, unless that is -inf.
    pub anchor: f64,
}

/// Iterates over groups of four rows; the last group may include up to three beyond the last row.
#[inline(always)]
pub fn fours(all: &PerRow, rows: usize) -> impl Iterator<Item = &[Cell<f64>; 4]> {
    all.as_chunks::<4>().0.iter().take(rows.div_ceil(4))
}

/// The numbers of the rows of a vector.
#[inline(always)]
pub fn rows_of<V: Vector>(all: &PerRow, first: usize) -> Twice<V::Wide> {
    let zero = Twice::splat(0.0);
    if V::LANES == 4 {
        return all.as_chunks::<4>().0.get(first / 4).map_or(zero, Twice::load);
    }
    all.as_chunks::<2>().0.get(first / 2).map_or(zero, |two| Twice(V::Wide::load(two), zero.1))
}

/// Copies numbers, vector by vector.
#[inline(never)]
pub fn copy<V: Vector>(from: &[Cell<V::Element>], to: &[Cell<V::Element>]) {
    let to = to.get(..from.len()).unwrap_or(&[]);
    let ((chunks, rest), (to, to_rest)) = (V::chunks(from), V::chunks(to));
    for (x, to) in chunks.iter().zip(to) {
        V::load(x).store(to);
    }
    if !to_rest.is_empty() {
        V::load_partial(rest, V::Element::default()).store_partial(to_rest);
    }
}
