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

use crate::ends::{Common, ends, label_terms, leave_ignored};
use crate::exp::Range;
use crate::gradient::write_gradient;
use crate::label::Label;
use crate::scratch::{ROWS, Scratch, tile_of};
use crate::targets::Targets;
use crate::terms::{Loop, Way, terms};
use crate::tile::Tile;
use crate::vector::{Element, Vector};
use core::cell::Cell;
use loops::{ANY, put_references, row_margins, row_sums, scale_rows, take};

/// Rows of more classes are computed by [`crate::row`].
pub const MAX_CLASSES: usize = 256;

/// How many rows of so many classes are computed together.
#[inline(always)]
pub fn group<E: Element>(classes: usize) -> usize {
    (tile_of::<E>() / classes).clamp(1, ROWS)
}

/// Consecutive rows, as many as [`group`] says.
#[derive(Clone, Copy)]
pub struct Group<'a, V: Vector> {
    /// See `tile`.
    pub classes: usize,
    /// `[rows, classes]`
    pub tile: Tile<'a, V::Element>,
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
    /// q of all classes: `[rows, classes]`, or `[classes]` of class weights, or none.
    pub entries: &'a [Cell<V::Element>],
    /// Of all rows.
    pub common: Common,
    /// Of this thread.
    pub scratch: &'a Scratch,
}

impl<V: Vector> Group<'_, V> {
    /// Losses and factors of `rows` rows, in the scratch area's arrays; NaN for a row that is not accepted. Whether all are.
    #[inline(always)]
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
        row_sums::<V>(classes, rows, scratch);
        if !common.plain {
            self.weigh(rows);
        }
        label_terms::<V>(rows, lift, scratch);
        let complete = ends::<V>(rows, &common, scratch);
        if common.plain && self.ignore_index.is_some() {
            leave_ignored(rows, scratch);
        }
        complete
    }

    /// Sets the shift to that of the first label whose logit may be one; NaN if there is none. Returns the lift of the terms.
    #[inline(always)]
    fn shift(&self, rows: usize) -> f64 {
        let range = Range::of::<V::Element>();
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
        let high = self.tile.high.get(place)?.get().to_f64();
        Some(if self.softcap == 0.0 { high } else { high + self.tile.low.get(place)?.get().to_f64() })
    }

    /// Terms of all logits. False where they are not right for one of them.
    #[inline(always)]
    fn terms(&self) -> bool {
        let Self { tile: Tile { high: x, low }, scratch, .. } = *self;
        let out = scratch.term::<V::Element>().get(..x.len()).unwrap_or(&[]);
        let made = |way: Way| {
            let which = Loop::new(way, self.softcap, self.temperature).keep();
            scratch.trace.set(0);
            terms::<V>(which, x, low, out, usize::MAX, scratch);
            which.accepts::<V>(scratch.trace.get())
        };
        if scratch.clamped.get() == 0.0 || self.softcap != 0.0 {
            if made(Way::Direct) {
                return true;
            }
            if self.softcap != 0.0 {
                return false;
            }
            scratch.clamped.set(1.0);
        }
        made(Way::Clamped)
    }

    /// Logit of each row's reference, and 0 in the place of its term.
    #[inline(always)]
    fn take_references(&self, rows: usize) {
        let Self { tile: Tile { high, low }, scratch, classes, .. } = *self;
        let low = if self.softcap == 0.0 { &[] } else { low };
        let (labels, ignored) = match self.labels {
            Some(labels) => (labels, self.ignore_index.map_or(i64::MIN, i64::from)),
            None => (&scratch.labels[..rows], i64::MIN),
        };
        if self.common.plain && self.ignore_index.is_none() {
            take::<V, true>(high, low, labels, classes, ignored, self.temperature, scratch);
        } else {
            take::<V, false>(high, low, labels, classes, ignored, self.temperature, scratch);
        }
    }

    /// q of the references and the others, margins and sample weights of all rows.
    #[inline(always)]
    fn weigh(&self, rows: usize) {
        let Self { classes, scratch, targets, tile, entries, .. } = *self;
        let dense = targets.is_dense();
        let each = !entries.is_empty();
        if dense {
            let stride = if self.labels.is_some() { 0 } else { classes };
            let low = if self.softcap == 0.0 { &[] } else { tile.low };
            if each {
                row_margins::<V, true>(tile.high, low, entries, classes, stride, rows, self.temperature, scratch);
            } else {
                row_margins::<V, false>(tile.high, low, entries, classes, stride, rows, self.temperature, scratch);
            }
        }
        let factor = if self.labels.is_some() { targets.spread } else { 1.0 };
        let of_label = 1.0 - targets.smoothing + targets.spread;
        let references = scratch.weight.iter().zip(scratch.sample.iter().zip(&scratch.labels));
        let others = scratch.off_weight.iter().zip(&scratch.margin);
        for (row, ((weight, (sample, class)), (off_weight, margin))) in references.zip(others).enumerate().take(rows) {
            let class = class.get() as u32 as usize;
            let counts = sample.get();
            let q = match self.labels {
                Some(_) => of_label * targets.class_weight(class),
                None => entries.get(row * classes + class).map_or(f64::NAN, |q| q.get().to_f64()),
            };
            let s = self.sample_weights.and_then(|all| all.get(row)).map_or(1.0, |s| f64::from(s.get()));
            // Of an ignored row, nothing counts: not even an infinite margin.
            let (q, s) = if counts == 0.0 || s == 0.0 { (0.0, 0.0) } else { (q, s) };
            weight.set(q);
            sample.set(s);
            let (all, m) = match (dense && s != 0.0, each) {
                (false, _) => (0.0, 0.0),
                (true, false) => ((classes - 1) as f64, margin.get()),
                (true, true) => (off_weight.get(), margin.get()),
            };
            off_weight.set(all * factor);
            margin.set(m * factor / self.temperature);
        }
    }

    /// Gradients of `rows` rows that have run; those that are not accepted get none. Row i goes to `i * stride`.
    #[inline(always)]
    pub fn gradients(&self, rows: usize, g: &[Cell<V::Element>], stride: usize, complete: bool) {
        let Self { classes, scratch, targets, entries, .. } = *self;
        let dense = targets.is_dense();
        let terms = scratch.term::<V::Element>();
        let slope = if self.softcap == 0.0 { &[][..] } else { scratch.slope::<V::Element>() };
        if !slope.is_empty() && !dense {
            let terms = terms.get(..rows * classes).unwrap_or(&[]);
            write_gradient::<V>(terms, &[], slope, terms, 1.0, 0.0);
        }
        let slope_of_label = slope;
        let slope = if dense { slope } else { &[][..] };
        let each = dense && !entries.is_empty();
        let entries = if each { entries } else { &[] };
        let weight = if dense {
            self.common.scale * if each && self.labels.is_none() { 1.0 } else { targets.spread }
        } else {
            0.0
        };
        let entry_stride = if self.labels.is_some() { 0 } else { classes };
        let whole = if dense || V::Element::DOUBLE { ANY } else { classes / V::LANES };
        macro_rules! scale {
            ($whole:expr, $general:expr) => {
                scale_rows::<V, { $whole }, $general>(
                    rows,
                    classes,
                    entries,
                    entry_stride,
                    slope,
                    g,
                    stride,
                    weight,
                    complete,
                    scratch,
                )
            };
        }
        match (dense, whole) {
            (true, _) => scale!(ANY, true),
            (_, 1) => scale!(1, false),
            (_, 2) => scale!(2, false),
            _ => scale!(ANY, false),
        }
        put_references(rows, classes, slope_of_label, g, stride, scratch);
    }
}
