//! The row whose logits leave the window of [`crate::row`]: logits of any finite size, labels far below the maximum,
//! -inf at the label. Slower (up to three passes), same contract.

use crate::exp::{Centred, LIFT};
use crate::log1p::Log1p;
use crate::row::{self, Keep, Logits, Terms, sum_of_others};
use crate::vector::{Pair, Vector, Wide};

/// From this distance between maximum and label on, the label adds nothing to the sum, and the loss is the distance plus
/// the logarithm of the others.
const FAR: f64 = 40.0;

/// The largest distance that the label's term is computed for.
const LARGEST: f64 = 600.0;

/// As [`row::near`], for every row, given the label's logit.
#[inline(always)]
pub fn terms<V: Vector>(x: Logits, label: usize, logit: f64, keep: Keep) -> Terms {
    let mut centre = logit as f32;
    let mut others = f64::NAN;
    // First around the label: that needs no search for the maximum. The second round always has its answer.
    for around_maximum in [false, true] {
        if around_maximum {
            centre = row::max::<V>(x.high);
        }
        if others.is_nan() && centre.is_finite() && !logit.is_nan() {
            others = sum_of_others::<V, Centred<V>>(x, label, keep, centre);
        }
        if !others.is_nan() {
            break;
        }
    }
    if others.is_nan() {
        return Terms::NONE;
    }
    let distance = f64::from(centre) - logit;
    let reciprocal = row::reciprocal::<V::Wide>(-distance.min(LARGEST), f64::from(LIFT));
    let ends = row::ends(V::Wide::splat(others), reciprocal, &Log1p::load());
    let mut terms = Terms {
        factor: ends.factor.to_array()[0],
        others: ends.others.to_array()[0],
        loss: ends.loss.to_array()[0],
        log_sum_exp: 0.0,
    };
    if distance < FAR {
        terms.log_sum_exp = logit + terms.loss;
    } else {
        let sum = others * (1.0 / (1u64 << LIFT) as f64);
        let log = Log1p::load().at(V::Wide::splat(sum - 1.0)).to_array()[0];
        terms.loss = distance + log;
        terms.log_sum_exp = f64::from(centre) + log;
    }
    terms
}
