//! What a run is told: every number already checked, no default hidden at a call site.

use crate::canary::CanarySettings;
use crate::engine::lanes::Lane;
use huracan_core::choose::champion::ChampionRule;
use huracan_core::choose::trade_ok::TradeGates;
use huracan_core::costs::{CostOptions, FeeSchedule};
use huracan_core::encoder::EncoderKind;
use huracan_core::encoder::autoencoder::AutoencoderSpec;
use huracan_core::gates::GateLimits;
use huracan_core::heads::trees::TreesSpec;
use huracan_core::labels::{LabelKind, LabelSpec};
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
    /// Kinds that compete on inner validation; none: no encoder at all.
    pub kinds: Vec<EncoderKind>,
    /// Numbers of principal components that compete on inner validation.
    pub components: Vec<usize>,
    /// Ranks of the reduced-rank regression that compete on inner validation.
    pub ranks: Vec<usize>,
    /// The autoencoder's shape and training.
    pub autoencoder: AutoencoderSpec,
}

impl EncoderSettings {
    /// Whether a kind is tried.
    pub fn tries(&self, kind: EncoderKind) -> bool {
        self.kinds.contains(&kind)
    }
}

/// Heads besides the ridge, which always competes.
#[derive(Clone, PartialEq, Debug)]
pub struct HeadSettings {
    /// Boosted trees; `None`: not tried.
    pub trees: Option<TreesSpec>,
    /// Principal components that trees read beside the features, in a variant of their own; 0: none.
    pub trees_components: usize,
    /// Rows of all coins that autoencoder and trees are fitted on, at most.
    pub sample_rows: usize,
    /// Variants that may be deployed; empty: all that are tried.
    pub deploy: Vec<Lane>,
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
    /// Whether the head that never trades competes on validation; only studies of other choices leave it
    /// out.
    pub zero_competes: bool,
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
    /// Heads besides the ridge.
    pub heads: HeadSettings,
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
    /// Whether it is measured what every feature is worth; no verdict depends on it.
    pub feature_worth: bool,
    /// Coins of known truth that every run is held against.
    pub canaries: CanarySettings,
    /// Days after which roster and models expire.
    pub model_ttl_days: f64,
    /// What earlier runs on the same store have tried, from its ledger; not part of the configuration.
    pub prior_trials: Vec<PriorTrials>,
    /// Origin of every random draw.
    pub seed: Seed,
}

/// What one run has tried.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PriorTrials {
    /// End of its data.
    pub until: UtcMs,
    /// Variants tried for each coin.
    pub variants: usize,
    /// Coins judged.
    pub coins: usize,
    /// Variance over coins of their Sharpe ratios per day; `None` when not known.
    pub sharpe_variance: Option<f64>,
}

impl Settings {
    /// Block length in bars over which a placebo's sign is constant (METHOD: 72 bars).
    pub const SIGN_BLOCK_BARS: i64 = 72;

    /// The method's own numbers for hourly bars: what benches, examples and tests start from. The
    /// product's defaults are those of its configuration.
    pub fn standard() -> Settings {
        Settings {
            timeframe: Timeframe::H1,
            market: Market::Perp,
            until: None,
            universe: Universe::All,
            gates: GateLimits::default(),
            label: LabelSpec {
                kind: LabelKind::Relative,
                horizon_bars: 24,
                entry_lag_bars: 1,
                sigma_half_life_bars: 72.0,
                clip: 6.0,
            },
            research_horizons_bars: vec![4, 12],
            walk: WalkForward { folds: 5, fold_days: 30.0, embargo_days: 5.0, inner_days: 30.0 },
            fold_train_days_min: 30.0,
            encoder: EncoderSettings {
                kinds: vec![EncoderKind::Pca, EncoderKind::Rrr, EncoderKind::Autoencoder],
                components: vec![10, 20, 50],
                ranks: vec![3, 5, 10],
                autoencoder: AutoencoderSpec { epochs_max: 12, ..AutoencoderSpec::default() },
            },
            heads: HeadSettings {
                trees: Some(TreesSpec::default()),
                trees_components: 20,
                sample_rows: 131_072,
                deploy: Vec::new(),
            },
            lambdas: vec![0.3, 1.0, 3.0, 10.0, 30.0, 100.0],
            taus: vec![0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0],
            own_log_odds_min: 3.0,
            fees: FeeSchedule::default(),
            costs: CostOptions::default(),
            trading: TradingSettings {
                entry_cost_multiples: vec![0.5, 1.0, 1.5, 2.0, 3.0],
                exit_bands: vec![-1.0, 0.3],
                day_sigma_target_pct: 2.0,
                zero_competes: true,
                book: BookChoice::Auto,
                funding_bps_per_8h: 1.0,
            },
            trade_gates: TradeGates::default(),
            champion: ChampionRule::default(),
            placebos: 16,
            placebo_run: None,
            feature_worth: true,
            canaries: CanarySettings::default(),
            model_ttl_days: 7.0,
            prior_trials: Vec::new(),
            seed: Seed(1),
        }
    }

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

    /// Trials and variance of their Sharpe ratios per day for a run's deflated Sharpe: its own and those
    /// of runs whose data ended strictly before its own, variances weighted by coins.
    pub fn all_trials(&self, own: &PriorTrials) -> (usize, Option<f64>) {
        let counted = || self.prior_trials.iter().filter(|run| run.until < own.until).chain([own]);
        let trials =
            counted().map(|run| run.variants.saturating_mul(run.coins)).fold(0, usize::saturating_add);
        let known = || counted().filter_map(|run| run.sharpe_variance.map(|v| (run.coins as f64, v)));
        let coins: f64 = known().map(|(coins, _)| coins).sum();
        let variance = known().map(|(coins, v)| coins * v).sum::<f64>() / coins;
        (trials.max(1), (coins > 0.0).then_some(variance))
    }

    /// Whether a position is meant to be held for a day or longer.
    pub fn long_horizon(&self) -> bool {
        self.label.horizon_bars as f64 >= self.timeframe.bars_per_day()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::settings;

    #[test]
    fn trials_of_the_same_day_or_later_do_not_count() {
        let run = |until: i64, coins: usize, sharpe_variance: Option<f64>| PriorTrials {
            until: UtcMs(until),
            variants: 8,
            coins,
            sharpe_variance,
        };
        let all = |prior: Vec<PriorTrials>| {
            Settings { prior_trials: prior, ..settings() }.all_trials(&run(5, 10, Some(0.004)))
        };
        assert_eq!(all(vec![]), (80, Some(0.004)));
        assert_eq!(all(vec![run(5, 10, Some(0.1)), run(6, 10, None)]), (80, Some(0.004)));
        let (trials, variance) = all(vec![run(3, 30, Some(0.008)), run(4, 5, None)]);
        assert_eq!(trials, 8 * 45);
        assert!((variance.unwrap() - 0.007).abs() < 1e-15);
    }
}
