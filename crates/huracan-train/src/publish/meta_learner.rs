//! The meta learner's weights: what the run believes of each expert in each regime, and whether
//! mixing them would have paid.

use super::Publication;
use crate::engine::experts::Experts;
use huracan_core::meta::RegimeWeights;
use huracan_store::StoreError;
use huracan_store::formats::meta_learner::{ExpertWeights, MetaLearner, MixtureGain};
use huracan_store::meta_learner;

/// Writes the weights; a run that learnt nothing says so, so that no older run's are taken for its own.
///
/// # Errors
/// What the store refuses.
pub(super) fn publish(publication: &Publication<'_>) -> Result<(), StoreError> {
    let experts = publication.outcome.verdicts.experts.as_ref();
    let gain = experts.and_then(|e| e.gain);
    let document = MetaLearner {
        run_id: publication.stamp.run_id.clone(),
        updated_at: publication.until().into(),
        regimes: experts.map(regimes).unwrap_or_default(),
        used: Some(gain.is_some_and(|g| g.used)),
        gain: gain.map(|g| MixtureGain {
            mean_net_bps: g.mean_bps,
            interval_net_bps: g.interval_bps,
            n_days: g.days as u64,
        }),
    };
    meta_learner::publish(publication.store, &document).map(|_| ())
}

/// Weights by regime. What a single regime gained is not measured.
fn regimes(experts: &Experts) -> std::collections::BTreeMap<String, ExpertWeights> {
    let names = &experts.path.experts;
    let one = |weights: &RegimeWeights| {
        let of = |name: &str| {
            let at = names.iter().position(|n| n == name);
            at.and_then(|i| weights.weights.get(i).copied()).unwrap_or(0.0)
        };
        ExpertWeights {
            with_codes: of("with_codes"),
            without_codes: of("without_codes"),
            pooled: of("pooled"),
            zero: of("zero"),
            gain_net_bps: None,
            n: weights.trades,
        }
    };
    let last = &experts.path.final_weights;
    last.iter().map(|(regime, weights)| (regime.code().to_owned(), one(weights))).collect()
}
