//! `simd128` with fused multiply-add. scripts/unfused.mjs turns it into the variant that has a product and a sum instead.

use super::{POINTS, Single, Table, Twice, Vector, Wide, from_bf16, from_f16};
use core::arch::wasm32::*;
use core::cell::Cell;

mod wide;

const _: () = assert!(POINTS == 1 << 10);

/// Four `f32` in a `v128`.
#[derive(Clone, Copy)]
pub struct F32x4(v128);

/// Two `f64` in a `v128`.
#[derive(Clone, Copy)]
pub struct F64x2(v128);

/// The operations for which both types have an instruction.
macro_rules! lanes {
    ($name:ident, $element:ty, $integer:ty, $n:literal, $shift:literal, $splat:ident, $splat_bits:ident, $add:ident, $sub:ident, $mul:ident, $madd:ident,
     $max:ident, $min:ident, $ne:ident, $gt:ident, $lt_bits:ident, $eq_bits:ident, $shl:ident, $ids:expr, $($lane:literal)+, $extract:ident) => {
        type Element = $element;
        type Chunk = [Cell<$element>; $n];
        type Wide = F64x2;

        const LANES: usize = $n;

        #[inline(always)]
        fn chunks(x: &[Cell<$element>]) -> (&[Self::Chunk], &[Cell<$element>]) {
            x.as_chunks::<$n>()
        }

        #[inline(always)]
        fn splat(x: $element) -> Self {
            Self($splat(x))
        }

        #[inline(always)]
        fn opaque(x: &'static f64) -> Self {
            // SAFETY: a reference is valid for reads. A volatile read keeps the value unknown to the compiler.
            Self($splat(unsafe { core::ptr::read_volatile(x) } as $element))
        }

        #[inline(always)]
        fn load(from: &Self::Chunk) -> Self {
            // SAFETY: a chunk is 16 readable bytes, and v128.load takes any alignment.
            Self(unsafe { v128_load(from.as_ptr().cast()) })
        }

        #[inline(always)]
        fn store(self, to: &Self::Chunk) {
            // SAFETY: a chunk is 16 writable bytes (its cells allow writes through a shared reference), and v128.store
            // takes any alignment.
            unsafe { v128_store(to.as_ptr().cast_mut().cast(), self.0) }
        }

        #[inline(always)]
        fn store_partial(self, to: &[Cell<$element>]) {
            let lanes = [$($extract::<$lane>(self.0)),+];
            for (cell, x) in to.iter().zip(lanes).take($n - 1) {
                cell.set(x);
            }
        }

        #[inline(always)]
        fn add(self, b: Self) -> Self {
            Self($add(self.0, b.0))
        }

        #[inline(always)]
        fn sub(self, b: Self) -> Self {
            Self($sub(self.0, b.0))
        }

        #[inline(always)]
        fn mul(self, b: Self) -> Self {
            Self($mul(self.0, b.0))
        }

        #[inline(always)]
        fn mul_add(self, b: Self, c: Self) -> Self {
            Self($madd(self.0, b.0, c.0))
        }

        #[inline(always)]
        fn max(self, b: Self) -> Self {
            Self($max(self.0, b.0))
        }

        #[inline(always)]
        fn min(self, b: Self) -> Self {
            Self($min(self.0, b.0))
        }

        #[inline(always)]
        fn is_nan(self) -> Self {
            Self($ne(self.0, self.0))
        }

        #[inline(always)]
        fn or(self, b: Self) -> Self {
            Self(v128_or(self.0, b.0))
        }

        #[inline(always)]
        fn and(self, b: Self) -> Self {
            Self(v128_and(self.0, b.0))
        }

        #[inline(always)]
        fn xor(self, b: Self) -> Self {
            Self(v128_xor(self.0, b.0))
        }

        #[inline(always)]
        fn above(self, b: Self) -> Self {
            Self($gt(self.0, b.0))
        }

        #[inline(always)]
        fn differs(self, b: Self) -> Self {
            Self($ne(self.0, b.0))
        }

        #[inline(always)]
        fn select(self, a: Self, b: Self) -> Self {
            Self(v128_bitselect(a.0, b.0, self.0))
        }

        #[inline(always)]
        fn exponent(self) -> Self {
            Self($shl(self.0, $shift))
        }

        #[inline(always)]
        fn first_lanes(n: usize) -> Self {
            Self($lt_bits($ids, $splat_bits(n as $integer)))
        }

        #[inline(always)]
        fn without(self, lane: usize) -> Self {
            Self(v128_andnot(self.0, $eq_bits($ids, $splat_bits(lane as $integer))))
        }

        #[inline(always)]
        fn lane(self, lane: usize) -> $element {
            let lanes = [$($extract::<$lane>(self.0)),+];
            let mut value = lanes[0];
            $(
                if lane == $lane {
                    value = lanes[$lane];
                }
            )+
            value
        }
    };
}

impl Vector for F32x4 {
    lanes!(
        F32x4, f32, i32, 4, 23, f32x4_splat, i32x4_splat, f32x4_add, f32x4_sub, f32x4_mul, f32x4_relaxed_madd, f32x4_pmax,
        f32x4_pmin, f32x4_ne, f32x4_gt, i32x4_lt, i32x4_eq, i32x4_shl, i32x4(0, 1, 2, 3), 0 1 2 3, f32x4_extract_lane
    );

    #[inline(always)]
    fn load_partial(from: &[Cell<f32>], fill: f32) -> Self {
        let lane = |i: usize| from.get(i).map_or(fill, Cell::get);
        Self(f32x4(lane(0), lane(1), lane(2), fill))
    }

    #[inline(always)]
    fn accumulate(self, sums: &mut Twice<F64x2>, _: usize) {
        let wide = self.widen();
        *sums = Wide::add(*sums, wide);
    }

    #[inline(always)]
    fn widen(self) -> Twice<F64x2> {
        let high = i32x4_shuffle::<2, 3, 2, 3>(self.0, self.0);
        Twice(F64x2(f64x2_promote_low_f32x4(self.0)), F64x2(f64x2_promote_low_f32x4(high)))
    }

    #[inline(always)]
    fn narrow(x: Twice<F64x2>) -> Self {
        let (low, high) = (f32x4_demote_f64x2_zero(x.0.0), f32x4_demote_f64x2_zero(x.1.0));
        // LLVM would combine a plain shuffle into a conversion of four numbers, which does not exist, and convert one by one.
        // SAFETY: a reference is valid for reads.
        let to_upper = unsafe { core::ptr::read_volatile(&TO_UPPER) };
        Self(v128_or(low, i8x16_swizzle(high, to_upper)))
    }

    #[inline(always)]
    fn any_bits(self) -> u64 {
        let [a, b] = [u64x2_extract_lane::<0>(self.0), u64x2_extract_lane::<1>(self.0)];
        (a | b) >> 32 | (a | b) & 0xffff_ffff
    }

    #[inline(always)]
    fn low_bits(self) -> Self {
        Self(u32x4_shr(i32x4_shl(self.0, 22), 18))
    }

    #[inline(always)]
    fn look_up(points: &Self::Chunk, table: &Table) -> [Self; 4] {
        // Four loads of a word are faster than one load of a vector and the extraction of four lanes.
        let [a, b, c, d] = points.each_ref().map(|point| {
            // SAFETY: a cell is readable. Volatile, because LLVM would otherwise load a vector and extract its lanes.
            let bits = unsafe { core::ptr::read_volatile(point.as_ptr()) }.to_bits();
            // SAFETY: 16 readable bytes, at any alignment.
            unsafe { v128_load(table[(bits / 16) as usize % POINTS].as_ptr().cast()) }
        });
        let (front, back) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        let (next_front, next_back) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        [
            Self(i64x2_shuffle::<0, 2>(front, next_front)),
            Self(i64x2_shuffle::<1, 3>(front, next_front)),
            Self(i64x2_shuffle::<0, 2>(back, next_back)),
            Self(i64x2_shuffle::<1, 3>(back, next_back)),
        ]
    }

    #[inline(never)]
    fn widen_f16(from: &[Cell<u16>], to: &[Cell<f32>]) {
        // Opaque, because V8 would rebuild each of them in each iteration.
        let [magnitudes, scale, finite, infinite, signs] = F16.each_ref().map(|x| {
            // SAFETY: a reference is valid for reads.
            u32x4_splat(unsafe { core::ptr::read_volatile(x) })
        });
        let four = |x: &[Cell<u16>; 4]| {
            // SAFETY: 8 readable bytes, at any alignment.
            let bits = i32x4_shl(unsafe { u32x4_load_extend_u16x4(x.as_ptr().cast()) }, 16);
            // As `super::from_f16`, with the sign in its place.
            let magnitude = v128_and(u32x4_shr(bits, 3), magnitudes);
            let special = v128_and(i32x4_gt(magnitude, finite), infinite);
            v128_or(v128_or(f32x4_mul(magnitude, scale), special), v128_and(bits, signs))
        };
        widen(from, to, four, from_f16);
    }

    #[inline(never)]
    fn widen_bf16(from: &[Cell<u16>], to: &[Cell<f32>]) {
        // SAFETY: 8 readable bytes, at any alignment.
        let four = |x: &[Cell<u16>; 4]| u32x4_shl(unsafe { u32x4_load_extend_u16x4(x.as_ptr().cast()) }, 16);
        widen(from, to, four, from_bf16);
    }

    #[inline(always)]
    fn first_equal(self, b: Self) -> usize {
        // Four lanes never set bit 4, so it stands for "none is equal".
        (u32::from(i32x4_bitmask(f32x4_eq(self.0, b.0))) | 1 << 4).trailing_zeros() as usize
    }
}

impl Single for F32x4 {
    type Double = F64x2;

    #[inline(always)]
    fn of([a, b, c, d]: [f32; 4]) -> Self {
        Self(f32x4(a, b, c, d))
    }

    #[inline(always)]
    fn without_label(self, labels: &[Cell<i32>], class: i32) -> Self {
        let labels = match labels.first_chunk::<4>() {
            // SAFETY: 16 readable bytes, at any alignment.
            Some(four) => unsafe { v128_load(four.as_ptr().cast()) },
            None => {
                let lane = |i: usize| labels.get(i).map_or(-1, Cell::get);
                i32x4(lane(0), lane(1), lane(2), -1)
            }
        };
        Self(v128_andnot(self.0, i32x4_eq(labels, i32x4_splat(class))))
    }

    #[inline(always)]
    fn any_label(labels: &[Cell<i32>], class: i32, count: i32) -> bool {
        let Some(four) = labels.first_chunk::<4>() else { return true };
        // SAFETY: 16 readable bytes, at any alignment.
        let labels = unsafe { v128_load(four.as_ptr().cast()) };
        v128_any_true(u32x4_lt(i32x4_sub(labels, i32x4_splat(class)), i32x4_splat(count)))
    }
}

/// Widens whole vectors, and the remainder one by one.
#[inline(always)]
fn widen(x: &[Cell<u16>], to: &[Cell<f32>], four: impl Fn(&[Cell<u16>; 4]) -> v128, one: impl Fn(u16) -> f32) {
    let ((chunks, rest), (to, to_rest)) = (x.as_chunks::<4>(), F32x4::chunks(to));
    for (x, to) in chunks.iter().zip(to) {
        F32x4(four(x)).store(to);
    }
    let to = to.get(chunks.len()).map_or(to_rest, |to| to);
    for (x, to) in rest.iter().zip(to) {
        to.set(one(x.get()));
    }
}

/// The magnitude bits of a half, shifted by three; 2^112; the largest finite magnitude after the shift; infinity; the sign.
static F16: [u32; 5] = [0x0fff_e000, 0x7780_0000, 0x0f7f_e000, 0x7f80_0000, 0x8000_0000];

/// Moves the lower half of a vector to the upper half.
static TO_UPPER: v128 = u64x2(u64::MAX, 0x0706_0504_0302_0100);

impl Vector for F64x2 {
    lanes!(
        F64x2, f64, i64, 2, 52, f64x2_splat, i64x2_splat, f64x2_add, f64x2_sub, f64x2_mul, f64x2_relaxed_madd, f64x2_pmax,
        f64x2_pmin, f64x2_ne, f64x2_gt, i64x2_lt, i64x2_eq, i64x2_shl, i64x2(0, 1), 0 1, f64x2_extract_lane
    );

    #[inline(always)]
    fn load_partial(from: &[Cell<f64>], fill: f64) -> Self {
        Self(f64x2(from.first().map_or(fill, Cell::get), fill))
    }

    #[inline(always)]
    fn accumulate(self, sums: &mut Twice<F64x2>, place: usize) {
        if place.is_multiple_of(2) {
            sums.0 = Wide::add(sums.0, self);
        } else {
            sums.1 = Wide::add(sums.1, self);
        }
    }

    #[inline(always)]
    fn widen(self) -> Twice<F64x2> {
        Twice(self, Self(f64x2_splat(0.0)))
    }

    #[inline(always)]
    fn narrow(x: Twice<F64x2>) -> Self {
        x.0
    }

    #[inline(always)]
    fn any_bits(self) -> u64 {
        u64x2_extract_lane::<0>(self.0) | u64x2_extract_lane::<1>(self.0)
    }

    #[inline(always)]
    fn first_equal(self, b: Self) -> usize {
        (u32::from(i64x2_bitmask(f64x2_eq(self.0, b.0))) | 1 << 2).trailing_zeros() as usize
    }
}
