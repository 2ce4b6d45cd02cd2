//! Every statistic against the value a trusted Python library gives for the same generated input.
//!
//! Inputs are `fixtures/stats_*.csv` and `fixtures/reference_candles.csv` (numpy PCG64 draws, no
//! market data) with every digit; expected values come from numpy 2.4, scipy 1.17, statsmodels 0.15,
//! scikit-learn 1.9, arch 8.0 and bidask 2.1 on exactly these inputs.

use faer::Mat;
use huracan_core::costs::spread;
use huracan_core::series::{Profile, Series};
use huracan_core::stats::association::{kendall, spearman};
use huracan_core::stats::autocorrelation::{autocorrelations, ljung_box};
use huracan_core::stats::bootstrap::circular_block_means;
use huracan_core::stats::conformal::split_conformal_quantile;
use huracan_core::stats::data_snooping::{SpaStatistic, superior_predictive_ability};
use huracan_core::stats::divergence::{
    bin_shares, kolmogorov_smirnov, mmd2_unbiased, psi, quantile_edges, wasserstein1,
};
use huracan_core::stats::forecast_comparison::diebold_mariano;
use huracan_core::stats::hac::{SmallSample, newey_west_mean, ols_hac};
use huracan_core::stats::hedge::{hedge_update, uniform_weights};
use huracan_core::stats::isotonic::fit_isotonic;
use huracan_core::stats::moments::{kurtosis, mean, skewness, skewness_unbiased, std_dev};
use huracan_core::stats::multiple_testing::{benjamini_hochberg, benjamini_yekutieli, holm};
use huracan_core::stats::overfitting::probability_of_overfitting;
use huracan_core::stats::performance::{
    conditional_value_at_risk, hit_rate, max_drawdown, profit_factor, sortino, value_at_risk,
};
use huracan_core::stats::quantiles::quantile;
use huracan_core::stats::regression::{RecursiveLeastSquares, logistic, partial_least_squares};
use huracan_core::stats::sharpe::{
    SharpeSample, annualised_sharpe, expected_max_sharpe, lo_annualisation, sharpe,
};
use huracan_core::stats::splits::{backtest_paths, combinatorial_purged_splits};
use huracan_core::stats::theil_sen::theil_sen;
use huracan_core::words::{Market, Seed, Symbol, Timeframe, UtcMs};

/// The columns of a fixture whose cells are all numbers; the header is skipped.
fn columns(csv: &str) -> Vec<Vec<f64>> {
    let rows: Vec<Vec<f64>> =
        csv.lines().skip(1).map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect();
    (0..rows[0].len()).map(|j| rows.iter().map(|row| row[j]).collect()).collect()
}

fn series() -> Vec<Vec<f64>> {
    columns(include_str!("fixtures/stats_series.csv"))
}

fn matrix() -> Vec<Vec<f64>> {
    columns(include_str!("fixtures/stats_matrix.csv"))
}

fn design(columns: &[Vec<f64>]) -> Mat<f64> {
    Mat::from_fn(columns[0].len(), columns.len(), |i, j| columns[j][i])
}

#[track_caller]
fn close(found: f64, expected: f64, tolerance: f64) {
    let distance = (found - expected).abs();
    assert!(distance <= tolerance * expected.abs().max(1e-12), "found {found}, expected {expected}");
}

#[track_caller]
fn all_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).for_each(|(f, e)| close(*f, *e, tolerance));
}

#[test]
fn moments_and_autocorrelation() {
    let ret = &series()[0];
    close(std_dev(ret).unwrap(), 0.010864131224054689, 1e-12);
    close(skewness(ret).unwrap(), -0.01691640616551042, 1e-9);
    close(kurtosis(ret).unwrap(), 2.815158459729483, 1e-12);
    close(skewness_unbiased(ret).unwrap(), -0.017001532168777738, 1e-9);
    all_close(
        &autocorrelations(ret, 5).unwrap(),
        &[
            1.0,
            0.2697578552439497,
            0.10062241834932217,
            0.08680659877710019,
            -0.034956578905622794,
            -0.0015987370889053503,
        ],
        1e-10,
    );
    let test = ljung_box(ret, 5).unwrap();
    close(test.statistic, 27.80153852169714, 1e-10);
    close(test.p, 3.9798577914369e-05, 1e-8);
}

#[test]
fn newey_west() {
    let columns = series();
    let test = newey_west_mean(&columns[0], 5, SmallSample::Asymptotic).unwrap();
    close(test.mean, 0.0019658051437990397, 1e-12);
    close(test.std_error, 0.000803563871421356, 1e-10);
    close(test.t, 2.4463582967236848, 1e-10);
    close(2.0 * test.p_one_sided, 0.014430751140697655, 1e-8);

    let ones = vec![1.0; 300];
    let x = design(&[ones, columns[2].clone(), columns[3].clone()]);
    let plain = ols_hac(x.as_ref(), &columns[4], 5, SmallSample::Asymptotic).unwrap();
    all_close(&plain.coefficients, &[0.1865086639450787, 0.21037682410400854, 0.004237251341502489], 1e-9);
    all_close(&plain.std_errors, &[0.08220412832805185, 0.06300891446530796, 0.05888099645372218], 1e-9);
    all_close(&plain.t, &[2.268847900202517, 3.338842223981494, 0.0719629693229254], 1e-9);
    close(plain.r2, 0.039204293476102325, 1e-9);
    let scaled = ols_hac(x.as_ref(), &columns[4], 5, SmallSample::Scaled).unwrap();
    all_close(&scaled.std_errors, &[0.08261825754011315, 0.06332634173606769, 0.05917762803613436], 1e-9);
}

#[test]
fn sharpe_and_its_doubts() {
    let ret = &series()[0];
    close(sharpe(ret).unwrap(), 0.18094453235675903, 1e-12);
    close(annualised_sharpe(ret, 365.0).unwrap(), 3.456940436756073, 1e-12);
    let rho = autocorrelations(ret, 5).unwrap();
    close(lo_annualisation(&rho, 5, 365.0).unwrap(), 15.06702236338046, 1e-10);
    let sample = SharpeSample::of(ret).unwrap();
    close(sample.probabilistic(0.0).unwrap(), 0.9990361887374697, 1e-10);
    close(sample.minimum_track_record(0.0, 0.95).unwrap(), 85.1156023028891, 1e-9);
    for (trials, variance, sr0, deflated) in [
        (10, 0.0005, 0.03520908839064796, 0.9937503112150168),
        (10, 0.002, 0.07041817678129592, 0.970906299454737),
        (100, 0.0005, 0.05658600093256607, 0.9834698241377913),
        (100, 0.002, 0.11317200186513214, 0.8772880769050891),
        (400, 0.0005, 0.06674219064105391, 0.9748430277741339),
        (400, 0.002, 0.13348438128210782, 0.7920077969315971),
    ] {
        close(expected_max_sharpe(trials, variance).unwrap(), sr0, 1e-10);
        close(sample.deflated(trials, variance).unwrap(), deflated, 1e-9);
    }
}

#[test]
fn performance_figures() {
    let ret = &series()[0];
    close(sortino(ret, 365.0).unwrap(), 5.665028834173456, 1e-10);
    let log_returns: Vec<f64> = ret.iter().map(|r| r.ln_1p()).collect();
    close(max_drawdown(&log_returns), 0.17890803256832072, 1e-10);
    close(profit_factor(ret).unwrap(), 1.5705371836104212, 1e-10);
    close(hit_rate(ret).unwrap(), 0.55, 1e-12);
    close(value_at_risk(ret, 0.05).unwrap(), -0.0160647374843166, 1e-12);
    close(conditional_value_at_risk(ret, 0.05).unwrap(), -0.020336934041537934, 1e-12);
}

#[test]
fn diebold_mariano_and_block_bootstrap() {
    let columns = series();
    let gains: Vec<f64> = columns[0].iter().zip(&columns[1]).map(|(a, b)| a - b).collect();
    let test = diebold_mariano(&gains, 5).unwrap();
    close(test.statistic, 3.5687330762364207, 1e-9);
    close(test.hln, 3.5151970480347376, 1e-9);
    close(test.p_two_sided, 0.0005074890788111964, 1e-8);

    let by_column = columns_of_starts();
    let starts: Vec<Vec<usize>> =
        (0..by_column[0].len()).map(|r| by_column.iter().map(|c| c[r] as usize).collect()).collect();
    let means = circular_block_means(&gains, &starts, 10).unwrap();
    assert_eq!(means.len(), 200);
    close(mean(&gains).unwrap(), 0.0012636842298080794, 1e-12);
    close(std_dev(&means).unwrap(), 0.0003582368428733676, 1e-9);
    close(quantile(&means, 0.05).unwrap(), 0.0007410270332850243, 1e-9);
    assert_eq!(means.iter().filter(|m| **m <= 0.0).count(), 0);
}

fn columns_of_starts() -> Vec<Vec<f64>> {
    columns(include_str!("fixtures/stats_bootstrap_starts.csv"))
}

#[test]
fn overfitting_and_data_snooping() {
    let columns = columns(include_str!("fixtures/stats_pbo_matrix.csv"));
    let strategies: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let found = probability_of_overfitting(&strategies, 8).unwrap();
    assert_eq!(found.logits.len(), 70);
    close(found.pbo, 0.5, 1e-12);
    all_close(
        &found.logits[..5],
        &[
            -0.4700036292457356,
            1.7047480922384253,
            -0.4700036292457356,
            1.2039728043259361,
            -1.203972804325936,
        ],
        1e-9,
    );
    let without: Vec<&[f64]> = (0..12).filter(|j| *j != 3).map(|j| columns[j].as_slice()).collect();
    close(probability_of_overfitting(&without, 8).unwrap().pbo, 0.5285714285714286, 1e-12);

    // Simulated in the reference too: within 0.03. The reference (arch) does not studentise.
    let test = superior_predictive_ability(&strategies, 5.0, 4000, SpaStatistic::Raw, Seed(7)).unwrap();
    for (found, expected) in [(test.lower, 0.1725), (test.consistent, 0.2675), (test.upper, 0.2885)] {
        assert!((found - expected).abs() < 0.03, "found {found}, expected {expected}");
    }
}

#[test]
fn multiple_testing() {
    let p = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216];
    all_close(
        &benjamini_hochberg(&p),
        &[0.01, 0.04, 0.084, 0.084, 0.084, 0.1, 0.10571428571428572, 0.216, 0.216, 0.216],
        1e-12,
    );
    all_close(
        &holm(&p),
        &[0.01, 0.07200000000000001, 0.312, 0.312, 0.312, 0.312, 0.312, 0.615, 0.615, 0.615],
        1e-12,
    );
    all_close(
        &benjamini_yekutieli(&p),
        &[
            0.029289682539682536,
            0.11715873015873014,
            0.24603333333333333,
            0.24603333333333333,
            0.24603333333333333,
            0.2928968253968254,
            0.3096337868480725,
            0.6326571428571428,
            0.6326571428571428,
            0.6326571428571428,
        ],
        1e-12,
    );
}

#[test]
fn rank_measures() {
    let columns = series();
    let rho = spearman(&columns[0], &columns[1]).unwrap();
    close(rho.coefficient, 0.7156835075945288, 1e-12);
    close(rho.p_two_sided, 2.269988962851591e-48, 1e-6);
    close(kendall(&columns[0], &columns[1]).unwrap(), 0.5274916387959867, 1e-12);
    let line = theil_sen(&columns[2], &columns[4], 0.95).unwrap();
    close(line.slope, 0.21435138675783239, 1e-12);
    close(line.intercept, 0.22813009056446978, 1e-12);
    all_close(&line.interval, &[0.08389105658689767, 0.3430107934984439], 1e-12);
}

#[test]
fn distances_between_samples() {
    let a = &columns(include_str!("fixtures/stats_drift_a.csv"))[0];
    let b = &columns(include_str!("fixtures/stats_drift_b.csv"))[0];
    let edges = quantile_edges(a, 10).unwrap();
    all_close(
        &edges,
        &[
            -1.3199959819118625,
            -0.8449550770703093,
            -0.530901235694937,
            -0.23401906319861354,
            -0.02097430540650716,
            0.20532695375456017,
            0.48475151846951825,
            0.815869793108452,
            1.2076233417125992,
        ],
        1e-12,
    );
    all_close(&bin_shares(a, &edges).unwrap(), &[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], 1e-12);
    all_close(
        &bin_shares(b, &edges).unwrap(),
        &[0.11125, 0.08625, 0.08375, 0.09375, 0.0725, 0.0725, 0.0775, 0.1125, 0.08875, 0.20125],
        1e-12,
    );
    close(psi(a, b, 10).unwrap(), 0.10356741392009192, 1e-10);
    let test = kolmogorov_smirnov(a, b).unwrap();
    close(test.statistic, 0.119, 1e-12);
    close(test.p, 6.174896013181728e-06, 1e-9);
    close(wasserstein1(a, b).unwrap(), 0.24067426497248126, 1e-10);

    let x = matrix();
    let left = Mat::from_fn(150, 5, |i, j| x[j][i]);
    let right = Mat::from_fn(150, 5, |i, j| x[j][150 + i] + 0.3);
    let found = mmd2_unbiased(left.as_ref(), right.as_ref(), 0.1).unwrap();
    close(found, 0.0013065931746191195, 1e-9);
}

#[test]
fn purged_splits() {
    let ends: Vec<usize> = (0..120_usize).map(|i| (i + 3).min(119)).collect();
    let splits = combinatorial_purged_splits(&ends, 6, 2, 2).unwrap();
    assert_eq!((splits.len(), backtest_paths(6, 2)), (15, 5));
    let expected = [
        ([0, 1], 75, 45, 119, 6150),
        ([0, 2], 67, 25, 119, 5426),
        ([0, 3], 67, 25, 119, 4866),
        ([0, 4], 67, 25, 119, 4306),
        ([0, 5], 72, 25, 96, 4356),
        ([1, 2], 72, 0, 119, 5196),
        ([1, 3], 64, 0, 119, 4312),
        ([1, 4], 64, 0, 119, 3752),
        ([1, 5], 69, 0, 96, 3802),
        ([2, 3], 72, 0, 119, 4236),
        ([2, 4], 64, 0, 119, 3192),
        ([2, 5], 69, 0, 96, 3242),
        ([3, 4], 72, 0, 119, 3276),
        ([3, 5], 69, 0, 96, 2682),
        ([4, 5], 77, 0, 76, 2926),
    ];
    for (split, (blocks, count, first, last, sum)) in splits.iter().zip(expected) {
        assert_eq!(split.test_blocks, blocks);
        let train = &split.train;
        let found = (train.len(), train[0], train[train.len() - 1], train.iter().sum::<usize>());
        assert_eq!(found, (count, first, last, sum));
    }
}

#[test]
fn calibration_and_weights() {
    let columns = series();
    let fit = fit_isotonic(&columns[1][..100], &columns[0][..100], None).unwrap();
    let found: Vec<f64> = [-0.02, -0.01, 0.0, 0.01, 0.02].iter().map(|x| fit.predict(*x)).collect();
    all_close(
        &found,
        &[
            -0.01603542084820284,
            -0.010711850490682366,
            0.0012041781079643052,
            0.012136060535586718,
            0.018484917589433866,
        ],
        1e-10,
    );

    let scores: Vec<f64> = columns[0][..99].iter().map(|r| r.abs()).collect();
    close(split_conformal_quantile(&scores, 0.1).unwrap(), 0.01886163537102263, 1e-12);

    let strategies = self::columns(include_str!("fixtures/stats_pbo_matrix.csv"));
    let mut weights = uniform_weights(4);
    for t in 0..20 {
        let losses: Vec<f64> = (0..4).map(|j| strategies[j][t].abs() * 50.0).collect();
        hedge_update(&mut weights, &losses, 2.0);
    }
    all_close(
        &weights,
        &[0.8779042139789818, 0.0012281021534645408, 0.12078440235218037, 8.328151537336058e-05],
        1e-10,
    );
}

#[test]
fn partial_least_squares_logistic_and_recursive() {
    let columns = matrix();
    let (x, y) = (design(&columns[..20]), &columns[20]);
    let row = |i: usize| -> Vec<f64> { (0..20).map(|j| x[(i, j)]).collect() };

    let pls = partial_least_squares(x.as_ref(), y, 3).unwrap();
    all_close(
        &pls.coefficients,
        &[
            0.020682559343111508,
            -0.07642408117533706,
            -0.13330149314242862,
            -0.014209759755086702,
            -0.08013166237874486,
            -0.04552102765330253,
            0.010260420790125601,
            -0.03248804212315354,
            0.021272519967214732,
            0.04288010465380368,
            0.04643957233709615,
            -0.08269416593484347,
            -0.14555653381411776,
            -0.06035330098387312,
            -0.00954738432002104,
            -0.0916800078171335,
            0.056491832265218575,
            0.0552684844594313,
            -0.10916827444272661,
            -0.013680851705920476,
        ],
        1e-8,
    );
    close(pls.predict(&row(0)), -2.4816370658738447, 1e-8);

    let positive: Vec<bool> = y.iter().map(|v| *v > 0.0).collect();
    let fit = logistic(x.as_ref(), &positive, 1.0).unwrap();
    // scikit-learn's lbfgs stops some 5e-7 short of the optimum; the first and the last figure of the
    // optimum itself come from a numpy Newton iteration with a gradient below 1e-13.
    let found: Vec<f64> = fit.coefficients.iter().map(|b| b + 1.0).collect();
    let expected: Vec<f64> = [
        -0.06338930862572566,
        -0.024965794451448305,
        -0.3667232599926558,
        0.43873797740146825,
        0.08383342625404358,
        -0.10507108279704808,
        -0.16323233820013233,
        -0.07849906037319494,
        0.5065484842846966,
        0.26009081905002124,
        -0.3522907419067219,
        0.14428708940652266,
        -0.18230024205086015,
        -0.01969321961191632,
        0.2940726284945586,
        -0.29664391088404235,
        0.23254357287061128,
        0.15771120668894387,
        -0.5738492364365657,
        -0.7307294330775488,
    ]
    .iter()
    .map(|b| b + 1.0)
    .collect();
    all_close(&found, &expected, 5e-6);
    close(fit.intercept, -0.07064531821354669, 1e-5);
    close(fit.coefficients[0], -0.06338885616523574, 1e-9);
    close(fit.intercept, -0.07064506641443048, 1e-9);

    let mut online = RecursiveLeastSquares::new(20, 0.99, 10.0);
    (0..400).for_each(|i| {
        online.push(&row(i), y[i]);
    });
    all_close(
        &online.coefficients(),
        &[
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
        ],
        1e-9,
    );
}

type Columns<'a> = (&'a [f64], &'a [f64], &'a [f64], &'a [f64]);

/// Open, high, low, close and base volume.
fn candles(symbol: &str) -> [Vec<f64>; 5] {
    let mut found: [Vec<f64>; 5] = Default::default();
    let rows = include_str!("fixtures/reference_candles.csv").lines().filter(|line| line.starts_with(symbol));
    for row in rows {
        for (column, cell) in found.iter_mut().zip(row.split(',').skip(1)) {
            column.push(cell.parse().unwrap());
        }
    }
    found
}

#[test]
fn spread_estimators() {
    struct Expected {
        symbol: &'static str,
        edge: f64,
        first300: f64,
        rolling240: [f64; 4],
        abdi_ranaldo: f64,
        corwin_schultz_raw: f64,
        corwin_schultz: f64,
        roll: f64,
        open_is_previous_close: f64,
    }
    let expected = [
        Expected {
            symbol: "AAAUSDT",
            edge: 0.000982332469108096,
            first300: 0.0009759575529979302,
            rolling240: [
                0.0009362173322688753,
                0.0009697957137372065,
                0.001103942930805781,
                0.0009604372063277473,
            ],
            abdi_ranaldo: 0.0008807060014448096,
            corwin_schultz_raw: -4.213201103744385e-05,
            corwin_schultz: 0.000434946235810215,
            roll: 0.0010539027962321497,
            open_is_previous_close: 0.0,
        },
        Expected {
            symbol: "BBBUSDT",
            edge: 0.0031602957947145204,
            first300: 0.003381011932605669,
            rolling240: [
                0.003372731500682388,
                0.0030938435052306023,
                0.002988983484701804,
                0.003122022446409654,
            ],
            abdi_ranaldo: 0.001995740390016128,
            corwin_schultz_raw: -0.0016249374556006394,
            corwin_schultz: 0.0002669505252364584,
            roll: 0.0028879242407811815,
            open_is_previous_close: 0.07839866555462886,
        },
        Expected {
            symbol: "CCCUSDT",
            edge: 0.0,
            first300: 0.0,
            rolling240: [0.0, 0.0, 0.0, 0.0],
            abdi_ranaldo: 0.0008560877610028591,
            corwin_schultz_raw: 0.0003179509341662911,
            corwin_schultz: 0.0006011215366717824,
            roll: 0.0008798086128866782,
            open_is_previous_close: 1.0,
        },
    ];
    for e in expected {
        let columns = candles(e.symbol);
        let [open, high, low, close_, _] = columns.each_ref().map(Vec::as_slice);
        let all: Columns<'_> = (open, high, low, close_);
        let cut =
            |from: usize, to: usize| (&all.0[from..to], &all.1[from..to], &all.2[from..to], &all.3[from..to]);
        let edge = |from: usize, to: usize| {
            let (o, h, l, c) = cut(from, to);
            spread::edge(o, h, l, c).unwrap()
        };
        close(edge(0, 1200), e.edge, 1e-9);
        close(edge(0, 300), e.first300, 1e-9);
        let rolling = spread::edge_rolling(open, high, low, close_, 240);
        assert_eq!(rolling.iter().filter(|v| v.is_none()).count(), 239);
        for (i, wanted) in [239_usize, 500, 777, 1199].into_iter().zip(e.rolling240) {
            close(edge(i - 239, i + 1), wanted, 1e-9);
            close(rolling[i].unwrap(), wanted, 1e-7);
        }
        close(spread::abdi_ranaldo(high, low, close_).unwrap(), e.abdi_ranaldo, 1e-9);
        close(spread::corwin_schultz_raw(high, low).unwrap(), e.corwin_schultz_raw, 1e-9);
        close(spread::corwin_schultz(high, low).unwrap(), e.corwin_schultz, 1e-9);
        close(spread::roll(close_).unwrap(), e.roll, 1e-9);
        close(spread::share_open_is_previous_close(open, close_).unwrap(), e.open_is_previous_close, 1e-12);
    }
}

#[test]
fn share_of_flat_bars() {
    for (symbol, expected) in
        [("AAAUSDT", 0.0025), ("BBBUSDT", 0.33416666666666667), ("CCCUSDT", 0.0008333333333333334)]
    {
        let [open, high, low, close_, volume] = candles(symbol);
        let series = Series {
            symbol: Symbol::parse(symbol, Market::Spot).unwrap(),
            timeframe: Timeframe::M1,
            start: UtcMs(1_735_689_600_000),
            quote_volume: close_.iter().zip(&volume).map(|(c, v)| c * v).collect(),
            trades: None,
            taker_buy_base: None,
            close: close_,
            open,
            high,
            low,
            volume,
        };
        close(Profile::of(&series, None).flat_share, expected, 1e-12);
    }
}
