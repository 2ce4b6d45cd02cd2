//! The figures of `metrics.json`, from simulated trades and daily net returns.
//!
//! All figures are after costs unless they say gross, in percent or basis points of fixed capital
//! (profits are not reinvested, so results add up). What is undefined is `None`. Whether the figures
//! are good enough is decided in `choose`, not here.

use crate::stats::autocorrelation::autocorrelations;
use crate::stats::bootstrap::{percentile_interval, stationary_sharpes};
use crate::stats::hac::{SmallSample, newey_west_mean};
use crate::stats::moments::mean;
use crate::stats::performance::{conditional_value_at_risk, hit_rate, max_drawdown, profit_factor, sortino};
use crate::stats::quantiles::quantile;
use crate::stats::ranks::ranks;
use crate::stats::sharpe::{SharpeSample, annualised_sharpe, lo_annualisation};
use crate::words::{Seed, Timeframe, UtcMs};

/// Crypto trades every day of the year.
const DAYS_PER_YEAR: f64 = 365.0;
/// Level of the Sharpe interval.
const INTERVAL_LEVEL: f64 = 0.95;
/// Days beyond these quantiles are drawn in to them for the winsorised figure.
const WINSOR_TAIL: f64 = 0.025;
/// Tail of the conditional value at risk.
const CVAR_TAIL: f64 = 0.05;

/// One simulated round trip with the whole capital of the coin.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Trade {
    /// When the position was taken.
    pub entry: UtcMs,
    /// When it was closed.
    pub exit: UtcMs,
    /// +1 long, −1 short.
    pub side: f64,
    /// Result before costs, bps of capital.
    pub gross_bps: f64,
    /// Round-trip cost, bps of capital.
    pub cost_bps: f64,
    /// Orders it took: 2 for a round trip, fewer where a position was renewed at its horizon.
    pub orders: u8,
}

impl Trade {
    /// Result after costs, bps of capital.
    pub fn net_bps(&self) -> f64 {
        self.gross_bps - self.cost_bps
    }
}

/// What [`measure`] needs besides the results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricOptions {
    /// Length of the bars the head was evaluated on.
    pub timeframe: Timeframe,
    /// Origin of the bootstrap draws.
    pub seed: Seed,
    /// Bootstrap repetitions for the Sharpe interval.
    pub repetitions: usize,
    /// Mean block of the stationary bootstrap, days: max(2 horizons, 3 days).
    pub mean_block_days: f64,
    /// Newey–West lags, days: the horizon rounded up, and one day.
    pub hac_lag_days: usize,
    /// Strategies tried so far, this one included, for the deflated Sharpe ratio.
    pub n_trials: usize,
    /// Variance of the tried strategies' Sharpe ratios per day; `None` when not known.
    pub trial_sharpe_variance: Option<f64>,
}

impl MetricOptions {
    /// The defaults for a label `horizon_bars` ahead on `timeframe` bars: 400 repetitions, block and
    /// lag as METHOD has them, one trial.
    pub fn for_horizon(timeframe: Timeframe, horizon_bars: usize, seed: Seed) -> MetricOptions {
        let horizon_days = horizon_bars as f64 / timeframe.bars_per_day();
        MetricOptions {
            timeframe,
            seed,
            repetitions: 400,
            mean_block_days: (2.0 * horizon_days).max(3.0),
            hac_lag_days: horizon_days.ceil() as usize + 1,
            n_trials: 1,
            trial_sharpe_variance: None,
        }
    }
}

/// Out-of-sample figures of one head on one coin.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Number of trades.
    pub sample_size: usize,
    /// Bars in the window.
    pub oos_bars: usize,
    /// Days in the daily series.
    pub oos_days: usize,
    /// UTC days on which a position was held at some time.
    pub active_days: usize,
    /// Sum of gross results, percent of capital.
    pub gross_pnl_pct: f64,
    /// Sum of net results, percent of capital.
    pub net_pnl_pct: f64,
    /// Net without its best day, percent of capital, from the daily series.
    pub net_ex_best_day_pct: f64,
    /// Net with days beyond the 2.5 % and 97.5 % quantiles drawn in to them, percent of capital.
    pub net_winsorised_pct: f64,
    /// Daily mean over daily standard deviation × √365.
    pub sharpe: Option<f64>,
    /// 95 % percentile interval of `sharpe` by the stationary bootstrap.
    pub sharpe_ci_95: Option<[f64; 2]>,
    /// P(true Sharpe > 0): the probabilistic Sharpe ratio.
    pub psr: Option<f64>,
    /// Probabilistic Sharpe ratio against the best of `n_trials` worthless strategies.
    pub deflated_sharpe: Option<f64>,
    /// As asked in the options.
    pub n_trials: usize,
    /// Annual Sharpe ratio corrected for serial correlation (Lo 2002), over the HAC lags.
    pub lo_sharpe: Option<f64>,
    /// Sortino ratio, annual.
    pub sortino: Option<f64>,
    /// Mean of the worst 5 % of days, bps; negative for a loss.
    pub cvar_5_daily_bps: Option<f64>,
    /// Newey–West t of the mean daily net result (small-sample scaled).
    pub hac_t: Option<f64>,
    /// P(T ≥ t) by Student's t: small means the mean is above zero.
    pub hac_p_one_sided: Option<f64>,
    /// Share of trades with net > 0.
    pub hit_rate: Option<f64>,
    /// Largest fall of the daily net curve below its peak, percent of capital; positive.
    pub max_drawdown_pct: f64,
    /// Mean net result of a trade, bps.
    pub avg_trade_bps: Option<f64>,
    /// Capital traded a day, both sides counted: 1 is one entry or exit a day.
    pub turnover_per_day: f64,
    /// Net gains over net losses of trades.
    pub profit_factor: Option<f64>,
    /// Share of time in the market, 0..1, as given.
    pub exposure: f64,
    /// Net bps of trades closed in the last 7×24 h of the window; 0 when none.
    pub last_7d_net_bps: f64,
    /// How many those are.
    pub last_7d_trades: usize,
}

/// Measures one head on one coin over `window` (start inclusive, end exclusive).
///
/// `daily_net_bps` has one entry for each UTC day of the window, 0 on flat days, and should add up
/// to the trades' net. `exposure` is the share of bars with a position. Linear in the inputs; the
/// bootstrap costs blocks, not rows.
pub fn measure(
    trades: &[Trade],
    daily_net_bps: &[f64],
    window: (UtcMs, UtcMs),
    exposure: f64,
    options: &MetricOptions,
) -> Metrics {
    let net: Vec<f64> = trades.iter().map(Trade::net_bps).collect();
    let (start, end) = window;
    let length_ms = (end.0 - start.0).max(0);
    let days = length_ms as f64 / UtcMs::DAY as f64;
    let orders = trades.iter().map(|t| f64::from(t.orders)).sum::<f64>();
    let sample = SharpeSample::of(daily_net_bps);
    let test = newey_west_mean(daily_net_bps, options.hac_lag_days, SmallSample::Student);
    let recent = || trades.iter().filter(|t| t.exit.0 > end.0 - 7 * UtcMs::DAY && t.exit <= end);
    Metrics {
        sample_size: trades.len(),
        oos_bars: (length_ms / options.timeframe.ms()) as usize,
        oos_days: daily_net_bps.len(),
        active_days: active_days(trades),
        gross_pnl_pct: pct(trades.iter().map(|t| t.gross_bps).sum()),
        net_pnl_pct: pct(net.iter().sum()),
        net_ex_best_day_pct: pct(without_best(daily_net_bps)),
        net_winsorised_pct: pct(winsorised_sum(daily_net_bps)),
        sharpe: annualised_sharpe(daily_net_bps, DAYS_PER_YEAR),
        sharpe_ci_95: sample.and_then(|_| sharpe_interval(daily_net_bps, options)),
        psr: sample.and_then(|s| s.probabilistic(0.0)),
        deflated_sharpe: sample
            .zip(options.trial_sharpe_variance)
            .and_then(|(s, variance)| s.deflated(options.n_trials, variance)),
        n_trials: options.n_trials,
        lo_sharpe: sample.and_then(|s| lo_sharpe(s.sharpe, daily_net_bps, options.hac_lag_days)),
        sortino: sortino(daily_net_bps, DAYS_PER_YEAR),
        cvar_5_daily_bps: conditional_value_at_risk(daily_net_bps, CVAR_TAIL),
        hac_t: test.map(|t| t.t),
        hac_p_one_sided: test.map(|t| t.p_one_sided),
        hit_rate: hit_rate(&net),
        max_drawdown_pct: pct(max_drawdown(daily_net_bps)),
        avg_trade_bps: mean(&net),
        turnover_per_day: if days > 0.0 { orders / days } else { 0.0 },
        profit_factor: profit_factor(&net),
        exposure,
        last_7d_net_bps: recent().map(Trade::net_bps).sum::<f64>() + 0.0,
        last_7d_trades: recent().count(),
    }
}

/// Basis points to percent; a sum of nothing is 0, not −0.
fn pct(bps: f64) -> f64 {
    bps / 100.0 + 0.0
}

fn sharpe_interval(daily: &[f64], options: &MetricOptions) -> Option<[f64; 2]> {
    let drawn = stationary_sharpes(daily, options.mean_block_days, options.repetitions, options.seed);
    let year = DAYS_PER_YEAR.sqrt();
    percentile_interval(drawn, INTERVAL_LEVEL).map(|ends| ends.map(|sharpe| sharpe * year))
}

/// The daily ratio annualised with the autocorrelations up to `lags` days.
fn lo_sharpe(daily_sharpe: f64, daily: &[f64], lags: usize) -> Option<f64> {
    let rho = autocorrelations(daily, lags)?;
    Some(daily_sharpe * lo_annualisation(&rho, lags + 1, DAYS_PER_YEAR)?)
}

fn without_best(daily: &[f64]) -> f64 {
    daily.iter().sum::<f64>() - daily.iter().copied().fold(0.0, f64::max)
}

fn winsorised_sum(daily: &[f64]) -> f64 {
    match (quantile(daily, WINSOR_TAIL), quantile(daily, 1.0 - WINSOR_TAIL)) {
        (Some(low), Some(high)) => daily.iter().map(|d| d.clamp(low, high)).sum(),
        _ => 0.0,
    }
}

/// Number of different UTC days that the trades touch; an exit at midnight does not touch the day
/// it opens.
fn active_days(trades: &[Trade]) -> usize {
    let mut spans: Vec<(i64, i64)> =
        trades.iter().map(|t| (t.entry.day(), UtcMs(t.exit.0 - 1).day().max(t.entry.day()))).collect();
    spans.sort_unstable();
    let mut counted = 0;
    let mut next_free = i64::MIN;
    for (first, last) in spans {
        let from = first.max(next_free);
        if last >= from {
            counted += (last - from + 1) as usize;
            next_free = last + 1;
        }
    }
    counted
}

/// How well scores foretell labels, bar by bar.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ScoreQuality {
    /// Product-moment correlation about the training means.
    pub ic: f64,
    /// Its HAC t-statistic.
    pub ic_t: Option<f64>,
    /// Rank correlation inside the window: biased upward in trending windows, for display only.
    pub rank_ic: f64,
    /// Its HAC t-statistic.
    pub rank_ic_t: Option<f64>,
    /// 1 − Σ(label − score)² / Σ(label − training mean)²; meaningful when the score is in the
    /// label's units.
    pub r2: f64,
}

/// Scores against labels, equal lengths, pairs with a NaN left out. `score_mean` and `label_mean`
/// are those of the training rows: about the window's own means a random walk scores well, because
/// the window's drift is then known. `lags` are bars: horizon + 24. `None` with fewer than ten pairs
/// or when one side does not vary.
pub fn score_quality(
    scores: &[f64],
    labels: &[f64],
    score_mean: f64,
    label_mean: f64,
    lags: usize,
) -> Option<ScoreQuality> {
    let known = scores.iter().zip(labels).filter(|(s, l)| s.is_finite() && l.is_finite());
    let (s, l): (Vec<f64>, Vec<f64>) = known.map(|(s, l)| (*s, *l)).unzip();
    if s.len() < 10 || scores.len() != labels.len() {
        return None;
    }
    let about = |x: &[f64], centre: f64| -> Vec<f64> { x.iter().map(|v| v - centre).collect() };
    let (ic, ic_t) = correlation_about_zero(&about(&s, score_mean), &about(&l, label_mean), lags)?;
    let middle = (s.len() + 1) as f64 / 2.0;
    let (rank_ic, rank_ic_t) =
        correlation_about_zero(&about(&ranks(&s), middle), &about(&ranks(&l), middle), lags)?;
    let missed: f64 = s.iter().zip(&l).map(|(s, l)| (l - s).powi(2)).sum();
    let total: f64 = l.iter().map(|l| (l - label_mean).powi(2)).sum();
    Some(ScoreQuality { ic, ic_t, rank_ic, rank_ic_t, r2: 1.0 - missed / total })
}

/// Σxy/√(Σx²Σy²) and the HAC t of the products' mean.
fn correlation_about_zero(x: &[f64], y: &[f64], lags: usize) -> Option<(f64, Option<f64>)> {
    let energy = |v: &[f64]| v.iter().map(|e| e * e).sum::<f64>();
    let scale = (energy(x) * energy(y)).sqrt();
    if scale.is_nan() || scale <= 0.0 {
        return None;
    }
    let products: Vec<f64> = x.iter().zip(y).map(|(a, b)| a * b).collect();
    let t = newey_west_mean(&products, lags, SmallSample::Student).map(|test| test.t);
    Some((products.iter().sum::<f64>() / scale, t))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    const DAY: i64 = UtcMs::DAY;

    fn options() -> MetricOptions {
        MetricOptions::for_horizon(Timeframe::H1, 24, Seed(1))
    }

    fn trade(entry_ms: i64, exit_ms: i64, gross_bps: f64) -> Trade {
        Trade {
            entry: UtcMs(entry_ms),
            exit: UtcMs(exit_ms),
            side: 1.0,
            gross_bps,
            cost_bps: 10.0,
            orders: 2,
        }
    }

    #[test]
    fn the_defaults_follow_the_horizon() {
        let short = options();
        assert_eq!((short.mean_block_days, short.hac_lag_days, short.repetitions), (3.0, 2, 400));
        let daily = MetricOptions::for_horizon(Timeframe::D1, 5, Seed(1));
        assert_eq!((daily.mean_block_days, daily.hac_lag_days), (10.0, 6));
    }

    #[test]
    fn a_model_that_never_trades_has_no_ratios_and_no_profit() {
        let metrics = measure(&[], &[0.0; 30], (UtcMs(0), UtcMs(30 * DAY)), 0.0, &options());
        assert_eq!((metrics.sample_size, metrics.oos_bars, metrics.active_days), (0, 720, 0));
        for undefined in [
            metrics.sharpe,
            metrics.psr,
            metrics.lo_sharpe,
            metrics.deflated_sharpe,
            metrics.hac_t,
            metrics.hac_p_one_sided,
            metrics.hit_rate,
            metrics.avg_trade_bps,
            metrics.profit_factor,
            metrics.sortino,
        ] {
            assert_eq!(undefined, None);
        }
        assert_eq!(metrics.sharpe_ci_95, None);
        for zero in
            [metrics.net_pnl_pct, metrics.gross_pnl_pct, metrics.last_7d_net_bps, metrics.max_drawdown_pct]
        {
            assert_eq!(zero.to_bits(), 0.0_f64.to_bits());
        }
    }

    #[test]
    fn an_empty_window_does_not_divide_by_zero() {
        let metrics = measure(&[], &[], (UtcMs(0), UtcMs(0)), 0.0, &options());
        assert_eq!((metrics.turnover_per_day, metrics.net_winsorised_pct), (0.0, 0.0));
        assert_eq!(metrics.cvar_5_daily_bps, None);
    }

    #[test]
    fn sums_rates_and_the_last_week_by_hand() {
        let trades = [
            trade(0, DAY, 60.0),
            trade(DAY, DAY + 1, 5.0),
            trade(3 * DAY, 5 * DAY, -20.0),
            trade(12 * DAY, 13 * DAY, 40.0),
        ];
        let mut daily = [0.0; 14];
        (daily[0], daily[1], daily[4], daily[12]) = (50.0, -5.0, -30.0, 30.0);
        let metrics = measure(&trades, &daily, (UtcMs(0), UtcMs(14 * DAY)), 0.3, &options());
        assert_eq!((metrics.gross_pnl_pct, metrics.net_pnl_pct), (0.85, 0.45));
        assert_eq!(metrics.net_ex_best_day_pct, -0.05);
        assert_eq!((metrics.hit_rate, metrics.avg_trade_bps), (Some(0.5), Some(11.25)));
        assert_eq!(metrics.max_drawdown_pct, 0.35);
        assert_eq!(metrics.profit_factor, Some(80.0 / 35.0));
        assert_eq!((metrics.last_7d_trades, metrics.last_7d_net_bps), (1, 30.0));
        assert_eq!(metrics.active_days, 5);
        assert!((metrics.turnover_per_day - 8.0 / 14.0).abs() < 1e-12);
        assert_eq!(metrics.exposure, 0.3);
    }

    #[test]
    fn a_trade_closed_exactly_a_week_before_the_end_is_too_old() {
        let window = (UtcMs(0), UtcMs(10 * DAY));
        let last_week =
            |exit| measure(&[trade(0, exit, 20.0)], &[0.0; 10], window, 0.1, &options()).last_7d_trades;
        assert_eq!((last_week(3 * DAY), last_week(3 * DAY + 1), last_week(10 * DAY)), (0, 1, 1));
    }

    #[test]
    fn a_steady_winner_looks_like_one_and_more_trials_make_it_less_sure() {
        let mut rng = Seed(3).rng();
        let daily: Vec<f64> = (0..150).map(|_| 12.0 + 100.0 * (rng.random::<f64>() - 0.5)).collect();
        let with_trials = |n_trials| {
            let options = MetricOptions { n_trials, trial_sharpe_variance: Some(0.005), ..options() };
            measure(&[], &daily, (UtcMs(0), UtcMs(150 * DAY)), 1.0, &options)
        };
        let metrics = with_trials(1);
        let sharpe = metrics.sharpe.unwrap();
        let [low, high] = metrics.sharpe_ci_95.unwrap();
        assert!(low < sharpe && sharpe < high && high - low < 12.0, "{low} {sharpe} {high}");
        assert!(metrics.psr.unwrap() > 0.95 && metrics.hac_p_one_sided.unwrap() < 0.05);
        assert_eq!(metrics.deflated_sharpe, metrics.psr);
        assert!(with_trials(1000).deflated_sharpe.unwrap() < metrics.psr.unwrap());
        assert_eq!(metrics, with_trials(1));
    }

    #[test]
    fn one_lucky_day_does_not_survive_winsorising() {
        let mut daily = vec![-1.0; 99];
        daily.push(10_000.0);
        let metrics = measure(&[], &daily, (UtcMs(0), UtcMs(100 * DAY)), 1.0, &options());
        assert!(metrics.net_winsorised_pct < 0.0 && metrics.net_ex_best_day_pct < 0.0);
    }

    #[test]
    fn scores_are_judged_about_training_means() {
        let labels: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 41) - 20.0).collect();
        let good = score_quality(&labels, &labels, 0.0, 0.0, 5).unwrap();
        assert!((good.ic - 1.0).abs() < 1e-12 && (good.r2 - 1.0).abs() < 1e-12 && good.rank_ic > 0.99);
        let flipped: Vec<f64> = labels.iter().map(|l| -l).collect();
        assert!(score_quality(&flipped, &labels, 0.0, 0.0, 5).unwrap().ic < -0.99);
        // A constant score away from its training mean is a bet on the mean, not an error.
        assert_eq!(score_quality(&[0.0; 200], &labels, 0.0, 0.0, 5), None);
        let mut holes = labels.clone();
        holes[3] = f64::NAN;
        assert!(score_quality(&holes, &labels, 0.0, 0.0, 5).is_some());
    }
}
