//! The largest logit of a line, and its position.

use crate::numbers::Numbers;
use crate::scratch::Scratch;
use crate::tile::Line;
use crate::vector::{Element, Single, Vector, part};
use core::cell::Cell;

/// The first position of the largest logit; -1 if a NaN leaves none.
#[inline(always)]
pub fn argmax<V: Single>(x: Numbers) -> i32 {
    let single = x.cells::<f32>();
    if single.is_empty() { argmax_of::<V::Double>(x.cells()) } else { argmax_of::<V>(single) }
}

/// The first of the classes `from` to `to` of a line with the largest given logit.
#[inline(always)]
pub fn of_line<V: Single>(line: &Line, from: usize, to: usize, scratch: &Scratch) -> i32 {
    let (mut best, mut most) = (-1, f64::NAN);
    let (length, staged) = (line.raw_length(), scratch.tile_of(line.double()));
    let (mut from, end) = (from, to);
    while from < end {
        let to = from.saturating_add(length).min(end);
        if let Ok(place) = usize::try_from(argmax::<V>(line.raw::<V>(from, to, staged))) {
            let x = line.get(from + place);
            if best < 0 || x > most {
                (best, most) = ((from + place) as i32, x);
            }
        }
        from = to;
    }
    best
}

/// The first position of the largest logit in each of several contiguous rows. It may miss a NaN.
#[inline(always)]
pub fn of_rows<V: Single>(x: Numbers, classes: usize, rows: usize, to: &[Cell<i32>]) {
    let single = x.cells::<f32>();
    if single.is_empty() || classes > FEW {
        for (row, to) in to.iter().enumerate().take(rows) {
            to.set(argmax::<V>(x.part(row * classes, (row + 1) * classes)));
        }
    } else {
        of_few::<V>(single, classes, rows, to);
    }
}

/// With more classes, vectors along a row are faster than one row in each lane.
const FEW: usize = 32;

#[inline(never)]
fn of_few<V: Single>(x: &[Cell<f32>], classes: usize, rows: usize, to: &[Cell<i32>]) {
    let mut first = 0;
    for to in to.as_chunks::<4>().0.iter().take(rows.div_ceil(4)) {
        // Lanes beyond the last row repeat it.
        let [a, b, c, d] = [0, 1, 2, 3].map(|lane| {
            let row = (first + lane).min(rows - 1);
            part(x, row * classes, (row + 1) * classes)
        });
        let (mut most, mut best, mut class) = (V::splat(f32::NEG_INFINITY), V::splat(0.0), V::splat(0.0));
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            let x = V::of([a.get(), b.get(), c.get(), d.get()]);
            // A later class is a larger number.
            best = best.max(class.and(x.above(most)));
            most = most.max(x);
            class = class.add(V::splat(1.0));
        }
        for (lane, to) in to.iter().enumerate() {
            to.set(best.lane(lane) as i32);
        }
        first += 4;
    }
}

#[inline(never)]
fn argmax_of<V: Vector>(x: &[Cell<V::Element>]) -> i32 {
    let lowest = V::Element::from_f64(f64::NEG_INFINITY);
    let (chunks, rest) = V::chunks(x);
    let (fours, last) = chunks.as_chunks::<4>();
    let start = V::splat(lowest);
    // Independent maxima hide the latency of each.
    let (mut a, mut b, mut c, mut d) = (start, start, start, start);
    for [x0, x1, x2, x3] in fours {
        a = a.max(V::load(x0));
        b = b.max(V::load(x1));
        c = c.max(V::load(x2));
        d = d.max(V::load(x3));
    }
    for chunk in last {
        a = a.max(V::load(chunk));
    }
    b = b.max(V::load_partial(rest, lowest));
    let all = a.max(b).max(c.max(d));
    let mut max = all.lane(0);
    for lane in 1..V::LANES {
        if all.lane(lane) > max {
            max = all.lane(lane);
        }
    }
    let wanted = V::splat(max);
    // Skip four vectors without it at a time.
    let without = fours.iter().take_while(|[x0, x1, x2, x3]| {
        let most = V::load(x0).max(V::load(x1)).max(V::load(x2).max(V::load(x3)));
        most.first_equal(wanted) == V::LANES
    });
    let passed = 4 * without.count();
    for (i, chunk) in chunks.iter().enumerate().skip(passed) {
        let lane = V::load(chunk).first_equal(wanted);
        if lane < V::LANES {
            return (i * V::LANES + lane) as i32;
        }
    }
    let place = rest.iter().position(|x| x.get() == max);
    place.map_or(-1, |i| (chunks.len() * V::LANES + i) as i32)
}
