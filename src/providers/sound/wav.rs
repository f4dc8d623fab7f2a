//! WAV as it streams: chunk by chunk, with a length that is believed only when it can be true.

use super::{Out, malformed, read_full, source_fault};
use crate::providers::Flow;
use crate::resilience::fault::Fault;
use std::io::Read;

/// Chunks before the audio that are passed over, and their length: a list of tags is a few hundred bytes.
const CHUNKS: usize = 32;
const CHUNK_BYTES: u32 = 256 * 1024;

/// From here on a length of data was written before the data was known: about as many say 0x7fff_f000 as 0xffff_ffff.
const UNKNOWN_LENGTH: u32 = 0x7fff_0000;

struct Format {
    float: bool,
    channels: usize,
    rate: u32,
    bytes: usize,
}

/// Decodes from the beginning, `RIFF` included.
pub fn decode(source: &mut impl Read, out: &mut Out<'_>) -> Result<(), Fault> {
    let mut head = [0; 12];
    if read_full(source, &mut head)? < 12 || &head[8..] != b"WAVE" {
        return Err(malformed("no WAV"));
    }
    let mut format = None;
    for _ in 0..CHUNKS {
        let mut head = [0; 8];
        if read_full(source, &mut head)? < 8 {
            return Err(malformed("WAV without data"));
        }
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        match &head[..4] {
            b"data" => return samples(source, len, &format.ok_or_else(|| malformed("WAV without format"))?, out),
            b"fmt " => format = Some(read_format(source, len)?),
            _ if len > CHUNK_BYTES => return Err(malformed("WAV with a giant chunk")),
            _ => skip(source, padded(len))?,
        }
    }
    Err(malformed("WAV with too many chunks"))
}

fn read_format(source: &mut impl Read, len: u32) -> Result<Format, Fault> {
    let mut body = [0; 40];
    let known = (len as usize).min(body.len());
    if known < 16 || len > 4_096 || read_full(source, &mut body[..known])? < known {
        return Err(malformed("WAV format cut off"));
    }
    skip(source, padded(len) - known as u32)?;
    let short = |at: usize| u16::from_le_bytes([body[at], body[at + 1]]);
    // The extensible form keeps the true tag in its subformat.
    let tag = if short(0) == 0xfffe && known >= 26 { short(24) } else { short(0) };
    let bits = short(14) as usize;
    let format = Format {
        float: tag == 3,
        channels: short(2) as usize,
        rate: u32::from_le_bytes([body[4], body[5], body[6], body[7]]),
        bytes: bits / 8,
    };
    let known_kind = match tag {
        1 => matches!(bits, 8 | 16 | 24 | 32),
        3 => bits == 32,
        _ => false,
    };
    if !known_kind || !(1..=8).contains(&format.channels) {
        return Err(malformed("WAV of an unknown kind"));
    }
    Ok(format)
}

fn samples(source: &mut impl Read, len: u32, format: &Format, out: &mut Out<'_>) -> Result<(), Fault> {
    let frame = format.bytes * format.channels;
    let mut left = if len == 0 || len >= UNKNOWN_LENGTH { u64::MAX } else { u64::from(len) };
    let mut bytes = [0; 4_096];
    let mut pcm = Vec::with_capacity(bytes.len() / frame);
    let mut kept = 0;
    loop {
        let read = source.read(&mut bytes[kept..]).map_err(source_fault)?;
        if read == 0 {
            return Ok(());
        }
        // What follows the data is read and left: then the connection it came on can be used again.
        let read = (read as u64).min(left) as usize;
        left -= read as u64;
        let whole = (kept + read) / frame * frame;
        pcm.clear();
        pcm.extend(bytes[..whole].chunks_exact(frame).map(|frame| mono(frame, format)));
        if out.give(format.rate, &pcm)? == Flow::Stop {
            return Ok(());
        }
        bytes.copy_within(whole..kept + read, 0);
        kept = kept + read - whole;
    }
}

/// The mean of a frame's channels.
fn mono(frame: &[u8], format: &Format) -> i16 {
    let sum: i32 = frame
        .chunks_exact(format.bytes)
        .map(|sample| match (format.float, sample) {
            // `as` turns what is no number into silence and bounds the rest.
            (true, &[a, b, c, d]) => i32::from((f32::from_le_bytes([a, b, c, d]) * 32_767.0) as i16),
            // Eight bits are counted from zero, all others from the middle.
            (_, &[a]) => (i32::from(a) - 128) << 8,
            (_, &[.., low, high]) => i32::from(i16::from_le_bytes([low, high])),
            _ => 0,
        })
        .sum();
    (sum / format.channels as i32) as i16
}

/// Chunks begin at even places.
fn padded(len: u32) -> u32 {
    len.saturating_add(len & 1)
}

fn skip(source: &mut impl Read, mut len: u32) -> Result<(), Fault> {
    let mut waste = [0; 512];
    while len > 0 {
        let part = waste.len().min(len as usize);
        let read = read_full(source, &mut waste[..part])?;
        if read < part {
            return Err(malformed("WAV cut off"));
        }
        len -= read as u32;
    }
    Ok(())
}
