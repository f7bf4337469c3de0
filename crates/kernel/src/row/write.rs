//! The gradient of a row whose sums are known.

use super::{Gradient, Row};
use crate::gradient::{multiply, write_gradient};
use crate::label::Label;
use crate::numbers::{Kind, Numbers};
use crate::scratch::{ROWS, Reference, tile_length};
use crate::terms::{Way, terms};
use crate::vector::{Element, Single};
use core::cell::Cell;

impl<V: Single> Row<'_, V> {
    /// Writes the gradient of a row whose ends were computed.
    #[inline(always)]
    pub fn write_from_ends(&self) {
        let scratch = self.scratch;
        let class = scratch.labels[self.place % ROWS].get() as u32 as usize;
        scratch.shift.set(self.range().shift(self.get(&scratch.power)));
        scratch.set_reference(Reference { class, logit: 0.0, slope: self.get(&scratch.slope_at_label), anchor: 0.0 });
        self.write(Way::Direct, 0, self.classes);
    }

    /// Multiplies the terms of a tile by the softcap's slopes. Only for gradients that consist of the terms alone.
    #[inline(always)]
    pub(super) fn slope(&self, terms: Numbers) {
        if self.line.softcap != 0.0 {
            multiply::<V>(terms, self.scratch.slope_of(self.line.double()));
        }
    }

    /// Sets all entries of the gradient to a value.
    #[inline(always)]
    pub fn fill(&self, value: f64) {
        if let Some(Gradient { numbers, stride, .. }) = self.gradient {
            fill(numbers, stride, value);
        }
    }

    /// Writes the gradient of the classes `from` to `to`, once all sums are known. The reference is in the scratch area.
    #[inline(never)]
    pub fn write(&self, way: Way, from: usize, to: usize) {
        let Some(Gradient { numbers, stride, .. }) = self.gradient else { return };
        let Self { line, targets, scratch, .. } = self;
        if !self.counts() {
            return fill(numbers.part(from * stride, (to - 1) * stride + 1), stride, 0.0);
        }
        let (double, dense) = (line.double(), targets.is_dense());
        let factor = self.get(&scratch.factor);
        let weight = if dense { self.common.scale * self.sample } else { 0.0 };
        let memory = self.term_memory();
        let staged = memory.is_none() || dense && !targets.is_direct(double);
        let length = if staged { tile_length(double) } else { usize::MAX };
        let mut at = from;
        while at < to {
            let end = to.min(at.saturating_add(length));
            let made = match memory {
                Some(memory) => memory.part(at, end),
                None => {
                    let tile = line.tile::<V>(at, end, scratch);
                    let made = scratch.term_of(double).part(0, end - at);
                    terms::<V>(self.loop_of(way).keep(), tile.high, tile.low, made, usize::MAX, scratch);
                    if !dense {
                        self.slope(made);
                    }
                    made
                }
            };
            let (entries, weight) = if dense {
                let q = targets.tile::<V>(at, end, double, scratch);
                (q.entries, q.weight * weight)
            } else {
                (Numbers::NONE, 0.0)
            };
            let slope = if dense && line.softcap != 0.0 { scratch.slope_of(double) } else { Numbers::NONE };
            let to = if stride == 1 { numbers.part(at, end) } else { made };
            write_gradient::<V>(made, entries, slope, to, factor, weight);
            if stride != 1 {
                scatter(made, numbers.from(at * stride), stride);
            }
            at = end;
        }
        self.write_reference_and_label(from, to);
    }

    /// Writes the entries with other formulas: that of the reference and, if it is another class, that of the label.
    #[inline(always)]
    fn write_reference_and_label(&self, from: usize, to: usize) {
        let Some(Gradient { numbers, stride, .. }) = self.gradient else { return };
        let (reference, classes) = (self.scratch.reference(), from..to);
        if classes.contains(&reference.class) {
            numbers.set(reference.class * stride, self.get(&self.scratch.label_gradient) * reference.slope);
        }
        if let Label::Class(label) = self.label
            && label != reference.class
            && classes.contains(&label)
        {
            // So far, the entry has only the part of q that all classes share.
            let more = self.targets.class_weight(label) * (1.0 - self.targets.smoothing);
            let slope = self.scratch.label_slope.get();
            let so_far = numbers.get(label * stride);
            numbers.set(label * stride, so_far - self.common.scale * self.sample * more * slope);
        }
    }
}

/// Sets every `stride`-th number.
#[inline(always)]
pub fn fill(numbers: Numbers, stride: usize, value: f64) {
    if numbers.kind() == Kind::Double {
        fill_of::<f64>(numbers.cells(), stride, value);
    } else {
        fill_of::<f32>(numbers.cells(), stride, value);
    }
}

#[inline(never)]
fn fill_of<E: Element>(cells: &[Cell<E>], stride: usize, value: f64) {
    for cell in cells.iter().step_by(stride) {
        cell.set(E::from_f64(value));
    }
}

/// Copies numbers to every `stride`-th entry of `to`, from the first on.
#[inline(always)]
pub fn scatter(from: Numbers, to: Numbers, stride: usize) {
    if to.kind() == Kind::Double {
        scatter_of::<f64>(from.cells(), to.cells(), stride);
    } else {
        scatter_of::<f32>(from.cells(), to.cells(), stride);
    }
}

#[inline(never)]
fn scatter_of<E: Element>(from: &[Cell<E>], to: &[Cell<E>], stride: usize) {
    for (x, to) in from.iter().zip(to.iter().step_by(stride)) {
        to.set(x.get());
    }
}
