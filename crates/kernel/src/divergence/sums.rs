//! The sum of a divergence over the classes of rows, from both logits and their terms.

use super::NEAR;
use crate::exp::INVERSE_FACTORIALS;
use crate::numbers::{Kind, Numbers};
use crate::scratch::{ROWS, Scratch};
use crate::vector::{Element, Single, Twice, Vector, Wide, part};
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

/// A distance beyond [`NEAR`].
static ONE: f64 = 1.0;

/// Replaces the second part of an infinite distance, which is NaN. The sum of both parts is still infinite.
static LEAST: [f64; 2] = [f32::MIN as f64, f64::MIN];

/// A class with a larger d_j may count although its p_j is so small that the term is 0.
pub const LARGE: (f64, f64) = ((1u64 << 32) as f64, f64::from_bits((1023 + 200) << 52));

/// How many of the first classes show whether the two rows are close or apart.
const SAMPLE: usize = 64;

/// The least divergence of two rows that are apart, in units of (1 + |c|) times the sum of p. The rounding errors of p (d - 1) + q add up to
/// at most u times 6.5 sum p |d| + 2 |c| + 5 (of which 2.9 are the error of c), and 1.5 u of the divergence. The sum of p |d| is at most the
/// divergence K plus twice the distance of p and q, which is at most the root of K / 2. So the error is at most 51 u K.
const MUCH: f64 = 0.25;

/// [`super::sum`] of rows that lie one after the other, around T c in `anchor`, with the ratios in `slope_at_label` and the sums of the `p` in
/// `off_label`, but without the classes whose term is 0: `sample` is 1 if one of them may count, and the result is whether any may. The
/// results are in `weight` and `margin`. If the slices are longer than the rows, they are read a vector beyond their end.
#[inline(always)]
pub fn sum_rows<V: Single>(
    rows: usize,
    classes: usize,
    (t, p): (Numbers, Numbers),
    (x, q): (Numbers, Numbers),
    temperature: f64,
    scratch: &Scratch,
) -> bool {
    let inverse = 1.0 / temperature;
    if p.kind() == Kind::Double {
        return sum_any::<V::Double>(0, rows, classes, t.cells(), x.cells(), p.cells(), q.cells(), inverse, scratch);
    }
    let (t, x, p, q) = (t.cells(), x.cells(), p.cells(), q.cells());
    if classes < SAMPLE {
        return sum_any::<V>(0, rows, classes, t, x, p, q, inverse, scratch);
    }
    let mut any_far = false;
    for row in 0..rows {
        any_far |= sum_long::<V>(row, classes, t, x, p, q, inverse, scratch);
    }
    any_far
}

/// [`sum_rows`] of a row, which the first classes show to be close or apart.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn sum_long<V: Single>(
    row: usize,
    classes: usize,
    t: &[Cell<f32>],
    x: &[Cell<f32>],
    p: &[Cell<f32>],
    q: &[Cell<f32>],
    inverse: f64,
    scratch: &Scratch,
) -> bool {
    let far = if sum_apart::<V>(row, classes, SAMPLE, t, x, p, q, inverse, NEAR.0, scratch) {
        let far = sum_apart::<V>(row, classes, classes, t, x, p, q, inverse, LARGE.0, scratch);
        let [sum, sum_p, centre] =
            [&scratch.weight, &scratch.off_label, &scratch.anchor].map(|all| all[row % ROWS].get());
        let enough = sum >= MUCH * (1.0 + centre.abs() * inverse) * sum_p;
        enough.then_some(far)
    } else {
        let close = !sum_close::<V>(row, classes, t, x, p, inverse, scratch);
        (close && scratch.weight[row % ROWS].get().is_finite()).then_some(false)
    };
    let Some(far) = far else { return sum_any::<V>(row, 1, classes, t, x, p, q, inverse, scratch) };
    scratch.sample[row % ROWS].set(f64::from(u8::from(far)));
    far
}

/// [`super::sum`] of the first `count` classes of a row whose targets and logits are so far apart that p (d - 1) + q does not cancel.
/// Returns whether a d_j exceeds the bound, which may be [`NEAR`] for |d_j|. The results are in `weight` and `margin`.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn sum_apart<V: Single>(
    row: usize,
    classes: usize,
    count: usize,
    t: &[Cell<f32>],
    x: &[Cell<f32>],
    p: &[Cell<f32>],
    q: &[Cell<f32>],
    inverse: f64,
    bound: f64,
    scratch: &Scratch,
) -> bool {
    let (most, one) = (V::opaque(&MOST[0]), V::opaque(&ONE));
    let [centre, ratio, inverse, zero] =
        [scratch.anchor[row % ROWS].get(), scratch.slope_at_label[row % ROWS].get(), inverse, 0.0].map(V::from_f64);
    let from = row * classes;
    let parts = [t, x, p, q].map(|all| part(all, from, from + count));
    each::<V>(row, parts, 0.0, bound, scratch, |t, x, p, q| {
        // If the target is -inf, p is 0, and any finite number will do.
        let r = most.min(centre.sub(t.sub(x)).mul(inverse));
        let error = q.mul(ratio).sub(p);
        (error.sub(p.mul(r)), error, zero.sub(r).max(r.min(one)))
    })
}

/// [`super::sum`] of classes whose targets and logits are so close that the polynomial gives all terms. Returns whether this is not so.
#[inline(never)]
fn sum_close<V: Single>(
    row: usize,
    classes: usize,
    t: &[Cell<f32>],
    x: &[Cell<f32>],
    p: &[Cell<f32>],
    inverse: f64,
    scratch: &Scratch,
) -> bool {
    let centre = scratch.anchor[row % ROWS].get();
    let first = centre as f32;
    let [inverse, centre, centre_low] = [inverse, centre, centre - f64::from(first)].map(V::from_f64);
    let polynomial = Polynomial::<V>::load();
    let from = row * classes;
    let parts = [t, x, p, p].map(|all| part(all, from, from + classes));
    each::<V>(row, parts, first, NEAR.0 * NEAR.0, scratch, |t, x, p, _| {
        let (distance, lost) = two_difference(t, x);
        let r = centre.sub(distance).add(centre_low.sub(lost)).mul(inverse);
        let square = r.mul(r);
        let moment = p.mul(r);
        let term = moment.mul(r.mul(polynomial.at(r, square)));
        (term, moment.add(term), square)
    })
}

/// The rounded difference and its rounding error (Knuth).
#[inline(always)]
fn two_difference<V: Vector>(t: V, x: V) -> (V, V) {
    let distance = t.sub(x);
    let back = distance.sub(t);
    (distance, t.sub(distance.sub(back)).sub(x.add(back)))
}

/// Sums what a function makes of the classes: terms, errors and a size. Returns whether a size exceeds the bound. The targets beyond the end
/// count as `fill`, all else as 0.
#[inline(always)]
fn each<V: Single>(
    row: usize,
    [t, x, p, q]: [&[Cell<f32>]; 4],
    fill: f32,
    bound: f64,
    scratch: &Scratch,
    of: impl Fn(V, V, V, V) -> (V, V, V),
) -> bool {
    let zero = V::from_f64(0.0);
    let (mut sums, mut errors, mut largest) = (Twice::<V::Wide>::splat(0.0), zero, zero);
    let [(t, t_rest), (x, x_rest), (p, p_rest), (q, q_rest)] = [t, x, p, q].map(V::chunks);
    for (((t, x), p), q) in t.iter().zip(x).zip(p).zip(q) {
        let (term, error, size) = of(V::load(t), V::load(x), V::load(p), V::load(q));
        sums = sums.add(term.widen());
        errors = errors.add(error);
        largest = largest.max(size);
    }
    if !p_rest.is_empty() {
        let rest = |all: &[Cell<f32>]| V::load_partial(all, 0.0);
        let t = V::load_partial(t_rest, fill);
        let (term, error, size) = of(t, rest(x_rest), rest(p_rest), rest(q_rest));
        sums = sums.add(term.widen());
        errors = errors.add(error);
        largest = largest.max(size);
    }
    scratch.weight[row % ROWS].set(sums.total());
    scratch.margin[row % ROWS].set(errors.widen().total());
    largest.above(V::from_f64(bound)).any_bits() != 0
}

/// [`sum_rows`] of any rows.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn sum_any<V: Vector>(
    first: usize,
    rows: usize,
    classes: usize,
    t: &[Cell<V::Element>],
    x: &[Cell<V::Element>],
    p: &[Cell<V::Element>],
    q: &[Cell<V::Element>],
    inverse: f64,
    scratch: &Scratch,
) -> bool {
    let pick = |(single, double): (f64, f64)| if V::Element::DOUBLE { double } else { single };
    let near = V::from_f64(pick(NEAR) * pick(NEAR));
    let most = V::opaque(&MOST[usize::from(V::Element::DOUBLE)]);
    let least_low = V::opaque(&LEAST[usize::from(V::Element::DOUBLE)]);
    let (inverse, polynomial) = (V::from_f64(inverse), Polynomial::<V>::load());
    let length = t.len().min(x.len()).min(p.len()).min(q.len());
    let (t, x, p, q) = (part(t, 0, length), part(x, 0, length), part(p, 0, length), part(q, 0, length));
    let mut any_far = false;
    for row in first..first + rows {
        let (mut at, end) = (row * classes, row * classes + classes);
        let row = row % ROWS;
        let (centre, ratio) = (scratch.anchor[row].get(), V::from_f64(scratch.slope_at_label[row].get()));
        let first = V::Element::from_f64(centre);
        let (centre, centre_low) = (V::splat(first), V::from_f64(centre - first.to_f64()));
        let (mut sums, mut errors) = (Twice::<V::Wide>::splat(0.0), V::from_f64(0.0));
        let mut least = errors;
        while at < end {
            let vector = |all: &[Cell<V::Element>]| match V::chunks(part(all, at, at + V::LANES)).0 {
                [chunk, ..] => V::load(chunk),
                _ => V::load_partial(part(all, at, length), V::Element::default()),
            };
            // The lanes beyond the end of the row do not count.
            let lanes = V::first_lanes(end - at);
            let (t, x, p, q) = (vector(t), vector(x), vector(p).and(lanes), vector(q).and(lanes));
            let (distance, lost) = two_difference(t, x);
            let mut r = centre.sub(distance);
            if !V::Element::DOUBLE {
                // Counts where the distance is close to the centre.
                r = r.add(least_low.max(centre_low.sub(lost)));
            }
            // If the target is -inf, p is 0, and any finite number will do.
            let r = most.min(r.mul(inverse)).and(lanes);
            let square = r.mul(r);
            let moment = p.mul(r);
            let small = near.above(square);
            // p (e^r - 1 - r), and p (e^r - 1), which is q - p unless r is small. Neither is computed from the other: a large p r would
            // cancel all digits.
            let (near, far) = (moment.mul(r.mul(polynomial.at(r, square))), q.mul(ratio).sub(p));
            let (either, moment_near) = (small.select(near, far), small.and(moment));
            sums = sums.add(either.sub(moment.xor(moment_near)).widen());
            errors = errors.add(either.add(moment_near));
            least = least.min(r);
            at += V::LANES;
        }
        scratch.weight[row].set(sums.total());
        scratch.margin[row].set(errors.widen().total());
        let far = V::from_f64(-pick(LARGE)).above(least).any_bits() != 0;
        scratch.sample[row].set(f64::from(u8::from(far)));
        any_far |= far;
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
