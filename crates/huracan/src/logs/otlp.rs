//! Spans to a collector, by OTLP over HTTP (protobuf). A thread of its own sends them in batches; a
//! collector that does not answer costs a run nothing but its spans.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::Duration;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// The collector has so long for a batch, and a run waits so long at its end.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Below an endpoint, by the specification.
const PATH: &str = "/v1/traces";

/// Sends until it is dropped.
pub(super) struct Sender(SdkTracerProvider);

impl Drop for Sender {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// The layer that takes our own spans (nobody else's: the sender's would go on for ever), and who sends
/// them. The endpoint may carry a password: it is in no error.
pub(super) fn layer<S>(endpoint: &str) -> Result<(Box<dyn Layer<S> + Send + Sync>, Sender), String>
where
    S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
{
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address(endpoint))
        .with_timeout(TIMEOUT)
        .build()
        .map_err(|_| {
            "the OTLP endpoint is no address, expected one such as http://localhost:4318".to_owned()
        })?;
    let resource = Resource::builder().with_service_name("huracan").build();
    let provider = SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("huracan"));
    let ours = Targets::new().with_target("huracan", LevelFilter::DEBUG);
    Ok((layer.with_filter(ours).boxed(), Sender(provider)))
}

fn address(endpoint: &str) -> String {
    let base = endpoint.trim_end_matches('/');
    if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use tracing_subscriber::layer::SubscriberExt as _;

    /// Takes one request: its head and its body.
    fn taken(listener: &TcpListener) -> (String, Vec<u8>) {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let length = head.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        reader.get_mut().write_all(answer).unwrap();
        (head, body)
    }

    #[test]
    fn a_collector_receives_the_spans_of_a_run() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let collector = std::thread::spawn(move || taken(&listener));
        let (layer, sender) = layer(&endpoint).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let run = tracing::info_span!("run", run_id = "20250701T000000Z-0a1b2c3d");
            let stage = tracing::info_span!(parent: &run, "stage", stage = "trial");
            drop(tracing::debug_span!(parent: &stage, "job", symbol = "BTCUSDT", attempt = 2));
            drop(tracing::error_span!(target: "hyper", "not ours"));
        });
        drop(sender);
        let (head, body) = collector.join().unwrap();
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("application/x-protobuf"), "{head}");
        // Texts stand in protobuf as they are.
        let has = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
        for text in
            ["service.name", "huracan", "run_id", "20250701T000000Z-0a1b2c3d", "trial", "BTCUSDT", "attempt"]
        {
            assert!(has(text), "{text} is not in the body");
        }
        assert!(!has("not ours"));
    }

    #[test]
    fn an_endpoint_is_completed_once() {
        for endpoint in
            ["http://a:4318", "http://a:4318/", "http://a:4318/v1/traces", "http://a:4318/v1/traces/"]
        {
            assert_eq!(address(endpoint), "http://a:4318/v1/traces");
        }
        let error = layer::<tracing_subscriber::Registry>("http://user:secret@[").err().unwrap();
        assert!(!error.contains("secret"), "{error}");
    }
}
