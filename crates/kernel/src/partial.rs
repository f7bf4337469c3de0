//! Partial results of a row: the sums of some of its classes.
//!
//! A row is a fold of its segments. Several threads may each sum some segments ([`Split`]); the result has the same bits. The classes of
//! a job may also be a shard of the vocabulary, with the other shards on other machines ([`Partial`]):
//!
//! ```text
//! sum    a shard's logits -> Partial     maximum, sum of the exponentials, the reference's logit if it is here
//!        all of these     -> Merged      in TypeScript (packages/xent/src/shards)
//! write  Merged, logits   -> gradient
//! ```
//!
//! The sum of a shard is relative to a power of two near the exponential of its maximum, not to that exponential: merging multiplies by
//! powers of two, which is exact. The reference's term is left out of the sum, as in [`crate::row`].
//!
//! With smoothing or soft targets, each shard has its own reference, its largest logit, and merging makes ordinary classes of all
//! references but the largest. Margins are measured from it, too. So the loss of a row is a sum of parts with the same sign: none cancels,
//! whichever class dominates the row.

use crate::exp::Range;
use crate::label::Label;
use crate::power::over_power;
use crate::row::{Row, SEGMENT};
use crate::scratch::{Reference, Sums};
use crate::terms::Way;
use crate::vector::Single;
use core::cell::Cell;

/// The record that the threads of a row share.
#[repr(C)]
pub struct Header {
    power: Cell<f64>,
    factor: Cell<f64>,
    label_gradient: Cell<f64>,
    slope: Cell<f64>,
    /// The class of the reference.
    class: Cell<i32>,
    reserved: Cell<i32>,
}

/// The partial result of a segment.
#[repr(C)]
pub struct Segment {
    off_label: Cell<f64>,
    off_weight: Cell<f64>,
    margin: Cell<f64>,
    /// The class of the largest logit.
    largest: Cell<i32>,
}

/// Bytes of a [`Header`].
pub const HEADER_BYTES: usize = 40;
const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

/// Bytes of a [`Segment`].
pub const SEGMENT_BYTES: usize = 32;
const _: () = assert!(size_of::<Segment>() == SEGMENT_BYTES);

/// A row whose segments several threads compute, in steps: with soft targets all largest logits, whose largest is the reference; all sums;
/// the loss; all gradients.
#[derive(Clone, Copy)]
pub struct Split<'a, V> {
    /// The record that the threads share.
    pub header: &'a Header,
    /// One record for every [`SEGMENT`] classes.
    pub segments: &'a [Segment],
    /// The row.
    pub row: &'a Row<'a, V>,
}

impl<V: Single> Split<'_, V> {
    #[inline(always)]
    fn range(&self, index: usize) -> core::ops::Range<usize> {
        index * SEGMENT..((index + 1) * SEGMENT).min(self.row.classes)
    }

    /// Finds the largest logit of a segment.
    #[inline(always)]
    pub fn find(&self, index: usize) {
        let range = self.range(index);
        if let Some(segment) = self.segments.get(index) {
            segment.largest.set(self.row.argmax(range.start, range.end));
        }
    }

    /// The class of the reference. With soft targets, the largest logits of all segments are known.
    #[inline(always)]
    fn reference_class(&self) -> usize {
        let best = if self.row.label == Label::None { Some(self.prediction()) } else { None };
        self.row.reference_class(best)
    }

    /// Sums a segment.
    #[inline(always)]
    pub fn sum(&self, index: usize) {
        let (row, range) = (self.row, self.range(index));
        let Some(segment) = self.segments.get(index) else { return };
        let reference = row.reference(self.reference_class());
        if row.set_shift(reference.logit) {
            row.sum_segment(Way::Direct, range.start, range.end);
        } else {
            row.scratch.set_sums(Sums::UNKNOWN);
        }
        let sums = row.scratch.sums();
        segment.off_label.set(sums.off_label);
        segment.off_weight.set(sums.off_weight);
        segment.margin.set(sums.margin);
    }

    /// Folds all sums into the row's place in the scratch area's arrays. Returns false if the row must be computed as a whole, because its
    /// label is not a class or its terms cannot be computed around the label.
    #[inline(always)]
    pub fn end(&self) -> bool {
        let row = self.row;
        let mut sums = Sums::default();
        for segment in self.segments {
            let [off_label, off_weight, margin] =
                [&segment.off_label, &segment.off_weight, &segment.margin].map(Cell::get);
            sums.add(&Sums { off_label, off_weight, margin });
        }
        sums.off_label = row.range().checked(sums.off_label);
        row.scratch.set_sums(sums);
        let class = self.reference_class();
        let reference = row.reference(class);
        self.header.class.set(class as i32);
        let in_range = row.set_shift(reference.logit);
        row.end();
        in_range
    }

    /// Stores the factors that the gradients of the segments need.
    #[inline(always)]
    pub fn share(&self) {
        let scratch = self.row.scratch;
        self.header.power.set(scratch.power[0].get());
        self.header.factor.set(scratch.factor[0].get());
        self.header.label_gradient.set(scratch.label_gradient[0].get());
        self.header.slope.set(scratch.slope_at_label[0].get());
    }

    /// The first class with the largest logit.
    #[inline(always)]
    pub fn prediction(&self) -> i32 {
        let (mut best, mut most) = (-1, f64::NAN);
        for segment in self.segments {
            let Ok(place) = usize::try_from(segment.largest.get()) else { continue };
            let x = self.row.line.get(place);
            if best < 0 || x > most {
                (best, most) = (place as i32, x);
            }
        }
        best
    }

    /// Writes the gradient of a segment, once the factors are stored.
    #[inline(always)]
    pub fn write(&self, index: usize) {
        let (row, scratch) = (self.row, self.row.scratch);
        scratch.shift.set(row.range().shift(self.header.power.get()));
        scratch.factor[0].set(self.header.factor.get());
        scratch.label_gradient[0].set(self.header.label_gradient.get());
        // Class and slope are all that is needed from here on. The logit may be overwritten already, by a gradient in place.
        let class = self.header.class.get() as u32 as usize;
        let reference = Reference { class, logit: 0.0, slope: self.header.slope.get(), anchor: 0.0 };
        scratch.set_reference(reference);
        let range = self.range(index);
        row.write(Way::Direct, range.start, range.end);
    }
}

/// The partial result of a shard, for one row.
#[repr(C)]
pub struct Partial {
    /// The largest logit; -inf if all logits are -inf; NaN if the row has a NaN or +inf.
    maximum: Cell<f64>,
    /// The sum of e^x / 2^power over all classes but the reference; without a power, of e^(x - maximum).
    sum: Cell<f64>,
    /// NaN: none, because the maximum is too large.
    power: Cell<f64>,
    /// The label's logit; NaN if it lies elsewhere, or with soft targets.
    label: Cell<f64>,
    /// The first class of the shard with the largest logit; -1 if there is none.
    prediction: Cell<f64>,
    /// The label's class weight; NaN if the label lies elsewhere, or with soft targets.
    label_weight: Cell<f64>,
    /// With smoothing: the sum of w over all classes but the reference, where w are the class weights. With soft targets, q replaces w.
    weight: Cell<f64>,
    /// The same sum of w (maximum - x).
    margin: Cell<f64>,
    /// w, or q, of the reference.
    reference_weight: Cell<f64>,
    /// The largest logit, before softcap and temperature; NaN if there is none.
    largest: Cell<f64>,
}

/// The merged result of a row, from which a shard computes its gradient.
#[repr(C)]
pub struct Merged {
    /// 1: compute the gradient. 0 or NaN: the gradient of the whole row.
    fill: Cell<f64>,
    /// The largest logit of all shards.
    maximum: Cell<f64>,
    /// The factor from e^(x - maximum) to the gradient.
    factor: Cell<f64>,
    /// Gradient at the reference.
    label_gradient: Cell<f64>,
    /// With smoothing or soft targets: the number that is subtracted from the gradient for a q of 1.
    target: Cell<f64>,
    /// The place of the reference in this shard, if it is there.
    reference: Cell<f64>,
    reserved: [Cell<f64>; 4],
}

/// Bytes of a [`Partial`], and of a [`Merged`].
pub const RECORD_BYTES: usize = 80;
const _: () = assert!(size_of::<Partial>() == RECORD_BYTES && size_of::<Merged>() == RECORD_BYTES);

impl Merged {
    /// The number that is subtracted from the gradient for a q of 1.
    #[inline(always)]
    pub fn target(&self) -> f64 {
        self.target.get()
    }
}

/// A maximum of at least this size has no power: the difference between the two would be less exact than the sums.
pub const TOO_LARGE: f64 = 2_147_483_648.0;

impl<V: Single> Row<'_, V> {
    /// Sums a shard. The reference is the label (beyond the end if another shard has it) or, with smoothing or soft targets, the largest
    /// logit.
    #[inline(always)]
    pub fn sum_shard(&self, out: &Partial) {
        let best = self.argmax(0, self.classes);
        let place = usize::try_from(best).unwrap_or(usize::MAX);
        let largest = self.reference(place);
        let label = if let Label::Class(class) = self.label { class } else { usize::MAX };
        let reference = self.reference(label);
        let here = label < self.classes;
        let anchor = if largest.logit.is_finite() { largest.logit } else { 0.0 };
        let dense = self.targets.is_dense();
        self.scratch.set_reference(Reference { class: if dense { place } else { label }, anchor, ..reference });
        let maximum = largest.logit / self.temperature;
        let centre = anchor / self.temperature;
        let power = if centre.abs() < TOO_LARGE { Range::power_of(centre) } else { f64::NAN };
        let mut unit = 1.0 / self.range().unit();
        if largest.logit.is_nan() || largest.logit == f64::INFINITY {
            self.scratch.set_sums(Sums::UNKNOWN);
        } else if self.set_shift(anchor) {
            self.sum(Way::Direct);
        } else {
            self.centre(anchor);
            self.sum(Way::Centred);
            if !power.is_nan() {
                unit *= over_power::<V::Wide>(centre, power);
            }
        }
        let sums = self.scratch.sums();
        let broken = sums.off_label.is_nan() || here && (reference.logit.is_nan() || reference.logit == f64::INFINITY);
        out.maximum.set(if broken { f64::NAN } else { maximum });
        out.sum.set(sums.off_label * unit);
        out.power.set(power);
        out.label.set(if here { reference.logit / self.temperature } else { f64::NAN });
        out.prediction.set(f64::from(best));
        out.label_weight.set(if here { self.targets.class_weight(label) } else { f64::NAN });
        let counted = (self.classes - 1) as f64;
        out.weight.set(if self.targets.has_entries() { sums.off_weight } else { counted });
        // Exactly 0 for one class: a capped logit in two parts differs slightly from its rounded sum.
        out.margin.set(if self.classes == 1 { 0.0 } else { sums.margin / self.temperature });
        let soft = self.label == Label::None && best >= 0;
        out.reference_weight.set(if soft {
            self.targets.weight(place, false)
        } else {
            self.targets.class_weight(place)
        });
        out.largest.set(self.line.get(place));
    }

    /// Writes the gradient of a shard from the merged result. The sample weight is that of the targets.
    #[inline(always)]
    pub fn write_shard(&self, merged: &Merged) {
        if merged.fill.get() != 1.0 {
            return self.fill(merged.fill.get());
        }
        let maximum = merged.maximum.get();
        if let Label::Class(label) = self.label
            && label < self.classes
        {
            self.scratch.label_slope.set(self.line.capped::<V>(label, self.scratch).1);
        }
        // Without this check, a negative number would become 0, which is a class.
        let place = merged.reference.get();
        let reference = self.reference(if place >= 0.0 { place as usize } else { usize::MAX });
        let mut factor = merged.factor.get() / self.range().unit();
        let mut way = Way::Direct;
        let capped = self.line.softcap != 0.0;
        if !capped && self.set_shift(maximum * self.temperature) {
            let power = self.power();
            factor /= over_power::<V::Wide>(maximum, power);
        } else {
            way = Way::Centred;
            // Exact if the maximum is in this shard.
            let best = self.argmax(0, self.classes);
            let largest = self.reference(usize::try_from(best).unwrap_or(usize::MAX)).logit;
            let here = largest / self.temperature == maximum;
            self.centre(if here { largest } else { maximum * self.temperature });
        }
        self.scratch.factor[0].set(factor);
        self.scratch.label_gradient[0].set(merged.label_gradient.get());
        self.scratch.set_reference(reference);
        self.write(way, 0, self.classes);
    }
}
