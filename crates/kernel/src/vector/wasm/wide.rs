//! Two `f64` as [`Wide`] and [`Pair`].

use super::super::{Pair, Vector, Wide};
use super::F64x2;
use core::arch::wasm32::*;
use core::cell::Cell;

impl Wide for F64x2 {
    #[inline(always)]
    fn splat(x: f64) -> Self {
        Self(f64x2_splat(x))
    }

    #[inline(always)]
    fn constant(x: &'static f64) -> Self {
        Self::opaque(x)
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
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self(f64x2_relaxed_madd(self.0, b.0, c.0))
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
    fn equal(self, b: Self) -> Self {
        Self(f64x2_eq(self.0, b.0))
    }

    #[inline(always)]
    fn select(self, a: Self, b: Self) -> Self {
        Self(v128_bitselect(a.0, b.0, self.0))
    }
}

impl Pair for F64x2 {
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
    fn to_array(self) -> [f64; 2] {
        [f64x2_extract_lane::<0>(self.0), f64x2_extract_lane::<1>(self.0)]
    }
}
