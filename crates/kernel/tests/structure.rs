//! What must not change a result: how the rows are divided, where the gradient lies, which routine computes a row.

mod common;
use common::any::{Plan, Special};
use common::{Case, Mode, Random, run, run_as, run_split};
use xent_kernel::vector::Scalar;

/// Rows of all kinds: ordinary, confident, unlikely, far away, masked, broken.
fn mixed(random: &mut Random, rows: usize, classes: usize) -> Case {
    let mut case = Case::random(random, rows, classes, 8.0, 0.0);
    for row in 0..rows {
        let label = case.labels[row] as usize;
        let x = &mut case.logits[row * classes..][..classes];
        match random.below(12) {
            0 => x[label] += 60.0,
            1 => x[label] -= 45.0,
            2 => x.iter_mut().for_each(|x| *x += 1000.0),
            3 => x.iter_mut().for_each(|x| *x -= 30.0),
            4 => x[random.below(classes)] = f32::NEG_INFINITY,
            5 => x[random.below(classes)] = f32::NAN,
            6 => x[random.below(classes)] = 199.0,
            7 => case.labels[row] = -100,
            _ => {}
        }
    }
    case.ignore_index = Some(-100);
    case
}

#[test]
fn every_division_of_the_rows_gives_the_same_bits() {
    let mut random = Random(7);
    for classes in [1, 2, 3, 9, 10, 33, 64, 200, 257] {
        let rows = 300;
        let case = mixed(&mut random, rows, classes);
        let whole = run(&case);
        for _ in 0..10 {
            let mut cuts: Vec<u32> = (0..random.below(9)).map(|_| random.below(rows) as u32).collect();
            cuts.sort_unstable();
            let parts = run_as::<Scalar>(&case, Mode::Gradient, &cuts);
            assert_eq!(parts.bits(), whole.bits(), "{classes} classes, cut at {cuts:?}");
        }
    }
}

#[test]
fn a_gradient_in_place_has_the_same_bits() {
    let mut random = Random(9);
    for classes in [1, 5, 10, 64, 256, 257, 1000] {
        let case = mixed(&mut random, 60, classes);
        let apart = run(&case);
        assert_eq!(run_as::<Scalar>(&case, Mode::InPlace, &[]).bits(), apart.bits(), "{classes} classes");
        let forward = run_as::<Scalar>(&case, Mode::Forward, &[]);
        assert_eq!(
            forward.loss.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            apart.loss.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        );
        assert!(forward.gradient.iter().all(|&g| g == -77.0), "a gradient that was not requested");
    }
}

#[test]
fn ignored_rows_are_zero_whatever_their_logits_are() {
    for classes in [3, 300] {
        let mut case = Case::random(&mut Random(10), 5, classes, 3.0, 0.0);
        case.ignore_index = Some(1);
        case.labels = vec![0, 1, 2, 1, 0];
        case.logits[classes] = f32::NAN;
        let result = run(&case);
        assert_eq!((result.loss[1], result.loss[3]), (0.0, 0.0));
        assert!(result.gradient[classes..2 * classes].iter().all(|&g| g == 0.0));
        assert!(result.log_sum_exp[1].is_nan() && result.log_sum_exp[3].is_finite());
        let rounded = f64::from(result.loss[0]) + f64::from(result.loss[4]) + f64::from(result.loss[2]);
        // The sum is of the losses before they are rounded.
        assert!((result.sum - rounded).abs() <= rounded * 2f64.powi(-24), "{} and {rounded}", result.sum);
    }
}

#[test]
fn a_label_outside_of_the_classes_makes_a_nan_row() {
    for classes in [3, 300] {
        let mut case = Case::random(&mut Random(11), 4, classes, 3.0, 0.0);
        case.labels = vec![0, -1, classes as i32, i32::MAX];
        let result = run(&case);
        assert!(result.loss[0].is_finite());
        for row in 1..4 {
            assert!(result.loss[row].is_nan());
            assert!(result.gradient[row * classes..][..classes].iter().all(|g| g.is_nan()));
        }
    }
}

#[test]
fn predictions_are_the_first_of_equals() {
    for classes in [1, 2, 7, 40, 300] {
        for place in [0, classes / 3, classes - 1] {
            let mut case = Case::constant(2, classes, 1.0);
            for class in place..classes {
                case.logits[classes + class] = 2.5;
            }
            case.labels = vec![0, place as i32];
            let result = run(&case);
            assert_eq!(result.predictions, vec![0, place as i32]);
            assert_eq!(result.correct, 2.0);
        }
    }
}

#[test]
fn gradient_rows_sum_to_zero() {
    let case = Case::random(&mut Random(12), 50, 40, 5.0, 0.0);
    let result = run(&case);
    for row in 0..50 {
        let sum: f64 = result.gradient[row * 40..][..40].iter().map(|&g| f64::from(g)).sum();
        assert!(sum.abs() < 2e-7, "row {row}: {sum}");
    }
}

#[test]
fn a_row_in_segments_has_the_bits_of_the_whole_row() {
    let mut random = Random(12);
    for classes in [257, 8191, 8192, 8193, 20_000] {
        let case = mixed(&mut random, 40, classes);
        for mode in [Mode::Forward, Mode::Gradient, Mode::InPlace] {
            let whole = run_as::<Scalar>(&case, mode, &[]);
            let split = run_split::<Scalar>(&case, mode);
            assert_eq!(split.bits(), whole.bits(), "{classes} classes");
        }
    }
}

/// Found by proptest: a term below the window is 0 of either sign, as the anchor of its group has it.
#[test]
fn a_negative_scale_shows_the_division_of_the_rows_at_most_in_the_sign_of_a_zero() {
    let plan = Plan {
        seed: 115_121_105,
        rows: 5,
        classes: 22,
        special: Special::Masked,
        spread: 21.582_415,
        ..Plan::default()
    };
    for scale in [2.5, -2.5] {
        let given = Plan { scale, ..plan.clone() }.given();
        let (whole, parts) = (given.compute::<Scalar>(&[]), given.compute::<Scalar>(&[2]));
        assert_eq!(whole.gradient, parts.gradient);
        if scale > 0.0 {
            assert_eq!(whole.bits(), parts.bits());
        }
    }
}
