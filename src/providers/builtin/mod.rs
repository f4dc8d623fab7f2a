//! A responder that needs no service: the embedded default until somebody configures a language model.
//!
//! It is honest about what it is. It tells the time and date, does sums, repeats, makes a little small talk, in English and
//! Chinese; to everything else it says that no language model is configured and how to set one. It understands by tables of
//! phrases (`intent`), reckons exactly (`number`, `arithmetic`), and its words are in `speech`. It streams as a model would.

pub mod arithmetic;
pub mod intent;
pub mod number;
mod speech;

use super::scripted::{has_han, pieces};
use super::{About, Call, Flow, LanguageModel};
use crate::format::Lang;
use crate::job::{Converse, ReplyEnd, Role, Said};
use crate::resilience::fault::Fault;
use crate::time::UnixMs;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// The responder. It keeps nothing between calls.
#[derive(Clone, Debug, Default)]
pub struct Builtin {
    stands_in: bool,
}

impl Builtin {
    /// A responder that goes by the machine's clock and time zone.
    pub fn new() -> Builtin {
        Builtin { stands_in: false }
    }

    /// One that answers while the configured language model cannot be reached.
    pub fn stand_in() -> Builtin {
        Builtin { stands_in: true }
    }

    /// For the banner.
    pub fn about(&self) -> About {
        let (name, without) = if self.stands_in { ("offline", "without a") } else { ("builtin", "no") };
        About { name, detail: format!("{without} language model: time, date, sums, small talk"), language: None }
    }
}

/// What a user is told once when the language model cannot be reached. Ends in a blank: the answer follows.
pub fn outage(language: Lang) -> &'static str {
    match language.phrase_language() == Lang::ZH {
        true => "我现在连不上语言模型，只能做些简单的事。 ",
        false => "I can't reach my language model at the moment, so I only know simple things. ",
    }
}

/// What is said to the last entry of `dialogue` at the local time `now`: in Chinese to a question with Chinese characters, else
/// in the phrase language of `language`.
pub fn answer(dialogue: &[Said], language: Lang, now: DateTime) -> String {
    reply(dialogue, language, now, false)
}

/// The same; who stands in for a model does not say that there is none.
fn reply(dialogue: &[Said], language: Lang, now: DateTime, stands_in: bool) -> String {
    let question = dialogue.iter().rev().find(|said| said.role == Role::User).map_or("", |said| said.text.as_str());
    let language = if has_han(question) { Lang::ZH } else { language.phrase_language() };
    let before = dialogue.iter().rev().find(|said| said.role == Role::Assistant).map(|said| said.text.as_str());
    let intent = intent::understand(question);
    if stands_in && let Some(words) = speech::say_standing_in(&intent, language) {
        return words.to_owned();
    }
    // Which joke follows from how long we have talked, so that the next one is another.
    speech::say(&intent, language, now, before, dialogue.len() / 2)
}

impl LanguageModel for Builtin {
    fn converse(
        &mut self,
        ask: &Converse,
        call: &Call,
        on_text: &mut dyn FnMut(&str) -> Flow,
    ) -> Result<ReplyEnd, Fault> {
        let utc = Timestamp::from_millisecond(UnixMs::now().0 as i64).unwrap_or_default();
        let now = TimeZone::system().to_datetime(utc);
        let text = reply(&ask.dialogue, ask.language, now, self.stands_in);
        for piece in pieces(&text) {
            if call.cancel.is_cancelled() {
                return Err(Fault::cancelled());
            }
            if on_text(piece) == Flow::Stop {
                return Ok(ReplyEnd::Length);
            }
        }
        Ok(ReplyEnd::Complete)
    }
}

#[cfg(test)]
mod tests;
