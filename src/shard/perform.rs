//! Effects become bytes, jobs, counts and log lines, in order.

use super::floor::{Floor, mark};
use super::slots::Key;
use crate::ids::{SessionId, Ticket, TurnId};
use crate::metrics::{Counter, Series, TurnRecord};
use crate::net::outbox::Class;
use crate::resilience::fault::Cause;
use crate::session::Effect;
use crate::session::effect::{Count, Milestone, Note, TurnEnd};
use crate::session::record::{Ask, Order};
use crate::time::{Duration, Instant};
use crate::wire::message::{self, ServerMessage};
use crate::wire::packet;
use crate::wire::websocket;

impl Floor {
    /// Performs what the session of `key` has just asked for.
    pub fn perform(&mut self, key: Key, now: Instant) {
        if self.effects.list.is_empty() {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.list.drain(..) {
            match effect {
                Effect::Send(message) => self.send(key, now, &message),
                Effect::Packet { start, len, timestamp_ms, due } => {
                    let bytes = effects.bytes.get(start as usize..(start + len) as usize);
                    self.send_packet(key, now, bytes.unwrap_or_default(), timestamp_ms, due);
                }
                Effect::Submit(job) => self.errands.jobs.push_back((key, job)),
                Effect::Pour => self.pour_later(key),
                Effect::Cancel(cancel) => cancel.cancel(),
                Effect::Recall => self.order(key, now, TurnId(0), Ask::Recall),
                Effect::Persist(turn, operation) => self.order(key, now, turn, Ask::Write(operation)),
                Effect::DropAudio => self.drop_audio(key),
                Effect::Mark(milestone, since) => self.reach(key, now, milestone, since),
                Effect::Count(count) => self.count(key, count),
                Effect::Note(note) => self.note(key, now, note),
                Effect::Close(code, reason) => self.close(key, now, code, reason, Counter::EndedBySession),
            }
        }
        effects.clear();
        self.effects = effects;
    }

    pub fn send(&mut self, key: Key, now: Instant, message: &ServerMessage) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        if let ServerMessage::SentenceStart(text) = message {
            self.timelines.note(connection.turn, |turn| {
                turn.said_bytes = turn.said_bytes.saturating_add(text.len() as u32);
                turn.sentences = turn.sentences.saturating_add(1);
            });
        }
        connection.said_at = now;
        connection.is_greeted |= matches!(message, ServerMessage::Hello(_));
        let mut json = std::mem::take(&mut self.json);
        json.clear();
        message::emit(message, connection.id, &mut json);
        self.push(key, now, Class::Control, now, |out| websocket::emit_text(&json, out));
        self.json = json;
    }

    fn send_packet(&mut self, key: Key, now: Instant, bytes: &[u8], timestamp_ms: u32, due: Instant) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        connection.said_at = now;
        let version = connection.version.unwrap_or_default();
        self.push(key, now, Class::Audio, due, |out| packet::emit_frame(version, bytes, timestamp_ms, out));
    }

    fn drop_audio(&mut self, key: Key) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        if let Some(outbox) = connection.outbox.as_deref_mut() {
            let dropped = outbox.drop_audio();
            self.panel.add(Counter::DroppedReplyOver, u64::from(dropped));
            mark(&mut self.dirty, connection, key);
        }
    }

    /// Something to be done about the memory of this connection's device.
    fn order(&mut self, key: Key, now: Instant, turn: TurnId, ask: Ask) {
        let Some(connection) = self.slots.get(key) else { return };
        let ticket = Ticket { shard: self.id, slot: key.slot, generation: key.generation, turn };
        let (session, device) = (connection.id, connection.device_id.clone());
        self.errands.orders.push_back(Order { ticket, session, device, asked_at: now, ask });
    }

    fn pour_later(&mut self, key: Key) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        if !std::mem::replace(&mut connection.is_pouring, true) {
            self.errands.pours.push(key);
        }
    }

    fn reach(&mut self, key: Key, now: Instant, milestone: Milestone, since: Duration) {
        self.panel.record(series(milestone), since);
        let Some(connection) = self.slots.get(key) else { return };
        if let Some(added) = self.timelines.mark(connection.turn, now, milestone, since, self.provider) {
            self.panel.record(Series::Added, added);
        }
    }

    fn count(&mut self, key: Key, count: Count) {
        let (counter, n) = match count {
            Count::EarlyAudio => (Counter::DroppedEarlyPacket, 1),
            Count::IgnoredAudio => (Counter::DroppedIdlePacket, 1),
            Count::BadPacket => (Counter::DroppedMalformedPacket, 1),
            Count::FrameDecoded => (Counter::FramesDecoded, 1),
            Count::IgnoredMessage => (Counter::DroppedIdleMessage, 1),
            Count::SecondHello => (Counter::DroppedSecondHello, 1),
            Count::Onset => (Counter::Onsets, 1),
            Count::FalseStart => (Counter::FalseStarts, 1),
            Count::LateOutcome => (Counter::DroppedLateOutcome, 1),
            Count::BlocksQueued(n) => (Counter::BlocksQueued, u64::from(n)),
            Count::BlocksDropped(n) => (Counter::DroppedBlock, u64::from(n)),
            Count::Underrun => {
                self.annotate(key, |turn| turn.underruns = turn.underruns.saturating_add(1));
                (Counter::Underruns, 1)
            }
            Count::ReplyCut => (Counter::DroppedReplyText, 1),
            Count::StopNotDurable => (Counter::StopsNotDurable, 1),
        };
        self.panel.add(counter, n);
    }

    /// Adds to the timeline of the connection's turn.
    fn annotate(&mut self, key: Key, change: impl FnOnce(&mut TurnRecord)) {
        if let Some(connection) = self.slots.get(key) {
            self.timelines.note(connection.turn, change);
        }
    }

    /// One line for each event, with the session and the turn. What a user said is for debugging only.
    fn note(&mut self, key: Key, now: Instant, note: Note) {
        let session = self.slots.get(key).map_or(SessionId(0), |connection| connection.id);
        match note {
            Note::TurnStarted(TurnId(turn)) => {
                self.panel.count(Counter::TurnsStarted);
                if let Some(connection) = self.slots.get_mut(key) {
                    self.timelines.begin(&mut connection.turn, TurnId(turn), &connection.device_id, now);
                }
                tracing::info!(%session, turn, "turn started");
            }
            Note::Heard(TurnId(turn), text, language) => {
                self.annotate(key, |turn| {
                    turn.heard_bytes = text.len() as u32;
                    turn.language = language.map_or([0; 2], |language| language.bytes());
                });
                let language = language.as_ref().map(|language| language.code());
                tracing::info!(%session, turn, language, bytes = text.len(), "heard");
                tracing::debug!(%session, turn, text, "heard, in words");
            }
            Note::TurnEnded(turn, end) => {
                self.turn_over(key, turn);
                self.count_turn(end);
                if let Some(connection) = self.slots.get_mut(key) {
                    self.timelines.end(&mut connection.turn, turn, end, now, self.panel.turns());
                }
                let ticket = Ticket { shard: self.id, slot: key.slot, generation: key.generation, turn };
                self.errands.ended.push(ticket);
                match end {
                    TurnEnd::Failed(stage, cause) => {
                        tracing::warn!(%session, turn = turn.0, stage = stage.name(), cause = cause.name(), "turn failed");
                    }
                    end => tracing::info!(%session, turn = turn.0, end = end.name(), "turn ended"),
                }
            }
            Note::JobFailed(_, _, Cause::Cancelled, _) => {}
            Note::JobFailed(TurnId(turn), stage, cause, detail) => {
                tracing::warn!(%session, turn, stage = stage.name(), cause = cause.name(), %detail, "job failed");
            }
            Note::Ignored(what) => tracing::debug!(%session, what, "ignored"),
        }
    }

    fn count_turn(&self, end: TurnEnd) {
        let counter = match end {
            TurnEnd::Complete => Counter::TurnsComplete,
            TurnEnd::Empty => Counter::TurnsEmpty,
            TurnEnd::Aborted | TurnEnd::BargeIn => Counter::TurnsAborted,
            TurnEnd::Failed(..) => Counter::TurnsFailed,
            TurnEnd::Closed => Counter::TurnsClosed,
        };
        self.panel.count(counter);
        if end == TurnEnd::BargeIn {
            self.panel.count(Counter::BargeIns);
        }
    }
}

fn series(milestone: Milestone) -> Series {
    match milestone {
        Milestone::EndOfUtterance => Series::EndOfUtterance,
        Milestone::FinalTranscript => Series::FinalTranscript,
        Milestone::FirstToken => Series::FirstToken,
        Milestone::FirstSentence => Series::FirstSentence,
        Milestone::FirstAudioReady => Series::FirstAudioReady,
        Milestone::FirstAudio => Series::FirstAudio,
        Milestone::ReplyEnd => Series::ReplyEnd,
    }
}
