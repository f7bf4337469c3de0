//! Rows of a divergence: see [`crate::divergence`].

use super::{Job, cells, logits_type, one};
use crate::divergence::{Rows, Run, Side, log_ratio, row, sum, sum_terms, write};
use crate::largest;
use crate::row::{fill, scatter};
use crate::scratch::{Scratch, tile_of};
use crate::targets::combine;
use crate::terms::Way;
use crate::tile::Line;
use crate::vector::{Element, Single, Vector, part};
use core::cell::Cell;
use core::marker::PhantomData;

impl Job {
    /// # Safety
    ///
    /// As [`Job::run`].
    #[inline(never)]
    pub(super) unsafe fn divergence<V: Single>(&self, scratch: &Scratch, begin: usize, end: usize) {
        if self.logits_type == logits_type::F64 {
            self.begin::<V::Double>(scratch);
        } else {
            self.begin::<V>(scratch);
        }
        let run = Run {
            classes: self.classes as usize,
            temperature: self.temperature,
            scale: (self.gradient != 0).then_some(self.scale),
        };
        for index in begin..end {
            let rows = JobRow::<V> { job: self, scratch, row: index, lanes: PhantomData };
            // SAFETY: the caller's obligations, for this row.
            unsafe {
                let best = if self.predictions == 0 { -1 } else { rows.best(false) };
                let sample = if self.sample_weights == 0 {
                    1.0
                } else {
                    f64::from(one::<f32>(self.sample_weights, index).get())
                };
                let (loss, log_sum_exp) = row::<V::Wide>(&rows, &run, sample, scratch);
                one(self.loss, index).set(loss);
                if self.logits_type == logits_type::F64 {
                    one(self.log_sum_exp, index).set(log_sum_exp);
                } else {
                    one(self.log_sum_exp, index).set(log_sum_exp as f32);
                }
                if self.predictions != 0 {
                    one(self.predictions, index).set(if log_sum_exp.is_nan() { -1 } else { best });
                }
            }
        }
    }

    /// The targets or the logits of a row.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn side<'a, V: Vector>(&self, row: usize, of_targets: bool) -> Line<'a, V::Element> {
        let (first, span, stride) = self.place(row);
        let address = if of_targets { self.targets } else { self.logits };
        // SAFETY: the caller's obligation.
        let line = unsafe { self.line_at::<V>(address, first, span, stride) };
        Line { softcap: 0.0, ..line }
    }

    /// # Safety
    ///
    /// As [`Job::side`].
    #[inline(never)]
    unsafe fn logit_of<V: Vector>(&self, row: usize, of_targets: bool, class: usize) -> f64 {
        // SAFETY: the caller's obligation.
        unsafe { self.side::<V>(row, of_targets) }.get(class)
    }

    /// The first class with the largest of them.
    ///
    /// # Safety
    ///
    /// As [`Job::side`].
    #[inline(never)]
    unsafe fn best_of<V: Vector>(&self, scratch: &Scratch, row: usize, of_targets: bool) -> i32 {
        // SAFETY: the caller's obligation.
        let line = unsafe { self.side::<V>(row, of_targets) };
        let (mut best, mut most) = (-1, f64::NAN);
        let (mut from, end) = (0, self.classes as usize);
        while from < end {
            let to = end.min(from + tile_of::<V::Element>());
            if let Ok(place) = usize::try_from(largest::argmax::<V>(line.raw::<V>(from, to, scratch.tile()))) {
                let x = line.get(from + place);
                if best < 0 || x > most {
                    (best, most) = ((from + place) as i32, x);
                }
            }
            from = to;
        }
        best
    }

    /// Whether the gradient has a place of its own in which terms of the logits may lie.
    #[inline(always)]
    fn keeps(&self) -> bool {
        self.gradient != 0 && self.gradient != self.logits && self.class_stride == 1
    }

    /// Where the terms of the logits go: into the gradient, if that is a place of their own.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn place_of_q<'a, V: Vector>(
        &self,
        scratch: &'a Scratch,
        row: usize,
        from: usize,
        to: usize,
    ) -> &'a [Cell<V::Element>] {
        let (first, span, _) = self.place(row);
        if self.keeps() {
            // SAFETY: the caller's obligation.
            return part(unsafe { cells(self.gradient, first, span) }, from, to);
        }
        part(scratch.target(), 0, to - from)
    }

    /// Classes `from` to `to`, and where terms of them go. `fetch`: logits that are not read where they lie are brought into the scratch
    /// area, and else they are there.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    #[expect(clippy::type_complexity, clippy::too_many_arguments, reason = "two slices, and numbers")]
    unsafe fn tile_of<'a, V: Vector>(
        &self,
        scratch: &'a Scratch,
        row: usize,
        of_targets: bool,
        centre: f64,
        from: usize,
        to: usize,
        fetch: bool,
    ) -> (&'a [Cell<V::Element>], &'a [Cell<V::Element>]) {
        // SAFETY: the caller's obligation.
        let (line, q) = unsafe { (self.side::<V>(row, of_targets), self.place_of_q::<V>(scratch, row, from, to)) };
        let tile = part(if of_targets { scratch.slope() } else { scratch.tile() }, 0, to - from);
        let direct = line.is_direct();
        let mut x = if direct { part(line.own, from, to) } else { tile };
        if fetch && !direct {
            line.raw::<V>(from, to, tile);
        }
        if centre != 0.0 {
            if fetch {
                combine::<V>(x, 1.0, -centre, tile);
            }
            x = tile;
        }
        (x, if of_targets { part(scratch.term(), 0, to - from) } else { q })
    }

    /// [`Rows::terms`]
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "numbers: a struct would live in stack memory")]
    unsafe fn make_terms<V: Vector>(
        &self,
        scratch: &Scratch,
        row: usize,
        of_targets: bool,
        way: Way,
        shift: f64,
        centre: f64,
        from: usize,
        to: usize,
    ) -> f64 {
        // SAFETY: the caller's obligation.
        let (x, terms) = unsafe { self.tile_of::<V>(scratch, row, of_targets, centre, from, to, true) };
        sum_terms::<V>(x, terms, way, shift, self.temperature, scratch)
    }

    /// [`Rows::sum`]
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "numbers: a struct would live in stack memory")]
    unsafe fn sum_divergence<V: Vector>(
        &self,
        scratch: &Scratch,
        row: usize,
        centre_of_p: f64,
        centre_of_q: f64,
        centre: f64,
        ratio: f64,
        from: usize,
        to: usize,
    ) {
        // SAFETY: the caller's obligation.
        let ((t, p), (x, q)) = unsafe {
            (
                self.tile_of::<V>(scratch, row, true, centre_of_p, from, to, false),
                self.tile_of::<V>(scratch, row, false, centre_of_q, from, to, false),
            )
        };
        sum::<V>(t, x, p, q, centre, 1.0 / self.temperature, ratio, scratch);
    }

    /// [`Rows::write`]
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn write_divergence<V: Vector>(
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
        let (q, gradient): (_, &[Cell<V::Element>]) =
            unsafe { (self.place_of_q::<V>(scratch, row, from, to), cells(self.gradient, first, span)) };
        let p = part(scratch.term(), 0, to - from);
        write::<V>(p, q, of_p, of_q, if stride == 1 { part(gradient, from, to) } else { p });
        if stride != 1 {
            scatter(p, gradient.get(from * stride..).unwrap_or(&[]), stride);
        }
    }

    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(never)]
    unsafe fn fill_gradient<V: Vector>(&self, row: usize, value: f64) {
        let (first, span, stride) = self.place(row);
        // SAFETY: the caller's obligation.
        fill(unsafe { cells(self.gradient, first, span) }, stride, V::Element::from_f64(value));
    }
}

/// One row of a job, by its type.
struct JobRow<'a, V> {
    job: &'a Job,
    scratch: &'a Scratch,
    row: usize,
    lanes: PhantomData<V>,
}

/// Calls a function of the job for the type of the logits.
macro_rules! typed {
    ($self:ident, $name:ident($($argument:expr),*)) => {
        // SAFETY: the obligation of the function that has made this.
        unsafe {
            if $self.double() {
                $self.job.$name::<V::Double>($($argument),*)
            } else {
                $self.job.$name::<V>($($argument),*)
            }
        }
    };
}

impl<V: Single> JobRow<'_, V> {
    #[inline(always)]
    fn best(&self, of_targets: bool) -> i32 {
        typed!(self, best_of(self.scratch, self.row, of_targets))
    }
}

impl<V: Single> Rows for JobRow<'_, V> {
    #[inline(always)]
    fn double(&self) -> bool {
        self.job.logits_type == logits_type::F64
    }

    #[inline(always)]
    fn logit(&self, of_targets: bool, class: usize) -> f64 {
        typed!(self, logit_of(self.row, of_targets, class))
    }

    #[inline(always)]
    fn largest(&self, of_targets: bool) -> f64 {
        usize::try_from(self.best(of_targets)).map_or(f64::NAN, |best| self.logit(of_targets, best))
    }

    #[inline(always)]
    fn terms(&self, of_targets: bool, side: Side, from: usize, to: usize) -> f64 {
        let Self { scratch, row, .. } = *self;
        typed!(self, make_terms(scratch, row, of_targets, side.way, side.shift, side.centre, from, to))
    }

    #[inline(always)]
    fn sum(&self, (p, q): (Side, Side), centre: f64, ratio: f64, from: usize, to: usize) {
        typed!(self, sum_divergence(self.scratch, self.row, p.centre, q.centre, centre, ratio, from, to));
    }

    #[inline(always)]
    fn write(&self, of_p: f64, of_q: f64, from: usize, to: usize) {
        typed!(self, write_divergence(self.scratch, self.row, of_p, of_q, from, to));
    }

    #[inline(always)]
    fn keeps(&self) -> bool {
        self.job.keeps()
    }

    #[inline(always)]
    fn fill(&self, value: f64) {
        typed!(self, fill_gradient(self.row, value));
    }

    #[inline(always)]
    fn log_ratio(&self, difference: f64, x: f64, y: f64) -> f64 {
        if self.double() { log_ratio::<V::Double>(difference, x, y) } else { log_ratio::<V>(difference, x, y) }
    }
}
