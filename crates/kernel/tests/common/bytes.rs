//! A job from any bytes, for the fuzzer, and all that must hold of it.

use super::Mode;
use super::any::{Given, from_bits};
use xent_kernel::job::logits_type;
use xent_kernel::vector::{Fused, Scalar};

/// Bytes, again from their start where they end.
struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at % self.bytes.len().max(1)).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    fn word(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |word, i| word | u64::from(self.byte()) << (8 * i))
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Logits are any bits at all; a label is most often one of the classes.
pub fn decode(bytes: &[u8]) -> Given {
    let mut bytes = Bytes { bytes, at: 0 };
    let rows = 1 + bytes.below(9);
    // Most often few: those are quick.
    let classes = match bytes.word(2) as usize {
        many if many < 0x2000 => 1 + many % 1100,
        few => 1 + few % 40,
    };
    let logits_type = bytes.below(4) as u32;
    let flags = bytes.word(2);
    let flag = |i: u32| flags >> i & 1 == 1;
    // Half of the jobs are plain.
    let (options, layout) = (flag(0), flag(1));
    let inner = if layout { bytes.one(&[1, 3]) } else { 1 };
    let class_stride = inner + if layout { bytes.below(3) } else { 0 };
    let row_gap = if layout { bytes.below(5) } else { 0 };
    let logits_type = if options || layout { logits_type } else { logits_type::F32 };
    let size = match logits_type {
        logits_type::F64 => 8,
        logits_type::F32 => 4,
        _ => 2,
    };
    let mut pick = |of: &[f64], off: f64| if options { bytes.one(of) } else { off };
    let smoothing = pick(&[0.0, 0.1, 0.5, 0.999], 0.0);
    let z_loss = pick(&[0.0, 1e-4, 0.01, 1.0], 0.0);
    let softcap = pick(&[0.0, 1e-3, 5.0, 30.0, 1e30], 0.0);
    let temperature = pick(&[1.0, 0.5, 2.5, 1e-3, 1e20], 1.0);
    let scale = bytes.one(&[1.0, 0.125, 0.0, -2.5, 1e-12, 1e-30]);
    let mode = bytes.one(&[Mode::Forward, Mode::Gradient, Mode::InPlace]);
    let soft = options && flag(2);
    let labels: Vec<i32> = (0..rows)
        .map(|_| match bytes.byte() {
            255 => bytes.word(4) as i32,
            254 => -100,
            other => (usize::from(other) * 0x101 % classes) as i32,
        })
        .collect();
    let mut weights = |n: usize| -> Vec<f32> { (0..n).map(|_| f32::from(bytes.byte()) / 64.0).collect() };
    let class_weights = (options && flag(3)).then(|| weights(classes));
    let sample_weights = (options && flag(4)).then(|| weights(rows));
    let targets = soft.then(|| weights(rows * classes));
    Given {
        rows,
        classes,
        logits_type,
        logits: (0..rows * classes).map(|_| bytes.word(size)).collect(),
        labels: (!soft).then_some(labels),
        targets,
        teacher: None,
        class_weights,
        sample_weights,
        ignore_index: flag(5).then_some(-100),
        inner,
        class_stride,
        row_stride: (classes - 1) * class_stride + inner + row_gap,
        smoothing,
        z_loss,
        softcap,
        temperature,
        scale,
        mode: if size == 2 && mode == Mode::InPlace { Mode::Gradient } else { mode },
        predictions: flag(6),
        segments: flag(7),
    }
}

/// Panics where something does not hold.
pub fn check(bytes: &[u8]) {
    let given = decode(bytes);
    let output = given.compute::<Scalar>(&[]);
    let fused = given.compute::<Fused>(&[]);
    let cuts = [given.rows as u32 / 2];
    let mut others = vec![(given.compute::<Scalar>(&cuts), "in pieces")];
    if given.mode != Mode::Forward {
        for mode in [Mode::Gradient, Mode::InPlace] {
            if given.mode != mode && !matches!(given.logits_type, logits_type::F16 | logits_type::BF16) {
                others.push((Given { mode, ..given.clone() }.compute::<Scalar>(&[]), "with the gradient elsewhere"));
            }
        }
    }
    if given.splits() {
        let other = Given { segments: !given.segments, ..given.clone() };
        others.push((other.compute::<Scalar>(&[]), "in segments, or not"));
    }
    let bits = |mut output: super::any::Output| {
        // See `Job::scale`.
        output.gradient.iter_mut().for_each(|g| *g += if given.scale < 0.0 { 0.0 } else { -0.0 });
        output.bits()
    };
    let whole = bits(output.clone());
    for (other, how) in others {
        assert!(bits(other) == whole, "other bits {how}: {given:?}");
    }
    // With options the formula in f64 has its own troubles far from zero.
    let x = given.logits.iter().map(|&x| from_bits(x, given.logits_type));
    let most = if given.has_no_option() { 1e300 } else { 1000.0 };
    let moderate = given.softcap < 1e20 && (1e-2..1e10).contains(&given.temperature);
    if moderate && x.into_iter().all(|x| !x.is_finite() || x.abs() <= most) {
        for (output, how) in [(output, "plain"), (fused, "fused")] {
            if let Err(what) = given.verdict(&output) {
                panic!("{how}: {what}: {given:?}");
            }
        }
    }
}
