//! One row of a plain job whose classes several threads compute, in segments.
//!
//! ```text
//! sum     every segment, in any order, by any thread     -> the sum of its terms, in the row's record
//! finish  once, after all of these                       -> loss, log-sum-exp, prediction, factor of the gradient
//! scale   every segment, after that                      -> gradient
//! ```
//!
//! Who waits for whom is the callers' business (packages/xent/src/pool/work.ts). The results have the bits of [`crate::row`], which
//! adds up the same segments in the same order.

use crate::exp::{Hint, in_range};
use crate::label::Label;
use crate::largest;
use crate::row::{self, SEGMENT};
use crate::rows::{Gradient, Rows};
use crate::terms::Kept;
use crate::vector::Vector;
use core::cell::Cell;

/// What the threads leave to one another about a row. The records of its segments follow.
#[repr(C)]
pub struct Header {
    /// From terms to the gradient.
    factor: Cell<f64>,
    /// Gradient at the label.
    own_gradient: Cell<f32>,
    /// The label's logit, which a gradient in place replaces.
    anchor: Cell<f32>,
}

/// What is known of a segment.
#[repr(C)]
pub struct Segment {
    /// Of the terms but the label's; NaN where there is none.
    sum: Cell<f64>,
    /// Class with the largest logit, from the start of the segment; -1 where there is none.
    largest: Cell<i32>,
    /// 1: [`Hint::Clamped`]
    hint: Cell<u32>,
}

/// Bytes of a [`Header`].
pub const HEADER_BYTES: usize = 16;
const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

/// Bytes of a [`Segment`].
pub const SEGMENT_BYTES: usize = 16;
const _: () = assert!(size_of::<Segment>() == SEGMENT_BYTES);

/// One row in the hands of several threads.
pub struct Split<'a> {
    /// Shared by the threads.
    pub header: &'a Header,
    /// Of each segment.
    pub segments: &'a [Segment],
    /// The row: logits of one, label of one, and so on.
    pub row: Rows<'a>,
}

#[inline(always)]
fn part(all: &[Cell<f32>], segment: usize) -> &[Cell<f32>] {
    let begin = segment * SEGMENT;
    all.get(begin..(begin + SEGMENT).min(all.len())).unwrap_or(&[])
}

impl Split<'_> {
    /// The label, if it is a class.
    #[inline(always)]
    fn label(&self) -> Option<usize> {
        match self.row.meaning(self.row.labels.first()?.get()) {
            Label::Class(class) => Some(class),
            _ => None,
        }
    }

    /// The label's logit, before a gradient in place replaces it; NaN where there is none.
    #[inline(always)]
    fn anchor(&self) -> f32 {
        self.label().and_then(|label| self.row.logits.get(label)).map_or(f32::NAN, Cell::get)
    }

    /// Sums one segment. The terms are left in a gradient that is not in place.
    #[inline(always)]
    pub fn sum<V: Vector>(&self, index: usize) {
        let Some(segment) = self.segments.get(index) else { return };
        let x = part(self.row.logits, index);
        if self.row.predictions.is_some() {
            segment.largest.set(largest::argmax::<V>(x));
        }
        let Some(label) = self.label() else { return segment.sum.set(f64::NAN) };
        let e = match self.row.gradient {
            Gradient::Apart(e) => Some(part(e, index)),
            _ => None,
        };
        let label = label.wrapping_sub(index * SEGMENT);
        let (sum, hint) = row::near_segment::<V>(x, label, self.anchor(), e, Hint::Direct);
        segment.sum.set(sum);
        segment.hint.set(u32::from(hint == Hint::Clamped));
    }

    /// What follows from all sums. False, and nothing is written, where the row is not for segments: it leaves the window of
    /// [`crate::row`], or its label is no class. It is to be computed as a whole then.
    #[inline(always)]
    pub fn finish<V: Vector>(&self) -> bool {
        let mut others = 0.0;
        for segment in self.segments {
            others += segment.sum.get();
        }
        let (others, anchor) = (in_range(others), self.anchor());
        if others.is_nan() {
            return false;
        }
        let found = row::finish::<V>(others, anchor);
        let scale = self.row.scale;
        self.header.anchor.set(anchor);
        self.header.factor.set(scale * found.factor);
        self.header.own_gradient.set((-scale * found.others) as f32);
        for (loss, log_sum_exp) in self.row.loss.iter().zip(self.row.log_sum_exp) {
            loss.set(found.loss as f32);
            log_sum_exp.set(found.log_sum_exp as f32);
        }
        for prediction in self.row.predictions.unwrap_or(&[]) {
            prediction.set(self.prediction());
        }
        true
    }

    #[inline(always)]
    fn prediction(&self) -> i32 {
        let (mut best, mut most) = (-1, f32::NAN);
        for (index, segment) in self.segments.iter().enumerate() {
            let Ok(place) = usize::try_from(segment.largest.get()) else { continue };
            let class = index * SEGMENT + place;
            let logit = self.row.logits.get(class).map_or(f32::NAN, Cell::get);
            if best < 0 || logit > most {
                (best, most) = (class as i32, logit);
            }
        }
        best
    }

    /// The gradient of one segment of a row that was found.
    #[inline(always)]
    pub fn scale<V: Vector>(&self, index: usize) {
        let (Some(segment), Some(label)) = (self.segments.get(index), self.label()) else { return };
        let label = label.wrapping_sub(index * SEGMENT);
        let g = match self.row.gradient {
            Gradient::None => return,
            Gradient::Apart(g) => part(g, index),
            Gradient::InPlace => {
                let x = part(self.row.logits, index);
                let hint = if segment.hint.get() == 1 { Hint::Clamped } else { Hint::Direct };
                row::near_segment::<V>(x, label, self.header.anchor.get(), Some(x), hint);
                x
            }
        };
        Kept::Rounded(g).multiply::<V>(g, self.header.factor.get());
        if let Some(own) = g.get(label) {
            own.set(self.header.own_gradient.get());
        }
    }
}
