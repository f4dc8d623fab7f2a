//! The speech that goes around, made once before anything is measured: a person's sentence as a device sends it, and a reply as
//! a service gives it.

use crate::duty::{BURST, CHUNK, Duty, HEARD_FRAME, HEARD_RATE, SAID_FRAME, SAID_RATE, unit};
use voxlane::audio::opus::{ENCODED_BYTES_MAX, Encoder, EncoderSettings};
use voxlane::audio::resample::Resampler;

/// The last second of listening is a quiet room; before it somebody speaks.
const QUIET: usize = 17;

/// A masked binary WebSocket frame for each packet of a turn, listening and waiting.
pub fn uplink(duty: Duty) -> Result<Vec<Vec<u8>>, String> {
    // A device's microphone without discontinuous transmission: quiet is sent as well.
    let settings = EncoderSettings { dtx: false, ..EncoderSettings::device(HEARD_RATE) };
    let mut encoder = Encoder::with(settings).map_err(|e| e.to_string())?;
    let spoken = (duty.listening as usize).saturating_sub(QUIET);
    let mut pcm: Vec<i16> = recording().into_iter().cycle().take(spoken * HEARD_FRAME).collect();
    let frames = (duty.listening + duty.waiting) as usize;
    let mut noise = 1_u32;
    pcm.resize_with(frames * HEARD_FRAME, || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 28) as i16 - 8
    });
    let mut packet = [0; ENCODED_BYTES_MAX];
    let encode = |frame: &[i16]| {
        let len = encoder.encode(frame, &mut packet).map_err(|e| e.to_string())?;
        Ok(crate::frames::masked(2, &packet[..len]))
    };
    pcm.chunks_exact(HEARD_FRAME).map(encode).collect()
}

/// The pieces of a reply's audio, as bytes of the service's answer.
pub fn reply(duty: Duty, pass_through: bool) -> Result<Vec<Vec<u8>>, String> {
    let pieces = duty.speaking / BURST;
    let mut pcm = Vec::new();
    Resampler::new(HEARD_RATE, SAID_RATE).map_err(|e| e.to_string())?.process(&recording(), &mut pcm);
    let mut frames = pcm.chunks_exact(SAID_FRAME).cycle();
    let piece = |_| {
        let mut piece = vec![b'0'; CHUNK];
        for frame in frames.by_ref().take(BURST as usize) {
            match pass_through {
                true => piece.resize(piece.len() + unit(true), 0x58),
                false => piece.extend(frame.iter().flat_map(|sample| sample.to_le_bytes())),
            }
        }
        piece
    };
    Ok((0..pieces).map(piece).collect())
}

/// A human sentence of about 8 s at 16 kHz.
fn recording() -> Vec<i16> {
    let wav = include_bytes!("../../../tests/data/en-librispeech-1995-1837-0001.wav");
    wav[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_packet_for_each_frame_and_speech_is_heard_in_it() {
        let duty = Duty::default();
        let uplink = uplink(duty).unwrap();
        assert_eq!(uplink.len(), (duty.listening + duty.waiting) as usize);
        let spoken = duty.listening as usize - QUIET;
        let mut decoder = crate::codec::Decoder::new().unwrap();
        let mut detector = crate::codec::Detector::new();
        let mut pcm = [0; HEARD_FRAME];
        let mut voiced = Vec::new();
        for frame in &uplink {
            let mut frame = frame.clone();
            let (opcode, packet) = crate::frames::next(&mut frame, &mut 0).unwrap();
            assert_eq!(opcode, 2);
            let samples = decoder.decode(packet, &mut pcm);
            voiced.push(detector.hear(&pcm[..samples]));
        }
        let heard = |range: std::ops::Range<usize>| voiced[range].iter().filter(|v| **v).count();
        assert!(heard(0..spoken) > 30, "{voiced:?}");
        assert_eq!(heard(spoken + 5..voiced.len()), 0, "{voiced:?}");
    }

    #[test]
    fn pieces_have_the_length_that_the_duty_says() {
        for pass_through in [false, true] {
            let duty = Duty::default();
            let reply = reply(duty, pass_through).unwrap();
            assert_eq!(reply.len() as u32 * BURST, duty.speaking);
            assert!(reply.iter().all(|piece| piece.len() == crate::duty::piece(pass_through)));
        }
    }
}
