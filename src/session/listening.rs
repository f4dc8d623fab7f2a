//! How a session listens: when a packet matters, what an edge of speech means, and who ends an utterance.

use super::effect::{Count, Effect, Milestone, Note, TurnEnd};
use super::machine::{Kit, Pending, Session};
use super::reply::CancelReason;
use super::turn::{Step, Then, Turn};
use super::words;
use crate::audio::ear::{Edge, Heard, Listening, Utterance};
use crate::format::Lang;
use crate::job::{Cancel, Job, Recognise, Work};
use crate::limits;
use crate::time::Instant;
use crate::wire::message::ListenMode;

impl Session {
    /// `listen start`. While a turn runs it changes nothing in auto and realtime (devices send it right behind `detect`); in
    /// manual mode the button was pressed again, and the turn gives way (checklist 30, 37).
    pub(super) fn on_start(&mut self, now: Instant, mode: Option<ListenMode>, kit: &mut Kit<'_>) {
        self.mode = mode.unwrap_or(self.mode);
        self.armed = true;
        self.touch(now);
        match self.turn.as_ref().map(|turn| (turn.step, turn.then())) {
            None => {}
            Some((Step::Hearing, _)) => {
                self.end_turn(now, TurnEnd::Empty, CancelReason::Abort, kit);
            }
            Some((_, then)) if self.mode == ListenMode::Manual && !matches!(then, Then::Close(1001, _)) => {
                self.silence(now, kit);
            }
            Some((step, _)) => {
                if step == Step::Replying {
                    self.keep_ear_if_heard(kit);
                }
                return;
            }
        }
        self.listening = true;
        self.reset_ear(now);
    }

    /// `listen stop`: what was said until now is the utterance.
    pub(super) fn on_stop(&mut self, now: Instant, kit: &mut Kit<'_>) {
        self.armed = false;
        self.touch(now);
        match self.turn.as_ref().map(|turn| turn.step) {
            Some(Step::Hearing) => self.finish_utterance(now, kit),
            None if self.listening => self.finish_utterance(now, kit),
            Some(Step::Replying) => self.give_ear_back(kit),
            _ => self.pending = Pending::None,
        }
        self.listening = false;
    }

    /// `listen detect`: a wake word, or what the user typed. Either takes the floor; empty, it only resets the ear.
    pub(super) fn on_detect(&mut self, now: Instant, text: String, kit: &mut Kit<'_>) {
        let text = text.trim();
        if text.is_empty() {
            if self.turn.as_ref().is_none_or(|turn| turn.step == Step::Hearing) {
                self.end_turn(now, TurnEnd::Empty, CancelReason::Abort, kit);
                self.reset_ear(now);
            }
            return;
        }
        self.mute_until = now + self.rules.mute;
        if !words::is_one_of(text, &self.rules.wake_words) {
            return self.take_text(now, text, kit);
        }
        if self.is_leaving() {
            return;
        }
        self.touch(now);
        let was_listening = self.listening && (self.turn.is_none() || self.is_hearing());
        self.end_turn(now, TurnEnd::Aborted, CancelReason::Abort, kit);
        self.reset_ear(now);
        if self.rules.wake_reply {
            return self.say_wake_reply(now, kit);
        }
        if !was_listening {
            self.rest(now, kit);
        }
    }

    /// The extension `text`.
    pub(super) fn on_text(&mut self, now: Instant, text: String, kit: &mut Kit<'_>) {
        match text.trim() {
            "" => kit.effects.push(Effect::Count(Count::IgnoredMessage)),
            text => self.take_text(now, text, kit),
        }
    }

    /// A text as the user's side of a turn.
    fn take_text(&mut self, now: Instant, text: &str, kit: &mut Kit<'_>) {
        if self.is_leaving() {
            return;
        }
        self.touch(now);
        self.end_turn(now, TurnEnd::Aborted, CancelReason::Abort, kit);
        self.reset_ear(now);
        let text = text_within(text, limits::TYPED_TEXT_BYTES);
        self.language = self.language_of(text);
        self.start_turn(now, kit);
        self.answer(now, text, kit);
    }

    /// One packet of the uplink.
    pub(super) fn on_packet(&mut self, now: Instant, packet: &[u8], kit: &mut Kit<'_>) {
        if let Some(ignored) = self.ignores_audio() {
            return kit.effects.push(Effect::Count(ignored));
        }
        if self.ear_over && self.is_poured() {
            self.reset_ear(now);
        }
        let kind = self.kind_of_listening();
        let mute = self.mute_until.until(now);
        let ear = self.ear.get_or_insert_with(|| {
            let mut ear = kit.ears.take(self.uplink);
            ear.restart(kind, mute);
            (self.ear_kind, self.ear_over) = (kind, false);
            ear
        });
        self.stall_at = now + limits::STALL;
        let Ok(heard) = ear.hear(packet) else { return self.on_bad_packet(now, kit) };
        if packet.is_empty() {
            return;
        }
        self.bad_packets = 0;
        kit.effects.push(Effect::Count(Count::FrameDecoded));
        self.on_heard(now, heard, kit);
    }

    fn on_heard(&mut self, now: Instant, heard: Heard, kit: &mut Kit<'_>) {
        match heard.edge {
            Some(Edge::Onset) => self.on_onset(now, kit),
            Some(Edge::FalseStart) => self.on_false_start(now, kit),
            Some(Edge::End(utterance)) => return self.on_end(now, utterance, kit),
            None => self.on_voice_over(now, heard, kit),
        }
        if self.is_hearing() {
            kit.effects.push(Effect::Pour);
        }
        self.heard_ms = self.heard_ms.saturating_add(heard.ms);
        // A button's `stop` can be lost: the device then streams for ever (protocol.md 4.1).
        if self.mode == ListenMode::Manual && self.heard_ms >= limits::UTTERANCE.as_millis() as u32 {
            self.finish_utterance(now, kit);
            self.listening = false;
        }
    }

    /// Whether everything of the utterances that the ear has ended is in its lane, so that it can begin another.
    fn is_poured(&self) -> bool {
        self.pending == Pending::None && self.turn.as_ref().is_none_or(|turn| turn.asr.is_none() || turn.poured)
    }

    /// Why audio does not matter now, if so.
    fn ignores_audio(&self) -> Option<Count> {
        let heard = match self.turn.as_ref().map(|turn| turn.step) {
            None => self.listening,
            Some(Step::Hearing) => true,
            Some(_) => self.hears_over_turns(),
        };
        match heard {
            true => None,
            false if self.turn.is_none() && !self.armed => Some(Count::EarlyAudio),
            false => Some(Count::IgnoredAudio),
        }
    }

    /// Speech matters while we think and speak: in realtime mode, and for auto clients that cancel echo (decision 12).
    pub(super) fn hears_over_turns(&self) -> bool {
        let mode = match self.mode {
            ListenMode::Realtime => true,
            ListenMode::Auto => self.features.aec,
            ListenMode::Manual => false,
        };
        self.armed && mode
    }

    fn on_onset(&mut self, now: Instant, kit: &mut Kit<'_>) {
        kit.effects.push(Effect::Count(Count::Onset));
        match self.turn.as_ref().map(|turn| turn.step) {
            None => self.open_utterance(now, kit),
            Some(Step::Hearing) => {}
            Some(_) => {
                self.pending = Pending::Onset(0);
                self.barge_in_if_sure(now, kit);
            }
        }
    }

    fn on_false_start(&mut self, now: Instant, kit: &mut Kit<'_>) {
        kit.effects.push(Effect::Count(Count::FalseStart));
        self.pending = Pending::None;
        if self.is_hearing() {
            self.count_blocks(kit);
            self.end_turn(now, TurnEnd::Empty, CancelReason::Abort, kit);
        }
    }

    fn on_end(&mut self, now: Instant, utterance: Utterance, kit: &mut Kit<'_>) {
        self.ear_over = true;
        match self.turn.as_ref().map(|turn| turn.step) {
            Some(Step::Hearing) => self.conclude(now, now - utterance.wait, kit),
            None => {
                self.open_utterance(now, kit);
                self.conclude(now, now - utterance.wait, kit);
            }
            Some(_) => {
                self.pending = Pending::Ended(now - utterance.wait);
                self.barge_in_if_sure(now, kit);
            }
        }
    }

    /// Voice that goes on over a turn.
    fn on_voice_over(&mut self, now: Instant, heard: Heard, kit: &mut Kit<'_>) {
        let Pending::Onset(ms) = self.pending else { return };
        if heard.voiced {
            self.pending = Pending::Onset(ms.saturating_add(heard.ms));
            self.barge_in_if_sure(now, kit);
        }
    }

    /// Whether the pending speech is more than a noise.
    pub(super) fn is_sure(&self) -> bool {
        match self.pending {
            Pending::None => false,
            Pending::Onset(ms) => ms >= self.rules.barge_in_ms,
            Pending::Ended(_) => true,
        }
    }

    /// The user speaks over our reply: it gives way, and the speech becomes the next turn. While the last utterance is still being
    /// recognised its transcript is awaited first, and a farewell is not interrupted.
    fn barge_in_if_sure(&mut self, now: Instant, kit: &mut Kit<'_>) {
        let replying = self.turn.as_ref().is_some_and(|turn| turn.step == Step::Replying);
        if !self.is_sure() || !replying || self.is_leaving() {
            return;
        }
        self.end_turn(now, TurnEnd::BargeIn, CancelReason::BargeIn, kit);
        self.rest(now, kit);
    }

    /// An utterance begins: a turn with its recognition, which gets the audio from now on.
    pub(super) fn open_utterance(&mut self, now: Instant, kit: &mut Kit<'_>) {
        self.start_turn(now, kit);
        let deadline = now + limits::UTTERANCE + self.rules.asr;
        let (cancel, ticket) = (Cancel::new(), self.ticket);
        let recognise = Recognise { language: self.rules.language, hint: self.language };
        if let Some(turn) = &mut self.turn {
            turn.asr = Some(cancel.clone());
        }
        kit.effects.push(Effect::Submit(Job { ticket, deadline, cancel, work: Work::Recognise(recognise) }));
        kit.effects.push(Effect::Pour);
    }

    /// Ends the utterance from outside: stop, length, or a line gone silent.
    fn finish_utterance(&mut self, now: Instant, kit: &mut Kit<'_>) {
        match self.ear.as_mut().and_then(|ear| ear.finish()) {
            Some(utterance) => self.on_end(now, utterance, kit),
            None => {
                if self.is_hearing() {
                    self.end_turn(now, TurnEnd::Empty, CancelReason::Abort, kit);
                }
                self.pending = Pending::None;
                self.ear_over = true;
                // What is being recognised may not all be in its lane yet.
                if self.turn.as_ref().is_none_or(|turn| turn.step == Step::Replying) {
                    self.give_ear_back(kit);
                }
            }
        }
    }

    /// The utterance is over: recognition has its deadline from here, the turn its budget.
    pub(super) fn conclude(&mut self, now: Instant, end_of_speech: Instant, kit: &mut Kit<'_>) {
        self.touch(now);
        self.listening &= self.mode != ListenMode::Manual;
        self.count_blocks(kit);
        let Some(turn) = &mut self.turn else { return };
        turn.step = Step::Recognising { by: now + self.rules.asr };
        turn.budget = now + self.rules.turn;
        turn.end_of_speech = end_of_speech;
        let early = turn.asr_early.take();
        kit.effects.push(Effect::Pour);
        self.mark(Milestone::EndOfUtterance, now, kit);
        if let Some(heard) = early {
            self.on_recognised(now, heard, kit);
        }
    }

    /// No packets for a while.
    pub(super) fn on_stall(&mut self, now: Instant, kit: &mut Kit<'_>) {
        // An ear that is kept is looked at again.
        self.stall_at = if self.ear.is_some() { now + limits::STALL } else { Instant::NEVER };
        match self.turn.as_ref().map(|turn| turn.step) {
            // The ear may still hold blocks of it.
            Some(Step::Recognising { .. }) if self.pending == Pending::None => {}
            Some(Step::Replying) if self.pending == Pending::None => self.give_ear_back(kit),
            _ => self.finish_utterance(now, kit),
        }
    }

    /// A binary message whose framing is wrong. Who is not listened to is not judged, as with packets.
    pub(super) fn on_bad_frame(&mut self, now: Instant, kit: &mut Kit<'_>) {
        match self.ignores_audio() {
            Some(_) => kit.effects.push(Effect::Count(Count::BadPacket)),
            None => self.on_bad_packet(now, kit),
        }
    }

    fn on_bad_packet(&mut self, now: Instant, kit: &mut Kit<'_>) {
        kit.effects.push(Effect::Count(Count::BadPacket));
        self.bad_packets += 1;
        if self.bad_packets >= limits::BAD_PACKETS {
            self.refuse_audio(now, kit);
        }
    }

    /// Opens the next turn.
    pub(super) fn start_turn(&mut self, now: Instant, kit: &mut Kit<'_>) {
        self.ticket.turn = self.ticket.turn.next();
        self.turn = Some(Turn::new(self.ticket.turn, now));
        kit.effects.push(Effect::Note(Note::TurnStarted(self.ticket.turn)));
    }

    /// The language of a text, as its characters tell; else the one spoken until now.
    pub(super) fn language_of(&self, text: &str) -> Lang {
        let other = if self.language == Lang::ZH { Lang::EN } else { self.language };
        words::language_of(text, other).unwrap_or(self.language)
    }

    pub(super) fn is_hearing(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.step == Step::Hearing)
    }

    /// A close follows what is being said.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving || self.turn.as_ref().is_some_and(|turn| turn.then() != Then::Rest)
    }

    /// Forgets what the ear has of an utterance.
    fn reset_ear(&mut self, now: Instant) {
        self.heard_ms = 0;
        self.pending = Pending::None;
        let (kind, mute) = (self.kind_of_listening(), self.mute_until.until(now));
        if let Some(ear) = &mut self.ear {
            ear.restart(kind, mute);
            (self.ear_kind, self.ear_over) = (kind, false);
        }
    }

    /// Gives the ear back unless it goes on listening over turns, in the way the mode wants. Returns whether it does.
    pub(super) fn keep_ear_if_heard(&mut self, kit: &mut Kit<'_>) -> bool {
        let keep = self.hears_over_turns() && self.ear_kind == self.kind_of_listening();
        if !keep {
            self.give_ear_back(kit);
        }
        keep
    }

    /// Gives the ear back to the shard: codec state is held only while it is needed.
    pub(super) fn give_ear_back(&mut self, kit: &mut Kit<'_>) {
        self.count_blocks(kit);
        self.stall_at = Instant::NEVER;
        self.pending = Pending::None;
        if let Some(ear) = self.ear.take() {
            kit.ears.give_back(ear);
        }
    }

    fn count_blocks(&mut self, kit: &mut Kit<'_>) {
        let Some(ear) = &mut self.ear else { return };
        let totals = ear.take_totals();
        for (blocks, count) in
            [(totals.received.0, Count::BlocksQueued as fn(u32) -> Count), (totals.dropped.0, Count::BlocksDropped)]
        {
            if blocks > 0 {
                kit.effects.push(Effect::Count(count(blocks.min(u64::from(u32::MAX)) as u32)));
            }
        }
    }

    fn kind_of_listening(&self) -> Listening {
        match self.mode {
            ListenMode::Manual => Listening::Manual,
            ListenMode::Auto | ListenMode::Realtime => Listening::Endpointed,
        }
    }
}

/// As much of `text` as `bytes` holds, cut between characters.
pub(super) fn text_within(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
