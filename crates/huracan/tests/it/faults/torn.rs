//! Published files that were torn after they were written: a bad disk, a half-synced copy. Every one is
//! noticed by `verify`, and none is used: the next run makes it good, or says which one it is.

use super::{bench, copy, published};
use crate::kill_loop::process::Ran;
use crate::market::{assert_same, files, fresh, spec, trained};
use std::path::{Path, PathBuf};

/// Cuts a file of a store in half; gives back what it held.
fn tear(path: &Path) -> Vec<u8> {
    let whole = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    std::fs::write(path, &whole[..whole.len() / 2]).unwrap();
    whole
}

fn verify(store: &Path) -> Ran {
    bench().huracan(&["verify", "all", "--json", "--store"], store).unwrap()
}

fn trained_copy(name: &str) -> PathBuf {
    let store = fresh(name).join("store");
    copy(trained(), &store);
    assert_eq!(verify(&store).code, Some(0));
    store
}

/// Paths below `top` that end so, relative to the store.
fn named(store: &Path, top: &str, end: &str) -> Vec<String> {
    let all = files(store, &[]).into_keys();
    all.filter(|name| name.starts_with(top) && name.ends_with(end)).collect()
}

#[test]
fn what_only_a_person_can_restore_is_refused_by_name_before_any_training() {
    let store = trained_copy("torn-refused");
    for name in [
        "champions/BTCUSDT.P.json",
        "champions/roster.json",
        "champions/promotions.jsonl",
        "champions/trials.jsonl",
        "meta/feature_bank.json",
    ] {
        let whole = tear(&store.join(name));
        assert!(matches!(verify(&store).code, Some(4 | 5)), "{name} is torn and verifies");
        let ran = bench().start(&store).unwrap().let_through().unwrap();
        assert_eq!((ran.code, ran.error().as_deref()), (Some(5), Some("store_corrupt")), "{name}: {ran:?}");
        let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let message = said["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(name) && !message.contains('\n'), "{message}");
        assert!(said["error"]["help"].as_str().is_some_and(|help| help.contains("verify")), "{said}");
        assert_eq!(ran.stage(), "before the first stage", "{name} was found after training");
        std::fs::write(store.join(name), whole).unwrap();
    }
    assert_eq!(verify(&store).code, Some(0));
    assert_same(&published(&store), &published(trained()));
}

#[test]
fn what_a_run_makes_is_made_again_in_the_same_bytes() {
    let store = trained_copy("torn-mended");
    let mut torn: Vec<String> = named(&store, "meta/encoders/", "");
    assert_eq!(torn.len(), 3, "{torn:?}");
    for copy in
        ["meta_learner.json", "shared_encoder.json", "shared_encoder.safetensors", "shared_encoder.pkl"]
    {
        torn.push(format!("meta/{copy}"));
    }
    torn.extend(named(&store, "runs/", "/run.json"));
    for name in &torn {
        let whole = tear(&store.join(name));
        assert_eq!(verify(&store).code, Some(4), "{name} is torn and verifies");
        std::fs::write(store.join(name), whole).unwrap();
    }
    torn.iter().for_each(|name| drop(tear(&store.join(name))));
    let ran = bench().start(&store).unwrap().let_through().unwrap();
    assert!(ran.code == Some(0) && !ran.is_up_to_date(), "{ran:?}");
    assert_same(&published(&store), &published(trained()));
    let verified = verify(&store);
    assert_eq!(verified.code, Some(0), "{}", verified.out);
}

/// A folder with a manifest is never written to again: the coin's model is made anew beside it.
#[test]
fn a_torn_model_is_left_for_a_person_and_another_takes_its_place() {
    let store = trained_copy("torn-models");
    let parts = ["model.bin", "metrics.json", "costs.json", "features.json", "manifest.json"];
    let coins = named(&store, "models/", "/manifest.json");
    assert!(coins.len() >= parts.len(), "{coins:?}");
    let mut torn = Vec::new();
    for (coin, part) in coins.iter().zip(parts) {
        let path = store.join(coin).with_file_name(part);
        tear(&path);
        torn.push((path.clone(), std::fs::read(&path).unwrap()));
        assert_eq!(verify(&store).code, Some(4), "{} is torn and verifies", path.display());
    }
    let ran = bench().start(&store).unwrap().let_through().unwrap();
    assert!(ran.code == Some(0) && !ran.is_up_to_date(), "{ran:?}");
    let verified = verify(&store);
    assert_eq!(verified.code, Some(0), "{}", verified.out);
    for (path, bytes) in torn {
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{} was written to", path.display());
        let folder = path.parent().unwrap();
        let beside = folder.with_file_name(format!("baseline_{}.2", spec().end().date()));
        for part in &parts[..4] {
            let (torn, made) = (folder.join(part), beside.join(part));
            if torn != path {
                assert_eq!(std::fs::read(torn).unwrap(), std::fs::read(made).unwrap(), "{part}");
            }
        }
    }
}
