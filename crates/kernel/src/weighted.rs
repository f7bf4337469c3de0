//! One row with everything that a plain one does not have: weights, soft targets, smoothing, a z-loss, softcap, temperature,
//! other types, other strides.
//!
//! All of it is one formula. With nll_j = log-sum-exp - x_j, where x is capped and divided by the temperature, each class
//! has a target weight
//!
//! ```text
//! q_j = w_j ((1 - e) t_j + e / C)        t: soft targets, or 1 at the label and 0 elsewhere
//! ```
//!
//! (w: class weights, e: smoothing), and with T = sum_j q_j, a reference class r, sample weight s and z-loss z
//!
//! ```text
//! loss  = s (T nll_r + sum_j q_j (x_r - x_j) + z lse^2)
//! g_j   = s ((T + 2 z lse) p_j - q_j)
//! g_r   = s ((T - q_r + 2 z lse) p_r - q_r (1 - p_r))
//! ```
//!
//! r is the label, or with soft targets the largest logit: nll_r and 1 - p_r come from [`crate::row`], which never
//! rounds them away, and T - q_r is the sum of the other q_j. So a row pays for what it uses: without smoothing and soft
//! targets q is 0 but at the label, and nothing of this is a pass over the classes.
//!
//! What is not `f32` in one piece, or capped, or divided, is first brought into a buffer of one row.

use crate::label::Label;
use crate::largest;
use crate::math;
use crate::row::{Keep, Logits, Terms};
use crate::scratch::Scratch;
use crate::staged::{Source, Transform};
use crate::terms::{Kept, terms};
use crate::vector::Vector;
use core::cell::Cell;

/// Target weights q.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// `None`: all 1.
    pub class_weights: Option<&'a [Cell<f32>]>,
    /// Soft targets and the distance between them; `None`: the label.
    pub soft: Option<(&'a [Cell<f32>], usize)>,
    /// e, in 0..1.
    pub smoothing: f64,
}

impl Targets<'_> {
    #[inline(always)]
    fn class_weight(&self, class: usize) -> f64 {
        self.class_weights.map_or(1.0, |weights| weights.get(class).map_or(f64::NAN, |w| f64::from(w.get())))
    }

    /// q of a class, where `label` is the row's label if it has one.
    #[inline(always)]
    pub fn weight(&self, class: usize, classes: usize, label: Option<usize>) -> f64 {
        let target = match self.soft {
            Some((targets, stride)) => targets.get(class * stride).map_or(f64::NAN, |t| f64::from(t.get())),
            None if label == Some(class) => 1.0,
            None => 0.0,
        };
        self.class_weight(class) * ((1.0 - self.smoothing) * target + self.smoothing / classes as f64)
    }

    /// Whether classes other than the label have weight.
    #[inline(always)]
    pub fn everywhere(&self) -> bool {
        self.soft.is_some() || self.smoothing > 0.0
    }

    /// Sums over all classes but the reference: of q_j, and of q_j (v - x_j) with v = `value`. A class without weight
    /// counts 0, even at -inf.
    #[inline(always)]
    pub fn sums(
        &self,
        classes: usize,
        label: Option<usize>,
        r: usize,
        value: f64,
        logit: impl Fn(usize) -> f64,
    ) -> (f64, f64) {
        let (mut rest, mut tilt) = (0.0, 0.0);
        if self.everywhere() {
            for class in (0..classes).filter(|&class| class != r) {
                let q = self.weight(class, classes, label);
                if q != 0.0 {
                    rest += q;
                    tilt += q * (value - logit(class));
                }
            }
        }
        (rest, tilt)
    }
}

/// What is the same for all classes of a row.
#[derive(Clone, Copy)]
pub struct Weights {
    /// T - q_r.
    pub rest: f64,
    /// q_r.
    pub own: f64,
    /// s.
    pub sample: f64,
    /// z.
    pub z_loss: f64,
    /// Factor of the gradient: the reduction's, and 1 / temperature.
    pub scale: f64,
}

impl Weights {
    /// From what [`crate::row`] has found about the reference class. `value` and `tilt`: see [`Targets::sums`]; the value is
    /// the reference's logit, unless that is -inf.
    #[inline(always)]
    pub fn loss(&self, nll: f64, log_sum_exp: f64, value: f64, tilt: f64) -> f64 {
        // A weight of 0 counts 0, even where the loss is infinite.
        let own = if self.own == 0.0 { 0.0 } else { self.own * nll };
        let distance = if nll == f64::INFINITY { log_sum_exp - value } else { nll };
        let rest = if self.rest == 0.0 { tilt } else { self.rest * distance + tilt };
        let z = if self.z_loss == 0.0 { 0.0 } else { self.z_loss * log_sum_exp * log_sum_exp };
        if self.sample == 0.0 && !nll.is_nan() { 0.0 } else { self.sample * (own + rest + z) }
    }

    /// Factor of p_j in the gradient.
    #[inline(always)]
    pub fn alpha(&self, log_sum_exp: f64) -> f64 {
        self.scale * self.sample * (self.own + self.rest + self.z(log_sum_exp))
    }

    /// The gradient at the reference class, given p_r and 1 - p_r: neither is made from the other.
    #[inline(always)]
    pub fn at_reference(&self, p: f64, others: f64, log_sum_exp: f64) -> f64 {
        self.scale * self.sample * ((self.rest + self.z(log_sum_exp)) * p - self.own * others)
    }

    #[inline(always)]
    fn z(&self, log_sum_exp: f64) -> f64 {
        if self.z_loss == 0.0 { 0.0 } else { 2.0 * self.z_loss * log_sum_exp }
    }
}

/// One row, and where its results go.
pub struct Row<'a> {
    /// Number of classes.
    pub classes: usize,
    /// The logits as they are given.
    pub logits: Source<'a>,
    /// Softcap and temperature.
    pub transform: Transform,
    /// What the label means.
    pub label: Label,
    /// q.
    pub targets: Targets<'a>,
    /// s, and 0 in the other fields that the row finds out itself.
    pub weights: Weights,
    /// Output, or none: `f32`, at the logits' places or in one piece.
    pub gradient: Option<(&'a [Cell<f32>], usize)>,
    /// Whether the gradient lies over the logits.
    pub in_place: bool,
    /// Three times `classes`; not used for `f32` logits in one piece that are not transformed, with just a label.
    pub buffer: &'a [Cell<f32>],
}

/// Loss, log-sum-exp and prediction of a row.
pub struct Found {
    /// NaN where the row is broken.
    pub loss: f64,
    /// See there.
    pub log_sum_exp: f64,
    /// -1 where there is none.
    pub prediction: i32,
}

impl Row<'_> {
    /// Computes it.
    #[inline(always)]
    pub fn run<V: Vector>(&self, predict: bool, scratch: &Scratch) -> Found {
        let classes = self.classes;
        let plain = if self.transform.is_none() { self.logits.plain(classes) } else { None };
        let (staged, rest) = self.buffer.split_at_checked(classes).unwrap_or((&[], &[]));
        let (e_buffer, low) = rest.split_at_checked(classes).unwrap_or((&[], &[]));
        let low = if self.transform.is_none() { &[] } else { low };
        let x = plain.unwrap_or(staged);
        let logits = Logits { high: x, low };
        if plain.is_none() {
            self.logits.stage::<V>(&self.transform, staged, low);
        }
        let best = if predict || self.label == Label::None { largest::<V>(logits) } else { -1 };
        let (reference, label) = match self.label {
            Label::Class(class) => (class, Some(class)),
            Label::Ignored => (0, None),
            Label::Invalid => (usize::MAX, None),
            Label::None => (usize::try_from(best).unwrap_or(usize::MAX), None),
        };
        let mut weights = self.weights;
        let (mut tilt, mut value) = (0.0, 0.0);
        if let Label::Class(_) | Label::None = self.label
            && reference < classes
        {
            value = logits.get(reference);
            if value == f64::NEG_INFINITY {
                value = f64::from(largest::max::<V>(x));
            }
            (weights.rest, tilt) = self.targets.sums(classes, label, reference, value, |class| logits.get(class));
            weights.own = self.targets.weight(reference, classes, label);
        }
        let keep = match (self.gradient, self.label) {
            (None, _) | (_, Label::Ignored | Label::Invalid) => Keep::Nothing,
            (Some((g, 1)), _) if !self.in_place => Keep::Apart(g),
            (Some(_), _) if plain.is_some() && !self.targets.everywhere() => Keep::InPlace,
            (Some(_), _) => Keep::Apart(e_buffer),
        };
        let e = match keep {
            Keep::Apart(e) => e,
            _ => x,
        };
        let found = terms::<V>(logits, reference, keep, scratch);
        let broken = found.factor.is_nan();
        let loss = match self.label {
            Label::Ignored => 0.0,
            _ if broken => f64::NAN,
            _ => weights.loss(found.loss, found.log_sum_exp, value, tilt),
        };
        if let Some((g, stride)) = self.gradient {
            if self.label == Label::Ignored || broken {
                let fill = if self.label == Label::Ignored { 0.0 } else { f32::NAN };
                for class in 0..classes {
                    if let Some(g) = g.get(class * stride) {
                        g.set(fill);
                    }
                }
            } else {
                let kept = Kept::of(classes, e, scratch);
                self.write_gradient::<V>(&kept, g, stride, reference, label, &weights, &found);
            }
        }
        let prediction = if found.log_sum_exp.is_nan() { -1 } else { best };
        Found { loss, log_sum_exp: found.log_sum_exp, prediction }
    }

    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "a part of `run` with a name; inlined")]
    fn write_gradient<V: Vector>(
        &self,
        kept: &Kept,
        g: &[Cell<f32>],
        stride: usize,
        reference: usize,
        label: Option<usize>,
        weights: &Weights,
        terms: &Terms,
    ) {
        let scale = weights.scale * weights.sample;
        let alpha = weights.alpha(terms.log_sum_exp);
        let factor = alpha * terms.factor;
        let everywhere = self.targets.everywhere();
        let own = weights.at_reference(terms.own, terms.others, terms.log_sum_exp);
        let logit = self.transform.at(self.logits.get(reference));
        if stride == 1 && !everywhere && !self.transform.caps() {
            kept.multiply::<V>(g, factor);
        } else {
            for class in 0..self.classes {
                let Some(g) = g.get(class * stride) else { return };
                let x = self.logits.get(class);
                let slope = self.transform.slope(x);
                let mut value = factor * kept.get(class);
                if everywhere {
                    let q = scale * self.targets.weight(class, self.classes, label);
                    if (value - q).abs() < q.abs() / 8.0 {
                        // The difference shows the last places of p, which e does not have.
                        let x = self.transform.at(x);
                        let log =
                            if terms.loss < f64::INFINITY { x - logit - terms.loss } else { x - terms.log_sum_exp };
                        value = alpha * math::exp(log);
                    }
                    value -= q;
                }
                g.set((slope * if class == reference { own } else { value }) as f32);
            }
            return;
        }
        if let Some(g) = g.get(reference) {
            g.set(own as f32);
        }
    }
}

/// As [`largest::argmax`], also of logits in two parts.
#[inline(always)]
fn largest<V: Vector>(x: Logits) -> i32 {
    let mut best = largest::argmax::<V>(x.high);
    if let Some((mut high, mut low)) = usize::try_from(best).ok().and_then(|i| Some((x.high.get(i)?, x.low.get(i)?))) {
        for (class, (other, other_low)) in x.high.iter().zip(x.low).enumerate() {
            if other.get() == high.get() && other_low.get() > low.get() {
                (best, high, low) = (class as i32, other, other_low);
            }
        }
    }
    best
}
