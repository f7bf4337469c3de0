//! The steps of a row whose classes several threads compute.

use super::{Job, one};
use crate::partial::{Header, Segment, Split};
use crate::row::SEGMENT;
use crate::scratch::Scratch;
use crate::short;
use crate::vector::Single;

impl Job {
    /// Whether the classes of a row may be divided among threads.
    #[inline(always)]
    fn splits(&self) -> bool {
        let whole = self.records == 0 && self.divergence == 0;
        whole && self.class_stride == 1 && self.classes as usize > short::max_classes(self.double())
    }

    /// A row for several threads. `record` is the address of its [`Header`]; the records of its segments follow.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn split<'a, V: Single>(&self, scratch: &'a Scratch, record: usize, row: usize) -> Split<'a, V> {
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

    /// A step of a row whose classes several threads compute: with soft targets, the largest logit of a segment; when all are found, the
    /// sum of a segment; the end, when all are summed, which returns 1 if the segments can be written or 0 if the row must be computed as a
    /// whole; then the gradient of a segment.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row; but different threads may take the steps of the row, each of which writes the outputs of its segment
    /// or of the row. `record` is the address of a [`Header`], followed by a [`Segment`] for every [`SEGMENT`] classes.
    #[inline(never)]
    pub unsafe fn step<V: Single>(&self, step: Step, segment: usize, scratch: usize, record: usize, row: u32) -> u32 {
        if !self.splits() {
            return 0;
        }
        // SAFETY: the caller's obligations.
        unsafe {
            let scratch = &*core::ptr::with_exposed_provenance::<Scratch>(scratch);
            self.begin::<V>(scratch);
            let row = row as usize;
            let split = self.split::<V>(scratch, record, row);
            match step {
                Step::Find => split.find(segment),
                Step::Sum => {
                    if self.predictions != 0 && self.targets == 0 {
                        split.find(segment);
                    }
                    split.sum(segment);
                }
                Step::Write => split.write(segment),
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
}

/// A step of a row whose classes are divided among threads.
#[derive(Clone, Copy)]
pub enum Step {
    /// The largest logit of a segment, which is the reference of soft targets.
    Find,
    /// The sum of a segment.
    Sum,
    /// Loss and factors.
    Finish,
    /// The gradient of a segment.
    Write,
}
