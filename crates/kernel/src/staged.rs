//! Logits as they are given: their types, their distance in memory, and what is done to them before the softmax.

use crate::math;
use crate::vector::{LANES, Vector, from_bf16, from_f16};
use core::cell::Cell;

/// The logits of one row, in the one of these that is not empty.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// `f32`
    pub f32: &'a [Cell<f32>],
    /// `f64`
    pub f64: &'a [Cell<f64>],
    /// IEEE 754 binary16
    pub f16: &'a [Cell<u16>],
    /// The upper half of an `f32`
    pub bf16: &'a [Cell<u16>],
    /// From one class to the next.
    pub stride: usize,
}

impl<'a> Source<'a> {
    /// The row itself, if it is `f32` in one piece.
    #[inline(always)]
    pub fn plain(&self, classes: usize) -> Option<&'a [Cell<f32>]> {
        if self.stride == 1 { self.f32.get(..classes) } else { None }
    }

    /// One logit, exactly.
    #[inline(always)]
    pub fn get(&self, class: usize) -> f64 {
        read(self.f32, self.f64, self.f16, self.bf16, class * self.stride)
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
        copy::<V>(self.f32, self.f64, self.f16, self.bf16, self.stride, to);
    }
}

/// See [`read`].
#[inline(never)]
fn copy<V: Vector>(
    f32: &[Cell<f32>],
    f64: &[Cell<f64>],
    f16: &[Cell<u16>],
    bf16: &[Cell<u16>],
    stride: usize,
    to: &[Cell<f32>],
) {
    if stride == 1 && !f16.is_empty() {
        widen::<V, true>(f16, to);
    } else if stride == 1 && !bf16.is_empty() {
        widen::<V, false>(bf16, to);
    } else {
        for (class, out) in to.iter().enumerate() {
            out.set(read(f32, f64, f16, bf16, class * stride) as f32);
        }
    }
}

/// A function of scalars and addresses, called from many places: structs across a call would live in stack memory.
#[inline(never)]
fn read(f32: &[Cell<f32>], f64: &[Cell<f64>], f16: &[Cell<u16>], bf16: &[Cell<u16>], place: usize) -> f64 {
    if let Some(x) = f32.get(place) {
        f64::from(x.get())
    } else if let Some(x) = f64.get(place) {
        x.get()
    } else if let Some(x) = f16.get(place) {
        f64::from(from_f16(x.get()))
    } else {
        bf16.get(place).map_or(f64::NAN, |x| f64::from(from_bf16(x.get())))
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
