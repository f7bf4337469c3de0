//! Rows of few classes, many at a time.
//!
//! Row by row, ten classes cost as much as forty: each row fills three vectors badly and then waits for a logarithm.
//! So about a thousand elements, whole rows, go through together:
//!
//! ```text
//! shift by a power of two near the first label's term; over the rows' memory as if it were one row:
//!     e = exp(x)                              -> scratch
//! at each row's label: note the logit, set e to 0
//! sums of each row, in f64
//! four rows at a time: the label's term, loss, the gradient's factor          (crate::ends)
//! gradient = e * factor
//! ```
//!
//! Shifts are powers of two, so a row has the same bits in a group as alone. A row that is not accepted in its group, because its
//! label is far from the first row's or a logit is not finite, is computed in a group of its own, so acceptance does not depend on its
//! neighbours. If that fails too, [`crate::row`] computes it.

mod loops;
mod weights;

use crate::ends::{Common, ends, label_terms, leave_ignored};
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
use loops::{put_references, row_sums, scale_rows, take};
use weights::{row_margins, take_weights, weigh_others, weigh_samples, weights_of_labels};

/// Rows of more classes are computed by [`crate::row`].
pub const MAX_CLASSES: usize = 256;

/// With more rows together, their numbers in the scratch area would fill the L1 cache.
const MAX_ROWS: usize = 128;

/// How many rows of so many classes are computed together.
#[inline(always)]
pub fn group(double: bool, classes: usize) -> usize {
    (tile_length(double) / classes).clamp(1, MAX_ROWS)
}

/// Consecutive rows, as many as [`group`] says.
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
    /// `[rows]`; none where there are soft targets.
    pub labels: Option<&'a [Cell<i32>]>,
    /// Rows with this label are ignored.
    pub ignore_index: Option<i32>,
    /// `[rows]`; none: all 1.
    pub sample_weights: Option<&'a [Cell<f32>]>,
    /// w and e; the soft targets are `entries`.
    pub targets: Targets<'a>,
    /// q of all classes, `[rows, classes]`, in memory that is the group's own; or none: of the others, all are the same.
    pub entries: Numbers<'a>,
    /// Of all rows.
    pub common: Common,
    /// Where the gradient goes, or none; row i begins at `i * gradient_stride`.
    pub gradient: Numbers<'a>,
    /// See `gradient`.
    pub gradient_stride: usize,
    /// Of this thread.
    pub scratch: &'a Scratch,
    /// What its loops are compiled for.
    pub lanes: PhantomData<V>,
}

impl<V: Single> Group<'_, V> {
    /// Losses and factors of `rows` rows, in the scratch area's arrays; NaN for a row that is not accepted. Whether all are.
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
        // Short loops, each a function: in one, a row is a single long chain of dependent operations, longer than what a processor
        // looks ahead; and the engine's compiler would not know which of all those numbers to keep in registers.
        self.take_references(rows);
        row_sums::<V>(scratch.term_of(common.double), classes, rows, &scratch.off_label);
        if !common.plain {
            self.weigh(rows);
        }
        label_terms::<V>(rows, common.double, lift, scratch);
        let complete = ends::<V>(rows, &common, scratch);
        if common.plain && self.ignore_index.is_some() {
            leave_ignored(rows, scratch);
        }
        complete
    }

    /// Sets the shift to that of the first label whose logit may be one; NaN if there is none. Returns the lift of the terms.
    #[inline(always)]
    fn shift(&self, rows: usize) -> f64 {
        let range = Range::of_type(self.common.double);
        for row in 0..rows {
            let Some(x) = self.class_of(row).and_then(|class| self.logit(row, class)) else { continue };
            let x = x / self.temperature;
            if x.abs() <= range.max_shift {
                let power = Range::power_near(x);
                self.scratch.shift.set(range.shift(power));
                return range.lift - power;
            }
        }
        f64::NAN
    }

    /// The class of a row's reference; none where its label is no class. The row of soft targets has it in the scratch area.
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

    /// Terms of all logits. False where they are not right for one of them.
    #[inline(always)]
    fn terms(&self) -> bool {
        let scratch = self.scratch;
        if scratch.clamped.get() == 0.0 || self.softcap != 0.0 {
            if self.terms_by(Way::Direct) {
                return true;
            }
            if self.softcap != 0.0 {
                return false;
            }
            scratch.clamped.set(1.0);
        }
        self.terms_by(Way::Clamped)
    }

    #[inline(never)]
    fn terms_by(&self, way: Way) -> bool {
        let Self { tile: Tile { high: x, low }, scratch, .. } = *self;
        let out = scratch.term_of(self.common.double).part(0, x.len());
        let which = Loop::new(way, self.common.double, self.softcap, self.temperature).keep();
        scratch.trace.set(0);
        terms::<V>(which, x, low, out, usize::MAX, scratch);
        which.accepts::<V>(scratch.trace.get())
    }

    /// Logit of each row's reference, and 0 in the place of its term.
    #[inline(always)]
    fn take_references(&self, rows: usize) {
        let Self { tile: Tile { high, low }, scratch, classes, .. } = *self;
        let low = if self.softcap == 0.0 { Numbers::NONE } else { low };
        let (labels, ignored) = match self.labels {
            Some(labels) => (labels, self.ignore_index),
            None => (&scratch.labels[..rows], None),
        };
        take(high, low, labels, classes, ignored, self.temperature, scratch);
    }

    /// q of the references and the others, margins and sample weights of all rows.
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
            // Memory that may be read beyond the end of the last row.
            let high = scratch.tile_of(common.double);
            if !tile.high.begins_at(high) {
                copy::<V>(tile.high, high);
            }
            row_margins::<V>(high, low, entries, classes, rows, temperature, scratch);
            // Of one class, exactly: a capped logit in two parts is not quite their rounded sum.
            let factor = if classes == 1 && entries.is_empty() { 0.0 } else { self.of_entry() };
            let all = if entries.is_empty() { Some((classes - 1) as f64) } else { None };
            weigh_others::<V>(all, factor, temperature, rows, scratch);
        } else {
            for (off_weight, margin) in scratch.off_weight.iter().zip(&scratch.margin).take(rows) {
                off_weight.set(0.0);
                margin.set(0.0);
            }
        }
        weigh_samples(self.sample_weights, self.labels.is_some() && self.ignore_index.is_some(), rows, scratch);
    }

    /// What an entry, or 1, is multiplied by.
    #[inline(always)]
    fn of_entry(&self) -> f64 {
        if self.labels.is_some() { self.targets.spread } else { 1.0 }
    }

    /// Gradients of `rows` rows that have run; those that are not accepted get none.
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
