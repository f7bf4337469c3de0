//! The loops over a group of rows of few classes. Each is a function, for better use of registers.

use crate::gradient::{self, Scale, multiply_of, multiply_terms, normalized};
use crate::numbers::{Kind, Numbers};
use crate::scratch::{PerRow, ROWS, Scratch, fours};
use crate::tile::ANY;
use crate::vector::{Element, Pair, Single, Twice, Vector, Wide, part};
use core::cell::Cell;

/// Stores class and logit of each row's reference and sets its term to 0. `f32` logits are divided by the temperature.
#[inline(always)]
pub(super) fn take<V: Single>(
    high: Numbers,
    low: Numbers,
    labels: &[Cell<i32>],
    classes: usize,
    ignored: Option<i32>,
    temperature: f64,
    scratch: &Scratch,
) {
    let plain = ignored.is_none() && low.is_empty();
    let ignored = ignored.map_or(i64::MIN, i64::from);
    match (high.kind() == Kind::Double, plain) {
        (true, _) => return take_of::<f64, false>(high.cells(), low.cells(), labels, classes, ignored, scratch),
        (_, true) => take_of::<f32, true>(high.cells(), low.cells(), labels, classes, ignored, scratch),
        _ => take_of::<f32, false>(high.cells(), low.cells(), labels, classes, ignored, scratch),
    }
    if temperature != 1.0 {
        divide::<V>(labels.len(), temperature, scratch);
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
    scratch: &Scratch,
) {
    // Make it as long as the logits, so that one bounds check serves both.
    let terms = scratch.term::<E>().get(..high.len()).unwrap_or(&[]);
    let mut first = 0;
    for (label, (logit, class)) in labels.iter().zip(scratch.logit.iter().zip(&scratch.labels)) {
        let label = label.get();
        let is_ignored = !PLAIN && i64::from(label) == ignored;
        let label = if is_ignored { 0 } else { label as u32 as usize };
        let mut x = f64::NAN;
        if label < classes
            && let (Some(high), Some(term)) = (high.get(first + label), terms.get(first + label))
        {
            x = high.get().to_f64();
            if !PLAIN && let Some(low) = low.get(first + label) {
                x += low.get().to_f64();
            }
            term.set(E::default());
        }
        logit.set(x);
        class.set(label as i32);
        first += classes;
    }
}

/// Divides the logits of the references.
#[inline(never)]
fn divide<V: Single>(rows: usize, temperature: f64, scratch: &Scratch) {
    let divisor = Twice::<V::Wide>::splat(temperature);
    for logits in fours(&scratch.logit, rows) {
        Twice::load(logits).div(divisor).store(logits);
    }
}

/// Sums the numbers of each row, in memory that may be read a vector beyond the end of the last row.
#[inline(always)]
pub fn row_sums<V: Single>(x: Numbers, classes: usize, rows: usize, to: &PerRow) {
    match classes / V::LANES {
        _ if x.kind() == Kind::Double => sums_of_any::<V::Double>(x.cells(), classes, rows, to),
        1 => sums_of_few::<V, 1>(x.cells(), classes, rows, to),
        2 => sums_of_few::<V, 2>(x.cells(), classes, rows, to),
        _ => sums_of_any::<V>(x.cells(), classes, rows, to),
    }
}

/// [`row_sums`] of rows of `WHOLE` whole vectors and a rest. With so few classes (at most eleven), a loop over them would be most of the
/// work. Reads beyond the end of its rows.
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
        // Not an array, which would be in stack memory.
        let (a, b) = (row(first), row(first + classes));
        let (c, d) = (row(first + 2 * classes), row(first + 3 * classes));
        Twice(V::Wide::sum_lanes(a, b), V::Wide::sum_lanes(c, d)).store(sums);
        first += 4 * classes;
    }
}

/// [`sums_of_few`] for any number of classes.
#[inline(never)]
fn sums_of_any<V: Vector>(mut x: &[Cell<V::Element>], classes: usize, rows: usize, to: &PerRow) {
    let end = V::first_lanes(classes % V::LANES);
    for sum in to.iter().take(rows) {
        let (chunks, _) = V::chunks(x);
        let whole = classes / V::LANES;
        let mut sums = Twice::<V::Wide>::splat(0.0);
        let (rounds, rest) = chunks.get(..whole).unwrap_or(&[]).as_chunks::<4>();
        for round in rounds {
            round.iter().enumerate().for_each(|(place, chunk)| V::load(chunk).accumulate(&mut sums, place));
        }
        for (place, chunk) in rest.iter().enumerate() {
            V::load(chunk).accumulate(&mut sums, place);
        }
        if let Some(last) = chunks.get(whole) {
            V::load(last).and(end).accumulate(&mut sums, whole);
        }
        sum.set(sums.total());
        x = x.get(classes..).unwrap_or(&[]);
    }
}

/// Computes gradients from terms: see [`crate::gradient`]. Row i of the gradient begins at `i * stride`; entries and slopes have the layout
/// of the terms.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as the functions that it chooses from")]
pub(super) fn scale_rows<V: Single>(
    rows: usize,
    classes: usize,
    entries: Numbers,
    slope: Numbers,
    g: Numbers,
    stride: usize,
    weight: f64,
    complete: bool,
    scratch: &Scratch,
) {
    macro_rules! scale {
        ($V:ty, $each:expr, $done:expr) => {{
            let (entries, slope, g) = (entries.cells(), slope.cells(), g.cells());
            scale_rows_of::<$V, $each>($done, rows, classes, entries, slope, g, stride, weight, complete, scratch);
        }};
    }
    macro_rules! scale_over {
        ($whole:expr, $each:expr) => {
            scale_over::<V, { $whole }, $each>(rows, classes, entries.cells(), g.cells(), stride, weight, scratch)
        };
    }
    if g.kind() == Kind::Double {
        return if entries.is_empty() { scale!(V::Double, false, 0) } else { scale!(V::Double, true, 0) };
    }
    let done = match (classes / V::LANES, entries.is_empty()) {
        _ if !complete || !slope.is_empty() => 0,
        (0, _) if stride != classes => 0,
        (_, true) if stride != classes => scale_over!(APART, false),
        (_, false) if stride != classes => scale_over!(APART, true),
        (1, true) => scale_over!(1, false),
        (2, true) => scale_over!(2, false),
        (_, true) => scale_over!(ANY, false),
        (1, false) => scale_over!(1, true),
        (2, false) => scale_over!(2, true),
        (_, false) => scale_over!(ANY, true),
    };
    if entries.is_empty() { scale!(V, false, done) } else { scale!(V, true, done) }
}

/// [`scale_over`] for rows with numbers between them.
const APART: usize = ANY - 1;

/// [`scale_rows_of`] for rows that are all accepted, of `WHOLE` whole vectors and a rest: see [`sums_of_few`]. The last vector of a row may
/// reach into the next row, which is written later, but not beyond the end; in rows that are apart, it overlaps the vector before. Returns
/// how many rows are written.
#[inline(never)]
fn scale_over<V: Vector, const WHOLE: usize, const EACH: bool>(
    rows: usize,
    classes: usize,
    entries: &[Cell<V::Element>],
    g: &[Cell<V::Element>],
    stride: usize,
    weight: f64,
    scratch: &Scratch,
) -> usize {
    let length = match WHOLE {
        APART => classes,
        ANY => (classes / V::LANES + 1) * V::LANES,
        whole => (whole + 1) * V::LANES,
    };
    let mut e = scratch.term::<V::Element>();
    let mut q = if EACH { entries } else { e };
    if WHOLE != APART {
        // Make them as long as the gradient, so that one bounds check serves all.
        (e, q) = (part(e, 0, g.len()), part(q, 0, g.len()));
    }
    let (mut first, mut to) = (0, 0);
    for (row, (factor, sample)) in scratch.factor.iter().zip(&scratch.sample).enumerate().take(rows) {
        let (Some(e), Some(q), Some(g)) =
            (e.get(first..first + length), q.get(first..first + length), g.get(to..to + length))
        else {
            return row;
        };
        let (power_of_two, factor) = normalized::<V::Element>(factor.get());
        if power_of_two != 1.0 {
            let e = part(e, 0, classes);
            multiply_terms::<V>(e, power_of_two, e);
        }
        let weight = if weight == 0.0 { 0.0 } else { weight * sample.get() };
        // The q of a row that counts 0 may be NaN.
        let q = if weight == 0.0 { e } else { q };
        let scale = Scale::<V, EACH>::new(factor, weight);
        for ((e, q), g) in V::chunks(e).0.iter().zip(V::chunks(q).0).zip(V::chunks(g).0) {
            let e = V::load(e);
            scale.at(e, if EACH { V::load(q) } else { e }).store(g);
        }
        if WHOLE == APART {
            let [e, q, g] = [e, q, g].map(|all| V::chunks(part(all, classes - V::LANES, classes)).0.first());
            if let (Some(e), Some(q), Some(g)) = (e, q, g) {
                let e = V::load(e);
                scale.at(e, if EACH { V::load(q) } else { e }).store(g);
            }
        }
        first += classes;
        to += if WHOLE == APART { stride } else { classes };
    }
    rows
}

/// [`scale_rows`] of one type, from row `done` on. `EACH`: with entries.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn scale_rows_of<V: Vector, const EACH: bool>(
    done: usize,
    rows: usize,
    classes: usize,
    entries: &[Cell<V::Element>],
    slope: &[Cell<V::Element>],
    g: &[Cell<V::Element>],
    stride: usize,
    weight: f64,
    complete: bool,
    scratch: &Scratch,
) {
    let terms = scratch.term::<V::Element>();
    for row in done..rows {
        let weight = if weight == 0.0 { 0.0 } else { weight * scratch.sample[row % ROWS].get() };
        let (power_of_two, factor) = normalized::<V::Element>(scratch.factor[row % ROWS].get());
        let accepted = complete || !scratch.loss[row % ROWS].get().is_nan();
        let (begin, end) = (row * classes, (row + 1) * classes);
        let (true, Some(g)) = (accepted, g.get(row * stride..row * stride + classes)) else { continue };
        let e = part(terms, begin, end);
        // The q of a row that counts 0 may be NaN.
        let q = if EACH && weight != 0.0 { part(entries, begin, end) } else { e };
        if power_of_two != 1.0 {
            multiply_terms::<V>(e, power_of_two, e);
        }
        gradient::scale::<V, EACH>(e, q, g, factor, weight);
        if !slope.is_empty() {
            multiply_of::<V>(g, part(slope, begin, end));
        }
    }
}

/// Writes the entries of the references.
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
