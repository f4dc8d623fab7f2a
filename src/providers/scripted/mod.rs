//! Stand-ins for the three services: they say what a script says, as slowly and as badly as it says.
//!
//! Tests, demonstrations and benches use them in place of real services, so all they do follows from the script and from what
//! they are given; there is no dice. A script is a list of entries, used in turn and then from the start again; workers that
//! share a [`Script`] take turns in it. An entry is the text to answer with, or a fault:
//!
//! ```text
//!   !hang          never answers: the call ends at its deadline, or when it is taken back
//!   !fail          Unavailable        !refuse   Refused        !garbage   Malformed
//!   !empty         answers, with nothing in it
//!   !cut [text]    breaks off half way: LLM Ok(Cut), TTS Unavailable after half of the audio, ASR Unavailable
//!   !slow N [text] as without it, N ms later
//!   !long N        ASR, LLM: N bytes of text; TTS: N ms of audio
//! ```
//!
//! With an empty script the recogniser says how long the utterance was, the model repeats what it was told, and the
//! synthesiser hums for [`MS_PER_CHAR`] per character, [`MS_LEAST`] at least: a test can compute how many packets to expect.

use super::patience::Patience;
use super::{About, Call, Fingerprint, Flow, LanguageModel, Recogniser, Sound, Synthesiser};
use crate::audio::block::Speech;
use crate::format::Lang;
use crate::job::{Converse, Recognise, ReplyEnd, Role, Speak, Transcript};
use crate::resilience::fault::{Cause, Fault};
use crate::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Length of the hum for one character, ms.
pub const MS_PER_CHAR: u64 = 60;
/// Length of the shortest hum, ms.
pub const MS_LEAST: u64 = 300;

/// A list of entries that several workers read in turn. Clones share their place in it.
#[derive(Clone, Debug, Default)]
pub struct Script {
    entries: Arc<[Entry]>,
    next: Arc<AtomicUsize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Text(String),
    Hang,
    Fail(Cause),
    Empty,
    Cut(String),
    Slow(u64, String),
    Long(u64),
}

impl Script {
    /// Reads the entries.
    ///
    /// # Errors
    /// Refused: an entry begins with `!` and is none of those above; the detail names it.
    pub fn new(lines: &[String]) -> Result<Script, Fault> {
        let entries = lines.iter().map(|line| Entry::parse(line)).collect::<Result<Arc<[Entry]>, Fault>>()?;
        Ok(Script { entries, next: Arc::default() })
    }

    fn take(&self) -> Option<Entry> {
        if self.entries.is_empty() {
            return None;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.entries.get(turn % self.entries.len()).cloned()
    }
}

impl Entry {
    fn parse(line: &str) -> Result<Entry, Fault> {
        let Some(rest) = line.strip_prefix('!') else { return Ok(Entry::Text(line.to_owned())) };
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let number = |text: &str| {
            text.trim().parse().map_err(|_| Fault::new(Cause::Refused, format!("script: !{word} wants a number")))
        };
        Ok(match word {
            "hang" => Entry::Hang,
            "fail" => Entry::Fail(Cause::Unavailable),
            "refuse" => Entry::Fail(Cause::Refused),
            "garbage" => Entry::Fail(Cause::Malformed),
            "empty" => Entry::Empty,
            "cut" => Entry::Cut(rest.to_owned()),
            "slow" => {
                let (ms, text) = rest.split_once(' ').unwrap_or((rest, ""));
                Entry::Slow(number(ms)?, text.to_owned())
            }
            "long" => Entry::Long(number(rest)?),
            _ => return Err(Fault::new(Cause::Refused, format!("script: unknown entry !{word}"))),
        })
    }
}

/// What an entry comes to, once the faults common to all three stages are dealt with.
enum Part {
    /// Say this; `None` is what an empty script says.
    Say(Option<String>),
    /// Say half of it.
    Half(Option<String>),
    /// Say nothing.
    Nothing,
    /// Go on for so many bytes or milliseconds.
    Long(u64),
}

fn part(entry: Option<Entry>, call: &Call, patience: &Patience<'_>) -> Result<Part, Fault> {
    let own = |text: String| if text.is_empty() { None } else { Some(text) };
    match entry {
        None => Ok(Part::Say(None)),
        Some(Entry::Text(text)) => Ok(Part::Say(Some(text))),
        Some(Entry::Hang) => {
            patience.wait_until(call.deadline, "scripted: no answer")?;
            Err(Fault::timeout("scripted: no answer"))
        }
        Some(Entry::Fail(cause)) => Err(Fault::new(cause, "scripted")),
        Some(Entry::Empty) => Ok(Part::Nothing),
        Some(Entry::Cut(text)) => Ok(Part::Half(own(text))),
        Some(Entry::Slow(ms, text)) => {
            patience.wait(Duration::from_millis(ms), call.deadline, "scripted: slow")?;
            Ok(Part::Say(own(text)))
        }
        Some(Entry::Long(amount)) => Ok(Part::Long(amount)),
    }
}

/// A recogniser that hears what its script says.
#[derive(Clone, Debug)]
pub struct ScriptedAsr {
    script: Script,
    delay: Duration,
}

impl ScriptedAsr {
    /// Hears the entries of `script` in turn, each `delay` after it was asked.
    pub fn new(script: Script, delay: Duration) -> ScriptedAsr {
        ScriptedAsr { script, delay }
    }

    /// For the banner.
    pub fn about(&self) -> About {
        about(&self.script)
    }
}

impl Recogniser for ScriptedAsr {
    fn recognise(&mut self, speech: Speech<'_>, how: &Recognise, call: &Call) -> Result<Transcript, Fault> {
        let patience = Patience::new(call);
        let part = part(self.script.take(), call, &patience)?;
        patience.wait(self.delay, call.deadline, "recognition")?;
        let text = match part {
            Part::Say(None) if speech.is_empty() => String::new(),
            Part::Say(None) => format!("utterance of {} ms", speech.len() / 16),
            Part::Say(Some(text)) => text,
            Part::Half(_) => return Err(Fault::new(Cause::Unavailable, "scripted: broke off")),
            Part::Nothing => String::new(),
            Part::Long(bytes) => long_text(bytes),
        };
        let language = how.language.unwrap_or(if has_han(&text) { Lang::ZH } else { Lang::EN });
        Ok(Transcript { text, language: Some(language), confidence: Some(0.0) })
    }
}

/// A language model that answers what its script says, word by word.
#[derive(Clone, Debug)]
pub struct ScriptedLlm {
    script: Script,
    first_token: Duration,
    per_token: Duration,
}

impl ScriptedLlm {
    /// Answers with the entries of `script` in turn: the first word after `first_token`, each next one `per_token` later.
    pub fn new(script: Script, first_token: Duration, per_token: Duration) -> ScriptedLlm {
        ScriptedLlm { script, first_token, per_token }
    }

    /// For the banner.
    pub fn about(&self) -> About {
        about(&self.script)
    }
}

impl LanguageModel for ScriptedLlm {
    fn converse(
        &mut self,
        ask: &Converse,
        call: &Call,
        on_text: &mut dyn FnMut(&str) -> Flow,
    ) -> Result<ReplyEnd, Fault> {
        let patience = Patience::new(call);
        let heard =
            ask.dialogue.iter().rev().find(|said| said.role == Role::User).map_or("", |said| said.text.as_str());
        let echo = || format!("You said: {heard}");
        let mut end = ReplyEnd::Complete;
        let text = match part(self.script.take(), call, &patience)? {
            Part::Say(text) => text.unwrap_or_else(echo),
            Part::Half(text) => {
                end = ReplyEnd::Cut;
                let text = text.unwrap_or_else(echo);
                text.chars().take(text.chars().count() / 2).collect()
            }
            Part::Nothing => String::new(),
            Part::Long(bytes) => long_text(bytes),
        };
        patience.wait(self.first_token, ask.first_token_by, "first token")?;
        for (i, piece) in pieces(&text).enumerate() {
            if i > 0 {
                match patience.wait(self.per_token, call.deadline, "whole answer") {
                    Ok(()) => {}
                    Err(fault) if fault.cause == Cause::Timeout => return Ok(ReplyEnd::Cut),
                    Err(fault) => return Err(fault),
                }
            }
            if on_text(piece) == Flow::Stop {
                return Ok(ReplyEnd::Length);
            }
        }
        Ok(end)
    }
}

/// A synthesiser that hums.
#[derive(Clone, Debug)]
pub struct ScriptedTts {
    script: Script,
    first_audio: Duration,
    rate: u32,
}

impl ScriptedTts {
    /// Hums at `rate` samples per second, the first piece after `first_audio`. A text in the script changes nothing: what is
    /// hummed follows from the sentence.
    pub fn new(script: Script, first_audio: Duration, rate: u32) -> ScriptedTts {
        ScriptedTts { script, first_audio, rate: rate.max(8_000) }
    }

    /// For the banner.
    pub fn about(&self) -> About {
        about(&self.script)
    }

    /// How long the hum for `text` is.
    pub fn length(text: &str) -> Duration {
        Duration::from_millis((text.chars().count() as u64 * MS_PER_CHAR).max(MS_LEAST))
    }
}

impl Synthesiser for ScriptedTts {
    fn speak(&mut self, what: &Speak, call: &Call, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Result<(), Fault> {
        let patience = Patience::new(call);
        let whole = ScriptedTts::length(&what.text).as_millis() as u64;
        let (ms, broken) = match part(self.script.take(), call, &patience)? {
            Part::Say(_) => (whole, false),
            Part::Half(_) => (whole / 2, true),
            Part::Nothing => (0, false),
            Part::Long(ms) => (ms, false),
        };
        patience.wait(self.first_audio, what.first_byte_by, "first audio")?;
        hum(self.rate, ms, &mut |sound| if call.cancel.is_cancelled() { Flow::Stop } else { on_audio(sound) });
        if call.cancel.is_cancelled() {
            return Err(Fault::cancelled());
        }
        if broken {
            return Err(Fault::new(Cause::Unavailable, "scripted: broke off"));
        }
        Ok(())
    }

    /// Without a script only the text counts; with one each sentence is what the script says of it.
    fn fingerprint(&self) -> Option<Fingerprint> {
        let sound = self.rate.to_string();
        self.script.entries.is_empty().then(|| Fingerprint::new(&["scripted", &sound]))
    }
}

/// A soft tone of 440 Hz in pieces of 20 ms, faded in and out over 10 ms so that it does not click.
fn hum(rate: u32, ms: u64, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) {
    let total = rate as u64 * ms / 1_000;
    let fade = (rate as u64 / 100).max(1);
    let mut piece = Vec::with_capacity(rate as usize / 50);
    let mut at = 0;
    while at < total {
        let end = total.min(at + rate as u64 / 50);
        piece.clear();
        piece.extend((at..end).map(|i| {
            let edge = (i.min(total - i).min(fade)) as f32 / fade as f32;
            let turns = (i * 440 % rate as u64) as f32 / rate as f32;
            (3_000.0 * edge * (turns * std::f32::consts::TAU).sin()) as i16
        }));
        if on_audio(Sound { rate, pcm: &piece, packet: None }) == Flow::Stop {
            return;
        }
        at = end;
    }
}

/// A text in the pieces that a model would send: words with the space before them, Chinese by character.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = 0;
        for (at, c) in rest.char_indices() {
            let starts_new = c == ' ' || is_han(c);
            if at > 0 && starts_new && end > 0 {
                break;
            }
            end = at + c.len_utf8();
            if is_han(c) {
                break;
            }
        }
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Whether the text has a Chinese character.
pub(super) fn has_han(text: &str) -> bool {
    text.chars().any(is_han)
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn long_text(bytes: u64) -> String {
    let bytes = bytes.min(16 << 20) as usize;
    let mut text = "on and on. ".repeat(bytes / 11 + 1);
    text.truncate(bytes);
    text
}

fn about(script: &Script) -> About {
    let detail = match script.entries.len() {
        0 => "no script".to_owned(),
        n => format!("{n} entries"),
    };
    About { name: "scripted", detail, language: None }
}

#[cfg(test)]
mod tests;
