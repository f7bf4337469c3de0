//! The loops over a tile of both rows of logits.

use super::{NEAR, apart, log_ratio};
use crate::exp::INVERSE_FACTORIALS;
use crate::gradient::{lift_terms, lifted};
use crate::numbers::{Kind, Numbers};
use crate::power::times_exp;
use crate::scratch::Scratch;
use crate::terms::{Loop, Way, terms};
use crate::vector::{Element, Factor, Single, Twice, Vector, Wide, part};
use core::cell::Cell;

/// (e^r - 1 - r) / r^2 for |r| <= 0.75: minimax for the relative error, 3.1e-7 with coefficients rounded to `f32`.
static COEFFICIENTS: [f64; 6] = [
    0.500_000_1_f32 as f64,
    0.166_666_52_f32 as f64,
    0.041_662_265_f32 as f64,
    0.008_333_937_f32 as f64,
    0.001_409_867_f32 as f64,
    0.000_199_183_33_f32 as f64,
];

/// A finite number that replaces the distance of a target of -inf, whose p is 0.
static MOST: [f64; 2] = [f32::MAX as f64, f64::MAX];

/// A class with a larger d_j may count although its p_j is so small that the term is 0.
const LARGE: (f64, f64) = ((1u64 << 32) as f64, f64::from_bits((1023 + 200) << 52));

/// Computes the terms of a tile of one row and returns their sum; NaN if a term is not right.
#[inline(always)]
pub fn sum_terms<V: Single>(x: Numbers, to: Numbers, shift: f64, temperature: f64, scratch: &Scratch) -> f64 {
    let which = Loop::new(Way::Direct, to.kind() == Kind::Double, 0.0, temperature).sum().keep();
    scratch.begin(true);
    scratch.shift.set(shift);
    terms::<V>(which, x, Numbers::NONE, to, usize::MAX, scratch);
    if which.accepts::<V>(scratch.trace.get()) { scratch.terms::<V::Wide>().total() } else { f64::NAN }
}

/// Sums the divergence of a tile around c, in units of `scale` times the targets' terms `p`, in which q is `ratio` times the logits' terms.
/// The result is in the scratch area's weights, and the sum of p expm1(-d) in its margins. `centre` is T c. NaN if the divergence is
/// infinite.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as the functions that it chooses from")]
pub fn sum<V: Single>(
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
    let double = p.kind() == Kind::Double;
    let inverse = 1.0 / temperature;
    let (mut sum, mut error) = (f64::NAN, f64::NAN);
    if scale == 1.0 {
        let far = if double {
            sum_of::<V::Double>(t.cells(), x.cells(), p.cells(), q.cells(), centre, inverse, ratio, scratch)
        } else {
            sum_of::<V>(t.cells(), x.cells(), p.cells(), q.cells(), centre, inverse, ratio, scratch)
        };
        if !far {
            return;
        }
        let (sums, errors) = scratch.weights::<V::Wide>();
        (sum, error) = (sums.total(), errors.total());
    }
    let every = !(sum + error).is_finite();
    // Class by class: each of them where something has overflowed, else those whose term is 0.
    if every {
        (sum, error) = (0.0, 0.0);
    }
    for place in 0..p.len() {
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
                log_ratio::<V::Double>(fourth - 0.25 * temperature, fourth, 0.25 * temperature),
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
    scratch.set_weights(Twice::<V::Wide>::splat(0.25 * sum), Twice::splat(0.25 * error));
}

/// [`sum`] of one type.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn sum_of<V: Vector>(
    t: &[Cell<V::Element>],
    x: &[Cell<V::Element>],
    p: &[Cell<V::Element>],
    q: &[Cell<V::Element>],
    centre: f64,
    inverse: f64,
    ratio: f64,
    scratch: &Scratch,
) -> bool {
    let splat = |x: f64| V::splat(V::Element::from_f64(x));
    let pick = |(single, double): (f64, f64)| if V::Element::DOUBLE { double } else { single };
    let near = splat(pick(NEAR) * pick(NEAR));
    let most = V::opaque(&MOST[usize::from(V::Element::DOUBLE)]);
    let ratio = splat(ratio);
    let (centre, inverse) = (Twice::<V::Wide>::splat(centre), Twice::splat(inverse));
    let polynomial = Polynomial::<V>::load();
    let ((mut t, t_rest), (mut x, x_rest)) = (V::chunks(t), V::chunks(x));
    let ((mut p, p_rest), (mut q, q_rest)) = (V::chunks(p), V::chunks(q));
    let (mut sums, mut errors) = (Twice::splat(0.0), Twice::splat(0.0));
    // For a vector: p (e^r - 1 - r), and p (e^r - 1), which is q - p unless r is small. Neither is computed from the other: a large p r
    // would cancel all digits.
    let at = |t: &V::Chunk, x: &V::Chunk, p: &V::Chunk, q: &V::Chunk| {
        let [t, x, p, q] = [t, x, p, q].map(V::load);
        let r = centre.sub(t.widen().sub(x.widen())).mul(inverse);
        // If the target is -inf, p is 0, and any finite number will do.
        let rounded = most.min(V::narrow(r));
        let square = rounded.mul(rounded);
        let moment = p.mul(rounded);
        let small = near.above(square);
        let (near, far) = (moment.mul(rounded.mul(polynomial.at(rounded, square))), q.mul(ratio).sub(p));
        let (either, moment_near) = (small.select(near, far), small.and(moment));
        (either.sub(moment.xor(moment_near)), either.add(moment_near), rounded)
    };
    let mut least = splat(0.0);
    let (room, _) = V::chunks(scratch.low());
    let mut ended = t_rest.is_empty();
    loop {
        let (t_twos, t_one) = t.as_chunks::<2>();
        let (x_twos, x_one) = x.as_chunks::<2>();
        let (p_twos, p_one) = p.as_chunks::<2>();
        let (q_twos, q_one) = q.as_chunks::<2>();
        for (((t, x), p), q) in t_twos.iter().zip(x_twos).zip(p_twos).zip(q_twos) {
            let (term, error, r) = at(&t[0], &x[0], &p[0], &q[0]);
            let (other_term, other_error, other_r) = at(&t[1], &x[1], &p[1], &q[1]);
            least = least.min(r.min(other_r));
            sums = sums.add(term.add(other_term).widen());
            errors = errors.add(error.add(other_error).widen());
        }
        for (((t, x), p), q) in t_one.iter().zip(x_one).zip(p_one).zip(q_one) {
            let (term, error, r) = at(t, x, p, q);
            least = least.min(r);
            sums = sums.add(term.widen());
            errors = errors.add(error.widen());
        }
        if ended {
            break;
        }
        // Pad the end to a vector whose other lanes have terms of 0, so that one loop serves all.
        let [to_t, to_x, to_p, to_q, ..] = room else { break };
        let end = |rest: &[Cell<V::Element>], to: &V::Chunk| V::load_partial(rest, V::Element::default()).store(to);
        end(t_rest, to_t);
        end(x_rest, to_x);
        end(p_rest, to_p);
        end(q_rest, to_q);
        (t, x, p, q) = (part(room, 0, 1), part(room, 1, 2), part(room, 2, 3), part(room, 3, 4));
        ended = true;
    }
    scratch.set_weights(sums, errors);
    splat(-pick(LARGE)).above(least).any_bits() != 0
}

/// The polynomial (e^r - 1 - r) / r^2. A loop keeps its coefficients in registers.
#[derive(Clone, Copy)]
struct Polynomial<V>([V; 12]);

impl<V: Vector> Polynomial<V> {
    #[inline(always)]
    fn load() -> Self {
        if V::Element::DOUBLE {
            return Self(INVERSE_FACTORIALS.each_ref().map(V::opaque));
        }
        let [c0, c1, c2, c3, c4, c5] = COEFFICIENTS.each_ref().map(V::opaque);
        Self([c0, c1, c2, c3, c4, c5, c5, c5, c5, c5, c5, c5])
    }

    #[inline(always)]
    fn at(&self, r: V, square: V) -> V {
        let pair = |k: usize| self.0[k + 1].mul_add(r, self.0[k]);
        let mut sum = pair(4);
        if V::Element::DOUBLE {
            sum = pair(10).mul_add(square, pair(8)).mul_add(square, pair(6)).mul_add(square, sum);
        }
        sum.mul_add(square, pair(2)).mul_add(square, pair(0))
    }
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
    let ((lift_p, of_p), (lift_q, of_q)) = (lifted::<V::Element>(of_p), lifted::<V::Element>(of_q));
    if lift_p != 1.0 {
        lift_terms::<V>(p, lift_p, p);
    }
    if lift_q != 1.0 {
        lift_terms::<V>(q, lift_q, q);
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
