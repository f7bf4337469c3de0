//! Many rows of few classes.
//!
//! Row by row, ten classes cost as much as forty: each row fills three vectors badly and then waits for a logarithm.
//! So about a thousand elements, whole rows, go through together:
//!
//! ```text
//! anchor at the first label's logit; over the rows' memory as if it were one row:
//!     e = exp(x), lifted                  -> scratch
//! at each row's label: e = 0
//! two rows at a time, in f64: others, label's term, loss, gradient's factor
//! ```
//!
//! A lifted term may be moved by any power of two, so the bits are those of [`crate::row`] wherever a row is accepted
//! here. A row that is not, because its label is far from the first row's or something in it is not finite, is
//! computed by [`crate::row`]. This may depend on its neighbours, its result does not.

use crate::exp::{Clamped, Direct, ExpWide, LIFT, MAX_ANCHOR, Polynomial, Reduced, Reduction, power_of};
use crate::label::Label;
use crate::log1p::Log1p;
use crate::row::{self, BLOCK, Hint};
use crate::terms::Memory;
use crate::vector::{Factor, LANES, Pair, Twice, Vector, Wide};
use core::cell::Cell;

/// Rows of more classes are computed one by one.
pub const MAX_CLASSES: usize = row::SHORT;

/// Elements, and rows, that go through together at most.
pub const CHUNK: usize = 1024;
/// See [`CHUNK`].
pub const MAX_ROWS: usize = 128;

/// Memory of one thread, reused by each group of rows. What the loops leave to one another, of each row.
#[repr(C)]
pub struct Scratch {
    /// Of the routine for single rows.
    pub row: Memory,
    /// Lifted terms of all logits, 0 at the labels; and a vector that the last row's end may be read with.
    exponentials: [Cell<f32>; CHUNK + LANES],
    /// 1 / the label's term, NaN where its logit is outside of what is accepted.
    reciprocal: [Cell<f64>; MAX_ROWS],
    /// Sum of the other terms. NaN where the row must be computed alone.
    others: [Cell<f64>; MAX_ROWS],
    /// The label's logit, NaN where there is none.
    logit: [Cell<f32>; MAX_ROWS],
    /// From the lifted terms to the gradient.
    factor: [Cell<f64>; MAX_ROWS],
    /// Gradient at the label.
    own: [Cell<f32>; MAX_ROWS],
    loss: [Cell<f32>; MAX_ROWS],
    log_sum_exp: [Cell<f32>; MAX_ROWS],
}

/// Bytes of a [`Scratch`].
pub const SCRATCH_BYTES: usize = 9280;
const _: () = assert!(size_of::<Scratch>() == SCRATCH_BYTES);

/// log2 of the first label's term: half way between what a label must reach, as in `row`, and what it may reach.
const FIRST_LIFT: i32 = LIFT + 22;

/// A row is accepted where its label's term is from 2^48 (what the window cuts off is then 2^174 times smaller) to 2^92,
/// and the sum of the others is below 2^93. So their ratio is below 2^46: `row` would not call the sum too large either.
const MAX_OTHERS: f64 = (1u128 << 93) as f64;

/// log of the ratio between the first label's term and the ends of that range, a little inside.
const REACH: f32 = 22.0 * core::f32::consts::LN_2 - 1.0;

/// From this scale on, its product with an accepted row's factor is a normal `f32`.
const MIN_SCALE: f64 = 1.0 / (1u32 << 30) as f64;

/// Consecutive rows, at most [`MAX_ROWS`], and at most [`CHUNK`] elements.
pub struct Group<'a> {
    /// [rows, classes]
    pub x: &'a [Cell<f32>],
    /// See `x`.
    pub classes: usize,
    /// [rows]
    pub labels: &'a [Cell<i32>],
    /// Rows with this label are not computed here.
    pub ignore_index: Option<i32>,
    /// Factor of the gradient, if there is to be one.
    pub scale: Option<f64>,
    /// Output.
    pub loss: &'a [Cell<f32>],
    /// Output.
    pub log_sum_exp: &'a [Cell<f32>],
}

impl Group<'_> {
    /// Losses of all rows. False where some must be computed alone: [`Scratch::must_be_alone`] says which.
    #[inline(always)]
    pub fn run<V: Vector>(&self, scratch: &Scratch) -> bool {
        let rows = self.labels.len();
        let anchor = self.anchor();
        let usable = !anchor.is_nan() && self.scale.is_none_or(|scale| scale.abs() >= MIN_SCALE);
        if !usable || !self.exponentials::<V>(anchor, scratch) {
            for others in scratch.others.iter().take(rows) {
                others.set(f64::NAN);
            }
            return false;
        }
        // Many short loops, each a function: in one, a row is a single long chain of dependent operations, longer than
        // what a processor looks ahead; it would wait for each pair of small writes that is read back as a large one; and
        // the engine's compiler would not know which of all those numbers to keep in registers.
        let ignored = self.ignore_index.map_or(i64::MIN, i64::from);
        take_labels(self.x, self.labels, self.classes, ignored, anchor, scratch);
        reciprocals::<V>(anchor, rows, scratch);
        let complete = match self.classes / LANES {
            1 => sums::<V, 1>(self.classes, rows, scratch),
            2 => sums::<V, 2>(self.classes, rows, scratch),
            _ => sums::<V, ANY>(self.classes, rows, scratch),
        };
        match self.scale {
            None => ends::<V, false>(rows, 0.0, scratch),
            Some(scale) => ends::<V, true>(rows, scale, scratch),
        }
        copy::<V>(&scratch.loss, self.loss);
        copy::<V>(&scratch.log_sum_exp, self.log_sum_exp);
        complete
    }

    /// The first label's logit that can be one.
    #[inline(always)]
    fn anchor(&self) -> f32 {
        for (row, label) in self.labels.iter().enumerate() {
            if let Label::Class(class) = Label::of(label.get(), self.classes as u32, self.ignore_index)
                && let Some(x) = self.x.get(row * self.classes + class)
                && x.get().abs() <= MAX_ANCHOR
            {
                return x.get();
            }
        }
        f32::NAN
    }

    #[inline(always)]
    fn exponentials<V: Vector>(&self, anchor: f32, scratch: &Scratch) -> bool {
        if scratch.row.hint() == Hint::Direct {
            if pass::<V, Direct<V>>(self.x, &scratch.exponentials, anchor) {
                return true;
            }
            scratch.row.set_hint(Hint::Clamped);
        }
        pass::<V, Clamped<V>>(self.x, &scratch.exponentials, anchor)
    }

    /// Gradients of all rows of a group that has run, but of those that must be computed alone. `complete`: there are none.
    #[inline(always)]
    pub fn gradients<V: Vector>(&self, g: &[Cell<f32>], scratch: &Scratch, complete: bool) {
        let (labels, classes) = (self.labels, self.classes);
        match classes / LANES {
            1 => scale_rows::<V, 1>(labels, classes, g, scratch, complete),
            2 => scale_rows::<V, 2>(labels, classes, g, scratch, complete),
            _ => scale_rows::<V, ANY>(labels, classes, g, scratch, complete),
        }
    }
}

/// The logit of each label, and 0 in the place of its term.
#[inline(never)]
fn take_labels(x: &[Cell<f32>], labels: &[Cell<i32>], classes: usize, ignored: i64, anchor: f32, scratch: &Scratch) {
    // As long as the logits: one check of a place serves both.
    let e = scratch.exponentials.get(..x.len()).unwrap_or(&[]);
    let mut first = 0;
    for (label, out) in labels.iter().zip(&scratch.logit) {
        let label = label.get();
        let class = label as u32 as usize;
        let mut logit = f32::NAN;
        if class < classes
            && i64::from(label) != ignored
            && let (Some(x), Some(own)) = (x.get(first + class), e.get(first + class))
        {
            logit = x.get();
            own.set(0.0);
        }
        out.set(logit);
        first += classes;
    }
    // The rest of the last four rows passes as accepted.
    for out in scratch.logit.iter().skip(labels.len()).take(3) {
        out.set(anchor);
    }
}

#[inline(never)]
fn reciprocals<V: Vector>(anchor: f32, rows: usize, scratch: &Scratch) {
    let exp = ExpWide::<V::Wide>::load(f64::from(power_of(anchor)) - f64::from(FIRST_LIFT));
    let bound = |logit: f32| V::Wide::splat(f64::from(logit));
    let (lowest, highest) = (bound((anchor - REACH).max(-MAX_ANCHOR)), bound((anchor + REACH).min(MAX_ANCHOR)));
    let (zero, nan) = (V::Wide::splat(0.0), V::Wide::splat(f64::NAN));
    for (logit, reciprocal) in pairs(&scratch.logit, rows).zip(pairs(&scratch.reciprocal, rows)) {
        let logit = V::Wide::load_narrow(logit);
        let accepted = lowest.below(logit).and(logit.below(highest));
        accepted.select(exp.at(zero.sub(logit)), nan).store(reciprocal);
    }
}

/// `WHOLE`: as for [`sums`].
#[inline(never)]
fn scale_rows<V: Vector, const WHOLE: usize>(
    labels: &[Cell<i32>],
    classes: usize,
    g: &[Cell<f32>],
    scratch: &Scratch,
    complete: bool,
) {
    let whole = if WHOLE == ANY { classes / LANES } else { WHOLE };
    // Reaches into the next row, which will be written later; where it need not be read again.
    let beyond = (whole + 1) * LANES;
    let (mut g, mut e) = (g, &scratch.exponentials[..]);
    let of_rows = labels.iter().zip(&scratch.others).zip(scratch.factor.iter().zip(&scratch.own));
    for ((label, others), (factor, own)) in of_rows {
        let factor = Factor::<V>::new(factor.get());
        if let (true, Some(e), Some(g)) = (complete, e.get(..beyond), g.get(..beyond)) {
            for (e, g) in e.as_chunks::<LANES>().0.iter().zip(g.as_chunks::<LANES>().0) {
                factor.times(V::load(e)).store(g);
            }
        } else if let Some(g) = g.get(..classes)
            && !others.get().is_nan()
        {
            let (from, _) = e.as_chunks::<LANES>();
            let (to, end) = g.as_chunks::<LANES>();
            for (e, g) in from.iter().zip(to) {
                factor.times(V::load(e)).store(g);
            }
            if let Some(e) = from.get(to.len()) {
                factor.times(V::load(e)).store_partial(end);
            }
        }
        if complete || !others.get().is_nan() {
            // Accepted, so this is a class.
            if let Some(g) = g.get(label.get() as u32 as usize) {
                g.set(own.get());
            }
        }
        g = g.get(classes..).unwrap_or(&[]);
        e = e.get(classes..).unwrap_or(&[]);
    }
}

impl Scratch {
    /// Whether a row of a group that has run must be computed alone.
    #[inline(always)]
    pub fn must_be_alone(&self, row: usize) -> bool {
        self.others.get(row).is_none_or(|others| others.get().is_nan())
    }
}

/// Two rows at a time, and up to three beyond the last one: whole pairs of pairs.
#[inline(always)]
fn pairs<T>(all: &[Cell<T>], rows: usize) -> impl Iterator<Item = &[Cell<T>; 2]> {
    all.as_chunks::<2>().0.iter().take(2 * rows.div_ceil(4))
}

#[inline(always)]
fn pairs_of_pairs<T>(all: &[Cell<T>], rows: usize) -> impl Iterator<Item = &[[Cell<T>; 2]; 2]> {
    all.as_chunks::<2>().0.as_chunks::<2>().0.iter().take(rows.div_ceil(4))
}

#[inline(never)]
fn pass<V: Vector, R: Reduction<V>>(x: &[Cell<f32>], e: &[Cell<f32>], anchor: f32) -> bool {
    let polynomial = Polynomial::<V>::load();
    let reduction = R::near(anchor, FIRST_LIFT);
    let mut traces = V::splat(0.0);
    let mut term = |x: V| {
        let Reduced { power, r, trace } = reduction.reduce(x);
        traces = traces.or(trace);
        polynomial.at(r).mul(power)
    };
    let (chunks, rest) = x.as_chunks::<LANES>();
    let (to, _) = e.as_chunks::<LANES>();
    let (pairs, odd) = chunks.as_chunks::<2>();
    for (x, e) in pairs.iter().zip(to.as_chunks::<2>().0) {
        term(V::load(&x[0])).store(&e[0]);
        term(V::load(&x[1])).store(&e[1]);
    }
    if let ([x], Some(e)) = (odd, to.get(2 * pairs.len())) {
        term(V::load(x)).store(e);
    }
    if let (Some(first), Some(e)) = (rest.first(), to.get(chunks.len())) {
        term(V::load_partial(rest, first.get())).store(e);
    }
    R::accepts(traces)
}

/// [`sums`] for any number of classes.
const ANY: usize = usize::MAX;

/// Sums of the terms of each row, NaN where a row is not accepted; whether all are. `WHOLE` is the number of a row's whole
/// vectors, 1 or 2: where that is so small, the loop over them is most of the work. Classifiers of up to 11 classes are worth it.
#[inline(never)]
fn sums<V: Vector, const WHOLE: usize>(classes: usize, rows: usize, scratch: &Scratch) -> bool {
    let end = V::first_lanes(classes % LANES);
    let (too_large, one, nan) = (V::Wide::splat(MAX_OTHERS), V::Wide::splat(1.0), V::Wide::splat(f64::NAN));
    let mut all = V::Wide::splat(0.0);
    let mut e = &scratch.exponentials[..];
    for (others, reciprocal) in pairs(&scratch.others, rows).zip(pairs(&scratch.reciprocal, rows)) {
        let a = sum::<V, WHOLE>(e, classes, end);
        e = e.get(classes..).unwrap_or(&[]);
        let b = sum::<V, WHOLE>(e, classes, end);
        e = e.get(classes..).unwrap_or(&[]);
        let (a, b) = a.interleave(b);
        let sum = a.add(b);
        let accepted = sum.below(too_large).and(V::Wide::load(reciprocal).below(one));
        let sum = accepted.select(sum, nan);
        sum.store(others);
        all = all.add(sum);
    }
    let [a, b] = all.to_array();
    !(a + b).is_nan()
}

/// Sum of the terms of the row that `e` begins with, in the order of [`crate::row`], as two numbers to be added. `end`
/// masks the row's part of a last vector, which reads into the next row, or behind the last one.
#[inline(always)]
fn sum<V: Vector, const WHOLE: usize>(e: &[Cell<f32>], classes: usize, end: V) -> V::Wide {
    if WHOLE != ANY {
        let Some(chunks) = e.as_chunks::<LANES>().0.get(..=WHOLE) else {
            return V::Wide::splat(0.0);
        };
        let last = V::load(&chunks[WHOLE]).and(end);
        let sum = if WHOLE == 1 {
            V::load(&chunks[0]).add(last)
        } else {
            V::load(&chunks[0]).add(last).add(V::load(&chunks[WHOLE - 1]))
        };
        let (low, high) = sum.widen();
        return low.add(high);
    }
    let zero = V::splat(0.0);
    let mut total = (V::Wide::splat(0.0), V::Wide::splat(0.0));
    let mut rest = e;
    let mut left = classes;
    loop {
        let (mut a, mut b) = (zero, zero);
        let block = left.min(BLOCK);
        let whole = block / LANES;
        let (chunks, _) = rest.as_chunks::<LANES>();
        for chunk in chunks.iter().take(whole) {
            (a, b) = (b, a.add(V::load(chunk)));
        }
        if !block.is_multiple_of(LANES)
            && let Some(chunk) = chunks.get(whole)
        {
            a = a.add(V::load(chunk).and(end));
        }
        let (low, high) = a.add(b).widen();
        total = (total.0.add(low), total.1.add(high));
        left -= block;
        if left == 0 {
            return total.0.add(total.1);
        }
        rest = rest.get(block..).unwrap_or(&[]);
    }
}

#[inline(never)]
fn ends<V: Vector, const GRADIENT: bool>(rows: usize, scale: f64, scratch: &Scratch) {
    let log1p = Log1p::<Twice<V::Wide>>::load();
    let (scale, minus_scale) = (Twice::splat(scale), Twice::splat(-scale));
    let inputs = pairs_of_pairs(&scratch.reciprocal, rows).zip(pairs_of_pairs(&scratch.others, rows));
    let inputs = inputs.zip(pairs_of_pairs(&scratch.logit, rows));
    let results = pairs_of_pairs(&scratch.loss, rows).zip(pairs_of_pairs(&scratch.log_sum_exp, rows));
    let gradients = pairs_of_pairs(&scratch.factor, rows).zip(pairs_of_pairs(&scratch.own, rows));
    for (((reciprocal, others), logit), ((loss, log_sum_exp), (factor, own))) in inputs.zip(results.zip(gradients)) {
        let reciprocal = Twice(V::Wide::load(&reciprocal[0]), V::Wide::load(&reciprocal[1]));
        let others = Twice(V::Wide::load(&others[0]), V::Wide::load(&others[1]));
        let logit = Twice(V::Wide::load_narrow(&logit[0]), V::Wide::load_narrow(&logit[1]));
        let ends = row::ends(others, reciprocal, &log1p);
        store_narrow(ends.loss, loss);
        store_narrow(ends.loss.add(logit), log_sum_exp);
        if GRADIENT {
            let scaled = ends.factor.mul(scale);
            scaled.0.store(&factor[0]);
            scaled.1.store(&factor[1]);
            store_narrow(ends.others.mul(minus_scale), own);
        }
    }
}

#[inline(always)]
fn store_narrow<W: Pair>(x: Twice<W>, to: &[[Cell<f32>; 2]; 2]) {
    x.0.store_narrow(&to[0]);
    x.1.store_narrow(&to[1]);
}

#[inline(always)]
fn copy<V: Vector>(from: &[Cell<f32>], to: &[Cell<f32>]) {
    let (chunks, rest) = to.as_chunks::<LANES>();
    let (from, _) = from.as_chunks::<LANES>();
    for (from, to) in from.iter().zip(chunks) {
        V::load(from).store(to);
    }
    if let Some(from) = from.get(chunks.len()) {
        V::load(from).store_partial(rest);
    }
}
