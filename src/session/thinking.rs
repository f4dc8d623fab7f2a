//! How a session thinks: from a transcript to the model's answer, and what follows when a service fails.

use super::effect::{Count, Effect, Milestone, Note, TurnEnd};
use super::machine::{Kit, Session};
use super::reply::{CancelReason, Packed};
use super::turn::{Heard, Llm, Step, Then};
use super::words;
use crate::audio::phrase::Phrase;
use crate::ids::TurnId;
use crate::job::{Cancel, Converse, Failure, Job, Outcome, PacketBlock, ReplyEnd, Stage, TextBlock, Transcript, Work};
use crate::limits;
use crate::resilience::fault::Cause;
use crate::time::Instant;
use crate::wire::message::ServerMessage;

impl Session {
    /// News from a worker. What belongs to a turn that is over, or to a job that was taken back, is dropped.
    pub(super) fn on_outcome(&mut self, now: Instant, turn: TurnId, outcome: Outcome, kit: &mut Kit<'_>) {
        if self.turn.as_ref().is_none_or(|current| current.id != turn) {
            return kit.effects.push(Effect::Count(Count::LateOutcome));
        }
        match outcome {
            Outcome::Transcript(transcript) => self.on_asr(now, Ok(transcript), kit),
            Outcome::Token(block) => self.on_token(now, &block, kit),
            Outcome::ReplyEnd(end) => self.on_reply_end(now, end, kit),
            Outcome::Packet(block) => self.on_audio(now, &block, kit),
            Outcome::SpeechEnd { sentence, .. } => self.on_speech_end(now, sentence, kit),
            Outcome::Failed(failure) => self.on_failed(now, *failure, kit),
        }
    }

    /// A job that found no place.
    pub(super) fn on_refused(&mut self, now: Instant, job: &Job, cause: Cause, kit: &mut Kit<'_>) {
        let sentence = if let Work::Speak(speak) = &job.work { speak.sentence } else { 0 };
        let fault = crate::resilience::fault::Fault::new(cause, "not started");
        let failure = Failure { stage: job.stage(), sentence, fault };
        self.on_outcome(now, job.ticket.turn, Outcome::Failed(Box::new(failure)), kit);
    }

    fn on_failed(&mut self, now: Instant, failure: Failure, kit: &mut Kit<'_>) {
        let Failure { stage, sentence, fault } = failure;
        let wanted = self.turn.as_ref().is_some_and(|turn| match stage {
            Stage::Asr => turn.asr.is_some(),
            Stage::Llm => turn.voice.as_ref().is_some_and(|voice| voice.llm.is_some()),
            Stage::Tts => turn.voice.as_ref().is_some_and(|voice| voice.reply.awaits(sentence)),
        });
        if !wanted {
            return kit.effects.push(Effect::Count(Count::LateOutcome));
        }
        self.note_failure(stage, fault.cause, fault.detail, kit);
        match stage {
            Stage::Asr => self.on_asr(now, Err(fault.cause), kit),
            Stage::Llm => self.on_llm_failed(now, fault.cause, kit),
            Stage::Tts => {
                if let Some(voice) = self.voice_mut() {
                    voice.reply.job_ended(sentence);
                }
                self.on_tts_failed(now, sentence, fault.cause, kit);
            }
        }
    }

    /// Recognition answered. Before the utterance is over the answer waits: nobody is interrupted by an apology.
    fn on_asr(&mut self, now: Instant, heard: Heard, kit: &mut Kit<'_>) {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.asr.is_some()) else {
            return kit.effects.push(Effect::Count(Count::LateOutcome));
        };
        turn.asr = None;
        match turn.step {
            Step::Hearing => turn.asr_early = Some(heard),
            Step::Recognising { .. } => self.on_recognised(now, heard, kit),
            Step::Replying => {}
        }
    }

    /// The utterance is over and its transcript there, or not to be had.
    pub(super) fn on_recognised(&mut self, now: Instant, heard: Heard, kit: &mut Kit<'_>) {
        match heard {
            Ok(transcript) => self.on_transcript(now, *transcript, kit),
            // Nobody is interrupted by an apology: what the user says now is the next turn.
            Err(cause) if self.is_sure() => {
                self.end_turn(now, TurnEnd::Failed(Stage::Asr, cause), CancelReason::BargeIn, kit);
                self.rest(now, kit);
            }
            Err(cause) => self.fail(now, Stage::Asr, cause, kit),
        }
    }

    fn on_transcript(&mut self, now: Instant, transcript: Transcript, kit: &mut Kit<'_>) {
        self.mark(Milestone::FinalTranscript, now, kit);
        let text = super::listening::text_within(transcript.text.trim(), limits::TRANSCRIPT_BYTES);
        let turn = self.ticket.turn;
        if words::without_outer_marks(text).is_empty() {
            self.end_turn(now, TurnEnd::Empty, CancelReason::Abort, kit);
            return self.rest(now, kit);
        }
        self.language = transcript.language.unwrap_or_else(|| self.language_of(text));
        kit.effects.push(Effect::Note(Note::Heard(turn, text.to_string(), transcript.language)));
        if self.is_sure() && !words::is_one_of(text, &self.rules.exit_words) {
            return self.go_on_hearing(now, text, kit);
        }
        self.answer(now, text, kit);
    }

    /// The user has gone on speaking: what was understood is shown and remembered, and answered with what follows.
    fn go_on_hearing(&mut self, now: Instant, text: &str, kit: &mut Kit<'_>) {
        kit.effects.send(ServerMessage::Stt(words::without_outer_marks(text).to_string()));
        if let Some(turn) = &mut self.turn {
            turn.user = text.to_string();
        }
        self.end_turn(now, TurnEnd::BargeIn, CancelReason::BargeIn, kit);
        self.rest(now, kit);
    }

    /// Answers what the user said or typed: `stt`, `tts start`, and the model is asked. The order gives the device the time that
    /// it needs between `tts start` and the first packet.
    pub(super) fn answer(&mut self, now: Instant, text: &str, kit: &mut Kit<'_>) {
        let on_screen = match words::without_outer_marks(text) {
            "" => text,
            bare => bare,
        };
        kit.effects.send(ServerMessage::Stt(on_screen.to_string()));
        self.open_voice(now, true, kit);
        if words::is_one_of(text, &self.rules.exit_words) {
            return self.say_phrase(now, Phrase::Farewell, Then::Close(1000, "goodbye"), kit);
        }
        let Some(turn) = &mut self.turn else { return };
        let Some(voice) = &mut turn.voice else { return };
        turn.user = text.to_string();
        let persona = if self.language.phrase_language() == crate::format::Lang::ZH {
            &self.rules.persona_zh
        } else {
            &self.rules.persona
        };
        let persona = persona.replace("{language}", self.language.code());
        let tokens = self.rules.dialogue_tokens;
        let dialogue = self.dialogue.get_or_insert_default().window(&persona, text, tokens);
        let (cancel, ticket) = (Cancel::new(), self.ticket);
        let (first_token_by, by) = ((now + self.rules.first_token).min(turn.budget), now + self.rules.llm);
        voice.llm = Some(Llm { job: cancel.clone(), first_token_by, by });
        let work = Work::Converse(Box::new(Converse { dialogue, language: self.language, first_token_by }));
        kit.effects.push(Effect::Submit(Job { ticket, deadline: by, cancel, work }));
    }

    fn on_token(&mut self, now: Instant, block: &TextBlock, kit: &mut Kit<'_>) {
        let Some(voice) = self.voice_mut().filter(|voice| voice.llm.is_some()) else {
            return kit.effects.push(Effect::Count(Count::LateOutcome));
        };
        let left = limits::REPLY_BYTES.saturating_sub(voice.text_bytes);
        let text = super::listening::text_within(block.text(), left);
        voice.text_bytes += text.len();
        voice.splitter.push(text);
        if let Some(llm) = &mut voice.llm {
            llm.first_token_by = Instant::NEVER;
        }
        if text.len() < block.text().len() {
            // Long enough for any answer: the rest is not waited for.
            kit.effects.list.extend(voice.llm.take().map(|llm| Effect::Cancel(llm.job)));
            voice.splitter.end();
            kit.effects.push(Effect::Count(Count::ReplyCut));
        }
        self.mark(Milestone::FirstToken, now, kit);
        self.pump(now, kit);
    }

    fn on_reply_end(&mut self, now: Instant, _end: ReplyEnd, kit: &mut Kit<'_>) {
        let Some(voice) = self.voice_mut().filter(|voice| voice.llm.is_some()) else {
            return kit.effects.push(Effect::Count(Count::LateOutcome));
        };
        voice.llm = None;
        voice.splitter.end();
        self.pump(now, kit);
    }

    /// Before the first token: an apology. After it: what was said stands and is finished cleanly.
    fn on_llm_failed(&mut self, now: Instant, cause: Cause, kit: &mut Kit<'_>) {
        let Some(voice) = self.voice_mut() else { return };
        voice.llm = None;
        if voice.text_bytes == 0 {
            return self.fail(now, Stage::Llm, cause, kit);
        }
        voice.failed(Stage::Llm, cause);
        voice.splitter.end();
        self.pump(now, kit);
    }

    fn on_audio(&mut self, now: Instant, block: &PacketBlock, kit: &mut Kit<'_>) {
        let by = now + self.rules.first_byte;
        let packets_max = limits::SENTENCE_AUDIO.as_millis() as u32 / u32::from(self.reply.frame_ms.max(1));
        let Some(voice) = self.voice_mut() else {
            return kit.effects.push(Effect::Count(Count::LateOutcome));
        };
        let waited = voice.reply.packet_waits();
        match voice.reply.packet(block, by, packets_max) {
            Packed::Late => kit.effects.push(Effect::Count(Count::LateOutcome)),
            Packed::Part => {}
            Packed::TooMuch => {
                self.note_failure(Stage::Tts, Cause::Malformed, "too much audio".into(), kit);
                self.on_tts_failed(now, block.sentence, Cause::Malformed, kit);
            }
            Packed::Whole => {
                if block.sentence == voice.reply.head() && !waited {
                    voice.pacer.supplied(now);
                }
                self.pump(now, kit);
            }
        }
    }

    fn on_speech_end(&mut self, now: Instant, sentence: u16, kit: &mut Kit<'_>) {
        if !self.voice_mut().is_some_and(|voice| voice.reply.speech_end(sentence)) {
            return kit.effects.push(Effect::Count(Count::LateOutcome));
        }
        self.pump(now, kit);
    }

    /// A sentence without (more) audio: its text is shown all the same, and the reply goes on.
    fn on_tts_failed(&mut self, now: Instant, sentence: u16, cause: Cause, kit: &mut Kit<'_>) {
        let Some(voice) = self.voice_mut() else { return };
        voice.reply.speech_failed(sentence);
        voice.failed(Stage::Tts, cause);
        self.pump(now, kit);
    }

    /// Deadlines that have passed: each ends what it guards.
    pub(super) fn on_deadlines(&mut self, now: Instant, kit: &mut Kit<'_>) {
        // Each round ends one wait; there are no more waits than sentences and stages.
        for _ in 0..limits::REPLY_SENTENCES + 4 {
            let Some(turn) = self.turn.as_mut().filter(|turn| turn.deadline() <= now) else { return };
            let (budget, step) = (turn.budget, turn.step);
            let Some(voice) = &mut turn.voice else {
                if let (Step::Recognising { .. }, Some(asr)) = (step, turn.asr.take()) {
                    kit.effects.push(Effect::Cancel(asr));
                    self.note_failure(Stage::Asr, Cause::Timeout, "deadline".into(), kit);
                }
                self.on_recognised(now, Err(Cause::Timeout), kit);
                continue;
            };
            if voice.is_silent() && budget <= now {
                let stage = if voice.llm.is_some() { Stage::Llm } else { Stage::Tts };
                self.note_failure(stage, Cause::Timeout, "turn budget".into(), kit);
                self.fail(now, stage, Cause::Timeout, kit);
            } else if voice.llm.as_ref().is_some_and(|llm| llm.first_token_by.min(llm.by) <= now) {
                kit.effects.list.extend(voice.llm.take().map(|llm| Effect::Cancel(llm.job)));
                self.note_failure(Stage::Llm, Cause::Timeout, "deadline".into(), kit);
                self.on_llm_failed(now, Cause::Timeout, kit);
            } else if let Some((_, sentence)) = voice.reply.overdue_at() {
                self.note_failure(Stage::Tts, Cause::Timeout, "first byte".into(), kit);
                self.on_tts_failed(now, sentence, Cause::Timeout, kit);
            }
        }
    }

    fn note_failure(&self, stage: Stage, cause: Cause, detail: Box<str>, kit: &mut Kit<'_>) {
        kit.effects.push(Effect::Note(Note::JobFailed(self.ticket.turn, stage, cause, detail)));
    }
}
