//! Proof, offline, that what the roster says of a coin is what was trained: roster → champion → model
//! folder → manifest → encoder → promotions, and the candles through a question to the caller.
//!
//! A check that fails never hides the next: every row that can still be asked is asked.

use huracan_core::words::Symbol;

use crate::digest::{is_hex, sha256_hex};
use crate::error::StoreError;
use crate::formats::champion::Champion;
use crate::formats::manifest::{ARTIFACTS, InputFile};
use crate::formats::promotion::EventKind;
use crate::formats::roster::RosterLine;
use crate::models::{self, Model};
use crate::path::StorePath;
use crate::store::Store;
use crate::{bank, champions, encoder, meta_learner, promotions, roster, trials};

/// What was checked of one coin.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// The coin.
    pub symbol: Symbol,
    /// One row a check, in the order of the walk.
    pub rows: Vec<Row>,
}

/// One check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// What was asked: a stable name, for example `model.bin sha256`.
    pub check: String,
    /// Whether it held.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl Report {
    /// Whether every check held (and there was one).
    pub fn is_ok(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.ok)
    }

    fn row(&mut self, check: &str, ok: bool, found: impl ToString, expected: impl ToString) {
        self.rows.push(Row {
            check: check.to_owned(),
            ok,
            found: found.to_string(),
            expected: expected.to_string(),
        });
    }

    fn same(&mut self, check: &str, found: impl ToString, expected: impl ToString) {
        let (found, expected) = (found.to_string(), expected.to_string());
        self.row(check, found == expected, found, expected);
    }

    /// A thing that must be readable: notes that it is, or why not.
    fn readable<T>(&mut self, check: &str, found: Result<Option<T>, StoreError>) -> Option<T> {
        self.rows.push(readable(check, &found));
        found.ok().flatten()
    }
}

/// Walks what belongs to no single coin: the encoder in force with the copies that readers outside
/// read, the feature bank, the meta learner, and the ledger of trials.
///
/// A run without shared codes leaves no encoder, and not every run has weights for a meta learner; bank
/// and ledger are of every run that published.
pub fn verify_shared(store: &dyn Store) -> Vec<Row> {
    let optional = |check: &str, found: Result<bool, StoreError>| readable(check, &found.map(Some));
    let expected = |check: &str, found: Result<bool, StoreError>| {
        readable(check, &found.map(|is_there| is_there.then_some(())))
    };
    vec![
        optional("encoder in force", encoder::whole_in_force(store).map(|found| found.is_some())),
        expected("feature bank", bank::read(store).map(|found| found.is_some())),
        optional("meta learner", meta_learner::read(store).map(|found| found.is_some())),
        expected("trials chain", trials::read(store).map(|lines| !lines.is_empty())),
    ]
}

/// Whether a thing can be read, or why not.
fn readable<T>(check: &str, found: &Result<Option<T>, StoreError>) -> Row {
    let text = match found {
        Ok(Some(_)) => "readable".to_owned(),
        Ok(None) => "nothing there".to_owned(),
        Err(error) => error.to_string(),
    };
    let ok = matches!(found, Ok(Some(_)));
    Row { check: check.to_owned(), ok, found: text, expected: "readable".to_owned() }
}

/// The SHA-256 of a candle file as it is now; `Err` says why it cannot be had.
pub type CandleHash<'a> = dyn Fn(&InputFile) -> Result<String, String> + 'a;

/// Walks everything the store says of a coin. `candle_sha256` hashes one input file of the caller's
/// candle folder; without it the candles are not checked.
pub fn verify_symbol(store: &dyn Store, symbol: &Symbol, candle_sha256: Option<&CandleHash<'_>>) -> Report {
    let mut report = Report { symbol: symbol.clone(), rows: Vec::new() };
    let line = roster_line(&mut report, store);
    let found = champions::read(store, symbol).map(|found| found.map(|(champion, _)| champion));
    let Some(champion) = report.readable("champion", found) else { return report };
    if let Some(line) = line {
        compare_roster(&mut report, &line, &champion);
    }
    compare_log(&mut report, store, &champion);

    let Ok(folder) = StorePath::new(champion.model_path.clone()) else { return report };
    check_files(&mut report, store, &folder);
    let model = report.readable("model folder", models::read_model(store, &folder).map(Some));
    if let Some(model) = &model {
        compare_model(&mut report, &champion, model);
    }
    if let Some(id) = &champion.encoder_id {
        let found = encoder::load(store, id).map(|encoder| Some(encoder.card.encoder_id));
        if let Some(found) = report.readable("encoder", found) {
            report.same("encoder_id of the encoder's content", found, id);
        }
    }
    if let (Some(model), Some(hash)) = (&model, candle_sha256) {
        for input in &model.manifest.lineage.inputs {
            let found = hash(input).unwrap_or_else(|reason| reason);
            let ok = is_hex(&found, 64) && found == input.sha256;
            report.row(&format!("candles {}", input.path), ok, found, &input.sha256);
        }
    }
    report
}

fn roster_line(report: &mut Report, store: &dyn Store) -> Option<RosterLine> {
    let (roster, _) = report.readable("roster", roster::read(store))?;
    let symbol = report.symbol.to_string();
    let skipped = roster.skipped.iter().find(|line| line.symbol == symbol);
    let failed = roster.failed.iter().find(|line| line.symbol == symbol);
    let line = roster.symbols.into_iter().find(|line| line.symbol.0 == report.symbol);
    let found = match (&line, skipped, failed) {
        (Some(line), ..) => format!("rank {}", line.rank),
        (_, Some(_), _) => "skipped".to_owned(),
        (.., Some(failed)) => format!("failed in {}", failed.step),
        _ => "not there".to_owned(),
    };
    report.row("roster line", line.is_some(), found, "a rank");
    line
}

fn compare_roster(report: &mut Report, line: &RosterLine, champion: &Champion) {
    report.same("roster model_path", &line.model_path, &champion.model_path);
    report.same("roster model_sha256", &line.model_sha256, &champion.model_sha256);
    report.same("roster encoder_id", text(&line.encoder_id), text(&champion.encoder_id));
    report.same("roster trade_ok", line.trade_ok, champion.trade_ok);
    let figures = (line.metrics.without_window(), champion.metrics.without_window());
    report.same("roster metrics", format!("{:?}", figures.0), format!("{:?}", figures.1));
}

fn compare_log(report: &mut Report, store: &dyn Store, champion: &Champion) {
    let found = promotions::read(store).map(Some);
    let Some(log) = report.readable("promotions chain", found) else { return };
    let latest = log
        .iter()
        .rev()
        .map(|line| &line.event)
        .find(|event| event.symbol == champion.symbol && event.event != EventKind::Reject);
    let found = latest.and_then(|event| event.after_model_path.clone());
    report.same("promotions model_path", text(&found), &champion.model_path);
}

/// Each artifact against the manifest, a row each, even when one of them is broken.
fn check_files(report: &mut Report, store: &dyn Store, folder: &StorePath) {
    let found = models::read_manifest(store, folder).map(Some);
    let Some(manifest) = report.readable("manifest", found) else { return };
    for name in ARTIFACTS {
        let expected = &manifest.files[name];
        let object = folder.join(name).and_then(|path| store.get(&path));
        let found = match object {
            Ok(Some(object)) => format!("{} ({} bytes)", sha256_hex(&object.bytes), object.bytes.len()),
            Ok(None) => "nothing there".to_owned(),
            Err(error) => error.to_string(),
        };
        report.same(
            &format!("{name} sha256"),
            found,
            format!("{} ({} bytes)", expected.sha256, expected.size_bytes),
        );
    }
}

fn compare_model(report: &mut Report, champion: &Champion, model: &Model) {
    let lineage = &model.manifest.lineage;
    report.same("champion model_sha256", &champion.model_sha256, &model.manifest.files["model.bin"].sha256);
    report.same("champion feature_recipe_hash", &champion.feature_recipe_hash, &lineage.features_id);
    report.same("champion encoder_id", text(&champion.encoder_id), text(&lineage.encoder_id));
    let figures = (champion.metrics.without_window(), model.artifacts.metrics.figures().without_window());
    report.same("champion metrics", format!("{:?}", figures.0), format!("{:?}", figures.1));
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::samples;
    use crate::store::PutMode;

    fn symbol() -> Symbol {
        "BTCUSDT".parse().unwrap()
    }

    fn broken(report: &Report) -> Vec<&str> {
        report.rows.iter().filter(|row| !row.ok).map(|row| row.check.as_str()).collect()
    }

    #[test]
    fn a_published_coin_verifies_down_to_its_candles() {
        let store = MemoryStore::default();
        samples::publish_all(&store).unwrap();
        let right = |input: &InputFile| Ok(input.sha256.clone());
        let report = verify_symbol(&store, &symbol(), Some(&right));
        assert!(report.is_ok(), "{:#?}", report.rows);
        assert!(report.rows.len() >= 20, "{}", report.rows.len());
    }

    #[test]
    fn every_kind_of_tampering_shows_in_its_own_row() {
        let check = |path: &str, spoil: fn(String) -> String, expected: &str| {
            let store = MemoryStore::default();
            samples::publish_all(&store).unwrap();
            let path = StorePath::new(path).unwrap();
            let whole = String::from_utf8(store.get(&path).unwrap().unwrap().bytes).unwrap();
            let spoiled = spoil(whole.clone());
            assert_ne!(whole, spoiled, "{path}");
            store.put(&path, spoiled.as_bytes(), PutMode::Overwrite).unwrap();
            let report = verify_symbol(&store, &symbol(), None);
            assert!(broken(&report).contains(&expected), "{path}: {:?}", broken(&report));
        };
        let folder = "models/BTCUSDT/baseline_20250801";
        check(&format!("{folder}/metrics.json"), |t| t.replace("12.5", "99.5"), "metrics.json sha256");
        check(
            &format!("{folder}/costs.json"),
            |t| t.replace("\"BTCUSDT\"", "\"BTCUSDC\""),
            "costs.json sha256",
        );
        check(&format!("{folder}/manifest.json"), |t| t.replace("\"seed\": 7", "\"seed\": -7"), "manifest");
        check("champions/BTCUSDT.json", |t| t.replace("12.5", "99.5"), "champion metrics");
        check("champions/roster.json", |t| t.replace("\"sharpe\": 1.5", "\"sharpe\": 2.5"), "roster metrics");
        check("champions/promotions.jsonl", |t| t.replace("first", "second"), "promotions chain");
        let card = format!("meta/encoders/{}/shared_encoder.json", samples::encoder().card.encoder_id);
        check(&card, |t| t.replace("rsi_14", "rsi_15"), "encoder");
    }

    #[test]
    fn what_belongs_to_no_coin_shows_when_it_is_torn_or_gone() {
        let store = MemoryStore::default();
        samples::publish_all(&store).unwrap();
        meta_learner::publish(&store, &samples::meta_learner()).unwrap();
        trials::append(&store, &samples::run_trials()).unwrap();
        let bad = |store: &MemoryStore| -> Vec<String> {
            verify_shared(store).into_iter().filter(|row| !row.ok).map(|row| row.check).collect()
        };
        assert!(bad(&store).is_empty(), "{:#?}", verify_shared(&store));
        for (path, check, may_go) in [
            ("meta/shared_encoder.safetensors", "encoder in force", false),
            ("meta/shared_encoder.pkl", "encoder in force", false),
            ("meta/feature_bank.json", "feature bank", false),
            ("meta/meta_learner.json", "meta learner", true),
            ("champions/trials.jsonl", "trials chain", false),
        ] {
            let path = StorePath::new(path).unwrap();
            let whole = store.get(&path).unwrap().unwrap().bytes;
            store.put(&path, &whole[..whole.len() / 2], PutMode::Overwrite).unwrap();
            assert_eq!(bad(&store), [check], "{path}");
            store.delete(&path).unwrap();
            assert_eq!(bad(&store).is_empty(), may_go, "{path}");
            store.put(&path, &whole, PutMode::Create).unwrap();
        }
    }

    #[test]
    fn candles_that_changed_or_went_show() {
        let store = MemoryStore::default();
        samples::publish_all(&store).unwrap();
        let gone = |_: &InputFile| Err("no such file".to_owned());
        let report = verify_symbol(&store, &symbol(), Some(&gone));
        assert_eq!(broken(&report), ["candles BTCUSDT/2025-07.parquet"]);
        assert_eq!(report.rows.last().unwrap().found, "no such file");
    }

    #[test]
    fn a_coin_nobody_trained_fails_with_a_reason() {
        let store = MemoryStore::default();
        let report = verify_symbol(&store, &symbol(), None);
        assert_eq!(broken(&report), ["roster", "champion"]);
        samples::publish_all(&store).unwrap();
        let skipped = verify_symbol(&store, &"LUNAUSDT".parse().unwrap(), None);
        assert_eq!(skipped.rows[1].found, "skipped");
        assert!(!skipped.is_ok());
    }
}
