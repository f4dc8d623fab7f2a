//! Housekeeping of a connection: pings, silence, keep-alive, deadlines; and the numbers of who listens and who speaks.

use super::connection::Phase;
use super::floor::{Floor, mark};
use super::reactor::Ready;
use super::slots::Key;
use crate::metrics::{Counter, Gauge};
use crate::net::outbox::Class;
use crate::session::Event;
use crate::session::phase::Phase as SessionPhase;
use crate::time::Instant;
use crate::wire::http::Reply;
use crate::wire::message::ServerMessage;
use crate::wire::websocket::{self, code};
use std::io;

impl Floor {
    /// Calls every session whose reply packet is due, and writes at once: frames go before all new work.
    pub fn send_due(&mut self, now: Instant) {
        while let Some(slot) = self.timers.frames.pop_due(now) {
            let Some(key) = self.slots.key_at(slot) else { continue };
            self.talk(key, now, |session, kit| session.handle_timeout(now, kit));
            let Some(connection) = self.slots.get(key) else { continue };
            if connection.is_dirty && connection.written_in != self.pass {
                self.flush(key, now);
            }
        }
    }

    /// Sends what has become due since the pass began; called between the steps of anything that may take long. Returns the
    /// time.
    pub fn frames_first(&mut self, now: Instant) -> Instant {
        let now = self.watch.now(now);
        if self.timers.frames.next() <= now {
            self.send_due(now);
        }
        now
    }

    /// Calls everybody else whose deadline has come. After a power cut that may be all devices in the same second.
    pub fn fire_timers(&mut self, now: Instant) {
        while let Some(slot) = self.timers.rest.pop_due(now) {
            self.frames_first(now);
            let Some(key) = self.slots.key_at(slot) else { continue };
            self.keep(key, now);
            self.arm(key);
        }
    }

    fn keep(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.slots.get(key) else { return };
        match connection.phase {
            Phase::Head if connection.deadline <= now => self.end_handshake(key, now),
            Phase::Closing | Phase::Lingering if connection.deadline <= now => {
                self.drop_connection(key, now, Counter::EndedByPeer);
            }
            Phase::Open => self.keep_open(key, now),
            _ => {}
        }
    }

    /// Who has sent nothing gets nothing; who has sent half a request learns why.
    fn end_handshake(&mut self, key: Key, now: Instant) {
        self.panel.count(Counter::EndedByHandshake);
        let is_silent = self.slots.get(key).is_none_or(|connection| connection.part.is_empty());
        if is_silent {
            return self.drop_connection(key, now, Counter::Refused);
        }
        self.panel.count(Counter::Refused);
        self.answer(key, now, Reply::new(408, "the request took too long\n"));
    }

    fn keep_open(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.slots.get(key) else { return };
        let unwritable = connection.outbox.as_ref().and_then(|outbox| outbox.unwritable_at());
        if connection.silent_at() <= now {
            return self.drop_connection(key, now, Counter::EndedBySilence);
        }
        if unwritable.is_some_and(|at| at <= now) {
            return self.close(key, now, code::AGAIN, "too slow", Counter::EndedUnwritable);
        }
        let (ping, keep_alive) = (connection.ping_at() <= now, connection.keep_alive_at() <= now);
        let session_due =
            connection.session.as_ref().and_then(|session| session.poll_timeout()).is_some_and(|(at, _)| at <= now);
        if ping {
            self.ping(key, now);
        }
        if keep_alive {
            self.send(key, now, &ServerMessage::SentenceEnd(String::new()));
        }
        if session_due {
            self.talk(key, now, |session, kit| session.handle_timeout(now, kit));
        }
    }

    fn ping(&mut self, key: Key, now: Instant) {
        if let Some(connection) = self.slots.get_mut(key) {
            connection.pinged_at = now;
        }
        self.push(key, now, Class::Control, now, |out| websocket::emit_ping(&[], out));
    }

    /// The server goes down: sessions finish their turn, requests are not waited for.
    pub fn drain(&mut self, now: Instant) {
        self.draining = true;
        for key in self.slots.keys() {
            match self.slots.get(key).map(|connection| connection.phase) {
                Some(Phase::Open) => self.talk(key, now, |session, kit| session.handle(now, Event::Drain, kit)),
                Some(Phase::Head) => self.drop_connection(key, now, Counter::EndedByDrain),
                _ => {}
            }
        }
    }

    /// The same news for every session.
    pub fn tell_all(&mut self, now: Instant, news: impl Fn() -> Event<'static>) {
        for key in self.slots.keys() {
            self.talk(key, now, |session, kit| session.handle(now, news(), kit));
        }
    }

    /// The time for that is over. Sessions say their last word themselves: who has been told `tts start` is told `tts stop`.
    pub fn close_all(&mut self, now: Instant) {
        for key in self.slots.keys() {
            match self.slots.get(key).map(|connection| connection.phase) {
                Some(Phase::Open) => self.talk(key, now, |session, kit| session.handle(now, Event::DrainOver, kit)),
                _ => self.drop_connection(key, now, Counter::EndedByDrain),
            }
        }
    }

    /// A socket's news: what can be read is read in this pass, what can be written too.
    pub fn handle_ready(&mut self, ready: &Ready, now: Instant) {
        if ready.readable {
            self.read_again(ready.key);
        }
        let Some(connection) = self.slots.get_mut(ready.key) else { return };
        connection.has_ended |= ready.ended;
        if !ready.writable {
            return;
        }
        match connection.stream.handle_writable() {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => {
                return self.drop_connection(ready.key, now, Counter::EndedByPeer);
            }
            _ => {}
        }
        if connection.outbox.is_some() {
            mark(&mut self.dirty, connection, ready.key);
        }
    }

    /// Keeps the numbers of who is there, and in which phase.
    pub fn show(&mut self, key: Key, phase: SessionPhase) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        let was = std::mem::replace(&mut connection.shown, phase);
        if was == phase {
            return;
        }
        let is_there = |phase| !matches!(phase, SessionPhase::Greeting | SessionPhase::Closing);
        let step = |is: bool, was: bool| i64::from(is) - i64::from(was);
        self.panel.shift(Gauge::Sessions, step(is_there(phase), is_there(was)));
        for (phase, by) in [(was, -1), (phase, 1)] {
            let gauge = match phase {
                SessionPhase::Idle => Gauge::Idle,
                SessionPhase::Listening => Gauge::Listening,
                SessionPhase::Thinking => Gauge::Thinking,
                SessionPhase::Speaking => Gauge::Speaking,
                SessionPhase::Greeting | SessionPhase::Closing => continue,
            };
            self.panel.shift(gauge, by);
        }
    }
}
