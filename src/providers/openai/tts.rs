//! `/audio/speech`: a sentence in JSON, its audio as it is made.

use super::Service;
use crate::format::{Lang, ReplyFormat};
use crate::job::Speak;
use crate::limits;
use crate::providers::http::{Content, Exchange, Until, error_word};
use crate::providers::sound::{self, Encoding};
use crate::providers::{About, Call, Fingerprint, Flow, Sound, Synthesiser};
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Clock, Instant};
use serde::Serialize;
use std::io::{self, Read};

/// How to ask.
#[derive(Clone, Debug)]
pub struct TtsConfig {
    /// The service.
    pub service: Service,
    /// The voice's name; empty for `alloy`.
    pub voice: String,
    /// What the audio is asked for as.
    pub encoding: Encoding,
    /// How fast to speak, 1 being normal, if not the service's own.
    pub speed: Option<f32>,
}

/// A synthesiser behind `/audio/speech`.
#[derive(Clone, Debug)]
pub struct OpenAiTts {
    config: TtsConfig,
}

impl OpenAiTts {
    /// One for a worker; the connections are shared.
    ///
    /// # Errors
    /// Refused: the address is none, or the rate of raw samples is beyond what is resampled.
    pub fn new(config: TtsConfig) -> Result<OpenAiTts, Fault> {
        config.service.check()?;
        config.encoding.check()?;
        Ok(OpenAiTts { config })
    }

    /// For the banner.
    pub fn about(&self) -> About {
        let detail = format!("{}, {}", self.config.service.place(), self.config.encoding.name());
        About { name: "openai", detail, language: None }
    }

    /// Whether the service is there, as a line for people: by its list of models, else by the beginning of a word.
    ///
    /// # Errors
    /// As [`Synthesiser::speak`].
    pub fn probe(&mut self, call: &Call) -> Result<String, Fault> {
        if let Some(line) = self.config.service.models(call)? {
            return Ok(line);
        }
        let what = Speak {
            sentence: 0,
            text: "Hi.".to_owned(),
            language: Lang::EN,
            format: ReplyFormat::DEFAULT,
            first_byte_by: call.deadline,
        };
        self.speak(&what, call, &mut |_| Flow::Stop)?;
        Ok("speaks".to_owned())
    }
}

#[derive(Serialize)]
struct Order<'a> {
    model: &'a str,
    input: &'a str,
    voice: &'a str,
    response_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<f32>,
}

impl Synthesiser for OpenAiTts {
    fn speak(&mut self, what: &Speak, call: &Call, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Result<(), Fault> {
        let TtsConfig { service, voice, encoding, speed } = &self.config;
        let order = Order {
            model: &service.model,
            input: super::cut(&what.text, limits::SENTENCE_BYTES),
            voice: if voice.is_empty() { "alloy" } else { voice },
            response_format: encoding.name(),
            speed: *speed,
        };
        let body = serde_json::to_vec(&order).map_err(|_| Fault::new(Cause::Internal, "order as JSON"))?;
        let until = Until { by: what.first_byte_by, what: "first audio" };
        let mut exchange = service.send("audio/speech", Content::Json(&body), call, until)?;
        let kind = exchange.content_type();
        if ["application/json", "text/"].iter().any(|text| kind.starts_with(text)) {
            let word = exchange.collect(limits::SERVICE_REFUSAL_BYTES, until).map(|body| error_word(&body));
            let word = word.unwrap_or_default();
            return Err(Fault::new(Cause::Malformed, format!("text instead of audio {word}").trim_end()));
        }
        let body = Body { exchange, clock: call.clock, first_by: what.first_byte_by, begun: false };
        sound::decode_or_pass(body, *encoding, what.format, on_audio)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let TtsConfig { service, voice, encoding, speed } = &self.config;
        let sound = format!("{encoding:?} {speed:?}");
        Some(Fingerprint::new(&["openai", &service.base_url, &service.model, voice, &sound]))
    }
}

/// The answer's body as a reader whose waits end: the first at the sentence's own deadline, each other soon after the one before.
struct Body {
    exchange: Exchange,
    clock: Clock,
    first_by: Instant,
    begun: bool,
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let until = match self.begun {
            false => Until { by: self.first_by, what: "first audio" },
            true => Until { by: self.clock.now() + limits::TTS_NEXT_BYTE, what: "next audio" },
        };
        let read = self.exchange.read(into, until).map_err(io::Error::other)?;
        self.begun = true;
        Ok(read)
    }
}
