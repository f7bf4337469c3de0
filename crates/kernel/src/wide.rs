//! One row of `f64` logits: the formula of [`crate::weighted`] in `f64` throughout. Scalar: whoever has logits of 64 bits
//! wants their digits.

use crate::math;
use crate::staged::{Source, Transform};
use crate::weighted::{Found, Label, Targets, Weights};
use core::cell::Cell;

/// One row, and where its gradient goes.
pub struct Row<'a> {
    /// Number of classes.
    pub classes: usize,
    /// The logits.
    pub logits: Source<'a>,
    /// Softcap and temperature.
    pub transform: Transform,
    /// What the label means.
    pub label: Label,
    /// See [`crate::weighted::Row`].
    pub targets: Targets<'a>,
    /// See [`crate::weighted::Row`].
    pub weights: Weights,
    /// Output, or none; it may lie over the logits.
    pub gradient: Option<(&'a [Cell<f64>], usize)>,
}

impl Row<'_> {
    #[inline(always)]
    fn logit(&self, class: usize) -> f64 {
        self.transform.at(self.logits.get(class))
    }

    /// Computes it.
    #[inline(always)]
    pub fn run(&self) -> Found {
        let classes = self.classes;
        let (mut best, mut max, mut nan) = (0, f64::NEG_INFINITY, false);
        for class in 0..classes {
            let x = self.logit(class);
            nan |= x.is_nan();
            if x > max {
                (best, max) = (class, x);
            }
        }
        let (reference, label) = match self.label {
            Label::Class(class) => (class, Some(class)),
            Label::Ignored | Label::Invalid => (0, None),
            Label::None => (best, None),
        };
        let broken = nan || max.is_infinite() || self.label == Label::Invalid;
        let mut others = 0.0;
        for class in 0..classes {
            if class != reference {
                others += math::exp(self.logit(class) - max);
            }
        }
        let distance = max - self.logit(reference);
        let own = math::exp(-distance);
        // From e^-600 on, the label's term adds nothing, and its reciprocal would be near the end of what f64 holds.
        let nll = if distance < 600.0 { math::log1p(others / own) } else { distance + math::log1p(others - 1.0) };
        let (sum, mut log_sum_exp) = (others + own, max + math::log1p((others - 1.0) + own));
        if distance < 1.0 {
            log_sum_exp = self.logit(reference) + nll;
        }
        let mut weights = self.weights;
        let (rest, tilt) = self.targets.sums(classes, label, reference, |class| self.logit(class));
        (weights.rest, weights.own) = (rest, self.targets.weight(reference, classes, label));
        let loss = match self.label {
            Label::Ignored => 0.0,
            _ if broken => f64::NAN,
            _ => weights.loss(nll, log_sum_exp, tilt),
        };
        if let Some((g, stride)) = self.gradient {
            let alpha = weights.alpha(log_sum_exp) / sum;
            let own = weights.at_reference(others / sum, log_sum_exp);
            for class in 0..classes {
                let Some(g) = g.get(class * stride) else { break };
                let slope = self.transform.slope(self.logits.get(class));
                g.set(match self.label {
                    Label::Ignored => 0.0,
                    _ if broken => f64::NAN,
                    _ if class == reference => own * slope,
                    _ => {
                        let q = self.targets.weight(class, classes, label);
                        let p = math::exp(self.logit(class) - max);
                        (alpha * p - weights.scale * weights.sample * q) * slope
                    }
                });
            }
        }
        if broken && self.label != Label::Ignored || nan || max.is_infinite() {
            return Found { loss, log_sum_exp: f64::NAN, prediction: -1 };
        }
        Found { loss, log_sum_exp, prediction: best as i32 }
    }
}
