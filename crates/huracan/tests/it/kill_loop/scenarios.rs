//! What is done to runs.

use super::process::{Ran, Running, When};
use super::{Dice, Scenario, Scene, Tally};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Long enough for a process to open its store and look at its candles, short enough to be over
/// before it trains.
const RECOVERY: Duration = Duration::from_millis(60);

/// One run at a time; it is killed.
///
/// Of ten kills four come at an instant that is uniform over a run, three in its publication, one
/// just after the start, while the store is being recovered, and two in quick succession: the second
/// hits the run that follows the first before it has got anywhere.
pub struct Coordinator(pub &'static str);

impl Scenario for Coordinator {
    fn name(&self) -> &'static str {
        self.0
    }

    fn disturb(&mut self, scene: &Scene<'_>, dice: &mut Dice, tally: &mut Tally) -> Result<(), String> {
        let Scene { bench, store, pace } = *scene;
        let drawn = dice.below(10);
        let when = match drawn {
            0..4 => When::AfterStart(dice.time(pace.wall)),
            4..7 => When::InStage("publish", dice.time(pace.publish)),
            7 => When::AfterStart(dice.time(RECOVERY)),
            _ => When::AfterStart(dice.time(pace.wall)),
        };
        tally.killed(&ended_well(bench.start(store)?.kill_at(when)?)?);
        if drawn > 7 {
            let again = When::AfterStart(dice.time(RECOVERY));
            tally.killed(&ended_well(bench.start(store)?.kill_at(again)?)?);
        }
        Ok(())
    }
}

/// One run at a time; when it is killed, the machine goes down with it and tears what was not synced:
/// temporaries, scratch and caches, and files of model folders that have no manifest yet.
pub struct TornWrites;

impl Scenario for TornWrites {
    fn name(&self) -> &'static str {
        "torn-writes"
    }

    fn disturb(&mut self, scene: &Scene<'_>, dice: &mut Dice, tally: &mut Tally) -> Result<(), String> {
        let Scene { bench, store, pace } = *scene;
        // Every second time while folders are half written; else wherever scratch lies about.
        let when = match dice.below(2) {
            0 => When::InStage("publish", dice.time(pace.publish.mul_f64(0.5))),
            _ => When::AfterStart(dice.time(pace.wall)),
        };
        tally.killed(&ended_well(bench.start(store)?.kill_at(when)?)?);
        Ok(())
    }

    fn tears(&self) -> bool {
        true
    }

    fn spoil(&mut self, store: &Path, dice: &mut Dice, tally: &mut Tally) -> Result<(), String> {
        for path in unsettled(store).map_err(|error| format!("{}: {error}", store.display()))? {
            tear(&path, dice).map_err(|error| format!("{}: {error}", path.display()))?;
            tally.torn += 1;
        }
        Ok(())
    }
}

/// Files that nothing vouches for: all below folders whose names start with a dot (but for the store's
/// locks and ledgers), temporaries, and model folders without a manifest.
fn unsettled(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fn walk(folder: &Path, is_unsettled: bool, found: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            if path.is_dir() {
                let is_model = name.starts_with("baseline_") && !path.join("manifest.json").exists();
                let is_cache = name.starts_with('.') && name != ".huracan";
                walk(&path, is_unsettled || is_model || is_cache, found)?;
            } else if is_unsettled || name.starts_with(".tmp-") {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    if folder.exists() {
        walk(folder, false, &mut found)?;
    }
    found.sort();
    Ok(found)
}

/// Cuts a file short, overwrites its middle, or empties it.
fn tear(path: &Path, dice: &mut Dice) -> io::Result<()> {
    let mut bytes = std::fs::read(path)?;
    match dice.below(3) {
        0 => bytes.truncate(bytes.len() / 2),
        1 => bytes.clear(),
        _ => {
            let from = bytes.len() / 3;
            bytes[from..].iter_mut().take(512).for_each(|byte| *byte = !*byte);
        }
    }
    std::fs::write(path, bytes)
}

/// Two runs on one store: whoever comes second is turned away and changes nothing; when the first is
/// killed, the store is free at once.
pub struct TwoCoordinators;

impl Scenario for TwoCoordinators {
    fn name(&self) -> &'static str {
        "two-coordinators"
    }

    fn disturb(&mut self, scene: &Scene<'_>, dice: &mut Dice, tally: &mut Tally) -> Result<(), String> {
        let Scene { bench, store, pace } = *scene;
        let mut first = bench.start(store)?;
        // Half of the time they start together, and either may win.
        let together = dice.below(2) == 0;
        let alone = if together { Duration::ZERO } else { dice.time(pace.wall.mul_f64(0.8)) };
        first.wait_until(When::AfterStart(alone));
        let second = bench.start(store)?;
        let (winner, refused) = one_is_refused(first, second)?;
        tally.refused += u64::from(refused);
        let Some(winner) = winner else { return Ok(()) };
        let when = match dice.below(2) {
            0 => When::AfterStart(alone + dice.time(pace.wall)),
            _ => When::InStage("publish", dice.time(pace.publish)),
        };
        tally.killed(&ended_well(winner.kill_at(when)?)?);
        // The lock went with its holder.
        let mut next = bench.start(store)?;
        next.wait_until(When::InStage("survey", Duration::ZERO));
        tally.killed(&ended_well(next.kill_at(When::AfterStart(Duration::ZERO))?)?);
        Ok(())
    }
}

/// Waits until one of two runs has been turned away; gives back the other, if it is still at work. When
/// the first had published before the second looked, both end well.
fn one_is_refused(first: Running, second: Running) -> Result<(Option<Running>, bool), String> {
    let mut both = [first, second];
    let ended = loop {
        match both.iter_mut().position(Running::has_ended) {
            Some(ended) => break ended,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let [first, second] = both;
    let (ended, other) = if ended == 0 { (first, second) } else { (second, first) };
    let ran = ended.let_through()?;
    match (ran.code, ran.error().as_deref()) {
        (Some(5), Some("store_locked")) => Ok((Some(other), true)),
        (Some(0), None) => {
            // It was through before the other looked; that one found the lock, or nothing to do.
            let other = other.let_through()?;
            match (other.code, other.error().as_deref()) {
                (Some(5), Some("store_locked")) => Ok((None, true)),
                (Some(0), None) => Ok((None, false)),
                _ => Err(format!("beside a run that ended well one ended so: {other:?}")),
            }
        }
        _ => Err(format!("of two runs on one store one ended so: {ran:?}")),
    }
}

/// How long a coordinator or a worker is believed to be alive after its last sign of life.
const LEASE: Duration = Duration::from_secs(2);

/// A coordinator and two workers over one queue; workers are killed, the coordinator, or both.
pub struct Workers {
    /// Address of the queue.
    pub queue: String,
    /// Lives so far: every one has tables of its own.
    pub lives: u64,
}

impl Scenario for Workers {
    fn name(&self) -> &'static str {
        "workers"
    }

    fn begin_life(&mut self) -> Vec<(String, String)> {
        self.lives += 1;
        let told = [
            ("HURACAN__JOBS__URL", self.queue.clone()),
            ("HURACAN__JOBS__SCHEMA", format!("life{}", self.lives)),
            ("HURACAN__JOBS__LEASE_S", LEASE.as_secs().to_string()),
            // A job may lose one worker after the other: here that is nobody's fault.
            ("HURACAN__JOBS__ATTEMPTS_MAX", "20".to_owned()),
        ];
        told.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    fn disturb(&mut self, scene: &Scene<'_>, dice: &mut Dice, tally: &mut Tally) -> Result<(), String> {
        let Scene { bench, store, pace } = *scene;
        let mut coordinator = bench.start(store)?;
        // There is no run to work on before the coordinator has looked at its candles.
        coordinator.wait_until(When::InStage("survey", Duration::ZERO));
        let mut workers = ["first", "second"].map(|name| bench.work(store, name));
        for worker in &mut workers {
            let Ok(worker) = worker else { continue };
            worker.wait_until(When::AfterStart(dice.time(pace.wall.mul_f64(0.5))));
        }
        let [first, second] = workers;
        for (worker, is_killed) in [(first?, true), (second?, dice.below(2) == 0)] {
            let mut ran = worker.kill_at(When::AfterStart(dice.time(pace.wall.mul_f64(0.5))))?;
            // One that nobody means to kill is in the way of what comes next, and no kill.
            ran.killed &= is_killed;
            ran.stages = vec![("in a worker".to_owned(), Duration::ZERO)];
            tally.killed(&ran);
        }
        match dice.below(2) {
            0 => {
                let ran = ended_well(coordinator.kill_at(When::AfterStart(dice.time(pace.wall)))?)?;
                tally.killed(&ran);
                if ran.killed {
                    // Its lease on the run has to pass.
                    std::thread::sleep(LEASE + Duration::from_millis(300));
                }
            }
            _ => tally.killed(&ended_well(coordinator.let_through()?)?),
        }
        Ok(())
    }
}

/// A run that was killed, or was faster and ended well; nothing else may happen to it.
fn ended_well(ran: Ran) -> Result<Ran, String> {
    if ran.killed || ran.code == Some(0) { Ok(ran) } else { Err(format!("a run ended so: {ran:?}")) }
}
