//! Being asked to stop: the documented exit code, a free lock, nothing half done.

use super::{bench, published};
use crate::kill_loop::dead_store::Snapshot;
use crate::kill_loop::process::When;
use crate::market::{assert_same, fresh, trained};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_run_that_is_told_to_stop_leaves_a_store_that_the_next_one_completes() {
    let store = fresh("told-to-stop").join("store");
    let mut stopped = 0;
    for (signal, stage) in [("TERM", "survey"), ("INT", "trial"), ("TERM", "publish")] {
        let mut running = bench().start(&store).unwrap();
        assert!(running.wait_until(When::InStage(stage, Duration::ZERO)), "it ended before {stage}");
        let told = Command::new("kill").args([&format!("-{signal}"), &running.id().to_string()]).status();
        assert!(told.unwrap().success(), "{signal} in {stage}");
        let ran = running.let_through().unwrap();
        // Once the first pointer has moved a publication is finished: that is the next safe point.
        let may_finish = stage == "publish" && ran.code == Some(0);
        assert!(ran.code == Some(130) || may_finish, "{signal} in {stage}: {ran:?}");
        if ran.code == Some(130) {
            stopped += 1;
            assert_eq!(ran.error().as_deref(), Some("interrupted"), "{ran:?}");
            assert!(!store.join(".scratch").exists(), "{signal} in {stage} left scratch behind");
            assert!(!store.join("champions/roster.json").exists(), "{signal} in {stage}");
            let listed = bench().huracan(&["jobs", "list", "--store"], &store).unwrap().out;
            assert!(listed.contains("no, it was stopped"), "{signal} in {stage}: {listed}");
        }
        assert_eq!(Snapshot::take(&store).unwrap().dangling(), Vec::<String>::new());
    }
    assert!(stopped >= 2, "{stopped}");
    let ran = bench().start(&store).unwrap().let_through().unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_same(&published(&store), &published(trained()));
}
