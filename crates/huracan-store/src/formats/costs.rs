//! `costs.json`: what trading one coin costs, and how that was measured.

use serde::{Deserialize, Serialize};

use super::Document;
use super::check::{self, Checked};
use super::wire::{Coin, Time};

/// The whole document. One sigma is the coin's own 30-day mean bar volatility.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Costs {
    /// The coin.
    pub symbol: Coin,
    /// Fee of an order that takes, one side.
    pub taker_fee_bps: f64,
    /// Fee of an order that rests, one side; negative where the venue pays.
    pub maker_fee_bps: f64,
    /// Median quoted or estimated spread; never zero.
    pub median_spread_bps: f64,
    /// One-side slippage of the reference order at one sigma.
    pub slippage_bps_per_sigma: f64,
    /// The reference order.
    pub reference_order_usd: f64,
    /// One sigma: mean bar volatility over 30 days.
    pub sigma_bar_bps: f64,
    /// Median daily quote volume over 30 days.
    pub adv_usd: f64,
    /// Smallest order, where the venue says so.
    pub min_notional: Option<f64>,
    /// Smallest price step.
    pub tick_size: Option<f64>,
    /// Smallest quantity step, where the venue says so.
    pub step_size: Option<f64>,
    /// Fit date: the end of the data the costs were fitted on.
    pub last_updated_utc: Time,
    /// How the figures came about.
    pub calibration: Calibration,
}

/// Where a cost model comes from and how sure it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Calibration {
    /// What the slippage was measured on.
    pub source: CalibrationSource,
    /// Days looked back.
    pub lookback_days: f64,
    /// Observations.
    pub n: u64,
    /// Intercept of the slippage regression.
    pub intercept_bps: Option<f64>,
    /// Slope of the slippage regression.
    pub slope: Option<f64>,
    /// Standard error of the slope.
    pub std_error: Option<f64>,
    /// Share of variance explained.
    pub r2: Option<f64>,
    /// What one sigma is, in words.
    pub sigma_unit: String,
    /// Whether the estimate was cut to its permitted range.
    pub clamped: bool,
    /// When to measure again.
    pub expires_utc: Time,
    /// How the spread was estimated, for example `edge`.
    pub spread_estimator: String,
    /// Interval of the spread estimate.
    pub spread_interval_bps: Option<[f64; 2]>,
}

/// What slippage was measured on, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationSource {
    /// Our own fills.
    Fills,
    /// Public trades.
    Trades,
    /// The order book.
    Book,
    /// Candles alone: a prior.
    Candles,
}

impl Document for Costs {
    const NAME: &'static str = "costs";

    fn check(&self) -> Checked {
        check::not_negative("taker_fee_bps", self.taker_fee_bps)?;
        check::positive("median_spread_bps", self.median_spread_bps)?;
        check::positive("slippage_bps_per_sigma", self.slippage_bps_per_sigma)?;
        check::positive("reference_order_usd", self.reference_order_usd)?;
        check::positive("sigma_bar_bps", self.sigma_bar_bps)?;
        check::not_negative("adv_usd", self.adv_usd)?;
        for (name, value) in [
            ("min_notional", self.min_notional),
            ("tick_size", self.tick_size),
            ("step_size", self.step_size),
        ] {
            value.map_or(Ok(()), |v| check::positive(name, v))?;
        }
        let calibration = &self.calibration;
        check::positive("calibration.lookback_days", calibration.lookback_days)?;
        check::named("calibration.sigma_unit", &calibration.sigma_unit)?;
        check::named("calibration.spread_estimator", &calibration.spread_estimator)?;
        check::interval("calibration.spread_interval_bps", calibration.spread_interval_bps)?;
        check::that(self.last_updated_utc <= calibration.expires_utc, || {
            format!(
                "costs expire at {}, before their fit date {}",
                calibration.expires_utc, self.last_updated_utc
            )
        })
    }
}
