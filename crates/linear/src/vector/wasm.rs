use core::arch::wasm32::*;

use super::Vector;

/// A `v128`.
#[derive(Clone, Copy)]
pub struct F32x4(v128);

impl Vector for F32x4 {
    type Wide = (v128, v128);

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self(f32x4_splat(x))
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's obligation.
        unsafe { Self(v128_load(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_splat(from: *const f32) -> Self {
        // SAFETY: the caller's obligation.
        unsafe { Self(v128_load32_splat(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller's obligation.
        let bits = unsafe { i32x4_load_extend_u16x4(from) };
        let sign = i32x4_shl(v128_and(bits, i32x4_splat(0x8000)), 16);
        let magnitude = v128_and(bits, i32x4_splat(0x7fff));
        let scaled = f32x4_mul(i32x4_shl(magnitude, 13), i32x4_splat(0x7780_0000));
        let infinite = v128_and(i32x4_gt(magnitude, i32x4_splat(0x7bff)), i32x4_splat(0x7f80_0000));
        Self(v128_or(v128_or(scaled, infinite), sign))
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: the caller's obligation.
        Self(i32x4_shl(unsafe { i32x4_load_extend_u16x4(from) }, 16))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's obligation.
        unsafe { v128_store(to.cast(), self.0) }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self(f32x4_add(self.0, b.0))
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Self(f32x4_mul(self.0, b.0))
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self(f32x4_relaxed_madd(self.0, b.0, c.0))
    }

    #[inline(always)]
    fn transpose([a, b, c, d]: [Self; 4]) -> [Self; 4] {
        let (ab, cd) = (i32x4_shuffle::<0, 4, 1, 5>(a.0, b.0), i32x4_shuffle::<0, 4, 1, 5>(c.0, d.0));
        let (ab2, cd2) = (i32x4_shuffle::<2, 6, 3, 7>(a.0, b.0), i32x4_shuffle::<2, 6, 3, 7>(c.0, d.0));
        [
            Self(i64x2_shuffle::<0, 2>(ab, cd)),
            Self(i64x2_shuffle::<1, 3>(ab, cd)),
            Self(i64x2_shuffle::<0, 2>(ab2, cd2)),
            Self(i64x2_shuffle::<1, 3>(ab2, cd2)),
        ]
    }

    #[inline(always)]
    fn widen(self) -> (v128, v128) {
        (f64x2_promote_low_f32x4(self.0), f64x2_promote_low_f32x4(i64x2_shuffle::<1, 1>(self.0, self.0)))
    }

    #[inline(always)]
    fn narrow(self, x: (v128, v128), factor: f64) -> Self {
        let (factor, plus) = (f64x2_splat(factor), self.widen());
        let low = f32x4_demote_f64x2_zero(f64x2_add(f64x2_mul(x.0, factor), plus.0));
        let high = f32x4_demote_f64x2_zero(f64x2_add(f64x2_mul(x.1, factor), plus.1));
        Self(i64x2_shuffle::<0, 2>(low, high))
    }

    #[inline(always)]
    fn add_wide(a: (v128, v128), b: (v128, v128)) -> (v128, v128) {
        (f64x2_add(a.0, b.0), f64x2_add(a.1, b.1))
    }

    #[inline(always)]
    unsafe fn load_wide(from: *const f64) -> (v128, v128) {
        // SAFETY: the caller's obligation.
        unsafe { (v128_load(from.cast()), v128_load(from.add(2).cast())) }
    }

    #[inline(always)]
    unsafe fn store_wide(x: (v128, v128), to: *mut f64) {
        // SAFETY: the caller's obligation.
        unsafe {
            v128_store(to.cast(), x.0);
            v128_store(to.add(2).cast(), x.1);
        }
    }
}
