//! Services that speak OpenAI's HTTP interface: the cloud, llama.cpp, Ollama, vLLM, speaches, whisper.cpp's server and others.
//!
//! One file for each of the three interfaces; what they share is here: where the service is, and asking whether it is there.
//! What comes from a service is checked, bounded and classified here, and nothing of it reaches a log: answers may hold what
//! the user said, and error messages a part of the key.

pub mod asr;
pub mod llm;
pub mod tts;
mod upload;

use super::Call;
use super::http::{Content, Exchange, HttpClient, Request, Until};
use crate::limits;
use crate::resilience::fault::{Cause, Fault};
use serde::Deserialize;
use std::fmt;

/// Where a service is and what is asked of it.
#[derive(Clone)]
pub struct Service {
    /// The process's client.
    pub client: HttpClient,
    /// Its address, with the version: `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// The model's name.
    pub model: String,
    /// The key, if it wants one.
    pub api_key: Option<String>,
}

/// Without the key.
impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({})", self.place())
    }
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

impl Service {
    /// The model and the address, without what the address may hold of a password or a query.
    pub fn place(&self) -> String {
        let (scheme, rest) = self.base_url.split_once("://").unwrap_or(("", &self.base_url));
        let rest = rest.split(['?', '#']).next().unwrap_or("");
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        format!("{} at {scheme}://{host}/{path}", self.model)
    }

    /// Refuses an address that no call could succeed with.
    fn check(&self) -> Result<(), Fault> {
        let known = ["http://", "https://"].iter().any(|scheme| self.base_url.starts_with(scheme));
        let parsed = self.base_url.parse::<ureq::http::Uri>().is_ok_and(|uri| uri.host().is_some());
        if known && parsed {
            return Ok(());
        }
        Err(Fault::new(Cause::Refused, "base_url is no http address"))
    }

    fn send(&self, path: &str, content: Content<'_>, call: &Call, until: Until) -> Result<Exchange, Fault> {
        let url = format!("{}/{path}", self.base_url.trim_end_matches('/'));
        self.client.send(&Request { url: &url, key: self.api_key.as_deref(), content }, call, until)
    }

    /// Asks for the list of models. `None` if the service has none to give, as small ones do; then only a real request tells.
    fn models(&self, call: &Call) -> Result<Option<String>, Fault> {
        let by = call.deadline.min(call.clock.now() + limits::SERVICE_PROBE);
        let until = Until { by, what: "list of models" };
        let body = match self.send("models", Content::Nothing, call, until) {
            Ok(mut exchange) => exchange.collect(limits::SERVICE_JSON_BYTES, until)?,
            Err(fault) if fault.cause == Cause::Refused && fault.detail.starts_with("HTTP 40") => {
                let no_list = ["HTTP 404", "HTTP 405"].iter().any(|status| fault.detail.starts_with(status));
                return if no_list { Ok(None) } else { Err(fault) };
            }
            Err(fault) => return Err(fault),
        };
        let Ok(models) = serde_json::from_slice::<Models>(&body) else { return Ok(None) };
        let has = models.data.iter().any(|model| model.id == self.model);
        let count = models.data.len();
        let about = if has { "is one of" } else { "is not among" };
        Ok(Some(format!("answers; {} {about} its {count} models", self.model)))
    }
}

/// Text of a service, cut to `most` bytes between two characters.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
