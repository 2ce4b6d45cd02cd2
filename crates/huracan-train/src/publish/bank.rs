//! The feature bank: one writer, once a run.

use super::{Candidate, Publication};
use huracan_core::bank::{CoinImportance, aggregate, importances, widely_used_features};
use huracan_core::words::Symbol;
use huracan_store::StoreError;
use huracan_store::bank;
use huracan_store::formats::feature_bank::{CoinRecord, FeatureBank, FeatureRecord};
use huracan_store::formats::wire::Coin;

/// Writes the bank from the effective weights of this run's heads (codes folded back into the
/// features). What a single feature is worth after costs is not measured: those figures are `null`.
///
/// # Errors
/// What the store refuses.
pub(super) fn publish(publication: &Publication<'_>, candidates: &[Candidate<'_>]) -> Result<(), StoreError> {
    let names = &publication.outcome.feature_names;
    let symbol = |c: &Candidate<'_>| -> Symbol { c.artifacts.head.symbol.0.clone() };
    let coins: Vec<CoinImportance> = candidates
        .iter()
        .map(|c| CoinImportance {
            symbol: symbol(c).to_string(),
            importance: importances(names, &c.verdict.head.weights),
        })
        .collect();
    let known = aggregate(&coins);
    let parse = |name: &String| name.parse::<Symbol>().ok().map(Coin);
    let features = known
        .iter()
        .map(|(name, entry)| {
            let record = FeatureRecord {
                symbols_using: entry.symbols_using.iter().filter_map(parse).collect(),
                avg_importance: entry.avg_importance,
                max_importance: entry.max_importance,
                share_of_symbols: entry.share_of_symbols,
                mean_rank: Some(entry.mean_rank),
                score: entry.score,
                helped: 0,
                hurt: 0,
                mean_delta_net_bps: None,
            };
            (name.clone(), record)
        })
        .collect();
    let symbols = candidates
        .iter()
        .zip(coins)
        .map(|(candidate, coin)| {
            let record = CoinRecord {
                feature_importance: coin.importance,
                delta_net_bps: Default::default(),
                encoder_gain_net_bps: Some(candidate.verdict.encoder_gain.mean_bps),
                model_type: candidate.artifacts.head.kind.clone(),
                updated_at: publication.until().into(),
            };
            (Coin(symbol(candidate)), record)
        })
        .collect();
    let document = FeatureBank {
        run_id: publication.stamp.run_id.clone(),
        updated_at: publication.until().into(),
        features,
        symbols,
        shared_features: widely_used_features(&known, candidates.len()),
    };
    let seen = bank::read(publication.store)?.map(|(_, revision)| revision);
    bank::publish(publication.store, &document, seen.as_ref()).map(|_| ())
}
