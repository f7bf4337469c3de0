//! The vector operations that the loops use: [`Single`], four `f32`, and [`Single::Double`], two `f64`.
//!
//! The traits let each loop be written once. `wasm::F32x4` and `wasm::F64x2` implement them; the loops are designed for these. So do
//! ordinary arrays ([`Scalar`], [`Fused`]), with which the same loops are tested, fuzzed and debugged on any host. Both give the same
//! bits if they round in the same way (see [`Vector::mul_add`]).
//!
//! Memory is read and written through `Cell`s: a gradient may replace its logits ("in place"), and other threads may read a shared memory
//! at any time.

use core::cell::Cell;

mod factor;
mod scalar;
mod twice;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

pub use factor::{FACTORS, Factor};
pub use scalar::{Fused, Scalar};
pub use twice::Twice;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm::F32x4;

/// The type of a lane.
pub trait Element: Copy + Default + PartialOrd + 'static {
    /// Whether the type is `f64`.
    const DOUBLE: bool;

    /// Rounds an `f64` to this type.
    fn from_f64(x: f64) -> Self;

    /// The same number as an `f64`, exactly.
    fn to_f64(self) -> f64;

    /// The bits.
    fn bits(self) -> u64;

    /// A buffer of the scratch area, as numbers of this type.
    fn cells(memory: &[Cell<f64>]) -> &[Cell<Self>];

    /// The numbers themselves if this type is `f32`, else none.
    fn of_single(x: &[Cell<f32>]) -> Option<&[Cell<Self>]>;
}

impl Element for f32 {
    const DOUBLE: bool = false;

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }

    #[inline(always)]
    fn cells(memory: &[Cell<f64>]) -> &[Cell<Self>] {
        // SAFETY: the same bytes, of a smaller alignment; both types may have any bits.
        unsafe { core::slice::from_raw_parts(memory.as_ptr().cast(), 2 * memory.len()) }
    }

    #[inline(always)]
    fn of_single(x: &[Cell<f32>]) -> Option<&[Cell<Self>]> {
        Some(x)
    }
}

impl Element for f64 {
    const DOUBLE: bool = true;

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        self.to_bits()
    }

    #[inline(always)]
    fn cells(memory: &[Cell<f64>]) -> &[Cell<Self>] {
        memory
    }

    #[inline(always)]
    fn of_single(_: &[Cell<f32>]) -> Option<&[Cell<Self>]> {
        None
    }
}

/// Points of a [`Table`].
pub const POINTS: usize = 1024;

/// Four numbers for each point, which [`Vector::look_up`] reads.
pub type Table = [[Cell<f32>; 4]; POINTS];

/// Lanes of numbers in one register.
pub trait Vector: Copy {
    /// The type of a lane.
    type Element: Element;

    /// One vector in memory.
    type Chunk;

    /// The number of lanes.
    const LANES: usize;

    /// The `f64`s in which sums are added.
    type Wide: Pair;

    /// Splits a slice into whole vectors and a remainder.
    fn chunks(x: &[Cell<Self::Element>]) -> (&[Self::Chunk], &[Cell<Self::Element>]);

    /// The same number in every lane.
    fn splat(x: Self::Element) -> Self;

    /// A number, rounded to the type, in every lane.
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        Self::splat(Self::Element::from_f64(x))
    }

    /// A constant that the compiler cannot see through. V8 from version 13.6 on rebuilds a vector literal in each iteration of a loop,
    /// which makes the loop up to 1.8 times slower; a value loaded from memory stays in its register.
    fn opaque(x: &'static f64) -> Self;

    /// Reads a vector.
    fn load(from: &Self::Chunk) -> Self;

    /// Reads fewer lanes than a vector has, from the first on; the others are `fill`.
    fn load_partial(from: &[Cell<Self::Element>], fill: Self::Element) -> Self;

    /// Writes a vector.
    fn store(self, to: &Self::Chunk);

    /// Writes fewer lanes than a vector has, from the first on.
    fn store_partial(self, to: &[Cell<Self::Element>]);

    /// `self + b`
    fn add(self, b: Self) -> Self;

    /// `self - b`
    fn sub(self, b: Self) -> Self;

    /// `self * b`
    fn mul(self, b: Self) -> Self;

    /// `self * b + c`, rounded once if the engine fuses both operations (usually in the relaxed variant), else twice.
    fn mul_add(self, b: Self, c: Self) -> Self;

    /// `self < b ? b : self`: one instruction, while the maximum of IEEE 754 takes nine. If either is NaN, the result is `self`.
    /// `self` must not be a constant that the compiler knows: LLVM would use a maximum that loses the NaN.
    fn max(self, b: Self) -> Self;

    /// `b < self ? b : self`, with the caveat of [`Vector::max`].
    fn min(self, b: Self) -> Self;

    /// A mask: all bits set in the lanes that are NaN, none in the others.
    fn is_nan(self) -> Self;

    /// Bitwise or.
    fn or(self, b: Self) -> Self;

    /// Bitwise and.
    fn and(self, b: Self) -> Self;

    /// Bitwise exclusive or.
    fn xor(self, b: Self) -> Self;

    /// All bits of a lane where `self > b`, none if not.
    fn above(self, b: Self) -> Self;

    /// All bits of a lane where `self != b`, none if not.
    fn differs(self, b: Self) -> Self;

    /// `a` in the lanes with all bits, `b` in those with none.
    fn select(self, a: Self, b: Self) -> Self;

    /// The low bits, shifted to the position of a float's sign and exponent: `2^(n - bias)` from the integer `n`.
    fn exponent(self) -> Self;

    /// A mask of the first `n` lanes.
    fn first_lanes(n: usize) -> Self;

    /// The vector with one lane set to zero; a lane beyond the vector changes nothing.
    fn without(self, lane: usize) -> Self;

    /// Adds each lane to one of four `f64`, chosen by the lane and the parity of `place`.
    fn accumulate(self, sums: &mut Twice<Self::Wide>, place: usize);

    /// The lanes as `f64`. With two lanes, the second half is 0.
    fn widen(self) -> Twice<Self::Wide>;

    /// Rounds as many `f64` as there are lanes.
    fn narrow(x: Twice<Self::Wide>) -> Self;

    /// The bits of all lanes, or-ed together.
    fn any_bits(self) -> u64;

    /// The first lane equal to `b`, or [`Vector::LANES`].
    fn first_equal(self, b: Self) -> usize;

    /// One lane.
    fn lane(self, lane: usize) -> Self::Element;

    /// For `f32`: the low ten bits of each lane, times 16.
    fn low_bits(self) -> Self {
        self
    }

    /// For `f32`: looks up points of a table, given their [`Vector::low_bits`], and returns their four numbers.
    fn look_up(points: &Self::Chunk, _table: &Table) -> [Self; 4] {
        [Self::load(points); 4]
    }

    /// Widens logits from IEEE 754 binary16. Not called for `f64`.
    fn widen_f16(_from: &[Cell<u16>], _to: &[Cell<Self::Element>]) {}

    /// Widens logits from bfloat16. Not called for `f64`.
    fn widen_bf16(_from: &[Cell<u16>], _to: &[Cell<Self::Element>]) {}
}

/// Four `f32`, with the matching vector of `f64`.
pub trait Single: Vector<Element = f32, Chunk = [Cell<f32>; 4]> {
    /// Two `f64`, for `f64` logits.
    type Double: Vector<Element = f64, Chunk = [Cell<f64>; 2], Wide = Self::Wide>;

    /// These lanes.
    fn of(lanes: [f32; 4]) -> Self;

    /// The vector with those lanes set to zero whose label is this class.
    fn without_label(self, labels: &[Cell<i32>], class: i32) -> Self;

    /// Whether any lane's label is one of the `count` classes from `class` on.
    fn any_label(labels: &[Cell<i32>], class: i32, count: i32) -> bool;
}

/// `f64`s, for values that must not be rounded to `f32` yet. No operation is fused, so both variants and all engines give the same
/// bits.
pub trait Wide: Copy {
    /// The same number in every lane.
    fn splat(x: f64) -> Self;

    /// See [`Vector::opaque`].
    fn constant(x: &'static f64) -> Self;

    /// `self + b`
    fn add(self, b: Self) -> Self;

    /// `self - b`
    fn sub(self, b: Self) -> Self;

    /// `self * b`
    fn mul(self, b: Self) -> Self;

    /// `self * b + c`, rounded once or twice: only for products that are exact.
    fn mul_add(self, b: Self, c: Self) -> Self;

    /// `self / b`
    fn div(self, b: Self) -> Self;

    /// Bits shifted left by `N`.
    fn shl<const N: u32>(self) -> Self;

    /// Bits shifted right by `N`, filled with zeros.
    fn shr<const N: u32>(self) -> Self;

    /// Bits added, as integers.
    fn add_bits(self, b: Self) -> Self;

    /// Bits subtracted, as integers.
    fn sub_bits(self, b: Self) -> Self;

    /// Bitwise and.
    fn and(self, b: Self) -> Self;

    /// All bits of a lane where `self < b`, none if not.
    fn below(self, b: Self) -> Self;

    /// All bits of a lane where `self == b`, none if not.
    fn equal(self, b: Self) -> Self;

    /// `a` in the lanes with all bits, `b` in those with none.
    fn select(self, a: Self, b: Self) -> Self;
}

/// Two `f64`: one vector.
pub trait Pair: Wide {
    /// Reads two numbers.
    fn load(from: &[Cell<f64>; 2]) -> Self;

    /// Writes two numbers.
    fn store(self, to: &[Cell<f64>; 2]);

    /// The sum of the lanes of each.
    fn sum_lanes(a: Self, b: Self) -> Self;

    /// The lanes.
    fn to_array(self) -> [f64; 2];
}

/// A part of a slice; empty if it is out of bounds.
#[inline(always)]
pub fn part<T>(all: &[T], from: usize, to: usize) -> &[T] {
    all.get(from..to).unwrap_or(&[])
}

/// The value of IEEE 754 binary16 bits. Exact.
#[inline(always)]
pub fn from_f16(half: u16) -> f32 {
    let bits = u32::from(half);
    let sign = (bits & 0x8000) << 16;
    // Read as an f32, the bits are 2^112 times too small, also for subnormal numbers.
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | sign)
}

/// The value of bfloat16 bits. Exact.
#[inline(always)]
pub fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
