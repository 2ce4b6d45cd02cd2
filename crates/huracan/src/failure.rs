//! How the program ends: exit codes, and the one shape every error has when a person or a script
//! reads it.

use crate::config::ConfigError;
use serde_json::{Value, json};
use std::fmt;

/// The exit codes of every command. Scripts rely on them; a number never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command did what was asked. An empty `trade_ok` list is a result, not a failure.
    Ok = 0,
    /// A promise of ours was broken.
    Unexpected = 1,
    /// The command line or the configuration cannot be meant.
    Usage = 2,
    /// Candles or another input are missing or broken.
    InputData = 3,
    /// Stored results do not verify.
    VerificationFailed = 4,
    /// The store cannot be read or written, or another run holds it.
    Store = 5,
    /// The exchange or the network refused.
    Network = 6,
    /// A run ended without publishing; its notes say why.
    NotPublished = 7,
    /// A job over its caps, or one that was cancelled, did not stop, and no thread can be killed alone.
    Stuck = 70,
    /// Ctrl-C or a termination signal.
    Interrupted = 130,
}

impl Exit {
    /// Every code, in order, with the sentence that `--help` prints.
    pub const ALL: [(Exit, &'static str); 10] = [
        (Exit::Ok, "done; an empty trade_ok list is a result, not a failure"),
        (Exit::Unexpected, "unexpected failure: a bug of ours"),
        (Exit::Usage, "the command line or the configuration cannot be meant"),
        (Exit::InputData, "candles or another input are missing or broken"),
        (Exit::VerificationFailed, "stored results do not verify"),
        (Exit::Store, "the store cannot be read or written, or another run holds it"),
        (Exit::Network, "the exchange or the network refused"),
        (Exit::NotPublished, "the run published nothing; its notes say why"),
        (Exit::Stuck, "a job over its caps or cancelled did not stop, so the process did; run it again"),
        (Exit::Interrupted, "interrupted by Ctrl-C or a termination signal"),
    ];

    /// The number the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The table of codes as `--help` prints it.
    pub fn table() -> String {
        let lines = Exit::ALL.iter().map(|(exit, meaning)| format!("  {:>3}  {meaning}", exit.code()));
        format!("Exit codes:\n{}", lines.collect::<Vec<_>>().join("\n"))
    }
}

/// Why a command did not do what was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What the shell is told.
    pub exit: Exit,
    /// Stable code for scripts: `unknown_key`, `store_locked`.
    pub code: String,
    /// One sentence: what was found and what was expected. Starts small, no full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Single problems, where there are several.
    pub problems: Vec<Value>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure { exit, code: code.into(), message: message.into(), help: None, problems: Vec::new() }
    }

    /// The same failure with advice.
    pub fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    /// `{"error": {...}}`.
    pub fn to_json(&self) -> Value {
        json!({
            "error": {
                "code": self.code,
                "message": self.message,
                "help": self.help,
                "exit_code": self.exit.code(),
                "problems": self.problems,
            }
        })
    }
}

/// `error[code]: sentence`, then a `help:` line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// One problem keeps its own code; several are listed under the code of the first.
impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        let sentence = |p: &crate::config::Problem| match (&p.help, error.problems.len()) {
            (Some(help), 2..) => format!("{p} ({help})"),
            _ => p.to_string(),
        };
        let sentences: Vec<String> = error.problems.iter().map(sentence).collect();
        let message = match sentences.as_slice() {
            [one] => one.clone(),
            several => format!("{} problems in the configuration\n  {}", several.len(), several.join("\n  ")),
        };
        let first = error.problems.first();
        Failure {
            exit: Exit::Usage,
            code: first.map_or("configuration", |p| p.code).to_owned(),
            message,
            help: if error.problems.len() == 1 { first.and_then(|p| p.help.clone()) } else { None },
            problems: error.problems.iter().map(|p| p.to_json()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_documented_once_and_in_order() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, vec![0, 1, 2, 3, 4, 5, 6, 7, 70, 130]);
    }

    #[test]
    fn a_failure_reads_as_one_sentence_with_code_and_help() {
        let failure = Failure::new(Exit::Store, "store_locked", "run X holds the store").help("wait for it");
        assert_eq!(failure.to_string(), "error[store_locked]: run X holds the store\n  help: wait for it");
        assert_eq!(failure.to_json()["error"]["exit_code"], 5);
    }
}
