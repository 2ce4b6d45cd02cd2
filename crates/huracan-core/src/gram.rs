//! Blocked sufficient statistics: everything linear that is ever fitted comes out of these.
//!
//! A [`Gram`] holds, for the rows of one coin and one span of time, `A'A` and `A'Y` where
//! `A = [Z, 1]`: features and a column of ones, so counts and sums are its last row. Spans add and
//! subtract; centring and scaling are algebra afterwards. No row is kept.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};

/// Second moments of rows `[z, 1]` (p + 1 wide) with themselves and with q targets.
#[derive(Clone, Debug)]
pub struct Gram {
    /// `A'A`, (p+1) × (p+1); only the lower triangle is meaningful.
    xx: Mat<f64>,
    /// `A'Y`, (p+1) × q.
    xy: Mat<f64>,
    /// `Σ y²` per target.
    yy: Vec<f64>,
}

impl Gram {
    /// No rows yet, for `p` features and `q` targets.
    pub fn new(p: usize, q: usize) -> Gram {
        Gram { xx: Mat::zeros(p + 1, p + 1), xy: Mat::zeros(p + 1, q), yy: vec![0.0; q] }
    }

    /// Number of features.
    pub fn p(&self) -> usize {
        self.xx.nrows() - 1
    }

    /// Number of targets.
    pub fn q(&self) -> usize {
        self.xy.ncols()
    }

    /// Number of rows.
    pub fn rows(&self) -> f64 {
        self.xx[(self.p(), self.p())]
    }

    /// Adds rows: `a` is n × (p+1) with a last column of ones, `y` is n × q, all finite. A row of
    /// both, its one included, times √w counts as w rows.
    pub fn add_rows(&mut self, a: MatRef<'_, f64>, y: MatRef<'_, f64>) {
        if a.nrows() == 0 {
            return;
        }
        triangular::matmul(
            &mut self.xx,
            BlockStructure::TriangularLower,
            Accum::Add,
            a.transpose(),
            BlockStructure::Rectangular,
            a,
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
        matmul(&mut self.xy, Accum::Add, a.transpose(), y, 1.0, Par::Seq);
        for (q, sum) in self.yy.iter_mut().enumerate() {
            *sum += (0..y.nrows()).map(|i| y[(i, q)] * y[(i, q)]).sum::<f64>();
        }
    }

    /// Adds another span, weighted; a weight of −1 takes it away again.
    pub fn add(&mut self, other: &Gram, weight: f64) {
        let m = self.p() + 1;
        for j in 0..m {
            for i in j..m {
                self.xx[(i, j)] += weight * other.xx[(i, j)];
            }
        }
        for j in 0..self.q() {
            for i in 0..m {
                self.xy[(i, j)] += weight * other.xy[(i, j)];
            }
            self.yy[j] += weight * other.yy[j];
        }
    }

    /// Sum of several spans.
    pub fn sum<'a>(p: usize, q: usize, spans: impl IntoIterator<Item = &'a Gram>) -> Gram {
        let mut total = Gram::new(p, q);
        spans.into_iter().for_each(|span| total.add(span, 1.0));
        total
    }

    /// Means, covariances and target moments of the rows; `None` with fewer than two rows.
    pub fn moments(&self) -> Option<Moments> {
        let (p, q, n) = (self.p(), self.q(), self.rows());
        if n < 2.0 {
            return None;
        }
        let mean: Vec<f64> = (0..p).map(|i| self.xx[(p, i)] / n).collect();
        let mean_y: Vec<f64> = (0..q).map(|j| self.xy[(p, j)] / n).collect();
        let mut cov = Mat::zeros(p, p);
        for j in 0..p {
            for i in j..p {
                let c = self.xx[(i, j)] / n - mean[i] * mean[j];
                cov[(i, j)] = c;
                cov[(j, i)] = c;
            }
            // A column that never varies can come out a rounding error below zero.
            cov[(j, j)] = f64::max(cov[(j, j)], 0.0);
        }
        let cross = Mat::from_fn(p, q, |i, j| self.xy[(i, j)] / n - mean[i] * mean_y[j]);
        let var_y = (0..q).map(|j| (self.yy[j] / n - mean_y[j] * mean_y[j]).max(0.0)).collect();
        Some(Moments { n, mean, mean_y, cov, cross, var_y })
    }

    /// The numbers as one flat column, for a scratch file: lower triangle of `A'A` by columns,
    /// then `A'Y`, then `Σy²`.
    pub fn to_flat(&self) -> Vec<f64> {
        let m = self.p() + 1;
        let mut flat = Vec::with_capacity(Gram::flat_len(self.p(), self.q()));
        for j in 0..m {
            flat.extend((j..m).map(|i| self.xx[(i, j)]));
        }
        for j in 0..self.q() {
            flat.extend((0..m).map(|i| self.xy[(i, j)]));
        }
        flat.extend(&self.yy);
        flat
    }

    /// Length of [`Gram::to_flat`].
    pub fn flat_len(p: usize, q: usize) -> usize {
        (p + 1) * (p + 2) / 2 + (p + 1) * q + q
    }

    /// The inverse of [`Gram::to_flat`]; `None` when the length does not fit.
    pub fn from_flat(p: usize, q: usize, flat: &[f64]) -> Option<Gram> {
        if flat.len() != Gram::flat_len(p, q) {
            return None;
        }
        let mut gram = Gram::new(p, q);
        let mut next = flat.iter().copied();
        let m = p + 1;
        for j in 0..m {
            for i in j..m {
                gram.xx[(i, j)] = next.next()?;
            }
        }
        for j in 0..q {
            for i in 0..m {
                gram.xy[(i, j)] = next.next()?;
            }
        }
        for j in 0..q {
            gram.yy[j] = next.next()?;
        }
        Some(gram)
    }
}

/// Centred moments of one coin (or of a pool of coins) over some training span.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Moments {
    /// Number of rows (of a pool: the total).
    pub n: f64,
    /// Feature means, length p.
    pub mean: Vec<f64>,
    /// Target means, length q.
    pub mean_y: Vec<f64>,
    /// Feature covariance, p × p, symmetric.
    #[serde(with = "crate::wire::mat")]
    pub cov: Mat<f64>,
    /// Feature–target covariance, p × q.
    #[serde(with = "crate::wire::mat")]
    pub cross: Mat<f64>,
    /// Target variances, length q.
    pub var_y: Vec<f64>,
}

impl Moments {
    /// The zero pool, to which coins are added by [`Moments::pool`].
    pub fn zero(p: usize, q: usize) -> Moments {
        Moments {
            n: 0.0,
            mean: vec![0.0; p],
            mean_y: vec![0.0; q],
            cov: Mat::zeros(p, p),
            cross: Mat::zeros(p, q),
            var_y: vec![0.0; q],
        }
    }

    /// Adds a coin's centred moments with a weight: within-coin second moments pool, differences
    /// between coins' means do not enter.
    pub fn pool(&mut self, coin: &Moments, weight: f64) {
        self.n += coin.n;
        let p = self.mean.len();
        for i in 0..p {
            self.mean[i] += weight * coin.mean[i];
        }
        for j in 0..p {
            for i in 0..p {
                self.cov[(i, j)] += weight * coin.cov[(i, j)];
            }
        }
        for j in 0..self.mean_y.len() {
            for i in 0..p {
                self.cross[(i, j)] += weight * coin.cross[(i, j)];
            }
            self.mean_y[j] += weight * coin.mean_y[j];
            self.var_y[j] += weight * coin.var_y[j];
        }
    }

    /// Second moments about zero: in a pool made of these, differences between coins' levels count
    /// too. Divide the pool, then [`Moments::centred`].
    pub fn about_zero(mut self) -> Moments {
        let about = Moments { mean: self.mean.clone(), mean_y: self.mean_y.clone(), ..Moments::zero(0, 0) };
        self.shift(&about, 1.0);
        self
    }

    /// Moments of twice the features, `[(x − offset) / scale, x]`, with the first `targets` targets:
    /// a coin's own scale and the common one side by side. A scale of 0 leaves that own feature out.
    pub fn beside_own_scale(&self, offset: &[f64], scale: &[f64], targets: usize) -> Moments {
        let own = self.rescaled(offset, scale);
        let p = self.mean.len();
        let inverse: Vec<f64> = scale.iter().map(|&s| if s > 0.0 { 1.0 / s } else { 0.0 }).collect();
        let mut out = Moments::zero(2 * p, targets);
        for j in 0..p {
            for i in 0..p {
                let cov = self.cov[(i, j)];
                out.cov[(i, j)] = own.cov[(i, j)];
                out.cov[(p + i, j)] = cov * inverse[j];
                out.cov[(i, p + j)] = cov * inverse[i];
                out.cov[(p + i, p + j)] = cov;
            }
        }
        for j in 0..targets {
            for i in 0..p {
                out.cross[(i, j)] = own.cross[(i, j)];
                out.cross[(p + i, j)] = self.cross[(i, j)];
            }
        }
        out.n = self.n;
        out.mean = own.mean.iter().chain(&self.mean).copied().collect();
        out.mean_y = self.mean_y[..targets].to_vec();
        out.var_y = self.var_y[..targets].to_vec();
        out
    }

    /// Moves second moments about zero to second moments about the mean.
    pub fn centred(mut self) -> Moments {
        let about = Moments { mean: self.mean.clone(), mean_y: self.mean_y.clone(), ..Moments::zero(0, 0) };
        self.shift(&about, -1.0);
        (0..self.mean.len()).for_each(|j| self.cov[(j, j)] = f64::max(self.cov[(j, j)], 0.0));
        self.var_y.iter_mut().for_each(|v| *v = v.max(0.0));
        self
    }

    /// Adds `weight` times the outer products of the means of `about`.
    fn shift(&mut self, about: &Moments, weight: f64) {
        let p = self.mean.len();
        for j in 0..p {
            for i in 0..p {
                self.cov[(i, j)] += weight * about.mean[i] * about.mean[j];
            }
        }
        for j in 0..self.mean_y.len() {
            for i in 0..p {
                self.cross[(i, j)] += weight * about.mean[i] * about.mean_y[j];
            }
            self.var_y[j] += weight * about.mean_y[j] * about.mean_y[j];
        }
    }

    /// The same rows about other means (those of the training rows): what is left of a level shift
    /// counts. Inside a short window the window's own means flatter whatever reverts to them.
    pub fn about(&self, training: &Moments) -> Moments {
        let mut out = self.clone();
        let gap = Moments {
            mean: self.mean.iter().zip(&training.mean).map(|(a, b)| a - b).collect(),
            mean_y: self.mean_y.iter().zip(&training.mean_y).map(|(a, b)| a - b).collect(),
            ..Moments::zero(0, 0)
        };
        out.shift(&gap, 1.0);
        out.mean.clone_from(&training.mean);
        out.mean_y.clone_from(&training.mean_y);
        out
    }

    /// The same moments of `(x − offset) / scale`; a scale of 0 leaves that feature out.
    pub fn rescaled(&self, offset: &[f64], scale: &[f64]) -> Moments {
        let mut scaled = self.standardised(scale);
        for ((mean, offset), scale) in scaled.mean.iter_mut().zip(offset).zip(scale) {
            *mean -= if *scale > 0.0 { offset / scale } else { 0.0 };
        }
        scaled
    }

    /// Moments of `W'x` for a p × k map `W`: what a head over k codes is fitted on.
    pub fn projected(&self, map: &Mat<f64>) -> Moments {
        let k = map.ncols();
        let mean = (0..k).map(|j| (0..map.nrows()).map(|i| map[(i, j)] * self.mean[i]).sum()).collect();
        Moments {
            n: self.n,
            mean,
            mean_y: self.mean_y.clone(),
            cov: map.transpose() * (&self.cov * map),
            cross: map.transpose() * &self.cross,
            var_y: self.var_y.clone(),
        }
    }

    /// Moments of some of the features, in the order given.
    pub fn columns(&self, columns: &[usize]) -> Moments {
        let k = columns.len();
        Moments {
            n: self.n,
            mean: columns.iter().map(|&i| self.mean[i]).collect(),
            mean_y: self.mean_y.clone(),
            cov: Mat::from_fn(k, k, |i, j| self.cov[(columns[i], columns[j])]),
            cross: Mat::from_fn(k, self.mean_y.len(), |i, j| self.cross[(columns[i], j)]),
            var_y: self.var_y.clone(),
        }
    }

    /// Moments with some of the targets, in the order given.
    pub fn targets(&self, targets: &[usize]) -> Moments {
        Moments {
            cross: Mat::from_fn(self.mean.len(), targets.len(), |i, j| self.cross[(i, targets[j])]),
            mean_y: targets.iter().map(|&j| self.mean_y[j]).collect(),
            var_y: targets.iter().map(|&j| self.var_y[j]).collect(),
            mean: self.mean.clone(),
            cov: self.cov.clone(),
            n: self.n,
        }
    }

    /// Divides a pool by its total weight.
    pub fn divide(mut self, weight: f64) -> Moments {
        let scale = 1.0 / weight;
        self.mean.iter_mut().for_each(|v| *v *= scale);
        self.mean_y.iter_mut().for_each(|v| *v *= scale);
        self.var_y.iter_mut().for_each(|v| *v *= scale);
        self.cov = &self.cov * faer::Scale(scale);
        self.cross = &self.cross * faer::Scale(scale);
        self
    }

    /// Covariances in units of `deviation` (a deviation of 0 leaves that feature out: zero row and
    /// column).
    pub fn standardised(&self, deviation: &[f64]) -> Moments {
        let inverse: Vec<f64> = deviation.iter().map(|&d| if d > 0.0 { 1.0 / d } else { 0.0 }).collect();
        let scale_rows = |matrix: &mut Mat<f64>, column: usize, by: f64| {
            if let Some(column) = matrix.col_mut(column).try_as_col_major_mut() {
                column.as_slice_mut().iter_mut().zip(&inverse).for_each(|(v, inverse)| *v *= inverse * by);
            }
        };
        let mut out = self.clone();
        (0..self.mean.len()).for_each(|j| scale_rows(&mut out.cov, j, inverse[j]));
        (0..self.mean_y.len()).for_each(|j| scale_rows(&mut out.cross, j, 1.0));
        out.mean.iter_mut().zip(&inverse).for_each(|(m, inverse)| *m *= inverse);
        out
    }

    /// Standard deviations of the features; 0 for one that never varies (below 1e-9 of its unit).
    pub fn deviations(&self) -> Vec<f64> {
        let root = |i: usize| self.cov[(i, i)].max(0.0).sqrt();
        (0..self.mean.len()).map(|i| if root(i) > 1e-9 { root(i) } else { 0.0 }).collect()
    }

    /// Correlation of the linear score `x·b` with target `j`: `b'c / √(b'Cb · v)`; `None` when
    /// either side does not vary.
    pub fn correlation(&self, b: &[f64], j: usize) -> Option<f64> {
        let denominator = (self.score_variance(b) * self.var_y[j]).sqrt();
        (denominator > 0.0).then(|| self.score_covariance(b, j) / denominator)
    }

    /// `b'Cb`: variance of the linear score.
    pub fn score_variance(&self, b: &[f64]) -> f64 {
        let p = b.len();
        (0..p).map(|j| b[j] * (0..p).map(|i| self.cov[(i, j)] * b[i]).sum::<f64>()).sum()
    }

    /// `b'c_j`: covariance of the linear score with target `j`.
    pub fn score_covariance(&self, b: &[f64], j: usize) -> f64 {
        (0..b.len()).map(|i| b[i] * self.cross[(i, j)]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn rows(seed: u64, n: usize, p: usize, q: usize) -> (Mat<f64>, Mat<f64>) {
        let mut rng = crate::words::Seed(seed).rng();
        let mut draw = || rng.random::<f64>() - 0.3;
        let a = Mat::from_fn(n, p + 1, |_, j| if j == p { 1.0 } else { draw() });
        let mut rng = crate::words::Seed(seed + 1).rng();
        let y = Mat::from_fn(n, q, |_, _| rng.random::<f64>());
        (a, y)
    }

    #[test]
    fn moments_equal_the_direct_two_pass_ones() {
        let (a, y) = rows(3, 500, 6, 2);
        let mut gram = Gram::new(6, 2);
        gram.add_rows(a.as_ref().subrows(0, 123), y.as_ref().subrows(0, 123));
        gram.add_rows(a.as_ref().subrows(123, 377), y.as_ref().subrows(123, 377));
        let moments = gram.moments().unwrap();
        let mean = |j: usize| (0..500).map(|i| a[(i, j)]).sum::<f64>() / 500.0;
        let mean_y = |j: usize| (0..500).map(|i| y[(i, j)]).sum::<f64>() / 500.0;
        for i in 0..6 {
            for j in 0..6 {
                let direct =
                    (0..500).map(|r| (a[(r, i)] - mean(i)) * (a[(r, j)] - mean(j))).sum::<f64>() / 500.0;
                assert!((moments.cov[(i, j)] - direct).abs() < 1e-13);
            }
            for j in 0..2 {
                let direct =
                    (0..500).map(|r| (a[(r, i)] - mean(i)) * (y[(r, j)] - mean_y(j))).sum::<f64>() / 500.0;
                assert!((moments.cross[(i, j)] - direct).abs() < 1e-13);
            }
        }
        assert_eq!(gram.rows(), 500.0);
    }

    #[test]
    fn a_span_taken_away_leaves_the_rest() {
        let (a, y) = rows(5, 200, 4, 1);
        let part = |from: usize, n: usize| {
            let mut g = Gram::new(4, 1);
            g.add_rows(a.as_ref().subrows(from, n), y.as_ref().subrows(from, n));
            g
        };
        let mut whole = Gram::sum(4, 1, [&part(0, 120), &part(120, 80)]);
        whole.add(&part(0, 120), -1.0);
        let (left, right) = (whole.moments().unwrap(), part(120, 80).moments().unwrap());
        assert!((left.cov[(2, 1)] - right.cov[(2, 1)]).abs() < 1e-12);
        assert!(
            (left.score_variance(&[1.0, -2.0, 0.5, 0.0]) - right.score_variance(&[1.0, -2.0, 0.5, 0.0]))
                .abs()
                < 1e-12
        );
    }

    #[test]
    fn pooled_levels_are_the_moments_of_all_rows_together() {
        let (a, y) = rows(7, 300, 4, 1);
        let mut lifted = a.clone();
        (0..150).for_each(|i| lifted[(i, 1)] += 3.0);
        let part = |from: usize| {
            let mut g = Gram::new(4, 1);
            g.add_rows(lifted.as_ref().subrows(from, 150), y.as_ref().subrows(from, 150));
            g
        };
        let whole = Gram::sum(4, 1, [&part(0), &part(150)]).moments().unwrap();
        let mut pool = Moments::zero(4, 1);
        [part(0), part(150)].iter().for_each(|g| pool.pool(&g.moments().unwrap().about_zero(), 1.0));
        let pool = pool.divide(2.0).centred();
        for i in 0..4 {
            assert!((pool.cross[(i, 0)] - whole.cross[(i, 0)]).abs() < 1e-12);
            (0..4).for_each(|j| assert!((pool.cov[(i, j)] - whole.cov[(i, j)]).abs() < 1e-12));
        }
        assert!((pool.var_y[0] - whole.var_y[0]).abs() < 1e-12);
    }

    #[test]
    fn moments_about_other_means_are_those_of_rows_about_them() {
        let (a, y) = rows(12, 100, 3, 1);
        let mut gram = Gram::new(3, 1);
        gram.add_rows(a.as_ref(), y.as_ref());
        let own = gram.moments().unwrap();
        let training = Moments { mean: vec![0.4, -1.0, 0.2], mean_y: vec![0.7], ..own.clone() };
        let about = own.about(&training);
        let direct = |i: usize| {
            (0..100).map(|r| (a[(r, i)] - training.mean[i]) * (y[(r, 0)] - 0.7)).sum::<f64>() / 100.0
        };
        (0..3).for_each(|i| assert!((about.cross[(i, 0)] - direct(i)).abs() < 1e-12));
        let var = (0..100).map(|r| (y[(r, 0)] - 0.7).powi(2)).sum::<f64>() / 100.0;
        assert!((about.var_y[0] - var).abs() < 1e-12);
    }

    #[test]
    fn moments_beside_the_own_scale_are_those_of_both_columns() {
        let (a, y) = rows(13, 150, 2, 1);
        let (offset, scale) = ([0.3, -0.1], [2.0, 0.25]);
        let both = Mat::from_fn(150, 5, |i, j| match j {
            4 => 1.0,
            j if j < 2 => (a[(i, j)] - offset[j]) / scale[j],
            j => a[(i, j - 2)],
        });
        let moments = |a: &Mat<f64>, p: usize| {
            let mut g = Gram::new(p, 1);
            g.add_rows(a.as_ref(), y.as_ref());
            g.moments().unwrap()
        };
        let (direct, algebra) = (moments(&both, 4), moments(&a, 2).beside_own_scale(&offset, &scale, 1));
        for i in 0..4 {
            assert!((direct.mean[i] - algebra.mean[i]).abs() < 1e-12);
            assert!((direct.cross[(i, 0)] - algebra.cross[(i, 0)]).abs() < 1e-12);
            (0..4).for_each(|j| assert!((direct.cov[(i, j)] - algebra.cov[(i, j)]).abs() < 1e-12));
        }
    }

    #[test]
    fn rescaled_moments_are_those_of_rescaled_rows() {
        let (a, y) = rows(8, 200, 3, 1);
        let (offset, scale) = ([0.1, -0.2, 0.3], [2.0, 0.5, 4.0]);
        let z = Mat::from_fn(200, 4, |i, j| if j == 3 { 1.0 } else { (a[(i, j)] - offset[j]) / scale[j] });
        let moments = |a: &Mat<f64>| {
            let mut g = Gram::new(3, 1);
            g.add_rows(a.as_ref(), y.as_ref());
            g.moments().unwrap()
        };
        let (direct, algebra) = (moments(&z), moments(&a).rescaled(&offset, &scale));
        for i in 0..3 {
            assert!((direct.mean[i] - algebra.mean[i]).abs() < 1e-12);
            assert!((direct.cross[(i, 0)] - algebra.cross[(i, 0)]).abs() < 1e-12);
            assert!((direct.cov[(i, 2)] - algebra.cov[(i, 2)]).abs() < 1e-12);
        }
    }

    #[test]
    fn flat_form_round_trips_bit_for_bit_and_refuses_a_wrong_length() {
        let (a, y) = rows(9, 50, 5, 3);
        let mut gram = Gram::new(5, 3);
        gram.add_rows(a.as_ref(), y.as_ref());
        let flat = gram.to_flat();
        let back = Gram::from_flat(5, 3, &flat).unwrap();
        assert_eq!(back.to_flat(), flat);
        assert!(Gram::from_flat(5, 2, &flat).is_none());
    }
}
