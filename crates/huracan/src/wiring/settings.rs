//! From the configuration as meant to what the Engine is told: the only place that maps one to the
//! other.

use crate::config::EngineConfig;
use crate::config::written::{Book, Fees};
use huracan_core::costs::{self, CostOptions, FeeSchedule};
use huracan_core::encoder::autoencoder::AutoencoderSpec;
use huracan_core::words::{Seed, UtcMs};
use huracan_train::engine::lanes::Lane;
use huracan_train::settings::{
    BookChoice, EncoderSettings, HeadSettings, Settings, TradingSettings, Universe,
};

/// The Engine's settings.
pub(super) fn settings(
    config: &EngineConfig,
    universe: Universe,
    until: Option<UtcMs>,
    placebo: Option<Seed>,
) -> Settings {
    let fees = |f: &Fees| costs::Fees { taker_bps: f.taker_bps, maker_bps: f.maker_bps };
    let encoder = config.encoder.as_ref();
    Settings {
        timeframe: config.bar,
        market: config.market,
        until,
        universe,
        gates: config.gates.clone(),
        label: config.label,
        research_horizons_bars: config.research_horizons_bars.clone(),
        walk: config.walk_forward,
        fold_train_days_min: config.fold_train_days_min,
        encoder: EncoderSettings {
            kinds: encoder.map_or_else(Vec::new, |e| e.kinds.clone()),
            components: encoder.map_or_else(Vec::new, |e| e.components.clone()),
            ranks: encoder.map_or_else(Vec::new, |e| e.ranks.clone()),
            autoencoder: encoder.map_or_else(AutoencoderSpec::default, |e| e.autoencoder.clone()),
        },
        heads: HeadSettings {
            trees: config.heads.trees.clone(),
            trees_components: config.heads.trees_components,
            sample_rows: config.heads.sample_rows,
            deploy: config.heads.deploy.iter().filter_map(|code| Lane::parse(code)).collect(),
        },
        lambdas: config.lambda_grid.clone(),
        taus: config.tau_grid.clone(),
        own_log_odds_min: config.own_log_odds_min,
        fees: FeeSchedule { spot: fees(&config.costs.spot), perp: fees(&config.costs.perp) },
        costs: CostOptions {
            lookback_days: config.costs.lookback_days,
            valid_days: config.costs.refit_days,
            reference_order_usd: config.costs.reference_order_usd,
            impact: config.costs.impact,
            ..CostOptions::default()
        },
        trading: TradingSettings {
            entry_cost_multiples: config.entry_k_grid.clone(),
            exit_bands: config.exit_band_grid.clone(),
            day_sigma_target_pct: config.day_sigma_target_pct,
            zero_competes: true,
            book: match config.book {
                Book::Auto => BookChoice::Auto,
                Book::Outright => BookChoice::Outright,
                Book::Hedged => BookChoice::Hedged,
            },
            funding_bps_per_8h: config.costs.funding_bps_per_8h,
        },
        trade_gates: config.trade_gates,
        champion: config.champion,
        placebos: config.placebos,
        placebo_run: placebo,
        feature_worth: true,
        canaries: config.canaries,
        model_ttl_days: config.model_ttl_days,
        prior_trials: Vec::new(),
        seed: config.seed,
    }
}
