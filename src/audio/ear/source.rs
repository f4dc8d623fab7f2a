//! From packets to samples.

use super::{PACKET_SAMPLES, PacketFault};
use crate::audio::dsp;
use crate::audio::opus::{self, Decoder};
use crate::audio::resample::Resampler;
use crate::format::{Codec, UplinkFormat};

/// Makes 16 kHz mono samples of packets.
#[derive(Default)]
pub(super) struct Source {
    pub(super) format: Option<UplinkFormat>,
    decoder: Option<Decoder>,
    /// The decoder as it was at [`Source::mark`].
    marked: Option<Decoder>,
    resampler: Option<Resampler>,
    /// PCM samples before resampling.
    raw: Vec<i16>,
}

impl Source {
    /// Makes ready for a stream of this format. What was made for another is kept: an ear is lent many times.
    pub(super) fn tune(&mut self, format: UplinkFormat) {
        self.format = Some(format);
        match format.codec {
            Codec::Opus => match &mut self.decoder {
                Some(decoder) => decoder.reset(),
                none => *none = Decoder::new(16_000).ok(),
            },
            Codec::Pcm => match &mut self.resampler {
                Some(resampler) if resampler.from() == format.rate => resampler.reset(),
                other => *other = Resampler::new(format.rate, 16_000).ok(),
            },
        }
    }

    /// Appends the packet's samples to `pcm`; returns how long it is, ms.
    pub(super) fn read(&mut self, packet: &[u8], pcm: &mut Vec<i16>) -> Result<u32, PacketFault> {
        match self.format {
            Some(UplinkFormat { codec: Codec::Opus, .. }) => self.read_opus(packet, pcm),
            Some(format) => self.read_pcm(packet, format, pcm),
            None => Err(PacketFault::Undecodable),
        }
    }

    fn read_opus(&mut self, packet: &[u8], pcm: &mut Vec<i16>) -> Result<u32, PacketFault> {
        let decoder = self.decoder.as_mut().ok_or(PacketFault::Undecodable)?;
        pcm.resize(PACKET_SAMPLES, 0);
        let samples = decoder.decode(packet, pcm);
        pcm.truncate(samples.unwrap_or(0));
        samples.map(|n| n as u32 / 16).map_err(|_| PacketFault::Undecodable)
    }

    fn read_pcm(&mut self, packet: &[u8], format: UplinkFormat, pcm: &mut Vec<i16>) -> Result<u32, PacketFault> {
        let resampler = self.resampler.as_mut().ok_or(PacketFault::Undecodable)?;
        let samples_max = (format.rate / 1_000 * opus::PACKET_MS_MAX) as usize;
        self.raw.clear();
        dsp::read_pcm(packet, format.channels, samples_max, &mut self.raw).map_err(|_| PacketFault::Length)?;
        resampler.process(&self.raw, pcm);
        Ok(self.raw.len() as u32 * 1_000 / format.rate.max(1))
    }

    /// Appends what the resampler still holds.
    pub(super) fn flush(&mut self, pcm: &mut Vec<i16>) {
        if let (Some(UplinkFormat { codec: Codec::Pcm, .. }), Some(resampler)) = (self.format, &mut self.resampler) {
            resampler.flush(pcm);
        }
    }

    /// Remembers where the stream is.
    pub(super) fn mark(&mut self) {
        let Some(decoder) = &self.decoder else { return };
        match &mut self.marked {
            Some(marked) => marked.copy_from(decoder),
            none => *none = decoder.duplicate().ok(),
        }
    }

    /// Goes back to where it was then.
    pub(super) fn go_back(&mut self) {
        if let (Some(decoder), Some(marked)) = (&mut self.decoder, &self.marked) {
            decoder.copy_from(marked);
        }
    }
}
