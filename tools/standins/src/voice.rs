//! The voice: real speech from recordings, prepared once, so that an answer costs no more than passing it on. A sentence is its
//! identity's tone code and then a stretch of speech; all sentences share the speech.
//!
//! ```text
//!   pcm:   [40 ms of one tone] x 8 | 40 ms of silence | speech, a slice of one buffer
//!   opus:  head | 6 pages of tone (per identity, made when first asked for) | pages of speech, shared | last page
//! ```
//!
//! The tones of a code hold whole cycles, so a code in samples is slices of one bank. In Opus its packets are made once for
//! each identity, and the speech's pages fit behind all of them, as every sentence begins with the same number of packets.

use crate::identity;
use crate::ogg;
use std::collections::HashMap;
use std::sync::Arc;
use voxlane::audio::opus::{Application, ENCODED_BYTES_MAX, Encoder, EncoderSettings, OpusFault};
use voxlane::audio::resample::Resampler;

/// Samples per second of the voice, mono.
pub const RATE: u32 = 24_000;
/// Audio in a packet, ms: what devices are sent, so that a server may pass it on.
pub const PACKET_MS: u32 = 60;
/// Longest sentence, ms; what is longer is cut, as services cut theirs.
pub const SENTENCE_MS_MAX: u32 = 60_000;

/// Packets before the speech: the code, filled up with silence.
const TONE_PACKETS: u32 = identity::TONE_MS.div_ceil(PACKET_MS);
const PACKET: usize = (RATE * PACKET_MS / 1_000) as usize;
/// Different places in the recordings where a sentence may begin.
const PLACES: usize = 4;
/// Identities whose packets are kept, about 4 KiB each: more than one load tool has devices at a time. When there are more, all
/// are made anew.
const KEPT_MAX: usize = 16_384;

const ENGLISH: &[u8] = include_bytes!("../../../tests/data/en-librispeech-1995-1837-0001.wav");
const CHINESE: &[u8] = include_bytes!("../../../tests/data/zh-aishell-BAC009S0724W0121.wav");

/// A piece of an answer's body: shared, or its own.
#[derive(Clone, Debug)]
pub struct Piece {
    bytes: Arc<[u8]>,
    start: usize,
    end: usize,
}

impl Piece {
    /// All of `bytes`.
    pub fn of(bytes: impl Into<Arc<[u8]>>) -> Piece {
        let bytes = bytes.into();
        Piece { start: 0, end: bytes.len(), bytes }
    }

    fn slice(bytes: &Arc<[u8]>, start: usize, end: usize) -> Piece {
        Piece { bytes: bytes.clone(), start, end }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes `len` bytes off its front.
    pub fn advance(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
    }
}

/// How audio is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// PCM16, 24 kHz, in a WAV file.
    Wav,
    /// The same without a head.
    Pcm,
    /// Ogg-Opus, 60 ms packets, one in a page.
    Opus,
}

impl Sound {
    /// By the name that a request has for it.
    pub fn named(name: &str) -> Option<Sound> {
        match name {
            "wav" => Some(Sound::Wav),
            "pcm" => Some(Sound::Pcm),
            "opus" => Some(Sound::Opus),
            _ => None,
        }
    }

    /// Its content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Sound::Wav => "audio/wav",
            Sound::Pcm => "audio/pcm",
            Sound::Opus => "audio/ogg",
        }
    }
}

/// A sentence as audio: packet by packet, each [`PACKET_MS`] long.
#[derive(Clone, Copy, Debug)]
pub struct Spoken {
    /// Who.
    pub id: Option<u16>,
    /// What as.
    pub sound: Sound,
    /// Packets in all.
    pub packets: u32,
    place: usize,
}

/// The prepared voice.
pub struct Voice {
    /// The recordings at 24 kHz, PCM16 little-endian, in whole packets.
    speech: Arc<[u8]>,
    tones: Bank,
    /// The recordings once more, as packets.
    packets: Vec<Vec<u8>>,
    /// Per place in the recordings the pages of the longest sentence.
    pages: [Vec<Piece>; PLACES],
    codes: HashMap<Option<u16>, Arc<[Piece]>>,
}

/// At this rate libopus takes its codec for music, which keeps tones as they are. A code
/// costs 0.7 ms, once.
const CODE_SETTINGS: EncoderSettings =
    EncoderSettings { rate: RATE, complexity: 0, bitrate: 96_000, application: Application::Audio, dtx: false };

impl Voice {
    /// Prepares the recordings: some tenths of a second.
    ///
    /// # Errors
    /// libopus fails.
    pub fn new() -> Result<Voice, OpusFault> {
        let mut speech = recordings();
        speech.truncate(speech.len() / PACKET * PACKET);
        let packets = encode(&speech, EncoderSettings::reply(RATE, 5))?;
        let longest = (SENTENCE_MS_MAX / PACKET_MS) as usize;
        let pages = std::array::from_fn(|place| {
            let round = packets.iter().cycle().skip(place * packets.len() / PLACES).take(longest);
            (TONE_PACKETS..).zip(round).map(|(nth, p)| Piece::of(ogg::audio(nth, PACKET_MS, p, false))).collect()
        });
        Ok(Voice { speech: bytes(&speech), tones: Bank::new(), packets, pages, codes: HashMap::new() })
    }

    /// A sentence of `ms`, the tone code not counted. `chance` chooses where in the recordings it begins.
    pub fn speak(&self, id: Option<u16>, sound: Sound, ms: u32, chance: u64) -> Spoken {
        let packets = TONE_PACKETS + ms.clamp(PACKET_MS, SENTENCE_MS_MAX).div_ceil(PACKET_MS);
        Spoken { id, sound, packets, place: (chance % PLACES as u64) as usize }
    }

    /// The packets `from..to` of a sentence, as they stand in the answer's body; the head comes with the first.
    ///
    /// # Errors
    /// libopus fails.
    pub fn pieces(&mut self, spoken: &Spoken, from: u32, to: u32, out: &mut Vec<Piece>) -> Result<(), OpusFault> {
        match spoken.sound {
            Sound::Opus => self.opus_pieces(spoken, from, to, out),
            sound => {
                if from == 0 && sound == Sound::Wav {
                    out.push(Piece::of(wav_head(spoken.packets * PACKET as u32 * 2)));
                }
                self.pcm_pieces(spoken, from, to, out);
                Ok(())
            }
        }
    }

    fn pcm_pieces(&mut self, spoken: &Spoken, from: u32, to: u32, out: &mut Vec<Piece>) {
        const BYTES: usize = PACKET * 2;
        if from < TONE_PACKETS {
            self.tones.code(spoken.id, from as usize * BYTES, to.min(TONE_PACKETS) as usize * BYTES, out);
        }
        let all = self.speech.len() / BYTES;
        let mut at = from.max(TONE_PACKETS);
        while at < to {
            // A stretch as long as the recordings go on, then from their beginning.
            let start = ((at - TONE_PACKETS) as usize + spoken.place * all / PLACES) % all;
            let len = ((to - at) as usize).min(all - start);
            out.push(Piece::slice(&self.speech, start * BYTES, (start + len) * BYTES));
            at += len as u32;
        }
    }

    fn opus_pieces(&mut self, spoken: &Spoken, from: u32, to: u32, out: &mut Vec<Piece>) -> Result<(), OpusFault> {
        if from < TONE_PACKETS {
            let code = self.code_pages(spoken.id)?;
            // The head goes with the first packet.
            let first = if from == 0 { 0 } else { from as usize + 1 };
            out.extend_from_slice(&code[first..=to.min(TONE_PACKETS) as usize]);
        }
        for nth in from.max(TONE_PACKETS)..to {
            let at = (nth - TONE_PACKETS) as usize;
            if nth + 1 == spoken.packets {
                let packet = (at + spoken.place * self.packets.len() / PLACES) % self.packets.len();
                out.push(Piece::of(ogg::audio(nth, PACKET_MS, &self.packets[packet], true)));
            } else {
                out.push(self.pages[spoken.place][at].clone());
            }
        }
        Ok(())
    }

    /// The head, then a page for each packet before the speech.
    fn code_pages(&mut self, id: Option<u16>) -> Result<Arc<[Piece]>, OpusFault> {
        if let Some(code) = self.codes.get(&id) {
            return Ok(code.clone());
        }
        if self.codes.len() >= KEPT_MAX {
            self.codes.clear();
        }
        let packets = encode(&code_samples(id), CODE_SETTINGS)?;
        let mut pages = vec![Piece::of(ogg::head(RATE))];
        pages.extend((0..).zip(&packets).map(|(nth, packet)| Piece::of(ogg::audio(nth, PACKET_MS, packet, false))));
        let pages: Arc<[Piece]> = pages.into();
        self.codes.insert(id, pages.clone());
        Ok(pages)
    }
}

/// What codes in samples are made of, 40 ms each: lead, silence, the sixteen tones, the sixteen as they end a code.
struct Bank(Arc<[u8]>);

/// Bytes of one of them.
const PART: usize = RATE as usize / 25 * 2;
/// Parts of a code and the silence behind it: as long as the packets before the speech.
const PARTS: usize = TONE_PACKETS as usize * PACKET * 2 / PART;

impl Bank {
    fn new() -> Bank {
        let part = |id: u16, nth: usize| bytes(&identity::tone(id, RATE))[nth * PART..(nth + 1) * PART].to_vec();
        let mut all = part(0, 0);
        all.extend([0; PART]);
        (0..16).for_each(|symbol| all.extend(part(symbol << 12, 1)));
        let last = identity::symbols(0).len();
        for symbol in 0..16 {
            let ends = |id: &u16| identity::symbols(*id)[last - 1] == symbol;
            all.extend(part((0..=u16::MAX).find(ends).expect("a check takes all values"), last));
        }
        Bank(all.into())
    }

    /// The bytes `from..to` of a code.
    fn code(&self, id: Option<u16>, from: usize, to: usize, out: &mut Vec<Piece>) {
        let symbols = id.map(identity::symbols);
        for nth in from / PART..to.div_ceil(PART).min(PARTS) {
            let at = PART
                * match (symbols, nth) {
                    (Some(_), 0) => 0,
                    (Some(symbols), nth) if nth < symbols.len() => 2 + symbols[nth - 1] as usize,
                    (Some(symbols), nth) if nth == symbols.len() => 18 + symbols[nth - 1] as usize,
                    _ => 1,
                };
            let (start, end) = (from.max(nth * PART), to.min((nth + 1) * PART));
            out.push(Piece::slice(&self.0, at + start - nth * PART, at + end - nth * PART));
        }
    }
}

/// The code and silence behind it, in whole packets.
fn code_samples(id: Option<u16>) -> Vec<i16> {
    let mut samples = id.map_or_else(Vec::new, |id| identity::tone(id, RATE));
    samples.resize(TONE_PACKETS as usize * PACKET, 0);
    samples
}

fn bytes(samples: &[i16]) -> Arc<[u8]> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// The recordings one after the other; they are plain: 44 bytes of head, then 16 kHz mono.
fn recordings() -> Vec<i16> {
    let mut out = Vec::new();
    for wav in [ENGLISH, CHINESE] {
        let pcm: Vec<i16> = wav[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        let mut resampler = Resampler::new(16_000, RATE).expect("both rates are known");
        resampler.process(&pcm, &mut out);
        resampler.flush(&mut out);
    }
    out
}

fn encode(samples: &[i16], settings: EncoderSettings) -> Result<Vec<Vec<u8>>, OpusFault> {
    let mut encoder = Encoder::with(settings)?;
    let mut packet = [0; ENCODED_BYTES_MAX];
    let mut one = |frame: &[i16]| {
        let len = encoder.encode(frame, &mut packet)?;
        Ok(packet[..len].to_vec())
    };
    samples.chunks_exact(PACKET).map(&mut one).collect()
}

fn wav_head(data: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(44);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(36 + data).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel, samples and bytes per second, bytes per frame, bits per sample.
    out.extend_from_slice(&[1, 0, 1, 0]);
    out.extend_from_slice(&RATE.to_le_bytes());
    out.extend_from_slice(&(RATE * 2).to_le_bytes());
    out.extend_from_slice(&[2, 0, 16, 0]);
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use voxlane::providers::Flow;
    use voxlane::providers::sound::{self, Encoding};

    fn body(voice: &mut Voice, spoken: &Spoken, step: u32) -> Vec<u8> {
        let mut pieces = Vec::new();
        for from in (0..spoken.packets).step_by(step as usize) {
            voice.pieces(spoken, from, (from + step).min(spoken.packets), &mut pieces).unwrap();
        }
        pieces.iter().flat_map(|piece| piece.bytes().to_vec()).collect()
    }

    /// What a server makes of a body.
    fn samples(body: Vec<u8>, sound: Sound) -> Vec<i16> {
        let asked = match sound {
            Sound::Wav => Encoding::Wav,
            Sound::Pcm => Encoding::Pcm { rate: RATE },
            Sound::Opus => Encoding::Opus,
        };
        let mut out = Vec::new();
        let mut keep = |sound: voxlane::providers::Sound<'_>| {
            // Opus is decoded at 24 or 48 kHz; both are heard.
            assert!(sound.rate == RATE, "{}", sound.rate);
            out.extend_from_slice(sound.pcm);
            Flow::Continue
        };
        sound::decode(body.as_slice(), asked, &mut keep).unwrap();
        out
    }

    #[test]
    fn a_sentence_is_the_tone_and_speech_however_it_is_asked_for() {
        let mut voice = Voice::new().unwrap();
        for (nth, sound) in [Sound::Wav, Sound::Pcm, Sound::Opus].into_iter().enumerate() {
            for (id, ms) in [(Some(77), 1_700), (Some(0xFFFF), 60), (None, 2_000), (Some(3), 25_000)] {
                let spoken = voice.speak(id, sound, ms, nth as u64);
                let whole = body(&mut voice, &spoken, 1_000);
                assert_eq!(body(&mut voice, &spoken, 1), whole, "packet by packet");
                assert_eq!(body(&mut voice, &spoken, 4), whole, "four at a time");
                let samples = samples(whole, sound);
                let expected = (ms.div_ceil(60) + 6) as usize * PACKET;
                // An Opus decoder drops the encoder's delay.
                assert!(samples.len() <= expected && samples.len() + PACKET > expected, "{} {expected}", samples.len());
                assert_eq!(identity::heard(&samples, RATE), id, "{sound:?}");
                let speech = &samples[8_640..];
                let loud = speech.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / speech.len() as f64;
                assert!(ms < 1_000 || loud.sqrt() > 300.0, "{sound:?}: {}", loud.sqrt());
            }
        }
    }

    #[test]
    fn the_bank_makes_the_codes_that_identity_makes() {
        let mut voice = Voice::new().unwrap();
        for id in (0..=u16::MAX).step_by(999) {
            let spoken = voice.speak(Some(id), Sound::Pcm, 60, 0);
            let body = body(&mut voice, &spoken, 1);
            let tone = identity::tone(id, RATE);
            let differs = |(a, b): (&[u8], &i16)| i16::from_le_bytes([a[0], a[1]]).abs_diff(*b) > 600;
            assert!(!body.chunks_exact(2).zip(&tone).any(differs), "{id}");
            assert_eq!(identity::heard(&code_samples(Some(id)), RATE), Some(id));
        }
    }

    #[test]
    fn codes_are_heard_from_opus() {
        let mut voice = Voice::new().unwrap();
        let mut lost = 0;
        for id in (0..100_u16).map(|n| n.wrapping_mul(40_503)) {
            let spoken = voice.speak(Some(id), Sound::Opus, 600, u64::from(id));
            match identity::heard(&samples(body(&mut voice, &spoken, 4), Sound::Opus), RATE) {
                None => lost += 1,
                heard => assert_eq!(heard, Some(id)),
            }
        }
        assert!(lost == 0, "{lost} of 100 lost");
    }
}
