//! WAV as programs and services stream it: pushed in pieces of any length, the samples handed on as they come.
//!
//! The sizes in such a header are often guesses made before the sound was (espeak-ng writes 0x7FFFF000, others 0 or -1): then the
//! data goes to the end of the stream. A size that can be true is believed, and what follows the data is no sound. What is read:
//! PCM of 8, 16, 24 or 32 bits and 32-bit floats, folded to one channel.

use super::{Flow, Sound};
use crate::resilience::fault::{Cause, Fault};

/// Bytes before the samples, beyond which this is no WAV of a speech program.
const HEADER_MAX: usize = 4 * 1024;

/// From here on a size of the data is a guess.
const SIZE_GUESSED: usize = 0x7fff_0000;

/// A stream being read.
#[derive(Default)]
pub struct WavStream {
    state: State,
    /// Bytes of samples still to come.
    left: usize,
    /// Bytes that wait for more: the header so far, then at most one frame of samples.
    waiting: Vec<u8>,
    samples: Vec<i16>,
}

#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    Samples(Format),
    Strange(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format {
    rate: u32,
    channels: usize,
    /// Bytes of one sample.
    bytes: usize,
    float: bool,
}

impl WavStream {
    /// Takes a piece. Stops when the caller has enough or when this is no WAV, which [`WavStream::finish`] then says.
    pub fn push(&mut self, bytes: &[u8], on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Flow {
        self.waiting.extend_from_slice(bytes);
        if self.state == State::Header {
            self.read_header();
        }
        match self.state {
            State::Header => Flow::Continue,
            State::Strange(_) => Flow::Stop,
            State::Samples(format) => self.hand_on(format, on_audio),
        }
    }

    /// The stream is over. Nothing at all is fine: there was nothing to say.
    pub fn finish(&self) -> Result<(), Fault> {
        match self.state {
            State::Samples(_) => Ok(()),
            State::Header if self.waiting.is_empty() => Ok(()),
            State::Header => Err(Fault::new(Cause::Malformed, "the WAV header is cut off")),
            State::Strange(why) => Err(Fault::new(Cause::Malformed, why)),
        }
    }

    fn read_header(&mut self) {
        match parse(&self.waiting) {
            Ok(Some((format, start, size))) => {
                self.waiting.drain(..start);
                self.left = if size == 0 || size >= SIZE_GUESSED { usize::MAX } else { size };
                self.state = State::Samples(format);
            }
            Ok(None) if self.waiting.len() > HEADER_MAX => self.state = State::Strange("no samples where WAV has them"),
            Ok(None) => {}
            Err(why) => self.state = State::Strange(why),
        }
    }

    fn hand_on(&mut self, format: Format, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Flow {
        let frame = format.bytes * format.channels;
        let whole = self.waiting.len().min(self.left) / frame * frame;
        self.left -= whole;
        self.samples.clear();
        self.samples.extend(self.waiting[..whole].chunks_exact(frame).map(|frame| format.fold(frame)));
        self.waiting.drain(..whole);
        if self.left < frame {
            self.waiting.clear();
        }
        if self.samples.is_empty() {
            return Flow::Continue;
        }
        on_audio(Sound { rate: format.rate, pcm: &self.samples, packet: None })
    }
}

impl Format {
    /// The mean of a frame's channels.
    fn fold(&self, frame: &[u8]) -> i16 {
        let value = |sample: &[u8]| match (self.float, sample) {
            // `as` turns what is no number into silence and bounds the rest.
            (true, &[a, b, c, d]) => i32::from((f32::from_le_bytes([a, b, c, d]) * 32_767.0) as i16),
            // Eight bits are counted from zero, all others from the middle.
            (_, &[a]) => (i32::from(a) - 128) << 8,
            (_, &[.., low, high]) => i32::from(i16::from_le_bytes([low, high])),
            _ => 0,
        };
        (frame.chunks_exact(self.bytes).map(value).sum::<i32>() / self.channels as i32) as i16
    }
}

/// The format, where the samples begin, and how many bytes of them the header promises; `None` while it is not all there.
fn parse(bytes: &[u8]) -> Result<Option<(Format, usize, usize)>, &'static str> {
    let starts = |at: usize, word: &[u8]| bytes.get(at..at + 4).is_none_or(|found| found == word);
    if !starts(0, b"RIFF") || !starts(8, b"WAVE") {
        return Err("this is no WAV");
    }
    let mut format = None;
    let mut at = 12;
    loop {
        let Some(&[a, b, c, d, s0, s1, s2, s3]) = bytes.get(at..at + 8) else { return Ok(None) };
        let size = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
        match &[a, b, c, d] {
            b"data" => return format.map(|f| Some((f, at + 8, size))).ok_or("samples without a format"),
            // The extensible form keeps its true kind behind the 16 bytes that all have.
            b"fmt " => match bytes.get(at + 8..at + 8 + size.clamp(16, 40)) {
                Some(body) => format = Some(read_format(body)?),
                None => return Ok(None),
            },
            _ => {}
        }
        // Chunks are padded to an even length.
        at = at.saturating_add(8).saturating_add(size).saturating_add(size % 2);
        if at > HEADER_MAX {
            return Err("no samples where WAV has them");
        }
    }
}

fn read_format(body: &[u8]) -> Result<Format, &'static str> {
    let u16_at = |at: usize| body.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    let rate = body.get(4..8).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let (kind, channels, bits) = (u16_at(0), u16_at(2), u16_at(14));
    let kind = if kind == 0xfffe { u16_at(24) } else { kind };
    if !matches!((kind, bits), (1, 8 | 16 | 24 | 32) | (3, 32)) {
        return Err("WAV of another kind than PCM");
    }
    if !(8_000..=48_000).contains(&rate) || !(1..=8).contains(&channels) {
        return Err("WAV of a strange rate or number of channels");
    }
    Ok(Format { rate, channels: channels.into(), bytes: usize::from(bits / 8), float: kind == 3 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(channels: u16, extra: &[u8], samples: &[i16]) -> Vec<u8> {
        let mut out = b"RIFF\x00\xf0\xff\x7fWAVE".to_vec();
        out.extend_from_slice(extra);
        out.extend_from_slice(b"fmt \x10\x00\x00\x00\x01\x00");
        out.extend(channels.to_le_bytes());
        out.extend(22_050u32.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend((2 * channels).to_le_bytes());
        out.extend(16u16.to_le_bytes());
        out.extend_from_slice(b"data\x00\xf0\xff\x7f");
        out.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        out
    }

    fn hear(bytes: &[u8], size: usize) -> (Vec<i16>, Result<(), Fault>) {
        let (mut stream, mut heard) = (WavStream::default(), Vec::new());
        for piece in bytes.chunks(size) {
            stream.push(piece, &mut |sound| {
                assert_eq!(sound.rate, 22_050);
                heard.extend_from_slice(sound.pcm);
                Flow::Continue
            });
        }
        (heard, stream.finish())
    }

    #[test]
    fn sound_is_whole_whatever_the_pieces() {
        let samples: Vec<i16> = (0..50).map(|i| i * 300 - 7_000).collect();
        for size in 1..100 {
            assert_eq!(
                hear(&wav(1, b"LIST\x03\x00\x00\x00abc\x00", &samples), size),
                (samples.clone(), Ok(())),
                "{size}"
            );
        }
        let stereo = [100, 300, -50, -150];
        assert_eq!(hear(&wav(2, b"", &stereo), 7).0, [200, -100]);
    }

    #[test]
    fn nothing_is_fine_and_what_is_no_wav_is_said() {
        assert_eq!(hear(b"", 1).1, Ok(()));
        let of = |bytes: &[u8]| hear(bytes, 5).1.unwrap_err().detail.into_string();
        assert_eq!(of(b"{\"error\":\"no voice\"}"), "this is no WAV");
        assert_eq!(of(&wav(1, b"", &[])[..30]), "the WAV header is cut off");
        assert_eq!(of(&wav(9, b"", &[1])), "WAV of a strange rate or number of channels");
        assert_eq!(of(b"RIFF\0\0\0\0WAVEdata\0\0\0\0xx"), "samples without a format");
        assert_eq!(of(b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xffxx"), "no samples where WAV has them");
    }
}
