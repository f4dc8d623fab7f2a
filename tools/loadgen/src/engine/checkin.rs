//! The check-in over HTTP that a device makes when it boots: it says what it is, and learns path and token of the WebSocket.
//!
//! The address stays the one that the person gave: a server cannot send the load somewhere else.

use super::device::{Device, NEVER, Phase};
use super::fleet::Fleet;
use super::tally::Time;
use super::wire::{self, Introduction};
use serde::Deserialize;
use std::borrow::Cow;

/// Where devices check in, on the address of the WebSocket.
const PATH: &str = "/xiaozhi/ota/";
/// Longest answer that the firmware takes is below 6 KB (protocol.md 1.1); head included.
pub const ANSWER_MAX: usize = 8 << 10;

/// What a check-in told a device; kept over reconnects, as in its flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Of the WebSocket, with a leading slash.
    pub path: String,
    /// Without `Bearer`; empty for none.
    pub token: String,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    websocket: Option<Socket<'a>>,
    mqtt: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Socket<'a> {
    #[serde(borrow, default)]
    url: Cow<'a, str>,
    #[serde(borrow, default)]
    token: Cow<'a, str>,
}

/// The request of a check-in.
pub fn request(i: &Introduction<'_>) -> String {
    let body = format!(
        "{{\"version\":2,\"language\":\"en-US\",\"mac_address\":\"{0}\",\"uuid\":\"{1}\",\"chip_model_name\":\"esp32s3\",\
         \"application\":{{\"name\":\"xiaozhi\",\"version\":\"2.4.2\"}},\"board\":{{\"type\":\"voxlane-load\",\
         \"name\":\"voxlane-load\",\"mac\":\"{0}\"}}}}",
        i.device_id, i.client_id
    );
    format!(
        "POST {PATH} HTTP/1.1\r\nHost: {}\r\nDevice-Id: {}\r\nClient-Id: {}\r\nActivation-Version: 1\r\n\
         User-Agent: voxlane-load/2.4.2\r\nAccept-Language: en-US\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        i.host,
        i.device_id,
        i.client_id,
        body.len()
    )
}

/// The status and the body of a whole answer; `Ok(None)` while it is still coming.
pub fn answer(buffer: &[u8]) -> Result<Option<(u16, &[u8])>, &'static str> {
    let Some((status, head)) = wire::answer(buffer)? else { return Ok(None) };
    let length = buffer[..head].split(|b| *b == b'\n').find_map(|line| {
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.ok_or("an answer to the check-in without Content-Length, which devices cannot read")?;
    if head.saturating_add(length) > ANSWER_MAX {
        return Err("an answer to the check-in of more than 8 KiB");
    }
    Ok(buffer.get(head..head + length).map(|body| (status, body)))
}

/// What the body of an answer says.
pub fn ticket(body: &[u8]) -> Result<Ticket, String> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|e| format!("check-in: no JSON: {e}"))?;
    if answer.mqtt.is_some() {
        return Err("check-in: the answer has `mqtt`, so a device would not use WebSocket".to_owned());
    }
    let socket = answer.websocket.ok_or("check-in: the answer names no websocket")?;
    let rest = socket.url.strip_prefix("ws://").or_else(|| socket.url.strip_prefix("wss://"));
    let rest = rest.ok_or_else(|| format!("check-in: websocket.url is {:?}", socket.url))?;
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    Ok(Ticket { path: format!("/{path}"), token: socket.token.into_owned() })
}

impl Fleet<'_> {
    /// The socket is there: checks in, or asks for the upgrade.
    pub(super) fn on_connected(&mut self, i: usize) {
        let plan = self.plan;
        let device = &mut self.devices[i];
        let is_checking_in = plan.scenario.checkin && device.ticket.is_none();
        let (mac, uuid) = (device.mac(), device.uuid());
        let (path, token) = match &device.ticket {
            Some(ticket) => (&ticket.path, &ticket.token),
            None => (&plan.target.path, &plan.target.token),
        };
        let introduction = Introduction {
            host: &plan.target.host,
            path,
            device_id: &mac,
            client_id: &uuid,
            // A token given by hand is for servers that hand out none.
            token: if token.is_empty() { &plan.target.token } else { token },
            framing: plan.scenario.framing,
        };
        let text = if is_checking_in { request(&introduction) } else { wire::upgrade(&introduction) };
        device.phase = if is_checking_in { Phase::CheckingIn } else { Phase::Upgrading };
        self.out.clear();
        self.out.extend_from_slice(text.as_bytes());
        self.send(i);
    }

    /// Reads the answer to a check-in; when it is whole and good, connects to talk. Returns the bytes that are done with.
    pub(super) fn on_checkin(&mut self, i: usize, at: u64, bytes: &[u8]) -> usize {
        let told = match answer(bytes) {
            Ok(None) => return 0,
            Ok(Some((200, body))) => ticket(body),
            Ok(Some((status, body))) => {
                let body = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
                Err(format!("check-in: status {status} {body}"))
            }
            Err(what) => Err(format!("check-in: {what}")),
        };
        match told {
            Err(what) => self.fail(i, "refused", what),
            Ok(ticket) => {
                let device: &mut Device = &mut self.devices[i];
                self.tally.time(Time::CheckIn, at.saturating_sub(device.opened));
                device.ticket = Some(Box::new(ticket));
                device.drop_connection();
                device.action = NEVER;
                self.dial(i);
            }
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_whole_or_not_at_all() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nConnection: close\r\n\r\nbody";
        for len in 0..text.len() {
            assert_eq!(answer(&text[..len]), Ok(None), "{len}");
        }
        assert_eq!(answer(text), Ok(Some((200, &b"body"[..]))));
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n").is_err());
    }

    #[test]
    fn a_ticket_has_path_and_token_and_no_mqtt() {
        let good =
            br#"{"websocket":{"url":"ws://10.0.0.1:8000/a/b/","token":"t","version":1},"firmware":{"version":"1"}}"#;
        assert_eq!(ticket(good), Ok(Ticket { path: "/a/b/".into(), token: "t".into() }));
        let wrong = |text: &str| ticket(text.as_bytes()).unwrap_err();
        assert!(wrong(r#"{"websocket":{"url":"ws://h/"},"mqtt":{}}"#).contains("mqtt"));
        assert!(wrong(r#"{"websocket":{"url":"http://h/"}}"#).contains("http://h/"));
        assert!(wrong("{}").contains("no websocket") && wrong("<html>").contains("no JSON"));
    }
}
