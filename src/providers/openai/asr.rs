//! `/audio/transcriptions`: an utterance in a multipart form, its text in JSON.

use super::Service;
use super::upload::Upload;
use crate::audio::block::Speech;
use crate::format::Lang;
use crate::job::{Recognise, Transcript};
use crate::limits;
use crate::providers::http::{Content, Until, error_word};
use crate::providers::scripted::has_han;
use crate::providers::whisper::simplified::simplify;
use crate::providers::{About, Call, Recogniser};
use crate::resilience::fault::{Cause, Fault};
use serde::Deserialize;
use ureq::unversioned::multipart::{Form, Part};

/// How to ask.
#[derive(Clone, Debug)]
pub struct AsrConfig {
    /// The service.
    pub service: Service,
    /// The language if it is always the same; else each utterance says, or nobody.
    pub language: Option<Lang>,
    /// What is sent as the language when nobody knows it: nothing for most services, which then find out; `auto` for
    /// whisper.cpp's server, which otherwise takes everything for English.
    pub language_unknown: Option<String>,
    /// Ask for `verbose_json`, which has the language and probabilities in it; not every service gives it.
    pub verbose: bool,
}

/// A recogniser behind `/audio/transcriptions`.
#[derive(Clone, Debug)]
pub struct OpenAiAsr {
    config: AsrConfig,
}

/// Samples below which services refuse (0.1 s) and nothing can have been said.
const LEAST_SAMPLES: usize = 1_600;

/// Below this mean log-probability of a segment that is probably silence, whisper made the text up: its own rule.
const MADE_UP: f32 = -1.0;
/// The probability of silence that goes with it.
const SILENCE: f32 = 0.6;

impl OpenAiAsr {
    /// One for a worker; the connections are shared.
    ///
    /// # Errors
    /// Refused: the address is none.
    pub fn new(config: AsrConfig) -> Result<OpenAiAsr, Fault> {
        config.service.check()?;
        Ok(OpenAiAsr { config })
    }

    /// For the banner.
    pub fn about(&self) -> About {
        About { name: "openai", detail: self.config.service.place(), language: self.config.language }
    }

    /// Whether the service is there, as a line for people: by its list of models, else by half a second of silence.
    ///
    /// # Errors
    /// As [`Recogniser::recognise`].
    pub fn probe(&mut self, call: &Call) -> Result<String, Fault> {
        if let Some(line) = self.config.service.models(call)? {
            return Ok(line);
        }
        let how = Recognise { language: self.config.language, hint: Lang::EN };
        self.recognise(Speech::Samples(&[0; 8_000]), &how, call)?;
        Ok("recognises".to_owned())
    }
}

#[derive(Deserialize)]
struct Answer {
    text: String,
    language: Option<String>,
    #[serde(default)]
    segments: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    avg_logprob: Option<f32>,
    no_speech_prob: Option<f32>,
}

impl Recogniser for OpenAiAsr {
    fn recognise(&mut self, speech: Speech<'_>, how: &Recognise, call: &Call) -> Result<Transcript, Fault> {
        if speech.len() < LEAST_SAMPLES {
            return Ok(Transcript { text: String::new(), language: None, confidence: None });
        }
        let AsrConfig { service, language, language_unknown, verbose } = &self.config;
        let language = language.or(how.language);
        let code = language.as_ref().map(Lang::code).or(language_unknown.as_deref());
        let upload = Upload::of(speech)?;
        let form = || {
            let audio = Part::bytes(&upload.bytes).file_name(upload.name).mime_str(upload.mime);
            let audio = audio.map_err(|_| Fault::new(Cause::Internal, "form"))?;
            let form = Form::new().part("file", audio).text("model", &service.model);
            let form = form.text("response_format", if *verbose { "verbose_json" } else { "json" });
            Ok(match code {
                Some(code) => form.text("language", code),
                None => form,
            })
        };
        let until = Until { by: call.deadline, what: "recognition" };
        let mut exchange = service.send("audio/transcriptions", Content::Form(&form), call, until)?;
        let body = exchange.collect(limits::SERVICE_JSON_BYTES, until)?;
        let answer = serde_json::from_slice::<Answer>(&body).map_err(|_| not_a_transcript(&body))?;
        Ok(answer.transcript(language))
    }
}

impl Answer {
    fn transcript(self, asked: Option<Lang>) -> Transcript {
        let made_up = |s: &Segment| {
            s.no_speech_prob.is_some_and(|p| p > SILENCE) && s.avg_logprob.is_some_and(|mean| mean < MADE_UP)
        };
        let silent = !self.segments.is_empty() && self.segments.iter().all(made_up);
        let means: Vec<f32> = self.segments.iter().filter_map(|s| s.avg_logprob).filter(|p| p.is_finite()).collect();
        let confidence = (!means.is_empty()).then(|| means.iter().sum::<f32>() / means.len() as f32);
        let text = if silent { "" } else { super::cut(self.text.trim(), limits::TRANSCRIPT_BYTES).trim_end() };
        let named = asked.or_else(|| self.language.as_deref().and_then(language_named));
        // Plain answers do not name the language, but Chinese shows.
        let language = named.or_else(|| is_chinese(text).then_some(Lang::ZH));
        let text = if language == Some(Lang::ZH) { simplify(text) } else { text.to_owned() };
        Transcript { text, language, confidence }
    }
}

fn not_a_transcript(body: &[u8]) -> Fault {
    let word = error_word(body);
    Fault::new(Cause::Malformed, format!("no transcript in the answer {word}").trim_end())
}

/// Chinese characters, and none of the kana that Japanese mixes with them.
fn is_chinese(text: &str) -> bool {
    has_han(text) && !text.chars().any(|c| matches!(c, '\u{3040}'..='\u{30ff}'))
}

/// Services name a language by its code or, as Whisper does, by its English name.
fn language_named(name: &str) -> Option<Lang> {
    const NAMES: [(&str, &str); 16] = [
        ("english", "en"),
        ("chinese", "zh"),
        ("mandarin", "zh"),
        ("german", "de"),
        ("spanish", "es"),
        ("french", "fr"),
        ("japanese", "ja"),
        ("korean", "ko"),
        ("portuguese", "pt"),
        ("russian", "ru"),
        ("italian", "it"),
        ("dutch", "nl"),
        ("turkish", "tr"),
        ("arabic", "ar"),
        ("vietnamese", "vi"),
        ("thai", "th"),
    ];
    let lower = name.to_ascii_lowercase();
    let code = NAMES.iter().find(|(long, _)| *long == lower).map_or(lower.as_str(), |(_, code)| code);
    Lang::parse(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Transcript {
        serde_json::from_str::<Answer>(json).unwrap().transcript(None)
    }

    #[test]
    fn answers_of_all_kinds_are_read() {
        assert_eq!(read(r#"{"text":" Hello. \n"}"#).text, "Hello.");
        let verbose = r#"{"task":"transcribe","language":"chinese","duration":1.5,"text":"你好","segments":
            [{"id":0,"avg_logprob":-0.25,"no_speech_prob":0.01},{"id":1,"avg_logprob":-0.75}]}"#;
        let said = read(verbose);
        assert_eq!((said.text.as_str(), said.language, said.confidence), ("你好", Some(Lang::ZH), Some(-0.5)));
        let silence = r#"{"text":"Thank you.","segments":[{"avg_logprob":-1.4,"no_speech_prob":0.9}]}"#;
        assert_eq!(read(silence).text, "");
        assert_eq!(read(r#"{"text":"a","language":"klingon"}"#).language, None);
        let plain = read(r#"{"text":"現在幾點"}"#);
        assert_eq!((plain.text.as_str(), plain.language), ("现在几点", Some(Lang::ZH)));
        assert_eq!(
            read(r#"{"text":"今日は晴れ"}"#),
            Transcript { text: "今日は晴れ".to_owned(), language: None, confidence: None }
        );
    }

    #[test]
    fn a_flood_of_text_is_cut_between_characters() {
        let long = "好".repeat(400_000);
        let said = read(&serde_json::json!({ "text": long }).to_string());
        assert!(said.text.len() <= limits::TRANSCRIPT_BYTES && said.text.len() > limits::TRANSCRIPT_BYTES - 3);
    }
}
