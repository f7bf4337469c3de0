//! Logarithms relative to a power of two: x - n ln 2 and e^x / 2^n without the rounding of n ln 2, for large x and n. And what sums and
//! products round off.

use crate::exp::exp;
use crate::vector::Pair;

/// ln 2 in three parts. The first two have 21 bits, so their products with a power are exact.
const LN2: [f64; 3] = [0.693_146_705_627_441_4, 4.749_324_489_239_370_5e-7, 5.497_923_018_708_371e-14];

/// x - power ln 2
#[inline(always)]
pub fn above_power(x: f64, power: f64) -> f64 {
    let [high, middle, low] = LN2;
    (x - power * high) - power * middle - power * low
}

/// rest + power ln 2, rounded once where that is large.
#[inline(always)]
pub fn with_power(rest: f64, power: f64) -> f64 {
    let [high, middle, low] = LN2;
    ((rest + power * low) + power * middle) + power * high
}

/// A number as m 2^n with 0.75 <= m < 1.5. So a power of two in it changes n only.
#[inline(always)]
pub fn split(x: f64) -> (f64, f64) {
    let n = exponent(x);
    (f64::from_bits(x.to_bits().wrapping_sub((n as u64) << 52)), f64::from(n))
}

/// 2^n for an integer n; 0 or infinity far out of range.
#[inline(always)]
pub fn power_of_two(n: f64) -> f64 {
    f64::from_bits(((1023.0 + n).clamp(0.0, 2047.0) as u64) << 52)
}

/// n of [`split`]; 0 if the number is not positive and normal.
#[inline(never)]
fn exponent(x: f64) -> i32 {
    let normal = (f64::MIN_POSITIVE..f64::INFINITY).contains(&x);
    if normal { ((x.to_bits() + (1 << 51)) >> 52) as i32 - 1023 } else { 0 }
}

/// e^x / 2^power
#[inline(never)]
pub fn over_power<W: Pair>(x: f64, power: f64) -> f64 {
    exp::<W>(above_power(x, power))
}

/// factor e^x for any x, also where e^x itself is out of range.
#[inline(never)]
pub fn times_exp<W: Pair>(factor: f64, x: f64) -> f64 {
    let half = exp::<W>(0.5 * x.clamp(-1380.0, 1380.0));
    factor * half * half
}

/// x / T - power ln 2, where both are large.
#[inline(always)]
pub fn above_powers(x: f64, temperature: f64, power: f64) -> f64 {
    let quotient = x / temperature;
    above_power(quotient, power) + lost_by_division(x, temperature, quotient)
}

/// What the rounded quotient of x and t lacks.
#[inline(never)]
pub fn lost_by_division(x: f64, t: f64, quotient: f64) -> f64 {
    let (product, low) = two_product(quotient, t);
    ((x - product) - low) / t
}

/// The rounded sum and its rounding error (Knuth).
#[inline(always)]
pub fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let back = sum - a;
    (sum, (a - (sum - back)) + (b - back))
}

/// The rounded product and its rounding error (Dekker).
#[inline(always)]
pub fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    let halves = |x: f64| {
        let high = f64::from_bits(x.to_bits() & !0x7ff_ffff);
        (high, x - high)
    };
    let ((a_high, a_low), (b_high, b_low)) = (halves(a), halves(b));
    let low = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low);
    (product, if low.is_finite() { low } else { 0.0 })
}
