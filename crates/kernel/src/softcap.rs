//! The softcap: y = c tanh(x / c), and its slope 1 - tanh(x / c)^2.
//!
//! With E = e^(2 |x| / c) - 1, tanh is E / (E + 2) and the slope 4 (E + 1) / (E + 2)^2: no cancellation, and one division. It is computed
//! in `f64`, because rounding y = 60 to `f32` would change its exponential by 32 ulp; for `f32` logits, y has two parts.
//!
//! This takes ten times as long as the exponential, so tiles of `f32` logits are capped by a [`table`], which is filled once for a cap.
//! The `f64` code remains for `f64` logits, single logits, logits beyond the end of the table, and caps of more than about 64 times the
//! temperature, which would need too many points.

pub mod table;
mod wide;

pub use table::begin;
pub use wide::cap;

use crate::scratch::Scratch;
use crate::vector::{Element, Vector};
use core::cell::Cell;

/// Caps logits: writes first parts to `high`, which may be the memory of the logits, second parts to `low`, and slopes to `slope`.
#[inline(never)]
pub fn stage<V: Vector>(
    x: &[Cell<V::Element>],
    high: &[Cell<V::Element>],
    low: &[Cell<V::Element>],
    slope: &[Cell<V::Element>],
    cap_at: f64,
    scratch: &Scratch,
) {
    if !V::Element::DOUBLE && scratch.step.get() != 0.0 {
        table::stage::<V>(x, high, low, slope, scratch);
    } else {
        wide::stage::<V>(x, high, low, slope, cap_at);
    }
}
