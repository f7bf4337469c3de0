//! Rows of a divergence: see [`crate::divergence`].

use super::{Job, cells, one};
use crate::divergence::short::{self, Group};
use crate::divergence::{Rows, Run, Side, log_ratio, partial, row, sum, sum_terms, write};
use crate::largest;
use crate::numbers::Numbers;
use crate::partial::RECORD_BYTES;
use crate::row::{fill, scatter};
use crate::scratch::{Scratch, tile_length};
use crate::short::group;
use crate::targets::combine;
use crate::tile::Line;
use crate::vector::Single;
use core::marker::PhantomData;

impl Job {
    /// # Safety
    ///
    /// As [`Job::run`].
    #[inline(never)]
    pub(super) unsafe fn divergence<V: Single>(&self, scratch: &Scratch, begin: usize, end: usize) {
        let together = self.class_stride == 1 && self.inner == 1 && self.row_stride == self.classes;
        let in_groups = together && self.records == 0 && self.classes as usize <= short::MAX_CLASSES;
        let mut index = begin;
        while index < end {
            let count = if in_groups { group(self.double(), self.classes as usize).min(end - index) } else { 1 };
            // SAFETY: the caller's obligations, for these rows.
            unsafe {
                if in_groups && self.divergences::<V>(scratch, index, count) {
                    index += count;
                    continue;
                }
                for row in index..index + count {
                    if in_groups {
                        // A row that its group does not accept: a group of its own first, so that no neighbour matters.
                        let done = !one::<f64>(self.loss, row).get().is_nan();
                        if done || count > 1 && self.divergences::<V>(scratch, row, 1) {
                            continue;
                        }
                    }
                    self.divergence_of::<V>(scratch, row);
                }
            }
            index += count;
        }
    }

    #[inline(always)]
    fn constants(&self) -> Run {
        Run {
            classes: self.classes as usize,
            temperature: self.temperature,
            // The p and q of one class are 1, but their terms have rounding errors.
            scale: (self.gradient != 0).then_some(if self.classes == 1 { 0.0 } else { self.scale }),
        }
    }

    /// Computes rows of few classes, which lie one after the other. Returns whether all are accepted; the losses of the others are NaN.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(never)]
    unsafe fn divergences<V: Single>(&self, scratch: &Scratch, row: usize, count: usize) -> bool {
        let run = self.constants();
        let (first, length) = (row * run.classes, count * run.classes);
        // SAFETY: the caller's obligation.
        unsafe {
            let rows = JobRow::<V> { job: self, scratch, row, lanes: PhantomData };
            let (t, _) = self.tile_of::<V>(scratch, row, true, 0.0, 0, length, false);
            let (x, _) = self.tile_of::<V>(scratch, row, false, 0.0, 0, length, false);
            let gradient = if self.gradient == 0 { Numbers::NONE } else { self.results(self.gradient, first, length) };
            let samples = if self.sample_weights == 0 { &[][..] } else { cells(self.sample_weights, row, count) };
            let predict = self.predictions != 0;
            let complete =
                short::run::<V>(&rows, &Group { rows: count, run, t, x, gradient, samples, predict, scratch });
            if predict {
                for (from, to) in scratch.labels.iter().zip(cells(self.predictions, row, count)) {
                    to.set(from.get());
                }
            }
            self.put::<V>(scratch, row, count);
            complete
        }
    }

    /// Computes a row.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn divergence_of<V: Single>(&self, scratch: &Scratch, index: usize) {
        let run = self.constants();
        let rows = JobRow::<V> { job: self, scratch, row: index, lanes: PhantomData };
        // SAFETY: the caller's obligation.
        unsafe {
            let mut partial = None;
            if self.records != 0 {
                let record = self.records + index * RECORD_BYTES;
                if self.merged != 0 {
                    let merged = &*core::ptr::with_exposed_provenance::<partial::Merged>(record);
                    return partial::write::<V::Wide>(&rows, &run, merged);
                }
                partial = Some(&*core::ptr::with_exposed_provenance::<partial::Partial>(record));
            }
            let sample =
                if self.sample_weights == 0 { 1.0 } else { f64::from(one::<f32>(self.sample_weights, index).get()) };
            let best = if self.predictions == 0 { -1 } else { rows.best(false) };
            let (loss, log_sum_exp) = row::<V::Wide>(&rows, &run, sample, partial, scratch);
            if partial.is_some() {
                return;
            }
            one(self.loss, index).set(loss);
            self.results(self.log_sum_exp, index, 1).set(0, log_sum_exp);
            if self.predictions != 0 {
                one(self.predictions, index).set(if log_sum_exp.is_nan() { -1 } else { best });
            }
        }
    }

    /// The targets or the logits of a row. If it has fewer classes than `to`, those of the next rows, which lie behind it, follow.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(always)]
    unsafe fn side<'a>(&self, row: usize, of_targets: bool, to: usize) -> Line<'a> {
        let (first, span, stride) = self.place(row);
        let address = if of_targets { self.targets } else { self.logits };
        // SAFETY: the caller's obligation.
        Line { numbers: unsafe { self.numbers(address, first, span.max(to)) }, stride, softcap: 0.0 }
    }

    /// One target or logit.
    ///
    /// # Safety
    ///
    /// As [`Job::side`].
    #[inline(never)]
    unsafe fn logit_of(&self, row: usize, of_targets: bool, class: usize) -> f64 {
        // SAFETY: the caller's obligation.
        unsafe { self.side(row, of_targets, 0) }.get(class)
    }

    /// The first class with the largest target or logit.
    ///
    /// # Safety
    ///
    /// As [`Job::side`].
    #[inline(never)]
    unsafe fn best_of<V: Single>(&self, scratch: &Scratch, row: usize, of_targets: bool) -> i32 {
        // SAFETY: the caller's obligation.
        largest::of_line::<V>(&unsafe { self.side(row, of_targets, 0) }, 0, self.classes as usize, scratch)
    }

    /// Whether the memory of the gradient keeps the terms of the logits.
    #[inline(always)]
    fn holds_terms(&self) -> bool {
        let apart = self.gradient != 0 && self.gradient != self.logits;
        apart && self.class_stride == 1 && self.classes as usize > tile_length(self.double())
    }

    /// The memory for the terms of the logits: that of the gradient if a row has several tiles and can keep them there, else the scratch
    /// area.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn place_of_q<'a>(&self, scratch: &'a Scratch, row: usize, from: usize, to: usize) -> Numbers<'a> {
        let (first, span, _) = self.place(row);
        if self.holds_terms() {
            // SAFETY: the caller's obligation.
            return unsafe { self.results(self.gradient, first, span) }.part(from, to);
        }
        scratch.target_of(self.double()).part(0, to - from)
    }

    /// The logits of the classes `from` to `to`, and the memory for their terms. `fetch`: copy logits that cannot be read in place into
    /// the scratch area; otherwise they are there already.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "numbers, as the functions that call it")]
    unsafe fn tile_of<'a, V: Single>(
        &self,
        scratch: &'a Scratch,
        row: usize,
        of_targets: bool,
        centre: f64,
        from: usize,
        to: usize,
        fetch: bool,
    ) -> (Numbers<'a>, Numbers<'a>) {
        // SAFETY: the caller's obligation.
        let (line, q) = unsafe { (self.side(row, of_targets, to), self.place_of_q(scratch, row, from, to)) };
        let double = self.double();
        let tile = if of_targets { scratch.slope_of(double) } else { scratch.tile_of(double) }.part(0, to - from);
        let direct = line.is_direct();
        let mut x = if direct { line.numbers.part(from, to) } else { tile };
        if fetch && !direct {
            line.raw::<V>(from, to, tile);
        }
        if centre != 0.0 {
            if fetch && double {
                combine::<V::Double>(x.cells(), 1.0, -centre, tile.cells());
            } else if fetch {
                combine::<V>(x.cells(), 1.0, -centre, tile.cells());
            }
            x = tile;
        }
        (x, if of_targets { scratch.term_of(double).part(0, to - from) } else { q })
    }

    /// [`Rows::terms`]
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "numbers: a struct would live in stack memory")]
    unsafe fn make_terms<V: Single>(
        &self,
        scratch: &Scratch,
        row: usize,
        of_targets: bool,
        shift: f64,
        centre: f64,
        from: usize,
        to: usize,
    ) -> f64 {
        // SAFETY: the caller's obligation.
        let (x, terms) = unsafe { self.tile_of::<V>(scratch, row, of_targets, centre, from, to, true) };
        sum_terms::<V>(x, terms, shift, self.temperature, scratch)
    }

    /// [`Rows::sum`]
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "numbers: a struct would live in stack memory")]
    unsafe fn sum_divergence<V: Single>(
        &self,
        scratch: &Scratch,
        row: usize,
        centre_of_p: f64,
        centre_of_q: f64,
        power_of_p: f64,
        centre: f64,
        ratio: f64,
        scale: f64,
        from: usize,
        to: usize,
    ) {
        // SAFETY: the caller's obligation.
        let (of_p, of_q) = unsafe {
            (
                self.tile_of::<V>(scratch, row, true, centre_of_p, from, to, false),
                self.tile_of::<V>(scratch, row, false, centre_of_q, from, to, false),
            )
        };
        // SAFETY: as above.
        let logits =
            |place| unsafe { (self.logit_of(row, true, from + place), self.logit_of(row, false, from + place)) };
        let centres = (centre_of_p, centre_of_q, centre);
        sum::<V>(to - from, of_p, of_q, logits, centres, power_of_p, self.temperature, ratio, scale, scratch);
    }

    /// [`Rows::write`]
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn write_divergence<V: Single>(
        &self,
        scratch: &Scratch,
        row: usize,
        of_p: f64,
        of_q: f64,
        from: usize,
        to: usize,
    ) {
        let (first, span, stride) = self.place(row);
        // SAFETY: the caller's obligation.
        let (q, gradient) =
            unsafe { (self.place_of_q(scratch, row, from, to), self.results(self.gradient, first, span)) };
        let p = scratch.term_of(self.double()).part(0, to - from);
        write::<V>(p, q, of_p, of_q, if stride == 1 { gradient.part(from, to) } else { p });
        if stride != 1 {
            scatter(p, gradient.from(from * stride), stride);
        }
    }
}

/// One row of a job.
struct JobRow<'a, V> {
    job: &'a Job,
    scratch: &'a Scratch,
    row: usize,
    lanes: PhantomData<V>,
}

impl<V: Single> Rows for JobRow<'_, V> {
    #[inline(always)]
    fn double(&self) -> bool {
        self.job.double()
    }

    #[inline(always)]
    fn logit(&self, of_targets: bool, class: usize) -> f64 {
        // SAFETY: the obligation of the function that created this.
        unsafe { self.job.logit_of(self.row, of_targets, class) }
    }

    #[inline(always)]
    fn best(&self, of_targets: bool) -> i32 {
        // SAFETY: as above.
        unsafe { self.job.best_of::<V>(self.scratch, self.row, of_targets) }
    }

    #[inline(always)]
    fn terms(&self, of_targets: bool, side: Side, from: usize, to: usize) -> f64 {
        let Self { job, scratch, row, .. } = *self;
        // SAFETY: as above.
        unsafe { job.make_terms::<V>(scratch, row, of_targets, side.shift, side.centre, from, to) }
    }

    #[inline(always)]
    fn sum(&self, (p, q): (Side, Side), centre: f64, ratio: f64, scale: f64, from: usize, to: usize) {
        let Self { job, scratch, row, .. } = *self;
        // SAFETY: as above.
        unsafe { job.sum_divergence::<V>(scratch, row, p.centre, q.centre, p.power, centre, ratio, scale, from, to) }
    }

    #[inline(always)]
    fn write(&self, of_p: f64, of_q: f64, from: usize, to: usize) {
        // SAFETY: as above.
        unsafe { self.job.write_divergence::<V>(self.scratch, self.row, of_p, of_q, from, to) }
    }

    #[inline(always)]
    fn holds_terms(&self) -> bool {
        self.job.holds_terms()
    }

    #[inline(always)]
    fn fill(&self, value: f64) {
        let (first, span, stride) = self.job.place(self.row);
        // SAFETY: as above.
        fill(unsafe { self.job.results(self.job.gradient, first, span) }, stride, value);
    }

    #[inline(always)]
    fn log_ratio(&self, difference: f64, x: f64, y: f64) -> f64 {
        log_ratio::<V::Wide>(difference, x, y)
    }
}
