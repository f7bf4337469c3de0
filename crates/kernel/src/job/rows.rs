//! How rows are computed: which of [`short`], [`column`] and [`crate::row`] they go through, and what becomes of those that leave
//! their window.

use super::parts::RowParts;
use super::{Job, cells, one};
use crate::column::{self, Column};
use crate::ends::{ends, label_terms_apart, leave_ignored};
use crate::largest;
use crate::partial::Partial;
use crate::row::{Parts, scatter};
use crate::scratch::{ROWS, Scratch, fours as fours_of, rows_of};
use crate::short::{self, Group};
use crate::softcap;
use crate::tile::Tile;
use crate::vector::{Element, Twice, Vector};
use core::cell::Cell;

impl Job {
    /// # Safety
    ///
    /// As [`Job::run`].
    #[inline(always)]
    pub(super) unsafe fn run_as<V: Vector>(&self, scratch: &Scratch, begin: usize, end: usize) {
        self.begin::<V>(scratch);
        let (classes, inner) = (self.classes as usize, self.inner as usize);
        // Rows of f64 logits are computed one by one, which keeps the module small.
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

    /// Rows of many classes. The losses of several rows are computed together, in the time of one.
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
    pub(super) unsafe fn find_ends<V: Vector>(&self, scratch: &Scratch, row: usize, count: usize) {
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
                            scatter(from, cells(self.gradient, first, span), stride);
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
}

/// The largest logit was not searched for yet.
const UNKNOWN: i32 = -2;

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
