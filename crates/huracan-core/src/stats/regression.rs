//! Small regressions that are not ridge: partial least squares, logistic, recursive least squares,
//! Huber. Ridge and its relatives live in `gram` and `heads`.
//!
//! Designs are n × p with one row an observation. `None` means the shapes disagree, an input is
//! not finite, or the problem has no unique answer.

use faer::prelude::*;
use faer::{Col, Mat, MatRef, Side};

use super::quantiles::{MAD_TO_SIGMA, mad};

/// y ≈ intercept + x·coefficients.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// One a column.
    pub coefficients: Vec<f64>,
    /// Value at x = 0.
    pub intercept: f64,
}

impl Linear {
    /// The fitted value (for a logistic fit: the log-odds) at one row.
    pub fn predict(&self, row: &[f64]) -> f64 {
        self.intercept + self.coefficients.iter().zip(row).map(|(b, x)| b * x).sum::<f64>()
    }
}

fn usable(x: MatRef<'_, f64>, y: &[f64]) -> bool {
    let finite = |j: usize| x.col(j).iter().all(|v| v.is_finite());
    x.nrows() == y.len() && x.nrows() >= 2 && y.iter().all(|v| v.is_finite()) && (0..x.ncols()).all(finite)
}

/// PLS1 by NIPALS (Wold 1975) with `components` ≥ 1 directions; columns are centred, not scaled.
pub fn partial_least_squares(x: MatRef<'_, f64>, y: &[f64], components: usize) -> Option<Linear> {
    let (n, p) = (x.nrows(), x.ncols());
    if !usable(x, y) || components == 0 || components > p.min(n - 1) {
        return None;
    }
    let x_mean: Vec<f64> = (0..p).map(|j| x.col(j).iter().sum::<f64>() / n as f64).collect();
    let y_mean = y.iter().sum::<f64>() / n as f64;
    let mut left = Mat::from_fn(n, p, |i, j| x[(i, j)] - x_mean[j]);
    let mut target = Col::from_fn(n, |i| y[i] - y_mean);
    let (mut weights, mut loadings) = (Mat::zeros(p, components), Mat::zeros(p, components));
    let mut scores_on_y = Col::zeros(components);
    for c in 0..components {
        let mut weight = left.transpose() * &target;
        let norm = weight.norm_l2();
        if norm <= 1e-12 * left.norm_l2() * target.norm_l2() || !norm.is_normal() {
            return None;
        }
        weight = Scale(1.0 / norm) * &weight;
        let score = &left * &weight;
        let energy = score.squared_norm_l2();
        let loading = Scale(1.0 / energy) * (left.transpose() * &score);
        let gain = score.transpose() * &target / energy;
        left -= &score * loading.transpose();
        target -= Scale(gain) * &score;
        weights.col_mut(c).copy_from(&weight);
        loadings.col_mut(c).copy_from(&loading);
        scores_on_y[c] = gain;
    }
    let turn = (loadings.transpose() * &weights).partial_piv_lu();
    let beta = &weights * turn.solve(&scores_on_y);
    let coefficients: Vec<f64> = beta.iter().copied().collect();
    let intercept = y_mean - coefficients.iter().zip(&x_mean).map(|(b, m)| b * m).sum::<f64>();
    coefficients.iter().all(|b| b.is_finite()).then_some(Linear { coefficients, intercept })
}

/// L2-penalised logistic regression: minimises ½‖b‖² + C Σ log-loss by Newton steps, the intercept
/// free (scikit-learn's objective). `positive[i]` says whether row i belongs to the class. `None`
/// also when only one class is present.
pub fn logistic(x: MatRef<'_, f64>, positive: &[bool], c: f64) -> Option<Linear> {
    let (n, p) = (x.nrows(), x.ncols());
    let y: Vec<f64> = positive.iter().map(|&flag| f64::from(u8::from(flag))).collect();
    let hits = positive.iter().filter(|flag| **flag).count();
    if !usable(x, &y) || hits == 0 || hits == n || !c.is_finite() || c <= 0.0 {
        return None;
    }
    let design = Mat::from_fn(n, p + 1, |i, j| if j < p { x[(i, j)] } else { 1.0 });
    let mut beta = Col::<f64>::zeros(p + 1);
    let mut value = logistic_objective(&design, &y, &beta, c);
    for _ in 0..100 {
        let odds = &design * &beta;
        let chance: Vec<f64> = odds.iter().map(|v| 1.0 / (1.0 + (-v).exp())).collect();
        let pull = Col::from_fn(n, |i| c * (chance[i] - y[i]));
        let mut gradient = design.transpose() * &pull;
        let weighted = Mat::from_fn(n, p + 1, |i, j| c * chance[i] * (1.0 - chance[i]) * design[(i, j)]);
        let mut hessian = design.transpose() * &weighted;
        for j in 0..p {
            gradient[j] += beta[j];
            hessian[(j, j)] += 1.0;
        }
        hessian[(p, p)] += 1e-12;
        let step = hessian.llt(Side::Lower).ok()?.solve(&gradient);
        let mut length = 1.0;
        let mut next = &beta - &step;
        let mut next_value = logistic_objective(&design, &y, &next, c);
        while next_value > value && length > 1e-8 {
            length *= 0.5;
            next = &beta - Scale(length) * &step;
            next_value = logistic_objective(&design, &y, &next, c);
        }
        let moved = length * step.norm_max();
        beta = next;
        value = next_value;
        if moved < 1e-11 * (1.0 + beta.norm_max()) {
            break;
        }
    }
    let coefficients: Vec<f64> = (0..p).map(|j| beta[j]).collect();
    let finite = coefficients.iter().all(|b| b.is_finite()) && beta[p].is_finite();
    finite.then_some(Linear { coefficients, intercept: beta[p] })
}

fn logistic_objective(design: &Mat<f64>, y: &[f64], beta: &Col<f64>, c: f64) -> f64 {
    let odds = design * beta;
    let loss: f64 = odds.iter().zip(y).map(|(v, y)| v.max(0.0) + (-v.abs()).exp().ln_1p() - y * v).sum();
    let penalty: f64 = (0..beta.nrows() - 1).map(|j| beta[j] * beta[j]).sum();
    0.5 * penalty + c * loss
}

/// Recursive least squares with exponential forgetting (Haykin 2002, chapter 10), no intercept.
///
/// After n rows it equals the weighted ridge with weights λⁿ⁻ⁱ and penalty `ridge`·λⁿ.
#[derive(Clone, Debug)]
pub struct RecursiveLeastSquares {
    coefficients: Col<f64>,
    inverse: Mat<f64>,
    forgetting: f64,
}

impl RecursiveLeastSquares {
    /// Starts at zero with P = I/`ridge`; `forgetting` λ in (0, 1].
    pub fn new(columns: usize, forgetting: f64, ridge: f64) -> RecursiveLeastSquares {
        let inverse = Mat::from_fn(columns, columns, |i, j| if i == j { 1.0 / ridge } else { 0.0 });
        RecursiveLeastSquares { coefficients: Col::zeros(columns), inverse, forgetting }
    }

    /// Learns one row and returns its prediction error before learning. A row that is not finite
    /// teaches nothing and returns NaN.
    pub fn push(&mut self, row: &[f64], y: f64) -> f64 {
        if row.len() != self.coefficients.nrows() || !y.is_finite() || row.iter().any(|v| !v.is_finite()) {
            return f64::NAN;
        }
        let x = Col::from_fn(row.len(), |i| row[i]);
        let error = y - x.transpose() * &self.coefficients;
        let projected = &self.inverse * &x;
        let scale = self.forgetting + x.transpose() * &projected;
        let gain = Scale(1.0 / scale) * &projected;
        self.coefficients += Scale(error) * &gain;
        self.inverse = Scale(1.0 / self.forgetting) * (&self.inverse - &gain * projected.transpose());
        error
    }

    /// One a column.
    pub fn coefficients(&self) -> Vec<f64> {
        self.coefficients.iter().copied().collect()
    }
}

/// A line through the origin or not, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Change of y for one of x.
    pub slope: f64,
    /// y at x = 0; 0 for a line through the origin.
    pub intercept: f64,
    /// Standard error of the slope, robust to unequal variances (White 1980, HC1).
    pub slope_std_error: f64,
    /// 1 − Σresidual² / Σ(y − ȳ)²; below 0 when the line is worse than the mean; NaN when y is
    /// constant.
    pub r2: f64,
}

/// Whether a line may leave the origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// y = slope·x.
    Through,
    /// y = intercept + slope·x.
    Free,
}

/// Least-squares line.
pub fn least_squares_line(x: &[f64], y: &[f64], origin: Origin) -> Option<Line> {
    weighted_line(x, y, &vec![1.0; x.len()], origin)
}

/// Huber's (1964) robust line: iteratively reweighted, threshold 1.345 robust standard deviations
/// of the residuals (MAD × 1.4826; 95 % efficient on normal errors).
pub fn huber_line(x: &[f64], y: &[f64], origin: Origin) -> Option<Line> {
    let mut weights = vec![1.0; x.len()];
    let mut line = weighted_line(x, y, &weights, origin)?;
    for _ in 0..100 {
        let residuals: Vec<f64> = residuals(x, y, &line).collect();
        let limit = 1.345 * MAD_TO_SIGMA * mad(&residuals)?;
        if limit <= 0.0 {
            break;
        }
        for (weight, residual) in weights.iter_mut().zip(&residuals) {
            *weight = if residual.abs() <= limit { 1.0 } else { limit / residual.abs() };
        }
        let before = line;
        line = weighted_line(x, y, &weights, origin)?;
        let moved = (line.slope - before.slope).abs() + (line.intercept - before.intercept).abs();
        if moved <= 1e-10 * (1.0 + line.slope.abs() + line.intercept.abs()) {
            break;
        }
    }
    Some(line)
}

fn residuals<'a>(x: &'a [f64], y: &'a [f64], line: &Line) -> impl Iterator<Item = f64> + 'a {
    let (slope, intercept) = (line.slope, line.intercept);
    x.iter().zip(y).map(move |(x, y)| y - intercept - slope * x)
}

fn weighted_line(x: &[f64], y: &[f64], weights: &[f64], origin: Origin) -> Option<Line> {
    let parameters = if origin == Origin::Free { 2.0 } else { 1.0 };
    let n = x.len() as f64;
    if x.len() != y.len() || n <= parameters || x.iter().chain(y).any(|v| !v.is_finite()) {
        return None;
    }
    let total: f64 = weights.iter().sum();
    let average = |values: &[f64]| values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / total;
    let (mx, my) = if origin == Origin::Free { (average(x), average(y)) } else { (0.0, 0.0) };
    let rows = || x.iter().zip(y).zip(weights);
    let sxx: f64 = rows().map(|((x, _), w)| w * (x - mx).powi(2)).sum();
    let sxy: f64 = rows().map(|((x, y), w)| w * (x - mx) * (y - my)).sum();
    if sxx <= 1e-24 * mx * mx * n {
        return None;
    }
    let slope = sxy / sxx;
    let mut line = Line { slope, intercept: my - slope * mx, slope_std_error: 0.0, r2: f64::NAN };
    if origin == Origin::Through {
        line.intercept = 0.0;
    }
    let meat: f64 = residuals(x, y, &line)
        .zip(x.iter().zip(weights))
        .map(|(residual, (x, w))| (w * (x - mx) * residual).powi(2))
        .sum();
    line.slope_std_error = (meat * n / (n - parameters)).sqrt() / sxx;
    let plain_mean = y.iter().sum::<f64>() / n;
    let variation: f64 = y.iter().map(|y| (y - plain_mean).powi(2)).sum();
    if variation > 0.0 {
        line.r2 = 1.0 - residuals(x, y, &line).map(|r| r * r).sum::<f64>() / variation;
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huber_finds_the_line_that_outliers_hide() {
        let x: Vec<f64> = (1..=60).map(f64::from).collect();
        let mut y: Vec<f64> =
            x.iter().enumerate().map(|(i, v)| 3.0 * v + [0.1, -0.2, 0.1][i % 3]).collect();
        y[59] = -5000.0;
        y[58] = -4000.0;
        let robust = huber_line(&x, &y, Origin::Through).unwrap();
        let plain = least_squares_line(&x, &y, Origin::Through).unwrap();
        assert!((robust.slope - 3.0).abs() < 0.01, "{}", robust.slope);
        assert!((plain.slope - 3.0).abs() > 1.0);
        assert!(robust.slope_std_error < 0.05);
    }

    #[test]
    fn a_free_line_finds_its_intercept() {
        let x = [0.0, 1.0, 2.0, 3.0];
        let line = least_squares_line(&x, &[1.0, 3.0, 5.0, 7.0], Origin::Free).unwrap();
        assert!((line.slope - 2.0).abs() < 1e-12 && (line.intercept - 1.0).abs() < 1e-12);
        assert!((line.r2 - 1.0).abs() < 1e-12);
        assert_eq!(least_squares_line(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0], Origin::Free), None);
        assert_eq!(huber_line(&[1.0], &[1.0], Origin::Through), None);
    }

    #[test]
    fn regressions_refuse_what_has_no_answer() {
        let x = Mat::from_fn(6, 2, |i, j| (i * (j + 1)) as f64);
        assert_eq!(logistic(x.as_ref(), &[true; 6], 1.0), None);
        assert_eq!(partial_least_squares(x.as_ref(), &[1.0; 6], 1), None);
        assert_eq!(partial_least_squares(x.as_ref(), &[1.0; 5], 1), None);
        let mut online = RecursiveLeastSquares::new(2, 0.99, 10.0);
        assert!(online.push(&[f64::NAN, 1.0], 1.0).is_nan());
        assert_eq!(online.coefficients(), vec![0.0, 0.0]);
    }
}
