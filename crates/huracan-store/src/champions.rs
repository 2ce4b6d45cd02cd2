//! The champion pointers. A pointer moves only to a folder that has just been verified, only with the
//! encoder its head needs in the store, and only by compare-and-swap.

use huracan_core::words::{Symbol, UtcMs};

use crate::encoder;
use crate::error::{Result, StoreError};
use crate::formats;
use crate::formats::champion::{Champion, ChampionKind, CostSummary, Previous, PromotedBy};
use crate::models::{self, Model};
use crate::path::StorePath;
use crate::store::{Revision, Store};
use crate::typed;

/// A wish to make a model its coin's champion.
#[derive(Clone, PartialEq, Debug)]
pub struct Nomination {
    /// The model's folder.
    pub model_path: StorePath,
    /// The verdict of now: a model kept for long may have lost the one in its `metrics.json`.
    pub trade_ok: bool,
    /// Who decides.
    pub promoted_by: PromotedBy,
    /// When.
    pub at: UtcMs,
    /// Until when the model may open positions.
    pub expires_at: UtcMs,
}

/// What became of a nomination.
#[derive(Clone, PartialEq, Debug)]
pub struct Pointed {
    /// The pointer in force.
    pub champion: Champion,
    /// Its state, for the next move.
    pub revision: Revision,
    /// Whether it moved: `false` when it said the same already.
    pub moved: bool,
}

fn path_of(symbol: &Symbol) -> Result<StorePath> {
    StorePath::new(format!("champions/{symbol}.json"))
}

/// The champion of a coin and the state it was read in, or `None` when it has none.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, or what the store refuses.
pub fn read(store: &dyn Store, symbol: &Symbol) -> Result<Option<(Champion, Revision)>> {
    let path = path_of(symbol)?;
    let found = typed::get::<Champion>(store, &path)?;
    match &found {
        Some((champion, _)) if champion.symbol.0 != *symbol => {
            Err(StoreError::corrupt(path, format!("it is of {}, expected {symbol}", champion.symbol)))
        }
        _ => Ok(found),
    }
}

/// Coins that have a champion, sorted.
///
/// # Errors
/// What the store refuses.
pub fn list(store: &dyn Store) -> Result<Vec<Symbol>> {
    let entries = store.list(Some(&StorePath::new("champions")?))?;
    let name = |path: &StorePath| path.name().strip_suffix(".json").and_then(|n| n.parse::<Symbol>().ok());
    let mut symbols: Vec<Symbol> = entries.iter().filter_map(|entry| name(&entry.path)).collect();
    symbols.sort();
    Ok(symbols)
}

/// Moves a coin's pointer to a model, over exactly the state the caller decided on.
///
/// A pointer that says the same already (whoever wrote it, and when) is left alone, so a run that was
/// cut off may simply repeat itself.
///
/// # Errors
/// `NotFound` or `Corrupt` when the folder has no manifest or is not as written, `NotFound` when the
/// head's encoder is not in the store, `Stale` when the pointer moved since `seen` was read.
pub fn point(store: &dyn Store, nomination: &Nomination, seen: Option<&Revision>) -> Result<Pointed> {
    let model = models::read_model(store, &nomination.model_path)?;
    if let Some(id) = &model.manifest.lineage.encoder_id {
        encoder::load(store, id)?;
    }
    let symbol = &model.manifest.lineage.symbol;
    let current = read(store, symbol)?;
    let next = champion_of(&model, nomination, current.as_ref().map(|(champion, _)| champion))?;
    if let Some((champion, revision)) = current.filter(|(champion, _)| champion.says_the_same(&next)) {
        return Ok(Pointed { champion, revision, moved: false });
    }
    let revision = typed::swap(store, &path_of(symbol)?, &formats::to_bytes(&next)?, seen)?;
    Ok(Pointed { champion: next, revision, moved: true })
}

fn champion_of(model: &Model, nomination: &Nomination, current: Option<&Champion>) -> Result<Champion> {
    let lineage = &model.manifest.lineage;
    let costs = &model.artifacts.costs;
    let model_path = model.path.to_string();
    let stamp = model.path.name();
    let date = stamp.strip_prefix("baseline_").unwrap_or(stamp).get(..8).unwrap_or_default();
    let is_challenger = model.path.segments().next() == Some("challengers");
    let previous = match current {
        Some(champion) if champion.model_path == model_path => champion.previous.clone(),
        Some(champion) => Some(Previous {
            model_path: champion.model_path.clone(),
            model_sha256: champion.model_sha256.clone(),
            encoder_id: champion.encoder_id.clone(),
            replaced_at: nomination.at.into(),
        }),
        None => None,
    };
    Ok(Champion {
        symbol: lineage.symbol.clone(),
        date: date.to_owned(),
        model_path,
        metrics: model.artifacts.metrics.figures(),
        cost_model: CostSummary {
            taker_fee_bps: costs.taker_fee_bps,
            maker_fee_bps: costs.maker_fee_bps,
            median_spread_bps: costs.median_spread_bps,
            slippage_bps_per_sigma: costs.slippage_bps_per_sigma,
            last_updated_utc: costs.last_updated_utc,
        },
        feature_recipe_hash: lineage.features_id.clone(),
        updated_at: nomination.at.into(),
        encoder_id: lineage.encoder_id.clone(),
        model_sha256: model.manifest.files["model.bin"].sha256.clone(),
        kind: if is_challenger { ChampionKind::Challenger } else { ChampionKind::Baseline },
        trade_ok: nomination.trade_ok,
        promoted_by: nomination.promoted_by,
        previous,
        revision: current.map_or(1, |champion| champion.revision.saturating_add(1)),
        expires_at: nomination.expires_at.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::models::write_model_folder;
    use crate::samples;
    use crate::store::PutMode;

    fn with_model() -> (MemoryStore, Nomination) {
        let store = MemoryStore::default();
        encoder::publish(&store, &samples::encoder()).unwrap();
        let artifacts = samples::artifacts("BTCUSDT");
        let written =
            write_model_folder(&store, samples::folder(), &artifacts, &samples::lineage("BTCUSDT")).unwrap();
        (store, samples::nomination(written.path))
    }

    fn second_model(store: &MemoryStore) -> StorePath {
        let mut other = samples::artifacts("BTCUSDT");
        other.metrics.net_pnl_pct += 1.0;
        write_model_folder(store, samples::folder(), &other, &samples::lineage("BTCUSDT")).unwrap().path
    }

    #[test]
    fn pointing_twice_is_once() {
        let (store, nomination) = with_model();
        let first = point(&store, &nomination, None).unwrap();
        assert!(first.moved);
        assert_eq!((first.champion.revision, first.champion.date.as_str()), (1, "20250801"));
        let later = Nomination { at: UtcMs(nomination.at.0 + 1), ..nomination };
        let again = point(&store, &later, None).unwrap();
        assert_eq!((again.moved, again.revision), (false, first.revision));
    }

    #[test]
    fn of_two_promoters_the_second_loses_and_the_first_is_remembered() {
        let (store, nomination) = with_model();
        let first = point(&store, &nomination, None).unwrap();
        let other = Nomination { model_path: second_model(&store), ..nomination.clone() };
        assert_eq!(point(&store, &other, None).unwrap_err().code(), "store_stale");
        let second = point(&store, &other, Some(&first.revision)).unwrap();
        assert_eq!(second.champion.revision, 2);
        assert_eq!(second.champion.previous.unwrap().model_path, first.champion.model_path);
        let back = point(&store, &nomination, Some(&first.revision));
        assert_eq!(back.unwrap_err().code(), "store_stale");
        assert_eq!(list(&store).unwrap(), ["BTCUSDT".parse().unwrap()]);
    }

    #[test]
    fn a_folder_that_is_not_whole_is_never_pointed_at() {
        let (store, nomination) = with_model();
        let file = nomination.model_path.join("model.bin").unwrap();
        let whole = store.get(&file).unwrap().unwrap().bytes;
        store.put(&file, &whole[..whole.len() - 8], PutMode::Overwrite).unwrap();
        assert_eq!(point(&store, &nomination, None).unwrap_err().code(), "store_corrupt");
        store.put(&file, &whole, PutMode::Overwrite).unwrap();
        store.delete(&nomination.model_path.join("manifest.json").unwrap()).unwrap();
        assert_eq!(point(&store, &nomination, None).unwrap_err().code(), "store_not_found");
        assert!(read(&store, &"BTCUSDT".parse().unwrap()).unwrap().is_none());
    }

    #[test]
    fn a_head_without_its_encoder_is_refused() {
        let (store, nomination) = with_model();
        let id = samples::encoder().card.encoder_id;
        let card = StorePath::new(format!("meta/encoders/{id}/shared_encoder.json")).unwrap();
        store.delete(&card).unwrap();
        assert_eq!(point(&store, &nomination, None).unwrap_err().code(), "store_not_found");
    }

    #[test]
    fn a_pointer_of_another_coin_is_refused() {
        let (store, nomination) = with_model();
        point(&store, &nomination, None).unwrap();
        let found = store.get(&StorePath::new("champions/BTCUSDT.json").unwrap()).unwrap().unwrap();
        store.put(&StorePath::new("champions/ETHUSDT.json").unwrap(), &found.bytes, PutMode::Create).unwrap();
        assert_eq!(read(&store, &"ETHUSDT".parse().unwrap()).unwrap_err().code(), "store_corrupt");
    }
}
