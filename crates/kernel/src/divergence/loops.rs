//! The loops over a tile of both rows of logits.

use super::sums::{LARGE, sum_rows};
use super::{apart, log_ratio};
use crate::gradient::{multiply_terms, normalized};
use crate::numbers::{Kind, Numbers};
use crate::power::times_exp;
use crate::scratch::Scratch;
use crate::terms::{Loop, Way, terms};
use crate::vector::{Factor, Single, Vector};
use core::cell::Cell;

/// With a higher temperature, the distance of classes that count may overflow an `f32`, so they are computed one by one.
pub const MOST_TEMPERATURE: f64 = (1u128 << 120) as f64;

/// Computes the terms of a tile of one row and returns their sum; NaN if a term is not right.
#[inline(always)]
pub fn sum_terms<V: Single>(x: Numbers, to: Numbers, shift: f64, temperature: f64, scratch: &Scratch) -> f64 {
    let which = Loop::new(Way::Direct, to.kind() == Kind::Double, 0.0, temperature).sum().keep();
    scratch.begin(true);
    scratch.shift.set(shift);
    terms::<V>(which, x, Numbers::NONE, to, usize::MAX, scratch);
    if which.accepts::<V>(scratch.trace.get()) { scratch.terms::<V::Wide>().total() } else { f64::NAN }
}

/// The nearest T c that [`sum`] can use: for `f32` logits, it has two parts of 24 bits.
#[inline(always)]
pub fn rounded(centre: f64, double: bool) -> f64 {
    let first = f64::from(centre as f32);
    if double || first.is_infinite() { centre } else { first + f64::from((centre - first) as f32) }
}

/// Sums the divergence of a tile around c, in units of `scale` times the targets' terms `p`, in which q is `ratio` times the logits' terms.
/// The result is in the scratch area's `weight`, and the sum of p expm1(-d) in `margin`. `centre` is T c, and the sum of the `p` is in
/// `off_label`. NaN if the divergence is infinite.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as the functions that it chooses from")]
pub fn sum<V: Single>(
    classes: usize,
    (t, p): (Numbers, Numbers),
    (x, q): (Numbers, Numbers),
    logits: impl Fn(usize) -> (f64, f64),
    (centre_of_p, centre_of_q, centre): (f64, f64, f64),
    power_of_p: f64,
    temperature: f64,
    ratio: f64,
    scale: f64,
    scratch: &Scratch,
) {
    let (mut sum, mut error) = (f64::NAN, f64::NAN);
    if scale == 1.0 && temperature <= MOST_TEMPERATURE {
        scratch.anchor[0].set(centre);
        scratch.slope_at_label[0].set(ratio);
        let far = sum_rows::<V>(1, classes, (t, p), (x, q), temperature, scratch);
        sum = scratch.weight[0].get();
        if !far && sum.is_finite() {
            return;
        }
        error = scratch.margin[0].get();
    }
    let every = !(sum + error).is_finite();
    // Class by class: each of them where something has overflowed, else those whose term is 0.
    if every {
        (sum, error) = (0.0, 0.0);
    }
    for place in 0..classes {
        let p = p.get(place);
        if !every && p != 0.0 {
            continue;
        }
        // A fourth of T d, which does not overflow.
        let (t, x) = logits(place);
        let (t, x) = (0.25 * t - 0.25 * centre_of_p, 0.25 * x - 0.25 * centre_of_q);
        let fourth = (t - x) - 0.25 * centre;
        let d = 4.0 * (fourth / temperature);
        if d > LARGE.0 {
            if x == f64::NEG_INFINITY {
                (sum, error) = (f64::NAN, f64::NAN);
                break;
            }
            // The logarithms of p and of d. Beside them, 1 and e^-d do not count.
            let (of_p, of_d) = (
                4.0 * (t / temperature) - power_of_p * core::f64::consts::LN_2,
                log_ratio::<V::Wide>(fourth - 0.25 * temperature, fourth, 0.25 * temperature),
            );
            sum += times_exp::<V::Wide>(scale, of_p + of_d);
            error -= p;
        } else if every {
            let far = q.get(place) * ratio - p;
            let (mut term, mut off) = (if p == 0.0 { far } else { far + p * d }, far);
            if d.abs() < 1.0 {
                term = p * apart::<V::Wide>(d);
                off = term - p * d;
            }
            sum += scale * term;
            error += off;
        }
    }
    scratch.weight[0].set(sum);
    scratch.margin[0].set(error);
}

/// Writes the gradient of a tile from its terms: `to = q * of_q - p * of_p`, which is 0 if both rows are equal. `to` may be the memory of
/// either.
#[inline(always)]
pub fn write<V: Single>(p: Numbers, q: Numbers, of_p: f64, of_q: f64, to: Numbers) {
    if to.kind() == Kind::Double {
        write_of::<V::Double>(p.cells(), q.cells(), of_p, of_q, to.cells());
    } else {
        write_of::<V>(p.cells(), q.cells(), of_p, of_q, to.cells());
    }
}

#[inline(never)]
fn write_of<V: Vector>(p: &[Cell<V::Element>], q: &[Cell<V::Element>], of_p: f64, of_q: f64, to: &[Cell<V::Element>]) {
    let ((power_of_two_p, of_p), (power_of_two_q, of_q)) =
        (normalized::<V::Element>(of_p), normalized::<V::Element>(of_q));
    if power_of_two_p != 1.0 {
        multiply_terms::<V>(p, power_of_two_p, p);
    }
    if power_of_two_q != 1.0 {
        multiply_terms::<V>(q, power_of_two_q, q);
    }
    difference::<V>(p, q, of_p, of_q, to);
}

#[inline(always)]
fn difference<V: Vector>(
    p: &[Cell<V::Element>],
    q: &[Cell<V::Element>],
    of_p: f64,
    of_q: f64,
    to: &[Cell<V::Element>],
) {
    let (of_p, of_q) = (Factor::<V>::new(of_p), Factor::<V>::new(of_q));
    let ((p, p_rest), (q, q_rest), (to, to_rest)) = (V::chunks(p), V::chunks(q), V::chunks(to));
    for ((p, q), to) in p.iter().zip(q).zip(to) {
        of_q.times(V::load(q)).sub(of_p.times(V::load(p))).store(to);
    }
    if !to_rest.is_empty() {
        let rest = |all: &[Cell<V::Element>]| V::load_partial(all, V::Element::default());
        of_q.times(rest(q_rest)).sub(of_p.times(rest(p_rest))).store_partial(to_rest);
    }
}
