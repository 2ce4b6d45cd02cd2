//! A proxy on loopback that breaks what passes through it: for plain HTTP/1.1 to one server.
//!
//! Faults are queued and used up in the order of requests, so a test says exactly which request meets
//! what. It stops when it is dropped.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use huracan_core::words::UtcMs;

/// What happens to one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// The proxy answers in the server's place; the server never sees the request.
    Answer {
        /// The status.
        status: u16,
        /// `Retry-After`, in seconds.
        retry_after_s: Option<u32>,
    },
    /// The server gets the head and this many bytes of the body, then both connections are cut.
    CutUpload {
        /// Bytes of the body that arrive.
        after_bytes: usize,
    },
    /// The server does it, but the connection is cut before its answer.
    LoseAnswer,
    /// The answer is cut in the middle of its body.
    CutAnswer,
    /// The request waits before it is passed on.
    Delay(Duration),
}

/// The proxy.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<VecDeque<Fault>>,
    /// Every n-th request meets the fault, where none is queued.
    every: Mutex<Option<(u64, Fault)>>,
    log: Mutex<Vec<String>>,
    requests: AtomicU64,
    under_way: AtomicU64,
    at_once_max: AtomicU64,
    clock_ahead_s: AtomicI64,
    checks_clock: AtomicBool,
    stopped: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FaultProxy {
    /// Starts a proxy to `server` on a free port.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(server: SocketAddr) -> io::Result<FaultProxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if state.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let state = Arc::clone(&state);
                std::thread::spawn(move || {
                    // A connection that broke is what the proxy is for.
                    let _ = serve(&client, server, &state);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(FaultProxy { address, shared })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the next requests meet, after what is queued already.
    pub fn then(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).extend(faults);
    }

    /// What every `n`-th request meets, where nothing is queued.
    pub fn every(&self, n: u64, fault: Fault) {
        *lock(&self.shared.every) = Some((n.max(1), fault));
    }

    /// Moves the server's clock, that is `Date` and `Last-Modified` of its answers.
    pub fn set_clock_ahead_s(&self, seconds: i64) {
        self.shared.clock_ahead_s.store(seconds, Ordering::Relaxed);
    }

    /// Lets the moved clock refuse requests signed more than a quarter of an hour from it, as S3 does.
    pub fn check_clock(&self) {
        self.shared.checks_clock.store(true, Ordering::Relaxed);
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// The most requests that were under way at one time.
    pub fn at_once_max(&self) -> u64 {
        self.shared.at_once_max.load(Ordering::Relaxed)
    }

    /// `METHOD path` of every request so far, without queries: they are signed.
    pub fn log(&self) -> Vec<String> {
        lock(&self.shared.log).clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
    }
}

/// A request or an answer.
struct Message {
    /// The first line and the headers, without line ends.
    head: Vec<String>,
    body: Vec<u8>,
}

impl Message {
    /// Reads one; `None` where the connection ends instead. A body has the length its header says, or
    /// reaches to the end of the connection.
    fn read(from: &mut impl BufRead, to_the_end: bool) -> io::Result<Option<Message>> {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let mut message = Message { head, body: Vec::new() };
        let length = message.header("content-length").and_then(|length| length.parse().ok());
        match length {
            Some(length) => {
                message.body = vec![0; length];
                from.read_exact(&mut message.body)?;
            }
            None if to_the_end => drop(from.read_to_end(&mut message.body)?),
            None => {}
        }
        Ok(Some(message))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.iter().skip(1).filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn set_header(&mut self, name: &str, value: &str) {
        self.head
            .retain(|line| !line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name)));
        self.head.push(format!("{name}: {value}"));
    }

    fn head_bytes(&self) -> Vec<u8> {
        format!("{}\r\n\r\n", self.head.join("\r\n")).into_bytes()
    }
}

/// Counts a request from here until it is answered, in whichever way.
struct UnderWay<'a>(&'a Shared);

impl UnderWay<'_> {
    fn begin(shared: &Shared) -> UnderWay<'_> {
        let now = shared.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        shared.at_once_max.fetch_max(now, Ordering::Relaxed);
        UnderWay(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Passes the requests of one connection on, each over a connection of its own to the server.
fn serve(client: &TcpStream, server: SocketAddr, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut client = client.try_clone()?;
    while let Some(mut request) = Message::read(&mut reader, false)? {
        let number = shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let target = request.head[0].split('?').next().unwrap_or_default().to_owned();
        lock(&shared.log).push(target.trim_end_matches(" HTTP/1.1").to_owned());
        let queued = lock(&shared.faults).pop_front();
        let regular = lock(&shared.every).filter(|(n, _)| number.is_multiple_of(*n)).map(|(_, fault)| fault);
        let fault = queued.or(regular).unwrap_or(Fault::Pass);
        if let Fault::Answer { status, retry_after_s } = fault {
            let code = if status == 403 { "AccessDenied" } else { "SlowDown" };
            answer(&mut client, status, code, retry_after_s, shared)?;
            continue;
        }
        if shared.checks_clock.load(Ordering::Relaxed) && signed_off_by_s(&request, shared) > 900 {
            answer(&mut client, 403, "RequestTimeTooSkewed", None, shared)?;
            continue;
        }
        let _under_way = UnderWay::begin(shared);
        if let Fault::Delay(delay) = fault {
            std::thread::sleep(delay);
        }
        let mut upstream = TcpStream::connect(server)?;
        request.set_header("Connection", "close");
        upstream.write_all(&request.head_bytes())?;
        if let Fault::CutUpload { after_bytes } = fault {
            upstream.write_all(&request.body[..after_bytes.min(request.body.len())])?;
            return upstream.shutdown(Shutdown::Both);
        }
        upstream.write_all(&request.body)?;
        let Some(mut answer) = Message::read(&mut BufReader::new(upstream), true)? else { return Ok(()) };
        if fault == Fault::LoseAnswer {
            return Ok(());
        }
        for name in ["Date", "Last-Modified"] {
            if let Some(moved) = answer.header(name).and_then(|time| moved(time, shared)) {
                answer.set_header(name, &moved);
            }
        }
        answer.set_header("Content-Length", &answer.body.len().to_string());
        answer.set_header("Connection", "keep-alive");
        client.write_all(&answer.head_bytes())?;
        if fault == Fault::CutAnswer {
            return client.write_all(&answer.body[..answer.body.len() / 2]);
        }
        client.write_all(&answer.body)?;
    }
    Ok(())
}

fn ahead(time: std::time::SystemTime, shared: &Shared) -> std::time::SystemTime {
    let seconds = shared.clock_ahead_s.load(Ordering::Relaxed);
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time - distance } else { time + distance }
}

fn moved(text: &str, shared: &Shared) -> Option<String> {
    let time = httpdate::parse_http_date(text).ok()?;
    Some(httpdate::fmt_http_date(ahead(time, shared)))
}

/// By how much the time in a request's signature differs from the moved clock; without one, 0.
fn signed_off_by_s(request: &Message, shared: &Shared) -> u64 {
    let date = request.head[0].split_once("X-Amz-Date=").and_then(|(_, rest)| rest.get(..16));
    let Some(Ok(signed)) = date.map(str::parse::<UtcMs>) else { return 0 };
    let now = ahead(std::time::SystemTime::now(), shared);
    let now_ms = now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    (now_ms - signed.0).unsigned_abs() / 1000
}

/// The proxy's own answer.
fn answer(
    client: &mut TcpStream,
    status: u16,
    code: &str,
    retry_after_s: Option<u32>,
    shared: &Shared,
) -> io::Result<()> {
    let body = format!("<Error><Code>{code}</Code><Message>a fault on purpose.</Message></Error>");
    let retry_after = retry_after_s.map_or(String::new(), |s| format!("Retry-After: {s}\r\n"));
    let date = httpdate::fmt_http_date(ahead(std::time::SystemTime::now(), shared));
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} Fault\r\nDate: {date}\r\n{retry_after}Content-Length: {length}\r\n\r\n");
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())
}
