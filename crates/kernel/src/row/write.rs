//! The gradient of a row whose sums are known.

use super::{Gradient, Parts, Row};
use crate::exp::Range;
use crate::gradient::write_gradient;
use crate::label::Label;
use crate::scratch::{ROWS, Reference, tile_of};
use crate::terms::{Way, terms};
use crate::vector::{Element, Vector};
use core::cell::Cell;

impl<V: Vector> Row<'_, V> {
    /// The gradient of a row whose ends were found.
    #[inline(always)]
    pub fn write_found(&self, parts: &impl Parts) {
        let scratch = self.scratch;
        let clamped = scratch.unfit[self.place % ROWS].get() == 1;
        let class = scratch.labels[self.place % ROWS].get() as u32 as usize;
        scratch.shift.set(Range::of::<V::Element>().shift(self.get(&scratch.power)));
        scratch.reference.set(Reference { class, logit: 0.0, slope: self.get(&scratch.slope_at_label), anchor: 0.0 });
        parts.write(if clamped { Way::Clamped } else { Way::Direct }, 0, self.classes);
    }

    /// Multiplies the terms of a tile by the softcap's slopes, if it is only they that the gradient is made of.
    #[inline(always)]
    pub(super) fn slope(&self, terms: &[Cell<V::Element>]) {
        if self.line.softcap != 0.0 {
            write_gradient::<V>(terms, &[], self.scratch.slope(), terms, 1.0, 0.0);
        }
    }

    /// The same gradient everywhere.
    #[inline(always)]
    pub fn fill(&self, value: f64) {
        if let Some(Gradient { cells, stride, .. }) = self.gradient {
            fill(cells, stride, V::Element::from_f64(value));
        }
    }

    /// The gradient of the classes `from` to `to`, once the sums of all are known; the reference is in the scratch area.
    #[inline(always)]
    pub fn write(&self, way: Way, from: usize, to: usize) {
        let (reference, classes) = (self.scratch.reference.get(), from..to);
        let Some(Gradient { cells, stride, .. }) = self.gradient else { return };
        let Self { line, targets, scratch, .. } = self;
        if !self.counts() {
            return fill(cells.get(classes.start * stride..).unwrap_or(&[]), stride, V::Element::default());
        }
        let dense = targets.is_dense();
        let factor = self.get(&scratch.factor);
        let weight = if dense { self.common.scale * self.sample } else { 0.0 };
        let kept = self.kept();
        let staged = kept.is_none() || dense && !targets.is_direct::<V::Element>();
        let length = if staged { tile_of::<V::Element>() } else { usize::MAX };
        let mut at = classes.start;
        while at < classes.end {
            let end = classes.end.min(at.saturating_add(length));
            let made = match kept.and_then(|all| all.get(at..end)) {
                Some(kept) => kept,
                None => {
                    let tile = line.tile::<V>(at, end, scratch);
                    let made = scratch.term().get(..end - at).unwrap_or(&[]);
                    terms::<V>(self.loop_of(way).keep(), tile.high, tile.low, made, usize::MAX, scratch);
                    if !dense {
                        self.slope(made);
                    }
                    made
                }
            };
            let (entries, weight) = if dense {
                let q = targets.tile::<V>(at, end, scratch);
                (q.entries, q.weight * weight)
            } else {
                (&[][..], 0.0)
            };
            let slope = if dense && line.softcap != 0.0 { scratch.slope() } else { &[] };
            let to = if stride == 1 { cells.get(at..end).unwrap_or(&[]) } else { made };
            write_gradient::<V>(made, entries, slope, to, factor, weight);
            if stride != 1 {
                scatter(made, cells.get(at * stride..).unwrap_or(&[]), stride);
            }
            at = end;
        }
        self.write_others(&reference, &classes);
    }

    /// The entries that are not made of their term: the reference's and, where that is another class, the label's.
    #[inline(always)]
    fn write_others(&self, reference: &Reference, classes: &core::ops::Range<usize>) {
        let Some(Gradient { cells, stride, .. }) = self.gradient else { return };
        let put = |class: usize, value: f64| {
            if let (true, Some(to)) = (classes.contains(&class), cells.get(class * stride)) {
                to.set(V::Element::from_f64(value));
            }
        };
        put(reference.class, self.get(&self.scratch.label_gradient) * reference.slope);
        if let Label::Class(label) = self.label
            && label != reference.class
            && classes.contains(&label)
            && let Some(to) = cells.get(label * stride)
        {
            // So far it has what all classes have of q.
            let more = self.targets.class_weight(label) * (1.0 - self.targets.smoothing);
            let slope = self.scratch.label_slope.get();
            put(label, to.get().to_f64() - self.common.scale * self.sample * more * slope);
        }
    }
}

/// The same value in every `stride`-th entry.
#[inline(never)]
pub fn fill<E: Element>(cells: &[Cell<E>], stride: usize, value: E) {
    let mut place = 0;
    while let Some(cell) = cells.get(place) {
        cell.set(value);
        place += stride;
    }
}

/// Every `stride`-th entry of `to`, from the first on.
#[inline(never)]
pub fn scatter<E: Element>(from: &[Cell<E>], to: &[Cell<E>], stride: usize) {
    let mut place = 0;
    for x in from {
        if let Some(to) = to.get(place) {
            to.set(x.get());
        }
        place += stride;
    }
}
