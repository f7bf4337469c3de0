//! The row whose logits leave the window of [`crate::row`]: logits of any finite size, labels far below the maximum,
//! -inf at the label. Slower (up to three passes), same contract.

use crate::exp::{Centred, LIFT};
use crate::log1p::Log1p;
use crate::row::{self, Keep, Logits, Terms, sum_of_others, sum_of_others_in_parts};
use crate::vector::{Pair, Vector, Wide};
use core::cell::Cell;

/// From this distance between maximum and label on, the label adds nothing to the sum, and the loss is the distance plus
/// the logarithm of the others.
const FAR: f64 = 40.0;

/// The largest distance that the label's term is computed for.
const LARGEST: f64 = 600.0;

/// As [`row::near`], for every row, given the label's logit.
#[inline(always)]
pub fn terms<V: Vector>(x: Logits, label: usize, logit: f64, keep: Keep) -> Terms {
    let mut centre = x.high.get(label).map_or(f32::NAN, Cell::get);
    let mut centre_low = x.low.get(label).map_or(0.0, Cell::get);
    let mut others = f64::NAN;
    // First around the label: that needs no search for the maximum. The second round always has its answer.
    for around_maximum in [false, true] {
        if around_maximum {
            (centre, centre_low) = (row::max::<V>(x.high), 0.0);
        }
        if others.is_nan() && centre.is_finite() && !logit.is_nan() {
            others = if x.low.is_empty() {
                sum_of_others::<V, Centred<V>>(x.high, label, keep, centre)
            } else {
                sum_of_others_in_parts::<V, Centred<V>>(x, label, keep, centre, centre_low)
            };
        }
        if !others.is_nan() {
            break;
        }
    }
    let centre = f64::from(centre) + f64::from(centre_low);
    if others.is_nan() {
        return Terms::NONE;
    }
    let distance = centre - logit;
    let reciprocal = row::reciprocal::<V::Wide>(-distance.min(LARGEST), f64::from(LIFT));
    let ends = row::ends(V::Wide::splat(others), reciprocal, &Log1p::load());
    let mut terms = Terms {
        factor: ends.factor.to_array()[0],
        others: ends.others.to_array()[0],
        own: ends.own.to_array()[0],
        loss: ends.loss.to_array()[0],
        log_sum_exp: 0.0,
    };
    if distance < FAR {
        terms.log_sum_exp = logit + terms.loss;
    } else {
        let sum = others * (1.0 / (1u64 << LIFT) as f64);
        let log = Log1p::load().at(V::Wide::splat(sum - 1.0)).to_array()[0];
        terms.loss = distance + log;
        terms.log_sum_exp = centre + log;
    }
    terms
}
