//! The exponential of a softmax's terms, by range reduction and a polynomial: for the loops over classes in `f32` or `f64`, and for the
//! label's own term in `f64`.
//!
//! All of them follow Cody and Waite: x / T = n ln 2 + r with an integer n and |r| <= ln 2 / 2, so e^(x / T) = 2^n (1 + expm1(r)), where T
//! is the temperature. Adding 1.5 * 2^23 (for `f64`, 2^52) to x log2 e / T leaves n in the low bits of the sum. A shift moves it into
//! the exponent: the *scale* of the term. The term is scale + scale * expm1, rounded once.
//!
//! Terms are computed as e^(x / T) 2^(lift - n0), where n0 belongs to the row: it is even, and near log2 of the label's term. An exact
//! power of two changes no result. It keeps terms in range at both ends: a term 2^182 times smaller than the label's becomes 0 (no
//! number of such terms matters in `f32`), and a term may be 2^48 times larger before the row needs another n0. The float that
//! produces n - n0 + lift is the row's *shift*.

mod wide;

pub use wide::{ExpWide, LN2_HIGH_WIDE, LN2_LOW_WIDE, exp};

use crate::scratch::Scratch;
use crate::vector::{Element, Vector, Wide};

/// The largest relative error of a term of `f32` logits, in units of 2^-24. Tests assert it, unfused and fused.
pub const MAX_ERROR: f64 = 1.45;

/// The same with a temperature.
pub const MAX_TEMPERED_ERROR: f64 = 1.5;

/// Constants of the range reduction, for a type of logits.
#[derive(Clone, Copy)]
pub struct Range {
    /// 1.5 * 2^23 (for `f64`, 2^52): the last bit of a float of this size is worth 1.
    pub round: f64,
    /// Bias of the exponent.
    pub bias: f64,
    /// log2 of the term of a logit at n0 ln 2, chosen so that subnormal terms do not matter in the gradient.
    pub lift: f64,
    /// Bits of the high part of T ln 2: without a fused multiply-add, its product with n is exact below [`Range::max_shift`].
    high_bits: u32,
    /// The largest |x / T| around which a row may be reduced without centring. Within its window, n * high is exact.
    pub max_shift: f64,
    /// A sum of terms of this size or more is out of range: 1 / sum would come close to the subnormal numbers.
    pub too_large: f64,
    /// In a group of rows, the label's term must lie between these. At the lower bound, the terms of a group that became 0 add up to
    /// less than an eighth of the least loss (2^-149, for `f64` 2^-1074). Below it, they would matter.
    pub label: (f64, f64),
    /// In a group of rows, the off-label sum must be less than this multiple of the label's term. (For a row computed alone, the range
    /// of the label's term implies this.)
    pub ratio: f64,
}

/// Constants for `f32` logits.
const SINGLE: Range = Range {
    round: 12_582_912.0,
    bias: 127.0,
    lift: 56.0,
    high_bits: 13,
    max_shift: 800.0,
    too_large: power_of_two(104),
    label: (power_of_two(34), power_of_two(80)),
    ratio: power_of_two(46),
};

/// Constants for `f64` logits.
const DOUBLE: Range = Range {
    round: 6_755_399_441_055_744.0,
    bias: 1023.0,
    lift: 256.0,
    high_bits: 32,
    max_shift: 1_000_000.0,
    too_large: power_of_two(736),
    label: (power_of_two(64), power_of_two(448)),
    ratio: power_of_two(288),
};

const fn power_of_two(n: u64) -> f64 {
    f64::from_bits((1023 + n) << 52)
}

impl Range {
    /// The constants for a type.
    #[inline(always)]
    pub const fn of<E: Element>() -> Self {
        if E::DOUBLE { DOUBLE } else { SINGLE }
    }

    /// The range of `f64` if `double`, else of `f32`.
    #[inline(always)]
    pub const fn of_type(double: bool) -> &'static Self {
        if double { &DOUBLE } else { &SINGLE }
    }

    /// n0 of a row with this logit (after softcap and temperature) at its label. n0 is even: a logit half way between two n rounds to the
    /// even sum, which includes n0, so an even n0 does not change that rounding.
    #[inline(always)]
    pub fn power_of(logit: f64) -> f64 {
        2.0 * ((logit * (0.5 * core::f64::consts::LOG2_E) + DOUBLE.round) - DOUBLE.round)
    }

    /// [`Range::power_of`] of several logits.
    #[inline(always)]
    pub fn powers_of<W: Wide>(logits: W) -> W {
        let [half, round, two] = [0.5 * core::f64::consts::LOG2_E, DOUBLE.round, 2.0].map(W::splat);
        logits.mul(half).add(round).sub(round).mul(two)
    }

    /// The shift that belongs to this n0.
    #[inline(always)]
    pub fn shift(&self, power: f64) -> f64 {
        self.round + (self.bias + self.lift - power)
    }

    /// 2^lift
    #[inline(always)]
    pub fn unit(&self) -> f64 {
        power_of_two(self.lift as u64)
    }

    /// The sum, or NaN if it is out of range.
    #[inline(always)]
    pub fn checked(&self, sum: f64) -> f64 {
        if (0.0..self.too_large).contains(&sum) { sum } else { f64::NAN }
    }

    /// Constants of a run: log2 e / T; -T ln 2 in two parts, the second divided by T; 1 / T in two parts; T ln 2.
    #[inline(always)]
    pub fn constants(&self, double: bool, temperature: f64) -> [f64; 6] {
        let unit = temperature * core::f64::consts::LN_2;
        let high = f64::from_bits(unit.to_bits() & !((1 << (53 - self.high_bits)) - 1));
        // Exact: the first parts have 21 and 32 bits.
        let first = f64::from_bits(temperature.to_bits() & !0xffff_ffff);
        let low = (first * LN2_HIGH_WIDE - high) + ((temperature - first) * LN2_HIGH_WIDE + temperature * LN2_LOW_WIDE);
        let inverse = 1.0 / temperature;
        let rounded = if double { inverse } else { f64::from(inverse as f32) };
        [core::f64::consts::LOG2_E / temperature, -high, -low / temperature, rounded, inverse - rounded, unit]
    }
}

/// e^r = 1 + r + c2 r^2 + ... + c6 r^6: minimax for the relative error on |r| <= 0.3475 with the first two terms fixed,
/// coefficients rounded to `f32` one after the other, the rest fitted again (3.2e-9 = 0.05 ulp before rounding).
static COEFFICIENTS: [f64; 5] = [
    0.499_999_94_f32 as f64,
    0.166_665_21_f32 as f64,
    0.041_668_292_f32 as f64,
    0.008_368_716_f32 as f64,
    0.001_381_869_9_f32 as f64,
];

/// 1 / k! for k = 2, 3, ..., 13: the first term left out is below 5e-18.
pub static INVERSE_FACTORIALS: [f64; 12] = [
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5_040.0,
    1.0 / 40_320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
    1.0 / 479_001_600.0,
    1.0 / 6_227_020_800.0,
];

/// The polynomial (e^r - 1 - r) / r^2. A loop keeps its coefficients in registers.
#[derive(Clone, Copy)]
pub struct Polynomial<V>([V; 12]);

impl<V: Vector> Polynomial<V> {
    /// Loads the coefficients.
    #[inline(always)]
    pub fn load() -> Self {
        if V::Element::DOUBLE {
            return Self(INVERSE_FACTORIALS.each_ref().map(V::opaque));
        }
        let [c2, c3, c4, c5, c6] = COEFFICIENTS.each_ref().map(V::opaque);
        Self([c2, c3, c4, c5, c6, c6, c6, c6, c6, c6, c6, c6])
    }

    /// Its value at r, given r^2.
    #[inline(always)]
    fn at(&self, r: V, square: V) -> V {
        let c = &self.0;
        let pair = |k: usize| c[k + 1].mul_add(r, c[k]);
        if V::Element::DOUBLE {
            let high = pair(10).mul_add(square, pair(8)).mul_add(square, pair(6));
            return high.mul_add(square, pair(4)).mul_add(square, pair(2)).mul_add(square, pair(0));
        }
        c[4].mul_add(square, pair(2)).mul_add(square, pair(0))
    }
}

/// A range reduction of the logits of a row to terms.
pub trait Reduction<V: Vector>: Copy {
    /// Whether logits have a second part: the rounding error of a capped logit.
    const LOW: bool;

    /// Loads the constants of the run and the shift of the row.
    fn load(scratch: &Scratch) -> Self;

    /// The same reduction with other shifts.
    fn shifted(self, shift: V) -> Self;

    /// The terms, and a trace. The or-ed traces of a row show whether all of its terms are right.
    fn term(&self, polynomial: &Polynomial<V>, x: V, low: V) -> (V, V);

    /// Whether the terms are right, from their or-ed traces.
    fn accepts(trace: u64) -> bool;
}

/// Reduces x itself. Subtracting a maximum first would round, which costs up to 32 ulp in small terms. Logits below the window (masks:
/// -inf, -1e9) count as its lower end, whose term is 0.
#[derive(Clone, Copy)]
pub struct Direct<V, const TEMPERED: bool, const LOW: bool> {
    log2_e: V,
    shift: V,
    ln2_high: V,
    ln2_low: V,
    inverse_high: V,
    inverse_low: V,
    floor: V,
    unit: V,
    round: V,
}

impl<V: Vector, const TEMPERED: bool, const LOW: bool> Reduction<V> for Direct<V, TEMPERED, LOW> {
    const LOW: bool = LOW;

    #[inline(always)]
    fn load(scratch: &Scratch) -> Self {
        let [log2_e, ln2_high, ln2_low, inverse_high, inverse_low, unit] = scratch.range();
        let [log2_e, ln2_high, ln2_low] = [log2_e, ln2_high, ln2_low].map(V::from_f64);
        let [inverse_high, inverse_low, unit] = [inverse_high, inverse_low, unit].map(V::from_f64);
        let (shift, round) = (V::from_f64(scratch.shift.get()), V::from_f64(Range::of::<V::Element>().round));
        Self { log2_e, shift, ln2_high, ln2_low, inverse_high, inverse_low, floor: shift, unit, round }.shifted(shift)
    }

    #[inline(always)]
    fn shifted(self, shift: V) -> Self {
        Self { shift, floor: self.round.sub(shift).mul(self.unit), ..self }
    }

    #[inline(always)]
    fn term(&self, polynomial: &Polynomial<V>, x: V, low: V) -> (V, V) {
        let x = x.max(self.floor);
        let shifted = x.mul_add(self.log2_e, self.shift);
        let n = shifted.sub(self.shift);
        // Exact.
        let high = n.mul_add(self.ln2_high, x);
        let expm1 = if TEMPERED {
            // r = first + second is rounded as without a temperature: `first` once, and `second` is small.
            let first = high.mul(self.inverse_high);
            let second = n.mul_add(self.ln2_low, high.mul(self.inverse_low));
            let second = if LOW { low.mul_add(self.inverse_high, second) } else { second };
            let r = first.add(second);
            let square = r.mul(r);
            first.add(polynomial.at(r, square).mul_add(square, second))
        } else {
            let r = n.mul_add(self.ln2_low, high);
            let r = if LOW { r.add(low) } else { r };
            let square = r.mul(r);
            polynomial.at(r, square).mul_add(square, r)
        };
        let scale = shifted.exponent();
        (expm1.mul_add(scale, scale), shifted)
    }

    /// The low byte (for `f64`, eleven bits) is n - n0 + bias + lift, which must not leave it. It cannot go below: a trace that lacked
    /// a bit of the others would not show. A higher n carries into the bits above, and NaN and +inf have other exponents.
    #[inline(always)]
    fn accepts(trace: u64) -> bool {
        if V::Element::DOUBLE { trace & !0x7ff == DOUBLE.round.to_bits() } else { trace & !0xff == 0x4b40_0000 }
    }
}

/// Reduces x - c, for logits of any size and any finite c in two parts. The rounding error of the subtraction (Knuth's two-sum) is
/// added to r.
#[derive(Clone, Copy)]
pub struct Centred<V> {
    centre: V,
    centre_low: V,
    direct: Direct<V, true, true>,
    ceiling: V,
}

impl<V: Vector> Reduction<V> for Centred<V> {
    const LOW: bool = true;

    #[inline(always)]
    fn load(scratch: &Scratch) -> Self {
        let range = Range::of::<V::Element>();
        let direct = Direct::load(scratch).shifted(V::from_f64(range.shift(0.0)));
        let [centre, centre_low] = [&scratch.centre, &scratch.centre_low].map(|x| V::from_f64(x.get()));
        // The logit whose term has the largest finite exponent.
        let ceiling = direct.floor.add(V::from_f64(2.0 * range.bias).mul(direct.unit));
        Self { centre, centre_low, direct, ceiling }
    }

    #[inline(always)]
    fn shifted(self, _: V) -> Self {
        self
    }

    /// The second parts may be larger than T ln 2, so they are added before n is taken. The difference of the first parts is either 0 or
    /// larger than the second parts, so the rounding error of that sum is known (Dekker).
    #[inline(always)]
    fn term(&self, polynomial: &Polynomial<V>, x: V, low: V) -> (V, V) {
        let difference = x.sub(self.centre);
        let back = difference.sub(x);
        let lost = x.sub(difference.sub(back)).sub(self.centre.add(back));
        let floor = self.direct.floor;
        // The rest does not matter far below the window, where `lost` may be NaN.
        let rest = lost.add(low.sub(self.centre_low)).and(difference.above(floor.add(floor)));
        let sum = difference.add(rest);
        let rest = rest.sub(sum.sub(difference)).and(sum.above(floor));
        // A logit above the window makes the sum too large.
        let (term, _) = self.direct.term(polynomial, sum.min(self.ceiling), rest);
        // The trace also covers a logit of +inf.
        (term, sum.is_nan())
    }

    #[inline(always)]
    fn accepts(trace: u64) -> bool {
        trace == 0
    }
}
