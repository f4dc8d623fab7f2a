//! Ogg-Opus (RFC 7845): pages by the `ogg` crate, packets by the codec of `audio`, or passed on as they are.
//!
//! A stream says where its sound begins and ends: the first samples are the codec's own run-up (pre-skip), and the last page's
//! position tells how much of its last packets is sound and how much only fills them. A page is read as a whole, so nothing
//! waits for that.

use super::{Out, malformed, read_full};
use crate::audio::opus::{Decoder, ENCODED_BYTES_MAX, packet_samples};
use crate::format::{Codec, ReplyFormat};
use crate::providers::Flow;
use crate::resilience::fault::{Cause, Fault};
use ogg::reading::{BasePacketReader, OggPage, PageParser};
use std::io::Read;

/// Opus in Ogg always counts at 48 kHz; we decode at half of that, which holds all of speech and is what devices play.
const OPUS_RATE: u32 = 24_000;
/// Positions of the stream in one sample of ours.
const POSITIONS: u64 = 2;
/// Of a page on which no packet ends (RFC 3533, 6).
const NO_POSITION: u64 = u64::MAX;

/// Longest page of an Ogg stream is 65,307 bytes; a packet over so many pages is no Opus.
const PAGES_WITHOUT_PACKET: usize = 4;

/// Decodes Ogg-Opus from its first page, or passes its packets on if they are what `format` asks for.
///
/// A stream that ends between two pages is taken for whole, even without the mark of its last page, which live encoders leave
/// out; one that ends within a page or a packet was cut off.
pub fn decode(source: &mut impl Read, format: ReplyFormat, out: &mut Out<'_>) -> Result<(), Fault> {
    let mut stream = Stream::new(format)?;
    let mut packets = BasePacketReader::new();
    let mut is_within_packet = false;
    let mut pages = 0;
    loop {
        let Some(page) = read_page(source)? else {
            return if is_within_packet { Err(cut_off()) } else { Ok(()) };
        };
        let Page { page, place, goes_on } = page;
        is_within_packet = goes_on;
        packets.push_page(page).map_err(|_| malformed("Ogg pages in disorder"))?;
        let ended: Vec<Vec<u8>> = std::iter::from_fn(|| packets.read_packet()).map(|packet| packet.data).collect();
        pages = if ended.is_empty() { pages + 1 } else { 0 };
        if pages > PAGES_WITHOUT_PACKET {
            return Err(malformed("Ogg without packets"));
        }
        if stream.take(place, &ended, out)? == Flow::Stop {
            return Ok(());
        }
    }
}

/// Where a page is in its stream.
#[derive(Clone, Copy)]
struct Place {
    /// Samples at 48 kHz, from the stream's beginning to the end of the last packet that ends on the page; less on the last
    /// page, where what lies behind is no sound.
    position: u64,
    is_last: bool,
}

/// What is known of a stream while it comes.
struct Stream {
    decoder: Decoder,
    pcm: Vec<i16>,
    format: ReplyFormat,
    /// Whether packets are passed on. Decided by the first one: to begin in the middle of a sentence would click.
    passes: Option<bool>,
    /// Samples before the sound begins; `None` before the stream's head.
    ahead: Option<usize>,
    tags_seen: bool,
    /// Of the last page on which a packet ended.
    position: u64,
}

impl Stream {
    fn new(format: ReplyFormat) -> Result<Stream, Fault> {
        let decoder = Decoder::new(OPUS_RATE).map_err(|_| Fault::new(Cause::Internal, "Opus decoder"))?;
        let pcm = vec![0; decoder.samples_max()];
        Ok(Stream { decoder, pcm, format, passes: None, ahead: None, tags_seen: false, position: 0 })
    }

    /// Takes the packets that end on a page.
    fn take(&mut self, place: Place, packets: &[Vec<u8>], out: &mut Out<'_>) -> Result<Flow, Fault> {
        let mut left = self.sound_of(place);
        for data in packets {
            if self.is_head(data)? {
                continue;
            }
            let samples = packet_samples(data, OPUS_RATE).unwrap_or(0);
            let sound = samples.min(left);
            left -= sound;
            if (sound > 0 || samples == 0) && self.sound(data, sound, out)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        if !packets.is_empty() && place.position != NO_POSITION {
            self.position = place.position;
        }
        Ok(Flow::Continue)
    }

    /// Samples on a page that are sound. Services that do not count write 0 or less than before: all of it then.
    fn sound_of(&self, place: Place) -> usize {
        let is_counted = place.is_last && ![0, NO_POSITION].contains(&place.position);
        let positions = is_counted.then(|| place.position.checked_sub(self.position)).flatten();
        positions.map_or(usize::MAX, |positions| (positions / POSITIONS) as usize)
    }

    /// Takes note of the two packets before the sound.
    fn is_head(&mut self, data: &[u8]) -> Result<bool, Fault> {
        if data.starts_with(b"OpusHead") {
            let &[.., low, high] = data.get(..12).unwrap_or(&[0, 0]) else { return Ok(true) };
            if data.get(18).copied().unwrap_or(1) != 0 {
                return Err(malformed("Opus of more than two channels"));
            }
            self.ahead = Some((u64::from(u16::from_le_bytes([low, high])) / POSITIONS) as usize);
            self.tags_seen = false;
            self.position = 0;
            return Ok(true);
        }
        if self.ahead.is_none() {
            return Err(malformed("Ogg without Opus in it"));
        }
        Ok(!std::mem::replace(&mut self.tags_seen, true) && data.starts_with(b"OpusTags"))
    }

    /// Passes a packet on or decodes it; of its end only `sound` samples are sound. A packet that is passed on is never cut.
    fn sound(&mut self, data: &[u8], sound: usize, out: &mut Out<'_>) -> Result<Flow, Fault> {
        let frame = self.format.frame_samples();
        let can_pass = self.format.codec == Codec::Opus && self.format.rate == OPUS_RATE;
        let fits = is_mono(data) && data.len() <= ENCODED_BYTES_MAX && packet_samples(data, OPUS_RATE) == Ok(frame);
        let passes = self.passes.get_or_insert(can_pass && fits);
        // A later packet of another kind is not lost: it and what follows are decoded.
        *passes &= fits;
        let ahead = self.ahead.get_or_insert(0);
        if *passes {
            if *ahead >= frame {
                *ahead -= frame;
                return Ok(Flow::Continue);
            }
            // What is left of the pre-skip is less than a frame.
            *ahead = 0;
            return Ok(out.pass(OPUS_RATE, data, frame));
        }
        // A bad packet is a gap.
        let len = self.decoder.decode(data, &mut self.pcm).unwrap_or(0).min(sound);
        let lead = len.min(*ahead);
        *ahead -= lead;
        out.give(OPUS_RATE, &self.pcm[lead..len])
    }
}

/// Whether a packet is of one channel: a bit of its first byte (RFC 6716, 3.1).
fn is_mono(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc & 0x04 == 0)
}

/// A page, where it is, and whether its last packet goes on in the next.
struct Page {
    page: OggPage,
    place: Place,
    goes_on: bool,
}

/// The next page; `None` at the end of the stream.
fn read_page(source: &mut impl Read) -> Result<Option<Page>, Fault> {
    let damaged = |_| malformed("Ogg page damaged");
    let mut head = [0; 27];
    match read_full(source, &mut head)? {
        0 => return Ok(None),
        27 => {}
        _ => return Err(cut_off()),
    }
    let [.., flags, p0, p1, p2, p3, p4, p5, p6, p7] = head[..14] else { return Err(cut_off()) };
    let place = Place { position: u64::from_le_bytes([p0, p1, p2, p3, p4, p5, p6, p7]), is_last: flags & 0x04 != 0 };
    let (mut parser, segments) = PageParser::new(head).map_err(damaged)?;
    let mut table = vec![0; segments];
    if read_full(source, &mut table)? < segments {
        return Err(cut_off());
    }
    let goes_on = table.last() == Some(&255);
    let len = parser.parse_segments(table);
    let mut body = vec![0; len];
    if read_full(source, &mut body)? < len {
        return Err(cut_off());
    }
    let page = parser.parse_packet_data(body).map_err(damaged)?;
    Ok(Some(Page { page, place, goes_on }))
}

/// The connection or the service's encoder broke: asking again may help.
fn cut_off() -> Fault {
    Fault::new(Cause::Unavailable, "Ogg cut off")
}
