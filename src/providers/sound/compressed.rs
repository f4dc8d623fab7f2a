//! MP3 by symphonia, Ogg-Opus by the `ogg` crate's pages and the codec of `audio`.

use super::{Out, malformed, read_full, source_fault};
use crate::audio::opus::{Decoder, ENCODED_BYTES_MAX, packet_samples};
use crate::format::{Codec, ReplyFormat};
use crate::providers::Flow;
use crate::resilience::fault::{Cause, Fault};
use ogg::reading::{BasePacketReader, PageParser};
use std::io::{self, Read, Seek, SeekFrom};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::default::codecs::MpaDecoder;
use symphonia::default::formats::MpaReader;

/// A reader that cannot seek, for symphonia.
struct Stream<R>(R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<R> Seek for Stream<R> {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl<R: Read + Send + Sync> MediaSource for Stream<R> {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        None
    }
}

/// Decodes MP3 with or without tags in front.
pub fn decode_mp3(source: impl Read + Send + Sync, out: &mut Out<'_>) -> Result<(), Fault> {
    let stream = MediaSourceStream::new(Box::new(Stream(source)), Default::default());
    let mut reader = MpaReader::try_new(stream, FormatOptions::default()).map_err(mp3_fault)?;
    let Some(CodecParameters::Audio(codec)) = reader.tracks().first().and_then(|track| track.codec_params.clone())
    else {
        return Err(malformed("MP3 without a track"));
    };
    let mut decoder = MpaDecoder::try_new(&codec, &AudioDecoderOptions::default()).map_err(mp3_fault)?;
    let mut interleaved: Vec<i16> = Vec::new();
    let mut pcm = Vec::new();
    loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(()),
            Err(error) => {
                // A last packet that was cut is an end like any other, once there was sound.
                let fault = mp3_fault(error);
                return if fault.cause == Cause::Malformed && out.samples > 0 { Ok(()) } else { Err(fault) };
            }
        };
        let decoded = match decoder.decode(&packet) {
            Ok(decoded) => decoded,
            // One bad frame is heard as a gap, if at all.
            Err(Error::DecodeError(_)) => continue,
            Err(error) => return Err(mp3_fault(error)),
        };
        let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count().max(1));
        decoded.copy_to_vec_interleaved(&mut interleaved);
        pcm.clear();
        let mean = |frame: &[i16]| (frame.iter().map(|&s| i32::from(s)).sum::<i32>() / channels as i32) as i16;
        pcm.extend(interleaved.chunks_exact(channels).map(mean));
        if out.give(rate, &pcm)? == Flow::Stop {
            return Ok(());
        }
    }
}

fn mp3_fault(error: Error) -> Fault {
    match error {
        Error::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => malformed("MP3 cut off"),
        Error::IoError(error) => source_fault(error),
        _ => malformed("no MP3"),
    }
}

/// Opus in Ogg always counts at 48 kHz; we decode at half of that, which holds all of speech and is what devices play.
const OPUS_RATE: u32 = 24_000;

/// Longest page of an Ogg stream is 65,307 bytes; a packet over so many pages is no Opus.
const PAGES_WITHOUT_PACKET: usize = 4;

/// Decodes Ogg-Opus from its first page, or passes its packets on if they are what `format` asks for.
pub fn decode_ogg(source: &mut impl Read, format: ReplyFormat, out: &mut Out<'_>) -> Result<(), Fault> {
    let ours = |_| Fault::new(Cause::Internal, "Opus decoder");
    let mut decoder = Decoder::new(OPUS_RATE).map_err(ours)?;
    let mut pcm = vec![0; decoder.samples_max()];
    let mut packets = BasePacketReader::new();
    let can_pass = format.codec == Codec::Opus && format.rate == OPUS_RATE;
    // Decided by the first packet: to begin passing on in the middle of a sentence would click.
    let mut passes = None;
    let mut skip = None;
    let mut tags_seen = false;
    let mut pages = 0;
    loop {
        let Some(packet) = packets.read_packet() else {
            pages += 1;
            if pages > PAGES_WITHOUT_PACKET {
                return Err(malformed("Ogg without packets"));
            }
            let Some(page) = read_page(source)? else { return Ok(()) };
            let page = page.map_err(|_| malformed("Ogg page damaged"))?;
            packets.push_page(page).map_err(|_| malformed("Ogg pages in disorder"))?;
            continue;
        };
        pages = 0;
        let data = &packet.data;
        if data.starts_with(b"OpusHead") {
            let &[.., low, high] = data.get(..12).unwrap_or(&[0, 0]) else { continue };
            let family = data.get(18).copied().unwrap_or(1);
            if family != 0 {
                return Err(malformed("Opus of more than two channels"));
            }
            // Samples before the stream begins, counted at 48 kHz.
            skip = Some(usize::from(u16::from_le_bytes([low, high])) * OPUS_RATE as usize / 48_000);
            tags_seen = false;
            continue;
        }
        let Some(ahead) = &mut skip else { return Err(malformed("Ogg without Opus in it")) };
        if !std::mem::replace(&mut tags_seen, true) && data.starts_with(b"OpusTags") {
            continue;
        }
        let fits = is_mono(data)
            && data.len() <= ENCODED_BYTES_MAX
            && packet_samples(data, OPUS_RATE) == Ok(format.frame_samples());
        let passed = passes.get_or_insert(can_pass && fits);
        // A later packet of another kind is not lost: it and what follows are decoded.
        *passed &= fits;
        if *passed {
            let frame = format.frame_samples();
            if *ahead >= frame {
                *ahead -= frame;
                continue;
            }
            // What is left of the pre-skip is less than a frame.
            *ahead = 0;
            if out.pass(OPUS_RATE, data, frame) == Flow::Stop {
                return Ok(());
            }
            continue;
        }
        // A bad packet is a gap.
        let len = decoder.decode(data, &mut pcm).unwrap_or(0);
        let lead = len.min(*ahead);
        *ahead -= lead;
        if out.give(OPUS_RATE, &pcm[lead..len])? == Flow::Stop {
            return Ok(());
        }
    }
}

/// Whether a packet is of one channel: a bit of its first byte (RFC 6716, 3.1).
fn is_mono(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc & 0x04 == 0)
}

type Page = Result<ogg::reading::OggPage, ogg::OggReadError>;

/// The next page; `None` at the end, which may come in the middle of one.
fn read_page(source: &mut impl Read) -> Result<Option<Page>, Fault> {
    let mut head = [0; 27];
    if read_full(source, &mut head)? < head.len() {
        return Ok(None);
    }
    let (mut parser, segments) = match PageParser::new(head) {
        Ok(begun) => begun,
        Err(error) => return Ok(Some(Err(error))),
    };
    let mut table = vec![0; segments];
    if read_full(source, &mut table)? < segments {
        return Ok(None);
    }
    let len = parser.parse_segments(table);
    let mut body = vec![0; len];
    if read_full(source, &mut body)? < len {
        return Ok(None);
    }
    Ok(Some(parser.parse_packet_data(body)))
}
