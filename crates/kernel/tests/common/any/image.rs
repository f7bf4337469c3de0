//! A job in a memory of its own, as it is run here or by the wasm.

use super::*;

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
        let targets = match (&given.targets, &given.teacher) {
            (None, None) => 0,
            (Some(_), _) => place(elements * 4, false),
            (_, Some(_)) => place(elements * size, false),
        };
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
            divergence: u32::from(given.teacher.is_some()),
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
                if let Some(all) = &given.teacher {
                    image.put(targets + at * size, &all[row * classes + class].to_le_bytes()[..size]);
                }
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
        // SAFETY: the image has what `Image::of` has placed, as large as the fields say, and nothing else uses it.
        unsafe {
            if self.record == 0 {
                let mut begin = 0;
                for &end in cuts.iter().chain([&rows]) {
                    job.run::<V>(scratch, begin, end);
                    begin = end;
                }
            } else {
                let mut order: Vec<usize> = (0..(job.classes as usize).div_ceil(SEGMENT)).collect();
                let mut random = Random(u64::from(rows) << 32 | u64::from(job.classes));
                for row in 0..rows {
                    order.sort_by_key(|_| random.bits());
                    let step =
                        |step: Step, segment| job.step::<V>(step, segment, scratch, base + self.record, row) == 1;
                    if job.targets != 0 {
                        order.iter().for_each(|&segment| _ = step(Step::Find, segment));
                    }
                    order.iter().for_each(|&segment| _ = step(Step::Sum, segment));
                    if step(Step::Finish, 0) {
                        order.iter().rev().for_each(|&segment| _ = step(Step::Write, segment));
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
        // The space between the entries of a gradient is padding, too.
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
            job.divergence,
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
