//! The roster: written last, read by everybody.

use crate::champions;
use crate::error::{Result, StoreError};
use crate::formats;
use crate::formats::champion::Champion;
use crate::formats::figures::GateReading;
use crate::formats::roster::{Book, Roster, RosterLine, Sides};
use crate::models::Model;
use crate::path::StorePath;
use crate::store::{Revision, Store};
use crate::typed;

fn path() -> Result<StorePath> {
    StorePath::new("champions/roster.json")
}

/// The roster and the state it was read in, or `None` before the first run.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, or what the store refuses.
pub fn read(store: &dyn Store) -> Result<Option<(Roster, Revision)>> {
    typed::get(store, &path()?)
}

/// Publishes a roster over exactly the state the caller has seen; the same bytes are a no-op.
///
/// # Errors
/// `Refused` when a line is not what its coin's champion says, `Stale` when the roster changed since
/// `seen` was read.
pub fn publish(store: &dyn Store, roster: &Roster, seen: Option<&Revision>) -> Result<Revision> {
    let bytes = formats::to_bytes(roster)?;
    for line in &roster.symbols {
        agrees_with_champion(store, line)?;
    }
    let path = path()?;
    match store.get(&path)? {
        Some(found) if found.bytes == bytes => Ok(found.revision),
        _ => typed::swap(store, &path, &bytes, seen),
    }
}

/// Whether the roster's line of a coin is of its champion; true when there is no such line.
///
/// # Errors
/// As [`read`].
pub(crate) fn names(store: &dyn Store, champion: &Champion) -> Result<bool> {
    let line = read(store)?
        .and_then(|(roster, _)| roster.symbols.into_iter().find(|line| line.symbol == champion.symbol));
    Ok(line
        .is_none_or(|line| line.model_sha256 == champion.model_sha256 && line.trade_ok == champion.trade_ok))
}

/// Makes a coin's line say what its pointer says after it moved between two runs to `model`: not to be
/// traded before the next run. Costs and components stay those of the last run, ranks close up.
///
/// # Errors
/// As [`publish`].
pub(crate) fn restate(store: &dyn Store, champion: &Champion, model: &Model) -> Result<()> {
    let Some((mut roster, seen)) = read(store)? else { return Ok(()) };
    let Some(line) = roster.symbols.iter_mut().find(|line| line.symbol == champion.symbol) else {
        return Ok(());
    };
    let head = &model.artifacts.head;
    let metrics = &model.artifacts.metrics;
    let says = |key: &str, word: &str| head.metadata.get(key).is_some_and(|text| text == word);
    *line = RosterLine {
        model_path: champion.model_path.clone(),
        last_7d_net_bps: metrics.last_7d_net_bps,
        trade_ok: false,
        trade_ok_reasons: metrics.trade_ok_reasons.clone(),
        capacity_usd: None,
        label: head.label.kind.clone(),
        horizon_bars: head.label.horizon_bars,
        book: if says("book", "hedged") { Book::Hedged } else { Book::Outright },
        sides: if says("sides", "long_short") { Sides::LongShort } else { Sides::Long },
        encoder_id: champion.encoder_id.clone(),
        model_sha256: champion.model_sha256.clone(),
        model_expires_at: champion.expires_at,
        metrics: metrics.figures().without_window(),
        ..line.clone()
    };
    line.trade_ok_reasons.push(GateReading {
        gate: "runs_since_rollback".to_owned(),
        value: Some(0.0),
        limit: Some(1.0),
        comparison: Some(">=".to_owned()),
        passed: false,
    });
    roster.symbols.sort_by_key(|line| !line.trade_ok);
    (1..).zip(&mut roster.symbols).for_each(|(rank, line)| line.rank = rank);
    roster.trade_ok_count = roster.symbols.iter().filter(|line| line.trade_ok).count() as u64;
    publish(store, &roster, Some(&seen)).map(|_| ())
}

fn agrees_with_champion(store: &dyn Store, line: &RosterLine) -> Result<()> {
    let refused = |reason: String| StoreError::refused(format!("the roster line of {}", line.symbol), reason);
    let (champion, _) = champions::read(store, &line.symbol)?
        .ok_or_else(|| refused("the coin has no champion, expected one".to_owned()))?;
    let found =
        (&line.model_path, &line.model_sha256, &line.encoder_id, line.trade_ok, line.model_expires_at);
    let expected = (
        &champion.model_path,
        &champion.model_sha256,
        &champion.encoder_id,
        champion.trade_ok,
        champion.expires_at,
    );
    if found == expected {
        Ok(())
    } else {
        Err(refused(format!("it says {found:?}, the champion {expected:?}")))
    }
}
