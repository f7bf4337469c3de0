//! The few operations of a vector of four `f32` that the row loops need.
//!
//! The trait exists so that each loop is written once. It is implemented by `wasm::Simd128`, for which the loops are
//! designed, and by [`Scalar`], four ordinary numbers, on which the same loops are tested, fuzzed and read in a
//! debugger on any host. Both compute the same bits where both round the same way ([`Vector::mul_add`] says when).
//!
//! Memory is read and written through `Cell`s: a gradient may lie over its own logits ("in-place"), and in a shared
//! memory nobody can promise that another thread does not look.

use core::cell::Cell;

mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

pub use scalar::{Fused, Scalar};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm::Simd128;

/// Numbers in one vector.
pub const LANES: usize = 4;

/// The memory of one vector.
pub type Chunk = [Cell<f32>; LANES];

/// Four `f32`.
pub trait Vector: Copy {
    /// Half the lanes as `f64`.
    type Wide: Pair;

    /// The same number in every lane.
    fn splat(x: f32) -> Self;

    /// A constant of a loop, kept out of the compiler's sight. V8 from version 13.6 on forgets that a vector literal is
    /// in a register and builds it again in each round of the loop, up to 1.8 times slower; what was loaded once stays.
    fn constant(x: &'static f32) -> Self;

    /// A length that the compiler does not know.
    fn hidden(length: &'static usize) -> usize;

    /// Reads four numbers.
    fn load(from: &Chunk) -> Self;

    /// Reads the first one to three lanes; the others are `fill`.
    fn load_partial(from: &[Cell<f32>], fill: f32) -> Self;

    /// Reads four IEEE 754 binary16 numbers, exactly.
    fn load_f16(from: &[Cell<u16>; LANES]) -> Self;

    /// Reads four bfloat16 numbers (upper halves of `f32`), exactly.
    fn load_bf16(from: &[Cell<u16>; LANES]) -> Self;

    /// Writes four numbers.
    fn store(self, to: &Chunk);

    /// Writes the first one to three lanes.
    fn store_partial(self, to: &[Cell<f32>]);

    /// `self + b`
    fn add(self, b: Self) -> Self;

    /// `self - b`
    fn sub(self, b: Self) -> Self;

    /// `self * b`
    fn mul(self, b: Self) -> Self;

    /// `self * b + c`, rounded once where the machine fuses both (the relaxed variant, usually), else twice.
    fn mul_add(self, b: Self, c: Self) -> Self;

    /// `self < b ? b : self`: one instruction where the maximum of IEEE 754 takes nine. Of a NaN and a number either may
    /// come out: with relaxed SIMD, LLVM makes `relaxed_max` of this, whose choice is the engine's.
    fn max(self, b: Self) -> Self;

    /// `b < self ? b : self`, and see [`Vector::max`].
    fn min(self, b: Self) -> Self;

    /// All bits of the lanes that are NaN, none of the others.
    fn is_nan(self) -> Self;

    /// Bitwise or.
    fn or(self, b: Self) -> Self;

    /// The low nine bits, moved up to where a float keeps its sign and exponent: `2^(n - 127)` from the integer `n`.
    fn exponent(self) -> Self;

    /// Bitwise and.
    fn and(self, b: Self) -> Self;

    /// All bits of a lane where `self > b`, none where not.
    fn above(self, b: Self) -> Self;

    /// All bits of the first `n` lanes.
    fn first_lanes(n: usize) -> Self;

    /// Zero in one lane; a lane outside of 0..4 changes nothing.
    fn without(self, lane: usize) -> Self;

    /// The sum of the lanes of each: `(0 + 2) + (1 + 3)`.
    fn sum_lanes(a: Self, b: Self, c: Self, d: Self) -> Self;

    /// The lanes 0 and 1, and 2 and 3.
    fn widen(self) -> (Self::Wide, Self::Wide);

    /// The lanes.
    fn to_array(self) -> [f32; LANES];

    /// The first lane equal to `b`, or [`LANES`].
    fn first_equal(self, b: Self) -> usize;
}

/// `f64`s, for what must not be rounded to `f32` yet. No operation here is ever fused, so that both variants and every
/// engine give the same bits.
pub trait Wide: Copy {
    /// The same number in every lane.
    fn splat(x: f64) -> Self;

    /// As [`Vector::constant`].
    fn constant(x: &'static f64) -> Self;

    /// `self + b`
    fn add(self, b: Self) -> Self;

    /// `self - b`
    fn sub(self, b: Self) -> Self;

    /// `self * b`
    fn mul(self, b: Self) -> Self;

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

    /// All bits of a lane where `self < b`, none where not.
    fn below(self, b: Self) -> Self;

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

    /// Rounds `low` and `high` to `f32`.
    fn store_narrow(low: Self, high: Self, to: &Chunk);

    /// The lanes.
    fn to_array(self) -> [f64; 2];
}

/// A factor of many numbers in two parts: rounded to `f32` alone, it would cost each product up to one more ulp.
#[derive(Clone, Copy)]
pub struct Factor<V> {
    high: V,
    low: V,
}

/// Sizes of a factor. Above the lower end the second part is exact: a factor that is a power of two smaller has the same
/// digits.
pub const FACTORS: core::ops::Range<f64> = 1e-36..1e38;

impl<V: Vector> Factor<V> {
    /// For 0, and sizes within [`FACTORS`].
    #[inline(always)]
    pub fn new(factor: f64) -> Self {
        // 29 digits: five of them for the second part.
        let factor = f64::from_bits(factor.to_bits() & !0xff_ffff);
        let high = factor as f32;
        Self { high: V::splat(high), low: V::splat((factor - f64::from(high)) as f32) }
    }

    /// `x * factor`
    #[inline(always)]
    pub fn times(&self, x: V) -> V {
        x.mul_add(self.high, x.mul(self.low))
    }

    /// `(power + tail) * factor`, where products with a power of two are exact: rounded as if the sum never was.
    #[inline(always)]
    pub fn times_parts(&self, power: V, tail: V) -> V {
        power.mul_add(self.high, tail.mul_add(self.high, power.mul(self.low)))
    }
}

/// Two vectors, operation by operation: where one alone would be a long chain of operations that wait for one another,
/// two side by side keep the processor busy.
#[derive(Clone, Copy)]
pub struct Twice<W>(pub W, pub W);

impl<W: Wide> Wide for Twice<W> {
    #[inline(always)]
    fn splat(x: f64) -> Self {
        Self(W::splat(x), W::splat(x))
    }

    #[inline(always)]
    fn constant(x: &'static f64) -> Self {
        let x = W::constant(x);
        Self(x, x)
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self(self.0.add(b.0), self.1.add(b.1))
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self(self.0.sub(b.0), self.1.sub(b.1))
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Self(self.0.mul(b.0), self.1.mul(b.1))
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        Self(self.0.div(b.0), self.1.div(b.1))
    }

    #[inline(always)]
    fn shl<const N: u32>(self) -> Self {
        Self(self.0.shl::<N>(), self.1.shl::<N>())
    }

    #[inline(always)]
    fn shr<const N: u32>(self) -> Self {
        Self(self.0.shr::<N>(), self.1.shr::<N>())
    }

    #[inline(always)]
    fn add_bits(self, b: Self) -> Self {
        Self(self.0.add_bits(b.0), self.1.add_bits(b.1))
    }

    #[inline(always)]
    fn sub_bits(self, b: Self) -> Self {
        Self(self.0.sub_bits(b.0), self.1.sub_bits(b.1))
    }

    #[inline(always)]
    fn and(self, b: Self) -> Self {
        Self(self.0.and(b.0), self.1.and(b.1))
    }

    #[inline(always)]
    fn below(self, b: Self) -> Self {
        Self(self.0.below(b.0), self.1.below(b.1))
    }

    #[inline(always)]
    fn select(self, a: Self, b: Self) -> Self {
        Self(self.0.select(a.0, b.0), self.1.select(a.1, b.1))
    }
}

impl<W: Pair> Twice<W> {
    /// Four `f32`, exactly.
    #[inline(always)]
    pub fn widen<V: Vector<Wide = W>>(x: V) -> Self {
        let (low, high) = x.widen();
        Self(low, high)
    }

    /// Reads four numbers.
    #[inline(always)]
    pub fn load(from: &[Cell<f64>; 4]) -> Self {
        let [a, b] = halves(from);
        Self(W::load(a), W::load(b))
    }

    /// Writes four numbers.
    #[inline(always)]
    pub fn store(self, to: &[Cell<f64>; 4]) {
        let [a, b] = halves(to);
        self.0.store(a);
        self.1.store(b);
    }

    /// Rounds four numbers to `f32`.
    #[inline(always)]
    pub fn store_narrow(self, to: &Chunk) {
        W::store_narrow(self.0, self.1, to);
    }
}

#[inline(always)]
fn halves<T>(four: &[T; 4]) -> [&[T; 2]; 2] {
    let (pairs, _) = four.as_chunks::<2>();
    [&pairs[0], &pairs[1]]
}

/// The value of IEEE 754 binary16 bits. Exact.
#[inline(always)]
pub fn from_f16(half: u16) -> f32 {
    let bits = u32::from(half);
    let sign = (bits & 0x8000) << 16;
    // As the bits of an f32 these are 2^112 times too small, subnormal numbers included.
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | sign)
}

/// The value of bfloat16 bits. Exact.
#[inline(always)]
pub fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
