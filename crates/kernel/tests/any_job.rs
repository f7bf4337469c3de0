//! Any job at all, against the formula in `f64`: types, layouts, options, labels, special values, alone and combined.
//!
//! The cases are the same everywhere. `PROPTEST_CASES=100000 cargo test --release -p xent-kernel --test any_job` searches
//! others, as many.

mod common;
use common::any::{CLASSES, Plan, Special};
use common::{Mode, Random};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use xent_kernel::vector::{Fused, Scalar};

/// Whether this run searches for new findings.
fn searches() -> bool {
    std::env::var_os("PROPTEST_CASES").is_some()
}

fn config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if searches() { default } else { ProptestConfig { cases: 800, rng_seed: RngSeed::Fixed(1), ..default } }
}

fn plan() -> impl Strategy<Value = Plan> {
    let special = select(vec![
        Special::Nothing,
        Special::Masked,
        Special::Peak,
        Special::Broken(f32::NAN),
        Special::Broken(f32::INFINITY),
    ]);
    let modes = select(vec![Mode::Forward, Mode::Gradient, Mode::InPlace]);
    let classes = prop_oneof![1..40usize, select(CLASSES.to_vec())];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let layout = (0..4u32, select(vec![1usize, 3, 4, 9]), select(vec![0usize, 0, 2]), 0..6usize);
    let weights = (any::<bool>(), any::<bool>(), any::<bool>(), select(vec![0.0, 0.1, 0.5]));
    let transforms = (select(vec![0.0, 1e-4, 0.01]), select(vec![0.0, 5.0, 30.0]), select(vec![1.0, 0.5, 2.5]));
    let options = prop_oneof![Just(None), (layout, weights, transforms).prop_map(Some)];
    let teacher = prop_oneof![3 => Just(None), 1 => select(vec![0.0f32, 1e-4, 0.01, 0.7, 5.0, 90.0]).prop_map(Some)];
    let options = (options, teacher);
    let logits = (0.0..40.0f32, select(vec![0.0f32, -0.1875, 12.5, -190.0, 1000.0, -65_000.0]), special);
    (any::<u32>(), 1..14usize, classes, logits, flags, modes, select(vec![1.0, 0.125, -2.5, 3.7e-5]), options).prop_map(
        |(seed, rows, classes, logits, (ignore, invalid, predictions, segments), mode, scale, (options, teacher))| {
            let (spread, offset, special) = logits;
            let nothing = ((0, 1, 0, 0), (false, false, false, 0.0), (0.0, 0.0, 1.0));
            let (layout, weights, transforms) = options.unwrap_or(nothing);
            let (logits_type, inner, class_gap, row_gap) = layout;
            let (soft, class_weights, sample_weights, smoothing) = weights;
            let (z_loss, softcap, temperature) = transforms;
            Plan {
                seed: u64::from(seed),
                rows,
                classes,
                logits_type,
                inner,
                class_gap,
                row_gap,
                spread,
                offset,
                special,
                soft,
                teacher,
                class_weights,
                sample_weights,
                ignore,
                invalid,
                smoothing,
                z_loss,
                softcap,
                temperature,
                scale,
                mode,
                predictions,
                segments,
            }
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn follows_the_formula_within_the_contract(plan in plan()) {
        let given = plan.given();
        let verdict = given.verdict(&given.compute::<Scalar>(&[]));
        prop_assert!(verdict.is_ok(), "{}", verdict.unwrap_err());
        let verdict = given.verdict(&given.compute::<Fused>(&[]));
        prop_assert!(verdict.is_ok(), "fused, {}", verdict.unwrap_err());
    }

    #[test]
    fn has_the_same_bits_in_pieces_in_place_and_in_segments(plan in plan(), cut in 0..9u32) {
        let bits_of = |plan: &Plan, cuts: &[u32]| {
            let mut output = plan.given().compute::<Scalar>(cuts);
            if plan.scale < 0.0 {
                // A term below the window is 0 of either sign, as the anchor of its group has it: see `Job::scale`.
                output.gradient.iter_mut().for_each(|g| *g += 0.0);
            }
            output.bits()
        };
        let apart = Plan { mode: Mode::Gradient, segments: false, ..plan.clone() };
        let whole = bits_of(&apart, &[]);
        prop_assert_eq!(&bits_of(&apart, &[cut.min(plan.rows as u32)]), &whole);
        prop_assert_eq!(&bits_of(&Plan { mode: Mode::InPlace, ..apart.clone() }, &[]), &whole);
        prop_assert_eq!(&bits_of(&Plan { segments: true, ..apart }, &[]), &whole);
    }

    #[test]
    fn rows_do_not_know_one_another(plan in plan(), seed in any::<u32>()) {
        // A broken row must not affect any other.
        let mut given = Plan { special: Special::Peak, segments: false, ..plan }.given();
        let before = given.compute::<Scalar>(&[]);
        let (row, mut random) = (seed as usize % given.rows, Random(u64::from(seed)));
        for other in (0..given.rows).filter(|&other| other != row) {
            for class in 0..given.classes {
                given.logits[other * given.classes + class] = u64::from(random.bits()) << 1 | u64::from(random.bits()) << 32;
            }
        }
        let after = given.compute::<Scalar>(&[]);
        let bits = |x: f64| if x.is_nan() { 0 } else { x.to_bits() };
        // A term so small that f32 has no number for it may go or stay: the neighbours choose what it is divided by.
        let (one, other) = (before.loss[row], after.loss[row]);
        prop_assert!((one - other).abs() <= one.abs() * 2f64.powi(-48) || bits(one) == bits(other), "{one:e} or {other:e}");
        prop_assert_eq!(bits(before.rounded_loss[row].into()), bits(after.rounded_loss[row].into()));
        prop_assert_eq!(bits(before.log_sum_exp[row]), bits(after.log_sum_exp[row]));
        let entries = |all: &[f64]| -> Vec<u64> {
            let of_row = all.iter().skip(row * given.classes).take(given.classes);
            of_row.map(|x| if x.is_nan() { 0 } else { x.to_bits() }).collect()
        };
        prop_assert_eq!(entries(&before.gradient), entries(&after.gradient));
    }
}
