//! Where `tracing` events and spans go: to standard error, as text or JSON, filtered by `RUST_LOG`; and,
//! in a program built with the feature `otlp`, to a collector.
//!
//! A run opens the spans run → stage → job with `run_id`, `stage`, `symbol`, `attempt` and `elapsed_ms`.

#[cfg(feature = "otlp")]
mod otlp;

use crate::progress::AboveBars;
use indicatif::MultiProgress;
use std::io::IsTerminal;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogForm {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether this program can send spans to a collector.
pub const SENDS_SPANS: bool = cfg!(feature = "otlp");

/// Keeps logs going; what is still to be sent is sent when it is dropped.
#[must_use = "spans are sent until this is dropped"]
pub struct Logs {
    #[cfg(feature = "otlp")]
    _sender: Option<otlp::Sender>,
}

/// Sends events of level `warn` and above, or what `RUST_LOG` says, to standard error, and spans to the
/// collector at `otlp_endpoint`, where this program can. A second call changes nothing.
pub fn install(form: LogForm, bars: &MultiProgress, otlp_endpoint: Option<&str>) -> Logs {
    let bars = bars.clone();
    let lines = lines(form, std::io::stderr().is_terminal(), move || AboveBars(bars.clone()));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let registry = tracing_subscriber::registry().with(lines.with_filter(filter));
    #[cfg(feature = "otlp")]
    {
        let (layer, sender, refused) = match otlp_endpoint.map(otlp::layer) {
            Some(Ok((layer, sender))) => (Some(layer), Some(sender), None),
            Some(Err(error)) => (None, None, Some(error)),
            None => (None, None, None),
        };
        // An error here means that a subscriber is there already, which is what was wanted.
        let _ = registry.with(layer).try_init();
        if let Some(error) = refused {
            tracing::warn!(error, "no spans are sent");
        }
        Logs { _sender: sender }
    }
    #[cfg(not(feature = "otlp"))]
    {
        // Who asked for spans is told so by the run.
        let _ = (otlp_endpoint, registry.try_init());
        Logs {}
    }
}

/// Log lines to a writer.
fn lines<W>(
    form: LogForm,
    is_terminal: bool,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: std::io::Write + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_ansi(is_terminal).with_writer(writer);
    match form {
        LogForm::Text => layer.boxed(),
        LogForm::Json => layer.json().boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(form: LogForm) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = tracing_subscriber::registry().with(lines(form, false, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let run = tracing::info_span!("run", run_id = tracing::field::Empty);
            let stage = tracing::info_span!(parent: &run, "stage", stage = "trial");
            let job = tracing::debug_span!(parent: &stage, "job", symbol = "BTCUSDT", attempt = 2);
            run.record("run_id", "R");
            job.in_scope(|| tracing::warn!(elapsed_ms = 7, "job \"failed\""));
        });
        String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_carries_the_spans_it_stands_in() {
        let line: serde_json::Value = serde_json::from_str(&logged(LogForm::Json)).unwrap();
        assert_eq!((&line["level"], &line["fields"]["elapsed_ms"]), (&"WARN".into(), &7.into()));
        assert_eq!(line["fields"]["message"], "job \"failed\"");
        let spans = &line["spans"];
        assert_eq!((&spans[0]["name"], &spans[0]["run_id"]), (&"run".into(), &"R".into()));
        assert_eq!((&spans[1]["stage"], &spans[2]["symbol"]), (&"trial".into(), &"BTCUSDT".into()));
        assert_eq!(spans[2]["attempt"], 2);
        let text = logged(LogForm::Text);
        for part in ["WARN", "run{run_id=\"R\"}", "stage=\"trial\"", "symbol=\"BTCUSDT\"", "elapsed_ms=7"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
