//! One row of many classes, and any row that is computed alone.
//!
//! ```text
//! shift by a power of two near the label's term; for each class j but the label:
//!     e_j = exp(x_j)                   -> the gradient's memory, if that is not the logits'
//!     O += e_j                         in f64
//! e_y  = exp(x_y), in f64
//! loss = log1p(O / e_y)
//! g_j  = scale * e_j / (O + e_y)       g_y = -scale * O / (O + e_y)
//! ```
//!
//! Where this departs from the usual "subtract the maximum, then log of the sum", and why:
//!
//! - There is no search for the maximum: one pass over the logits instead of two. A power of two near the label's term keeps the
//!   sum in range (see [`crate::exp`]). Rows for which it does not are recognised afterwards and summed again, around their
//!   label or their largest logit ([`Way::Centred`]).
//! - The label's own term is left out of the sum. A confident row's loss is the ratio of the two; once they are added,
//!   it is gone. For the same reason the label's gradient is not p - 1.
//! - A term is rounded once. Sums are added in `f64`: a million equal terms would otherwise lose hundreds of ulp, and a large term
//!   would swallow small ones.
//! - The gradient's memory holds the e_j until the sum is known: one exponential for both results. Where it cannot (in place, with a
//!   stride between classes), terms are made again, a tile at a time.
//!
//! The sum of a row is that of its segments, in order: several threads may each have summed some ([`crate::partial`]).

mod centred;
mod write;

pub use write::{fill, scatter};

use crate::ends::Common;
use crate::exp::Range;
use crate::label::Label;
use crate::largest;
use crate::scratch::{PerRow, ROWS, Reference, Scratch, Sums, tile_of};
use crate::targets::{Targets, each_margin};
use crate::terms::{Loop, Way, terms};
use crate::tile::Line;
use crate::vector::Vector;
use core::cell::Cell;

/// Classes of a segment.
pub const SEGMENT: usize = 8192;

/// Where a gradient goes: the places of the classes.
#[derive(Clone, Copy)]
pub struct Gradient<'a, E> {
    /// Entries.
    pub cells: &'a [Cell<E>],
    /// From one class to the next.
    pub stride: usize,
    /// Whether terms may be kept there until they are scaled: not over the logits, and not where sums were found in another run.
    pub keeps: bool,
}

/// One row.
#[derive(Clone, Copy)]
pub struct Row<'a, V: Vector> {
    /// Number of classes.
    pub classes: usize,
    /// The logits.
    pub line: Line<'a, V::Element>,
    /// Their divisor.
    pub temperature: f64,
    /// What the label means.
    pub label: Label,
    /// Sample weight.
    pub sample: f64,
    /// q
    pub targets: Targets<'a>,
    /// Of all rows.
    pub common: Common,
    /// Output, or none.
    pub gradient: Option<Gradient<'a, V::Element>>,
    /// Of this thread.
    pub scratch: &'a Scratch,
    /// The row's place in the scratch area's arrays.
    pub place: usize,
}

/// Steps on a row that several places call, each compiled once.
pub trait Parts {
    /// [`Row::sum_segment`]
    fn sum(&self, way: Way, from: usize, to: usize);

    /// [`Row::write`]
    fn write(&self, way: Way, from: usize, to: usize);

    /// [`Row::argmax`]
    fn argmax(&self, from: usize, to: usize) -> i32;
}

impl<'a, V: Vector> Row<'a, V> {
    /// Sums the row, as far as that goes around its reference; the ends of several rows are then found together. `best` is the class
    /// with the largest logit, if it is known. Nothing is written but kept terms.
    #[inline(always)]
    pub fn begin(&self, best: Option<i32>, parts: &impl Parts) {
        let scratch = self.scratch;
        let reference = self.reference(self.reference_class(best));
        let mut sums = Sums { off_label: f64::NAN, ..Sums::default() };
        let mut way = Way::Direct;
        if self.near(&reference) {
            let capped = self.line.softcap != 0.0;
            if scratch.clamped.get() != 0.0 && !capped {
                way = Way::Clamped;
            }
            sums = self.sum(way, &reference, parts);
            if sums.off_label.is_nan() && way == Way::Direct && !capped {
                way = Way::Clamped;
                sums = self.sum(way, &reference, parts);
                scratch.clamped.set(1.0);
            }
        }
        self.end(way, &reference, &sums);
    }

    /// Leaves what the ends of the row are found from at its place in the scratch area's arrays.
    #[inline(always)]
    pub fn end(&self, way: Way, reference: &Reference, sums: &Sums) {
        let scratch = self.scratch;
        self.put(&scratch.off_label, sums.off_label);
        self.put(&scratch.power, self.power());
        scratch.labels[self.place % ROWS].set(reference.class as i32);
        scratch.unfit[self.place % ROWS].set(u32::from(way == Way::Clamped));
        self.put(&scratch.slope_at_label, reference.slope);
        self.set(reference, sums);
    }

    #[inline(always)]
    fn put(&self, all: &PerRow, x: f64) {
        all[self.place % ROWS].set(x);
    }

    #[inline(always)]
    fn get(&self, all: &PerRow) -> f64 {
        all[self.place % ROWS].get()
    }

    /// The class of the reference.
    #[inline(always)]
    pub fn reference_class(&self, best: Option<i32>) -> usize {
        match self.label {
            Label::Class(class) => class,
            Label::Ignored => 0,
            Label::Invalid => usize::MAX,
            Label::None => usize::try_from(best.unwrap_or(-1)).unwrap_or(usize::MAX),
        }
    }

    /// A class as the reference, before anything is summed.
    #[inline(always)]
    pub fn reference(&self, class: usize) -> Reference {
        if class >= self.classes {
            return Reference { class, logit: f64::NAN, slope: 1.0, anchor: f64::NAN };
        }
        let (logit, slope) = self.line.capped::<V>(class, self.scratch);
        Reference { class, logit, slope, anchor: logit }
    }

    /// Whether terms can be made around this logit; then that is so from here on.
    #[inline(always)]
    pub fn near(&self, reference: &Reference) -> bool {
        let range = Range::of::<V::Element>();
        let logit = self.divided(reference.logit);
        let near = logit.abs() <= range.max_shift;
        if near {
            self.scratch.shift.set(range.shift(Range::power_near(logit)));
        }
        near
    }

    /// A logit after the temperature.
    #[inline(always)]
    fn divided(&self, logit: f64) -> f64 {
        if self.temperature == 1.0 { logit } else { logit / self.temperature }
    }

    /// The power of two that the terms are relative to.
    #[inline(always)]
    pub fn power(&self) -> f64 {
        let range = Range::of::<V::Element>();
        range.bias + range.lift - (self.scratch.shift.get() - range.round)
    }

    /// Of the classes `from` to `to`, the first with the largest logit as it is given.
    #[inline(always)]
    pub fn argmax(&self, from: usize, to: usize) -> i32 {
        let (mut best, mut most) = (-1, f64::NAN);
        let tile =
            if self.line.stride == 1 && !self.line.own.is_empty() { usize::MAX } else { tile_of::<V::Element>() };
        let (mut from, end) = (from, to);
        while from < end {
            let to = from.saturating_add(tile).min(end);
            let found = largest::argmax::<V>(self.line.raw::<V>(from, to, self.scratch.tile()));
            if let Ok(place) = usize::try_from(found) {
                let x = self.line.get(from + place);
                if best < 0 || x > most {
                    (best, most) = ((from + place) as i32, x);
                }
            }
            from = to;
        }
        best
    }

    /// Whether terms are kept in the gradient's memory until they are scaled.
    #[inline(always)]
    fn kept(&self) -> Option<&'a [Cell<V::Element>]> {
        let both = self.line.softcap != 0.0 && self.targets.is_dense();
        match self.gradient {
            Some(Gradient { cells, stride: 1, keeps: true }) if !both && self.counts() => Some(cells),
            _ => None,
        }
    }

    /// Whether loss and gradient are more than 0 or NaN.
    #[inline(always)]
    fn counts(&self) -> bool {
        matches!(self.label, Label::Class(_) | Label::None)
    }

    /// Sums of the whole row; O is NaN where this way is not right for it.
    #[inline(always)]
    pub fn sum(&self, way: Way, reference: &Reference, parts: &impl Parts) -> Sums {
        self.scratch.reference.set(*reference);
        let mut sums = Sums::default();
        let mut from = 0;
        while from < self.classes && !sums.off_label.is_nan() {
            let to = (from + SEGMENT).min(self.classes);
            parts.sum(way, from, to);
            sums.add(&self.scratch.sums.get());
            from = to;
        }
        Sums { off_label: Range::of::<V::Element>().checked(sums.off_label), ..sums }
    }

    /// Sums of the classes `from` to `to`, likewise, into the scratch area; the reference is there.
    #[inline(always)]
    pub fn sum_segment(&self, way: Way, from: usize, to: usize) {
        let Self { line, targets, scratch, .. } = self;
        let reference = scratch.reference.get();
        let dense = targets.is_dense() && self.counts();
        let which = self.loop_of(way).sum();
        scratch.begin();
        let length = self.tile_length(way, dense && !targets.is_direct::<V::Element>());
        let mut at = from;
        while at < to {
            let end = to.min(at.saturating_add(length));
            let tile = line.tile::<V>(at, end, scratch);
            let skip = reference.class.wrapping_sub(at);
            let kept = self.kept().and_then(|all| all.get(at..end));
            let which = if kept.is_some() { which.keep() } else { which };
            terms::<V>(which, tile.high, tile.low, kept.unwrap_or(tile.high), skip, scratch);
            if let Some(kept) = kept {
                self.slope(kept);
            }
            if dense {
                let entries = targets.tile::<V>(at, end, scratch).entries;
                let low = if line.softcap == 0.0 { &[] } else { tile.low };
                if entries.is_empty() {
                    each_margin::<V, false>(tile.high, low, entries, skip, reference.anchor, scratch);
                } else {
                    each_margin::<V, true>(tile.high, low, entries, skip, reference.anchor, scratch);
                }
            }
            at = end;
        }
        let off_label =
            if which.accepts::<V>(scratch.trace.get()) { scratch.terms::<V::Wide>().total() } else { f64::NAN };
        let (weights, margins) = scratch.weights::<V::Wide>();
        scratch.sums.set(Sums { off_label, off_weight: weights.total(), margin: margins.total() });
    }

    #[inline(always)]
    fn tile_length(&self, way: Way, staged: bool) -> usize {
        if staged || way == Way::Centred { tile_of::<V::Element>() } else { self.line.tile_length() }
    }

    #[inline(always)]
    fn loop_of(&self, way: Way) -> Loop {
        Loop::new(way, self.line.softcap, self.temperature)
    }

    /// Logit and weights, at the row's place in the scratch area's arrays.
    #[inline(always)]
    fn set(&self, reference: &Reference, sums: &Sums) {
        let scratch = self.scratch;
        self.put(&scratch.logit, self.divided(reference.logit));
        let counts = self.counts();
        if self.common.plain {
            self.put(&scratch.sample, f64::from(u8::from(counts)));
            return;
        }
        let is_label = self.label != Label::None && self.label == Label::Class(reference.class);
        self.put(&scratch.weight, if counts { self.targets.weight(reference.class, is_label) } else { 0.0 });
        self.put(&scratch.sample, if counts { self.sample } else { 0.0 });
        let uniform = self.targets.is_dense() && !self.targets.has_entries();
        let factor = if self.targets.soft.is_empty() { self.targets.spread } else { 1.0 };
        let off_weight = if uniform { (self.classes - 1) as f64 } else { sums.off_weight };
        // The label's share beyond that of all classes is of the label only.
        let (mut off_weight, mut margin) = (off_weight * factor, sums.margin * factor / self.temperature);
        if let Label::Class(label) = self.label
            && label != reference.class
            && self.targets.is_dense()
        {
            let more = self.targets.class_weight(label) * (1.0 - self.targets.smoothing);
            off_weight += more;
            margin += more * ((reference.anchor - self.line.capped::<V>(label, scratch).0) / self.temperature);
        }
        self.put(&scratch.off_weight, if counts { off_weight } else { 0.0 });
        self.put(&scratch.margin, if counts { margin } else { 0.0 });
    }
}
