//! Ogg-Opus pages (RFC 3533, RFC 7845), one packet each, so that a stream can be put together from pages made beforehand: their
//! sequence numbers and positions depend only on how many came before.

/// Samples per second in which positions are counted, whatever was encoded.
pub const POSITION_RATE: u32 = 48_000;
/// Samples that a decoder drops at the start: libopus's delay.
const PRE_SKIP: u16 = 312;
/// One stream per answer, so one serial number for all.
const SERIAL: u32 = 0x766f_7861;

/// What a page is in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first.
    First,
    /// One between.
    Middle,
    /// The last.
    Last,
}

/// The two pages that begin a stream of mono audio at `rate` samples per second.
pub fn head(rate: u32) -> Vec<u8> {
    let mut id = Vec::with_capacity(19);
    id.extend_from_slice(b"OpusHead\x01\x01");
    id.extend_from_slice(&PRE_SKIP.to_le_bytes());
    id.extend_from_slice(&rate.to_le_bytes());
    // Gain, channel mapping.
    id.extend_from_slice(&[0, 0, 0]);
    let mut tags = b"OpusTags".to_vec();
    let vendor = b"voxlane-standins";
    tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
    tags.extend_from_slice(vendor);
    tags.extend_from_slice(&0_u32.to_le_bytes());
    let mut out = page(Kind::First, 0, 0, &id);
    out.extend(page(Kind::Middle, 1, 0, &tags));
    out
}

/// The page of the `nth` audio packet, each `packet_ms` long.
pub fn audio(nth: u32, packet_ms: u32, packet: &[u8], is_last: bool) -> Vec<u8> {
    let position = u64::from(nth + 1) * u64::from(packet_ms * POSITION_RATE / 1_000);
    page(if is_last { Kind::Last } else { Kind::Middle }, nth + 2, position, packet)
}

/// A page with one whole packet, shorter than 64 KiB.
fn page(kind: Kind, sequence: u32, position: u64, packet: &[u8]) -> Vec<u8> {
    let lacing = packet.len() / 255 + 1;
    debug_assert!(lacing <= 255);
    let mut out = Vec::with_capacity(27 + lacing + packet.len());
    out.extend_from_slice(b"OggS\0");
    out.push(match kind {
        Kind::First => 2,
        Kind::Middle => 0,
        Kind::Last => 4,
    });
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&SERIAL.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.push(lacing as u8);
    out.extend(std::iter::repeat_n(255, lacing - 1));
    out.push((packet.len() % 255) as u8);
    out.extend_from_slice(packet);
    let sum = checksum(&out);
    out[22..26].copy_from_slice(&sum.to_le_bytes());
    out
}

/// CRC-32 with the polynomial 0x04c11db7, begun at 0, bits not reflected.
fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    bytes.iter().fold(0, |sum, &byte| (sum << 8) ^ TABLE[((sum >> 24) as u8 ^ byte) as usize])
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut nth = 0;
    while nth < 256 {
        let mut sum = (nth as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum << 1) ^ (if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 });
            bit += 1;
        }
        table[nth] = sum;
        nth += 1;
    }
    table
}
