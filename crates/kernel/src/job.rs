//! The job record, which the owner of the memory writes and the kernel reads. This is also the one place that chooses how rows are
//! computed.
//!
//! Only this file and its folder turn addresses into references. Rows become slices one group at a time, because a slice may not be
//! longer than 2 GiB, but a batch may.

mod divergence;
mod groups;
mod reduce;
mod rows;
mod steps;

pub use steps::Step;

use crate::ends::Common;
use crate::exp::Range;
use crate::label::Label;
use crate::numbers::{Kind, Numbers};
use crate::partial::Merged;
use crate::row::{Gradient, Row};
use crate::scratch::Scratch;
use crate::softcap;
use crate::targets::Targets;
use crate::tile::Line;
use crate::vector::Single;
use core::cell::Cell;
use core::marker::PhantomData;

/// Values of [`Job::logits_type`].
pub mod logits_type {
    /// `f32`
    pub const F32: u32 = 0;
    /// `f64`; the gradient is, too
    pub const F64: u32 = 1;
    /// IEEE 754 binary16; the gradient is `f32`
    pub const F16: u32 = 2;
    /// The upper half of an `f32`; the gradient is `f32`
    pub const BF16: u32 = 3;
}

/// One job. Addresses are in the memory of the record; 0 means "none".
///
/// The logits of row i begin at `(i / inner) * row_stride + i % inner` and are `class_stride` apart, in elements. Gradient and soft
/// targets have the same layout.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Job {
    /// Of type [`Job::logits_type`].
    pub logits: usize,
    /// `i32[rows]`, or none if there are soft targets
    pub labels: usize,
    /// `f32`, or none if there are labels; with [`field@Job::divergence`] of type [`Job::logits_type`]
    pub targets: usize,
    /// Type of the logits, or `f32` for 16-bit logits; may be the address of the logits, or none
    pub gradient: usize,
    /// `f64[rows]`
    pub loss: usize,
    /// `f32[rows]`, or `f64[rows]` of `f64` logits
    pub log_sum_exp: usize,
    /// `i32[rows]` or none
    pub predictions: usize,
    /// `f32[classes]` or none
    pub class_weights: usize,
    /// `f32[rows]` or none
    pub sample_weights: usize,
    /// `f32[rows]`, the losses rounded, written by [`Job::reduce`]; or none
    pub rounded_loss: usize,
    /// Records of [`crate::partial`], one for each row, if the classes are a shard; or none. Such a job has no other results.
    pub records: usize,
    /// Classes of a row, at least 1.
    pub classes: u32,
    /// See [`logits_type`].
    pub logits_type: u32,
    /// See above.
    pub row_stride: u32,
    /// See above.
    pub class_stride: u32,
    /// See above; at least 1.
    pub inner: u32,
    /// 1: rows with the label `ignore_index` are ignored.
    pub ignore: u32,
    /// See `ignore`.
    pub ignore_index: i32,
    /// For a shard of the classes: the first of them.
    pub class_offset: u32,
    /// The number of all classes, which labels range over; `classes` unless they are a shard.
    pub classes_total: u32,
    /// 1: [`Job::records`] are [`Merged`], from which gradients are computed. 0: they are [`crate::partial::Partial`], and written.
    pub merged: u32,
    /// 1: targets are logits, too, and the loss is the divergence from their softmax (see [`crate::divergence`]). The only options are
    /// temperature and sample weights.
    pub divergence: u32,
    /// Factor of the gradient. If it is negative, the sign of a zero may depend on how the rows are divided.
    pub scale: f64,
    /// e, in 0..1.
    pub label_smoothing: f64,
    /// z
    pub z_loss: f64,
    /// c; 0: none
    pub softcap: f64,
    /// t; 1: none
    pub temperature: f64,
    /// Written by [`Job::reduce`]: sum of the losses.
    pub sum: f64,
    /// Written by [`Job::reduce`]: the number of rows that are not ignored and whose prediction is the label.
    pub correct: f64,
}

impl Job {
    /// Computes the rows from `begin` to `end`.
    ///
    /// # Safety
    ///
    /// - Every address of the record is valid until the return, for the size given with its field and all rows below `end`, and aligned
    ///   to the type. No row's logits span 2 GiB, and neither do those of rows side by side.
    /// - Regions do not overlap, except that `gradient` may equal `logits`.
    /// - `scratch` is the address of a [`Scratch`] that no other thread uses during the call.
    /// - No other thread writes outputs of these rows during the call. If one writes logits or labels, only the results of these rows
    ///   are wrong.
    #[inline(always)]
    pub unsafe fn run<V: Single>(&self, scratch: usize, begin: u32, end: u32) {
        if self.classes == 0 || self.inner == 0 {
            return;
        }
        // SAFETY: the caller's third obligation.
        let scratch = unsafe { &*core::ptr::with_exposed_provenance::<Scratch>(scratch) };
        self.begin::<V>(scratch);
        // SAFETY: the caller's other obligations.
        unsafe {
            if self.divergence != 0 {
                self.divergence::<V>(scratch, begin as usize, end as usize);
            } else {
                self.rows::<V>(scratch, begin as usize, end as usize);
            }
        }
    }

    /// Writes the constants of the run into the scratch area.
    #[inline(always)]
    fn begin<V: Single>(&self, scratch: &Scratch) {
        scratch.set_range(Range::of_type(self.double()).constants(self.double(), self.temperature));
        if self.softcap != 0.0 && !self.double() {
            softcap::begin::<V>(self.softcap, self.temperature, self.gradient != 0, scratch);
        }
    }

    /// Whether the job is computed in `f64`.
    #[inline(always)]
    fn double(&self) -> bool {
        self.logits_type == logits_type::F64
    }

    #[inline(always)]
    fn common(&self) -> Common {
        let weights = self.targets | self.class_weights | self.sample_weights;
        Common {
            double: self.double(),
            plain: weights == 0 && self.label_smoothing == 0.0 && self.z_loss == 0.0,
            dense: self.is_dense(),
            gradient: self.gradient != 0,
            scale: self.scale / self.temperature,
            z_loss: self.z_loss,
        }
    }

    #[inline(always)]
    fn is_dense(&self) -> bool {
        self.targets != 0 || self.label_smoothing > 0.0
    }

    /// The merged result of a row, if its gradient is to be computed from it.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn merged<'a>(&self, row: usize) -> Option<&'a Merged> {
        let address = core::ptr::with_exposed_provenance::<Merged>(self.records).wrapping_add(row);
        // SAFETY: the caller's obligation.
        (self.records != 0 && self.merged != 0).then(|| unsafe { &*address })
    }

    /// Sets up one row in the scratch area.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row. The caller no longer uses a row or group that was in the scratch area before.
    #[inline(never)]
    unsafe fn row<'a, V: Single>(&self, scratch: &'a Scratch, row: usize, place: usize) -> &'a Row<'a, V> {
        // SAFETY: the caller vouches for every region and every row, and nothing refers to the previous content of the room.
        unsafe {
            let (is_shard, merged) = (self.records != 0, self.merged(row));
            let (targets, common) = (self.targets(row), self.common());
            let scale = if is_shard { 1.0 } else { common.scale };
            let (first, span, stride) = self.place(row);
            scratch.room::<Row<V>>().write(Row {
                classes: self.classes as usize,
                line: Line { numbers: self.numbers(self.logits, first, span), stride, softcap: self.softcap },
                temperature: self.temperature,
                label: Label::None,
                sample: 1.0,
                targets,
                common: Common { scale, ..common },
                gradient: (self.gradient != 0 && (!is_shard || merged.is_some())).then(|| Gradient {
                    numbers: self.results(self.gradient, first, span),
                    stride,
                    holds_terms: self.gradient != self.logits && !is_shard,
                }),
                scratch,
                place,
                lanes: PhantomData,
            });
            self.next_row(scratch, row, place)
        }
    }

    /// Replaces the row that [`Job::row`] has left in the scratch area by another one, whose common fields stay as they are.
    ///
    /// # Safety
    ///
    /// As [`Job::row`].
    #[inline(never)]
    unsafe fn next_row<'a, V: Single>(&self, scratch: &'a Scratch, row: usize, place: usize) -> &'a Row<'a, V> {
        let (first, span, _) = self.place(row);
        let is_shard = self.records != 0;
        // SAFETY: as above.
        unsafe {
            let to = scratch.room::<Row<V>>();
            let sample = match self.sample_weights {
                // The gradient of a shard has the weight of its targets from the merged result.
                _ if is_shard => self.merged(row).map_or(1.0, Merged::target),
                0 => 1.0,
                address => f64::from(one::<f32>(address, row).get()),
            };
            let label = match self.labels {
                0 => Label::None,
                address => Label::of(one::<i32>(address, row).get(), self.classes_of_labels(), self.ignored()),
            };
            (*to).line.numbers = self.numbers(self.logits, first, span);
            (*to).label = match label {
                Label::Class(class) if is_shard => Label::Class(class.wrapping_sub(self.class_offset as usize)),
                // A row without weight is ignored. A shard leaves sample weights to merging.
                _ if sample == 0.0 && !is_shard => Label::Ignored,
                other => other,
            };
            (*to).sample = sample;
            (*to).place = place;
            if self.targets != 0 {
                (*to).targets.soft = cells(self.targets, first, span);
            }
            if let Some(gradient) = &mut (*to).gradient {
                gradient.numbers = self.results(self.gradient, first, span);
            }
            &*to
        }
    }

    /// The number of all classes, which labels range over and smoothing is spread over.
    #[inline(always)]
    fn classes_of_labels(&self) -> u32 {
        if self.records == 0 { self.classes } else { self.classes_total }
    }

    /// `count` numbers of the logits' type, from the one at `first` on, at `address`.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these logits.
    #[inline(always)]
    unsafe fn numbers<'a>(&self, address: usize, first: usize, count: usize) -> Numbers<'a> {
        let kind = match self.logits_type {
            logits_type::F16 => Kind::Half,
            logits_type::BF16 => Kind::Brain,
            logits_type::F64 => Kind::Double,
            _ => Kind::Single,
        };
        // SAFETY: the caller's obligation.
        unsafe { Numbers::at(address, first, count, kind) }
    }

    /// The same for numbers of the results' type.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for these results.
    #[inline(always)]
    unsafe fn results<'a>(&self, address: usize, first: usize, count: usize) -> Numbers<'a> {
        let kind = if self.double() { Kind::Double } else { Kind::Single };
        // SAFETY: the caller's obligation.
        unsafe { Numbers::at(address, first, count, kind) }
    }

    /// The targets of a row.
    ///
    /// # Safety
    ///
    /// As [`Job::run`], for this row.
    #[inline(always)]
    unsafe fn targets<'a>(&self, row: usize) -> Targets<'a> {
        let (first, span, stride) = self.place(row);
        // SAFETY: the caller's obligation.
        unsafe {
            Targets {
                class_weights: if self.class_weights == 0 {
                    &[]
                } else {
                    cells(self.class_weights, 0, self.classes as usize)
                },
                soft: if self.targets == 0 { &[] } else { cells(self.targets, first, span) },
                stride,
                smoothing: self.label_smoothing,
                spread: self.label_smoothing / f64::from(self.classes_of_labels()),
            }
        }
    }

    /// The first element of a row's logits, the number of elements that they span, and their stride.
    #[inline(always)]
    fn place(&self, row: usize) -> (usize, usize, usize) {
        let (inner, stride) = (self.inner as usize, self.class_stride as usize);
        let outer = if inner == 1 { row } else { row.checked_div(inner).unwrap_or(0) };
        let first = outer.wrapping_mul(self.row_stride as usize) + (row - outer * inner);
        (first, (self.classes as usize - 1) * stride + 1, stride)
    }

    #[inline(always)]
    fn ignored(&self) -> Option<i32> {
        (self.ignore != 0).then_some(self.ignore_index)
    }
}

/// One entry.
///
/// # Safety
///
/// As [`cells`].
#[inline(always)]
unsafe fn one<'a, T>(address: usize, index: usize) -> &'a Cell<T> {
    // SAFETY: the caller's obligation.
    unsafe { &*core::ptr::with_exposed_provenance::<Cell<T>>(address).wrapping_add(index) }
}

/// # Safety
///
/// `count` entries from `first` on, of the array at `address`, are valid for reads and writes and aligned, and other threads access them
/// only through cells.
#[inline(always)]
unsafe fn cells<'a, T>(address: usize, first: usize, count: usize) -> &'a [Cell<T>] {
    let start = core::ptr::with_exposed_provenance::<Cell<T>>(address).wrapping_add(first);
    // SAFETY: the caller's obligation; groups of rows are far smaller than 2 GiB.
    unsafe { core::slice::from_raw_parts(start, count) }
}
