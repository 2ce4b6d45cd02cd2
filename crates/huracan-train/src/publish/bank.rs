//! The feature bank: one writer, once a run.

use super::{Candidate, Publication};
use crate::engine::Outcome;
use crate::engine::verdicts::CoinVerdict;
use huracan_core::bank::{
    CoinDeltas, CoinImportance, FeatureWorth, aggregate, importances, priority, shared_features, worth,
};
use huracan_core::words::Symbol;
use huracan_store::StoreError;
use huracan_store::bank;
use huracan_store::formats::feature_bank::{CoinRecord, FeatureBank, FeatureRecord};
use huracan_store::formats::wire::Coin;
use std::collections::BTreeMap;

/// Share of the squared weights over the features, one a coin.
pub(super) fn weights<'a>(
    outcome: &Outcome,
    coins: impl Iterator<Item = &'a CoinVerdict>,
) -> Vec<CoinImportance> {
    coins
        .map(|v| CoinImportance {
            symbol: outcome.survey.coins[v.index].symbol.to_string(),
            importance: importances(&outcome.feature_names, &v.explained.importance),
        })
        .collect()
}

/// What permuting each feature cost each coin; coins whose features were not permuted are left out.
pub(super) fn deltas<'a>(outcome: &Outcome, coins: impl Iterator<Item = &'a CoinVerdict>) -> Vec<CoinDeltas> {
    coins
        .filter(|v| !v.explained.deltas.is_empty())
        .map(|v| CoinDeltas {
            symbol: outcome.survey.coins[v.index].symbol.clone(),
            deltas: v.explained.deltas.clone(),
        })
        .collect()
}

/// Writes the bank: importances are shares of this run's effective weights (codes folded back into
/// the features where they are linear), worth is what permuting a feature cost out of sample, and a
/// feature is shared where one half of the coins finds it and the other confirms it.
///
/// # Errors
/// What the store refuses.
pub(super) fn publish(publication: &Publication<'_>, candidates: &[Candidate<'_>]) -> Result<(), StoreError> {
    let outcome = publication.outcome;
    let names = &outcome.feature_names;
    let verdicts = || candidates.iter().map(|c| c.verdict);
    let symbol = |c: &Candidate<'_>| -> Symbol { c.artifacts.head.symbol.0.clone() };
    let coins = weights(outcome, verdicts());
    let worth = worth(&deltas(outcome, verdicts()));
    let known = aggregate(&coins);
    let parse = |name: &String| name.parse::<Symbol>().ok().map(Coin);
    let features = known
        .iter()
        .map(|(name, entry)| {
            let measured: Option<&FeatureWorth> = worth.get(name);
            let record = FeatureRecord {
                symbols_using: entry.symbols_using.iter().filter_map(parse).collect(),
                avg_importance: entry.avg_importance,
                max_importance: entry.max_importance,
                share_of_symbols: entry.share_of_symbols,
                mean_rank: Some(entry.mean_rank),
                score: measured.map_or(0.0, |w| w.score),
                helped: measured.map_or(0, |w| w.helped.len() as u64),
                hurt: measured.map_or(0, |w| w.hurt.len() as u64),
                mean_delta_net_bps: measured.map(|w| w.mean_delta_net_bps),
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
                delta_net_bps: mean_deltas(candidate.verdict),
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
        shared_features: shared_features(&worth),
        priority: (!worth.is_empty()).then(|| priority(names, &worth)),
    };
    let seen = bank::read(publication.store)?.map(|(_, revision)| revision);
    bank::publish(publication.store, &document, seen.as_ref()).map(|_| ())
}

fn mean_deltas(verdict: &CoinVerdict) -> BTreeMap<String, f64> {
    verdict.explained.deltas.iter().map(|(name, delta)| (name.clone(), delta.mean_bps)).collect()
}
