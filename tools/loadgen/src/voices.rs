//! What devices say: many voices of real speech, two to four seconds each, cut so that the end of speech is known to the sample.
//!
//! Speech is made once by espeak-ng, in several languages, speeds and pitches, and kept in the user's cache folder under a
//! checksum. Without espeak-ng two recordings by people, at several speeds, must do; one line says so. The same recipe gives
//! the same samples, so two runs say the same words.
//!
//! ```text
//!   | identity tone | speech ....................... | silence, as a microphone sends it
//!   0               tone_ms                          speech_end_ms
//! ```
//!
//! The tone stands *before* the speech: there it cannot delay the verdict that speech is over, it lies within what a server keeps
//! from before the onset, and the packets of the speech itself can be shared by all devices. Only the tone's few packets are
//! each device's own. (Tried with every voice and our own ear: the tone is taken for voice and brings the onset forward, the end
//! comes when it would without it, and the number survives the codec and the ear in every case.)

mod cut;
mod kept;
mod made;
mod recipe;

use std::path::Path;
use std::sync::Arc;
use voxlane::audio::opus::{Encoder, EncoderSettings, OpusFault};
use voxlane_standins::identity;

/// Samples per second of what devices send.
pub const RATE: u32 = 16_000;
/// Audio in a packet, ms.
pub const PACKET_MS: u32 = 60;
/// Samples in a packet.
pub const PACKET: usize = (RATE * PACKET_MS / 1_000) as usize;

/// A stretch of speech without anything around it: its last sample is the end of speech.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speech {
    /// Which voice, for reports: `en-us/150/50`.
    pub name: String,
    /// The words, as far as known.
    pub text: String,
    /// 16 kHz mono.
    pub pcm: Vec<i16>,
}

impl Speech {
    /// Its length, ms.
    pub fn ms(&self) -> f64 {
        self.pcm.len() as f64 * 1_000.0 / f64::from(RATE)
    }
}

/// What a device sends for a sentence, encoded once and shared by all that say it. Before it goes the device's own
/// [`tone_packets`].
#[derive(Clone, Debug)]
pub struct Utterance {
    /// Which voice, for reports.
    pub name: String,
    /// The words, as far as known.
    pub text: String,
    /// Opus as a device's microphone side makes it, [`PACKET_MS`] each; the last is filled up with silence.
    pub packets: Vec<Box<[u8]>>,
    /// The same samples, for devices that send PCM.
    pub pcm: Vec<i16>,
    /// The true end of speech, ms from the first sample of the tone.
    pub speech_end_ms: f64,
}

impl Utterance {
    /// Encodes a speech.
    pub fn of(speech: &Speech) -> Result<Utterance, OpusFault> {
        Ok(Utterance {
            name: speech.name.clone(),
            text: speech.text.clone(),
            packets: packets(&speech.pcm)?,
            pcm: speech.pcm.clone(),
            speech_end_ms: f64::from(TONE_PACKETS_MS) + speech.ms(),
        })
    }
}

/// Length of [`tone_packets`], ms: the code of 320 ms in whole packets.
pub const TONE_PACKETS_MS: u32 = identity::TONE_MS.div_ceil(PACKET_MS) * PACKET_MS;

/// The device's number as packets, to be sent right before an utterance. About 1.2 KB. What is left of the first packet is
/// silence, so that nothing stands between the code and speech.
pub fn tone_packets(id: u16) -> Result<Vec<Box<[u8]>>, OpusFault> {
    packets(&tone_pcm(id))
}

/// The same as samples, for devices that send PCM.
pub fn tone_pcm(id: u16) -> Vec<i16> {
    let tone = identity::tone(id, RATE);
    let mut pcm = vec![0; (TONE_PACKETS_MS * RATE / 1_000) as usize - tone.len()];
    pcm.extend(tone);
    pcm
}

/// The voices of a run, and what is to be said about them.
#[derive(Clone, Debug)]
pub struct Voices {
    /// At least two.
    pub speeches: Vec<Speech>,
    /// One line for the person, when these are not the voices one would wish for.
    pub note: Option<String>,
}

/// Brings the voices: from the cache, else made anew and kept there. `cache`: the folder; `None` keeps nothing.
pub fn gather(cache: Option<&Path>) -> Voices {
    if let Some(speeches) = cache.and_then(kept::read) {
        return Voices { speeches, note: None };
    }
    let (speeches, problem) = made::synthesised();
    let Some(problem) = problem else {
        let kept = cache.map_or(Ok(()), |folder| kept::write(folder, &speeches));
        let note = kept.err().map(|e| format!("voices cannot be kept for the next run: {e}"));
        return Voices { speeches, note };
    };
    let note = format!("only recordings speak, {} variants of two: {problem}", made::RECORDED_VARIANTS);
    Voices { speeches: made::recorded(), note: Some(note) }
}

/// The folder of the user's cache that is ours; `None` when the user has no home.
pub fn cache_folder() -> Option<std::path::PathBuf> {
    let given = std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()).map(std::path::PathBuf::from);
    let home = || std::env::var_os("HOME").filter(|v| !v.is_empty()).map(|h| Path::new(&h).join(".cache"));
    given.or_else(home).map(|base| base.join("voxlane"))
}

/// Encodes `pcm` as a device's microphone would: 16 kHz, 60 ms, speech, discontinuous. The last packet is filled up with
/// silence.
pub fn packets(pcm: &[i16]) -> Result<Vec<Box<[u8]>>, OpusFault> {
    let mut encoder = Encoder::with(EncoderSettings::device(RATE))?;
    let mut out = vec![0; voxlane::audio::opus::ENCODED_BYTES_MAX];
    pcm.chunks(PACKET)
        .map(|chunk| {
            let mut frame = [0; PACKET];
            frame[..chunk.len()].copy_from_slice(chunk);
            let len = encoder.encode(&frame, &mut out)?;
            Ok(out[..len].into())
        })
        .collect()
}

/// Silence as a microphone hears it: a room, 60 dB below full scale, so that neither encoder nor detector sees digital zero.
/// The same samples for everybody; one second, to be repeated.
pub fn room() -> Arc<[i16]> {
    let mut state = 0x2545_f491_u32;
    let mut low = 0_i32;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        // A slow low-pass: rooms rumble, they do not hiss.
        low += (((state >> 16) as i32 - 32_768) / 256 - low) / 4;
        low as i16
    };
    (0..RATE).map(|_| noise()).collect()
}

#[cfg(test)]
mod tests;
