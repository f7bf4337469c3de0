//! One row of many classes, and any row that is computed alone.
//!
//! ```text
//! shift by a power of two near the label's term; for each class j except the label:
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
//!   sum in range (see [`crate::exp`]). Rows that are out of range are recognised afterwards and summed again, around their label or
//!   their largest logit ([`Way::Centred`]).
//! - The label's own term is left out of the sum. The loss of a confident row is the ratio of the two, which their sum would lose. For
//!   the same reason, the gradient at the label is not p - 1.
//! - A term is rounded once. Sums are added in `f64`: a million equal terms would otherwise lose hundreds of ulp, and a large term
//!   would swallow small ones.
//! - The gradient's memory holds the e_j until the sum is known: one exponential for both results. If it cannot (in place, or with a
//!   stride between classes), the terms are computed again, a tile at a time.
//!
//! The sum of a row is the sum of its segments, in order; several threads may each sum some of them ([`crate::partial`]).

mod centred;
mod write;

pub use write::{fill, scatter};

use crate::ends::Common;
use crate::exp::Range;
use crate::label::Label;
use crate::largest;
use crate::numbers::Numbers;
use crate::scratch::{PerRow, ROWS, Reference, Scratch, Sums, tile_length};
use crate::targets::{Targets, margins};
use crate::terms::{Loop, Way, terms};
use crate::tile::Line;
use crate::vector::Single;
use core::marker::PhantomData;

/// Classes of a segment.
pub const SEGMENT: usize = 8192;

/// The memory of a row's gradient.
#[derive(Clone, Copy)]
pub struct Gradient<'a> {
    /// The entries, and the numbers between them.
    pub numbers: Numbers<'a>,
    /// The distance from one class to the next.
    pub stride: usize,
    /// Whether it holds terms until they are scaled: not in place, and not if the sums come from another run.
    pub holds_terms: bool,
}

/// One row. It is in the scratch area, so that several functions can share it without stack memory.
#[derive(Clone, Copy)]
pub struct Row<'a, V> {
    /// Number of classes.
    pub classes: usize,
    /// The logits.
    pub line: Line<'a>,
    /// The logits' divisor.
    pub temperature: f64,
    /// The meaning of the label.
    pub label: Label,
    /// Sample weight.
    pub sample: f64,
    /// q
    pub targets: Targets<'a>,
    /// Constants of the run.
    pub common: Common,
    /// The gradient to write, or none.
    pub gradient: Option<Gradient<'a>>,
    /// The scratch area of this thread.
    pub scratch: &'a Scratch,
    /// The row's place in the scratch area's arrays.
    pub place: usize,
    /// The vectors of the loops.
    pub lanes: PhantomData<V>,
}

impl<'a, V: Single> Row<'a, V> {
    /// Sums the row around its reference, if that is possible; the ends of several rows are computed together afterwards. `best` is the
    /// class with the largest logit, if it is known. Writes nothing but terms.
    #[inline(always)]
    pub fn begin(&self, best: Option<i32>) {
        let scratch = self.scratch;
        let reference = self.reference(self.reference_class(best));
        if self.set_shift(reference.logit) {
            self.sum(Way::Direct);
        } else {
            scratch.set_sums(Sums::UNKNOWN);
        }
        self.end();
    }

    /// Writes the inputs for the ends of the row to its place in the scratch area's arrays.
    #[inline(never)]
    pub fn end(&self) {
        let scratch = self.scratch;
        let reference = scratch.reference();
        let logit = if self.line.double() { reference.logit } else { self.divided(reference.logit) };
        self.put(&scratch.logit, logit);
        self.put(&scratch.off_label, scratch.sums().off_label);
        self.put(&scratch.power, self.power());
        scratch.labels[self.place % ROWS].set(reference.class as i32);
        self.put(&scratch.slope_at_label, reference.slope);
        self.take_weights();
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

    /// Makes a class the reference, in the scratch area, and returns it.
    #[inline(always)]
    pub fn reference(&self, class: usize) -> Reference {
        self.take_reference(class);
        self.scratch.reference()
    }

    #[inline(never)]
    fn take_reference(&self, class: usize) {
        let (mut logit, mut slope) = (f64::NAN, 1.0);
        if class < self.classes {
            (logit, slope) = self.line.capped::<V>(class, self.scratch);
        }
        self.scratch.set_reference(Reference { class, logit, slope, anchor: logit });
    }

    /// Sets the shift for terms around this logit. Returns false, and sets nothing, if the logit is too far from 0.
    #[inline(always)]
    pub fn set_shift(&self, logit: f64) -> bool {
        let range = self.range();
        let logit = self.divided(logit);
        let in_range = logit.abs() <= range.max_shift;
        if in_range {
            self.scratch.shift.set(range.shift(Range::power_of(logit)));
        }
        in_range
    }

    /// A logit after the temperature.
    #[inline(always)]
    fn divided(&self, logit: f64) -> f64 {
        if self.temperature == 1.0 { logit } else { logit / self.temperature }
    }

    /// The power of two that the terms are relative to.
    #[inline(always)]
    pub fn power(&self) -> f64 {
        let range = self.range();
        range.bias + range.lift - (self.scratch.shift.get() - range.round)
    }

    /// The constants of the reduction for the logits' type.
    #[inline(always)]
    pub fn range(&self) -> &'static Range {
        Range::of_type(self.line.double())
    }

    /// The first of the classes `from` to `to` with the largest given logit.
    #[inline(never)]
    pub fn argmax(&self, from: usize, to: usize) -> i32 {
        largest::of_line::<V>(&self.line, from, to, self.scratch)
    }

    /// The gradient's memory, if terms are kept there until they are scaled.
    #[inline(always)]
    fn term_memory(&self) -> Option<Numbers<'a>> {
        let both = self.line.softcap != 0.0 && self.targets.is_dense();
        match self.gradient {
            Some(Gradient { numbers, stride: 1, holds_terms: true }) if !both && self.counts() => Some(numbers),
            _ => None,
        }
    }

    /// Whether loss and gradient must be computed: for an ignored or invalid label, they are 0 or NaN.
    #[inline(always)]
    fn counts(&self) -> bool {
        matches!(self.label, Label::Class(_) | Label::None)
    }

    /// Sums the whole row around the scratch area's reference, into the scratch area. O is NaN if this way is not right for the row.
    #[inline(never)]
    pub fn sum(&self, way: Way) {
        let mut sums = Sums::default();
        let mut from = 0;
        while from < self.classes && !sums.off_label.is_nan() {
            let to = (from + SEGMENT).min(self.classes);
            self.sum_segment(way, from, to);
            sums.add(&self.scratch.sums());
            from = to;
        }
        self.scratch.set_sums(Sums { off_label: self.range().checked(sums.off_label), ..sums });
    }

    /// Sums the classes `from` to `to` in the same way.
    #[inline(never)]
    pub fn sum_segment(&self, way: Way, from: usize, to: usize) {
        let Self { line, targets, scratch, .. } = self;
        let reference = scratch.reference();
        let double = line.double();
        let dense = targets.is_dense() && self.counts();
        let which = self.loop_of(way).sum();
        scratch.begin(dense);
        let length = self.tile_length(way, dense && !targets.is_direct(double));
        let mut at = from;
        while at < to {
            let end = to.min(at.saturating_add(length));
            let tile = line.tile::<V>(at, end, scratch);
            let skip = reference.class.wrapping_sub(at);
            match self.term_memory() {
                Some(all) => {
                    let out = all.part(at, end);
                    terms::<V>(which.keep(), tile.high, tile.low, out, skip, scratch);
                    self.slope(out);
                }
                None => terms::<V>(which, tile.high, tile.low, tile.high, skip, scratch),
            }
            if dense {
                let entries = targets.tile::<V>(at, end, double, scratch).entries;
                let low = if line.softcap == 0.0 { Numbers::NONE } else { tile.low };
                margins::<V>(tile.high, low, entries, skip, reference.anchor, way == Way::Centred, scratch);
            }
            at = end;
        }
        let off_label =
            if which.accepts::<V>(scratch.trace.get()) { scratch.terms::<V::Wide>().total() } else { f64::NAN };
        let mut sums = Sums { off_label, ..Sums::default() };
        if dense {
            let (weights, margins) = scratch.weights::<V::Wide>();
            (sums.off_weight, sums.margin) = (weights.total(), margins.total());
        }
        scratch.set_sums(sums);
    }

    #[inline(always)]
    fn tile_length(&self, way: Way, staged: bool) -> usize {
        let double = self.line.double();
        if staged || double || way == Way::Centred { tile_length(double) } else { self.line.tile_length() }
    }

    #[inline(always)]
    fn loop_of(&self, way: Way) -> Loop {
        Loop::new(way, self.line.double(), self.line.softcap, self.temperature)
    }

    /// Writes the weights to the row's place in the scratch area's arrays.
    #[inline(never)]
    fn take_weights(&self) {
        let scratch = self.scratch;
        let (reference, sums) = (scratch.reference(), scratch.sums());
        let counts = self.counts();
        if self.common.plain {
            self.put(&scratch.sample, f64::from(u8::from(counts)));
            return;
        }
        let is_label = self.label != Label::None && self.label == Label::Class(reference.class);
        self.put(&scratch.weight, if counts { self.targets.weight(reference.class, is_label) } else { 0.0 });
        self.put(&scratch.sample, if counts { self.sample } else { 0.0 });
        let uniform = self.targets.is_dense() && !self.targets.has_entries();
        // With one class, the margin is exactly 0: a capped logit in two parts differs slightly from its rounded sum.
        let factor = match (self.targets.soft.is_empty(), self.classes) {
            (true, 1) => 0.0,
            (true, _) => self.targets.spread,
            _ => 1.0,
        };
        let off_weight = if uniform { (self.classes - 1) as f64 } else { sums.off_weight };
        // If the label is not the reference, add the part of its q that other classes do not have.
        let (mut off_weight, mut margin) = (off_weight * factor, sums.margin * factor / self.temperature);
        if let Label::Class(label) = self.label
            && label != reference.class
            && self.targets.is_dense()
        {
            let more = self.targets.class_weight(label) * (1.0 - self.targets.smoothing);
            off_weight += more;
            // A weight of 0 counts 0, even of a label at -inf.
            if more != 0.0 {
                margin += more * ((reference.anchor - self.line.capped::<V>(label, scratch).0) / self.temperature);
            }
        }
        self.put(&scratch.off_weight, if counts { off_weight } else { 0.0 });
        self.put(&scratch.margin, if counts { margin } else { 0.0 });
    }
}
