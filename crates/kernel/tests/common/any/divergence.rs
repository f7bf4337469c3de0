//! What the formula in `f64` says of a divergence, and whether results keep the contract.

use super::*;
use xent_kernel::{DIVERGENCE, DIVERGENCE_GRADIENT_ULP};

/// A softmax: a fourth of each distance from the largest logit, which does not overflow; e^(y - largest), their sum, and the largest.
struct Softmax {
    fourths: Vec<f64>,
    terms: Vec<f64>,
    sum: f64,
    largest: f64,
}

impl Softmax {
    /// None where a row has NaN or +inf, or nothing but -inf.
    fn of(bits: &[u64], given: &Given) -> Option<Self> {
        let x: Vec<f64> = bits.iter().map(|&x| from_bits(x, given.logits_type)).collect();
        let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !largest.is_finite() || x.iter().any(|x| x.is_nan()) {
            return None;
        }
        // Before the division: what both rows have in common goes first.
        let fourths: Vec<f64> = x.iter().map(|x| 0.25 * x - 0.25 * largest).collect();
        let terms: Vec<f64> = fourths.iter().map(|x| (4.0 * (x / given.temperature)).exp()).collect();
        Some(Self { sum: terms.iter().sum(), fourths, terms, largest: largest / given.temperature })
    }
}

/// e^r - 1 - r
fn excess(r: f64) -> f64 {
    if r.abs() > 0.5 {
        return r.exp_m1() - r;
    }
    (2..20).rev().fold(0.0, |sum, k| (1.0 + sum) * r / f64::from(k)) * r
}

impl Given {
    /// Loss, log-sum-exp, and p and q of each class; None where the row is broken.
    fn exact_divergence(&self, row: usize) -> Option<(f64, f64, Vec<f64>, Vec<f64>)> {
        let classes = row * self.classes..(row + 1) * self.classes;
        let p = Softmax::of(&self.teacher.as_ref()?[classes.clone()], self)?;
        let q = Softmax::of(&self.logits[classes], self)?;
        let mut centre = (p.sum / q.sum).ln();
        let mut loss = 0.0;
        // The second time around a centre that is better known.
        for _ in 0..2 {
            let mut error = 0.0;
            loss = 0.0;
            for ((&t, &x), (&p_term, &q_term)) in p.fourths.iter().zip(&q.fourths).zip(p.terms.iter().zip(&q.terms)) {
                let distance = (t - x) - 0.25 * centre * self.temperature;
                let r = -4.0 * (distance / self.temperature);
                let log_p = 4.0 * (t / self.temperature) - p.sum.ln();
                let (p, q) = (p_term / p.sum, q_term / q.sum);
                if t == f64::NEG_INFINITY {
                    loss += q;
                } else if x == f64::NEG_INFINITY {
                    loss = f64::INFINITY;
                } else if r.abs() < 0.5 {
                    loss += p * excess(r);
                    error += p * r.exp_m1();
                } else {
                    // Where p is 0, its logarithm is not; only beside a large distance may it matter.
                    let far = r < -1e9;
                    let p_d = (log_p + distance.ln() - (0.25 * self.temperature).ln()).exp();
                    loss += if far {
                        p_d
                    } else if p == 0.0 {
                        0.0
                    } else {
                        -p * r
                    } + (q - p);
                    error += q - p;
                }
            }
            // Of rows that are nearly the same; else there is nothing to be better known.
            if error.abs() < 1e-9 {
                centre -= error;
            }
        }
        let share = |s: &Softmax| s.terms.iter().map(|term| term / s.sum).collect();
        Some((loss, q.largest + q.sum.ln(), share(&p), share(&q)))
    }

    /// What is wrong with these results, if anything is.
    pub fn verdict_of_divergence(&self, output: &Output) -> Result<(), String> {
        let same = |got: f64, exact: f64| got.is_nan() && exact.is_nan() || got == exact;
        let beyond = |error: f64, bound: f64| error.is_nan() || error > bound;
        for row in 0..self.rows {
            let x = self.x(row);
            let t = self.teacher.iter().flat_map(|t| &t[row * self.classes..][..self.classes]);
            let t: Vec<f64> = t.map(|&t| from_bits(t, self.logits_type)).collect();
            let sample = self.sample_weights.as_ref().map_or(1.0, |s| f64::from(s[row]));
            let (loss, lse, p, q) = self.exact_divergence(row).unwrap_or_else(|| {
                let nan = vec![f64::NAN; self.classes];
                (f64::NAN, f64::NAN, nan.clone(), nan)
            });
            let loss = if sample == 0.0 { 0.0 } else { sample * loss };
            let got = output.loss[row];
            // d_j is a difference of f64.
            let largest = x.iter().chain(&t).map(|x| if x.is_finite() { x.abs() } else { 0.0 }).fold(1.0, f64::max);
            // What is subtracted from larger logits before is subtracted exactly.
            let centred = if self.logits_type == logits_type::F64 { 1e6 } else { 800.0 };
            let least = ((largest / self.temperature).min(centred) * 2f64.powi(-51)).powi(2) + 2f64.powi(-173);
            if !same(got, loss) && beyond((got - loss).abs(), DIVERGENCE * loss + least) {
                return Err(format!("divergence of row {row} is {got:e}, exact {loss:e}"));
            }
            let got = output.log_sum_exp[row];
            let beyond_f32 = self.logits_type != logits_type::F64 && (lse as f32).is_infinite();
            let lse = if beyond_f32 { f64::from(lse as f32) } else { lse };
            if !same(got, lse) && beyond((got - lse).abs(), 2.5e-7 * lse.abs().max(1.0)) {
                return Err(format!("log-sum-exp of row {row} is {got}, exact {lse}"));
            }
            let entries = output.gradient.iter().skip(row * self.classes).take(self.classes);
            for (class, (&got, (p, q))) in entries.zip(p.iter().zip(&q)).enumerate() {
                let scale = self.scale * sample / self.temperature;
                let exact = if sample == 0.0 { 0.0 } else { scale * (q - p) };
                let larger = (scale * p.max(*q)).abs();
                let least = 2f64.powi(-145);
                let bound = DIVERGENCE_GRADIENT_ULP
                    * if self.logits_type == logits_type::F64 { 2f64.powi(-49) } else { 2f64.powi(-24) };
                if !same(got, exact) && beyond((got - exact).abs(), bound * larger + least) {
                    return Err(format!(
                        "gradient of row {row}, class {class} is {got:e}, exact {exact:e}, larger {larger:e}"
                    ));
                }
            }
            if let Some(&prediction) = output.predictions.get(row) {
                let best = if lse.is_nan() {
                    -1
                } else {
                    x.iter().position(|&y| x.iter().all(|&x| x <= y)).unwrap_or(0) as i32
                };
                if prediction != best {
                    return Err(format!("prediction of row {row} is {prediction}, exact {best}"));
                }
            }
        }
        Ok(())
    }
}
