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

/// An encoder at 24 kHz with the settings of the server's replies.
pub struct Encoder(NonNull<ffi::OpusEncoder>);

impl Encoder {
    pub fn new(complexity: u8) -> Result<Encoder, String> {
        let mut code = 0;
        // SAFETY: rate, channels and application are legal, `code` outlives the call.
        let state = unsafe { ffi::opus_encoder_create(SAID_RATE as i32, 1, ffi::OPUS_APPLICATION_AUDIO, &mut code) };
        let encoder = NonNull::new(state).map(Encoder).ok_or_else(|| format!("opus_encoder_create: {code}"))?;
        for (request, value) in [
            (ffi::OPUS_SET_SIGNAL_REQUEST, ffi::OPUS_SIGNAL_VOICE),
            (ffi::OPUS_SET_VBR_REQUEST, 1),
            (ffi::OPUS_SET_BITRATE_REQUEST, 24_000),
            (ffi::OPUS_SET_COMPLEXITY_REQUEST, c_int::from(complexity)),
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
