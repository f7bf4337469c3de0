//! Two vectors that are used as one.

use super::{Pair, Wide};
use core::cell::Cell;

/// Two vectors that go through the same operations: two independent chains hide the latency of one.
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
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self(self.0.mul_add(b.0, c.0), self.1.mul_add(b.1, c.1))
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

    /// The sum of all four vectors' lanes, added as `(0 + 1) + (2 + 3)`.
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
