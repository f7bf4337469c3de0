//! How rows are computed: which of [`short`], [`column`] and [`crate::row`] they go through, and what becomes of those that leave
//! their window.

use super::{Job, cells, logits_type, one};
use crate::column::{self, Column};
use crate::ends::{ends, label_terms_apart, leave_ignored};
use crate::largest;
use crate::numbers::Numbers;
use crate::partial::Partial;
use crate::row::scatter;
use crate::scratch::{ROWS, Scratch, fours as fours_of, rows_of};
use crate::short::{self, Group};
use crate::tile::{Line, Tile, copy, lines, stage};
use crate::vector::{Element, Single, Twice, Vector};
use core::cell::Cell;
use core::marker::PhantomData;

impl Job {
    /// # Safety
    ///
    /// As [`Job::run`].
    #[inline(always)]
    pub(super) unsafe fn rows<V: Single>(&self, scratch: &Scratch, begin: usize, end: usize) {
        let (classes, inner) = (self.classes as usize, self.inner as usize);
        // Rows of f64 logits are computed one by one, which keeps the module small.
        let lanes = !self.double() && self.class_stride != 1;
        let in_columns = lanes && inner >= column::MIN_INNER && classes < 1 << 24;
        let mut row = begin;
        while row < end {
            // SAFETY: the caller's obligations, for these rows.
            row += unsafe {
                if self.records != 0 {
                    self.shard::<V>(scratch, row);
                    1
                } else if in_columns {
                    let count = self.rows_side_by_side((inner - row % inner).min(end - row));
                    self.column::<V>(scratch, row, count);
                    count
                } else if classes <= short::MAX_CLASSES {
                    let count = short::group(self.double(), classes).min(end - row);
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

    /// How many of so many rows go side by side. A block of those that are staged is a tile; of the others, the longer a class's line is,
    /// the better the processor fetches it ahead.
    #[inline(always)]
    fn rows_side_by_side(&self, rows: usize) -> usize {
        let is_direct = self.softcap == 0.0 && self.logits_type == logits_type::F32;
        let in_place = self.gradient != 0 && self.gradient == self.logits;
        if !is_direct || in_place || rows <= column::STAGED_ROWS {
            return rows.min(column::STAGED_ROWS);
        }
        rows.min(ROWS) & !3
    }

    /// Rows of many classes. The losses of several rows are computed together, in the time of one.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    unsafe fn long<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) {
        let classes = self.classes as usize;
        // SAFETY: the caller's obligation.
        unsafe {
            for i in 0..count {
                let here =
                    if i == 0 { self.row::<V>(scratch, row, 0) } else { self.next_row::<V>(scratch, row + i, i) };
                let mut best = None;
                if self.predictions != 0 || self.targets != 0 {
                    let largest = here.argmax(0, classes);
                    best = Some(largest);
                    if self.predictions != 0 {
                        one(self.predictions, row + i).set(largest);
                    }
                }
                here.begin(best);
            }
            self.find_ends::<V>(scratch, row, count);
            for i in 0..count {
                if self.gradient != 0 && !scratch.loss[i % ROWS].get().is_nan() {
                    self.next_row::<V>(scratch, row + i, i).write_found();
                }
            }
            self.rest_alone::<V>(scratch, row, count);
        }
    }

    /// The ends of rows that were summed, and their losses.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    pub(super) unsafe fn find_ends<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) {
        label_terms_apart::<V>(count, self.double(), scratch);
        ends::<V>(count, &self.common(), scratch);
        // SAFETY: the caller's obligation.
        unsafe {
            if self.ignore != 0 {
                leave_ignored(count, scratch);
            }
            self.put::<V>(scratch, row, count);
        }
    }

    /// The rows that were not accepted: their losses are NaN.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(always)]
    unsafe fn rest_alone<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) {
        for i in row..row + count {
            // SAFETY: the caller's obligation.
            unsafe {
                if one::<f64>(self.loss, i).get().is_nan() {
                    self.alone::<V>(scratch, i);
                }
            }
        }
    }

    /// A row that leaves the window around its label.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn alone<V: Single>(&self, scratch: &Scratch, row: usize) {
        // SAFETY: the caller's obligation.
        unsafe {
            let here = self.row::<V>(scratch, row, 0);
            let best = here.argmax(0, here.classes);
            here.run_centred(best);
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
    unsafe fn put<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) {
        // SAFETY: the caller's obligation.
        unsafe {
            let (loss, log_sum_exp) = (cells(self.loss, row, count), self.results(self.log_sum_exp, row, count));
            if self.double() {
                put_rows::<V::Double>(loss, log_sum_exp.cells(), scratch);
            } else {
                put_rows::<V>(loss, log_sum_exp.cells(), scratch);
            }
        }
    }

    /// Rows of few classes.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    unsafe fn short<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) {
        let classes = self.classes as usize;
        let in_lines = self.class_stride == 1 && self.inner == 1;
        let together = in_lines && self.row_stride == self.classes;
        let (first, ..) = self.place(row);
        let span = (count - 1) * self.row_stride as usize + classes;
        // SAFETY: the caller's obligation, and nothing refers to what was in the scratch area's room before.
        let complete = unsafe {
            let staged = scratch.tile_of(self.double());
            let raw = if together {
                let numbers = self.numbers(self.logits, first, count * classes);
                Line { numbers, stride: 1, softcap: 0.0 }.raw::<V>(0, count * classes, staged)
            } else if in_lines && self.numbers(self.logits, first, 0).is_computed_with() {
                lines::<V>(self.numbers(self.logits, first, span), self.row_stride as usize, classes, staged);
                staged.part(0, count * classes)
            } else {
                for i in 0..count {
                    let (first, span, stride) = self.place(row + i);
                    let to = staged.from(i * classes);
                    let numbers = self.numbers(self.logits, first, span);
                    let x = Line { numbers, stride, softcap: 0.0 }.raw::<V>(0, classes, to);
                    if !x.begins_at(to) {
                        copy::<V>(x, to);
                    }
                }
                staged.part(0, count * classes)
            };
            if self.predictions != 0 || self.targets != 0 {
                largest::of_rows::<V>(raw, classes, count, &scratch.labels);
                if self.predictions != 0 {
                    for (from, to) in scratch.labels.iter().zip(cells(self.predictions, row, count)) {
                        to.set(from.get());
                    }
                }
            }
            let mut tile = Tile { high: raw, low: raw };
            if self.softcap != 0.0 {
                let low = scratch.low_of(self.double());
                stage::<V>(raw, staged, low, scratch.slope_of(self.double()), self.softcap, scratch);
                tile = Tile { high: staged.part(0, count * classes), low };
            }
            let (gradient, gradient_stride) = match (self.gradient, self.row_stride as usize) {
                (0, _) => (Numbers::NONE, 0),
                (address, stride) if in_lines => (self.results(address, first, span), stride),
                _ => (staged, classes),
            };
            let room = scratch.room::<Group<V>>();
            room.write(Group {
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
                gradient,
                gradient_stride,
                scratch,
                lanes: PhantomData,
            });
            let group = &*room;
            let complete = group.run(count);
            self.put::<V>(scratch, row, count);
            if self.gradient != 0 {
                group.gradients(count, complete);
                if !in_lines {
                    for i in 0..count {
                        if !scratch.loss[i % ROWS].get().is_nan() {
                            let (first, span, stride) = self.place(row + i);
                            let from = staged.part(i * classes, (i + 1) * classes);
                            scatter(from, self.results(self.gradient, first, span), stride);
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

    /// q of the classes of some rows, in the scratch area: see [`Group::entries`].
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(always)]
    unsafe fn entries<'a, V: Single>(
        &self,
        scratch: &'a Scratch,
        row: usize,
        count: usize,
        together: bool,
    ) -> Numbers<'a> {
        let (classes, double) = (self.classes as usize, self.double());
        let all = scratch.target_of(double);
        // SAFETY: the caller's obligation.
        unsafe {
            let targets = self.targets(row);
            if !targets.is_dense() || !targets.has_entries() {
                return Numbers::NONE;
            }
            if together && self.targets != 0 && targets.is_direct(double) {
                let (first, ..) = self.place(row);
                copy::<V>(Numbers::of::<f32>(cells(self.targets, first, count * classes)), all);
                return all;
            }
            // From the last row on, since each is staged at the beginning of this memory.
            let staged = if self.targets == 0 { 1 } else { count };
            for i in (0..staged).rev() {
                let tile = self.targets(row + i).tile::<V>(0, classes, double, scratch);
                let to = all.from(i * classes);
                if !tile.entries.begins_at(to) {
                    copy::<V>(tile.entries, to);
                }
            }
            let (mut done, end) = (staged * classes, count * classes);
            while done < end {
                let more = done.min(end - done);
                copy::<V>(all.part(0, more), all.part(done, done + more));
                done += more;
            }
        }
        all
    }

    /// Rows side by side.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    unsafe fn column<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) {
        let (first, span, stride) = self.place(row);
        // SAFETY: the caller's obligation, and nothing refers to what was in the scratch area's room before.
        let complete = unsafe {
            let span = span + count - 1;
            let mut targets = self.targets(row);
            targets.soft = if self.targets == 0 { &[] } else { cells(self.targets, first, span) };
            let room = scratch.room::<Column<V>>();
            room.write(Column {
                classes: self.classes as usize,
                rows: count,
                stride,
                line: Line { numbers: self.numbers(self.logits, first, span), stride: 1, softcap: self.softcap },
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
                lanes: PhantomData,
            });
            let complete = (*room).run();
            self.put::<V>(scratch, row, count);
            complete
        };
        if complete {
            return;
        }
        // SAFETY: the caller's obligation.
        unsafe { self.rest_alone::<V>(scratch, row, count) }
    }

    /// One row of a shard.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn shard<V: Single>(&self, scratch: &Scratch, row: usize) {
        // SAFETY: the caller's obligation.
        unsafe {
            let shard = self.row::<V>(scratch, row, 0);
            match self.merged(row) {
                Some(merged) => shard.write_shard(merged),
                None => {
                    let partial = core::ptr::with_exposed_provenance::<Partial>(self.records).wrapping_add(row);
                    shard.sum_shard(&*partial);
                }
            }
        }
    }
}

/// Rows of many classes whose ends are found together, and, with a gradient, logits of these: their terms stay in a near cache
/// until they are scaled.
const LONG_ROWS: usize = 32;

const LONG_GROUP: usize = 8192;

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
