//! The softcap in `f64`.

use crate::exp::{INVERSE_FACTORIALS, LN2_HIGH_WIDE, LN2_LOW_WIDE, Range};
use crate::vector::{Element, Twice, Vector, Wide};
use core::cell::Cell;

const ROUND: f64 = Range::of::<f64>().round;
static ONE: f64 = 1.0;
static SIGN: f64 = -0.0;

/// At this multiple of c and beyond, the slope of `f32` logits is 0.
pub(super) const FAR: f64 = 55.0;

/// y and the slope at x.
#[inline(always)]
pub fn cap<W: Wide, E: Element>(x: W, cap: W, inverse: W) -> (W, W) {
    let (one, sign) = (W::constant(&ONE), W::constant(&SIGN));
    let negative = x.and(sign);
    let u = x.sub_bits(negative).mul(inverse);
    // From here on, tanh is 1, and the slope stays constant: in `f64`, its products with terms must stay normal.
    let far = W::splat(if E::DOUBLE { 240.0 } else { FAR });
    let u = far.below(u).select(far, u);
    let twice = u.add(u);
    let shifted = twice.mul(W::constant(&core::f64::consts::LOG2_E)).add(W::splat(ROUND + 1023.0));
    let n = shifted.sub(W::splat(ROUND + 1023.0));
    let r = twice.sub(n.mul(W::constant(&LN2_HIGH_WIDE))).sub(n.mul(W::constant(&LN2_LOW_WIDE)));
    let square = r.mul(r);
    let pair = |k: usize| W::constant(&INVERSE_FACTORIALS[k + 1]).mul(r).add(W::constant(&INVERSE_FACTORIALS[k]));
    let rest = pair(10).mul(square).add(pair(8)).mul(square).add(pair(6)).mul(square).add(pair(4));
    let expm1 = rest.mul(square).add(pair(2)).mul(square).add(pair(0)).mul(square).add(r);
    let power = shifted.shl::<52>();
    let e = expm1.mul(power).add(power.sub(one));
    let share = one.div(e.add(one).add(one));
    let half = share.add(share);
    (e.mul(share).mul(cap).add_bits(negative), e.add(one).mul(half).mul(half))
}

/// See [`super::stage`].
#[inline(never)]
pub(super) fn stage<V: Vector>(
    x: &[Cell<V::Element>],
    high: &[Cell<V::Element>],
    low: &[Cell<V::Element>],
    slope: &[Cell<V::Element>],
    cap_at: f64,
) {
    let (c, inverse) = (Twice::<V::Wide>::splat(cap_at), Twice::splat(1.0 / cap_at));
    let ((x, x_rest), (high, _), (low, _), (slope, _)) =
        (V::chunks(x), V::chunks(high), V::chunks(low), V::chunks(slope));
    // The buffers have room for a whole vector at the end.
    for (place, ((high, low), slope)) in high.iter().zip(low).zip(slope).enumerate() {
        let Some(x) = vector_at::<V>(x, x_rest, place) else { break };
        let (y, s) = cap::<Twice<V::Wide>, V::Element>(x.widen(), c, inverse);
        let rounded = V::narrow(y);
        rounded.store(high);
        V::narrow(y.sub(rounded.widen())).store(low);
        V::narrow(s).store(slope);
    }
}

/// A vector of logits. The last one is filled with 0; none beyond the end.
#[inline(always)]
pub(super) fn vector_at<V: Vector>(whole: &[V::Chunk], rest: &[Cell<V::Element>], place: usize) -> Option<V> {
    match whole.get(place) {
        Some(x) => Some(V::load(x)),
        None if place == whole.len() && !rest.is_empty() => Some(V::load_partial(rest, V::Element::default())),
        None => None,
    }
}
