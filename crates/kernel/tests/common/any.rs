//! Jobs of any kind: every option, type and layout, in a memory of their own, and what the formula in `f64` says of the results.

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
    /// Elements that belong to nobody, between classes and between rows.
    pub class_gap: usize,
    pub row_gap: usize,
    pub spread: f32,
    pub offset: f32,
    pub special: Special,
    pub soft: bool,
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

/// Bytes of a job in the memory of the WebAssembly module.
const RECORD: usize = 144;
/// What no job may change.
const GUARD: u64 = 0xa5a5_a5a5_a5a5_a5a5;

/// A memory with all that a job needs in it, each part between guards. It begins with the record of the job as the
/// WebAssembly module reads it, if it lies at `base` there.
pub struct Image {
    words: Vec<Cell<u64>>,
    pub job: Job,
    pub scratch: usize,
    /// Of a row in segments; 0: none
    pub record: usize,
    elements: usize,
    /// From and to: what may change.
    writable: Vec<(usize, usize)>,
}

impl Image {
    /// With addresses relative to its start.
    pub fn of(given: &Given) -> Self {
        let (rows, classes) = (given.rows, given.classes);
        let size = match given.logits_type {
            logits_type::F64 => 8,
            logits_type::F32 => 4,
            _ => 2,
        };
        let elements = rows.div_ceil(given.inner) * given.row_stride;
        let mut end = RECORD;
        let mut writable = vec![(0, RECORD)];
        let mut place = |bytes: usize, writes: bool| {
            let at = end + 64;
            end = (at + bytes).next_multiple_of(8) + 64;
            if writes {
                writable.push((at, at + bytes));
            }
            at
        };
        let in_place = given.mode == Mode::InPlace;
        let logits = place(elements * size, in_place);
        let targets = given.targets.as_ref().map_or(0, |_| place(elements * 4, false));
        let gradient = match given.mode {
            Mode::Forward => 0,
            Mode::Gradient => place(elements * size.max(4), true),
            Mode::InPlace => logits,
        };
        let segments = if given.splits() && given.segments { classes.div_ceil(SEGMENT) } else { 0 };
        let job = Job {
            logits,
            labels: given.labels.as_ref().map_or(0, |_| place(rows * 4, false)),
            targets,
            gradient,
            loss: place(rows * 8, true),
            log_sum_exp: place(rows * if given.logits_type == logits_type::F64 { 8 } else { 4 }, true),
            predictions: if given.predictions { place(rows * 4, true) } else { 0 },
            class_weights: given.class_weights.as_ref().map_or(0, |_| place(classes * 4, false)),
            sample_weights: given.sample_weights.as_ref().map_or(0, |_| place(rows * 4, false)),
            rounded_loss: place(rows * 4, true),
            records: 0,
            classes: classes as u32,
            logits_type: given.logits_type,
            row_stride: given.row_stride as u32,
            class_stride: given.class_stride as u32,
            inner: given.inner as u32,
            ignore: u32::from(given.ignore_index.is_some()),
            ignore_index: given.ignore_index.unwrap_or(0),
            class_offset: 0,
            classes_total: classes as u32,
            merged: 0,
            reserved: 0,
            scale: given.scale,
            label_smoothing: given.smoothing,
            z_loss: given.z_loss,
            softcap: given.softcap,
            temperature: given.temperature,
            sum: 0.0,
            correct: 0.0,
        };
        let scratch = place(SCRATCH_BYTES, true);
        let record = if segments > 0 { place(HEADER_BYTES + segments * SEGMENT_BYTES, true) } else { 0 };
        let image = Self { words: vec![Cell::new(GUARD); end / 8], job, scratch, record, elements, writable };
        for row in 0..rows {
            for class in 0..classes {
                let at = given.place(row, class);
                image.put(logits + at * size, &given.logits[row * classes + class].to_le_bytes()[..size]);
                if let Some(all) = &given.targets {
                    image.put(targets + at * 4, &all[row * classes + class].to_le_bytes());
                }
            }
        }
        let numbers = |at: usize, all: &Option<Vec<f32>>| {
            for (i, x) in all.iter().flatten().enumerate() {
                image.put(at + 4 * i, &x.to_le_bytes());
            }
        };
        numbers(image.job.class_weights, &given.class_weights);
        numbers(image.job.sample_weights, &given.sample_weights);
        for (i, x) in given.labels.iter().flatten().enumerate() {
            image.put(image.job.labels + 4 * i, &x.to_le_bytes());
        }
        image
    }

    fn put(&self, at: usize, bytes: &[u8]) {
        for (i, &byte) in bytes.iter().enumerate() {
            let (word, shift) = (&self.words[(at + i) / 8], (at + i) % 8 * 8);
            word.set(word.get() & !(0xff << shift) | u64::from(byte) << shift);
        }
    }

    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        core::array::from_fn(|i| (self.words[(at + i) / 8].get() >> ((at + i) % 8 * 8)) as u8)
    }

    /// The job with addresses from `base` on.
    fn at(&self, base: usize) -> Job {
        let mut job = self.job;
        for address in [
            &mut job.logits,
            &mut job.labels,
            &mut job.targets,
            &mut job.gradient,
            &mut job.loss,
            &mut job.log_sum_exp,
            &mut job.predictions,
            &mut job.class_weights,
            &mut job.sample_weights,
            &mut job.rounded_loss,
        ] {
            *address = if *address == 0 { 0 } else { base + *address };
        }
        job
    }

    /// Computes the rows, those of a job that is not in segments in pieces that end at `cuts`.
    pub fn run<V: Single>(&mut self, rows: u32, cuts: &[u32]) {
        let base = self.words.as_ptr().expose_provenance();
        let mut job = self.at(base);
        let scratch = base + self.scratch;
        // SAFETY: the image has what `Image::of` has placed, as large as the fields say; it is used by nobody else.
        unsafe {
            if self.record == 0 {
                let mut begin = 0;
                for &end in cuts.iter().chain([&rows]) {
                    job.run::<V>(scratch, begin, end);
                    begin = end;
                }
            } else {
                let segments = (job.classes as usize).div_ceil(SEGMENT);
                for row in 0..rows {
                    let step =
                        |step: Step, segment| job.step::<V>(step, segment, scratch, base + self.record, row) == 1;
                    (0..segments).for_each(|segment| _ = step(Step::Sum, segment));
                    if step(Step::Finish, 0) {
                        (0..segments).for_each(|segment| _ = step(Step::Write, segment));
                    } else {
                        job.run::<V>(scratch, row, row + 1);
                    }
                }
            }
            job.reduce::<V>(0, rows);
        }
        (self.job.sum, self.job.correct) = (job.sum, job.correct);
    }

    /// Whether nothing was written but outputs: neither the inputs, nor what lies between them.
    pub fn is_intact(&self, given: &Given) -> bool {
        let before = Self::of(given);
        let size = if given.logits_type == logits_type::F64 { 8 } else { 4 };
        // What is between the entries of a gradient is nobody's either.
        let mut entries = vec![false; if self.job.gradient == 0 { 0 } else { self.elements }];
        for row in 0..given.rows {
            for class in 0..given.classes {
                if let Some(entry) = entries.get_mut(given.place(row, class)) {
                    *entry = true;
                }
            }
        }
        let may_change = |at: usize| {
            self.writable.iter().any(|&(from, to)| (from..to).contains(&at))
                && at
                    .checked_sub(self.job.gradient)
                    .filter(|_| self.job.gradient != 0)
                    .and_then(|at| entries.get(at / size))
                    .is_none_or(|&entry| entry)
        };
        let changed = (0..self.words.len()).filter(|&word| self.words[word] != before.words[word]);
        changed
            .flat_map(|word| 8 * word..8 * word + 8)
            .all(|at| self.get::<1>(at) == before.get::<1>(at) || may_change(at))
    }

    pub fn output(&self, given: &Given) -> Output {
        let rows = given.rows;
        let single = |at: usize| f32::from_le_bytes(self.get(at));
        let double = |at: usize| f64::from_le_bytes(self.get(at));
        let is_f64 = given.logits_type == logits_type::F64;
        let of_type = |at: usize, i: usize| if is_f64 { double(at + 8 * i) } else { f64::from(single(at + 4 * i)) };
        let mut gradient = Vec::new();
        if self.job.gradient != 0 {
            for row in 0..rows {
                for class in 0..given.classes {
                    let at = given.place(row, class);
                    gradient.push(of_type(self.job.gradient, at));
                }
            }
        }
        let predictions = if self.job.predictions == 0 { 0 } else { rows };
        Output {
            loss: (0..rows).map(|i| double(self.job.loss + 8 * i)).collect(),
            rounded_loss: (0..rows).map(|i| single(self.job.rounded_loss + 4 * i)).collect(),
            log_sum_exp: (0..rows).map(|i| of_type(self.job.log_sum_exp, i)).collect(),
            gradient,
            predictions: (0..predictions).map(|i| i32::from_le_bytes(self.get(self.job.predictions + 4 * i))).collect(),
            sum: self.job.sum,
            correct: self.job.correct,
        }
    }

    /// As it is to lie at `base` in the memory of the WebAssembly module.
    pub fn to_wasm(&self, base: usize) -> Vec<u8> {
        let job = self.at(base);
        let addresses = [
            job.logits,
            job.labels,
            job.targets,
            job.gradient,
            job.loss,
            job.log_sum_exp,
            job.predictions,
            job.class_weights,
            job.sample_weights,
            job.rounded_loss,
            job.records,
        ];
        let words = [
            job.classes,
            job.logits_type,
            job.row_stride,
            job.class_stride,
            job.inner,
            job.ignore,
            job.ignore_index as u32,
            job.class_offset,
            job.classes_total,
            job.merged,
            job.reserved,
        ];
        let numbers = [job.scale, job.label_smoothing, job.z_loss, job.softcap, job.temperature, job.sum, job.correct];
        let mut record: Vec<u8> = addresses.iter().flat_map(|&x| (x as u32).to_le_bytes()).collect();
        record.extend(words.iter().flat_map(|x| x.to_le_bytes()));
        record.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
        assert_eq!(record.len(), RECORD);
        record.extend(self.words.iter().flat_map(|x| x.get().to_le_bytes()).skip(RECORD));
        record
    }

    /// What the module has made of that.
    pub fn take_wasm(&mut self, bytes: &[u8]) {
        self.put(0, bytes);
        let last = |n: usize| f64::from_le_bytes(self.get(RECORD - 8 * n));
        (self.job.sum, self.job.correct) = (last(2), last(1));
    }
}

/// One row by the formula of test/golden/README.md.
pub struct ExactRow {
    pub loss: f64,
    pub log_sum_exp: f64,
    pub gradient: Vec<f64>,
    /// What the gradient's entries are differences of: their last places are all that can be asked.
    pub parts: Vec<f64>,
    pub best: i32,
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

    pub fn x(&self, row: usize) -> Vec<f64> {
        self.logits[row * self.classes..][..self.classes].iter().map(|&x| from_bits(x, self.logits_type)).collect()
    }

    fn transforms(&self) -> bool {
        self.softcap != 0.0 || self.temperature != 1.0
    }

    /// Whether there is nothing but logits and labels, whatever their type and layout.
    pub fn has_no_option(&self) -> bool {
        self.targets.is_none()
            && self.class_weights.is_none()
            && self.sample_weights.is_none()
            && self.smoothing == 0.0
            && self.z_loss == 0.0
            && !self.transforms()
    }

    pub fn is_plain(&self) -> bool {
        self.has_no_option() && self.logits_type == logits_type::F32 && self.class_stride == 1 && self.inner == 1
    }

    /// Whether several threads may share a row.
    pub fn splits(&self) -> bool {
        self.class_stride == 1 && self.classes > 256 && self.targets.is_none()
    }

    fn class(&self, row: usize) -> Option<usize> {
        usize::try_from(*self.labels.as_ref()?.get(row)?).ok().filter(|&class| class < self.classes)
    }

    fn is_ignored(&self, row: usize) -> bool {
        self.labels.as_ref().is_some_and(|labels| Some(labels[row]) == self.ignore_index)
    }

    pub fn exact(&self, row: usize) -> ExactRow {
        let classes = self.classes;
        let (c, t) = (self.softcap, self.temperature);
        let x = self.x(row);
        let y: Vec<f64> = x.iter().map(|&x| if c == 0.0 { x } else { c * (x / c).tanh() } / t).collect();
        let slope = |j: usize| if c == 0.0 { 1.0 } else { (x[j] / c).cosh().powi(-2) } / t;
        let class = self.class(row);
        let q: Vec<f64> = (0..classes)
            .map(|j| {
                let target = self
                    .targets
                    .as_ref()
                    .map_or(f64::from(u8::from(class == Some(j))), |all| f64::from(all[row * classes + j]));
                self.class_weights.as_ref().map_or(1.0, |w| f64::from(w[j]))
                    * ((1.0 - self.smoothing) * target + self.smoothing / classes as f64)
            })
            .collect();
        let top = (0..classes).fold(0, |best, j| if y[j] > y[best] || y[best].is_nan() { j } else { best });
        let broken = y.iter().any(|y| y.is_nan()) || y[top].is_infinite();
        let sum_but = |skip: usize| -> f64 { (0..classes).filter(|&j| j != skip).map(|j| (y[j] - y[top]).exp()).sum() };
        let rest = sum_but(top);
        let log_sum_exp = if broken { f64::NAN } else { y[top] + rest.ln_1p() };
        let (nan, nothing) = (vec![f64::NAN; classes], vec![0.0; classes]);
        if self.is_ignored(row) {
            let best = if broken { -1 } else { top as i32 };
            return ExactRow { loss: 0.0, log_sum_exp, gradient: nothing.clone(), parts: nothing, best };
        }
        if broken || self.targets.is_none() && class.is_none() {
            // Rows in f64 have a log-sum-exp all the same, where only the label is wrong.
            let (log_sum_exp, best) = (f64::NAN, -1);
            return ExactRow { loss: f64::NAN, log_sum_exp, gradient: nan, parts: nothing, best };
        }
        let nll = |j: usize| rest.ln_1p() + (y[top] - y[j]);
        let weighted: f64 = (0..classes).filter(|&j| q[j] != 0.0).map(|j| q[j] * nll(j)).sum();
        let total: f64 = q.iter().sum();
        let z = 2.0 * self.z_loss * log_sum_exp;
        let alpha = total + z;
        let sample = self.sample_weights.as_ref().map_or(1.0, |s| f64::from(s[row]));
        let reference = class.unwrap_or(top);
        let others = sum_but(reference) / (1.0 + rest);
        let p = |j: usize| (y[j] - y[top]).exp() / (1.0 + rest);
        let rest_of_targets: f64 = (0..classes).filter(|&j| j != reference).map(|j| q[j]).sum();
        let gradient = |j: usize| {
            let own = (rest_of_targets + z) * p(j) - q[j] * others;
            self.scale * sample * slope(j) * if j == reference { own } else { alpha * p(j) - q[j] }
        };
        let parts = |j: usize| {
            let size = (total.abs() + z.abs()) * p(j) + q[j].abs() * if j == reference { others } else { 1.0 };
            (self.scale * sample * slope(j)).abs() * size
        };
        ExactRow {
            loss: sample * (weighted + self.z_loss * log_sum_exp * log_sum_exp),
            log_sum_exp,
            gradient: (0..classes).map(gradient).collect(),
            parts: (0..classes).map(parts).collect(),
            best: top as i32,
        }
    }

    /// What is wrong with these results, if anything is.
    pub fn verdict(&self, output: &Output) -> Result<(), String> {
        let simple = self.has_no_option();
        let (loss_bound, gradient_bound) = match (simple, self.softcap == 0.0) {
            (true, _) => (LOSS_ULP, GRADIENT_ULP),
            (_, true) => (2.6, GRADIENT_ULP),
            _ => (3.0, 10.0),
        };
        // Also where f32 has no number for it.
        let same = |got: f64, exact: f64| got.is_nan() && exact.is_nan() || got == f64::from(exact as f32);
        let beyond = |error: f64, bound: f64| error.is_nan() || error > bound;
        for row in 0..self.rows {
            let exact = self.exact(row);
            let (loss, lse) = (output.rounded_loss[row], output.log_sum_exp[row]);
            let z = 2f64.powi(-22) * self.z_loss * exact.log_sum_exp.abs() * (1.0 + exact.log_sum_exp.abs());
            if !same(f64::from(loss), exact.loss)
                && beyond((f64::from(loss) - exact.loss).abs(), z)
                && beyond(ulp(loss, exact.loss), loss_bound)
            {
                return Err(format!("loss of row {row} is {loss}, exact {}", exact.loss));
            }
            let wrong_label_only = exact.log_sum_exp.is_nan() && self.class(row).is_none() && self.targets.is_none();
            let tolerance = 2.5e-7 * exact.log_sum_exp.abs().max(1.0);
            if !wrong_label_only && !same(lse, exact.log_sum_exp) && beyond((lse - exact.log_sum_exp).abs(), tolerance)
            {
                return Err(format!("log-sum-exp of row {row} is {lse}, exact {}", exact.log_sum_exp));
            }
            let entries = output.gradient.iter().skip(row * self.classes).take(self.classes);
            for (class, (&got, (&exact, &parts))) in entries.zip(exact.gradient.iter().zip(&exact.parts)).enumerate() {
                let vanishing = if simple { 0.0 } else { GRADIENT_ULP * 2f64.powi(-24) * parts };
                if !same(got, exact)
                    && beyond((got - exact).abs(), vanishing)
                    && beyond(ulp(got as f32, exact), gradient_bound)
                {
                    return Err(format!("gradient of row {row}, class {class} is {got}, exact {exact}"));
                }
            }
            if let Some(&prediction) = output.predictions.get(row)
                && !wrong_label_only
                && prediction != exact.best
                && !self.transforms()
            {
                return Err(format!("prediction of row {row} is {prediction}, exact {}", exact.best));
            }
        }
        Ok(())
    }
}
