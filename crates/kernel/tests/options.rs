//! The numerics contract with options, of single rows whose results are known.

mod common;
use common::any::{Given, Output, Plan, Special, to_bits};
use common::{Mode, Random, ulp};
use xent_kernel::LOSS_ULP;
use xent_kernel::job::logits_type;
use xent_kernel::vector::{Fused, Scalar};

/// One row of a job with options, and what comes out.
fn one_row(logits: &[f64], label: i32, options: impl FnOnce(&mut Given)) -> Output {
    let plan = Plan { rows: 1, classes: logits.len(), ..Plan::default() };
    let mut given = plan.given();
    given.labels = Some(vec![label]);
    options(&mut given);
    given.logits = logits.iter().map(|&x| to_bits(x, given.logits_type)).collect();
    given.compute::<Scalar>(&[])
}

#[test]
fn a_temperature_takes_logits_of_any_size() {
    for (large, loss) in [(1e20, 1e19), (1e38, 1e37)] {
        let output = one_row(&[1.0, large, large], 0, |given| given.temperature = 10.0);
        assert!((output.loss[0] / loss - 1.0).abs() < 1e-7, "{}", output.loss[0]);
        let gradient: Vec<f32> = output.gradient.iter().map(|&g| g as f32).collect();
        assert_eq!(gradient, [-0.1, 0.05, 0.05]);
    }
    let output = one_row(&[0.0, 1.1e8, 1.1e8], 0, |given| given.temperature = 0.1);
    assert!((output.loss[0] / 1.1e9 - 1.0).abs() < 1e-7);
    let output = one_row(&[0.0, 1.09e9, 1.09e9], 0, |given| given.softcap = 1e10);
    assert!((output.loss[0] / (1e10 * 0.109f64.tanh()) - 1.0).abs() < 1e-7, "{}", output.loss[0]);
}

#[test]
fn smoothing_keeps_a_small_loss_where_the_label_has_no_weight() {
    for (x, exact) in [
        ([6.0f32, -40.0], 0.05 * (-46f64).exp()),
        ([6.355, -13.836], 0.05 * (-(6.355f32 as f64) - 13.836f32 as f64).exp()),
    ] {
        let logits = x.map(f64::from);
        let output = one_row(&logits, 1, |given| {
            given.smoothing = 0.1;
            given.class_weights = Some(vec![1.0, 0.0]);
        });
        let exact = exact.ln_1p().max(exact);
        assert!(ulp(output.rounded_loss[0], exact) <= LOSS_ULP, "{} beside {exact}", output.loss[0]);
    }
}

#[test]
fn an_offset_costs_f64_logits_no_digits_of_a_dense_loss() {
    for (classes, smoothing) in [(3, 0.1), (10, 0.1), (40, 1e-3), (300, 0.1)] {
        // Multiples of 2^-31, which an offset does not round.
        let distance = |class: usize| (class as u32).wrapping_mul(0x9e37_79b9) as f64 / 2f64.powi(31);
        let distances: Vec<_> = (0..classes).map(distance).collect();
        let loss = |offset: f64, weighted: bool| {
            let logits: Vec<_> = distances.iter().map(|x| x + offset).collect();
            let output = one_row(&logits, 1, |given| {
                given.logits_type = logits_type::F64;
                given.smoothing = smoothing;
                given.class_weights = weighted.then(|| (0..classes).map(|class| 0.5 + (class % 3) as f32).collect());
            });
            output.loss[0]
        };
        for weighted in [false, true] {
            let plain = loss(0.0, weighted);
            for offset in [1e3, -1e5, 9e5] {
                let error = loss(offset, weighted) / plain - 1.0;
                // Each of the two is within 2^-49.
                assert!(error.abs() <= 2f64.powi(-48), "{classes} classes at {offset}: {:e}", error);
            }
        }
    }
}

#[test]
fn predictions_are_of_the_logits_as_they_are_given() {
    for logits_type in [logits_type::BF16, logits_type::F32, logits_type::F64] {
        let output = one_row(&[18.5, 19.375, 3.0], 0, |given| {
            (given.logits_type, given.softcap, given.temperature, given.predictions) = (logits_type, 1.0, 10.0, true);
        });
        assert_eq!(output.predictions, [1]);
    }
}

#[test]
fn the_sum_is_of_losses_that_no_f32_holds() {
    let output = one_row(&[0.0, 3e38], 0, |given| given.sample_weights = Some(vec![1e9]));
    assert_eq!(output.rounded_loss, [f32::INFINITY]);
    assert!((output.sum / 3e47 - 1.0).abs() < 1e-6, "{}", output.sum);
}

#[test]
fn the_gradient_of_a_z_loss_is_finite_where_the_loss_is_not() {
    let output = one_row(&[1e300, 1e300, 0.0], 0, |given| {
        (given.logits_type, given.z_loss) = (logits_type::F64, 1.0);
    });
    assert_eq!(output.loss, [f64::INFINITY]);
    assert_eq!(output.gradient, [1e300, 1e300, 0.0]);
}

#[test]
fn a_row_without_sample_weight_is_ignored() {
    for classes in [3, 300] {
        let mut logits = vec![0.5; classes];
        logits[1] = f64::NAN;
        let output = one_row(&logits, 0, |given| given.sample_weights = Some(vec![0.0]));
        assert_eq!((output.loss[0], output.sum), (0.0, 0.0));
        assert!(output.gradient.iter().all(|&g| g == 0.0));
    }
}

#[test]
fn an_ignored_row_has_no_negative_zero() {
    for (classes, logits_type) in [(1, 0), (7, 0), (300, 0), (7, 1)] {
        let output = one_row(&vec![-1.0 - (classes as f64).ln(); classes], 0, |given| {
            (given.logits_type, given.z_loss, given.sample_weights) = (logits_type, 0.01, Some(vec![0.0]));
        });
        assert!(output.gradient.iter().all(|g| g.to_bits() == 0), "{classes} classes: {:?}", output.gradient);
    }
}

#[test]
fn rows_far_apart_do_not_borrow_an_exponent() {
    // A group's power of two is that of its first row: 2^4096 away, the label's term had an exponent that looked right.
    for (logits_type, classes) in [(0, 3), (0, 12), (1, 3), (1, 12)] {
        for gap in (1200..3100).map(f64::from).chain((20_000..21_500).step_by(2).map(f64::from)) {
            let first = if gap < 3100.0 { 750.0 } else { gap / 2.0 };
            for (one, other) in [(first, first - gap), (-first, gap - first)] {
                let mut given = Plan { rows: 2, classes, logits_type, ..Plan::default() }.given();
                given.labels = Some(vec![0, 0]);
                let row = |x: f64| (0..classes).map(move |class| if class == 0 { x } else { x + 3.0 });
                given.logits = row(one).chain(row(other)).map(|x| to_bits(x, logits_type)).collect();
                let output = given.compute::<Scalar>(&[]);
                let exact = ((classes - 1) as f64 * 3f64.exp()).ln_1p();
                for loss in output.loss {
                    assert!(
                        (loss / exact - 1.0).abs() < 1e-6,
                        "type {logits_type}: {loss} beside {exact}, {gap} apart"
                    );
                }
            }
        }
    }
}

#[test]
fn a_softcap_of_any_size_keeps_its_bounds() {
    let mut random = Random(31);
    for cap in [1e-3, 0.1, 1.0, 5.0, 30.0, 50.0, 63.9, 64.0, 100.0, 1e3, 1e6] {
        for (spread, offset) in
            [(0.01, 0.0), (0.3, 0.0), (1.0, 0.0), (1.0, -3.0), (4.0, 0.0), (20.0, 0.0), (60.0, 10.0)]
        {
            for classes in [2, 10, 37, 300] {
                let mut plan = Plan { seed: u64::from(random.bits()), classes, softcap: cap, ..Plan::default() };
                (plan.spread, plan.offset) = (spread * cap as f32, offset * cap as f32);
                plan.special = [Special::Nothing, Special::Masked, Special::Peak][random.below(3)];
                plan.temperature = [1.0, 1.0, 0.3, 4.0][random.below(4)];
                plan.smoothing = [0.0, 0.0, 0.1][random.below(3)];
                plan.mode = [Mode::Gradient, Mode::InPlace][random.below(2)];
                plan.logits_type = [0, 0, 0, 1, 3][random.below(5)];
                let given = plan.given();
                for output in [given.compute::<Scalar>(&[]), given.compute::<Fused>(&[])] {
                    given.verdict(&output).unwrap_or_else(|why| panic!("{why}: {plan:?}"));
                }
            }
        }
    }
}

/// (x - label) / T of exact differences, its exponential without the quotient's rounding error.
fn exp_of_quotient(difference: f64, temperature: f64) -> f64 {
    let quotient = difference / temperature;
    let lost = (-quotient).mul_add(temperature, difference) / temperature;
    let exp = quotient.exp();
    exp + exp * lost
}

/// Loss and gradient of logits whose differences are exact, within 2^-49.
fn assert_as_exact_as_f64(logits: &[f64], label: usize, temperature: f64, options: impl Fn(&mut Given)) {
    let output = one_row(logits, label as i32, |given| {
        (given.logits_type, given.temperature) = (logits_type::F64, temperature);
        options(given);
    });
    let terms: Vec<_> = logits.iter().map(|x| exp_of_quotient(x - logits[label], temperature)).collect();
    let rest: f64 = terms.iter().enumerate().filter(|&(class, _)| class != label).map(|(_, term)| term).sum();
    // Beyond the range of e^x, the loss is the difference.
    let loss = if rest.is_finite() { rest.ln_1p() } else { (logits[1 - label] - logits[label]) / temperature };
    let check = |what: &str, got: f64, exact: f64| {
        let error = (got / exact - 1.0).abs();
        assert!(
            error <= 2f64.powi(-49),
            "{what} of {label} at {temperature} is {got:e} instead of {exact:e}: {error:e}"
        );
    };
    check("loss", output.loss[0], loss);
    if rest.is_finite() {
        for (class, term) in terms.iter().enumerate() {
            let all = (1.0 + rest) * temperature;
            check("gradient", output.gradient[class], if class == label { -rest / all } else { term / all });
        }
    }
}

#[test]
fn a_temperature_costs_f64_logits_no_digits() {
    for (logits, label, temperature) in [
        ([1e5, 1e5 + 0.5], 0, 3.0),
        ([1e6, 1e6 + 0.25], 0, 1.1),
        ([59.0, 58.5], 0, 0.1),
        ([1e15, 1e15 + 20.0], 0, 3.0),
        ([183_178_292_936_645_440.0, 183_178_292_936_645_500.0], 0, 0.1),
        ([1e17, 1e17 + 400.0], 0, 0.3),
    ] {
        assert_as_exact_as_f64(&logits, label, temperature, |_| ());
    }
    // Multiples of 2^-31, which an offset does not round.
    let distance = |class: usize| f64::from((class as u32).wrapping_mul(0x9e37_79b9)) / 2f64.powi(31);
    for (classes, stride, segments) in [(2, 1, false), (7, 3, false), (40, 1, false), (300, 1, false), (300, 1, true)] {
        for (temperature, offset) in [(0.7, 59.0), (1.3, -1e5), (3.0, 1e6), (0.9, 8e5), (2.1, -2e6), (1.1, 2e6)] {
            let logits: Vec<_> = (0..classes).map(|class| distance(class) + offset).collect();
            for label in [0, 1] {
                assert_as_exact_as_f64(&logits, label, temperature, |given| {
                    (given.class_stride, given.segments) = (stride, segments);
                    given.row_stride = (classes - 1) * stride + 1;
                });
            }
        }
    }
}

#[test]
fn a_temperature_costs_f64_logits_no_digits_of_a_dense_loss() {
    let distance = |class: usize| f64::from((class as u32).wrapping_mul(0x9e37_79b9)) / 2f64.powi(31);
    for (classes, weighted) in [(3, false), (3, true), (10, false), (10, true), (300, false), (300, true)] {
        for temperature in [0.7, 3.0] {
            let loss = |offset: f64| {
                let logits: Vec<_> = (0..classes).map(|class| distance(class) + offset).collect();
                let output = one_row(&logits, 1, |given| {
                    (given.logits_type, given.temperature, given.smoothing) = (logits_type::F64, temperature, 0.1);
                    given.class_weights =
                        weighted.then(|| (0..classes).map(|class| 0.5 + (class % 3) as f32).collect());
                });
                output.loss[0]
            };
            for offset in [1e3, -1e5, 6e5] {
                let error = loss(offset) / loss(0.0) - 1.0;
                // Each of the two is within 2^-49.
                assert!(error.abs() <= 2f64.powi(-48), "{classes} classes at {offset}: {error:e}");
            }
        }
    }
}

#[test]
fn a_label_far_below_the_maximum_has_its_own_probability() {
    let output = one_row(&[1e300, 0.0], 1, |given| (given.logits_type, given.z_loss) = (logits_type::F64, 1e-3));
    assert_eq!(output.gradient[1], -1.0);
    for (x, temperature) in [(610.0, 1.0), (650.0, 1.0), (65.0, 0.1), (40.3, 0.07), (1e300, 1.0), (1.7e308, 1.0)] {
        let output = one_row(&[x, 0.0], 1, |given| {
            (given.logits_type, given.temperature, given.smoothing) = (logits_type::F64, temperature, 0.1);
            given.class_weights = Some(vec![1.0, 0.0]);
        });
        let exact = 0.1 / 2.0 * exp_of_quotient(-x, temperature).max(0.0) / temperature;
        let error = (output.gradient[1] - exact).abs();
        assert!(error <= exact * 2f64.powi(-49), "{} instead of {exact} at {x}", output.gradient[1]);
    }
}

#[test]
fn a_distance_beyond_all_numbers_is_divided_by_the_temperature() {
    let output = one_row(&[1.5e308, -1.5e308], 1, |given| {
        (given.logits_type, given.temperature) = (logits_type::F64, 10.0);
    });
    assert!((output.loss[0] / 3e307 - 1.0).abs() <= 2f64.powi(-49), "{}", output.loss[0]);
    assert_eq!(output.gradient, [0.1, -0.1]);
}

#[test]
fn an_offset_costs_no_digits_where_the_label_is_masked() {
    for logits_type in [logits_type::F32, logits_type::F64] {
        for offset in [0.0, 1e6, 2f64.powi(100)] {
            for temperature in [1.0, 3.0] {
                let output = one_row(&[f64::NEG_INFINITY, offset, offset, offset], 0, |given| {
                    (given.logits_type, given.temperature, given.smoothing) = (logits_type, temperature, 0.5);
                    given.class_weights = Some(vec![0.0, 1.0, 1.0, 1.0]);
                });
                let error = output.loss[0] / (0.375 * 3f64.ln()) - 1.0;
                assert!(error.abs() <= 2f64.powi(-49), "type {logits_type}: {error:e} at {offset}");
            }
        }
    }
}

/// A sum that keeps what each addition rounds off (Neumaier).
fn exact_sum(numbers: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0);
    for x in numbers {
        let next = sum + x;
        lost += if sum.abs() >= x.abs() { (sum - next) + x } else { (x - next) + sum };
        sum = next;
    }
    sum + lost
}

#[test]
fn many_classes_cost_f64_logits_no_digits() {
    let mut random = Random(7);
    for classes in [1_000, 10_000, 40_000] {
        for smoothing in [0.0, 0.1] {
            for _ in 0..10 {
                let logits: Vec<_> = (0..classes).map(|_| 6.0 * f64::from(random.unit())).collect();
                let targets: Vec<_> = (0..classes).map(|_| random.unit().abs()).collect();
                let output = one_row(&logits, 0, |given| {
                    (given.logits_type, given.smoothing) = (logits_type::F64, smoothing);
                    (given.labels, given.targets) = (None, Some(targets.clone()));
                });
                let spread = smoothing / f64::from(classes);
                let q: Vec<_> = targets.iter().map(|&t| f64::from(t).mul_add(1.0 - smoothing, spread)).collect();
                let terms: Vec<_> = logits.iter().map(|x| x.exp()).collect();
                let (total, weight) = (exact_sum(terms.iter().copied()), exact_sum(q.iter().copied()));
                let log = total.ln();
                let loss = exact_sum(q.iter().zip(&logits).map(|(q, x)| q * (log - x)));
                let error = (output.loss[0] / loss - 1.0).abs();
                assert!(error <= 2f64.powi(-49), "loss of {classes} classes: {error:e}");
                for ((g, q), term) in output.gradient.iter().zip(&q).zip(&terms) {
                    let p = weight * (term / total);
                    let error = (g - (p - q)).abs() / (p + q);
                    assert!(error <= 2f64.powi(-49), "gradient of {classes} classes: {error:e}");
                }
            }
        }
    }
}
