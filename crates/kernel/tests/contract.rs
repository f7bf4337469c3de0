//! The numerics contract (crate documentation), on the scalar implementation, against f64.

mod common;
use common::any::{Plan, Special, to_bits};
use common::{Case, Mode, Random, Results, exact, infinity, neg, run, run_as, ulp};
use xent_kernel::vector::{Fused, Scalar};
use xent_kernel::{GRADIENT_ULP, LOSS_ULP};

/// Classes around every boundary of the loops: vectors, blocks, the end of the narrow routine.
const CLASSES: [usize; 22] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255, 256, 257, 1000];

/// Loss and gradient within their bounds, everywhere.
fn assert_within_contract(case: &Case, what: &str) {
    assert_results_within_contract(case, &run(case), what);
    assert_results_within_contract(case, &run_as::<Fused>(case, Mode::Gradient, &[]), &format!("fused, {what}"));
}

fn assert_results_within_contract(case: &Case, result: &Results, what: &str) {
    let (loss_bound, gradient_bound) = (LOSS_ULP, GRADIENT_ULP);
    for row in 0..case.labels.len() {
        let exact = exact(case, row);
        let error = ulp(result.loss[row], exact.loss);
        assert!(
            error <= loss_bound,
            "{what}: loss of row {row} is {}, exact {}: {error} ulp",
            result.loss[row],
            exact.loss
        );
        let lse = f64::from(result.log_sum_exp[row]);
        assert!(
            (lse - exact.log_sum_exp).abs() <= 2.5e-7 * exact.log_sum_exp.abs().max(1.0),
            "{what}: log-sum-exp {lse}, exact {}",
            exact.log_sum_exp
        );
        for (class, &exact) in exact.gradient.iter().enumerate() {
            let got = result.gradient[row * case.classes + class];
            let error = ulp(got, exact);
            assert!(
                error <= gradient_bound,
                "{what}: gradient of row {row}, class {class} is {got}, exact {exact}: {error} ulp"
            );
        }
    }
}

#[test]
fn random_rows_of_every_width() {
    let mut random = Random(1);
    for classes in CLASSES {
        for spread in [0.01, 1.0, 8.0, 40.0] {
            let rows = (2000 / classes).clamp(3, 300);
            let case = Case::random(&mut random, rows, classes, spread, 0.0);
            assert_within_contract(&case, &format!("{classes} classes, spread {spread}"));
        }
    }
}

#[test]
fn a_label_in_every_place() {
    let mut random = Random(2);
    for classes in [33, 70, 259, 300] {
        let mut case = Case::random(&mut random, classes, classes, 3.0, 0.0);
        for label in 0..classes {
            case.labels[label] = label as i32;
        }
        assert_within_contract(&case, &format!("{classes} classes"));
    }
}

#[test]
fn confident_rows_keep_their_loss() {
    for classes in [2, 10, 40, 300] {
        for gap in 5..103 {
            let mut case = Case::constant(1, classes, -0.1875);
            case.logits[classes / 2] += gap as f32;
            case.labels[0] = (classes / 2) as i32;
            let result = run(&case);
            assert!(result.loss[0] > 0.0, "{classes} classes, gap {gap}");
            assert_within_contract(&case, &format!("{classes} classes, gap {gap}"));
        }
    }
}

#[test]
fn unlikely_labels() {
    for classes in [2, 10, 40, 300] {
        for gap in [5.0, 20.0, 33.0, 34.0, 54.0, 56.0, 80.0, 103.0, 200.0, 900.0, 1e6, 3e38] {
            let mut case = Case::constant(1, classes, 0.5);
            case.logits[classes - 1] -= gap;
            case.labels[0] = (classes - 1) as i32;
            assert_within_contract(&case, &format!("{classes} classes, gap {gap}"));
        }
    }
}

/// Found by the fuzzer: the tails of four terms at the upper end are -inf in `f32`, which was below the limit.
#[test]
fn logits_far_above_the_label_and_its_digits() {
    for classes in 2..40 {
        for above in [3e4, 1.1e8, 1e15, 9.02e15, 3e38] {
            for label in [0, classes / 2, classes - 1] {
                let mut case = Case::constant(1, classes, above);
                case.logits[label] = 0.85;
                case.labels[0] = label as i32;
                assert_within_contract(&case, &format!("{classes} classes at {above}, label {label}"));
            }
        }
    }
}

#[test]
fn shared_offsets_do_not_matter() {
    let mut random = Random(3);
    for offset in [0.0, 199.5, 200.5, 353.0, -1000.0, 65000.0, 1e8, -1e8, 3e38, -3e38] {
        for classes in [3, 16, 100, 300] {
            let mut case = Case::random(&mut random, 5, classes, 8.0, offset);
            assert_within_contract(&case, &format!("{classes} classes at {offset}"));
            case.logits.fill(offset);
            let result = run(&case);
            assert_eq!(result.loss[0], (classes as f64).ln() as f32, "{classes} equal classes at {offset}");
        }
    }
}

#[test]
fn masks_have_no_weight() {
    let mut random = Random(4);
    for mask in [neg(infinity()), -1e9, -1e30, -3.4e38] {
        for classes in [2, 5, 16, 100, 300, 700] {
            let mut case = Case::random(&mut random, 9, classes, 6.0, 0.0);
            for row in 0..9 {
                for class in 0..classes {
                    let first_block = row == 0 && class < 64 && class + 1 < classes;
                    if case.labels[row] as usize != class && (first_block || class % 3 == row % 3) {
                        case.logits[row * classes + class] = mask;
                    }
                }
            }
            assert_within_contract(&case, &format!("{classes} classes, masked with {mask}"));
        }
    }
}

#[test]
fn a_masked_label_costs_infinitely_much() {
    for classes in [2, 10, 300] {
        let mut case = Case::constant(3, classes, 1.0);
        case.logits[classes] = neg(infinity());
        case.labels[1] = 0;
        let result = run(&case);
        assert_eq!(result.loss[1], infinity());
        assert_eq!(result.gradient[classes], -1.0);
        assert_eq!(result.log_sum_exp[1], (1.0 + ((classes - 1) as f64).ln()) as f32);
        assert_eq!(result.loss[0], (classes as f64).ln() as f32);
    }
}

#[test]
fn a_broken_row_is_nan_and_alone() {
    for classes in [1, 2, 10, 33, 300] {
        for bad in [f32::NAN, infinity()] {
            for place in [0, classes / 2, classes - 1] {
                let mut case = Case::constant(3, classes, 1.0);
                case.logits[classes + place] = bad;
                let result = run(&case);
                assert!(
                    result.loss[1].is_nan() && result.log_sum_exp[1].is_nan(),
                    "{classes} classes, {bad} at {place}: {}, {}",
                    result.loss[1],
                    result.log_sum_exp[1]
                );
                assert!(result.gradient[classes..2 * classes].iter().all(|g| g.is_nan()));
                assert_eq!(result.predictions[1], -1);
                for row in [0, 2] {
                    assert_eq!(result.loss[row], (classes as f64).ln() as f32);
                    assert!(result.gradient[row * classes..][..classes].iter().all(|g| g.is_finite()));
                    assert_eq!(result.predictions[row], 0);
                }
            }
        }
        let mut case = Case::constant(2, classes, neg(infinity()));
        case.logits[classes..].fill(0.0);
        let result = run(&case);
        assert!(result.loss[0].is_nan() && result.gradient[0].is_nan());
        assert_eq!(result.loss[1], (classes as f64).ln() as f32);
    }
}

/// Found by the differential test: the relaxed build clamped the NaN away that a logit in two parts makes of +inf.
#[test]
fn an_infinite_logit_is_noticed_behind_a_temperature() {
    for classes in [2, 10, 300] {
        for special in [Special::Broken(infinity()), Special::Broken(f32::NAN)] {
            let plan = Plan { rows: 4, classes, temperature: 0.5, special, ..Plan::default() };
            let given = plan.given();
            for output in [given.compute::<Scalar>(&[]), given.compute::<Fused>(&[])] {
                assert_eq!(output.loss.iter().map(|x| x.is_nan()).collect::<Vec<_>>(), [true, false, false, true]);
                given.verdict(&output).unwrap();
            }
        }
    }
}

#[test]
fn one_class_costs_nothing() {
    for logit in [0.0, -7.5, 300.0, 1e30, -3e38] {
        let result = run(&Case::constant(2, 1, logit));
        assert_eq!((result.loss[1], result.gradient[1], result.log_sum_exp[1]), (0.0, 0.0, logit));
    }
}

#[test]
fn a_million_equal_terms_lose_nothing() {
    let case = Case::constant(1, 1_000_000, 0.75);
    assert_within_contract(&case, "a million equal logits");
}

#[test]
fn subnormal_results_are_within_three_steps() {
    let step = f64::from(f32::from_bits(1));
    for gap in [87.0_f32, 95.0, 100.0, 103.0, 103.9] {
        for classes in [2, 20, 300] {
            let mut case = Case::constant(1, classes, 0.0);
            case.logits[0] = gap;
            let (result, exact) = (run(&case), exact(&case, 0));
            for (got, exact) in [(result.loss[0], exact.loss), (result.gradient[1], exact.gradient[1])] {
                let error = (f64::from(got) - exact).abs();
                assert!(
                    error <= 3.0 * step || ulp(got, exact) <= 2.0 && got >= f32::MIN_POSITIVE,
                    "{classes} classes, gap {gap}: {got}, exact {exact}"
                );
            }
        }
    }
}

#[test]
fn the_smallest_losses_do_not_depend_on_neighbours() {
    // Rows of a group share the power of two of its first label. Under one that was 2^24 times smaller, terms of up to 2^-150 became
    // 0, and 255 of them made a loss of 6e-44 to 0.
    let cases = [(0, f64::from(f32::from_bits(1)), 100.5), (1, f64::from_bits(1), 741.0)];
    for (logits_type, step, gap) in cases {
        for (classes, below, more) in [2, 10, 100, 256].into_iter().flat_map(|classes| {
            (0..64)
                .step_by(2)
                .flat_map(move |below| (0..7).map(move |more| (classes, f64::from(below), f64::from(more))))
        }) {
            let gap = gap + 0.75 * more;
            let compute = |rows: &[[f64; 2]]| {
                let mut given = Plan { rows: rows.len(), classes, logits_type, ..Plan::default() }.given();
                given.labels = Some(vec![0; rows.len()]);
                let row =
                    |[label, other]: [f64; 2]| (0..classes).map(move |class| if class == 0 { label } else { other });
                given.logits = rows.iter().flat_map(|row_of| row(*row_of)).map(|x| to_bits(x, logits_type)).collect();
                *given.compute::<Scalar>(&[]).loss.last().expect("a row")
            };
            let row = [-below, -below - gap];
            let (alone, beside) = (compute(&[row]), compute(&[[0.0, -9e3], row]));
            let exact = (((classes - 1) as f64).ln() - gap).exp();
            for loss in [alone, beside] {
                assert!(
                    (loss - exact).abs() <= 3.0 * step + 1e-6 * exact,
                    "type {logits_type}, {classes} classes, {below} below, {gap} apart: {loss}, exact {exact}"
                );
            }
        }
    }
}

#[test]
fn a_tiny_scale_keeps_its_digits() {
    for classes in [10, 300] {
        let mut case = Case::random(&mut Random(5), 4, classes, 5.0, 0.0);
        let whole = run(&case);
        case.scale = f64::from(f32::from_bits(0x0d80_0000)); // 2^-100
        let scaled = run(&case);
        for (whole, scaled) in whole.gradient.iter().zip(&scaled.gradient) {
            let exact = f64::from(*whole) * case.scale;
            if exact.abs() > f64::from(f32::MIN_POSITIVE) {
                assert!(ulp(*scaled, exact) <= 2.0, "{classes} classes: {scaled}, expected {exact}");
            }
        }
    }
}

/// Rows that one wrong class dominates, with many others 2^20 to 2^27 times smaller, ties among them: what a sum in `f32` would lose.
fn dominated(random: &mut Random, classes: usize) -> Case {
    let mut case = Case::constant(1, classes, 0.0);
    let depth = 20 + random.below(8);
    for x in &mut case.logits {
        // Half of them at a power of two, which is where sums are ties.
        let power = -(depth as f32 + random.unit() * 2.0);
        let power = if random.below(2) == 0 { power.round() } else { power };
        *x = power * std::f32::consts::LN_2;
    }
    let (wrong, label) = (random.below(classes), random.below(classes));
    case.labels[0] = label as i32;
    case.logits[wrong] = random.unit() * 0.5;
    case
}

#[test]
fn dominated_rows_keep_the_contract() {
    let mut random = Random(31);
    for i in 0..1500 {
        let case = dominated(&mut random, 257 + i);
        assert_within_contract(&case, &format!("dominated row {i}"));
    }
}

#[test]
#[ignore = "10^8 entries: some minutes in release"]
fn a_hundred_million_entries_of_searches_keep_the_contract() {
    let mut random = Random(32);
    let mut entries = 0;
    while entries < 100_000_000 {
        let (few, classes) = (2 + random.below(30), 257 + random.below(1744));
        let case = match random.below(4) {
            0 => Case::random(&mut random, 1, few, 8.0, 0.0),
            1 => Case::random(&mut random, 1, classes, 8.0, 0.0),
            _ => dominated(&mut random, classes),
        };
        entries += case.logits.len();
        assert_within_contract(&case, "search");
    }
}
