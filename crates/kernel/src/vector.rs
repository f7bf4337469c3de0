//! The few operations of a vector that the loops need: [`Single`], four `f32`, and [`Single::Double`], two `f64`.
//!
//! The traits exist so that each loop is written once. They are implemented by `wasm::F32x4` and `wasm::F64x2`, for which the
//! loops are designed, and by ordinary arrays ([`Scalar`], [`Fused`]), on which the same loops are tested, fuzzed and read in a
//! debugger on any host. Both compute the same bits where both round the same way ([`Vector::mul_add`] says when).
//!
//! Memory is read and written through `Cell`s: a gradient may lie over its own logits ("in place"), and other threads may read a
//! shared memory at any time.

use core::cell::Cell;

mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

pub use scalar::{Fused, Scalar};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm::F32x4;

/// The type of a lane.
pub trait Element: Copy + Default + PartialOrd + 'static {
    /// Whether this is `f64`.
    const DOUBLE: bool;

    /// Rounds.
    fn from_f64(x: f64) -> Self;

    /// Exact.
    fn to_f64(self) -> f64;

    /// The bits.
    fn bits(self) -> u64;

    /// Memory of the scratch area, as numbers of this type.
    fn cells(memory: &[Cell<f64>]) -> &[Cell<Self>];

    /// Numbers that are of this type, if it is `f32`.
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

/// Numbers side by side.
pub trait Vector: Copy {
    /// The type of a lane.
    type Element: Element;

    /// The memory of one vector.
    type Chunk;

    /// Numbers in one vector.
    const LANES: usize;

    /// The `f64`s that sums are made of.
    type Wide: Pair;

    /// Whole vectors, and the rest.
    fn chunks(x: &[Cell<Self::Element>]) -> (&[Self::Chunk], &[Cell<Self::Element>]);

    /// The same number in every lane.
    fn splat(x: Self::Element) -> Self;

    /// A constant of a loop that the compiler does not see. V8 from version 13.6 on forgets that a vector literal is in a
    /// register and builds it again in each round of the loop, up to 1.8 times slower; what was loaded once stays.
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

    /// `self * b + c`, rounded once where the machine fuses both (the relaxed variant, usually), else twice.
    fn mul_add(self, b: Self, c: Self) -> Self;

    /// `self < b ? b : self`: one instruction where the maximum of IEEE 754 takes nine. Of a NaN and a number either may
    /// come out: with relaxed SIMD, LLVM makes `relaxed_max` of this, whose choice is the engine's.
    fn max(self, b: Self) -> Self;

    /// `b < self ? b : self`, with the caveat of [`Vector::max`].
    fn min(self, b: Self) -> Self;

    /// All bits of the lanes that are NaN, none of the others.
    fn is_nan(self) -> Self;

    /// Bitwise or.
    fn or(self, b: Self) -> Self;

    /// Bitwise and.
    fn and(self, b: Self) -> Self;

    /// All bits of a lane where `self > b`, none where not.
    fn above(self, b: Self) -> Self;

    /// All bits of a lane where `self != b`, none where not.
    fn differs(self, b: Self) -> Self;

    /// `a` in the lanes with all bits, `b` in those with none.
    fn select(self, a: Self, b: Self) -> Self;

    /// The low bits, moved up to where a float keeps its sign and exponent: `2^(n - bias)` from the integer `n`.
    fn exponent(self) -> Self;

    /// All bits of the first `n` lanes.
    fn first_lanes(n: usize) -> Self;

    /// Zero in one lane; a lane outside of the vector changes nothing.
    fn without(self, lane: usize) -> Self;

    /// Zero in the lanes with this label, which is the class that the lanes are of.
    fn without_label(self, labels: &[Cell<i32>], class: i32) -> Self;

    /// Whether the label of a lane is one of `count` classes from `class` on.
    fn any_label(labels: &[Cell<i32>], class: i32, count: i32) -> bool;

    /// Adds each lane to one of four `f64`: the same one for the same lane and parity of `place`.
    fn accumulate(self, sums: &mut Twice<Self::Wide>, place: usize);

    /// The lanes as `f64`; of two lanes, the second half is 0.
    fn widen(self) -> Twice<Self::Wide>;

    /// Rounds, as many as there are lanes.
    fn narrow(x: Twice<Self::Wide>) -> Self;

    /// All bits of all lanes, or-ed.
    fn any_bits(self) -> u64;

    /// The first lane equal to `b`, or [`Vector::LANES`].
    fn first_equal(self, b: Self) -> usize;

    /// One lane.
    fn lane(self, lane: usize) -> Self::Element;

    /// Widens logits in IEEE 754 binary16; there are none where those are `f64`.
    fn widen_f16(_from: &[Cell<u16>], _to: &[Cell<Self::Element>]) {}

    /// Widens logits in bfloat16, likewise.
    fn widen_bf16(_from: &[Cell<u16>], _to: &[Cell<Self::Element>]) {}
}

/// Four `f32`, and what goes with them.
pub trait Single: Vector<Element = f32, Chunk = [Cell<f32>; 4]> {
    /// Two `f64`, for `f64` logits.
    type Double: Vector<Element = f64, Chunk = [Cell<f64>; 2], Wide = Self::Wide>;
}

/// `f64`s, for what must not be rounded to `f32` yet. No operation here is ever fused, so that both variants and every
/// engine give the same bits.
pub trait Wide: Copy {
    /// The same number in every lane.
    fn splat(x: f64) -> Self;

    /// As [`Vector::opaque`].
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

    /// All bits of a lane where `self == b`, none where not.
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

/// A factor of many numbers in two parts: rounded to one, it would cost each product up to one more ulp.
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
        if V::Element::DOUBLE {
            return Self { high: V::splat(V::Element::from_f64(factor)), low: V::splat(V::Element::from_f64(0.0)) };
        }
        // 29 digits: five of them for the second part.
        let factor = f64::from_bits(factor.to_bits() & !0xff_ffff);
        let high = V::Element::from_f64(factor);
        Self { high: V::splat(high), low: V::splat(V::Element::from_f64(factor - high.to_f64())) }
    }

    /// `x * factor + y`
    #[inline(always)]
    pub fn times_plus(&self, x: V, y: V) -> V {
        x.mul_add(self.high, if V::Element::DOUBLE { y } else { x.mul_add(self.low, y) })
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
    fn equal(self, b: Self) -> Self {
        Self(self.0.equal(b.0), self.1.equal(b.1))
    }

    #[inline(always)]
    fn select(self, a: Self, b: Self) -> Self {
        Self(self.0.select(a.0, b.0), self.1.select(a.1, b.1))
    }
}

impl<W: Pair> Twice<W> {
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

    /// The sum of all four: `(0 + 1) + (2 + 3)` of the vectors' sums.
    #[inline(always)]
    pub fn total(self) -> f64 {
        let [a, b] = self.0.add(self.1).to_array();
        a + b
    }
}

#[inline(always)]
fn halves<T>(four: &[T; 4]) -> [&[T; 2]; 2] {
    let (pairs, _) = four.as_chunks::<2>();
    [&pairs[0], &pairs[1]]
}

/// A part of a slice; nothing where that does not have it.
#[inline(always)]
pub fn part<T>(all: &[T], from: usize, to: usize) -> &[T] {
    all.get(from..to).unwrap_or(&[])
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
