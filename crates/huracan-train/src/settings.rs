//! What a run is told: every number already checked, no default hidden at a call site.

use crate::canary::CanarySettings;
use huracan_core::choose::champion::ChampionRule;
use huracan_core::choose::trade_ok::TradeGates;
use huracan_core::costs::{CostOptions, FeeSchedule};
use huracan_core::gates::GateLimits;
use huracan_core::labels::LabelSpec;
use huracan_core::trial::metrics::MetricOptions;
use huracan_core::trial::plan::WalkForward;
use huracan_core::words::{Market, Seed, Symbol, Timeframe, UtcMs};

/// Which book a coin is judged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BookChoice {
    /// `hedged` for the relative label on perpetuals, `outright` otherwise.
    Auto,
    /// The coin alone.
    Outright,
    /// The coin against the equal-weight market.
    Hedged,
}

/// Which coins of the source form the universe.
#[derive(Clone, PartialEq, Debug)]
pub enum Universe {
    /// All of them.
    All,
    /// The N most liquid by daily volume in USD, before any gate has spoken.
    Top(usize),
    /// Exactly these.
    List(Vec<Symbol>),
    /// Start with the `start` most liquid; each completed run adds as many, up to `target`.
    Staged {
        /// Size of the first run.
        start: usize,
        /// Final size.
        target: usize,
    },
}

/// The shared encoder's part of the configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct EncoderSettings {
    /// Whether any encoder is tried.
    pub enabled: bool,
    /// Numbers of codes that compete on inner validation.
    pub components: Vec<usize>,
}

/// How edges become trades.
#[derive(Clone, PartialEq, Debug)]
pub struct TradingSettings {
    /// Multiples of the round-trip cost that compete as entry thresholds on inner validation.
    pub entry_cost_multiples: Vec<f64>,
    /// Shares of the entry threshold below which a position is left; they compete on inner
    /// validation. −1 leaves only when the edge has turned by the full threshold: hold to the horizon.
    pub exit_bands: Vec<f64>,
    /// A position is made smaller than the capital where one σ of a day's return exceeds this,
    /// percent.
    pub day_sigma_target_pct: f64,
    /// Outright or against the market.
    pub book: BookChoice,
    /// Funding charged on a held perpetual, whichever side, bps per 8 hours.
    pub funding_bps_per_8h: f64,
}

/// Everything a run depends on besides its candles; two equal settings on equal candles give equal
/// artifacts.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Length of a bar.
    pub timeframe: Timeframe,
    /// Market of symbols that do not say.
    pub market: Market,
    /// Bars at or after this moment are not looked at; `None` is the end of the data.
    pub until: Option<UtcMs>,
    /// Which coins.
    pub universe: Universe,
    /// Limits of the data gates.
    pub gates: GateLimits,
    /// What is predicted.
    pub label: LabelSpec,
    /// Further horizons (at most the label's) whose pooled information coefficient is reported.
    pub research_horizons_bars: Vec<usize>,
    /// How the out-of-sample span is cut.
    pub walk: WalkForward,
    /// Rows of training a coin needs in a fold to be fitted or traded there, in days.
    pub fold_train_days_min: f64,
    /// The shared encoder.
    pub encoder: EncoderSettings,
    /// Penalties λ/n that compete on inner validation.
    pub lambdas: Vec<f64>,
    /// Penalties τ/n of a coin's deviation from the pooled head; ∞ is always a candidate.
    pub taus: Vec<f64>,
    /// Log odds a coin's deviation must overcome to be believed.
    pub own_log_odds_min: f64,
    /// Fees per market.
    pub fees: FeeSchedule,
    /// How costs are calibrated.
    pub costs: CostOptions,
    /// From edges to trades.
    pub trading: TradingSettings,
    /// Gates of `trade_ok`.
    pub trade_gates: TradeGates,
    /// When a champion is replaced.
    pub champion: ChampionRule,
    /// Number of sign-flip placebos.
    pub placebos: usize,
    /// Run on sign-flipped labels and returns instead of the real ones; publishes no champion.
    pub placebo_run: Option<Seed>,
    /// Coins of known truth that every run is held against.
    pub canaries: CanarySettings,
    /// Days after which roster and models expire.
    pub model_ttl_days: f64,
    /// Origin of every random draw.
    pub seed: Seed,
}

impl Settings {
    /// Block length in bars over which a placebo's sign is constant (METHOD: 72 bars).
    pub const SIGN_BLOCK_BARS: i64 = 72;

    /// Horizons whose labels are made: the label's own first, then the research ones.
    pub fn horizons(&self) -> Vec<usize> {
        let mut all = vec![self.label.horizon_bars];
        all.extend(self.research_horizons_bars.iter().filter(|&&h| h < self.label.horizon_bars));
        all
    }

    /// Bootstrap and HAC settings of every metric of the run, from one seed.
    pub fn metric_options(&self, seed: Seed) -> MetricOptions {
        MetricOptions::for_horizon(self.timeframe, self.label.horizon_bars, seed)
    }

    /// Whether a position is meant to be held for a day or longer.
    pub fn long_horizon(&self) -> bool {
        self.label.horizon_bars as f64 >= self.timeframe.bars_per_day()
    }
}
