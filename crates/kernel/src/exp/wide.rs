//! `exp` in `f64`, for the terms of the labels and for values that are computed once for each row.

use super::{DOUBLE, INVERSE_FACTORIALS};
use crate::vector::{Element, Pair, Wide};

/// ln 2, truncated to 32 bits.
pub const LN2_HIGH_WIDE: f64 = 0.693_147_180_369_123_8;
/// The remainder of ln 2.
pub const LN2_LOW_WIDE: f64 = 1.908_214_929_270_587_7e-10;
/// e^r on |r| <= 0.3467: minimax for the relative error, 1.9e-9 (0.03 ulp of `f32`).
static WIDE: [f64; 7] = [
    1.000_000_000_555_706_8,
    1.000_000_036_401_284,
    0.499_999_920_638_492_63,
    0.166_664_198_142_191_8,
    0.041_668_227_511_742_206,
    0.008_374_845_854_409_962,
    0.001_383_682_679_913_906_7,
];

/// `exp` in `f64`, two or four at a time, for the terms of the labels. A loop keeps its constants in registers.
#[derive(Clone, Copy)]
pub struct ExpWide<W> {
    log2_e: W,
    shift: W,
    ln2_high: W,
    ln2_low: W,
    single: [W; 7],
    double: [W; 12],
}

impl<W: Wide> ExpWide<W> {
    /// Constants for e^x 2^lift with |lift| <= 400, within a relative error of 1.9e-9, or 2^-51 for `f64` logits.
    #[inline(always)]
    pub fn load<E: Element>(lift: f64) -> Self {
        let one = W::splat(1.0);
        Self {
            log2_e: W::constant(&core::f64::consts::LOG2_E),
            shift: W::splat(DOUBLE.round + (1023.0 + lift)),
            ln2_high: W::constant(&LN2_HIGH_WIDE),
            ln2_low: W::constant(&LN2_LOW_WIDE),
            single: if E::DOUBLE { [one; 7] } else { WIDE.each_ref().map(W::constant) },
            double: if E::DOUBLE { INVERSE_FACTORIALS.each_ref().map(W::constant) } else { [one; 12] },
        }
    }

    /// Constants for e^x 2^(lift - power).
    #[inline(always)]
    pub fn below(self, power: W) -> Self {
        Self { shift: self.shift.sub(power), ..self }
    }

    /// e^x 2^lift for results between 2^-1000 and 2^1000; else NaN, because the exponent would wrap around.
    #[inline(always)]
    pub fn at<E: Element>(&self, x: W) -> W {
        let shifted = x.mul(self.log2_e).add(self.shift);
        let inside = W::splat(DOUBLE.round + 23.0).below(shifted).and(shifted.below(W::splat(DOUBLE.round + 2023.0)));
        let n = shifted.sub(self.shift);
        let r = x.sub(n.mul(self.ln2_high)).sub(n.mul(self.ln2_low));
        let r2 = r.mul(r);
        let power = inside.select(shifted.shl::<52>(), W::splat(f64::NAN));
        if E::DOUBLE {
            let c = &self.double;
            let pair = |k: usize| c[k + 1].mul(r).add(c[k]);
            let high = pair(10).mul(r2).add(pair(8)).mul(r2).add(pair(6)).mul(r2).add(pair(4));
            let expm1 = high.mul(r2).add(pair(2)).mul(r2).add(pair(0)).mul(r2).add(r);
            return expm1.mul(power).add(power);
        }
        // Estrin's scheme: latency, not the number of operations, limits a pair of rows.
        let [c0, c1, c2, c3, c4, c5, c6] = self.single;
        let low = c1.mul(r).add(c0).add(c3.mul(r).add(c2).mul(r2));
        let high = c5.mul(r).add(c4).add(c6.mul(r2));
        high.mul(r2.mul(r2)).add(low).mul(power)
    }
}

/// e^x of one `f64`, to the last digits, for |x| <= 600.
#[inline(never)]
pub fn exp<W: Pair>(x: f64) -> f64 {
    ExpWide::<W>::load::<f64>(0.0).at::<f64>(W::splat(x)).to_array()[0]
}
