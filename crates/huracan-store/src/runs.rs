//! What is kept of a run. `run.json` and `profile.json` are documents; events, failures and unit costs
//! are lines gathered in memory and written whole on [`RunLog::flush`], because a store replaces
//! objects and does not append to them. A crash loses what came after the last flush, never a line.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Result, StoreError};
use crate::formats::check;
use crate::formats::run::{Failure, JobEvent, Profile, Run, UnitCost};
use crate::formats::{Document, to_line};
use crate::path::StorePath;
use crate::store::Store;
use crate::typed;

fn folder_of(run_id: &str) -> Result<StorePath> {
    check::run_id("run_id", run_id).map_err(|e| StoreError::refused("a run's folder", e))?;
    StorePath::new("runs")?.join(run_id)
}

/// Writes `run.json`, over an earlier one of the same run.
///
/// # Errors
/// `Refused` when it breaks its format.
pub fn write(store: &dyn Store, run: &Run) -> Result<()> {
    typed::overwrite(store, &folder_of(&run.run_id)?.join("run.json")?, run).map(|_| ())
}

/// Reads `run.json`.
///
/// # Errors
/// `NotFound` when there is no such run.
pub fn read(store: &dyn Store, run_id: &str) -> Result<Run> {
    typed::require(store, &folder_of(run_id)?.join("run.json")?, "expected the id of a run under runs/")
}

/// Ids of all runs with a `run.json`, oldest first.
///
/// # Errors
/// What the store refuses.
pub fn list(store: &dyn Store) -> Result<Vec<String>> {
    let entries = store.list(Some(&StorePath::new("runs")?))?;
    let id = |path: &StorePath| match path.segments().collect::<Vec<_>>()[..] {
        ["runs", id, "run.json"] if check::run_id("", id).is_ok() => Some(id.to_owned()),
        _ => None,
    };
    Ok(entries.iter().filter_map(|entry| id(&entry.path)).collect())
}

/// Writes `profile.json`.
///
/// # Errors
/// `Refused` when it breaks its format.
pub fn write_profile(store: &dyn Store, profile: &Profile) -> Result<()> {
    typed::overwrite(store, &folder_of(&profile.run_id)?.join("profile.json")?, profile).map(|_| ())
}

/// The three line files of one run, gathered from all its workers.
pub struct RunLog<'a> {
    store: &'a dyn Store,
    events: LineFile,
    failures: LineFile,
    unit_costs: LineFile,
}

/// A `.jsonl` file in the making.
struct LineFile {
    path: StorePath,
    gathered: Mutex<Gathered>,
}

struct Gathered {
    bytes: Vec<u8>,
    is_written: bool,
}

impl LineFile {
    /// Goes on from what is in the store.
    fn open(store: &dyn Store, path: StorePath) -> Result<LineFile> {
        let bytes = store.get(&path)?.map_or_else(Vec::new, |object| object.bytes);
        Ok(LineFile { path, gathered: Mutex::new(Gathered { bytes, is_written: true }) })
    }

    /// Lines are added whole, so a poisoned lock holds no half of one.
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push<D: Document>(&self, line: &D) -> Result<()> {
        let bytes = to_line(line)?;
        let mut gathered = self.lock();
        gathered.bytes.extend_from_slice(&bytes);
        gathered.is_written = false;
        Ok(())
    }

    fn flush(&self, store: &dyn Store) -> Result<()> {
        let mut gathered = self.lock();
        if !gathered.is_written {
            typed::settle(store, &self.path, &gathered.bytes)?;
            gathered.is_written = true;
        }
        Ok(())
    }
}

impl<'a> RunLog<'a> {
    /// The log of a run, going on from what an earlier attempt left.
    ///
    /// # Errors
    /// `Refused` when the id is not one, and whatever the store refuses.
    pub fn open(store: &'a dyn Store, run_id: &str) -> Result<RunLog<'a>> {
        let folder = folder_of(run_id)?;
        Ok(RunLog {
            store,
            events: LineFile::open(store, folder.join("events.jsonl")?)?,
            failures: LineFile::open(store, folder.join("failures.jsonl")?)?,
            unit_costs: LineFile::open(store, folder.join("unit_costs.jsonl")?)?,
        })
    }

    /// Notes that a job changed its state.
    ///
    /// # Errors
    /// `Refused` when the line breaks its format.
    pub fn event(&self, event: &JobEvent) -> Result<()> {
        self.events.push(event)
    }

    /// Notes a failure.
    ///
    /// # Errors
    /// `Refused` when the line breaks its format.
    pub fn failure(&self, failure: &Failure) -> Result<()> {
        self.failures.push(failure)
    }

    /// Notes what a coin's stage used.
    ///
    /// # Errors
    /// `Refused` when the line breaks its format.
    pub fn unit_cost(&self, cost: &UnitCost) -> Result<()> {
        self.unit_costs.push(cost)
    }

    /// Writes what was gathered since the last flush: after each stage, and every few seconds within.
    ///
    /// # Errors
    /// What the store refuses; what was gathered stays gathered.
    pub fn flush(&self) -> Result<()> {
        [&self.events, &self.failures, &self.unit_costs].iter().try_for_each(|file| file.flush(self.store))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::from_lines;
    use crate::memory::MemoryStore;
    use crate::samples;

    #[test]
    fn lines_of_all_workers_arrive_and_a_second_attempt_goes_on() {
        let store = MemoryStore::default();
        let log = RunLog::open(&store, samples::RUN_ID).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5).for_each(|_| log.event(&samples::job_event()).unwrap()));
            }
        });
        assert!(store.list(None).unwrap().is_empty());
        log.flush().unwrap();
        let again = RunLog::open(&store, samples::RUN_ID).unwrap();
        again.event(&samples::job_event()).unwrap();
        again.failure(&samples::failure()).unwrap();
        again.flush().unwrap();
        let path = StorePath::new(format!("runs/{}/events.jsonl", samples::RUN_ID)).unwrap();
        let bytes = store.get(&path).unwrap().unwrap().bytes;
        assert_eq!(from_lines::<JobEvent>(path, &bytes).unwrap().len(), 21);
        assert_eq!(store.list(None).unwrap().len(), 2);
    }

    #[test]
    fn runs_are_listed_oldest_first_and_read_back() {
        let store = MemoryStore::default();
        let mut run = samples::run();
        write(&store, &run).unwrap();
        run.run_id = "20240801T000000Z-00000000".to_owned();
        write(&store, &run).unwrap();
        assert_eq!(list(&store).unwrap(), [run.run_id.as_str(), samples::RUN_ID]);
        assert_eq!(read(&store, &run.run_id).unwrap(), run);
        assert_eq!(read(&store, "20240101T000000Z-00000000").unwrap_err().code(), "store_not_found");
        assert_eq!(read(&store, "../x").unwrap_err().code(), "store_refused");
    }
}
