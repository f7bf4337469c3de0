//! Rows side by side: the class axis is not the last, so that neighbouring rows lie beside one another, and a lane is a row.
//!
//! ```text
//! note each row's label, its logit and its shift
//! for each class, four rows at a time:
//!     e = exp(x), with the row's own shift        -> the gradient's memory, if that is not the logits'
//!     O += e, where the class is not the row's label
//! four rows at a time: the label's term, loss, the gradient's factor          (crate::ends)
//! for each class: gradient = e * factor
//! ```
//!
//! A row that is not accepted does not affect its neighbours: its lane is left unchanged, and [`crate::row`] computes the row alone.

mod loops;

use crate::ends::{Common, ends, label_terms_apart, leave_ignored};
use crate::gradient::multiply;
use crate::label::Label;
use crate::numbers::Numbers;
use crate::scratch::{ROWS, Scratch, tile_length};
use crate::targets::{Targets, combine};
use crate::terms::{Loop, Way};
use crate::tile::{Line, stage};
use crate::vector::{Element, Single, part};
use core::cell::Cell;
use core::marker::PhantomData;
use loops::{
    all_accepted, begin, check_sums, lanes, largest_of, margins_of, put_references, shifts, split_factors, write_of,
};

/// Fewer rows side by side are computed one by one.
pub const MIN_INNER: usize = 4;

/// Classes of a block: the rows' sums are read and written once for all of them.
const BLOCK: usize = 8;

/// How many rows go side by side at most: a block of them is a tile.
#[inline(always)]
pub const fn width() -> usize {
    tile_length(false) / BLOCK
}

/// Rows side by side, at most [`width`] of them. Slices begin at the first row's first class.
#[derive(Clone, Copy)]
pub struct Column<'a, V> {
    /// Number of classes.
    pub classes: usize,
    /// Number of rows.
    pub rows: usize,
    /// From one class to the next.
    pub stride: usize,
    /// The logits; the stride is that of the rows, 1.
    pub line: Line<'a>,
    /// Their divisor.
    pub temperature: f64,
    /// `[rows]`; none where there are soft targets.
    pub labels: Option<&'a [Cell<i32>]>,
    /// Rows with this label are ignored.
    pub ignore_index: Option<i32>,
    /// `[rows]`; none: all 1.
    pub sample_weights: Option<&'a [Cell<f32>]>,
    /// w and e, and the soft targets at the places of the logits.
    pub targets: Targets<'a>,
    /// Of all rows.
    pub common: Common,
    /// Output, or none; at the places of the logits.
    pub gradient: Option<&'a [Cell<f32>]>,
    /// Whether that is the logits' own memory.
    pub in_place: bool,
    /// Where predictions go, if they are asked for.
    pub predictions: Option<&'a [Cell<i32>]>,
    /// Of this thread.
    pub scratch: &'a Scratch,
    /// What its loops are compiled for.
    pub lanes: PhantomData<V>,
}

/// Logits of a block of classes: row i of class k is at `k * stride + i`.
struct Block<'a> {
    high: &'a [Cell<f32>],
    low: &'a [Cell<f32>],
    stride: usize,
}

impl<'a, V: Single> Column<'a, V> {
    /// Computes losses, in the scratch area, and gradients. A row that is not accepted gets the loss NaN, and its gradient is not
    /// written but for kept terms. Whether all are accepted.
    #[inline(always)]
    pub fn run(&self) -> bool {
        let Self { scratch, rows, .. } = *self;
        let predict = self.predictions.is_some() || self.labels.is_none();
        if predict {
            self.find_largest();
        }
        self.take_references();
        let mut clamped = scratch.clamped.get() != 0.0 && self.line.softcap == 0.0;
        self.sum(clamped);
        if self.line.softcap == 0.0 && !clamped && !all_accepted::<V>(rows, false, scratch) {
            clamped = true;
            scratch.clamped.set(1.0);
            self.sum(true);
        }
        check_sums::<V>(rows, clamped, scratch);
        if !self.common.plain {
            self.weigh();
        }
        label_terms_apart::<V>(rows, false, scratch);
        let mut complete = ends::<V>(rows, &self.common, scratch);
        if self.common.plain && self.ignore_index.is_some() {
            leave_ignored(rows, scratch);
        }
        if let Some(g) = self.gradient {
            complete &= split_factors(rows, scratch);
            self.write(clamped, complete, g);
        }
        complete
    }

    /// The first class with the largest logit of each row.
    #[inline(always)]
    fn find_largest(&self) {
        let Self { scratch, rows, .. } = *self;
        let (most, best) = (&scratch.shifts, &scratch.traces);
        for (most, best) in most.iter().zip(best).take(rows.next_multiple_of(4)) {
            most.set(f32::NEG_INFINITY);
            best.set(0.0);
        }
        for class in 0..self.classes {
            let from = class * self.stride;
            largest_of::<V>(self.line.raw::<V>(from, from + rows, scratch.tile_of(false)).cells(), class, scratch);
        }
        for (row, best) in best.iter().enumerate().take(rows) {
            let best = best.get().to_f64() as i32;
            scratch.labels[row % ROWS].set(best);
            if let Some(prediction) = self.predictions.and_then(|all| all.get(row)) {
                prediction.set(best);
            }
        }
    }

    /// Class, logit and shift of each row's reference.
    #[inline(always)]
    fn take_references(&self) {
        let Self { scratch, rows, stride, .. } = *self;
        let raw = scratch.tile::<f32>();
        for row in 0..rows {
            let mut sample = 1.0;
            let class = match self.labels.and_then(|labels| labels.get(row)) {
                None => scratch.labels[row % ROWS].get() as u32 as usize,
                Some(label) => match Label::of(label.get(), self.classes as u32, self.ignore_index) {
                    Label::Class(class) => class,
                    Label::Ignored => {
                        sample = 0.0;
                        0
                    }
                    _ => usize::MAX,
                },
            };
            let x = if class < self.classes { self.line.get(class * stride + row) } else { f64::NAN };
            scratch.labels[row % ROWS].set(class as i32);
            scratch.sample[row % ROWS].set(sample);
            if let Some(raw) = raw.get(row) {
                raw.set(x as f32);
            }
        }
        for beyond in &scratch.labels[rows..rows.next_multiple_of(4)] {
            beyond.set(-1);
        }
        let (high, low) = (scratch.tile::<f32>(), scratch.low::<f32>());
        let capped = self.line.softcap != 0.0;
        if capped {
            let x = Numbers::of(part(raw, 0, rows));
            let [high, low, slope] = [high, low, scratch.slope()].map(Numbers::of::<f32>);
            stage::<V>(x, high, low, slope, self.line.softcap, scratch);
        }
        let slopes = scratch.slope::<f32>();
        for row in 0..rows.next_multiple_of(4) {
            let get = |all: &[Cell<f32>]| all.get(row).map_or(f64::NAN, |x| x.get().to_f64());
            let (x, slope) = if capped { (get(high) + get(low), get(slopes)) } else { (get(high), 1.0) };
            scratch.anchor[row % ROWS].set(if row < rows { x } else { 0.0 });
            scratch.slope_at_label[row % ROWS].set(slope);
        }
        shifts(rows, self.temperature, scratch);
    }

    /// Sums of the terms, and of weights and margins where there are some; terms are kept where that may be.
    #[inline(always)]
    fn sum(&self, clamped: bool) {
        let Self { scratch, rows, stride, classes, targets, .. } = *self;
        let dense = targets.is_dense();
        begin(rows, scratch);
        let keep = self.keep();
        let which = self.loop_of(clamped).sum();
        let which = if keep.is_some() { which.keep() } else { which };
        let mut class = 0;
        while class < classes {
            let count = if class + BLOCK <= classes { BLOCK } else { 1 };
            let block = self.block(class, count);
            let out = keep.and_then(|g| g.get(class * stride..)).unwrap_or(&[]);
            let Block { high, low, stride: from } = block;
            lanes::<V>(which, high, low, from, out, stride, class, count, rows, scratch);
            if keep.is_some() && self.line.softcap != 0.0 {
                self.slope(out, stride, count);
            }
            if dense {
                for k in 0..count {
                    let (high, low) = (
                        part(block.high, k * block.stride, k * block.stride + rows),
                        part(block.low, k * block.stride, k * block.stride + rows),
                    );
                    let low = if self.line.softcap == 0.0 { &[] } else { low };
                    let (entries, weight) = self.targets_of(class + k);
                    margins_of::<V>(high, low, entries, weight, class + k, scratch);
                }
            }
            class += count;
        }
    }

    /// q of a class: of each row times a factor, or that factor.
    #[inline(always)]
    fn targets_of(&self, class: usize) -> (&'a [Cell<f32>], f64) {
        let Self { scratch, rows, stride, targets, .. } = *self;
        let w = targets.class_weight(class);
        if targets.soft.is_empty() {
            return (&[], w * targets.spread);
        }
        let staged = scratch.target::<f32>();
        let soft = targets.soft.get(class * stride..class * stride + rows).unwrap_or(&[]);
        if targets.smoothing == 0.0 && targets.class_weights.is_empty() {
            return (soft, 1.0);
        }
        let staged = staged.get(..rows).unwrap_or(&[]);
        combine::<V>(soft, w * (1.0 - targets.smoothing), w * targets.spread, staged);
        (staged, 1.0)
    }

    /// Where terms are kept until they are scaled.
    #[inline(always)]
    fn keep(&self) -> Option<&'a [Cell<f32>]> {
        let both = self.line.softcap != 0.0 && self.targets.is_dense();
        if self.in_place || both { None } else { self.gradient }
    }

    /// The logits of some classes, read where they lie or brought into the scratch area.
    #[inline(always)]
    fn block(&self, class: usize, count: usize) -> Block<'a> {
        let Self { scratch, rows, stride, .. } = *self;
        let from = class * stride;
        let (tile, low) = (scratch.tile::<f32>(), scratch.low::<f32>());
        if self.line.is_direct() {
            let high = self.line.numbers.from(from).cells();
            return Block { high, low: high, stride };
        }
        let width = rows.next_multiple_of(4);
        for k in 0..count {
            let (from, at) = (from + k * stride, k * width);
            let to = Numbers::of(tile).from(at);
            let x = self.line.raw::<V>(from, from + rows, to);
            if self.line.softcap != 0.0 {
                let [low, slope] = [low, scratch.slope()].map(|all| Numbers::of::<f32>(all).from(at));
                stage::<V>(x, to, low, slope, self.line.softcap, scratch);
            }
        }
        Block { high: tile, low, stride: width }
    }

    #[inline(always)]
    fn loop_of(&self, clamped: bool) -> Loop {
        let way = if clamped { Way::Clamped } else { Way::Direct };
        Loop::new(way, false, self.line.softcap, self.temperature)
    }

    /// Multiplies terms by the softcap's slopes.
    #[inline(always)]
    fn slope(&self, terms: &[Cell<f32>], stride: usize, count: usize) {
        let Self { scratch, rows, .. } = *self;
        let width = rows.next_multiple_of(4);
        for k in 0..count {
            let terms = part(terms, k * stride, k * stride + rows);
            let slope = part(scratch.slope::<f32>(), k * width, k * width + rows);
            let [terms, slope] = [terms, slope].map(Numbers::of::<f32>);
            multiply::<V>(terms, slope);
        }
    }

    /// Weights of the references and the others, margins and sample weights.
    #[inline(always)]
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

    /// The gradient of all classes.
    #[inline(always)]
    fn write(&self, clamped: bool, complete: bool, g: &[Cell<f32>]) {
        let Self { scratch, rows, stride, classes, targets, .. } = *self;
        let dense = targets.is_dense();
        let kept = self.keep().is_some();
        let mut class = 0;
        while class < classes {
            let count = if class + BLOCK <= classes { BLOCK } else { 1 };
            let width = rows.next_multiple_of(4);
            let (terms, terms_stride) = if kept {
                (g.get(class * stride..).unwrap_or(&[]), stride)
            } else {
                let terms = scratch.term::<f32>();
                let Block { high, low, stride } = self.block(class, count);
                lanes::<V>(self.loop_of(clamped).keep(), high, low, stride, terms, width, class, count, rows, scratch);
                if self.line.softcap != 0.0 && !dense {
                    self.slope(terms, width, count);
                }
                (terms, width)
            };
            for k in 0..count {
                let to = part(g, (class + k) * stride, (class + k) * stride + rows);
                let terms = part(terms, k * terms_stride, k * terms_stride + rows);
                let (entries, weight) = if dense { self.targets_of(class + k) } else { (&[][..], 0.0) };
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
