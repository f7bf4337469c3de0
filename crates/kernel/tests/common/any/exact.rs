//! What the formula in `f64` says of a job, and whether results keep the contract.

use super::*;

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

    fn class(&self, row: usize) -> Option<usize> {
        usize::try_from(*self.labels.as_ref()?.get(row)?).ok().filter(|&class| class < self.classes)
    }

    /// A row that weighs nothing is ignored, too, whatever is in it.
    fn is_ignored(&self, row: usize) -> bool {
        self.labels.as_ref().is_some_and(|labels| Some(labels[row]) == self.ignore_index)
            || self.sample_weights.as_ref().is_some_and(|weights| weights[row] == 0.0)
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
            // Where only the label is wrong, the kernel may still compute a log-sum-exp.
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
        if self.teacher.is_some() {
            return self.verdict_of_divergence(output);
        }
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
