//! Reads the given logits a tile at a time. Type, stride and softcap are resolved here, once for a tile instead of once for a class.

use crate::numbers::{Kind, Numbers};
use crate::scratch::{self, Scratch, tile_length};
use crate::softcap;
use crate::vector::{Element, Pair, Single, Vector, Wide, part};
use core::cell::Cell;

/// A line of logits: the classes of a row, or the rows of a class.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// The logits, and the numbers between them.
    pub numbers: Numbers<'a>,
    /// The distance from one logit to the next.
    pub stride: usize,
    /// c; 0: no cap.
    pub softcap: f64,
}

/// Logits of a tile. `low` is the difference between a capped logit and `high`: at most a thousandth of the temperature, or the last place
/// of the logit. Without a softcap, `low` has arbitrary numbers.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    /// After the softcap.
    pub high: Numbers<'a>,
    /// Second parts.
    pub low: Numbers<'a>,
}

impl<'a> Line<'a> {
    /// Whether the logits have the type that is computed with, and are contiguous.
    #[inline(always)]
    fn is_dense(&self) -> bool {
        self.stride == 1 && self.numbers.is_computed_with()
    }

    /// Whether tiles are read in place, with any length.
    #[inline(always)]
    pub fn is_direct(&self) -> bool {
        self.is_dense() && self.softcap == 0.0
    }

    /// The most logits that [`Line::tile`] takes.
    #[inline(always)]
    pub fn tile_length(&self) -> usize {
        if self.is_direct() { usize::MAX } else { tile_length(self.double()) }
    }

    /// The most logits that [`Line::raw`] takes.
    #[inline(always)]
    pub fn raw_length(&self) -> usize {
        if self.is_dense() { usize::MAX } else { tile_length(self.double()) }
    }

    /// Whether the logits are computed in `f64`.
    #[inline(always)]
    pub fn double(&self) -> bool {
        self.numbers.kind() == Kind::Double
    }

    /// One given logit, exactly.
    #[inline(always)]
    pub fn get(&self, place: usize) -> f64 {
        self.numbers.get(place * self.stride)
    }

    /// One logit after the softcap, and its slope.
    #[inline(always)]
    pub fn capped<V: Single>(&self, place: usize, scratch: &Scratch) -> (f64, f64) {
        let x = self.get(place);
        if self.softcap == 0.0 {
            return (x, 1.0);
        }
        if self.double() {
            capped::<V::Double>(x, self.softcap, &scratch.capped);
        } else {
            capped::<V>(x, self.softcap, &scratch.capped);
        }
        let [y, slope] = scratch.capped.each_ref().map(Cell::get);
        (y, slope)
    }

    /// The given logits `from` to `to`, read in place or copied into `tile`.
    #[inline(always)]
    pub fn raw<V: Single>(&self, from: usize, to: usize, tile: Numbers<'a>) -> Numbers<'a> {
        if self.is_dense() {
            return self.numbers.part(from, to);
        }
        let tile = tile.part(0, to - from);
        fetch::<V>(self.numbers, from * self.stride, self.stride, tile);
        tile
    }

    /// The logits `from` to `to`, at most [`Line::tile_length`] of them, after the softcap.
    #[inline(always)]
    pub fn tile<V: Single>(&self, from: usize, to: usize, scratch: &'a Scratch) -> Tile<'a> {
        let double = self.double();
        let (tile, low) = (scratch.tile_of(double), scratch.low_of(double));
        let mut high = self.raw::<V>(from, to, tile);
        if self.softcap != 0.0 {
            stage::<V>(high, tile, low, scratch.slope_of(double), self.softcap, scratch);
            high = tile.part(0, to - from);
        }
        Tile { high, low }
    }
}

/// [`softcap::stage`] of logits of any type.
#[inline(always)]
pub fn stage<V: Single>(x: Numbers, high: Numbers, low: Numbers, slope: Numbers, cap_at: f64, scratch: &Scratch) {
    if high.kind() == Kind::Double {
        softcap::stage::<V::Double>(x.cells(), high.cells(), low.cells(), slope.cells(), cap_at, scratch);
    } else {
        softcap::stage::<V>(x.cells(), high.cells(), low.cells(), slope.cells(), cap_at, scratch);
    }
}

/// Caps one number. Not inlined, because it is called from many places.
#[inline(never)]
fn capped<V: Vector>(x: f64, cap: f64, to: &[Cell<f64>; 2]) {
    let splat = V::Wide::splat;
    let (y, slope) = softcap::cap::<V::Wide, V::Element>(splat(x), splat(cap), splat(1.0 / cap));
    to[0].set(y.to_array()[0]);
    to[1].set(slope.to_array()[0]);
}

/// Fills `to` with logits that cannot be read in place: every `stride`-th from `first` on.
#[inline(always)]
fn fetch<V: Single>(from: Numbers, first: usize, stride: usize, to: Numbers) {
    let from = from.from(first);
    match (from.kind(), stride) {
        (Kind::Double, _) => gather::<f64>(from.cells(), stride, to.cells()),
        (Kind::Single, _) => gather::<f32>(from.cells(), stride, to.cells()),
        (kind, _) => halves::<V>(from.halves(), kind == Kind::Brain, stride, to.cells()),
    }
}

/// Widens every `stride`-th 16-bit logit.
#[inline(never)]
fn halves<V: Single>(from: &[Cell<u16>], brain: bool, stride: usize, to: &[Cell<f32>]) {
    match (stride, from.get(..to.len())) {
        (1, Some(from)) if brain => V::widen_bf16(from, to),
        (1, Some(from)) => V::widen_f16(from, to),
        _ => {
            let kind = if brain { Kind::Brain } else { Kind::Half };
            for (from, to) in from.iter().step_by(stride).zip(to) {
                to.set(crate::numbers::widen(from.get(), kind));
            }
        }
    }
}

/// Copies every `stride`-th logit.
#[inline(never)]
fn gather<E: Element>(from: &[Cell<E>], stride: usize, to: &[Cell<E>]) {
    let mut place = 0;
    for to in to {
        if let Some(x) = from.get(place) {
            to.set(x.get());
        }
        place += stride;
    }
}

/// Copies rows of `classes` logits, `stride` apart, into `to` without gaps. Does not read beyond the end of `from`; may write a vector
/// beyond the last row.
#[inline(always)]
pub fn lines<V: Single>(from: Numbers, stride: usize, classes: usize, to: Numbers) {
    match (to.kind() == Kind::Double, classes / V::LANES) {
        (true, _) => lines_of::<V::Double, ANY>(from.cells(), stride, classes, to.cells()),
        (_, 1) => lines_of::<V, 1>(from.cells(), stride, classes, to.cells()),
        (_, 2) => lines_of::<V, 2>(from.cells(), stride, classes, to.cells()),
        _ => lines_of::<V, ANY>(from.cells(), stride, classes, to.cells()),
    }
}

/// Instead of a number of whole vectors: any number of classes.
pub const ANY: usize = usize::MAX;

/// [`lines`] of one type and, if it is not [`ANY`], `WHOLE` whole vectors and a rest: a loop over so few would take longer than they do.
#[inline(never)]
fn lines_of<V: Vector, const WHOLE: usize>(
    from: &[Cell<V::Element>],
    stride: usize,
    classes: usize,
    to: &[Cell<V::Element>],
) {
    let beyond = if WHOLE == ANY { classes / V::LANES + 1 } else { WHOLE + 1 } * V::LANES;
    let (mut from, mut to) = (from, to);
    while !from.is_empty() && !to.is_empty() {
        if let (Some(from), Some(to)) = (from.get(..beyond), to.get(..beyond)) {
            for (x, to) in V::chunks(from).0.iter().zip(V::chunks(to).0) {
                V::load(x).store(to);
            }
        } else {
            scratch::copy::<V>(part(from, 0, classes), to);
        }
        from = from.get(stride..).unwrap_or(&[]);
        to = to.get(classes..).unwrap_or(&[]);
    }
}

/// Copies all numbers of `from`.
#[inline(always)]
pub fn copy<V: Single>(from: Numbers, to: Numbers) {
    if to.kind() == Kind::Double {
        scratch::copy::<V::Double>(from.cells(), to.cells());
    } else {
        scratch::copy::<V>(from.cells(), to.cells());
    }
}
