//! The promotions log: append-only, hash-chained. "Who was champion at 14:05, and why" is answered
//! from this file alone.

use huracan_core::words::{Symbol, UtcMs};

use crate::error::{Result, StoreError};
use crate::formats::promotion::{EventKind, Promotion, PromotionEvent};
use crate::formats::{from_lines, to_line};
use crate::path::StorePath;
use crate::store::{Revision, Store};
use crate::typed;

/// Attempts of an append that keeps losing to others; each loss means another one's success.
const ATTEMPTS_MAX: usize = 64;

fn path() -> Result<StorePath> {
    StorePath::new("champions/promotions.jsonl")
}

/// The whole log with its chain verified; empty before the first event.
///
/// # Errors
/// `Corrupt` naming the first line that is not what it was, or does not follow the one before.
pub fn read(store: &dyn Store) -> Result<Vec<Promotion>> {
    Ok(read_raw(store)?.0)
}

type RawLog = (Vec<Promotion>, Vec<u8>, Option<Revision>);

fn read_raw(store: &dyn Store) -> Result<RawLog> {
    let path = path()?;
    let Some(object) = store.get(&path)? else { return Ok((Vec::new(), Vec::new(), None)) };
    let log: Vec<Promotion> = from_lines(&path, &object.bytes)?;
    verify_chain(&log).map_err(|reason| StoreError::corrupt(&path, reason))?;
    if !object.bytes.is_empty() && !object.bytes.ends_with(b"\n") {
        return Err(StoreError::corrupt(&path, "its last line has no end"));
    }
    Ok((log, object.bytes, Some(object.revision)))
}

/// Whether every line carries the hash of the one before. (That each carries its own is checked when
/// it is read.)
///
/// # Errors
/// The number of the first line that does not.
pub fn verify_chain(log: &[Promotion]) -> std::result::Result<(), String> {
    let mut before = None;
    for (i, line) in log.iter().enumerate() {
        if line.prev.as_deref() != before {
            return Err(format!("line {} follows {:?}, the line before is {before:?}", i + 1, line.prev));
        }
        before = Some(line.hash.as_str());
    }
    Ok(())
}

/// Appends events in order, all or none; returns how many were new.
///
/// An event that is in the log already is not written again, nor is one that makes a model champion
/// which by the log is champion already: a run that was cut off may simply repeat itself.
///
/// # Errors
/// `Corrupt` when the log's chain is broken, `Refused` when an event breaks its format.
pub fn append(store: &dyn Store, events: &[PromotionEvent]) -> Result<usize> {
    let path = path()?;
    for _ in 0..ATTEMPTS_MAX {
        let (mut log, mut bytes, revision) = read_raw(store)?;
        let old = log.len();
        for event in events {
            if !is_known(&log, event) {
                let line = Promotion::chain(event.clone(), log.last().map(|line| line.hash.as_str()))?;
                bytes.extend_from_slice(&to_line(&line)?);
                log.push(line);
            }
        }
        if log.len() == old {
            return Ok(0);
        }
        match typed::swap(store, &path, &bytes, revision.as_ref()) {
            Ok(_) => return Ok(log.len() - old),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Stale {
        path: path.to_string(),
        expected: "a moment without other writers".to_owned(),
        found: format!("{ATTEMPTS_MAX} changes in a row"),
    })
}

fn moves(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Reject)
}

fn is_known(log: &[Promotion], event: &PromotionEvent) -> bool {
    let mut of_coin = log.iter().rev().filter(|line| line.event.symbol == event.symbol);
    if of_coin.clone().any(|line| line.event == *event) {
        return true;
    }
    let latest = of_coin.find(|line| moves(line.event.event));
    moves(event.event)
        && latest.is_some_and(|line| {
            line.event.after_model_path == event.after_model_path
                && (line.event.event == EventKind::Expire) == (event.event == EventKind::Expire)
        })
}

/// The event that made the champion of `symbol` at `at` what it was; its `after_model_path` is the
/// model, `None` there means that the coin had none. `None` here means that it never had one by then.
pub fn champion_at<'a>(log: &'a [Promotion], symbol: &Symbol, at: UtcMs) -> Option<&'a PromotionEvent> {
    let mut of_coin = log.iter().map(|line| &line.event).filter(|event| event.symbol.0 == *symbol);
    of_coin.rfind(|event| moves(event.event) && event.at.0 <= at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::samples;
    use crate::store::PutMode;

    const T0: i64 = 1_754_006_400_000;

    fn event(kind: EventKind, at_ms: i64, after: Option<&str>) -> PromotionEvent {
        let mut event = samples::promotion_event();
        event.event = kind;
        event.at = UtcMs(T0 + at_ms).into();
        event.after_model_path = after.map(|name| format!("models/BTCUSDT/{name}"));
        if kind == EventKind::Reject {
            event.before_model_path = event.after_model_path.clone();
        }
        event
    }

    #[test]
    fn the_champion_of_any_moment_is_known_from_the_log_alone() {
        let store = MemoryStore::default();
        let events = [
            event(EventKind::EngineUpdate, 0, Some("a")),
            event(EventKind::Reject, 10, Some("a")),
            event(EventKind::Promote, 20, Some("b")),
            event(EventKind::Rollback, 30, Some("a")),
            event(EventKind::Expire, 40, None),
        ];
        assert_eq!(append(&store, &events).unwrap(), 5);
        let log = read(&store).unwrap();
        let symbol: Symbol = "BTCUSDT".parse().unwrap();
        let check = |at_ms: i64, expected: Option<Option<&str>>| {
            let found = champion_at(&log, &symbol, UtcMs(T0 + at_ms));
            let name = found.map(|e| e.after_model_path.as_deref().and_then(|p| p.rsplit('/').next()));
            assert_eq!(name, expected, "{at_ms}");
        };
        check(-1, None);
        check(0, Some(Some("a")));
        check(19, Some(Some("a")));
        check(20, Some(Some("b")));
        check(35, Some(Some("a")));
        check(99, Some(None));
        assert!(champion_at(&log, &"ETHUSDT".parse().unwrap(), UtcMs(T0)).is_none());
    }

    #[test]
    fn repeating_an_event_adds_nothing_but_a_second_reject_counts() {
        let store = MemoryStore::default();
        let update = event(EventKind::EngineUpdate, 0, Some("a"));
        assert_eq!(append(&store, &[update.clone(), update]).unwrap(), 1);
        assert_eq!(append(&store, &[event(EventKind::EngineUpdate, 5, Some("a"))]).unwrap(), 0);
        assert_eq!(append(&store, &[event(EventKind::Reject, 6, Some("a"))]).unwrap(), 1);
        assert_eq!(append(&store, &[event(EventKind::Reject, 6, Some("a"))]).unwrap(), 0);
        assert_eq!(append(&store, &[event(EventKind::Reject, 7, Some("a"))]).unwrap(), 1);
    }

    #[test]
    fn a_line_changed_lost_or_swapped_shows() {
        let store = MemoryStore::default();
        let events = [
            event(EventKind::EngineUpdate, 0, Some("a")),
            event(EventKind::Promote, 20, Some("b")),
            event(EventKind::Rollback, 30, Some("a")),
        ];
        append(&store, &events).unwrap();
        let whole = String::from_utf8(store.get(&path().unwrap()).unwrap().unwrap().bytes).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        let check = |text: String| {
            store.put(&path().unwrap(), text.as_bytes(), PutMode::Overwrite).unwrap();
            assert_eq!(read(&store).unwrap_err().code(), "store_corrupt", "{text}");
            assert_eq!(append(&store, &events[..1]).unwrap_err().code(), "store_corrupt");
        };
        check(whole.replace("\"promote\"", "\"rollback\""));
        check(format!("{}\n{}\n", lines[0], lines[2]));
        check(format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]));
        check(format!("{}\n{}\n", lines[1], lines[2]));
        check(whole.trim_end().to_owned());
    }

    #[test]
    fn appends_from_many_threads_all_arrive_and_the_chain_holds() {
        let store = MemoryStore::default();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for i in 0..8 {
                        append(store, &[event(EventKind::Reject, worker * 100 + i, Some("a"))]).unwrap();
                    }
                });
            }
        });
        assert_eq!(read(&store).unwrap().len(), 32);
    }
}
