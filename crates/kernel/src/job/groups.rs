//! Rows of few classes as a group: gathers logits and targets for [`crate::short`], and writes results to their places.

use super::{Job, cells, one};
use crate::largest;
use crate::numbers::Numbers;
use crate::row::scatter;
use crate::scratch::{ROWS, Scratch};
use crate::short::Group;
use crate::tile::{Line, Tile, copy, lines, stage};
use crate::vector::Single;
use core::marker::PhantomData;

impl Job {
    /// Computes rows of few classes.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    pub(super) unsafe fn short<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) {
        let classes = self.classes as usize;
        let in_lines = self.class_stride == 1 && self.inner == 1;
        let together = in_lines && self.row_stride == self.classes;
        let (first, ..) = self.place(row);
        let span = (count - 1) * self.row_stride as usize + classes;
        // SAFETY: the caller's obligation, and nothing refers to the previous content of the scratch area's room.
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
                        self.fallback::<V>(scratch, i);
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
            // Backwards, because each row is staged at the beginning of this memory.
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
}
