//! The last turns of a shard with their timelines: what "where did the time go" is answered from. No word of what was said.
//!
//! A ring of slots like a clock's face: the shard writes round and round and never waits, whoever looks reads what stands there
//! and takes nothing away. A slot tells by its sequence whether it was read whole: odd while it is being written, and another
//! number afterwards. So there is nothing to drain, nothing to fill up, and several may look at once.

use crate::ids::ShardId;
use crate::limits::TURNS_KEPT as KEPT;
use crate::time::{Duration, Instant, UnixMs};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

/// Milestones of a turn, in order; names as in the series `voxlane_turn_seconds`.
pub const MILESTONES: [&str; 7] = [
    "end_of_utterance",
    "final_transcript",
    "first_token",
    "first_sentence",
    "first_audio_ready",
    "first_audio",
    "reply_end",
];
/// Place of `first_audio` in [`MILESTONES`].
pub const FIRST_AUDIO: usize = 5;
/// Bytes of a device's id that are kept; a MAC address has 17.
const DEVICE_BYTES: usize = 24;
/// Words a record may hold: how turns end, stages, causes. What is not among them is kept as the empty one.
const WORDS: [&str; 17] = [
    "",
    "complete",
    "empty",
    "aborted",
    "barge-in",
    "failed",
    "closed",
    "asr",
    "llm",
    "tts",
    "malformed",
    "overload",
    "timeout",
    "unavailable",
    "refused",
    "internal",
    "cancelled",
];
/// Stands for a milestone that was not reached.
const NEVER: u32 = u32::MAX;
/// Words of 64 bits a record is packed into.
const PACKED: usize = 11;

/// One finished turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnRecord {
    /// Whose.
    pub device: DeviceTag,
    /// Its number within the session.
    pub turn: u32,
    /// When the user began to speak, or the text came.
    pub began: Instant,
    /// From there to the end of speech.
    pub speech: Duration,
    /// From the end of speech to each of [`MILESTONES`]; `None` for one that was not reached.
    pub milestones: [Option<Duration>; MILESTONES.len()],
    /// From the end of speech to the end of the turn.
    pub length: Duration,
    /// How it ended: the `event` of `voxlane_turns_total`, or `barge-in`.
    pub end: &'static str,
    /// The stage that failed; empty where none did.
    pub stage: &'static str,
    /// Why; empty where nothing failed.
    pub cause: &'static str,
    /// The user's language, two letters; zeros where it is not known.
    pub language: [u8; 2],
    /// Bytes of what was understood; 0 for text that was typed.
    pub heard_bytes: u32,
    /// Bytes of the sentences that were spoken.
    pub said_bytes: u32,
    /// How many sentences those were.
    pub sentences: u16,
    /// How often the reply ran dry; at most 255.
    pub underruns: u8,
}

/// The beginning of a device's id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceTag([u8; DEVICE_BYTES]);

impl DeviceTag {
    /// As much of `id` as fits.
    pub fn new(id: &str) -> DeviceTag {
        let mut tag = [0; DEVICE_BYTES];
        let mut len = id.len().min(DEVICE_BYTES);
        while !id.is_char_boundary(len) {
            len -= 1;
        }
        for (to, from) in tag.iter_mut().zip(&id.as_bytes()[..len]) {
            *to = *from;
        }
        DeviceTag(tag)
    }

    /// The text. Devices choose it: whoever shows it escapes it.
    pub fn text(&self) -> &str {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(DEVICE_BYTES);
        std::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }
}

impl TurnRecord {
    /// When it ended.
    pub fn ended(&self) -> Instant {
        self.began + self.speech + self.length
    }

    /// The language, if it is known.
    pub fn language(&self) -> Option<&str> {
        std::str::from_utf8(&self.language).ok().filter(|code| code.bytes().all(|byte| byte != 0))
    }

    /// From the end of speech to the first audio.
    pub fn first_audio(&self) -> Option<Duration> {
        self.milestones[FIRST_AUDIO]
    }
}

/// One shard's ring of turns; see the file's documentation. One thread writes.
#[derive(Default)]
pub struct TurnLog {
    body: OnceLock<Box<Body>>,
}

struct Body {
    written: AtomicU64,
    slots: [Slot; KEPT],
}

#[derive(Default)]
struct Slot {
    /// `2·n + 1` while the `n`-th record is being written, `2·n + 2` once it stands there.
    sequence: AtomicU64,
    words: [AtomicU64; PACKED],
}

impl TurnLog {
    /// Adds a turn; the oldest one makes room. No lock, no wait; only the very first one allocates, see [`TurnLog::warm`].
    pub fn write(&self, record: &TurnRecord) {
        if super::IS_BLIND {
            return;
        }
        let body = self.body.get_or_init(Body::new);
        let n = body.written.load(Relaxed);
        let slot = &body.slots[(n % KEPT as u64) as usize];
        slot.sequence.store(2 * n + 1, Relaxed);
        // Who sees one of the new words must also see that the slot was being written: pairs with the reader's fence.
        fence(Release);
        for (cell, word) in slot.words.iter().zip(pack(record)) {
            cell.store(word, Relaxed);
        }
        slot.sequence.store(2 * n + 2, Release);
        body.written.store(n + 1, Release);
    }

    /// Takes the memory now.
    pub fn warm(&self) {
        self.body.get_or_init(Body::new);
    }

    /// How many turns were ever written.
    pub fn written(&self) -> u64 {
        self.body.get().map_or(0, |body| body.written.load(Acquire))
    }

    /// Calls `each` for every turn from number `from` on that is still there, oldest first; returns the number to go on from.
    /// A turn that is overwritten while it is read is left out.
    pub fn read(&self, from: u64, mut each: impl FnMut(TurnRecord)) -> u64 {
        let Some(body) = self.body.get() else { return 0 };
        let written = body.written.load(Acquire);
        for n in from.max(written.saturating_sub(KEPT as u64))..written {
            if let Some(record) = body.slots[(n % KEPT as u64) as usize].read(n) {
                each(record);
            }
        }
        written
    }
}

impl Body {
    fn new() -> Box<Body> {
        Box::new(Body { written: AtomicU64::new(0), slots: std::array::from_fn(|_| Slot::default()) })
    }
}

impl Slot {
    fn read(&self, n: u64) -> Option<TurnRecord> {
        let before = self.sequence.load(Acquire);
        let words = self.words.each_ref().map(|cell| cell.load(Relaxed));
        // The words are read before the sequence is looked at again.
        fence(Acquire);
        let after = self.sequence.load(Relaxed);
        (before == 2 * n + 2 && after == before).then(|| unpack(&words))
    }
}

/// A turn as JSON. Durations in milliseconds; `at` is the wall clock's reading at its end.
pub fn to_json(shard: ShardId, turn: &TurnRecord, at: UnixMs) -> Value {
    let named = MILESTONES.iter().zip(turn.milestones);
    let reached = named.filter_map(|(name, since)| Some((name.to_string(), json!(ms(since?)))));
    json!({
        "device": turn.device.text(),
        "shard": shard.0,
        "turn": turn.turn,
        "ended_at_ms": at.0,
        "speech_ms": ms(turn.speech),
        "milestones_ms": reached.collect::<Map<_, _>>(),
        "length_ms": ms(turn.length),
        "end": turn.end,
        "stage": turn.stage,
        "cause": turn.cause,
        "language": turn.language(),
        "heard_bytes": turn.heard_bytes,
        "said_bytes": turn.said_bytes,
        "sentences": turn.sentences,
        "underruns": turn.underruns,
    })
}

/// Turns as JSON in their order, given the time and the wall clock's reading.
pub fn all_to_json<'a>(
    turns: impl IntoIterator<Item = &'a (ShardId, TurnRecord)>,
    now: Instant,
    wall: UnixMs,
) -> Vec<Value> {
    let at = |turn: &TurnRecord| UnixMs(wall.0.saturating_sub(now.since(turn.ended()).as_millis() as u64));
    turns.into_iter().map(|(shard, turn)| to_json(*shard, turn, at(turn))).collect()
}

fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

fn pack(record: &TurnRecord) -> [u64; PACKED] {
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let device = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&record.device.0[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let mark = |i: usize| record.milestones[i].map_or(NEVER, micros);
    let word = |word: &str| WORDS.iter().position(|known| *known == word).unwrap_or(0) as u8;
    let [high, low] = record.sentences.to_be_bytes();
    let small = [
        word(record.end),
        word(record.stage),
        word(record.cause),
        record.language[0],
        record.language[1],
        record.underruns,
        high,
        low,
    ];
    [
        device(0),
        device(8),
        device(16),
        record.began.as_us(),
        pair(record.turn, micros(record.speech)),
        pair(mark(0), mark(1)),
        pair(mark(2), mark(3)),
        pair(mark(4), mark(5)),
        pair(mark(6), micros(record.length)),
        pair(record.heard_bytes, record.said_bytes),
        u64::from_le_bytes(small),
    ]
}

fn unpack(words: &[u64; PACKED]) -> TurnRecord {
    let halves = |i: usize| (words[i] as u32, (words[i] >> 32) as u32);
    let mut device = [0; DEVICE_BYTES];
    for (to, word) in device.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    let marks = [halves(5).0, halves(5).1, halves(6).0, halves(6).1, halves(7).0, halves(7).1, halves(8).0];
    let [end, stage, cause, l0, l1, underruns, high, low] = words[10].to_le_bytes();
    let word = |i: u8| WORDS.get(i as usize).copied().unwrap_or_default();
    let time = |us: u32| Duration::from_micros(u64::from(us));
    TurnRecord {
        device: DeviceTag(device),
        turn: halves(4).0,
        began: Instant::from_us(words[3]),
        speech: time(halves(4).1),
        milestones: marks.map(|us| (us != NEVER).then(|| time(us))),
        length: time(halves(8).1),
        end: word(end),
        stage: word(stage),
        cause: word(cause),
        language: [l0, l1],
        heard_bytes: halves(9).0,
        said_bytes: halves(9).1,
        sentences: u16::from_be_bytes([high, low]),
        underruns,
    }
}

/// Whole microseconds; what exceeds 71 minutes counts as that.
fn micros(time: Duration) -> u32 {
    time.as_micros().min(u128::from(NEVER - 1)) as u32
}

#[cfg(test)]
#[path = "turns/tests.rs"]
mod tests;
