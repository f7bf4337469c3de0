//! The weight q_j of each class in the loss of a row.
//!
//! ```text
//! q_j = w_j ((1 - e) t_j + e / C)        t: soft targets, or 1 at the label and 0 elsewhere; w: class weights; e: smoothing
//! ```

use crate::numbers::{Kind, Numbers};
use crate::scratch::Scratch;
use crate::vector::{Element, Single, Twice, Vector, Wide, part};
use core::cell::Cell;

/// The targets of one row.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// w, or empty: all 1.
    pub class_weights: &'a [Cell<f32>],
    /// t, or empty: there is a label.
    pub soft: &'a [Cell<f32>],
    /// The distance from one soft target to the next.
    pub stride: usize,
    /// e, in 0..1.
    pub smoothing: f64,
    /// e / C, where C is the number of all classes.
    pub spread: f64,
}

/// q of the classes of a tile: `entries` times `weight`, or `weight` for every class.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    /// One entry for each class, or empty.
    pub entries: Numbers<'a>,
    /// The factor of the entries, or q of every class.
    pub weight: f64,
}

impl<'a> Targets<'a> {
    /// Whether classes other than the label have weight.
    #[inline(always)]
    pub fn is_dense(&self) -> bool {
        self.smoothing > 0.0 || !self.soft.is_empty()
    }

    /// Whether a tile has entries.
    #[inline(always)]
    pub fn has_entries(&self) -> bool {
        !self.soft.is_empty() || !self.class_weights.is_empty()
    }

    /// q of a class.
    #[inline(always)]
    pub fn weight(&self, class: usize, is_label: bool) -> f64 {
        let target = match self.soft.get(class * self.stride) {
            Some(t) => f64::from(t.get()),
            None => f64::from(u8::from(is_label)),
        };
        self.class_weight(class) * ((1.0 - self.smoothing) * target + self.spread)
    }

    /// w of a class.
    #[inline(always)]
    pub fn class_weight(&self, class: usize) -> f64 {
        if self.class_weights.is_empty() {
            return 1.0;
        }
        self.class_weights.get(class).map_or(f64::NAN, |w| f64::from(w.get()))
    }

    /// q of the classes `from` to `to`, without the label's part. Entries that cannot be read in place are copied into the scratch area,
    /// which holds a tile.
    #[inline(always)]
    pub fn tile<V: Single>(&self, from: usize, to: usize, double: bool, scratch: &'a Scratch) -> Tile<'a> {
        let weights = self.class_weights.get(from..to).unwrap_or(&[]);
        if self.soft.is_empty() {
            let entries =
                if double { Numbers::of(of_single::<f64>(weights, scratch.target())) } else { Numbers::of(weights) };
            return Tile { entries, weight: self.spread };
        }
        if self.is_direct(double) {
            return Tile { entries: Numbers::of(part(self.soft, from, to)), weight: 1.0 };
        }
        let entries = scratch.target_of(double).part(0, to - from);
        let soft = self.soft.get(from * self.stride..).unwrap_or(&[]);
        if double {
            stage::<V::Double>(soft, self.stride, weights, self.smoothing, self.spread, entries.cells());
        } else {
            stage::<V>(soft, self.stride, weights, self.smoothing, self.spread, entries.cells());
        }
        Tile { entries, weight: 1.0 }
    }

    /// Whether [`Targets::tile`] reads entries in place, for any number of classes.
    #[inline(always)]
    pub fn is_direct(&self, double: bool) -> bool {
        let one = self.soft.is_empty() || self.stride == 1 && self.smoothing == 0.0 && self.class_weights.is_empty();
        !self.has_entries() || !double && one
    }
}

/// Numbers in the type that is computed with: in place, or copied to `staged`.
#[inline(always)]
pub fn of_single<'a, E: Element>(x: &'a [Cell<f32>], staged: &'a [Cell<E>]) -> &'a [Cell<E>] {
    if let Some(x) = E::of_single(x) {
        return x;
    }
    let staged = staged.get(..x.len()).unwrap_or(&[]);
    gather(x, 1, staged);
    staged
}

/// Computes q from soft targets, which are `stride` apart.
#[inline(never)]
fn stage<V: Vector>(
    soft: &[Cell<f32>],
    stride: usize,
    weights: &[Cell<f32>],
    smoothing: f64,
    spread: f64,
    to: &[Cell<V::Element>],
) {
    gather(soft, stride, to);
    if smoothing != 0.0 {
        combine::<V>(to, 1.0 - smoothing, spread, to);
    }
    for (w, q) in weights.iter().zip(to) {
        q.set(V::Element::from_f64(q.get().to_f64() * f64::from(w.get())));
    }
}

#[inline(never)]
fn gather<E: Element>(from: &[Cell<f32>], stride: usize, to: &[Cell<E>]) {
    let mut place = 0;
    for to in to {
        if let Some(x) = from.get(place) {
            to.set(E::from_f64(f64::from(x.get())));
        }
        place += stride;
    }
}

/// `to = x * factor + summand`; both may be the same memory.
#[inline(never)]
pub fn combine<V: Vector>(x: &[Cell<V::Element>], factor: f64, summand: f64, to: &[Cell<V::Element>]) {
    let [factor, summand] = [factor, summand].map(V::from_f64);
    let ((x, x_rest), (to, to_rest)) = (V::chunks(x), V::chunks(to));
    for (x, to) in x.iter().zip(to) {
        V::load(x).mul_add(factor, summand).store(to);
    }
    if !to_rest.is_empty() {
        V::load_partial(x_rest, V::Element::default()).mul_add(factor, summand).store_partial(to_rest);
    }
}

/// Adds q_j and q_j (anchor - x_j - low_j) of a tile to the scratch area's sums of weights and margins, except for the class at `skip`,
/// which may be beyond the end. `far`: the logits may be of any size.
///
/// `q` has one entry for each class; a class whose entry is 0 counts 0, even at -inf. If `q` is empty, all q_j are 1, only margins are
/// added, and the class at `skip`, which is at the anchor, counts 0 by itself. `low` may be empty: all 0.
#[inline(always)]
pub fn margins<V: Single>(
    x: Numbers,
    low: Numbers,
    q: Numbers,
    skip: usize,
    anchor: f64,
    far: bool,
    scratch: &Scratch,
) {
    margins_of::<V>(x, q, skip, anchor, far, scratch);
    if !low.is_empty() {
        let (weights, _) = scratch.weights::<V::Wide>();
        margins_of::<V>(low.part(0, x.len()), q, skip, 0.0, far, scratch);
        let (_, margins) = scratch.weights::<V::Wide>();
        scratch.set_weights(weights, margins);
    }
}

#[inline(always)]
fn margins_of<V: Single>(x: Numbers, q: Numbers, skip: usize, anchor: f64, far: bool, scratch: &Scratch) {
    match (x.kind() == Kind::Double, q.is_empty()) {
        (false, false) if far => each_margin::<V, true, true>(x.cells(), q.cells(), skip, anchor, scratch),
        (false, false) => each_margin::<V, true, false>(x.cells(), q.cells(), skip, anchor, scratch),
        (false, true) => each_margin::<V, false, true>(x.cells(), &[], usize::MAX, anchor, scratch),
        (true, false) => each_margin::<V::Double, true, true>(x.cells(), q.cells(), skip, anchor, scratch),
        (true, true) => each_margin::<V::Double, false, true>(x.cells(), &[], usize::MAX, anchor, scratch),
    }
}

/// Vectors of `f64` logits that are added before their sum is added to the others: this keeps the rounding errors of long rows small.
const BLOCK: usize = 32;

/// [`margins`] of one type; `EACH`: `q` has entries; `FAR`: see [`Margins`].
#[inline(never)]
fn each_margin<V: Vector, const EACH: bool, const FAR: bool>(
    x: &[Cell<V::Element>],
    q: &[Cell<V::Element>],
    skip: usize,
    anchor: f64,
    scratch: &Scratch,
) {
    let one = V::from_f64(1.0);
    let q = if EACH { q } else { x };
    let ((x, x_rest), (q, q_rest)) = (V::chunks(x), V::chunks(q));
    let mut before = scratch.weights::<V::Wide>();
    let mut sums = Margins::<V, EACH, FAR>::new(anchor);
    let skipped = skip / V::LANES;
    let mut begin = 0;
    loop {
        let end = if (begin..x.len()).contains(&skipped) { skipped } else { x.len() };
        let mut at = begin;
        while at < end {
            let to = if V::Element::DOUBLE { end.min(at + BLOCK) } else { end };
            for (x, q) in part(x, at, to).iter().zip(part(q, at, to)) {
                sums.add(V::load(x), if EACH { V::load(q) } else { one });
            }
            if V::Element::DOUBLE {
                before = sums.add_to(before);
                sums = Margins::new(anchor);
            }
            at = to;
        }
        let (Some(x), Some(q)) = (x.get(end), q.get(end)) else { break };
        sums.add(V::load(x), V::load(q).without(skip % V::LANES));
        begin = end + 1;
    }
    let rest = |all: &[Cell<V::Element>]| V::load_partial(all, V::Element::default());
    let q = if EACH { rest(q_rest).without(skip.wrapping_sub(x.len() * V::LANES)) } else { one };
    sums.add_some(rest(x_rest), q.and(V::first_lanes(x_rest.len())));
    let (weights, margins) = sums.add_to(before);
    scratch.set_weights(weights, margins);
}

/// Running sums of weights and margins; without `EACH`, of margins only, and all q are 1.
///
/// With `FAR`, distances from the anchor are added, and logits may be of any size. Without, logits are added, which takes fewer operations,
/// and the anchor comes last: exact enough for `f32` logits that need no centre (see the crate's contract).
pub struct Margins<V: Vector, const EACH: bool, const FAR: bool> {
    anchor: Twice<V::Wide>,
    weights: Twice<V::Wide>,
    products: Twice<V::Wide>,
}

impl<V: Vector, const EACH: bool, const FAR: bool> Margins<V, EACH, FAR> {
    /// Zero sums.
    #[inline(always)]
    pub fn new(anchor: f64) -> Self {
        let (zero, anchor) = (Twice::splat(0.0), Twice::<V::Wide>::splat(anchor));
        // With two lanes, the other two stay 0.
        let anchor = if V::Element::DOUBLE { Twice(anchor.0, zero.1) } else { anchor };
        Self { anchor, weights: zero, products: zero }
    }

    /// Adds a vector of classes.
    #[inline(always)]
    pub fn add(&mut self, x: V, q: V) {
        if EACH {
            self.add_some(x, q);
        } else {
            self.products = self.products.add(self.anchor.sub(x.widen()));
        }
    }

    /// Adds the classes of a vector whose q is not 0, in `f64`, where a product of two `f32` is exact.
    #[inline(always)]
    pub fn add_some(&mut self, x: V, q: V) {
        let counted = x.and(q.differs(V::splat(V::Element::default()))).widen();
        let q = q.widen();
        self.products =
            if FAR { self.products.add(self.anchor.sub(counted).mul(q)) } else { counted.mul_add(q, self.products) };
        if EACH {
            self.weights = self.weights.add(q);
        }
    }

    /// The sums of q_j and of q_j times the distance from the anchor.
    #[inline(always)]
    pub fn sums(self) -> (Twice<V::Wide>, Twice<V::Wide>) {
        let margins = if FAR { self.products } else { self.weights.mul(self.anchor).sub(self.products) };
        (self.weights, margins)
    }

    /// These sums, added to others.
    #[inline(always)]
    fn add_to(self, (weights, margins): (Twice<V::Wide>, Twice<V::Wide>)) -> (Twice<V::Wide>, Twice<V::Wide>) {
        let (more_weights, more_margins) = self.sums();
        (weights.add(more_weights), margins.add(more_margins))
    }
}
