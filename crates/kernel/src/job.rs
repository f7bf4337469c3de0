//! The job record: what the owner of the memory writes into it, and what a call of the kernel reads from it; and the one place that
//! chooses how rows are computed.
//!
//! This is the only place where addresses become references. Rows become slices one group at a time: a slice may not
//! be longer than 2 GiB, a batch may.

use crate::column::{self, Column};
use crate::ends::{Common, ends, label_terms_apart, leave_ignored};
use crate::exp::Range;
use crate::label::Label;
use crate::largest;
use crate::partial::{Header, Merged, Partial, Segment, Split};
use crate::row::{Gradient, Parts, Row, SEGMENT};
use crate::scratch::{ROWS, Scratch, fours as fours_of, rows_of};
use crate::short::{self, Group};
use crate::softcap;
use crate::targets::Targets;
use crate::terms::Way;
use crate::tile::{Line, Tile};
use crate::vector::{Element, Single, Twice, Vector, Wide};
use core::cell::Cell;
use core::marker::PhantomData;

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
    /// `f64[rows]`
    pub loss: usize,
    /// `f32[rows]`, or `f64[rows]` of `f64` logits
    pub log_sum_exp: usize,
    /// `i32[rows]` or none
    pub predictions: usize,
    /// `f32[classes]` or none
    pub class_weights: usize,
    /// `f32[rows]` or none
    pub sample_weights: usize,
    /// `f32[rows]`, the losses rounded, written by [`Job::reduce`]; or none
    pub rounded_loss: usize,
    /// Of [`crate::partial`], one a row, where the classes are a part of more; or none. Such a job has no other results.
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

/// No class was looked for yet.
const UNKNOWN: i32 = -2;

/// Rows of many classes whose ends are found together, and, with a gradient, logits of these: their terms stay in a near cache
/// until they are scaled.
const LONG_ROWS: usize = 32;
const LONG_GROUP: usize = 8192;

impl Job {
    /// Computes the rows from `begin` to `end`.
    ///
    /// # Safety
    ///
    /// - Every address of the record is that of memory of the size given with its field, valid until the return, aligned to
    ///   the type, for all rows below `end`. No row's logits span 2 GiB, and neither do those of rows side by side.
    /// - Regions do not overlap, except that `gradient` may equal `logits`.
    /// - `scratch` is the address of a [`Scratch`] that no other thread uses meanwhile.
    /// - No other thread writes outputs of these rows meanwhile. If one writes logits or labels, only these rows' results are wrong.
    #[inline(always)]
    pub unsafe fn run<V: Single>(&self, scratch: usize, begin: u32, end: u32) {
        if self.classes == 0 || self.inner == 0 {
            return;
        }
        // SAFETY: the caller's third obligation.
        let scratch = unsafe { &*core::ptr::with_exposed_provenance::<Scratch>(scratch) };
        // SAFETY: the caller's other obligations.
        unsafe {
            if self.logits_type == logits_type::F64 {
                self.run_as::<V::Double>(scratch, begin as usize, end as usize);
            } else {
                self.run_as::<V>(scratch, begin as usize, end as usize);
            }
        }
    }

    /// # Safety
    ///
    /// As [`Job::run`].
    #[inline(always)]
    unsafe fn run_as<V: Vector>(&self, scratch: &Scratch, begin: usize, end: usize) {
        self.begin::<V>(scratch);
        let (classes, inner) = (self.classes as usize, self.inner as usize);
        // Those of f64 logits go one by one, for the size of the module.
        let lanes = !V::Element::DOUBLE && self.class_stride != 1;
        let in_columns = lanes && inner >= column::MIN_INNER && classes < 1 << 24;
        let mut row = begin;
        while row < end {
            // SAFETY: the caller's obligations, for these rows.
            row += unsafe {
                if self.records != 0 {
                    self.shard::<V>(scratch, row);
                    1
                } else if in_columns {
                    let count = column::width::<V::Element>().min(inner - row % inner).min(end - row);
                    self.column::<V>(scratch, row, count);
                    count
                } else if classes <= short::MAX_CLASSES {
                    let count = short::group::<V::Element>(classes).min(end - row);
                    self.short::<V>(scratch, row, count);
                    count
                } else {
                    let most = if self.gradient == 0 { LONG_ROWS } else { (LONG_GROUP / classes).clamp(1, LONG_ROWS) };
                    let count = most.min(end - row);
                    self.long::<V>(scratch, row, count);
                    count
                }
            };
        }
    }

    /// What all rows of a run have in common goes into the scratch area.
    #[inline(never)]
    fn begin<V: Vector>(&self, scratch: &Scratch) {
        scratch.set_range(Range::of::<V::Element>().constants::<V::Element>(self.temperature));
    }

    #[inline(always)]
    fn common(&self) -> Common {
        let weights = self.targets | self.class_weights | self.sample_weights;
        Common {
            plain: weights == 0 && self.label_smoothing == 0.0 && self.z_loss == 0.0,
            dense: self.is_dense(),
            gradient: self.gradient != 0,
            scale: self.scale / self.temperature,
            z_loss: self.z_loss,
        }
    }

    #[inline(always)]
    fn is_dense(&self) -> bool {
        self.targets != 0 || self.label_smoothing > 0.0
    }

    /// Rows of many classes. Their ends are found together, for that takes a few no longer than one.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    unsafe fn long<V: Vector>(&self, scratch: &Scratch, row: usize, count: usize) {
        let classes = self.classes as usize;
        // SAFETY: the caller's obligation.
        unsafe {
            for i in 0..count {
                let parts = RowParts::<V>::new(self, scratch, row + i, i);
                let mut best = UNKNOWN;
                if self.predictions != 0 || self.targets != 0 {
                    best = parts.argmax(0, classes);
                    if self.predictions != 0 {
                        one(self.predictions, row + i).set(best);
                    }
                }
                self.row::<V>(scratch, row + i, i).begin((best != UNKNOWN).then_some(best), &parts);
            }
            self.find_ends::<V>(scratch, row, count);
            for i in 0..count {
                let parts = RowParts::<V>::new(self, scratch, row + i, i);
                if self.gradient != 0 && !scratch.loss[i % ROWS].get().is_nan() {
                    self.row::<V>(scratch, row + i, i).write_found(&parts);
                }
            }
            for i in row..row + count {
                if one::<f64>(self.loss, i).get().is_nan() {
                    self.alone::<V>(scratch, i);
                }
            }
        }
    }

    /// The ends of rows that were summed, and their losses.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    unsafe fn find_ends<V: Vector>(&self, scratch: &Scratch, row: usize, count: usize) {
        label_terms_apart::<V>(count, scratch);
        ends::<V>(count, &self.common(), scratch);
        // SAFETY: the caller's obligation.
        unsafe {
            if self.ignore != 0 {
                leave_ignored(count, scratch);
            }
            self.put::<V>(scratch, row, count);
        }
    }

    /// A row that leaves the window around its label.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn alone<V: Vector>(&self, scratch: &Scratch, row: usize) {
        // SAFETY: the caller's obligation.
        unsafe {
            let parts = RowParts::<V>::new(self, scratch, row, 0);
            let best = parts.argmax(0, self.classes as usize);
            self.row::<V>(scratch, row, 0).run_centred(best, &parts);
            self.put::<V>(scratch, row, 1);
            if self.predictions != 0 {
                one(self.predictions, row).set(if scratch.log_sum_exp[0].get().is_nan() { -1 } else { best });
            }
        }
    }

    /// Writes losses and log-sum-exps of the scratch area's arrays.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(always)]
    unsafe fn put<V: Vector>(&self, scratch: &Scratch, row: usize, count: usize) {
        // SAFETY: the caller's obligation.
        unsafe { put_rows::<V>(cells(self.loss, row, count), cells(self.log_sum_exp, row, count), scratch) }
    }

    /// Rows of few classes.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    unsafe fn short<V: Vector>(&self, scratch: &Scratch, row: usize, count: usize) {
        let classes = self.classes as usize;
        let together = self.class_stride == 1 && self.inner == 1 && self.row_stride == self.classes;
        let (first, ..) = self.place(row);
        // SAFETY: the caller's obligation.
        let complete = unsafe {
            let staged = scratch.tile::<V::Element>();
            let raw = if together {
                self.line::<V>(first, count * classes, 1).raw::<V>(0, count * classes, staged)
            } else {
                for i in 0..count {
                    let (first, span, stride) = self.place(row + i);
                    let to = staged.get(i * classes..).unwrap_or(&[]);
                    let x = self.line::<V>(first, span, stride).raw::<V>(0, classes, to);
                    if !core::ptr::eq(x.as_ptr(), to.as_ptr()) {
                        copy::<V>(x, to);
                    }
                }
                staged.get(..count * classes).unwrap_or(&[])
            };
            if self.predictions != 0 || self.targets != 0 {
                for i in 0..count {
                    let best = largest::argmax::<V>(raw.get(i * classes..(i + 1) * classes).unwrap_or(&[]));
                    scratch.labels[i % ROWS].set(best);
                    if self.predictions != 0 {
                        one(self.predictions, row + i).set(best);
                    }
                }
            }
            let mut tile = Tile { high: raw, low: raw };
            if self.softcap != 0.0 {
                softcap::stage::<V>(raw, staged, scratch.low(), scratch.slope(), self.softcap);
                tile = Tile { high: staged.get(..count * classes).unwrap_or(&[]), low: scratch.low() };
            }
            let group = Group::<V> {
                classes,
                tile,
                softcap: self.softcap,
                temperature: self.temperature,
                labels: (self.labels != 0).then(|| cells(self.labels, row, count)),
                ignore_index: self.ignored(),
                sample_weights: (self.sample_weights != 0).then(|| cells(self.sample_weights, row, count)),
                targets: self.targets(row),
                entries: self.entries::<V>(scratch, row, count, together),
                common: self.common(),
                scratch,
            };
            let complete = group.run(count);
            self.put::<V>(scratch, row, count);
            if self.gradient != 0 {
                if self.class_stride == 1 && self.inner == 1 {
                    let stride = self.row_stride as usize;
                    let g = cells(self.gradient, first, (count - 1) * stride + classes);
                    group.gradients(count, g, stride, complete);
                } else {
                    group.gradients(count, staged, classes, complete);
                    for i in 0..count {
                        if !scratch.loss[i % ROWS].get().is_nan() {
                            let (first, span, stride) = self.place(row + i);
                            let from = staged.get(i * classes..(i + 1) * classes).unwrap_or(&[]);
                            crate::row::scatter(from, cells(self.gradient, first, span), stride);
                        }
                    }
                }
            }
            complete
        };
        if complete {
            return;
        }
        for i in row..row + count {
            // SAFETY: the caller's obligation.
            unsafe {
                if one::<f64>(self.loss, i).get().is_nan() {
                    if count > 1 {
                        self.short::<V>(scratch, i, 1);
                    } else {
                        self.alone::<V>(scratch, i);
                    }
                }
            }
        }
    }

    /// q of the classes of some rows, or of all rows: see [`Group::entries`].
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(always)]
    unsafe fn entries<'a, V: Vector>(
        &self,
        scratch: &'a Scratch,
        row: usize,
        count: usize,
        together: bool,
    ) -> &'a [Cell<V::Element>] {
        let classes = self.classes as usize;
        // SAFETY: the caller's obligation.
        unsafe {
            let targets = self.targets(row);
            if self.targets == 0 {
                return if self.label_smoothing > 0.0 { targets.tile::<V>(0, classes, scratch).entries } else { &[] };
            }
            if together && targets.is_direct::<V::Element>() {
                let (first, ..) = self.place(row);
                return V::Element::of_single(cells(self.targets, first, count * classes)).unwrap_or(&[]);
            }
            let all = scratch.target::<V::Element>();
            // From the last row on, since each is staged at the beginning of this memory.
            for i in (0..count).rev() {
                let tile = self.targets(row + i).tile::<V>(0, classes, scratch);
                let to = all.get(i * classes..).unwrap_or(&[]);
                if !core::ptr::eq(tile.entries.as_ptr(), to.as_ptr()) {
                    copy::<V>(tile.entries, to);
                }
            }
            all
        }
    }

    /// Rows side by side.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    unsafe fn column<V: Vector>(&self, scratch: &Scratch, row: usize, count: usize) {
        let (first, span, stride) = self.place(row);
        // SAFETY: the caller's obligation.
        let complete = unsafe {
            let span = span + count - 1;
            let mut targets = self.targets(row);
            targets.soft = if self.targets == 0 { &[] } else { cells(self.targets, first, span) };
            let column = Column::<V> {
                classes: self.classes as usize,
                rows: count,
                stride,
                line: self.line::<V>(first, span, 1),
                temperature: self.temperature,
                labels: (self.labels != 0).then(|| cells(self.labels, row, count)),
                ignore_index: self.ignored(),
                sample_weights: (self.sample_weights != 0).then(|| cells(self.sample_weights, row, count)),
                targets,
                common: self.common(),
                gradient: (self.gradient != 0).then(|| cells(self.gradient, first, span)),
                in_place: self.gradient == self.logits,
                predictions: (self.predictions != 0).then(|| cells(self.predictions, row, count)),
                scratch,
            };
            let complete = column.run();
            self.put::<V>(scratch, row, count);
            complete
        };
        if complete {
            return;
        }
        for i in row..row + count {
            // SAFETY: the caller's obligation.
            unsafe {
                if one::<f64>(self.loss, i).get().is_nan() {
                    self.alone::<V>(scratch, i);
                }
            }
        }
    }

    /// One row of a shard.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn shard<V: Vector>(&self, scratch: &Scratch, row: usize) {
        // SAFETY: the caller's obligation.
        unsafe {
            let (shard, parts) = (self.row::<V>(scratch, row, 0), RowParts::<V>::new(self, scratch, row, 0));
            match self.merged(row) {
                Some(merged) => shard.write_shard(merged, &parts),
                None => {
                    let partial = core::ptr::with_exposed_provenance::<Partial>(self.records).wrapping_add(row);
                    shard.sum_shard(&*partial, &parts);
                }
            }
        }
    }

    /// What is known of all shards of a row, if its gradient is to be made of that.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn merged<'a>(&self, row: usize) -> Option<&'a Merged> {
        let address = core::ptr::with_exposed_provenance::<Merged>(self.records).wrapping_add(row);
        // SAFETY: the caller's obligation.
        (self.records != 0 && self.merged != 0).then(|| unsafe { &*address })
    }

    /// Whether the classes of a row may be dealt out to several threads.
    #[inline(always)]
    fn splits(&self) -> bool {
        self.records | self.targets == 0 && self.class_stride == 1 && self.classes as usize > short::MAX_CLASSES
    }

    /// A row for several threads: `record` is the address of its [`Header`], which the records of its segments follow.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn split<'a, V: Vector>(&self, scratch: &'a Scratch, record: usize, row: usize) -> Split<'a, V> {
        let segments = (self.classes as usize).div_ceil(SEGMENT);
        // SAFETY: the caller's obligation.
        unsafe {
            Split {
                header: &*core::ptr::with_exposed_provenance::<Header>(record),
                segments: core::slice::from_raw_parts(
                    core::ptr::with_exposed_provenance::<Segment>(record + size_of::<Header>()),
                    segments,
                ),
                row: self.row(scratch, row, 0),
            }
        }
    }

    /// A step on a row whose classes several threads compute: the sum of a segment; the end, when all are summed, which says whether
    /// (1) the segments can be written, or (0) the row must be computed as a whole; and then the gradient of a segment.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row; but the outputs of a segment, and those of the row, are written by the thread that takes this
    /// step, before or after the others. `record` is the address of a [`Header`] and of a [`Segment`] for every [`SEGMENT`] classes.
    #[inline(never)]
    pub unsafe fn step<V: Single>(&self, step: Step, segment: usize, scratch: usize, record: usize, row: u32) -> u32 {
        if !self.splits() {
            return 0;
        }
        // SAFETY: the caller's obligations.
        unsafe {
            let scratch = &*core::ptr::with_exposed_provenance::<Scratch>(scratch);
            if self.logits_type == logits_type::F64 {
                self.step_as::<V::Double>(step, segment, scratch, record, row as usize)
            } else {
                self.step_as::<V>(step, segment, scratch, record, row as usize)
            }
        }
    }

    /// # Safety
    ///
    /// As [`Job::step`].
    #[inline(never)]
    unsafe fn step_as<V: Vector>(
        &self,
        step: Step,
        segment: usize,
        scratch: &Scratch,
        record: usize,
        row: usize,
    ) -> u32 {
        self.begin::<V>(scratch);
        // SAFETY: the caller's obligation.
        unsafe {
            let (split, parts) = (self.split::<V>(scratch, record, row), RowParts::<V>::new(self, scratch, row, 0));
            match step {
                Step::Sum => split.sum(segment, self.predictions != 0, &parts),
                Step::Write => split.write(segment, &parts),
                Step::Finish => {
                    if !split.end() {
                        return 0;
                    }
                    self.find_ends::<V>(scratch, row, 1);
                    if scratch.loss[0].get().is_nan() {
                        return 0;
                    }
                    split.share();
                    if self.predictions != 0 {
                        one(self.predictions, row).set(split.prediction());
                    }
                }
            }
        }
        1
    }

    /// One row.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn row<'a, V: Vector>(&self, scratch: &'a Scratch, row: usize, place: usize) -> Row<'a, V> {
        let (first, span, stride) = self.place(row);
        // SAFETY: the caller vouches for every region and every row.
        unsafe {
            let sample =
                if self.sample_weights == 0 { 1.0 } else { f64::from(one::<f32>(self.sample_weights, row).get()) };
            let label = match self.labels {
                0 => Label::None,
                address => Label::of(one::<i32>(address, row).get(), self.classes_of_labels(), self.ignored()),
            };
            if self.records != 0 {
                return self.shard_row(scratch, row, label);
            }
            Row {
                classes: self.classes as usize,
                line: self.line::<V>(first, span, stride),
                temperature: self.temperature,
                // What weighs nothing is ignored.
                label: if sample == 0.0 { Label::Ignored } else { label },
                sample,
                targets: self.targets(row),
                common: self.common(),
                gradient: (self.gradient != 0).then(|| Gradient {
                    cells: cells(self.gradient, first, span),
                    stride,
                    keeps: self.gradient != self.logits,
                }),
                scratch,
                place,
            }
        }
    }

    /// One row of a shard, with this label of all classes: the reduction is not its business, and neither are sample weights.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn shard_row<'a, V: Vector>(&self, scratch: &'a Scratch, row: usize, label: Label) -> Row<'a, V> {
        let (first, span, stride) = self.place(row);
        // SAFETY: the caller's obligation.
        unsafe {
            let merged = self.merged(row);
            let mut targets = self.targets(row);
            targets.spread = merged.map_or(1.0, Merged::target);
            Row {
                classes: self.classes as usize,
                line: self.line::<V>(first, span, stride),
                temperature: self.temperature,
                label: match label {
                    Label::Class(class) => Label::Class(class.wrapping_sub(self.class_offset as usize)),
                    other => other,
                },
                sample: 1.0,
                targets,
                common: Common { scale: 1.0, ..self.common() },
                gradient: (merged.is_some()).then(|| Gradient {
                    cells: cells(self.gradient, first, span),
                    stride,
                    keeps: false,
                }),
                scratch,
                place: 0,
            }
        }
    }

    /// The classes that labels are of: all, where these are a part of more.
    #[inline(always)]
    fn classes_of_labels(&self) -> u32 {
        if self.records == 0 { self.classes } else { self.classes_total }
    }

    /// [`Row::sum_segment`], called from several places.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn sum_part<V: Vector>(&self, scratch: &Scratch, row: usize, way: Way, from: usize, to: usize) {
        // SAFETY: the caller's obligation.
        unsafe { self.row::<V>(scratch, row, 0) }.sum_segment(way, from, to);
    }

    /// [`Row::write`], likewise.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn write_part<V: Vector>(
        &self,
        scratch: &Scratch,
        row: usize,
        place: usize,
        way: Way,
        from: usize,
        to: usize,
    ) {
        // SAFETY: the caller's obligation.
        unsafe { self.row::<V>(scratch, row, place) }.write(way, from, to);
    }

    /// [`Row::argmax`], likewise.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn argmax_part<V: Vector>(&self, scratch: &Scratch, row: usize, from: usize, to: usize) -> i32 {
        // SAFETY: the caller's obligation.
        unsafe { self.row::<V>(scratch, row, 0) }.argmax(from, to)
    }

    /// The logits from a place on, `span` elements.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these logits.
    #[inline(always)]
    unsafe fn line<'a, V: Vector>(&self, first: usize, span: usize, stride: usize) -> Line<'a, V::Element> {
        let mut line = Line { own: &[], f16: &[], bf16: &[], stride, softcap: self.softcap };
        // SAFETY: the caller's obligation.
        unsafe {
            match self.logits_type {
                logits_type::F16 => line.f16 = cells(self.logits, first, span),
                logits_type::BF16 => line.bf16 = cells(self.logits, first, span),
                _ => line.own = cells(self.logits, first, span),
            }
        }
        line
    }

    /// The targets of a row.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn targets<'a>(&self, row: usize) -> Targets<'a> {
        let (first, span, stride) = self.place(row);
        // SAFETY: the caller's obligation.
        unsafe {
            Targets {
                class_weights: if self.class_weights == 0 {
                    &[]
                } else {
                    cells(self.class_weights, 0, self.classes as usize)
                },
                soft: if self.targets == 0 { &[] } else { cells(self.targets, first, span) },
                stride,
                smoothing: self.label_smoothing,
                spread: self.label_smoothing / f64::from(self.classes),
            }
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

    #[inline(always)]
    fn ignored(&self) -> Option<i32> {
        (self.ignore != 0).then_some(self.ignore_index)
    }

    /// Adds up what all calls of [`Job::run`] have written, always in the same order, and rounds it.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for all rows below `end`, and no other thread reads or writes this record.
    #[inline(always)]
    pub unsafe fn reduce<V: Single>(&mut self, begin: u32, end: u32) {
        let (begin, rows) = (begin as usize, (end as usize).saturating_sub(begin as usize));
        // SAFETY: the caller vouches for every region and every row.
        let losses: &[Cell<f64>] = unsafe { cells(self.loss, begin, rows) };
        let rounded: &[Cell<f32>] = match self.rounded_loss {
            0 => &[],
            // SAFETY: as above.
            address => unsafe { cells(address, begin, rows) },
        };
        self.sum = sum_and_round::<V>(losses, rounded);
        let mut correct = 0u32;
        if self.predictions != 0 && self.labels != 0 {
            for row in begin..begin + rows {
                // SAFETY: as above.
                let (label, prediction) =
                    unsafe { (one::<i32>(self.labels, row).get(), one::<i32>(self.predictions, row).get()) };
                let counts = matches!(Label::of(label, self.classes, self.ignored()), Label::Class(_));
                correct += u32::from(prediction == label && counts);
            }
        }
        self.correct = f64::from(correct);
    }
}

/// The parts of one row of a job.
struct RowParts<'a, V> {
    job: &'a Job,
    scratch: &'a Scratch,
    row: usize,
    place: usize,
    lanes: PhantomData<V>,
}

impl<'a, V: Vector> RowParts<'a, V> {
    /// # Safety
    ///
    /// As [`Job::run`], for this row, as long as this lives.
    #[inline(always)]
    unsafe fn new(job: &'a Job, scratch: &'a Scratch, row: usize, place: usize) -> Self {
        Self { job, scratch, row, place, lanes: PhantomData }
    }
}

impl<V: Vector> Parts for RowParts<'_, V> {
    #[inline(always)]
    fn sum(&self, way: Way, from: usize, to: usize) {
        // SAFETY: the obligation of `RowParts::new`.
        unsafe { self.job.sum_part::<V>(self.scratch, self.row, way, from, to) }
    }

    #[inline(always)]
    fn write(&self, way: Way, from: usize, to: usize) {
        // SAFETY: as above.
        unsafe { self.job.write_part::<V>(self.scratch, self.row, self.place, way, from, to) }
    }

    #[inline(always)]
    fn argmax(&self, from: usize, to: usize) -> i32 {
        // SAFETY: as above.
        unsafe { self.job.argmax_part::<V>(self.scratch, self.row, from, to) }
    }
}

/// What a thread does for a row whose classes are dealt out.
#[derive(Clone, Copy)]
pub enum Step {
    /// The sum of a segment.
    Sum,
    /// Loss and factors.
    Finish,
    /// The gradient of a segment.
    Write,
}

/// Four sums side by side do not wait for one another.
#[inline(always)]
fn sum_and_round<V: Single>(losses: &[Cell<f64>], rounded: &[Cell<f32>]) -> f64 {
    let (fours, rest) = losses.as_chunks::<4>();
    let (to, _) = rounded.as_chunks::<4>();
    let mut sums = Twice::<V::Wide>::splat(0.0);
    for (i, four) in fours.iter().enumerate() {
        let four = Twice::load(four);
        sums = sums.add(four);
        if let Some(to) = to.get(i) {
            V::narrow(four).store(to);
        }
    }
    let mut sum = sums.total();
    for (i, loss) in rest.iter().enumerate() {
        sum += loss.get();
        if let Some(to) = rounded.get(4 * fours.len() + i) {
            to.set(loss.get() as f32);
        }
    }
    sum
}

/// Losses, and log-sum-exps rounded to the type of the logits.
#[inline(never)]
fn put_rows<V: Vector>(loss: &[Cell<f64>], log_sum_exp: &[Cell<V::Element>], scratch: &Scratch) {
    let ((fours, rest), (to, to_rest)) = (loss.as_chunks::<4>(), V::chunks(log_sum_exp));
    for (from, to) in fours_of(&scratch.loss, 4 * fours.len()).zip(fours) {
        Twice::<V::Wide>::load(from).store(to);
    }
    let done = 4 * fours.len();
    for (i, to) in rest.iter().enumerate() {
        to.set(scratch.loss[(done + i) % ROWS].get());
    }
    for (i, to) in to.iter().enumerate() {
        V::narrow(rows_of::<V>(&scratch.log_sum_exp, i * V::LANES)).store(to);
    }
    let done = to.len() * V::LANES;
    for (i, to) in to_rest.iter().enumerate() {
        to.set(V::Element::from_f64(scratch.log_sum_exp[(done + i) % ROWS].get()));
    }
}

/// Copies whole vectors, and the rest.
#[inline(never)]
fn copy<V: Vector>(from: &[Cell<V::Element>], to: &[Cell<V::Element>]) {
    let to = to.get(..from.len()).unwrap_or(&[]);
    let ((chunks, rest), (to, to_rest)) = (V::chunks(from), V::chunks(to));
    for (x, to) in chunks.iter().zip(to) {
        V::load(x).store(to);
    }
    if !to_rest.is_empty() {
        V::load_partial(rest, V::Element::default()).store_partial(to_rest);
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
/// From `first` on, `count` entries of the array at `address` are valid for reads and writes, aligned, and other threads touch them
/// through cells only.
#[inline(always)]
unsafe fn cells<'a, T>(address: usize, first: usize, count: usize) -> &'a [Cell<T>] {
    let start = core::ptr::with_exposed_provenance::<Cell<T>>(address).wrapping_add(first);
    // SAFETY: the caller's obligation; groups of rows are far smaller than 2 GiB.
    unsafe { core::slice::from_raw_parts(start, count) }
}
