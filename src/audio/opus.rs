//! Opus by libopus, in memory of our own: states live in one boxed slab each, so that they can be pooled and reset instead of
//! made anew. An encoder's reset costs 0.5 µs against 30–96; a decoder's 27 against 55, as libopus 1.6 asks the processor for
//! its features again, which traps in a virtual machine.
//!
//! A *packet* says all about itself: its first byte (TOC) gives duration, bandwidth and channels (RFC 6716, 3.1). So the
//! decoder is never told what a device announced; it takes SILK, CELT and hybrid packets of 2.5 to 120 ms, mono or stereo,
//! and the one-byte packets of discontinuous transmission, which it fills with comfort noise.

use opusic_sys as ffi;
use std::ffi::c_int;

/// Longest packet that Opus allows, ms.
pub const PACKET_MS_MAX: u32 = 120;
/// Bytes that hold any packet we encode: 60 ms at 64 kbit/s is 480; libopus itself never needs more than 1,275 per frame of
/// 20 ms.
pub const ENCODED_BYTES_MAX: usize = 3 * 1_276;

/// Why libopus refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpusFault {
    /// The bytes are no Opus packet.
    Malformed,
    /// A rate other than 8, 12, 16, 24 or 48 kHz, or a frame that is not 2.5, 5, 10, 20, 40, 60, 80, 100 or 120 ms.
    Unsupported,
    /// The buffer for the result is too short.
    Room,
    /// libopus says that it went wrong itself.
    Internal,
}

impl OpusFault {
    fn of(code: c_int) -> OpusFault {
        match code {
            ffi::OPUS_INVALID_PACKET => OpusFault::Malformed,
            ffi::OPUS_BAD_ARG | ffi::OPUS_UNIMPLEMENTED => OpusFault::Unsupported,
            ffi::OPUS_BUFFER_TOO_SMALL => OpusFault::Room,
            _ => OpusFault::Internal,
        }
    }
}

impl std::fmt::Display for OpusFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            OpusFault::Malformed => "not an Opus packet",
            OpusFault::Unsupported => "a sample rate or frame length that Opus does not have",
            OpusFault::Room => "the buffer is too short",
            OpusFault::Internal => "libopus failed",
        })
    }
}

impl std::error::Error for OpusFault {}

/// Samples (of one channel, at `rate`) that a packet decodes to, from its header alone.
pub fn packet_samples(packet: &[u8], rate: u32) -> Result<usize, OpusFault> {
    check_rate(rate)?;
    let len = packet_len(packet)?;
    // SAFETY: pointer and length are of one live slice, which is not empty; the call only reads.
    let samples = unsafe { ffi::opus_packet_get_nb_samples(packet.as_ptr(), len, rate as i32) };
    if samples <= 0 {
        return Err(OpusFault::Malformed);
    }
    Ok(samples as usize)
}

/// Whether the packet's own encoder found no voice in it: it says so in the first bits of a SILK frame, one for each 20 ms (RFC
/// 6716, 4.2.3), and by leaving the frame out (discontinuous transmission). It calls voice whatever is more likely than 5 % to be
/// some, so "quiet" can be relied on. `false` wherever that cannot be seen: CELT, hybrid, stereo, several frames in a packet.
pub fn is_quiet(packet: &[u8]) -> bool {
    packet.is_empty() || voice_flags(packet).is_some_and(|(set, _)| set == 0)
}

/// Whether the packet's own encoder found voice in every 20 ms of it; see [`is_quiet`]. It takes much noise for voice too.
pub fn is_voiced(packet: &[u8]) -> bool {
    voice_flags(packet).is_some_and(|(set, all)| set == all)
}

/// The flags of a packet's frames, as bits, and the bits that there are; a frame left out has none set. `None` where they cannot
/// be seen.
fn voice_flags(packet: &[u8]) -> Option<(u8, u8)> {
    let toc = *packet.first()?;
    let (config, is_stereo, code) = (toc >> 3, toc & 4 != 0, toc & 3);
    if config >= 12 || is_stereo || code != 0 {
        return None;
    }
    // 10, 20, 40 and 60 ms; the first two have one flag.
    let flags = [1, 1, 2, 3][usize::from(config % 4)];
    let set = packet.get(1).map_or(0, |first| first >> (8 - flags));
    Some((set, (1 << flags) - 1))
}

/// Decodes one stream of packets to mono samples. About 18 KiB.
pub struct Decoder {
    state: State,
    rate: u32,
}

impl Decoder {
    /// A decoder whose output has `rate` samples per second: 8, 12, 16, 24 or 48 kHz.
    pub fn new(rate: u32) -> Result<Decoder, OpusFault> {
        check_rate(rate)?;
        // SAFETY: a pure function of its argument.
        let state = State::of_bytes(unsafe { ffi::opus_decoder_get_size(1) })?;
        let mut decoder = Decoder { state, rate };
        // SAFETY: the slab is as long as libopus asks for, aligned for its pointers, and exclusively ours.
        let code = unsafe { ffi::opus_decoder_init(decoder.raw(), rate as i32, 1) };
        if code != ffi::OPUS_OK {
            return Err(OpusFault::of(code));
        }
        Ok(decoder)
    }

    /// Samples per second of the output.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Samples that any packet fits into: 120 ms.
    pub fn samples_max(&self) -> usize {
        (self.rate * PACKET_MS_MAX / 1_000) as usize
    }

    /// Decodes one packet into the front of `pcm`; returns how many samples it has. Stereo is folded to mono.
    /// The packet is judged before the decoder sees it, so a bad one leaves the stream's state as it was.
    pub fn decode(&mut self, packet: &[u8], pcm: &mut [i16]) -> Result<usize, OpusFault> {
        let expected = packet_samples(packet, self.rate)?;
        if expected > pcm.len() {
            return Err(OpusFault::Room);
        }
        let len = packet_len(packet)?;
        // SAFETY: the state was initialised in `new`; both slices are live and their lengths are those passed (output at
        // most 120 ms, which fits a c_int).
        let samples =
            unsafe { ffi::opus_decode(self.raw(), packet.as_ptr(), len, pcm.as_mut_ptr(), expected as c_int, 0) };
        if samples < 0 {
            return Err(OpusFault::of(samples));
        }
        Ok((samples as usize).min(pcm.len()))
    }

    /// Fills `pcm` with what the stream would probably have said, for packets that were lost. The length must be a multiple
    /// of 2.5 ms, at most 120 ms.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> Result<usize, OpusFault> {
        if pcm.len() > self.samples_max() {
            return Err(OpusFault::Unsupported);
        }
        // SAFETY: the state was initialised in `new`; a null packet of length 0 asks for concealment (opus.h); the output
        // slice is live and as long as said.
        let samples =
            unsafe { ffi::opus_decode(self.raw(), std::ptr::null(), 0, pcm.as_mut_ptr(), pcm.len() as c_int, 0) };
        if samples < 0 {
            return Err(OpusFault::of(samples));
        }
        Ok((samples as usize).min(pcm.len()))
    }

    /// A second decoder that is where this one is in the stream.
    pub fn duplicate(&self) -> Result<Decoder, OpusFault> {
        let mut other = Decoder::new(self.rate)?;
        other.copy_from(self);
        Ok(other)
    }

    /// Goes to where `other` is in its stream, which has the same rate: a copy of 18 KiB. A decoder's state is one block that may
    /// be copied (opus.h: "position independent").
    pub fn copy_from(&mut self, other: &Decoder) {
        if self.rate == other.rate {
            self.state.0.copy_from_slice(&other.state.0);
        }
    }

    /// Forgets the stream, ready for another.
    pub fn reset(&mut self) {
        // SAFETY: the state was initialised in `new`; this request takes no further argument.
        unsafe { ffi::opus_decoder_ctl(self.raw(), ffi::OPUS_RESET_STATE) };
    }

    fn raw(&mut self) -> *mut ffi::OpusDecoder {
        self.state.0.as_mut_ptr().cast()
    }
}

/// `OPUS_SET_FORCE_MODE` and `MODE_CELT_ONLY` of libopus (`src/opus_private.h`), which its own test programs use; what they do
/// has not changed since 1.0, and a test here says that the packets become CELT.
const FORCE_MODE: c_int = 11_002;
const CELT_ONLY: c_int = 1_002;

/// What the encoder should be good at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Application {
    /// Speech: what devices send, SILK up to 60 ms.
    Voip,
    /// Faithful sound with a hint that it is a voice: what we send, as the field does (`field.md` 2.1).
    #[default]
    Audio,
}

/// How hard an encoder tries, and how many bits it may spend.
///
/// *Light* is for a server under load: only the transform half of the codec (CELT, RFC 6716, 4.3), which does without the search
/// for pitch and prediction that costs most, and a third more bits to make up for it. Any decoder plays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// 0 (cheapest) to 10; more is cut to 10.
    pub complexity: u8,
    /// See the type.
    pub is_light: bool,
    /// Mean bits per second while it is not light.
    pub bitrate: u32,
}

impl Effort {
    /// Of a reply whose complexity is fixed, at the usual bitrate.
    pub const fn full(complexity: u8) -> Effort {
        Effort { complexity, is_light: false, bitrate: 24_000 }
    }

    /// Mean bits per second in force.
    pub const fn spends(self) -> u32 {
        if self.is_light { self.bitrate / 3 * 4 } else { self.bitrate }
    }

    /// In a word, as it is shared between threads.
    pub const fn to_word(self) -> u32 {
        self.bitrate << 8 | (self.is_light as u32) << 7 | (self.complexity & 0x7f) as u32
    }

    /// The way back.
    pub const fn of_word(word: u32) -> Effort {
        Effort { complexity: (word & 0x7f) as u8, is_light: word & 0x80 != 0, bitrate: word >> 8 }
    }
}

/// How an encoder works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Samples per second of the input: 8, 12, 16, 24 or 48 kHz.
    pub rate: u32,
    /// 0 (cheapest: 137 µs for 60 ms at 24 kHz) to 10 (463 µs); more is cut to 10.
    pub complexity: u8,
    /// Mean bits per second, variable rate; clamped to 6,000–128,000.
    pub bitrate: u32,
    /// What it is for.
    pub application: Application,
    /// Whether silence becomes one-byte packets (devices do; we never).
    pub dtx: bool,
}

impl EncoderSettings {
    /// For a reply: 24 kbit/s, faithful, no gaps.
    pub fn reply(rate: u32, complexity: u8) -> EncoderSettings {
        EncoderSettings { rate, complexity, bitrate: 24_000, application: Application::Audio, dtx: false }
    }

    /// As a device's microphone: speech, with discontinuous transmission.
    pub fn device(rate: u32) -> EncoderSettings {
        EncoderSettings { rate, complexity: 0, bitrate: 24_000, application: Application::Voip, dtx: true }
    }
}

/// Encodes one stream of mono samples to packets. About 31 KiB.
pub struct Encoder {
    state: State,
    settings: EncoderSettings,
}

impl Encoder {
    /// An encoder for replies at `rate` samples per second.
    pub fn new(rate: u32, complexity: u8) -> Result<Encoder, OpusFault> {
        Encoder::with(EncoderSettings::reply(rate, complexity))
    }

    /// An encoder with the settings given.
    pub fn with(settings: EncoderSettings) -> Result<Encoder, OpusFault> {
        check_rate(settings.rate)?;
        // SAFETY: a pure function of its argument.
        let state = State::of_bytes(unsafe { ffi::opus_encoder_get_size(1) })?;
        let mut encoder = Encoder { state, settings };
        let application = match settings.application {
            Application::Voip => ffi::OPUS_APPLICATION_VOIP,
            Application::Audio => ffi::OPUS_APPLICATION_AUDIO,
        };
        // SAFETY: the slab is as long as libopus asks for, aligned for its pointers, and exclusively ours.
        let code = unsafe { ffi::opus_encoder_init(encoder.raw(), settings.rate as i32, 1, application) };
        if code != ffi::OPUS_OK {
            return Err(OpusFault::of(code));
        }
        encoder.set(ffi::OPUS_SET_SIGNAL_REQUEST, ffi::OPUS_SIGNAL_VOICE)?;
        encoder.set(ffi::OPUS_SET_VBR_REQUEST, 1)?;
        encoder.set(ffi::OPUS_SET_BITRATE_REQUEST, settings.bitrate.clamp(6_000, 128_000) as c_int)?;
        encoder.set(ffi::OPUS_SET_DTX_REQUEST, c_int::from(settings.dtx))?;
        encoder.set_complexity(settings.complexity)?;
        Ok(encoder)
    }

    /// The settings in force.
    pub fn settings(&self) -> EncoderSettings {
        self.settings
    }

    /// Encodes one frame (2.5, 5, 10, 20, 40, 60, 80, 100 or 120 ms of samples) into the front of `packet`; returns its
    /// length in bytes. [`ENCODED_BYTES_MAX`] is always room enough; with less, libopus lowers the quality to fit.
    pub fn encode(&mut self, pcm: &[i16], packet: &mut [u8]) -> Result<usize, OpusFault> {
        let samples_max = (self.settings.rate * PACKET_MS_MAX / 1_000) as usize;
        if pcm.is_empty() || pcm.len() > samples_max {
            return Err(OpusFault::Unsupported);
        }
        let room = packet.len().min(ENCODED_BYTES_MAX) as i32;
        // SAFETY: the state was initialised in `with`; the input slice has exactly the samples named, the output slice at
        // least the bytes named.
        let len = unsafe { ffi::opus_encode(self.raw(), pcm.as_ptr(), pcm.len() as c_int, packet.as_mut_ptr(), room) };
        if len < 0 {
            return Err(OpusFault::of(len));
        }
        Ok((len as usize).min(packet.len()))
    }

    /// Changes the complexity from the next frame on, 0 to 10.
    pub fn set_complexity(&mut self, complexity: u8) -> Result<(), OpusFault> {
        self.settings.complexity = complexity.min(10);
        self.set(ffi::OPUS_SET_COMPLEXITY_REQUEST, c_int::from(self.settings.complexity))
    }

    /// Tries harder or less hard from the next frame on, at the bitrate that goes with it.
    pub fn set_effort(&mut self, effort: Effort) -> Result<(), OpusFault> {
        self.set_complexity(effort.complexity)?;
        self.settings.bitrate = effort.spends().clamp(6_000, 128_000);
        self.set(ffi::OPUS_SET_BITRATE_REQUEST, self.settings.bitrate as c_int)?;
        self.set(FORCE_MODE, if effort.is_light { CELT_ONLY } else { ffi::OPUS_AUTO })
    }

    /// Forgets the stream, keeps the settings.
    pub fn reset(&mut self) {
        // SAFETY: the state was initialised in `with`; this request takes no further argument.
        unsafe { ffi::opus_encoder_ctl(self.raw(), ffi::OPUS_RESET_STATE) };
    }

    fn set(&mut self, request: c_int, value: c_int) -> Result<(), OpusFault> {
        // SAFETY: the state was initialised in `with`; every request passed here takes one `opus_int32` (opus_defines.h).
        let code = unsafe { ffi::opus_encoder_ctl(self.raw(), request, value) };
        if code == ffi::OPUS_OK { Ok(()) } else { Err(OpusFault::of(code)) }
    }

    fn raw(&mut self) -> *mut ffi::OpusEncoder {
        self.state.0.as_mut_ptr().cast()
    }
}

/// Memory of a libopus state. Words of 64 bits, because libopus keeps pointers in it; nothing in it points to itself, so it may
/// move between threads.
struct State(Box<[u64]>);

impl State {
    fn of_bytes(bytes: c_int) -> Result<State, OpusFault> {
        let bytes = usize::try_from(bytes).map_err(|_| OpusFault::Internal)?;
        if bytes == 0 {
            return Err(OpusFault::Internal);
        }
        Ok(State(vec![0; bytes.div_ceil(8)].into_boxed_slice()))
    }
}

fn check_rate(rate: u32) -> Result<(), OpusFault> {
    matches!(rate, 8_000 | 12_000 | 16_000 | 24_000 | 48_000).then_some(()).ok_or(OpusFault::Unsupported)
}

fn packet_len(packet: &[u8]) -> Result<i32, OpusFault> {
    // An empty packet would ask libopus for concealment; from outside it is no packet.
    if packet.is_empty() {
        return Err(OpusFault::Malformed);
    }
    i32::try_from(packet.len()).map_err(|_| OpusFault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tests::signals::{Lcg, energy, pink, recording, tone};

    #[test]
    fn an_effort_travels_in_a_word() {
        for effort in [Effort::full(10), Effort { complexity: 0, is_light: true, bitrate: 64_000 }] {
            assert_eq!(Effort::of_word(effort.to_word()), effort);
        }
    }

    #[test]
    fn light_packets_are_celt_and_full_ones_are_not() {
        let pcm = tone(24_000, 220.0, 0.3, 24_000);
        let mut encoder = Encoder::new(24_000, 5).unwrap();
        let mut decoder = Decoder::new(24_000).unwrap();
        let (mut packet, mut heard) = ([0; ENCODED_BYTES_MAX], vec![0; decoder.samples_max()]);
        let light = Effort { complexity: 0, is_light: true, bitrate: 24_000 };
        // Back and forth on one encoder, as load comes and goes.
        for effort in [Effort::full(5), light, Effort::full(0), light] {
            encoder.reset();
            encoder.set_effort(effort).unwrap();
            for frame in pcm.chunks_exact(1_440) {
                let len = encoder.encode(frame, &mut packet).unwrap();
                // Configurations 16 to 31 are CELT only (RFC 6716, 3.1).
                assert_eq!(packet[0] >> 3 >= 16, effort.is_light);
                assert_eq!(decoder.decode(&packet[..len], &mut heard), Ok(1_440));
            }
            assert!(energy(&heard[..1_440]) > 0.3 * energy(&pcm[1_440..2_880]), "{effort:?}");
        }
    }

    fn encode_all(settings: EncoderSettings, frame: usize, pcm: &[i16]) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::with(settings).unwrap();
        let mut packet = [0; ENCODED_BYTES_MAX];
        pcm.chunks_exact(frame)
            .map(|frame| {
                let len = encoder.encode(frame, &mut packet).unwrap();
                packet[..len].to_vec()
            })
            .collect()
    }

    #[test]
    fn a_tone_survives_the_round_trip_at_every_rate_and_duration() {
        for rate in [8_000, 12_000, 16_000, 24_000, 48_000] {
            for tenths in [25, 50, 100, 200, 400, 600, 800, 1_000, 1_200] {
                let frame = (rate * tenths / 10_000) as usize;
                let pcm = tone(rate, 400.0, 0.3, rate as usize);
                let mut decoder = Decoder::new(16_000).unwrap();
                let mut out = vec![0; decoder.samples_max()];
                let mut heard = Vec::new();
                for packet in encode_all(EncoderSettings::reply(rate, 5), frame, &pcm) {
                    let samples = decoder.decode(&packet, &mut out).unwrap();
                    assert_eq!(samples, packet_samples(&packet, 16_000).unwrap());
                    assert_eq!(samples, 16_000 * tenths as usize / 10_000, "{rate} Hz, {tenths}/10 ms");
                    heard.extend_from_slice(&out[..samples]);
                }
                let ratio = energy(&heard[8_000..12_000]) / energy(&tone(16_000, 400.0, 0.3, 4_000));
                assert!((0.7..1.4).contains(&ratio), "{rate} Hz, {tenths}/10 ms: energy ratio {ratio}");
            }
        }
    }

    #[test]
    fn sixty_ms_of_reply_is_about_180_bytes() {
        let pcm = crate::audio::tests::signals::recording("en-librispeech-1995-1837-0001.wav");
        let packets = encode_all(EncoderSettings::reply(16_000, 5), 960, &pcm);
        let mean = packets.iter().map(Vec::len).sum::<usize>() / packets.len();
        assert!((120..240).contains(&mean), "{mean} bytes");
    }

    #[test]
    fn silence_of_a_device_becomes_packets_of_one_byte_that_decode_to_their_full_length() {
        let packets = encode_all(EncoderSettings::device(16_000), 960, &vec![0; 960 * 40]);
        assert!(packets.iter().any(|p| p.len() == 1), "{:?}", packets.iter().map(Vec::len).collect::<Vec<_>>());
        let mut decoder = Decoder::new(16_000).unwrap();
        let mut out = [0; 1_920];
        for packet in packets {
            assert_eq!(decoder.decode(&packet, &mut out), Ok(960));
        }
        // As the very first packet, too.
        assert_eq!(Decoder::new(16_000).unwrap().decode(&[0x58], &mut out), Ok(960));
    }

    #[test]
    fn stereo_is_folded_and_all_frame_counts_are_taken() {
        // TOC by hand: CELT wide band 20 ms (config 23), stereo; code 0 with one empty frame; code 3 with three (RFC 6716 3.2).
        let mut decoder = Decoder::new(16_000).unwrap();
        let mut out = [0; 1_920];
        for (packet, samples) in [
            (&[0b1011_1100_u8][..], 320),
            (&[0b1011_1101, 0, 0][..], 640),
            (&[0b1011_1110, 1, 0, 0][..], 640),
            (&[0b1011_1111, 3, 0, 0, 0][..], 960),
        ] {
            assert_eq!(decoder.decode(packet, &mut out), Ok(samples), "{packet:02x?}");
        }
    }

    #[test]
    fn garbage_is_refused_or_bounded_and_never_more_than_120_ms() {
        let mut lcg = Lcg::new(7);
        let mut decoder = Decoder::new(16_000).unwrap();
        let mut out = [0; 1_920];
        let mut refused = 0;
        for _ in 0..5_000 {
            let packet: Vec<u8> = (0..lcg.below(200)).map(|_| lcg.below(256) as u8).collect();
            match decoder.decode(&packet, &mut out) {
                Ok(samples) => assert!((40..=1_920).contains(&samples)),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 500, "{refused} of 5000 refused");
        assert_eq!(decoder.decode(&[], &mut out), Err(OpusFault::Malformed));
        // Code 3 with 63 frames of 60 ms would be 3.8 s: longer than Opus allows.
        assert_eq!(decoder.decode(&[0x5b, 63], &mut out), Err(OpusFault::Malformed));
        assert_eq!(decoder.decode(&[0x58], &mut out[..959]), Err(OpusFault::Room));
    }

    #[test]
    fn quiet_packets_are_known_without_being_decoded() {
        let device = EncoderSettings::device(16_000);
        let share = |pcm: &[i16], samples: usize| {
            let packets = encode_all(device, samples, pcm);
            packets.iter().filter(|packet| is_quiet(packet)).count() * 100 / packets.len()
        };
        for samples in [320, 640, 960] {
            assert!(share(&vec![0; 160_000], samples) >= 98);
            let speech = share(&recording("en-librispeech-1995-1837-0001.wav"), samples);
            assert!(speech <= 15, "{speech} % of speech in packets of {samples} samples");
        }
        let hum = share(&pink(1, 0.005, 160_000), 960);
        assert!(hum >= 80, "{hum} % of a room's noise");
        // Left out altogether, and what does not tell: CELT, stereo, three frames.
        assert_eq!(
            [&[][..], &[0x58], &[0xf8, 0], &[0x5c, 0], &[0x5b, 3]].map(is_quiet),
            [true, true, false, false, false]
        );
        assert_eq!(
            [[0x58, 0x1f], [0x58, 0x20], [0x48, 0x7f], [0x48, 0x80]].map(|p| is_quiet(&p)),
            [true, false, true, false]
        );
    }

    #[test]
    fn a_reset_decoder_is_as_good_as_new() {
        let packets = encode_all(EncoderSettings::reply(16_000, 0), 960, &tone(16_000, 300.0, 0.5, 9_600));
        let decode = |decoder: &mut Decoder| {
            let mut out = [0; 1_920];
            let mut heard = Vec::new();
            for packet in &packets {
                let samples = decoder.decode(packet, &mut out).unwrap();
                heard.extend_from_slice(&out[..samples]);
            }
            heard
        };
        let mut decoder = Decoder::new(16_000).unwrap();
        let first = decode(&mut decoder);
        decoder.reset();
        assert_eq!(decode(&mut decoder), first);
    }

    #[test]
    fn a_lost_packet_is_concealed() {
        let packets = encode_all(EncoderSettings::reply(16_000, 0), 960, &tone(16_000, 300.0, 0.5, 9_600));
        let mut decoder = Decoder::new(16_000).unwrap();
        let mut out = [0; 1_920];
        for packet in &packets {
            decoder.decode(packet, &mut out).unwrap();
        }
        assert_eq!(decoder.conceal(&mut out[..960]), Ok(960));
        assert!(energy(&out[..960]) > 0.0);
        assert_eq!(decoder.conceal(&mut [0; 2_000]), Err(OpusFault::Unsupported));
    }

    #[test]
    fn what_opus_does_not_have_is_an_answer() {
        assert_eq!(Decoder::new(44_100).err(), Some(OpusFault::Unsupported));
        assert_eq!(Encoder::new(22_050, 5).err(), Some(OpusFault::Unsupported));
        let mut encoder = Encoder::new(24_000, 99).unwrap();
        assert_eq!(encoder.settings().complexity, 10);
        let mut packet = [0; ENCODED_BYTES_MAX];
        assert_eq!(encoder.encode(&[0; 1_000], &mut packet), Err(OpusFault::Unsupported));
        assert_eq!(encoder.encode(&[], &mut packet), Err(OpusFault::Unsupported));
    }
}
