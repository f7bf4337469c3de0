//! Numbers whose type is known only when the kernel runs.
//!
//! The type is checked once for a tile. So the code above the loops exists once in the module, and the loops once for each type.

use crate::vector::{Element, from_bf16, from_f16};
use core::cell::Cell;
use core::marker::PhantomData;

/// The type of a number in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `f32`
    Single,
    /// `f64`
    Double,
    /// IEEE 754 binary16
    Half,
    /// The upper half of an `f32`
    Brain,
}

impl Kind {
    /// Bytes of a number.
    #[inline(always)]
    fn size(self) -> usize {
        match self {
            Self::Double => 8,
            Self::Single => 4,
            Self::Half | Self::Brain => 2,
        }
    }
}

/// A slice of numbers of one [`Kind`].
#[derive(Clone, Copy)]
pub struct Numbers<'a> {
    start: *const (),
    length: usize,
    kind: Kind,
    memory: PhantomData<&'a [Cell<f64>]>,
}

impl<'a> Numbers<'a> {
    /// An empty slice.
    pub const NONE: Self =
        Self { start: core::ptr::without_provenance(8), length: 0, kind: Kind::Single, memory: PhantomData };

    /// `length` numbers, from the one at `first` on, of an array at an address.
    ///
    /// # Safety
    ///
    /// The numbers are aligned and valid for reads and writes for the lifetime of this, and other threads access them only through cells.
    #[inline(always)]
    pub unsafe fn at(address: usize, first: usize, length: usize, kind: Kind) -> Self {
        let start = core::ptr::with_exposed_provenance::<()>(address).wrapping_byte_add(first * kind.size());
        Self { start, length, kind, memory: PhantomData }
    }

    /// Memory of the scratch area, as `f64` or `f32`.
    #[inline(always)]
    pub fn in_memory(memory: &'a [Cell<f64>], double: bool) -> Self {
        let (length, kind) = if double { (memory.len(), Kind::Double) } else { (2 * memory.len(), Kind::Single) };
        Self { start: memory.as_ptr().cast(), length, kind, memory: PhantomData }
    }

    /// Numbers of a type that is computed with.
    #[inline(always)]
    pub fn of<E: Element>(cells: &'a [Cell<E>]) -> Self {
        let kind = if E::DOUBLE { Kind::Double } else { Kind::Single };
        Self { start: cells.as_ptr().cast(), length: cells.len(), kind, memory: PhantomData }
    }

    /// The numbers if they have this type, else an empty slice.
    #[inline(always)]
    pub fn cells<E: Element>(self) -> &'a [Cell<E>] {
        if self.kind != (if E::DOUBLE { Kind::Double } else { Kind::Single }) {
            return &[];
        }
        // SAFETY: the obligation of `Numbers::at`; `Element` is implemented for `f32` and `f64` only.
        unsafe { core::slice::from_raw_parts(self.start.cast(), self.length) }
    }

    /// The bits of 16-bit numbers; an empty slice for other types.
    #[inline(always)]
    pub fn halves(self) -> &'a [Cell<u16>] {
        if !matches!(self.kind, Kind::Half | Kind::Brain) {
            return &[];
        }
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts(self.start.cast(), self.length) }
    }

    /// The type.
    #[inline(always)]
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// Whether the type is one that is computed with, without widening.
    #[inline(always)]
    pub fn is_computed_with(self) -> bool {
        matches!(self.kind, Kind::Single | Kind::Double)
    }

    /// Whether there are no numbers.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.length == 0
    }

    /// How many numbers there are.
    #[inline(always)]
    pub fn len(self) -> usize {
        self.length
    }

    /// Whether both begin at the same place.
    #[inline(always)]
    pub fn begins_at(self, other: Self) -> bool {
        core::ptr::eq(self.start, other.start)
    }

    /// The numbers from `from` to `to`; empty if that is out of bounds.
    #[inline(always)]
    pub fn part(self, from: usize, to: usize) -> Self {
        if from > to || to > self.length {
            return Self { length: 0, ..self };
        }
        Self { start: self.start.wrapping_byte_add(from * self.kind.size()), length: to - from, ..self }
    }

    /// The numbers from `from` on.
    #[inline(always)]
    pub fn from(self, from: usize) -> Self {
        self.part(from, self.length)
    }

    /// One number, exactly; NaN beyond the end.
    #[inline(always)]
    pub fn get(self, place: usize) -> f64 {
        read(self.start, self.length, self.kind, place)
    }

    /// Rounds and writes a number; does nothing beyond the end.
    #[inline(always)]
    pub fn set(self, place: usize, x: f64) {
        match self.kind {
            Kind::Double => {
                if let Some(to) = self.cells::<f64>().get(place) {
                    to.set(x);
                }
            }
            _ => {
                if let Some(to) = self.cells::<f32>().get(place) {
                    to.set(x as f32);
                }
            }
        }
    }
}

/// Not inlined, because it is called from many places.
#[inline(never)]
fn read(start: *const (), length: usize, kind: Kind, place: usize) -> f64 {
    let all = Numbers { start, length, kind, memory: PhantomData };
    let bits = || all.halves().get(place).map(Cell::get);
    match kind {
        Kind::Double => all.cells::<f64>().get(place).map_or(f64::NAN, Cell::get),
        Kind::Single => all.cells::<f32>().get(place).map_or(f64::NAN, |x| f64::from(x.get())),
        _ => bits().map_or(f64::NAN, |x| f64::from(widen(x, kind))),
    }
}

/// The value of a 16-bit number.
#[inline(always)]
pub fn widen(bits: u16, kind: Kind) -> f32 {
    if kind == Kind::Brain { from_bf16(bits) } else { from_f16(bits) }
}
