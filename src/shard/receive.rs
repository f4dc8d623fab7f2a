//! From a socket's bytes to news for a session.
//!
//! Three classes: what must be known at once (abort, goodbye, close, pings) is handled while reading; audio waits in the
//! backlog; messages keep their place among a connection's own audio. So an abort behind a second of audio takes effect before
//! that audio is decoded, and a `listen` never overtakes what was said before it.

use super::backlog::Item;
use super::bucket::opus_ms;
use super::connection::{Connection, Phase};
use super::floor::Floor;
use super::slots::Key;
use crate::format::Codec;
use crate::metrics::Counter;
use crate::net::outbox::{Class, HIGH_WATER_BYTES};
use crate::session::Event;
use crate::time::Instant;
use crate::wire::message::{self, ClientHello, ClientMessage, MessageFault};
use crate::wire::packet::{self, Version};
use crate::wire::websocket::{self, Input, Violation, code};
use std::io;

impl Floor {
    /// Reads once from a connection into `buffer`, and handles what can be handled now.
    pub fn read(&mut self, key: Key, now: Instant, buffer: &mut [u8]) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        let waiting = connection.outbox.as_ref().map_or(0, |outbox| outbox.waiting_bytes());
        if connection.phase == Phase::Open && waiting > HIGH_WATER_BYTES {
            connection.is_paused = true;
            return;
        }
        let read = match connection.stream.read(buffer) {
            Ok(n) if n > 0 => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            // The end, by whatever name: devices hang up without a close frame (checklist 23).
            Ok(_) | Err(_) => return self.drop_connection(key, now, Counter::EndedByPeer),
        };
        self.panel.add(Counter::BytesIn, read as u64);
        // A full buffer, or an end that came together with the bytes: the reactor will not tell of what is left.
        if read == buffer.len() || connection.has_ended {
            self.read_again(key);
        }
        self.take_in(key, now, &mut buffer[..read]);
    }

    fn take_in(&mut self, key: Key, now: Instant, bytes: &mut [u8]) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        match connection.phase {
            Phase::Closing | Phase::Lingering => {}
            Phase::Head => {
                if let Some(mut behind) = self.handle_head(key, now, bytes) {
                    self.take_in(key, now, &mut behind);
                }
            }
            Phase::Open => {
                connection.heard_at = now;
                if connection.part.is_empty() {
                    self.take_frames(key, now, bytes);
                } else {
                    let mut whole = std::mem::take(&mut connection.part);
                    whole.extend_from_slice(bytes);
                    self.take_frames(key, now, &mut whole);
                }
                self.arm(key);
            }
        }
    }

    /// Takes WebSocket input from the front of `bytes`, and keeps a cut frame's beginning.
    fn take_frames(&mut self, key: Key, now: Instant, bytes: &mut [u8]) {
        let mut at = 0;
        loop {
            let Some(connection) = self.slots.get_mut(key).filter(|connection| connection.phase == Phase::Open) else {
                return;
            };
            match connection.reader.read(&mut bytes[at..]) {
                Ok((used, Some(input))) => {
                    at += used;
                    self.take_input(key, now, input);
                }
                Ok((used, None)) => {
                    let rest = &bytes[(at + used).min(bytes.len())..];
                    if !rest.is_empty() {
                        connection.part = rest.to_vec();
                    }
                    return;
                }
                Err(violation) => return self.punish(key, now, violation),
            }
        }
    }

    fn take_input(&mut self, key: Key, now: Instant, input: Input<'_>) {
        match input {
            Input::Text(text) => self.take_text(key, now, &text),
            Input::Binary(bytes) => self.take_packet(key, now, &bytes),
            Input::Ping(payload) => self.take_ping(key, now, payload),
            Input::Pong(_) => {}
            // The code is echoed (RFC 6455, 5.5.1); nobody waits for anything after it.
            Input::Close(said) => {
                let (code, reason) = said.map_or((code::NORMAL, ""), |(code, _)| (code, ""));
                self.close(key, now, code, reason, Counter::EndedByPeer);
            }
        }
    }

    fn take_text(&mut self, key: Key, now: Instant, text: &str) {
        let message = match message::parse(text) {
            Ok(message) => message,
            Err(fault) => {
                self.panel.count(fault_counter(fault));
                return tracing::debug!(?fault, bytes = text.len(), "message ignored");
            }
        };
        self.panel.count(Counter::MessagesIn);
        let Some(connection) = self.slots.get_mut(key) else { return };
        if let ClientMessage::Hello(hello) = &message {
            learn(connection, hello);
        }
        let is_urgent = matches!(message, ClientMessage::Abort | ClientMessage::Goodbye | ClientMessage::Ping);
        let waits = if is_urgent {
            connection.messages_waiting > 0
        } else {
            connection.messages_waiting > 0 || connection.packets_waiting > 0
        };
        if !waits {
            return self.talk(key, now, |session, kit| session.handle(now, Event::Message(message), kit));
        }
        connection.messages_waiting = connection.messages_waiting.saturating_add(1);
        self.backlog.push_message(key, message);
    }

    fn take_packet(&mut self, key: Key, now: Instant, bytes: &[u8]) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        self.panel.count(Counter::PacketsIn);
        let Ok(packet) = packet::parse(connection.version.unwrap_or_default(), bytes) else {
            connection.packets_waiting = connection.packets_waiting.saturating_add(1);
            return self.backlog.push_bad_frame(key);
        };
        let ms = match connection.pcm_bytes_per_ms {
            0 => opus_ms(packet),
            per_ms => (packet.len() as u32).div_ceil(u32::from(per_ms)),
        };
        if !connection.bucket.admits(now, ms) {
            return self.panel.count(Counter::DroppedFastPacket);
        }
        connection.packets_waiting = connection.packets_waiting.saturating_add(1);
        self.backlog.push_packet(key, packet);
    }

    fn take_ping(&mut self, key: Key, now: Instant, payload: &[u8]) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        if !connection.may_ping(now) {
            return self.close(key, now, code::POLICY, "too many pings", Counter::EndedByPings);
        }
        self.push(key, now, Class::Control, now, |out| websocket::emit_pong(payload, out));
    }

    fn punish(&mut self, key: Key, now: Instant, violation: Violation) {
        self.close(key, now, violation.code(), violation.reason(), Counter::EndedByProtocol);
    }

    /// Handles the oldest thing in the backlog; `false` if there is none. `packet` is scratch.
    pub fn work_off_one(&mut self, now: Instant, packet: &mut Vec<u8>) -> bool {
        let Some((key, item)) = self.backlog.pop(packet) else { return false };
        let Some(connection) = self.slots.get_mut(key) else { return true };
        match item {
            Item::Packet => {
                connection.packets_waiting = connection.packets_waiting.saturating_sub(1);
                self.talk(key, now, |session, kit| session.handle(now, Event::Packet(packet), kit));
            }
            Item::BadFrame => {
                connection.packets_waiting = connection.packets_waiting.saturating_sub(1);
                self.talk(key, now, |session, kit| session.handle(now, Event::BadFrame, kit));
            }
            Item::Message(message) => {
                connection.messages_waiting = connection.messages_waiting.saturating_sub(1);
                self.talk(key, now, |session, kit| session.handle(now, Event::Message(message), kit));
            }
        }
        true
    }
}

/// What the connection itself needs of a hello: how long a packet is, and the framing if the handshake did not say
/// (checklist 20). The first hello counts.
fn learn(connection: &mut Connection, hello: &ClientHello) {
    if connection.is_greeted {
        return;
    }
    if connection.version.is_none() {
        connection.version = hello.version.and_then(Version::from_number);
    }
    if hello.uplink.codec == Codec::Pcm {
        let bytes_per_ms = hello.uplink.rate * 2 * u32::from(hello.uplink.channels) / 1_000;
        connection.pcm_bytes_per_ms = bytes_per_ms.clamp(1, u32::from(u16::MAX)) as u16;
    }
}

fn fault_counter(fault: MessageFault) -> Counter {
    match fault {
        MessageFault::NotJson | MessageFault::NoType | MessageFault::WrongShape => Counter::DroppedMalformedMessage,
        MessageFault::UnknownType => Counter::DroppedUnknownMessage,
    }
}
