//! Logits as they are given, a tile at a time: type, stride and softcap end here, once for a tile and not once for a class.

use crate::scratch::{Scratch, tile_of};
use crate::softcap;
use crate::vector::{Element, Pair, Vector, Wide, from_bf16, from_f16, part};
use core::cell::Cell;

/// A line of logits: the classes of a row, or the rows of a class. They are in the one of these slices that is not empty.
#[derive(Clone, Copy)]
pub struct Line<'a, E> {
    /// Of the type that is computed with.
    pub own: &'a [Cell<E>],
    /// IEEE 754 binary16
    pub f16: &'a [Cell<u16>],
    /// The upper half of an `f32`
    pub bf16: &'a [Cell<u16>],
    /// From one to the next.
    pub stride: usize,
    /// c; 0: no cap.
    pub softcap: f64,
}

/// Logits of a tile. What rounding a capped logit to `high` has lost is in `low`, which has anything in it where nothing is capped.
#[derive(Clone, Copy)]
pub struct Tile<'a, E> {
    /// After the softcap.
    pub high: &'a [Cell<E>],
    /// Second parts.
    pub low: &'a [Cell<E>],
}

impl<'a, E: Element> Line<'a, E> {
    /// Whether tiles are the line's own memory, of any length.
    #[inline(always)]
    pub fn is_direct(&self) -> bool {
        self.stride == 1 && self.softcap == 0.0 && !self.own.is_empty()
    }

    /// How many logits a tile has at most.
    #[inline(always)]
    pub fn tile_length(&self) -> usize {
        if self.is_direct() { usize::MAX } else { tile_of::<E>() }
    }

    /// One logit as it is given, exactly.
    #[inline(always)]
    pub fn get(&self, place: usize) -> f64 {
        read(self.own, self.f16, self.bf16, place * self.stride)
    }

    /// One logit after the softcap, and its slope.
    #[inline(always)]
    pub fn capped<V: Vector<Element = E>>(&self, place: usize, scratch: &Scratch) -> (f64, f64) {
        let x = self.get(place);
        if self.softcap == 0.0 {
            return (x, 1.0);
        }
        capped::<V>(x, self.softcap, &scratch.capped);
        let [y, slope] = scratch.capped.each_ref().map(Cell::get);
        (y, slope)
    }

    /// Logits `from` to `to` as they are given, read where they lie or brought into `tile`.
    #[inline(always)]
    pub fn raw<V: Vector<Element = E>>(&self, from: usize, to: usize, tile: &'a [Cell<E>]) -> &'a [Cell<E>] {
        if self.stride == 1 && !self.own.is_empty() {
            return part(self.own, from, to);
        }
        let tile = part(tile, 0, to - from);
        fetch::<V>(self.own, self.f16, self.bf16, from, self.stride, tile);
        tile
    }

    /// Logits `from` to `to`, at most [`Line::tile_length`] of them.
    #[inline(always)]
    pub fn tile<V: Vector<Element = E>>(&self, from: usize, to: usize, scratch: &'a Scratch) -> Tile<'a, E> {
        let (tile, low) = (scratch.tile(), scratch.low());
        let mut high = self.raw::<V>(from, to, tile);
        if self.softcap != 0.0 {
            softcap::stage::<V>(high, tile, low, scratch.slope(), self.softcap);
            high = part(tile, 0, to - from);
        }
        Tile { high, low: part(low, 0, high.len().min(low.len())) }
    }
}

/// One number capped: a function of its own, since it is called from many places.
#[inline(never)]
fn capped<V: Vector>(x: f64, cap: f64, to: &[Cell<f64>; 2]) {
    let splat = V::Wide::splat;
    let (y, slope) = softcap::cap::<V::Wide, V::Element>(splat(x), splat(cap), splat(1.0 / cap));
    to[0].set(y.to_array()[0]);
    to[1].set(slope.to_array()[0]);
}

/// A function of slices and numbers, since it is called from many places.
#[inline(never)]
fn read<E: Element>(own: &[Cell<E>], f16: &[Cell<u16>], bf16: &[Cell<u16>], place: usize) -> f64 {
    if let Some(x) = own.get(place) {
        x.get().to_f64()
    } else if let Some(x) = f16.get(place) {
        f64::from(from_f16(x.get()))
    } else {
        bf16.get(place).map_or(f64::NAN, |x| f64::from(from_bf16(x.get())))
    }
}

/// Brings logits that are not read where they lie into `to`: as many as that has places, from the one at `from` on.
#[inline(never)]
fn fetch<V: Vector>(
    own: &[Cell<V::Element>],
    f16: &[Cell<u16>],
    bf16: &[Cell<u16>],
    from: usize,
    stride: usize,
    to: &[Cell<V::Element>],
) {
    if stride != 1 {
        gather(own, f16, bf16, from * stride, stride, to);
    } else if !f16.is_empty() {
        V::widen_f16(part(f16, from, from + to.len()), to);
    } else {
        V::widen_bf16(part(bf16, from, from + to.len()), to);
    }
}

/// Every `stride`-th logit from `first` on.
#[inline(never)]
fn gather<E: Element>(
    own: &[Cell<E>],
    f16: &[Cell<u16>],
    bf16: &[Cell<u16>],
    first: usize,
    stride: usize,
    to: &[Cell<E>],
) {
    let mut place = first;
    if own.is_empty() {
        for to in to {
            to.set(E::from_f64(read(own, f16, bf16, place)));
            place += stride;
        }
        return;
    }
    for to in to {
        if let Some(x) = own.get(place) {
            to.set(x.get());
        }
        place += stride;
    }
}
