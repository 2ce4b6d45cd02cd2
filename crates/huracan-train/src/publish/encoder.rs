//! The shared encoder as a file: the one that the final fold's heads read, of whatever kind.

use super::Publication;
use crate::engine::Outcome;
use crate::engine::lanes::Lane;
use crate::engine::pools::Codes;
use crate::engine::statistics::Stage;
use crate::engine::trial::FinalHead;
use huracan_core::encoder::{CodeMap, Encoder, WINSOR};
use huracan_store::formats::encoder::{EncoderCard, EncoderCoin, EncoderFile, Meaning, encoder_id};
use huracan_store::formats::tensors::Tensor;
use huracan_store::formats::wire::Span;
use huracan_store::{Store, StoreError, encoder};
use std::collections::BTreeMap;

/// The encoder that this run's heads were fitted with, or `None` when none of them uses codes.
///
/// A linear one gives `codes = components · (z / scale)` for a row `z` scaled with the coin's own scaler;
/// a feature that never varied over the pool has scale 1 and no loading. Tensor `components` is k × p. An
/// autoencoder's tensors are its layers, `encoder_0` and `encoder_1` those that make codes, with a
/// hyperbolic tangent between them.
pub(super) fn encoder_file(publication: &Publication<'_>) -> Result<Option<EncoderFile>, StoreError> {
    let outcome = publication.outcome;
    let Some(encoder) = deployed(outcome) else { return Ok(None) };
    let Some(fold) = outcome.plan.folds.last() else { return Ok(None) };
    let stage = Stage::Full.at(outcome.plan.folds.len() - 1);
    let (k, p) = (encoder.components(), encoder.scale.len());
    let tensors = tensors(&encoder);
    let meaning = Meaning {
        encoder_type: encoder.kind.code().to_owned(),
        n_components: k as u64,
        feature_names: outcome.feature_names.clone(),
        center: vec![0.0; p],
        scale: encoder.scale.iter().map(|&s| if s > 0.0 { s } else { 1.0 }).collect(),
        parameters: BTreeMap::from([("winsor_sigmas".to_owned(), WINSOR)]),
    };
    let coins = outcome.survey.coins.iter().zip(&outcome.statistics);
    let symbols = coins
        .filter_map(|(coin, known)| {
            let known = known.as_ref().filter(|known| known.rows[stage] > 0.0)?;
            let (rows, weight) = (known.rows[stage] as u64, known.weight);
            Some(EncoderCoin { symbol: (&coin.symbol).into(), rows, weight })
        })
        .collect();
    let card = EncoderCard {
        encoder_id: encoder_id(&meaning, &tensors)?,
        meaning,
        explained_variance_ratio: encoder.explained_variance_ratio,
        fit_window: Span { from: outcome.survey.grid.start.into(), until: fold.train_end.into() },
        symbols,
        trained_at: publication.until().into(),
        valid_until: publication.expires_at().into(),
        training_loss: (!encoder.training_loss.is_empty())
            .then(|| encoder.training_loss.iter().map(|epoch| epoch.holdout).collect()),
    };
    Ok(Some(EncoderFile { card, tensors }))
}

/// What an encoder is made of, by name: `components` (k × p) of a linear one, the layers of a network.
fn tensors(encoder: &Encoder) -> BTreeMap<String, Tensor> {
    match &encoder.map {
        CodeMap::Linear(loadings) => {
            let (p, k) = (loadings.nrows(), loadings.ncols());
            let loading = |i: usize, j: usize| if encoder.scale[i] > 0.0 { loadings[(i, j)] } else { 0.0 };
            let data = (0..k).flat_map(|j| (0..p).map(move |i| (i, j))).map(|(i, j)| loading(i, j)).collect();
            BTreeMap::from([("components".to_owned(), Tensor { shape: vec![k, p], data })])
        }
        CodeMap::Network(network) => {
            let arrays = network.to_arrays().into_iter();
            arrays.map(|(name, shape, data)| (name, Tensor { shape, data })).collect()
        }
    }
}

/// The encoder that a head of the final fit reads.
pub(super) fn of_head(outcome: &Outcome, head: &FinalHead) -> Option<Encoder> {
    let last = outcome.plan.folds.len().checked_sub(1)?;
    match head.lane {
        Lane::Autoencoder => outcome.extra.autoencoder().cloned(),
        Lane::TreesCoded => {
            let trees = outcome.extra.models.trees_coded.get(Stage::Full.at(last))?.as_ref()?;
            outcome.pools.encoder(&outcome.plan, trees.units_fold(), Codes::Pca(trees.components))
        }
        _ => outcome.pools.encoder(&outcome.plan, last, head.codes),
    }
}

/// The one encoder of the heads that a run deploys: coins that do without have none.
fn deployed(outcome: &Outcome) -> Option<Encoder> {
    outcome.verdicts.coins.iter().find_map(|coin| of_head(outcome, &coin.head))
}

/// Makes the run's encoder the one in force where a champion uses it, or where none is in force (or
/// none that is whole). Where every champion kept its place, so does the encoder they use.
///
/// # Errors
/// What the store refuses.
pub(super) fn put_in_force(store: &dyn Store, made: &EncoderFile, is_used: bool) -> Result<(), StoreError> {
    let needed = is_used
        || match encoder::in_force(store) {
            Ok(in_force) => in_force.is_none(),
            Err(StoreError::NotFound { .. } | StoreError::Corrupt { .. }) => true,
            Err(error) => return Err(error),
        };
    if needed { encoder::publish(store, made) } else { encoder::mend_in_force(store) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use huracan_core::words::{Symbol, UtcMs};
    use huracan_store::MemoryStore;

    fn made(loading: f64) -> EncoderFile {
        let tensor = Tensor { shape: vec![1, 2], data: vec![loading, 0.5] };
        let tensors = BTreeMap::from([("components".to_owned(), tensor)]);
        let meaning = Meaning {
            encoder_type: "pca".to_owned(),
            n_components: 1,
            feature_names: vec!["a".to_owned(), "b".to_owned()],
            center: vec![0.0; 2],
            scale: vec![1.0; 2],
            parameters: BTreeMap::new(),
        };
        let card = EncoderCard {
            encoder_id: encoder_id(&meaning, &tensors).unwrap(),
            meaning,
            explained_variance_ratio: vec![0.6],
            fit_window: Span { from: UtcMs(0).into(), until: UtcMs(UtcMs::DAY).into() },
            symbols: vec![EncoderCoin {
                symbol: (&"BTCUSDT".parse::<Symbol>().unwrap()).into(),
                rows: 24,
                weight: 1.0,
            }],
            trained_at: UtcMs(UtcMs::DAY).into(),
            valid_until: UtcMs(2 * UtcMs::DAY).into(),
            training_loss: None,
        };
        EncoderFile { card, tensors }
    }

    #[test]
    fn the_encoder_in_force_changes_only_with_a_champion_that_uses_it() {
        let store = MemoryStore::default();
        let (first, second) = (made(0.25), made(0.75));
        for (encoder, is_used, expected) in
            [(&first, false, &first), (&second, false, &first), (&second, true, &second)]
        {
            put_in_force(&store, encoder, is_used).unwrap();
            assert_eq!(encoder::in_force(&store).unwrap().as_ref(), Some(expected));
        }
    }
}
