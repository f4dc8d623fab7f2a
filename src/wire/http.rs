//! The request head, read before any upgrade, and the short answers of a server that is not a web server.
//!
//! A device that gets a clear status tries again in a second; one that gets a half-open socket waits ten. So whatever comes
//! to the port has its head parsed here first, within [`HEAD_BYTES`] and [`HEAD_LINES`], and every answer carries its length
//! and closes the connection: the firmware's HTTP client stalls on anything cleverer (NET `http_client.cc`).

#[cfg(test)]
mod tests;

use crate::limits::{HEAD_BYTES, HEAD_LINES};
use std::borrow::Cow;

/// A request head; all of it borrows from the bytes it came in.
#[derive(Clone)]
pub struct Head<'b> {
    /// Case as sent; methods are case-sensitive.
    pub method: &'b str,
    /// Path as sent, up to `?`. Compared as it is: nothing we serve needs escapes.
    pub path: &'b str,
    /// Behind the first `?`; empty if there is none.
    pub query: &'b str,
    /// HTTP/1.1; false for 1.0.
    pub is_11: bool,
    lines: [httparse::Header<'b>; HEAD_LINES],
    count: usize,
}

/// Why a head was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadFault {
    /// Not HTTP/1.
    Malformed,
    /// More than [`HEAD_BYTES`].
    TooLong,
    /// More than [`HEAD_LINES`].
    TooManyLines,
}

impl HeadFault {
    /// What to answer before the connection is closed.
    pub const fn reply(self) -> Reply {
        match self {
            HeadFault::Malformed => Reply::new(400, "not an HTTP request\n"),
            HeadFault::TooLong | HeadFault::TooManyLines => Reply::new(431, "request head too large\n"),
        }
    }
}

/// Reads a request head from the front of `bytes`, with its length; `None` if its end has not come yet.
///
/// # Errors
/// [`HeadFault`]: answer with its reply and close.
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Head<'_>, usize)>, HeadFault> {
    let within = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
    let mut lines = [httparse::EMPTY_HEADER; HEAD_LINES];
    let mut request = httparse::Request::new(&mut lines);
    let len = match request.parse(within) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if within.len() == HEAD_BYTES => return Err(HeadFault::TooLong),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadFault::TooManyLines),
        Err(_) => return Err(HeadFault::Malformed),
    };
    let (Some(method), Some(target)) = (request.method, request.path) else { return Err(HeadFault::Malformed) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (is_11, count) = (request.version == Some(1), request.headers.len());
    Ok(Some((Head { method, path, query, is_11, lines, count }, len)))
}

impl Head<'_> {
    /// The first header of that name, in any case, trimmed; `None` if it is absent or not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// All headers of that name.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.lines.get(..self.count).unwrap_or_default();
        let named = lines.iter().filter(move |line| line.name.eq_ignore_ascii_case(name));
        named.filter_map(|line| std::str::from_utf8(line.value).ok()).map(str::trim)
    }

    /// Whether a comma-separated header, such as `Connection`, holds `token` in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.headers(name).flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    }

    /// The first query parameter of that name, in any case, decoded.
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut named = pairs.filter(|(key, _)| decode(key).eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| decode(value))
    }

    /// A header, or where it is missing or empty the query parameter of that name: a browser cannot set headers on a
    /// WebSocket (checklist 78).
    pub fn header_or_parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        let header = self.header(name).filter(|value| !value.is_empty()).map(Cow::Borrowed);
        header.or_else(|| self.parameter(name).filter(|value| !value.is_empty()))
    }

    /// Length of the body that follows the head, at most `max` bytes; 0 where none is announced.
    ///
    /// # Errors
    /// The reply to send instead: 411 for a chunked body (devices send none where we use this), 413 above `max`, 400 for
    /// lengths that are no number or contradict each other.
    pub fn body_len(&self, max: usize) -> Result<usize, Reply> {
        if self.headers("transfer-encoding").next().is_some() {
            return Err(Reply::new(411, "send a Content-Length\n"));
        }
        let mut lengths = self.headers("content-length");
        let Some(length) = lengths.next() else { return Ok(0) };
        let is_number = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
        if !is_number || lengths.any(|other| other != length) {
            return Err(Reply::new(400, "bad Content-Length\n"));
        }
        // A number too large for its type is too large for us as well.
        match length.parse::<usize>() {
            Ok(len) if len <= max => Ok(len),
            _ => Err(Reply::new(413, "request body too large\n")),
        }
    }
}

/// Method and path only: headers and query may hold secrets.
impl std::fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head").field("method", &self.method).field("path", &self.path).finish_non_exhaustive()
    }
}

/// Decodes a query's `+` and `%XX`. An incomplete escape stays as it is; what is not UTF-8 then becomes U+FFFD.
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['+', '%']) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, behind @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = behind;
                }
                _ => out.push(b'%'),
            },
            (byte, _) => out.push(byte),
        }
    }
    Cow::Owned(String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// A header line of an answer: name and value, both ours or checked, without line breaks.
pub type Line<'a> = (&'a str, &'a str);

/// What a browser needs to be let in on OTA and vision (checklist 85).
pub const CORS: &[Line<'static>] = &[
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "content-type, device-id, client-id, authorization"),
    ("Access-Control-Max-Age", "86400"),
];

/// Content type of JSON.
pub const JSON: &str = "application/json; charset=utf-8";
/// Content type of server-sent events.
pub const EVENTS: &str = "text/event-stream; charset=utf-8";
/// Content type of short sentences.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// A short fixed answer in plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub text: &'static str,
    /// Header lines beyond those every answer has.
    pub lines: &'static [Line<'static>],
}

impl Reply {
    /// A reply without further header lines.
    pub const fn new(status: u16, text: &'static str) -> Reply {
        Reply { status, text, lines: &[] }
    }

    /// The same with these header lines.
    pub const fn with(self, lines: &'static [Line<'static>]) -> Reply {
        Reply { lines, ..self }
    }

    /// Appends the whole answer.
    pub fn emit(&self, out: &mut Vec<u8>) {
        respond(self.status, TEXT, self.lines, self.text.as_bytes(), out);
    }
}

/// Appends a whole HTTP/1.1 answer with its length, after which the connection is to be closed.
pub fn respond(status: u16, content_type: &str, lines: &[Line<'_>], body: &[u8], out: &mut Vec<u8>) {
    respond_to("GET", status, content_type, lines, body, out);
}

/// As [`respond`], but to a request of that method: a HEAD gets the head alone, with the length of what a GET would bring.
pub fn respond_to(method: &str, status: u16, content_type: &str, lines: &[Line<'_>], body: &[u8], out: &mut Vec<u8>) {
    let mut push = |text: &str| out.extend_from_slice(text.as_bytes());
    push(&format!("HTTP/1.1 {status} {}\r\n", phrase(status)));
    push(&format!("Content-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len()));
    for (name, value) in lines {
        debug_assert!(!name.contains(['\r', '\n']) && !value.contains(['\r', '\n']), "a header line is one line");
        push(name);
        push(": ");
        push(value);
        push("\r\n");
    }
    push("\r\n");
    if method != "HEAD" {
        out.extend_from_slice(body);
    }
}

/// Appends the head of an answer that has no length: its body goes on until the connection ends.
pub fn respond_endless(content_type: &str, lines: &[Line<'_>], out: &mut Vec<u8>) {
    let mut push = |text: &str| out.extend_from_slice(text.as_bytes());
    push(&format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n"));
    lines.iter().for_each(|(name, value)| push(&format!("{name}: {value}\r\n")));
    push("\r\n");
}

/// The reason phrase. Only for people; unknown ones get a vague word.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
