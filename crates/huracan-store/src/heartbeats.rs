//! Heartbeats: each program says every 30 s what it does; silence for 90 s means that it is gone.

use huracan_core::words::UtcMs;

use crate::error::Result;
use crate::formats::heartbeat::Heartbeat;
use crate::path::StorePath;
use crate::store::Store;
use crate::typed;

/// How often a program beats.
pub const INTERVAL_MS: i64 = 30_000;
/// After how long it counts as gone.
pub const STALE_MS: i64 = 90_000;

/// The programs that beat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// Trains.
    Engine,
    /// Tunes.
    Mechanic,
    /// Trades.
    Hamilton,
}

impl Service {
    /// Its name in the path.
    pub fn code(self) -> &'static str {
        match self {
            Service::Engine => "engine",
            Service::Mechanic => "mechanic",
            Service::Hamilton => "hamilton",
        }
    }
}

fn path_of(service: Service) -> Result<StorePath> {
    StorePath::new(format!("heartbeats/{}.json", service.code()))
}

/// Writes a beat.
///
/// # Errors
/// `Refused` when it breaks its format, and whatever the store refuses.
pub fn beat(store: &dyn Store, service: Service, heartbeat: &Heartbeat) -> Result<()> {
    typed::overwrite(store, &path_of(service)?, heartbeat).map(|_| ())
}

/// The latest beat, or `None` when it never beat.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, or what the store refuses.
pub fn read(store: &dyn Store, service: Service) -> Result<Option<Heartbeat>> {
    Ok(typed::get(store, &path_of(service)?)?.map(|(heartbeat, _)| heartbeat))
}

/// Whether the program has been silent for more than [`STALE_MS`]; one that ended in order
/// (`complete`, `failed`) has nothing more to say and is not stale.
pub fn is_stale(heartbeat: &Heartbeat, now: UtcMs) -> bool {
    let ended = matches!(heartbeat.phase.as_str(), "complete" | "failed");
    !ended && now.0.saturating_sub(heartbeat.utc_timestamp.0.0) > STALE_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::samples;

    #[test]
    fn silence_is_noticed_and_an_orderly_end_is_not_silence() {
        let store = MemoryStore::default();
        assert_eq!(read(&store, Service::Engine).unwrap(), None);
        let mut heartbeat = samples::heartbeat();
        beat(&store, Service::Engine, &heartbeat).unwrap();
        assert_eq!(read(&store, Service::Engine).unwrap().as_ref(), Some(&heartbeat));
        let at = heartbeat.utc_timestamp.0.0;
        assert!(!is_stale(&heartbeat, UtcMs(at + STALE_MS)));
        assert!(is_stale(&heartbeat, UtcMs(at + STALE_MS + 1)));
        heartbeat.phase = "complete".to_owned();
        assert!(!is_stale(&heartbeat, UtcMs(i64::MAX)));
    }
}
