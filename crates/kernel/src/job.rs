//! The job record: what the owner of the memory writes into it, and what a call of the kernel reads from it.
//!
//! This is the only place where addresses become references. Rows become slices one group at a time: a slice may not
//! be longer than 2 GiB, a batch may.

use crate::exp::Hint;
use crate::label::Label;
use crate::row::SEGMENT;
use crate::rows::{Gradient, Rows};
use crate::scratch::Scratch;
use crate::shard::{Merged, Partial, Shard};
use crate::split::{Header, Split};
use crate::staged::{Source, Transform};
use crate::vector::{LANES, Pair, Twice, Vector, Wide};
use crate::weighted::{self, Found, Targets, Weights};
use crate::wide::{self, Sink};
use core::cell::Cell;

/// Values of [`Job::logits_type`].
pub mod logits_type {
    /// `f32`
    pub const F32: u32 = 0;
    /// `f64`; the gradient is, too
    pub const F64: u32 = 1;
    /// IEEE 754 binary16; the gradient is `f32`
    pub const F16: u32 = 2;
    /// The upper half of an `f32`; the gradient is `f32`
    pub const BF16: u32 = 3;
}

/// One job. Addresses are those of the memory that the record lies in; 0 stands for "none".
///
/// Row i has its logits at `(i / inner) * row_stride + i % inner`, and from there on every `class_stride`-th. Gradient
/// and soft targets have the same places. All this is in elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Job {
    /// Of type [`Job::logits_type`].
    pub logits: usize,
    /// `i32[rows]`, or none where there are soft targets
    pub labels: usize,
    /// `f32`, or none where there are labels
    pub targets: usize,
    /// Type as the logits, or `f32` for logits of 16 bits; none, or the address of the logits
    pub gradient: usize,
    /// `f32[rows]`
    pub loss: usize,
    /// `f32[rows]`
    pub log_sum_exp: usize,
    /// `i32[rows]` or none
    pub predictions: usize,
    /// `f32[classes]` or none
    pub class_weights: usize,
    /// `f32[rows]` or none
    pub sample_weights: usize,
    /// `f32[3 * classes]` that nobody else uses meanwhile; may be none for `f64`, and for `f32` in one piece without softcap,
    /// temperature, smoothing and soft targets
    pub buffer: usize,
    /// Of [`crate::shard`], one a row, where the classes are a part of more; or none. Such a job has no other results.
    pub records: usize,
    /// Classes of a row, at least 1.
    pub classes: u32,
    /// See [`logits_type`].
    pub logits_type: u32,
    /// See above.
    pub row_stride: u32,
    /// See above.
    pub class_stride: u32,
    /// See above; at least 1.
    pub inner: u32,
    /// 1: rows with the label `ignore_index` are ignored.
    pub ignore: u32,
    /// See `ignore`.
    pub ignore_index: i32,
    /// Where the classes are a part of more: the first of them.
    pub class_offset: u32,
    /// All classes, of which the labels are; `classes` where there are no others.
    pub classes_total: u32,
    /// 1: [`Job::records`] are [`Merged`], and gradients are made of them. 0: they are [`Partial`], and written.
    pub merged: u32,
    /// Keeps what follows aligned.
    pub reserved: u32,
    /// Factor of the gradient. Where it is negative, the division of the rows may show in the sign of a zero.
    pub scale: f64,
    /// e, in 0..1.
    pub label_smoothing: f64,
    /// z
    pub z_loss: f64,
    /// c; 0: none
    pub softcap: f64,
    /// t; 1: none
    pub temperature: f64,
    /// Written by [`Job::reduce`]: sum of the losses.
    pub sum: f64,
    /// Written by [`Job::reduce`]: rows, not ignored, whose prediction is the label.
    pub correct: f64,
}

impl Job {
    /// Computes the rows from `begin` to `end`.
    ///
    /// # Safety
    ///
    /// - Every address of the record is that of memory of the size given with its field, valid until the return, aligned to
    ///   the type, for all rows below `end`. No row's logits span 2 GiB.
    /// - Regions do not overlap, except that `gradient` may equal `logits`.
    /// - `scratch` is the address of a [`Scratch`] that nobody else uses meanwhile.
    /// - Outputs of these rows are written by nobody else meanwhile. Logits and labels that are give wrong results for
    ///   their rows, no more.
    #[inline(always)]
    pub unsafe fn run<V: Vector>(&self, scratch: usize, begin: u32, end: u32) {
        let classes = self.classes as usize;
        if classes == 0 || self.inner == 0 {
            return;
        }
        // SAFETY: the caller's third obligation.
        let scratch = unsafe { &*core::ptr::with_exposed_provenance::<Scratch>(scratch) };
        scratch.set_hint(Hint::Direct);
        let (mut row, end) = (begin as usize, end as usize);
        if self.is_plain() {
            let group = if self.row_stride == self.classes { Rows::group(classes) } else { 1 };
            while row < end {
                let count = group.min(end - row);
                // SAFETY: the caller's first two obligations: these rows are part of the regions.
                let rows = unsafe { self.rows(row, count) };
                rows.run::<V>(scratch);
                row += count;
            }
        } else {
            while row < end {
                // SAFETY: as above.
                unsafe { self.row::<V>(row, scratch) };
                row += 1;
            }
        }
    }

    /// Whether nothing but logits, labels and the reduction makes the loss: `f32` in one piece.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        let more = self.targets | self.class_weights | self.sample_weights | self.records;
        more == 0
            && self.class_stride == 1
            && self.inner == 1
            && self.logits_type == logits_type::F32
            && self.label_smoothing == 0.0
            && self.z_loss == 0.0
            && self.softcap == 0.0
            && self.temperature == 1.0
    }

    /// Consecutive rows of a plain job; more than one only where rows follow one another without a gap.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(always)]
    unsafe fn rows<'a>(&self, row: usize, count: usize) -> Rows<'a> {
        let classes = self.classes as usize;
        let (first, elements) = (row.wrapping_mul(self.row_stride as usize), count * classes);
        // SAFETY: the caller vouches for every region and every row.
        unsafe {
            Rows {
                classes,
                logits: cells(self.logits, first, elements),
                labels: cells(self.labels, row, count),
                ignore_index: self.ignored(),
                scale: self.scale,
                gradient: match self.gradient {
                    0 => Gradient::None,
                    address if address == self.logits => Gradient::InPlace,
                    address => Gradient::Apart(cells(address, first, elements)),
                },
                loss: cells(self.loss, row, count),
                log_sum_exp: cells(self.log_sum_exp, row, count),
                predictions: match self.predictions {
                    0 => None,
                    address => Some(cells(address, row, count)),
                },
            }
        }
    }

    /// A row of a plain job, for several threads: `record` is the address of its [`Header`], which the records of its
    /// segments follow.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row, of more than 256 classes; but the outputs of a segment, and those of the row, are
    /// written by the thread that computes them, before or after the other steps on it (see [`crate::split`]).
    #[inline(always)]
    pub unsafe fn split<'a>(&self, record: usize, row: u32) -> Split<'a> {
        let segments = (self.classes as usize).div_ceil(SEGMENT);
        // SAFETY: the caller's obligation.
        unsafe {
            Split {
                header: &*core::ptr::with_exposed_provenance::<Header>(record),
                segments: core::slice::from_raw_parts(
                    core::ptr::with_exposed_provenance(record + size_of::<Header>()),
                    segments,
                ),
                row: self.rows(row as usize, 1),
            }
        }
    }

    /// One row of any job.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn row<V: Vector>(&self, row: usize, scratch: &Scratch) {
        if self.records != 0 {
            // SAFETY: the caller's obligation.
            return unsafe { self.shard::<V>(row) };
        }
        let classes = self.classes as usize;
        let (first, span, stride) = self.place(row);
        let transform = Transform { softcap: self.softcap, temperature: self.temperature };
        // SAFETY: the caller vouches for every region and every row.
        unsafe {
            let label = match self.labels {
                0 => Label::None,
                address => self.meaning(one::<i32>(address, row).get()),
            };
            let targets = Targets {
                class_weights: (self.class_weights != 0).then(|| cells(self.class_weights, 0, classes)),
                soft: (self.targets != 0).then(|| (cells(self.targets, first, span), stride)),
                smoothing: self.label_smoothing,
            };
            let sample = match self.sample_weights {
                0 => 1.0,
                address => f64::from(one::<f32>(address, row).get()),
            };
            let scale = self.scale / self.temperature;
            let weights = Weights { rest: 0.0, own: 0.0, sample, z_loss: self.z_loss, scale };
            let logits = self.source(row);
            let is_f64 = self.logits_type == logits_type::F64;
            let found: Found = if is_f64 || targets.everywhere() && classes <= wide::MAX_CLASSES {
                let gradient = match self.gradient {
                    0 => None,
                    address if is_f64 => Some(Sink::F64(cells(address, first, span), stride)),
                    address => Some(Sink::F32(cells(address, first, span), stride)),
                };
                wide::Row { classes, logits, transform, label, targets, weights, gradient }.run()
            } else {
                let gradient = (self.gradient != 0).then(|| (cells(self.gradient, first, span), stride));
                let in_place = self.gradient == self.logits;
                let buffer = if self.buffer == 0 { &[] } else { cells(self.buffer, 0, 3 * classes) };
                weighted::Row { classes, logits, transform, label, targets, weights, gradient, in_place, buffer }
                    .run::<V>(self.predictions != 0, scratch)
            };
            one(self.loss, row).set(found.loss as f32);
            one(self.log_sum_exp, row).set(found.log_sum_exp as f32);
            if self.predictions != 0 {
                one(self.predictions, row).set(found.prediction);
            }
        }
    }

    /// One row of a shard.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn shard<V: Vector>(&self, row: usize) {
        let classes = self.classes as usize;
        let (first, span, stride) = self.place(row);
        // SAFETY: the caller vouches for every region and every row.
        unsafe {
            let label = Label::of(one::<i32>(self.labels, row).get(), self.classes_total, self.ignored());
            let shard = Shard {
                classes,
                logits: self.source(row),
                transform: Transform { softcap: self.softcap, temperature: self.temperature },
                label: match label {
                    Label::Class(class) => class.wrapping_sub(self.class_offset as usize),
                    _ => usize::MAX,
                },
                class_weights: (self.class_weights != 0).then(|| cells(self.class_weights, 0, classes)),
                smooth: self.label_smoothing > 0.0,
                buffer: if self.buffer == 0 { &[] } else { cells(self.buffer, 0, classes) },
            };
            let single = shard.single::<V>();
            if self.merged == 0 {
                let partial = &*core::ptr::with_exposed_provenance::<Partial>(self.records).wrapping_add(row);
                return shard.sum::<V>(single, partial);
            }
            let gradient = if self.logits_type == logits_type::F64 {
                Sink::F64(cells(self.gradient, first, span), stride)
            } else {
                Sink::F32(cells(self.gradient, first, span), stride)
            };
            let merged = &*core::ptr::with_exposed_provenance::<Merged>(self.records).wrapping_add(row);
            shard.scale::<V>(single, merged, gradient);
        }
    }

    /// Where the logits of a row begin, how many elements they span, and how far each is from the next.
    #[inline(always)]
    fn place(&self, row: usize) -> (usize, usize, usize) {
        let (inner, stride) = (self.inner as usize, self.class_stride as usize);
        let outer = row.checked_div(inner).unwrap_or(0);
        let first = outer.wrapping_mul(self.row_stride as usize) + (row - outer * inner);
        (first, (self.classes as usize - 1) * stride + 1, stride)
    }

    /// The logits of a row.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn source<'a>(&self, row: usize) -> Source<'a> {
        let (first, span, stride) = self.place(row);
        let mut logits = Source { f32: &[], f64: &[], f16: &[], bf16: &[], stride };
        // SAFETY: the caller's obligation.
        unsafe {
            match self.logits_type {
                logits_type::F64 => logits.f64 = cells(self.logits, first, span),
                logits_type::F16 => logits.f16 = cells(self.logits, first, span),
                logits_type::BF16 => logits.bf16 = cells(self.logits, first, span),
                _ => logits.f32 = cells(self.logits, first, span),
            }
        }
        logits
    }

    #[inline(always)]
    fn meaning(&self, label: i32) -> Label {
        Label::of(label, self.classes, self.ignored())
    }

    #[inline(always)]
    fn ignored(&self) -> Option<i32> {
        (self.ignore != 0).then_some(self.ignore_index)
    }

    /// Adds up what all calls of [`Job::run`] have written: always in the same order, whoever has run which rows.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for all rows below `end`, and nobody else reads or writes this record.
    #[inline(always)]
    pub unsafe fn reduce<V: Vector>(&mut self, begin: u32, end: u32) {
        let (begin, rows) = (begin as usize, (end as usize).saturating_sub(begin as usize));
        // SAFETY: the caller vouches for every region and every row.
        let losses: &[Cell<f32>] = unsafe { cells(self.loss, begin, rows) };
        // Four sums side by side do not wait for one another.
        let mut sums = Twice::<V::Wide>::splat(0.0);
        let (chunks, rest) = losses.as_chunks::<LANES>();
        for losses in chunks {
            sums = sums.add(Twice::widen(V::load(losses)));
        }
        sums = sums.add(Twice::widen(V::load_partial(rest, 0.0)));
        let ([a, b], [c, d]) = (sums.0.to_array(), sums.1.to_array());
        let mut correct = 0u32;
        if self.predictions != 0 && self.labels != 0 {
            for row in begin..begin + rows {
                // SAFETY: as above.
                let (label, prediction) =
                    unsafe { (one::<i32>(self.labels, row).get(), one::<i32>(self.predictions, row).get()) };
                correct += u32::from(prediction == label && matches!(self.meaning(label), Label::Class(_)));
            }
        }
        self.sum = (a + b) + (c + d);
        self.correct = f64::from(correct);
    }
}

/// One entry.
///
/// # Safety
///
/// As [`cells`].
#[inline(always)]
unsafe fn one<'a, T>(address: usize, index: usize) -> &'a Cell<T> {
    // SAFETY: the caller's obligation.
    unsafe { &*core::ptr::with_exposed_provenance::<Cell<T>>(address).wrapping_add(index) }
}

/// # Safety
///
/// From `first` on, `count` entries of the array at `address` are valid for reads and writes, aligned, and touched by
/// nobody else but through cells.
#[inline(always)]
unsafe fn cells<'a, T>(address: usize, first: usize, count: usize) -> &'a [Cell<T>] {
    let start = core::ptr::with_exposed_provenance::<Cell<T>>(address).wrapping_add(first);
    // SAFETY: the caller's obligation; groups of rows are far smaller than 2 GiB.
    unsafe { core::slice::from_raw_parts(start, count) }
}
