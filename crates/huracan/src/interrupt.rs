//! Ctrl-C and termination: the first asks, the second insists.

use crate::failure::{Exit, Failure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a signal leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Work stops at the next safe point.
    StopSoon,
    /// The process ends now.
    ExitNow,
}

/// The answer to one more signal: sets the flag, or finds it set.
pub fn on_signal(asked: &AtomicBool) -> Answer {
    if asked.swap(true, Ordering::SeqCst) { Answer::ExitNow } else { Answer::StopSoon }
}

/// Installs the handler; long work polls the flag it returns. Call once a process.
///
/// # Errors
/// When the operating system refuses the handler.
pub fn install() -> Result<Arc<AtomicBool>, Failure> {
    let asked = Arc::new(AtomicBool::new(false));
    let flag = asked.clone();
    let handler = move || match on_signal(&flag) {
        Answer::StopSoon => eprintln!("stopping at the next safe point; Ctrl-C again ends at once"),
        Answer::ExitNow => std::process::exit(i32::from(Exit::Interrupted.code())),
    };
    ctrlc::set_handler(handler).map_err(|error| {
        Failure::new(Exit::Unexpected, "signal_handler", format!("no signal handler: {error}"))
    })?;
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_asks_and_the_second_insists() {
        let asked = AtomicBool::new(false);
        assert_eq!(on_signal(&asked), Answer::StopSoon);
        assert!(asked.load(Ordering::SeqCst));
        assert_eq!(on_signal(&asked), Answer::ExitNow);
    }
}
