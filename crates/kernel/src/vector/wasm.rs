//! `simd128`, with `relaxed-simd` where the build allows it.

use super::{Chunk, LANES, Pair, Vector, Wide};
use core::arch::wasm32::*;
use core::cell::Cell;

/// Four `f32` in a `v128`.
#[derive(Clone, Copy)]
pub struct Simd128(v128);

/// Two `f64` in a `v128`.
#[derive(Clone, Copy)]
pub struct Simd128Wide(v128);

impl Vector for Simd128 {
    type Wide = Simd128Wide;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self(f32x4_splat(x))
    }

    #[inline(always)]
    fn constant(x: &'static f32) -> Self {
        // SAFETY: a reference is valid for reads. Volatile is what keeps the value unknown to the compiler.
        Self::splat(unsafe { core::ptr::read_volatile(x) })
    }

    #[inline(always)]
    fn hidden(length: &'static usize) -> usize {
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(length) }
    }

    #[inline(always)]
    fn load(from: &Chunk) -> Self {
        // SAFETY: a chunk is 16 readable bytes, and v128.load takes any alignment.
        Self(unsafe { v128_load(from.as_ptr().cast()) })
    }

    #[inline(always)]
    fn load_partial(from: &[Cell<f32>], fill: f32) -> Self {
        let lane = |i: usize| from.get(i).map_or(fill, Cell::get);
        Self(f32x4(lane(0), lane(1), lane(2), fill))
    }

    #[inline(always)]
    fn load_f16(from: &[Cell<u16>; LANES]) -> Self {
        // SAFETY: 8 readable bytes, at any alignment.
        let bits = unsafe { u32x4_load_extend_u16x4(from.as_ptr().cast()) };
        // As `super::from_f16`.
        let sign = u32x4_shl(v128_and(bits, u32x4_splat(0x8000)), 16);
        let magnitude = u32x4_shl(v128_and(bits, u32x4_splat(0x7fff)), 13);
        let magnitude = f32x4_mul(magnitude, u32x4_splat(0x7780_0000));
        let exponent = u32x4_splat(0x7c00);
        let special = v128_and(i32x4_eq(v128_and(bits, exponent), exponent), u32x4_splat(0x7f80_0000));
        Self(v128_or(v128_or(magnitude, special), sign))
    }

    #[inline(always)]
    fn load_bf16(from: &[Cell<u16>; LANES]) -> Self {
        // SAFETY: as above.
        Self(u32x4_shl(unsafe { u32x4_load_extend_u16x4(from.as_ptr().cast()) }, 16))
    }

    #[inline(always)]
    fn store(self, to: &Chunk) {
        // SAFETY: a chunk is 16 writable bytes (its cells allow writes through a shared reference), and v128.store
        // takes any alignment.
        unsafe { v128_store(to.as_ptr().cast_mut().cast(), self.0) }
    }

    #[inline(always)]
    fn store_partial(self, to: &[Cell<f32>]) {
        let lanes = self.to_array();
        for (cell, x) in to.iter().zip(lanes).take(LANES - 1) {
            cell.set(x);
        }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self(f32x4_add(self.0, b.0))
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self(f32x4_sub(self.0, b.0))
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Self(f32x4_mul(self.0, b.0))
    }

    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self(f32x4_relaxed_madd(self.0, b.0, c.0))
    }

    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        self.mul(b).add(c)
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        Self(f32x4_pmax(self.0, b.0))
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        Self(f32x4_pmin(self.0, b.0))
    }

    #[inline(always)]
    fn is_nan(self) -> Self {
        Self(f32x4_ne(self.0, self.0))
    }

    #[inline(always)]
    fn or(self, b: Self) -> Self {
        Self(v128_or(self.0, b.0))
    }

    #[inline(always)]
    fn exponent(self) -> Self {
        Self(i32x4_shl(self.0, 23))
    }

    #[inline(always)]
    fn and(self, b: Self) -> Self {
        Self(v128_and(self.0, b.0))
    }

    #[inline(always)]
    fn above(self, b: Self) -> Self {
        Self(f32x4_gt(self.0, b.0))
    }

    #[inline(always)]
    fn first_lanes(n: usize) -> Self {
        Self(i32x4_lt(i32x4(0, 1, 2, 3), i32x4_splat(n as i32)))
    }

    #[inline(always)]
    fn without(self, lane: usize) -> Self {
        let hit = i32x4_eq(i32x4(0, 1, 2, 3), i32x4_splat(lane as i32));
        Self(v128_andnot(self.0, hit))
    }

    #[inline(always)]
    fn sum_lanes(a: Self, b: Self, c: Self, d: Self) -> Self {
        let sums =
            |a: Self, b: Self| f32x4_add(i32x4_shuffle::<0, 4, 1, 5>(a.0, b.0), i32x4_shuffle::<2, 6, 3, 7>(a.0, b.0));
        let (ab, cd) = (sums(a, b), sums(c, d));
        Self(f32x4_add(i64x2_shuffle::<0, 2>(ab, cd), i64x2_shuffle::<1, 3>(ab, cd)))
    }

    #[inline(always)]
    fn widen(self) -> (Self::Wide, Self::Wide) {
        let high = i32x4_shuffle::<2, 3, 2, 3>(self.0, self.0);
        (Simd128Wide(f64x2_promote_low_f32x4(self.0)), Simd128Wide(f64x2_promote_low_f32x4(high)))
    }

    #[inline(always)]
    fn to_array(self) -> [f32; LANES] {
        [
            f32x4_extract_lane::<0>(self.0),
            f32x4_extract_lane::<1>(self.0),
            f32x4_extract_lane::<2>(self.0),
            f32x4_extract_lane::<3>(self.0),
        ]
    }

    #[inline(always)]
    fn first_equal(self, b: Self) -> usize {
        // Bit 4 is never set by four lanes: it is the answer where none is equal.
        (u32::from(i32x4_bitmask(f32x4_eq(self.0, b.0))) | 1 << LANES).trailing_zeros() as usize
    }
}

impl Wide for Simd128Wide {
    #[inline(always)]
    fn splat(x: f64) -> Self {
        Self(f64x2_splat(x))
    }

    #[inline(always)]
    fn constant(x: &'static f64) -> Self {
        // SAFETY: a reference is valid for reads. Volatile is what keeps the value unknown to the compiler.
        Self::splat(unsafe { core::ptr::read_volatile(x) })
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self(f64x2_add(self.0, b.0))
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self(f64x2_sub(self.0, b.0))
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Self(f64x2_mul(self.0, b.0))
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        Self(f64x2_div(self.0, b.0))
    }

    #[inline(always)]
    fn shl<const N: u32>(self) -> Self {
        Self(i64x2_shl(self.0, N))
    }

    #[inline(always)]
    fn shr<const N: u32>(self) -> Self {
        Self(u64x2_shr(self.0, N))
    }

    #[inline(always)]
    fn add_bits(self, b: Self) -> Self {
        Self(i64x2_add(self.0, b.0))
    }

    #[inline(always)]
    fn sub_bits(self, b: Self) -> Self {
        Self(i64x2_sub(self.0, b.0))
    }

    #[inline(always)]
    fn and(self, b: Self) -> Self {
        Self(v128_and(self.0, b.0))
    }

    #[inline(always)]
    fn below(self, b: Self) -> Self {
        Self(f64x2_lt(self.0, b.0))
    }

    #[inline(always)]
    fn select(self, a: Self, b: Self) -> Self {
        Self(v128_bitselect(a.0, b.0, self.0))
    }
}

/// Moves the lower half of a vector up.
static TO_UPPER: v128 = u64x2(u64::MAX, 0x0706_0504_0302_0100);

impl Pair for Simd128Wide {
    #[inline(always)]
    fn load(from: &[Cell<f64>; 2]) -> Self {
        // SAFETY: 16 readable bytes, at any alignment.
        Self(unsafe { v128_load(from.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, to: &[Cell<f64>; 2]) {
        // SAFETY: 16 writable bytes (cells allow writes through a shared reference), at any alignment.
        unsafe { v128_store(to.as_ptr().cast_mut().cast(), self.0) }
    }

    #[inline(always)]
    fn sum_lanes(a: Self, b: Self) -> Self {
        Self(f64x2_add(i64x2_shuffle::<0, 2>(a.0, b.0), i64x2_shuffle::<1, 3>(a.0, b.0)))
    }

    #[inline(always)]
    fn store_narrow(low: Self, high: Self, to: &Chunk) {
        let (low, high) = (f32x4_demote_f64x2_zero(low.0), f32x4_demote_f64x2_zero(high.0));
        // Of a plain shuffle LLVM would make one conversion of four numbers, which does not exist, and convert one by one.
        // SAFETY: a reference is valid for reads.
        let to_upper = unsafe { core::ptr::read_volatile(&TO_UPPER) };
        Simd128(v128_or(low, i8x16_swizzle(high, to_upper))).store(to);
    }

    #[inline(always)]
    fn to_array(self) -> [f64; 2] {
        [f64x2_extract_lane::<0>(self.0), f64x2_extract_lane::<1>(self.0)]
    }
}
