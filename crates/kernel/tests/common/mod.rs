//! Cases, the exact results, and a run of the kernel on them.
#![allow(dead_code)] // each test file uses a part

pub mod any;
pub mod bytes;

use any::{ExactRow, Given, Output, Plan};
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

/// Plain rows with given logits and labels.
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

impl Case {
    /// As a job, with predictions.
    fn given(&self, mode: Mode) -> Given {
        let (rows, classes) = (self.labels.len(), self.classes);
        let plan = Plan { rows, classes, scale: self.scale, mode, predictions: true, ..Plan::default() };
        Given {
            logits: self.logits.iter().map(|x| u64::from(x.to_bits())).collect(),
            labels: Some(self.labels.clone()),
            ignore_index: self.ignore_index,
            ..plan.given()
        }
    }
}

impl From<Output> for Results {
    fn from(output: Output) -> Self {
        let singles = |all: Vec<f64>| all.into_iter().map(|x| x as f32).collect();
        Self {
            loss: output.rounded_loss,
            log_sum_exp: singles(output.log_sum_exp),
            gradient: singles(output.gradient),
            predictions: output.predictions,
            sum: output.sum,
            correct: output.correct,
        }
    }
}

/// The whole job at once, with a gradient.
pub fn run(case: &Case) -> Results {
    run_as::<Scalar>(case, Mode::Gradient, &[])
}

/// The job in pieces that end at `cuts`.
pub fn run_as<V: Single>(case: &Case, mode: Mode, cuts: &[u32]) -> Results {
    case.given(mode).compute::<V>(cuts).into()
}

/// Every row in segments; as whole rows where they refuse that.
pub fn run_split<V: Single>(case: &Case, mode: Mode) -> Results {
    Given { segments: true, ..case.given(mode) }.compute::<V>(&[]).into()
}

/// One row by the formula in f64.
pub fn exact(case: &Case, row: usize) -> ExactRow {
    let logits = case.logits[row * case.classes..][..case.classes].to_vec();
    Case { logits, labels: vec![case.labels[row]], ..*case }.given(Mode::Forward).exact(0)
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
