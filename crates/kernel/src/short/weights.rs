//! Weights and margins of a group of rows of few classes.

use super::loops::row_sums;
use crate::numbers::{Kind, Numbers};
use crate::scratch::{Scratch, fours};
use crate::targets::Margins;
use crate::vector::{Element, Single, Twice, Vector, Wide, part};
use core::cell::Cell;

/// Computes Q and T M of each row, in memory that may be read a vector beyond the end of the last row. Without entries, all q are 1, and
/// only T M is computed.
#[inline(always)]
pub(super) fn row_margins<V: Single>(
    high: Numbers,
    low: Numbers,
    entries: Numbers,
    classes: usize,
    rows: usize,
    temperature: f64,
    scratch: &Scratch,
) {
    macro_rules! margins {
        ($V:ty, $each:expr, $far:expr, $x:expr, $of:expr) => {{
            row_margins_of::<$V, $each, $far>($x.cells(), entries.cells(), classes, rows, $of, scratch);
        }};
    }
    for (x, of) in [(high, temperature), (low, 0.0)] {
        match (high.kind() == Kind::Double, entries.is_empty()) {
            _ if x.is_empty() => (),
            (false, false) => match classes / V::LANES {
                1 if of != 0.0 => margins_of_few::<V, 1>(x.cells(), entries.cells(), classes, rows, of, scratch),
                2 if of != 0.0 => margins_of_few::<V, 2>(x.cells(), entries.cells(), classes, rows, of, scratch),
                _ => margins!(V, true, false, x, of),
            },
            (false, true) => uniform_margins::<V>(x, classes, rows, of, scratch),
            (true, false) => margins!(V::Double, true, true, x, of),
            (true, true) => margins!(V::Double, false, true, x, of),
        }
    }
}

/// T M of each row if all classes have weight 1: C times the reference's logit minus the sum of all logits. This is exact enough for `f32`
/// logits, which are close to 0 in a group. `temperature` as in [`row_margins_of`].
#[inline(always)]
fn uniform_margins<V: Single>(x: Numbers, classes: usize, rows: usize, temperature: f64, scratch: &Scratch) {
    row_sums::<V>(x, classes, rows, &scratch.off_weight);
    let known = scratch.margin.iter().zip(scratch.logit.iter().zip(&scratch.off_weight));
    for (margin, (logit, sum)) in known.take(rows) {
        let of_reference = if temperature == 0.0 { margin.get() } else { classes as f64 * (logit.get() * temperature) };
        margin.set(of_reference - sum.get());
    }
}

/// [`row_margins`] of one type. Distances are from the reference's logit times `temperature`. If that is 0, `x` has second parts, which are
/// added to the present margins.
#[inline(never)]
fn row_margins_of<V: Vector, const EACH: bool, const FAR: bool>(
    x: &[Cell<V::Element>],
    q: &[Cell<V::Element>],
    classes: usize,
    rows: usize,
    temperature: f64,
    scratch: &Scratch,
) {
    let whole = classes / V::LANES;
    let end = V::first_lanes(classes % V::LANES);
    let one = V::from_f64(1.0);
    let known = scratch.logit.iter().zip(scratch.off_weight.iter().zip(&scratch.margin));
    let mut first = 0;
    for (logit, (weight, margin)) in known.take(rows) {
        let beyond = first + (whole + 1) * V::LANES;
        let x = V::chunks(part(x, first, beyond)).0;
        let q = if EACH { V::chunks(part(q, first, beyond)).0 } else { x };
        let anchor = if temperature == 0.0 { 0.0 } else { logit.get() * temperature };
        let mut sums = Margins::<V, EACH, FAR>::new(anchor);
        let (Some((last, x)), Some((last_q, q))) = (x.split_last(), q.split_last()) else { break };
        for (x, q) in x.iter().zip(q) {
            sums.add(V::load(x), if EACH { V::load(q) } else { one });
        }
        sums.add_some(V::load(last), if EACH { V::load(last_q) } else { one }.and(end));
        let (weights, margins) = sums.sums();
        if EACH {
            weight.set(weights.total());
        }
        let before = if temperature == 0.0 { margin.get() } else { 0.0 };
        margin.set(before + margins.total());
        first += classes;
    }
}

/// [`row_margins_of`] for rows of `WHOLE` whole vectors and a rest. Reads beyond the end of its rows.
#[inline(never)]
fn margins_of_few<V: Vector, const WHOLE: usize>(
    x: &[Cell<V::Element>],
    q: &[Cell<V::Element>],
    classes: usize,
    rows: usize,
    temperature: f64,
    scratch: &Scratch,
) {
    let end = V::first_lanes(classes % V::LANES);
    // Make it as long as the logits, so that one bounds check serves both.
    let q = part(q, 0, x.len());
    let known = scratch.logit.iter().zip(scratch.off_weight.iter().zip(&scratch.margin));
    let mut first = 0;
    for (logit, (weight, margin)) in known.take(rows) {
        let beyond = first + (WHOLE + 1) * V::LANES;
        let (Some(x), Some(q)) = (x.get(first..beyond), q.get(first..beyond)) else { break };
        let (Some((last, x)), Some((last_q, q))) = (V::chunks(x).0.split_last(), V::chunks(q).0.split_last()) else {
            break;
        };
        let mut sums = Margins::<V, true, false>::new(logit.get() * temperature);
        for (x, q) in x.iter().zip(q) {
            sums.add(V::load(x), V::load(q));
        }
        sums.add(V::load(last), V::load(last_q).and(end));
        let (weights, margins) = sums.sums();
        weight.set(weights.total());
        margin.set(margins.total());
        first += classes;
    }
}

/// Moves the weights of the references out of soft targets, and leaves 0 in their places.
#[inline(always)]
pub(super) fn take_weights(entries: Numbers, classes: usize, rows: usize, scratch: &Scratch) {
    if entries.kind() == Kind::Double {
        take_weights_of::<f64>(entries.cells(), classes, rows, scratch);
    } else {
        take_weights_of::<f32>(entries.cells(), classes, rows, scratch);
    }
}

#[inline(never)]
fn take_weights_of<E: Element>(entries: &[Cell<E>], classes: usize, rows: usize, scratch: &Scratch) {
    let mut first = 0;
    for (weight, class) in scratch.weight.iter().zip(&scratch.labels).take(rows) {
        let class = class.get() as u32 as usize;
        let mut q = f64::NAN;
        if class < classes
            && let Some(entry) = entries.get(first + class)
        {
            q = entry.replace(E::default()).to_f64();
        }
        weight.set(q);
        first += classes;
    }
}

/// Sets the weights of the references, q_r = `of_label` w_r.
#[inline(never)]
pub(super) fn weights_of_labels(of_label: f64, class_weights: &[Cell<f32>], rows: usize, scratch: &Scratch) {
    let all = scratch.weight.iter().zip(&scratch.labels).take(rows);
    if class_weights.is_empty() {
        return all.for_each(|(weight, _)| weight.set(of_label));
    }
    for (weight, class) in all {
        let w = class_weights.get(class.get() as u32 as usize).map_or(f64::NAN, |w| f64::from(w.get()));
        weight.set(of_label * w);
    }
}

/// Multiplies Q and T M by the factor of an entry, and divides T M by T. `all`: Q of every row, if it is the same.
#[inline(never)]
pub(super) fn weigh_off_label<V: Single>(
    all: Option<f64>,
    factor: f64,
    temperature: f64,
    rows: usize,
    scratch: &Scratch,
) {
    let splat = Twice::<V::Wide>::splat;
    let (factor, temperature, uniform) = (splat(factor), splat(temperature), splat(all.unwrap_or(0.0)));
    for (off_weight, margin) in fours(&scratch.off_weight, rows).zip(fours(&scratch.margin, rows)) {
        let sum = if all.is_some() { uniform } else { Twice::load(off_weight) };
        sum.mul(factor).store(off_weight);
        Twice::load(margin).mul(factor).div(temperature).store(margin);
    }
}

/// Sets the sample weights of the rows that count. For other rows, sets all weights to 0, so that not even an infinite margin counts.
/// `ignores`: whether rows may be ignored; their sample weight is 0 already.
#[inline(never)]
pub(super) fn weigh_samples(weights: Option<&[Cell<f32>]>, ignores: bool, rows: usize, scratch: &Scratch) {
    if !ignores {
        scratch.sample.iter().take(rows).for_each(|sample| sample.set(1.0));
    }
    if let Some(weights) = weights {
        for (sample, weight) in scratch.sample.iter().zip(weights).take(rows) {
            sample.set(if sample.get() == 0.0 { 0.0 } else { f64::from(weight.get()) });
        }
    } else if !ignores {
        return;
    }
    let rest = scratch.off_weight.iter().zip(&scratch.margin);
    for ((sample, weight), (off_weight, margin)) in scratch.sample.iter().zip(&scratch.weight).zip(rest).take(rows) {
        if sample.get() == 0.0 {
            weight.set(0.0);
            off_weight.set(0.0);
            margin.set(0.0);
        }
    }
}
