//! The promotions log: append-only, hash-chained. "Who was champion at 14:05, and why" is answered
//! from this file alone.

use huracan_core::words::{Symbol, UtcMs};

use crate::chained;
use crate::error::Result;
use crate::formats::champion::{Champion, PromotedBy};
use crate::formats::promotion::{EventKind, Promotion, PromotionEvent};
use crate::path::StorePath;
use crate::store::Store;

fn path() -> Result<StorePath> {
    StorePath::new("champions/promotions.jsonl")
}

/// The whole log with its chain verified; empty before the first event.
///
/// # Errors
/// `Corrupt` naming the first line that is not what it was, or does not follow the one before.
pub fn read(store: &dyn Store) -> Result<Vec<Promotion>> {
    chained::read(store, &path()?)
}

/// Appends events in order, all or none; returns how many were new.
///
/// An event that is in the log already is not written again, nor is one that makes a model champion
/// which by the log is champion already: a run that was cut off may simply repeat itself.
///
/// # Errors
/// `Corrupt` when the log's chain is broken, `Refused` when an event breaks its format.
pub fn append(store: &dyn Store, events: &[PromotionEvent]) -> Result<usize> {
    chained::append(store, &path()?, |log: &mut Vec<Promotion>| {
        for event in events {
            if !is_known(log, event) {
                let line = Promotion::chain(event.clone(), log.last().map(|line| line.hash.as_str()))?;
                log.push(line);
            }
        }
        Ok(())
    })
}

/// Whether an event of this kind changes the champion.
pub fn moves(kind: EventKind) -> bool {
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

/// The line of a pointer that is not where the log left it: whoever moved it was stopped before writing
/// the line, or never writes any. `None` where log and pointer agree.
pub fn missing_line(log: &[Promotion], champion: &Champion) -> Option<PromotionEvent> {
    let mut of_coin = log.iter().map(|line| &line.event).filter(|event| event.symbol == champion.symbol);
    let latest = of_coin.rfind(|event| moves(event.event));
    let known = latest.and_then(|event| event.after_model_path.as_deref());
    (known != Some(champion.model_path.as_str())).then(|| PromotionEvent {
        at: champion.updated_at,
        symbol: champion.symbol.clone(),
        event: match champion.promoted_by {
            PromotedBy::Engine => EventKind::EngineUpdate,
            PromotedBy::Mechanic | PromotedBy::Operator => EventKind::Promote,
            PromotedBy::Rollback => EventKind::Rollback,
        },
        champion_metrics: None,
        challenger_metrics: Some(champion.metrics.clone()),
        rule_values: Default::default(),
        promotion_reason: "the pointer had moved and the log did not say so; why is not known".to_owned(),
        before_model_path: champion.previous.as_ref().map(|before| before.model_path.clone()),
        after_model_path: Some(champion.model_path.clone()),
        decided_by: match champion.promoted_by {
            PromotedBy::Engine => "engine",
            PromotedBy::Mechanic => "mechanic",
            PromotedBy::Operator => "operator",
            PromotedBy::Rollback => "rollback",
        }
        .to_owned(),
    })
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
