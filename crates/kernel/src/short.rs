//! Rows of few classes, many at a time.
//!
//! Row by row, ten classes cost as much as forty: each row fills three vectors only in part and then waits for a logarithm.
//! So whole rows, about a thousand elements, are computed together:
//!
//! ```text
//! shift by a power of two near the first label's term; over the rows' memory as if it were one row:
//!     e = exp(x)                              -> scratch
//! at each row's label: store the logit, set e to 0
//! sums of each row, in f64
//! four rows at a time: the label's term, loss, the gradient's factor          (crate::ends)
//! gradient = e * factor
//! ```
//!
//! Shifts are powers of two, so a row has the same bits in a group as alone. A row may not be accepted in its group, because its label is
//! far from the first row's or a logit is not finite. It is then computed in a group of one row, so that acceptance does not depend on its
//! neighbours. If that fails, too, [`crate::row`] computes it.

mod loops;
mod weights;

use crate::ends::{Common, ends, label_terms, leave_ignored, mark_ignored};
use crate::exp::Range;
use crate::gradient::multiply;
use crate::label::Label;
use crate::numbers::Numbers;
use crate::scratch::{Scratch, tile_length};
use crate::targets::Targets;
use crate::terms::{Loop, Way, terms};
use crate::tile::{Tile, copy};
use crate::vector::Single;
use core::cell::Cell;
use core::marker::PhantomData;
use loops::{put_references, scale_rows, take};
use weights::{row_margins, take_weights, weigh_off_label, weigh_samples, weights_of_labels};

pub use loops::row_sums;

/// Rows of more classes are computed by [`crate::row`]. So a tile holds at least two rows.
#[inline(always)]
pub const fn max_classes(double: bool) -> usize {
    tile_length(double) / 2
}

/// The most rows of a group: with more, their numbers in the scratch area would fill the L1 cache.
const MAX_ROWS: usize = 128;

/// How many rows with this number of classes are computed together.
#[inline(always)]
pub fn group(double: bool, classes: usize) -> usize {
    (tile_length(double) / classes).clamp(1, MAX_ROWS)
}

/// Consecutive rows, at most as many as [`group`] returns.
#[derive(Clone, Copy)]
pub struct Group<'a, V> {
    /// See `tile`.
    pub classes: usize,
    /// `[rows, classes]`
    pub tile: Tile<'a>,
    /// c; 0: no cap.
    pub softcap: f64,
    /// The logits' divisor.
    pub temperature: f64,
    /// `[rows]`, or none with soft targets.
    pub labels: Option<&'a [Cell<i32>]>,
    /// Rows with this label are ignored.
    pub ignore_index: Option<i32>,
    /// `[rows]`, or none: all 1.
    pub sample_weights: Option<&'a [Cell<f32>]>,
    /// w and e; the soft targets are `entries`.
    pub targets: Targets<'a>,
    /// q of all classes, `[rows, classes]`, in memory that the group may change; or none if all classes but the label have the same q.
    pub entries: Numbers<'a>,
    /// Constants of the run.
    pub common: Common,
    /// The gradient to write, or none; row i begins at `i * gradient_stride`.
    pub gradient: Numbers<'a>,
    /// See `gradient`.
    pub gradient_stride: usize,
    /// The scratch area of this thread.
    pub scratch: &'a Scratch,
    /// The vectors of the loops.
    pub lanes: PhantomData<V>,
}

impl<V: Single> Group<'_, V> {
    /// Computes losses and factors of `rows` rows, in the scratch area's arrays; NaN for a row that is not accepted. Returns whether all
    /// rows are accepted.
    #[inline(never)]
    pub fn run(&self, rows: usize) -> bool {
        let Self { classes, scratch, common, .. } = *self;
        let lift = self.shift(rows);
        if lift.is_nan() || !self.terms() {
            for loss in scratch.loss.iter().take(rows) {
                loss.set(f64::NAN);
            }
            return false;
        }
        // Several short loops, each a function. In a single loop, a row would be a chain of dependent operations that is longer than the
        // processor looks ahead, with more values than the engine's compiler can keep in registers.
        self.take_references(rows);
        row_sums::<V>(scratch.term_of(common.double), classes, rows, &scratch.off_label);
        if !common.plain {
            self.weigh(rows);
        }
        label_terms::<V>(rows, common.double, lift, self.temperature, scratch);
        let complete = ends::<V>(rows, &common, scratch);
        if common.plain && self.ignore_index.is_some() {
            leave_ignored::<V>(rows, scratch);
        }
        complete
    }

    /// Sets the shift to that of the first label whose logit is in range; NaN if there is none. Returns the lift of the terms.
    #[inline(always)]
    fn shift(&self, rows: usize) -> f64 {
        let range = Range::of_type(self.common.double);
        for row in 0..rows {
            let Some(x) = self.class_of(row).and_then(|class| self.logit(row, class)) else { continue };
            let x = x / self.temperature;
            if x.abs() <= range.max_shift {
                let power = Range::power_of(x);
                self.scratch.shift.set(range.shift(power));
                return range.lift - power;
            }
        }
        f64::NAN
    }

    /// The class of a row's reference; none if its label is not a class. With soft targets, it is in the scratch area.
    #[inline(always)]
    fn class_of(&self, row: usize) -> Option<usize> {
        let Some(labels) = self.labels else { return usize::try_from(self.scratch.labels.get(row)?.get()).ok() };
        match Label::of(labels.get(row)?.get(), self.classes as u32, self.ignore_index) {
            Label::Class(class) => Some(class),
            Label::Ignored => Some(0),
            _ => None,
        }
    }

    #[inline(always)]
    fn logit(&self, row: usize, class: usize) -> Option<f64> {
        let place = row * self.classes + class;
        let high = self.tile.high.get(place);
        let logit = if self.softcap == 0.0 { high } else { high + self.tile.low.get(place) };
        (class < self.classes).then_some(logit)
    }

    /// Computes the terms of all logits. Returns false if a term is not right.
    #[inline(never)]
    fn terms(&self) -> bool {
        let Self { tile: Tile { high: x, low }, scratch, .. } = *self;
        let out = scratch.term_of(self.common.double).part(0, x.len());
        let which = Loop::new(Way::Direct, self.common.double, self.softcap, self.temperature).keep();
        scratch.trace.set(0);
        terms::<V>(which, x, low, out, usize::MAX, scratch);
        which.accepts::<V>(scratch.trace.get())
    }

    /// Stores the logit of each row's reference, and sets its term to 0.
    #[inline(always)]
    fn take_references(&self, rows: usize) {
        let Self { tile: Tile { high, low }, scratch, classes, .. } = *self;
        let low = if self.softcap == 0.0 { Numbers::NONE } else { low };
        let (labels, ignored) = match self.labels {
            Some(labels) => (labels, self.ignore_index),
            None => (&scratch.labels[..rows], None),
        };
        take::<V>(high, low, labels, classes, ignored, self.temperature, scratch);
        if ignored.is_some() {
            mark_ignored::<V>(labels, ignored, scratch);
        }
    }

    /// Computes q of the references and of the others, margins and sample weights of all rows.
    #[inline(never)]
    fn weigh(&self, rows: usize) {
        let Self { classes, scratch, targets, tile, entries, temperature, common, .. } = *self;
        let low = if self.softcap == 0.0 { Numbers::NONE } else { tile.low };
        let of_label = 1.0 - targets.smoothing + targets.spread;
        if entries.is_empty() {
            weights_of_labels(of_label, targets.class_weights, rows, scratch);
        } else {
            take_weights(entries, classes, rows, scratch);
            if self.labels.is_some() {
                for weight in scratch.weight.iter().take(rows) {
                    weight.set(of_label * weight.get());
                }
            }
        }
        if targets.is_dense() {
            // Copy into memory that may be read beyond the end of the last row.
            let high = scratch.tile_of(common.double);
            if !tile.high.begins_at(high) {
                copy::<V>(tile.high, high);
            }
            // `f64` logits of references are not divided yet.
            let divisor = if common.double { 1.0 } else { temperature };
            row_margins::<V>(high, low, entries, classes, rows, divisor, scratch);
            // With one class, the margin is exactly 0: a capped logit in two parts differs slightly from its rounded sum.
            let factor = if classes == 1 && entries.is_empty() { 0.0 } else { self.of_entry() };
            let all = if entries.is_empty() { Some((classes - 1) as f64) } else { None };
            weigh_off_label::<V>(all, factor, temperature, rows, scratch);
        } else {
            for (off_weight, margin) in scratch.off_weight.iter().zip(&scratch.margin).take(rows) {
                off_weight.set(0.0);
                margin.set(0.0);
            }
        }
        weigh_samples(self.sample_weights, self.labels.is_some() && self.ignore_index.is_some(), rows, scratch);
    }

    /// The factor of an entry, or of 1.
    #[inline(always)]
    fn of_entry(&self) -> f64 {
        if self.labels.is_some() { self.targets.spread } else { 1.0 }
    }

    /// Writes the gradients of `rows` rows that have run, except those of rows that are not accepted.
    #[inline(never)]
    pub fn gradients(&self, rows: usize, complete: bool) {
        let Self { classes, scratch, targets, entries, common, gradient: g, gradient_stride: stride, .. } = *self;
        let dense = targets.is_dense();
        let slopes = if self.softcap == 0.0 { Numbers::NONE } else { scratch.slope_of(common.double) };
        if !slopes.is_empty() && !dense {
            let terms = scratch.term_of(common.double).part(0, rows * classes);
            multiply::<V>(terms, slopes);
        }
        let slope = if dense { slopes } else { Numbers::NONE };
        let weight = if dense { common.scale * self.of_entry() } else { 0.0 };
        scale_rows::<V>(rows, classes, entries, slope, g, stride, weight, complete, scratch);
        put_references(rows, classes, slopes, g, stride, scratch);
    }
}
