//! Multiplies many numbers by one factor.

use super::{Element, Vector};

/// A factor for many numbers, in two parts. As a single `f32`, it would add an error of up to one ulp to each product.
#[derive(Clone, Copy)]
pub struct Factor<V> {
    high: V,
    low: V,
}

/// The range of a factor. Above the lower bound, its second part is exact.
pub const FACTORS: core::ops::Range<f64> = 1e-36..1e38;

impl<V: Vector> Factor<V> {
    /// Splits a factor that is 0 or whose size is within [`FACTORS`].
    #[inline(always)]
    pub fn new(factor: f64) -> Self {
        if V::Element::DOUBLE {
            return Self { high: V::from_f64(factor), low: V::from_f64(0.0) };
        }
        // 29 bits, five of them in the second part.
        let factor = f64::from_bits(factor.to_bits() & !0xff_ffff);
        let high = V::Element::from_f64(factor);
        Self { high: V::splat(high), low: V::from_f64(factor - high.to_f64()) }
    }

    /// `x * factor`
    #[inline(always)]
    pub fn times(&self, x: V) -> V {
        if V::Element::DOUBLE { x.mul(self.high) } else { x.mul_add(self.high, x.mul(self.low)) }
    }

    /// `x * factor + y`
    #[inline(always)]
    pub fn times_plus(&self, x: V, y: V) -> V {
        x.mul_add(self.high, if V::Element::DOUBLE { y } else { x.mul_add(self.low, y) })
    }
}
