//! Starting the binary in a folder of its own, with a clean environment.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// What a run of the binary left behind.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Standard output as the one JSON document it must be.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error} in {:?} {:?}", self.out, self.err))
    }
}

/// Runs `huracan` with these arguments in `folder`; only `variables` and what the system needs to
/// start a process are in its environment.
pub fn huracan_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huracan"));
    command.args(arguments).current_dir(folder).env_clear();
    for name in ["PATH", "SystemRoot", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let Output { status, stdout, stderr } = command.envs(variables.iter().copied()).output().unwrap();
    Ran {
        code: status.code().expect("the binary was killed"),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// Runs `huracan` in an empty folder.
pub fn huracan(arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    huracan_in(folder.path(), arguments, &[])
}
