//! Rows of few classes, many at a time.
//!
//! Row by row, ten classes cost as much as forty: each row fills three vectors badly and then waits for a logarithm.
//! So about a thousand elements, whole rows, go through together:
//!
//! ```text
//! anchor at the first label's logit; over the rows' memory as if it were one row:
//!     powers and tails of exp(x), lifted        -> scratch
//! at each row's label: take both, leave 0
//! sums of each row, four rows at a time where classes are very few
//! four rows at a time, in f64: others, label's term, loss, gradient's factor
//! gradient = (power + tail) * factor
//! ```
//!
//! The terms of a short row are never rounded to `f32`: nothing would average that out in its sum, and the gradient would
//! have it twice.
//!
//! A lifted term may be moved by any power of two, so a row has the same bits in a group as alone. One that is not accepted in
//! its group, because its label is far from the first row's or something is not finite, is computed [alone](near), and
//! accepted or not whoever its neighbours were; the rest is for [`crate::general`].

mod parts;
mod sums;

use crate::exp::{Centred, LIFT, MAX_ANCHOR, in_range};
use crate::label::Label;
use crate::log1p::{Log, Quotient};
use crate::row::{Logits, Terms};
use crate::scratch::{Scratch, fours};
use crate::vector::{Factor, LANES, Pair, Twice, Vector, Wide};
use core::cell::Cell;
use parts::{ANCHOR_LIFT, pass, split};
use sums::sums;

/// Rows of more classes are computed by [`crate::row`].
pub const MAX_CLASSES: usize = 256;

/// A label is accepted where its lifted term is within these: below, terms that are cut off would still show in the
/// gradient, ... ([`ANCHOR_LIFT`] is half way.)
const OWN: (f64, f64) = ((1u32 << 24) as f64, (1u128 << 68) as f64);

/// ... and a row where the others are not so many times larger. That holds alone if it does in a group: alone, the label's
/// term is at the anchor's place, and nothing can be too large.
const MAX_RATIO: f64 = (1u32 << 30) as f64;

/// From this scale on, its product with the factor of an accepted row is within [`crate::vector::FACTORS`].
const MIN_SCALE: f64 = 1.0 / (1u32 << 21) as f64;

/// Consecutive rows, as many as [`crate::scratch`] has room for.
pub struct Group<'a> {
    /// [rows, classes]
    pub x: &'a [Cell<f32>],
    /// See `x`.
    pub classes: usize,
    /// [rows]
    pub labels: &'a [Cell<i32>],
    /// Rows with this label are not computed here.
    pub ignore_index: Option<i32>,
    /// Factor of the gradient, if there is to be one.
    pub scale: Option<f64>,
    /// Output.
    pub loss: &'a [Cell<f32>],
    /// Output.
    pub log_sum_exp: &'a [Cell<f32>],
}

impl Group<'_> {
    /// Losses of all rows. False where some must be computed alone: [`Scratch::is_alone`] says which.
    #[inline(always)]
    pub fn run<V: Vector>(&self, scratch: &Scratch) -> bool {
        let rows = self.labels.len();
        let anchor = self.anchor();
        let usable = !anchor.is_nan() && self.scale.is_none_or(|scale| scale.abs() >= MIN_SCALE);
        if !usable || !split::<V>(self.x, anchor, scratch) {
            scratch.leave_all_alone();
            return false;
        }
        // Many short loops, each a function: in one, a row is a single long chain of dependent operations, longer than
        // what a processor looks ahead; it would wait for each pair of small writes that is read back as a large one; and
        // the engine's compiler would not know which of all those numbers to keep in registers.
        let ignored = self.ignore_index.map_or(i64::MIN, i64::from);
        take_labels(self.x, self.labels, self.classes, ignored, scratch);
        sums::<V>(self.classes, rows, scratch);
        match self.scale {
            None => quotients::<V, false>(rows, 0.0, scratch),
            Some(scale) => quotients::<V, true>(rows, scale, scratch),
        }
        let complete = losses::<V>(rows, scratch);
        copy::<V>(&scratch.loss, self.loss);
        copy::<V>(&scratch.log_sum_exp, self.log_sum_exp);
        if !complete {
            scratch.leave_nan_alone(rows);
        }
        complete
    }

    /// The first label's logit that can be one.
    #[inline(always)]
    fn anchor(&self) -> f32 {
        for (row, label) in self.labels.iter().enumerate() {
            if let Label::Class(class) = Label::of(label.get(), self.classes as u32, self.ignore_index)
                && let Some(x) = self.x.get(row * self.classes + class)
                && x.get().abs() <= MAX_ANCHOR
            {
                return x.get();
            }
        }
        f32::NAN
    }

    /// Gradients of all rows of a group that has run, but of those that must be computed alone. `complete`: there are none.
    #[inline(always)]
    pub fn gradients<V: Vector>(&self, g: &[Cell<f32>], scratch: &Scratch, complete: bool) {
        let (labels, classes) = (self.labels, self.classes);
        match classes / LANES {
            0 => scale_rows::<V, 0>(labels, classes, g, scratch, complete),
            1 => scale_rows::<V, 1>(labels, classes, g, scratch, complete),
            2 => scale_rows::<V, 2>(labels, classes, g, scratch, complete),
            _ => scale_rows::<V, ANY>(labels, classes, g, scratch, complete),
        }
    }
}

/// One row whose label's logit is the anchor; [`Terms::NONE`] where it can not be.
#[inline(always)]
pub fn near<V: Vector>(x: Logits, label: usize, scratch: &Scratch) -> Terms {
    let anchor = x.high.get(label).map_or(f32::NAN, Cell::get);
    if !x.low.is_empty() || anchor.is_nan() || anchor.abs() > MAX_ANCHOR || !split::<V>(x.high, anchor, scratch) {
        return Terms::NONE;
    }
    let [power, tail] = [&scratch.powers, &scratch.tails].map(|parts| take(parts, label));
    let own = f64::from(power) + f64::from(tail);
    let others = sum::<V>(x.high.len(), scratch);
    if others < own * MAX_RATIO { Terms::new::<V::Wide>(others, own, f64::from(anchor)) } else { Terms::NONE }
}

/// The sum of all terms but the label's, around any centre in two parts; NaN where that is not right for the row.
#[inline(always)]
pub fn sum_around<V: Vector>(x: Logits, label: usize, centre: f32, centre_low: f32, scratch: &Scratch) -> f64 {
    let accepted = pass::<V, Centred<V>>(x.high, x.low, centre, centre_low, LIFT, scratch);
    take(&scratch.powers, label);
    take(&scratch.tails, label);
    let sum = sum::<V>(x.high.len(), scratch);
    if accepted { in_range(sum) } else { f64::NAN }
}

/// A part of the label's term, and 0 in its place.
#[inline(always)]
fn take(parts: &[Cell<f32>], label: usize) -> f32 {
    parts.get(label).map_or(f32::NAN, |part| part.replace(0.0))
}

/// Sum of the terms that are in the scratch memory as a row of so many classes.
#[inline(always)]
fn sum<V: Vector>(classes: usize, scratch: &Scratch) -> f64 {
    sums::<V>(classes, 1, scratch);
    scratch.others.first().map_or(f64::NAN, Cell::get)
}

/// Logit and term of each label, and 0 in the place of the term.
#[inline(never)]
fn take_labels(x: &[Cell<f32>], labels: &[Cell<i32>], classes: usize, ignored: i64, scratch: &Scratch) {
    // As long as the logits: one check of a place serves all.
    let powers = scratch.powers.get(..x.len()).unwrap_or(&[]);
    let tails = scratch.tails.get(..x.len()).unwrap_or(&[]);
    let mut first = 0;
    for (label, (logit, own)) in labels.iter().zip(scratch.logit.iter().zip(&scratch.own)) {
        let label = label.get();
        let class = label as u32 as usize;
        let mut term = f64::NAN;
        if class < classes
            && i64::from(label) != ignored
            && let (Some(x), Some(p), Some(t)) =
                (x.get(first + class), powers.get(first + class), tails.get(first + class))
            && x.get().abs() <= MAX_ANCHOR
        {
            logit.set(x.get());
            term = f64::from(p.replace(0.0)) + f64::from(t.replace(0.0));
        }
        own.set(term);
        first += classes;
    }
}

/// The first half of the logarithms, and what the gradient needs; NaN where a row is not accepted.
#[inline(never)]
fn quotients<V: Vector, const GRADIENT: bool>(rows: usize, scale: f64, scratch: &Scratch) {
    // What lies behind the last row is accepted.
    for row in rows..rows.next_multiple_of(4) {
        for (place, value) in [(&scratch.own, (1u128 << ANCHOR_LIFT) as f64), (&scratch.others, 0.0)] {
            if let Some(place) = place.get(row) {
                place.set(value);
            }
        }
    }
    let constant = Twice::<V::Wide>::constant;
    let (least, most, ratio) = (constant(&OWN.0), constant(&OWN.1), constant(&MAX_RATIO));
    let (one, nan) = (constant(&1.0), constant(&f64::NAN));
    let (scale, minus_scale) = (Twice::splat(scale), Twice::splat(-scale));
    let quotient = Quotient::load();
    let inputs = fours(&scratch.others, rows).zip(fours(&scratch.own, rows));
    let results = fours(&scratch.quotient, rows).zip(fours(&scratch.k_ln_2, rows));
    let gradient = fours(&scratch.factor, rows).zip(fours(&scratch.own_gradient, rows));
    for (((others, own), (quotients, k_ln_2)), (factor, own_gradient)) in inputs.zip(results).zip(gradient) {
        let (others, own) = (Twice::load(others), Twice::load(own));
        let accepted = least.below(own).and(own.below(most)).and(others.below(own.mul(ratio)));
        let total = others.add(own);
        let (s, k) = quotient.of(others, own, total);
        s.store(quotients);
        accepted.select(k, nan).store(k_ln_2);
        if GRADIENT {
            let share = one.div(total);
            share.mul(scale).store(factor);
            others.mul(share).mul(minus_scale).store_narrow(own_gradient);
        }
    }
}

/// The second half: loss and log-sum-exp of each row, NaN where it is not accepted. Whether all are.
#[inline(never)]
fn losses<V: Vector>(rows: usize, scratch: &Scratch) -> bool {
    let log = Log::<Twice<V::Wide>>::load();
    let mut all = Twice::splat(0.0);
    let inputs = fours(&scratch.quotient, rows).zip(fours(&scratch.k_ln_2, rows)).zip(fours(&scratch.logit, rows));
    let results = fours(&scratch.loss, rows).zip(fours(&scratch.log_sum_exp, rows));
    for (((quotient, k_ln_2), logit), (loss, log_sum_exp)) in inputs.zip(results) {
        let nll = log.of(Twice::load(quotient), Twice::load(k_ln_2));
        all = all.add(nll);
        nll.store_narrow(loss);
        nll.add(Twice::widen(V::load(logit))).store_narrow(log_sum_exp);
    }
    let [a, b] = all.0.add(all.1).to_array();
    !(a + b).is_nan()
}

/// [`scale_rows`] for any number of classes.
const ANY: usize = usize::MAX;

/// `WHOLE` whole vectors a row and a rest: see [`sums`].
#[inline(never)]
fn scale_rows<V: Vector, const WHOLE: usize>(
    labels: &[Cell<i32>],
    classes: usize,
    g: &[Cell<f32>],
    scratch: &Scratch,
    complete: bool,
) {
    let whole = if WHOLE == ANY { classes / LANES } else { WHOLE };
    // Reaches into the next row, which will be written later; where it need not be read again.
    let beyond = (whole + 1) * LANES;
    let (mut g, mut powers, mut tails) = (g, &scratch.powers[..], &scratch.tails[..]);
    for (row, (label, (factor, own))) in labels.iter().zip(scratch.factor.iter().zip(&scratch.own_gradient)).enumerate()
    {
        let factor = Factor::<V>::new(factor.get());
        let done = complete || !scratch.is_alone(row);
        if let (true, Some(p), Some(t), Some(g)) =
            (complete, powers.get(..beyond), tails.get(..beyond), g.get(..beyond))
        {
            let parts = p.as_chunks::<LANES>().0.iter().zip(t.as_chunks::<LANES>().0);
            for ((power, tail), g) in parts.zip(g.as_chunks::<LANES>().0) {
                factor.times_parts(V::load(power), V::load(tail)).store(g);
            }
        } else if let (true, Some(g)) = (done, g.get(..classes)) {
            let (to, end) = g.as_chunks::<LANES>();
            let mut parts = powers.as_chunks::<LANES>().0.iter().zip(tails.as_chunks::<LANES>().0);
            for (g, (power, tail)) in to.iter().zip(&mut parts) {
                factor.times_parts(V::load(power), V::load(tail)).store(g);
            }
            if let Some((power, tail)) = parts.next() {
                factor.times_parts(V::load(power), V::load(tail)).store_partial(end);
            }
        }
        if done {
            // Accepted, so this is a class.
            if let Some(g) = g.get(label.get() as u32 as usize) {
                g.set(own.get());
            }
        }
        g = g.get(classes..).unwrap_or(&[]);
        powers = powers.get(classes..).unwrap_or(&[]);
        tails = tails.get(classes..).unwrap_or(&[]);
    }
}

#[inline(always)]
fn copy<V: Vector>(from: &[Cell<f32>], to: &[Cell<f32>]) {
    let (chunks, rest) = to.as_chunks::<LANES>();
    let (from, _) = from.as_chunks::<LANES>();
    for (from, to) in from.iter().zip(chunks) {
        V::load(from).store(to);
    }
    if let Some(from) = from.get(chunks.len()) {
        V::load(from).store_partial(rest);
    }
}
