//! The row whose logits leave the window of [`crate::row`] and [`crate::narrow`]: logits of any finite size, labels far below
//! the maximum, -inf at the label. Slower (up to three passes), same contract.

use crate::exp::LIFT;
use crate::largest;
use crate::log1p::log1p;
use crate::row::{self, Logits, Terms};
use crate::vector::{Pair, Vector, Wide};
use core::cell::Cell;

/// From this distance between maximum and label on, the label adds nothing to the sum, and the loss is the distance plus
/// the logarithm of the others.
const FAR: f64 = 40.0;

/// The largest distance that the label's term is computed for.
const LARGEST: f64 = 600.0;

/// One row, given the label's logit and the sum of the others around any centre (in two parts), which is NaN where that
/// centre does not do. A sum leaves the terms behind that belong to it.
#[inline(always)]
pub fn terms<V: Vector>(x: Logits, label: usize, logit: f64, mut sum_around: impl FnMut(f32, f32) -> f64) -> Terms {
    let mut centre = x.high.get(label).map_or(f32::NAN, Cell::get);
    let mut centre_low = x.low.get(label).map_or(0.0, Cell::get);
    let mut others = f64::NAN;
    // First around the label: that needs no search for the maximum. The second round always has its answer.
    for around_maximum in [false, true] {
        if around_maximum {
            (centre, centre_low) = (largest::max::<V>(x.high), 0.0);
        }
        if others.is_nan() && centre.is_finite() && !logit.is_nan() {
            others = sum_around(centre, centre_low);
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
    let own = row::term::<V::Wide>(-distance.min(LARGEST), f64::from(LIFT));
    let mut terms = Terms::new::<V::Wide>(others, own, logit);
    if distance >= FAR {
        let lifted = (1u64 << LIFT) as f64;
        let [rest, lifted, sum] = [others - lifted, lifted, others].map(V::Wide::splat);
        let [log, _] = log1p(rest, lifted, sum).to_array();
        terms.loss = distance + log;
        terms.log_sum_exp = centre + log;
    }
    terms
}
