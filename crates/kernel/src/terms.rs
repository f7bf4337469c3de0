//! The loop over the classes of a tile that computes exponentials, and the choice of its reduction and sink.

use crate::exp::{Centred, Direct, Polynomial, Reduction};
use crate::numbers::Numbers;
use crate::scratch::Scratch;
use crate::vector::{Element, Single, Twice, Vector, Wide, part};
use core::array::from_fn;
use core::cell::Cell;

/// How logits are reduced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// [`Direct`]: as they are.
    Direct,
    /// [`Centred`]: around the centre in the scratch area.
    Centred,
}

/// The loop that computes the terms of a run, and its sink: a single number, which functions can pass on without stack memory.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Loop(u32);

impl Loop {
    const SUM: u32 = 1;
    const KEEP: u32 = 2;
    const TEMPERED: u32 = 4;
    const CAPPED: u32 = 8;
    const CENTRED: u32 = 16;
    const DOUBLE: u32 = 32;

    /// The loop for a reduction, `f64` or other logits, a softcap (0: none) and a temperature.
    #[inline(always)]
    pub fn new(way: Way, double: bool, softcap: f64, temperature: f64) -> Self {
        let way = match way {
            Way::Direct => 0,
            Way::Centred => Self::CENTRED,
        };
        let capped = if softcap == 0.0 { 0 } else { Self::CAPPED };
        let double = if double { Self::DOUBLE } else { 0 };
        Self(way | double | capped | if temperature == 1.0 { 0 } else { Self::TEMPERED })
    }

    /// The same loop, which also adds terms to the scratch area's sums.
    #[inline(always)]
    pub fn sum(self) -> Self {
        Self(self.0 | Self::SUM)
    }

    /// The same loop, which also writes terms.
    #[inline(always)]
    pub fn keep(self) -> Self {
        Self(self.0 | Self::KEEP)
    }

    /// Whether terms are added, and whether they are written.
    #[inline(always)]
    pub fn sinks(self) -> (bool, bool) {
        (self.0 & Self::SUM != 0, self.0 & Self::KEEP != 0)
    }

    /// Calls the loop with its reduction. The choice is made only here.
    #[inline(always)]
    pub fn choose<V: Vector>(self, with: impl Choice<V>) {
        let has = |flag: u32| self.0 & flag != 0;
        if has(Self::CENTRED) {
            with.centred(self);
        } else if has(Self::CAPPED) {
            if V::Element::DOUBLE {
                with.ask::<Direct<V, true, true>>(self);
            } else {
                with.call::<Direct<V, true, true>, ASK_IN_ROUNDS>(self);
            }
        } else if V::Element::DOUBLE {
            if has(Self::TEMPERED) {
                with.ask::<Direct<V, true, false>>(self);
            } else {
                with.call::<Direct<V, false, false>, ASK_IN_ROUNDS>(self);
            }
        } else if has(Self::TEMPERED) {
            with.tempered::<Direct<V, true, false>>(self);
        } else {
            with.hot::<Direct<V, false, false>>(self);
        }
    }

    /// Whether all terms are right, from their or-ed traces.
    #[inline(always)]
    pub fn accepts<V: Single>(self, trace: u64) -> bool {
        if self.0 & Self::CENTRED != 0 {
            Centred::<V>::accepts(trace)
        } else if self.0 & Self::DOUBLE != 0 {
            Direct::<V::Double, true, true>::accepts(trace)
        } else {
            Direct::<V, true, true>::accepts(trace)
        }
    }
}

/// A function that [`Loop::choose`] calls.
pub trait Choice<V: Vector>: Sized {
    /// Runs a loop compiled for one reduction and one sink.
    fn call<R: Reduction<V>, const SINK: u32>(self, which: Loop);

    /// Runs a loop for one reduction that tests for the sink in the loop, which keeps the module small.
    #[inline(always)]
    fn ask<R: Reduction<V>>(self, which: Loop) {
        self.call::<R, ASK>(which);
    }

    /// Runs a reduction that has a loop for each sink.
    #[inline(always)]
    fn hot<R: Reduction<V>>(self, which: Loop) {
        match which.sinks() {
            (true, false) => self.call::<R, SUM>(which),
            (true, true) => self.call::<R, SUM_AND_KEEP>(which),
            (false, _) => self.call::<R, KEEP>(which),
        }
    }

    /// Runs the reduction with a temperature.
    #[inline(always)]
    fn tempered<R: Reduction<V>>(self, which: Loop) {
        self.ask::<R>(which);
    }

    /// Runs the centred reduction, if callers may ask for it.
    #[inline(always)]
    fn centred(self, _: Loop) {}
}

/// Sink: add the terms.
pub const SUM: u32 = 0;
/// Sink: add the terms and write them.
pub const SUM_AND_KEEP: u32 = 1;
/// Sink: write the terms.
pub const KEEP: u32 = 2;
/// Sink: test for it in the loop ([`Loop::sinks`]), which is not unrolled.
pub const ASK: u32 = 3;
/// Sink: test for it in the loop, which is unrolled.
pub const ASK_IN_ROUNDS: u32 = 4;

/// Whether terms are added, and whether they are written.
#[inline(always)]
pub fn sinks<const SINK: u32>(which: Loop) -> (bool, bool) {
    match SINK {
        SUM => (true, false),
        SUM_AND_KEEP => (true, true),
        KEEP => (false, true),
        _ => which.sinks(),
    }
}

/// Computes the terms of the logits `x`, with second parts in `low` if the reduction uses them. Adds them to the sums of the scratch
/// area, except for the class at `skip` (which may be beyond the end), or writes them to `out` (which may be the memory of `x`), or both.
///
/// A term is rounded once, to the type of the logits. Sums are added in `f64`, in four lanes; those of `f64` logits by tiles, which keeps
/// the rounding errors of long rows small.
#[inline(always)]
pub fn terms<V: Single>(which: Loop, x: Numbers, low: Numbers, out: Numbers, skip: usize, scratch: &Scratch) {
    if which.0 & Loop::DOUBLE != 0 {
        terms_of::<V::Double>(which, x.cells(), low.cells(), out.cells(), skip, scratch);
    } else {
        terms_of::<V>(which, x.cells(), low.cells(), out.cells(), skip, scratch);
    }
}

/// [`terms`] of one type.
#[inline(never)]
fn terms_of<V: Vector>(
    which: Loop,
    x: &[Cell<V::Element>],
    low: &[Cell<V::Element>],
    out: &[Cell<V::Element>],
    skip: usize,
    scratch: &Scratch,
) {
    struct Each<'a, V: Vector>(
        &'a [Cell<V::Element>],
        &'a [Cell<V::Element>],
        &'a [Cell<V::Element>],
        usize,
        &'a Scratch,
    );
    impl<V: Vector> Choice<V> for Each<'_, V> {
        #[inline(always)]
        fn call<R: Reduction<V>, const SINK: u32>(self, which: Loop) {
            each_term::<V, R, SINK>(which, self.0, self.1, self.2, self.3, self.4);
        }

        #[inline(always)]
        fn tempered<R: Reduction<V>>(self, which: Loop) {
            self.hot::<R>(which);
        }

        #[inline(always)]
        fn centred(self, which: Loop) {
            self.ask::<Centred<V>>(which);
        }
    }
    which.choose::<V>(Each(x, low, out, skip, scratch));
}

/// Vectors in one iteration of the loop: fewer expose latency, more exhaust V8's registers.
pub const ROUND: usize = 4;

/// The loop.
#[inline(never)]
fn each_term<V: Vector, R: Reduction<V>, const SINK: u32>(
    which: Loop,
    x: &[Cell<V::Element>],
    low: &[Cell<V::Element>],
    out: &[Cell<V::Element>],
    skip: usize,
    scratch: &Scratch,
) {
    let (sum, keep) = sinks::<SINK>(which);
    let (reduction, polynomial) = (R::load(scratch), Polynomial::<V>::load());
    let (low, out) = (if R::LOW { part(low, 0, x.len()) } else { x }, if keep { out } else { x });
    let ((x, x_rest), (low, low_rest), (out, out_rest)) = (V::chunks(x), V::chunks(low), V::chunks(out));
    let zero = V::splat(V::Element::default());
    let before = scratch.terms::<V::Wide>();
    let (mut sums, mut trace) = (if V::Element::DOUBLE { Twice::splat(0.0) } else { before }, zero);
    let mut make = |x: V, low: V| {
        let (term, t) = reduction.term(&polynomial, x, low);
        trace = trace.or(t);
        term
    };
    // The iteration with the class to skip and the end are separate. Loops that test for the sink are not unrolled: they run less often
    // and are a third of the size.
    let rounds = if SINK == ASK { 0 } else { x.len() / ROUND };
    let skipped = if sum { skip / (ROUND * V::LANES) } else { usize::MAX };
    let mut begin = 0;
    loop {
        let end = if (begin..rounds).contains(&skipped) { skipped } else { rounds };
        let [x_round, low_round, out_round] =
            [x, low, out].map(|all| part(all, ROUND * begin, ROUND * end).as_chunks::<ROUND>().0);
        for ((x, low), out) in x_round.iter().zip(low_round).zip(out_round) {
            let mut round = if V::Element::DOUBLE { Twice::splat(0.0) } else { sums };
            // All vectors of a round are read before a term is written, so that the build can overlap them.
            let (x, low) =
                (x.each_ref().map(V::load), if R::LOW { low.each_ref().map(V::load) } else { [zero; ROUND] });
            let terms: [V; ROUND] = from_fn(|place| make(x[place], low[place]));
            if keep {
                terms.iter().zip(out).for_each(|(term, out)| term.store(out));
            }
            if sum {
                terms.iter().enumerate().for_each(|(place, term)| term.accumulate(&mut round, place));
            }
            sums = if V::Element::DOUBLE { sums.add(round) } else { round };
        }
        let last = if end == rounds { x.len() + 1 } else { ROUND * (end + 1) };
        for place in ROUND * end..last {
            // The lanes beyond the end repeat a logit, so they add nothing to the trace.
            let fill = x_rest.first().map_or(V::Element::default(), Cell::get);
            let (value, second, lanes) = match (x.get(place), low.get(place)) {
                (Some(x), Some(low)) => (V::load(x), if R::LOW { V::load(low) } else { zero }, V::LANES),
                _ if x_rest.is_empty() => break,
                _ => {
                    let low = if R::LOW { V::load_partial(low_rest, V::Element::default()) } else { zero };
                    (V::load_partial(x_rest, fill), low, x_rest.len())
                }
            };
            let term = make(value, second);
            if keep {
                match out.get(place) {
                    Some(out) => term.store(out),
                    None => term.store_partial(out_rest),
                }
            }
            if sum {
                let skip = skip.wrapping_sub(place * V::LANES);
                let term = if skip < V::LANES { term.without(skip) } else { term };
                let term = if lanes < V::LANES { term.and(V::first_lanes(lanes)) } else { term };
                term.accumulate(&mut sums, place);
            }
        }
        if end == rounds {
            break;
        }
        begin = end + 1;
    }
    if sum {
        scratch.set_terms(if V::Element::DOUBLE { before.add(sums) } else { sums });
    }
    scratch.trace.set(scratch.trace.get() | trace.any_bits());
}
