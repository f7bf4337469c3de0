//! Computes loss, log-sum-exp and the factor of the gradient from the sums of a row. In `f64`, four rows at a time.
//!
//! One formula covers all options. With nll_j = lse - x_j, where x is capped and divided by the temperature, the weights q of
//! [`crate::targets`], a reference class r, the sample weight s and the z-loss z:
//!
//! ```text
//! loss = s (q_r nll_r + sum_{j != r} q_j nll_j + z lse^2)
//!        sum_{j != r} q_j nll_j = Q nll_r + M,    Q = sum_{j != r} q_j,    M = sum_{j != r} q_j (x_r - x_j)
//! g_j  = s ((q_r + Q + 2 z lse) p_j - q_j)
//! g_r  = s ((Q + 2 z lse) p_r - q_r (1 - p_r))
//! ```
//!
//! r is the label or, with soft targets, the class of the largest logit. nll_r = log1p(O / e_r) and 1 - p_r = O / (O + e_r) come from
//! the off-label sum O, not from a difference, so a confident row keeps its digits.

use crate::exp::{ExpWide, Range};
use crate::log1p::{Log, Quotient};
use crate::power::lost_by_division;
use crate::scratch::{Scratch, fours};
use crate::vector::{Element, Single, Twice, Wide};
use core::cell::Cell;

/// Constants of a run.
#[derive(Clone, Copy)]
pub struct Common {
    /// Whether the logits are `f64`.
    pub double: bool,
    /// Whether rows have only labels and may be ignored: q is 1 at the label, s is 1, and z is 0.
    pub plain: bool,
    /// Whether classes other than the label have weight.
    pub dense: bool,
    /// Whether there is a gradient.
    pub gradient: bool,
    /// Factor of the gradient: that of the reduction, divided by the temperature.
    pub scale: f64,
    /// z
    pub z_loss: f64,
}

/// A row whose logarithm and probabilities are known.
pub struct Known<W> {
    /// nll of the reference.
    pub nll: W,
    /// The same, but finite if the reference is at -inf: measured from the anchor, like the margins.
    pub nll_of_margins: W,
    /// log-sum-exp
    pub log_sum_exp: W,
    /// q of the reference.
    pub q: W,
    /// Q
    pub off_weight: W,
    /// M
    pub margin: W,
    /// s
    pub sample: W,
}

impl<W: Wide> Known<W> {
    /// The loss without the sample weight. A part with weight 0 counts 0, even if it is infinite.
    #[inline(always)]
    pub fn loss(&self, z_loss: f64) -> W {
        let zero = W::splat(0.0);
        let of_reference = self.q.equal(zero).select(zero, self.q.mul(self.nll));
        let rest = self.off_weight.equal(zero).select(zero, self.off_weight.mul(self.nll_of_margins));
        let loss = of_reference.add(rest.add(self.margin));
        if z_loss == 0.0 { loss } else { loss.add(self.log_sum_exp.mul(self.log_sum_exp).mul(W::splat(z_loss))) }
    }

    /// Q + 2 z lse
    #[inline(always)]
    pub fn rest(&self, z_loss: f64) -> W {
        self.off_weight.add(self.log_sum_exp.mul(W::splat(2.0 * z_loss)))
    }
}

/// A loss below this fraction of (q_r + Q) min(1, nll_r) is a small difference of large parts. Such a row is computed again with its largest
/// logit as the reference, where all parts have the same sign.
pub const SMALLEST_LOSS: f64 = 0.75;

/// The same for the fraction of (q_r + Q) nll_r, because the parts are rounded to `f64`.
#[inline(always)]
pub const fn smallest_part(double: bool) -> f64 {
    if double { 0.25 } else { 1.0 / (1u64 << 22) as f64 }
}

/// Computes losses and factors of the first `rows` rows of the scratch area. A row that is not accepted gets the loss NaN. Returns
/// whether all are accepted.
#[inline(always)]
pub fn ends<V: Single>(rows: usize, common: &Common, scratch: &Scratch) -> bool {
    let Common { double, plain, dense, gradient, scale, z_loss } = *common;
    ends_of::<V>(rows, double, plain, dense, gradient, scale, z_loss, scratch)
}

#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn ends_of<V: Single>(
    rows: usize,
    double: bool,
    plain: bool,
    dense: bool,
    gradient: bool,
    scale: f64,
    z_loss: f64,
    scratch: &Scratch,
) -> bool {
    let range = Range::of_type(double);
    // Lanes beyond the last row count as accepted.
    for row in rows..rows.next_multiple_of(4) {
        for (all, value) in [(&scratch.label_term, 1.0), (&scratch.off_label, 0.0), (&scratch.logit, 0.0)] {
            if let Some(place) = all.get(row) {
                place.set(value * range.label.0 * 2.0);
            }
        }
        if !plain {
            for all in [&scratch.weight, &scratch.off_weight, &scratch.margin, &scratch.sample] {
                if let Some(place) = all.get(row) {
                    place.set(0.0);
                }
            }
        }
    }
    // Two loops, so that their constants fit the registers, specialised for the kinds of jobs.
    if plain && gradient {
        quotients::<V, true>(rows, range, scale, scratch);
    } else {
        quotients::<V, false>(rows, range, scale, scratch);
    }
    match (plain, double) {
        (true, false) => losses::<V, f32>(rows, scratch),
        (true, true) => losses::<V, f64>(rows, scratch),
        (false, false) => weighted::<V, f32>(rows, scale, z_loss, dense, gradient, scratch),
        (false, true) => weighted::<V, f64>(rows, scale, z_loss, dense, gradient, scratch),
    }
}

/// Divides `f64` logits of labels by the temperature. Rounding the quotient x / T would change e^(x / T) by |x / T| 2^-53, so what it
/// rounds off is kept in the place of the label's term.
#[inline(never)]
fn divide(rows: usize, temperature: f64, scratch: &Scratch) {
    for (logit, lost) in scratch.logit.iter().zip(&scratch.label_term).take(rows) {
        let (x, quotient) = (logit.get(), logit.get() / temperature);
        logit.set(quotient);
        lost.set(if temperature == 1.0 { 0.0 } else { lost_by_division(x, temperature, quotient) });
    }
}

/// Computes the label's terms from their logits; `lift` is that of the run's shift. `f64` logits are divided by the temperature first.
#[inline(always)]
pub fn label_terms<V: Single>(rows: usize, double: bool, lift: f64, temperature: f64, scratch: &Scratch) {
    if double {
        divide(rows, temperature, scratch);
        label_terms_of::<V, f64>(rows, lift, scratch);
    } else {
        label_terms_of::<V, f32>(rows, lift, scratch);
    }
}

#[inline(never)]
fn label_terms_of<V: Single, E: Element>(rows: usize, lift: f64, scratch: &Scratch) {
    let exp = ExpWide::<Twice<V::Wide>>::load::<E>(lift);
    for (logit, term) in fours(&scratch.logit, rows).zip(fours(&scratch.label_term, rows)) {
        with_lost::<V, E>(exp.at::<E>(Twice::load(logit)), term);
    }
}

/// Stores a label's term; for `f64` logits, times e^lost = 1 + lost, where `lost` is in its place.
#[inline(always)]
fn with_lost<V: Single, E: Element>(term: Twice<V::Wide>, to: &[Cell<f64>; 4]) {
    if E::DOUBLE { term.add(term.mul(Twice::load(to))) } else { term }.store(to);
}

/// [`label_terms`] of rows whose terms are relative to different powers.
#[inline(always)]
pub fn label_terms_apart<V: Single>(rows: usize, double: bool, temperature: f64, scratch: &Scratch) {
    if double {
        divide(rows, temperature, scratch);
        label_terms_apart_of::<V, f64>(rows, scratch);
    } else {
        label_terms_apart_of::<V, f32>(rows, scratch);
    }
}

#[inline(never)]
fn label_terms_apart_of<V: Single, E: Element>(rows: usize, scratch: &Scratch) {
    let exp = ExpWide::<Twice<V::Wide>>::load::<E>(Range::of::<E>().lift);
    let inputs = fours(&scratch.logit, rows).zip(fours(&scratch.power, rows));
    for ((logit, power), term) in inputs.zip(fours(&scratch.label_term, rows)) {
        with_lost::<V, E>(exp.below(Twice::load(power)).at::<E>(Twice::load(logit)), term);
    }
}

#[inline(always)]
fn accepted<V: Single>(range: &Range) -> impl Fn(Twice<V::Wide>, Twice<V::Wide>) -> Twice<V::Wide> + use<V> {
    let [least, most, ratio] = [range.label.0, range.label.1, range.ratio].map(Twice::<V::Wide>::splat);
    move |off_label: Twice<V::Wide>, label_term: Twice<V::Wide>| {
        least.below(label_term).and(label_term.below(most)).and(off_label.below(label_term.mul(ratio)))
    }
}

/// Computes the first half of the logarithms and, for plain rows, the factors of the gradient; NaN if a row is not accepted.
#[inline(never)]
fn quotients<V: Single, const GRADIENT: bool>(rows: usize, range: &Range, scale: f64, scratch: &Scratch) {
    let accepted = accepted::<V>(range);
    let far = Twice::<V::Wide>::splat(range.max_shift * range.max_shift * (1.0 + 1e-15));
    let (one, nan) = (Twice::splat(1.0), Twice::splat(f64::NAN));
    let (scale, minus_scale) = (Twice::splat(scale), Twice::splat(-scale));
    let quotient = Quotient::load();
    let inputs = fours(&scratch.off_label, rows).zip(fours(&scratch.label_term, rows));
    let results = fours(&scratch.quotient, rows).zip(fours(&scratch.k_ln_2, rows));
    let gradient = fours(&scratch.factor, rows).zip(fours(&scratch.label_gradient, rows));
    let inputs = inputs.zip(fours(&scratch.logit, rows));
    for ((((off_label, label_term), logit), (quotients, k_ln_2)), (factor, label_gradient)) in
        inputs.zip(results).zip(gradient)
    {
        let (off_label, label_term) = (Twice::<V::Wide>::load(off_label), Twice::load(label_term));
        let total = off_label.add(label_term);
        let (s, k) = quotient.of(off_label, label_term, total);
        s.store(quotients);
        // A label that is too far from 0 to be computed alone without centring is not accepted, so that its neighbours do not matter.
        let logit = Twice::load(logit);
        accepted(off_label, label_term).and(logit.mul(logit).below(far)).select(k, nan).store(k_ln_2);
        if GRADIENT {
            let share = one.div(total);
            share.mul(scale).store(factor);
            off_label.mul(share).mul(minus_scale).store(label_gradient);
        }
    }
}

/// Computes the second half, loss and log-sum-exp, of plain rows.
#[inline(never)]
fn losses<V: Single, E: Element>(rows: usize, scratch: &Scratch) -> bool {
    let log = Log::<Twice<V::Wide>>::load();
    let mut all = Twice::splat(0.0);
    let inputs = fours(&scratch.quotient, rows).zip(fours(&scratch.k_ln_2, rows)).zip(fours(&scratch.logit, rows));
    let results = fours(&scratch.loss, rows).zip(fours(&scratch.log_sum_exp, rows));
    for (((quotient, k_ln_2), logit), (loss, log_sum_exp)) in inputs.zip(results) {
        let nll = log.of::<E>(Twice::load(quotient), Twice::load(k_ln_2));
        all = all.add(nll);
        nll.store(loss);
        nll.add(Twice::load(logit)).store(log_sum_exp);
    }
    !all.total().is_nan()
}

/// [`losses`] with all options, and the factors of the gradient.
#[inline(never)]
fn weighted<V: Single, E: Element>(
    rows: usize,
    scale: f64,
    z_loss: f64,
    dense: bool,
    gradient: bool,
    scratch: &Scratch,
) -> bool {
    let log = Log::<Twice<V::Wide>>::load();
    let (zero, one, nan) = (Twice::splat(0.0), Twice::splat(1.0), Twice::splat(f64::NAN));
    let scale = Twice::<V::Wide>::splat(scale);
    // If only the label has weight, no loss is a difference.
    let smallest = Twice::splat(if dense { SMALLEST_LOSS } else { f64::NAN });
    let mut all = zero;
    let logs = fours(&scratch.quotient, rows).zip(fours(&scratch.k_ln_2, rows)).zip(fours(&scratch.logit, rows));
    let weights = fours(&scratch.weight, rows).zip(fours(&scratch.off_weight, rows));
    let weights = weights.zip(fours(&scratch.margin, rows)).zip(fours(&scratch.sample, rows));
    let terms = fours(&scratch.off_label, rows).zip(fours(&scratch.label_term, rows));
    let results = fours(&scratch.loss, rows).zip(fours(&scratch.log_sum_exp, rows));
    let results = results.zip(fours(&scratch.factor, rows)).zip(fours(&scratch.label_gradient, rows));
    for (((((quotient, k_ln_2), logit), (((q, off_weight), margin), sample)), (off_label, label_term)), out) in
        logs.zip(weights).zip(terms).zip(results)
    {
        let nll = log.of::<E>(Twice::load(quotient), Twice::load(k_ln_2));
        let log_sum_exp = nll.add(Twice::load(logit));
        let [q, off_weight, margin, sample] = [q, off_weight, margin, sample].map(Twice::load);
        let known = Known { nll, nll_of_margins: nll, log_sum_exp, q, off_weight, margin, sample };
        let mut loss = known.loss(z_loss);
        let mut least = one.below(nll).select(one, nll).mul(smallest);
        // The nll of f32 logits are too small for this to matter.
        if E::DOUBLE && dense {
            let part = nll.mul(Twice::splat(smallest_part(true)));
            least = least.below(part).select(part, least);
        }
        loss = loss.below(least.mul(q.add(off_weight))).select(nan, loss);
        let (((to_loss, to_log_sum_exp), to_factor), to_label) = out;
        // A row that is not accepted is NaN, even if it counts 0.
        let loss = loss.mul(sample).add(nll.mul(zero));
        all = all.add(loss);
        loss.store(to_loss);
        log_sum_exp.store(to_log_sum_exp);
        if gradient {
            let rest = known.rest(z_loss);
            let (off_label, label_term) = (Twice::load(off_label), Twice::load(label_term));
            let (share, sampled) = (one.div(off_label.add(label_term)), sample.mul(scale));
            let label = rest.mul(label_term).sub(q.mul(off_label));
            // An ignored row gets 0, not -0.
            sampled.mul(q.add(rest)).mul(share).add(zero).store(to_factor);
            sampled.mul(label).mul(share).add(zero).store(to_label);
        }
    }
    !all.total().is_nan()
}

/// Sets s to 0 for ignored rows, and to 1 for others. Without branches, which the processor could not predict.
#[inline(never)]
pub fn mark_ignored<V: Single>(labels: &[Cell<i32>], ignored: Option<i32>, scratch: &Scratch) {
    let one = V::splat(1.0);
    for (samples, labels) in fours(&scratch.sample, labels.len()).zip(labels.chunks(4)) {
        ignored.map_or(one, |ignored| one.without_label(labels, ignored)).widen().store(samples);
    }
}

/// Sets the losses of rows that [`mark_ignored`] has marked to 0, in a run without weights.
#[inline(never)]
pub fn leave_ignored<V: Single>(rows: usize, scratch: &Scratch) {
    let zero = Twice::<V::Wide>::splat(0.0);
    let all = fours(&scratch.loss, rows).zip(fours(&scratch.factor, rows)).zip(fours(&scratch.label_gradient, rows));
    for (sample, ((loss, factor), label_gradient)) in fours(&scratch.sample, rows).zip(all) {
        let known = Twice::load(loss).equal(Twice::load(loss));
        let ignored = Twice::load(sample).equal(zero).and(known);
        for all in [loss, factor, label_gradient] {
            ignored.select(zero, Twice::load(all)).store(all);
        }
    }
}
