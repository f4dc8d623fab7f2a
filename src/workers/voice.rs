//! From a synthesiser's samples to the packets a device plays: resampled, cut into frames, encoded once.

use crate::audio::opus::{ENCODED_BYTES_MAX, Effort, Encoder};
use crate::audio::resample::Resampler;
use crate::format::{Codec, ReplyFormat};
use crate::limits;
use crate::providers::{Flow, Sound};
use crate::resilience::fault::{Cause, Fault};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where packets go.
pub type OnPacket<'a> = &'a mut dyn FnMut(&[u8]) -> Flow;

/// Encodes sentences one after another; kept by its worker, so that the encoder's state and all buffers are made once.
pub struct Voice {
    /// A word of [`Effort`], as wanted from the next sentence on.
    wanted: Arc<AtomicU32>,
    /// This sentence's.
    effort: Effort,
    format: ReplyFormat,
    encoder: Option<Encoder>,
    resampler: Option<Resampler>,
    /// Rate of the sentence's samples, known from its first piece.
    rate: Option<u32>,
    /// Samples at the reply's rate that do not fill a frame yet.
    pending: Vec<i16>,
    /// Samples of the sentence so far, at their own rate.
    heard: u64,
    packet: Vec<u8>,
    /// Packets passed on, and packets encoded here, that nobody has counted yet.
    made: (u64, u64),
}

impl Voice {
    /// A voice whose effort (a word of [`Effort`]) is read at each sentence, so that load can lower it.
    pub fn new(effort: Arc<AtomicU32>) -> Voice {
        let first = Effort::of_word(effort.load(Ordering::Relaxed));
        Voice {
            wanted: effort,
            effort: first,
            format: ReplyFormat::DEFAULT,
            encoder: None,
            resampler: None,
            rate: None,
            pending: Vec::new(),
            heard: 0,
            packet: vec![0; ENCODED_BYTES_MAX],
            made: (0, 0),
        }
    }

    /// Begins a sentence.
    pub fn begin(&mut self, format: ReplyFormat) -> Result<(), Fault> {
        if format.frame_samples() == 0 {
            return Err(Fault::new(Cause::Internal, "a frame without samples"));
        }
        self.format = format;
        self.rate = None;
        self.pending.clear();
        self.heard = 0;
        if format.codec == Codec::Pcm {
            return Ok(());
        }
        let effort = Effort::of_word(self.wanted.load(Ordering::Relaxed));
        self.effort = effort;
        let encoder = match &mut self.encoder {
            Some(encoder) if encoder.settings().rate == format.rate => {
                encoder.reset();
                encoder
            }
            other => other.insert(Encoder::new(format.rate, effort.complexity).map_err(internal)?),
        };
        encoder.set_effort(effort).map_err(internal)
    }

    /// Takes a piece and gives the packets it completes. [`Flow::Stop`] when these are not wanted any more, or when the
    /// sentence has reached [`limits::SENTENCE_AUDIO`]; the piece is cut off there.
    pub fn push(&mut self, sound: Sound<'_>, on_packet: OnPacket<'_>) -> Result<Flow, Fault> {
        if let Some(packet) = sound.packet {
            return self.pass(sound.rate, packet, on_packet);
        }
        self.take_rate(sound.rate)?;
        let room = u64::from(sound.rate) * limits::SENTENCE_AUDIO.as_secs() - self.heard;
        let pcm = &sound.pcm[..sound.pcm.len().min(room as usize)];
        self.heard += pcm.len() as u64;
        match &mut self.resampler {
            Some(resampler) => resampler.process(pcm, &mut self.pending),
            None => self.pending.extend_from_slice(pcm),
        }
        let is_full = pcm.len() as u64 == room;
        let flow = self.encode_frames(on_packet)?;
        Ok(if is_full { Flow::Stop } else { flow })
    }

    /// Ends the sentence: the last frame is filled up with silence.
    pub fn finish(&mut self, on_packet: OnPacket<'_>) -> Result<Flow, Fault> {
        if self.pending.is_empty() && self.rate.is_none() {
            return Ok(Flow::Continue);
        }
        if self.rate.is_some()
            && let Some(resampler) = &mut self.resampler
        {
            resampler.flush(&mut self.pending);
        }
        let frame = self.format.frame_samples();
        self.pending.resize(self.pending.len().next_multiple_of(frame), 0);
        self.encode_frames(on_packet)
    }

    /// Whether the sentence had any sample.
    pub fn has_sound(&self) -> bool {
        self.heard > 0
    }

    /// Whether this sentence is encoded with light effort, if it is encoded.
    pub fn is_light(&self) -> bool {
        self.format.codec == Codec::Opus && self.effort.is_light
    }

    /// Opus packets passed on as they came, and packets encoded here, since this was last asked.
    pub fn take_made(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.made)
    }

    /// Sends a packet on that is already what the device asked for.
    fn pass(&mut self, rate: u32, packet: &[u8], on_packet: OnPacket<'_>) -> Result<Flow, Fault> {
        if self.format.codec != Codec::Opus || rate != self.format.rate || packet.len() > ENCODED_BYTES_MAX {
            return Err(Fault::new(Cause::Internal, "a packet that was not asked for"));
        }
        if self.rate.is_some() {
            return Err(Fault::new(Cause::Internal, "packets and samples in one sentence"));
        }
        self.heard += self.format.frame_samples() as u64;
        self.made.0 += 1;
        Ok(on_packet(packet))
    }

    fn take_rate(&mut self, rate: u32) -> Result<(), Fault> {
        if self.rate == Some(rate) {
            return Ok(());
        }
        if self.rate.is_some() {
            return Err(Fault::new(Cause::Malformed, "the sample rate changed within a sentence"));
        }
        self.rate = Some(rate);
        let to = self.format.rate;
        match &mut self.resampler {
            Some(resampler) if (resampler.from(), resampler.to()) == (rate, to) => resampler.reset(),
            other if rate == to => *other = None,
            other => {
                let made = Resampler::new(rate, to);
                *other = Some(made.map_err(|fault| Fault::new(Cause::Malformed, fault.to_string()))?);
            }
        }
        Ok(())
    }

    fn encode_frames(&mut self, on_packet: OnPacket<'_>) -> Result<Flow, Fault> {
        let frame = self.format.frame_samples();
        let whole = self.pending.len() / frame * frame;
        let mut flow = Flow::Continue;
        for pcm in self.pending[..whole].chunks_exact(frame) {
            let packet = match (self.format.codec, &mut self.encoder) {
                (Codec::Opus, Some(encoder)) => {
                    let len = encoder.encode(pcm, &mut self.packet).map_err(internal)?;
                    self.made.1 += 1;
                    &self.packet[..len]
                }
                (Codec::Opus, None) => return Err(Fault::new(Cause::Internal, "no encoder")),
                (Codec::Pcm, _) => {
                    self.packet.clear();
                    self.packet.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
                    &self.packet
                }
            };
            if on_packet(packet) == Flow::Stop {
                flow = Flow::Stop;
                break;
            }
        }
        self.pending.drain(..whole);
        if self.format.codec == Codec::Pcm {
            self.packet.resize(self.packet.len().max(ENCODED_BYTES_MAX), 0);
        }
        Ok(flow)
    }
}

fn internal(fault: impl std::fmt::Debug) -> Fault {
    Fault::new(Cause::Internal, format!("encoder: {fault:?}"))
}
