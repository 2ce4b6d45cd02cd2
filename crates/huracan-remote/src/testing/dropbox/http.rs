//! As much of HTTP/1.1 as the clients at hand speak: requests with a `Content-Length`, connections
//! kept open.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

const LINE_BYTES_MAX: u64 = 1 << 16;

/// A request as read.
pub(super) struct Incoming {
    pub(super) method: String,
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Incoming {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer to send.
pub(super) struct Outgoing {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

/// What to do with a request before its body is read, and after.
pub(super) enum Plan {
    /// Read it whole and answer.
    Answer,
    /// Read half of its body and cut the connection.
    Cut,
}

/// Answers requests of one connection until it ends; `None` cuts it.
pub(super) fn serve(connection: &TcpStream, mut answer: impl FnMut(Phase<'_>) -> Option<Outgoing>) {
    // A connection that breaks is the client's business.
    let _ = serve_until_broken(connection, &mut answer);
}

/// A request is shown twice: when its head has been read, and whole.
pub(super) enum Phase<'a> {
    /// Only the head is there; the plan may be changed.
    Head(&'a Incoming, &'a mut Plan),
    /// All of it.
    Whole(&'a Incoming),
}

fn serve_until_broken(
    connection: &TcpStream,
    answer: &mut impl FnMut(Phase<'_>) -> Option<Outgoing>,
) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    while let Some(mut request) = read_head(&mut reader)? {
        let length: usize = request.header("content-length").parse().unwrap_or(0);
        let mut plan = Plan::Answer;
        answer(Phase::Head(&request, &mut plan));
        if request.header("expect").eq_ignore_ascii_case("100-continue") {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if matches!(plan, Plan::Cut) {
            io::copy(&mut (&mut reader).take(length as u64 / 2), &mut io::sink())?;
            return connection.shutdown(std::net::Shutdown::Both);
        }
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
        let Some(outgoing) = answer(Phase::Whole(&request)) else {
            return connection.shutdown(std::net::Shutdown::Both);
        };
        let mut head =
            format!("HTTP/1.1 {} .\r\nContent-Length: {}\r\n", outgoing.status, outgoing.body.len());
        for (name, value) in &outgoing.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut whole = head.into_bytes();
        whole.extend_from_slice(&outgoing.body);
        writer.write_all(&whole)?;
    }
    Ok(())
}

fn read_head(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Incoming>> {
    let mut line = || -> io::Result<String> {
        let mut text = String::new();
        (&mut *reader).take(LINE_BYTES_MAX).read_line(&mut text)?;
        Ok(text.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let text = line()?;
        let Some((name, value)) = text.split_once(':') else { break };
        headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Some(Incoming { method, path, headers, body: Vec::new() }))
}
