//! log(1 + a / b) in `f64` for a >= 0, two or four at a time: the loss of a row with the off-label sum a
//! and the label's term b. Accurate for every ratio from 1e-300 (where log(1 + a / b) itself would be 0) to 1e30.
//!
//! 1 + a / b = 2^k m, and log m = 2 atanh(s) with s = (m - 1) / (m + 1). Multiplied by 2^k b, that is
//! (a + b - 2^k b) / (a + b + 2^k b): a single division.

use crate::vector::{Element, Wide};

static EXPONENT: f64 = f64::INFINITY; // its bits
/// 2^52, whose last bit is worth 1: the low bits of a sum with it are the integer.
static INTEGER: f64 = 4_503_599_627_370_496.0;
/// Below this a / b, k is 0 and m - 1 is a / b itself, whose digits 1 + a / b may lose.
static SMALL: f64 = 0.4;

/// 2 atanh(s) / s in powers of s^2 on |s| <= 1/3: minimax for the relative error, 4.0e-9 (0.07 ulp of `f32`).
static ATANH: [f64; 5] = [
    2.000_000_007_921_038,
    0.666_663_146_821_284_8,
    0.400_249_102_795_381_23,
    0.279_606_027_471_714_65,
    0.281_783_350_867_345_46,
];

/// The first half: s and k ln 2. A loop keeps the constants in registers.
#[derive(Clone, Copy)]
pub struct Quotient<W> {
    exponent: W,
    integer: W,
    small: W,
    ln_2: W,
}

impl<W: Wide> Quotient<W> {
    /// Loads the constants.
    #[inline(always)]
    pub fn load() -> Self {
        Self {
            exponent: W::constant(&EXPONENT),
            integer: W::constant(&INTEGER),
            small: W::constant(&SMALL),
            ln_2: W::constant(&core::f64::consts::LN_2),
        }
    }

    /// s and k ln 2 for 0 <= a <= 2^1000 b, given also a + b.
    #[inline(always)]
    pub fn of(&self, a: W, b: W, total: W) -> (W, W) {
        let small = a.below(b.mul(self.small));
        // k is the difference of the exponents: total / (2^k b) is between 1/2 and 2.
        let k = total.and(self.exponent).sub_bits(b.and(self.exponent));
        let k = small.select(W::splat(0.0), k);
        let b = b.add_bits(k);
        let s = small.select(a, total.sub(b)).div(total.add(b));
        (s, k.shr::<52>().add_bits(self.integer).sub(self.integer).mul(self.ln_2))
    }
}

/// 2 / k for k = 33, 31, ..., 1: the Taylor series, for `f64` logits. The first term left out is below 2^-58.
static SERIES: [f64; 17] = [
    2.0 / 33.0,
    2.0 / 31.0,
    2.0 / 29.0,
    2.0 / 27.0,
    2.0 / 25.0,
    2.0 / 23.0,
    2.0 / 21.0,
    2.0 / 19.0,
    2.0 / 17.0,
    2.0 / 15.0,
    2.0 / 13.0,
    2.0 / 11.0,
    2.0 / 9.0,
    2.0 / 7.0,
    2.0 / 5.0,
    2.0 / 3.0,
    2.0,
];

/// The second half: the logarithm.
#[derive(Clone, Copy)]
pub struct Log<W>([W; 5]);

impl<W: Wide> Log<W> {
    /// Loads the constants.
    #[inline(always)]
    pub fn load() -> Self {
        Self(ATANH.each_ref().map(W::constant))
    }

    /// The logarithm, within a relative error of 4e-9, or 2^-50 for `f64` logits.
    #[inline(always)]
    pub fn of<E: Element>(&self, s: W, k_ln_2: W) -> W {
        let z = s.mul(s);
        if E::DOUBLE {
            let series = SERIES.iter().fold(W::splat(0.0), |sum, c| sum.mul(z).add(W::constant(c)));
            return s.mul(series).add(k_ln_2);
        }
        let [c0, c1, c2, c3, c4] = self.0;
        let z2 = z.mul(z);
        let p = c1.mul(z).add(c0).add(c3.mul(z).add(c2).add(c4.mul(z2)).mul(z2));
        s.mul(p).add(k_ln_2)
    }
}

/// log(1 + a / b), given also a + b.
#[inline(always)]
pub fn log1p<W: Wide, E: Element>(a: W, b: W, total: W) -> W {
    let (s, k_ln_2) = Quotient::load().of(a, b, total);
    Log::load().of::<E>(s, k_ln_2)
}
