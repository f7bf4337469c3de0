//! The divergence between two rows of logits: what the contract says of it.

mod common;
use common::any::{CLASSES, Given, Plan, Special, to_bits};
use common::{Mode, Random};
use xent_kernel::job::logits_type;
use xent_kernel::vector::{Fused, Scalar};

fn assert_within_contract(plan: &Plan) {
    assert_rows_within_contract(&plan.given(), plan);
}

fn assert_rows_within_contract(given: &Given, plan: &Plan) {
    for (output, how) in [(given.compute::<Scalar>(&[]), ""), (given.compute::<Fused>(&[]), "fused, ")] {
        if let Err(what) = given.verdict(&output) {
            panic!("{how}{what}: {plan:?}");
        }
    }
}

#[test]
fn any_distance_width_and_type() {
    let mut random = Random(1);
    for classes in CLASSES.iter().copied().step_by(2).chain([257, 1023, 2049]) {
        for distance in [0.0, 1e-6, 1e-3, 0.3, 3.0, 90.0] {
            for logits_type in [logits_type::F32, logits_type::F64, logits_type::F16, logits_type::BF16] {
                for (spread, offset) in [(0.5, 0.0), (8.0, 0.0), (3.0, 900.0)] {
                    assert_within_contract(&Plan {
                        seed: u64::from(random.bits()),
                        rows: 5,
                        classes,
                        logits_type,
                        spread,
                        offset,
                        teacher: Some(distance),
                        predictions: true,
                        mode: if random.below(2) == 0 { Mode::InPlace } else { Mode::Gradient },
                        temperature: [1.0, 0.5, 3.0][random.below(3)],
                        special: [Special::Nothing, Special::Masked, Special::Peak][random.below(3)],
                        ..Plan::default()
                    });
                }
            }
        }
    }
}

#[test]
fn distances_near_the_end_of_the_range_and_beyond() {
    let mut random = Random(2);
    let types = [
        (logits_type::F32, f64::from(f32::MAX)),
        (logits_type::F64, f64::MAX),
        (logits_type::F16, 65504.0),
        (logits_type::BF16, 2f64.powi(127)),
    ];
    for classes in [2, 3, 4, 10, 33, 257, 1100, 2049] {
        for (logits_type, most) in types {
            for temperature in [1.0, 0.125, 3.0] {
                for offset in [0.0, most, -0.5 * most] {
                    let plan = Plan {
                        seed: u64::from(random.bits()),
                        rows: 6,
                        classes,
                        logits_type,
                        teacher: Some(1.0),
                        mode: if random.below(2) == 0 { Mode::InPlace } else { Mode::Gradient },
                        temperature,
                        special: [Special::Nothing, Special::Masked][random.below(2)],
                        ..Plan::default()
                    };
                    let mut given = plan.given();
                    let targets = given.teacher.as_mut().unwrap();
                    for (i, (x, t)) in given.logits.iter_mut().zip(targets).enumerate() {
                        let target = [-most, -1500.0, -800.0, -140.0, -100.0, -9.0][random.below(6)];
                        match (i / classes, i % classes % 4) {
                            // Of one model, and where both have an offset that leaves nothing of what is beside it.
                            (0..2, 1) => (*x, *t) = (to_bits(-most, logits_type), to_bits(target, logits_type)),
                            (2, 1) => (*x, *t) = (to_bits(target, logits_type), to_bits(-most, logits_type)),
                            (3.., 0) => (*x, *t) = (to_bits(offset, logits_type), to_bits(offset, logits_type)),
                            (4, 1) => (*x, *t) = (to_bits(-most, logits_type), to_bits(0.25 * offset, logits_type)),
                            (5, 1) => *x = to_bits(-most, logits_type),
                            _ => {}
                        }
                    }
                    assert_rows_within_contract(&given, &plan);
                }
            }
        }
    }
}

/// The search `jobs` found this: the targets of the second tile have terms of 0, so both tiles are summed around the c of the row,
/// which the sums of the terms give only within 1e-7. The loss is less than the square of that.
#[test]
fn a_tile_without_targets_leaves_a_small_loss_its_digits() {
    for (k, logits_type) in
        [logits_type::F32, logits_type::F16, logits_type::BF16, logits_type::F64].into_iter().enumerate()
    {
        let (row, tile) = (2048, 1024);
        let plan = Plan {
            rows: 8,
            classes: row,
            logits_type,
            teacher: Some(0.0),
            spread: 0.0,
            mode: Mode::Forward,
            ..Plan::default()
        };
        let mut given = plan.given();
        let targets = given.teacher.as_mut().unwrap();
        for (i, (x, t)) in given.logits.iter_mut().zip(targets).enumerate() {
            let (row, class) = (i / row, i % row);
            let [logit, target] = match class {
                0 => [90.0 + row as f64, 256.0 + 2.0 * row as f64],
                1 => [0.0, 180.0],
                _ => [0.0, if class < tile { 0.0 } else { -2000.0 * (1 + k) as f64 }],
            };
            (*x, *t) = (to_bits(logit, logits_type), to_bits(target, logits_type));
        }
        assert_rows_within_contract(&given, &plan);
    }
}

#[test]
fn one_class_has_no_gradient() {
    let mut random = Random(3);
    for logits_type in [logits_type::F32, logits_type::F64] {
        let plan = Plan {
            seed: u64::from(random.bits()),
            rows: 200,
            classes: 1,
            logits_type,
            teacher: Some(4.0),
            mode: Mode::Gradient,
            temperature: 0.5,
            ..Plan::default()
        };
        let output = plan.given().compute::<Fused>(&[]);
        assert!(output.gradient.iter().all(|&g| g == 0.0), "{:?}", output.gradient);
    }
}
