//! One row in `f64` throughout, with the formula of [`crate::weighted`]. Scalar.
//!
//! For `f64` logits: whoever has 64 bits wants their digits. And for rows of not too many classes whose targets are not
//! just a label: there p_j - q_j may vanish, and of p_j in `f32` nothing would be left.

use crate::label::Label;
use crate::math;
use crate::staged::{Source, Transform};
use crate::weighted::{Found, Targets, Weights};
use core::cell::Cell;

/// Rows of `f32` logits with more classes are computed in `f32`: their sum is exact enough, since errors cancel in it.
pub const MAX_CLASSES: usize = 1024;

/// Where a gradient goes: entries so far apart.
#[derive(Clone, Copy)]
pub enum Sink<'a> {
    /// Rounded
    F32(&'a [Cell<f32>], usize),
    /// As it is
    F64(&'a [Cell<f64>], usize),
}

impl Sink<'_> {
    /// Writes the entry of a class.
    #[inline(always)]
    pub fn set(&self, class: usize, value: f64) {
        match *self {
            Self::F32(g, stride) => g.get(class * stride).map_or((), |g| g.set(value as f32)),
            Self::F64(g, stride) => g.get(class * stride).map_or((), |g| g.set(value)),
        }
    }
}

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
    pub gradient: Option<Sink<'a>>,
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
        let logit = self.logit(reference);
        let value = if logit == f64::NEG_INFINITY { max } else { logit };
        let (rest, tilt) = self.targets.sums(classes, label, reference, value, |class| self.logit(class));
        (weights.rest, weights.own) = (rest, self.targets.weight(reference, classes, label));
        let loss = match self.label {
            Label::Ignored => 0.0,
            _ if broken => f64::NAN,
            _ => weights.loss(nll, log_sum_exp, value, tilt),
        };
        if let Some(g) = self.gradient {
            let alpha = weights.alpha(log_sum_exp) / sum;
            let at_reference = weights.at_reference(own / sum, others / sum, log_sum_exp);
            for class in 0..classes {
                let value = match self.label {
                    Label::Ignored => 0.0,
                    _ if broken => f64::NAN,
                    _ => {
                        // Read before it is replaced by a gradient in place.
                        let x = self.logits.get(class);
                        let p = math::exp(self.transform.at(x) - max);
                        let q = self.targets.weight(class, classes, label);
                        let value = alpha * p - weights.scale * weights.sample * q;
                        self.transform.slope(x) * if class == reference { at_reference } else { value }
                    }
                };
                g.set(class, value);
            }
        }
        if broken && self.label != Label::Ignored || nan || max.is_infinite() {
            return Found { loss, log_sum_exp: f64::NAN, prediction: -1 };
        }
        Found { loss, log_sum_exp, prediction: best as i32 }
    }
}
