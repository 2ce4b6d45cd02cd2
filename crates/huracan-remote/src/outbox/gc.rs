//! What nothing reaches any more, and removing it.
//!
//! [`plan`] is pure: an inventory and rules in, what stays and what goes out, each with the reason.
//! Whatever it does not know stays. `run.json` of every run stays: how far a growing universe has come
//! is counted from them.

use super::kind::{Kind, folder_of, seal_of};
use huracan_core::words::UtcMs;
use huracan_store::formats::encoder::EncoderCard;
use huracan_store::formats::from_bytes;
use huracan_store::{
    Result, RunOwner, Store, StoreError, StorePath, champions, encoder, models, promotions, roster, runs,
    work,
};
use std::collections::{BTreeMap, BTreeSet};

/// What must be kept besides what is in force.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rules {
    /// The moment it is judged at.
    pub now: UtcMs,
    /// Models of promotions, and papers of runs, are kept for so long.
    pub retention_days: f64,
    /// The last so many runs are kept with everything they made.
    pub runs_kept: usize,
    /// Whatever is younger stays: somebody may be about to point at it.
    pub grace_days: f64,
}

/// A folder that may be removed: a model, a challenger, an encoder, the papers of a run, or what machines left
/// for each other in one.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Folder {
    /// Its files and their bytes; for a run without `run.json`.
    pub files: Vec<(StorePath, u64)>,
    /// Whether it was sealed; papers of runs always are.
    pub is_whole: bool,
    /// The latest moment its name or its manifest says anything of; `None` where neither does.
    pub dated: Option<UtcMs>,
    /// The run that made it.
    pub run_id: Option<String>,
    /// The encoder it needs.
    pub encoder_id: Option<String>,
}

/// What is in a store, as far as removing is concerned.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Inventory {
    /// Every folder that may be removed, by its path.
    pub folders: BTreeMap<StorePath, Folder>,
    /// What somebody points at, by the folder's path, with who and why.
    pub pointed_at: Vec<(StorePath, String)>,
    /// Models named by promotions: the folder, when, and which event.
    pub promoted: Vec<(StorePath, UtcMs, String)>,
    /// Runs, oldest first.
    pub runs: Vec<String>,
    /// Runs whose papers somebody needs, with the reason.
    pub runs_needed: Vec<(String, String)>,
}

/// What is to become of every folder.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// What stays, with the first reason.
    pub keep: Vec<(StorePath, String)>,
    /// What goes, with its bytes and the reason.
    pub remove: Vec<(StorePath, u64, String)>,
}

impl Plan {
    /// Bytes that go.
    pub fn bytes(&self) -> u64 {
        self.remove.iter().map(|(_, bytes, _)| bytes).sum()
    }
}

/// Decides what stays and what goes.
pub fn plan(inventory: &Inventory, rules: &Rules) -> Plan {
    let before = |days: f64| UtcMs(rules.now.0 - (days * UtcMs::DAY as f64) as i64);
    let (retained, young) = (before(rules.retention_days), before(rules.grace_days));
    let last_runs: BTreeSet<&str> =
        inventory.runs.iter().rev().take(rules.runs_kept).map(String::as_str).collect();
    let mut why: BTreeMap<&StorePath, String> = BTreeMap::new();
    let mut keep = |path, reason: String| {
        why.entry(path).or_insert(reason);
    };
    for (path, reason) in &inventory.pointed_at {
        keep(path, reason.clone());
    }
    for (path, at, event) in inventory.promoted.iter().filter(|(_, at, _)| *at >= retained) {
        keep(path, format!("{event} at {at} is younger than {} days", rules.retention_days));
    }
    let run_of = |path: &StorePath| path.as_str().strip_prefix("runs/").map(str::to_owned);
    for (path, folder) in &inventory.folders {
        let run_id = run_of(path).or_else(|| folder.run_id.clone());
        if let Some(run) = run_id.as_deref().filter(|run| last_runs.contains(run)) {
            keep(path, format!("run {run} is one of the last {}", rules.runs_kept));
        }
        match folder.dated {
            None => keep(path, "neither its name nor its manifest says how old it is".to_owned()),
            Some(dated) if dated >= young => {
                keep(path, format!("it is of {dated}, younger than {} days", rules.grace_days));
            }
            Some(dated) if dated >= retained && run_of(path).is_some() => {
                keep(path, format!("it is of {dated}, younger than {} days", rules.retention_days));
            }
            Some(_) => {}
        }
        if let Some((_, reason)) =
            inventory.runs_needed.iter().find(|(run, _)| Some(run) == run_of(path).as_ref())
        {
            keep(path, reason.clone());
        }
    }
    // An encoder is needed as long as a model that needs it is kept.
    let needed: Vec<(StorePath, String)> = why
        .keys()
        .filter_map(|path| {
            let id = inventory.folders.get(*path)?.encoder_id.as_ref()?;
            let encoder = StorePath::new(format!("meta/encoders/{id}")).ok()?;
            Some((encoder, format!("{path} needs it")))
        })
        .collect();
    for (path, reason) in &needed {
        why.entry(path).or_insert_with(|| reason.clone());
    }
    let mut plan = Plan::default();
    for (path, folder) in &inventory.folders {
        match why.get(path) {
            Some(reason) => plan.keep.push((path.clone(), reason.clone())),
            None => {
                let reason = match (folder.is_whole, run_of(path)) {
                    (_, Some(_)) => format!("papers of a run older than {} days", rules.retention_days),
                    (false, None) if is_work(path) => "left in a run that does not go on".to_owned(),
                    (false, None) => "it was never finished".to_owned(),
                    (true, None) => {
                        "no champion, no one before, no promotion in time and no kept run reaches it"
                            .to_owned()
                    }
                };
                let bytes = folder.files.iter().map(|(_, bytes)| bytes).sum();
                plan.remove.push((path.clone(), bytes, reason));
            }
        }
    }
    plan
}

/// Looks at a store.
///
/// # Errors
/// What the store refuses, and a pointer, log or roster that cannot be read: what it names is not known
/// then, and nothing may be removed.
pub fn inventory(store: &dyn Store) -> Result<Inventory> {
    let mut inventory = Inventory::default();
    for entry in store.list(None)? {
        let folder = match Kind::of(&entry.path) {
            Some(kind) if kind.is_sealed() => folder_of(&entry.path),
            Some(Kind::Record) if entry.path.segments().count() >= 3 && !is_run_record(&entry.path) => {
                let id = entry.path.segments().nth(1).unwrap_or_default();
                Some(StorePath::new(format!("runs/{id}"))?)
            }
            _ => work::folder_of(&entry.path),
        };
        if let Some(folder) = folder {
            inventory.folders.entry(folder).or_default().files.push((entry.path, entry.size_bytes));
        }
    }
    for (path, folder) in &mut inventory.folders {
        look_into(store, path, folder)?;
    }
    for symbol in champions::list(store)? {
        let Some((champion, _)) = champions::read(store, &symbol)? else { continue };
        let mut point = |path: &str, encoder: &Option<String>, why: &str| -> Result<()> {
            inventory.pointed_at.push((StorePath::new(path)?, format!("{why} of {symbol}")));
            if let Some(id) = encoder {
                let path = StorePath::new(format!("meta/encoders/{id}"))?;
                inventory.pointed_at.push((path, format!("encoder of the {why} of {symbol}")));
            }
            Ok(())
        };
        point(&champion.model_path, &champion.encoder_id, "champion")?;
        if let Some(previous) = &champion.previous {
            point(&previous.model_path, &previous.encoder_id, "model before the champion")?;
        }
        let folder = StorePath::new(champion.model_path.as_str())?;
        if let Some(run) = inventory.folders.get(&folder).and_then(|folder| folder.run_id.clone()) {
            inventory.runs_needed.push((run, format!("the champion of {symbol} is of it")));
        }
    }
    if let Some(encoder) = encoder::in_force(store)? {
        let path = StorePath::new(format!("meta/encoders/{}", encoder.card.encoder_id))?;
        inventory.pointed_at.push((path, "the encoder in force".to_owned()));
    }
    if let Some((roster, _)) = roster::read(store)? {
        inventory.runs_needed.push((roster.run_id.clone(), "the roster is of it".to_owned()));
        for line in &roster.symbols {
            let path = StorePath::new(line.model_path.as_str())?;
            inventory.pointed_at.push((path, format!("the roster's model of {}", line.symbol)));
        }
    }
    for line in promotions::read(store)? {
        let event = &line.event;
        for path in [&event.before_model_path, &event.after_model_path].into_iter().flatten() {
            let what = format!("a decision about {}", event.symbol);
            inventory.promoted.push((StorePath::new(path.as_str())?, event.at.0, what));
        }
    }
    inventory.runs = runs::list(store)?;
    Ok(inventory)
}

fn is_work(path: &StorePath) -> bool {
    path.segments().next() == Some(work::FOLDER)
}

fn is_run_record(path: &StorePath) -> bool {
    path.segments().count() == 3 && path.name() == "run.json"
}

/// Age, run and encoder of a folder, from its name and its manifest.
fn look_into(store: &dyn Store, path: &StorePath, folder: &mut Folder) -> Result<()> {
    let name = path.name();
    if path.as_str().starts_with("runs/") {
        folder.is_whole = true;
        folder.dated = stamped(name);
        // The record knows when it ran; the name only where its data ends.
        if let Ok(run) = runs::read(store, name) {
            let ended = run.finished_at.unwrap_or(run.started_at).0;
            folder.dated = folder.dated.max(Some(ended));
        }
        return Ok(());
    }
    if is_work(path) {
        // The one who coordinates says so before anybody leaves anything; what comes when a run is over and
        // has cleared its folder is nobody's.
        let says = folder.files.iter().any(|(file, _)| file.name() == work::BEGUN);
        folder.dated = if says { work::begun(store, path)? } else { Some(UtcMs(i64::MIN)) };
        return Ok(());
    }
    let seal = seal_of(path)?;
    folder.is_whole = folder.files.iter().any(|(file, _)| *file == seal);
    if path.as_str().starts_with("meta/encoders/") {
        if let Some(object) = store.get(&seal)?
            && let Ok(card) = from_bytes::<EncoderCard>(&seal, &object.bytes)
        {
            folder.dated = Some(card.trained_at.0);
        }
        return Ok(());
    }
    folder.dated = stamped(name.strip_prefix("baseline_").unwrap_or(name));
    match models::read_manifest(store, path) {
        Ok(manifest) => {
            folder.dated = folder.dated.max(Some(manifest.lineage.last_bar.0));
            folder.encoder_id = manifest.lineage.encoder_id;
            folder.run_id = Some(manifest.lineage.run_id);
        }
        Err(StoreError::NotFound { .. } | StoreError::Corrupt { .. } | StoreError::NewerFormat { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The end of the day a name begins with, `YYYYMMDD…`.
fn stamped(name: &str) -> Option<UtcMs> {
    let digits = name.get(..8).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    let date = format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]);
    date.parse::<UtcMs>().ok().map(|day| UtcMs(day.0 + UtcMs::DAY))
}

/// Plans and, where `remove` says so, removes: the seal of a folder first, so that what is left of one
/// when this is cut off is no folder any more. The store is claimed meanwhile, so that no run is
/// publishing into it.
///
/// # Errors
/// `Locked` while a run holds the store, and what [`inventory`] and the store refuse.
pub fn collect(
    store: &dyn Store,
    rules: &Rules,
    owner: &RunOwner,
    remove: bool,
    watch: &dyn Fn(usize, usize),
) -> Result<Plan> {
    let claimed = store.lock_run(owner)?;
    let inventory = inventory(store)?;
    let mut plan = plan(&inventory, rules);
    if remove {
        let chosen = std::mem::take(&mut plan.remove);
        let total = chosen.len();
        for (done, (path, bytes, reason)) in chosen.into_iter().enumerate() {
            watch(done, total);
            if !claimed.still_held() {
                let holder = "this claim ran out while its process was held up".to_owned();
                return Err(StoreError::Locked { holder });
            }
            // Runs of this folder's kind hold no claim here: one may have been taken up since.
            let dated = inventory.folders.get(&path).and_then(|folder| folder.dated);
            if is_work(&path) && work::begun(store, &path)?.is_some_and(|begun| Some(begun) != dated) {
                plan.keep.push((path, "its run has been taken up".to_owned()));
                continue;
            }
            let path = &path;
            let seal = seal_of(path)?;
            let files = inventory.folders.get(path).map(|folder| folder.files.as_slice()).unwrap_or_default();
            if files.iter().any(|(file, _)| *file == seal) {
                store.delete(&seal)?;
            }
            // What says how old a folder is goes last.
            let rest = files.iter().map(|(file, _)| file).filter(|file| **file != seal);
            let (dates, rest): (Vec<_>, Vec<_>) = rest.partition(|file| file.name() == work::BEGUN);
            rest.into_iter().chain(dates).try_for_each(|file| store.delete(file))?;
            plan.remove.push((path.clone(), bytes, reason));
        }
        watch(total, total);
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UtcMs = UtcMs(1_754_006_400_000);

    fn rules() -> Rules {
        Rules { now: NOW, retention_days: 30.0, runs_kept: 2, grace_days: 3.0 }
    }

    fn at(text: &str) -> StorePath {
        StorePath::new(text).unwrap()
    }

    fn days_ago(days: f64) -> UtcMs {
        UtcMs(NOW.0 - (days * UtcMs::DAY as f64) as i64)
    }

    fn model(days: f64, run: &str, encoder: &str) -> Folder {
        Folder {
            files: vec![(at("models/A/x/model.bin"), 10), (at("models/A/x/manifest.json"), 1)],
            is_whole: true,
            dated: Some(days_ago(days)),
            run_id: Some(run.to_owned()),
            encoder_id: Some(encoder.to_owned()),
        }
    }

    #[test]
    fn every_reason_to_keep_keeps_and_what_has_none_goes() {
        let encoder = |days: f64| Folder { dated: Some(days_ago(days)), is_whole: true, ..Folder::default() };
        let inventory = Inventory {
            folders: BTreeMap::from([
                (at("models/A/champion"), model(90.0, "r1", "e1")),
                (at("models/A/promoted"), model(90.0, "r1", "e2")),
                (at("models/A/forgotten"), model(90.0, "r1", "e3")),
                (at("models/A/late"), model(90.0, "r3", "e1")),
                (at("models/A/young"), model(1.0, "r1", "e4")),
                (at("models/A/half"), Folder { is_whole: false, ..model(9.0, "r1", "e1") }),
                (at("models/A/ageless"), Folder { dated: None, ..model(9.0, "r1", "e1") }),
                (at("meta/encoders/e1"), encoder(90.0)),
                (at("meta/encoders/e2"), encoder(90.0)),
                (at("meta/encoders/e3"), encoder(90.0)),
                (at("meta/encoders/e4"), encoder(90.0)),
                (at("meta/encoders/e5"), encoder(90.0)),
                (at("runs/r0"), encoder(90.0)),
                (at("runs/r1"), encoder(90.0)),
                (at("runs/r2"), encoder(90.0)),
                (at("runs/r3"), encoder(90.0)),
            ]),
            pointed_at: vec![(at("models/A/champion"), "champion".to_owned())],
            promoted: vec![
                (at("models/A/promoted"), days_ago(29.0), "promote".to_owned()),
                (at("models/A/forgotten"), days_ago(31.0), "promote".to_owned()),
            ],
            runs: ["r0", "r1", "r2", "r3"].map(str::to_owned).to_vec(),
            runs_needed: vec![("r1".to_owned(), "the roster is of it".to_owned())],
        };
        let plan = plan(&inventory, &rules());
        let gone: Vec<&str> = plan.remove.iter().map(|(path, _, _)| path.as_str()).collect();
        assert_eq!(
            gone,
            ["meta/encoders/e3", "meta/encoders/e5", "models/A/forgotten", "models/A/half", "runs/r0"]
        );
        assert_eq!(plan.bytes(), 22);
    }

    proptest! {
        /// Whatever is there: nothing is both kept and removed, nothing is forgotten, and neither a
        /// champion, nor the one before, nor their encoders, nor anything young ever goes.
        #[test]
        fn what_somebody_needs_never_goes(
            folders in prop::collection::vec((0.0..200.0f64, 0usize..6, 0usize..4, any::<bool>()), 1..40),
            pointed in prop::collection::vec(0usize..40, 0..8),
            promoted in prop::collection::vec((0usize..40, 0.0..200.0f64), 0..20),
            retention_days in 0.0..200.0f64,
            runs_kept in 0usize..8,
        ) {
            let name = |n: usize| at(&format!("models/A/{n}"));
            let mut inventory = Inventory { runs: (0..6).map(|n| format!("r{n}")).collect(), ..Inventory::default() };
            for (n, (days, run, encoder, is_whole)) in folders.iter().enumerate() {
                let folder = Folder { is_whole: *is_whole, ..model(*days, &format!("r{run}"), &format!("e{encoder}")) };
                inventory.folders.insert(name(n), folder);
            }
            for n in 0..4 {
                let folder = Folder { dated: Some(days_ago(199.0)), is_whole: true, ..Folder::default() };
                inventory.folders.insert(at(&format!("meta/encoders/e{n}")), folder);
            }
            inventory.pointed_at = pointed.iter().map(|n| (name(*n), "champion".to_owned())).collect();
            inventory.promoted =
                promoted.iter().map(|(n, days)| (name(*n), days_ago(*days), "promote".to_owned())).collect();
            let rules = Rules { retention_days, runs_kept, ..rules() };
            let plan = plan(&inventory, &rules);

            let kept: BTreeSet<&StorePath> = plan.keep.iter().map(|(path, _)| path).collect();
            let removed: BTreeSet<&StorePath> = plan.remove.iter().map(|(path, _, _)| path).collect();
            prop_assert!(kept.is_disjoint(&removed));
            prop_assert_eq!(kept.len() + removed.len(), inventory.folders.len());
            for n in pointed {
                prop_assert!(!removed.contains(&name(n)));
            }
            for (n, days) in promoted {
                prop_assert!(days >= retention_days || !removed.contains(&name(n)));
            }
            for (path, folder) in &inventory.folders {
                prop_assert!(folder.dated.unwrap() < days_ago(3.0) || kept.contains(path));
                if let Some(id) = folder.encoder_id.as_ref().filter(|_| kept.contains(path)) {
                    let encoder = at(&format!("meta/encoders/{id}"));
                    prop_assert!(kept.contains(&encoder));
                }
            }
            prop_assert!(plan.remove.iter().all(|(_, _, why)| !why.is_empty()));
        }
    }

    #[test]
    fn a_names_day_counts_to_its_end() {
        assert_eq!(stamped("20250801").unwrap().to_string(), "2025-08-02T00:00:00Z");
        assert_eq!(stamped("20250801T120000Z-0a1b2c3d"), stamped("20250801.2"));
        assert_eq!(stamped("latest"), None);
    }
}
