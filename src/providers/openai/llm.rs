//! `/chat/completions`: the answer as a stream of server-sent events, or as one JSON document from services that do not stream.

use super::Service;
use crate::format::Lang;
use crate::job::{Converse, ReplyEnd, Role, Said};
use crate::limits;
use crate::providers::http::{Content, Exchange, Until, error_word, refusal};
use crate::providers::sse::EventStream;
use crate::providers::{About, Call, Flow, LanguageModel};
use crate::resilience::fault::{Cause, Fault};
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// How to ask.
#[derive(Clone, Debug)]
pub struct LlmConfig {
    /// The service.
    pub service: Service,
    /// Sampling temperature, if not the service's own.
    pub temperature: Option<f64>,
    /// Longest answer in tokens, if not the service's own.
    pub max_tokens: Option<u32>,
    /// Longest pause within an answer; by default [`limits::LLM_NEXT_TOKEN`].
    pub next_token: Duration,
}

/// A language model behind `/chat/completions`.
#[derive(Clone, Debug)]
pub struct OpenAiLlm {
    config: LlmConfig,
}

impl OpenAiLlm {
    /// One for a worker; the connections are shared.
    ///
    /// # Errors
    /// Refused: the address is none.
    pub fn new(config: LlmConfig) -> Result<OpenAiLlm, Fault> {
        config.service.check()?;
        Ok(OpenAiLlm { config })
    }

    /// For the banner.
    pub fn about(&self) -> About {
        About { name: "openai", detail: self.config.service.place(), language: None }
    }

    /// Whether the service is there, as a line for people: by its list of models, else by a word of answer.
    ///
    /// # Errors
    /// As [`LanguageModel::converse`].
    pub fn probe(&mut self, call: &Call) -> Result<String, Fault> {
        if let Some(line) = self.config.service.models(call)? {
            return Ok(line);
        }
        let hello = Said { role: Role::User, text: "Hi".to_owned() };
        let ask = Converse { dialogue: vec![hello], language: Lang::EN, first_token_by: call.deadline };
        self.converse(&ask, call, &mut |_| Flow::Stop)?;
        Ok("answers".to_owned())
    }
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

/// An event of the stream, or the whole answer. Fields that we do not name, reasoning among them, are passed over.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(alias = "message")]
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
}

impl LanguageModel for OpenAiLlm {
    fn converse(
        &mut self,
        ask: &Converse,
        call: &Call,
        on_text: &mut dyn FnMut(&str) -> Flow,
    ) -> Result<ReplyEnd, Fault> {
        let messages = ask.dialogue.iter().map(|said| Message { role: role(said.role), content: &said.text }).collect();
        let LlmConfig { service, temperature, max_tokens, next_token } = &self.config;
        let (temperature, max_tokens) = (*temperature, *max_tokens);
        let question = Question { model: &service.model, messages, stream: true, temperature, max_tokens };
        let body = serde_json::to_vec(&question).map_err(|_| Fault::new(Cause::Internal, "question as JSON"))?;
        let until = Until { by: ask.first_token_by, what: "first token" };
        let exchange = service.send("chat/completions", Content::Json(&body), call, until)?;
        let mut answer = Answer { on_text, think: Think::default(), said: 0, finish: None, over: false, fault: None };
        match receive(exchange, &mut answer, call, until, *next_token) {
            Err(fault) if answer.said > 0 && fault.cause != Cause::Cancelled => Ok(ReplyEnd::Cut),
            end => end,
        }
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

/// Reads the stream to its end. The wait is for words: neither comments nor single bytes of an event prolong it.
fn receive(
    mut exchange: Exchange,
    answer: &mut Answer<'_>,
    call: &Call,
    first: Until,
    next_token: Duration,
) -> Result<ReplyEnd, Fault> {
    let mut events = EventStream::new();
    let mut buffer = [0; 4_096];
    let mut until = first;
    let mut begun = false;
    loop {
        let read = exchange.read(&mut buffer, until)?;
        let bytes = &buffer[..read];
        if read == 0 {
            events.finish(&mut |data| answer.take(data))?;
            return answer.end();
        }
        if !begun {
            match bytes.iter().find(|b| !b.is_ascii_whitespace()) {
                Some(b'{') => return whole(&mut exchange, bytes, answer, first),
                Some(b'<') => return Err(Fault::new(Cause::Malformed, "a page instead of an answer")),
                byte => begun = byte.is_some(),
            }
        }
        let before = answer.said;
        events.push(bytes, &mut |data| answer.take(data))?;
        if answer.over {
            let end = answer.end();
            if end.is_ok() {
                exchange.finish(call.clock.now());
            }
            return end;
        }
        if answer.said > before {
            until = Until { by: call.clock.now() + next_token, what: "next token" };
        }
    }
}

/// The service does not stream: one document, of which `begin` has come.
fn whole(exchange: &mut Exchange, begin: &[u8], answer: &mut Answer<'_>, until: Until) -> Result<ReplyEnd, Fault> {
    let mut body = begin.to_vec();
    body.extend(exchange.collect(limits::SERVICE_JSON_BYTES, until)?);
    let text = std::str::from_utf8(&body).map_err(|_| Fault::new(Cause::Malformed, "answer not UTF-8"))?;
    answer.take(text);
    answer.end()
}

/// What has come of an answer.
struct Answer<'a> {
    on_text: &'a mut dyn FnMut(&str) -> Flow,
    think: Think,
    /// Bytes of text passed on.
    said: usize,
    finish: Option<String>,
    /// Nothing more is wanted.
    over: bool,
    fault: Option<Fault>,
}

impl Answer<'_> {
    /// Takes the data of one event.
    fn take(&mut self, data: &str) -> Flow {
        if data.trim() == "[DONE]" {
            self.over = true;
            // Some services never say why they stop.
            self.finish.get_or_insert_with(|| "stop".to_owned());
            return Flow::Stop;
        }
        let Ok(chunk) = serde_json::from_str::<Chunk>(data) else {
            return self.fail(Fault::new(Cause::Malformed, "event is no chat completion"));
        };
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return self.fail(stream_fault(&error));
        }
        // Usage reports come with no choice at all.
        let Some(choice) = chunk.choices.into_iter().next() else { return Flow::Continue };
        if let Some(text) = choice.delta.and_then(|delta| delta.content) {
            let mut clean = String::with_capacity(text.len());
            self.think.push(&text, &mut clean);
            self.say(&clean);
        }
        if choice.finish_reason.is_some() && !self.over {
            // What follows is bookkeeping; the last sentence need not wait for it.
            self.finish = choice.finish_reason;
            self.over = true;
        }
        if self.over { Flow::Stop } else { Flow::Continue }
    }

    fn say(&mut self, text: &str) {
        // Models begin with blanks, above all after their thoughts.
        let text = if self.said == 0 { text.trim_start() } else { text };
        let room = limits::REPLY_BYTES - self.said;
        let text = super::cut(text, room);
        if text.is_empty() {
            return;
        }
        self.said += text.len();
        let full = limits::REPLY_BYTES - self.said < 4;
        if (self.on_text)(text) == Flow::Stop || full {
            // Nothing more is wanted: not even the thoughts' end.
            self.think = Think::default();
            self.finish = Some("length".to_owned());
            self.over = true;
        }
    }

    fn fail(&mut self, fault: Fault) -> Flow {
        self.fault = Some(fault);
        self.over = true;
        Flow::Stop
    }

    /// The stream is at its end, or we want no more of it.
    fn end(&mut self) -> Result<ReplyEnd, Fault> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let mut rest = String::new();
        self.think.finish(&mut rest);
        self.say(&rest);
        match self.finish.as_deref() {
            None => Err(Fault::new(Cause::Unavailable, "stream broke off")),
            Some(_) if self.said == 0 => Err(Fault::new(Cause::Malformed, "empty answer")),
            Some("length") => Ok(ReplyEnd::Length),
            Some("content_filter") => Ok(ReplyEnd::Cut),
            Some(_) => Ok(ReplyEnd::Complete),
        }
    }
}

/// An error that comes after the head said 200.
fn stream_fault(error: &serde_json::Value) -> Fault {
    let status = error.get("code").and_then(serde_json::Value::as_u64).filter(|code| (400..600).contains(code));
    let word = error_word(error.to_string().as_bytes());
    if let Some(status) = status {
        return refusal(status as u16, None, &word);
    }
    let cause = match word.as_str() {
        "rate_limit_exceeded" | "insufficient_quota" | "rate_limit_error" | "overloaded_error" => Cause::Overload,
        "invalid_request_error" | "authentication_error" | "permission_error" | "not_found_error" => Cause::Refused,
        _ => Cause::Unavailable,
    };
    Fault::new(cause, format!("error in the stream {word}").trim_end())
}

/// Leaves out what a model thinks between `<think>` and `</think>`, however the tags are cut over the events.
#[derive(Debug, Default)]
struct Think {
    held: String,
    inside: bool,
}

impl Think {
    fn push(&mut self, text: &str, out: &mut String) {
        self.held.push_str(text);
        loop {
            let tag = if self.inside { "</think>" } else { "<think>" };
            let found = self.held.find(tag);
            let pass = found.unwrap_or_else(|| self.held.len() - begun_tag(&self.held, tag));
            if !self.inside {
                out.push_str(&self.held[..pass]);
            }
            self.held.drain(..found.map_or(pass, |at| at + tag.len()));
            if found.is_none() {
                return;
            }
            self.inside = !self.inside;
        }
    }

    /// The text is over: what looked like the beginning of a tag was none.
    fn finish(&mut self, out: &mut String) {
        if !self.inside {
            out.push_str(&self.held);
        }
        self.held.clear();
    }
}

/// How many bytes at the end of `text` are the beginning of `tag`.
fn begun_tag(text: &str, tag: &str) -> usize {
    (1..tag.len()).rev().find(|&n| text.ends_with(&tag[..n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(pieces: &[&str]) -> String {
        let mut think = Think::default();
        let mut out = String::new();
        pieces.iter().for_each(|piece| think.push(piece, &mut out));
        think.finish(&mut out);
        out
    }

    #[test]
    fn thoughts_are_left_out_wherever_they_are_cut() {
        let text = "<think>hm < </thin k>\n</think>It is 1 < 2 <b> 你<think>好</think>!<th";
        let expected = "It is 1 < 2 <b> 你!<th";
        for at in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
            assert_eq!(clean(&[&text[..at], &text[at..]]), expected, "split at {at}");
        }
        let singly: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(clean(&singly.iter().map(String::as_str).collect::<Vec<_>>()), expected);
        assert_eq!(clean(&["<think>never ends"]), "");
    }
}
