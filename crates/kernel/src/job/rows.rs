//! Chooses how rows are computed: by [`short`] (through [`super::groups`]), [`mod@column`] or [`crate::row`], and how rows that leave their
//! window are computed again.

use super::{Job, cells, logits_type, one};
use crate::column::{self, Column};
use crate::ends::{ends, label_terms_apart, leave_ignored};
use crate::partial::Partial;
use crate::scratch::{ROWS, Scratch, fours as fours_of, rows_of};
use crate::short;
use crate::tile::Line;
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
        // Rows of f64 logits are computed one by one, to keep the module small.
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
                } else if classes <= short::max_classes(self.double()) {
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

    /// How many of these rows to compute side by side. If they are staged, a block of them is a tile. If not, as many as possible: the
    /// processor prefetches long lines better.
    #[inline(always)]
    fn rows_side_by_side(&self, rows: usize) -> usize {
        let is_direct = self.softcap == 0.0 && self.logits_type == logits_type::F32;
        let in_place = self.gradient != 0 && self.gradient == self.logits;
        if !is_direct || in_place || rows <= column::STAGED_ROWS {
            return rows.min(column::STAGED_ROWS);
        }
        rows.min(ROWS) & !3
    }

    /// Computes rows of many classes. The losses of several rows are computed together, in the time of one.
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
                    self.next_row::<V>(scratch, row + i, i).write_from_ends();
                }
            }
            self.fallbacks::<V>(scratch, row, count);
        }
    }

    /// Computes the ends of rows that were summed, and writes their losses.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    pub(super) unsafe fn find_ends<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) {
        label_terms_apart::<V>(count, self.double(), self.temperature, scratch);
        ends::<V>(count, &self.common(), scratch);
        // SAFETY: the caller's obligation.
        unsafe {
            if self.ignore != 0 {
                leave_ignored::<V>(count, scratch);
            }
            self.put::<V>(scratch, row, count);
        }
    }

    /// Computes the rows that were not accepted, whose losses are NaN, one by one.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(always)]
    unsafe fn fallbacks<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) {
        for i in row..row + count {
            // SAFETY: the caller's obligation.
            unsafe {
                if one::<f64>(self.loss, i).get().is_nan() {
                    self.fallback::<V>(scratch, i);
                }
            }
        }
    }

    /// Computes a row that leaves the window around its label.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    pub(super) unsafe fn fallback<V: Single>(&self, scratch: &Scratch, row: usize) {
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

    /// Writes losses and log-sum-exps from the scratch area's arrays.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(always)]
    pub(super) unsafe fn put<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) {
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

    /// Computes rows side by side.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    unsafe fn column<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) {
        let (first, span, stride) = self.place(row);
        // SAFETY: the caller's obligation, and nothing refers to the previous content of the scratch area's room.
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
        unsafe { self.fallbacks::<V>(scratch, row, count) }
    }

    /// Computes one row of a shard.
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

/// The most rows of many classes whose ends are computed together.
const LONG_ROWS: usize = 32;

/// The most logits of these rows with a gradient, so that their terms stay in a near cache until they are scaled.
const LONG_GROUP: usize = 8192;

/// Writes losses, and log-sum-exps rounded to the type of the logits.
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
