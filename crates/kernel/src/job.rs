//! The job record: what the owner of the memory writes into it, and what a call of the kernel reads from it.
//!
//! This is the only place where addresses become references. Rows become slices one group at a time: a slice may not
//! be longer than 2 GiB, a batch may.

use crate::narrow::Scratch;
use crate::row::Hint;
use crate::rows::{Gradient, Rows};
use crate::vector::Vector;
use core::cell::Cell;

/// One job. Addresses are those of the memory that the record lies in; 0 stands for "none".
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Job {
    /// `f32[rows, classes]`
    pub logits: usize,
    /// `i32[rows]`
    pub labels: usize,
    /// `f32[rows, classes]`, none, or the address of the logits
    pub gradient: usize,
    /// `f32[rows]`
    pub loss: usize,
    /// `f32[rows]`
    pub log_sum_exp: usize,
    /// `i32[rows]` or none
    pub predictions: usize,
    /// Entries of a row, at least 1.
    pub classes: u32,
    /// 1: rows with the label `ignore_index` are ignored.
    pub ignore: u32,
    /// See `ignore`.
    pub ignore_index: i32,
    /// Keeps what follows aligned.
    pub reserved: u32,
    /// Factor of the gradient.
    pub scale: f64,
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
    ///   4 bytes, for all rows below `end`.
    /// - Regions do not overlap, except that `gradient` may equal `logits`.
    /// - `scratch` is the address of a [`Scratch`] that nobody else uses meanwhile.
    /// - Outputs of these rows are written by nobody else meanwhile. Logits and labels that are give wrong results for
    ///   their rows, no more.
    #[inline(always)]
    pub unsafe fn run<V: Vector>(&self, scratch: usize, begin: u32, end: u32) {
        let classes = self.classes as usize;
        if classes == 0 {
            return;
        }
        // SAFETY: the caller's third obligation.
        let scratch = unsafe { &*core::ptr::with_exposed_provenance::<Scratch>(scratch) };
        let mut hint = Hint::Direct;
        let group = Rows::group(classes);
        let (mut row, end) = (begin as usize, end as usize);
        while row < end {
            let count = group.min(end - row);
            // SAFETY: the caller's first two obligations: these rows are part of the regions.
            let rows = unsafe { self.rows(row, count) };
            rows.run::<V>(scratch, &mut hint);
            row += count;
        }
    }

    /// # Safety
    ///
    /// As [`Job::run`], for these rows.
    #[inline(always)]
    unsafe fn rows<'a>(&self, row: usize, count: usize) -> Rows<'a> {
        let classes = self.classes as usize;
        let (first, elements) = (row.wrapping_mul(classes), count * classes);
        // SAFETY: the caller vouches for every region and every row.
        unsafe {
            Rows {
                classes,
                logits: cells(self.logits, first, elements),
                labels: cells(self.labels, row, count),
                ignore_index: (self.ignore != 0).then_some(self.ignore_index),
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

    /// Adds up what all calls of [`Job::run`] have written: always in the same order, whoever has run which rows.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for all rows below `end`, and nobody else reads or writes this record.
    #[inline(always)]
    pub unsafe fn reduce(&mut self, begin: u32, end: u32) {
        // Four sums side by side do not wait for one another.
        let (mut a, mut b, mut c, mut d) = (0.0, 0.0, 0.0, 0.0);
        let mut correct = 0u32;
        for row in begin..end {
            // SAFETY: the caller vouches for every region and every row.
            let rows = unsafe { self.rows(row as usize, 1) };
            (a, b, c, d) = (b, c, d, a + f64::from(rows.loss[0].get()));
            if let Some(predictions) = rows.predictions {
                let label = rows.labels[0].get();
                correct += u32::from(predictions[0].get() == label && Some(label) != rows.ignore_index);
            }
        }
        self.sum = (a + b) + (c + d);
        self.correct = f64::from(correct);
    }
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
