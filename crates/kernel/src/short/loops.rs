//! The loops over a group of rows of few classes: each a function, for the registers.

use crate::gradient::{Scale, lift_terms, lifted};
use crate::numbers::{Kind, Numbers};
use crate::scratch::{PerRow, ROWS, Scratch, fours};
use crate::targets::Margins;
use crate::tile::copy;
use crate::vector::{Element, Pair, Single, Twice, Vector, Wide, part};
use core::cell::Cell;

/// Notes the logit of each row's reference and sets its term to 0. `plain`: no row is ignored, and all weigh the same.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as the functions that it chooses from")]
pub(super) fn take(
    high: Numbers,
    low: Numbers,
    labels: &[Cell<i32>],
    classes: usize,
    ignored: i64,
    temperature: f64,
    plain: bool,
    scratch: &Scratch,
) {
    match (high.kind() == Kind::Double, plain) {
        (true, _) => {
            take_of::<f64, false>(high.cells(), low.cells(), labels, classes, ignored, temperature, scratch);
        }
        (_, true) => take_of::<f32, true>(high.cells(), low.cells(), labels, classes, ignored, temperature, scratch),
        _ => take_of::<f32, false>(high.cells(), low.cells(), labels, classes, ignored, temperature, scratch),
    }
}

/// [`take`] of one type.
#[inline(never)]
fn take_of<E: Element, const PLAIN: bool>(
    high: &[Cell<E>],
    low: &[Cell<E>],
    labels: &[Cell<i32>],
    classes: usize,
    ignored: i64,
    temperature: f64,
    scratch: &Scratch,
) {
    // As long as the logits: one check of a place serves all.
    let terms = scratch.term::<E>().get(..high.len()).unwrap_or(&[]);
    let mut first = 0;
    let outputs = scratch.logit.iter().zip(scratch.sample.iter().zip(&scratch.labels));
    for (label, (logit, (sample, class))) in labels.iter().zip(outputs) {
        let label = label.get();
        let is_ignored = !PLAIN && i64::from(label) == ignored;
        let label = if is_ignored { 0 } else { label as u32 as usize };
        let mut x = f64::NAN;
        if label < classes
            && let (Some(high), Some(term)) = (high.get(first + label), terms.get(first + label))
        {
            x = high.get().to_f64();
            if let Some(low) = low.get(first + label) {
                x += low.get().to_f64();
            }
            term.set(E::default());
        }
        logit.set(if temperature == 1.0 { x } else { x / temperature });
        class.set(label as i32);
        if !PLAIN {
            sample.set(f64::from(u8::from(!is_ignored)));
        }
        first += classes;
    }
}

/// Sums of each row's numbers, in memory that may be read a vector beyond the end of the last row.
#[inline(always)]
pub(super) fn row_sums<V: Single>(x: Numbers, classes: usize, rows: usize, to: &PerRow) {
    match classes / V::LANES {
        _ if x.kind() == Kind::Double => sums_of_any::<V::Double>(x.cells(), classes, rows, to),
        1 => sums_of_few::<V, 1>(x.cells(), classes, rows, to),
        2 => sums_of_few::<V, 2>(x.cells(), classes, rows, to),
        _ => sums_of_any::<V>(x.cells(), classes, rows, to),
    }
}

/// Of rows of `WHOLE` whole vectors and a rest: with so few classes (classifiers of up to eleven) a loop over them would be most of
/// the work. Reads beyond the end of its rows.
#[inline(never)]
fn sums_of_few<V: Vector, const WHOLE: usize>(x: &[Cell<V::Element>], classes: usize, rows: usize, to: &PerRow) {
    let end = V::first_lanes(classes % V::LANES);
    let mut first = 0;
    for sums in fours(to, rows) {
        let row = |first: usize| -> V::Wide {
            let (chunks, _) = V::chunks(part(x, first, first + (WHOLE + 1) * V::LANES));
            let Some((last, whole)) = chunks.split_last() else { return V::Wide::splat(0.0) };
            let mut sum = V::load(last).and(end).widen();
            for chunk in whole {
                sum = sum.add(V::load(chunk).widen());
            }
            sum.0.add(sum.1)
        };
        // Not an array: that would live in stack memory.
        let (a, b) = (row(first), row(first + classes));
        let (c, d) = (row(first + 2 * classes), row(first + 3 * classes));
        Twice(V::Wide::sum_lanes(a, b), V::Wide::sum_lanes(c, d)).store(sums);
        first += 4 * classes;
    }
}

/// As [`sums_of_few`], for any number of classes.
#[inline(never)]
fn sums_of_any<V: Vector>(mut x: &[Cell<V::Element>], classes: usize, rows: usize, to: &PerRow) {
    let end = V::first_lanes(classes % V::LANES);
    for sum in to.iter().take(rows) {
        let (chunks, _) = V::chunks(x);
        let whole = classes / V::LANES;
        let mut sums = Twice::<V::Wide>::splat(0.0);
        let (pairs, rest) = chunks.get(..whole).unwrap_or(&[]).as_chunks::<2>();
        for [a, b] in pairs {
            V::load(a).accumulate(&mut sums, 0);
            V::load(b).accumulate(&mut sums, 1);
        }
        for chunk in rest {
            V::load(chunk).accumulate(&mut sums, 0);
        }
        if let Some(last) = chunks.get(whole) {
            V::load(last).and(end).accumulate(&mut sums, whole);
        }
        sum.set(sums.total());
        x = x.get(classes..).unwrap_or(&[]);
    }
}

/// Q and T M of each row. Entries of row i begin at `i * stride`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as the functions that it chooses from")]
pub(super) fn row_margins<V: Single>(
    high: Numbers,
    low: Numbers,
    entries: Numbers,
    classes: usize,
    stride: usize,
    rows: usize,
    temperature: f64,
    scratch: &Scratch,
) {
    macro_rules! margins {
        ($V:ty) => {{
            let (high, low, entries) = (high.cells(), low.cells(), entries.cells());
            row_margins_of::<$V>(high, low, entries, classes, stride, rows, temperature, scratch);
        }};
    }
    if high.kind() == Kind::Double { margins!(V::Double) } else { margins!(V) }
}

/// [`row_margins`] of one type.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn row_margins_of<V: Vector>(
    high: &[Cell<V::Element>],
    low: &[Cell<V::Element>],
    entries: &[Cell<V::Element>],
    classes: usize,
    stride: usize,
    rows: usize,
    temperature: f64,
    scratch: &Scratch,
) {
    let whole = classes / V::LANES;
    let counted = V::first_lanes(classes % V::LANES);
    let zero = V::splat(V::Element::default());
    for row in 0..rows {
        let (from, to) = (row * classes, (row + 1) * classes);
        let x = part(high, from, to);
        let has_low = !low.is_empty();
        let low = if has_low { part(low, from, to) } else { x };
        let q = part(entries, row * stride, row * stride + classes);
        let ((x, x_rest), (low, low_rest), (q, q_rest)) = (V::chunks(x), V::chunks(low), V::chunks(q));
        let class = scratch.labels[row % ROWS].get() as u32 as usize;
        let anchor = scratch.logit[row % ROWS].get() * temperature;
        let mut sums = Margins::<V, true>::new(anchor);
        for (place, ((x, low), q)) in x.iter().zip(low).zip(q).enumerate() {
            let q = V::load(q).without(class.wrapping_sub(place * V::LANES));
            sums.add(V::load(x), if has_low { V::load(low) } else { zero }, q);
        }
        if !x_rest.is_empty() {
            let rest = |all: &[Cell<V::Element>]| V::load_partial(all, V::Element::default());
            let low_rest = if has_low { low_rest } else { &[] };
            let q = rest(q_rest).and(counted).without(class.wrapping_sub(whole * V::LANES));
            sums.add(rest(x_rest), rest(low_rest), q);
        }
        scratch.off_weight[row % ROWS].set(sums.weights.total());
        scratch.margin[row % ROWS].set(sums.margins.total());
    }
}

/// T M of each row where all classes have the weight 1: C times the reference's logit less the sum of all.
#[inline(always)]
pub(super) fn uniform_margins<V: Single>(
    high: Numbers,
    low: Numbers,
    classes: usize,
    rows: usize,
    temperature: f64,
    scratch: &Scratch,
) {
    let double = high.kind() == Kind::Double;
    // Memory that may be read beyond the end of the last row.
    let padded = scratch.target_of(double);
    copy::<V>(high, padded);
    row_sums::<V>(padded, classes, rows, &scratch.margin);
    if !low.is_empty() {
        row_sums::<V>(low, classes, rows, &scratch.off_weight);
    }
    for (row, (margin, logit)) in scratch.margin.iter().zip(&scratch.logit).enumerate().take(rows) {
        let low = if low.is_empty() { 0.0 } else { scratch.off_weight[row % ROWS].get() };
        margin.set(classes as f64 * (logit.get() * temperature) - margin.get() - low);
    }
}

/// Gradients from terms: see [`crate::gradient`]. Entries of row i begin at `i * entry_stride`, and its gradient at `i * stride`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as the functions that it chooses from")]
pub(super) fn scale_rows<V: Single>(
    rows: usize,
    classes: usize,
    entries: Numbers,
    entry_stride: usize,
    slope: Numbers,
    g: Numbers,
    stride: usize,
    weight: f64,
    complete: bool,
    scratch: &Scratch,
) {
    macro_rules! scale {
        ($V:ty, $whole:expr, $general:expr) => {{
            let (entries, slope, g) = (entries.cells(), slope.cells(), g.cells());
            scale_rows_of::<$V, { $whole }, $general>(
                rows,
                classes,
                entries,
                entry_stride,
                slope,
                g,
                stride,
                weight,
                complete,
                scratch,
            )
        }};
    }
    let general = !entries.is_empty() || !slope.is_empty();
    match (g.kind() == Kind::Double, general, classes / V::LANES) {
        (true, false, _) => scale!(V::Double, ANY, false),
        (true, true, _) => scale!(V::Double, ANY, true),
        (_, true, _) => scale!(V, ANY, true),
        (.., 1) => scale!(V, 1, false),
        (.., 2) => scale!(V, 2, false),
        _ => scale!(V, ANY, false),
    }
}

/// The weights of the references, q_r = `of_label` w_r.
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

/// Multiplies the rows that count by their sample weights; of a row that does not count, nothing does: not even an infinite margin.
#[inline(never)]
pub(super) fn weigh_samples(weights: Option<&[Cell<f32>]>, rows: usize, scratch: &Scratch) {
    if let Some(weights) = weights {
        for (sample, weight) in scratch.sample.iter().zip(weights).take(rows) {
            sample.set(if sample.get() == 0.0 { 0.0 } else { f64::from(weight.get()) });
        }
    }
    let others = scratch.off_weight.iter().zip(&scratch.margin);
    for ((sample, weight), (off_weight, margin)) in scratch.sample.iter().zip(&scratch.weight).zip(others).take(rows) {
        if sample.get() == 0.0 {
            weight.set(0.0);
            off_weight.set(0.0);
            margin.set(0.0);
        }
    }
}

/// [`scale_rows_of`] for any number of classes.
const ANY: usize = usize::MAX;

/// [`scale_rows`] of one type; `WHOLE` whole vectors a row and a rest: see [`sums_of_few`]. `GENERAL`: with entries
/// or slopes.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn scale_rows_of<V: Vector, const WHOLE: usize, const GENERAL: bool>(
    rows: usize,
    classes: usize,
    entries: &[Cell<V::Element>],
    entry_stride: usize,
    slope: &[Cell<V::Element>],
    g: &[Cell<V::Element>],
    stride: usize,
    weight: f64,
    complete: bool,
    scratch: &Scratch,
) {
    let whole = if WHOLE == ANY { classes / V::LANES } else { WHOLE };
    // May reach into the next row, which is written later.
    let beyond = (whole + 1) * V::LANES;
    let terms = scratch.term::<V::Element>();
    let (mut g, mut e) = (g, terms);
    let mut s = slope;
    let mut q = entries;
    for (row, factor) in scratch.factor.iter().enumerate().take(rows) {
        let weight = if weight == 0.0 { 0.0 } else { weight * scratch.sample[row % ROWS].get() };
        let (lift, factor) = lifted::<V::Element>(factor.get());
        if lift != 1.0 {
            let e = e.get(..classes).unwrap_or(&[]);
            lift_terms::<V>(e, lift, e);
        }
        let scale = Scale::<V, GENERAL>::new(factor, weight, !entries.is_empty(), !slope.is_empty());
        let over = complete && !GENERAL && stride == classes;
        let accepted = complete || !scratch.loss[row % ROWS].get().is_nan();
        if let (true, Some(e), Some(g)) = (over, e.get(..beyond), g.get(..beyond)) {
            for (e, g) in V::chunks(e).0.iter().zip(V::chunks(g).0) {
                let e = V::load(e);
                scale.at(e, e, e).store(g);
            }
        } else if let (true, Some(g)) = (accepted, g.get(..classes)) {
            let e = e.get(..classes).unwrap_or(&[]);
            let q = if GENERAL && !entries.is_empty() { q.get(..classes).unwrap_or(&[]) } else { e };
            let s = if GENERAL && !slope.is_empty() { s.get(..classes).unwrap_or(&[]) } else { e };
            let ((e, e_rest), (g, g_rest)) = (V::chunks(e), V::chunks(g));
            let ((q, q_rest), (s, s_rest)) = (V::chunks(q), V::chunks(s));
            for (((e, q), s), g) in e.iter().zip(q).zip(s).zip(g) {
                scale.at(V::load(e), V::load(q), V::load(s)).store(g);
            }
            if !g_rest.is_empty() {
                let rest = |all: &[Cell<V::Element>]| V::load_partial(all, V::Element::default());
                scale.at(rest(e_rest), rest(q_rest), rest(s_rest)).store_partial(g_rest);
            }
        }
        g = g.get(stride..).unwrap_or(&[]);
        e = e.get(classes..).unwrap_or(&[]);
        if GENERAL {
            s = s.get(classes..).unwrap_or(&[]);
            q = q.get(entry_stride..).unwrap_or(&[]);
        }
    }
}

/// The entries of the references.
#[inline(always)]
pub(super) fn put_references(
    rows: usize,
    classes: usize,
    slope: Numbers,
    g: Numbers,
    stride: usize,
    scratch: &Scratch,
) {
    if g.kind() == Kind::Double {
        put_references_of::<f64>(rows, classes, slope.cells(), g.cells(), stride, scratch);
    } else {
        put_references_of::<f32>(rows, classes, slope.cells(), g.cells(), stride, scratch);
    }
}

#[inline(never)]
fn put_references_of<E: Element>(
    rows: usize,
    classes: usize,
    slope: &[Cell<E>],
    g: &[Cell<E>],
    stride: usize,
    scratch: &Scratch,
) {
    for (row, (class, value)) in scratch.labels.iter().zip(&scratch.label_gradient).enumerate().take(rows) {
        let class = class.get() as u32 as usize;
        let slope = slope.get(row * classes + class).map_or(1.0, |s| s.get().to_f64());
        let accepted = class < classes && !scratch.loss[row % ROWS].get().is_nan();
        if let (true, Some(g)) = (accepted, g.get(row * stride + class)) {
            g.set(E::from_f64(value.get() * slope));
        }
    }
}
