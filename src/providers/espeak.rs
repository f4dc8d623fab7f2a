//! espeak-ng as a child process: a voice that needs no network and no key.
//!
//! One process per run of one script, since its Chinese voice spells English and its English voice says "Chinese letter".
//! What its manual does not say was measured (version 1.51): `[[…]]` is read as phonemes and cannot be turned off; the sizes in
//! its WAV header lie; `cmn` reads pinyin as English, `cmn-latn-pinyin` is right; it streams, the first byte after 5 ms.

mod chinese;

use super::child::{self, Leash, Program};
use super::wav::WavStream;
use super::{About, Call, Fingerprint, Flow, Sound, Synthesiser};
use crate::format::Lang;
use crate::job::Speak;
use crate::limits;
use crate::resilience::fault::Fault;

const CURE: &str = "apt-get install espeak-ng";
/// Words per minute at which it is understood best.
const RATE_ENGLISH: &str = "150";
const RATE_CHINESE: &str = "130";

/// How it speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EspeakConfig {
    /// A voice for text that is not Chinese; `None` is by language.
    pub voice: Option<String>,
}

/// The provider.
#[derive(Clone, Debug, Default)]
pub struct Espeak {
    config: EspeakConfig,
}

impl Espeak {
    /// A speaker of that configuration.
    pub fn new(config: EspeakConfig) -> Espeak {
        Espeak { config }
    }

    /// Who it is.
    pub fn about(&self) -> About {
        let voice = self.config.voice.as_deref().unwrap_or("by language");
        About { name: "espeak", detail: format!("espeak-ng, voice {voice}"), language: None }
    }

    fn voice(&self, run: &Run<'_>, language: Lang) -> (&str, &'static str) {
        match (run.is_chinese, &self.config.voice) {
            (true, _) => ("cmn-latn-pinyin", RATE_CHINESE),
            (false, Some(voice)) => (voice, RATE_ENGLISH),
            // Latin letters within Chinese are English.
            (false, None) if [Lang::EN, Lang::ZH].contains(&language) => ("en-us", RATE_ENGLISH),
            (false, None) => ("", RATE_ENGLISH),
        }
    }
}

impl Synthesiser for Espeak {
    fn speak(&mut self, what: &Speak, call: &Call, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Result<(), Fault> {
        let text = harmless(&what.text);
        let leash = Leash::new(call);
        let mut first_by = what.first_byte_by;
        for run in runs(&text, what.language == Lang::ZH) {
            let (voice, rate) = self.voice(&run, what.language);
            let voice = if voice.is_empty() { what.language.code() } else { voice };
            let program =
                Program { name: "espeak-ng", arguments: &["-v", voice, "-s", rate, "--stdin", "--stdout"], cure: CURE };
            let words = if run.is_chinese { chinese::spell_numbers(run.text) } else { run.text.to_owned() };
            let mut wav = WavStream::default();
            let mut flow = Flow::Continue;
            child::run(&program, bounded(&words).as_bytes(), call, &leash, first_by, &mut |bytes| {
                flow = wav.push(bytes, on_audio);
                flow
            })?;
            wav.finish()?;
            if flow == Flow::Stop {
                return Ok(());
            }
            first_by = call.deadline;
        }
        Ok(())
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::new(&["espeak", self.config.voice.as_deref().unwrap_or_default()]))
    }
}

/// A stretch of text for one voice.
#[derive(Debug, PartialEq, Eq)]
struct Run<'a> {
    text: &'a str,
    is_chinese: bool,
}

/// Cuts text where the script changes. What belongs to no script (digits, spaces, punctuation) stays with what stands before
/// it; at the beginning it follows the language of the sentence.
fn runs(text: &str, is_chinese: bool) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    let (mut start, mut current) = (0, None);
    for (at, c) in text.char_indices() {
        let script = match c {
            _ if is_han(c) => Some(true),
            _ if c.is_alphabetic() => Some(false),
            _ => None,
        };
        let (Some(script), before) = (script, current) else { continue };
        if before.is_some_and(|before| before != script) {
            runs.push(Run { text: &text[start..at], is_chinese: !script });
            start = at;
        }
        current = Some(script);
    }
    runs.push(Run { text: &text[start..], is_chinese: current.unwrap_or(is_chinese) });
    runs.retain(|run| run.text.chars().any(char::is_alphanumeric));
    runs
}

/// Han characters: the unified ideographs, extension A, and the compatibility block (Unicode blocks of these names).
fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

/// Text that can command nothing: no phonemes, no markup, no control characters.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '[' if out.ends_with('[') => {}
            '<' | '>' => out.push(' '),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// At most what one process is given, cut between characters.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(limits::CHILD_INPUT_BYTES)]
}

#[cfg(test)]
mod tests;
