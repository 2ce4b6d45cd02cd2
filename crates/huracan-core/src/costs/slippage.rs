//! How far an order of a size moves the price against itself, beyond half the spread.
//!
//! The law is the square root (Almgren et al. 2005; Tóth et al. 2011):
//! `slip(Q) = s · (σ_t/σ̄) · √(Q/Q_ref)`. This file finds `s`, the one-side slippage in basis points
//! of the reference order at the coin's mean volatility: from candles as a prior, from trades, from
//! own fills. A measured `s` is shrunk to the prior and can never leave its neighbourhood.

use crate::stats::quantiles::quantile;
use crate::stats::regression::{Line, Origin, huber_line, least_squares_line};
use crate::words::UtcMs;

/// Fewest fills, or runs of trades, that say anything.
pub const OBSERVATIONS_MIN: usize = 30;
/// How many observations the prior is worth.
const PRIOR_WEIGHT: f64 = 30.0;
/// `s` is kept within this factor of the prior.
const PRIOR_FACTOR_MAX: f64 = 10.0;
/// And within these bounds whatever the prior, in basis points.
const SLIPPAGE_BPS: [f64; 2] = [0.01, 500.0];
/// A run of trades counts as one order only while its prints follow this closely.
const RUN_GAP_MS_MAX: i64 = 1_000;

/// What a cost figure was learned from, weakest last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum CostSource {
    /// Own fills against the arrival mid.
    Fills,
    /// The venue's public trades.
    Trades,
    /// Quotes of the order book (spread only).
    Book,
    /// Bars alone.
    Candles,
}

impl CostSource {
    /// The code written to `costs.json`; never reworded.
    pub fn code(self) -> &'static str {
        match self {
            CostSource::Fills => "fills",
            CostSource::Trades => "trades",
            CostSource::Book => "book",
            CostSource::Candles => "candles",
        }
    }
}

/// One public trade.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TradePrint {
    /// When it happened.
    pub time: UtcMs,
    /// At what price.
    pub price: f64,
    /// How much of the base asset.
    pub qty: f64,
    /// Whether the buyer was resting, so that the seller was the aggressor.
    pub buyer_is_maker: bool,
}

/// One own order, filled by taking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// Signed implementation shortfall against the arrival mid: side × (fill/mid − 1), bps;
    /// positive is a cost.
    pub shortfall_bps: f64,
    /// Half the quoted spread at arrival, bps.
    pub half_spread_bps: f64,
    /// Volatility at the time over the coin's 30-day mean, σ_t/σ̄.
    pub sigma_ratio: f64,
    /// Size in USD.
    pub order_usd: f64,
}

/// A slope measured from orders, before any shrinking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlippageEvidence {
    /// What it was measured on.
    pub source: CostSource,
    /// Fills or runs of trades.
    pub n: usize,
    /// Slippage in bps at one σ and the reference size: the line through the origin, as the law is.
    pub slope: f64,
    /// Robust standard error of `slope`.
    pub std_error: f64,
    /// Of the line through the origin; may be negative.
    pub r2: Option<f64>,
    /// Where a line free of the origin would cut, bps: far from zero, the square root does not fit.
    pub intercept_bps: Option<f64>,
}

/// The `s` in use and how it came about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slippage {
    /// `s`: one-side slippage at one σ and the reference size, bps; always positive.
    pub bps_per_sigma: f64,
    /// What candles alone would say, bps.
    pub prior_bps: f64,
    /// The measurement, where there was one.
    pub evidence: Option<SlippageEvidence>,
    /// Whether a bound was hit.
    pub clamped: bool,
}

/// The candle prior `Y · σ_day_bps · √(Q_ref/ADV)`; `None` unless all inputs are positive and
/// finite. `impact` is Y, 0.7 by judgement.
pub fn candle_prior(impact: f64, sigma_day_bps: f64, reference_order_usd: f64, adv_usd: f64) -> Option<f64> {
    let inputs = [impact, sigma_day_bps, reference_order_usd, adv_usd];
    let usable = inputs.iter().all(|v| v.is_finite() && *v > 0.0);
    usable.then(|| impact * sigma_day_bps * (reference_order_usd / adv_usd).sqrt())
}

/// Learns from own fills: Huber regression of the shortfall beyond half the spread on
/// (σ_t/σ̄)·√(Q/Q_ref) through the origin. `None` with fewer than 30 usable fills.
pub fn from_fills(fills: &[Fill], reference_order_usd: f64) -> Option<SlippageEvidence> {
    let points = fills.iter().map(|fill| {
        let x = fill.sigma_ratio * (fill.order_usd / reference_order_usd).sqrt();
        (x, fill.shortfall_bps - fill.half_spread_bps)
    });
    evidence(points, CostSource::Fills, huber_line)
}

/// Learns from public trades in time order: each run of at least two prints by the same aggressor,
/// no two of them more than a second apart, is taken for one order; its price change from first to
/// last print is set against √(its quote volume/Q_ref). `usd_per_quote` turns the quote asset into
/// USD. Least squares, because most runs move nothing and the mean is what is paid; the outer 1 %
/// of changes are winsorised. `None` with fewer than 30 runs.
///
/// The first print is already at the touch, so half the spread is not in it.
pub fn from_trades(
    trades: &[TradePrint],
    reference_order_usd: f64,
    usd_per_quote: f64,
) -> Option<SlippageEvidence> {
    let usable: Vec<TradePrint> = trades
        .iter()
        .copied()
        .filter(|t| t.price.is_finite() && t.price > 0.0 && t.qty.is_finite() && t.qty > 0.0)
        .collect();
    let together = |a: &TradePrint, b: &TradePrint| {
        a.buyer_is_maker == b.buyer_is_maker && b.time.0 - a.time.0 <= RUN_GAP_MS_MAX
    };
    let runs = usable.chunk_by(together).filter(|run| run.len() >= 2);
    let mut points: Vec<(f64, f64)> = runs
        .map(|run| {
            let (first, last) = (run[0], run[run.len() - 1]);
            let side = if first.buyer_is_maker { -1.0 } else { 1.0 };
            let usd = usd_per_quote * run.iter().map(|t| t.price * t.qty).sum::<f64>();
            ((usd / reference_order_usd).sqrt(), side * 1e4 * (last.price / first.price - 1.0))
        })
        .collect();
    let changes: Vec<f64> = points.iter().map(|p| p.1).collect();
    let (low, high) = (quantile(&changes, 0.01)?, quantile(&changes, 0.99)?);
    points.iter_mut().for_each(|p| p.1 = p.1.clamp(low, high));
    evidence(points.into_iter(), CostSource::Trades, least_squares_line)
}

fn evidence(
    points: impl Iterator<Item = (f64, f64)>,
    source: CostSource,
    fit: fn(&[f64], &[f64], Origin) -> Option<Line>,
) -> Option<SlippageEvidence> {
    let (x, y): (Vec<f64>, Vec<f64>) =
        points.filter(|(x, y)| x.is_finite() && y.is_finite() && *x > 0.0).unzip();
    if x.len() < OBSERVATIONS_MIN {
        return None;
    }
    let line = fit(&x, &y, Origin::Through)?;
    let free = fit(&x, &y, Origin::Free);
    Some(SlippageEvidence {
        source,
        n: x.len(),
        slope: line.slope,
        std_error: line.slope_std_error,
        r2: line.r2.is_finite().then_some(line.r2),
        intercept_bps: free.map(|f| f.intercept),
    })
}

/// Joins prior and evidence: n/(n+30) of the measured slope, the rest of the prior, within a tenth
/// and ten times of the prior.
pub fn settle(prior_bps: f64, evidence: Option<SlippageEvidence>) -> Slippage {
    let wished = evidence.map_or(prior_bps, |e| {
        let n = e.n as f64;
        (n * e.slope + PRIOR_WEIGHT * prior_bps) / (n + PRIOR_WEIGHT)
    });
    let near = wished.clamp(prior_bps / PRIOR_FACTOR_MAX, prior_bps * PRIOR_FACTOR_MAX);
    let bps_per_sigma = near.clamp(SLIPPAGE_BPS[0], SLIPPAGE_BPS[1]);
    Slippage { bps_per_sigma, prior_bps, evidence, clamped: bps_per_sigma != wished }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fills(slope: f64, count: usize) -> Vec<Fill> {
        let noise = |i: usize| ((i * 37 % 19) as f64 - 9.0) / 30.0;
        (0..count)
            .map(|i| {
                let (sigma_ratio, order_usd) = (0.5 + (i % 5) as f64 / 2.0, 200.0 + 150.0 * (i % 11) as f64);
                let slip = slope * sigma_ratio * (order_usd / 1000.0).sqrt();
                Fill { shortfall_bps: 1.5 + slip + noise(i), half_spread_bps: 1.5, sigma_ratio, order_usd }
            })
            .collect()
    }

    #[test]
    fn fills_give_back_the_slope_they_were_made_with_despite_one_disaster() {
        let mut made = fills(2.0, 200);
        made[13].shortfall_bps = 900.0;
        let found = from_fills(&made, 1000.0).unwrap();
        assert!((found.slope - 2.0).abs() < 0.05, "{found:?}");
        assert!(found.intercept_bps.unwrap().abs() < 0.3);
        let few = from_fills(&made[..29], 1000.0);
        assert_eq!(few, None);
    }

    #[test]
    fn the_prior_weighs_as_much_as_thirty_fills() {
        let evidence = SlippageEvidence {
            source: CostSource::Fills,
            n: 30,
            slope: 3.0,
            std_error: 0.1,
            r2: None,
            intercept_bps: None,
        };
        assert_eq!(settle(1.0, Some(evidence)).bps_per_sigma, 2.0);
        assert_eq!(
            settle(1.0, None),
            Slippage { bps_per_sigma: 1.0, prior_bps: 1.0, evidence: None, clamped: false }
        );
    }

    #[test]
    fn price_improvement_never_makes_an_order_free() {
        let evidence = SlippageEvidence {
            source: CostSource::Trades,
            n: 10_000,
            slope: -5.0,
            std_error: 0.1,
            r2: None,
            intercept_bps: None,
        };
        let found = settle(1.0, Some(evidence));
        assert_eq!((found.bps_per_sigma, found.clamped), (0.1, true));
        assert_eq!(settle(1e-9, None).bps_per_sigma, 0.01);
    }

    #[test]
    fn runs_of_trades_show_what_sweeping_the_book_costs() {
        // Every run buys 1,000 USD in four prints and moves the price by 4 bps, then sells back.
        let mut trades = Vec::new();
        for run in 0..80_i64 {
            let buys = run % 2 == 0;
            for print in 0..4_i32 {
                let step = if buys { print } else { 3 - print };
                trades.push(TradePrint {
                    time: UtcMs(run * 60_000 + i64::from(print)),
                    price: 100.0 * (1.0 + f64::from(step) * 4e-4 / 3.0),
                    qty: 2.5,
                    buyer_is_maker: !buys,
                });
            }
        }
        let found = from_trades(&trades, 1000.0, 1.0).unwrap();
        assert_eq!(found.n, 80);
        assert!((found.slope - 4.0).abs() < 0.01, "{found:?}");
        // Twice the dollars for the same move: cheaper by the root of two.
        let dearer = from_trades(&trades, 1000.0, 2.0).unwrap();
        assert!((dearer.slope - 4.0 / 2.0_f64.sqrt()).abs() < 0.01);
        // A print two minutes later belongs to no run.
        let lonely: Vec<TradePrint> = trades
            .iter()
            .enumerate()
            .map(|(i, t)| TradePrint { time: UtcMs(i as i64 * 120_000), ..*t })
            .collect();
        assert_eq!(from_trades(&lonely, 1000.0, 1.0), None);
    }

    #[test]
    fn the_prior_needs_volatility_and_volume() {
        assert_eq!(candle_prior(0.7, 0.0, 1000.0, 1e6), None);
        assert_eq!(candle_prior(0.7, 100.0, 1000.0, f64::NAN), None);
        assert!((candle_prior(0.7, 400.0, 1000.0, 1e7).unwrap() - 2.8).abs() < 1e-12);
    }
}
