//! Jobs of any kind: every option, type and layout, in a memory of their own, and what the formula in `f64` says of the results.

mod divergence;
mod exact;
mod image;

pub use exact::ExactRow;
pub use image::Image;

use super::{Mode, Random, ulp};
use std::cell::Cell;
use xent_kernel::job::{Job, Step, logits_type};
use xent_kernel::partial::{HEADER_BYTES, SEGMENT_BYTES};
use xent_kernel::row::SEGMENT;
use xent_kernel::scratch::SCRATCH_BYTES;
use xent_kernel::vector::Single;
use xent_kernel::{GRADIENT_ULP, LOSS_ULP};

/// What a job is made from: small, so that a test that fails can print it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub rows: usize,
    pub classes: usize,
    pub logits_type: u32,
    pub inner: usize,
    /// Elements of padding, between classes and between rows.
    pub class_gap: usize,
    pub row_gap: usize,
    pub spread: f32,
    pub offset: f32,
    pub special: Special,
    pub soft: bool,
    /// The logits that the divergence is from: how far they are from the own ones, or none.
    pub teacher: Option<f32>,
    pub class_weights: bool,
    pub sample_weights: bool,
    pub ignore: bool,
    pub invalid: bool,
    pub smoothing: f64,
    pub z_loss: f64,
    pub softcap: f64,
    pub temperature: f64,
    pub scale: f64,
    pub mode: Mode,
    pub predictions: bool,
    /// Row by row, each in segments, where that is possible.
    pub segments: bool,
}

/// What the logits have in some places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Special {
    Nothing,
    /// -inf, not at the label
    Masked,
    /// One large logit a row: the label's, or another
    Peak,
    /// In every third row
    Broken(f32),
}

pub const CLASSES: [usize; 24] =
    [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 15, 16, 17, 31, 33, 63, 65, 100, 255, 256, 257, 300, 1030];

impl Default for Plan {
    /// A few plain rows, with a gradient.
    fn default() -> Self {
        Self {
            seed: 1,
            rows: 3,
            classes: 10,
            logits_type: logits_type::F32,
            inner: 1,
            class_gap: 0,
            row_gap: 0,
            spread: 8.0,
            offset: 0.0,
            special: Special::Nothing,
            soft: false,
            teacher: None,
            class_weights: false,
            sample_weights: false,
            ignore: false,
            invalid: false,
            smoothing: 0.0,
            z_loss: 0.0,
            softcap: 0.0,
            temperature: 1.0,
            scale: 1.0,
            mode: Mode::Gradient,
            predictions: false,
            segments: false,
        }
    }
}

impl Plan {
    /// Any of them; half of them plain.
    pub fn random(random: &mut Random) -> Self {
        fn one<T: Copy>(random: &mut Random, of: &[T]) -> T {
            of[random.below(of.len())]
        }
        let mut plan = Self {
            seed: u64::from(random.bits()),
            rows: 1 + random.below(9),
            classes: one(random, &CLASSES),
            spread: one(random, &[0.01, 1.0, 8.0, 40.0]),
            offset: one(random, &[0.0, 0.0, 12.5, -190.0, 1000.0]),
            special: one(random, &[Special::Nothing, Special::Nothing, Special::Masked, Special::Peak]),
            ignore: random.below(3) == 0,
            invalid: random.below(8) == 0,
            scale: one(random, &[1.0, 0.125, 3.7e-5, -2.5, 1e-12]),
            mode: one(random, &[Mode::Forward, Mode::Gradient, Mode::Gradient, Mode::InPlace]),
            predictions: random.below(2) == 0,
            segments: random.below(3) == 0,
            ..Self::default()
        };
        if random.below(8) == 0 {
            plan.special = Special::Broken(one(random, &[f32::NAN, f32::INFINITY]));
        }
        if random.below(2) == 0 {
            plan.logits_type = random.below(4) as u32;
            plan.inner = one(random, &[1, 1, 3, 5, 8]);
            plan.class_gap = one(random, &[0, 0, 2]);
            plan.row_gap = one(random, &[0, 5]);
            plan.soft = random.below(4) == 0;
            plan.class_weights = random.below(3) == 0;
            plan.sample_weights = random.below(3) == 0;
            plan.smoothing = one(random, &[0.0, 0.0, 0.1, 0.5]);
            plan.z_loss = one(random, &[0.0, 0.0, 1e-4, 0.01]);
            plan.softcap = one(random, &[0.0, 0.0, 5.0, 30.0]);
            plan.temperature = one(random, &[1.0, 1.0, 0.5, 2.5]);
        }
        plan
    }

    pub fn given(&self) -> Given {
        let mut random = Random(self.seed);
        let (rows, classes) = (self.rows, self.classes);
        let (mut logits, mut labels) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let label = random.below(classes);
            let peak = random.below(classes);
            for class in 0..classes {
                let mut x = self.offset + self.spread * random.unit();
                match self.special {
                    Special::Masked if class != label && class % 3 == row % 3 => x = f32::NEG_INFINITY,
                    Special::Peak if class == if row % 2 == 0 { label } else { peak } => x += 45.0,
                    Special::Broken(bad) if class == peak && row % 3 == 0 => x = bad,
                    _ => {}
                }
                logits.push(to_bits(f64::from(x), self.logits_type));
            }
            labels.push(match row % 4 {
                1 if self.ignore => IGNORED,
                2 if self.invalid => [-1, classes as i32, i32::MIN][random.below(3)],
                _ => label as i32,
            });
        }
        if let Some(distance) = self.teacher {
            return self.divergence(logits, distance, &mut random);
        }
        let mut positive = |n: usize, from: f32| -> Vec<f32> { (0..n).map(|_| from + random.unit().abs()).collect() };
        let in_place = self.mode == Mode::InPlace && matches!(self.logits_type, logits_type::F32 | logits_type::F64);
        let class_stride = self.inner + self.class_gap;
        Given {
            rows,
            classes,
            logits_type: self.logits_type,
            logits,
            targets: self.soft.then(|| positive(rows * classes, 0.0).iter().map(|t| t / classes as f32).collect()),
            class_weights: self.class_weights.then(|| positive(classes, 0.25)),
            sample_weights: self.sample_weights.then(|| positive(rows, 0.25)),
            teacher: None,
            labels: (!self.soft).then_some(labels),
            ignore_index: self.ignore.then_some(IGNORED),
            inner: self.inner,
            class_stride,
            row_stride: (classes - 1) * class_stride + self.inner + self.row_gap,
            smoothing: self.smoothing,
            z_loss: self.z_loss,
            softcap: self.softcap,
            temperature: self.temperature,
            scale: self.scale,
            mode: if self.mode == Mode::InPlace && !in_place { Mode::Gradient } else { self.mode },
            predictions: self.predictions,
            segments: self.segments,
        }
    }

    /// The same logits beside others, so far away: of the options there are the temperature and sample weights.
    fn divergence(&self, logits: Vec<u64>, distance: f32, random: &mut Random) -> Given {
        let plain = Self {
            soft: false,
            teacher: None,
            class_weights: false,
            sample_weights: false,
            ignore: false,
            smoothing: 0.0,
            z_loss: 0.0,
            softcap: 0.0,
            segments: false,
            ..self.clone()
        };
        let targets = logits.iter().enumerate().map(|(i, &x)| {
            let (row, class) = (i / self.classes, i % self.classes);
            let x = from_bits(x, self.logits_type) + f64::from(distance * random.unit());
            let x = match row % 5 {
                3 if class % 4 == 1 => f64::NEG_INFINITY,
                4 => x + 700.25,
                _ => x,
            };
            to_bits(x, self.logits_type)
        });
        let teacher = Some(targets.collect());
        let sample_weights = self.sample_weights.then(|| (0..self.rows).map(|row| (row % 3) as f32 / 2.0).collect());
        Given { logits, teacher, labels: None, sample_weights, ..plain.given() }
    }
}

const IGNORED: i32 = -100;

/// All that a job reads.
#[derive(Clone, Debug)]
pub struct Given {
    pub rows: usize,
    pub classes: usize,
    pub logits_type: u32,
    /// [rows, classes], bits of the type
    pub logits: Vec<u64>,
    pub labels: Option<Vec<i32>>,
    pub targets: Option<Vec<f32>>,
    /// As the logits: those that the divergence is from.
    pub teacher: Option<Vec<u64>>,
    pub class_weights: Option<Vec<f32>>,
    pub sample_weights: Option<Vec<f32>>,
    pub ignore_index: Option<i32>,
    pub inner: usize,
    pub class_stride: usize,
    pub row_stride: usize,
    pub smoothing: f64,
    pub z_loss: f64,
    pub softcap: f64,
    pub temperature: f64,
    pub scale: f64,
    pub mode: Mode,
    pub predictions: bool,
    pub segments: bool,
}

/// What it writes.
#[derive(Clone, Debug)]
pub struct Output {
    /// Before they are rounded.
    pub loss: Vec<f64>,
    pub rounded_loss: Vec<f32>,
    pub log_sum_exp: Vec<f64>,
    /// [rows, classes], or nothing
    pub gradient: Vec<f64>,
    pub predictions: Vec<i32>,
    pub sum: f64,
    pub correct: f64,
}

impl Output {
    /// Everything, with one NaN: which of them it is, is the machine's choice.
    pub fn bits(&self) -> Vec<u64> {
        let canonical = |x: f64| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() };
        let floats = self.loss.iter().chain(&self.log_sum_exp).copied();
        floats
            .chain(self.rounded_loss.iter().map(|&x| f64::from(x)))
            .chain(self.gradient.iter().copied())
            .chain([self.sum, self.correct])
            .map(canonical)
            .chain(self.predictions.iter().map(|&x| x as u64))
            .collect()
    }
}

pub fn to_bits(x: f64, logits_type: u32) -> u64 {
    let single = (x as f32).to_bits();
    let sign = single >> 16 & 0x8000;
    u64::from(match logits_type {
        logits_type::F64 => return x.to_bits(),
        logits_type::BF16 if x.is_nan() => 0x7fc0,
        logits_type::BF16 => single >> 16,
        // Cut off: any number will do.
        logits_type::F16 if x.is_nan() => 0x7e00,
        logits_type::F16 if x.is_infinite() => sign | 0x7c00,
        logits_type::F16 if x.abs() >= 65504.0 => sign | 0x7bff,
        logits_type::F16 if x.abs() < 2f64.powi(-14) => sign | (x.abs() * 2f64.powi(24)) as u32,
        logits_type::F16 => sign | ((single & 0x7fff_ffff) - (112 << 23)) >> 13,
        _ => single,
    })
}

pub fn from_bits(bits: u64, logits_type: u32) -> f64 {
    match logits_type {
        logits_type::F64 => f64::from_bits(bits),
        logits_type::F16 => {
            let (exponent, digits) = ((bits >> 10 & 31) as i32, (bits & 1023) as f64);
            let size = match exponent {
                0 => digits * 2f64.powi(-24),
                31 if digits == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + digits) * 2f64.powi(exponent - 25),
            };
            if bits & 0x8000 == 0 { size } else { -size }
        }
        logits_type::BF16 => f64::from(f32::from_bits((bits as u32) << 16)),
        _ => f64::from(f32::from_bits(bits as u32)),
    }
}

impl Given {
    pub fn compute<V: Single>(&self, cuts: &[u32]) -> Output {
        let mut image = Image::of(self);
        image.run::<V>(self.rows as u32, cuts);
        assert!(image.is_intact(self), "something was written that is no output");
        image.output(self)
    }

    pub fn place(&self, row: usize, class: usize) -> usize {
        row / self.inner * self.row_stride + row % self.inner + class * self.class_stride
    }

    pub fn is_plain(&self) -> bool {
        self.has_no_option() && self.logits_type == logits_type::F32 && self.class_stride == 1 && self.inner == 1
    }

    /// Whether several threads may share a row.
    pub fn splits(&self) -> bool {
        self.class_stride == 1 && self.classes > 256 && self.teacher.is_none()
    }
}
