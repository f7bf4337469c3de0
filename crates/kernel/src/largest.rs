//! The largest logit of a row, and where it is.

use crate::vector::{LANES, Vector};
use core::cell::Cell;

/// The largest logit; NaN is passed over, and -inf where there is nothing else.
#[inline(never)]
pub fn max<V: Vector>(x: &[Cell<f32>]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let (fours, last) = chunks.as_chunks::<4>();
    let start = V::splat(f32::NEG_INFINITY);
    // Side by side, they do not wait for one another.
    let (mut a, mut b, mut c, mut d) = (start, start, start, start);
    for four in fours {
        a = a.max(V::load(&four[0]));
        b = b.max(V::load(&four[1]));
        c = c.max(V::load(&four[2]));
        d = d.max(V::load(&four[3]));
    }
    for chunk in last {
        a = a.max(V::load(chunk));
    }
    b = b.max(V::load_partial(rest, f32::NEG_INFINITY));
    let [a, b, c, d] = a.max(b).max(c.max(d)).to_array();
    let larger = |a: f32, b: f32| if a < b { b } else { a };
    larger(larger(a, b), larger(c, d))
}

/// The first class with the largest logit; -1 where none is larger than NaN.
#[inline(never)]
pub fn argmax<V: Vector>(x: &[Cell<f32>]) -> i32 {
    let max = max::<V>(x);
    let wanted = V::splat(max);
    let (chunks, rest) = x.as_chunks::<LANES>();
    for (i, chunk) in chunks.iter().enumerate() {
        let lane = V::load(chunk).first_equal(wanted);
        if lane < LANES {
            return (i * LANES + lane) as i32;
        }
    }
    let found = rest.iter().position(|x| x.get() == max);
    found.map_or(-1, |i| (chunks.len() * LANES + i) as i32)
}
