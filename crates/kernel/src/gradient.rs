//! Turns terms into the gradient, with the row's factor and the weights q of its classes.

use crate::numbers::{Kind, Numbers};
use crate::targets::combine;
use crate::vector::{Element, FACTORS, Factor, Single, Vector, part};
use core::cell::Cell;

/// `to = (terms * factor - q * weight) * slope`. An empty q or slope means 1 for every class. `to` may be the memory of the terms.
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
    let (power_of_two, factor) = normalized::<V::Element>(factor);
    let terms = if power_of_two == 1.0 { terms } else { multiply_terms::<V>(terms, power_of_two, to) };
    if q.is_empty() || weight == 0.0 {
        scale::<V, false>(terms, terms, to, factor, weight);
    } else {
        scale::<V, true>(terms, q, to, factor, weight);
    }
    if !slope.is_empty() {
        multiply_of::<V>(part(to, 0, terms.len()), slope);
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

/// [`multiply`] of one type.
#[inline(never)]
pub fn multiply_of<V: Vector>(terms: &[Cell<V::Element>], slope: &[Cell<V::Element>]) {
    let ((e, e_rest), (s, s_rest)) = (V::chunks(terms), V::chunks(part(slope, 0, terms.len())));
    for (e, s) in e.iter().zip(s) {
        V::load(e).mul(V::load(s)).store(e);
    }
    for (e, s) in e_rest.iter().zip(s_rest) {
        e.set(V::Element::from_f64(e.get().to_f64() * s.get().to_f64()));
    }
}

/// `to = terms * factor - q * weight` for a factor from [`normalized`]. `EACH`: with q.
#[inline(never)]
pub fn scale<V: Vector, const EACH: bool>(
    terms: &[Cell<V::Element>],
    q: &[Cell<V::Element>],
    to: &[Cell<V::Element>],
    factor: f64,
    weight: f64,
) {
    let ((e, e_rest), (q, q_rest), (to, to_rest)) = (V::chunks(terms), V::chunks(q), V::chunks(to));
    let scale = Scale::<V, EACH>::new(factor, weight);
    for ((e, q), to) in e.iter().zip(q).zip(to) {
        let e = V::load(e);
        scale.at(e, if EACH { V::load(q) } else { e }).store(to);
    }
    if !to_rest.is_empty() {
        let rest = |all: &[Cell<V::Element>]| V::load_partial(all, V::Element::default());
        scale.at(rest(e_rest), rest(q_rest)).store_partial(to_rest);
    }
}

/// The constants of [`write_gradient`] for a row. Without `EACH`, all q are 1. The weight may then be 0, because a product keeps its bits
/// if -0 is added.
pub struct Scale<V, const EACH: bool> {
    factor: Factor<V>,
    weight: V,
}

impl<V: Vector, const EACH: bool> Scale<V, EACH> {
    /// The constants for a factor from [`normalized`].
    #[inline(always)]
    pub fn new(factor: f64, weight: f64) -> Self {
        Self { factor: Factor::new(factor), weight: V::from_f64(-weight) }
    }

    /// The gradient of a vector of classes.
    #[inline(always)]
    pub fn at(&self, term: V, q: V) -> V {
        self.factor.times_plus(term, if EACH { q.mul(self.weight) } else { self.weight })
    }
}

/// Splits a factor into a power of two, which multiplies a term exactly, and a factor within [`FACTORS`].
#[inline(always)]
pub fn normalized<E: Element>(factor: f64) -> (f64, f64) {
    if E::DOUBLE || factor == 0.0 || FACTORS.contains(&factor.abs()) || !factor.is_finite() {
        return (1.0, factor);
    }
    let power_of_two = if factor.abs() < 1.0 { 1.0 / (1u128 << 100) as f64 } else { (1u128 << 100) as f64 };
    (power_of_two, factor / power_of_two)
}

/// Multiplies terms by a power of two. `to` may be the memory of the terms.
#[inline(always)]
pub fn multiply_terms<'a, V: Vector>(
    terms: &[Cell<V::Element>],
    power_of_two: f64,
    to: &'a [Cell<V::Element>],
) -> &'a [Cell<V::Element>] {
    combine::<V>(terms, power_of_two, 0.0, to);
    to
}
