//! Shards of the classes: what they know of a row is exact, and what all know together makes a gradient within the contract.

mod common;

use common::{Case, Random, exact, infinity, ulp};
use std::cell::Cell;
use xent_kernel::job::Job;
use xent_kernel::partial::RECORD_BYTES;
use xent_kernel::scratch::Scratch;
use xent_kernel::vector::{Scalar, Single};
use xent_kernel::{GRADIENT_ULP, LOSS_ULP};

const RECORD: usize = RECORD_BYTES / 8;
/// Places in a record: `Partial` and `Merged`.
const MAXIMUM: usize = 0;
const SUM: usize = 1;
const POWER: usize = 2;
const LABEL: usize = 3;

/// One row of a shard.
struct Shard {
    job: Job,
    record: [Cell<f64>; RECORD],
    logits: Vec<Cell<f32>>,
    gradient: Vec<Cell<f32>>,
    label: Cell<i32>,
}

impl Shard {
    fn of(case: &Case, begin: usize, end: usize) -> Self {
        let job = Job {
            classes: (end - begin) as u32,
            classes_total: case.classes as u32,
            class_offset: begin as u32,
            row_stride: (end - begin) as u32,
            class_stride: 1,
            inner: 1,
            scale: 1.0,
            temperature: 1.0,
            ..Job::default()
        };
        let logits: Vec<_> = case.logits[begin..end].iter().map(|&x| Cell::new(x)).collect();
        let gradient = logits.clone();
        Self { job, record: [const { Cell::new(0.0) }; RECORD], logits, gradient, label: Cell::new(case.labels[0]) }
    }

    fn run<V: Single>(&self, merged: bool, in_place: bool) {
        let scratch = vec![f64::NAN; size_of::<Scratch>().div_ceil(8)];
        let gradient = if in_place { &self.logits } else { &self.gradient };
        let job = Job {
            logits: self.logits.as_ptr().expose_provenance(),
            labels: std::ptr::from_ref(&self.label).expose_provenance(),
            gradient: gradient.as_ptr().expose_provenance(),
            records: self.record.as_ptr().expose_provenance(),
            merged: u32::from(merged),
            ..self.job
        };
        // SAFETY: all of it lives until the end of this function, in the sizes of the job.
        unsafe { job.run::<V>(scratch.as_ptr().expose_provenance(), 0, 1) }
    }

    fn get(&self, place: usize) -> f64 {
        self.record[place].get()
    }
}

/// Loss and gradient from shards, added in `f64`.
fn by_shards(case: &Case, cuts: &[usize], in_place: bool) -> (f64, Vec<f32>) {
    let shards: Vec<_> = cuts.windows(2).map(|cut| Shard::of(case, cut[0], cut[1])).collect();
    for shard in &shards {
        shard.run::<Scalar>(false, false);
    }
    let maximum = shards.iter().fold(f64::NEG_INFINITY, |most, shard| {
        if shard.get(MAXIMUM).is_nan() || most.is_nan() { f64::NAN } else { most.max(shard.get(MAXIMUM)) }
    });
    // The unit of a sum, relative to the maximum of all.
    let unit = |shard: &Shard| {
        let power = shard.get(POWER);
        let log = if power.is_nan() { shard.get(MAXIMUM) } else { power * std::f64::consts::LN_2 };
        if shard.get(SUM) == 0.0 { 0.0 } else { (log - maximum).exp() }
    };
    let others: f64 = shards.iter().map(|shard| shard.get(SUM) * unit(shard)).sum();
    let logit = shards.iter().map(|shard| shard.get(LABEL)).find(|x| !x.is_nan()).unwrap_or(f64::NAN);
    let own = (logit - maximum).exp();
    let broken = maximum.is_nan() || maximum == f64::NEG_INFINITY;
    let loss = if broken { f64::NAN } else { (others / own).ln_1p() };
    let mut gradient = Vec::new();
    for shard in &shards {
        let fill = if broken { f64::NAN } else { 1.0 };
        let place_of_label = f64::from(case.labels[0]) - f64::from(shard.job.class_offset);
        let merged = [fill, maximum, 1.0 / (others + own), -others / (others + own), 0.0, place_of_label];
        for (place, value) in merged.into_iter().enumerate() {
            shard.record[place].set(value);
        }
        shard.run::<Scalar>(true, in_place);
        gradient.extend((if in_place { &shard.logits } else { &shard.gradient }).iter().map(Cell::get));
    }
    (loss, gradient)
}

fn check(case: &Case, cuts: &[usize]) {
    let exact = exact(case, 0);
    let (loss, gradient) = by_shards(case, cuts, false);
    assert!(ulp(loss as f32, exact.loss) <= LOSS_ULP, "loss {loss}, exact {}, cuts {cuts:?}", exact.loss);
    for (class, (&got, &exact)) in gradient.iter().zip(&exact.gradient).enumerate() {
        assert!(ulp(got, exact) <= GRADIENT_ULP, "gradient of class {class}: {got}, exact {exact}, cuts {cuts:?}");
    }
    let bits = |all: &[f32]| all.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&by_shards(case, cuts, true).1), bits(&gradient), "in place");
}

#[test]
fn shards_together_keep_the_contract() {
    let mut random = Random(11);
    for classes in [1, 2, 3, 255, 257, 600, 1001, 20_000] {
        for (spread, offset) in [(1.0, 0.0), (8.0, 0.0), (30.0, 0.0), (8.0, 150.0), (8.0, -1000.0), (2.0, 1e6)] {
            for _ in 0..6 {
                let case = Case::random(&mut random, 1, classes, spread, offset);
                let mut cuts = vec![0, classes];
                for _ in 0..random.below(4) {
                    cuts.push(random.below(classes + 1));
                }
                cuts.sort_unstable();
                cuts.dedup();
                check(&case, &cuts);
            }
        }
    }
}

#[test]
fn confident_rows_keep_their_loss_in_shards() {
    let mut random = Random(12);
    for classes in [4, 1000] {
        for gap in [10.0, 30.0, 60.0, 80.0] {
            let mut case = Case::random(&mut random, 1, classes, 1.0, 0.0);
            case.logits[case.labels[0] as usize] += gap;
            check(&case, &[0, classes / 2, classes]);
        }
    }
}

#[test]
fn a_broken_shard_is_broken_and_a_masked_one_has_no_weight() {
    for classes in [4, 1000] {
        let cuts = [0, classes / 2, classes];
        for broken in [f32::NAN, infinity()] {
            // At the label, in its shard, and in the other one.
            for place in [1, 0, classes - 1] {
                let mut case = Case::constant(1, classes, 0.5);
                case.labels[0] = 1;
                case.logits[place] = broken;
                let (loss, gradient) = by_shards(&case, &cuts, false);
                assert!(loss.is_nan() && gradient.iter().all(|g| g.is_nan()), "{broken} at {place}");
            }
        }
        let mut case = Case::constant(1, classes, 0.5);
        case.logits[..classes / 2].fill(-infinity());
        case.labels[0] = (classes - 1) as i32;
        check(&case, &cuts);
    }
}
