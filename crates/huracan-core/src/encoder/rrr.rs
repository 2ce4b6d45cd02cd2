//! Reduced-rank regression (Izenman 1975): the few directions of the features that foretell the labels
//! of all coins and horizons together. Second moments only.

use super::pca::{Eigenbasis, fix_signs};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{Mat, Par, Scale, Side};

/// The best `rank` directions, p × at most `rank`, orthonormal, most predictive first; signs as those of
/// principal components.
///
/// `cov` is the features' covariance (p × p), `scatter` = Σ w·c·c' (p × p) over tasks (a coin's label at
/// a horizon) of weight w whose covariances with the features are c. With A = `cov` + `ridge`·I = LL',
/// each task's ridge regression explains |L⁻¹c|², so the best directions are L⁻ᵀ times the leading
/// eigenvectors of L⁻¹·scatter·L⁻ᵀ. They span the same space, and the first few span the best smaller one,
/// after being made orthonormal in order. Fewer columns where the scatter has less rank.
///
/// `None` when shapes disagree, a number is not finite, the ridge is negative, A is not positive definite
/// or nothing is foretold.
pub fn reduced_rank(cov: &Mat<f64>, scatter: &Mat<f64>, ridge: f64, rank: usize) -> Option<Mat<f64>> {
    let p = cov.nrows();
    let square = |m: &Mat<f64>| (m.nrows(), m.ncols()) == (p, p);
    if p == 0 || !square(cov) || !square(scatter) || !ridge.is_finite() || ridge < 0.0 {
        return None;
    }
    let finite = |m: &Mat<f64>| m.col_iter().all(|c| c.iter().all(|v| v.is_finite()));
    if !finite(cov) || !finite(scatter) {
        return None;
    }
    let mut regular = cov.clone();
    (0..p).for_each(|j| regular[(j, j)] += ridge);
    let factor = regular.llt(Side::Lower).ok()?;
    let lower = factor.L();
    let mut half = scatter.clone();
    solve_lower_triangular_in_place(lower, half.as_mut(), Par::Seq);
    let mut explained = half.transpose().to_owned();
    solve_lower_triangular_in_place(lower, explained.as_mut(), Par::Seq);
    let explained = Mat::from_fn(p, p, |i, j| 0.5 * (explained[(i, j)] + explained[(j, i)]));
    let basis = Eigenbasis::new(&explained)?;
    let count = rank.min(basis.rank);
    let mut directions = basis.vectors.subcols(0, count).to_owned();
    solve_upper_triangular_in_place(lower.transpose(), directions.as_mut(), Par::Seq);
    let mut directions = orthonormal(&directions)?;
    fix_signs(&mut directions);
    (count > 0).then_some(directions)
}

/// Gram–Schmidt in order, twice over, which leaves nothing but rounding.
fn orthonormal(columns: &Mat<f64>) -> Option<Mat<f64>> {
    let mut out = columns.clone();
    for j in 0..out.ncols() {
        let mut column = columns.col(j).to_owned();
        for _ in 0..2 {
            for k in 0..j {
                let shared = out.col(k).transpose() * &column;
                column -= Scale(shared) * out.col(k);
            }
            let norm = column.norm_l2();
            if !norm.is_normal() {
                return None;
            }
            column *= Scale(1.0 / norm);
        }
        out.col_mut(j).copy_from(&column);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Seed;
    use faer::linalg::solvers::DenseSolveCore;
    use rand::RngExt;

    fn noise(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
        let mut rng = Seed(seed).rng();
        Mat::from_fn(rows, columns, |_, _| rng.random::<f64>() - 0.5)
    }

    fn centred(mut m: Mat<f64>) -> Mat<f64> {
        for column in m.col_iter_mut() {
            let mean = column.as_ref().iter().sum::<f64>() / column.nrows() as f64;
            column.iter_mut().for_each(|v| *v -= mean);
        }
        m
    }

    /// Covariance of the features and scatter of their covariances with every label.
    fn moments(x: &Mat<f64>, y: &Mat<f64>) -> (Mat<f64>, Mat<f64>) {
        let n = Scale(1.0 / x.nrows() as f64);
        let cross = n * (x.transpose() * y);
        (n * (x.transpose() * x), &cross * cross.transpose())
    }

    fn projector(w: &Mat<f64>) -> Mat<f64> {
        let (p, k) = (w.nrows(), w.ncols());
        let orthonormal = w.qr().compute_thin_Q();
        assert_eq!((orthonormal.nrows(), orthonormal.ncols()), (p, k));
        &orthonormal * orthonormal.transpose()
    }

    #[test]
    fn a_planted_subspace_is_found() {
        let x = {
            let raw = noise(4000, 10, 1);
            let turn = noise(10, 10, 2);
            centred(&raw * &turn)
        };
        let planted = noise(10, 2, 3);
        let y = centred(&x * &planted * noise(2, 30, 4) + Scale(0.1) * noise(4000, 30, 5));
        let (cov, scatter) = moments(&x, &y);
        let found = reduced_rank(&cov, &scatter, 1e-9, 2).unwrap();
        let gram = found.transpose() * &found;
        assert!((&gram - Mat::<f64>::identity(2, 2)).norm_max() < 1e-12);
        // The norm of a difference of projectors is the sine of the largest principal angle.
        let sine = (projector(&found) - projector(&planted)).norm_l2();
        assert!(sine < 0.05, "{sine}");
        // Principal components do not know what foretells.
        let principal = Eigenbasis::new(&cov).unwrap().vectors.subcols(0, 2).to_owned();
        assert!((projector(&principal) - projector(&planted)).norm_l2() > 0.5);
    }

    #[test]
    fn it_is_the_regression_on_the_leading_fitted_values() {
        let (n, k) = (60, 3);
        let x = centred(noise(n, 6, 6));
        let y = centred(&x * noise(6, 5, 7) + noise(n, 5, 8));
        let (cov, scatter) = moments(&x, &y);
        // The textbook: least squares B, fitted values XB = UDV', coefficients B·V_k·V_k'.
        let b = cov.llt(Side::Lower).unwrap().inverse() * (Scale(1.0 / n as f64) * (x.transpose() * &y));
        let fitted = &x * &b;
        let v = fitted.thin_svd().unwrap().V().subcols(0, k).to_owned();
        let textbook = &b * &v * v.transpose();
        // Ours: least squares on the codes.
        let w = reduced_rank(&cov, &scatter, 0.0, k).unwrap();
        let codes = &x * &w;
        let inverse = (codes.transpose() * &codes).llt(Side::Lower).unwrap().inverse();
        let ours = &w * (inverse * (codes.transpose() * &y));
        assert!((&ours - &textbook).norm_max() < 1e-9);
        assert!(textbook.norm_max() > 0.1);
        // The first directions are those of a smaller rank.
        let smaller = reduced_rank(&cov, &scatter, 0.0, 2).unwrap();
        assert!((w.subcols(0, 2).to_owned() - &smaller).norm_max() < 1e-9);
    }

    #[test]
    fn directions_are_no_more_than_what_the_labels_span_and_nonsense_is_refused() {
        let x = centred(noise(200, 6, 9));
        let y = centred(&x * noise(6, 2, 10) * noise(2, 9, 11));
        let (cov, scatter) = moments(&x, &y);
        assert_eq!(reduced_rank(&cov, &scatter, 0.1, 5).unwrap().ncols(), 2);
        assert!(reduced_rank(&cov, &Mat::zeros(6, 6), 0.1, 5).is_none());
        assert!(reduced_rank(&cov, &Mat::zeros(5, 5), 0.1, 5).is_none());
        assert!(reduced_rank(&cov, &scatter, f64::NAN, 5).is_none());
        assert!(reduced_rank(&cov, &scatter, 0.1, 0).is_none());
        assert!(reduced_rank(&Mat::zeros(6, 6), &scatter, 0.0, 5).is_none());
    }
}
