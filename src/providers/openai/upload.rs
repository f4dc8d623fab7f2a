//! An utterance as a file: a WAV of its samples, or an Ogg of its packets.

use crate::audio::block::{Packets, Speech};
use crate::audio::opus;
use crate::resilience::fault::{Cause, Fault};
use ogg::{PacketWriteEndInfo, PacketWriter};

/// A file in memory.
pub struct Upload {
    /// Its name, by which many services tell what is in it.
    pub name: &'static str,
    /// Its media type.
    pub mime: &'static str,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Upload {
    /// Of an utterance, as it came.
    ///
    /// # Errors
    /// Internal: an Ogg page refused a packet.
    pub fn of(speech: Speech<'_>) -> Result<Upload, Fault> {
        if let Some(packets) = speech.packets() {
            let bytes = ogg(packets).map_err(|error| Fault::new(Cause::Internal, format!("ogg: {error}")))?;
            return Ok(Upload { name: "utterance.ogg", mime: "audio/ogg", bytes });
        }
        Ok(Upload { name: "utterance.wav", mime: "audio/wav", bytes: wav(&speech.samples()) })
    }
}

/// One logical stream, so any number will do.
const SERIAL: u32 = 1;
/// Samples at 48 kHz that a player leaves out at the start: libopus's own delay (RFC 7845, 4.2).
const PRE_SKIP: u16 = 312;

/// Ogg-Opus (RFC 7845): two heads, then the packets; positions are counted at 48 kHz whatever was encoded.
fn ogg(packets: Packets<'_>) -> std::io::Result<Vec<u8>> {
    let mut writer = PacketWriter::new(Vec::with_capacity(8 * 1024));
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend_from_slice(&PRE_SKIP.to_le_bytes());
    head.extend_from_slice(&16_000_u32.to_le_bytes());
    // No gain; mapping of one channel.
    head.extend_from_slice(&[0, 0, 0]);
    writer.write_packet(head, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
    let mut tags = b"OpusTags\x07\0\0\0voxlane".to_vec();
    tags.extend_from_slice(&0_u32.to_le_bytes());
    writer.write_packet(tags, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
    // The last one ends the stream: each is written when the next has come.
    let (mut position, mut waiting, mut result) = (0, None, Ok(()));
    packets.each(|packet| {
        let samples = opus::packet_samples(packet, 48_000).unwrap_or(0) as u64;
        if samples == 0 || result.is_err() {
            return;
        }
        if let Some(before) = waiting.replace(packet.to_vec()) {
            result = writer.write_packet(before, SERIAL, PacketWriteEndInfo::NormalPacket, position);
        }
        position += samples;
    });
    result?;
    writer.write_packet(waiting.unwrap_or_default(), SERIAL, PacketWriteEndInfo::EndStream, position)?;
    Ok(writer.into_inner())
}

/// 16 kHz mono as a WAV file.
fn wav(pcm: &[i16]) -> Vec<u8> {
    let bytes = (pcm.len() * 2) as u32;
    let mut out = Vec::with_capacity(44 + pcm.len() * 2);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(36 + bytes).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel, samples and bytes per second, bytes per frame, bits per sample.
    out.extend_from_slice(&[1, 0, 1, 0]);
    out.extend_from_slice(&16_000_u32.to_le_bytes());
    out.extend_from_slice(&32_000_u32.to_le_bytes());
    out.extend_from_slice(&[2, 0, 16, 0]);
    out.extend_from_slice(b"data");
    out.extend_from_slice(&bytes.to_le_bytes());
    pcm.iter().for_each(|sample| out.extend_from_slice(&sample.to_le_bytes()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::block::pack;
    use crate::audio::opus::{ENCODED_BYTES_MAX, Encoder, EncoderSettings};
    use crate::audio::tests::signals::white;
    use ogg::PacketReader;

    #[test]
    fn the_wav_is_one() {
        let wav = Upload::of(Speech::Samples(&[1, -1])).unwrap().bytes;
        assert_eq!(wav.len(), 48);
        assert_eq!(&wav[..4], b"RIFF");
        assert_eq!(wav[4..8], 40_u32.to_le_bytes());
        assert_eq!(wav[40..44], 4_u32.to_le_bytes());
        assert_eq!(wav[44..], [1, 0, 255, 255]);
    }

    #[test]
    fn the_ogg_has_every_packet_and_says_how_long_it_is() {
        let mut encoder = Encoder::with(EncoderSettings::device(16_000)).unwrap();
        let (mut packet, mut words, mut one, mut sent) = ([0; ENCODED_BYTES_MAX], Vec::new(), Vec::new(), Vec::new());
        for n in 0..300 {
            let len = encoder.encode(&white(n, 0.1, 960), &mut packet).unwrap();
            sent.push(packet[..len].to_vec());
            pack(&packet[..len], &mut one);
            words.extend_from_slice(&one);
        }
        let upload = Upload::of(Speech::Packets(&words)).unwrap();
        assert_eq!((upload.name, upload.mime), ("utterance.ogg", "audio/ogg"));
        let mut reader = PacketReader::new(std::io::Cursor::new(&upload.bytes));
        let head = reader.read_packet().unwrap().unwrap();
        assert_eq!((&head.data[..10], head.data.len()), (&b"OpusHead\x01\x01"[..], 19));
        assert!(reader.read_packet().unwrap().unwrap().data.starts_with(b"OpusTags"));
        let (mut got, mut last) = (Vec::new(), None);
        while let Some(packet) = reader.read_packet().unwrap() {
            last = Some((packet.absgp_page(), packet.last_in_stream()));
            got.push(packet.data);
        }
        assert_eq!(got, sent);
        assert_eq!(last, Some((300 * 2_880, true)));
    }
}
