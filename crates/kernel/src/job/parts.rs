//! The parts of a row that several places call.

use super::Job;
use crate::row::Parts;
use crate::scratch::Scratch;
use crate::terms::Way;
use crate::vector::Vector;
use core::marker::PhantomData;

/// The parts of one row of a job.
pub(super) struct RowParts<'a, V> {
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
    pub(super) unsafe fn new(job: &'a Job, scratch: &'a Scratch, row: usize, place: usize) -> Self {
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

impl Job {
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
}
