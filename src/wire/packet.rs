//! Framing of an audio packet inside a binary message: three layouts, chosen by the client (protocol.md 2.1).
//!
//! | version | header | fields, big-endian |
//! |---|---|---|
//! | 1 | none | |
//! | 2 | 16 bytes | version u16, type u16, reserved u32, timestamp ms u32, size u32 |
//! | 3 | 4 bytes | type u8, reserved u8, size u16 |
//!
//! Uplink we are lenient: only the size counts, since a gateway leaves the other fields zero. Downlink we are exact: the
//! device copies as many bytes as the size says, whether they are there or not.

#[cfg(test)]
mod tests;

use super::websocket;
use crate::limits::PACKET_BYTES;

/// A layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// The message is the packet.
    #[default]
    V1,
    /// 16 bytes in front, with a timestamp.
    V2,
    /// 4 bytes in front.
    V3,
}

impl Version {
    /// The version of that number on the wire, if there is one.
    pub const fn from_number(number: u8) -> Option<Version> {
        match number {
            1 => Some(Version::V1),
            2 => Some(Version::V2),
            3 => Some(Version::V3),
            _ => None,
        }
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Version::V1 => 1,
            Version::V2 => 2,
            Version::V3 => 3,
        }
    }

    /// Bytes of the header.
    pub const fn header_bytes(self) -> usize {
        match self {
            Version::V1 => 0,
            Version::V2 => 16,
            Version::V3 => 4,
        }
    }
}

/// Why an uplink message was dropped; counted, and the connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketFault {
    /// Shorter than its header.
    Short,
    /// The size field points beyond the end.
    Beyond,
    /// A packet of more than [`PACKET_BYTES`].
    TooLong,
}

/// The packet inside a binary message. It may be empty: a browser sends that when it stops recording, and it means nothing.
/// Bytes behind the packet are ignored.
///
/// # Errors
/// [`PacketFault`]: count it and drop the message.
pub fn parse(version: Version, message: &[u8]) -> Result<&[u8], PacketFault> {
    // An empty message is legal in every version, though 2 and 3 could carry an empty packet.
    if message.is_empty() {
        return Ok(message);
    }
    let packet = match version {
        Version::V1 => message,
        Version::V2 => {
            let (header, rest) = message.split_first_chunk::<16>().ok_or(PacketFault::Short)?;
            let [.., a, b, c, d] = *header;
            let size = u32::from_be_bytes([a, b, c, d]) as usize;
            rest.get(..size).ok_or(PacketFault::Beyond)?
        }
        Version::V3 => {
            let (header, rest) = message.split_first_chunk::<4>().ok_or(PacketFault::Short)?;
            let [_, _, high, low] = *header;
            let size = u16::from_be_bytes([high, low]) as usize;
            rest.get(..size).ok_or(PacketFault::Beyond)?
        }
    };
    if packet.len() > PACKET_BYTES {
        return Err(PacketFault::TooLong);
    }
    Ok(packet)
}

/// The timestamp of a version 2 message, ms: when non-zero, the downlink packet of that stamp left the loudspeaker about when
/// this one was captured (protocol.md 2.4). 0 where there is none.
pub fn timestamp_ms(version: Version, message: &[u8]) -> u32 {
    let stamp = message.get(8..12).and_then(|bytes| bytes.first_chunk::<4>());
    match (version, stamp) {
        (Version::V2, Some(bytes)) => u32::from_be_bytes(*bytes),
        _ => 0,
    }
}

/// Appends the header of a packet of `len` bytes; exactly so many must follow.
///
/// # Panics
/// When `len` is above [`PACKET_BYTES`]: our own encoders make no such packet, and a wrong size crashes the device.
pub fn emit_header(version: Version, len: usize, timestamp_ms: u32, out: &mut Vec<u8>) {
    assert!(len <= PACKET_BYTES, "a reply packet of {len} bytes");
    match version {
        Version::V1 => {}
        Version::V2 => {
            out.extend_from_slice(&[0, 2, 0, 0, 0, 0, 0, 0]);
            out.extend_from_slice(&timestamp_ms.to_be_bytes());
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        Version::V3 => {
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
}

/// Appends a packet as a whole WebSocket frame.
///
/// # Panics
/// As [`emit_header`].
pub fn emit_frame(version: Version, packet: &[u8], timestamp_ms: u32, out: &mut Vec<u8>) {
    websocket::emit_binary_header(version.header_bytes() + packet.len(), out);
    emit_header(version, packet.len(), timestamp_ms, out);
    out.extend_from_slice(packet);
}
