//! What crosses threads: a [`Job`] goes from a shard to a worker, its [`Outcome`]s come back.
//!
//! Both carry the [`Ticket`] of the turn they belong to. Audio and text that flow travel *inline* in fixed-size blocks, so a
//! ring of them needs no heap; what happens once per turn may be boxed. Pure: a [`Cancel`] only runs the hook a worker left in it.

use crate::format::{Lang, ReplyFormat};
use crate::ids::Ticket;
use crate::limits;
use crate::resilience::fault::{Cause, Fault};
use crate::time::Instant;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// The kind of outside help a job needs; each has a pool of workers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Speech to text.
    Asr,
    /// Text to reply.
    Llm,
    /// Reply to speech.
    Tts,
}

impl Stage {
    /// All stages in the order a turn passes them.
    pub const ALL: [Stage; 3] = [Stage::Asr, Stage::Llm, Stage::Tts];

    /// The word in configuration, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Asr => "asr",
            Stage::Llm => "llm",
            Stage::Tts => "tts",
        }
    }
}

/// A work order.
#[derive(Debug)]
pub struct Job {
    /// The return address.
    pub ticket: Ticket,
    /// When an answer is of no use any more. The worker gives up then, by itself.
    pub deadline: Instant,
    /// How the shard takes the order back.
    pub cancel: Cancel,
    /// What to do.
    pub work: Work,
}

impl Job {
    /// Which pool it goes to.
    pub fn stage(&self) -> Stage {
        match self.work {
            Work::Recognise(_) => Stage::Asr,
            Work::Converse(_) => Stage::Llm,
            Work::Speak(_) => Stage::Tts,
        }
    }
}

/// The three kinds of work.
#[derive(Debug)]
pub enum Work {
    /// Recognise the utterance whose [`crate::audio::block::AudioBlock`]s follow on the lane; the one with `last` set ends it.
    Recognise(Recognise),
    /// Ask the language model.
    Converse(Box<Converse>),
    /// Say one sentence.
    Speak(Box<Speak>),
}

/// How to recognise.
#[derive(Clone, Debug)]
pub struct Recognise {
    /// The language if it is known; `None` asks the recogniser to find out.
    pub language: Option<Lang>,
    /// What detection should fall back on: the device's language.
    pub hint: Lang,
}

/// What the language model is given.
#[derive(Clone, Debug)]
pub struct Converse {
    /// The dialogue's window, oldest first; the last entry is what the user just said.
    pub dialogue: Vec<Said>,
    /// The language of the turn.
    pub language: Lang,
    /// When the first token must have come.
    pub first_token_by: Instant,
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The persona and rules.
    System,
    /// The person.
    User,
    /// We.
    Assistant,
}

/// One entry of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who.
    pub role: Role,
    /// What.
    pub text: String,
}

/// One sentence to be spoken.
#[derive(Clone, Debug)]
pub struct Speak {
    /// Its index within the reply, from 0. Workers may finish out of order; the session plays by index.
    pub sentence: u16,
    /// The text, already cleaned for speech.
    pub text: String,
    /// Its language.
    pub language: Lang,
    /// The encoding the device wants.
    pub format: ReplyFormat,
    /// When the first byte of audio must have come.
    pub first_byte_by: Instant,
}

/// An answer on its way back.
#[derive(Debug)]
pub struct Answer {
    /// Where it belongs.
    pub ticket: Ticket,
    /// What it says.
    pub outcome: Outcome,
    /// How long the job had been in its provider's hands by then, µs; 0 where nobody has measured. What a turn took without it
    /// is what we have added ourselves.
    pub provider_us: u32,
}

impl Answer {
    /// An answer without a time of the provider.
    pub fn new(ticket: Ticket, outcome: Outcome) -> Answer {
        Answer { ticket, outcome, provider_us: 0 }
    }
}

/// What workers report. A job ends with exactly one final outcome: `Transcript`, `ReplyEnd`, `SpeechEnd` or `Failed`.
#[derive(Debug)]
pub enum Outcome {
    /// Final text of the utterance; empty if nothing was said.
    Transcript(Box<Transcript>),
    /// A piece of the model's answer, in order.
    Token(TextBlock),
    /// The model's answer is complete.
    ReplyEnd(ReplyEnd),
    /// Encoded audio of a sentence, in order.
    Packet(PacketBlock),
    /// A sentence's audio is complete.
    SpeechEnd {
        /// Which sentence.
        sentence: u16,
        /// How many packets it has.
        packets: u32,
    },
    /// The job failed.
    Failed(Box<Failure>),
}

impl Outcome {
    /// Whether the job is over with this outcome.
    pub fn is_final(&self) -> bool {
        !matches!(self, Outcome::Token(_) | Outcome::Packet(_))
    }
}

/// What was recognised.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// The text, trimmed; Chinese in simplified characters. At most [`limits::TRANSCRIPT_BYTES`].
    pub text: String,
    /// The language it is in, when known.
    pub language: Option<Lang>,
    /// Mean log-probability of the text's tokens, when the recogniser tells; 0 is certain.
    pub confidence: Option<f32>,
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyEnd {
    /// It had said all.
    Complete,
    /// Its token limit, or our cap on text.
    Length,
    /// The stream broke off after text had come: what was said stands, as a partial answer.
    Cut,
}

/// A failed job.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// Which sentence, for [`Stage::Tts`]; else 0.
    pub sentence: u16,
    /// Why.
    pub fault: Fault,
}

impl Failure {
    /// A defect of ours; `what` is for the log.
    pub fn internal(stage: Stage, sentence: u16, what: &str) -> Failure {
        Failure { stage, sentence, fault: Fault::new(Cause::Internal, what) }
    }
}

/// Text of a reply, inline. Always whole characters.
#[derive(Clone)]
pub struct TextBlock {
    len: u16,
    bytes: [u8; limits::TEXT_BLOCK_BYTES],
}

impl TextBlock {
    /// As much of `text` as fits, cut at a character's border, and the rest.
    pub fn split_from(text: &str) -> (TextBlock, &str) {
        let mut end = text.len().min(limits::TEXT_BLOCK_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; limits::TEXT_BLOCK_BYTES];
        bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        (TextBlock { len: end as u16, bytes }, &text[end..])
    }

    /// The text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len as usize]).unwrap_or("")
    }
}

impl std::fmt::Debug for TextBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

/// A reply packet, or a part of one: inline. A packet longer than one block (PCM) goes on in the next, `more` being set.
#[derive(Clone)]
pub struct PacketBlock {
    /// The sentence it belongs to.
    pub sentence: u16,
    /// The packet goes on in the next block.
    pub more: bool,
    len: u16,
    bytes: [u8; limits::PACKET_BLOCK_BYTES],
}

impl PacketBlock {
    /// Cuts a packet into blocks.
    pub fn cut(sentence: u16, packet: &[u8]) -> impl Iterator<Item = PacketBlock> + '_ {
        let last = packet.len().div_ceil(limits::PACKET_BLOCK_BYTES).max(1) - 1;
        packet.chunks(limits::PACKET_BLOCK_BYTES).enumerate().map(move |(i, part)| {
            let mut bytes = [0; limits::PACKET_BLOCK_BYTES];
            bytes[..part.len()].copy_from_slice(part);
            PacketBlock { sentence, more: i < last, len: part.len() as u16, bytes }
        })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl std::fmt::Debug for PacketBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "PacketBlock(sentence {}, {} bytes{})",
            self.sentence,
            self.len,
            if self.more { ", more" } else { "" }
        )
    }
}

/// How a shard takes a job back. Setting it is a store and, if a call is in flight, the worker's hook (which shuts the call's
/// socket or kills its child process; it must not block).
#[derive(Clone, Default)]
pub struct Cancel(Arc<CancelState>);

#[derive(Default)]
struct CancelState {
    flag: AtomicBool,
    hook: [OnceLock<Hook>; limits::CALL_ATTEMPTS],
}

type Hook = Box<dyn Fn() + Send + Sync>;

impl Cancel {
    /// A fresh one, not set.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Takes the job back. Idempotent, lock-free.
    pub fn cancel(&self) {
        // SeqCst on flag and hook pairs with `on_cancel`: either it sees the flag, or we see its hook.
        self.0.flag.store(true, Ordering::SeqCst);
        for hook in &self.0.hook {
            if let Some(run) = hook.get() {
                run();
            }
        }
    }

    /// Whether it is set.
    pub fn is_cancelled(&self) -> bool {
        self.0.flag.load(Ordering::SeqCst)
    }

    /// The flag itself, for C callbacks that want a pointer; valid as long as a clone of this lives.
    pub fn flag(&self) -> &AtomicBool {
        &self.0.flag
    }

    /// Leaves a hook for the call about to block; runs it at once if the job has been taken back. One per attempt; returns
    /// `false` when all places are taken, which the bound on attempts excludes.
    pub fn on_cancel(&self, hook: impl Fn() + Send + Sync + 'static) -> bool {
        let mut hook: Option<Hook> = Some(Box::new(hook));
        for place in &self.0.hook {
            if place.get().is_some() {
                continue;
            }
            if let Some(h) = hook.take()
                && let Err(h) = place.set(h)
            {
                hook = Some(h);
                continue;
            }
            if self.is_cancelled()
                && let Some(run) = place.get()
            {
                run();
            }
            return true;
        }
        false
    }
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cancel({})", self.is_cancelled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        let long = "你".repeat(400);
        let mut rest = long.as_str();
        let mut back = String::new();
        while !rest.is_empty() {
            let (block, tail) = TextBlock::split_from(rest);
            back.push_str(block.text());
            rest = tail;
        }
        assert_eq!(back, long);
    }

    #[test]
    fn a_long_packet_is_cut_and_says_so() {
        let packet: Vec<u8> = (0..2_880).map(|i| i as u8).collect();
        let blocks: Vec<_> = PacketBlock::cut(3, &packet).collect();
        assert_eq!(blocks.iter().flat_map(|b| b.bytes().to_vec()).collect::<Vec<_>>(), packet);
        assert!(blocks[..blocks.len() - 1].iter().all(|b| b.more));
        assert!(!blocks[blocks.len() - 1].more);
    }

    #[test]
    fn a_hook_runs_whether_it_comes_before_or_after_the_cancel() {
        use std::sync::atomic::AtomicU32;
        let runs = Arc::new(AtomicU32::new(0));
        let count = |runs: &Arc<AtomicU32>| {
            let runs = runs.clone();
            move || {
                runs.fetch_add(1, Ordering::SeqCst);
            }
        };
        let cancel = Cancel::new();
        assert!(cancel.on_cancel(count(&runs)));
        cancel.cancel();
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert!(cancel.on_cancel(count(&runs)));
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }
}
