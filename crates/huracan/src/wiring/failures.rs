//! What goes wrong below, as one failure with a code, an exit code and advice.

use crate::failure::{Exit, Failure};
use huracan_store::StoreError;
use huracan_train::engine::EngineError;
use huracan_train::pipeline::RunError;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let failure = Failure::new(Exit::Store, error.code(), chain(&error));
        match error {
            StoreError::Corrupt { .. } => failure.help(
                "restore the file from a copy of the store; `huracan verify all` lists what else is damaged",
            ),
            _ => failure,
        }
    }
}

impl From<huracan_market::Error> for Failure {
    fn from(error: huracan_market::Error) -> Failure {
        Failure::new(Exit::InputData, error.code(), error.to_string())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        match error {
            RunError::Interrupted(_) => {
                Failure::new(Exit::Interrupted, "interrupted", "the run was stopped; nothing was published")
                    .help("run the same command again")
            }
            RunError::Store(error) => error.into(),
            RunError::NoSeries { .. } => Failure::new(Exit::InputData, "no_series", error.to_string())
                .help("give the bar of the files with --bar"),
            RunError::Engine(error) => {
                let exit = match &error {
                    EngineError::UnknownSymbol { .. } => Exit::Usage,
                    EngineError::Scratch(_) => Exit::Store,
                    EngineError::Jobs(jobs) if jobs.code == "queue_unusable" => Exit::Network,
                    EngineError::Jobs(_) => Exit::Store,
                    _ => Exit::InputData,
                };
                Failure::new(exit, error.code(), error.to_string())
            }
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(&format!(" ({said})"));
        }
        cause = error.source();
    }
    text
}
