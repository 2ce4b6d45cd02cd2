//! A real S3-compatible server on loopback: moto, from PyPI, where it is installed.
//!
//! `python3 -m pip install 'moto[s3]' flask flask-cors`. It runs as a process of its own and ends with
//! the test that started it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::RetryPolicy;
use crate::lease::LeaseTerms;
use crate::s3::{Credentials, S3Config};

const SCRIPT: &str = include_str!("moto.py");

/// The server. It checks signatures, and carries out one request after another, so that its
/// conditional writes are atomic.
pub struct S3Server {
    address: SocketAddr,
    buckets: AtomicU32,
    /// Ends when its standard input does, that is with this process.
    _process: Child,
}

impl S3Server {
    /// The server of this process, started when first asked for; `None`, and a line that says so, where
    /// there is no moto, or none that starts.
    ///
    /// # Panics
    /// As [`super::skip`].
    pub fn shared() -> Option<&'static S3Server> {
        static SERVER: OnceLock<Option<S3Server>> = OnceLock::new();
        let server = SERVER.get_or_init(S3Server::start).as_ref();
        if server.is_none() {
            super::skip("no S3 server that starts (python3 with moto[s3], flask and flask-cors)");
        }
        server
    }

    fn start() -> Option<S3Server> {
        let mut process = Command::new("python3")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take()?).read_line(&mut line).ok()?;
        let Ok(port) = line.trim().parse::<u16>() else {
            // It has said why and ended, or could not say a port: either way it is of no use.
            let _ = process.kill();
            let _ = process.wait();
            return None;
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Some(S3Server { address, buckets: AtomicU32::new(0), _process: process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The configuration of a new, empty bucket, with waits short enough for tests. To talk to it
    /// through a proxy, put the proxy's URL in its place.
    ///
    /// # Panics
    /// When the server does not make the bucket.
    pub fn new_bucket(&self) -> S3Config {
        let name = format!("bucket-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        let mut stream = TcpStream::connect(self.address).expect("the server that has just started");
        let request = format!(
            "PUT /{name} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).expect("a server that listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a server that answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "expected a new bucket, found {answer}");
        S3Config {
            endpoint: Some(format!("http://{}", self.address)),
            path_style: true,
            retry: RetryPolicy {
                attempts_max: 4,
                wait_min: Duration::from_millis(5),
                wait_max: Duration::from_millis(20),
                total_max: Duration::from_secs(300),
            },
            lease: LeaseTerms { term: Duration::from_secs(30) },
            ..S3Config::new(name, "some/folder", "us-east-1", S3Server::credentials())
        }
    }

    /// The one key the server knows.
    pub fn credentials() -> Credentials {
        Credentials::new("key-id", "secret/+key", Some("session/token+=".to_owned()))
    }
}
