//! From an HTTP request to a WebSocket: who may come in, and what the others are told.
//!
//! A device that is turned away must learn so by the HTTP status: after a 101 it waits ten seconds for a hello before it shows
//! an error. Nothing is negotiated: no extension, no subprotocol (checklist 21).

#[cfg(test)]
mod tests;

use super::http::{Head, Line, Reply};
use super::packet::Version;
use super::{identity, token};
use crate::format::Lang;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use tungstenite::handshake::derive_accept_key;

/// The conventional path.
pub const PATH: &str = "/xiaozhi/v1/";

/// What is asked of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The WebSocket's path; taken with and without a slash at its end.
    pub path: Box<str>,
    /// Lets requests in that have no Device-Id; the caller makes one up.
    pub is_lenient: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { path: PATH.into(), is_lenient: false }
    }
}

/// A request that may be answered with 101, as far as its form goes; the token is still to be verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Value of `Sec-WebSocket-Accept`.
    pub accept_key: String,
    /// As sent. `None` only under lenient rules.
    pub device_id: Option<Box<str>>,
    /// As sent.
    pub client_id: Option<Box<str>>,
    /// What stands behind `Bearer ` in Authorization.
    pub token: Option<Box<str>>,
    /// Binary framing it asks for; where `None`, its hello decides.
    pub version: Option<Version>,
    /// First language of `Accept-Language`, a hint for recognition.
    pub language: Option<Lang>,
}

/// The answer to a request without a valid token.
pub const UNAUTHORIZED: Reply =
    Reply::new(401, "missing or invalid token\n").with(&[("WWW-Authenticate", "Bearer realm=\"voxlane\"")]);

const UPGRADE_LINES: &[Line<'static>] = &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];

/// Judges a request that is for none of the caller's HTTP routes.
///
/// # Errors
/// The reply to send instead of 101: 200 with a sentence for `GET /`, 404 for another path, 405 for another method, 426 where
/// no upgrade to WebSocket 13 is asked for, 400 where it is asked for wrongly or an id is missing or bad.
pub fn judge(head: &Head<'_>, rules: &Rules) -> Result<Upgrade, Reply> {
    if !is_same_path(head.path, &rules.path) {
        return Err(elsewhere(head));
    }
    if head.method != "GET" {
        return Err(Reply::new(405, "the WebSocket opens with GET\n").with(&[("Allow", "GET")]));
    }
    if !head.has_token("upgrade", "websocket") || head.header("sec-websocket-version").is_some_and(|v| v != "13") {
        return Err(Reply::new(426, "this is a WebSocket, version 13\n").with(UPGRADE_LINES));
    }
    let is_whole =
        head.is_11 && head.has_token("connection", "upgrade") && head.header("sec-websocket-version").is_some();
    let key = head.header("sec-websocket-key").filter(|key| is_nonce(key));
    let (true, Some(key)) = (is_whole, key) else {
        return Err(Reply::new(400, "incomplete WebSocket upgrade\n"));
    };
    let device_id = identity::device_id(head)?;
    if device_id.is_none() && !rules.is_lenient {
        return Err(Reply::new(400, "missing Device-Id\n"));
    }
    Ok(Upgrade {
        accept_key: derive_accept_key(key.as_bytes()),
        device_id,
        client_id: identity::client_id(head)?,
        token: head.header_or_parameter("authorization").and_then(|value| token::bearer(&value).map(Box::from)),
        version: head.header_or_parameter("protocol-version").and_then(|v| Version::from_number(v.parse().ok()?)),
        language: head.header("accept-language").and_then(Lang::parse),
    })
}

impl Upgrade {
    /// Appends the answer that opens the WebSocket.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(self.accept_key.as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }
}

/// Without the token: it must not reach a log.
impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("device_id", &self.device_id)
            .field("client_id", &self.client_id)
            .field("has_token", &self.token.is_some())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Equal but for one slash at the end (checklist 86).
pub(super) fn is_same_path(path: &str, ours: &str) -> bool {
    path.strip_suffix('/').unwrap_or(path) == ours.strip_suffix('/').unwrap_or(ours)
}

fn elsewhere(head: &Head<'_>) -> Reply {
    match (head.method, head.path) {
        ("GET" | "HEAD", "/") => Reply::new(200, "voxlane: a voice server for ESP32 devices\n"),
        _ => Reply::new(404, "no such page\n"),
    }
}

/// A key is 16 bytes in base64 (RFC 6455, 4.1).
fn is_nonce(key: &str) -> bool {
    key.len() == 24 && STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}
