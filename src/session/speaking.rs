//! How a session speaks: sentences to synthesis, packets to the device in time, one `tts stop` for each `tts start`.

use super::effect::{Count, Effect, Milestone, Note, TurnEnd};
use super::machine::{Kit, Pending, Session};
use super::reply::{CancelReason, Next};
use super::turn::{Step, Then, Turn, Voice};
use super::{Effects, emotion, spoken, words};
use crate::audio::pacing::{PaceRules, Pacer};
use crate::audio::phrase::Phrase;
use crate::format::Lang;
use crate::ids::Ticket;
use crate::job::{Cancel, Job, Speak, Stage, Work};
use crate::limits;
use crate::resilience::fault::Cause;
use crate::time::Instant;
use crate::wire::message::{ListenMode, ServerMessage};

impl Session {
    /// `tts start`. From here the turn owes a `tts stop`, which [`Session::finish`] or [`Session::end_turn`] pays.
    pub(super) fn open_voice(&mut self, now: Instant, answers: bool, kit: &mut Kit<'_>) {
        self.keep_ear_if_heard(kit);
        let rules = PaceRules {
            frame_ms: self.reply.frame_ms,
            lead_ms: self.rules.lead_ms,
            group: self.rules.group.unwrap_or(kit.group),
        };
        let pacer = Pacer::new(rules, now);
        let voice = Voice::new(pacer, answers);
        let Some(turn) = &mut self.turn else { return };
        turn.step = Step::Replying;
        turn.measured &= answers;
        turn.budget = turn.budget.min(now + self.rules.turn);
        turn.voice = Some(voice);
        kit.effects.send(ServerMessage::TtsStart);
    }

    /// A greeting of our own.
    pub(super) fn say_wake_reply(&mut self, now: Instant, kit: &mut Kit<'_>) {
        self.start_turn(now, kit);
        self.open_voice(now, false, kit);
        self.say_phrase(now, Phrase::WakeReply, Then::Rest, kit);
    }

    /// A farewell of our own, then the end.
    pub(super) fn say_farewell(&mut self, now: Instant, why: &'static str, kit: &mut Kit<'_>) {
        self.start_turn(now, kit);
        self.open_voice(now, false, kit);
        self.say_phrase(now, Phrase::Farewell, Then::Close(1000, why), kit);
    }

    /// Says one of our sentences in the opened voice: from the book, or synthesised where the book has no audio of it yet.
    pub(super) fn say_phrase(&mut self, now: Instant, phrase: Phrase, then: Then, kit: &mut Kit<'_>) {
        let text = kit.phrases.text(phrase, self.language);
        let audio = kit.phrases.audio(phrase, self.language, self.reply).cloned();
        let Some(turn) = &mut self.turn else { return };
        turn.measured = false;
        let Some(voice) = &mut turn.voice else { return };
        voice.then = then;
        voice.answers = false;
        voice.face_done = true;
        voice.splitter.end();
        match audio {
            Some(audio) => voice.reply.replace_with_phrase(text, Some(audio)),
            None => {
                let _ = voice.reply.add(text, &spoken::spoken(text));
                voice.reply.end();
            }
        }
        self.pump(now, kit);
    }

    /// The turn can not go on as it should: everything that runs is taken back, and the user hears that we are sorry.
    pub(super) fn fail(&mut self, now: Instant, stage: Stage, cause: Cause, kit: &mut Kit<'_>) {
        let Some(turn) = &mut self.turn else { return };
        let unheard = turn.voice.is_none();
        kit.effects.list.extend(turn.asr.take().map(Effect::Cancel));
        if unheard {
            self.open_voice(now, true, kit);
        }
        let phrase = if cause == Cause::Overload { Phrase::Busy } else { Phrase::Apology };
        let text = kit.phrases.text(phrase, self.language);
        let audio = kit.phrases.audio(phrase, self.language, self.reply).cloned();
        let Some(turn) = &mut self.turn else { return };
        turn.budget = Instant::NEVER;
        let Some(voice) = &mut turn.voice else { return };
        kit.effects.list.extend(voice.llm.take().map(|llm| Effect::Cancel(llm.job)));
        voice.splitter = Default::default();
        voice.splitter.end();
        voice.failed(stage, cause);
        voice.answers = false;
        voice.face_done = true;
        voice.reply.replace_with_phrase(text, audio);
        voice.pacer.supplied(now);
        self.pump(now, kit);
    }

    /// Moves the reply on as far as it goes now: text to sentences, sentences to synthesis, due packets to the device.
    pub(super) fn pump(&mut self, now: Instant, kit: &mut Kit<'_>) {
        loop {
            let Some(head) = self.voice_mut().map(|voice| voice.reply.head()) else { return };
            self.split(now, kit);
            self.ask(now, kit);
            let next = self.send_due(now, kit);
            let Some(voice) = self.voice_mut() else { return };
            kit.effects.list.extend(voice.reply.take_dropped().map(Effect::Cancel));
            if next == Next::End {
                return self.on_reply_sent(now, kit);
            }
            if voice.reply.head() == head {
                return;
            }
        }
    }

    /// Text to sentences, while there is room.
    fn split(&mut self, now: Instant, kit: &mut Kit<'_>) {
        let emoji = self.features.emoji;
        let Some(voice) = self.voice_mut() else { return };
        let mut first = false;
        while voice.reply.has_room() {
            let Some(sentence) = voice.splitter.next_sentence() else { break };
            if !std::mem::replace(&mut voice.face_done, true) && emoji {
                kit.effects.send(ServerMessage::Llm(emotion::of(&sentence)));
            }
            let shown = spoken::shown(&sentence);
            if !shown.is_empty() {
                first |= voice.reply.add(&shown, &spoken::spoken(&shown)).is_ok();
            }
        }
        if voice.splitter.is_done() && voice.llm.is_none() {
            voice.reply.end();
        }
        if first {
            self.mark(Milestone::FirstSentence, now, kit);
        }
    }

    /// Sentences to synthesis, as far ahead as is useful.
    fn ask(&mut self, now: Instant, kit: &mut Kit<'_>) {
        let own = self.language;
        let other = if own == Lang::ZH { Lang::EN } else { own };
        let Some(turn) = &mut self.turn else { return };
        let Some(voice) = &mut turn.voice else { return };
        while let Some(index) = voice.reply.next_to_speak() {
            let text = voice.reply.speech(index).to_string();
            let language = words::language_of(&text, other).unwrap_or(own);
            let left = if voice.is_silent() { turn.budget } else { Instant::NEVER };
            let first_byte_by = (now + self.rules.first_byte).min(left);
            // Synthesis may wait for the sentence before it to be played, and is then paced by its own.
            let deadline = first_byte_by + limits::SENTENCE_AUDIO * 2;
            let (cancel, ticket) = (Cancel::new(), Ticket { turn: turn.id, ..self.ticket });
            voice.reply.asked(index, cancel.clone(), first_byte_by);
            let speak = Speak { sentence: index, text, language, format: self.reply, first_byte_by };
            kit.effects.push(Effect::Submit(Job { ticket, deadline, cancel, work: Work::Speak(Box::new(speak)) }));
        }
    }

    /// Packets that are due, each sentence announced by its text.
    fn send_due(&mut self, now: Instant, kit: &mut Kit<'_>) -> Next {
        loop {
            let Some(turn) = &mut self.turn else { return Next::Wait };
            let Some(voice) = &mut turn.voice else { return Next::Wait };
            match voice.reply.poll_next() {
                Next::Text => {
                    if let Some(text) = voice.reply.take_text().filter(|text| !text.is_empty()) {
                        kit.effects.send(ServerMessage::SentenceStart(text));
                    }
                }
                Next::Packet if voice.pacer.is_due(now) => {
                    let sent = voice.pacer.sent(now);
                    let Some(taken) = voice.reply.take_packet() else { return Next::Wait };
                    if let Some(text) = taken.begins {
                        kit.effects.send(ServerMessage::SentenceStart(text.to_string()));
                    }
                    kit.effects.packet(taken.packet, sent.timestamp_ms, sent.due);
                    if sent.underrun {
                        kit.effects.push(Effect::Count(Count::Underrun));
                    }
                    self.mark(Milestone::FirstAudioReady, now, kit);
                    self.mark(Milestone::FirstAudio, now, kit);
                }
                Next::Packet => {
                    self.mark(Milestone::FirstAudioReady, now, kit);
                    return Next::Packet;
                }
                next => return next,
            }
        }
    }

    /// Everything has been handed out: `tts stop` waits until it has been played.
    fn on_reply_sent(&mut self, now: Instant, kit: &mut Kit<'_>) {
        let stop_after = if self.is_browser { self.rules.stop_after_browser } else { self.rules.stop_after };
        let Some(voice) = self.voice_mut() else { return };
        let played = voice.pacer.playout_end();
        if played.is_none() && voice.answers && (voice.reply.is_empty() || voice.end != TurnEnd::Complete) {
            let (stage, cause) = match voice.end {
                TurnEnd::Failed(stage, cause) => (stage, cause),
                _ => (Stage::Llm, Cause::Malformed),
            };
            return self.fail(now, stage, cause, kit);
        }
        let is_first = voice.stop_at.is_none();
        let stop_at = *voice.stop_at.get_or_insert(played.map_or(now, |played| played + stop_after));
        if is_first {
            let write_at = self.write_at(now, played);
            self.voice_mut().into_iter().for_each(|voice| voice.write_at = write_at);
        }
        if self.voice_mut().is_some_and(|voice| voice.write_at <= now) {
            self.write_reply(kit);
        }
        if stop_at <= now && !self.waits_for_disk(now, stop_at) {
            self.finish(now, kit);
        }
    }

    /// The reply has been played: `tts stop`, and what follows.
    pub(super) fn finish(&mut self, now: Instant, kit: &mut Kit<'_>) {
        let played = self.voice_mut().and_then(|voice| voice.pacer.playout_end());
        if let Some(played) = played {
            self.mark(Milestone::ReplyEnd, played, kit);
        }
        self.write_reply(kit);
        let Some(turn) = self.turn.take() else { return };
        let Some(voice) = turn.voice else { return };
        let durable = voice.kept.is_good();
        self.count_stop(durable, kit);
        kit.effects.send(ServerMessage::TtsStop { durable });
        kit.effects.push(Effect::Note(Note::TurnEnded(turn.id, voice.end)));
        self.touch(now);
        match voice.then {
            Then::Rest => self.rest(now, kit),
            Then::Close(code, why) => self.hang_up(now, code, why, kit),
        }
    }

    /// Ends the turn before its time: its jobs are taken back, its audio dropped, and if it spoke, `tts stop` is sent. What was
    /// played until now is remembered. Returns whether there was a voice to stop.
    pub(super) fn end_turn(&mut self, now: Instant, end: TurnEnd, reason: CancelReason, kit: &mut Kit<'_>) -> bool {
        let Some(mut turn) = self.turn.take() else { return false };
        let durable = self.write_heard(now, &turn, kit);
        Self::cancel_jobs(&mut turn, reason, kit.effects);
        let spoke = turn.voice.is_some();
        if spoke {
            kit.effects.push(Effect::DropAudio);
            kit.effects.send(ServerMessage::TtsStop { durable });
        }
        kit.effects.push(Effect::Note(Note::TurnEnded(turn.id, end)));
        spoke
    }

    /// Takes back whatever runs for a turn.
    pub(super) fn cancel_jobs(turn: &mut Turn, reason: CancelReason, effects: &mut Effects) {
        effects.list.extend(turn.asr.take().map(Effect::Cancel));
        if let Some(voice) = &mut turn.voice {
            effects.list.extend(voice.llm.take().map(|llm| Effect::Cancel(llm.job)));
            voice.reply.cancel(reason);
            effects.list.extend(voice.reply.take_dropped().map(Effect::Cancel));
        }
    }

    /// A turn is over: listening again by itself, except in manual mode, where the button decides. Speech that began meanwhile is
    /// the next turn.
    pub(super) fn rest(&mut self, now: Instant, kit: &mut Kit<'_>) {
        if self.leaving {
            return;
        }
        self.listening = self.armed && self.mode != ListenMode::Manual;
        self.heard_ms = 0;
        if !self.keep_ear_if_heard(kit) {
            return;
        }
        let pending = std::mem::replace(&mut self.pending, Pending::None);
        if pending == Pending::None || self.ear.is_none() {
            return;
        }
        self.open_utterance(now, kit);
        if let Pending::Ended(end_of_speech) = pending {
            self.conclude(now, end_of_speech, kit);
        }
    }

    /// `abort`, in whatever state: silence, and `tts stop` at once (checklist 12). An utterance that is open stays open.
    pub(super) fn on_abort(&mut self, now: Instant, kit: &mut Kit<'_>) {
        self.touch(now);
        let then = self.turn.as_ref().map_or(Then::Rest, |turn| turn.then());
        let busy = self.turn.is_some() && !self.is_hearing();
        match busy {
            true => self.silence(now, kit),
            false => kit.effects.send(ServerMessage::TtsStop { durable: true }),
        }
        match then {
            Then::Close(code, why) => self.hang_up(now, code, why, kit),
            Then::Rest if busy => self.rest(now, kit),
            Then::Rest => {}
        }
    }

    /// Ends the turn with a `tts stop`, whether it had a voice yet or not.
    pub(super) fn silence(&mut self, now: Instant, kit: &mut Kit<'_>) {
        if !self.end_turn(now, TurnEnd::Aborted, CancelReason::Abort, kit) {
            kit.effects.send(ServerMessage::TtsStop { durable: true });
        }
    }

    /// Reports a milestone, once.
    pub(super) fn mark(&mut self, milestone: Milestone, at: Instant, kit: &mut Kit<'_>) {
        let Some(turn) = &mut self.turn else { return };
        if turn.reaches(milestone) {
            kit.effects.push(Effect::Mark(milestone, at.since(turn.end_of_speech)));
        }
    }

    pub(super) fn voice_mut(&mut self) -> Option<&mut Voice> {
        self.turn.as_mut()?.voice.as_deref_mut()
    }
}
