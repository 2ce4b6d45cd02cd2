//! The configuration as meant: words parsed, limits checked, rules between keys kept.
//!
//! What lives here: [`EngineConfig`], the only thing the rest of the program sees of the
//! configuration. Each part is handed only its own piece.

use super::layers::{Effective, Problem, as_tree};
use super::ranges::{MAY_BE_EMPTY, RANGES};
use super::tree::get;
use super::written::{
    Book, Canaries, Champion, Costs, EncoderKind, Features, Fees, Gates, Heads, LabelKind, Labels,
    MarketWord, Metrics, Ranking, TradeOk, Trading, WalkForward, Written,
};
use huracan_core::words::{Market, Seed, Timeframe};
use serde_json::Value;

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
    /// Length of a bar.
    pub bar: Timeframe,
    /// Market of files and symbols that do not say theirs.
    pub market: Market,
    /// Limits a coin must keep.
    pub gates: Gates,
    /// Winsor bounds and block length.
    pub features: Features,
    /// What is predicted.
    pub labels: Labels,
    /// How history is cut.
    pub walk_forward: WalkForward,
    /// Penalty grids, ascending.
    pub heads: Heads,
    /// What trades cost, both markets.
    pub costs: Costs,
    /// From score to position.
    pub trading: Trading,
    /// Bootstrap and HAC.
    pub metrics: Metrics,
    /// Gates of `trade_ok`.
    pub trade_ok: TradeOk,
    /// Canaries of a run.
    pub canaries: Canaries,
    /// The champion rule.
    pub champion: Champion,
    /// The roster's order.
    pub ranking: Ranking,
}

/// The encoder that all coins share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderPlan {
    /// How codes are made.
    pub kind: EncoderKind,
    /// Numbers of codes that compete, ascending, without repetition.
    pub components: Vec<usize>,
    /// Days after which it is fitted again.
    pub refit_days: u64,
}

impl EngineConfig {
    /// Fees of a market, one side.
    pub fn fees(&self, market: Market) -> &Fees {
        match market {
            Market::Spot => &self.costs.spot,
            Market::Perp => &self.costs.perp,
        }
    }

    /// Whether positions of a market are hedged with the market basket. `auto` hedges relative
    /// labels on perpetuals; spot is never hedged, because it cannot be sold short.
    pub fn hedged(&self, market: Market) -> bool {
        match (self.trading.book, market) {
            (_, Market::Spot) | (Book::Outright, _) => false,
            (Book::Hedged, Market::Perp) => true,
            (Book::Auto, Market::Perp) => self.labels.kind == LabelKind::Relative,
        }
    }

    /// Bars left out around test spans: the label's window, or the embargo if that is longer.
    pub fn embargo_bars(&self) -> usize {
        let window = (self.labels.horizon_bars + self.labels.entry_lag_bars) as usize;
        window.max((self.walk_forward.embargo_days * self.bar.bars_per_day()).ceil() as usize)
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
            return Ok(assemble(written, config_id, bar, cores));
        }
    }
    Err(problems)
}

fn assemble(written: &Written, config_id: String, bar: Timeframe, cores: usize) -> EngineConfig {
    let w = written.clone();
    let encoder = w.engine.shared_encoder;
    let mut components: Vec<usize> = encoder.smaller_components.iter().map(|&k| k as usize).collect();
    components.retain(|&k| k < encoder.n_components as usize);
    components.push(encoder.n_components as usize);
    components.sort_unstable();
    components.dedup();
    EngineConfig {
        config_id,
        seed: Seed(w.seed),
        target_symbols: w.engine.target_symbols as usize,
        start_with_symbols: w.engine.start_with_symbols as usize,
        workers: w.engine.parallel_tasks.map_or(cores.max(1), |n| n as usize),
        encoder: encoder.enabled.then_some(EncoderPlan {
            kind: encoder.r#type,
            components,
            refit_days: encoder.refit_days,
        }),
        bar,
        market: match w.data.market {
            MarketWord::Spot => Market::Spot,
            MarketWord::Perp => Market::Perp,
        },
        gates: w.gates,
        features: w.features,
        labels: w.labels,
        walk_forward: w.walk_forward,
        heads: w.heads,
        costs: w.costs,
        trading: w.trading,
        metrics: w.metrics,
        trade_ok: w.trade_ok,
        canaries: w.canaries,
        champion: w.champion,
        ranking: w.ranking,
    }
}

/// A problem of one value, with who said it.
fn problem(effective: &Effective, code: &'static str, path: &str, message: String) -> Problem {
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
    let (engine, labels, walk) = (&w.engine, &w.labels, &w.walk_forward);
    let window = (labels.horizon_bars + labels.entry_lag_bars) as f64;
    let oos_days = walk.folds as f64 * walk.fold_days;
    let weights = w.ranking.net_weight + w.ranking.cost_weight + w.ranking.volume_weight;
    vec![
        (
            "engine.start_with_symbols",
            engine.start_with_symbols <= engine.target_symbols,
            format!(
                "engine.start_with_symbols is {}, expected at most engine.target_symbols ({})",
                engine.start_with_symbols, engine.target_symbols
            ),
        ),
        (
            "features.block_rows",
            w.features.block_rows.is_multiple_of(labels.horizon_bars),
            format!(
                "features.block_rows is {}, expected a multiple of labels.horizon_bars ({}) so that blocks and labels end together",
                w.features.block_rows, labels.horizon_bars
            ),
        ),
        (
            "walk_forward.fold_days",
            bars(walk.fold_days) > window,
            format!(
                "walk_forward.fold_days is {} ({:.0} bars), expected more than one label window ({window} bars)",
                walk.fold_days,
                bars(walk.fold_days)
            ),
        ),
        (
            "walk_forward.inner_validation_days",
            bars(walk.inner_validation_days) > window,
            format!(
                "walk_forward.inner_validation_days is {} ({:.0} bars), expected more than one label window ({window} bars)",
                walk.inner_validation_days,
                bars(walk.inner_validation_days)
            ),
        ),
        (
            "walk_forward.train_days_max",
            walk.train_days_max.is_none_or(|days| days > walk.inner_validation_days + 2.0 * walk.embargo_days),
            "walk_forward.train_days_max leaves no training days before inner validation and embargo".to_owned(),
        ),
        (
            "gates.oos_days_min",
            oos_days >= w.gates.oos_days_min,
            format!(
                "gates.oos_days_min is {}, expected at most the {oos_days} days that walk_forward tests, or no coin is ever ranked",
                w.gates.oos_days_min
            ),
        ),
        (
            "gates.spread_bps_trade_max",
            w.gates.spread_bps_trade_max <= w.gates.spread_bps_train_max,
            format!(
                "gates.spread_bps_trade_max is {}, expected at most gates.spread_bps_train_max ({})",
                w.gates.spread_bps_trade_max, w.gates.spread_bps_train_max
            ),
        ),
        (
            "trading.universe_leave_share",
            w.trading.universe_enter_share < w.trading.universe_leave_share,
            format!(
                "trading.universe_leave_share is {}, expected more than trading.universe_enter_share ({})",
                w.trading.universe_leave_share, w.trading.universe_enter_share
            ),
        ),
        (
            "trading.book",
            !(w.trading.book == Book::Hedged && w.data.market == MarketWord::Spot),
            "trading.book is hedged and data.market is spot, expected auto or outright: spot cannot be sold short".to_owned(),
        ),
        (
            "canaries.planted_found_min",
            w.canaries.planted_found_min <= w.canaries.planted,
            format!(
                "canaries.planted_found_min is {}, expected at most canaries.planted ({})",
                w.canaries.planted_found_min, w.canaries.planted
            ),
        ),
        (
            "ranking.net_weight",
            (weights - 1.0).abs() < 1e-9,
            format!("the three weights of ranking add up to {weights}, expected 1"),
        ),
    ]
}
