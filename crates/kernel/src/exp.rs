//! `exp` for the terms of a softmax: four at a time in `f32`, and two at a time in `f64` for the label's own term.
//!
//! Both follow Cody and Waite: x = n ln 2 + r with an integer n and |r| <= ln 2 / 2, so e^x = 2^n e^r. Adding
//! 1.5 * 2^23 (2^52) to x log2 e leaves n in the low bits of the sum, from where a shift puts it into the exponent.
//!
//! A term is made as a *power* 2^n and a *tail* 2^n (e^r - 1), which the loops add up apart from one another: the rounding
//! of their sum is most of the error that a term would have. (Powers are exact, and nearly always so are sums of them.)
//!
//! Terms are *lifted*: they are computed as e^(x - c) 2^(48 - n_c), where the anchor (c, n_c) is chosen by the row. An
//! exact power of two changes no result, and keeps both ends out of trouble: what is 2^175 times smaller than the
//! anchor's term (and so can not matter in `f32`, however many such terms there are) becomes 0, and a term may be 2^48
//! times larger before the sum is [`TOO_LARGE`] and the row looks for another anchor.

use crate::vector::{Vector, Wide};

/// The largest relative error of a term as [`Reduction`] and [`Polynomial`] make it, power and tail not yet added, in
/// units of 2^-24. Tests assert it, unfused and fused.
pub const MAX_ERROR: f64 = 0.78;

/// The same of a term rounded to `f32`.
pub const MAX_ERROR_ROUNDED: f64 = 1.42;

/// log2 of the term of a logit that equals its anchor.
pub const LIFT: i32 = 48;

/// Terms whose sum reaches this are too far above their anchor: 1 / sum would near the subnormal numbers.
pub const TOO_LARGE: f64 = 79_228_162_514_264_337_593_543_950_336.0; // 2^96

/// NaN for a sum that leaves the range in which it is right: of terms at the upper end, `f32` may have no number for the tails
/// alone, which makes it -inf.
#[inline(always)]
pub fn in_range(sum: f64) -> f64 {
    if (0.0..TOO_LARGE).contains(&sum) { sum } else { f64::NAN }
}

/// Without a fused multiply-add, n * LN2_HIGH is exact for |n| < 2^9: |x| <= 354. Logits within the window of a label
/// of at most this size stay below that.
pub const MAX_ANCHOR: f32 = 200.0;

/// 1.5 * 2^23: in this binade a float's last bit is worth 1, and three quarters of it lie above.
const ROUND: f32 = 12_582_912.0;

const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// ln 2 cut to 15 bits, and the rest, both negative.
const MINUS_LN2_HIGH: f32 = -0.693_145_75;
const MINUS_LN2_LOW: f32 = -1.428_606_8e-6;

/// e^r = 1 + r + c2 r^2 + ... + c6 r^6: minimax for the relative error on |r| <= 0.3475 with the first two terms fixed,
/// coefficients rounded to `f32` one after the other, the rest fitted again (3.2e-9 = 0.05 ulp before rounding).
const C2: f32 = 0.499_999_94;
const C3: f32 = 0.166_665_21;
const C4: f32 = 0.041_668_292;
const C5: f32 = 0.008_368_716;
const C6: f32 = 0.001_381_869_9;

/// The polynomial's coefficients, in registers for the length of a loop.
#[derive(Clone, Copy)]
pub struct Polynomial<V>([V; 5]);

impl<V: Vector> Polynomial<V> {
    /// Loads the coefficients.
    #[inline(always)]
    pub fn load() -> Self {
        Self([&C6, &C5, &C4, &C3, &C2].map(V::constant))
    }

    /// e^r - 1 for |r| <= ln 2 / 2.
    #[inline(always)]
    pub fn at(&self, r: V) -> V {
        let [c6, c5, c4, c3, c2] = self.0;
        let square = r.mul(r);
        let high = c6.mul_add(square, c5.mul_add(r, c4));
        let p = high.mul_add(square, c3.mul_add(r, c2));
        p.mul_add(square, r)
    }
}

/// A logit split into n and r. `power` is the lifted 2^n.
pub struct Reduced<V> {
    /// 2^(n - n_c + LIFT); 0 below the window.
    pub power: V,
    /// In [-ln 2 / 2, ln 2 / 2].
    pub r: V,
    /// What tells, or-ed over a row, whether the reduction was right: see [`Reduction::accepts`].
    pub trace: V,
}

/// How logits become n and r.
pub trait Reduction<V>: Copy {
    /// Whether it is what most rows are reduced by: worth some kilobytes.
    const OFTEN: bool = false;

    /// Whether it knows what to do with logits in two parts.
    const PARTS: bool = false;

    /// For logits near `anchor`, whose own term is to be 2^lift times a number from 0.35 to 2.9.
    fn near(anchor: f32, lift: i32) -> Self;

    /// Splits four logits.
    fn reduce(&self, x: V) -> Reduced<V>;

    /// Splits four logits that are rounded by `low`, relative to an anchor that is rounded by `anchor_low`; if
    /// [`Reduction::PARTS`].
    #[inline(always)]
    fn reduce_parts(&self, x: V, _low: V, _anchor_low: V) -> Reduced<V> {
        self.reduce(x)
    }

    /// Whether all logits whose traces these are, or-ed, were split rightly.
    fn accepts(trace: V) -> bool;
}

/// How the previous row of the same run was reduced: the next one tries that first. Changes no result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// No logit was below the window.
    Direct,
    /// Some were.
    Clamped,
}

/// n_c of a logit of at most [`MAX_ANCHOR`] in size. Even, so that a logit half way between two n is rounded to the same
/// one whatever the anchor is: the rounding goes to the even sum, and the sum has n_c in it.
#[inline(always)]
pub fn power_of(anchor: f32) -> f32 {
    2.0 * ((anchor * (0.5 * LOG2_E) + ROUND) - ROUND)
}

/// x = n ln 2 + r itself: the rounding of a subtracted maximum, up to 32 ulp in the small terms, never happens.
/// For anchors of at most [`MAX_ANCHOR`] in size.
#[derive(Clone, Copy)]
pub struct Direct<V> {
    log2_e: V,
    shift: V,
    ln2_high: V,
    ln2_low: V,
}

impl<V: Vector> Reduction<V> for Direct<V> {
    const OFTEN: bool = true;

    #[inline(always)]
    fn near(anchor: f32, lift: i32) -> Self {
        Self {
            log2_e: V::constant(&LOG2_E),
            shift: V::splat(ROUND + ((127 + lift) as f32 - power_of(anchor))),
            ln2_high: V::constant(&MINUS_LN2_HIGH),
            ln2_low: V::constant(&MINUS_LN2_LOW),
        }
    }

    #[inline(always)]
    fn reduce(&self, x: V) -> Reduced<V> {
        let shifted = x.mul_add(self.log2_e, self.shift);
        let n = shifted.sub(self.shift);
        let r = n.mul_add(self.ln2_low, n.mul_add(self.ln2_high, x));
        Reduced { power: shifted.exponent(), r, trace: shifted }
    }

    /// The low byte is n - n_c + 127 + lift, which must be in 0..256. A lower n borrows from the bits above, a higher one
    /// carries into them, NaN and infinities have other exponents.
    #[inline(always)]
    fn accepts(trace: V) -> bool {
        any_bits(trace) & !0xff == ROUND.to_bits()
    }
}

#[inline(always)]
fn any_bits<V: Vector>(x: V) -> u32 {
    let [a, b, c, d] = x.to_array().map(f32::to_bits);
    a | b | c | d
}

/// [`Direct`], and logits below the window (masks: -inf, -1e9) count as its lower end, whose term is 0. Logits above it
/// make the sum [`TOO_LARGE`]. The same bits as [`Direct`] where that is right.
#[derive(Clone, Copy)]
pub struct Clamped<V> {
    direct: Direct<V>,
    floor: V,
    ceiling: V,
}

impl<V: Vector> Reduction<V> for Clamped<V> {
    #[inline(always)]
    fn near(anchor: f32, lift: i32) -> Self {
        // The logits whose terms have the exponents 0 (the number 0) and 254 (the largest finite one).
        let at =
            |exponent: i32| V::splat((power_of(anchor) + (exponent - 127 - lift) as f32) * core::f32::consts::LN_2);
        Self { direct: Direct::near(anchor, lift), floor: at(0), ceiling: at(254) }
    }

    #[inline(always)]
    fn reduce(&self, x: V) -> Reduced<V> {
        let mut reduced = self.direct.reduce(x.max(self.floor).min(self.ceiling));
        reduced.trace = x.is_nan();
        reduced
    }

    /// A NaN may have been clamped away.
    #[inline(always)]
    fn accepts(trace: V) -> bool {
        any_bits(trace) == 0
    }
}

/// x - c = n ln 2 + r for logits of any size around any finite c. What the subtraction rounds away (Knuth's two-sum) is
/// added to r.
#[derive(Clone, Copy)]
pub struct Centred<V> {
    centre: V,
    clamped: Clamped<V>,
}

impl<V: Vector> Centred<V> {
    /// x - c and what that rounds away.
    #[inline(always)]
    fn subtract(&self, x: V) -> (V, V) {
        let difference = x.sub(self.centre);
        let back = difference.sub(x);
        (difference, x.sub(difference.sub(back)).sub(self.centre.add(back)))
    }

    /// Splits a difference of which `lost` is missing. Its trace is that of the difference, which is NaN where the logit is, and
    /// where a logit of +inf has made it so on the way.
    #[inline(always)]
    fn split(&self, difference: V, lost: V) -> Reduced<V> {
        let mut reduced = self.clamped.reduce(difference);
        // Below the window `lost` may be anything (-inf minus -inf is NaN), and the term is 0 anyway.
        reduced.r = reduced.r.add(lost.and(difference.above(self.clamped.floor)));
        reduced
    }
}

impl<V: Vector> Reduction<V> for Centred<V> {
    const PARTS: bool = true;

    #[inline(always)]
    fn near(anchor: f32, lift: i32) -> Self {
        Self { centre: V::splat(anchor), clamped: Clamped::near(0.0, lift) }
    }

    #[inline(always)]
    fn reduce(&self, x: V) -> Reduced<V> {
        let (difference, lost) = self.subtract(x);
        self.split(difference, lost)
    }

    /// The second parts may be larger than ln 2: they are added before n is taken. A difference of the first parts is 0
    /// or larger than they are, so what that sum rounds away is known (Dekker).
    #[inline(always)]
    fn reduce_parts(&self, x: V, low: V, anchor_low: V) -> Reduced<V> {
        let (difference, lost) = self.subtract(x);
        // Far below, where `lost` may be NaN, nothing of it matters.
        let rest = lost.add(low.sub(anchor_low)).and(difference.above(self.clamped.floor.add(self.clamped.floor)));
        let sum = difference.add(rest);
        self.split(sum, rest.sub(sum.sub(difference)))
    }

    #[inline(always)]
    fn accepts(trace: V) -> bool {
        Clamped::accepts(trace)
    }
}

const ROUND_WIDE: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
/// ln 2 cut to 32 bits, and the rest.
const LN2_HIGH_WIDE: f64 = 0.693_147_180_369_123_8;
const LN2_LOW_WIDE: f64 = 1.908_214_929_270_587_7e-10;
/// e^r on |r| <= 0.3467: minimax for the relative error, 1.9e-9 (0.03 ulp of `f32`).
const WIDE: [f64; 7] = [
    1.000_000_000_555_706_8,
    1.000_000_036_401_284,
    0.499_999_920_638_492_63,
    0.166_664_198_142_191_8,
    0.041_668_227_511_742_206,
    0.008_374_845_854_409_962,
    0.001_383_682_679_913_906_7,
];

/// `exp` in `f64`, two or four at a time; its constants in registers for the length of a loop.
#[derive(Clone, Copy)]
pub struct ExpWide<W> {
    log2_e: W,
    shift: W,
    ln2_high: W,
    ln2_low: W,
    coefficients: [W; 7],
}

impl<W: Wide> ExpWide<W> {
    /// For e^x 2^lift, |lift| <= 400.
    #[inline(always)]
    pub fn load(lift: f64) -> Self {
        Self {
            log2_e: W::constant(&core::f64::consts::LOG2_E),
            shift: W::splat(ROUND_WIDE + (1023.0 + lift)),
            ln2_high: W::constant(&LN2_HIGH_WIDE),
            ln2_low: W::constant(&LN2_LOW_WIDE),
            coefficients: WIDE.each_ref().map(W::constant),
        }
    }

    /// e^x 2^lift for |x| <= 600, within 1.9e-9 of its size.
    #[inline(always)]
    pub fn at(&self, x: W) -> W {
        let shifted = x.mul(self.log2_e).add(self.shift);
        let n = shifted.sub(self.shift);
        let r = x.sub(n.mul(self.ln2_high)).sub(n.mul(self.ln2_low));
        // Estrin's order: the chain of dependent operations, not their number, is what a pair of rows waits for.
        let [c0, c1, c2, c3, c4, c5, c6] = self.coefficients;
        let r2 = r.mul(r);
        let low = c1.mul(r).add(c0).add(c3.mul(r).add(c2).mul(r2));
        let high = c5.mul(r).add(c4).add(c6.mul(r2));
        high.mul(r2.mul(r2)).add(low).mul(shifted.shl::<52>())
    }
}
