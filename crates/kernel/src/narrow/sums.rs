//! Sums of the parts of each row.

use crate::scratch::{Scratch, fours};
use crate::vector::{LANES, Pair, Twice, Vector, Wide};
use core::cell::Cell;

/// Of rows of so many classes, into [`Scratch::others`].
#[inline(always)]
pub fn sums<V: Vector>(classes: usize, rows: usize, scratch: &Scratch) {
    match classes / LANES {
        0 => few::<V, 0>(classes, rows, scratch),
        1 => few::<V, 1>(classes, rows, scratch),
        2 => few::<V, 2>(classes, rows, scratch),
        _ => any::<V>(classes, rows, scratch),
    }
}

/// Sums of the terms of each row of `WHOLE` whole vectors and a rest. With so few classes (classifiers of up to eleven) a loop
/// over them would be most of the work.
#[inline(never)]
fn few<V: Vector, const WHOLE: usize>(classes: usize, rows: usize, scratch: &Scratch) {
    // Reads beyond its rows' end, but not beyond the parts'.
    let end = V::first_lanes(classes % LANES);
    let mut first = 0;
    for others in fours(&scratch.others, rows) {
        let [a, b, c, d] = [first, first + classes, first + 2 * classes, first + 3 * classes];
        let powers = |first| {
            let (low, high) = lanes::<V, WHOLE>(&scratch.powers, first, end).widen();
            low.add(high)
        };
        let tails = |first| lanes::<V, WHOLE>(&scratch.tails, first, end);
        let powers = Twice(V::Wide::sum_lanes(powers(a), powers(b)), V::Wide::sum_lanes(powers(c), powers(d)));
        powers.add(Twice::widen(V::sum_lanes(tails(a), tails(b), tails(c), tails(d)))).store(others);
        first += 4 * classes;
    }
}

/// One row's parts, added up in each lane.
#[inline(always)]
fn lanes<V: Vector, const WHOLE: usize>(parts: &[Cell<f32>], first: usize, end: V) -> V {
    let Some(chunks) = parts.get(first..).and_then(|row| row.as_chunks::<LANES>().0.get(..=WHOLE)) else {
        return V::splat(0.0);
    };
    chunks[..WHOLE].iter().fold(V::load(&chunks[WHOLE]).and(end), |sum, chunk| sum.add(V::load(chunk)))
}

/// As [`few`], for any number of classes.
#[inline(never)]
fn any<V: Vector>(classes: usize, rows: usize, scratch: &Scratch) {
    let end = V::first_lanes(classes % LANES);
    let (mut powers, mut tails) = (&scratch.powers[..], &scratch.tails[..]);
    for others in scratch.others.iter().take(rows) {
        let [a, b] = row_sum::<V>(powers, classes, end).add(row_sum::<V>(tails, classes, end)).to_array();
        others.set(a + b);
        powers = powers.get(classes..).unwrap_or(&[]);
        tails = tails.get(classes..).unwrap_or(&[]);
    }
}

/// Sum of the parts of one row, as two numbers to be added.
#[inline(always)]
fn row_sum<V: Vector>(parts: &[Cell<f32>], classes: usize, end: V) -> V::Wide {
    let (chunks, _) = parts.as_chunks::<LANES>();
    let (blocks, rest) = chunks.get(..classes / LANES).unwrap_or(&[]).as_chunks::<4>();
    let (mut low, mut high) = chunks.get(classes / LANES).map_or(V::splat(0.0), |last| V::load(last).and(end)).widen();
    for chunk in rest {
        let (a, b) = V::load(chunk).widen();
        (low, high) = (low.add(a), high.add(b));
    }
    for block in blocks {
        let [a, b, c, d] = block.each_ref().map(V::load);
        let (a, b) = a.add(b).add(c.add(d)).widen();
        (low, high) = (low.add(a), high.add(b));
    }
    low.add(high)
}
