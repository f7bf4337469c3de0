//! The loops over rows side by side, with one row in each lane.

use crate::exp::{Direct, Range, Reduction};
use crate::numbers::{Kind, Numbers, widen};
use crate::scratch::{Scratch, fours, rows_of};
use crate::vector::{Element, FACTORS, Single, Twice, Wide, part};
use core::cell::Cell;

/// Finds the class of each row's reference, and its given logit. `labels` may be those of the scratch area.
#[inline(always)]
pub(super) fn take(
    logits: Numbers,
    labels: &[Cell<i32>],
    classes: usize,
    stride: usize,
    ignored: i64,
    to: &[Cell<f32>],
    scratch: &Scratch,
) {
    let brain = logits.kind() == Kind::Brain;
    take_of(logits.cells(), logits.halves(), brain, labels, classes, stride, ignored, to, scratch);
}

#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn take_of(
    logits: &[Cell<f32>],
    halves: &[Cell<u16>],
    brain: bool,
    labels: &[Cell<i32>],
    classes: usize,
    stride: usize,
    ignored: i64,
    to: &[Cell<f32>],
    scratch: &Scratch,
) {
    let half = |place| widen(halves.get(place).map_or(0, Cell::get), if brain { Kind::Brain } else { Kind::Half });
    for (label, class) in labels.iter().zip(&scratch.labels) {
        let label = label.get();
        class.set(if i64::from(label) == ignored { 0 } else { label });
    }
    // A loop of its own: most of these logits are not in a cache, and the shorter the loop, the more of them are fetched at a time.
    for (row, (class, to)) in scratch.labels.iter().zip(to).enumerate().take(labels.len()) {
        let class = class.get() as u32 as usize;
        let mut x = f32::NAN;
        if class < classes {
            let place = class * stride + row;
            x = logits.get(place).map_or_else(|| half(place), Cell::get);
        }
        to.set(x);
    }
}

/// Computes anchors from the logits of the references (in two parts and with slopes if `capped`), and logit, power and shift of each
/// row. Power and shift are NaN if the logit is out of range.
#[inline(never)]
pub(super) fn shifts<V: Single>(rows: usize, capped: bool, temperature: f64, scratch: &Scratch) {
    let range = Range::of::<f32>();
    let splat = Twice::<V::Wide>::splat;
    // The next larger number, because the comparison excludes the bounds, which are in range.
    let bound = f64::from_bits(range.max_shift.to_bits() + 1);
    let (least, most, nan) = (splat(-bound), splat(bound), splat(f64::NAN));
    let (divisor, one) = (splat(temperature), splat(1.0));
    let inputs = V::chunks(scratch.tile()).0.iter().zip(V::chunks(scratch.low()).0).zip(V::chunks(scratch.slope()).0);
    let known = fours(&scratch.anchor, rows).zip(fours(&scratch.slope_at_label, rows));
    let made = fours(&scratch.logit, rows).zip(fours(&scratch.power, rows)).zip(V::chunks(&scratch.shifts).0);
    for (((x, low), slope), ((anchor, slope_at_label), ((logit, power), shift))) in inputs.zip(known.zip(made)) {
        let mut x = V::load(x).widen();
        if capped {
            x = x.add(V::load(low).widen());
        }
        x.store(anchor);
        if capped { V::load(slope).widen() } else { one }.store(slope_at_label);
        let x = if temperature == 1.0 { x } else { x.div(divisor) };
        x.store(logit);
        let in_range = least.below(x).and(x.below(most));
        let n = in_range.select(Range::powers_of(x), nan);
        n.store(power);
        V::narrow(splat(range.shift(0.0)).sub(n)).store(shift);
    }
}

/// Sets all sums to zero.
#[inline(never)]
pub(super) fn begin<V: Single>(rows: usize, dense: bool, scratch: &Scratch) {
    let zero = Twice::<V::Wide>::splat(0.0);
    for (sum, trace) in fours(&scratch.off_label, rows).zip(V::chunks(&scratch.traces).0) {
        zero.store(sum);
        V::splat(0.0).store(trace);
    }
    if dense {
        for (weight, margin) in fours(&scratch.off_weight, rows).zip(fours(&scratch.margin, rows)) {
            zero.store(weight);
            zero.store(margin);
        }
    }
}

/// Sets sums that are out of range, and sums of rows with wrong terms, to NaN.
#[inline(never)]
pub(super) fn check_sums<V: Single>(rows: usize, scratch: &Scratch) {
    let accepts = Direct::<V, false, false>::accepts;
    let (traces, rest) = V::chunks(part(&scratch.traces, 0, rows));
    let any = traces.iter().fold(V::splat(0.0), |any, trace| any.or(V::load(trace))).any_bits();
    if !accepts(rest.iter().fold(any, |any, trace| any | trace.get().bits())) {
        for (trace, off_label) in scratch.traces.iter().zip(&scratch.off_label).take(rows) {
            if !accepts(trace.get().bits()) {
                off_label.set(f64::NAN);
            }
        }
    }
    let [least, most, nan] = [-f64::from_bits(1), Range::of::<f32>().too_large, f64::NAN].map(Twice::<V::Wide>::splat);
    for off_label in fours(&scratch.off_label, rows) {
        let sum = Twice::load(off_label);
        least.below(sum).and(sum.below(most)).select(sum, nan).store(off_label);
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
    let sums = scratch.off_weight.as_chunks::<4>().0.iter().zip(scratch.margin.as_chunks::<4>().0);
    let rows = scratch.anchor.as_chunks::<4>().0.iter().zip(scratch.labels.as_chunks::<4>().0);
    let (has_low, has_entries) = (!low.is_empty(), !entries.is_empty());
    let (low, entries) = (if has_low { low } else { high }, if has_entries { entries } else { high });
    let x = V::chunks(high).0.iter().zip(V::chunks(low).0).zip(V::chunks(entries).0);
    for (((weights, margins), (anchor, labels)), ((x, low), q)) in sums.zip(rows).zip(x) {
        let q = if has_entries { V::load(q) } else { weight };
        let q = q.without_label(labels, class as i32);
        let x = V::load(x).and(q.differs(zero));
        let mut distance = Twice::<V::Wide>::load(anchor).sub(x.widen());
        if has_low {
            distance = distance.sub(V::load(low).widen());
        }
        let q = q.widen();
        Twice::load(weights).add(q).store(weights);
        Twice::load(margins).add(distance.mul(q)).store(margins);
    }
}

/// Splits factors into two parts. A row whose factor cannot be split is not accepted. Returns whether all are.
#[inline(never)]
pub(super) fn split_factors<V: Single>(rows: usize, scratch: &Scratch) -> bool {
    let splat = Twice::<V::Wide>::splat;
    let [least, most, zero, nan] = [FACTORS.start, FACTORS.end, 0.0, f64::NAN].map(splat);
    let [magnitude, first_bits] = [i64::MAX as u64, !0xff_ffff].map(|bits| splat(f64::from_bits(bits)));
    let mut bad = zero;
    // 0 for the lanes beyond the last row, which can be split.
    for beyond in part(&scratch.factor, rows, rows.next_multiple_of(4)) {
        beyond.set(0.0);
    }
    let [high, low] = scratch.factors.each_ref().map(|part| V::chunks(part).0);
    let all = fours(&scratch.factor, rows).zip(fours(&scratch.loss, rows));
    for ((factor, loss), (high, low)) in all.zip(high.iter().zip(low)) {
        let factor = Twice::load(factor);
        let size = factor.and(magnitude);
        let fits = least.below(size).and(size.below(most));
        let missing = fits.select(zero, factor.equal(zero).select(zero, nan));
        bad = bad.add(missing);
        Twice::load(loss).add(missing).store(loss);
        let factor = factor.and(first_bits);
        let rounded = V::narrow(factor);
        rounded.store(high);
        V::narrow(factor.sub(rounded.widen())).store(low);
    }
    !bad.total().is_nan()
}

/// Writes the gradient of one class. Without q, all q are 1; without slopes, all slopes are 1. `masked`: rows that are not accepted keep
/// their memory as it is.
#[inline(always)]
pub(super) fn write_of<V: Single>(
    terms: &[Cell<f32>],
    q: &[Cell<f32>],
    slope: &[Cell<f32>],
    to: &[Cell<f32>],
    weight: f64,
    masked: bool,
    scratch: &Scratch,
) {
    if weight == 0.0 && slope.is_empty() && !masked {
        scale::<V, false>(terms, terms, terms, to, 0.0, false, false, false, scratch);
    } else {
        let (each, sloped) = (weight != 0.0 && !q.is_empty(), !slope.is_empty());
        let (q, slope) = (if each { q } else { terms }, if sloped { slope } else { terms });
        scale::<V, true>(terms, q, slope, to, weight, each, sloped, masked, scratch);
    }
}

#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn scale<V: Single, const GENERAL: bool>(
    terms: &[Cell<f32>],
    q: &[Cell<f32>],
    slope: &[Cell<f32>],
    to: &[Cell<f32>],
    weight: f64,
    each: bool,
    sloped: bool,
    masked: bool,
    scratch: &Scratch,
) {
    let [high, low] = scratch.factors.each_ref().map(|part| V::chunks(part).0);
    // A product keeps its bits if -0 is added.
    let weight = V::splat(if weight == 0.0 { -0.0 } else { -weight as f32 });
    let at = |place: usize, term: V, q: V, slope: V, before: V, high: V, low: V| {
        if !GENERAL {
            return term.mul_add(high, term.mul(low));
        }
        let sample = V::narrow(rows_of::<V>(&scratch.sample, 4 * place));
        // The q of a row that counts 0 may be NaN.
        let q = if each { q.mul(weight) } else { weight }.mul(sample).and(sample.differs(V::splat(0.0)));
        let value = term.mul_add(high, term.mul_add(low, q));
        let value = if sloped { value.mul(slope) } else { value };
        let rejected = V::narrow(rows_of::<V>(&scratch.loss, 4 * place)).is_nan();
        if masked { rejected.select(before, value) } else { value }
    };
    let ((terms, terms_rest), (q, q_rest)) = (V::chunks(terms), V::chunks(q));
    let ((slope, slope_rest), (to, to_rest)) = (V::chunks(slope), V::chunks(to));
    let factors = high.iter().zip(low);
    for (place, ((((term, q), slope), to), (high, low))) in
        terms.iter().zip(q).zip(slope).zip(to).zip(factors).enumerate()
    {
        let term = V::load(term);
        let [q, slope, before] = if GENERAL { [V::load(q), V::load(slope), V::load(to)] } else { [term; 3] };
        at(place, term, q, slope, before, V::load(high), V::load(low)).store(to);
    }
    if let (Some(high), Some(low)) = (high.get(to.len()), low.get(to.len()))
        && !to_rest.is_empty()
    {
        let rest = |all: &[Cell<f32>]| V::load_partial(all, 0.0);
        let value =
            at(to.len(), rest(terms_rest), rest(q_rest), rest(slope_rest), rest(to_rest), V::load(high), V::load(low));
        value.store_partial(to_rest);
    }
}

/// Updates the largest logit of each row with one more class.
#[inline(never)]
pub(super) fn largest_of<V: Single>(x: &[Cell<f32>], class: usize, scratch: &Scratch) {
    let (most, best) = (V::chunks(&scratch.shifts).0, V::chunks(&scratch.traces).0);
    let class = V::splat(class as f32);
    for ((most, best), x) in most.iter().zip(best).zip(V::chunks(x).0) {
        let x = V::load(x);
        let larger = x.above(V::load(most));
        larger.select(x, V::load(most)).store(most);
        larger.select(class, V::load(best)).store(best);
    }
}

/// Writes the entries of the references.
#[inline(never)]
pub(super) fn put_references(rows: usize, classes: usize, stride: usize, g: &[Cell<f32>], scratch: &Scratch) {
    let known = scratch.label_gradient.iter().zip(&scratch.slope_at_label).zip(&scratch.loss);
    for (row, (class, ((gradient, slope), loss))) in scratch.labels.iter().zip(known).enumerate().take(rows) {
        let class = class.get() as u32 as usize;
        if class < classes
            && !loss.get().is_nan()
            && let Some(g) = g.get(class * stride + row)
        {
            g.set((gradient.get() * slope.get()) as f32);
        }
    }
}
