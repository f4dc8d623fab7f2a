//! The row as each of the three providers: what its first result is, and which answer is none.

use super::{Chain, Line, Once, hedge};
use crate::audio::block::Speech;
use crate::job::{Converse, Recognise, ReplyEnd, Speak, Transcript};
use crate::providers::builtin;
use crate::providers::{Call, Flow, Keeping, LanguageModel, Recogniser, Sound, Synthesiser};
use crate::resilience::fault::{Cause, Fault};
use crate::resilience::ladder::Rung;
use crate::time::Instant;
use crate::workers::Factory;
use crate::workers::bench::Built;
use std::sync::Arc;

/// The row as a recogniser.
pub fn recognisers(line: Arc<Line<dyn Recogniser>>) -> Factory<dyn Recogniser> {
    Arc::new(move |index| Ok(Box::new(Chain::new(line.clone(), index)?)))
}

/// The row without its first, for when that has more to do than it can. There is somebody in it.
#[derive(Clone)]
pub struct Behind(Arc<Line<dyn Recogniser>>);

impl Behind {
    /// Of that row, if there is anybody behind its first.
    pub fn of(line: &Arc<Line<dyn Recogniser>>) -> Option<Behind> {
        (line.members.len() > 1).then(|| Behind(line.clone()))
    }

    /// Whether one of them would be asked now, and at once.
    pub fn is_open(&self, now: Instant) -> bool {
        self.0.members[1..].iter().any(|member| member.gate.is_open(now))
    }

    /// For one call.
    ///
    /// # Errors
    /// None: who cannot be made fails at the call.
    pub fn recogniser(&self) -> Built<dyn Recogniser> {
        Ok(Box::new(Chain::behind(self.0.clone())))
    }
}

/// The row as a language model.
pub fn language_models(line: Arc<Line<dyn LanguageModel>>) -> Factory<dyn LanguageModel> {
    Arc::new(move |index| Ok(Box::new(Chain::new(line.clone(), index)?)))
}

/// The row as a synthesiser.
pub fn synthesisers(line: Arc<Line<dyn Synthesiser>>) -> Factory<dyn Synthesiser> {
    Arc::new(move |index| Ok(Box::new(Chain::new(line.clone(), index)?)))
}

impl Recogniser for Chain<dyn Recogniser> {
    fn recognise(&mut self, speech: Speech<'_>, how: &Recognise, call: &Call) -> Result<Transcript, Fault> {
        let once: Once<'_, dyn Recogniser, Transcript> = &mut |recogniser, attempt| {
            let call = Call { deadline: attempt.by, ..attempt.call.clone() };
            recogniser.recognise(speech, how, &call)
        };
        self.run(call, call.deadline, once, |_| Rung::Cached)
    }
}

impl LanguageModel for Chain<dyn LanguageModel> {
    fn converse(
        &mut self,
        ask: &Converse,
        call: &Call,
        on_text: &mut dyn FnMut(&str) -> Flow,
    ) -> Result<ReplyEnd, Fault> {
        let line = self.line.clone();
        let once: Once<'_, dyn LanguageModel, ReplyEnd> = &mut |model, attempt| {
            let (mut bytes, mut stopped) = (0, false);
            let mut on_text = |text: &str| {
                if !text.is_empty() {
                    attempt.first();
                }
                bytes += text.len();
                let flow = on_text(text);
                stopped |= flow == Flow::Stop;
                flow
            };
            if attempt.is_news {
                on_text(builtin::outage(ask.language));
            }
            let sooner =
                (attempt.by != ask.first_token_by).then(|| Converse { first_token_by: attempt.by, ..ask.clone() });
            let ask = sooner.as_ref().unwrap_or(ask);
            let end = match attempt.hedge {
                None => model.converse(ask, &attempt.call, &mut on_text),
                Some(hedge) => {
                    let raced = hedge::race(&line, hedge, model, ask, &attempt.call, &mut on_text);
                    attempt.won_by(raced.winner);
                    if raced.has_failed {
                        attempt.broke_off();
                    }
                    raced.end
                }
            }?;
            if bytes == 0 && !stopped {
                return Err(Fault::new(Cause::Malformed, "an answer without text"));
            }
            if end == ReplyEnd::Cut && !stopped && attempt.hedge.is_none() {
                attempt.broke_off();
            }
            Ok(end)
        };
        self.run(call, ask.first_token_by, once, |_| Rung::Cached)
    }
}

impl Synthesiser for Chain<dyn Synthesiser> {
    fn speak(&mut self, what: &Speak, call: &Call, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Result<(), Fault> {
        let once: Once<'_, dyn Synthesiser, ()> = &mut |synthesiser, attempt| {
            let mut stopped = false;
            let mut on_audio = |sound: Sound<'_>| {
                if !sound.pcm.is_empty() || sound.packet.is_some() {
                    attempt.first();
                }
                let flow = on_audio(sound);
                stopped |= flow == Flow::Stop;
                flow
            };
            match attempt.by == what.first_byte_by {
                true => synthesiser.speak(what, &attempt.call, &mut on_audio)?,
                false => {
                    let what = Speak { first_byte_by: attempt.by, ..what.clone() };
                    synthesiser.speak(&what, &attempt.call, &mut on_audio)?;
                }
            }
            if !attempt.has_first() && !stopped && !what.text.trim().is_empty() {
                return Err(Fault::new(Cause::Malformed, "speech without sound"));
            }
            Ok(())
        };
        self.run(call, what.first_byte_by, once, |chain| chain.fall_back(what, call))
    }

    fn keeping(&mut self) -> Option<&mut dyn Keeping> {
        self.line.shelf.get().is_some().then_some(self as &mut dyn Keeping)
    }
}
