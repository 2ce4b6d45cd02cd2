//! What is kept of a run. `run.json` and `profile.json` are documents; events, failures and unit costs
//! are lines gathered in memory and written whole on [`RunLog::flush`], because a store replaces
//! objects and does not append to them. A crash loses what came after the last flush, never a line.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Result, StoreError};
use crate::formats::check;
use crate::formats::run::{Failure, JobEvent, Profile, Run, UnitCost};
use crate::formats::{Document, from_lines, to_line};
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

/// The run that started last, whatever became of it; records that cannot be read are passed over.
///
/// # Errors
/// What the store refuses.
pub fn latest(store: &dyn Store) -> Result<Option<Run>> {
    latest_of(store, &|_| true)
}

/// The run that started last of those that `counts`; records that cannot be read are passed over.
///
/// # Errors
/// What the store refuses.
pub fn latest_of(store: &dyn Store, counts: &dyn Fn(&Run) -> bool) -> Result<Option<Run>> {
    let mut latest: Option<Run> = None;
    for id in list(store)? {
        let run = match read(store, &id) {
            Err(StoreError::Corrupt { .. } | StoreError::NewerFormat { .. }) => continue,
            other => other?,
        };
        if counts(&run) && latest.as_ref().is_none_or(|found| found.started_at <= run.started_at) {
            latest = Some(run);
        }
    }
    Ok(latest)
}

/// Reads `profile.json`; `None` where the run wrote none.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, `Refused` when the id is not one, or what the store refuses.
pub fn read_profile(store: &dyn Store, run_id: &str) -> Result<Option<Profile>> {
    Ok(typed::get(store, &folder_of(run_id)?.join("profile.json")?)?.map(|(profile, _)| profile))
}

/// What each coin's stages used; empty where the run wrote nothing.
///
/// # Errors
/// As [`read_profile`].
pub fn unit_costs(store: &dyn Store, run_id: &str) -> Result<Vec<UnitCost>> {
    lines(store, run_id, "unit_costs.jsonl")
}

/// What failed; empty where nothing did.
///
/// # Errors
/// As [`read_profile`].
pub fn failures(store: &dyn Store, run_id: &str) -> Result<Vec<Failure>> {
    lines(store, run_id, "failures.jsonl")
}

/// Every job's transitions; empty where the run wrote none.
///
/// # Errors
/// As [`read_profile`].
pub fn events(store: &dyn Store, run_id: &str) -> Result<Vec<JobEvent>> {
    lines(store, run_id, "events.jsonl")
}

fn lines<D: Document>(store: &dyn Store, run_id: &str, name: &str) -> Result<Vec<D>> {
    let path = folder_of(run_id)?.join(name)?;
    match store.get(&path)? {
        Some(object) => from_lines(&path, &object.bytes),
        None => Ok(Vec::new()),
    }
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

    #[test]
    fn what_a_run_left_is_read_back_and_the_last_to_start_is_the_latest() {
        let store = MemoryStore::default();
        assert_eq!(latest(&store).unwrap(), None);
        // The id carries the end of the data, not the time of the run.
        let mut late = Run { run_id: "20240801T000000Z-00000000".to_owned(), ..samples::run() };
        late.started_at.0.0 += 1;
        write(&store, &late).unwrap();
        write(&store, &samples::run()).unwrap();
        assert_eq!(latest(&store).unwrap().as_ref(), Some(&late));
        let other = latest_of(&store, &|run| run.run_id != late.run_id).unwrap();
        assert_eq!(other, Some(samples::run()));

        assert_eq!(read_profile(&store, samples::RUN_ID).unwrap(), None);
        assert!(failures(&store, samples::RUN_ID).unwrap().is_empty());
        write_profile(&store, &samples::profile()).unwrap();
        let log = RunLog::open(&store, samples::RUN_ID).unwrap();
        log.failure(&samples::failure()).unwrap();
        log.unit_cost(&samples::unit_cost()).unwrap();
        log.event(&samples::job_event()).unwrap();
        log.flush().unwrap();
        assert_eq!(read_profile(&store, samples::RUN_ID).unwrap(), Some(samples::profile()));
        assert_eq!(failures(&store, samples::RUN_ID).unwrap(), [samples::failure()]);
        assert_eq!(unit_costs(&store, samples::RUN_ID).unwrap(), [samples::unit_cost()]);
        assert_eq!(events(&store, samples::RUN_ID).unwrap(), [samples::job_event()]);
    }
}
