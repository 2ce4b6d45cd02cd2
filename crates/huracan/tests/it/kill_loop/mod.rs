//! The kill loop: runs are killed at seeded instants, over and over, and nothing may come of it.
//!
//! A *life* is one store from empty to complete. Between start and end a [`Scenario`] disturbs it a
//! few times; after each disturbance the dead store is looked at as it lies, before anybody repairs
//! anything. Then a run is let through, and its store is held byte for byte against the store of a run
//! that nobody disturbed. What a scenario does (kill the coordinator, start a second one, kill a
//! worker) is its own affair; what must hold is the same for all.

pub mod dead_store;
pub mod process;
pub mod scenarios;
pub mod table;

use crate::contents::{CLOCKED, files};
use dead_store::Snapshot;
use huracan_core::words::Seed;
use process::{Bench, Ran};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Seeded numbers, each drawn once.
pub struct Dice {
    seed: Seed,
    drawn: u64,
}

impl Dice {
    /// Dice of a seed.
    pub fn new(seed: Seed) -> Dice {
        Dice { seed, drawn: 0 }
    }

    /// From 0 to below 1.
    pub fn share(&mut self) -> f64 {
        self.drawn += 1;
        // 53 bits: every one of them fits a f64.
        (self.seed.child("kill loop", self.drawn).0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.share() * end as f64) as u64
    }

    /// From zero to below `end`.
    pub fn time(&mut self, end: Duration) -> Duration {
        end.mul_f64(self.share())
    }
}

/// How long a run takes here and now.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From the start of the process to its end.
    pub wall: Duration,
    /// From the first word of the publication to the end of the process.
    pub publish: Duration,
}

impl Pace {
    /// The pace of a run that went all the way; `None` of any other.
    fn of(ran: &Ran) -> Option<Pace> {
        let (_, began) = ran.stages.iter().find(|(name, _)| name == "publish")?;
        (ran.code == Some(0)).then(|| Pace { wall: ran.wall, publish: ran.wall.saturating_sub(*began) })
    }
}

/// What an undisturbed run looks like: what all others are held against.
pub struct Reference {
    /// The store that a life begins with; `None` begins with nothing.
    pub start: Option<PathBuf>,
    /// Its store without what carries the clock.
    pub files: BTreeMap<String, Vec<u8>>,
    /// How long it took.
    pub pace: Pace,
    /// Processor seconds by its own profile.
    pub cpu_s: f64,
}

impl Reference {
    /// Makes the run, in a store of its own.
    ///
    /// # Errors
    /// When it does not succeed.
    pub fn make(bench: &Bench, store: &Path, start: Option<&Path>) -> Result<Reference, String> {
        begin(store, start)?;
        let running = bench.start(store)?;
        let ran = running.let_through()?;
        if ran.code != Some(0) {
            return Err(format!("the undisturbed run ended with {:?}: {}{}", ran.code, ran.out, ran.notes));
        }
        let pace = Pace::of(&ran).ok_or("the undisturbed run did not say when it published")?;
        let cpu_s = dead_store::cpu_s(store).ok_or("the undisturbed run left no profile")?;
        let files = files(store, &CLOCKED);
        if files.len() < 20 {
            return Err(format!("the undisturbed run left only {} files", files.len()));
        }
        Ok(Reference { start: start.map(Path::to_owned), files, pace, cpu_s })
    }
}

/// What is done to a run.
pub trait Scenario {
    /// Its line in the table.
    fn name(&self) -> &'static str;

    /// Disturbs the store once: starts what is to be killed and kills it, or lets it end when it is
    /// faster. Counts in `tally` what it did; nothing of its own is alive when it returns.
    ///
    /// # Errors
    /// When a process cannot be started or does what it never may.
    fn disturb(&mut self, scene: &Scene<'_>, dice: &mut Dice, tally: &mut Tally) -> Result<(), String>;

    /// What the processes of a new life are told by their environment, beside what all are.
    fn begin_life(&mut self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Whether it takes pieces of finished work away, which then are made again.
    fn tears(&self) -> bool {
        false
    }

    /// Spoils what a dying machine may spoil, after the dead store was looked at: nothing, unless the
    /// scenario says otherwise.
    ///
    /// # Errors
    /// When the disk refuses.
    fn spoil(&mut self, _store: &Path, _dice: &mut Dice, _tally: &mut Tally) -> Result<(), String> {
        Ok(())
    }
}

/// Where a scenario acts.
pub struct Scene<'a> {
    /// How runs are started.
    pub bench: &'a Bench,
    /// What they publish into.
    pub store: &'a Path,
    /// How long a run takes, by the latest one that went all the way: the machine may be busy with
    /// other things for a while, and instants shall stay within a run.
    pub pace: Pace,
}

/// What was counted of one scenario.
#[derive(Default)]
pub struct Tally {
    /// Processes killed by SIGKILL while they worked.
    pub kills: u64,
    /// Kills by the stage that was under way.
    pub kills_by_stage: BTreeMap<String, u64>,
    /// Second runs that were turned away.
    pub refused: u64,
    /// Stores brought from empty to complete.
    pub completed: u64,
    /// Dead stores looked at.
    pub looked_at: u64,
    /// Temporary files that writers left when they died.
    pub temporaries: u64,
    /// Files torn on purpose: temporaries, scratch, and whatever no manifest vouches for yet.
    pub torn: u64,
    /// Pointers that named something missing or partial.
    pub dangling: Vec<String>,
    /// Acknowledged work that was gone or done again.
    pub lost: Vec<String>,
    /// Work that is there twice.
    pub duplicated: Vec<String>,
    /// Files that differ from the undisturbed run, with the number of bytes.
    pub differing: Vec<(String, u64)>,
    /// Completed stores that did not verify, or in which a further run found something to do.
    pub unverified: Vec<String>,
    /// Share of an undisturbed run's processor time that each completing run had not to spend.
    pub resumed: Vec<f64>,
    /// Wall time of each completing run.
    pub recovery: Vec<Duration>,
    /// The latest run that went all the way.
    pace: Option<Pace>,
}

impl Tally {
    /// Counts a killed process; one that ended by itself counts nothing, but shows the pace.
    pub fn killed(&mut self, ran: &Ran) {
        self.pace = Pace::of(ran).or(self.pace);
        if ran.killed {
            self.kills += 1;
            *self.kills_by_stage.entry(ran.stage().to_owned()).or_default() += 1;
        }
    }

    /// Bytes that differ.
    pub fn differing_bytes(&self) -> u64 {
        self.differing.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Everything that may not be, in words.
    pub fn violations(&self) -> Vec<String> {
        let kinds = [
            ("dangling", &self.dangling),
            ("lost", &self.lost),
            ("duplicated", &self.duplicated),
            ("not verified", &self.unverified),
        ];
        let named = |(kind, all): (&str, &Vec<String>)| -> Vec<String> {
            all.iter().map(|text| format!("{kind}: {text}")).collect()
        };
        let differing = self.differing.iter().map(|(name, bytes)| format!("differs: {name}, {bytes} bytes"));
        kinds.into_iter().flat_map(named).chain(differing).collect()
    }
}

/// Most disturbances of one store before it is left in peace.
const DISTURBANCES_MAX: u64 = 6;

/// Disturbs stores below `place` until `kills` processes were killed.
///
/// # Errors
/// When a process cannot be started or ends as it never may; a broken promise is a line of the tally.
pub fn run(
    bench: &Bench,
    reference: &Reference,
    scenario: &mut dyn Scenario,
    place: &Path,
    kills: u64,
    seed: Seed,
) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut dice = Dice::new(seed.child(scenario.name(), 0));
    let store = place.join(scenario.name());
    while tally.kills < kills {
        let bench = &Bench { environment: scenario.begin_life(), ..bench.clone() };
        begin(&store, reference.start.as_deref())?;
        let mut before = Snapshot::take(&store)?;
        for _ in 0..=dice.below(DISTURBANCES_MAX) {
            if tally.kills >= kills {
                break;
            }
            let scene = Scene { bench, store: &store, pace: tally.pace.unwrap_or(reference.pace) };
            scenario.disturb(&scene, &mut dice, &mut tally)?;
            before = look(&store, before, &mut tally)?;
            scenario.spoil(&store, &mut dice, &mut tally)?;
        }
        complete(bench, &store, reference, before, &mut tally)?;
        if !scenario.tears() {
            tally.lost.extend(Snapshot::take(&store)?.made_again());
        }
        eprintln!(
            "{}: {} of {kills} killed, {} stores completed",
            scenario.name(),
            tally.kills,
            tally.completed
        );
        if !tally.violations().is_empty() {
            // The store stays as it is for whoever looks into it.
            break;
        }
        clear(&store)?;
    }
    Ok(tally)
}

/// Empties a store, then copies what it begins with.
fn begin(store: &Path, start: Option<&Path>) -> Result<(), String> {
    clear(store)?;
    for (name, bytes) in start.map(|start| files(start, &[])).unwrap_or_default() {
        let path = store.join(name);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let written = made.and_then(|()| std::fs::write(&path, bytes));
        written.map_err(|error| format!("{}: cannot be copied: {error}", path.display()))?;
    }
    Ok(())
}

fn clear(store: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(store) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: cannot be cleared: {error}", store.display()))
        }
        _ => Ok(()),
    }
}

/// Looks at a dead store: no pointer dangles, and nothing of what was acknowledged is gone.
fn look(store: &Path, before: Snapshot, tally: &mut Tally) -> Result<Snapshot, String> {
    let now = Snapshot::take(store)?;
    tally.looked_at += 1;
    tally.temporaries += now.temporaries;
    tally.dangling.extend(now.dangling());
    tally.lost.extend(now.lost_since(&before));
    tally.duplicated.extend(now.duplicated());
    Ok(now)
}

/// Lets a run through and holds its store against the undisturbed one.
fn complete(
    bench: &Bench,
    store: &Path,
    reference: &Reference,
    before: Snapshot,
    tally: &mut Tally,
) -> Result<(), String> {
    let began = Instant::now();
    let ran = bench.start(store)?.let_through()?;
    if ran.code != Some(0) {
        return Err(format!(
            "the run after the last kill ended with {:?}: {}{}",
            ran.code, ran.out, ran.notes
        ));
    }
    tally.recovery.push(began.elapsed());
    tally.pace = Pace::of(&ran).or(tally.pace);
    let spent_s = if ran.is_up_to_date() { 0.0 } else { dead_store::cpu_s(store).unwrap_or(f64::NAN) };
    tally.resumed.push((1.0 - spent_s / reference.cpu_s).max(0.0));
    let after = look(store, before, tally)?;
    if after.temporaries > 0 {
        tally.unverified.push(format!("{} temporary files are left", after.temporaries));
    }
    let found = files(store, &CLOCKED);
    tally.differing.extend(differing(&found, &reference.files));

    let verified = bench.huracan(&["verify", "all", "--store"], store)?;
    if verified.code != Some(0) {
        tally.unverified.push(format!("verify ended with {:?}: {}", verified.code, verified.out));
    }
    let again = bench.start(store)?.let_through()?;
    if again.code != Some(0) || !again.is_up_to_date() || files(store, &CLOCKED) != found {
        let said = format!("{:?}: {}{}", again.code, again.out, again.notes);
        tally.unverified.push(format!("a further run found something to do, {said}"));
    }
    tally.completed += 1;
    Ok(())
}

/// Every file that is not the same in both, with the number of bytes that differ.
pub fn differing(
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
) -> Vec<(String, u64)> {
    let names: std::collections::BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let empty = Vec::new();
    let bytes = |name: &String| {
        let (a, b) = (found.get(name).unwrap_or(&empty), expected.get(name).unwrap_or(&empty));
        let common = a.iter().zip(b).filter(|(a, b)| a != b).count();
        (common + a.len().abs_diff(b.len())) as u64
    };
    // An empty file that is in one of them only differs by its being there.
    let differs = |name: &&String| found.get(*name) != expected.get(*name);
    names.into_iter().filter(differs).map(|name| (name.clone(), bytes(name))).collect()
}
