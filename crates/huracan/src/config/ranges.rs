//! Between which bounds each number of the configuration must lie.
//!
//! One line a key. The table feeds the check, the JSON Schema, and a test that no number of the
//! configuration is missing from it. Rules about several keys live in [`super::meant`].

/// The inclusive bounds of one number, or of each number of a list.
pub struct Range {
    /// The key, with its groups: `engine.target_symbols`.
    pub path: &'static str,
    /// Smallest value allowed.
    pub min: f64,
    /// Largest value allowed.
    pub max: f64,
}

const fn range(path: &'static str, min: f64, max: f64) -> Range {
    Range { path, min, max }
}

/// The smallest share or size that is not zero.
const ABOVE_ZERO: f64 = 1e-9;

/// Every number there is.
pub static RANGES: &[Range] = &[
    range("seed", 0.0, u64::MAX as f64),
    range("engine.target_symbols", 1.0, 100_000.0),
    range("engine.start_with_symbols", 1.0, 100_000.0),
    range("engine.parallel_tasks", 1.0, 1_024.0),
    range("engine.shared_encoder.n_components", 1.0, 512.0),
    range("engine.shared_encoder.smaller_components", 1.0, 512.0),
    range("engine.shared_encoder.ranks", 1.0, 512.0),
    range("engine.shared_encoder.autoencoder.codes", 1.0, 512.0),
    range("engine.shared_encoder.autoencoder.hidden", 1.0, 4_096.0),
    range("engine.shared_encoder.autoencoder.epochs_max", 1.0, 10_000.0),
    range("gates.history_days_min", 1.0, 3_650.0),
    range("gates.trade_history_days_min", 1.0, 3_650.0),
    range("gates.coverage_min", 0.0, 1.0),
    range("gates.missing_run_hours_max", 0.0, 8_760.0),
    range("gates.zero_volume_share_max", 0.0, 1.0),
    range("gates.flat_share_max", 0.0, 1.0),
    range("gates.adv_usd_min", 0.0, 1e15),
    range("gates.spread_bps_max", ABOVE_ZERO, 10_000.0),
    range("gates.trade_spread_bps_max", ABOVE_ZERO, 10_000.0),
    range("gates.bad_rows_share_max", 0.0, 1.0),
    range("gates.wick_share_max", 0.0, 1.0),
    range("gates.gap_log_return_max", 0.1, 100.0),
    range("gates.close_variation_min", 0.0, 1.0),
    range("gates.realised_vol_pct_min", 0.0, 1_000.0),
    range("gates.stale_bars_max", 0.0, 1e6),
    range("gates.dead_tail_hours_max", 0.0, 8_760.0),
    range("gates.off_grid_share_max", 0.0, 1.0),
    range("gates.contradictory_share_max", 0.0, 1.0),
    range("labels.horizon_bars", 1.0, 10_000.0),
    range("labels.entry_lag_bars", 1.0, 1_000.0),
    range("labels.research_horizons_bars", 1.0, 10_000.0),
    range("labels.sigma_half_life_bars", 1.0, 100_000.0),
    range("labels.clip", 1.0, 100.0),
    range("walk_forward.folds", 1.0, 100.0),
    range("walk_forward.fold_days", 0.1, 3_650.0),
    range("walk_forward.embargo_days", 0.0, 365.0),
    range("walk_forward.inner_validation_days", 0.1, 3_650.0),
    range("walk_forward.fold_train_days_min", 1.0, 3_650.0),
    range("heads.lambda_grid", ABOVE_ZERO, 1e9),
    range("heads.tau_grid", ABOVE_ZERO, 1e9),
    range("heads.own_log_odds_min", 0.0, 1_000.0),
    range("heads.trees_rounds", 1.0, 10_000.0),
    range("heads.trees_leaves", 2.0, 256.0),
    range("heads.trees_components", 0.0, 512.0),
    range("heads.sample_rows", 1_024.0, 1e8),
    range("costs.perp.taker_bps", 0.0, 1_000.0),
    range("costs.perp.maker_bps", -100.0, 1_000.0),
    range("costs.spot.taker_bps", 0.0, 1_000.0),
    range("costs.spot.maker_bps", -100.0, 1_000.0),
    range("costs.funding_bps_per_8h", -1_000.0, 1_000.0),
    range("costs.reference_order_usd", 1.0, 1e9),
    range("costs.lookback_days", 1.0, 3_650.0),
    range("costs.refit_days", 0.1, 365.0),
    range("costs.impact", ABOVE_ZERO, 100.0),
    range("trading.entry_k_grid", 0.0, 100.0),
    range("trading.exit_band_grid", -1.0, 1.0),
    range("trading.day_sigma_target_pct", 0.01, 1000.0),
    range("trade_ok.net_pnl_pct_min", 0.0, 1e6),
    range("trade_ok.sample_size_min", 2.0, 1e9),
    range("trade_ok.long_horizon_trades_min", 2.0, 1e9),
    range("trade_ok.long_horizon_active_days_min", 1.0, 100_000.0),
    range("trade_ok.sharpe_min", 0.0, 100.0),
    range("trade_ok.hit_rate_min", 0.0, 1.0),
    range("trade_ok.max_drawdown_pct_max", ABOVE_ZERO, 100.0),
    range("trade_ok.oos_days_min", 1.0, 3_650.0),
    range("trade_ok.fdr", ABOVE_ZERO, 0.5),
    range("trade_ok.placebos", 1.0, 10_000.0),
    range("canaries.label_correlation", 0.05, 0.9),
    range("champion.sharpe_gain_min", 0.0, 100.0),
    range("champion.net_gain_pct_min", 0.0, 1_000.0),
    range("champion.drawdown_slack_pct", 0.0, 100.0),
    range("champion.common_days_min", 2.0, 100_000.0),
    range("champion.sample_size_min", 2.0, 1e9),
    range("champion.fdr", ABOVE_ZERO, 0.5),
    range("champion.hold_days", 0.0, 3_650.0),
    range("champion.hold_fdr_factor", ABOVE_ZERO, 1.0),
    range("champion.flip_window_days", 0.0, 3_650.0),
    range("champion.flip_fdr_factor", ABOVE_ZERO, 1.0),
    range("publish.model_ttl_days", 0.1, 3_650.0),
    range("jobs.attempts_max", 1.0, 100.0),
    range("jobs.retry_s", 0.0, 3_600.0),
    range("jobs.retry_s_max", 0.0, 86_400.0),
    range("jobs.wall_cap_s", 1.0, 86_400.0),
    range("jobs.memory_cap_mib", 16.0, 1_048_576.0),
    range("jobs.lease_s", 1.0, 3_600.0),
    range("jobs.drain_s", 0.0, 3_600.0),
    range("observability.usd_per_cpu_hour", 0.0, 1e6),
    range("observability.usd_per_gib_read", 0.0, 1e6),
    range("observability.usd_per_gib_written", 0.0, 1e6),
    range("observability.usd_per_1000_requests", 0.0, 1e6),
    range("store.attempts_max", 1.0, 100.0),
    range("store.retry_s_max", 0.0, 86_400.0),
];

/// Lists that may be empty; every other list needs at least one number.
pub static MAY_BE_EMPTY: &[&str] =
    &["engine.shared_encoder.smaller_components", "labels.research_horizons_bars"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;
    use crate::config::written::Written;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// Lists that hold words, not numbers.
    const LISTS_OF_WORDS: &[&str] = &["heads.deploy"];
    /// Words nobody has to say.
    const OPTIONAL_WORDS: &[&str] = &["store.local", "store.s3.endpoint"];

    #[test]
    fn every_number_of_the_configuration_has_a_range_and_every_range_a_number() {
        let defaults = serde_json::to_value(Written::default()).unwrap();
        let numeric = |value: &Value| value.is_number() || value.is_array() || value.is_null();
        let words = |path: &str| LISTS_OF_WORDS.contains(&path) || OPTIONAL_WORDS.contains(&path);
        let numbers: BTreeSet<String> = tree::leaves(&defaults)
            .into_iter()
            .filter(|(path, v)| numeric(v) && !words(path))
            .map(|(path, _)| path)
            .collect();
        let table: BTreeSet<String> = RANGES.iter().map(|r| r.path.to_owned()).collect();
        assert_eq!(numbers, table);
        assert_eq!(table.len(), RANGES.len(), "a path is listed twice");
        assert!(RANGES.iter().all(|r| r.min < r.max));
        assert!(MAY_BE_EMPTY.iter().all(|path| table.contains(*path)));
    }
}
