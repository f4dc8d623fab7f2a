//! What a conversation does, turn after turn: the one description that both sides of the measurement read, and that the report
//! prints. By default a turn is 168 frames of 60 ms: 40 % listening, 10 % waiting, 50 % speaking.
//!
//! ```text
//!   frames  0 ........ 66 | 67 .. 83 | 84 ................ 167 |
//!           listening     | waiting  | speaking                |
//!           3 s of speech,  the device still sends; the reply plays
//!           1 s of quiet    services work
//! ```

use serde::Serialize;
use std::time::Duration;

/// A frame, and the interval of packets both ways, ms.
pub const FRAME_MS: u64 = 60;
/// Packets that leave at once when a reply begins: how far ahead of the playhead the server sends, 180 ms.
pub const LEAD: u32 = 3;
/// Sentences of a reply, each synthesised by a request of its own.
pub const SENTENCES: u32 = 3;
/// Frames of audio that come from the service at a time.
pub const BURST: u32 = 4;
/// Events in which the model's answer comes: about the tokens of 5 s of speech.
pub const TOKENS: u32 = 25;

/// How a turn is divided, in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duty {
    /// In which the device's packets are heard: 3 s of speech and the quiet that ends it.
    pub listening: u32,
    /// In which the device still sends, and nobody listens.
    pub waiting: u32,
    /// Packets of a reply; a whole number of bursts in each sentence.
    pub speaking: u32,
}

impl Default for Duty {
    fn default() -> Duty {
        Duty { listening: 67, waiting: 17, speaking: 84 }
    }
}

impl Duty {
    /// What [`Duty::speaking`] must be a multiple of.
    pub const SPEAKING_STEP: u32 = SENTENCES * BURST;

    /// Frames of a turn.
    pub fn turn(self) -> u32 {
        self.listening + self.waiting + self.speaking
    }

    /// A turn, ms.
    pub fn turn_ms(self) -> u64 {
        u64::from(self.turn()) * FRAME_MS
    }

    /// Packets of a sentence.
    pub fn sentence(self) -> u32 {
        self.speaking / SENTENCES
    }

    /// Bytes of the request for a transcript: a multipart form with a WAV, or with the packets as they came.
    pub fn asr_ask(self, pass_through: bool) -> usize {
        let listening = self.listening as usize;
        450 + if pass_through { 150 + listening * (1 + HEARD_PACKET) } else { 44 + listening * HEARD_FRAME * 2 }
    }

    /// Whether the `nth` packet that is heard, from 1, is decoded: all where samples are sent on, else every fourth, as many as a
    /// detector of voice can hardly do without.
    pub fn is_decoded(self, nth: u32, pass_through: bool) -> bool {
        !pass_through || nth % 4 == 1
    }

    /// Bytes of a sentence's audio, head included.
    pub fn sentence_bytes(self, pass_through: bool) -> usize {
        TTS_HEAD + (self.sentence() / BURST) as usize * piece(pass_through)
    }
}

/// Samples per second, and samples of a frame, of what we hear.
pub const HEARD_RATE: u32 = 16_000;
pub const HEARD_FRAME: usize = 960;
/// Bytes of a device's packet, on average.
const HEARD_PACKET: usize = 90;
/// Of what we say.
pub const SAID_RATE: u32 = 24_000;
pub const SAID_FRAME: usize = 1_440;

/// Bytes of a packet where the service gives Opus: as long as 60 ms at 24 kbit/s are on average.
pub const OPUS_PACKET: usize = 180;
/// Framing of a chunk in HTTP: its length in hex, two line ends.
pub const CHUNK: usize = 8;
/// Head of an Ogg page with one packet.
pub const OGG_PAGE: usize = 28;

/// Bytes of what passes between us and the services, heads included, as the server and its stand-ins send them.
pub const ASR_ANSWER: usize = 160;
pub const LLM_ASK: usize = 1_600; // the persona and a few turns
pub const LLM_HEAD: usize = 100;
pub const LLM_EVENT: usize = 151; // one token in its JSON, chunked
pub const TTS_ASK: usize = 330;
pub const TTS_HEAD: usize = 100;

/// When the services answer: profile R2 of `targets.md`, without its scatter, which costs nobody CPU.
pub const ASR_AFTER: Duration = Duration::from_millis(120);
pub const LLM_AFTER: Duration = Duration::from_millis(220);
pub const TOKEN_EVERY: Duration = Duration::from_micros(16_667);
pub const TTS_AFTER: Duration = Duration::from_millis(120);
/// Audio comes at four times the speed of play: a burst of four frames in the time of one.
pub const PIECE_EVERY: Duration = Duration::from_millis(FRAME_MS * BURST as u64 / 4);

/// Bytes of the messages of a turn to the device, WebSocket header included: `stt`; `llm`, `tts start` and the first
/// `sentence_start` in one; a further `sentence_start`; `tts stop`.
pub const SAY_STT: usize = 130;
pub const SAY_START: usize = 350;
pub const SAY_SENTENCE: usize = 150;
pub const SAY_STOP: usize = 95;

/// The duty as a report shows it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shown {
    /// A turn, and its parts, ms.
    pub turn_ms: u64,
    pub listening_ms: u64,
    pub waiting_ms: u64,
    pub speaking_ms: u64,
    /// Interval of packets, ms.
    pub frame_ms: u64,
    pub sentences_per_turn: u32,
    pub tokens_per_turn: u32,
    /// Bytes of a turn to and from the services.
    pub service_bytes_out: usize,
    pub service_bytes_in: usize,
}

impl Shown {
    pub fn of(duty: Duty, pass_through: bool) -> Shown {
        let ms = |frames: u32| u64::from(frames) * FRAME_MS;
        let sentences = SENTENCES as usize;
        let answer = LLM_HEAD + TOKENS as usize * LLM_EVENT;
        Shown {
            turn_ms: duty.turn_ms(),
            listening_ms: ms(duty.listening),
            waiting_ms: ms(duty.waiting),
            speaking_ms: ms(duty.speaking),
            frame_ms: FRAME_MS,
            sentences_per_turn: SENTENCES,
            tokens_per_turn: TOKENS,
            service_bytes_out: duty.asr_ask(pass_through) + LLM_ASK + sentences * TTS_ASK,
            service_bytes_in: ASR_ANSWER + answer + sentences * duty.sentence_bytes(pass_through),
        }
    }
}

/// Bytes of one frame of a reply as the service gives it: PCM16, or a page of Ogg with one packet.
pub fn unit(pass_through: bool) -> usize {
    if pass_through { OGG_PAGE + OPUS_PACKET } else { SAID_FRAME * 2 }
}

/// Bytes of a piece of audio: a chunk with a burst of frames.
pub fn piece(pass_through: bool) -> usize {
    CHUNK + BURST as usize * unit(pass_through)
}

/// Bytes of the model's answer after which sentence `n` is complete and its audio is asked for.
pub fn sentence_known(n: u32) -> usize {
    LLM_HEAD + (TOKENS * (n + 1) / SENTENCES) as usize * LLM_EVENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_those_of_the_targets() {
        let shown = Shown::of(Duty::default(), false);
        let percent = |ms: u64| ms as f64 * 100.0 / shown.turn_ms as f64;
        assert!((percent(shown.listening_ms) - 40.0).abs() < 0.5);
        assert!((percent(shown.waiting_ms) - 10.0).abs() < 0.5);
        assert!((percent(shown.speaking_ms) - 50.0).abs() < 0.5);
        assert_eq!(Duty::default().speaking % Duty::SPEAKING_STEP, 0, "bursts fill sentences, sentences the reply");
        assert_eq!(sentence_known(SENTENCES - 1), LLM_HEAD + TOKENS as usize * LLM_EVENT);
    }
}
