//! One row of many classes, and any row that is computed alone.
//!
//! ```text
//! shift by a power of two near the label's term; for each class j but the label:
//!     e_j = exp(x_j)                   -> the gradient's memory, if that is not the logits'
//!     O += e_j                         in f64
//! e_y  = exp(x_y), in f64
//! loss = log1p(O / e_y)
//! g_j  = scale * e_j / (O + e_y)       g_y = -scale * O / (O + e_y)
//! ```
//!
//! Where this departs from the usual "subtract the maximum, then log of the sum", and why:
//!
//! - No maximum is looked for: one pass over the logits instead of two. Any power of two near the label's term keeps the
//!   sum in range (see [`crate::exp`]), and rows for which it does not are recognised afterwards and summed again, around their
//!   label or their largest logit ([`Way::Centred`]).
//! - The label's own term is left out of the sum. A confident row's loss is the ratio of the two; once they are added,
//!   it is gone. For the same reason the label's gradient is not p - 1.
//! - A term is rounded once. Sums are of `f64`: a million equal terms would otherwise lose hundreds of ulp, and a large term
//!   would swallow small ones.
//! - The gradient's memory holds the e_j until the sum is known: one exponential for both results. Where it cannot (in place, with a
//!   stride between classes), terms are made again, a tile at a time.
//!
//! The sum of a row is that of its segments, in order: several threads may each have summed some ([`crate::partial`]).

use crate::ends::{Common, Known};
use crate::exp::{Range, exp};
use crate::label::Label;
use crate::largest;
use crate::log1p::log1p;
use crate::scratch::{PerRow, ROWS, Scratch, tile_of};
use crate::targets::Targets;
use crate::terms::{Loop, Way, each_margin, terms, write_gradient};
use crate::tile::Line;
use crate::vector::{Element, Pair, Vector, Wide};
use core::cell::Cell;

/// Classes of a segment.
pub const SEGMENT: usize = 8192;

/// Where a gradient goes: the places of the classes.
#[derive(Clone, Copy)]
pub struct Gradient<'a, E> {
    /// Entries.
    pub cells: &'a [Cell<E>],
    /// From one class to the next.
    pub stride: usize,
    /// Whether terms may be kept there until they are scaled: not over the logits, and not where sums were found in another run.
    pub keeps: bool,
}

/// One row.
#[derive(Clone, Copy)]
pub struct Row<'a, V: Vector> {
    /// Number of classes.
    pub classes: usize,
    /// The logits.
    pub line: Line<'a, V::Element>,
    /// Their divisor.
    pub temperature: f64,
    /// What the label means.
    pub label: Label,
    /// Sample weight.
    pub sample: f64,
    /// q
    pub targets: Targets<'a>,
    /// Of all rows.
    pub common: Common,
    /// Output, or none.
    pub gradient: Option<Gradient<'a, V::Element>>,
    /// Of this thread.
    pub scratch: &'a Scratch,
    /// The row's place in the scratch area's arrays.
    pub place: usize,
}

/// Parts of a row that is computed: each is a function of its own, that several places call.
pub trait Parts {
    /// [`Row::sum_segment`]
    fn sum(&self, way: Way, from: usize, to: usize);

    /// [`Row::write`]
    fn write(&self, way: Way, from: usize, to: usize);

    /// [`Row::argmax`]
    fn argmax(&self, from: usize, to: usize) -> i32;
}

/// The sums of a part of a row: of the terms, of q, and of the margins, of all classes but the reference.
#[derive(Clone, Copy, Default)]
pub struct Sums {
    /// O
    pub off_label: f64,
    /// Q
    pub off_weight: f64,
    /// T M
    pub margin: f64,
}

/// The reference class of a row: its label or, with soft targets, its largest logit.
#[derive(Clone, Copy)]
pub struct Reference {
    /// The class; beyond the end where the row has none.
    pub class: usize,
    /// Its logit after the softcap.
    pub logit: f64,
    /// The slope of the softcap there.
    pub slope: f64,
    /// A finite logit that margins are measured from: its own, unless that is -inf.
    pub anchor: f64,
}

impl<'a, V: Vector> Row<'a, V> {
    /// Sums the row, as far as that goes around its reference; the ends of several rows are then found together. `best` is the class
    /// with the largest logit, if it is known. Nothing is written but kept terms.
    #[inline(always)]
    pub fn begin(&self, best: Option<i32>, parts: &impl Parts) {
        let scratch = self.scratch;
        let reference = self.reference(self.reference_class(best));
        let mut sums = Sums { off_label: f64::NAN, ..Sums::default() };
        let mut way = Way::Direct;
        if self.near(&reference) {
            let capped = self.line.softcap != 0.0;
            if scratch.clamped.get() != 0.0 && !capped {
                way = Way::Clamped;
            }
            sums = self.sum(way, &reference, parts);
            if sums.off_label.is_nan() && way == Way::Direct && !capped {
                way = Way::Clamped;
                sums = self.sum(way, &reference, parts);
                scratch.clamped.set(1.0);
            }
        }
        self.end(way, &reference, &sums);
    }

    /// Leaves what the ends of the row are found from at its place in the scratch area's arrays.
    #[inline(always)]
    pub fn end(&self, way: Way, reference: &Reference, sums: &Sums) {
        let scratch = self.scratch;
        self.put(&scratch.off_label, sums.off_label);
        self.put(&scratch.power, self.power());
        scratch.labels[self.place % ROWS].set(reference.class as i32);
        scratch.unfit[self.place % ROWS].set(u32::from(way == Way::Clamped));
        self.put(&scratch.slope_at_label, reference.slope);
        self.set(reference, sums);
    }

    /// The gradient of a row whose ends were found.
    #[inline(always)]
    pub fn write_found(&self, parts: &impl Parts) {
        let scratch = self.scratch;
        let clamped = scratch.unfit[self.place % ROWS].get() == 1;
        let class = scratch.labels[self.place % ROWS].get() as u32 as usize;
        scratch.shift.set(Range::of::<V::Element>().shift(self.get(&scratch.power)));
        scratch.reference.set(Reference { class, logit: 0.0, slope: self.get(&scratch.slope_at_label), anchor: 0.0 });
        parts.write(if clamped { Way::Clamped } else { Way::Direct }, 0, self.classes);
    }

    #[inline(always)]
    fn put(&self, all: &PerRow, x: f64) {
        all[self.place % ROWS].set(x);
    }

    #[inline(always)]
    fn get(&self, all: &PerRow) -> f64 {
        all[self.place % ROWS].get()
    }

    /// The class of the reference.
    #[inline(always)]
    pub fn reference_class(&self, best: Option<i32>) -> usize {
        match self.label {
            Label::Class(class) => class,
            Label::Ignored => 0,
            Label::Invalid => usize::MAX,
            Label::None => usize::try_from(best.unwrap_or(-1)).unwrap_or(usize::MAX),
        }
    }

    /// What is known of a class before anything is summed.
    #[inline(always)]
    pub fn reference(&self, class: usize) -> Reference {
        if class >= self.classes {
            return Reference { class, logit: f64::NAN, slope: 1.0, anchor: f64::NAN };
        }
        let (logit, slope) = self.line.capped::<V>(class, self.scratch);
        Reference { class, logit, slope, anchor: logit }
    }

    /// Whether terms can be made around this logit; then that is so from here on.
    #[inline(always)]
    pub fn near(&self, reference: &Reference) -> bool {
        let range = Range::of::<V::Element>();
        let logit = self.divided(reference.logit);
        let near = logit.abs() <= range.max_shift;
        if near {
            self.scratch.shift.set(range.shift(Range::power_near(logit)));
        }
        near
    }

    /// A logit after the temperature.
    #[inline(always)]
    fn divided(&self, logit: f64) -> f64 {
        if self.temperature == 1.0 { logit } else { logit / self.temperature }
    }

    /// The power of two that the terms are relative to.
    #[inline(always)]
    pub fn power(&self) -> f64 {
        let range = Range::of::<V::Element>();
        range.bias + range.lift - (self.scratch.shift.get() - range.round)
    }

    /// Of the classes `from` to `to`, the first with the largest logit as it is given.
    #[inline(always)]
    pub fn argmax(&self, from: usize, to: usize) -> i32 {
        let (mut best, mut most) = (-1, f64::NAN);
        let tile =
            if self.line.stride == 1 && !self.line.own.is_empty() { usize::MAX } else { tile_of::<V::Element>() };
        let (mut from, end) = (from, to);
        while from < end {
            let to = from.saturating_add(tile).min(end);
            let found = largest::argmax::<V>(self.line.raw::<V>(from, to, self.scratch.tile()));
            if let Ok(place) = usize::try_from(found) {
                let x = self.line.get(from + place);
                if best < 0 || x > most {
                    (best, most) = ((from + place) as i32, x);
                }
            }
            from = to;
        }
        best
    }

    /// Whether terms are kept in the gradient's memory until they are scaled.
    #[inline(always)]
    fn kept(&self) -> Option<&'a [Cell<V::Element>]> {
        let both = self.line.softcap != 0.0 && self.targets.is_dense();
        match self.gradient {
            Some(Gradient { cells, stride: 1, keeps: true }) if !both && self.counts() => Some(cells),
            _ => None,
        }
    }

    /// Whether loss and gradient are more than 0 or NaN.
    #[inline(always)]
    fn counts(&self) -> bool {
        matches!(self.label, Label::Class(_) | Label::None)
    }

    /// Sums of the whole row; O is NaN where this way is not right for it.
    #[inline(always)]
    pub fn sum(&self, way: Way, reference: &Reference, parts: &impl Parts) -> Sums {
        self.scratch.reference.set(*reference);
        let mut sums = Sums::default();
        let mut from = 0;
        while from < self.classes && !sums.off_label.is_nan() {
            let to = (from + SEGMENT).min(self.classes);
            parts.sum(way, from, to);
            sums.add(&self.scratch.sums.get());
            from = to;
        }
        Sums { off_label: Range::of::<V::Element>().checked(sums.off_label), ..sums }
    }

    /// Sums of the classes `from` to `to`, likewise, into the scratch area; the reference is there.
    #[inline(always)]
    pub fn sum_segment(&self, way: Way, from: usize, to: usize) {
        let Self { line, targets, scratch, .. } = self;
        let reference = scratch.reference.get();
        let dense = targets.is_dense() && self.counts();
        let which = self.loop_of(way).sum();
        scratch.begin();
        let length = self.tile_length(way, dense && !targets.is_direct::<V::Element>());
        let mut at = from;
        while at < to {
            let end = to.min(at.saturating_add(length));
            let tile = line.tile::<V>(at, end, scratch);
            let skip = reference.class.wrapping_sub(at);
            let kept = self.kept().and_then(|all| all.get(at..end));
            let which = if kept.is_some() { which.keep() } else { which };
            terms::<V>(which, tile.high, tile.low, kept.unwrap_or(tile.high), skip, scratch);
            if let Some(kept) = kept {
                self.slope(kept);
            }
            if dense {
                let entries = targets.tile::<V>(at, end, scratch).entries;
                let low = if line.softcap == 0.0 { &[] } else { tile.low };
                if entries.is_empty() {
                    each_margin::<V, false>(tile.high, low, entries, skip, reference.anchor, scratch);
                } else {
                    each_margin::<V, true>(tile.high, low, entries, skip, reference.anchor, scratch);
                }
            }
            at = end;
        }
        let off_label =
            if which.accepts::<V>(scratch.trace.get()) { scratch.terms::<V::Wide>().total() } else { f64::NAN };
        let (weights, margins) = scratch.weights::<V::Wide>();
        scratch.sums.set(Sums { off_label, off_weight: weights.total(), margin: margins.total() });
    }

    #[inline(always)]
    fn tile_length(&self, way: Way, staged: bool) -> usize {
        if staged || way == Way::Centred { tile_of::<V::Element>() } else { self.line.tile_length() }
    }

    #[inline(always)]
    fn loop_of(&self, way: Way) -> Loop {
        Loop::new(way, self.line.softcap, self.temperature)
    }

    /// Multiplies the terms of a tile by the softcap's slopes, if it is only they that the gradient is made of.
    #[inline(always)]
    fn slope(&self, terms: &[Cell<V::Element>]) {
        if self.line.softcap != 0.0 {
            write_gradient::<V>(terms, &[], self.scratch.slope(), terms, 1.0, 0.0);
        }
    }

    /// Logit and weights, at the row's place in the scratch area's arrays.
    #[inline(always)]
    fn set(&self, reference: &Reference, sums: &Sums) {
        let scratch = self.scratch;
        self.put(&scratch.logit, self.divided(reference.logit));
        let counts = self.counts();
        if self.common.plain {
            self.put(&scratch.sample, f64::from(u8::from(counts)));
            return;
        }
        let is_label = self.label != Label::None && self.label == Label::Class(reference.class);
        self.put(&scratch.weight, if counts { self.targets.weight(reference.class, is_label) } else { 0.0 });
        self.put(&scratch.sample, if counts { self.sample } else { 0.0 });
        let uniform = self.targets.is_dense() && !self.targets.has_entries();
        let factor = if self.targets.soft.is_empty() { self.targets.spread } else { 1.0 };
        let off_weight = if uniform { (self.classes - 1) as f64 } else { sums.off_weight };
        // The label's share beyond that of all classes is of the label only.
        let (mut off_weight, mut margin) = (off_weight * factor, sums.margin * factor / self.temperature);
        if let Label::Class(label) = self.label
            && label != reference.class
            && self.targets.is_dense()
        {
            let more = self.targets.class_weight(label) * (1.0 - self.targets.smoothing);
            off_weight += more;
            margin += more * ((reference.anchor - self.line.capped::<V>(label, scratch).0) / self.temperature);
        }
        self.put(&scratch.off_weight, if counts { off_weight } else { 0.0 });
        self.put(&scratch.margin, if counts { margin } else { 0.0 });
    }

    /// A row that leaves the window of its label: logits of any finite size, labels far below the maximum or at -inf. Around the label,
    /// which needs no search for the largest logit, and else around that.
    #[inline(always)]
    pub fn run_centred(&self, best: i32, parts: &impl Parts) {
        let scratch = self.scratch;
        let largest = self.reference(usize::try_from(best).unwrap_or(usize::MAX));
        let mut reference = self.reference(self.reference_class(Some(best)));
        if reference.logit == f64::NEG_INFINITY {
            reference.anchor = largest.logit;
        }
        if let Label::Class(label) = self.label {
            scratch.label_slope.set(self.line.capped::<V>(label, scratch).1);
        }
        loop {
            let Some(small) = self.find_centred(&reference, &largest, parts) else { return self.leave_broken() };
            if !small {
                break;
            }
            // All parts of the loss have one sign where it is measured from the largest logit.
            reference = largest;
        }
        if self.gradient.is_some() {
            parts.write(Way::Centred, 0, self.classes);
        }
    }

    /// Sets what [`Way::Centred`] subtracts.
    #[inline(always)]
    pub fn centre(&self, logit: f64) {
        let rounded = V::Element::from_f64(logit).to_f64();
        self.scratch.centre.set(rounded);
        self.scratch.centre_low.set(logit - rounded);
        if self.line.softcap == 0.0 {
            // No second parts.
            fill(self.scratch.low::<V::Element>(), 1, V::Element::default());
        }
    }

    /// None where the row has no result; else whether the loss is a small difference of large parts.
    #[inline(always)]
    fn find_centred(&self, reference: &Reference, largest: &Reference, parts: &impl Parts) -> Option<bool> {
        if reference.logit.is_nan() {
            return None;
        }
        let (mut centre, mut around_largest) = (reference.logit, false);
        loop {
            if centre.is_finite() {
                self.centre(centre);
                let sums = self.sum(Way::Centred, reference, parts);
                if !sums.off_label.is_nan() {
                    return Some(self.finish_centred(reference, largest, &sums, centre));
                }
            }
            if around_largest {
                return None;
            }
            (centre, around_largest) = (largest.logit, true);
        }
    }

    /// As [`Row::finish`], from the sums around any centre. Whether the loss is a small difference of large parts.
    #[inline(always)]
    fn finish_centred(&self, reference: &Reference, largest: &Reference, sums: &Sums, centre: f64) -> bool {
        let (scratch, range) = (self.scratch, Range::of::<V::Element>());
        let splat = V::Wide::splat;
        let lift = power_of_two(range.lift);
        let (logit, centre) = (reference.logit / self.temperature, centre / self.temperature);
        // From a distance of 40 on, the label adds nothing to the sum.
        let distance = centre - logit;
        let label_term = exp(splat(-distance.min(600.0))).to_array()[0] * lift;
        let log = |a: f64, b: f64| log1p::<V::Wide, f64>(splat(a), splat(b), splat(a + b)).to_array()[0];
        let near = distance < 40.0;
        let rest = if near { log(sums.off_label, label_term) } else { log(sums.off_label - lift, lift) };
        let (nll, log_sum_exp) = if near { (rest, logit + rest) } else { (distance + rest, centre + rest) };
        let total = sums.off_label + label_term;
        self.set(reference, sums);
        if self.common.plain {
            let one = if self.counts() { 1.0 } else { 0.0 };
            self.put(&scratch.weight, one);
            self.put(&scratch.sample, one);
            self.put(&scratch.off_weight, 0.0);
            self.put(&scratch.margin, 0.0);
        }
        let get = |all: &PerRow| self.get(all);
        let nll_of_margins =
            if reference.anchor == reference.logit { nll } else { log_sum_exp - reference.anchor / self.temperature };
        let known = Known {
            nll: splat(nll),
            nll_of_margins: splat(nll_of_margins),
            log_sum_exp: splat(log_sum_exp),
            q: splat(get(&scratch.weight)),
            off_weight: splat(get(&scratch.off_weight)),
            margin: splat(get(&scratch.margin)),
            sample: splat(get(&scratch.sample)),
        };
        let loss = known.loss(self.common.z_loss).to_array()[0];
        let rest = known.rest(self.common.z_loss).to_array()[0];
        let (q, sample, share) = (get(&scratch.weight), get(&scratch.sample), 1.0 / total);
        let all = q + get(&scratch.off_weight);
        let small = self.targets.is_dense() && reference.class != largest.class && loss < 0.75 * all * nll.min(1.0);
        let sampled = sample * self.common.scale;
        self.put(&scratch.share, share);
        self.put(&scratch.log_sum_exp, log_sum_exp);
        self.put(&scratch.factor, sampled * (q + rest) * share);
        self.put(&scratch.label_gradient, sampled * (rest * label_term - q * sums.off_label) * share);
        self.put(&scratch.loss, if self.counts() { sample * loss } else { 0.0 });
        small
    }

    /// No result: the row has a NaN or +inf, or is -inf throughout, or its label is no class.
    #[inline(always)]
    fn leave_broken(&self) {
        self.put(&self.scratch.log_sum_exp, f64::NAN);
        self.put(&self.scratch.loss, if self.label == Label::Ignored { 0.0 } else { f64::NAN });
        self.fill(if self.label == Label::Ignored { 0.0 } else { f64::NAN });
    }

    /// The same gradient everywhere.
    #[inline(always)]
    pub fn fill(&self, value: f64) {
        if let Some(Gradient { cells, stride, .. }) = self.gradient {
            fill(cells, stride, V::Element::from_f64(value));
        }
    }

    /// The gradient of the classes `from` to `to`, once the sums of all are known; the reference is in the scratch area.
    #[inline(always)]
    pub fn write(&self, way: Way, from: usize, to: usize) {
        let (reference, classes) = (self.scratch.reference.get(), from..to);
        let Some(Gradient { cells, stride, .. }) = self.gradient else { return };
        let Self { line, targets, scratch, .. } = self;
        if !self.counts() {
            return fill(cells.get(classes.start * stride..).unwrap_or(&[]), stride, V::Element::default());
        }
        let dense = targets.is_dense();
        let factor = self.get(&scratch.factor);
        let weight = if dense { self.common.scale * self.sample } else { 0.0 };
        let kept = self.kept();
        let staged = kept.is_none() || dense && !targets.is_direct::<V::Element>();
        let length = if staged { tile_of::<V::Element>() } else { usize::MAX };
        let mut at = classes.start;
        while at < classes.end {
            let end = classes.end.min(at.saturating_add(length));
            let made = match kept.and_then(|all| all.get(at..end)) {
                Some(kept) => kept,
                None => {
                    let tile = line.tile::<V>(at, end, scratch);
                    let made = scratch.term().get(..end - at).unwrap_or(&[]);
                    terms::<V>(self.loop_of(way).keep(), tile.high, tile.low, made, usize::MAX, scratch);
                    if !dense {
                        self.slope(made);
                    }
                    made
                }
            };
            let (entries, weight) = if dense {
                let q = targets.tile::<V>(at, end, scratch);
                (q.entries, q.weight * weight)
            } else {
                (&[][..], 0.0)
            };
            let slope = if dense && line.softcap != 0.0 { scratch.slope() } else { &[] };
            let to = if stride == 1 { cells.get(at..end).unwrap_or(&[]) } else { made };
            write_gradient::<V>(made, entries, slope, to, factor, weight);
            if stride != 1 {
                scatter(made, cells.get(at * stride..).unwrap_or(&[]), stride);
            }
            at = end;
        }
        self.write_others(&reference, &classes);
    }

    /// The entries that are not made of their term: the reference's and, where that is another class, the label's.
    #[inline(always)]
    fn write_others(&self, reference: &Reference, classes: &core::ops::Range<usize>) {
        let Some(Gradient { cells, stride, .. }) = self.gradient else { return };
        let put = |class: usize, value: f64| {
            if let (true, Some(to)) = (classes.contains(&class), cells.get(class * stride)) {
                to.set(V::Element::from_f64(value));
            }
        };
        put(reference.class, self.get(&self.scratch.label_gradient) * reference.slope);
        if let Label::Class(label) = self.label
            && label != reference.class
            && classes.contains(&label)
            && let Some(to) = cells.get(label * stride)
        {
            // So far it has what all classes have of q.
            let more = self.targets.class_weight(label) * (1.0 - self.targets.smoothing);
            let slope = self.scratch.label_slope.get();
            put(label, to.get().to_f64() - self.common.scale * self.sample * more * slope);
        }
    }
}

impl Sums {
    /// Adds those of the next segment.
    #[inline(always)]
    pub fn add(&mut self, other: &Self) {
        self.off_label += other.off_label;
        self.off_weight += other.off_weight;
        self.margin += other.margin;
    }
}

#[inline(always)]
fn power_of_two(n: f64) -> f64 {
    f64::from_bits(((1023 + n as i64) as u64) << 52)
}

#[inline(never)]
fn fill<E: Element>(cells: &[Cell<E>], stride: usize, value: E) {
    let mut place = 0;
    while let Some(cell) = cells.get(place) {
        cell.set(value);
        place += stride;
    }
}

/// Every `stride`-th entry of `to`, from the first on.
#[inline(never)]
pub fn scatter<E: Element>(from: &[Cell<E>], to: &[Cell<E>], stride: usize) {
    let mut place = 0;
    for x in from {
        if let Some(to) = to.get(place) {
            to.set(x.get());
        }
        place += stride;
    }
}
