//! Rows side by side: the class axis is not the last, so neighbouring rows are adjacent in memory, and each lane computes a row.
//!
//! ```text
//! find each row's label, its logit and its shift
//! for each class, four rows at a time:
//!     e = exp(x), with the row's own shift        -> the gradient's memory, if that is not the logits'
//!     O += e, unless the class is the row's label
//! four rows at a time: the label's term, loss, the gradient's factor          (crate::ends)
//! for each class: gradient = e * factor
//! ```
//!
//! A row that is not accepted does not affect its neighbours: its lane is left as it is, and [`crate::row`] computes the row alone.

mod lanes;
mod loops;

use crate::ends::{Common, ends, label_terms_apart, leave_ignored, mark_ignored};
use crate::gradient::multiply;
use crate::numbers::Numbers;
use crate::scratch::{ROWS, Scratch, tile_length};
use crate::targets::{Targets, combine};
use crate::terms::{Loop, Way};
use crate::tile::{Line, copy, stage};
use crate::vector::{Element, Single, part};
use core::cell::Cell;
use core::marker::PhantomData;
use lanes::lanes;
use loops::{begin, check_sums, largest_of, margins_of, put_references, shifts, split_factors, take, write_of};

/// With fewer rows side by side, each row is computed by itself.
pub const MIN_INNER: usize = 4;

/// Classes of a block. The sums of the rows are read and written once for a block.
const BLOCK: usize = 8;

/// The most rows side by side if logits or terms are staged: a block of them is then a tile.
pub const STAGED_ROWS: usize = tile_length(false) / BLOCK;

/// At most [`ROWS`] rows side by side. Slices begin at the first class of the first row.
#[derive(Clone, Copy)]
pub struct Column<'a, V> {
    /// Number of classes.
    pub classes: usize,
    /// Number of rows.
    pub rows: usize,
    /// The distance from one class to the next.
    pub stride: usize,
    /// The logits; the stride of the line is that of the rows, 1.
    pub line: Line<'a>,
    /// The logits' divisor.
    pub temperature: f64,
    /// `[rows]`, or none with soft targets.
    pub labels: Option<&'a [Cell<i32>]>,
    /// Rows with this label are ignored.
    pub ignore_index: Option<i32>,
    /// `[rows]`, or none: all 1.
    pub sample_weights: Option<&'a [Cell<f32>]>,
    /// w and e, and the soft targets in the layout of the logits.
    pub targets: Targets<'a>,
    /// Constants of the run.
    pub common: Common,
    /// The gradient to write, in the layout of the logits, or none.
    pub gradient: Option<&'a [Cell<f32>]>,
    /// Whether the gradient is in the logits' memory.
    pub in_place: bool,
    /// The predictions to write, or none.
    pub predictions: Option<&'a [Cell<i32>]>,
    /// The scratch area of this thread.
    pub scratch: &'a Scratch,
    /// The vectors of the loops.
    pub lanes: PhantomData<V>,
}

/// Logits of a block of classes: row i of class k is at `k * stride + i`.
struct Block<'a> {
    high: &'a [Cell<f32>],
    low: &'a [Cell<f32>],
    stride: usize,
}

impl<'a, V: Single> Column<'a, V> {
    /// Computes losses, in the scratch area, and gradients. A row that is not accepted gets the loss NaN; its gradient's memory may
    /// have terms. Returns whether all rows are accepted.
    #[inline(never)]
    pub fn run(&self) -> bool {
        let Self { scratch, rows, .. } = *self;
        let predict = self.predictions.is_some() || self.labels.is_none();
        if predict {
            self.find_largest();
        }
        self.take_references();
        self.sum();
        check_sums::<V>(rows, scratch);
        if !self.common.plain {
            self.weigh();
        }
        label_terms_apart::<V>(rows, false, self.temperature, scratch);
        let mut complete = ends::<V>(rows, &self.common, scratch);
        if self.common.plain && self.ignore_index.is_some() {
            leave_ignored::<V>(rows, scratch);
        }
        if let Some(g) = self.gradient {
            complete &= split_factors::<V>(rows, scratch);
            self.write(complete, g);
        }
        complete
    }

    /// The first class with the largest logit of each row.
    #[inline(never)]
    fn find_largest(&self) {
        let Self { scratch, rows, .. } = *self;
        let (most, best) = (&scratch.shifts, &scratch.traces);
        for (most, best) in most.iter().zip(best).take(rows.next_multiple_of(4)) {
            most.set(f32::NEG_INFINITY);
            best.set(0.0);
        }
        for class in 0..self.classes {
            largest_of::<V>(self.raw(class, scratch.tile_of(false)).cells(), class, scratch);
        }
        for (row, best) in best.iter().enumerate().take(rows) {
            let best = best.get().to_f64() as i32;
            scratch.labels[row % ROWS].set(best);
            if let Some(prediction) = self.predictions.and_then(|all| all.get(row)) {
                prediction.set(best);
            }
        }
    }

    /// Finds class, logit and shift of each row's reference.
    #[inline(never)]
    fn take_references(&self) {
        let Self { scratch, rows, stride, classes, line, .. } = *self;
        let raw = part(scratch.tile::<f32>(), 0, rows);
        let labels = self.labels.unwrap_or(part(&scratch.labels, 0, rows));
        let ignored = self.labels.and(self.ignore_index);
        mark_ignored::<V>(labels, ignored, scratch);
        take(line.numbers, labels, classes, stride, ignored.map_or(i64::MIN, i64::from), raw, scratch);
        for beyond in part(&scratch.labels, rows, self.width()) {
            beyond.set(-1);
        }
        let capped = line.softcap != 0.0;
        if capped {
            let [high, low, slope] = [scratch.tile(), scratch.low(), scratch.slope()].map(Numbers::of::<f32>);
            stage::<V>(Numbers::of(raw), high, low, slope, line.softcap, scratch);
        }
        shifts::<V>(rows, capped, self.temperature, scratch);
    }

    /// Sums the terms and, with dense targets, weights and margins. Keeps the terms if there is memory for them.
    #[inline(never)]
    fn sum(&self) {
        let Self { scratch, rows, stride, classes, targets, .. } = *self;
        let (dense, width) = (targets.is_dense(), self.width());
        begin::<V>(rows, dense, scratch);
        let memory = self.term_memory();
        let which = self.which().sum();
        let which = if memory.is_some() { which.keep() } else { which };
        let mut class = 0;
        while class < classes {
            let count = BLOCK.min(classes - class);
            let Block { high, low, stride: from } = self.block(class, count);
            let here = memory.and_then(|g| g.get(class * stride..)).unwrap_or(&[]);
            // A vector that reaches beyond the last row would overwrite the next class.
            let (out, to) = if self.is_whole() { (here, stride) } else { (scratch.term(), width) };
            lanes::<V>(which, high, low, from, out, to, class, count, width, scratch);
            if memory.is_some() {
                if self.line.softcap != 0.0 {
                    self.slope(out, to, count);
                }
                if !self.is_whole() {
                    for k in 0..count {
                        let [from, to] =
                            [part(out, k * width, k * width + rows), part(here, k * stride, k * stride + rows)];
                        copy::<V>(Numbers::of(from), Numbers::of(to));
                    }
                }
            }
            if dense {
                for k in 0..count {
                    let [high, low] = [high, low].map(|all| part(all, k * from, k * from + width));
                    let low = if self.line.softcap == 0.0 { &[] } else { low };
                    let (entries, weight) = self.targets_of(class + k);
                    margins_of::<V>(high, low, entries, weight, class + k, scratch);
                }
            }
            class += count;
        }
    }

    /// The number of rows, rounded up to whole vectors. Lanes beyond the last row hold arbitrary numbers.
    #[inline(always)]
    fn width(&self) -> usize {
        self.rows.next_multiple_of(V::LANES)
    }

    /// Whether the rows fill their vectors.
    #[inline(always)]
    fn is_whole(&self) -> bool {
        self.rows.is_multiple_of(V::LANES)
    }

    /// q of a class: an entry for each row times a factor, or only the factor.
    #[inline(always)]
    fn targets_of(&self, class: usize) -> (&'a [Cell<f32>], f64) {
        let Self { scratch, rows, stride, targets, .. } = *self;
        let w = targets.class_weight(class);
        if targets.soft.is_empty() {
            return (&[], w * targets.spread);
        }
        let soft = part(targets.soft, class * stride, class * stride + rows);
        if self.is_whole() && targets.smoothing == 0.0 && targets.class_weights.is_empty() {
            return (soft, 1.0);
        }
        let staged = scratch.target::<f32>();
        combine::<V>(soft, w * (1.0 - targets.smoothing), w * targets.spread, part(staged, 0, rows));
        (part(staged, 0, self.width()), 1.0)
    }

    /// The memory in which terms are kept until they are scaled.
    #[inline(always)]
    fn term_memory(&self) -> Option<&'a [Cell<f32>]> {
        let both = self.line.softcap != 0.0 && self.targets.is_dense();
        if self.in_place || both { None } else { self.gradient }
    }

    /// The logits of some classes, read in place or copied into the scratch area.
    #[inline(always)]
    fn block(&self, class: usize, count: usize) -> Block<'a> {
        let Self { scratch, stride, .. } = *self;
        if self.line.is_direct() && self.is_whole() {
            let high = self.line.numbers.from(class * stride).cells();
            return Block { high, low: high, stride };
        }
        self.bring(class, count);
        Block { high: scratch.tile(), low: scratch.low(), stride: self.width() }
    }

    #[inline(never)]
    fn bring(&self, class: usize, count: usize) {
        let Self { scratch, line, .. } = *self;
        let width = self.width();
        for k in 0..count {
            let [high, low, slope] = [scratch.tile_of(false), scratch.low_of(false), scratch.slope_of(false)];
            let to = high.from(k * width);
            let x = self.raw(class + k, to);
            if line.softcap != 0.0 {
                stage::<V>(x, to, low.from(k * width), slope.from(k * width), line.softcap, scratch);
            }
        }
    }

    /// The given logits of a class, as whole vectors, read in place or copied into `to`.
    #[inline(always)]
    fn raw(&self, class: usize, to: Numbers<'a>) -> Numbers<'a> {
        let from = class * self.stride;
        let x = self.line.raw::<V>(from, from + self.rows, to);
        if self.is_whole() {
            return x;
        }
        if !x.begins_at(to) {
            copy::<V>(x, to);
        }
        to.part(0, self.width())
    }

    #[inline(always)]
    fn which(&self) -> Loop {
        Loop::new(Way::Direct, false, self.line.softcap, self.temperature)
    }

    /// Multiplies terms by the softcap's slopes.
    #[inline(never)]
    fn slope(&self, terms: &[Cell<f32>], stride: usize, count: usize) {
        let width = self.width();
        for k in 0..count {
            let terms = part(terms, k * stride, k * stride + width);
            let slope = part(self.scratch.slope::<f32>(), k * width, k * width + width);
            let [terms, slope] = [terms, slope].map(Numbers::of::<f32>);
            multiply::<V>(terms, slope);
        }
    }

    /// Computes the weights of the references and of the others, margins and sample weights.
    #[inline(never)]
    fn weigh(&self) {
        let Self { scratch, rows, classes, targets, stride, .. } = *self;
        let dense = targets.is_dense();
        for row in 0..rows {
            let class = scratch.labels[row % ROWS].get() as u32 as usize;
            let mut q = f64::NAN;
            if class < classes {
                let target = targets.soft.get(class * stride + row).map_or(1.0, |t| f64::from(t.get()));
                q = targets.class_weight(class) * ((1.0 - targets.smoothing) * target + targets.spread);
            }
            let s = self.sample_weights.and_then(|all| all.get(row)).map_or(1.0, |s| f64::from(s.get()));
            let counts = s != 0.0 && scratch.sample[row % ROWS].get() != 0.0;
            scratch.weight[row % ROWS].set(if counts { q } else { 0.0 });
            scratch.sample[row % ROWS].set(if counts { s } else { 0.0 });
            if !dense || !counts {
                scratch.off_weight[row % ROWS].set(0.0);
                scratch.margin[row % ROWS].set(0.0);
            }
            let margin = &scratch.margin[row % ROWS];
            margin.set(margin.get() / self.temperature);
        }
    }

    /// Writes the gradient of all classes.
    #[inline(never)]
    fn write(&self, complete: bool, g: &[Cell<f32>]) {
        let Self { scratch, rows, stride, classes, targets, .. } = *self;
        let dense = targets.is_dense();
        let has_terms = self.term_memory().is_some();
        let mut class = 0;
        while class < classes {
            let count = BLOCK.min(classes - class);
            let width = self.width();
            let (terms, terms_stride) = if has_terms {
                (g.get(class * stride..).unwrap_or(&[]), stride)
            } else {
                let terms = scratch.term::<f32>();
                let Block { high, low, stride } = self.block(class, count);
                lanes::<V>(self.which().keep(), high, low, stride, terms, width, class, count, width, scratch);
                if self.line.softcap != 0.0 && !dense {
                    self.slope(terms, width, count);
                }
                (terms, width)
            };
            for k in 0..count {
                let to = part(g, (class + k) * stride, (class + k) * stride + rows);
                let terms = part(terms, k * terms_stride, k * terms_stride + rows);
                let (entries, weight) = if dense { self.targets_of(class + k) } else { (&[][..], 0.0) };
                let entries = part(entries, 0, rows.min(entries.len()));
                let slope = if dense && self.line.softcap != 0.0 {
                    part(scratch.slope(), k * width, k * width + rows)
                } else {
                    &[]
                };
                write_of::<V>(terms, entries, slope, to, weight * self.common.scale, !complete, scratch);
            }
            class += count;
        }
        put_references(rows, classes, stride, g, scratch);
    }
}
