//! The champion pointers. A pointer moves only to a folder that has just been verified, only with the
//! encoder its head needs in the store, and only by compare-and-swap.

use huracan_core::words::{Symbol, UtcMs};

use crate::encoder;
use crate::error::{Result, StoreError};
use crate::formats;
use crate::formats::champion::{Champion, ChampionKind, CostSummary, Previous, PromotedBy};
use crate::formats::promotion::{EventKind, PromotionEvent};
use crate::models::{self, Model};
use crate::path::StorePath;
use crate::store::{Revision, Store};
use crate::typed;
use crate::{promotions, roster};

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

/// An operator's wish to bring a model back.
#[derive(Clone, PartialEq, Debug)]
pub struct Rollback {
    /// The coin.
    pub symbol: Symbol,
    /// The folder to bring back; `None` means the champion before.
    pub to: Option<StorePath>,
    /// When it was asked for.
    pub at: UtcMs,
    /// Until when the model may open positions, whatever its age.
    pub expires_at: UtcMs,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
}

/// What became of a rollback.
#[derive(Clone, PartialEq, Debug)]
pub struct RolledBack {
    /// The pointer in force.
    pub champion: Champion,
    /// The folder it named before; `None` where an interrupted rollback was only finished.
    pub from: Option<String>,
}

/// The model a rollback brings back, verified with its encoder.
///
/// # Errors
/// `NotFound` when the coin has no champion, there is none before it, or folder or encoder is gone;
/// `Refused` when the folder is of another coin or is in force, or when the champion came by a
/// rollback itself and no folder is named; `Corrupt` when it is not as written.
pub fn rollback_target(store: &dyn Store, champion: &Champion, to: Option<&StorePath>) -> Result<Model> {
    let refused = |reason: String| StoreError::refused(format!("a rollback of {}", champion.symbol), reason);
    let path = match (to, &champion.previous) {
        (Some(path), _) => path.clone(),
        (None, _) if champion.promoted_by == PromotedBy::Rollback => {
            let reason = "the champion came by a rollback already, expected the folder to bring back";
            return Err(refused(reason.to_owned()));
        }
        (None, Some(previous)) => StorePath::new(previous.model_path.clone())?,
        (None, None) => {
            return Err(StoreError::NotFound {
                path: format!("a champion of {} before {}", champion.symbol, champion.model_path),
                help: "name a model folder of the coin to go to",
            });
        }
    };
    if path.as_str() == champion.model_path {
        return Err(refused(format!("{path} is in force already, expected another folder")));
    }
    let model = models::read_model(store, &path)?;
    if model.manifest.lineage.symbol != champion.symbol {
        let found = &model.manifest.lineage.symbol;
        return Err(refused(format!("{path} is of {found}, expected a folder of {}", champion.symbol)));
    }
    if let Some(id) = &model.manifest.lineage.encoder_id {
        encoder::load(store, id)?;
    }
    Ok(model)
}

/// Whether the pointer came by a rollback that was stopped before log and roster said so, and asking
/// for `to` would finish it.
///
/// # Errors
/// What the store refuses.
pub fn unfinished_rollback(store: &dyn Store, champion: &Champion, to: Option<&StorePath>) -> Result<bool> {
    let asked_again = to.is_none_or(|to| to.as_str() == champion.model_path);
    if champion.promoted_by != PromotedBy::Rollback || !asked_again {
        return Ok(false);
    }
    let missing = promotions::missing_line(&promotions::read(store)?, champion);
    Ok(missing.is_some() || !roster::names(store, champion)?)
}

/// Brings a model back: pointer first, then its line in the log, then the coin's line in the roster.
/// Nothing of it is traded until a run has looked at it: the pointer says `trade_ok` false.
///
/// `seen` is the state the operator decided on. A rollback that was stopped after the pointer moved is
/// finished by asking for it again (with the same folder, or none): line and roster are made good and
/// the pointer stays.
///
/// # Errors
/// As [`rollback_target`]; `Stale` when the pointer moved since `seen` was read.
pub fn roll_back(store: &dyn Store, wish: &Rollback, seen: &Revision) -> Result<RolledBack> {
    let (current, _) = read(store, &wish.symbol)?.ok_or_else(|| StoreError::NotFound {
        path: format!("champions/{}.json", wish.symbol),
        help: "a coin without a champion has nothing to go back to",
    })?;
    let event = |champion: &Champion, before: Option<&Champion>, reason: &str| PromotionEvent {
        at: champion.updated_at,
        symbol: champion.symbol.clone(),
        event: EventKind::Rollback,
        champion_metrics: before.map(|before| before.metrics.clone()),
        challenger_metrics: Some(champion.metrics.clone()),
        rule_values: Default::default(),
        promotion_reason: match wish.reason.trim() {
            "" => reason.to_owned(),
            words => format!("{reason}: {words}"),
        },
        before_model_path: champion.previous.as_ref().map(|before| before.model_path.clone()),
        after_model_path: Some(champion.model_path.clone()),
        decided_by: "operator".to_owned(),
    };
    let missing = promotions::missing_line(&promotions::read(store)?, &current);
    if unfinished_rollback(store, &current, wish.to.as_ref())? {
        if missing.is_some() {
            promotions::append(store, &[event(&current, None, "an operator brought it back")])?;
        }
        let model = models::read_model(store, &StorePath::new(current.model_path.clone())?)?;
        roster::restate(store, &current, &model)?;
        return Ok(RolledBack { champion: current, from: None });
    }
    let model = rollback_target(store, &current, wish.to.as_ref())?;
    promotions::append(store, missing.as_slice())?;
    let nomination = Nomination {
        model_path: model.path.clone(),
        trade_ok: false,
        promoted_by: PromotedBy::Rollback,
        at: wish.at,
        expires_at: wish.expires_at,
    };
    let Pointed { champion, .. } = point(store, &nomination, Some(seen))?;
    promotions::append(store, &[event(&champion, Some(&current), "an operator brought it back")])?;
    roster::restate(store, &champion, &model)?;
    Ok(RolledBack { champion, from: Some(current.model_path) })
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

    /// A published store whose BTCUSDT has two champions behind it, and the wish to undo the second.
    fn with_two() -> (MemoryStore, Rollback, Revision) {
        let store = MemoryStore::default();
        samples::publish_all(&store).unwrap();
        let symbol: Symbol = "BTCUSDT".parse().unwrap();
        let (first, seen) = read(&store, &symbol).unwrap().unwrap();
        let second =
            Nomination { model_path: second_model(&store), ..samples::nomination(folder_of(&first)) };
        let pointed = point(&store, &second, Some(&seen)).unwrap();
        let line = promotions::missing_line(&promotions::read(&store).unwrap(), &pointed.champion).unwrap();
        promotions::append(&store, &[line]).unwrap();
        let at = UtcMs(second.at.0 + 50_000);
        let wish = Rollback {
            symbol,
            to: None,
            at,
            expires_at: UtcMs(at.0 + 7 * UtcMs::DAY),
            reason: "it loses".to_owned(),
        };
        (store, wish, pointed.revision)
    }

    fn folder_of(champion: &Champion) -> StorePath {
        StorePath::new(champion.model_path.clone()).unwrap()
    }

    #[test]
    fn a_rollback_brings_the_champion_before_back_and_everything_says_so() {
        let (store, wish, seen) = with_two();
        let (second, _) = read(&store, &wish.symbol).unwrap().unwrap();
        let done = roll_back(&store, &wish, &seen).unwrap();
        assert_eq!(done.from.as_deref(), Some(second.model_path.as_str()));
        let champion = done.champion;
        assert_eq!(champion.model_path, second.previous.unwrap().model_path);
        assert_eq!(
            (champion.revision, champion.trade_ok, champion.expires_at.0),
            (3, false, wish.expires_at)
        );
        let log = promotions::read(&store).unwrap();
        let last = &log.last().unwrap().event;
        assert_eq!((last.event, last.decided_by.as_str()), (EventKind::Rollback, "operator"));
        assert_eq!(last.promotion_reason, "an operator brought it back: it loses");
        assert_eq!(last.before_model_path.as_deref(), Some(second.model_path.as_str()));
        let found = promotions::champion_at(&log, &wish.symbol, wish.at).unwrap();
        assert_eq!(found.after_model_path.as_deref(), Some(champion.model_path.as_str()));
        let report = crate::verify::verify_symbol(&store, &wish.symbol, None);
        assert!(report.is_ok(), "{:#?}", report.rows);

        // A second one must say where to; what is in force or of another coin is refused.
        let (_, seen) = read(&store, &wish.symbol).unwrap().unwrap();
        let refused = |to: Option<&str>| {
            let to = to.map(|path| StorePath::new(path).unwrap());
            roll_back(&store, &Rollback { to, ..wish.clone() }, &seen).unwrap_err().code()
        };
        assert_eq!(refused(None), "store_refused");
        assert_eq!(refused(Some(&champion.model_path)), "store_refused");
        assert_eq!(refused(Some("models/ETHUSDT/baseline_20250801")), "store_refused");
        assert_eq!(refused(Some("models/BTCUSDT/baseline_20200101")), "store_not_found");
        let to = Some(StorePath::new(second.model_path.clone()).unwrap());
        let forth = roll_back(&store, &Rollback { to, ..wish.clone() }, &seen).unwrap();
        assert_eq!(forth.champion.model_path, second.model_path);
    }

    #[test]
    fn a_rollback_decided_on_a_state_that_is_gone_loses() {
        let (store, wish, seen) = with_two();
        roll_back(&store, &wish, &seen).unwrap();
        let log = promotions::read(&store).unwrap();
        let to = promotions::champion_at(&log, &wish.symbol, wish.at).unwrap().before_model_path.clone();
        let late = Rollback { to: to.map(|path| StorePath::new(path).unwrap()), ..wish };
        assert_eq!(roll_back(&store, &late, &seen).unwrap_err().code(), "store_stale");
        assert_eq!(promotions::read(&store).unwrap(), log);
    }

    #[test]
    fn a_rollback_needs_a_whole_folder_and_its_encoder() {
        let id = samples::encoder().card.encoder_id;
        let (_, wish, _) = with_two();
        for lost in [
            "models/BTCUSDT/baseline_20250801/metrics.json",
            &format!("meta/encoders/{id}/shared_encoder.json"),
        ] {
            let (store, _, seen) = with_two();
            let before = read(&store, &wish.symbol).unwrap();
            store.delete(&StorePath::new(lost).unwrap()).unwrap();
            assert!(roll_back(&store, &wish, &seen).is_err(), "{lost}");
            assert_eq!(read(&store, &wish.symbol).unwrap(), before);
        }
    }

    #[test]
    fn a_rollback_that_dies_anywhere_is_finished_by_asking_again() {
        use crate::faults::{Crash, Faulty};
        let (whole, wish, seen) = with_two();
        let undisturbed = Faulty::never(whole.clone());
        roll_back(&undisturbed, &wish, &seen).unwrap();
        let operations = undisturbed.operations();
        let expected = read(&whole, &wish.symbol).unwrap().unwrap().0;
        for crash in [Crash::Before, Crash::After] {
            for fatal in 0..operations {
                let (store, _, seen) = with_two();
                let dying = Faulty::dying(store.clone(), fatal, crash);
                assert!(roll_back(&dying, &wish, &seen).is_err(), "{crash:?} {fatal}");
                let (_, seen) = read(&store, &wish.symbol).unwrap().unwrap();
                // Where the last write had taken effect, nothing is left to be done.
                match roll_back(&store, &wish, &seen) {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.code(), "store_refused", "{crash:?} {fatal}: {error}"),
                }
                let (champion, _) = read(&store, &wish.symbol).unwrap().unwrap();
                assert_eq!(champion, expected, "{crash:?} {fatal}");
                let log = promotions::read(&store).unwrap();
                assert_eq!(promotions::missing_line(&log, &champion), None);
                assert_eq!(log.last().unwrap().event.decided_by, "operator");
                let report = crate::verify::verify_symbol(&store, &wish.symbol, None);
                assert!(report.is_ok(), "{crash:?} {fatal}: {:#?}", report.rows);
            }
        }
    }
}
