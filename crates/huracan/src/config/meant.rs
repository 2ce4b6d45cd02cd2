//! The configuration as meant: words parsed, limits checked, rules between keys kept.
//!
//! What lives here: [`EngineConfig`], the only thing the rest of the program sees of the
//! configuration. Where the core has a type for a rule, the setting is that type.

use super::address;
use super::layers::{Effective, Problem, as_tree};
use super::ranges::{MAY_BE_EMPTY, RANGES};
use super::tree::get;
use super::written::{self, Book, Costs, Fees, MarketWord, Written};
use huracan_core::choose::champion::ChampionRule;
use huracan_core::choose::trade_ok::TradeGates;
use huracan_core::encoder::EncoderKind;
use huracan_core::encoder::autoencoder::AutoencoderSpec;
use huracan_core::gates::GateLimits;
use huracan_core::heads::trees::TreesSpec;
use huracan_core::labels::{LabelKind, LabelSpec};
use huracan_core::trial::plan::WalkForward;
use huracan_core::words::{Market, Seed, Timeframe};
use huracan_jobs::{Caps, QueueOptions, RetryPolicy};
use huracan_train::canary::CanarySettings;
use huracan_train::engine::lanes::Lane;
use huracan_train::pipeline::Rates;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// Everything a run of the Engine may depend on, checked. Numbers lie within
/// [`super::ranges::RANGES`].
#[derive(Clone, Debug, PartialEq)]
pub struct EngineConfig {
    /// SHA-256 (64 hex digits) of the canonical JSON of every key that can change a result.
    pub config_id: String,
    /// Where all random draws start.
    pub seed: Seed,
    /// Coins the universe grows to.
    pub target_symbols: usize,
    /// Coins of the first run; at most `target_symbols`.
    pub start_with_symbols: usize,
    /// Coins worked on at once; never changes results.
    pub workers: usize,
    /// The shared encoder; `None` where heads see the coin's own features only.
    pub encoder: Option<EncoderPlan>,
    /// Heads besides the ridge.
    pub heads: HeadsPlan,
    /// Length of a bar.
    pub bar: Timeframe,
    /// Market of files and symbols that do not say theirs.
    pub market: Market,
    /// Limits a coin must keep.
    pub gates: GateLimits,
    /// What is predicted.
    pub label: LabelSpec,
    /// Other horizons, in bars, ascending, that are scored and reported, never traded.
    pub research_horizons_bars: Vec<usize>,
    /// How history is cut.
    pub walk_forward: WalkForward,
    /// Days of training a coin needs in a fold to be fitted or traded there.
    pub fold_train_days_min: f64,
    /// Ridge penalties over the number of rows, ascending.
    pub lambda_grid: Vec<f64>,
    /// Pulls toward the pooled head, ascending; infinity always competes beside them.
    pub tau_grid: Vec<f64>,
    /// Log odds that a coin's own pattern must exceed to be believed.
    pub own_log_odds_min: f64,
    /// What trades cost, both markets.
    pub costs: Costs,
    /// Multiples of the round-trip cost at which a position may open, ascending.
    pub entry_k_grid: Vec<f64>,
    /// Shares of the entry threshold below which a position closes, ascending; they compete in inner
    /// validation.
    pub exit_band_grid: Vec<f64>,
    /// A position is smaller than the capital where one σ of a day's return exceeds this, percent.
    pub day_sigma_target_pct: f64,
    /// Whether positions are hedged with the market basket. `auto` hedges relative labels on
    /// perpetuals; spot is never hedged, because it cannot be sold short.
    pub book: Book,
    /// Limits of `trade_ok`.
    pub trade_gates: TradeGates,
    /// Sign-flip placebos the whole universe must beat.
    pub placebos: usize,
    /// Coins of known truth.
    pub canaries: CanarySettings,
    /// The champion rule.
    pub champion: ChampionRule,
    /// Days after which roster and models expire.
    pub model_ttl_days: f64,
    /// Who does the jobs; never changes results.
    pub jobs: JobsPlan,
    /// What is told about runs; never changes results.
    pub observability: Observability,
}

/// Who does the jobs of a run, and when they are given up.
#[derive(Clone, Debug, PartialEq)]
pub struct JobsPlan {
    /// The queue's database; `None` where this process does all jobs. It holds no password.
    pub url: Option<String>,
    /// How the queue is kept.
    pub queue: QueueOptions,
    /// What an attempt may use.
    pub caps: Caps,
    /// How long running jobs may go on after a worker was told to stop.
    pub drain: Duration,
    /// Whether the coordinator of a queue leaves all jobs to others.
    pub coordinate_only: bool,
}

/// What is told about runs besides their results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observability {
    /// What resources cost.
    pub rates: Rates,
    /// File of figures for Prometheus; ends in `.prom`.
    pub prometheus_file: Option<PathBuf>,
    /// Where spans are sent to; an HTTP address.
    pub otlp_endpoint: Option<String>,
}

/// The encoder that all coins share.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderPlan {
    /// Kinds that compete.
    pub kinds: Vec<EncoderKind>,
    /// Numbers of principal components that compete, ascending, without repetition.
    pub components: Vec<usize>,
    /// Ranks of the reduced-rank regression that compete.
    pub ranks: Vec<usize>,
    /// The autoencoder's shape and training.
    pub autoencoder: AutoencoderSpec,
}

/// Heads besides the ridge.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadsPlan {
    /// Boosted trees; `None`: not tried.
    pub trees: Option<TreesSpec>,
    /// Principal components that trees read beside the features; 0: none.
    pub trees_components: usize,
    /// Rows of all coins that autoencoder and trees are fitted on, at most.
    pub sample_rows: usize,
    /// Variants that may be deployed; empty: all.
    pub deploy: Vec<String>,
}

impl EngineConfig {
    /// Fees of a market, one side.
    pub fn fees(&self, market: Market) -> &Fees {
        match market {
            Market::Spot => &self.costs.spot,
            Market::Perp => &self.costs.perp,
        }
    }
}

/// Reads the effective configuration as meant. `cores` stands in for an unsaid `parallel_tasks`.
///
/// # Errors
/// Every limit and rule that is broken, not only the first.
pub fn mean(effective: &Effective, config_id: String, cores: usize) -> Result<EngineConfig, Vec<Problem>> {
    let written = &effective.written;
    let mut problems = out_of_range(effective);
    let bar = written.data.bar.parse::<Timeframe>().map_err(|error| {
        problems.push(problem(effective, "out_of_range", "data.bar", format!("data.bar: {error}")));
    });
    if let (Ok(bar), true) = (bar, problems.is_empty()) {
        for (path, holds, sentence) in rules(written, bar) {
            if !holds {
                problems.push(problem(effective, "contradiction", path, sentence));
            }
        }
        if problems.is_empty() {
            return Ok(assemble(written.clone(), config_id, bar, cores));
        }
    }
    Err(problems)
}

fn assemble(w: Written, config_id: String, bar: Timeframe, cores: usize) -> EngineConfig {
    EngineConfig {
        config_id,
        seed: Seed(w.seed),
        target_symbols: w.engine.target_symbols as usize,
        start_with_symbols: w.engine.start_with_symbols as usize,
        workers: w.engine.parallel_tasks.map_or(cores.max(1), |n| n as usize),
        encoder: w.engine.shared_encoder.enabled.then(|| encoder(&w.engine.shared_encoder)),
        heads: heads(&w.heads),
        bar,
        market: match w.data.market {
            MarketWord::Spot => Market::Spot,
            MarketWord::Perp => Market::Perp,
        },
        gates: gates(&w.gates),
        label: LabelSpec {
            kind: match w.labels.kind {
                written::LabelKind::Raw => LabelKind::Raw,
                written::LabelKind::Scaled => LabelKind::Scaled,
                written::LabelKind::Relative => LabelKind::Relative,
            },
            horizon_bars: w.labels.horizon_bars as usize,
            entry_lag_bars: w.labels.entry_lag_bars as usize,
            sigma_half_life_bars: w.labels.sigma_half_life_bars,
            clip: w.labels.clip,
        },
        research_horizons_bars: w.labels.research_horizons_bars.iter().map(|&bars| bars as usize).collect(),
        walk_forward: WalkForward {
            folds: w.walk_forward.folds as usize,
            fold_days: w.walk_forward.fold_days,
            embargo_days: w.walk_forward.embargo_days,
            inner_days: w.walk_forward.inner_validation_days,
        },
        fold_train_days_min: w.walk_forward.fold_train_days_min,
        lambda_grid: w.heads.lambda_grid,
        tau_grid: w.heads.tau_grid,
        own_log_odds_min: w.heads.own_log_odds_min,
        costs: w.costs,
        entry_k_grid: w.trading.entry_k_grid,
        exit_band_grid: w.trading.exit_band_grid,
        day_sigma_target_pct: w.trading.day_sigma_target_pct,
        book: w.trading.book,
        trade_gates: TradeGates {
            net_pnl_pct_min: w.trade_ok.net_pnl_pct_min,
            sample_size_min: w.trade_ok.sample_size_min as usize,
            long_horizon_trades_min: w.trade_ok.long_horizon_trades_min as usize,
            long_horizon_active_days_min: w.trade_ok.long_horizon_active_days_min as usize,
            sharpe_min: w.trade_ok.sharpe_min,
            hit_rate_min: w.trade_ok.hit_rate_min,
            max_drawdown_pct_max: w.trade_ok.max_drawdown_pct_max,
            false_discovery_rate: w.trade_ok.fdr,
            oos_days_min: w.trade_ok.oos_days_min,
        },
        placebos: w.trade_ok.placebos as usize,
        canaries: CanarySettings {
            enabled: w.canaries.enabled,
            required: w.canaries.required,
            label_correlation: w.canaries.label_correlation,
        },
        champion: ChampionRule {
            sharpe_gain_min: w.champion.sharpe_gain_min,
            net_gain_pct_min: w.champion.net_gain_pct_min,
            drawdown_slack_pct: w.champion.drawdown_slack_pct,
            common_days_min: w.champion.common_days_min as usize,
            sample_size_min: w.champion.sample_size_min as usize,
            long_horizon_trades_min: w.trade_ok.long_horizon_trades_min as usize,
            long_horizon_active_days_min: w.trade_ok.long_horizon_active_days_min as usize,
            false_discovery_rate: w.champion.fdr,
            hold_days: w.champion.hold_days,
            hold_rate_factor: w.champion.hold_fdr_factor,
            flip_window_days: w.champion.flip_window_days,
            flip_rate_factor: w.champion.flip_fdr_factor,
        },
        model_ttl_days: w.publish.model_ttl_days,
        jobs: jobs(&w.jobs),
        observability: observability(&w.observability),
    }
}

fn jobs(w: &written::Jobs) -> JobsPlan {
    let lease = Duration::from_secs_f64(w.lease_s);
    JobsPlan {
        url: Some(&w.url).filter(|url| !url.is_empty()).cloned(),
        queue: QueueOptions {
            schema: w.schema.clone(),
            lease,
            heartbeat: lease / 10,
            sweep: lease / 6,
            retry: RetryPolicy {
                max_attempts: w.attempts_max as u32,
                base_s: w.retry_s,
                cap_s: w.retry_s_max,
            },
            ..QueueOptions::default()
        },
        caps: Caps { wall_s: w.wall_cap_s, memory_bytes: w.memory_cap_mib.map(|mib| mib << 20) },
        drain: Duration::from_secs_f64(w.drain_s),
        coordinate_only: w.coordinate_only,
    }
}

fn observability(w: &written::Observability) -> Observability {
    let said = |text: &String| Some(text).filter(|text| !text.is_empty()).cloned();
    Observability {
        rates: Rates {
            usd_per_cpu_hour: w.usd_per_cpu_hour,
            usd_per_gib_read: w.usd_per_gib_read,
            usd_per_gib_written: w.usd_per_gib_written,
            usd_per_1000_requests: w.usd_per_1000_requests,
        },
        prometheus_file: said(&w.prometheus_file).map(PathBuf::from),
        otlp_endpoint: said(&w.otlp_endpoint),
    }
}

fn encoder(encoder: &written::SharedEncoder) -> EncoderPlan {
    let largest = encoder.n_components as usize;
    let mut components: Vec<usize> = encoder.smaller_components.iter().map(|&k| k as usize).collect();
    components.retain(|&k| k < largest);
    components.push(largest);
    let kinds = match encoder.r#type {
        written::EncoderKind::Auto => vec![EncoderKind::Pca, EncoderKind::Rrr, EncoderKind::Autoencoder],
        written::EncoderKind::Pca => vec![EncoderKind::Pca],
        written::EncoderKind::Rrr => vec![EncoderKind::Rrr],
        written::EncoderKind::Autoencoder => vec![EncoderKind::Autoencoder],
    };
    let network = &encoder.autoencoder;
    EncoderPlan {
        kinds,
        components,
        ranks: encoder.ranks.iter().map(|&k| k as usize).collect(),
        autoencoder: AutoencoderSpec {
            codes: network.codes as usize,
            hidden: network.hidden as usize,
            epochs_max: network.epochs_max as usize,
            ..AutoencoderSpec::default()
        },
    }
}

fn heads(heads: &written::Heads) -> HeadsPlan {
    let spec = TreesSpec {
        rounds: heads.trees_rounds as usize,
        leaves: heads.trees_leaves as usize,
        ..TreesSpec::default()
    };
    HeadsPlan {
        trees: heads.trees.then_some(spec),
        trees_components: heads.trees_components as usize,
        sample_rows: heads.sample_rows as usize,
        deploy: heads.deploy.clone(),
    }
}

fn gates(gates: &written::Gates) -> GateLimits {
    GateLimits {
        history_days_min: gates.history_days_min,
        trade_history_days_min: gates.trade_history_days_min,
        coverage_min: gates.coverage_min,
        missing_run_hours_max: gates.missing_run_hours_max,
        zero_volume_share_max: gates.zero_volume_share_max,
        flat_share_max: gates.flat_share_max,
        adv_usd_min: gates.adv_usd_min,
        spread_bps_max: gates.spread_bps_max,
        trade_spread_bps_max: gates.trade_spread_bps_max,
        bad_rows_share_max: gates.bad_rows_share_max,
        wick_share_max: gates.wick_share_max,
        gap_log_return_max: gates.gap_log_return_max,
        close_variation_min: gates.close_variation_min,
        realised_vol_pct_min: gates.realised_vol_pct_min,
        stale_bars_max: gates.stale_bars_max as i64,
        dead_tail_hours_max: gates.dead_tail_hours_max,
        off_grid_share_max: gates.off_grid_share_max,
        contradictory_share_max: gates.contradictory_share_max,
    }
}

/// A problem of one value, with who said it.
pub(super) fn problem(effective: &Effective, code: &'static str, path: &str, message: String) -> Problem {
    Problem { code, origin: effective.origins.get(path).cloned(), message, help: None }
}

fn out_of_range(effective: &Effective) -> Vec<Problem> {
    let tree = as_tree(&effective.written);
    let mut problems = Vec::new();
    for range in RANGES {
        let Some(value) = get(&tree, range.path) else { continue };
        let numbers: Vec<f64> = match value {
            Value::Array(list) => list.iter().filter_map(Value::as_f64).collect(),
            one => one.as_f64().into_iter().collect(),
        };
        let mut report = |message| problems.push(problem(effective, "out_of_range", range.path, message));
        if let Some(bad) = numbers.iter().find(|n| !(range.min..=range.max).contains(n)) {
            report(format!("{} is {bad}, expected {} to {}", range.path, range.min, range.max));
        } else if value.is_array() && numbers.is_empty() && !MAY_BE_EMPTY.contains(&range.path) {
            report(format!("{} is empty, expected at least one number", range.path));
        } else if numbers.windows(2).any(|pair| pair[0] >= pair[1]) {
            report(format!("{} is {value}, expected ascending numbers without repetition", range.path));
        }
    }
    problems
}

/// Rules between keys: the key to look at, whether the rule holds, and what is wrong when it does
/// not.
fn rules(w: &Written, bar: Timeframe) -> Vec<(&'static str, bool, String)> {
    let bars = |days: f64| days * bar.bars_per_day();
    let walk = &w.walk_forward;
    let window = (w.labels.horizon_bars + w.labels.entry_lag_bars) as f64;
    let horizon = w.labels.horizon_bars as f64;
    let longest_research = w.labels.research_horizons_bars.last().map_or(0.0, |&bars| bars as f64);
    let oos_days = walk.folds as f64 * walk.fold_days;
    let at_most = |path: &'static str, value: f64, other: &str, limit: f64| {
        (path, value <= limit, format!("{path} is {value}, expected at most {other} ({limit})"))
    };
    let longer_than_a_label = |path: &'static str, days: f64| {
        let found = format!("{path} is {days} ({:.0} bars)", bars(days));
        (path, bars(days) > window, format!("{found}, expected more than one label window ({window} bars)"))
    };
    let watch = &w.observability;
    let is_http = |text: &str| ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    let unknown = w.heads.deploy.iter().find(|word| Lane::parse(word).is_none());
    let known: Vec<&str> = Lane::ALL.iter().filter(|l| **l != Lane::OwnPca).map(|l| l.code()).collect();
    vec![
        (
            "heads.deploy",
            unknown.is_none(),
            format!("heads.deploy names {:?}, expected some of: {}", unknown.map_or("", |w| w), known.join(", ")),
        ),
        at_most(
            "engine.start_with_symbols",
            w.engine.start_with_symbols as f64,
            "engine.target_symbols",
            w.engine.target_symbols as f64,
        ),
        longer_than_a_label("walk_forward.fold_days", walk.fold_days),
        longer_than_a_label("walk_forward.inner_validation_days", walk.inner_validation_days),
        at_most("trade_ok.oos_days_min", w.trade_ok.oos_days_min, "the days that walk_forward tests", oos_days),
        at_most(
            "champion.common_days_min",
            w.champion.common_days_min as f64,
            "the days that walk_forward tests",
            oos_days,
        ),
        at_most("labels.research_horizons_bars", longest_research, "labels.horizon_bars", horizon),
        at_most(
            "gates.history_days_min",
            w.gates.history_days_min,
            "gates.trade_history_days_min",
            w.gates.trade_history_days_min,
        ),
        at_most(
            "gates.trade_spread_bps_max",
            w.gates.trade_spread_bps_max,
            "gates.spread_bps_max",
            w.gates.spread_bps_max,
        ),
        (
            "trading.book",
            !(w.trading.book == Book::Hedged && w.data.market == MarketWord::Spot),
            "trading.book is hedged and data.market is spot, expected auto or outright: spot cannot be sold short"
                .to_owned(),
        ),
        (
            "jobs.url",
            w.jobs.url.is_empty() || address::is_without_password(&w.jobs.url),
            // It may carry a password.
            "jobs.url is no address without a password, expected postgres://USER@HOST/DATABASE; a password \
             belongs into PGPASSWORD or ~/.pgpass"
                .to_owned(),
        ),
        (
            "observability.prometheus_file",
            watch.prometheus_file.is_empty() || watch.prometheus_file.ends_with(".prom"),
            format!(
                "observability.prometheus_file is {:?}, expected a name that ends in .prom: no other is collected",
                watch.prometheus_file
            ),
        ),
        (
            "observability.otlp_endpoint",
            watch.otlp_endpoint.is_empty() || is_http(&watch.otlp_endpoint),
            // It may carry a password.
            "observability.otlp_endpoint is no address, expected http:// or https://".to_owned(),
        ),
    ]
}
