//! Everything linear that is fitted from a Gram, against what scikit-learn, statsmodels and numpy
//! give from the rows themselves.
//!
//! Inputs are `fixtures/stats_matrix.csv` (400 rows, 20 features, target, weight) and
//! `fixtures/stats_series.csv`, numpy PCG64 draws with every digit. Partial least squares, logistic
//! regression and recursive least squares, which do not come from a Gram, are in `stats_reference`.

use faer::linalg::solvers::{Llt, Solve, SolveLstsq};
use faer::{Mat, MatRef, Scale, Side};
use huracan_core::encoder::{Eigenbasis, Encoder};
use huracan_core::gram::{Gram, Moments};
use huracan_core::heads::{own, pooled};
use huracan_core::words::{Seed, UtcMs};
use rand_distr::{Distribution, StandardNormal};

const P: usize = 20;

/// Fits relative to the expected value; next to nothing is measured against 1e-3.
#[track_caller]
fn all_close(found: impl IntoIterator<Item = f64>, expected: &[f64], tolerance: f64) {
    let found: Vec<f64> = found.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let off = (f - e).abs() / e.abs().max(1e-3);
        assert!(off <= tolerance, "value {i}: found {f}, expected {e}, off by {off:e}");
    }
}

/// A fixture as rows × columns; the header is skipped.
fn fixture(csv: &str) -> Mat<f64> {
    let parse = |line: &str| line.split(',').map(|cell| cell.parse().unwrap()).collect::<Vec<f64>>();
    let rows: Vec<Vec<f64>> = csv.lines().skip(1).map(parse).collect();
    Mat::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j])
}

/// 400 × 22: features, target, weight.
fn data() -> Mat<f64> {
    fixture(include_str!("fixtures/stats_matrix.csv"))
}

/// Design `[z, 1]` and target of the rows of [`data`], each row times `factor(row)`.
fn scaled_rows(data: &Mat<f64>, factor: impl Fn(usize) -> f64) -> (Mat<f64>, Mat<f64>) {
    let cell = |i: usize, j: usize| if j < P { data[(i, j)] } else { 1.0 };
    let a = Mat::from_fn(data.nrows(), P + 1, |i, j| factor(i) * cell(i, j));
    let y = Mat::from_fn(data.nrows(), 1, |i, _| factor(i) * data[(i, P)]);
    (a, y)
}

fn gram(a: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Gram {
    let mut gram = Gram::new(a.ncols() - 1, y.ncols());
    gram.add_rows(a, y);
    gram
}

fn moments() -> Moments {
    let (a, y) = scaled_rows(&data(), |_| 1.0);
    gram(a.as_ref(), y.as_ref()).moments().unwrap()
}

fn identity(p: usize) -> Mat<f64> {
    Mat::identity(p, p)
}

/// Moments around zero instead of around the mean: every row is added a second time, mirrored.
fn uncentred(a: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Moments {
    let p = a.ncols() - 1;
    let mirrored = Mat::from_fn(a.nrows(), p + 1, |i, j| if j < p { -a[(i, j)] } else { a[(i, j)] });
    let mut gram = gram(a, y);
    gram.add_rows(mirrored.as_ref(), (y * Scale(-1.0)).as_ref());
    gram.moments().unwrap()
}

fn column(m: &Mat<f64>) -> Vec<f64> {
    (0..m.nrows()).map(|i| m[(i, 0)]).collect()
}

/// `Σ‖y − a − xb‖² + alpha·‖b‖²` from moments: slopes and intercept.
fn ridge(moments: &Moments, alpha: f64) -> (Vec<f64>, f64) {
    let lambda = alpha / moments.n;
    let slopes =
        column(&pooled::ridge(&moments.cov, &moments.cross, lambda, &identity(moments.mean.len())).unwrap());
    let at_mean: f64 = slopes.iter().zip(&moments.mean).map(|(b, m)| b * m).sum();
    let intercept = moments.mean_y[0] - at_mean;
    (slopes, intercept)
}

#[test]
fn principal_components_are_scikit_learns() {
    let moments = moments();
    all_close(moments.mean.clone(), &MEAN, 1e-10);
    all_close(moments.mean_y.clone(), &[Y_MEAN], 1e-10);
    let basis = Eigenbasis::new(&moments.cov).unwrap();
    assert_eq!(basis.rank, P);
    // scikit-learn divides by n − 1, a Gram by n.
    let n = moments.n;
    all_close(basis.values[..6].iter().map(|v| v * n / (n - 1.0)), &EXPLAINED_VARIANCE, 1e-10);
    all_close(basis.values[..6].iter().map(|v| (v * n).sqrt()), &SINGULAR_VALUES, 1e-10);

    let encoder = Encoder::pca(&basis, &[1.0; P], 6, UtcMs(0));
    all_close(encoder.explained_variance_ratio.clone(), &EXPLAINED_VARIANCE_RATIO, 1e-10);
    // Signs as well: the largest |loading| is positive on both sides.
    let loadings = encoder.loadings().unwrap();
    for (k, expected) in COMPONENTS.iter().enumerate() {
        all_close((0..P).map(|i| loadings[(i, k)]), expected, 1e-9);
    }
    let data = data();
    let centred: Vec<f64> = (0..P).map(|j| data[(0, j)] - moments.mean[j]).collect();
    let mut codes = [0.0; 6];
    encoder.encode(&centred, &mut codes);
    all_close(codes.map(f64::abs), &CODES_OF_ROW_0, 1e-9);
    let whitened = codes.iter().zip(EXPLAINED_VARIANCE).map(|(c, v)| c.abs() / v.sqrt());
    all_close(whitened, &WHITENED_CODES_OF_ROW_0, 1e-9);
}

#[test]
fn ridge_from_moments_is_scikit_learns() {
    let moments = moments();
    let (slopes, intercept) = ridge(&moments, 10.0);
    all_close(slopes, &RIDGE_10, 1e-10);
    all_close([intercept], &[RIDGE_10_INTERCEPT], 1e-10);
    // The same in the eigenbasis, without codes.
    let basis = Eigenbasis::new(&moments.cov).unwrap();
    let in_basis = pooled::ridge_in_basis(&basis, &moments.cross, 10.0 / moments.n, 0);
    all_close(column(&in_basis), &RIDGE_10, 1e-10);
}

#[test]
fn rows_times_the_root_of_their_weight_give_the_weighted_ridge() {
    let data = data();
    let (a, y) = scaled_rows(&data, |i| data[(i, P + 1)].sqrt());
    let weighted = gram(a.as_ref(), y.as_ref());
    let total: f64 = (0..data.nrows()).map(|i| data[(i, P + 1)]).sum();
    all_close([weighted.rows()], &[total], 1e-10);
    let (slopes, intercept) = ridge(&weighted.moments().unwrap(), 10.0);
    all_close(slopes, &RIDGE_10_WEIGHTED, 1e-10);
    all_close([intercept], &[RIDGE_10_WEIGHTED_INTERCEPT], 1e-10);
}

#[test]
fn a_deviation_from_the_prior_is_numpys_ridge_toward_the_prior() {
    let (a, y) = scaled_rows(&data(), |_| 1.0);
    let (rows, alpha) = (80, 50.0);
    let first = uncentred(a.as_ref().subrows(0, rows), y.as_ref().subrows(0, rows));
    let prior = Mat::from_fn(P, 1, |i, _| 0.5 * RIDGE_10[i]);
    let tau = alpha / rows as f64;
    // Rows without end: the evidence is not in question here, only what it would choose.
    let deviation = &own::deviations(&first, &prior, 1e9, &[tau], 0.0)[0];
    assert_eq!(deviation.tau, Some(tau));
    all_close((0..P).map(|i| prior[(i, 0)] + deviation.weights[i]), &RIDGE_TO_PRIOR, 1e-10);
}

#[test]
fn a_decayed_gram_is_recursive_least_squares() {
    let (a, y) = scaled_rows(&data(), |_| 1.0);
    let (forgetting, n) = (0.99_f64, a.nrows());
    let mut sums = Gram::new(P, 1);
    for i in 0..n {
        let mut next = gram(a.as_ref().subrows(i, 1), y.as_ref().subrows(i, 1));
        next.add(&sums, forgetting);
        sums = next;
    }
    // Recursive least squares has no intercept: centred moments are brought back around zero.
    let centred = sums.moments().unwrap();
    let m = |i: usize| centred.mean[i];
    let cov = Mat::from_fn(P, P, |i, j| centred.cov[(i, j)] + m(i) * m(j));
    let cross = Mat::from_fn(P, 1, |i, _| centred.cross[(i, 0)] + m(i) * centred.mean_y[0]);
    let lambda = 10.0 * forgetting.powi(n as i32) / centred.n;
    let theta = column(&pooled::ridge(&cov, &cross, lambda, &identity(P)).unwrap());
    all_close(theta.clone(), &THETA, 1e-9);
    all_close(theta, &THETA_BATCH, 1e-9);
}

#[test]
fn classical_standard_errors_from_moments_are_statsmodels() {
    let series = fixture(include_str!("fixtures/stats_series.csv"));
    let a = Mat::from_fn(series.nrows(), 3, |i, j| if j < 2 { series[(i, 2 + j)] } else { 1.0 });
    let y = Mat::from_fn(series.nrows(), 1, |i, _| series[(i, 4)]);
    let moments = gram(a.as_ref(), y.as_ref()).moments().unwrap();
    let (slopes, intercept) = ridge(&moments, 0.0);
    all_close(
        [intercept, slopes[0], slopes[1]],
        &[0.1865086639450787, 0.21037682410400854, 0.004237251341502489],
        1e-9,
    );
    let n = moments.n;
    let noise = n * (moments.var_y[0] - moments.score_covariance(&slopes, 0)) / (n - 3.0);
    let inverse = Llt::new(moments.cov.as_ref(), Side::Lower).unwrap().solve(identity(2));
    let mean = Mat::from_fn(2, 1, |i, _| moments.mean[i]);
    let of_intercept = 1.0 + (mean.transpose() * &inverse * &mean)[(0, 0)];
    let errors = [of_intercept, inverse[(0, 0)], inverse[(1, 1)]].map(|v| (noise * v / n).sqrt());
    all_close(errors, &[0.05825226312910143, 0.06048958577185325, 0.05800588094221764], 1e-9);
}

/// Correlated rows with means far from zero, as features have them: n × p, and a noisy target.
fn correlated(n: usize, p: usize) -> (Mat<f64>, Mat<f64>) {
    let mut rng = Seed(17).child("blocked_rows", 0).rng();
    let mut draw = || -> f64 { StandardNormal.sample(&mut rng) };
    let mut state = vec![0.0; p];
    let mut x = Mat::zeros(n, p);
    let mut y = Mat::zeros(n, 1);
    for i in 0..n {
        let market = draw();
        for (j, s) in state.iter_mut().enumerate() {
            *s = 0.9 * *s + 0.6 * market + draw();
            x[(i, j)] = (0.5 + 0.1 * j as f64) * (*s + (j % 5) as f64 - 2.0);
        }
        y[(i, 0)] = 0.05 * state[0] - 0.03 * state[p / 2] + draw();
    }
    (x, y)
}

#[test]
fn blocks_summed_give_the_ridge_of_the_rows() {
    let (blocks, p) = (80, 40);
    let n = 72 * blocks;
    let (x, y) = correlated(n, p);
    let a = Mat::from_fn(n, p + 1, |i, j| if j < p { x[(i, j)] } else { 1.0 });
    let spans: Vec<Gram> =
        (0..blocks).map(|b| gram(a.as_ref().subrows(72 * b, 72), y.as_ref().subrows(72 * b, 72))).collect();
    let moments = Gram::sum(p, 1, &spans).moments().unwrap();
    let moments = moments.standardised(&moments.deviations());

    // From the rows: two passes for means and deviations, then least squares by QR.
    let rows = n as f64;
    let mean_of = |m: &Mat<f64>, j: usize| (0..n).map(|i| m[(i, j)]).sum::<f64>() / rows;
    let means: Vec<f64> = (0..p).map(|j| mean_of(&x, j)).collect();
    let deviation = |j: usize| ((0..n).map(|i| (x[(i, j)] - means[j]).powi(2)).sum::<f64>() / rows).sqrt();
    let deviations: Vec<f64> = (0..p).map(deviation).collect();
    let mean_y = mean_of(&y, 0);
    for lambda in [0.0, 0.1, 1.0, 30.0] {
        let root = f64::sqrt(lambda * rows);
        let standardised = |i: usize, j: usize| (x[(i, j)] - means[j]) / deviations[j];
        let penalty = |i: usize, j: usize| if i == j { root } else { 0.0 };
        let design =
            Mat::from_fn(n + p, p, |i, j| if i < n { standardised(i, j) } else { penalty(i - n, j) });
        let target = Mat::from_fn(n + p, 1, |i, _| if i < n { y[(i, 0)] - mean_y } else { 0.0 });
        let direct = design.qr().solve_lstsq(&target);
        let blocked = pooled::ridge(&moments.cov, &moments.cross, lambda, &identity(p)).unwrap();
        for j in 0..p {
            let off = (direct[(j, 0)] - blocked[(j, 0)]).abs();
            assert!(off <= 1.2e-14, "coefficient {j} at penalty {lambda}: {off:e} apart");
        }
    }
}

const MEAN: [f64; 20] = [
    0.1738852189225261,
    0.1821994326568052,
    0.06704372207331116,
    0.0526909512003547,
    0.00015110049188156934,
    -0.2066413041383486,
    0.04208336526908563,
    -0.30528226933445457,
    -0.035462198170743274,
    -0.03247825075393798,
    -0.04217618345187311,
    0.2769411006916888,
    -0.03241534476662875,
    -0.09039581582360846,
    0.23892337469654,
    0.3288750947749808,
    -0.005811417801440549,
    -0.08492134611075952,
    -0.08947565624915849,
    0.0699803580380747,
];

const Y_MEAN: f64 = 0.023309537167358823;

const EXPLAINED_VARIANCE: [f64; 6] = [
    53.8996914592348,
    30.709455198827115,
    16.8069667802651,
    14.06435295360768,
    11.459775177351482,
    0.3684897033264939,
];

const SINGULAR_VALUES: [f64; 6] = [
    146.64916260325077,
    110.69359793742373,
    81.89004668044691,
    74.91112619958042,
    67.61989570949693,
    12.125485212034654,
];

const EXPLAINED_VARIANCE_RATIO: [f64; 6] = [
    0.412494449191132,
    0.2350195235677843,
    0.12862375121094113,
    0.10763452197524753,
    0.08770168291614401,
    0.002820052454682894,
];

const COMPONENTS: [[f64; 20]; 6] = [
    [
        -0.31662576161581746,
        -0.0510052278877581,
        0.3274149516034443,
        0.012305105399130328,
        0.250626131886489,
        0.40383268758202917,
        0.058305544268146346,
        0.4283043888214247,
        0.042725762226609613,
        -0.191922435873385,
        -0.028164004289868278,
        0.11820858893052981,
        0.3217117576827915,
        0.16781723368722434,
        -0.26081544140922386,
        -0.08435444811041837,
        -0.20402668777999175,
        0.061940614490166926,
        0.24042477528858103,
        -0.11645128759698413,
    ],
    [
        -0.009696387387161859,
        0.03626688846466621,
        -0.027491854697568267,
        -0.06726804452275847,
        0.23179911669744419,
        -0.11785949701331146,
        0.3903139189137507,
        -0.2196835805440183,
        0.002553798874534175,
        -0.1891934013814864,
        0.08209935605907487,
        0.5339120437554593,
        0.1839649796961548,
        -0.3558177630235911,
        0.08859229335173491,
        0.3334399057848464,
        -0.23380191190960878,
        0.20860664995715442,
        -0.10958189148706934,
        0.08837940953982021,
    ],
    [
        0.32853244338711973,
        0.22419318983510655,
        0.49303932897509173,
        0.04961455067425706,
        -0.19476257448395404,
        -0.040427728524873044,
        0.10279198340773248,
        -0.23552398289077717,
        -0.14102634461412905,
        0.12749014871158604,
        -0.12207960549344948,
        -0.0732951387557487,
        0.30663838806260557,
        -0.20711591423039455,
        -0.03635889006982724,
        -0.00015793330590722164,
        -0.14648045060675532,
        -0.40325094100953,
        0.14987116123146638,
        -0.29909326766822214,
    ],
    [
        0.02302750837475647,
        0.28637792483091873,
        0.1032892768900017,
        0.13621935199870666,
        0.18233299675838718,
        -0.07878941461862933,
        -0.28215838683918615,
        -0.018263922512086177,
        -0.009873152873386382,
        -0.08669180778412128,
        -0.1885725280969739,
        0.15439310527749145,
        0.09249935079967507,
        0.42056469530312707,
        0.3351691748373337,
        0.4195255562619226,
        0.11391429830339145,
        -0.20360735249102718,
        0.23159117921604983,
        0.3463891989838051,
    ],
    [
        -0.13077564350794277,
        0.12321338742717093,
        -0.3906981385224638,
        -0.24515044349598117,
        0.04674705213105093,
        -0.29337698239375565,
        -0.38533895405732477,
        -0.07521964126976241,
        -0.2622170371730056,
        0.2697288646038025,
        0.08549354298544262,
        0.02733374968229969,
        0.4417113074074681,
        0.03754651953203063,
        -0.18080379410357034,
        -0.034412246302098055,
        -0.21724678062303365,
        0.14339688453458208,
        0.21784657460914758,
        -0.13189564937362214,
    ],
    [
        -0.09964658215693466,
        -0.2718888135437479,
        -0.009259252209885084,
        0.24257255054346646,
        0.12397781022889443,
        -0.2922493431350057,
        0.3008793794696811,
        0.10956393938524257,
        -0.13498686181093386,
        0.21756869158636982,
        0.39295890224576696,
        0.09739386471417544,
        -0.026448308820854843,
        0.4082846640884401,
        0.2160670132010276,
        0.07334136341697602,
        -0.029781014592797847,
        -0.21737601237014822,
        -0.048527292514463465,
        -0.39305628388042846,
    ],
];

const CODES_OF_ROW_0: [f64; 6] = [
    9.730391492496537,
    12.836336800057994,
    2.266301664565414,
    4.017946397138311,
    3.69125368441965,
    0.483492612580724,
];

const WHITENED_CODES_OF_ROW_0: [f64; 6] = [
    1.3253701172556072,
    2.316354617972059,
    0.5528063803779308,
    1.0713817892685278,
    1.0904000046820628,
    0.7964841986434064,
];

const RIDGE_10: [f64; 20] = [
    0.016897697947479765,
    0.010301962552302889,
    -0.22175290254305188,
    0.2354987958938533,
    -0.10177306457353268,
    -0.12805937454541563,
    -0.029740194929469468,
    -0.05691276004688731,
    0.1412250049298589,
    -0.057641508643991486,
    -0.0005980904681523244,
    0.0031356524841080016,
    -0.15604771941254264,
    -0.0006177634902855048,
    -0.025627723811018795,
    -0.20650398948590948,
    -0.05800053182440564,
    0.03679439398848731,
    -0.16267740460480906,
    -0.1425643015164825,
];

const RIDGE_10_INTERCEPT: f64 = 0.04775681517758283;

const RIDGE_10_WEIGHTED: [f64; 20] = [
    -0.0033127384021600344,
    -0.03210112131837797,
    -0.21636438028085783,
    0.2732289337842937,
    -0.10608241999048833,
    -0.15547837521317215,
    -0.026414138014101207,
    -0.05291738044580769,
    0.07634979880600518,
    -0.05477766550607208,
    -0.029708606893455433,
    0.022781151189560336,
    -0.20512006396609822,
    0.0008454159608037976,
    -0.07739799834277622,
    -0.16607141024420924,
    -0.04823821285616433,
    0.02249470457182818,
    -0.14326815042943314,
    -0.17020788642240287,
];

const RIDGE_10_WEIGHTED_INTERCEPT: f64 = 0.03287932073791087;

const RIDGE_TO_PRIOR: [f64; 20] = [
    0.017282521763421523,
    0.015377157001217548,
    -0.1868590627310256,
    0.06017788409966319,
    -0.0750381955986339,
    -0.007809061715508228,
    0.0025784762751326334,
    -0.029895553747292816,
    0.07629198736390416,
    0.09074383173559115,
    -0.009458221261686536,
    0.05801009653863231,
    -0.2301220947101894,
    -0.06842449214890306,
    -0.0872990588293464,
    -0.20270390581245634,
    0.00152476893751222,
    0.026345732600214843,
    -0.16840495747245593,
    -0.04559400370416476,
];

const THETA: [f64; 20] = [
    -0.03013692086456115,
    -0.02040044985211973,
    -0.14887494434961357,
    0.1785852570816588,
    -0.0009687971242601178,
    -0.23998061431173165,
    -0.1073343634121761,
    -0.20019396783008814,
    0.15959578773252123,
    -0.33076343608691167,
    0.011143677705938203,
    -0.2096134928189926,
    -0.14113304036237015,
    0.03194337877275113,
    0.11514456674571272,
    -0.26232323855421275,
    -0.22142470373772088,
    0.07714845090108938,
    -0.22191165168064167,
    -0.22897350275430275,
];

const THETA_BATCH: [f64; 20] = [
    -0.030136920864553027,
    -0.02040044985212035,
    -0.14887494434961565,
    0.17858525708165934,
    -0.0009687971242533983,
    -0.23998061431173226,
    -0.1073343634121774,
    -0.2001939678300855,
    0.1595957877325233,
    -0.33076343608690995,
    0.011143677705939764,
    -0.2096134928189902,
    -0.14113304036237675,
    0.03194337877275008,
    0.1151445667457105,
    -0.26232323855421363,
    -0.22142470373772558,
    0.07714845090108721,
    -0.2219116516806367,
    -0.22897350275430453,
];
