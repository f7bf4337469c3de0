//! Four numbers in an array: the reference for tests, fuzzing and hosts without the vector instructions.

use super::{Chunk, LANES, Pair, Vector, Wide, from_bf16, from_f16};
use core::cell::Cell;

/// Four `f32`, lane by lane. `FUSED`: products are not rounded before they are added, and a NaN gets lost where it may.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<const FUSED: bool>([f32; LANES]);

/// As plain `simd128` computes.
pub type Scalar = Lanes<false>;

/// As the relaxed variant computes where the engine fuses.
pub type Fused = Lanes<true>;

impl<const FUSED: bool> Lanes<FUSED> {
    fn zip(self, b: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(core::array::from_fn(|i| f(self.0[i], b.0[i])))
    }
}

impl<const FUSED: bool> Vector for Lanes<FUSED> {
    type Wide = [f64; 2];

    fn splat(x: f32) -> Self {
        Self([x; LANES])
    }

    fn constant(x: &'static f32) -> Self {
        Self::splat(*x)
    }

    fn hidden(length: &'static usize) -> usize {
        *length
    }

    fn load(from: &Chunk) -> Self {
        Self(core::array::from_fn(|i| from[i].get()))
    }

    fn load_partial(from: &[Cell<f32>], fill: f32) -> Self {
        Self(core::array::from_fn(|i| from.get(i).map_or(fill, Cell::get)))
    }

    fn load_f16(from: &[Cell<u16>; LANES]) -> Self {
        Self(core::array::from_fn(|i| from_f16(from[i].get())))
    }

    fn load_bf16(from: &[Cell<u16>; LANES]) -> Self {
        Self(core::array::from_fn(|i| from_bf16(from[i].get())))
    }

    fn store(self, to: &Chunk) {
        self.store_partial(to);
    }

    fn store_partial(self, to: &[Cell<f32>]) {
        for (cell, x) in to.iter().zip(self.0) {
            cell.set(x);
        }
    }

    fn add(self, b: Self) -> Self {
        self.zip(b, |a, b| a + b)
    }

    fn sub(self, b: Self) -> Self {
        self.zip(b, |a, b| a - b)
    }

    fn mul(self, b: Self) -> Self {
        self.zip(b, |a, b| a * b)
    }

    fn mul_add(self, b: Self, c: Self) -> Self {
        if FUSED {
            // The product is exact in f64. Its sum is rounded twice, which differs from once in one case of 2^29.
            let fused = |i: usize| (f64::from(self.0[i]) * f64::from(b.0[i]) + f64::from(c.0[i])) as f32;
            Self(core::array::from_fn(fused))
        } else {
            self.mul(b).add(c)
        }
    }

    fn max(self, b: Self) -> Self {
        self.zip(b, |a, b| if a < b || FUSED && a.is_nan() { b } else { a })
    }

    fn min(self, b: Self) -> Self {
        self.zip(b, |a, b| if b < a || FUSED && a.is_nan() { b } else { a })
    }

    fn is_nan(self) -> Self {
        Self(self.0.map(|x| mask(x.is_nan())))
    }

    fn or(self, b: Self) -> Self {
        self.zip(b, |a, b| f32::from_bits(a.to_bits() | b.to_bits()))
    }

    fn exponent(self) -> Self {
        Self(self.0.map(|x| f32::from_bits(x.to_bits() << 23)))
    }

    fn and(self, b: Self) -> Self {
        self.zip(b, |a, b| f32::from_bits(a.to_bits() & b.to_bits()))
    }

    fn above(self, b: Self) -> Self {
        self.zip(b, |a, b| mask(a > b))
    }

    fn first_lanes(n: usize) -> Self {
        Self(core::array::from_fn(|i| mask(i < n)))
    }

    fn without(mut self, lane: usize) -> Self {
        if let Some(x) = self.0.get_mut(lane) {
            *x = 0.0;
        }
        self
    }

    fn sum_lanes(a: Self, b: Self, c: Self, d: Self) -> Self {
        Self([a, b, c, d].map(|x| (x.0[0] + x.0[2]) + (x.0[1] + x.0[3])))
    }

    fn widen(self) -> (Self::Wide, Self::Wide) {
        let [a, b, c, d] = self.0.map(f64::from);
        ([a, b], [c, d])
    }

    fn to_array(self) -> [f32; LANES] {
        self.0
    }

    fn first_equal(self, b: Self) -> usize {
        (0..LANES).find(|&i| self.0[i] == b.0[i]).unwrap_or(LANES)
    }
}

fn mask(all: bool) -> f32 {
    f32::from_bits(if all { u32::MAX } else { 0 })
}

fn zip(a: [f64; 2], b: [f64; 2], f: impl Fn(f64, f64) -> f64) -> [f64; 2] {
    [f(a[0], b[0]), f(a[1], b[1])]
}

impl Wide for [f64; 2] {
    fn splat(x: f64) -> Self {
        [x; 2]
    }

    fn constant(x: &'static f64) -> Self {
        [*x; 2]
    }

    fn add(self, b: Self) -> Self {
        zip(self, b, |a, b| a + b)
    }

    fn sub(self, b: Self) -> Self {
        zip(self, b, |a, b| a - b)
    }

    fn mul(self, b: Self) -> Self {
        zip(self, b, |a, b| a * b)
    }

    fn div(self, b: Self) -> Self {
        zip(self, b, |a, b| a / b)
    }

    fn shl<const N: u32>(self) -> Self {
        self.map(|x| f64::from_bits(x.to_bits() << N))
    }

    fn shr<const N: u32>(self) -> Self {
        self.map(|x| f64::from_bits(x.to_bits() >> N))
    }

    fn add_bits(self, b: Self) -> Self {
        zip(self, b, |a, b| f64::from_bits(a.to_bits().wrapping_add(b.to_bits())))
    }

    fn sub_bits(self, b: Self) -> Self {
        zip(self, b, |a, b| f64::from_bits(a.to_bits().wrapping_sub(b.to_bits())))
    }

    fn and(self, b: Self) -> Self {
        zip(self, b, |a, b| f64::from_bits(a.to_bits() & b.to_bits()))
    }

    fn below(self, b: Self) -> Self {
        zip(self, b, |a, b| f64::from_bits(if a < b { u64::MAX } else { 0 }))
    }

    fn select(self, a: Self, b: Self) -> Self {
        core::array::from_fn(|i| if self[i].to_bits() == 0 { b[i] } else { a[i] })
    }
}

impl Pair for [f64; 2] {
    fn load(from: &[Cell<f64>; 2]) -> Self {
        [from[0].get(), from[1].get()]
    }

    fn store(self, to: &[Cell<f64>; 2]) {
        to[0].set(self[0]);
        to[1].set(self[1]);
    }

    fn sum_lanes(a: Self, b: Self) -> Self {
        [a[0] + a[1], b[0] + b[1]]
    }

    fn store_narrow(low: Self, high: Self, to: &Chunk) {
        for (to, x) in to.iter().zip(low.into_iter().chain(high)) {
            to.set(x as f32);
        }
    }

    fn to_array(self) -> [f64; 2] {
        self
    }
}
