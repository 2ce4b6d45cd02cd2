//! What a trade costs: fee + half the spread + slippage a side, funding while held.
//!
//! [`CostModel::round_trip_bps`] is the one function everybody uses: trials, gates, ranking, live
//! decisions and the ledger's prediction. How its numbers are found is in `spread`, `tick` and
//! `slippage`. Zero is never an answer.

pub mod slippage;
pub mod spread;
pub mod tick;

use slippage::{CostSource, SlippageEvidence, candle_prior, settle};
use spread::{SPREAD_MIN_BPS, SpreadEstimate, SpreadEstimator, estimate_spread};

use crate::series::Series;
use crate::stats::quantiles::median;
use crate::words::{Market, UtcMs};

/// Eight hours, the interval funding rates are quoted for.
const FUNDING_INTERVAL_MS: f64 = 8.0 * UtcMs::HOUR as f64;
/// Consecutive-bar returns needed before a volatility is believed.
const RETURNS_MIN: usize = 10;
/// Bars whose prices the tick is inferred from.
const TICK_BARS: usize = 72;

/// Taker and maker fee of one market, basis points of notional a side; a rebate is negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fees {
    /// For taking liquidity.
    pub taker_bps: f64,
    /// For resting.
    pub maker_bps: f64,
}

/// Fees by market. The default is the venue's entry tier without discounts: perpetuals 5/2, spot
/// 10/10.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeeSchedule {
    /// For spot pairs.
    pub spot: Fees,
    /// For perpetual futures.
    pub perp: Fees,
}

impl Default for FeeSchedule {
    fn default() -> FeeSchedule {
        FeeSchedule {
            spot: Fees { taker_bps: 10.0, maker_bps: 10.0 },
            perp: Fees { taker_bps: 5.0, maker_bps: 2.0 },
        }
    }
}

impl FeeSchedule {
    /// The fees of one market.
    pub fn of(&self, market: Market) -> Fees {
        match market {
            Market::Spot => self.spot,
            Market::Perp => self.perp,
        }
    }
}

/// How to calibrate, and what is known from elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct CostOptions {
    /// How far back to look, days.
    pub lookback_days: f64,
    /// How long a calibration stays good, days.
    pub valid_days: f64,
    /// The order slippage is quoted for, USD.
    pub reference_order_usd: f64,
    /// Y of the square-root law: 0.7 by judgement, to be refitted by venue when fills exist.
    pub impact: f64,
    /// USD for one unit of the quote asset; 1 for USDT and USDC pairs.
    pub usd_per_quote: f64,
    /// From the venue's filters; inferred from prices where absent.
    pub tick_size: Option<f64>,
    /// From the venue's filters.
    pub step_size: Option<f64>,
    /// From the venue's filters, quote asset.
    pub min_notional: Option<f64>,
    /// Median quoted spread where book data exists ([`spread::spread_from_quotes`]).
    pub quoted_spread_bps: Option<f64>,
    /// Slippage measured on fills or trades, where there are enough.
    pub slippage: Option<SlippageEvidence>,
}

impl Default for CostOptions {
    fn default() -> CostOptions {
        CostOptions {
            lookback_days: 30.0,
            valid_days: 7.0,
            reference_order_usd: 1_000.0,
            impact: 0.7,
            usd_per_quote: 1.0,
            tick_size: None,
            step_size: None,
            min_notional: None,
            quoted_spread_bps: None,
            slippage: None,
        }
    }
}

/// How a cost model was found: the `calibration` of `costs.json`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Calibration {
    /// The strongest measurement that went in.
    pub source: CostSource,
    /// Days looked back.
    pub lookback_days: f64,
    /// Fills, runs of trades, or bars with a return, by source.
    pub n: usize,
    /// Where a line free of the origin would cut; `None` for a candle prior.
    pub intercept_bps: Option<f64>,
    /// The measured slope before shrinking; `None` for a candle prior.
    pub slope: Option<f64>,
    /// Its standard error.
    pub std_error: Option<f64>,
    /// Its r².
    pub r2: Option<f64>,
    /// Whether slippage hit a bound.
    pub clamped: bool,
    /// What candles alone say of slippage, bps.
    pub slippage_prior_bps: f64,
    /// Daily volatility behind the prior, bps.
    pub sigma_day_bps: f64,
    /// Which rule gave the spread in use.
    pub spread_estimator: SpreadEstimator,
    /// The estimate from bars, kept even where quotes win.
    pub spread: SpreadEstimate,
}

impl Calibration {
    /// What one σ is, as written to `costs.json`.
    pub const SIGMA_UNIT: &'static str = "mean_bar_volatility_30d";
}

/// What trading one coin costs.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CostModel {
    /// Taker fee a side, bps.
    pub taker_fee_bps: f64,
    /// Maker fee a side, bps.
    pub maker_fee_bps: f64,
    /// Full bid–ask spread, bps.
    pub spread_bps: f64,
    /// One-side slippage of the reference order at mean volatility, bps.
    pub slippage_bps_per_sigma: f64,
    /// The reference order, USD.
    pub reference_order_usd: f64,
    /// σ̄: root mean square log return of a bar over the lookback, bps.
    pub sigma_bar_bps: f64,
    /// Price grid in quote units, where known.
    pub tick_size: Option<f64>,
    /// Quantity grid in base units, where known.
    pub step_size: Option<f64>,
    /// Smallest order in quote units, where known.
    pub min_notional: Option<f64>,
    /// Median daily quote volume over the lookback, USD.
    pub adv_usd: f64,
    /// End of the last bar that was used.
    pub fitted_at: UtcMs,
    /// When the calibration should be made again.
    pub expires_at: UtcMs,
    /// How it was found.
    pub calibration: Calibration,
}

impl CostModel {
    /// One-side slippage in bps: `s · (σ_t/σ̄) · √(Q/Q_ref)`. A σ ratio that is not known (NaN, ≤ 0)
    /// counts as 1, an order that is not known as the reference order.
    pub fn slippage_bps(&self, order_usd: f64, sigma_ratio: f64) -> f64 {
        let sigma_ratio = if sigma_ratio.is_finite() && sigma_ratio > 0.0 { sigma_ratio } else { 1.0 };
        let known = order_usd.is_finite() && order_usd > 0.0;
        let size = if known { order_usd / self.reference_order_usd } else { 1.0 };
        self.slippage_bps_per_sigma * sigma_ratio * size.sqrt()
    }

    /// One taker side in bps: fee + half the spread + slippage.
    pub fn one_side_bps(&self, order_usd: f64, sigma_ratio: f64) -> f64 {
        self.taker_fee_bps + 0.5 * self.spread_bps + self.slippage_bps(order_usd, sigma_ratio)
    }

    /// In and out as a taker, in bps: `2·fee + spread + 2·slip + funding`.
    ///
    /// `funding_bps_per_8h` is what the held side pays for eight hours (negative when it is paid;
    /// 0 for spot), charged in proportion to `hold_ms`.
    pub fn round_trip_bps(
        &self,
        order_usd: f64,
        sigma_ratio: f64,
        hold_ms: i64,
        funding_bps_per_8h: f64,
    ) -> f64 {
        let funding = funding_bps_per_8h * hold_ms.max(0) as f64 / FUNDING_INTERVAL_MS;
        2.0 * self.one_side_bps(order_usd, sigma_ratio) + funding
    }

    /// Whether the calibration should no longer be used at `now`.
    pub fn is_expired(&self, now: UtcMs) -> bool {
        now >= self.expires_at
    }
}

/// Finds the costs of one coin from the bars before `end_index` alone.
///
/// `None` when they cannot be known: fewer than ten returns between neighbouring bars in the
/// lookback, a price that never moved, or no volume. A volume is the median over whole days counted
/// back from the end (a day with less than half of its bars is left out).
pub fn calibrate(
    series: &Series,
    end_index: usize,
    fees: &FeeSchedule,
    options: &CostOptions,
) -> Option<CostModel> {
    let end = end_index.min(series.len());
    let bars = series.timeframe.bars_in_days(options.lookback_days);
    let start = end.saturating_sub(bars);
    let volatility = mean_volatility(&series.close[start..end])?;
    let adv_usd = options.usd_per_quote * median_daily_volume(series, start, end)?;
    let sigma_day_bps = volatility.sigma_bps * series.timeframe.bars_per_day().sqrt();
    let prior = candle_prior(options.impact, sigma_day_bps, options.reference_order_usd, adv_usd)?;
    let tick_size = options.tick_size.or_else(|| inferred_tick(series, start, end));
    let estimate = estimate_spread(series, end, options.lookback_days, tick_size)?;
    let quoted = options.quoted_spread_bps.filter(|q| q.is_finite() && *q >= 0.0);
    let least = estimate.tick_bps.unwrap_or(0.0).max(SPREAD_MIN_BPS);
    let spread_bps = quoted.map_or(estimate.median_bps, |q| q.max(least));
    let slippage = settle(prior, options.slippage);
    let evidence = slippage.evidence;
    let without_evidence = if quoted.is_some() { CostSource::Book } else { CostSource::Candles };
    let Fees { taker_bps, maker_bps } = fees.of(series.symbol.market());
    let fitted_at = series.time(end);
    let valid_ms = (options.valid_days * UtcMs::DAY as f64) as i64;
    Some(CostModel {
        taker_fee_bps: taker_bps,
        maker_fee_bps: maker_bps,
        spread_bps,
        slippage_bps_per_sigma: slippage.bps_per_sigma,
        reference_order_usd: options.reference_order_usd,
        sigma_bar_bps: volatility.sigma_bps,
        tick_size,
        step_size: options.step_size,
        min_notional: options.min_notional,
        adv_usd,
        fitted_at,
        expires_at: UtcMs(fitted_at.0 + valid_ms),
        calibration: Calibration {
            source: evidence.map_or(without_evidence, |e| e.source),
            lookback_days: options.lookback_days,
            n: evidence.map_or(volatility.returns, |e| e.n),
            intercept_bps: evidence.and_then(|e| e.intercept_bps),
            slope: evidence.map(|e| e.slope),
            std_error: evidence.map(|e| e.std_error),
            r2: evidence.and_then(|e| e.r2),
            clamped: slippage.clamped,
            slippage_prior_bps: prior,
            sigma_day_bps,
            spread_estimator: if quoted.is_some() { SpreadEstimator::Quoted } else { estimate.estimator },
            spread: estimate,
        },
    })
}

struct MeanVolatility {
    sigma_bps: f64,
    returns: usize,
}

/// Root mean square of the log returns between neighbouring present bars.
fn mean_volatility(close: &[f64]) -> Option<MeanVolatility> {
    let (mut returns, mut squares) = (0, 0.0);
    for pair in close.windows(2) {
        let r = (pair[1] / pair[0]).ln();
        if r.is_finite() {
            returns += 1;
            squares += r * r;
        }
    }
    let sigma_bps = 1e4 * (squares / returns as f64).sqrt();
    (returns >= RETURNS_MIN && sigma_bps > 0.0).then_some(MeanVolatility { sigma_bps, returns })
}

fn median_daily_volume(series: &Series, start: usize, end: usize) -> Option<f64> {
    let per_day = (series.timeframe.bars_per_day().round() as usize).max(1);
    let day_volume = |day: &[f64]| {
        let present = || day.iter().filter(|v| v.is_finite());
        let count = present().count();
        let sum: f64 = present().sum();
        (day.len() == per_day && 2 * count >= per_day).then(|| sum * per_day as f64 / count as f64)
    };
    let days: Vec<f64> = series.quote_volume[start..end].rchunks(per_day).filter_map(day_volume).collect();
    median(&days).filter(|volume| *volume > 0.0)
}

fn inferred_tick(series: &Series, start: usize, end: usize) -> Option<f64> {
    let from = start.max(end.saturating_sub(TICK_BARS));
    let columns = [&series.open, &series.high, &series.low, &series.close];
    let prices: Vec<f64> = columns.iter().flat_map(|column| column[from..end].iter().copied()).collect();
    tick::infer_tick_size(&prices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{Seed, Symbol, Timeframe};
    use rand::RngExt;

    fn coin(market: Market, bars: usize) -> Series {
        let mut rng = Seed(11).rng();
        let mut log_price = 2.0_f64;
        let mut columns: [Vec<f64>; 6] = Default::default();
        for _ in 0..bars {
            let round = |x: f64| (x * 1e4).round() / 1e4;
            let mut path = vec![round(log_price.exp())];
            for _ in 0..8 {
                log_price += (rng.random::<f64>() - 0.5) * 0.006;
                path.push(round(log_price.exp() * (1.0 + 0.0004 * (rng.random::<f64>() - 0.5).signum())));
            }
            let (open, close) = (path[0], path[path.len() - 1]);
            let high = path.iter().copied().fold(open, f64::max);
            let low = path.iter().copied().fold(open, f64::min);
            let volume = 1e5 * (0.5 + rng.random::<f64>());
            for (column, v) in columns.iter_mut().zip([open, high, low, close, volume, volume * close]) {
                column.push(v);
            }
        }
        let [open, high, low, close, volume, quote_volume] = columns;
        Series {
            symbol: Symbol::parse("AAAUSDT", market).unwrap(),
            timeframe: Timeframe::H1,
            start: UtcMs(0),
            trades: None,
            taker_buy_base: None,
            open,
            high,
            low,
            close,
            volume,
            quote_volume,
        }
    }

    fn calibrated(market: Market) -> CostModel {
        calibrate(&coin(market, 24 * 40), 24 * 40, &FeeSchedule::default(), &CostOptions::default()).unwrap()
    }

    #[test]
    fn every_part_is_positive_and_named() {
        let costs = calibrated(Market::Perp);
        assert_eq!((costs.taker_fee_bps, costs.maker_fee_bps), (5.0, 2.0));
        assert_eq!(calibrated(Market::Spot).taker_fee_bps, 10.0);
        assert_eq!(costs.tick_size, Some(0.0001));
        assert!(costs.spread_bps >= SPREAD_MIN_BPS && costs.slippage_bps_per_sigma > 0.0);
        assert!(costs.adv_usd > 1e6 && costs.sigma_bar_bps > 1.0);
        assert_eq!(costs.fitted_at, UtcMs(40 * UtcMs::DAY));
        assert!(!costs.is_expired(costs.fitted_at) && costs.is_expired(UtcMs(47 * UtcMs::DAY)));
        assert_eq!(costs.calibration.source, CostSource::Candles);
    }

    #[test]
    fn nothing_at_or_after_the_end_is_looked_at() {
        let mut series = coin(Market::Perp, 24 * 50);
        let options = CostOptions::default();
        let before = calibrate(&series, 24 * 40, &FeeSchedule::default(), &options);
        for i in 24 * 40..series.len() {
            for column in [&mut series.open, &mut series.high, &mut series.low, &mut series.close] {
                column[i] = 7.123_456_789;
            }
            series.volume[i] = f64::NAN;
            series.quote_volume[i] = 1e15;
        }
        assert!(before.is_some());
        assert_eq!(before, calibrate(&series, 24 * 40, &FeeSchedule::default(), &options));
        series.close[24 * 40 - 1] *= 1.01;
        assert_ne!(before, calibrate(&series, 24 * 40, &FeeSchedule::default(), &options));
    }

    #[test]
    fn the_round_trip_is_the_worked_example() {
        // fee, spread, Y, σ_day, Q, ADV and the expected round trip, by
        // 2·fee + spread + 2·Y·σ_day·√(Q/ADV).
        let cases = [
            (5.0, 0.5, 0.5, 170.0, 1000.0, 8.4e9, 10.558_655_572_544_101),
            (10.0, 3.3, 0.5, 410.0, 1000.0, 29.8e6, 25.675_066_230_090_32),
            (5.0, 24.7, 0.5, 628.0, 5000.0, 8.2e6, 50.207_354_667_398_56),
        ];
        for (fee, spread, impact, sigma_day, order, adv, expected) in cases {
            let mut costs = calibrated(Market::Perp);
            costs.taker_fee_bps = fee;
            costs.spread_bps = spread;
            costs.slippage_bps_per_sigma = candle_prior(impact, sigma_day, 1000.0, adv).unwrap();
            let found = costs.round_trip_bps(order, 1.0, 0, 0.0);
            assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn size_volatility_and_holding_make_it_dearer() {
        let costs = calibrated(Market::Perp);
        let base = costs.round_trip_bps(1_000.0, 1.0, 0, 0.0);
        assert!((costs.slippage_bps(4_000.0, 1.0) / costs.slippage_bps(1_000.0, 1.0) - 2.0).abs() < 1e-12);
        assert!(costs.round_trip_bps(1_000.0, 3.0, 0, 0.0) > base);
        let held = costs.round_trip_bps(1_000.0, 1.0, UtcMs::DAY, 1.0);
        assert!((held - base - 3.0).abs() < 1e-12);
        assert_eq!(costs.round_trip_bps(f64::NAN, f64::NAN, 0, 0.0), base);
    }

    #[test]
    fn quotes_and_evidence_win_over_candles_but_not_over_the_floor() {
        let series = coin(Market::Perp, 24 * 40);
        let evidence = SlippageEvidence {
            source: CostSource::Fills,
            n: 300,
            slope: 1.0,
            std_error: 0.1,
            r2: Some(0.2),
            intercept_bps: Some(0.0),
        };
        let options =
            CostOptions { quoted_spread_bps: Some(0.0), slippage: Some(evidence), ..CostOptions::default() };
        let costs = calibrate(&series, series.len(), &FeeSchedule::default(), &options).unwrap();
        assert_eq!(costs.spread_bps, SPREAD_MIN_BPS.max(costs.calibration.spread.tick_bps.unwrap()));
        assert_eq!(costs.calibration.spread_estimator, SpreadEstimator::Quoted);
        assert_eq!((costs.calibration.source, costs.calibration.n), (CostSource::Fills, 300));
        let only_quotes = CostOptions { quoted_spread_bps: Some(9.0), ..CostOptions::default() };
        let costs = calibrate(&series, series.len(), &FeeSchedule::default(), &only_quotes).unwrap();
        assert_eq!((costs.spread_bps, costs.calibration.source), (9.0, CostSource::Book));
    }

    #[test]
    fn what_cannot_be_known_is_none() {
        let fees = FeeSchedule::default();
        let options = CostOptions::default();
        let good = coin(Market::Perp, 24 * 40);
        assert_eq!(calibrate(&good, 0, &fees, &options), None);
        assert_eq!(calibrate(&good, 9, &fees, &options), None);
        let mut dead = good.clone();
        dead.quote_volume.fill(0.0);
        assert_eq!(calibrate(&dead, dead.len(), &fees, &options), None);
        let mut frozen = good;
        frozen.close.fill(5.0);
        assert_eq!(calibrate(&frozen, frozen.len(), &fees, &options), None);
    }
}
