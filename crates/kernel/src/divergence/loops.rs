//! The loops over a tile of both rows of logits.

use super::{NEAR, apart, log_ratio};
use crate::exp::INVERSE_FACTORIALS;
use crate::gradient::{lift_terms, lifted};
use crate::numbers::{Kind, Numbers};
use crate::power::times_exp;
use crate::scratch::{ROWS, Scratch};
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

/// Replaces the second part of an infinite distance, which is NaN. The sum of both parts is still infinite.
static LEAST: [f64; 2] = [f32::MIN as f64, f64::MIN];

/// A class with a larger d_j may count although its p_j is so small that the term is 0.
const LARGE: (f64, f64) = ((1u64 << 32) as f64, f64::from_bits((1023 + 200) << 52));

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
/// The result is in the scratch area's `weight`, and the sum of p expm1(-d) in `margin`. `centre` is T c. NaN if the divergence is
/// infinite.
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
        if !sum_near::<V>(1, classes, (t, p), (x, q), temperature, scratch) {
            return;
        }
        (sum, error) = (scratch.weight[0].get(), scratch.margin[0].get());
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

/// [`sum`] of rows that lie one after the other, around T c in `anchor` and with the ratios in `slope_at_label`, but without the classes
/// whose term is 0: `sample` is 1 if one of them may count, and the result is whether any may. The results are in `weight` and `margin`.
/// If the slices are longer than the rows, they are read a vector beyond their end.
#[inline(always)]
pub fn sum_near<V: Single>(
    rows: usize,
    classes: usize,
    (t, p): (Numbers, Numbers),
    (x, q): (Numbers, Numbers),
    temperature: f64,
    scratch: &Scratch,
) -> bool {
    let inverse = 1.0 / temperature;
    if p.kind() == Kind::Double {
        sum_of::<V::Double>(rows, classes, t.cells(), x.cells(), p.cells(), q.cells(), inverse, scratch)
    } else {
        sum_of::<V>(rows, classes, t.cells(), x.cells(), p.cells(), q.cells(), inverse, scratch)
    }
}

/// [`sum_near`] of one type.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn sum_of<'a, V: Vector>(
    rows: usize,
    classes: usize,
    mut all_t: &'a [Cell<V::Element>],
    mut all_x: &'a [Cell<V::Element>],
    mut all_p: &'a [Cell<V::Element>],
    mut all_q: &'a [Cell<V::Element>],
    inverse: f64,
    scratch: &Scratch,
) -> bool {
    let splat = |x: f64| V::splat(V::Element::from_f64(x));
    let pick = |(single, double): (f64, f64)| if V::Element::DOUBLE { double } else { single };
    let near = splat(pick(NEAR) * pick(NEAR));
    let most = V::opaque(&MOST[usize::from(V::Element::DOUBLE)]);
    let least_low = V::opaque(&LEAST[usize::from(V::Element::DOUBLE)]);
    let (inverse, polynomial) = (splat(inverse), Polynomial::<V>::load());
    let (room, _) = V::chunks(scratch.low());
    let end = classes / V::LANES * V::LANES;
    let mut any_far = false;
    for row in 0..rows {
        let row = row % ROWS;
        let [t_end, x_end, p_end, q_end] = [all_t, all_x, all_p, all_q].map(|all| all.get(end..).unwrap_or(&[]));
        let [(mut t, _), (mut x, _), (mut p, _), (mut q, _)] =
            [all_t, all_x, all_p, all_q].map(|all| V::chunks(part(all, 0, end)));
        let (centre, ratio) = (scratch.anchor[row].get(), splat(scratch.slope_at_label[row].get()));
        let first = V::Element::from_f64(centre);
        let (centre, centre_low) = (V::splat(first), splat(centre - first.to_f64()));
        // For a vector: p (e^r - 1 - r), and p (e^r - 1), which is q - p unless r is small. Neither is computed from the other: a large
        // p r would cancel all digits.
        let at = |t: &V::Chunk, x: &V::Chunk, p: &V::Chunk, q: &V::Chunk| {
            let [t, x, p, q] = [t, x, p, q].map(V::load);
            let distance = t.sub(x);
            let mut r = centre.sub(distance);
            if !V::Element::DOUBLE {
                // The rounding error of the distance (Knuth's two-sum) counts where the distance is close to the centre.
                let back = distance.sub(t);
                let lost = t.sub(distance.sub(back)).sub(x.add(back));
                r = r.add(least_low.max(centre_low.sub(lost)));
            }
            // If the target is -inf, p is 0, and any finite number will do.
            let rounded = most.min(r.mul(inverse));
            let square = rounded.mul(rounded);
            let moment = p.mul(rounded);
            let small = near.above(square);
            let (near, far) = (moment.mul(rounded.mul(polynomial.at(rounded, square))), q.mul(ratio).sub(p));
            let (either, moment_near) = (small.select(near, far), small.and(moment));
            (either.sub(moment.xor(moment_near)), either.add(moment_near), rounded)
        };
        let (mut sums, mut errors, mut least) = (Twice::<V::Wide>::splat(0.0), splat(0.0), splat(0.0));
        let mut lanes = V::first_lanes(V::LANES);
        let mut ended = end == classes;
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
                errors = errors.add(error.add(other_error));
            }
            for (((t, x), p), q) in t_one.iter().zip(x_one).zip(p_one).zip(q_one) {
                let (term, error, r) = at(t, x, p, q);
                least = least.min(r.and(lanes));
                sums = sums.add(term.and(lanes).widen());
                errors = errors.add(error.and(lanes));
            }
            if ended {
                break;
            }
            // The lanes beyond the end of the row do not count. If they are not in memory, copy the others.
            let ends = [t_end, x_end, p_end, q_end];
            (t, x, p, q) = match ends.map(|end| V::chunks(end).0) {
                [t @ [_, ..], x @ [_, ..], p @ [_, ..], q @ [_, ..]] => {
                    (part(t, 0, 1), part(x, 0, 1), part(p, 0, 1), part(q, 0, 1))
                }
                _ => {
                    for (end, to) in ends.iter().zip(room) {
                        V::load_partial(end, V::Element::default()).store(to);
                    }
                    (part(room, 0, 1), part(room, 1, 2), part(room, 2, 3), part(room, 3, 4))
                }
            };
            (lanes, ended) = (V::first_lanes(classes - end), true);
        }
        scratch.weight[row].set(sums.total());
        scratch.margin[row].set(errors.widen().total());
        let far = splat(-pick(LARGE)).above(least).any_bits() != 0;
        scratch.sample[row].set(f64::from(u8::from(far)));
        any_far |= far;
        [all_t, all_x, all_p, all_q] = [all_t, all_x, all_p, all_q].map(|all| all.get(classes..).unwrap_or(&[]));
    }
    any_far
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
