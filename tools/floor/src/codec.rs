//! Library calls, bare: libopus as the server's settings have it, and the two voice detectors.

use crate::duty::{HEARD_FRAME, HEARD_RATE, SAID_FRAME, SAID_RATE};
use opusic_sys as ffi;
use std::ffi::{CStr, c_int};
use std::ptr::NonNull;
use webrtc_vad::{SampleRate, VadMode};

/// Room for any packet.
pub const PACKET_BYTES: usize = 1_500;

/// What libopus says it is.
pub fn version() -> String {
    // SAFETY: libopus returns a static string that ends with a zero.
    unsafe { CStr::from_ptr(ffi::opus_get_version_string()) }.to_string_lossy().into_owned()
}

/// A decoder at 16 kHz.
pub struct Decoder(NonNull<ffi::OpusDecoder>);

impl Decoder {
    pub fn new() -> Result<Decoder, String> {
        let mut code = 0;
        // SAFETY: the rate and channel count are legal, `code` outlives the call.
        let state = unsafe { ffi::opus_decoder_create(HEARD_RATE as i32, 1, &mut code) };
        NonNull::new(state).map(Decoder).ok_or_else(|| format!("opus_decoder_create: {code}"))
    }

    pub fn reset(&mut self) {
        // SAFETY: a live state of ours; this request takes no argument.
        unsafe { ffi::opus_decoder_ctl(self.0.as_ptr(), ffi::OPUS_RESET_STATE) };
    }

    /// Samples decoded.
    pub fn decode(&mut self, packet: &[u8], pcm: &mut [i16; HEARD_FRAME]) -> usize {
        let (data, len) = (packet.as_ptr(), packet.len() as i32);
        // SAFETY: a live state of ours; both slices live through the call and have the lengths named.
        let n = unsafe { ffi::opus_decode(self.0.as_ptr(), data, len, pcm.as_mut_ptr(), HEARD_FRAME as c_int, 0) };
        assert!(n > 0, "the floor's own packets decode: {n}");
        n as usize
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by opus_decoder_create, destroyed once.
        unsafe { ffi::opus_decoder_destroy(self.0.as_ptr()) };
    }
}

/// How hard the encoder tries, as the server's `opus_complexity = "auto"` has it under more or less load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    pub complexity: u8,
    /// Without speech prediction (CELT alone), and a third more bits for it.
    pub is_light: bool,
}

impl Effort {
    /// `full:5`, `light:0`.
    pub fn parse(text: &str) -> Option<Effort> {
        let (kind, number) = text.split_once(':')?;
        let complexity = number.parse().ok().filter(|n| *n <= 10)?;
        match kind {
            "full" => Some(Effort { complexity, is_light: false }),
            "light" => Some(Effort { complexity, is_light: true }),
            _ => None,
        }
    }

    /// As [`Effort::parse`] reads it.
    pub fn word(self) -> String {
        format!("{}:{}", if self.is_light { "light" } else { "full" }, self.complexity)
    }

    /// Bits per second, the server's default bitrate of replies.
    fn bitrate(self) -> c_int {
        if self.is_light { 32_000 } else { 24_000 }
    }
}

/// Not in the public header: from `opus_private.h`, as the server uses them.
const FORCE_MODE: c_int = 11_002;
const CELT_ONLY: c_int = 1_002;

/// An encoder at 24 kHz with the settings of the server's replies.
pub struct Encoder(NonNull<ffi::OpusEncoder>);

impl Encoder {
    pub fn new(effort: Effort) -> Result<Encoder, String> {
        let mut code = 0;
        // SAFETY: rate, channels and application are legal, `code` outlives the call.
        let state = unsafe { ffi::opus_encoder_create(SAID_RATE as i32, 1, ffi::OPUS_APPLICATION_AUDIO, &mut code) };
        let encoder = NonNull::new(state).map(Encoder).ok_or_else(|| format!("opus_encoder_create: {code}"))?;
        for (request, value) in [
            (ffi::OPUS_SET_SIGNAL_REQUEST, ffi::OPUS_SIGNAL_VOICE),
            (ffi::OPUS_SET_VBR_REQUEST, 1),
            (ffi::OPUS_SET_BITRATE_REQUEST, effort.bitrate()),
            (ffi::OPUS_SET_COMPLEXITY_REQUEST, c_int::from(effort.complexity)),
            (FORCE_MODE, if effort.is_light { CELT_ONLY } else { ffi::OPUS_AUTO }),
        ] {
            // SAFETY: a live state of ours; each of these requests takes one opus_int32.
            let code = unsafe { ffi::opus_encoder_ctl(encoder.0.as_ptr(), request, value) };
            if code != ffi::OPUS_OK {
                return Err(format!("opus_encoder_ctl {request}: {code}"));
            }
        }
        Ok(encoder)
    }

    pub fn reset(&mut self) {
        // SAFETY: a live state of ours; this request takes no argument.
        unsafe { ffi::opus_encoder_ctl(self.0.as_ptr(), ffi::OPUS_RESET_STATE) };
    }

    /// Bytes of the packet.
    pub fn encode(&mut self, pcm: &[i16; SAID_FRAME], packet: &mut [u8; PACKET_BYTES]) -> usize {
        let (samples, room) = (SAID_FRAME as c_int, PACKET_BYTES as i32);
        // SAFETY: a live state of ours; both arrays live through the call and have the lengths named.
        let n = unsafe { ffi::opus_encode(self.0.as_ptr(), pcm.as_ptr(), samples, packet.as_mut_ptr(), room) };
        assert!(n > 0, "a legal frame encodes: {n}");
        n as usize
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by opus_encoder_create, destroyed once.
        unsafe { ffi::opus_encoder_destroy(self.0.as_ptr()) };
    }
}

// SAFETY: a state of libopus is one heap object with no thread of its own; both types are used by one thread at a time.
unsafe impl Send for Decoder {}
// SAFETY: as above.
unsafe impl Send for Encoder {}

/// Voice detection as library calls: webrtc-vad hears all, earshot the packets in which webrtc-vad heard a voice.
pub struct Detector {
    webrtc: webrtc_vad::Vad,
    earshot: Box<earshot::Detector>,
}

impl Detector {
    pub fn new() -> Detector {
        let webrtc = webrtc_vad::Vad::new_with_rate_and_mode(SampleRate::Rate16kHz, VadMode::Aggressive);
        Detector { webrtc, earshot: earshot::Detector::default_boxed() }
    }

    /// Whether the packet had voice in it.
    pub fn hear(&mut self, pcm: &[i16]) -> bool {
        let mut voice = false;
        for frame in pcm.chunks_exact(320) {
            voice |= self.webrtc.is_voice_segment(frame).unwrap_or(false);
        }
        if !voice {
            return false;
        }
        // Windows of 16 ms: 3.75 in a packet; the rest would go into the next one's first.
        pcm.chunks_exact(256).fold(false, |voice, window| voice | (self.earshot.predict_i16(window) >= 0.5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effort_is_read_as_it_is_written_and_light_packets_are_celt() {
        for (text, is_light) in [("full:5", false), ("light:0", true)] {
            let effort = Effort::parse(text).expect(text);
            assert_eq!((effort.word().as_str(), effort.is_light), (text, is_light));
            let mut encoder = Encoder::new(effort).expect("legal");
            let pcm = std::array::from_fn(|i| ((i as f64 * 0.05).sin() * 8_000.0) as i16);
            let mut packet = [0; PACKET_BYTES];
            for _ in 0..3 {
                assert!(encoder.encode(&pcm, &mut packet) > 2);
            }
            // RFC 6716, 3.1: configurations from 16 on are CELT alone.
            assert_eq!(packet[0] >> 3 >= 16, is_light, "{text}");
        }
        for text in ["full", "light:11", "dark:1", "full:"] {
            assert_eq!(Effort::parse(text), None, "{text}");
        }
    }
}
