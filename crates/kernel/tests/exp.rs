//! The error of the functions, over every f32 that a row can hand them.

mod common;
use xent_kernel::exp::{Centred, Direct, ExpWide, MAX_ERROR, Polynomial, Range, Reduction, exp};
use xent_kernel::log1p::log1p;
use xent_kernel::scratch::Scratch;
use xent_kernel::softcap;
use xent_kernel::vector::{Fused, Pair, Scalar, Vector, Wide};

/// The worst relative error of a term over every `stride`-th float around an anchor of 0, in units of 2^-24, and where.
fn worst<V: Vector<Element = f32>, R: Reduction<V>>(stride: usize, temperature: f64) -> (f64, f32) {
    let memory = vec![0.0f64; size_of::<Scratch>().div_ceil(8)];
    // SAFETY: as large as a scratch area, whose bytes may have any value, and aligned to 8.
    let scratch = unsafe { &*memory.as_ptr().cast::<Scratch>() };
    let range = Range::of::<f32>();
    scratch.set_range(range.constants(false, temperature));
    scratch.shift.set(range.shift(0.0));
    let (reduction, polynomial) = (R::load(scratch), Polynomial::<V>::load());
    let mut worst = (0.0, 0.0);
    let end = |x: f64| ((x * temperature) as f32).to_bits();
    let sides = [0..end(32.0), 0x8000_0000..end(-112.0)];
    for bits in sides.into_iter().flat_map(|side| side.step_by(stride)) {
        let x = f32::from_bits(bits);
        let (term, _) = reduction.term(&polynomial, V::splat(x), V::splat(0.0));
        let exact = (f64::from(x) / temperature).exp() * range.lift.exp2();
        let error = (f64::from(term.lane(0)) / exact - 1.0).abs() * 2f64.powi(24);
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

fn assert_stated((error, x): (f64, f32), what: &str) {
    println!("{what}: {error} at {x}");
    assert!(error <= MAX_ERROR, "{what}: exp({x}) is off by {error} * 2^-24");
}

fn assert_all_stated(stride: usize) {
    assert_stated(worst::<Scalar, Direct<Scalar, false, false>>(stride, 1.0), "plain");
    assert_stated(worst::<Fused, Direct<Fused, false, false>>(stride, 1.0), "fused");
    for temperature in [0.7, 1.3, 2.5, 0.05, 17.0, 1.999_999] {
        let what = format!("temperature {temperature}");
        assert_stated(worst::<Scalar, Direct<Scalar, true, false>>(stride, temperature), &what);
        assert_stated(worst::<Fused, Direct<Fused, true, false>>(stride, temperature), &format!("{what}, fused"));
    }
    assert_stated(worst::<Scalar, Centred<Scalar>>(stride, 1.0), "centred");
    assert_stated(worst::<Fused, Centred<Fused>>(stride, 1.0), "centred, fused");
}

#[test]
fn terms_are_within_their_stated_error() {
    assert_all_stated(9973);
}

#[test]
#[ignore = "every float: some minutes in release"]
fn terms_are_within_their_stated_error_for_every_float() {
    assert_all_stated(1);
}

#[test]
fn wide_exp_and_log_are_exact_enough_to_disappear() {
    for i in -6000..6000 {
        let x = f64::from(i) * 0.0333;
        let [got, _] = ExpWide::load::<f32>(3.0).at::<f32>(<[f64; 2]>::splat(x)).to_array();
        assert!((got / (8.0 * x.exp()) - 1.0).abs() < 2e-9, "exp({x})");
        let got = exp::<[f64; 2]>(x);
        assert!((got / x.exp() - 1.0).abs() < 2f64.powi(-50), "exp({x}) of f64");
    }
    for i in -900..900 {
        for b in [1.0, 0.7e-20, 1.99e20] {
            let q = (f64::from(i) * 0.7).exp();
            let [a, b, total] = [q * b, b, q * b + b].map(<[f64; 2]>::splat);
            let [got, _] = log1p::<_, f32>(a, b, total).to_array();
            assert!((got / q.ln_1p() - 1.0).abs() < 4.1e-9, "log1p({q}) = {got}, exact {}", q.ln_1p());
            let [got, _] = log1p::<_, f64>(a, b, total).to_array();
            assert!((got / q.ln_1p() - 1.0).abs() < 2f64.powi(-49), "log1p({q}) = {got}, exact {}", q.ln_1p());
        }
    }
}

#[test]
fn the_softcap_is_exact_enough_to_disappear() {
    let pair = <[f64; 2]>::splat;
    for i in -70_000..70_000 {
        let u = f64::from(i) * 0.000_101 * if i % 2 == 0 { 1.0 } else { 5.0 };
        let (single, slope) = softcap::cap::<_, f32>(pair(30.0 * u), pair(30.0), pair(1.0 / 30.0));
        let (double, double_slope) = softcap::cap::<_, f64>(pair(30.0 * u), pair(30.0), pair(1.0 / 30.0));
        let (exact, exact_slope) = (30.0 * u.tanh(), u.cosh().powi(-2));
        assert!((single.to_array()[0] - exact).abs() <= 1e-9, "30 tanh({u})");
        assert!((double.to_array()[0] - exact).abs() <= 3e-14, "30 tanh({u}) of f64");
        assert!((slope.to_array()[0] / exact_slope - 1.0).abs() <= 1e-9, "slope at {u}");
        assert!((double_slope.to_array()[0] / exact_slope - 1.0).abs() <= 1e-13, "slope at {u} of f64");
    }
    let (y, slope) = softcap::cap::<_, f32>(pair(f64::NEG_INFINITY), pair(5.0), pair(0.2));
    assert_eq!(y.to_array()[0], -5.0);
    assert!(slope.to_array()[0].abs() < 1e-40);
    assert!(softcap::cap::<_, f32>(pair(f64::NAN), pair(5.0), pair(0.2)).0.to_array()[0].is_nan());
}
