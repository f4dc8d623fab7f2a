//! Sound as services and programs send it, decoded while it comes: WAV, raw samples, MP3, Ogg-Opus.
//!
//! What comes is foreign: it may be cut, lie about its length, be something else than was asked for, or never end. All of it
//! ends in samples, a [`Fault`] or a bound. MP3 is decoded by symphonia, Opus by the codec of `audio`, WAV by `wav`. Of the four
//! only Ogg says where it ends: what is cut elsewhere is known by the service's own framing, if at all.

mod mp3;
mod ogg_opus;

use super::wav::WavStream;
use super::{Flow, Sound};
use crate::audio::resample::RATES;
use crate::format::{Codec, ReplyFormat};
use crate::limits;
use crate::resilience::fault::{Cause, Fault};
use std::io::{self, Read};

/// What sound comes as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// WAV with PCM of 8 to 32 bits or floats, its length true or not.
    Wav,
    /// PCM16 little-endian, mono, at this many samples per second.
    Pcm {
        /// Samples per second.
        rate: u32,
    },
    /// MP3.
    Mp3,
    /// Opus in Ogg.
    Opus,
}

impl Encoding {
    /// Its name in configuration and in requests.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Wav => "wav",
            Encoding::Pcm { .. } => "pcm",
            Encoding::Mp3 => "mp3",
            Encoding::Opus => "opus",
        }
    }

    /// Refuses a rate that cannot be resampled.
    ///
    /// # Errors
    /// Refused.
    pub fn check(self) -> Result<(), Fault> {
        match self {
            Encoding::Pcm { rate } if !RATES.contains(&rate) => Err(bad_rate(rate, Cause::Refused)),
            _ => Ok(()),
        }
    }
}

/// Decodes `source` to its end and gives the audio piece by piece, until `on_audio` wants no more or
/// [`limits::SENTENCE_AUDIO`] has come. A container that is recognised is taken for what it is, whatever was asked for.
///
/// A [`Fault`] inside an `io::Error` of `source` comes out as it is.
///
/// # Errors
/// Malformed: it is no sound, of another rate than 8 to 48 kHz, or there is none in it. Unavailable: Ogg that was cut off. The
/// source's own faults.
pub fn decode(
    source: impl Read + Send + Sync,
    asked: Encoding,
    on_audio: &mut dyn FnMut(Sound<'_>) -> Flow,
) -> Result<(), Fault> {
    let samples = ReplyFormat { codec: Codec::Pcm, ..ReplyFormat::DEFAULT };
    decode_or_pass(source, asked, samples, on_audio)
}

/// As [`decode`], but Ogg-Opus whose first packet is mono and as long as a frame of `format` is given packet by packet, without
/// decoding, where `format` is Opus at 24 kHz. From a packet of another kind on the rest is decoded.
///
/// # Errors
/// As [`decode`].
pub fn decode_or_pass(
    mut source: impl Read + Send + Sync,
    asked: Encoding,
    format: ReplyFormat,
    on_audio: &mut dyn FnMut(Sound<'_>) -> Flow,
) -> Result<(), Fault> {
    let mut head = [0; 4];
    let len = read_full(&mut source, &mut head)?;
    let head = &head[..len];
    let mut rest = head.chain(source).take(limits::SENTENCE_SOUND_BYTES as u64);
    let mut out = Out { on_audio, samples: 0, stopped: false };
    match head {
        b"RIFF" => decode_wav(&mut rest, &mut out)?,
        b"OggS" => ogg_opus::decode(&mut rest, format, &mut out)?,
        // A page or a JSON document. Samples begin so only by a very rare accident: near silence has zeros.
        [b'<', b'!' | b'h' | b'?', ..] | [b'{', b'"' | b' ' | b'\n', ..] => {
            return Err(malformed("text instead of sound"));
        }
        _ => match asked {
            Encoding::Pcm { rate } => decode_pcm(&mut rest, rate, &mut out)?,
            Encoding::Mp3 => mp3::decode(rest, &mut out)?,
            Encoding::Wav => return Err(malformed("no WAV")),
            Encoding::Opus => return Err(malformed("no Ogg")),
        },
    }
    if out.samples == 0 && !out.stopped {
        return Err(malformed("no audio in the answer"));
    }
    Ok(())
}

/// Where decoded samples go. Counts them, and says when it is enough.
struct Out<'a> {
    on_audio: &'a mut dyn FnMut(Sound<'_>) -> Flow,
    samples: u64,
    stopped: bool,
}

impl Out<'_> {
    fn give(&mut self, rate: u32, pcm: &[i16]) -> Result<Flow, Fault> {
        if !RATES.contains(&rate) {
            return Err(bad_rate(rate, Cause::Malformed));
        }
        if pcm.is_empty() {
            return Ok(Flow::Continue);
        }
        let most = limits::SENTENCE_AUDIO.as_secs() * u64::from(rate);
        let room = (most - self.samples.min(most)).min(pcm.len() as u64) as usize;
        self.samples += room as u64;
        let wants = room > 0 && (self.on_audio)(Sound { rate, pcm: &pcm[..room], packet: None }) == Flow::Continue;
        self.stopped = !wants || room < pcm.len();
        Ok(if self.stopped { Flow::Stop } else { Flow::Continue })
    }
}

impl Out<'_> {
    /// Gives a packet of `samples` samples at `rate`.
    fn pass(&mut self, rate: u32, packet: &[u8], samples: usize) -> Flow {
        self.samples += samples as u64;
        let is_full = self.samples >= limits::SENTENCE_AUDIO.as_secs() * u64::from(rate);
        let wants = (self.on_audio)(Sound { rate, pcm: &[], packet: Some(packet) }) == Flow::Continue;
        self.stopped = !wants || is_full;
        if self.stopped { Flow::Stop } else { Flow::Continue }
    }
}

fn decode_wav(source: &mut impl Read, out: &mut Out<'_>) -> Result<(), Fault> {
    let mut stream = WavStream::default();
    let mut bytes = [0; 4_096];
    loop {
        let read = source.read(&mut bytes).map_err(source_fault)?;
        if read == 0 {
            return stream.finish();
        }
        let mut fault = None;
        let mut give = |sound: Sound<'_>| match out.give(sound.rate, sound.pcm) {
            Ok(flow) => flow,
            Err(error) => {
                fault = Some(error);
                Flow::Stop
            }
        };
        if stream.push(&bytes[..read], &mut give) == Flow::Stop {
            return fault.map_or_else(|| stream.finish(), Err);
        }
    }
}

fn decode_pcm(source: &mut impl Read, rate: u32, out: &mut Out<'_>) -> Result<(), Fault> {
    let mut bytes = [0; 4_096];
    let mut pcm = Vec::with_capacity(2_048);
    // A sample may be cut between two reads; its first byte waits in front.
    let mut kept = 0;
    loop {
        let read = source.read(&mut bytes[kept..]).map_err(source_fault)?;
        if read == 0 {
            return Ok(());
        }
        let whole = (kept + read) & !1;
        pcm.clear();
        pcm.extend(bytes[..whole].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])));
        if out.give(rate, &pcm)? == Flow::Stop {
            return Ok(());
        }
        kept = (kept + read) & 1;
        bytes[0] = bytes[whole.min(bytes.len() - 1)];
    }
}

/// Reads until `into` is full or the source at its end; returns how much there was.
fn read_full(source: &mut impl Read, into: &mut [u8]) -> Result<usize, Fault> {
    let mut len = 0;
    while len < into.len() {
        match source.read(&mut into[len..]).map_err(source_fault)? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

fn source_fault(error: io::Error) -> Fault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
        Some(fault) => fault.clone(),
        None => Fault::new(Cause::Unavailable, format!("sound: {}", error.kind())),
    }
}

fn malformed(what: &str) -> Fault {
    Fault::new(Cause::Malformed, what)
}

fn bad_rate(rate: u32, cause: Cause) -> Fault {
    Fault::new(cause, format!("sound at {rate} samples per second"))
}

#[cfg(test)]
mod tests;
