//! `metrics.json`: what a head did out of sample, after costs, from its simulated trades.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Document;
use super::check::{self, Checked};
use super::figures::{Figures, GateReading, check_verdict};
use super::wire::{Coin, Span, Time};

/// The whole document. `_pct` is percent of capital, `_bps` basis points; `null` is "undefined".
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Metrics {
    /// The coin.
    pub symbol: Coin,
    /// Out-of-sample trades.
    pub sample_size: u64,
    /// Out-of-sample bars.
    pub oos_bars: u64,
    /// Rows the final head was fitted on.
    pub train_rows: u64,
    /// Days with at least one position.
    pub active_days: u64,
    /// The out-of-sample window.
    pub window: Span,
    /// Sum over the window before costs.
    pub gross_pnl_pct: f64,
    /// Sum over the window after costs.
    pub net_pnl_pct: f64,
    /// `net_pnl_pct` shrunk toward the pool, as shown to people.
    pub net_pnl_shrunk_pct: Option<f64>,
    /// `net_pnl_pct` without the best day.
    pub net_pnl_ex_best_day_pct: Option<f64>,
    /// `net_pnl_pct` of winsorised days.
    pub net_pnl_winsorised_pct: Option<f64>,
    /// From daily net returns, annualised by √365.
    pub sharpe: Option<f64>,
    /// Stationary-bootstrap 95 % interval of `sharpe`.
    pub sharpe_ci_95: Option<[f64; 2]>,
    /// `sharpe` adjusted for autocorrelation (Lo 2002).
    pub sharpe_lo_adjusted: Option<f64>,
    /// Probability that the true Sharpe is above 0 (Bailey and López de Prado).
    pub probabilistic_sharpe: Option<f64>,
    /// As `probabilistic_sharpe`, against the best of `n_trials` by chance.
    pub deflated_sharpe: Option<f64>,
    /// Trials counted in `deflated_sharpe`.
    pub n_trials: u64,
    /// HAC t-statistic of the mean daily net return.
    pub net_t_hac: Option<f64>,
    /// One-sided p of `net_t_hac`.
    pub net_p_one_sided: Option<f64>,
    /// That p adjusted over the coins of the run (Benjamini and Hochberg); absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q_value: Option<f64>,
    /// Share of trades with net > 0.
    pub hit_rate: Option<f64>,
    /// Positive, on the net equity curve.
    pub max_drawdown_pct: f64,
    /// Mean net result of a trade.
    pub avg_trade_bps: Option<f64>,
    /// Traded notional over capital, per day.
    pub turnover_per_day: f64,
    /// Gains over losses; `null` without losses.
    pub profit_factor: Option<f64>,
    /// Share of bars with a position.
    pub exposure: f64,
    /// After-cost bps of the trades closed in the last 7×24 h of the window; 0 when none.
    pub last_7d_net_bps: f64,
    /// Trades in `last_7d_net_bps`.
    pub last_7d_trades: u64,
    /// Product-moment correlation of score and label against training means.
    pub ic: Option<f64>,
    /// HAC t of `ic`.
    pub ic_t_hac: Option<f64>,
    /// Rank correlation of score and label.
    pub rank_ic: Option<f64>,
    /// HAC t of `rank_ic`.
    pub rank_ic_t_hac: Option<f64>,
    /// Out-of-sample share of variance explained; may be negative.
    pub r2: Option<f64>,
    /// One entry a walk-forward fold, in time order.
    pub windows: Vec<Window>,
    /// The same few figures per regime tag.
    pub by_regime: BTreeMap<String, RegimeFigures>,
    /// Costs as charged; `null` without a trade.
    pub costs_used: Option<CostsUsed>,
    /// What simpler rules did on the same bars at the same costs.
    pub baselines: Baselines,
    /// What the shared encoder was worth here; `null` when it was not measured.
    pub encoder_gain: Option<EncoderGain>,
    /// What every way of sharing was worth here against doing without, by the comparison's code;
    /// absent in older files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sharing: BTreeMap<String, EncoderGain>,
    /// Code of the lane whose head this is, for example `ridge_pca`; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Regime tag at the end of the data; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regime: Option<String>,
    /// The last week against training; absent in older files and where it could not be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftFigures>,
    /// Whether every gate passed.
    pub trade_ok: bool,
    /// Each gate with value and limit.
    pub trade_ok_reasons: Vec<GateReading>,
    /// The record a later candidate is compared with; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<DailyNet>,
}

/// Net results of every UTC day of the out-of-sample window.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DailyNet {
    /// The first day, `YYYYMMDD`.
    pub first_day: String,
    /// After costs, bps of capital; 0 on flat days.
    pub net_bps: Vec<f64>,
}

/// One walk-forward fold.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Window {
    /// Start of the training span.
    pub train_from: Time,
    /// End of the training span (exclusive).
    pub train_until: Time,
    /// Start of the test span.
    pub test_from: Time,
    /// End of the test span (exclusive).
    pub test_until: Time,
    /// Bars kept out between training and test.
    pub embargo_bars: u64,
    /// Trades in the test span.
    pub trades: u64,
    /// Net result of the test span.
    pub net_pnl_pct: f64,
    /// Sharpe of the test span.
    pub sharpe: Option<f64>,
    /// IC of the test span.
    pub ic: Option<f64>,
}

/// Figures of the trades entered in one regime.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RegimeFigures {
    /// Bars in this regime.
    pub bars: u64,
    /// Trades entered in it.
    pub trades: u64,
    /// Their net result.
    pub net_pnl_pct: f64,
    /// Sharpe over the regime's days.
    pub sharpe: Option<f64>,
    /// Share with net > 0.
    pub hit_rate: Option<f64>,
    /// Mean net result of a trade.
    pub avg_trade_bps: Option<f64>,
}

/// Whether the last week looks like training.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DriftFigures {
    /// `none`, `warn`, `no_promotion` or `refit_encoder`.
    pub action: String,
    /// Share of the features heavy in the head that are beyond their own limit; `null` when none has
    /// a limit.
    pub heavy_breached_share: Option<f64>,
    /// Share of the week's values that are known.
    pub coverage: f64,
}

/// Mean costs of the simulated trades.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CostsUsed {
    /// Of entry or exit alone.
    pub per_side: CostParts,
    /// Of entry, hold and exit.
    pub round_trip: CostParts,
    /// Sum of the round trip's parts.
    pub total_bps: f64,
}

/// The parts of a cost.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CostParts {
    /// Exchange fee.
    pub fee_bps: f64,
    /// Spread paid: half of it per side, all of it in a round trip.
    pub spread_bps: f64,
    /// Impact of the reference order.
    pub slippage_bps: f64,
    /// Funding over the hold; may be negative.
    pub funding_bps: f64,
    /// What was charged beyond these: the hedge's own cost, and how spread and volatility over the
    /// window differed from the calibration at its end; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remainder_bps: Option<f64>,
}

/// What simpler rules did; `null` for one that does not apply.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Baselines {
    /// Buy at the window's start, sell at its end.
    pub buy_and_hold: Option<BaselineFigures>,
    /// The model that never trades.
    pub zero: Option<BaselineFigures>,
    /// The same head without the encoder.
    pub without_encoder: Option<BaselineFigures>,
    /// The same head on the coin's own PCA.
    pub own_pca: Option<BaselineFigures>,
    /// The head of all coins.
    pub pooled_head: Option<BaselineFigures>,
    /// Every lane that was tried, by its code; absent in older files.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lanes: BTreeMap<String, BaselineFigures>,
}

/// What one simpler rule did on the same bars; `null` where it is not measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BaselineFigures {
    /// Annualised Sharpe ratio of daily net returns.
    pub sharpe: Option<f64>,
    /// Share of trades with net > 0.
    pub hit_rate: Option<f64>,
    /// Net result over the window, percent of capital.
    pub net_pnl_pct: f64,
    /// Largest loss from a peak of the net equity curve, percent, positive.
    pub max_drawdown_pct: Option<f64>,
    /// Trades.
    pub sample_size: u64,
    /// The window, where it is not the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
}

impl BaselineFigures {
    fn check(&self, name: &str) -> Checked {
        check::share(&format!("{name}.hit_rate"), self.hit_rate)?;
        check::not_negative(&format!("{name}.max_drawdown_pct"), self.max_drawdown_pct.unwrap_or(0.0))
    }
}

/// Paired out-of-sample net difference, with minus without: a shared encoder, or another way of
/// sharing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EncoderGain {
    /// Mean difference of daily net returns.
    pub mean_bps: f64,
    /// Bootstrap interval of the mean.
    pub interval_bps: Option<[f64; 2]>,
    /// Days compared.
    pub n_days: u64,
    /// What the interval says.
    pub verdict: EncoderVerdict,
}

/// Whether sharing paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderVerdict {
    /// The interval lies above zero.
    Helped,
    /// The interval lies below zero.
    Hurt,
    /// The interval holds zero.
    Undecided,
}

impl Metrics {
    /// The five figures with their window.
    pub fn figures(&self) -> Figures {
        Figures {
            sharpe: self.sharpe,
            hit_rate: self.hit_rate,
            net_pnl_pct: self.net_pnl_pct,
            max_drawdown_pct: self.max_drawdown_pct,
            sample_size: self.sample_size,
            window: Some(self.window),
        }
    }
}

impl Document for Metrics {
    const NAME: &'static str = "metrics";

    fn check(&self) -> Checked {
        self.figures().check("metrics")?;
        check::share("exposure", Some(self.exposure))?;
        check::not_negative("turnover_per_day", self.turnover_per_day)?;
        check::interval("sharpe_ci_95", self.sharpe_ci_95)?;
        check::share("probabilistic_sharpe", self.probabilistic_sharpe)?;
        check::share("deflated_sharpe", self.deflated_sharpe)?;
        check::share("net_p_one_sided", self.net_p_one_sided)?;
        for (i, fold) in self.windows.iter().enumerate() {
            let ordered = fold.train_from <= fold.train_until
                && fold.train_until <= fold.test_from
                && fold.test_from <= fold.test_until;
            check::that(ordered, || {
                format!(
                    "windows.{i} trains until {} and tests from {}, expected training, then test",
                    fold.train_until, fold.test_from
                )
            })?;
        }
        for (tag, figures) in &self.by_regime {
            check::named("by_regime", tag)?;
            check::share(&format!("by_regime.{tag}.hit_rate"), figures.hit_rate)?;
        }
        let baselines = &self.baselines;
        let known = [
            ("buy_and_hold", &baselines.buy_and_hold),
            ("zero", &baselines.zero),
            ("without_encoder", &baselines.without_encoder),
            ("own_pca", &baselines.own_pca),
            ("pooled_head", &baselines.pooled_head),
        ];
        for (name, figures) in known {
            figures.as_ref().map_or(Ok(()), |figures| figures.check(&format!("baselines.{name}")))?;
        }
        for (code, figures) in &baselines.lanes {
            check::named("baselines.lanes", code)?;
            figures.check(&format!("baselines.lanes.{code}"))?;
        }
        if let Some(gain) = &self.encoder_gain {
            check::interval("encoder_gain.interval_bps", gain.interval_bps)?;
        }
        for (code, gain) in &self.sharing {
            check::named("sharing", code)?;
            check::interval(&format!("sharing.{code}.interval_bps"), gain.interval_bps)?;
        }
        self.variant.as_ref().map_or(Ok(()), |code| check::named("variant", code))?;
        self.regime.as_ref().map_or(Ok(()), |tag| check::named("regime", tag))?;
        if let Some(drift) = &self.drift {
            check::named("drift.action", &drift.action)?;
            check::share("drift.heavy_breached_share", drift.heavy_breached_share)?;
            check::share("drift.coverage", Some(drift.coverage))?;
        }
        check::share("q_value", self.q_value)?;
        self.daily.as_ref().map_or(Ok(()), |daily| check::date("daily.first_day", &daily.first_day))?;
        check_verdict("metrics", self.trade_ok, &self.trade_ok_reasons)
    }
}
