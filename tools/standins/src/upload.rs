//! An utterance on its way, in a multipart form: a WAV, listened to while it comes and kept nowhere, or Ogg-Opus, a sixteenth
//! as long and listened to when it is complete.

use crate::identity::Listener;
use ogg::PacketReader;
use std::io::Cursor;
use voxlane::audio::opus::{self, Decoder};

/// Bytes in which the audio must have begun: the form's part head and the WAV's own.
const HEAD_BYTES: usize = 8 * 1024;
/// Bytes of Ogg that are kept: half a minute at 64 kbit/s.
const OGG_BYTES: usize = 256 * 1024;
/// Rate at which packets are decoded.
const OPUS_RATE: u32 = 16_000;

/// What has come of a form.
pub struct Upload {
    state: State,
    id: Option<u16>,
    /// Bytes of samples.
    audio_bytes: u64,
    rate: u32,
}

enum State {
    /// Looking for the samples.
    Head(Vec<u8>),
    /// Samples: how many bytes are to come, half a sample, and who listens (until something was heard).
    Samples { left: u64, half: Option<u8>, listener: Option<Box<Listener>> },
    /// Ogg, and the rest of the form.
    Ogg(Vec<u8>),
    /// The rest of the form.
    Rest,
}

impl Upload {
    /// Nothing yet.
    pub fn new() -> Upload {
        Upload { state: State::Head(Vec::new()), id: None, audio_bytes: 0, rate: 16_000 }
    }

    /// What was heard in it, once it is complete: whose tone, and the length of the audio in ms, 0 when there was none.
    pub fn heard(&self) -> (Option<u16>, u64) {
        match &self.state {
            State::Ogg(bytes) => listen(bytes),
            _ => (self.id, self.audio_bytes / 2 * 1_000 / u64::from(self.rate.max(1))),
        }
    }

    /// Takes the next bytes of the form.
    pub fn take(&mut self, bytes: &[u8], samples: &mut Vec<i16>) {
        match &mut self.state {
            State::Head(head) => {
                head.extend_from_slice(bytes);
                if let Some(start) = head.windows(4).position(|window| window == b"OggS") {
                    self.state = State::Ogg(head.split_off(start));
                    return;
                }
                let Some((start, rate, len)) = find_samples(head) else {
                    if head.len() > HEAD_BYTES {
                        self.state = State::Rest;
                    }
                    return;
                };
                let rest = head.split_off(start);
                self.rate = rate;
                let listener = Listener::new(rate).map(Box::new);
                self.state = State::Samples { left: len, half: None, listener };
                self.take(&rest, samples);
            }
            State::Samples { left, half, listener } => {
                let len = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= len as u64;
                self.audio_bytes += len as u64;
                if let Some(ear) = listener {
                    samples.clear();
                    let mut bytes = &bytes[..len];
                    if let (Some(low), Some((&high, rest))) = (*half, bytes.split_first()) {
                        samples.push(i16::from_le_bytes([low, high]));
                        (*half, bytes) = (None, rest);
                    }
                    let pairs = bytes.chunks_exact(2);
                    if let [low] = pairs.remainder() {
                        *half = Some(*low);
                    }
                    samples.extend(pairs.map(|b| i16::from_le_bytes([b[0], b[1]])));
                    self.id = ear.hear(samples);
                    if self.id.is_some() {
                        *listener = None;
                    }
                }
                if *left == 0 {
                    self.state = State::Rest;
                }
            }
            State::Ogg(all) => {
                let room = OGG_BYTES.saturating_sub(all.len());
                all.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            State::Rest => {}
        }
    }
}

/// Whose tone is in an Ogg-Opus stream, and how many ms it has; what follows its end is passed over.
fn listen(ogg: &[u8]) -> (Option<u16>, u64) {
    let (Ok(mut decoder), Some(mut ear)) = (Decoder::new(OPUS_RATE), Listener::new(OPUS_RATE)) else {
        return (None, 0);
    };
    let mut reader = PacketReader::new(Cursor::new(ogg));
    let (mut id, mut samples, mut pcm) = (None, 0, vec![0; decoder.samples_max()]);
    while let Ok(Some(packet)) = reader.read_packet() {
        if !packet.data.starts_with(b"Opus") {
            samples += opus::packet_samples(&packet.data, OPUS_RATE).unwrap_or(0) as u64;
            if id.is_none()
                && let Ok(len) = decoder.decode(&packet.data, &mut pcm)
            {
                id = ear.hear(&pcm[..len]);
            }
        }
        if packet.last_in_stream() {
            break;
        }
    }
    (id, samples * 1_000 / u64::from(OPUS_RATE))
}

/// Where the samples of a mono PCM16 WAV begin, their rate and length in bytes.
fn find_samples(form: &[u8]) -> Option<(usize, u32, u64)> {
    let find = |what: &[u8], from: usize| {
        form.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| at + from)
    };
    let number = |at: usize| Some(u32::from_le_bytes(form.get(at..at + 4)?.try_into().ok()?));
    let riff = find(b"RIFF", 0)?;
    let format = find(b"fmt ", riff)?;
    let data = find(b"data", format + 24)?;
    Some((data + 8, number(format + 12)?, u64::from(number(data + 4)?)))
}
