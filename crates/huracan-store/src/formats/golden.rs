//! Golden files: every format as released. They must keep loading, and writing must reproduce their
//! bytes. `HURACAN_BLESS=1` writes them anew; review the difference like code.

use std::path::PathBuf;

use super::encoder::{EncoderCard, EncoderFile};
use super::head::HeadFile;
use super::promotion::Promotion;
use super::trials::TrialLine;
use super::{Document, from_bytes, from_lines, tensors, to_bytes, to_line};
use crate::error::{Result, StoreError};
use crate::samples;

/// Reads a file and writes again what it read.
type Rewrite = fn(&[u8]) -> Result<Vec<u8>>;

/// A file format under test: its golden name, today's bytes of the sample, and a reader that writes
/// again what it read (`None` for a file that is never read back).
pub(super) struct Format {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub rewrite: Option<Rewrite>,
}

fn document<D: Document>(name: &'static str, sample: &D) -> Format {
    Format {
        name,
        bytes: to_bytes(sample).unwrap(),
        rewrite: Some(|bytes| to_bytes(&from_bytes::<D>("golden", bytes)?)),
    }
}

fn lines<D: Document>(name: &'static str, sample: &[D]) -> Format {
    Format {
        name,
        bytes: sample.iter().flat_map(|line| to_line(line).unwrap()).collect(),
        rewrite: Some(|bytes| {
            let lines: Vec<Vec<u8>> =
                from_lines::<D>("golden", bytes)?.iter().map(to_line).collect::<Result<_>>()?;
            Ok(lines.concat())
        }),
    }
}

/// Every format there is.
pub(super) fn formats() -> Vec<Format> {
    let encoder = samples::encoder();
    let first = Promotion::chain(samples::promotion_event(), None).unwrap();
    let mut reject = samples::promotion_event();
    reject.event = super::promotion::EventKind::Reject;
    reject.before_model_path = reject.after_model_path.clone();
    let second = Promotion::chain(reject, Some(&first.hash)).unwrap();
    vec![
        document("metrics.json", &samples::metrics("BTCUSDT")),
        document("costs.json", &samples::costs("BTCUSDT")),
        document("features.json", &samples::features("BTCUSDT")),
        document("manifest.json", &samples::manifest()),
        Format {
            name: "model.bin",
            bytes: samples::head("BTCUSDT").to_bytes().unwrap(),
            rewrite: Some(|bytes| HeadFile::from_bytes("golden", bytes)?.to_bytes()),
        },
        document("champion.json", &samples::champion()),
        document("roster.json", &samples::roster()),
        lines("promotions.jsonl", &[first, second]),
        lines("trials.jsonl", &[TrialLine::chain(samples::run_trials(), None).unwrap()]),
        document("shared_encoder.json", &encoder.card),
        Format {
            name: "shared_encoder.safetensors",
            bytes: encoder.tensor_bytes().unwrap(),
            rewrite: Some(|bytes| {
                let (arrays, texts) = tensors::read(bytes).map_err(|e| StoreError::corrupt("golden", e))?;
                tensors::write(&arrays, &texts).map_err(|e| StoreError::corrupt("golden", e))
            }),
        },
        Format { name: "shared_encoder.pkl", bytes: encoder.pickle_bytes().unwrap(), rewrite: None },
        document("feature_bank.json", &samples::feature_bank()),
        document("meta_learner.json", &samples::meta_learner()),
        document("run.json", &samples::run()),
        lines("events.jsonl", &[samples::job_event()]),
        lines("failures.jsonl", &[samples::failure()]),
        lines("unit_costs.jsonl", &[samples::unit_cost()]),
        document("profile.json", &samples::profile()),
        document("heartbeat.json", &samples::heartbeat()),
        document("overrides.json", &samples::overrides()),
    ]
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(name)
}

#[test]
fn every_released_file_still_loads_and_is_still_written_alike() {
    let bless = std::env::var("HURACAN_BLESS").is_ok_and(|value| value == "1");
    for Format { name, bytes, rewrite } in formats() {
        let path = golden(name);
        if bless {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let released = std::fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}; set HURACAN_BLESS=1"));
        let text = String::from_utf8_lossy(&bytes);
        assert!(released == bytes, "{name} is written differently now:\n{text}");
        if let Some(rewrite) = rewrite {
            assert!(rewrite(&released).unwrap() == released, "{name} changes when read and written");
        }
    }
}

/// Files as they were before fields were added: they load, and nothing is made up on the way back.
#[test]
fn files_from_before_a_field_was_added_still_load() {
    let files = [
        ("before_lanes", &["metrics.json", "feature_bank.json", "meta_learner.json"][..]),
        (
            "before_meters",
            &["run.json", "failures.jsonl", "unit_costs.jsonl", "profile.json", "heartbeat.json"][..],
        ),
    ];
    for (before, name) in
        files.iter().flat_map(|(before, names)| names.iter().map(move |name| (before, *name)))
    {
        let path = golden("").join(before).join(name);
        let released = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let rewrite = formats().into_iter().find(|format| format.name == name).unwrap().rewrite.unwrap();
        assert!(rewrite(&released).unwrap() == released, "{name} changes when read and written");
    }
}

#[test]
fn the_released_encoder_is_whole() {
    let read = |name: &str| std::fs::read(golden(name)).unwrap();
    let card: EncoderCard = from_bytes("golden", &read("shared_encoder.json")).unwrap();
    EncoderFile::assemble("golden", card, &read("shared_encoder.safetensors")).unwrap();
}
