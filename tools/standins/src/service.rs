//! What is asked of the stand-ins, and what they say to it.

use crate::answer::{Answer, Content, error};
use crate::connection::Body;
use crate::http::Head;
use crate::identity;
use crate::lag::Book;
use crate::profile::{Fault, Plan, Profile, Stage};
use crate::reply;
use crate::voice::{Sound, Voice};
use serde::Deserialize;
use std::borrow::Cow;
use std::time::Instant;

/// The name of every model here.
const MODEL: &str = "standin";

/// Who answers requests: numbers them, draws their plans.
pub(crate) struct Service {
    profile: Profile,
    seed: u64,
    numbers: [u64; 3],
    pub voice: Voice,
    pub book: Book,
}

#[derive(Deserialize)]
struct Question<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    #[serde(default)]
    stream: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    /// A text, or parts of several kinds, which nobody sends here.
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Order<'a> {
    #[serde(borrow)]
    input: Cow<'a, str>,
    #[serde(borrow, default)]
    response_format: Option<Cow<'a, str>>,
}

impl Service {
    /// On the thread that is to be measured.
    pub fn new(profile: Profile, seed: u64, voice: Voice) -> Service {
        Service { profile, seed, numbers: [0; 3], voice, book: Book::new() }
    }

    /// The answer to a request that was complete at `now`.
    pub fn answer(&mut self, head: &Head, body: &Body, now: Instant) -> Answer {
        match self.content(head, body) {
            Ok(Reply::Planned(content, plan)) => Answer::new(content, &plan, &self.profile, head.keep, now),
            Ok(Reply::AtOnce(text)) => Answer::at_once(200, text, head.keep, now),
            Err((status, why)) => {
                self.book.counts.refused_requests += 1;
                Answer::at_once(status, error(&why, "invalid_request_error"), head.keep, now)
            }
        }
    }

    fn content(&mut self, head: &Head, body: &Body) -> Result<Reply, (u16, String)> {
        match (head.method.as_str(), head.path.as_str(), body) {
            ("POST", "/v1/audio/transcriptions", Body::Form(upload)) => {
                let (id, ms) = upload.heard();
                if ms == 0 {
                    return Err((400, "neither a WAV of PCM16 nor Ogg-Opus in the form".to_owned()));
                }
                self.book.counts.identified += u64::from(id.is_some());
                let seconds = ms as f64 / 1_000.0;
                let text = reply::transcript(id);
                let json =
                    serde_json::json!({ "text": text, "language": "english", "duration": seconds, "segments": [] });
                Ok(Reply::Planned(Content::Document(200, json.to_string()), self.plan(Stage::Asr)))
            }
            ("POST", "/v1/chat/completions", Body::Json(bytes, false)) => {
                let question: Question<'_> = parse(bytes)?;
                let last = question.messages.iter().rev().find(|message| message.role == "user");
                let id = last.and_then(|message| identity::find(message.content.as_deref()?));
                let mut plan = self.plan(Stage::Llm);
                let text = reply::reply(id, &self.profile, &mut plan.dice);
                let content = if question.stream { Content::Text(text) } else { Content::Document(200, whole(&text)) };
                Ok(Reply::Planned(content, plan))
            }
            ("POST", "/v1/audio/speech", Body::Json(bytes, false)) => {
                let order: Order<'_> = parse(bytes)?;
                let format = order.response_format.as_deref().unwrap_or("wav");
                let Some(sound) = Sound::named(format) else {
                    return Err((400, format!("response_format {format:?} is none of wav, pcm, opus")));
                };
                let mut plan = self.plan(Stage::Tts);
                let ms = reply::speech_ms(&order.input, &self.profile);
                let spoken = self.voice.speak(identity::find(&order.input), sound, ms, plan.dice.draw());
                Ok(Reply::Planned(Content::Sound(spoken), plan))
            }
            ("POST", _, Body::Json(_, true)) => Err((413, "the body is too long".to_owned())),
            ("GET", "/v1/models", _) => {
                let model = serde_json::json!({ "id": MODEL, "object": "model", "owned_by": "voxlane-standins" });
                Ok(Reply::AtOnce(serde_json::json!({ "object": "list", "data": [model] }).to_string()))
            }
            ("GET", "/lag.json", _) => {
                Ok(Reply::AtOnce(serde_json::to_string(&self.book.lag()).map_err(|e| (500, e.to_string()))?))
            }
            _ => Err((404, format!("nothing at {} {}", head.method, head.path))),
        }
    }

    fn plan(&mut self, stage: Stage) -> Plan {
        let number = &mut self.numbers[stage as usize];
        let plan = self.profile.plan(self.seed, stage, *number);
        *number += 1;
        self.book.counts.requests[stage as usize] = *number;
        if let Some(nth) = plan.fault.and_then(|fault| Fault::ALL.iter().position(|&other| other == fault)) {
            self.book.counts.faults[nth] += 1;
        }
        plan
    }
}

enum Reply {
    /// A stage's, as drawn.
    Planned(Content, Plan),
    /// Ours: no delay, no fault.
    AtOnce(String),
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, (u16, String)> {
    serde_json::from_slice(bytes).map_err(|error| (400, format!("the body is not what is asked for here: {error}")))
}

/// A reply that is not streamed.
fn whole(text: &str) -> String {
    let message = serde_json::json!({ "role": "assistant", "content": text });
    let choice = serde_json::json!({ "index": 0, "message": message, "finish_reason": "stop" });
    serde_json::json!({ "id": MODEL, "object": "chat.completion", "model": MODEL, "choices": [choice] }).to_string()
}
