//! The check-in a device makes over HTTP when it boots: it says what it is, we say where to talk and by which token.
//!
//! What is said here the device writes to flash for ever, so the answer is always complete and never surprising: `websocket`
//! with url, token and version each time, no `mqtt` member (the device would use it), no `activation`, a firmware version of
//! digits and dots (anything else reboots it), an explicit port in the url, and less than 6 KB (protocol.md 1.1).

#[cfg(test)]
mod tests;

use super::http::{self, CORS, Head, Line, Reply};
use super::json::{self, Member, Object};
use super::packet::Version;
use super::{identity, upgrade};
use crate::format::Lang;
use crate::limits::{HOST_BYTES, OTA_ANSWER_BYTES};
use crate::time::UnixMs;
use serde::Deserialize;

/// The path, taken with and without a slash at its end, and never redirected.
pub const PATH: &str = "/xiaozhi/ota/";

/// Whether a request is for us; if so read its body (`head.body_len(limits::BODY_BYTES)`), then call [`answer`].
pub fn is_ours(head: &Head<'_>) -> bool {
    upgrade::is_same_path(head.path, PATH)
}

/// What the answer needs from the server.
#[derive(Clone, Copy)]
pub struct OtaContext<'a> {
    /// Where devices reach us, if the configuration says: `host`, `host:port`, or a whole `ws://` or `wss://` URL, as
    /// [`is_public_address`] lets pass.
    /// Without it the request's own Host is used, with our `port`.
    pub public: Option<&'a str>,
    /// Our address on this connection, for a request without a usable Host.
    pub local_host: &'a str,
    /// Port of the WebSocket.
    pub port: u16,
    /// The WebSocket speaks TLS.
    pub is_tls: bool,
    /// Path of the WebSocket.
    pub path: &'a str,
    /// Binary framing the device shall use; sticky on the device, so always said.
    pub version: Version,
    /// The wall clock.
    pub now: UnixMs,
    /// Local time minus UTC, minutes.
    pub tz_offset_min: i32,
    /// The token for this device; empty for none, which is said as well.
    pub token: &'a dyn Fn(&CheckIn) -> String,
}

/// What a device said of itself. Anybody can say anything: fit for hints, not for trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckIn {
    /// As sent.
    pub device_id: Box<str>,
    /// As sent, if it was.
    pub client_id: Option<Box<str>>,
    /// Language of its build, from the body or else from Accept-Language.
    pub language: Option<Lang>,
    /// Its firmware, digits and dots; `0.0.0` if it did not say.
    pub firmware: Box<str>,
    /// Model of its board, harmless characters; empty if it did not say.
    pub board: Box<str>,
}

/// A whole HTTP answer, and the check-in if it was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status of the answer, for the log.
    pub status: u16,
    /// Bytes of the answer; close behind them.
    pub bytes: Vec<u8>,
    /// A check-in that was answered with 200.
    pub check_in: Option<CheckIn>,
}

/// Answers a request on our path, on whichever listener it came: POST is a check-in, GET is for people, OPTIONS for browsers.
/// `None` for another path.
pub fn answer(head: &Head<'_>, body: &[u8], context: &OtaContext<'_>) -> Option<Answer> {
    if !is_ours(head) {
        return None;
    }
    let answer = match head.method {
        "POST" => post(head, body, context),
        "GET" | "HEAD" => {
            let text = format!("voxlane: devices check in here by POST and then talk to {}\n", url(head, context));
            whole(head, 200, http::TEXT, CORS, text.as_bytes())
        }
        "OPTIONS" => whole(head, 200, http::TEXT, CORS, b""),
        _ => whole(head, 405, http::TEXT, &[("Allow", "GET, POST, OPTIONS")], b"GET, POST or OPTIONS\n"),
    };
    Some(answer)
}

fn post(head: &Head<'_>, body: &[u8], context: &OtaContext<'_>) -> Answer {
    let check_in = match read(head, body) {
        Ok(check_in) => check_in,
        // Not 200 with an error inside: the device would take that for "no WebSocket" and turn to MQTT.
        Err(reply) => return whole(head, reply.status, http::TEXT, CORS, reply.text.as_bytes()),
    };
    let mut json = Vec::with_capacity(512);
    emit(&check_in, head, context, &mut json);
    debug_assert!(json.len() < OTA_ANSWER_BYTES, "each piece of the answer is bounded");
    Answer { check_in: Some(check_in), ..whole(head, 200, http::JSON, CORS, &json) }
}

fn whole(head: &Head<'_>, status: u16, content_type: &str, lines: &[Line<'_>], body: &[u8]) -> Answer {
    let mut bytes = Vec::with_capacity(512 + body.len());
    http::respond_to(head.method, status, content_type, lines, body, &mut bytes);
    Answer { status, bytes, check_in: None }
}

#[derive(Default, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    language: Member<'a>,
    #[serde(borrow)]
    application: Member<'a>,
    #[serde(borrow)]
    board: Member<'a>,
}

#[derive(Default, Deserialize)]
struct Application<'a> {
    #[serde(borrow)]
    version: Member<'a>,
}

#[derive(Default, Deserialize)]
struct Board<'a> {
    #[serde(borrow, rename = "type")]
    kind: Member<'a>,
}

/// Reads a check-in. The ids come from the headers; a body that is no JSON only costs the hints (checklist 88).
fn read(head: &Head<'_>, body: &[u8]) -> Result<CheckIn, Reply> {
    let device_id = identity::device_id(head)?.ok_or(Reply::new(400, "missing Device-Id\n"))?;
    let client_id = identity::client_id(head)?;
    let text = std::str::from_utf8(body).ok().filter(|text| json::is_object(text) && json::is_shallow(text));
    let body: Body<'_> = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let application: Application<'_> = json::members(body.application);
    let board: Board<'_> = json::members(body.board);
    let said = json::string(body.language).and_then(|tag| Lang::parse(&tag));
    Ok(CheckIn {
        device_id,
        client_id,
        language: said.or_else(|| head.header("accept-language").and_then(Lang::parse)),
        firmware: clean_version(&json::string(application.version).unwrap_or_default()),
        board: json::string(board.kind).filter(|kind| identity::is_safe(kind)).unwrap_or_default().into(),
    })
}

/// The device's own version, so that it never takes the answer for an upgrade. Each part goes through `std::stoi` there,
/// which throws on an empty part and on more than 31 bits; so parts have one to nine digits.
fn clean_version(version: &str) -> Box<str> {
    let version = version.trim_start_matches(['v', 'V']);
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    let parts: Vec<&str> = version[..end].split('.').take_while(|part| matches!(part.len(), 1..=9)).take(6).collect();
    if parts.is_empty() { "0.0.0".into() } else { parts.join(".").into() }
}

fn emit(check_in: &CheckIn, head: &Head<'_>, context: &OtaContext<'_>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.object("server_time", |time| {
        time.number("timestamp", i64::try_from(context.now.0).unwrap_or(i64::MAX));
        time.number("timezone_offset", context.tz_offset_min.into());
    });
    object.object("firmware", |firmware| {
        firmware.string("version", &check_in.firmware).string("url", "");
    });
    object.object("websocket", |websocket| {
        websocket.string("url", &url(head, context)).string("token", &(context.token)(check_in));
        websocket.number("version", context.version.number().into());
    });
    object.close();
}

/// Where the device shall talk. The port is always there: the firmware's parser needs it (checklist 10).
fn url(head: &Head<'_>, context: &OtaContext<'_>) -> String {
    let scheme = if context.is_tls { "wss" } else { "ws" };
    let (port, path) = (context.port, context.path);
    match context.public {
        Some(url) if url.starts_with("ws://") || url.starts_with("wss://") => url.to_owned(),
        Some(authority) if authority.contains(':') => format!("{scheme}://{authority}{path}"),
        Some(host) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{}:{port}{path}", asked_host(head).unwrap_or(context.local_host)),
    }
}

/// Whether a text may stand in [`OtaContext::public`]: `host`, `host:port`, or `ws[s]://host:port/path`. A URL needs its port,
/// since the firmware takes the first `:` behind `://` for the one before the port and aborts on what is none.
pub fn is_public_address(text: &str) -> bool {
    let is_visible = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
    match text.strip_prefix("ws://").or_else(|| text.strip_prefix("wss://")) {
        None => is_authority(text, false),
        Some(rest) => is_visible && rest.find('/').is_some_and(|slash| is_authority(&rest[..slash], true)),
    }
}

fn is_authority(text: &str, needs_port: bool) -> bool {
    match text.split_once(':') {
        None => is_host(text) && !needs_port,
        Some((host, port)) => {
            let is_digits = port.bytes().all(|b| b.is_ascii_digit());
            is_host(host) && is_digits && port.parse::<u16>().is_ok_and(|port| port != 0)
        }
    }
}

/// The host by which the request found us, without its port. An IPv6 literal is no use to the firmware's parser.
fn asked_host<'h>(head: &'h Head<'_>) -> Option<&'h str> {
    let authority = head.header("host")?;
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    is_host(host).then_some(host)
}

fn is_host(host: &str) -> bool {
    let is_known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=HOST_BYTES).contains(&host.len()) && host.bytes().all(is_known)
}
