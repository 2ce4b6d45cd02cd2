//! `huracan doctor`: can this machine run Huracan?

use super::{Global, Output, World, settings};
use crate::failure::{Exit, Failure};
use crate::table::{Align, Table};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Flags of `doctor`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Looks at cores, memory, clock, TLS, the configuration, the store and, where given, the candles.
Changes nothing but a temporary file in the store's folder, which it removes.

Examples:
  huracan doctor
  huracan doctor --store /data/huracan-store --candles ./candles --config huracan.yaml")]
pub struct DoctorArgs {
    /// Also look at this folder of candles
    #[arg(long, value_name = "DIR")]
    pub candles: Option<PathBuf>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// Whether it will do.
    pub ok: bool,
    /// What was found, and what to do when it will not do.
    pub found: String,
    /// How the process ends when it will not do.
    #[serde(skip)]
    pub exit: Exit,
}

impl Finding {
    fn new(what: &'static str, exit: Exit, found: Result<String, String>) -> Finding {
        let ok = found.is_ok();
        Finding { what, ok, found: found.unwrap_or_else(|found| found), exit }
    }
}

/// Builds older than their own clock, or a clock that was never set: 2025-01-01.
const CLOCK_MIN_S: u64 = 1_735_689_600;

/// Below this a run of many coins will swap.
const MEMORY_MIB_MIN: u64 = 1_024;

/// Runs the command.
///
/// # Errors
/// None; what is wrong is a finding, and the first decides the exit code.
pub fn run(args: &DoctorArgs, global: &Global, world: &World) -> Result<Output, Failure> {
    let mut findings = vec![
        Finding::new("version", Exit::Ok, Ok(env!("CARGO_PKG_VERSION").to_owned())),
        Finding::new("cores", Exit::Ok, Ok(world.cores.to_string())),
        Finding::new("memory", Exit::Unexpected, memory()),
        Finding::new("clock", Exit::Unexpected, clock(SystemTime::now())),
        Finding::new("tls", Exit::Unexpected, tls()),
    ];
    let configuration = settings::load(global, world, Vec::new());
    let place = configuration.as_ref().ok().map(|loaded| loaded.store.local.clone());
    let configuration = configuration
        .map(|loaded| format!("ok, config_id {}, {} workers", loaded.config.config_id, loaded.config.workers))
        .map_err(|failure| failure.to_string());
    findings.push(Finding::new("configuration", Exit::Usage, configuration));
    // Without a configuration nobody knows where the store is.
    findings.extend(place.map(|folder| Finding::new("store", Exit::Store, store(&folder))));
    if let Some(folder) = &args.candles {
        findings.push(Finding::new("candles", Exit::InputData, candles(folder)));
    }
    Ok(output(&findings, world.width))
}

fn output(findings: &[Finding], width: Option<usize>) -> Output {
    let mut table = Table::new(&[("", Align::Left), ("what", Align::Left), ("found", Align::Left)]);
    for finding in findings {
        let mark = if finding.ok { "ok" } else { "FAIL" };
        table.row([mark.to_owned(), finding.what.to_owned(), finding.found.clone()]);
    }
    let exit = findings.iter().find(|finding| !finding.ok).map_or(Exit::Ok, |finding| finding.exit);
    let json = json!({"schema": "huracan-cli-doctor/1", "ok": exit == Exit::Ok, "findings": findings});
    Output { exit, text: table.render(width), json }
}

fn memory() -> Result<String, String> {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else {
        return Ok("unknown on this system".to_owned());
    };
    match available_mib(&text) {
        Some(mib) if mib < MEMORY_MIB_MIN => Err(format!(
            "{mib} MiB available, expected at least {MEMORY_MIB_MIN} MiB; close something or use fewer workers"
        )),
        Some(mib) => Ok(format!("{mib} MiB available")),
        None => Ok("unknown on this system".to_owned()),
    }
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

fn clock(now: SystemTime) -> Result<String, String> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let text = huracan_core::words::UtcMs(since.as_secs() as i64 * 1000).to_string();
    if since.as_secs() < CLOCK_MIN_S {
        Err(format!("{text} is in the past; set the clock"))
    } else {
        Ok(text)
    }
}

fn tls() -> Result<String, String> {
    let provider = rustls::crypto::CryptoProvider::get_default();
    provider.map(|_| "rustls with ring".to_owned()).ok_or_else(|| "no TLS provider is installed".to_owned())
}

/// Tries what publishing does: write, sync, rename, in the store or in the folder it would be
/// created in.
fn store(store: &Path) -> Result<String, String> {
    let absolute = std::path::absolute(store).map_err(|error| error.to_string())?;
    let folder = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let probe = folder.join(format!(".huracan-doctor-{}", std::process::id()));
    let renamed = probe.with_extension("renamed");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&probe)?;
        file.write_all(b"huracan")?;
        file.sync_all()?;
        std::fs::rename(&probe, &renamed)
    };
    let outcome = write();
    for leftover in [&probe, &renamed] {
        // One of the two is never there.
        let _ = std::fs::remove_file(leftover);
    }
    let shown = store.display();
    match outcome {
        Ok(()) if folder == absolute => Ok(format!("{shown} can be written")),
        Ok(()) => Ok(format!("{shown} does not exist yet and can be created")),
        Err(error) => Err(format!("{shown} cannot be written: {error}; choose another with --store")),
    }
}

fn candles(folder: &Path) -> Result<String, String> {
    let shown = folder.display();
    let mut entries =
        std::fs::read_dir(folder).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    match entries.next() {
        Some(_) => Ok(format!("{shown} can be read; huracan data check --candles {shown} says more")),
        None => Err(format!("{shown} is empty, expected candle files")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_can_be_written_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert!(store(folder.path()).unwrap().ends_with("can be written"));
        assert!(store(&folder.path().join("a/b")).unwrap().contains("can be created"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_store_below_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(store(&file.join("store")).unwrap_err().contains("cannot be written"));
    }

    #[test]
    fn memory_and_clock_are_read() {
        assert_eq!(available_mib("MemTotal: 9 kB\nMemAvailable:    2048000 kB\n"), Some(2_000));
        assert_eq!(available_mib("MemTotal: 9 kB\n"), None);
        assert!(clock(SystemTime::UNIX_EPOCH).is_err());
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(CLOCK_MIN_S);
        assert_eq!(clock(later).as_deref(), Ok("2025-01-01T00:00:00Z"));
    }

    #[test]
    fn the_first_thing_that_will_not_do_decides_the_exit_code() {
        let findings = [
            Finding::new("cores", Exit::Ok, Ok("2".into())),
            Finding::new("store", Exit::Store, Err("read-only".into())),
            Finding::new("candles", Exit::InputData, Err("empty".into())),
        ];
        assert_eq!(output(&findings, None).exit, Exit::Store);
    }
}
