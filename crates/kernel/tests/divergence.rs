//! The divergence between two rows of logits: what the contract says of it.

mod common;
use common::any::{CLASSES, Plan, Special};
use common::{Mode, Random};
use xent_kernel::job::logits_type;
use xent_kernel::vector::{Fused, Scalar};

fn assert_within_contract(plan: &Plan) {
    let given = plan.given();
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
