//! Where `tracing` events go: standard error, as text or JSON, filtered by `RUST_LOG`.

use crate::progress::AboveBars;
use indicatif::MultiProgress;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogForm {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends events of level `warn` and above, or what `RUST_LOG` says, to standard error. A second
/// call changes nothing.
pub fn install(form: LogForm, bars: &MultiProgress) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let bars = bars.clone();
    let writer = move || AboveBars(bars.clone());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(writer);
    // An error here means that a subscriber is there already, which is what was wanted.
    let _ = match form {
        LogForm::Text => builder.try_init(),
        LogForm::Json => builder.json().try_init(),
    };
}
