//! Vectors as arrays: the reference for tests and fuzzing, and for hosts without the vector instructions.

use super::{Element, POINTS, Pair, Single, Table, Twice, Vector, Wide, from_bf16, from_f16};
use core::cell::Cell;

/// Lanes in an array. `FUSED`: `mul_add` rounds once.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<E, const N: usize, const FUSED: bool>([E; N]);

/// Rounds as `simd128` does.
pub type Scalar = Lanes<f32, 4, false>;

/// Rounds as the relaxed variant does if the engine fuses.
pub type Fused = Lanes<f32, 4, true>;

/// The operations that differ between the two types.
pub trait Lane: Element {
    /// Bias of the exponent.
    const EXPONENT_BITS: u32;
    fn of_bits(bits: u64) -> Self;
    fn plus(self, b: Self) -> Self;
    fn minus(self, b: Self) -> Self;
    fn times(self, b: Self) -> Self;
    fn fused(self, b: Self, c: Self) -> Self;
}

impl Lane for f32 {
    const EXPONENT_BITS: u32 = 23;

    fn of_bits(bits: u64) -> Self {
        Self::from_bits(bits as u32)
    }

    fn plus(self, b: Self) -> Self {
        self + b
    }

    fn minus(self, b: Self) -> Self {
        self - b
    }

    fn times(self, b: Self) -> Self {
        self * b
    }

    fn fused(self, b: Self, c: Self) -> Self {
        // The product is exact in f64. The sum is rounded twice, which differs from rounding once in 1 of 2^29 cases.
        (f64::from(self) * f64::from(b) + f64::from(c)) as f32
    }
}

impl Lane for f64 {
    const EXPONENT_BITS: u32 = 52;

    fn of_bits(bits: u64) -> Self {
        Self::from_bits(bits)
    }

    fn plus(self, b: Self) -> Self {
        self + b
    }

    fn minus(self, b: Self) -> Self {
        self - b
    }

    fn times(self, b: Self) -> Self {
        self * b
    }

    /// The product in two parts (Dekker). It is exact if the product is a normal number, which is enough for a reference.
    fn fused(self, b: Self, c: Self) -> Self {
        let halves = |x: f64| {
            let high = f64::from_bits(x.to_bits() & !0x7ff_ffff);
            (high, x - high)
        };
        let product = self * b;
        let ((a_high, a_low), (b_high, b_low)) = (halves(self), halves(b));
        let low = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low);
        let sum = product + c;
        let back = sum - product;
        let lost = (product - (sum - back)) + (c - back);
        let exact = sum + (lost + low);
        if exact.is_finite() { exact } else { sum }
    }
}

impl<E: Lane, const N: usize, const FUSED: bool> Lanes<E, N, FUSED> {
    fn zip(self, b: Self, f: impl Fn(E, E) -> E) -> Self {
        Self(core::array::from_fn(|i| f(self.0[i], b.0[i])))
    }

    fn bitwise(self, b: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        self.zip(b, |a, b| E::of_bits(f(a.bits(), b.bits())))
    }

    fn mask(f: impl Fn(usize) -> bool) -> Self {
        Self(core::array::from_fn(|i| E::of_bits(if f(i) { u64::MAX } else { 0 })))
    }
}

#[expect(clippy::eq_op, reason = "a NaN differs from itself")]
fn is_nan<E: Element>(x: E) -> bool {
    x != x
}

impl<E: Lane, const N: usize, const FUSED: bool> Vector for Lanes<E, N, FUSED> {
    type Element = E;
    type Chunk = [Cell<E>; N];
    type Wide = [f64; 2];

    const LANES: usize = N;

    fn chunks(x: &[Cell<E>]) -> (&[Self::Chunk], &[Cell<E>]) {
        x.as_chunks::<N>()
    }

    fn splat(x: E) -> Self {
        Self([x; N])
    }

    fn opaque(x: &'static f64) -> Self {
        Self::splat(E::from_f64(*x))
    }

    fn load(from: &Self::Chunk) -> Self {
        Self(core::array::from_fn(|i| from[i].get()))
    }

    fn load_partial(from: &[Cell<E>], fill: E) -> Self {
        Self(core::array::from_fn(|i| from.get(i).map_or(fill, Cell::get)))
    }

    fn store(self, to: &Self::Chunk) {
        self.store_partial(to);
    }

    fn store_partial(self, to: &[Cell<E>]) {
        for (cell, x) in to.iter().zip(self.0) {
            cell.set(x);
        }
    }

    fn add(self, b: Self) -> Self {
        self.zip(b, E::plus)
    }

    fn sub(self, b: Self) -> Self {
        self.zip(b, E::minus)
    }

    fn mul(self, b: Self) -> Self {
        self.zip(b, E::times)
    }

    fn mul_add(self, b: Self, c: Self) -> Self {
        if FUSED { Self(core::array::from_fn(|i| self.0[i].fused(b.0[i], c.0[i]))) } else { self.mul(b).add(c) }
    }

    fn max(self, b: Self) -> Self {
        self.zip(b, |a, b| if a < b { b } else { a })
    }

    fn min(self, b: Self) -> Self {
        self.zip(b, |a, b| if b < a { b } else { a })
    }

    fn is_nan(self) -> Self {
        Self::mask(|i| is_nan(self.0[i]))
    }

    fn or(self, b: Self) -> Self {
        self.bitwise(b, |a, b| a | b)
    }

    fn and(self, b: Self) -> Self {
        self.bitwise(b, |a, b| a & b)
    }

    fn xor(self, b: Self) -> Self {
        self.bitwise(b, |a, b| a ^ b)
    }

    fn above(self, b: Self) -> Self {
        Self::mask(|i| self.0[i] > b.0[i])
    }

    fn differs(self, b: Self) -> Self {
        Self::mask(|i| self.0[i] != b.0[i])
    }

    fn select(self, a: Self, b: Self) -> Self {
        Self(core::array::from_fn(|i| if self.0[i].bits() == 0 { b.0[i] } else { a.0[i] }))
    }

    fn exponent(self) -> Self {
        Self(self.0.map(|x| E::of_bits(x.bits() << E::EXPONENT_BITS)))
    }

    fn first_lanes(n: usize) -> Self {
        Self::mask(|i| i < n)
    }

    fn without(mut self, lane: usize) -> Self {
        if let Some(x) = self.0.get_mut(lane) {
            *x = E::default();
        }
        self
    }

    fn accumulate(self, sums: &mut Twice<[f64; 2]>, place: usize) {
        let lanes = self.0.map(E::to_f64);
        if N == 4 {
            sums.0 = sums.0.add([lanes[0], lanes[1]]);
            sums.1 = sums.1.add([lanes[2], lanes[3]]);
        } else if place.is_multiple_of(2) {
            sums.0 = sums.0.add([lanes[0], lanes[1]]);
        } else {
            sums.1 = sums.1.add([lanes[0], lanes[1]]);
        }
    }

    fn widen(self) -> Twice<[f64; 2]> {
        let lane = |i: usize| self.0.get(i).map_or(0.0, |x| x.to_f64());
        Twice([lane(0), lane(1)], [lane(2), lane(3)])
    }

    fn narrow(x: Twice<[f64; 2]>) -> Self {
        let all = [x.0[0], x.0[1], x.1[0], x.1[1]];
        Self(core::array::from_fn(|i| E::from_f64(all[i])))
    }

    fn any_bits(self) -> u64 {
        self.0.iter().fold(0, |bits, x| bits | x.bits())
    }

    fn first_equal(self, b: Self) -> usize {
        (0..N).find(|&i| self.0[i] == b.0[i]).unwrap_or(N)
    }

    fn lane(self, lane: usize) -> E {
        self.0.get(lane).copied().unwrap_or_default()
    }

    fn low_bits(self) -> Self {
        Self(self.0.map(|x| E::of_bits((x.bits() % POINTS as u64) * 16)))
    }

    fn look_up(points: &Self::Chunk, table: &Table) -> [Self; 4] {
        core::array::from_fn(|number| {
            Self(core::array::from_fn(|lane| {
                let point = points[lane].get().bits() as usize / 16 % POINTS;
                E::from_f64(f64::from(table[point][number].get()))
            }))
        })
    }

    fn widen_f16(from: &[Cell<u16>], to: &[Cell<E>]) {
        for (x, to) in from.iter().zip(to) {
            to.set(E::from_f64(f64::from(from_f16(x.get()))));
        }
    }

    fn widen_bf16(from: &[Cell<u16>], to: &[Cell<E>]) {
        for (x, to) in from.iter().zip(to) {
            to.set(E::from_f64(f64::from(from_bf16(x.get()))));
        }
    }
}

impl<const FUSED: bool> Single for Lanes<f32, 4, FUSED> {
    type Double = Lanes<f64, 2, FUSED>;

    fn of(lanes: [f32; 4]) -> Self {
        Self(lanes)
    }

    fn without_label(self, labels: &[Cell<i32>], class: i32) -> Self {
        self.and(Self::mask(|i| labels.get(i).is_none_or(|label| label.get() != class)))
    }

    fn any_label(labels: &[Cell<i32>], class: i32, count: i32) -> bool {
        labels.iter().take(4).any(|label| (label.get().wrapping_sub(class) as u32) < count as u32)
    }
}

fn zip(a: [f64; 2], b: [f64; 2], f: impl Fn(f64, f64) -> f64) -> [f64; 2] {
    [f(a[0], b[0]), f(a[1], b[1])]
}

fn mask(all: bool) -> f64 {
    f64::from_bits(if all { u64::MAX } else { 0 })
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

    fn mul_add(self, b: Self, c: Self) -> Self {
        self.mul(b).add(c)
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
        zip(self, b, |a, b| mask(a < b))
    }

    fn equal(self, b: Self) -> Self {
        zip(self, b, |a, b| mask(a == b))
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

    fn to_array(self) -> [f64; 2] {
        self
    }
}
