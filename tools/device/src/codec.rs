//! The device's two codec states, over the library's.

use voxlane::audio::{opus, resample};

/// Samples to packets, as the device's microphone side does.
pub enum Uplink {
    Opus(opus::Encoder),
    Pcm,
}

impl Uplink {
    pub fn new(pcm: bool) -> Result<Uplink, String> {
        if pcm {
            return Ok(Uplink::Pcm);
        }
        let settings = opus::EncoderSettings::device(crate::speech::RATE);
        opus::Encoder::with(settings).map(Uplink::Opus).map_err(|e| format!("encoder: {e:?}"))
    }

    pub fn packet(&mut self, samples: &[i16]) -> Result<Vec<u8>, String> {
        match self {
            Uplink::Pcm => Ok(samples.iter().flat_map(|s| s.to_le_bytes()).collect()),
            Uplink::Opus(encoder) => {
                let mut out = vec![0; 1_500];
                let len = encoder.encode(samples, &mut out).map_err(|e| format!("encoder: {e:?}"))?;
                out.truncate(len);
                Ok(out)
            }
        }
    }
}

/// Packets to samples, as the device's loudspeaker side does.
pub enum Downlink {
    Opus(opus::Decoder),
    Pcm,
}

impl Downlink {
    pub fn new(pcm: bool, rate: u32) -> Result<Downlink, String> {
        if pcm {
            return Ok(Downlink::Pcm);
        }
        opus::Decoder::new(rate).map(Downlink::Opus).map_err(|e| format!("decoder: {e:?}"))
    }

    /// The samples of a packet; `None` if a device could not decode it.
    pub fn samples(&mut self, packet: &[u8]) -> Option<Vec<i16>> {
        match self {
            Downlink::Pcm => Some(packet.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()),
            Downlink::Opus(decoder) => {
                let mut out = vec![0; 48_000 * 120 / 1_000];
                let len = decoder.decode(packet, &mut out).ok()?;
                out.truncate(len);
                Some(out)
            }
        }
    }
}

/// The whole of `pcm` at another rate.
pub fn resample(pcm: &[i16], from: u32, to: u32) -> Result<Vec<i16>, String> {
    let mut out = Vec::new();
    match resample::Resampler::new(from, to) {
        Ok(mut resampler) => {
            resampler.process(pcm, &mut out);
            resampler.flush(&mut out);
            Ok(out)
        }
        Err(e) => Err(format!("{from} Hz cannot be read: {e:?}")),
    }
}
