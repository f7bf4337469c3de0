//! From terms to the gradient: the row's factor, and the weights q of its classes.

use crate::numbers::{Kind, Numbers};
use crate::targets::combine;
use crate::vector::{Element, FACTORS, Factor, Single, Vector, part};
use core::cell::Cell;

/// `to = (terms * factor - q * weight) * slope`. An empty q or slope stands for 1 for every class. `to` may be the memory of the terms.
#[inline(always)]
pub fn write_gradient<V: Single>(terms: Numbers, q: Numbers, slope: Numbers, to: Numbers, factor: f64, weight: f64) {
    if to.kind() == Kind::Double {
        write_gradient_of::<V::Double>(terms.cells(), q.cells(), slope.cells(), to.cells(), factor, weight);
    } else {
        write_gradient_of::<V>(terms.cells(), q.cells(), slope.cells(), to.cells(), factor, weight);
    }
}

/// [`write_gradient`] of one type.
#[inline(never)]
fn write_gradient_of<V: Vector>(
    terms: &[Cell<V::Element>],
    q: &[Cell<V::Element>],
    slope: &[Cell<V::Element>],
    to: &[Cell<V::Element>],
    factor: f64,
    weight: f64,
) {
    let slope = part(slope, 0, slope.len().min(terms.len()));
    let (lift, factor) = lifted::<V::Element>(factor);
    let terms = if lift == 1.0 { terms } else { lift_terms::<V>(terms, lift, to) };
    if slope.is_empty() && (q.is_empty() || weight == 0.0) {
        scale::<V, false>(terms, terms, terms, to, factor, weight, false, false);
    } else {
        let (each, sloped) = (weight != 0.0 && !q.is_empty(), !slope.is_empty());
        let (q, slope) = (if each { q } else { terms }, if sloped { slope } else { terms });
        scale::<V, true>(terms, q, slope, to, factor, weight, each, sloped);
    }
}

/// `terms *= slope`
#[inline(always)]
pub fn multiply<V: Single>(terms: Numbers, slope: Numbers) {
    if terms.kind() == Kind::Double {
        multiply_of::<V::Double>(terms.cells(), slope.cells());
    } else {
        multiply_of::<V>(terms.cells(), slope.cells());
    }
}

#[inline(never)]
fn multiply_of<V: Vector>(terms: &[Cell<V::Element>], slope: &[Cell<V::Element>]) {
    let ((e, e_rest), (s, s_rest)) = (V::chunks(terms), V::chunks(part(slope, 0, terms.len())));
    for (e, s) in e.iter().zip(s) {
        V::load(e).mul(V::load(s)).store(e);
    }
    for (e, s) in e_rest.iter().zip(s_rest) {
        e.set(V::Element::from_f64(e.get().to_f64() * s.get().to_f64()));
    }
}

#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "numbers and slices: a struct would live in stack memory")]
fn scale<V: Vector, const GENERAL: bool>(
    terms: &[Cell<V::Element>],
    q: &[Cell<V::Element>],
    slope: &[Cell<V::Element>],
    to: &[Cell<V::Element>],
    factor: f64,
    weight: f64,
    each: bool,
    sloped: bool,
) {
    let ((e, e_rest), (q, q_rest)) = (V::chunks(terms), V::chunks(q));
    let ((slope, slope_rest), (to, to_rest)) = (V::chunks(slope), V::chunks(to));
    let scale = Scale::<V, GENERAL>::new(factor, weight, each, sloped);
    for (((e, q), slope), to) in e.iter().zip(q).zip(slope).zip(to) {
        let (q, slope) = if GENERAL { (V::load(q), V::load(slope)) } else { (V::load(e), V::load(e)) };
        scale.at(V::load(e), q, slope).store(to);
    }
    if !to_rest.is_empty() {
        let rest = |all: &[Cell<V::Element>]| V::load_partial(all, V::Element::default());
        scale.at(rest(e_rest), rest(q_rest), rest(slope_rest)).store_partial(to_rest);
    }
}

/// The constants of [`write_gradient`] for a row. Without `GENERAL`, all q and all slopes are 1; the weight
/// may then be 0, for a product to which -0 is added keeps its bits.
pub struct Scale<V, const GENERAL: bool> {
    factor: Factor<V>,
    weight: V,
    /// Masks: no bits where all q are 1, else all bits; likewise for the slopes.
    each: V,
    sloped: V,
    one: V,
}

impl<V: Vector, const GENERAL: bool> Scale<V, GENERAL> {
    /// For a row with a factor from [`lifted`]. Without `each`, all q are 1; without `sloped`, all slopes are 1.
    #[inline(always)]
    pub fn new(factor: f64, weight: f64, each: bool, sloped: bool) -> Self {
        let mask = |all: bool| V::first_lanes(if all { V::LANES } else { 0 });
        let weight = V::splat(V::Element::from_f64(-weight));
        let one = V::splat(V::Element::from_f64(1.0));
        Self { factor: Factor::new(factor), weight, each: mask(each), sloped: mask(sloped), one }
    }

    /// The gradient of a vector of classes.
    #[inline(always)]
    pub fn at(&self, term: V, q: V, slope: V) -> V {
        if !GENERAL {
            return self.factor.times_plus(term, self.weight);
        }
        let q = self.each.select(q, self.one).mul(self.weight);
        self.factor.times_plus(term, q).mul(self.sloped.select(slope, self.one))
    }
}

/// Splits a factor into a power of two, which multiplies a term exactly, and a factor within [`FACTORS`].
#[inline(always)]
pub fn lifted<E: Element>(factor: f64) -> (f64, f64) {
    if E::DOUBLE || factor == 0.0 || FACTORS.contains(&factor.abs()) || !factor.is_finite() {
        return (1.0, factor);
    }
    let lift = if factor.abs() < 1.0 { 1.0 / (1u128 << 100) as f64 } else { (1u128 << 100) as f64 };
    (lift, factor / lift)
}

/// Multiplies terms by a power of two. `to` may be the memory of the terms.
#[inline(always)]
pub fn lift_terms<'a, V: Vector>(
    terms: &[Cell<V::Element>],
    lift: f64,
    to: &'a [Cell<V::Element>],
) -> &'a [Cell<V::Element>] {
    combine::<V>(terms, lift, 0.0, to);
    to
}
