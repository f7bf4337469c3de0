//! log(1 + q) in `f64` for q >= 0, two at a time: the loss of a row is log1p(others / label's own term), right for
//! every q, from 1e-300 (a loss that others flatten to 0) to 1e30.

use crate::vector::Wide;

const MANTISSA: f64 = f64::from_bits(0x000f_ffff_ffff_ffff);
/// The bits of sqrt(1/2): from here up, the mantissa belongs to the next power of two.
const HALF_ROOT: u64 = 0x3fe6_a09e_667f_3bcd;
const LOWEST: f64 = f64::from_bits(HALF_ROOT);
const TO_POWER: f64 = f64::from_bits(0x3ff0_0000_0000_0000 - HALF_ROOT);
/// 2^52, whose last bit is worth 1: an integer in its low bits is that number.
const INTEGER: f64 = 4_503_599_627_370_496.0;

/// 2 atanh(s) / s in powers of s^2 on |s| <= 0.1716: minimax for the relative error, 6.9e-10 (0.01 ulp of `f32`).
const ATANH: [f64; 4] =
    [1.999_999_998_618_917, 0.666_668_161_487_288, 0.399_747_725_312_409_43, 0.299_262_588_426_687_74];

/// log(1 + q); its constants in registers for the length of a loop.
#[derive(Clone, Copy)]
pub struct Log1p<W> {
    one: W,
    two: W,
    to_power: W,
    integer: W,
    bias: W,
    mantissa: W,
    lowest: W,
    sqrt_2: W,
    ln_2: W,
    atanh: [W; 4],
}

impl<W: Wide> Log1p<W> {
    /// Loads the constants.
    #[inline(always)]
    pub fn load() -> Self {
        Self {
            one: W::constant(&1.0),
            two: W::constant(&2.0),
            to_power: W::constant(&TO_POWER),
            integer: W::constant(&INTEGER),
            bias: W::constant(&(INTEGER + 1023.0)),
            mantissa: W::constant(&MANTISSA),
            lowest: W::constant(&LOWEST),
            sqrt_2: W::constant(&core::f64::consts::SQRT_2),
            ln_2: W::constant(&core::f64::consts::LN_2),
            atanh: ATANH.each_ref().map(W::constant),
        }
    }

    /// log(1 + q) for 0 <= q <= 2^1000, within 7e-10 of its size.
    #[inline(always)]
    pub fn at(&self, q: W) -> W {
        // 1 + q = 2^k m with m in [sqrt(1/2), sqrt 2). Where k is 0, m - 1 is q itself, of which 1 + q may keep no digit.
        let u = q.add(self.one);
        let moved = u.add_bits(self.to_power);
        let k = moved.shr::<52>().add_bits(self.integer).sub(self.bias);
        let m = moved.and(self.mantissa).add_bits(self.lowest);
        let f = u.below(self.sqrt_2).select(q, m.sub(self.one));
        // log m = 2 atanh(s) with |s| <= 0.1716.
        let s = f.div(f.add(self.two));
        let z = s.mul(s);
        let [c0, c1, c2, c3] = self.atanh;
        let p = c1.mul(z).add(c0).add(c3.mul(z).add(c2).mul(z.mul(z)));
        s.mul(p).add(k.mul(self.ln_2))
    }
}
