//! The softcap of `f32` logits, from a table of y = c tanh(x / c) at points h apart.
//!
//! The points are k h for k = 0, 1, ...; the last point is at infinity. With x = k h + d, v = d / c and q = tanh(k h / c), the table has
//! y_k = c q in two parts, 1 - q^2 and -q / c:
//!
//! ```text
//! y = y_k + (1 - q^2) d (1 + w)        w = a + a^2 + a^3 + b (1 + 2 a),   a = -q v,   b = -v^2 / 3
//! slope = (1 - q^2) (1 + 2 a + 3 a^2 + 4 a^3 + b (3 + 8 a))
//! ```
//!
//! This is the Taylor series up to v^4, and |v| is at most 2^-7. h is a power of two, so d is exact. Half of h is at most an eighth of the
//! temperature T, so y / T is within u / 8 (u = 2^-24: half of the error from rounding 1 - q^2, half from its product with d), and a term
//! within u / 8 of its size. [`super::cap`] computes logits beyond the last point.

use super::wide::{self, FAR, vector_at};
use crate::scratch::{Scratch, copy};
use crate::vector::{Element, POINTS, Vector, part};
use core::cell::Cell;
use core::sync::atomic::{Ordering, compiler_fence};

/// 1.5 * 2^23: adding it leaves an integer in the low bits.
static ROUND: f64 = 12_582_912.0;
static SIGN: f64 = -0.0;
static COEFFICIENTS: [f64; 4] = [2.0, 3.0, 4.0, 8.0];

/// The largest power of two that is not larger than x.
#[inline(always)]
fn power_of_two_below(x: f64) -> f64 {
    f64::from_bits(x.to_bits() & !((1 << 52) - 1))
}

/// h; 0 if no table is possible, because for a cap of many times the temperature it would end too early.
#[inline(always)]
fn step(cap: f64, temperature: f64) -> f64 {
    let h = power_of_two_below((cap / 64.0).min(temperature / 4.0));
    // The numbers of the table, and 1 / h, are normal numbers of `f32`.
    if (1e-15..1e15).contains(&h) && cap <= POINTS as f64 / 4.0 * h { h } else { 0.0 }
}

/// Begins a run with this cap, with or without a gradient: fills the table, unless it is already filled for the cap.
#[inline(never)]
pub fn begin<V: Vector>(cap_at: f64, temperature: f64, gradient: bool, scratch: &Scratch) {
    scratch.sloped.set(u64::from(gradient));
    let h = if V::Element::DOUBLE { 0.0 } else { step(cap_at, temperature) };
    scratch.step.set(h);
    if h == 0.0 || scratch.table_of.each_ref().map(Cell::get) == [cap_at, h] {
        return;
    }
    // A thread may end at any time, and another thread may continue with its scratch area.
    scratch.table_of[0].set(0.0);
    compiler_fence(Ordering::SeqCst);
    let (x, high) = (scratch.term::<V::Element>(), scratch.tile::<V::Element>());
    let (low, slope) = (scratch.low::<V::Element>(), scratch.slope::<V::Element>());
    for (k, x) in x.iter().enumerate().take(POINTS) {
        x.set(V::Element::from_f64(if k == POINTS - 1 { f64::INFINITY } else { k as f64 * h }));
    }
    wide::stage::<V>(part(x, 0, POINTS), high, low, slope, cap_at);
    for (point, ((high, low), slope)) in scratch.table.iter().zip(high.iter().zip(low).zip(slope)) {
        let y = high.get().to_f64();
        point[0].set(y as f32);
        point[1].set(low.get().to_f64() as f32);
        point[2].set(slope.get().to_f64() as f32);
        point[3].set((-y / cap_at / cap_at) as f32);
    }
    scratch.table_of[1].set(h);
    compiler_fence(Ordering::SeqCst);
    scratch.table_of[0].set(cap_at);
}

/// See [`super::stage`].
#[inline(always)]
pub(super) fn stage<V: Vector>(
    x: &[Cell<V::Element>],
    high: &[Cell<V::Element>],
    low: &[Cell<V::Element>],
    slope: &[Cell<V::Element>],
    scratch: &Scratch,
) {
    // Two loops: with one, the processor would not look far enough ahead to overlap iterations.
    let complete = divide::<V>(x, low, slope, scratch);
    // The memory of the terms, which are computed later.
    let given = scratch.term::<V::Element>();
    if !complete {
        copy::<V>(x, given);
    }
    put_together::<V>(high, low, slope, x.len(), scratch);
    if !complete {
        between::<V>(part(given, 0, x.len().next_multiple_of(V::LANES)), high, low, slope, scratch);
    }
}

/// Splits |x| = k h + d: writes the index of the point k with the sign of x, as bits, and d. Returns whether the table covers all logits;
/// its last point covers saturated ones.
#[inline(never)]
fn divide<V: Vector>(
    x: &[Cell<V::Element>],
    d: &[Cell<V::Element>],
    point: &[Cell<V::Element>],
    scratch: &Scratch,
) -> bool {
    let splat = V::from_f64;
    let (h, [c, _]) = (scratch.step.get(), scratch.table_of.each_ref().map(Cell::get));
    let (minus_step, per_step) = (splat(-h), splat(1.0 / h));
    let [saturated, last] = [POINTS - 1, POINTS - 2].map(|k| splat(k as f64 * h));
    let (round, sign, end) = (V::opaque(&ROUND), V::opaque(&SIGN), splat(FAR * c));
    let ((x, x_rest), (d, _), (point, _)) = (V::chunks(x), V::chunks(d), V::chunks(point));
    let mut missing = V::splat(V::Element::default());
    for (at, (d, point)) in d.iter().zip(point).enumerate() {
        let Some(x) = vector_at::<V>(x, x_rest, at) else { break };
        let negative = x.and(sign);
        let size = x.xor(negative);
        let beyond = size.above(last);
        missing = missing.or(beyond.xor(size.above(end)));
        let size = beyond.select(saturated, size);
        let shifted = size.mul_add(per_step, round);
        shifted.low_bits().or(negative).store(point);
        shifted.sub(round).mul_add(minus_step, size).store(d);
    }
    missing.any_bits() == 0
}

/// Computes y and, for a gradient, the slope, from the results of [`divide`] in `low` and `slope`.
#[inline(never)]
fn put_together<V: Vector>(
    high: &[Cell<V::Element>],
    low: &[Cell<V::Element>],
    slope: &[Cell<V::Element>],
    count: usize,
    scratch: &Scratch,
) {
    let [c, _] = scratch.table_of.each_ref().map(Cell::get);
    let to_third = V::from_f64(-1.0 / (3.0 * c * c));
    let (sign, sloped) = (V::opaque(&SIGN), scratch.sloped.get() != 0);
    let [two, three, four, eight] = COEFFICIENTS.each_ref().map(V::opaque);
    let ((high, _), (low, _), (slope, _)) = (V::chunks(high), V::chunks(low), V::chunks(slope));
    for ((high, low), slope) in high.iter().zip(low).zip(slope).take(count.div_ceil(V::LANES)) {
        let (d, negative) = (V::load(low), V::load(slope).and(sign));
        let [y, y_low, s, ratio] = V::look_up(slope, &scratch.table);
        let (a, b) = (ratio.mul(d), d.mul(d).mul(to_third));
        let w = a.mul_add(a, a).mul_add(a, a).add(a.add(a).mul_add(b, b));
        let more = s.mul(d);
        let sum = y.add(more);
        let rest = more.sub(sum.sub(y)).add(more.mul_add(w, y_low));
        sum.or(negative).store(high);
        rest.xor(negative).store(low);
        if !sloped {
            continue;
        }
        let bend = a.mul_add(four, three).mul_add(a, two);
        bend.mul_add(a, a.mul_add(eight, three).mul(b)).mul_add(s, s).store(slope);
    }
}

/// Computes the logits between the last point but one and saturation, which the table does not cover.
#[inline(never)]
fn between<V: Vector>(
    x: &[Cell<V::Element>],
    high: &[Cell<V::Element>],
    low: &[Cell<V::Element>],
    slope: &[Cell<V::Element>],
    scratch: &Scratch,
) {
    let (h, [c, _]) = (scratch.step.get(), scratch.table_of.each_ref().map(Cell::get));
    let splat = V::from_f64;
    let (last, sign, end) = (splat((POINTS - 2) as f64 * h), V::opaque(&SIGN), splat(FAR * c));
    for (at, chunk) in V::chunks(x).0.iter().enumerate() {
        let x_here = V::load(chunk);
        let size = x_here.xor(x_here.and(sign));
        let missing = size.above(last).xor(size.above(end));
        if missing.any_bits() != 0 {
            let from = at * V::LANES;
            let [x, high, low, slope] = [x, high, low, slope].map(|all| part(all, from, from + V::LANES));
            let read = |all: &[Cell<V::Element>]| V::chunks(all).0.first().map_or(x_here, V::load);
            let (old_high, old_low, old_slope) = (read(high), read(low), read(slope));
            wide::stage::<V>(x, high, low, slope, c);
            let put = |all: &[Cell<V::Element>], old: V| {
                if let Some(to) = V::chunks(all).0.first() {
                    missing.select(V::load(to), old).store(to);
                }
            };
            put(high, old_high);
            put(low, old_low);
            put(slope, old_slope);
        }
    }
}
