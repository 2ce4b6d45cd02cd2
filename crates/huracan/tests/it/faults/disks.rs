//! Disks that are full, limited or read-only, under the real program. A small file system is mounted
//! in a namespace of its own, which ends with the test; where that is not allowed the test says so.

use super::{copy, published};
use crate::kill_loop::dead_store::Snapshot;
use crate::market::{assert_same, candles, files, fresh, trained};
use std::path::Path;
use std::process::{Command, Output};

/// Runs a script in a mount namespace of its own; `None` where the system allows none.
fn in_namespace(place: &Path, script: &str) -> Option<Output> {
    let unshare = |flags: &[&str], script: &str| {
        let mut command = Command::new("unshare");
        command.args(flags).args(["sh", "-euc", script]).current_dir(place).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HURACAN_BIN", env!("CARGO_BIN_EXE_huracan")).env("MARKET", candles());
        command.output()
    };
    std::fs::create_dir_all(place.join("disk")).unwrap();
    let probe = "mount -t tmpfs -o size=1m tmpfs disk";
    let allowed = [&["-m"][..], &["-rm"][..]]
        .into_iter()
        .find(|flags| unshare(flags, probe).is_ok_and(|output| output.status.success()));
    let Some(flags) = allowed else {
        println!("skipped: this user may not mount a file system of its own");
        return None;
    };
    Some(unshare(flags, script).unwrap())
}

/// `huracan train` as a line of a script.
const TRAIN: &str = "\"$HURACAN_BIN\" train --json --candles \"$MARKET/bars\" --symbols all \
                     --config \"$MARKET/test.yaml\"";

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_disk_that_fills_up_during_the_publication_harms_nothing_and_the_next_run_completes() {
    let place = fresh("disk-full");
    let size: u64 = files(trained(), &[]).values().map(|bytes| bytes.len() as u64).sum();
    // Scratch is elsewhere, so that the disk fills up with results; three times, ever later.
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs disk
         mkdir disk/store scratch; ln -s \"$PWD/scratch\" disk/store/.scratch
         for part in 20 50 80; do
           mount -o remount,size=$(({size} * part / 100)) disk
           {TRAIN} --store disk/store > full$part.json || echo $? > full$part.code
           cp -r disk/store dead$part
         done
         mount -o remount,size=64m disk
         {TRAIN} --store disk/store > healed.json
         \"$HURACAN_BIN\" verify all --store disk/store > verified.txt
         cp -r disk/store healed"
    );
    let Some(output) = in_namespace(&place, &script) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for part in [20, 50, 80] {
        assert_eq!(text(&place.join(format!("full{part}.code"))).trim(), "5");
        let said: serde_json::Value =
            serde_json::from_str(&text(&place.join(format!("full{part}.json")))).unwrap();
        assert_eq!(said["error"]["code"], "store_no_space", "{said}");
        let dead = Snapshot::take(&place.join(format!("dead{part}"))).unwrap();
        assert_eq!(dead.dangling(), Vec::<String>::new());
        assert_eq!(dead.temporaries, 0, "what could not be written was left behind");
    }
    assert_same(&published(&place.join("healed")), &published(trained()));
}

#[test]
fn a_read_only_store_can_be_read_and_says_why_it_is_not_written() {
    let place = fresh("disk-read-only");
    copy(trained(), &place.join("store"));
    let script = format!(
        "mount -t tmpfs -o size=64m tmpfs disk
         cp -r store disk/store
         mount -o remount,ro disk
         \"$HURACAN_BIN\" roster --store disk/store > roster.txt
         \"$HURACAN_BIN\" verify all --candles \"$MARKET/bars\" --store disk/store > verified.txt
         {TRAIN} --store disk/store > refused.json || echo $? > refused.code"
    );
    let Some(output) = in_namespace(&place, &script) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text(&place.join("verified.txt")).contains(", 0 differ"));
    assert_eq!(text(&place.join("refused.code")).trim(), "5");
    let said: serde_json::Value = serde_json::from_str(&text(&place.join("refused.json"))).unwrap();
    assert_eq!(said["error"]["code"], "store_read_only", "{said}");
}

/// Where the signal that comes with a limit on file sizes is ignored, the limit is told as what it is;
/// otherwise it ends the process like a kill.
#[cfg(unix)]
#[test]
fn a_limit_on_the_size_of_files_is_told_and_harms_nothing() {
    use std::os::unix::process::ExitStatusExt as _;
    let place = fresh("disk-limit");
    let limited = |trap: &str| {
        let script = format!("{trap} ulimit -c 0; ulimit -f 8; exec {TRAIN} --store store");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(&place).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HURACAN_BIN", env!("CARGO_BIN_EXE_huracan")).env("MARKET", candles());
        command.output().unwrap()
    };
    let told = limited("trap '' XFSZ;");
    assert_eq!(told.status.code(), Some(5), "{told:?}");
    let said: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(said["error"]["code"], "scratch_failed", "{said}");
    assert!(said["error"]["message"].as_str().unwrap().contains("free some space"), "{said}");
    let killed = limited("");
    assert!(killed.status.signal().is_some(), "{killed:?}");
    let dead = Snapshot::take(&place.join("store")).unwrap();
    assert_eq!(dead.dangling(), Vec::<String>::new());
}
