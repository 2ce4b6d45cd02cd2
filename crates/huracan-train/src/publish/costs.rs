//! `costs.json` from a coin's cost model, and today's round trip as the trial charges it.

use super::Publication;
use crate::engine::survey::Coin;
use huracan_core::choose::capacity::{Trip, capacity_usd};
use huracan_core::costs::slippage::CostSource;
use huracan_core::costs::spread::SPREAD_MIN_BPS;
use huracan_core::costs::{Calibration, CostModel};
use huracan_core::words::Market;
use huracan_store::formats::costs::{self, CalibrationSource, Costs};

/// A round trip at the end of the data, at the reference order and mean volatility, bps.
pub(super) struct RoundTrip {
    /// In and out of the coin as a taker.
    pub coin_bps: f64,
    /// In and out of the hedge; 0 for an outright book.
    pub hedge_bps: f64,
    /// Funding over the horizon; 0 for spot.
    pub funding_bps: f64,
}

impl RoundTrip {
    /// Of a coin held for `hold_ms`, with the hedge's sides at `hedge_side_bps` where `hedged`.
    pub fn new(
        publication: &Publication<'_>,
        coin: &Coin,
        hedge_side_bps: f64,
        hedged: bool,
        hold_ms: i64,
    ) -> RoundTrip {
        let settings = publication.settings;
        let order = settings.costs.reference_order_usd;
        let rate = match coin.symbol.market() {
            Market::Perp => settings.trading.funding_bps_per_8h,
            Market::Spot => 0.0,
        };
        let coin_bps = coin.costs.round_trip_bps(order, 1.0, 0, 0.0);
        RoundTrip {
            coin_bps,
            hedge_bps: if hedged { 2.0 * hedge_side_bps } else { 0.0 },
            funding_bps: coin.costs.round_trip_bps(order, 1.0, hold_ms, rate) - coin_bps,
        }
    }

    /// All of it.
    pub fn total_bps(&self) -> f64 {
        self.coin_bps + self.hedge_bps + self.funding_bps
    }

    /// Order size in USD at which a gross edge is eaten up, at no more than a hundredth of a day's
    /// volume; `None` when there is no edge at any size.
    pub fn capacity_usd(&self, edge_bps: f64, coin: &Coin) -> Option<f64> {
        let trip = Trip { other_bps: self.hedge_bps + self.funding_bps, ..Trip::default() };
        capacity_usd(edge_bps, &coin.costs, &trip).filter(|usd| *usd > 0.0)
    }
}

/// One side of the hedge instrument (Bitcoin) at the end of the data, of the universe or not.
pub(super) fn hedge_side_bps(publication: &Publication<'_>) -> f64 {
    let settings = publication.settings;
    let survey = &publication.outcome.survey;
    let bitcoin = survey.coins.iter().chain(&survey.bystanders).find(|c| c.symbol.underlying() == "BTC");
    let fallback = || settings.fees.of(Market::Perp).taker_bps + 0.5 * SPREAD_MIN_BPS;
    bitcoin.map_or_else(fallback, |c| c.costs.one_side_bps(settings.costs.reference_order_usd, 1.0))
}

/// What trading the coin costs, and how that was measured.
pub(super) fn costs(coin: &Coin) -> Costs {
    let model = &coin.costs;
    Costs {
        symbol: (&coin.symbol).into(),
        taker_fee_bps: model.taker_fee_bps,
        maker_fee_bps: model.maker_fee_bps,
        median_spread_bps: model.spread_bps,
        slippage_bps_per_sigma: model.slippage_bps_per_sigma,
        reference_order_usd: model.reference_order_usd,
        sigma_bar_bps: model.sigma_bar_bps,
        adv_usd: model.adv_usd,
        min_notional: model.min_notional,
        tick_size: model.tick_size,
        step_size: model.step_size,
        last_updated_utc: model.fitted_at.into(),
        calibration: calibration(model),
    }
}

fn calibration(model: &CostModel) -> costs::Calibration {
    let found = &model.calibration;
    costs::Calibration {
        source: match found.source {
            CostSource::Fills => CalibrationSource::Fills,
            CostSource::Trades => CalibrationSource::Trades,
            CostSource::Book => CalibrationSource::Book,
            CostSource::Candles => CalibrationSource::Candles,
        },
        lookback_days: found.lookback_days,
        n: found.n as u64,
        intercept_bps: found.intercept_bps,
        slope: found.slope,
        std_error: found.std_error,
        r2: found.r2,
        sigma_unit: Calibration::SIGMA_UNIT.to_owned(),
        clamped: found.clamped,
        expires_utc: model.expires_at.into(),
        spread_estimator: found.spread_estimator.code().to_owned(),
        spread_interval_bps: found.spread.interval_bps,
    }
}
