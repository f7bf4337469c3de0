//! Rows of few classes, many at a time.
//!
//! Row by row, ten classes cost as much as forty: each row fills three vectors badly and then waits for a logarithm.
//! So about a thousand elements, whole rows, go through together:
//!
//! ```text
//! shift by a power of two near the first label's term; over the rows' memory as if it were one row:
//!     e = exp(x)                              -> scratch
//! at each row's label: note the logit, set e to 0
//! sums of each row, in f64
//! four rows at a time: the label's term, loss, the gradient's factor          (crate::ends)
//! gradient = e * factor
//! ```
//!
//! Shifts are powers of two, so a row has the same bits in a group as alone. One that is not accepted in its group, because its
//! label is far from the first row's or something is not finite, is computed in a group of its own, and so accepted or not whatever its
//! neighbours are; the rest is for [`crate::row`].

use crate::ends::{Common, ends, label_terms, leave_ignored};
use crate::exp::Range;
use crate::label::Label;
use crate::scratch::{ROWS, Scratch, fours, tile_of};
use crate::targets::Targets;
use crate::terms::{Loop, Margins, Scale, Way, lift_terms, lifted, terms, write_gradient};
use crate::tile::Tile;
use crate::vector::{Element, Pair, Twice, Vector, Wide, part};
use core::cell::Cell;

/// Rows of more classes are computed by [`crate::row`].
pub const MAX_CLASSES: usize = 256;

/// How many rows of so many classes are computed together.
#[inline(always)]
pub fn group<E: Element>(classes: usize) -> usize {
    (tile_of::<E>() / classes).clamp(1, ROWS)
}

/// Consecutive rows, as many as [`group`] says.
#[derive(Clone, Copy)]
pub struct Group<'a, V: Vector> {
    /// See `tile`.
    pub classes: usize,
    /// [rows, classes]
    pub tile: Tile<'a, V::Element>,
    /// c; 0: no cap.
    pub softcap: f64,
    /// The logits' divisor.
    pub temperature: f64,
    /// [rows]; none where there are soft targets.
    pub labels: Option<&'a [Cell<i32>]>,
    /// Rows with this label are ignored.
    pub ignore_index: Option<i32>,
    /// [rows]; none: all 1.
    pub sample_weights: Option<&'a [Cell<f32>]>,
    /// w and e; the soft targets are `entries`.
    pub targets: Targets<'a>,
    /// q of all classes: [rows, classes], or [classes] of class weights, or none.
    pub entries: &'a [Cell<V::Element>],
    /// Of all rows.
    pub common: Common,
    /// Of this thread.
    pub scratch: &'a Scratch,
}

impl<V: Vector> Group<'_, V> {
    /// Losses and factors of `rows` rows, in the scratch area's arrays; NaN for a row that is not accepted. Whether all are.
    #[inline(always)]
    pub fn run(&self, rows: usize) -> bool {
        let Self { classes, scratch, common, .. } = *self;
        let lift = self.shift(rows);
        if lift.is_nan() || !self.terms() {
            for loss in scratch.loss.iter().take(rows) {
                loss.set(f64::NAN);
            }
            return false;
        }
        // Short loops, each a function: in one, a row is a single long chain of dependent operations, longer than what a processor
        // looks ahead; and the engine's compiler would not know which of all those numbers to keep in registers.
        self.take_references(rows);
        row_sums::<V>(classes, rows, scratch);
        if !common.plain {
            self.weigh(rows);
        }
        label_terms::<V>(rows, lift, scratch);
        let complete = ends::<V>(rows, &common, scratch);
        if common.plain && self.ignore_index.is_some() {
            leave_ignored(rows, scratch);
        }
        complete
    }

    /// Sets the shift to that of the first label whose logit may be one; NaN if there is none. Returns the lift of the terms.
    #[inline(always)]
    fn shift(&self, rows: usize) -> f64 {
        let range = Range::of::<V::Element>();
        for row in 0..rows {
            let Some(x) = self.class_of(row).and_then(|class| self.logit(row, class)) else { continue };
            let x = x / self.temperature;
            if x.abs() <= range.max_shift {
                let power = Range::power_near(x);
                self.scratch.shift.set(range.shift(power));
                return range.lift - power;
            }
        }
        f64::NAN
    }

    /// The class of a row's reference; none where its label is no class. The row of soft targets has it in the scratch area.
    #[inline(always)]
    fn class_of(&self, row: usize) -> Option<usize> {
        let Some(labels) = self.labels else { return usize::try_from(self.scratch.labels.get(row)?.get()).ok() };
        match Label::of(labels.get(row)?.get(), self.classes as u32, self.ignore_index) {
            Label::Class(class) => Some(class),
            Label::Ignored => Some(0),
            _ => None,
        }
    }

    #[inline(always)]
    fn logit(&self, row: usize, class: usize) -> Option<f64> {
        let place = row * self.classes + class;
        let high = self.tile.high.get(place)?.get().to_f64();
        Some(if self.softcap == 0.0 { high } else { high + self.tile.low.get(place)?.get().to_f64() })
    }

    /// Terms of all logits. False where they are not right for one of them.
    #[inline(always)]
    fn terms(&self) -> bool {
        let Self { tile: Tile { high: x, low }, scratch, .. } = *self;
        let out = scratch.term::<V::Element>().get(..x.len()).unwrap_or(&[]);
        let made = |way: Way| {
            let which = Loop::new(way, self.softcap, self.temperature).keep();
            scratch.trace.set(0);
            terms::<V>(which, x, low, out, usize::MAX, scratch);
            which.accepts::<V>(scratch.trace.get())
        };
        if scratch.clamped.get() == 0.0 || self.softcap != 0.0 {
            if made(Way::Direct) {
                return true;
            }
            if self.softcap != 0.0 {
                return false;
            }
            scratch.clamped.set(1.0);
        }
        made(Way::Clamped)
    }

    /// Logit of each row's reference, and 0 in the place of its term.
    #[inline(always)]
    fn take_references(&self, rows: usize) {
        let Self { tile: Tile { high, low }, scratch, classes, .. } = *self;
        let low = if self.softcap == 0.0 { &[] } else { low };
        let (labels, ignored) = match self.labels {
            Some(labels) => (labels, self.ignore_index.map_or(i64::MIN, i64::from)),
            None => (&scratch.labels[..rows], i64::MIN),
        };
        if self.common.plain && self.ignore_index.is_none() {
            take::<V, true>(high, low, labels, classes, ignored, self.temperature, scratch);
        } else {
            take::<V, false>(high, low, labels, classes, ignored, self.temperature, scratch);
        }
    }

    /// q of the references and the others, margins and sample weights of all rows.
    #[inline(always)]
    fn weigh(&self, rows: usize) {
        let Self { classes, scratch, targets, tile, entries, .. } = *self;
        let dense = targets.is_dense();
        let each = !entries.is_empty();
        if dense {
            let stride = if self.labels.is_some() { 0 } else { classes };
            let low = if self.softcap == 0.0 { &[] } else { tile.low };
            if each {
                row_margins::<V, true>(tile.high, low, entries, classes, stride, rows, self.temperature, scratch);
            } else {
                row_margins::<V, false>(tile.high, low, entries, classes, stride, rows, self.temperature, scratch);
            }
        }
        let factor = if self.labels.is_some() { targets.spread } else { 1.0 };
        let of_label = 1.0 - targets.smoothing + targets.spread;
        let references = scratch.weight.iter().zip(scratch.sample.iter().zip(&scratch.labels));
        let others = scratch.off_weight.iter().zip(&scratch.margin);
        for (row, ((weight, (sample, class)), (off_weight, margin))) in references.zip(others).enumerate().take(rows) {
            let class = class.get() as u32 as usize;
            let counts = sample.get();
            let q = match self.labels {
                Some(_) => of_label * targets.class_weight(class),
                None => entries.get(row * classes + class).map_or(f64::NAN, |q| q.get().to_f64()),
            };
            let s = self.sample_weights.and_then(|all| all.get(row)).map_or(1.0, |s| f64::from(s.get()));
            // Of an ignored row, nothing counts: not even an infinite margin.
            let (q, s) = if counts == 0.0 || s == 0.0 { (0.0, 0.0) } else { (q, s) };
            weight.set(q);
            sample.set(s);
            let (all, m) = match (dense && s != 0.0, each) {
                (false, _) => (0.0, 0.0),
                (true, false) => ((classes - 1) as f64, margin.get()),
                (true, true) => (off_weight.get(), margin.get()),
            };
            off_weight.set(all * factor);
            margin.set(m * factor / self.temperature);
        }
    }

    /// Gradients of `rows` rows that have run; those that are not accepted get none. Row i goes to `i * stride`.
    #[inline(always)]
    pub fn gradients(&self, rows: usize, g: &[Cell<V::Element>], stride: usize, complete: bool) {
        let Self { classes, scratch, targets, entries, .. } = *self;
        let dense = targets.is_dense();
        let terms = scratch.term::<V::Element>();
        let slope = if self.softcap == 0.0 { &[][..] } else { scratch.slope::<V::Element>() };
        if !slope.is_empty() && !dense {
            let terms = terms.get(..rows * classes).unwrap_or(&[]);
            write_gradient::<V>(terms, &[], slope, terms, 1.0, 0.0);
        }
        let slope_of_label = slope;
        let slope = if dense { slope } else { &[][..] };
        let each = dense && !entries.is_empty();
        let entries = if each { entries } else { &[] };
        let weight = if dense {
            self.common.scale * if each && self.labels.is_none() { 1.0 } else { targets.spread }
        } else {
            0.0
        };
        let entry_stride = if self.labels.is_some() { 0 } else { classes };
        let whole = if dense || V::Element::DOUBLE { ANY } else { classes / V::LANES };
        match (dense, whole) {
            (true, _) => scale_rows::<V, ANY, true>(
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
            ),
            (_, 1) => scale_rows::<V, 1, false>(
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
            ),
            (_, 2) => scale_rows::<V, 2, false>(
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
            ),
            _ => scale_rows::<V, ANY, false>(
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
            ),
        }
        put_references(rows, classes, slope_of_label, g, stride, scratch);
    }
}

/// Notes the logit of each row's reference and sets its term to 0. `PLAIN`: no row is ignored, and all weigh the same.
#[inline(never)]
fn take<V: Vector, const PLAIN: bool>(
    high: &[Cell<V::Element>],
    low: &[Cell<V::Element>],
    labels: &[Cell<i32>],
    classes: usize,
    ignored: i64,
    temperature: f64,
    scratch: &Scratch,
) {
    // As long as the logits: one check of a place serves all.
    let terms = scratch.term::<V::Element>().get(..high.len()).unwrap_or(&[]);
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
            term.set(V::Element::default());
        }
        logit.set(if temperature == 1.0 { x } else { x / temperature });
        class.set(label as i32);
        if !PLAIN {
            sample.set(f64::from(u8::from(!is_ignored)));
        }
        first += classes;
    }
}

/// Sums of the terms of each row, into [`Scratch::off_label`].
#[inline(always)]
fn row_sums<V: Vector>(classes: usize, rows: usize, scratch: &Scratch) {
    match classes / V::LANES {
        0 => sums_of_any::<V>(classes, rows, scratch),
        _ if V::Element::DOUBLE => sums_of_any::<V>(classes, rows, scratch),
        1 => sums_of_few::<V, 1>(classes, rows, scratch),
        2 => sums_of_few::<V, 2>(classes, rows, scratch),
        _ => sums_of_any::<V>(classes, rows, scratch),
    }
}

/// Of rows of `WHOLE` whole vectors and a rest: with so few classes (classifiers of up to eleven) a loop over them would be most of
/// the work. Reads beyond the end of its rows, but not of the scratch area's terms.
#[inline(never)]
fn sums_of_few<V: Vector, const WHOLE: usize>(classes: usize, rows: usize, scratch: &Scratch) {
    let end = V::first_lanes(classes % V::LANES);
    let terms = scratch.term::<V::Element>();
    let mut first = 0;
    for sums in fours(&scratch.off_label, rows) {
        let row = |first: usize| -> V::Wide {
            let (chunks, _) = V::chunks(part(terms, first, first + (WHOLE + 1) * V::LANES));
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
fn sums_of_any<V: Vector>(classes: usize, rows: usize, scratch: &Scratch) {
    let end = V::first_lanes(classes % V::LANES);
    let mut terms = scratch.term::<V::Element>();
    for off_label in scratch.off_label.iter().take(rows) {
        let (chunks, _) = V::chunks(terms);
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
        off_label.set(sums.total());
        terms = terms.get(classes..).unwrap_or(&[]);
    }
}

/// Q and T M of each row. Entries of row i begin at `i * stride`.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn row_margins<V: Vector, const EACH: bool>(
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
    let one = V::splat(V::Element::from_f64(1.0)).and(counted).widen();
    let zero = V::splat(V::Element::default());
    for row in 0..rows {
        let (from, to) = (row * classes, (row + 1) * classes);
        let x = part(high, from, to);
        let has_low = !low.is_empty();
        let low = if has_low { part(low, from, to) } else { x };
        let q = if EACH { part(entries, row * stride, row * stride + classes) } else { x };
        let ((x, x_rest), (low, low_rest), (q, q_rest)) = (V::chunks(x), V::chunks(low), V::chunks(q));
        let class = scratch.labels[row % ROWS].get() as u32 as usize;
        let anchor = scratch.logit[row % ROWS].get() * temperature;
        let mut sums = Margins::<V, EACH>::new(anchor);
        for (place, ((x, low), q)) in x.iter().zip(low).zip(q).enumerate() {
            let q = if EACH { V::load(q).without(class.wrapping_sub(place * V::LANES)) } else { zero };
            sums.add(V::load(x), if has_low { V::load(low) } else { zero }, q);
        }
        if !x_rest.is_empty() {
            let rest = |all: &[Cell<V::Element>]| V::load_partial(all, V::Element::default());
            let low_rest = if has_low { low_rest } else { &[] };
            if EACH {
                let q = rest(q_rest).and(counted).without(class.wrapping_sub(whole * V::LANES));
                sums.add(rest(x_rest), rest(low_rest), q);
            } else {
                let distance = sums.distance(rest(x_rest), rest(low_rest));
                sums.margins = sums.margins.add(distance.mul(one));
            }
        }
        scratch.off_weight[row % ROWS].set(sums.weights.total());
        scratch.margin[row % ROWS].set(sums.margins.total());
    }
}

/// [`scale_rows`] for any number of classes.
const ANY: usize = usize::MAX;

/// `WHOLE` whole vectors a row and a rest: see [`sums_of_few`]. `GENERAL`: with q, and slopes where there are some.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn scale_rows<V: Vector, const WHOLE: usize, const GENERAL: bool>(
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
        let weight = if GENERAL { weight * scratch.sample[row % ROWS].get() } else { 0.0 };
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
#[inline(never)]
fn put_references<E: Element>(
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
