//! Every product beside the same in `f64`, with tails in every dimension.

use xent_linear::product::{LOGITS_ITEM, Product, WEIGHT_ITEM, kind, scratch_bytes};
use xent_linear::tile::ROWS;
use xent_linear::vector::{Scalar, widen_bf16, widen_f16};

const U: f64 = 1.0 / (1 << 24) as f64;

struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f64::from(self.0) / 4_294_967_296.0 - 0.5) as f32
    }

    fn many(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

fn address<T>(memory: &[T]) -> usize {
    memory.as_ptr().expose_provenance()
}

fn address_mut<T>(memory: &mut [T]) -> usize {
    memory.as_mut_ptr().expose_provenance()
}

struct Case {
    rows: usize,
    features: usize,
    classes: usize,
    source: Vec<f32>,
    index: Vec<u32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    logits: Vec<f32>,
    packed: Vec<f32>,
    scratch: Vec<f64>,
}

impl Case {
    fn new(rows: usize, features: usize, classes: usize) -> Self {
        let mut random = Random((rows * 1_000_003 + features * 1009 + classes) as u32);
        let stride = classes.next_multiple_of(8);
        let padded = rows.next_multiple_of(ROWS);
        Self {
            rows,
            features,
            classes,
            source: random.many((2 * rows + 1) * features),
            // In another order, and not all.
            index: (0..rows).map(|row| (2 * (rows - row)) as u32).collect(),
            weight: random.many(classes * features),
            bias: random.many(classes),
            // Memory that was never written must not be read.
            logits: vec![f32::NAN; padded * stride],
            packed: vec![f32::NAN; padded * features.next_multiple_of(8)],
            scratch: vec![f64::NAN; scratch_bytes(rows, 16).div_ceil(8)],
        }
    }

    fn product(&mut self, kind: u32) -> Product {
        Product {
            kind,
            source: address(&self.source),
            index: address(&self.index),
            packed: address_mut(&mut self.packed),
            weight: address(&self.weight),
            bias: address(&self.bias),
            logits: address_mut(&mut self.logits),
            rows: self.rows as u32,
            features: self.features as u32,
            classes: self.classes as u32,
            stride: self.classes.next_multiple_of(8) as u32,
            columns: 16,
            scale: 0.5,
            ..Product::default()
        }
    }

    fn run(&mut self, product: &Product, items: usize) {
        let scratch = address_mut(&mut self.scratch);
        // One after the other, the last one first.
        for item in (0..items as u32).rev() {
            // SAFETY: every region has the size that its field asks for.
            unsafe { product.run::<Scalar>(scratch, item, item + 1) }
        }
    }

    fn feature(&self, row: usize, column: usize) -> f64 {
        f64::from(self.source[self.index[row] as usize * self.features + column])
    }

    fn logit(&self, row: usize, class: usize) -> f64 {
        f64::from(self.logits[row * self.classes.next_multiple_of(8) + class])
    }

    fn fill_gradient(&mut self) {
        let mut random = Random(7);
        let stride = self.classes.next_multiple_of(8);
        for row in 0..self.rows {
            for class in 0..self.classes {
                self.logits[row * stride + class] = random.next();
            }
        }
    }
}

/// The sum of products, and that of their sizes.
fn sum(terms: impl Iterator<Item = f64>) -> (f64, f64) {
    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
}

fn assert_near(got: f32, (exact, size): (f64, f64), bound: f64, what: &str) {
    let error = (f64::from(got) - exact).abs();
    assert!(error <= bound * U * size, "{what}: {got}, not {exact}: {} u of {size}", error / U / size);
}

const TAILS: [usize; 8] = [1, 3, 4, 5, 7, 8, 9, 17];

fn shapes() -> impl Iterator<Item = (usize, usize, usize)> {
    let tails = TAILS.into_iter();
    let small = tails.flat_map(|m| TAILS.into_iter().flat_map(move |d| TAILS.into_iter().map(move |v| (m, d, v))));
    small.chain([(5, 511, 3), (5, 512, 65), (6, 513, 130), (9, 1030, 70), (13, 20, 513), (3, 33, 1100), (50, 24, 100)])
}

#[test]
fn logits_are_within_the_bound() {
    for (rows, features, classes) in shapes() {
        let mut case = Case::new(rows, features, classes);
        let pack = case.product(kind::PACK_ROWS);
        case.run(&pack, rows.div_ceil(ROWS));
        let product = case.product(kind::LOGITS);
        case.run(&product, classes.div_ceil(LOGITS_ITEM));
        let bound = (features.min(512) + 2) as f64;
        for row in 0..rows {
            for class in 0..classes {
                let terms = (0..features)
                    .map(|k| case.feature(row, k) * f64::from(case.weight[class * features + k]))
                    .chain([f64::from(case.bias[class])]);
                let what = format!("[{rows}, {features}, {classes}] at {row}, {class}");
                assert_near(case.logit(row, class) as f32, sum(terms), bound, &what);
            }
        }
    }
}

#[test]
fn the_gradient_of_the_features_is_within_the_bound_and_only_in_the_rows_of_the_chunk() {
    for (rows, features, classes) in shapes() {
        let mut case = Case::new(rows, features, classes);
        case.fill_gradient();
        let mut gradient = vec![7.0f32; case.source.len()];
        let mut product = case.product(kind::FEATURES);
        product.features_gradient = address_mut(&mut gradient);
        case.run(&product, features.div_ceil(16));
        let bound = (classes.min(512) + 2) as f64;
        for row in 0..rows {
            for k in 0..features {
                let terms = (0..classes)
                    .map(|class| 0.5 * case.logit(row, class) * f64::from(case.weight[class * features + k]));
                let what = format!("[{rows}, {features}, {classes}] at {row}, {k}");
                let got = gradient[case.index[row] as usize * features + k];
                assert_near(got, sum(terms), bound, &what);
            }
        }
        for row in (0..=2 * rows).filter(|row| !case.index.contains(&(*row as u32))) {
            assert!(gradient[row * features..(row + 1) * features].iter().all(|x| *x == 7.0));
        }
    }
}

#[test]
fn the_gradients_of_weight_and_bias_are_within_the_bound_written_or_added() {
    for (rows, features, classes) in shapes() {
        for accumulate in [0, 1] {
            let mut case = Case::new(rows, features, classes);
            case.fill_gradient();
            let before = Random(3).many(classes * features + 1);
            let mut gradient = before.clone();
            let mut bias = vec![1.0f64; classes.next_multiple_of(4)];
            let pack = case.product(kind::PACK_COLUMNS);
            case.run(&pack, features.div_ceil(8));
            let mut product = case.product(kind::WEIGHT);
            product.weight_gradient = address_mut(&mut gradient);
            product.bias_gradient = address_mut(&mut bias);
            product.accumulate = accumulate;
            case.run(&product, classes.div_ceil(WEIGHT_ITEM));
            let bound = (rows + 4) as f64;
            for class in 0..classes {
                for k in 0..features {
                    let kept = if accumulate == 1 { f64::from(before[class * features + k]) } else { 0.0 };
                    let terms = (0..rows).map(|row| 0.5 * case.logit(row, class) * case.feature(row, k));
                    let what = format!("[{rows}, {features}, {classes}] at {class}, {k}");
                    assert_near(gradient[class * features + k], sum(terms.chain([kept])), bound, &what);
                }
                let terms = (0..rows).map(|row| 0.5 * case.logit(row, class)).chain([1.0]);
                assert_near(bias[class] as f32, sum(terms), 3.0, "bias");
            }
            assert_eq!(gradient.last(), before.last());
        }
    }
}

#[test]
fn numbers_of_16_bits_are_widened_exactly() {
    for bits in 0..=u16::MAX {
        let (sign, exponent, fraction) = (bits >> 15, (bits >> 10) & 31, f64::from(bits & 1023));
        let size = match exponent {
            0 => fraction * 2f64.powi(-24),
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
        };
        let got = f64::from(widen_f16(bits));
        assert!(got.abs() == size || (got.is_nan() && size.is_nan()), "{bits:x}: {got}");
        assert_eq!(got.is_sign_negative(), sign == 1, "{bits:x}");
        assert_eq!(widen_bf16(bits).to_bits(), u32::from(bits) << 16);
    }
}
