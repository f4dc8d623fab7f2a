//! Audio on its way: the blocks of an utterance, and the utterance when it is together again.

use super::opus::{self, Decoder};
use crate::format::Codec;
use crate::ids::Ticket;
use crate::limits;
use std::borrow::Cow;

/// A piece of an utterance on its way to a recogniser, inline: up to 60 ms of 16 kHz mono, or one packet as the device sent it.
#[derive(Clone)]
pub struct AudioBlock {
    /// The utterance's turn.
    pub ticket: Ticket,
    /// What the words are: samples, or a packet ([`pack`]).
    pub codec: Codec,
    /// Words in use.
    pub len: u16,
    /// Audio was lost just before this block.
    pub gap: bool,
    /// The utterance ends with this block (which may be empty).
    pub last: bool,
    /// The words; only the first `len` mean something.
    pub words: [i16; limits::PCM_BLOCK_SAMPLES],
}

impl AudioBlock {
    /// An empty block.
    pub fn empty(ticket: Ticket, codec: Codec) -> AudioBlock {
        AudioBlock { ticket, codec, len: 0, gap: false, last: false, words: [0; limits::PCM_BLOCK_SAMPLES] }
    }

    /// The words in use.
    pub fn words(&self) -> &[i16] {
        &self.words[..self.len as usize]
    }
}

/// Longest packet that fits into a block, bytes: 60 ms at 255 kbit/s, eight times what devices send.
pub const PACKET_BYTES_MAX: usize = (limits::PCM_BLOCK_SAMPLES - 1) * 2;

/// Writes a packet as words: its length in bytes, then its bytes by twos, little-endian. One longer than [`PACKET_BYTES_MAX`] is
/// cut.
pub fn pack(packet: &[u8], words: &mut Vec<i16>) {
    let packet = &packet[..packet.len().min(PACKET_BYTES_MAX)];
    words.clear();
    words.push(packet.len() as i16);
    let pairs = packet.chunks(2);
    words.extend(pairs.map(|pair| i16::from_le_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
}

/// A whole utterance, as it came.
#[derive(Clone, Copy, Debug)]
pub enum Speech<'a> {
    /// 16 kHz mono.
    Samples(&'a [i16]),
    /// A device's Opus packets, in the words of their blocks.
    Packets(&'a [i16]),
}

impl<'a> Speech<'a> {
    /// Of so many words of that kind.
    pub fn of(codec: Codec, words: &'a [i16]) -> Speech<'a> {
        match codec {
            Codec::Pcm => Speech::Samples(words),
            Codec::Opus => Speech::Packets(words),
        }
    }

    /// The samples; packets are decoded for it: about 30 µs per 60 ms. What is no packet is left out.
    pub fn samples(&self) -> Cow<'a, [i16]> {
        let words = match *self {
            Speech::Samples(samples) => return Cow::Borrowed(samples),
            Speech::Packets(words) => words,
        };
        let Ok(mut decoder) = Decoder::new(16_000) else { return Cow::Borrowed(&[]) };
        let (mut samples, mut room) = (Vec::new(), [0; PACKET_SAMPLES]);
        Packets::of(words).each(|packet| {
            if let Ok(len) = decoder.decode(packet, &mut room) {
                samples.extend_from_slice(&room[..len]);
            }
        });
        Cow::Owned(samples)
    }

    /// The packets, if it is in packets.
    pub fn packets(&self) -> Option<Packets<'a>> {
        match *self {
            Speech::Samples(_) => None,
            Speech::Packets(words) => Some(Packets::of(words)),
        }
    }

    /// How long it is, samples at 16 kHz.
    pub fn len(&self) -> usize {
        match self {
            Speech::Samples(samples) => samples.len(),
            Speech::Packets(words) => {
                let mut len = 0;
                Packets::of(words).each(|packet| len += opus::packet_samples(packet, 16_000).unwrap_or(0));
                len
            }
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Longest packet, samples at 16 kHz: 120 ms.
const PACKET_SAMPLES: usize = 1_920;

/// Packets in a row of words.
#[derive(Clone, Copy, Debug)]
pub struct Packets<'a> {
    words: &'a [i16],
}

impl<'a> Packets<'a> {
    fn of(words: &'a [i16]) -> Packets<'a> {
        Packets { words }
    }

    /// Calls `on_packet` for each, in order. Words that a loss left without their length end it.
    pub fn each(self, mut on_packet: impl FnMut(&[u8])) {
        let (mut words, mut packet) = (self.words, Vec::with_capacity(512));
        while let Some((&bytes, rest)) = words.split_first() {
            let Ok(bytes) = usize::try_from(bytes) else { return };
            let Some((body, rest)) = rest.split_at_checked(bytes.div_ceil(2)) else { return };
            packet.clear();
            packet.extend(body.iter().flat_map(|word| word.to_le_bytes()));
            packet.truncate(bytes);
            on_packet(&packet);
            words = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::opus::{ENCODED_BYTES_MAX, Encoder, EncoderSettings};
    use proptest::prelude::*;

    fn unpacked(words: &[i16]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        Packets::of(words).each(|packet| all.push(packet.to_vec()));
        all
    }

    fn packed(packets: &[Vec<u8>]) -> Vec<i16> {
        let (mut all, mut words) = (Vec::new(), Vec::new());
        for packet in packets {
            pack(packet, &mut words);
            assert!(words.len() <= limits::PCM_BLOCK_SAMPLES);
            all.extend_from_slice(&words);
        }
        all
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=PACKET_BYTES_MAX), 0..12),
        ) {
            prop_assert_eq!(unpacked(&packed(&packets)), packets);
        }

        #[test]
        fn no_words_are_too_odd_to_be_read(words in prop::collection::vec(any::<i16>(), 0..600)) {
            let total: usize = unpacked(&words).iter().map(Vec::len).sum();
            prop_assert!(total <= words.len() * 2);
            prop_assert!(Speech::Packets(&words).samples().len() <= words.len() * PACKET_SAMPLES);
        }
    }

    #[test]
    fn a_packet_longer_than_a_block_is_cut() {
        assert_eq!(unpacked(&packed(&[vec![7; PACKET_BYTES_MAX + 9]])), [vec![7; PACKET_BYTES_MAX]]);
    }

    #[test]
    fn packets_are_as_long_as_their_samples() {
        let mut encoder = Encoder::with(EncoderSettings::device(16_000)).unwrap();
        let (mut packet, mut packets) = ([0; ENCODED_BYTES_MAX], Vec::new());
        for n in 0..10_i16 {
            let pcm: Vec<i16> = (0..960).map(|i| (i % 80) * 10 * n).collect();
            let len = encoder.encode(&pcm, &mut packet).unwrap();
            packets.push(packet[..len].to_vec());
        }
        let words = packed(&packets);
        let speech = Speech::of(Codec::Opus, &words);
        assert_eq!((speech.len(), speech.samples().len()), (9_600, 9_600));
        assert_eq!(speech.packets().map(|packets| packets.words.len()), Some(words.len()));
        assert_eq!(Speech::of(Codec::Pcm, &words).len(), words.len());
    }
}
