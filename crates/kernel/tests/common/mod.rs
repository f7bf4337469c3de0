//! Cases, the exact results, and a run of the kernel on them.
#![allow(dead_code)] // each test file uses a part

pub mod any;
pub mod bytes;

use std::cell::Cell;
use xent_kernel::job::{Job, Step};
use xent_kernel::partial::{Header, Segment};
use xent_kernel::row::SEGMENT;
use xent_kernel::scratch::Scratch;
use xent_kernel::vector::{Scalar, Single};

pub fn infinity() -> f32 {
    f32::INFINITY
}

pub fn neg(x: f32) -> f32 {
    -x
}

/// A small generator: the tests must give the same cases everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// In [-1, 1).
    pub fn unit(&mut self) -> f32 {
        self.bits() as f32 / (1u32 << 30) as f32 - 1.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.bits() as usize % n
    }
}

#[derive(Clone)]
pub struct Case {
    pub classes: usize,
    pub logits: Vec<f32>,
    pub labels: Vec<i32>,
    pub ignore_index: Option<i32>,
    pub scale: f64,
}

impl Case {
    pub fn constant(rows: usize, classes: usize, logit: f32) -> Self {
        Self { classes, logits: vec![logit; rows * classes], labels: vec![0; rows], ignore_index: None, scale: 1.0 }
    }

    pub fn random(random: &mut Random, rows: usize, classes: usize, spread: f32, offset: f32) -> Self {
        let mut case = Self::constant(rows, classes, offset);
        for logit in &mut case.logits {
            *logit += spread * random.unit();
        }
        for label in &mut case.labels {
            *label = random.below(classes) as i32;
        }
        case
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    pub loss: Vec<f32>,
    pub log_sum_exp: Vec<f32>,
    pub gradient: Vec<f32>,
    pub predictions: Vec<i32>,
    pub sum: f64,
    pub correct: f64,
}

impl Results {
    /// Everything, so that NaN equals itself and -0 does not equal 0.
    pub fn bits(&self) -> Vec<u64> {
        let floats = self.loss.iter().chain(&self.log_sum_exp).chain(&self.gradient).map(|x| u64::from(x.to_bits()));
        floats.chain(self.predictions.iter().map(|&x| x as u64)).chain([self.sum.to_bits()]).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Forward,
    Gradient,
    InPlace,
}

/// The whole job at once, with a gradient.
pub fn run(case: &Case) -> Results {
    run_as::<Scalar>(case, Mode::Gradient, &[])
}

/// The job in pieces that end at `cuts`, each with new scratch memory.
pub fn run_as<V: Single>(case: &Case, mode: Mode, cuts: &[u32]) -> Results {
    run_with(case, mode, |job| {
        let mut begin = 0;
        for &end in cuts.iter().chain([&(case.labels.len() as u32)]) {
            run_rows::<V>(job, begin, end);
            begin = end;
        }
    })
}

/// Every row in segments, taken in an order of their own; as whole rows where they refuse that.
pub fn run_split<V: Single>(case: &Case, mode: Mode, random: &mut Random) -> Results {
    run_with(case, mode, |job| {
        for row in 0..case.labels.len() as u32 {
            let segments = case.classes.div_ceil(SEGMENT);
            let record = vec![f64::NAN; (size_of::<Header>() + segments * size_of::<Segment>()) / 8];
            let scratch = vec![f64::NAN; size_of::<Scratch>().div_ceil(8)];
            let step = |step: Step, segment: usize| {
                let [scratch, record] = [&scratch, &record].map(|memory| memory.as_ptr().expose_provenance());
                // SAFETY: as for `run_rows`, and the record has room for a header and the segments.
                unsafe { job.step::<V>(step, segment, scratch, record, row) == 1 }
            };
            let mut order: Vec<usize> = (0..segments).collect();
            order.sort_by_key(|_| random.bits());
            order.iter().for_each(|&segment| _ = step(Step::Sum, segment));
            if step(Step::Finish, 0) {
                order.iter().rev().for_each(|&segment| _ = step(Step::Write, segment));
            } else {
                run_rows::<V>(job, row, row + 1);
            }
        }
    })
}

fn run_rows<V: Single>(job: &Job, begin: u32, end: u32) {
    // All bytes of it may have any value.
    let scratch = vec![f64::NAN; size_of::<Scratch>().div_ceil(8)];
    // SAFETY: the vectors of `run_with` have the sizes that the record's fields ask for, and nothing else uses them.
    unsafe { job.run::<V>(scratch.as_ptr().expose_provenance(), begin, end) };
}

fn run_with(case: &Case, mode: Mode, compute: impl FnOnce(&Job)) -> Results {
    let rows = case.labels.len();
    let cells = |n: usize| vec![Cell::new(-77.0f32); n];
    let logits: Vec<Cell<f32>> = case.logits.iter().copied().map(Cell::new).collect();
    let (rounded, log_sum_exp, gradient) = (cells(rows), cells(rows), cells(case.logits.len()));
    let loss = vec![Cell::new(-77.0f64); rows];
    let predictions = vec![Cell::new(-77i32); rows];
    let expose = |p: &[Cell<f32>]| p.as_ptr().expose_provenance();
    let mut job = Job {
        logits: expose(&logits),
        labels: case.labels.as_ptr().expose_provenance(),
        gradient: match mode {
            Mode::Forward => 0,
            Mode::Gradient => expose(&gradient),
            Mode::InPlace => expose(&logits),
        },
        loss: loss.as_ptr().expose_provenance(),
        rounded_loss: expose(&rounded),
        log_sum_exp: expose(&log_sum_exp),
        predictions: predictions.as_ptr().expose_provenance(),
        classes: case.classes as u32,
        row_stride: case.classes as u32,
        class_stride: 1,
        inner: 1,
        temperature: 1.0,
        ignore: u32::from(case.ignore_index.is_some()),
        ignore_index: case.ignore_index.unwrap_or(0),
        scale: case.scale,
        ..Job::default()
    };
    compute(&job);
    // SAFETY: as for `run_rows`.
    unsafe { job.reduce::<Scalar>(0, rows as u32) };
    let values = |cells: &[Cell<f32>]| cells.iter().map(Cell::get).collect();
    Results {
        loss: values(&rounded),
        log_sum_exp: values(&log_sum_exp),
        gradient: values(if mode == Mode::InPlace { &logits } else { &gradient }),
        predictions: predictions.iter().map(Cell::get).collect(),
        sum: job.sum,
        correct: job.correct,
    }
}

pub struct Exact {
    pub loss: f64,
    pub log_sum_exp: f64,
    pub gradient: Vec<f64>,
}

/// In f64, with the maximum left out of the sum.
pub fn exact(case: &Case, row: usize) -> Exact {
    let x: Vec<f64> = case.logits[row * case.classes..][..case.classes].iter().map(|&x| f64::from(x)).collect();
    let y = case.labels[row] as usize;
    let top = (0..x.len()).fold(0, |best, j| if x[j] > x[best] { j } else { best });
    let sum_but = |skip: usize| -> f64 { (0..x.len()).filter(|&j| j != skip).map(|j| (x[j] - x[top]).exp()).sum() };
    let rest = sum_but(top);
    Exact {
        loss: rest.ln_1p() + (x[top] - x[y]),
        log_sum_exp: x[top] + rest.ln_1p(),
        gradient: (0..x.len())
            .map(
                |j| if j == y { -sum_but(y) / (1.0 + rest) } else { (x[j] - x[top]).exp() / (1.0 + rest) } * case.scale,
            )
            .collect(),
    }
}

/// Distance in units of the last place of the exact value; 0 where that is not a normal f32 and the result is below 2^-125.
pub fn ulp(got: f32, exact: f64) -> f64 {
    if exact.abs() < f64::from(f32::MIN_POSITIVE) {
        return if f64::from(got.abs()) < 2.0 * f64::from(f32::MIN_POSITIVE) { 0.0 } else { f64::INFINITY };
    }
    if exact.abs() > f64::from(f32::MAX) {
        return if f64::from(got) == f64::INFINITY.copysign(exact) {
            0.0
        } else {
            (f64::from(got) - exact).abs() / 2f64.powi(104)
        };
    }
    (f64::from(got) - exact).abs() / 2f64.powi(exact.abs().log2().floor() as i32 - 23)
}
