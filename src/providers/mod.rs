//! The outside services and programs, one file each, behind three small traits.
//!
//! A provider is called on a worker thread and may block, but never past the [`Call`]'s deadline and never long after its
//! cancel. Neighbours: `workers` owns providers and calls them. Never here: a session, a shard, a lane.

pub mod builtin;
pub mod child;
pub mod command;
pub mod espeak;
pub mod http;
pub mod model;
pub mod openai;
pub mod patience;
pub mod scripted;
pub mod sound;
pub mod sse;
mod wav;
pub mod whisper;

#[cfg(test)]
mod stub;

use crate::audio::block::Speech;
use crate::audio::phrase::EncodedSpeech;
use crate::format::Lang;
use crate::ids::Ticket;
use crate::job::{Cancel, Converse, Recognise, ReplyEnd, Speak, Transcript};
use crate::resilience::fault::Fault;
use crate::time::{Clock, Duration, Instant};
use std::fmt;
use std::sync::Arc;

/// What every call carries: how long it may take, and how it is taken back.
#[derive(Clone, Debug)]
pub struct Call {
    /// The process's clock.
    pub clock: Clock,
    /// When the answer is of no use any more.
    pub deadline: Instant,
    /// How the caller takes the call back.
    pub cancel: Cancel,
    /// The turn it is for; the default one when it is for none.
    pub ticket: Ticket,
}

impl Call {
    /// What is left until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.until(self.clock.now())
    }

    /// What is left until the earlier of the deadline and `by`.
    pub fn left_until(&self, by: Instant) -> Duration {
        self.deadline.min(by).until(self.clock.now())
    }
}

/// Whether the caller wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop; the rest is of no use.
    Stop,
}

/// Speech to text. One instance per worker thread.
pub trait Recogniser: Send {
    /// Recognises one utterance. One without words gives an empty text, not an error.
    fn recognise(&mut self, speech: Speech<'_>, how: &Recognise, call: &Call) -> Result<Transcript, Fault>;
}

/// Text to reply. One instance per worker thread.
pub trait LanguageModel: Send {
    /// Streams the answer piece by piece. A failure after the first piece is `Ok(ReplyEnd::Cut)`: what was said stands.
    fn converse(
        &mut self,
        ask: &Converse,
        call: &Call,
        on_text: &mut dyn FnMut(&str) -> Flow,
    ) -> Result<ReplyEnd, Fault>;
}

/// Text to speech. One instance per worker thread.
pub trait Synthesiser: Send {
    /// Streams a sentence's audio in pieces of any length.
    fn speak(&mut self, what: &Speak, call: &Call, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Result<(), Fault>;

    /// Whose voice it is: two of the same fingerprint say the same text alike. `None`: what it says depends on more than the
    /// text and is not to be kept.
    fn fingerprint(&self) -> Option<Fingerprint> {
        None
    }

    /// What keeps its sentences to say them again, if anything does.
    fn keeping(&mut self) -> Option<&mut dyn Keeping> {
        None
    }
}

/// Sentences that were said before, for the worker who encodes them: asked before a call, after one that failed, and told of
/// one that said all.
pub trait Keeping {
    /// The sentence in the voice that would say it now; of light effort only if `takes_light`. In place of a call.
    fn kept(&mut self, what: &Speak, call: &Call, takes_light: bool) -> Option<Arc<EncodedSpeech>>;

    /// The sentence in any voice, after a call that failed before it gave any sound.
    fn instead(&mut self) -> Option<Arc<EncodedSpeech>>;

    /// Keeps what the last call said, all of it.
    fn keep(&mut self, what: &Speak, speech: EncodedSpeech, is_light: bool);
}

/// What decides how a text sounds: provider, model, voice, speed, form of the samples. For comparing only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    /// Of those parts.
    pub fn new(parts: &[&str]) -> Fingerprint {
        Fingerprint(parts.join("\0").into())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// A piece of synthesised audio: mono samples at a rate that stays the same within one sentence, or a packet that is already
/// what the device asked for.
#[derive(Clone, Copy, Debug)]
pub struct Sound<'a> {
    /// Samples per second.
    pub rate: u32,
    /// The samples; none with a packet.
    pub pcm: &'a [i16],
    /// One Opus packet of the asked [`crate::job::Speak::format`], to be sent on as it is. Comes only where that format is Opus;
    /// who wants samples asks for PCM.
    pub packet: Option<&'a [u8]>,
}

/// What a provider says of itself to the banner and `voxlane check`.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name in the configuration.
    pub name: &'static str,
    /// One line: model, address, voice. No secret.
    pub detail: String,
    /// The language it is fixed to, if it is.
    pub language: Option<Lang>,
}
