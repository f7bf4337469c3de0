//! The loop over the classes of a row: powers and tails of their exponentials, and the sums of both. See [`crate::row`].

use crate::exp::{LIFT, Polynomial, Reduced, Reduction, in_range};
use crate::vector::{Chunk, LANES, Pair, Vector, Wide};
use core::cell::Cell;

/// Logits of one round of the loop.
const BLOCK: usize = 8 * LANES;

/// The sum of all terms but the label's, which may be beyond the end of `x`; NaN where this reduction is not right for these
/// logits. The terms go into `e` if they are `kept`.
#[inline(always)]
pub fn sum<V: Vector, R: Reduction<V>>(x: &[Cell<f32>], e: &[Cell<f32>], label: usize, anchor: f32, kept: bool) -> f64 {
    match (R::OFTEN, kept) {
        (true, true) => pass::<V, R, ALWAYS>(x, &[], e, label, anchor, 0.0, true),
        (true, false) => pass::<V, R, NEVER>(x, &[], e, label, anchor, 0.0, false),
        (false, kept) => pass::<V, R, ASK>(x, &[], e, label, anchor, 0.0, kept),
    }
}

/// As [`sum`], of logits with second parts, around an anchor with one.
#[inline(always)]
pub fn sum_of_parts<V: Vector, R: Reduction<V>>(
    x: (&[Cell<f32>], &[Cell<f32>]),
    e: &[Cell<f32>],
    label: usize,
    anchor: (f32, f32),
    kept: bool,
) -> f64 {
    pass::<V, R, ASK>(x.0, x.1, e, label, anchor.0, anchor.1, kept)
}

/// Whether terms are kept: what is not known when the loop is compiled is a branch in it.
const NEVER: u32 = 0;
const ALWAYS: u32 = 1;
const ASK: u32 = 2;

/// The one loop over the classes. Terms go into `e`; `low`: second parts of the logits, or none.
#[inline(never)]
fn pass<V: Vector, R: Reduction<V>, const KEEP: u32>(
    x: &[Cell<f32>],
    low: &[Cell<f32>],
    e: &[Cell<f32>],
    label: usize,
    anchor: f32,
    anchor_low: f32,
    keep: bool,
) -> f64 {
    let parts = R::PARTS && !low.is_empty();
    let low = if parts { low } else { x };
    let mut pass = Pass::<V, R, KEEP> {
        polynomial: Polynomial::load(),
        reduction: R::near(anchor, LIFT),
        anchor_low: V::splat(anchor_low),
        parts,
        keep,
        low: V::Wide::splat(0.0),
        high: V::Wide::splat(0.0),
        trace: V::splat(0.0),
    };
    // The label's block and the last one apart, so that the others need not look for the label or their end.
    let (own, whole) = (label / BLOCK, x.len() / BLOCK);
    let mut begin = 0;
    loop {
        let end = if (begin..whole).contains(&own) { own } else { whole };
        pass.blocks(part(x, begin, end), part(low, begin, end), part(e, begin, end));
        let (x, low, e) = (part(x, end, end + 1), part(low, end, end + 1), part(e, end, end + 1));
        pass.odd_block(x, low, e, label.wrapping_sub(end * BLOCK));
        if end == whole {
            break;
        }
        begin = end + 1;
    }
    let [a, b] = pass.low.add(pass.high).to_array();
    if R::accepts(pass.trace) { in_range(a + b) } else { f64::NAN }
}

/// Blocks `begin` to `end`, as far as there are any.
#[inline(always)]
fn part(x: &[Cell<f32>], begin: usize, end: usize) -> &[Cell<f32>] {
    let end = (end * BLOCK).min(x.len());
    x.get(begin * BLOCK..end).unwrap_or(&[])
}

struct Pass<V: Vector, R, const KEEP: u32> {
    polynomial: Polynomial<V>,
    reduction: R,
    anchor_low: V,
    /// Whether logits have a second part.
    parts: bool,
    /// Where KEEP is ASK.
    keep: bool,
    low: V::Wide,
    high: V::Wide,
    /// Of all logits, or-ed.
    trace: V,
}

impl<V: Vector, R: Reduction<V>, const KEEP: u32> Pass<V, R, KEEP> {
    #[inline(always)]
    fn keeps(&self) -> bool {
        KEEP == ALWAYS || KEEP == ASK && self.keep
    }

    /// Power and e^r - 1 of four logits.
    #[inline(always)]
    fn split(&mut self, x: V, low: V) -> (V, V) {
        let reduced = if R::PARTS && self.parts {
            self.reduction.reduce_parts(x, low, self.anchor_low)
        } else {
            self.reduction.reduce(x)
        };
        let Reduced { power, r, trace } = reduced;
        self.trace = self.trace.or(trace);
        (power, self.polynomial.at(r))
    }

    /// Whole blocks.
    #[inline(always)]
    fn blocks(&mut self, x: &[Cell<f32>], low: &[Cell<f32>], e: &[Cell<f32>]) {
        // A length that the compiler does not know. Otherwise it would make one straight line of a block, sorted by
        // operations, with more numbers under way than there are registers for.
        let size = V::hidden(&BLOCK).max(1);
        for ((x, low), e) in x.chunks_exact(size).zip(low.chunks_exact(size)).zip(e.chunks_exact(size)) {
            let mut pairs = chunks(x).zip(chunks(low)).zip(chunks(e));
            if R::OFTEN {
                // The two halves, without the costs of a loop.
                let first = self.half(pairs.next(), pairs.next());
                let second = self.half(pairs.next(), pairs.next());
                self.add(first.add(second));
            } else {
                let mut tails = V::splat(0.0);
                while let Some(pair) = pairs.next() {
                    tails = tails.add(self.half(Some(pair), pairs.next()));
                }
                self.add(tails);
            }
        }
    }

    /// Four vectors: their powers are added, their tails returned. (It takes options where one could hope that there are
    /// pairs: see `blocks`.)
    #[inline(always)]
    fn half(&mut self, first: Option<((&Two, &Two), &Two)>, second: Option<((&Two, &Two), &Two)>) -> V {
        let mut tails = V::splat(0.0);
        let powers = self.pair(first, &mut tails).add(self.pair(second, &mut tails));
        self.add(powers);
        tails
    }

    #[inline(always)]
    fn pair(&mut self, pair: Option<((&Two, &Two), &Two)>, tails: &mut V) -> V {
        let Some(((x, low), e)) = pair else { return V::splat(0.0) };
        let a = self.term(&x[0], &low[0], &e[0], tails);
        let b = self.term(&x[1], &low[1], &e[1], tails);
        a.add(b)
    }

    /// The power of four logits; their tail is added to others.
    #[inline(always)]
    fn term(&mut self, x: &Chunk, low: &Chunk, e: &Chunk, tails: &mut V) -> V {
        let (power, tail) = self.split(V::load(x), V::load(low));
        if self.keeps() {
            tail.mul_add(power, power).store(e);
        }
        // A power times anything is exact: fused or not, the same bits.
        *tails = tail.mul_add(power, *tails);
        power
    }

    /// A block that may have an end, and the label at `place`.
    #[inline(always)]
    fn odd_block(&mut self, x: &[Cell<f32>], low: &[Cell<f32>], e: &[Cell<f32>], place: usize) {
        let (chunks, x_rest) = x.as_chunks::<LANES>();
        let (low_chunks, low_rest) = low.as_chunks::<LANES>();
        let (e_chunks, e_rest) = e.as_chunks::<LANES>();
        let mut place = place;
        for ((x, low), e) in chunks.iter().zip(low_chunks).zip(e_chunks) {
            let mut tail = V::splat(0.0);
            let power = self.term(x, low, e, &mut tail);
            self.add(power.without(place));
            self.add(tail.without(place));
            place = place.wrapping_sub(LANES);
        }
        if let Some(first) = x_rest.first() {
            // The lanes beyond the row repeat a logit of it, so that they leave no trace in the check.
            let x = V::load_partial(x_rest, first.get());
            let (power, tail) = self.split(x, V::load_partial(low_rest, 0.0));
            if self.keeps() {
                tail.mul_add(power, power).store_partial(e_rest);
            }
            let power = power.without(place).and(V::first_lanes(x_rest.len()));
            self.add(power);
            self.add(tail.mul(power));
        }
    }

    #[inline(always)]
    fn add(&mut self, parts: V) {
        let (low, high) = parts.widen();
        self.low = self.low.add(low);
        self.high = self.high.add(high);
    }
}

/// Two vectors.
type Two = [Chunk; 2];

#[inline(always)]
fn chunks(x: &[Cell<f32>]) -> impl Iterator<Item = &Two> {
    x.as_chunks::<LANES>().0.as_chunks::<2>().0.iter()
}
