//! Logits as they are given: their types, their distance in memory, and what is done to them before the softmax.

use crate::math;
use crate::vector::{LANES, Vector, from_bf16, from_f16};
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
            Self::Bf16(x, stride) => x.get(class * stride).map_or(f64::NAN, |x| f64::from(from_bf16(x.get()))),
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

#[inline(never)]
fn widen<V: Vector, const HALF: bool>(x: &[Cell<u16>], to: &[Cell<f32>]) {
    let (from, from_rest) = x.as_chunks::<LANES>();
    let (chunks, to_rest) = to.as_chunks::<LANES>();
    for (x, out) in from.iter().zip(chunks) {
        if HALF { V::load_f16(x) } else { V::load_bf16(x) }.store(out);
    }
    for (x, out) in from_rest.iter().zip(to_rest) {
        out.set(if HALF { from_f16(x.get()) } else { from_bf16(x.get()) });
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
