//! Logits as they are given: their types, their distance in memory, and what is done to them before the softmax.

use crate::math;
use crate::vector::{LANES, Vector};
use core::cell::Cell;

/// The logits of one row, the first at the start of the slice, the others `stride` apart.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// `f32`
    F32(&'a [Cell<f32>], usize),
    /// `f64`
    F64(&'a [Cell<f64>], usize),
    /// IEEE 754 binary16
    F16(&'a [Cell<u16>], usize),
    /// The upper half of an `f32`
    Bf16(&'a [Cell<u16>], usize),
}

impl<'a> Source<'a> {
    /// The row itself, if it is `f32` in one piece.
    #[inline(always)]
    pub fn plain(&self, classes: usize) -> Option<&'a [Cell<f32>]> {
        match self {
            Self::F32(x, 1) => x.get(..classes),
            _ => None,
        }
    }

    /// One logit, exactly.
    #[inline(always)]
    pub fn get(&self, class: usize) -> f64 {
        match *self {
            Self::F32(x, stride) => x.get(class * stride).map_or(f64::NAN, |x| f64::from(x.get())),
            Self::F64(x, stride) => x.get(class * stride).map_or(f64::NAN, Cell::get),
            Self::F16(x, stride) => x.get(class * stride).map_or(f64::NAN, |x| f64::from(from_f16(x.get()))),
            Self::Bf16(x, stride) => {
                x.get(class * stride).map_or(f64::NAN, |x| f64::from(f32::from_bits(u32::from(x.get()) << 16)))
            }
        }
    }

    /// All logits as `f32`; transformed ones in two parts, since rounding one of 60 to `f32` moves its exponential by as
    /// much as 32 ulp.
    #[inline(always)]
    pub fn stage<V: Vector>(&self, transform: &Transform, to: &[Cell<f32>], low: &[Cell<f32>]) {
        if !transform.is_none() {
            for (class, (high, low)) in to.iter().zip(low).enumerate() {
                let x = transform.at(self.get(class));
                let rounded = x as f32;
                high.set(rounded);
                low.set(if rounded.is_finite() { (x - f64::from(rounded)) as f32 } else { 0.0 });
            }
            return;
        }
        match *self {
            Self::F16(x, 1) => widen::<V, true>(x, to),
            Self::Bf16(x, 1) => widen::<V, false>(x, to),
            _ => {
                for (class, out) in to.iter().enumerate() {
                    out.set(self.get(class) as f32);
                }
            }
        }
    }
}

/// Exact for all values.
#[inline(always)]
pub fn from_f16(half: u16) -> f32 {
    let bits = u32::from(half);
    let sign = (bits & 0x8000) << 16;
    // As the bits of an f32 these are 2^112 times too small, subnormal numbers included.
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | sign)
}

#[inline(never)]
fn widen<V: Vector, const HALF: bool>(x: &[Cell<u16>], to: &[Cell<f32>]) {
    let (from, from_rest) = x.as_chunks::<LANES>();
    let (chunks, to_rest) = to.as_chunks::<LANES>();
    for (x, out) in from.iter().zip(chunks) {
        if HALF { V::load_f16(x) } else { V::load_bf16(x) }.store(out);
    }
    for (x, out) in from_rest.iter().zip(to_rest) {
        out.set(if HALF { from_f16(x.get()) } else { f32::from_bits(u32::from(x.get()) << 16) });
    }
}

/// x <- c tanh(x / c), then x <- x / t.
#[derive(Clone, Copy)]
pub struct Transform {
    /// c; 0: no cap.
    pub softcap: f64,
    /// t; 1: none.
    pub temperature: f64,
}

impl Transform {
    /// Whether it changes nothing.
    #[inline(always)]
    pub fn is_none(&self) -> bool {
        self.softcap == 0.0 && self.temperature == 1.0
    }

    /// Whether the slope is not the same everywhere.
    #[inline(always)]
    pub fn caps(&self) -> bool {
        self.softcap != 0.0
    }

    /// A logit transformed.
    #[inline(always)]
    pub fn at(&self, x: f64) -> f64 {
        let capped = if self.softcap == 0.0 { x } else { self.softcap * math::tanh(x / self.softcap) };
        if self.temperature == 1.0 { capped } else { capped / self.temperature }
    }

    /// Derivative of the cap.
    #[inline(always)]
    pub fn slope(&self, x: f64) -> f64 {
        if self.softcap == 0.0 { 1.0 } else { math::tanh_slope(x / self.softcap) }
    }
}
