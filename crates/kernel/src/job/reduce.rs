//! The results of a whole job, once all rows have run.

use super::{Job, cells, one};
use crate::label::Label;
use crate::vector::{Single, Twice, Wide};
use core::cell::Cell;

impl Job {
    /// Adds up the losses that all calls of [`Job::run`] have written, always in the same order, and rounds them.
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

/// Adds and rounds losses. Four independent sums hide the latency of each.
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
