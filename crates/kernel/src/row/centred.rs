//! A row that leaves the window of its label, summed again around its label or its largest logit.

use super::Row;
use super::write::fill;
use crate::ends::{Known, SMALLEST_LOSS, smallest_part};
use crate::exp::exp;
use crate::label::Label;
use crate::log1p::log1p;
use crate::power::{lost_by_division, times_exp, two_sum};
use crate::scratch::{PerRow, Reference};
use crate::terms::Way;
use crate::vector::{Pair, Single, Wide};

impl<V: Single> Row<'_, V> {
    /// Computes a row that leaves the window of its label: logits of any finite size, labels far below the maximum or at -inf. Sums around
    /// the label first, and if that fails around the largest logit.
    #[inline(always)]
    pub fn run_centred(&self, best: i32) {
        let scratch = self.scratch;
        let largest = self.reference(usize::try_from(best).unwrap_or(usize::MAX));
        let reference = self.reference(self.reference_class(Some(best)));
        if reference.logit == f64::NEG_INFINITY {
            scratch.set_reference(Reference { anchor: largest.logit, ..reference });
        }
        if let Label::Class(label) = self.label {
            scratch.label_slope.set(self.line.capped::<V>(label, scratch).1);
        }
        loop {
            let Some(small) = self.find_centred(&largest) else { return self.leave_broken() };
            if !small {
                break;
            }
            // Measured from the largest logit, all parts of the loss have the same sign.
            scratch.set_reference(largest);
        }
        if self.gradient.is_some() {
            self.write(Way::Centred, 0, self.classes);
        }
    }

    /// Sets the number that [`Way::Centred`] subtracts.
    #[inline(always)]
    pub fn centre(&self, logit: f64) {
        let rounded = if self.line.double() { logit } else { f64::from(logit as f32) };
        self.scratch.centre.set(rounded);
        self.scratch.centre_low.set(logit - rounded);
        if self.line.softcap == 0.0 {
            // Without a softcap, logits have no second parts.
            fill(self.scratch.low_of(self.line.double()), 1, 0.0);
        }
    }

    /// Sums and finishes the row. Returns none if the row has no result, else whether the loss has lost digits to cancellation.
    #[inline(always)]
    fn find_centred(&self, largest: &Reference) -> Option<bool> {
        let reference = self.scratch.reference();
        if reference.logit.is_nan() {
            return None;
        }
        let (mut centre, mut around_largest) = (reference.logit, false);
        loop {
            if centre.is_finite() {
                self.centre(centre);
                self.sum(Way::Centred);
                if !self.scratch.sums().off_label.is_nan() {
                    return Some(self.finish_centred(largest, centre));
                }
            }
            if around_largest {
                return None;
            }
            (centre, around_largest) = (largest.logit, true);
        }
    }

    /// Does the work of [`crate::ends`] for sums around any centre. Returns whether the loss has lost digits to cancellation.
    #[inline(always)]
    fn finish_centred(&self, largest: &Reference, centre: f64) -> bool {
        let (scratch, range) = (self.scratch, self.range());
        let (reference, sums) = (scratch.reference(), scratch.sums());
        let splat = V::Wide::splat;
        let lift = range.unit();
        let (x, given, t) = (reference.logit, centre, self.temperature);
        let (logit, centre) = (x / t, given / t);
        let (mut distance, mut lost) = (centre - logit, 0.0);
        if self.line.double() {
            // The difference of two quotients has their rounding errors. Halves, so that the difference of large logits does not overflow.
            let (half, rest) = two_sum(0.5 * given, -0.5 * x);
            let quotient = half / t;
            distance = 2.0 * quotient;
            lost = 2.0 * (lost_by_division(half, t, quotient) + rest / t);
        }
        // At a distance of 40 or more, the label adds nothing to the sum. But its own gradient may be its probability, if it has no weight.
        let term =
            if distance < 600.0 { exp::<V::Wide>(-distance) * lift } else { times_exp::<V::Wide>(lift, -distance) };
        let label_term = if lost.is_finite() { term - term * lost } else { term };
        let log = |a: f64, b: f64| log1p::<V::Wide, f64>(splat(a), splat(b), splat(a + b)).to_array()[0];
        let close = distance < 40.0;
        let rest = if close { log(sums.off_label, label_term) } else { log(sums.off_label - lift, lift) };
        let (nll, log_sum_exp) = if close { (rest, logit + rest) } else { (distance + rest, centre + rest) };
        let total = sums.off_label + label_term;
        self.take_weights();
        if self.common.plain {
            let one = if self.counts() { 1.0 } else { 0.0 };
            self.put(&scratch.weight, one);
            self.put(&scratch.sample, one);
            self.put(&scratch.off_weight, 0.0);
            self.put(&scratch.margin, 0.0);
        }
        let get = |all: &PerRow| self.get(all);
        // A reference at -inf: the anchor is the centre.
        let nll_of_margins = if reference.anchor == reference.logit { nll } else { rest };
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
        let least = (SMALLEST_LOSS * nll.min(1.0)).max(smallest_part(self.line.double()) * nll_of_margins);
        let small = self.targets.is_dense() && reference.class != largest.class && loss < least * all;
        let sampled = sample * self.common.scale;
        self.put(&scratch.log_sum_exp, log_sum_exp);
        self.put(&scratch.factor, sampled * (q + rest) * share);
        // Products with probabilities do not overflow.
        self.put(&scratch.label_gradient, sampled * (rest * (label_term * share) - q * (sums.off_label * share)));
        self.put(&scratch.loss, if self.counts() { sample * loss } else { 0.0 });
        small
    }

    /// Writes the results of a row without a loss: it has a NaN or +inf, is -inf throughout, or its label is not a class.
    #[inline(always)]
    pub(super) fn leave_broken(&self) {
        self.put(&self.scratch.log_sum_exp, f64::NAN);
        self.put(&self.scratch.loss, if self.label == Label::Ignored { 0.0 } else { f64::NAN });
        self.fill(if self.label == Label::Ignored { 0.0 } else { f64::NAN });
    }
}
