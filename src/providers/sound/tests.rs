use super::*;
use crate::audio::opus::Encoder;
use ogg::{PacketWriteEndInfo, PacketWriter};
use proptest::prelude::*;

/// A reader that gives at most `step` bytes at a time, then fails with `fault` if there is one.
struct Drip<'a> {
    bytes: &'a [u8],
    step: usize,
    fault: Option<Fault>,
}

impl Read for Drip<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.step.min(into.len()).min(self.bytes.len());
        if len == 0 && !into.is_empty() {
            return self.fault.take().map_or(Ok(0), |fault| Err(io::Error::other(fault)));
        }
        into[..len].copy_from_slice(&self.bytes[..len]);
        self.bytes = &self.bytes[len..];
        Ok(len)
    }
}

fn heard(bytes: &[u8], step: usize, asked: Encoding) -> Result<(u32, Vec<i16>), Fault> {
    let mut all = Vec::new();
    let mut rate = 0;
    decode(Drip { bytes, step, fault: None }, asked, &mut |sound| {
        rate = sound.rate;
        all.extend_from_slice(sound.pcm);
        Flow::Continue
    })?;
    Ok((rate, all))
}

fn tone(rate: u32, ms: u32) -> Vec<i16> {
    let angle = |i: u32| i as f32 * 440.0 / rate as f32 * std::f32::consts::TAU;
    (0..rate * ms / 1_000).map(|i| (8_000.0 * angle(i).sin()) as i16).collect()
}

fn bytes_of(pcm: &[i16]) -> Vec<u8> {
    pcm.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// A WAV whose header says `len` bytes of data.
fn wav(tag: u16, channels: u16, rate: u32, bits: u16, len: u32, data: &[u8]) -> Vec<u8> {
    let frame = channels * bits / 8;
    let mut out = [b"RIFF".as_slice(), &len.wrapping_add(44).to_le_bytes(), b"WAVE"].concat();
    out.extend([b"LIST".as_slice(), &3_u32.to_le_bytes(), b"abc\0"].concat());
    out.extend([b"fmt ".as_slice(), &16_u32.to_le_bytes(), &tag.to_le_bytes(), &channels.to_le_bytes()].concat());
    out.extend([rate.to_le_bytes(), (rate * u32::from(frame)).to_le_bytes()].concat());
    out.extend([frame.to_le_bytes(), bits.to_le_bytes()].concat());
    out.extend([b"data".as_slice(), &len.to_le_bytes(), data].concat());
    out
}

fn ogg(ms: u32) -> Vec<u8> {
    ogg_of(ms, 20)
}

/// Ogg-Opus in packets of `frame_ms`.
fn ogg_of(ms: u32, frame_ms: u32) -> Vec<u8> {
    let packets = encoded(ms, frame_ms);
    let end = packets.len() as u64 * 48 * u64::from(frame_ms);
    written(&packets, frame_ms, end)
}

/// A tone as packets of `frame_ms`.
fn encoded(ms: u32, frame_ms: u32) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(24_000, 5).unwrap();
    let encode = |frame: &[i16]| {
        let mut packet = vec![0; 1_500];
        let len = encoder.encode(frame, &mut packet).unwrap();
        packet.truncate(len);
        packet
    };
    tone(24_000, ms).chunks_exact(24 * frame_ms as usize).map(encode).collect()
}

/// Packets of `frame_ms` as Ogg-Opus, ten a page, of which the last says that the stream's sound ends at `end` (48 kHz).
fn written(packets: &[Vec<u8>], frame_ms: u32, end: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PacketWriter::new(&mut out);
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend_from_slice(&312_u16.to_le_bytes());
    head.extend_from_slice(&24_000_u32.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    writer.write_packet(head, 7, PacketWriteEndInfo::EndPage, 0).unwrap();
    let tags = b"OpusTags\x04\0\0\0test\0\0\0\0".to_vec();
    writer.write_packet(tags, 7, PacketWriteEndInfo::EndPage, 0).unwrap();
    for (i, packet) in packets.iter().enumerate() {
        let (kind, position) = match (i + 1 == packets.len(), i % 10 == 9) {
            (true, _) => (PacketWriteEndInfo::EndStream, end),
            (_, is_page) => {
                let kind = if is_page { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket };
                (kind, (i as u64 + 1) * 48 * u64::from(frame_ms))
            }
        };
        writer.write_packet(packet.clone(), 7, kind, position).unwrap();
    }
    out
}

/// Upward crossings of zero in a second: the pitch.
fn pitch(rate: u32, pcm: &[i16]) -> u32 {
    let ups = pcm.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count();
    (ups as f32 * rate as f32 / pcm.len() as f32).round() as u32
}

const MP3: &[u8] = include_bytes!("../../../tests/data/tone-440hz-600ms.mp3");

#[test]
fn raw_samples_survive_every_cut() {
    let pcm = tone(24_000, 30);
    let bytes = bytes_of(&pcm);
    for step in [1, 2, 3, 7, 4_095, 4_096] {
        assert_eq!(heard(&bytes, step, Encoding::Pcm { rate: 24_000 }), Ok((24_000, pcm.clone())), "step {step}");
    }
    // Half a sample at the end is left out.
    assert_eq!(heard(&bytes[..bytes.len() - 1], 5, Encoding::Pcm { rate: 24_000 }).unwrap().1, pcm[..pcm.len() - 1]);
}

#[test]
fn a_wav_is_read_whatever_its_header_says_of_its_length() {
    let pcm = tone(22_050, 50);
    let bytes = bytes_of(&pcm);
    for len in [bytes.len() as u32, 0, u32::MAX, 0x7fff_f000, 0x7fff_ffff] {
        for step in [1, 3, 4_096] {
            let wav = wav(1, 1, 22_050, 16, len, &bytes);
            assert_eq!(heard(&wav, step, Encoding::Wav), Ok((22_050, pcm.clone())), "{len:#x}, step {step}");
        }
    }
    // A true length ends the audio: what follows is no sound.
    let mut tail = wav(1, 1, 22_050, 16, bytes.len() as u32, &bytes);
    tail.extend_from_slice(b"LIST\x04\0\0\0junk");
    assert_eq!(heard(&tail, 64, Encoding::Wav).unwrap().1.len(), pcm.len());
    // A WAV is one even where raw samples were asked for.
    let plain = wav(1, 1, 16_000, 16, bytes.len() as u32, &bytes);
    assert_eq!(heard(&plain, 64, Encoding::Pcm { rate: 24_000 }).unwrap().0, 16_000);
}

#[test]
fn all_kinds_of_samples_become_mono() {
    let cases: [(u16, u16, u16, &[u8], i16); 7] = [
        (1, 1, 8, &[192, 192], 16_384),
        (1, 2, 16, &[0, 16, 0, 32], 6_144),
        (1, 1, 24, &[9, 0, 64, 9, 0, 64], 16_384),
        (1, 1, 32, &[9, 9, 0, 64, 9, 9, 0, 64], 16_384),
        (3, 1, 32, &[0, 0, 0, 63, 0, 0, 0, 63], 16_383),
        (3, 1, 32, &[0, 0, 128, 127], 32_767),
        (3, 1, 32, &[0, 0, 192, 127], 0),
    ];
    for (tag, channels, bits, data, first) in cases {
        let pcm = heard(&wav(tag, channels, 16_000, bits, data.len() as u32, data), 4, Encoding::Wav).unwrap().1;
        assert_eq!(pcm[0], first, "tag {tag}, {bits} bits");
    }
}

#[test]
fn compressed_sound_keeps_its_length_and_pitch() {
    for step in [1, 500, 65_536] {
        let (rate, pcm) = heard(MP3, step, Encoding::Mp3).unwrap();
        assert_eq!(rate, 22_050);
        let middle = &pcm[pcm.len() / 4..pcm.len() * 3 / 4];
        assert!(pitch(rate, middle).abs_diff(440) <= 4, "{} Hz", pitch(rate, middle));
        let ms = pcm.len() * 1_000 / 22_050;
        assert!((550..=700).contains(&ms), "{ms} ms");

        let (rate, pcm) = heard(&ogg(600), step, Encoding::Opus).unwrap();
        assert_eq!((rate, pcm.len()), (24_000, 14_400 - 156));
        assert!(pitch(rate, &pcm).abs_diff(440) <= 4);
    }
}

/// Packets passed on, and samples decoded.
fn passed(bytes: &[u8], step: usize, format: ReplyFormat) -> (Vec<Vec<u8>>, usize) {
    let (mut packets, mut samples) = (Vec::new(), 0);
    decode_or_pass(Drip { bytes, step, fault: None }, Encoding::Opus, format, &mut |sound| {
        packets.extend(sound.packet.map(<[u8]>::to_vec));
        samples += sound.pcm.len();
        Flow::Continue
    })
    .unwrap();
    (packets, samples)
}

#[test]
fn packets_that_the_device_asked_for_are_passed_on_untouched() {
    let sent = encoded(600, 60);
    for step in [1, 100, usize::MAX] {
        assert_eq!(passed(&ogg_of(600, 60), step, ReplyFormat::DEFAULT), (sent.clone(), 0));
    }
}

#[test]
fn from_a_packet_of_another_length_on_the_rest_is_decoded() {
    let mut mixed = Vec::new();
    let mut writer = PacketWriter::new(&mut mixed);
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend([0, 0]);
    head.extend(48_000_u32.to_le_bytes());
    head.extend([0; 3]);
    writer.write_packet(head, 7, PacketWriteEndInfo::EndPage, 0).unwrap();
    writer.write_packet(b"OpusTags\0\0\0\0\0\0\0\0".to_vec(), 7, PacketWriteEndInfo::EndPage, 0).unwrap();
    let mut encoder = Encoder::new(24_000, 5).unwrap();
    let pcm = tone(24_000, 360);
    for frame in pcm[..4 * 1_440].chunks(1_440).chain(pcm[4 * 1_440..].chunks(480)) {
        let mut packet = vec![0; 1_500];
        let len = encoder.encode(frame, &mut packet).unwrap();
        packet.truncate(len);
        writer.write_packet(packet, 7, PacketWriteEndInfo::EndPage, 0).unwrap();
    }
    let (packets, samples) = passed(&mixed, usize::MAX, ReplyFormat::DEFAULT);
    assert_eq!((packets.len(), samples), (4, 2 * 1_440));
}

#[test]
fn packets_of_another_length_and_those_for_a_pcm_device_are_decoded() {
    let pcm = ReplyFormat { codec: Codec::Pcm, ..ReplyFormat::DEFAULT };
    let slow = ReplyFormat { rate: 16_000, ..ReplyFormat::DEFAULT };
    for (bytes, format) in [(ogg(600), ReplyFormat::DEFAULT), (ogg_of(600, 60), pcm), (ogg_of(600, 60), slow)] {
        let (packets, samples) = passed(&bytes, 100, format);
        assert_eq!(packets.len(), 0);
        assert_eq!(samples, 24 * 600 - 156);
    }
}

#[test]
fn sound_ends_where_the_last_page_says() {
    // 13 packets of 60 ms: ten on the first page, three on the last. The run-up of 312 is no sound.
    let (packets, whole) = (encoded(780, 60), 13 * 2_880);
    // Where it ends; samples decoded at 24 kHz, packets passed on.
    let cases = [
        (whole, 18_720 - 156, 13),
        (whole - 1, 18_720 - 157, 13),
        (whole - 2_878, 17_281 - 156, 13),
        (whole - 2_880, 17_280 - 156, 12),
        (10 * 2_880 + 2, 14_401 - 156, 11),
        (10 * 2_880, 14_400 - 156, 10),
        // Of a service that does not count.
        (0, 18_720 - 156, 13),
        (9 * 2_880, 18_720 - 156, 13),
        (u64::MAX, 18_720 - 156, 13),
        (whole * 4, 18_720 - 156, 13),
    ];
    for (end, samples, passed_on) in cases {
        let bytes = written(&packets, 60, end);
        for step in [1, 100, usize::MAX] {
            assert_eq!(heard(&bytes, step, Encoding::Opus).unwrap().1.len(), samples, "end {end}");
            let (passed, decoded) = passed(&bytes, step, ReplyFormat::DEFAULT);
            assert_eq!((passed.len(), decoded), (passed_on, 0), "end {end}");
            assert!(passed == packets[..passed_on], "end {end}");
        }
    }
    // All on one page: counted from the beginning, the run-up included.
    let short = written(&packets[..3], 60, 312 + 2_000);
    assert_eq!(heard(&short, 100, Encoding::Opus).unwrap().1.len(), 1_000);
    assert_eq!(passed(&short, 100, ReplyFormat::DEFAULT), (packets[..1].to_vec(), 0));
}

#[test]
fn ogg_that_was_cut_off_is_a_fault_whose_sound_has_come() {
    let packets = encoded(1_200, 60);
    let bytes = written(&packets, 60, 20 * 2_880);
    let last_page = bytes.windows(4).rposition(|four| four == b"OggS").unwrap();
    let cut = |at: usize| {
        let mut came = 0;
        let end = decode_or_pass(
            Drip { bytes: &bytes[..at], step: 100, fault: None },
            Encoding::Opus,
            ReplyFormat::DEFAULT,
            &mut |_| {
                came += 1;
                Flow::Continue
            },
        );
        (end.map_err(|fault| fault.cause), came)
    };
    for at in [last_page + 1, last_page + 26, last_page + 27, last_page + 30, bytes.len() - 1] {
        assert_eq!(cut(at), (Err(Cause::Unavailable), 10), "cut at {at} of {}", bytes.len());
    }
    // Between two pages nobody can tell: live encoders write no last page.
    assert_eq!(cut(last_page), (Ok(()), 10));
    assert_eq!(cut(bytes.len()), (Ok(()), 20));
}

#[test]
fn ogg_that_ends_within_a_packet_of_several_pages_was_cut_off() {
    let mut bytes = written(&encoded(60, 60), 60, 2_880);
    let long = {
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out);
        // More than a page holds: the writer goes on in another.
        writer.write_packet(vec![0; 70_000], 9, PacketWriteEndInfo::EndStream, 0).unwrap();
        out
    };
    let second = 1 + long[1..].windows(4).position(|four| four == b"OggS").unwrap();
    bytes.extend_from_slice(&long[..second]);
    assert_eq!(heard(&bytes, 100, Encoding::Opus).map_err(|f| f.cause), Err(Cause::Unavailable));
}

#[test]
fn what_is_no_sound_is_refused() {
    let cases: [(&[u8], Encoding); 10] = [
        (b"", Encoding::Wav),
        (b"", Encoding::Pcm { rate: 24_000 }),
        (b"", Encoding::Mp3),
        (b"{\"error\":{}}", Encoding::Pcm { rate: 24_000 }),
        (b"<!doctype html>", Encoding::Mp3),
        (b"<html>", Encoding::Wav),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", Encoding::Wav),
        (b"RIFFxxxxAVI ", Encoding::Wav),
        (b"OggSgarbage that goes on for more than a head", Encoding::Opus),
        (b"no frame of mp3 in here", Encoding::Mp3),
    ];
    for (bytes, asked) in cases {
        assert_eq!(heard(bytes, 9, asked).map_err(|f| f.cause), Err(Cause::Malformed), "{bytes:?}");
    }
    let fast = wav(1, 1, 192_000, 16, 4, &[0; 4]);
    assert_eq!(&*heard(&fast, 9, Encoding::Wav).unwrap_err().detail, "WAV of a strange rate or number of channels");
    assert!(Encoding::Pcm { rate: 4_000 }.check().is_err());
}

#[test]
fn a_sentence_that_does_not_end_is_cut_off() {
    let silence = io::repeat(0);
    let mut samples = 0;
    let end = decode(silence, Encoding::Pcm { rate: 8_000 }, &mut |sound| {
        samples += sound.pcm.len();
        Flow::Continue
    });
    assert_eq!((end, samples), (Ok(()), 480_000));
}

#[test]
fn the_sources_own_fault_comes_through() {
    let late = || Some(Fault::timeout("next audio"));
    let long = bytes_of(&tone(16_000, 40));
    let wav = wav(1, 1, 16_000, 16, 0, &long);
    let ogg = ogg(200);
    let cases: [(&[u8], Encoding); 4] = [
        (&long, Encoding::Pcm { rate: 16_000 }),
        (&wav, Encoding::Wav),
        (&MP3[..1_000], Encoding::Mp3),
        (&ogg[..ogg.len() / 2], Encoding::Opus),
    ];
    for (bytes, asked) in cases {
        let end = decode(Drip { bytes, step: 100, fault: late() }, asked, &mut |_| Flow::Continue);
        assert_eq!(end, Err(Fault::timeout("next audio")), "{asked:?}");
    }
    let mut pieces = 0;
    let end = decode(Drip { bytes: &long, step: 100, fault: late() }, Encoding::Pcm { rate: 16_000 }, &mut |_| {
        pieces += 1;
        Flow::Stop
    });
    assert_eq!((end, pieces), (Ok(()), 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_sound_hurts_nobody(
        kind in 0..3_usize,
        hits in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..8),
        cut in any::<usize>(),
    ) {
        let (mut bytes, asked) = match kind {
            0 => (wav(1, 2, 24_000, 16, 400, &[1; 400]), Encoding::Wav),
            1 => (MP3.to_vec(), Encoding::Mp3),
            _ => (ogg(80), Encoding::Opus),
        };
        for (at, value) in hits {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(cut % (bytes.len() + 1));
        // Any answer will do; a panic will not.
        let _ = heard(&bytes, 64, asked);
    }
}
