//! Sound as devices send it: real Opus packets, framings, and packets put together from frames by hand (RFC 6716, 3.2).

use voxlane::audio::opus::{Application, ENCODED_BYTES_MAX, Encoder, EncoderSettings};

/// A tone that every detector of loudness takes for voice, 16 kHz mono.
pub fn tone(ms: usize) -> Vec<i16> {
    let sample = |i: usize| (6_000.0 * (i as f32 * 300.0 / 16_000.0 * std::f32::consts::TAU).sin()) as i16;
    (0..ms * 16).map(sample).collect()
}

/// Samples as packets of `packet_ms` each, from an encoder with these settings (16 kHz).
pub fn encode(settings: EncoderSettings, packet_ms: usize, pcm: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::with(settings).unwrap();
    let mut packet = [0; ENCODED_BYTES_MAX];
    let encode = |frame: &[i16]| {
        let len = encoder.encode(frame, &mut packet).unwrap();
        packet[..len].to_vec()
    };
    pcm.chunks_exact(packet_ms * 16).map(encode).collect()
}

/// A tone as the firmware (60 ms) or the desktop client (20 ms) would send it.
pub fn device_packets(packet_ms: usize, ms: usize) -> Vec<Vec<u8>> {
    encode(EncoderSettings::device(16_000), packet_ms, &tone(ms))
}

/// A tone as the browser client sends it: CELT at a high rate, three frames of 20 ms in a packet (code 3).
pub fn browser_packets(ms: usize) -> Vec<Vec<u8>> {
    let settings =
        EncoderSettings { rate: 16_000, complexity: 5, bitrate: 128_000, application: Application::Audio, dtx: false };
    encode(settings, 60, &tone(ms))
}

/// Frames of one packet each (code 0) put into one packet with frame count code 1, 2 or 3. Code 1 takes two of one length.
pub fn pack(code: u8, packets: &[Vec<u8>]) -> Vec<u8> {
    let toc = packets[0][0];
    assert!(packets.iter().all(|p| p[0] == toc && toc & 3 == 0), "packets of one frame, all alike");
    let frames: Vec<&[u8]> = packets.iter().map(|p| &p[1..]).collect();
    let mut out = vec![toc | code];
    match code {
        1 => assert!(frames.len() == 2 && frames[0].len() == frames[1].len(), "two frames of one length"),
        2 => push_len(frames[0].len(), &mut out),
        3 => {
            out.push(0x80 | frames.len() as u8);
            frames[..frames.len() - 1].iter().for_each(|frame| push_len(frame.len(), &mut out));
        }
        _ => panic!("code {code}"),
    }
    frames.iter().for_each(|frame| out.extend_from_slice(frame));
    out
}

/// A packet with frame count code 3, filled up to `bytes` bytes with padding, which a decoder skips.
pub fn padded(packet: &[u8], bytes: usize) -> Vec<u8> {
    assert!(packet[0] & 3 == 3 && packet[1] & 0x40 == 0, "code 3 without padding");
    let missing = bytes - packet.len();
    // n bytes that say 255 stand for 254 n bytes of padding, the last says the rest; all of them count too.
    let full = (missing - 1) / 255;
    let rest = missing - 1 - full * 255;
    let mut out = vec![packet[0], packet[1] | 0x40];
    out.extend(std::iter::repeat_n(255, full));
    out.push(rest as u8);
    out.extend_from_slice(&packet[2..]);
    out.resize(bytes, 0);
    out
}

/// A packet in the framing of version 2, as the firmware sends it.
pub fn framed_v2(packet: &[u8], timestamp_ms: u32) -> Vec<u8> {
    let mut out = vec![0, 2, 0, 0, 0, 0, 0, 0];
    out.extend_from_slice(&timestamp_ms.to_be_bytes());
    out.extend_from_slice(&(packet.len() as u32).to_be_bytes());
    out.extend_from_slice(packet);
    out
}

/// A packet in the framing of version 3.
pub fn framed_v3(packet: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend_from_slice(&(packet.len() as u16).to_be_bytes());
    out.extend_from_slice(packet);
    out
}

/// The length of a frame as it stands in a packet (RFC 6716, 3.2.1).
fn push_len(len: usize, out: &mut Vec<u8>) {
    if len < 252 {
        return out.push(len as u8);
    }
    let first = 252 + (len & 3);
    out.push(first as u8);
    out.push(((len - first) / 4) as u8);
}
