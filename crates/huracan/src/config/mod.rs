//! The configuration, read twice: as written, then as meant.
//!
//! As written ([`written`]): a tree of keys, all optional, laid over each other in the order
//! defaults < file < environment < flags ([`layers`]), unknown keys and wrong types refused with
//! their line and column. As meant ([`EngineConfig`]): words parsed, limits and cross-checks done.
//! No file is opened and no variable read here; the command line brings both as text.

pub mod address;
pub mod id;
pub mod layers;
pub mod meant;
pub mod ranges;
pub mod schema;
pub mod show;
pub mod store;
pub mod tree;
pub mod written;
pub mod yaml;

pub use layers::{Origin, Problem};
pub use meant::{EncoderPlan, EngineConfig, JobsPlan, Observability};
pub use store::{StorePlan, StoreUrl};

use layers::{Effective, Said};
use std::fmt;
use std::path::PathBuf;
use written::Written;

/// Everything that may say a value.
#[derive(Clone, Debug, Default)]
pub struct Sources<'s> {
    /// A file's name and text.
    pub file: Option<(&'s str, &'s str)>,
    /// The environment; only names that start with `HURACAN__` count.
    pub environment: Vec<(String, String)>,
    /// Flags that were given.
    pub flags: Vec<Said>,
    /// Where programs of this user keep what is theirs, for stores whose working folder nobody names.
    pub state_folder: Option<PathBuf>,
}

/// A configuration in both readings.
#[derive(Debug)]
pub struct Loaded {
    /// As written, with the origin of each value.
    pub effective: Effective,
    /// As meant.
    pub config: EngineConfig,
    /// Where results are kept, as meant.
    pub store: StorePlan,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Reads a configuration. `cores` is the number of workers where nobody says another.
///
/// # Errors
/// Every problem of the first reading; if there is none, every problem of the second.
pub fn load(sources: &Sources<'_>, cores: usize) -> Result<Loaded, ConfigError> {
    let known = layers::as_tree(&Written::default());
    let mut problems = Vec::new();
    let mut said = Vec::new();
    if let Some((name, text)) = sources.file {
        said.extend(layers::from_file(name, text, &known, &mut problems));
    }
    said.extend(layers::from_environment(&sources.environment, &known, &mut problems));
    said.extend(sources.flags.iter().cloned());
    let effective = layers::lay(said, &mut problems);
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let config_id = id::config_id(&effective.written);
    let config = meant::mean(&effective, config_id, cores);
    let store = store::mean(&effective, sources.state_folder.as_deref());
    match (config, store) {
        (Ok(config), Ok(store)) => Ok(Loaded { effective, config, store }),
        (config, store) => {
            let problems = config.err().into_iter().chain(store.err()).flatten().collect();
            Err(ConfigError { problems })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use huracan_core::words::{Market, Timeframe};
    use serde_json::json;

    fn file(text: &str) -> Result<Loaded, ConfigError> {
        load(&Sources { file: Some(("huracan.yaml", text)), ..Sources::default() }, 4)
    }

    fn check_refused(text: &str, code: &str, sentence: &str) {
        let error = file(text).expect_err(text);
        assert_eq!(error.problems.len(), 1, "{text}: {error}");
        let problem = &error.problems[0];
        assert_eq!((problem.code, problem.to_string().as_str()), (code, sentence), "{text}");
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        let loaded = load(&Sources::default(), 4).unwrap();
        let config = &loaded.config;
        assert_eq!((config.target_symbols, config.start_with_symbols, config.workers), (400, 150, 4));
        assert_eq!((config.bar, config.market), (Timeframe::H1, Market::Perp));
        assert_eq!(config.encoder.as_ref().unwrap().components, vec![10, 20, 50]);
        assert_eq!(config.label.window_bars(), 25);
    }

    #[test]
    fn the_products_own_block_is_read() {
        let text = "engine: {target_symbols: 400, start_with_symbols: 150, parallel_tasks: 2, \
                    shared_encoder: {type: pca, n_components: 50, enabled: true}}";
        assert_eq!(file(text).unwrap().config.workers, 2);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        check_refused("seed: 1\nsead: 2\n", "unknown_key", "huracan.yaml:2:1: unknown key \"sead\"");
        check_refused(
            "engine:\n  target_symbol: 3\n",
            "unknown_key",
            "huracan.yaml:2:3: unknown key \"target_symbol\" in engine",
        );
        check_refused(
            "seed: 1\nseed: 2\n",
            "duplicate_key",
            "huracan.yaml:2:1: the key \"seed\" is there twice",
        );
        check_refused("engine: 3", "not_a_group", "huracan.yaml:1:9: engine is 3, expected a group of keys");
        check_refused(
            "- 1",
            "not_a_group",
            "huracan.yaml: the configuration is [1], expected a group of keys",
        );
        check_refused(
            "seed: {a: 1}",
            "not_a_value",
            "huracan.yaml:1:7: seed is a group of keys, expected one value",
        );
        check_refused(
            "engine:\n  target_symbols: many\n",
            "wrong_type",
            "huracan.yaml:2:19: engine.target_symbols: string \"many\", expected a whole number from 0",
        );
        check_refused(
            "heads: {lambda_grid: [1, x]}",
            "wrong_type",
            "huracan.yaml:1:22: heads.lambda_grid: string \"x\", expected a number",
        );
        check_refused(
            "gates: {coverage_min: 95}",
            "out_of_range",
            "huracan.yaml:1:23: gates.coverage_min is 95, expected 0 to 1",
        );
        check_refused(
            "heads: {tau_grid: []}",
            "out_of_range",
            "huracan.yaml:1:19: heads.tau_grid is empty, expected at least one number",
        );
        check_refused(
            "labels: {entry_lag_bars: 0}",
            "out_of_range",
            "huracan.yaml:1:26: labels.entry_lag_bars is 0, expected 1 to 1000",
        );
    }

    #[test]
    fn an_unknown_word_lists_the_words_there_are() {
        let error = file("engine: {shared_encoder: {type: pcs}}").unwrap_err();
        assert!(error.to_string().contains("expected one of `auto`, `pca`, `rrr`, `autoencoder`"), "{error}");
    }

    #[test]
    fn contradictions_between_keys_are_refused() {
        let check = |text: &str, start: &str| {
            let error = file(text).expect_err(text);
            assert_eq!(error.problems.len(), 1, "{error}");
            assert_eq!(error.problems[0].code, "contradiction");
            assert!(error.problems[0].message.starts_with(start), "{error}");
        };
        check("engine: {start_with_symbols: 500}", "engine.start_with_symbols is 500");
        let short = "labels: {horizon_bars: 36}\nwalk_forward: {fold_days: 1.5, folds: 60}";
        check(
            short,
            "walk_forward.fold_days is 1.5 (36 bars), expected more than one label window (37 bars)",
        );
        check("walk_forward: {inner_validation_days: 1}", "walk_forward.inner_validation_days");
        check("walk_forward: {folds: 2}", "trade_ok.oos_days_min is 85, expected at most the days");
        check("champion: {common_days_min: 151}", "champion.common_days_min is 151");
        check("gates: {history_days_min: 150}", "gates.history_days_min is 150");
        check("gates: {trade_spread_bps_max: 60}", "gates.trade_spread_bps_max is 60");
        check(
            "labels: {research_horizons_bars: [4, 72]}",
            "labels.research_horizons_bars is 72, expected at most",
        );
        check("trading: {book: hedged}\ndata: {market: spot}", "trading.book is hedged");
    }

    #[test]
    fn the_defaults_are_the_cores_own() {
        use huracan_core::choose::{champion::ChampionRule, trade_ok::TradeGates};
        let config = load(&Sources::default(), 1).unwrap().config;
        assert_eq!(config.gates, huracan_core::gates::GateLimits::default());
        assert_eq!(config.trade_gates, TradeGates::default());
        assert_eq!(config.champion, ChampionRule::default());
        assert_eq!(config.canaries, huracan_train::canary::CanarySettings::default());
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        assert_eq!(file("a: 1\nb: 2\nseed: x\n").unwrap_err().problems.len(), 3);
        assert_eq!(file("trade_ok: {fdr: 0.9, hit_rate_min: 2}").unwrap_err().problems.len(), 2);
    }

    #[test]
    fn later_layers_win_and_say_so() {
        let sources = Sources {
            file: Some(("h.yaml", "seed: 2\nengine: {target_symbols: 300, start_with_symbols: 20}\n")),
            environment: vec![
                ("HURACAN__ENGINE__TARGET_SYMBOLS".to_owned(), "200".to_owned()),
                ("HURACAN__HEADS__LAMBDA_GRID".to_owned(), "[1, 10]".to_owned()),
                ("HURACAN_STORE".to_owned(), "elsewhere".to_owned()),
            ],
            flags: vec![Said {
                path: "engine.parallel_tasks".to_owned(),
                value: json!(3),
                origin: Origin::Flag("--workers".to_owned()),
            }],
            ..Sources::default()
        };
        let loaded = load(&sources, 9).unwrap();
        assert_eq!(loaded.config.seed.0, 2);
        assert_eq!((loaded.config.target_symbols, loaded.config.workers), (200, 3));
        assert_eq!(loaded.config.lambda_grid, vec![1.0, 10.0]);
        let origin = |path: &str| loaded.effective.origins[path].to_string();
        assert_eq!(origin("seed"), "h.yaml:1:7");
        assert_eq!(origin("engine.target_symbols"), "HURACAN__ENGINE__TARGET_SYMBOLS");
        assert_eq!(origin("engine.parallel_tasks"), "--workers");
        assert_eq!(origin("labels.kind"), "default");
    }

    #[test]
    fn a_misspelled_variable_is_refused() {
        let environment = vec![("HURACAN__ENGINE__TARGET_SYMBOL".to_owned(), "2".to_owned())];
        let error = load(&Sources { environment, ..Sources::default() }, 1).unwrap_err();
        assert_eq!(error.problems[0].help.as_deref(), Some("did you mean engine.target_symbols?"));
    }

    #[test]
    fn how_a_number_is_written_does_not_change_the_identity() {
        let id = |text: &str| file(text).unwrap().config.config_id;
        assert_eq!(id("gates: {stale_bars_max: 3, coverage_min: 0.950}"), id(""));
        assert_eq!(id("trade_ok: {max_drawdown_pct_max: 20}"), id(""));
        assert_ne!(id("trade_ok: {max_drawdown_pct_max: 19}"), id(""));
    }
}
