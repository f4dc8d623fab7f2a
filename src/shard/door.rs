//! At the door: a fresh connection's request becomes an answer, or a WebSocket with a session.

use super::connection::{Connection, Phase};
use super::floor::Floor;
use super::load;
use super::rules::Verdict;
use super::slots::Key;
use crate::format::Lang;
use crate::ids::{SessionId, Ticket, TurnId};
use crate::limits;
use crate::metrics::Counter;
use crate::net::outbox::Class;
use crate::session::Session;
use crate::time::{Instant, UnixMs};
use crate::wire::http::{self, Head, Reply};
use crate::wire::ota::{self, OtaContext};
use crate::wire::upgrade::{self, Upgrade};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

/// What to do with a request, judged while its bytes are borrowed.
enum Decision {
    /// For so many bytes in all; 0 stands for the head's end.
    Wait(usize),
    Answer(Vec<u8>),
    Refuse(Reply),
    Open(Box<Upgrade>, usize),
}

impl Floor {
    /// Takes bytes of a request that is not complete yet. Returns what came behind an upgrade.
    pub fn handle_head(&mut self, key: Key, now: Instant, bytes: &[u8]) -> Option<Vec<u8>> {
        let connection = self.slots.get_mut(key)?;
        let before = connection.part.len();
        connection.part.extend_from_slice(bytes);
        let is_due = match connection.awaited as usize {
            0 => may_be_whole(&connection.part, before),
            awaited => connection.part.len() >= awaited,
        };
        if !is_due {
            return None;
        }
        let part = std::mem::take(&mut connection.part);
        match self.decide(key, &part) {
            Decision::Wait(until) => {
                let connection = self.slots.get_mut(key)?;
                connection.part = part;
                connection.awaited = until as u32;
            }
            Decision::Answer(answer) => {
                self.panel.count(Counter::HttpRequests);
                self.push(key, now, Class::Control, now, |out| out.extend_from_slice(&answer));
                self.begin_closing(key, now);
            }
            Decision::Refuse(reply) => {
                self.panel.count(if reply.status == 200 { Counter::HttpRequests } else { Counter::Refused });
                self.answer(key, now, reply);
            }
            Decision::Open(upgrade, used) => {
                if let Some(away) = self.refuses_device(now, &upgrade) {
                    self.panel.count(Counter::Refused);
                    self.push(key, now, Class::Control, now, |out| out.extend_from_slice(&load::busy(away)));
                    self.begin_closing(key, now);
                    return None;
                }
                self.open(key, now, &upgrade);
                return part.get(used..).filter(|rest| !rest.is_empty()).map(<[u8]>::to_vec);
            }
        }
        None
    }

    /// Answers a request in a few words and hangs up.
    pub fn answer(&mut self, key: Key, now: Instant, reply: Reply) {
        self.push(key, now, Class::Control, now, |out| reply.emit(out));
        self.begin_closing(key, now);
    }

    fn decide(&self, key: Key, bytes: &[u8]) -> Decision {
        let (head, head_len) = match http::parse_head(bytes) {
            Err(fault) => return Decision::Refuse(fault.reply()),
            Ok(None) => return Decision::Wait(0),
            Ok(Some(parsed)) => parsed,
        };
        if ota::is_ours(&head) {
            return self.check_in(key, &head, bytes, head_len);
        }
        if head.path == "/healthz" && matches!(head.method, "GET" | "HEAD") {
            let mut answer = Vec::new();
            http::respond_to(head.method, 200, http::TEXT, &[], b"ok\n", &mut answer);
            return Decision::Answer(answer);
        }
        if self.draining {
            return Decision::Refuse(Reply::new(503, "the server is stopping\n").with(&[("Retry-After", "1")]));
        }
        match upgrade::judge(&head, &self.common.rules.upgrade) {
            Err(reply) => Decision::Refuse(reply),
            Ok(upgrade) => self.judge_token(upgrade, head_len),
        }
    }

    fn judge_token(&self, upgrade: Upgrade, head_len: usize) -> Decision {
        let (client, device) = (upgrade.client_id.as_deref(), upgrade.device_id.as_deref());
        let (client, device) = (client.unwrap_or(""), device.unwrap_or(""));
        let access = &self.common.rules.access;
        match access.judge(upgrade.token.as_deref(), client, device, UnixMs::now()) {
            Verdict::Refused => {
                tracing::warn!(device, "no valid token");
                return Decision::Refuse(upgrade::UNAUTHORIZED);
            }
            Verdict::Grace => self.panel.count(Counter::TokensInGrace),
            Verdict::Welcome => {}
        }
        Decision::Open(Box::new(upgrade), head_len)
    }

    fn check_in(&self, key: Key, head: &Head<'_>, bytes: &[u8], head_len: usize) -> Decision {
        let body_len = match head.body_len(limits::BODY_BYTES) {
            Ok(len) => len,
            Err(reply) => return Decision::Refuse(reply),
        };
        let Some(body) = bytes.get(head_len..head_len + body_len) else { return Decision::Wait(head_len + body_len) };
        let rules = &self.common.rules;
        let now = UnixMs::now();
        let local = self.slots.get(key).and_then(|connection| connection.stream.local());
        let local = local.map_or(IpAddr::from([127, 0, 0, 1]), |local| local.ip().to_canonical()).to_string();
        let context = OtaContext {
            public: rules.public.as_deref(),
            local_host: &local,
            port: if rules.port == 0 { self.port } else { rules.port },
            is_tls: rules.tls.is_some(),
            path: &rules.upgrade.path,
            version: rules.version,
            now,
            tz_offset_min: (rules.tz_offset_min)(now),
            token: &|check_in| rules.access.issue(check_in, now),
        };
        let Some(answer) = ota::answer(head, body, &context) else {
            return Decision::Refuse(Reply::new(404, "no such page\n"));
        };
        if let Some(check_in) = &answer.check_in {
            tracing::info!(device = &*check_in.device_id, firmware = &*check_in.firmware, "device checked in");
            if let Some(language) = check_in.language {
                self.common.languages.note(&check_in.device_id, language);
            }
        }
        Decision::Answer(answer.bytes)
    }

    /// Opens the WebSocket. An older connection of the same device is dropped without a word: the device has forgotten it.
    fn open(&mut self, key: Key, now: Instant, upgrade: &Upgrade) {
        let id = self.dice.session_id();
        let device_id: Box<str> = match &upgrade.device_id {
            Some(device_id) => device_id.clone(),
            None => format!("unnamed-{:016x}", id.0 as u64).into(),
        };
        let language = upgrade.language.or_else(|| self.common.languages.of(&device_id));
        let device = self.hash(&device_id);
        let order = self.mail.next_order();
        let peer = self.slots.get(key).and_then(|connection| connection.stream.peer());
        tracing::info!(session = %id, device = &*device_id, peer = ?peer, slot = key.slot, "session opened");
        let session = self.new_session(key, now, id, language);
        let Some(connection) = self.slots.get_mut(key) else { return };
        become_open(connection, session, now);
        connection.id = id;
        connection.device_id = device_id;
        connection.device = device;
        connection.order = order;
        connection.version = upgrade.version;
        self.panel.count(Counter::Upgraded);
        self.push(key, now, Class::Control, now, |out| upgrade.emit(out));
        if let Some(old) = self.devices.insert(device, key) {
            self.replace(old, now);
        }
        let lost = self.mail.announce(device, order);
        self.panel.add(Counter::LettersLost, lost);
        self.arm(key);
    }

    /// A device's id as a number; never 0.
    pub fn hash(&self, device_id: &str) -> u64 {
        self.common.hash.hash_one(device_id).max(1)
    }

    fn new_session(&self, key: Key, now: Instant, id: SessionId, language: Option<Lang>) -> Box<Session> {
        let base = Ticket { shard: self.id, slot: key.slot, generation: key.generation, turn: TurnId::default() };
        Box::new(Session::new(Arc::clone(&self.common.rules.session), id, base, language, now))
    }

    /// Another shard has a connection of this device; an older one here goes.
    pub fn handle_newer(&mut self, now: Instant, device: u64, order: u64) {
        let Some(&key) = self.devices.get(&device) else { return };
        if self.slots.get(key).is_some_and(|connection| connection.order < order) {
            self.replace(key, now);
        }
    }

    fn replace(&mut self, key: Key, now: Instant) {
        if let Some(connection) = self.slots.get(key) {
            tracing::info!(session = %connection.id, "replaced by a newer connection of the device");
        }
        self.drop_connection(key, now, Counter::Replaced);
    }
}

fn become_open(connection: &mut Connection, session: Box<Session>, now: Instant) {
    connection.phase = Phase::Open;
    connection.session = Some(session);
    connection.heard_at = now;
    connection.pinged_at = now;
    connection.said_at = now;
    connection.deadline = Instant::NEVER;
}

/// Whether it is worth reading the request now: its head may have ended within the new bytes, it is as long as a head may be,
/// or it does not begin like HTTP. So a request that drips in byte by byte is parsed once, not at each drop.
fn may_be_whole(bytes: &[u8], before: usize) -> bool {
    let is_http = bytes.first().is_some_and(u8::is_ascii_uppercase);
    let new = &bytes[before.saturating_sub(3).min(bytes.len())..];
    let ends = |end: &[u8]| new.windows(end.len()).any(|window| window == end);
    !is_http || bytes.len() >= limits::HEAD_BYTES || ends(b"\n\r\n") || ends(b"\n\n")
}
