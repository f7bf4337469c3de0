//! The loop over classes in which each lane is a row: [`crate::terms`] with a shift, a sum and a trace for each lane.

use crate::exp::{Polynomial, Reduction};
use crate::scratch::Scratch;
use crate::terms::{ASK, Choice, Loop, ROUND, SUM, sinks};
use crate::vector::{Single, Twice, Wide};
use core::array::from_fn;
use core::cell::Cell;

/// Computes the terms of `count` classes of `width` rows, a multiple of four: like [`crate::terms::terms`], with a shift, a sum and a
/// trace for each lane.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
pub(super) fn lanes<V: Single>(
    which: Loop,
    x: &[Cell<f32>],
    low: &[Cell<f32>],
    stride: usize,
    out: &[Cell<f32>],
    out_stride: usize,
    class: usize,
    count: usize,
    width: usize,
    scratch: &Scratch,
) {
    struct Each<'a> {
        x: &'a [Cell<f32>],
        low: &'a [Cell<f32>],
        stride: usize,
        out: &'a [Cell<f32>],
        out_stride: usize,
        class: usize,
        count: usize,
        width: usize,
        scratch: &'a Scratch,
    }
    impl<V: Single> Choice<V> for Each<'_> {
        #[inline(always)]
        fn call<R: Reduction<V>, const SINK: u32>(self, which: Loop) {
            let Self { x, low, stride, out, out_stride, class, count, width, scratch } = self;
            each_lane::<V, R, SINK>(which, x, low, stride, out, out_stride, class, count, width, scratch);
        }
    }
    which.choose::<V>(Each { x, low, stride, out, out_stride, class, count, width, scratch });
}

#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn each_lane<V: Single, R: Reduction<V>, const SINK: u32>(
    which: Loop,
    x: &[Cell<f32>],
    low: &[Cell<f32>],
    stride: usize,
    out: &[Cell<f32>],
    out_stride: usize,
    class: usize,
    count: usize,
    width: usize,
    scratch: &Scratch,
) {
    let (sum, keep) = sinks::<SINK>(which);
    let (reduction, polynomial) = (R::load(scratch), Polynomial::<V>::load());
    let (shifts, _) = V::chunks(&scratch.shifts);
    let (traces, _) = V::chunks(&scratch.traces);
    let (sums, _) = scratch.off_label.as_chunks::<4>();
    let (labels, _) = scratch.labels.as_chunks::<4>();
    let zero = V::splat(0.0);
    let all = shifts.iter().zip(traces).zip(sums.iter().zip(labels)).take(width / V::LANES);
    let mut first = 0;
    for ((shift, trace), (sum_of, labels)) in all {
        let here = reduction.shifted(V::load(shift));
        let (mut t, mut total) = (V::load(trace), Twice::<V::Wide>::load(sum_of));
        let hit = sum && V::any_label(labels, class as i32, count as i32);
        macro_rules! classes {
            ($skip:expr) => {
                let (mut from, mut to, mut k) = (first, first, 0);
                macro_rules! some_classes {
                    ($some:expr) => {
                        let Some(x) = vectors_at::<$some>(x, from, stride) else { break };
                        let low = if R::LOW { vectors_at::<$some>(low, from, stride) } else { Some(x) };
                        let Some(low) = low else { break };
                        let terms: [V; $some] = from_fn(|i| {
                            let second = if R::LOW { V::load(low[i]) } else { zero };
                            let (term, trace) = here.term(&polynomial, V::load(x[i]), second);
                            t = t.or(trace);
                            term
                        });
                        if keep {
                            let Some(out) = vectors_at::<$some>(out, to, out_stride) else { break };
                            terms.iter().zip(out).for_each(|(term, out)| term.store(out));
                        }
                        if sum {
                            for (i, &term) in terms.iter().enumerate() {
                                let term =
                                    if $skip { term.without_label(labels, (class + k + i) as i32) } else { term };
                                total = total.add(term.widen());
                            }
                        }
                        from += $some * stride;
                        to += $some * out_stride;
                        k += $some;
                    };
                }
                // Loops that write are bound by the distance between classes.
                while SINK == SUM && k + ROUND <= count {
                    some_classes!(ROUND);
                }
                while k < count {
                    some_classes!(1);
                }
            };
        }
        // Two loops, so that the rare case costs the common one nothing.
        if SINK == ASK || hit {
            classes!(hit);
        } else {
            classes!(false);
        }
        t.store(trace);
        if sum {
            total.store(sum_of);
        }
        first += V::LANES;
    }
}

/// `N` vectors, the first at a place and each a stride after the one before.
#[inline(always)]
fn vectors_at<const N: usize>(all: &[Cell<f32>], from: usize, stride: usize) -> Option<[&[Cell<f32>; 4]; N]> {
    let four = |place: usize| all.get(place..place + 4)?.first_chunk();
    let mut vectors = [four(from)?; N];
    for (i, vector) in vectors.iter_mut().enumerate() {
        *vector = four(from + i * stride)?;
    }
    Some(vectors)
}
