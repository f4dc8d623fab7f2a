//! What a conversation does, turn after turn: the one description that both sides of the measurement read, and that the report
//! prints. A turn is 168 frames of 60 ms (`targets.md`: 40 % listening, 10 % waiting, 50 % speaking):
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
/// Frames in which the device's packets are heard: 3 s of speech and the quiet that ends it.
pub const LISTENING: u32 = 67;
/// Frames in which the device still sends, and nobody listens.
pub const WAITING: u32 = 17;
/// Packets of a reply.
pub const SPEAKING: u32 = 84;
/// Frames of a turn.
pub const TURN: u32 = LISTENING + WAITING + SPEAKING;
/// A turn, ms.
pub const TURN_MS: u64 = TURN as u64 * FRAME_MS;
/// Packets that leave at once when a reply begins: how far ahead of the playhead the server sends, 180 ms.
pub const LEAD: u32 = 3;
/// Sentences of a reply, each synthesised by a request of its own.
pub const SENTENCES: u32 = 2;
/// Packets of a sentence.
pub const SENTENCE: u32 = SPEAKING / SENTENCES;
/// Events in which the model's answer comes: about the tokens of 5 s of speech.
pub const TOKENS: u32 = 25;

/// Samples per second, and samples of a frame, of what we hear.
pub const HEARD_RATE: u32 = 16_000;
pub const HEARD_FRAME: usize = 960;
/// Of what we say.
pub const SAID_RATE: u32 = 24_000;
pub const SAID_FRAME: usize = 1_440;

/// What a reply is made of where the service gives samples: a chunk of HTTP with one frame of PCM16.
pub const PCM_PIECE: usize = CHUNK + SAID_FRAME * 2;
/// And where it gives Opus: a page of Ogg with one packet, as long as 60 ms at 24 kbit/s are on average.
pub const OPUS_PACKET: usize = 180;
pub const OPUS_PIECE: usize = CHUNK + OGG_PAGE + OPUS_PACKET;
/// Framing of a chunk in HTTP: its length in hex, two line ends.
pub const CHUNK: usize = 8;
/// Head of an Ogg page with one packet.
pub const OGG_PAGE: usize = 28;

/// Bytes of what passes between us and the services, heads included, as the server and its stand-ins send them.
pub const ASR_ASK: usize = 450 + 44 + LISTENING as usize * HEARD_FRAME * 2; // multipart form with a WAV
pub const ASR_ANSWER: usize = 240;
pub const LLM_ASK: usize = 1_600; // the persona and a few turns
pub const LLM_HEAD: usize = 160;
pub const LLM_EVENT: usize = 230; // one token in its JSON, chunked
pub const TTS_ASK: usize = 330;
pub const TTS_HEAD: usize = 160;

/// When the services answer: profile R2 of `targets.md`, without its scatter, which costs nobody CPU.
pub const ASR_AFTER: Duration = Duration::from_millis(120);
pub const LLM_AFTER: Duration = Duration::from_millis(220);
pub const TOKEN_EVERY: Duration = Duration::from_micros(16_667);
pub const TTS_AFTER: Duration = Duration::from_millis(120);
/// A frame of audio comes every quarter of a frame.
pub const PIECE_EVERY: Duration = Duration::from_millis(FRAME_MS / 4);

/// Bytes of the messages of a turn to the device, WebSocket header included: `stt`; `llm`, `tts start` and the first
/// `sentence_start` in one; a further `sentence_start`; `tts stop`.
pub const SAY_STT: usize = 130;
pub const SAY_START: usize = 350;
pub const SAY_SENTENCE: usize = 150;
pub const SAY_STOP: usize = 95;

/// The duty as a report shows it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Duty {
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

impl Duty {
    pub fn of(pass_through: bool) -> Duty {
        let ms = |frames: u32| u64::from(frames) * FRAME_MS;
        let sentences = SENTENCES as usize;
        Duty {
            turn_ms: TURN_MS,
            listening_ms: ms(LISTENING),
            waiting_ms: ms(WAITING),
            speaking_ms: ms(SPEAKING),
            frame_ms: FRAME_MS,
            sentences_per_turn: SENTENCES,
            tokens_per_turn: TOKENS,
            service_bytes_out: ASR_ASK + LLM_ASK + sentences * TTS_ASK,
            service_bytes_in: ASR_ANSWER + LLM_HEAD + TOKENS as usize * LLM_EVENT + sentences * sentence(pass_through),
        }
    }
}

/// Bytes of a piece of a sentence's audio.
pub fn piece(pass_through: bool) -> usize {
    if pass_through { OPUS_PIECE } else { PCM_PIECE }
}

/// Bytes of a sentence's audio.
pub fn sentence(pass_through: bool) -> usize {
    TTS_HEAD + SENTENCE as usize * piece(pass_through)
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
        let duty = Duty::of(false);
        let percent = |ms: u64| ms as f64 * 100.0 / duty.turn_ms as f64;
        assert!((percent(duty.listening_ms) - 40.0).abs() < 0.5);
        assert!((percent(duty.waiting_ms) - 10.0).abs() < 0.5);
        assert!((percent(duty.speaking_ms) - 50.0).abs() < 0.5);
        assert_eq!(SENTENCE * SENTENCES, SPEAKING, "sentences fill the reply");
        assert_eq!(sentence_known(SENTENCES - 1), LLM_HEAD + TOKENS as usize * LLM_EVENT);
    }
}
