//! The error of the exponential, over every f32 that a row can hand it.

mod common;
use xent_kernel::exp::{Direct, ExpWide, LIFT, MAX_ERROR, MAX_ERROR_ROUNDED, Polynomial, Reduction};
use xent_kernel::log1p::log1p;
use xent_kernel::math;
use xent_kernel::vector::{Fused, Pair, Scalar, Vector, Wide};

/// The worst relative errors over every `stride`-th float around an anchor of 0, in units of 2^-24, and where: of power and
/// tail, and of their rounded sum.
fn worst<V: Vector>(stride: usize) -> [(f64, f32); 2] {
    let (direct, polynomial) = (Direct::<V>::near(0.0, LIFT), Polynomial::<V>::load());
    let mut worst = [(0.0, 0.0); 2];
    let sides = [0..0x4200_0000u32, 0x8000_0000..0xc2e0_0000]; // 0 to 32, -0 to -112
    for bits in sides.into_iter().flat_map(|side| side.step_by(stride)) {
        let x = f32::from_bits(bits);
        let reduced = direct.reduce(V::splat(x));
        let tail = polynomial.at(reduced.r);
        let term = tail.mul_add(reduced.power, reduced.power).to_array()[0];
        let (power, tail) = (f64::from(reduced.power.to_array()[0]), f64::from(tail.to_array()[0]));
        let exact = f64::from(x).exp() * 2f64.powi(LIFT);
        for (worst, got) in worst.iter_mut().zip([power * (1.0 + tail), f64::from(term)]) {
            let error = (got / exact - 1.0).abs() * 2f64.powi(24);
            if error > worst.0 {
                *worst = (error, x);
            }
        }
    }
    worst
}

fn assert_stated(worst: [(f64, f32); 2]) {
    for ((error, x), bound) in worst.into_iter().zip([MAX_ERROR, MAX_ERROR_ROUNDED]) {
        println!("worst: {error} at {x}");
        assert!(error <= bound, "exp({x}) is off by {error} * 2^-24");
    }
}

#[test]
fn exp_is_within_its_stated_error() {
    assert_stated(worst::<Scalar>(997));
    assert_stated(worst::<Fused>(991));
}

#[test]
#[ignore = "every float: two minutes in release"]
fn exp_is_within_its_stated_error_for_every_float() {
    assert_stated(worst::<Scalar>(1));
    assert_stated(worst::<Fused>(1));
}

#[test]
fn wide_exp_and_log_are_exact_enough_to_disappear() {
    for i in -6000..6000 {
        let x = f64::from(i) * 0.0333;
        let [got, _] = ExpWide::load(3.0).at(<[f64; 2]>::splat(x)).to_array();
        assert!((got / (8.0 * x.exp()) - 1.0).abs() < 2e-9, "exp({x})");
    }
    for i in -900..900 {
        for b in [1.0, 0.7e-20, 1.99e20] {
            let q = (f64::from(i) * 0.7).exp();
            let [a, b, total] = [q * b, b, q * b + b].map(<[f64; 2]>::splat);
            let [got, _] = log1p(a, b, total).to_array();
            assert!((got / q.ln_1p() - 1.0).abs() < 4.1e-9, "log1p({q}) = {got}, exact {}", q.ln_1p());
        }
    }
}

#[test]
fn scalar_functions_are_exact_to_a_few_last_places() {
    let close = |got: f64, exact: f64, what: &str| {
        assert!((got - exact).abs() <= 1e-15 * exact.abs(), "{what}: {got}, exact {exact}");
    };
    for i in -70_000..70_000 {
        let x = f64::from(i) * 0.010_1;
        close(math::exp(x), x.exp(), &format!("exp({x})"));
        close(math::tanh(x * 0.01), (x * 0.01).tanh(), &format!("tanh({})", x * 0.01));
        close(math::tanh_slope(x * 0.01), 1.0 / (x * 0.01).cosh().powi(2), &format!("slope({})", x * 0.01));
        let q = (x * 0.5).exp();
        close(math::log1p(q), q.ln_1p(), &format!("log1p({q})"));
    }
    assert_eq!(math::exp(f64::NEG_INFINITY), 0.0);
    assert_eq!(math::exp(800.0), f64::INFINITY);
    assert!(math::exp(f64::NAN).is_nan());
    assert_eq!(math::exp(-744.0), (-744.0_f64).exp());
    assert_eq!(math::log1p(f64::INFINITY), f64::INFINITY);
    assert_eq!(math::tanh(f64::NEG_INFINITY), -1.0);
    close(math::log1p(-1e-8), (-1e-8_f64).ln_1p(), "log1p(-1e-8)");
}
