//! The softcap: y = c tanh(x / c), and its slope 1 - tanh(x / c)^2.
//!
//! With E = e^(2 |x| / c) - 1, tanh = E / (E + 2) and the slope is 4 (E + 1) / (E + 2)^2: no difference of two large numbers, and
//! one division. In `f64`, since rounding y = 60 to `f32` would move its exponential by 32 ulp; of `f32` logits y comes in two parts.
//!
//! That takes ten times as long as the exponential, so tiles of `f32` logits are capped by a [`table`], which is filled once for a
//! cap. In `f64` remain what a table is not for: `f64` logits, single ones, those beyond its end, and caps of more than about 64
//! times the temperature, whose points would lie too far apart.

mod table;
mod wide;

pub use table::begin;
pub use wide::cap;

use crate::scratch::Scratch;
use crate::vector::{Element, Vector};
use core::cell::Cell;

/// Caps logits: first parts go into `high`, which may be where the logits lie, second parts into `low`, the slopes into `slope`.
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
