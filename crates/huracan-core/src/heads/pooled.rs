//! The pooled ridge head, with and without codes.
//!
//! A ridge over `[codes ‖ own features]` with one penalty on both is a ridge over the own features
//! in the metric `M = (I + WW')⁻¹ = I − ½WW'` (W the k orthonormal loadings): the minimum of
//! `|γ|² + |δ|²` over all splits `Wγ + δ = β` is `β'Mβ`. So heads are kept as one vector over the
//! standardised features, and split into codes and own when written ([`split`]).

use crate::encoder::Eigenbasis;
use crate::gram::Moments;
use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, MatRef, Side};

/// Ridge over a pool in its own eigenbasis: `(P + λM)⁻¹ c`, p × q, for `components` codes (0: no
/// encoder). `cross` is p × q in standardised units, `lambda` in units of λ/n.
pub fn ridge_in_basis(basis: &Eigenbasis, cross: &Mat<f64>, lambda: f64, components: usize) -> Mat<f64> {
    let rotated = basis.vectors.transpose() * cross;
    let k = components.min(basis.rank);
    let shrink = |i: usize| 1.0 / (basis.values[i] + lambda * if i < k { 0.5 } else { 1.0 });
    let shrunk = Mat::from_fn(cross.nrows(), cross.ncols(), |i, j| rotated[(i, j)] * shrink(i));
    &basis.vectors * shrunk
}

/// [`ridge_on_codes`] over the first `components` principal components, in their own basis.
pub fn ridge_on_components(basis: &Eigenbasis, cross: &Mat<f64>, lambda: f64, components: usize) -> Mat<f64> {
    let w = basis.vectors.get(.., ..components.min(basis.rank));
    let rotated = w.transpose() * cross;
    let shrunk =
        Mat::from_fn(rotated.nrows(), rotated.ncols(), |i, j| rotated[(i, j)] / (basis.values[i] + lambda));
    w * shrunk
}

/// The penalty metric `I − ½WW'` of orthonormal loadings, p × k; k may be 0.
pub fn penalty_metric(w: MatRef<'_, f64>) -> Mat<f64> {
    let p = w.nrows();
    let mut metric = w * w.transpose() * faer::Scale(-0.5);
    (0..p).for_each(|i| metric[(i, i)] += 1.0);
    metric
}

/// Ridge `(C + λM)⁻¹ c` by Cholesky, p × q; `None` when the matrix is not positive definite.
pub fn ridge(cov: &Mat<f64>, cross: &Mat<f64>, lambda: f64, metric: &Mat<f64>) -> Option<Mat<f64>> {
    let a = cov + metric * faer::Scale(lambda);
    Some(Llt::new(a.as_ref(), Side::Lower).ok()?.solve(cross))
}

/// Ridge over the codes `W'x` alone, with no column of one's own: `W(W'CW + λI)⁻¹W'c`, p × q; `None`
/// when the matrix is not positive definite.
pub fn ridge_on_codes(cov: &Mat<f64>, cross: &Mat<f64>, lambda: f64, w: MatRef<'_, f64>) -> Option<Mat<f64>> {
    let mut a = w.transpose() * (cov * w);
    (0..w.ncols()).for_each(|i| a[(i, i)] += lambda);
    let right = w.transpose() * cross;
    Some(w * Llt::new(a.as_ref(), Side::Lower).ok()?.solve(&right))
}

/// A pool without one of its members: `(W·pool − w·member) / (W − w)`; `None` when nothing is left.
pub fn leave_out(pool: &Moments, total_weight: f64, members: &[(&Moments, f64)]) -> Option<Moments> {
    let left = total_weight - members.iter().map(|(_, w)| w).sum::<f64>();
    if left <= 1e-9 * total_weight {
        return None;
    }
    let (p, q) = (pool.mean.len(), pool.mean_y.len());
    let mut rest = Moments::zero(p, q);
    rest.pool(pool, total_weight / left);
    rest.n = pool.n;
    for (member, weight) in members {
        rest.pool(member, -weight / left);
        rest.n -= 2.0 * member.n;
    }
    Some(rest)
}

/// Splits a head over standardised features into its minimum-norm parts: weights of the codes and
/// of the own features. `Wγ + δ = β`, `γ = W'Mβ`, `δ = Mβ`.
pub fn split(beta: &[f64], loadings: &Mat<f64>) -> (Vec<f64>, Vec<f64>) {
    let (p, k) = (loadings.nrows(), loadings.ncols());
    let projection: Vec<f64> = (0..k).map(|j| (0..p).map(|i| loadings[(i, j)] * beta[i]).sum()).collect();
    let gamma: Vec<f64> = projection.iter().map(|v| 0.5 * v).collect();
    let own = (0..p).map(|i| beta[i] - (0..k).map(|j| loadings[(i, j)] * gamma[j]).sum::<f64>()).collect();
    (gamma, own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// A random pool of standardised moments with unit diagonal, p features, one target.
    fn moments(p: usize) -> Moments {
        let mut rng = crate::words::Seed(11).rng();
        let x = Mat::from_fn(200, p + 1, |_, _| rng.random::<f64>() - 0.5);
        let mut gram = crate::gram::Gram::new(p, 1);
        let a =
            Mat::from_fn(200, p + 1, |i, j| if j == p { 1.0 } else { x[(i, j)] + 0.6 * x[(i, (j + 1) % p)] });
        let y = Mat::from_fn(200, 1, |i, _| x[(i, 0)] - 0.5 * x[(i, 1)] + 0.3 * x[(i, p)]);
        gram.add_rows(a.as_ref(), y.as_ref());
        let moments = gram.moments().unwrap();
        moments.standardised(&moments.deviations())
    }

    #[test]
    fn the_basis_form_the_metric_form_and_the_written_out_form_agree() {
        let (p, k, lambda) = (7, 3, 0.4);
        let m = moments(p);
        let basis = Eigenbasis::new(&m.cov).unwrap();
        let in_basis = ridge_in_basis(&basis, &m.cross, lambda, k);
        let in_metric = ridge(&m.cov, &m.cross, lambda, &penalty_metric(basis.vectors.get(.., ..k))).unwrap();
        // The same head as an ordinary ridge over k + p columns [codes, own].
        let t = Mat::from_fn(p, k + p, |i, j| {
            if j < k { basis.vectors[(i, j)] } else { f64::from(u8::from(i == j - k)) }
        });
        let wide_cov = t.transpose() * &m.cov * &t;
        let wide_cross = t.transpose() * &m.cross;
        let wide = ridge(&wide_cov, &wide_cross, lambda, &Mat::identity(k + p, k + p)).unwrap();
        let folded = &t * &wide;
        let beta: Vec<f64> = (0..p).map(|i| in_basis[(i, 0)]).collect();
        let loadings = Mat::from_fn(p, k, |i, j| basis.vectors[(i, j)]);
        let (gamma, own) = split(&beta, &loadings);
        for i in 0..p {
            assert!((in_basis[(i, 0)] - in_metric[(i, 0)]).abs() < 1e-12);
            assert!((in_basis[(i, 0)] - folded[(i, 0)]).abs() < 1e-12);
            assert!((own[i] - wide[(k + i, 0)]).abs() < 1e-12);
        }
        (0..k).for_each(|j| assert!((gamma[j] - wide[(j, 0)]).abs() < 1e-12));
    }

    #[test]
    fn a_head_on_codes_alone_is_the_ridge_over_the_codes() {
        let (p, k, lambda) = (7, 3, 0.4);
        let m = moments(p);
        let basis = Eigenbasis::new(&m.cov).unwrap();
        let w = basis.vectors.get(.., ..k).to_owned();
        let codes = m.projected(&w);
        let gamma = ridge(&codes.cov, &codes.cross, lambda, &Mat::identity(k, k)).unwrap();
        let beta = ridge_on_codes(&m.cov, &m.cross, lambda, w.as_ref()).unwrap();
        let folded = &w * &gamma;
        (0..p).for_each(|i| assert!((beta[(i, 0)] - folded[(i, 0)]).abs() < 1e-12));
        // In the eigenbasis the codes do not correlate: each weight is shrunk by itself.
        (0..k).for_each(|j| {
            let alone = codes.cross[(j, 0)] / (basis.values[j] + lambda);
            assert!((gamma[(j, 0)] - alone).abs() < 1e-12);
        });
    }

    #[test]
    fn leaving_a_member_out_is_the_pool_of_the_others() {
        let (a, b) = (moments(5), moments(4));
        let (b, c) = (Moments { cov: a.cov.clone() * faer::Scale(2.0), ..a.clone() }, b);
        assert_eq!(c.mean.len(), 4);
        let mut pool = Moments::zero(5, 1);
        pool.pool(&a, 1.0);
        pool.pool(&b, 0.5);
        let pool = pool.divide(1.5);
        let rest = leave_out(&pool, 1.5, &[(&b, 0.5)]).unwrap();
        assert!((rest.cov[(1, 0)] - a.cov[(1, 0)]).abs() < 1e-12);
        assert!((rest.n - a.n).abs() < 1e-9);
        assert!(leave_out(&pool, 1.5, &[(&a, 1.0), (&b, 0.5)]).is_none());
    }
}
