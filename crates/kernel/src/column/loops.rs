//! The loops over rows side by side, a lane a row.

use crate::exp::{Direct, Polynomial, Range, Reduction};
use crate::scratch::{ROWS, Scratch, rows_of};
use crate::terms::{Choice, Loop, sinks};
use crate::vector::{Element, FACTORS, Single, Twice, Wide, part};
use core::cell::Cell;

/// The shift of each row, and its power in the scratch area; a row that may have none leaves a trace.
#[inline(never)]
pub(super) fn shifts(rows: usize, temperature: f64, scratch: &Scratch) {
    let range = Range::of::<f32>();
    let (shifts, unfit) = (&scratch.shifts, &scratch.unfit);
    for row in 0..rows.next_multiple_of(4) {
        let logit = scratch.anchor[row % ROWS].get() / temperature;
        let near = logit.abs() <= range.max_shift;
        let power = if near { Range::power_near(logit) } else { 0.0 };
        scratch.logit[row % ROWS].set(logit);
        scratch.power[row % ROWS].set(power);
        unfit[row % ROWS].set(u32::from(!near));
        if let Some(shift) = shifts.get(row) {
            shift.set(range.shift(power) as f32);
        }
    }
}

/// Begins all sums.
#[inline(never)]
pub(super) fn begin(rows: usize, scratch: &Scratch) {
    let zeros = scratch.off_label.iter().zip(scratch.off_weight.iter().zip(&scratch.margin));
    for (sum, (weight, margin)) in zeros.take(rows.next_multiple_of(4)) {
        sum.set(0.0);
        weight.set(0.0);
        margin.set(0.0);
    }
    for trace in scratch.traces.iter().take(rows.next_multiple_of(4)) {
        trace.set(0.0);
    }
}

/// The terms of `count` classes: as [`crate::terms::terms`], with a shift, a sum and a trace for each lane.
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
    rows: usize,
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
        rows: usize,
        scratch: &'a Scratch,
    }
    impl<V: Single> Choice<V> for Each<'_> {
        #[inline(always)]
        fn call<R: Reduction<V>, const SINK: u32>(self, which: Loop) {
            let Self { x, low, stride, out, out_stride, class, count, rows, scratch } = self;
            each_lane::<V, R, SINK>(which, x, low, stride, out, out_stride, class, count, rows, scratch);
        }
    }
    which.choose::<V>(Each { x, low, stride, out, out_stride, class, count, rows, scratch });
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
    rows: usize,
    scratch: &Scratch,
) {
    let (sum, keep) = sinks::<SINK>(which);
    let (reduction, polynomial) = (R::load(scratch), Polynomial::<V>::load());
    let (shifts, _) = V::chunks(&scratch.shifts);
    let (traces, _) = V::chunks(&scratch.traces);
    let (sums, _) = scratch.off_label.as_chunks::<4>();
    let zero = V::splat(0.0);
    let mut first = 0;
    for ((shift, trace), sum_of) in shifts.iter().zip(traces).zip(sums) {
        if first >= rows {
            break;
        }
        let here = reduction.shifted(V::load(shift));
        let (mut t, mut total) = (V::load(trace), Twice::<V::Wide>::load(sum_of));
        let labels = scratch.labels.get(first..first + V::LANES).unwrap_or(&[]);
        let lanes = V::LANES.min(rows - first);
        let hit = sum && V::any_label(labels, class as i32, count as i32);
        let (mut from, mut to) = (first, first);
        for k in 0..count {
            let (value, second) = (read::<V>(x, from, lanes), if R::LOW { read::<V>(low, from, lanes) } else { zero });
            let (mut term, trace) = here.term(&polynomial, value, second);
            t = t.or(trace);
            if keep {
                write::<V>(term, out, to, lanes);
            }
            if sum {
                if hit {
                    term = term.without_label(labels, (class + k) as i32);
                }
                total = total.add(term.widen());
            }
            from += stride;
            to += out_stride;
        }
        t.store(trace);
        if sum {
            total.store(sum_of);
        }
        first += V::LANES;
    }
}

/// The lanes of a vector, as many as there are rows; of the others, the first again.
#[inline(always)]
fn read<V: Single>(all: &[Cell<f32>], from: usize, lanes: usize) -> V {
    if lanes == V::LANES
        && let Some(chunk) = V::chunks(part(all, from, from + V::LANES)).0.first()
    {
        return V::load(chunk);
    }
    let some = part(all, from, from + lanes);
    V::load_partial(some, some.first().map_or(0.0, Cell::get))
}

#[inline(always)]
fn write<V: Single>(x: V, all: &[Cell<f32>], from: usize, lanes: usize) {
    if lanes == V::LANES
        && let Some(chunk) = V::chunks(part(all, from, from + V::LANES)).0.first()
    {
        return x.store(chunk);
    }
    x.store_partial(part(all, from, from + lanes));
}

/// Whether the terms of all rows are right.
#[inline(never)]
pub(super) fn all_accepted<V: Single>(rows: usize, clamped: bool, scratch: &Scratch) -> bool {
    (0..rows).all(|row| accepted::<V>(row, clamped, scratch))
}

#[inline(always)]
fn accepted<V: Single>(row: usize, clamped: bool, scratch: &Scratch) -> bool {
    let trace = scratch.traces.get(row).map_or(0, |t| t.get().bits());
    let fits = if clamped { trace == 0 } else { Direct::<V, false, false>::accepts(trace) };
    fits && scratch.unfit[row % ROWS].get() == 0
}

/// Makes the sums of rows NaN where their terms are not right.
#[inline(never)]
pub(super) fn check_sums<V: Single>(rows: usize, clamped: bool, scratch: &Scratch) {
    let range = Range::of::<f32>();
    for (row, off_label) in scratch.off_label.iter().enumerate().take(rows) {
        off_label.set(if accepted::<V>(row, clamped, scratch) { range.checked(off_label.get()) } else { f64::NAN });
    }
}

/// Adds a class to the margins and weights of all rows whose label it is not.
#[inline(never)]
pub(super) fn margins_of<V: Single>(
    high: &[Cell<f32>],
    low: &[Cell<f32>],
    entries: &[Cell<f32>],
    weight: f64,
    class: usize,
    scratch: &Scratch,
) {
    let zero = V::splat(0.0);
    let weight = V::splat(weight as f32);
    let slots = scratch.off_weight.as_chunks::<4>().0.iter().zip(scratch.margin.as_chunks::<4>().0);
    let mut first = 0;
    for (weights, margins) in slots {
        if first >= high.len() {
            break;
        }
        let lanes = V::LANES.min(high.len() - first);
        let read = |all: &[Cell<f32>]| read::<V>(all, first, lanes);
        let labels = scratch.labels.get(first..first + V::LANES).unwrap_or(&[]);
        let q = if entries.is_empty() { weight } else { read(entries) };
        let q = q.without_label(labels, class as i32);
        let x = read(high).and(q.differs(zero));
        let mut distance = rows_of::<V>(&scratch.anchor, first).sub(x.widen());
        if !low.is_empty() {
            distance = distance.sub(read(low).widen());
        }
        let q = q.widen();
        Twice::load(weights).add(q).store(weights);
        Twice::load(margins).add(distance.mul(q)).store(margins);
        first += V::LANES;
    }
}

/// Factors in two parts, and the rows' weights, as `f32`. A row whose factor has no two parts is not accepted.
#[inline(never)]
pub(super) fn split_factors(rows: usize, scratch: &Scratch) -> bool {
    let [high, low] = &scratch.factors;
    let mut all = true;
    for row in 0..rows.next_multiple_of(4) {
        let factor = scratch.factor[row % ROWS].get();
        if row < rows {
            let fits = factor == 0.0 || FACTORS.contains(&factor.abs());
            if !fits {
                scratch.loss[row % ROWS].set(f64::NAN);
            }
            all &= !scratch.loss[row % ROWS].get().is_nan();
        }
        let factor = f64::from_bits(factor.to_bits() & !0xff_ffff);
        let rounded = factor as f32;
        if let (Some(high), Some(low)) = (high.get(row), low.get(row)) {
            high.set(rounded);
            low.set((factor - f64::from(rounded)) as f32);
        }
    }
    all
}

/// The gradient of one class. `masked`: rows that are not accepted keep what is there.
#[inline(never)]
pub(super) fn write_of<V: Single>(
    terms: &[Cell<f32>],
    entries: &[Cell<f32>],
    slope: &[Cell<f32>],
    to: &[Cell<f32>],
    weight: f64,
    masked: bool,
    scratch: &Scratch,
) {
    let [high, low] = scratch.factors.each_ref().map(|part| V::chunks(part).0);
    let weights = V::splat(-weight as f32);
    let mut first = 0;
    for (high, low) in high.iter().zip(low) {
        if first >= to.len() {
            break;
        }
        let lanes = V::LANES.min(to.len() - first);
        let read = |all: &[Cell<f32>]| read::<V>(all, first, lanes);
        let (term, high) = (read(terms), V::load(high));
        let mut value = if weight == 0.0 {
            term.mul_add(high, term.mul(V::load(low)))
        } else {
            let q = if entries.is_empty() { weights } else { read(entries).mul(weights) };
            let q = q.mul(V::narrow(rows_of::<V>(&scratch.sample, first)));
            term.mul_add(high, term.mul_add(V::load(low), q))
        };
        if !slope.is_empty() {
            value = value.mul(read(slope));
        }
        if masked {
            let keep = V::narrow(rows_of::<V>(&scratch.loss, first)).is_nan();
            value = keep.select(read(to), value);
        }
        write::<V>(value, to, first, lanes);
        first += V::LANES;
    }
}

/// Looks for larger logits in one more class.
#[inline(never)]
pub(super) fn largest_of<V: Single>(x: &[Cell<f32>], class: usize, scratch: &Scratch) {
    let (most, _) = V::chunks(&scratch.shifts);
    let (best, _) = V::chunks(&scratch.traces);
    let class = V::splat(class as f32);
    let mut first = 0;
    for (most, best) in most.iter().zip(best) {
        if first >= x.len() {
            break;
        }
        let x = read::<V>(x, first, V::LANES.min(x.len() - first));
        let larger = x.above(V::load(most));
        larger.select(x, V::load(most)).store(most);
        larger.select(class, V::load(best)).store(best);
        first += V::LANES;
    }
}

/// The entries of the references.
#[inline(never)]
pub(super) fn put_references(rows: usize, classes: usize, stride: usize, g: &[Cell<f32>], scratch: &Scratch) {
    for row in 0..rows {
        let class = scratch.labels[row % ROWS].get() as u32 as usize;
        if class < classes
            && !scratch.loss[row % ROWS].get().is_nan()
            && let Some(g) = g.get(class * stride + row)
        {
            let slope = scratch.slope_at_label[row % ROWS].get();
            g.set((scratch.label_gradient[row % ROWS].get() * slope) as f32);
        }
    }
}
