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
    /// What sharing is worth: one entry a comparison, the encoder in force first.
    pub sharing: Vec<Sharing>,
    /// Cross-sectional information coefficients.
    pub cross_section: Vec<CrossSectionIc>,
    /// What was tried before this result, and what that says of luck.
    pub variants: Option<Variants>,
    /// Features over all coins, in any order.
    pub feature_bank: Vec<BankFeature>,
    /// Results by regime tag.
    pub regimes: Option<Regimes>,
    /// Present against training distributions.
    pub drift: Option<Drift>,
    /// What happened to champions, in any order; `None` where their history was not read.
    pub champion_events: Option<Vec<ChampionEvent>>,
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
    /// What the canaries said, where they ran.
    pub canaries: Option<Canaries>,
}

/// Coins of known truth put through the same run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Canaries {
    /// Coins without anything to learn.
    pub noise: usize,
    /// Those of them that passed every gate; one is too many.
    pub noise_trade_ok: usize,
    /// Coins with a planted edge.
    pub planted: usize,
    /// Those of them that were found.
    pub planted_found: usize,
    /// How many have to be found.
    pub planted_needed: usize,
    /// The verdict.
    pub passed: bool,
    /// A further sentence without its full stop; may be empty.
    pub detail: String,
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
    /// Loss by epoch where training goes by epochs; empty for linear kinds.
    pub training_loss: Vec<EpochLoss>,
    /// The epoch whose weights were kept, from 1.
    pub kept_epoch: Option<usize>,
}

/// Loss after one epoch, in the training's own unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochLoss {
    /// On the rows trained on.
    pub train: Option<f64>,
    /// On later rows.
    pub holdout: Option<f64>,
}

/// One component's strongest loadings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComponentLoadings {
    /// Number of the component, from 1.
    pub component: usize,
    /// Feature and loading, strongest first.
    pub loadings: Vec<(String, f64)>,
}

/// One comparison: paired out-of-sample daily net, with minus without, on the same bars and costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sharing {
    /// What is compared: `pca`, `rrr`, `autoencoder`, `shared PCA`, `pooled prior`, `trees`.
    pub with: String,
    /// Against what: `none`, `own PCA`, `ridge`.
    pub without: String,
    /// Coins it helped after false-discovery control.
    pub helped: usize,
    /// Coins it hurt.
    pub hurt: usize,
    /// Coins of which the data cannot tell.
    pub undecided: usize,
    /// Mean daily difference over all coins.
    pub mean_bps: Option<f64>,
    /// 90 % interval of `mean_bps`.
    pub interval_bps: Option<[f64; 2]>,
    /// The coins one by one, in any order; those that never differed may be left out.
    pub coins: Vec<Lift>,
}

/// What a comparison gave one coin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lift {
    /// The coin.
    pub symbol: String,
    /// Mean daily net difference.
    pub mean_bps: f64,
    /// 90 % interval of it.
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

/// What was tried before this result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Variants {
    /// Heads and encoders compared in inner validation.
    pub rows: Vec<Variant>,
    /// Variants tried in this run, policies included.
    pub tried: usize,
    /// Variants tried in all runs so far, this one included.
    pub tried_ever: Option<usize>,
    /// Deflated Sharpe ratio of the book of all coins, 0..1: the probability that its true ratio
    /// exceeds what the best of all trials would show by luck.
    pub deflated_sharpe: Option<f64>,
    /// Probability of backtest overfitting, 0..1.
    pub overfitting_probability: Option<f64>,
}

/// One head on one encoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// `ridge`, `logistic`, `trees`.
    pub head: String,
    /// `none`, `pca`, `rrr`, `autoencoder`, `own PCA`.
    pub encoder: String,
    /// Correlation with the label on validation over all coins.
    pub validation_ic: Option<f64>,
    /// Net on validation, bps a day and coin.
    pub validation_net_bps: Option<f64>,
    /// Net out of sample, bps a day and coin. The choice never saw it.
    pub test_net_bps: Option<f64>,
    /// Correlation with the label out of sample over all coins, mean over folds.
    pub test_ic: Option<f64>,
    /// Variants tried under this head and encoder: penalties, thresholds, exits.
    pub tried: usize,
    /// Whether validation chose it.
    pub chosen: bool,
}

/// One feature over all coins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BankFeature {
    /// Its name.
    pub name: String,
    /// Permutation importance: mean loss of out-of-sample net a day when its column is permuted.
    pub delta_net_bps: Option<f64>,
    /// Standard error of `delta_net_bps`.
    pub delta_error_bps: Option<f64>,
    /// Coins it helps beyond their own noise.
    pub helped: usize,
    /// Coins it hurts.
    pub hurt: usize,
    /// Coins where permuting it shows nothing.
    pub neither: usize,
    /// Mean share of the heads' squared weights, 0..1.
    pub weight_share: Option<f64>,
    /// Coins that give it more than an even share.
    pub coins_using: usize,
    /// Whether it is among the shared features.
    pub shared: bool,
}

/// Results by regime tag.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Regimes {
    /// One a tag.
    pub tags: Vec<RegimeResult>,
    /// The mixture of experts by tag.
    pub meta: Option<MetaLearner>,
}

/// What a regime brought, out of sample over all coins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RegimeResult {
    /// `trend`, `range`, `panic`, `illiquid`, `unknown`.
    pub tag: String,
    /// Share of coin-bars with this tag, 0..1.
    pub time_share: Option<f64>,
    /// Coins with this tag at the end of the data.
    pub coins_now: usize,
    /// Trades entered in it.
    pub trades: usize,
    /// Mean net of a trade.
    pub net_per_trade_bps: Option<f64>,
    /// Annualised Sharpe ratio of the days' net earned in it.
    pub sharpe: Option<f64>,
    /// Share of trades with net > 0.
    pub hit_rate: Option<f64>,
}

/// The mixture of experts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetaLearner {
    /// Names of the experts, in the order of the weights.
    pub experts: Vec<String>,
    /// Weights by tag.
    pub weights: Vec<MetaWeights>,
    /// Mean daily net of the mixture minus what is deployed.
    pub gain_bps: Option<f64>,
    /// 90 % interval of `gain_bps`.
    pub interval_bps: Option<[f64; 2]>,
    /// Whether the gain's interval lies above zero, so that the mixture may be used.
    pub used: bool,
}

/// Weights in one regime.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetaWeights {
    /// The regime's tag.
    pub tag: String,
    /// One an expert, sum 1.
    pub weights: Vec<f64>,
    /// Trades behind them.
    pub trades: usize,
}

/// Present against training distributions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// `none`, `warn`, `no_promotion`, `refit_encoder`.
    pub action: String,
    /// Why, in a sentence without its full stop; may be empty.
    pub reason: String,
    /// What the columns are: `coins` or `weeks`.
    pub across: String,
    /// Names of the columns; weeks from oldest to newest, coins in any order.
    pub columns: Vec<String>,
    /// Feature families, or the heaviest features.
    pub rows: Vec<DriftRow>,
    /// Share of the heavy features beyond their threshold, 0..1.
    pub heavy_breached_share: Option<f64>,
    /// Rank IC of the last 14 days.
    pub recent_ic: Option<f64>,
    /// Share of the last week's rows that the encoder describes worse than 99 % of its training rows,
    /// 0..1; .01 in training.
    pub reconstruction_share: Option<f64>,
}

/// One row of the drift map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DriftRow {
    /// The family or feature.
    pub name: String,
    /// Population stability index over its own threshold, one a column: above 1 is a breach.
    pub ratios: Vec<Option<f64>>,
}

/// What happened to a champion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChampionEvent {
    /// When.
    pub at_ms: i64,
    /// To whom.
    pub symbol: String,
    /// `promote`, `rollback`, `reject`, `engine_update`, `expire`.
    pub event: String,
    /// The rule's verdict in a sentence.
    pub reason: String,
    /// `engine`, `mechanic`, an operator's name.
    pub decided_by: String,
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
