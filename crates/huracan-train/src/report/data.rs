//! What a report shows: plain data the pipeline fills. Every list may be empty and every optional
//! figure missing; the page then says so.
//!
//! Percent fields are percent (2.0 is 2 %), `_bps` basis points, `hit_rate` 0..1, times UTC
//! milliseconds. A figure that is undefined is `None`, or NaN inside a curve.

use serde::{Deserialize, Serialize};

/// One run, ready to be shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// Which run this was, on what, with what.
    pub run: RunHeader,
    /// Every ranked coin, best first.
    pub roster: Vec<RosterRow>,
    /// How many coins were skipped for what reason.
    pub skip_reasons: Vec<SkipCount>,
    /// Coins that failed through an error of ours or the world's.
    pub failed: Vec<FailedCoin>,
    /// All coins traded together, against its sign-flip placebos.
    pub universe: Option<Universe>,
    /// The cross-sectional long/short book.
    pub rank_band: Option<RankBand>,
    /// The shared encoder.
    pub encoder: Option<EncoderSummary>,
    /// What sharing is worth, per coin.
    pub lift: Vec<Lift>,
    /// Cross-sectional information coefficients.
    pub cross_section: Vec<CrossSectionIc>,
    /// Walk-forward folds.
    pub folds: Vec<Fold>,
    /// Where the time went.
    pub timings: Vec<StageTiming>,
}

/// Which run this was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// `{DATE}T{HHMMSS}Z-{8 hex}`.
    pub run_id: String,
    /// One sentence: "3 of 400 coins trade_ok".
    pub verdict: String,
    /// Start and end of the run's own work, RFC 3339.
    pub started_at: String,
    /// See `started_at`.
    pub finished_at: String,
    /// First bar used.
    pub data_from_ms: i64,
    /// End of the last bar used.
    pub data_until_ms: i64,
    /// Bar length, such as `1h`.
    pub bar: String,
    /// Bars used over all coins.
    pub bars: u64,
    /// Coins in the universe.
    pub coins: usize,
    /// Coins skipped by a gate.
    pub skipped: usize,
    /// Further facts in order, name and value: label, horizon, versions, seed, identifiers.
    pub facts: Vec<(String, String)>,
    /// What the canaries said, where they ran: a sentence and whether they passed.
    pub canaries: Option<(String, bool)>,
}

/// One ranked coin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RosterRow {
    /// 1 is best.
    pub rank: usize,
    /// The coin.
    pub symbol: String,
    /// Whether every gate passed.
    pub trade_ok: bool,
    /// Annualised Sharpe ratio of daily net returns.
    pub sharpe: Option<f64>,
    /// Out-of-sample net profit, percent of capital.
    pub net_pnl_pct: Option<f64>,
    /// Out-of-sample trades.
    pub sample_size: usize,
    /// Share of trades with net > 0.
    pub hit_rate: Option<f64>,
    /// Largest drawdown of the net curve, positive percent.
    pub max_drawdown_pct: Option<f64>,
    /// Taker fee, one side.
    pub fee_bps: f64,
    /// Full spread.
    pub spread_bps: f64,
    /// Slippage, one side at the reference size.
    pub slip_bps: f64,
    /// Round trip as charged.
    pub total_cost_bps: f64,
    /// Median daily quote volume.
    pub adv_usd: f64,
    /// Order size at which the expected net edge reaches zero.
    pub capacity_usd: Option<f64>,
    /// After-cost bps of the window's last seven days.
    pub last_7d_net_bps: f64,
    /// Every gate with its value and limit.
    pub reasons: Vec<GateReason>,
    /// Cumulative out-of-sample net, percent.
    pub equity: Curve,
}

/// One gate of `trade_ok`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GateReason {
    /// The gate's code.
    pub gate: String,
    /// What was found, with unit.
    pub value: String,
    /// What was asked, with relation: `> 0.5`.
    pub limit: String,
    /// Whether it passed.
    pub passed: bool,
}

/// Values at equal steps of days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The day of the first value.
    pub first_day_ms: i64,
    /// Days from one value to the next; 0 is read as 1.
    pub step_days: u32,
    /// The values, percent.
    pub pct: Vec<f64>,
}

/// A skip reason and how often it was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SkipCount {
    /// Stable code.
    pub code: String,
    /// Coins skipped for it; a coin may have several reasons.
    pub coins: usize,
    /// The gate in words, with its limit.
    pub meaning: String,
}

/// A coin that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailedCoin {
    /// The coin.
    pub symbol: String,
    /// Where it failed.
    pub step: String,
    /// The error chain.
    pub error: String,
}

/// All coins traded together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Universe {
    /// Cumulative net, percent.
    pub net: Curve,
    /// Lowest placebo at each step of `net`.
    pub placebo_low_pct: Vec<f64>,
    /// Highest placebo at each step of `net`.
    pub placebo_high_pct: Vec<f64>,
    /// How many placebos there were.
    pub placebos: usize,
    /// Where each placebo ended, percent; stands in for the range where only that was kept.
    pub placebo_net_pct: Vec<f64>,
    /// Annualised Sharpe ratio of `net`.
    pub sharpe: Option<f64>,
}

/// The cross-sectional book: enter the extreme ranks, leave outside a wider band.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankBand {
    /// Cumulative net, percent.
    pub net: Curve,
    /// Cumulative gross at each step of `net`; empty where not kept.
    pub gross_pct: Vec<f64>,
    /// The rule in words.
    pub rule: String,
    /// Annualised Sharpe ratio of `net`.
    pub sharpe: Option<f64>,
    /// 90 % bootstrap interval of the Sharpe ratio.
    pub sharpe_ci_90: Option<[f64; 2]>,
}

/// The shared encoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EncoderSummary {
    /// `pca`, `rrr`, `autoencoder`, `none`.
    pub kind: String,
    /// Identity.
    pub encoder_id: String,
    /// Share of variance of each component, 0..1.
    pub explained_variance_ratio: Vec<f64>,
    /// The strongest loadings of the first components.
    pub top_loadings: Vec<ComponentLoadings>,
}

/// One component's strongest loadings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComponentLoadings {
    /// Number of the component, from 1.
    pub component: usize,
    /// Feature and loading, strongest first.
    pub loadings: Vec<(String, f64)>,
}

/// What the shared encoder is worth to one coin: paired out-of-sample difference with minus
/// without.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lift {
    /// The coin.
    pub symbol: String,
    /// Mean daily net difference.
    pub mean_bps: f64,
    /// Interval around it.
    pub low_bps: f64,
    /// See `low_bps`.
    pub high_bps: f64,
    /// `helped`, `hurt` or `undecided` after false-discovery control.
    pub verdict: String,
}

/// Cross-sectional rank IC of a score at one horizon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CrossSectionIc {
    /// Whose score.
    pub head: String,
    /// Bars ahead.
    pub horizon_bars: usize,
    /// Mean rank IC.
    pub ic: Option<f64>,
    /// HAC t-statistic over days.
    pub t_stat: Option<f64>,
    /// Days.
    pub days: usize,
}

/// One walk-forward fold over all coins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    /// Training span, in words.
    pub train: String,
    /// Test span, in words.
    pub test: String,
    /// Coins scored.
    pub coins: usize,
    /// Trades.
    pub trades: usize,
    /// Mean net per coin, percent.
    pub net_pnl_pct: Option<f64>,
    /// Sharpe ratio of the coin average.
    pub sharpe: Option<f64>,
    /// Cross-sectional rank IC at the label's horizon.
    pub ic: Option<f64>,
}

/// Time one stage took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTiming {
    /// The stage.
    pub stage: String,
    /// Jobs in it.
    pub jobs: usize,
    /// Wall seconds.
    pub wall_s: f64,
    /// CPU seconds.
    pub cpu_s: f64,
    /// Median seconds of a job.
    pub p50_s: Option<f64>,
    /// 95th percentile of a job.
    pub p95_s: Option<f64>,
}
