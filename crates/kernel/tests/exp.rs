//! The error of the functions, over every f32 that a row can hand them.

mod common;
use common::Random;
use core::cell::Cell;
use xent_kernel::exp::{Centred, Direct, ExpWide, MAX_ERROR, MAX_TEMPERED_ERROR, Polynomial, Range, Reduction, exp};
use xent_kernel::log1p::log1p;
use xent_kernel::scratch::Scratch;
use xent_kernel::softcap;
use xent_kernel::vector::{Fused, Pair, Scalar, Vector, Wide};

/// The worst relative error of a term over every `stride`-th float around an anchor of 0, in units of 2^-24, and where. Logits whose
/// size is below 2^-26 are left out: their terms are those of 0.
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
    let sides = [end(2f64.powi(-26))..end(32.0), end(-(2f64.powi(-26)))..end(-112.0)];
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

fn assert_all_stated(stride: usize) {
    let mut above = Vec::new();
    let mut check = |(error, x): (f64, f32), what: &str| {
        println!("{what}: {error} at {x}");
        let most = if what.starts_with("temperature") { MAX_TEMPERED_ERROR } else { MAX_ERROR };
        if error > most {
            above.push(format!("{what}: exp({x}) is off by {error} * 2^-24"));
        }
    };
    check(worst::<Scalar, Direct<Scalar, false, false>>(stride, 1.0), "plain");
    check(worst::<Fused, Direct<Fused, false, false>>(stride, 1.0), "fused");
    for temperature in [0.7, 1.3, 1.47, 2.5, 0.05, 17.0, 1.999_999] {
        let what = format!("temperature {temperature}");
        check(worst::<Scalar, Direct<Scalar, true, false>>(stride, temperature), &what);
        check(worst::<Fused, Direct<Fused, true, false>>(stride, temperature), &format!("{what}, fused"));
    }
    check(worst::<Scalar, Centred<Scalar>>(stride, 1.0), "centred");
    check(worst::<Fused, Centred<Fused>>(stride, 1.0), "centred, fused");
    assert!(above.is_empty(), "{}", above.join("; "));
}

#[test]
fn terms_are_within_their_stated_error() {
    assert_all_stated(9973);
}

#[test]
fn terms_are_within_their_stated_error_at_any_temperature() {
    let mut random = Random(3);
    for _ in 0..100 {
        let temperature = ((random.bits() % 4000) as f64 / 1000.0 - 2.0).exp2();
        let stride = 20_011;
        let unfused = worst::<Scalar, Direct<Scalar, true, false>>(stride, temperature);
        let fused = worst::<Fused, Direct<Fused, true, false>>(stride, temperature);
        for (error, x) in [unfused, fused] {
            assert!(error <= MAX_TEMPERED_ERROR, "exp({x} / {temperature}) is off by {error} * 2^-24");
        }
    }
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

/// A softcap of tiles, and its scratch area.
struct Capped {
    memory: Vec<f64>,
    cap: f64,
}

impl Capped {
    fn new<V: Vector<Element = f32>>(cap: f64, temperature: f64) -> Self {
        let memory = vec![0.0f64; size_of::<Scratch>().div_ceil(8)];
        let capped = Self { memory, cap };
        softcap::begin::<V>(cap, temperature, true, capped.scratch());
        capped
    }

    fn scratch(&self) -> &Scratch {
        // SAFETY: as large as a scratch area, zero at first, and aligned to 8.
        unsafe { &*self.memory.as_ptr().cast::<Scratch>() }
    }

    /// y in two parts, and the slope, of some logits, where they lie or apart.
    fn stage<V: Vector<Element = f32>>(&self, x: &[f32], in_place: bool) -> Vec<[f32; 3]> {
        let scratch = self.scratch();
        let (high, low, slope) = (scratch.tile::<f32>(), scratch.low::<f32>(), scratch.slope::<f32>());
        let own: Vec<Cell<f32>> = x.iter().map(|&x| Cell::new(x)).collect();
        let mut given = &own[..];
        if in_place {
            given = &high[..x.len()];
            for (to, &x) in given.iter().zip(x) {
                to.set(x);
            }
        }
        softcap::stage::<V>(given, high, low, slope, self.cap, scratch);
        (0..x.len()).map(|i| [high, low, slope].map(|all| all[i].get())).collect()
    }
}

/// Logits of all sizes, around the points of any table and half way between them, and where the ways of computing meet.
fn logits_around(cap: f64) -> Vec<f32> {
    let step = f64::from_bits((cap / 64.0).to_bits() & !((1 << 52) - 1));
    let mut all = vec![0.0, -0.0, f32::from_bits(1), -1e-40, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NAN];
    let mut near = |x: f64| {
        let bits = (x as f32).to_bits();
        all.extend((bits.saturating_sub(2)..=bits + 2).map(f32::from_bits));
    };
    for k in (0..40).chain([511, 512, 513, 1020, 1021, 1022, 1023, 1024, 2000]) {
        for of_step in [1.0, 0.5, 0.25] {
            near(f64::from(k) * of_step * step);
            near((f64::from(k) + 0.5) * of_step * step);
        }
    }
    for times in [44.0, 49.0, 50.0, 52.0, 53.0, 54.0, 55.0, 1e9] {
        near(times * cap);
    }
    let mut random = Random(5);
    for _ in 0..600 {
        near(cap * f64::from(random.unit() * 18.0));
        near(cap * f64::from(random.unit() * 60.0));
        near(cap * (f64::from(random.unit()) * 40.0 - 30.0).exp());
    }
    all.extend(all.clone().iter().map(|x| -x));
    all
}

fn assert_capped<V: Vector<Element = f32>>(cap: f64, temperature: f64) {
    let u = 2f64.powi(-24);
    let capped = Capped::new::<V>(cap, temperature);
    for (tile, x) in logits_around(cap).chunks(1021).enumerate() {
        let staged = capped.stage::<V>(x, false);
        let bits = |all: &[[f32; 3]]| all.iter().map(|one| one.map(f32::to_bits)).collect::<Vec<_>>();
        assert_eq!(bits(&capped.stage::<V>(x, true)), bits(&staged), "in place");
        for (i, (&x, &[high, low, slope])) in x.iter().zip(&staged).enumerate() {
            let what = format!("softcap {cap}, temperature {temperature}: {x} gives {high} + {low}, slope {slope}");
            if x.is_nan() {
                assert!(high.is_nan() && slope.is_nan(), "{what}");
                continue;
            }
            if i % 97 == tile % 97 {
                assert_eq!(bits(&capped.stage::<V>(&[x], false)), bits(&staged[i..=i]), "alone, {what}");
            }
            let v = f64::from(x) / cap;
            let (y, exact) = (cap * v.tanh(), v.cosh().powi(-2));
            let error = (f64::from(high) + f64::from(low) - y).abs();
            assert!(error <= 0.13 * u * temperature + 1e-11 * y.abs(), "{what}, off by {error}");
            assert!((f64::from(slope) - exact).abs() <= 2.2 * u * exact + 2f64.powi(-149), "{what}, not {exact}");
            assert_eq!(high.is_sign_negative(), x.is_sign_negative(), "{what}");
            assert!(f64::from(low.abs()) <= temperature / 1000.0 + u * y.abs(), "{what}");
        }
    }
}

#[test]
fn a_capped_logit_is_exact_to_an_eighth_of_a_last_place_of_its_term() {
    let caps = [30.0, 50.0, 15.0, 64.0, 63.999, 32.0, 31.999, 1.0, 7.3, 0.1, 1e-3, 1e3, 1e6, 1e-20, 1e20];
    for (cap, temperature) in caps.into_iter().map(|cap| (cap, 1.0)).chain([
        (30.0, 0.5),
        (30.0, 0.1),
        (30.0, 2.5),
        (1000.0, 20.0),
        (1000.0, 3.0),
        (1e-3, 1e-4),
        (1e12, 1e12),
        (1e20, 1e20),
        (1e-20, 1e-20),
    ]) {
        assert_capped::<Scalar>(cap, temperature);
        assert_capped::<Fused>(cap, temperature);
    }
}

#[test]
fn a_table_is_of_the_last_softcap_and_temperature() {
    let memory = Capped::new::<Scalar>(30.0, 1.0).memory;
    for (cap, temperature) in [(30.0, 0.1), (50.0, 0.1), (30.0, 1.0), (1000.0, 1.0), (30.0, 1.0)] {
        let reused = Capped { memory: memory.clone(), cap };
        softcap::begin::<Scalar>(cap, temperature, true, reused.scratch());
        let x: Vec<f32> = (0..500).map(|i| i as f32 * 0.31).collect();
        assert_eq!(
            reused.stage::<Scalar>(&x, false),
            Capped::new::<Scalar>(cap, temperature).stage::<Scalar>(&x, false)
        );
    }
}
