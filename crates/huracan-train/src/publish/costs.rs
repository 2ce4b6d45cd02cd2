//! `costs.json` from a coin's cost model.

use crate::engine::survey::Coin;
use huracan_core::costs::slippage::CostSource;
use huracan_core::costs::{Calibration, CostModel};
use huracan_store::formats::costs::{self, CalibrationSource, Costs};

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
