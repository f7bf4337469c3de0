//! A few consecutive rows: what each label means, and which of the routines computes them.

use crate::label::Label;
use crate::largest;
use crate::narrow;
use crate::row::{Keep, Logits};
use crate::scratch::{CHUNK, MAX_ROWS, Scratch};
use crate::terms::{Kept, terms};
use crate::vector::Vector;
use core::cell::Cell;

/// Where the gradient goes.
#[derive(Clone, Copy)]
pub enum Gradient<'a> {
    /// Loss only.
    None,
    /// Into other memory than the logits'.
    Apart(&'a [Cell<f32>]),
    /// Over the logits.
    InPlace,
}

/// Consecutive rows. Slices have one entry a row, or `classes` entries a row, row after row.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Entries of a row; at least 1.
    pub classes: usize,
    /// The logits.
    pub logits: &'a [Cell<f32>],
    /// The labels. One outside of `0..classes` that is not ignored makes its row NaN.
    pub labels: &'a [Cell<i32>],
    /// Rows with this label have loss and gradient 0, whatever their logits are.
    pub ignore_index: Option<i32>,
    /// Factor of the gradient.
    pub scale: f64,
    /// Output, or none.
    pub gradient: Gradient<'a>,
    /// Output.
    pub loss: &'a [Cell<f32>],
    /// Output.
    pub log_sum_exp: &'a [Cell<f32>],
    /// Output, or none: the first class with the largest logit, -1 where the log-sum-exp is NaN.
    pub predictions: Option<&'a [Cell<i32>]>,
}

/// The entries of one row.
#[inline(always)]
fn row_of<T>(all: &[T], row: usize, entries: usize) -> &[T] {
    all.get(row * entries..).and_then(|rest| rest.get(..entries)).unwrap_or(&[])
}

impl<'a> Rows<'a> {
    /// How many rows are computed together.
    #[inline(always)]
    pub fn group(classes: usize) -> usize {
        if classes <= narrow::MAX_CLASSES { (CHUNK / classes).min(MAX_ROWS) } else { 1 }
    }

    /// Computes all rows, at most [`Rows::group`] of them.
    #[inline(always)]
    pub fn run<V: Vector>(&self, scratch: &Scratch) {
        if let Some(predictions) = self.predictions {
            // Before an in-place gradient replaces the logits.
            for (row, prediction) in predictions.iter().enumerate() {
                prediction.set(largest::argmax::<V>(row_of(self.logits, row, self.classes)));
            }
        }
        let together = self.classes <= narrow::MAX_CLASSES;
        if together {
            let Rows { logits: x, classes, labels, ignore_index, loss, log_sum_exp, .. } = *self;
            let all = match self.gradient {
                Gradient::None => None,
                Gradient::Apart(g) => Some(g),
                Gradient::InPlace => Some(x),
            };
            let scale = all.map(|_| self.scale);
            let group = narrow::Group { x, classes, labels, ignore_index, scale, loss, log_sum_exp };
            let complete = group.run::<V>(scratch);
            if let Some(g) = all {
                group.gradients::<V>(g, scratch, complete);
            }
            if complete {
                return;
            }
        }
        for (row, (label, (loss, log_sum_exp))) in
            self.labels.iter().zip(self.loss.iter().zip(self.log_sum_exp)).enumerate()
        {
            if together && !scratch.is_alone(row) {
                continue;
            }
            let x = row_of(self.logits, row, self.classes);
            let gradient = match self.gradient {
                Gradient::None => None,
                Gradient::Apart(g) => Some(row_of(g, row, self.classes)),
                Gradient::InPlace => Some(x),
            };
            let label = self.meaning(label.get());
            // An ignored row has a log-sum-exp all the same: any class serves as its label.
            let (class, keep) = match (&label, self.gradient, gradient) {
                (Label::Class(class), Gradient::Apart(_), Some(g)) => (*class, Keep::Apart(g)),
                (Label::Class(class), Gradient::InPlace, _) => (*class, Keep::InPlace),
                (Label::Class(class), ..) => (*class, Keep::Nothing),
                (Label::Ignored, ..) => (0, Keep::Nothing),
                (Label::Invalid | Label::None, ..) => (usize::MAX, Keep::Nothing),
            };
            let found = terms::<V>(Logits::plain(x), class, keep, scratch);
            log_sum_exp.set(found.log_sum_exp as f32);
            if let Some(prediction) = self.predictions.and_then(|all| all.get(row))
                && found.log_sum_exp.is_nan()
            {
                prediction.set(-1);
            }
            match label {
                Label::Ignored => {
                    loss.set(0.0);
                    fill(gradient, 0.0);
                }
                _ if found.factor.is_nan() => {
                    loss.set(f32::NAN);
                    fill(gradient, f32::NAN);
                }
                _ => {
                    loss.set(found.loss as f32);
                    if let Some(g) = gradient {
                        Kept::of(self.classes, g, scratch).multiply::<V>(g, self.scale * found.factor);
                        if let Some(own) = g.get(class) {
                            own.set((-self.scale * found.others) as f32);
                        }
                    }
                }
            }
        }
    }

    /// What one of the labels means.
    #[inline(always)]
    pub fn meaning(&self, label: i32) -> Label {
        Label::of(label, self.classes as u32, self.ignore_index)
    }
}

#[inline(always)]
fn fill(gradient: Option<&[Cell<f32>]>, value: f32) {
    for g in gradient.unwrap_or(&[]) {
        g.set(value);
    }
}
