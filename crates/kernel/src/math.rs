//! exp, log1p, tanh of one `f64`, to a few of its last places: for `f64` logits and for the softcap. Written out here
//! because they must not touch stack memory, which the threads of a shared memory have in common; libm's do.

const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

/// 1 / k! for k = 2, 3, ..., 13.
const INVERSE_FACTORIALS: [f64; 12] = [
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

/// x = n ln 2 + r as (n, e^r - 1). The first term left out is below 5e-18.
#[inline(always)]
fn reduce(x: f64) -> (i64, f64) {
    let n = (x * core::f64::consts::LOG2_E + ROUND) - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let c = INVERSE_FACTORIALS;
    let pair = |k: usize| c[k] + c[k + 1] * r;
    // Estrin's order, for a short chain.
    let (r2, r4) = (r * r, (r * r) * (r * r));
    let (low, middle, high) = (pair(0) + pair(2) * r2, pair(4) + pair(6) * r2, pair(8) + pair(10) * r2);
    (n as i64, r + r2 * (low + r4 * (middle + r4 * high)))
}

#[inline(always)]
fn power_of_two(n: i64) -> f64 {
    f64::from_bits(((1023 + n) as u64) << 52)
}

/// e^x; 0 below -745, infinite above 709.8.
#[inline(never)]
pub fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let (n, p) = reduce(x.clamp(-760.0, 720.0));
    // In two steps: 2^n alone may be subnormal, or 2^1024.
    let half = n >> 1;
    (1.0 + p) * power_of_two(half) * power_of_two(n - half)
}

/// e^(2 |u|) - 1, exact also where that is small; NaN is not treated.
#[inline(always)]
fn exp_m1_of_twice(u: f64) -> f64 {
    let (n, p) = reduce((2.0 * u.abs()).min(80.0));
    let s = power_of_two(n);
    s * p + (s - 1.0)
}

/// log(1 + q) for q > -1; infinite where q is.
#[inline(never)]
pub fn log1p(q: f64) -> f64 {
    let u = 1.0 + q;
    if u == 1.0 || !u.is_finite() {
        return q;
    }
    let lost = (q - (u - 1.0)) / u;
    let bits = u.to_bits() + (0x3ff0_0000_0000_0000 - 0x3fe6_a09e_667f_3bcd);
    let k = (bits >> 52) as f64 - 1023.0;
    let f = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) + 0x3fe6_a09e_667f_3bcd) - 1.0;
    // 2 atanh(s), |s| <= 0.1716: the first term left out is below 1e-18.
    let s = f / (2.0 + f);
    let z = s * s;
    let mut sum = 0.0;
    let mut d = 25.0;
    while d > 0.0 {
        sum = sum * z + 2.0 / d;
        d -= 2.0;
    }
    k * LN2_HIGH + (s * sum + (k * LN2_LOW + lost))
}

/// tanh(u)
#[inline(never)]
pub fn tanh(u: f64) -> f64 {
    if u.is_nan() {
        return u;
    }
    let e = exp_m1_of_twice(u);
    (e / (e + 2.0)).copysign(u)
}

/// 1 - tanh(u)^2, without the difference that would lose it where it is small.
#[inline(never)]
pub fn tanh_slope(u: f64) -> f64 {
    if u.abs() < 40.0 {
        let e = exp_m1_of_twice(u);
        4.0 * (e + 1.0) / ((e + 2.0) * (e + 2.0))
    } else {
        4.0 * exp(-2.0 * u.abs())
    }
}
