//! One record as it lies on disk, and back.
//!
//! ```text
//!   magic 4 | length 4 | crc 4 | prev 4 | sequence 8 | at 8 | session 16 | turn 4 | operation 2 | device 1 | sealed 1 | device… | payload…
//! ```
//! Numbers are little-endian; `length` is the payload's, `crc` a CRC-32 over everything but itself, `prev` the CRC of the record
//! before in the same file (of the file's header for the first): a block that was written elsewhere, or twice, breaks the chain
//! although it is whole. A sealed payload is encrypted ([`super::seal`]); its head from the sequence on belongs to it.

use super::seal::Keys;
use crate::ids::SessionId;
use crate::limits;
use crate::session::dialogue::Dialogue;
use crate::session::record::{Exchange, Kind, Operation};
use crate::time::UnixMs;
use std::io;

/// Bytes before the device's id.
pub const HEAD_BYTES: usize = 56;
/// Where the part of the head begins that a sealed content belongs to; what is before changes when a file is written anew.
const SEALED_HEAD: usize = 16;
const MAGIC: [u8; 4] = *b"vxR\x01";

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A change of the device's dialogue.
    Operation(Operation),
    /// The dialogue as all records of the device before this one make it.
    Checkpoint(Box<Dialogue>),
    /// Nothing any more: stands for the records of these sequences, itself included.
    Void {
        /// The last of them; the first is the record's own.
        last: u64,
        /// Why they are not there.
        why: Gone,
    },
    /// The device is to be erased; found only where that was not finished.
    Erase,
}

/// Why records are not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Their time was over, or their device was erased.
    Removed,
    /// They were damaged or missing when the log was read.
    Lost,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the order of all records; never used twice.
    pub sequence: u64,
    /// When it was made, by the wall clock.
    pub at: UnixMs,
    /// The connection it belongs to.
    pub session: SessionId,
    /// The turn of that connection.
    pub turn: u32,
    /// Whose it is.
    pub device: Box<str>,
    /// What it says.
    pub content: Content,
}

/// A record in the bytes of a file, checked by its CRC and not decoded.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// See [`Record`].
    pub sequence: u64,
    /// See [`Record`].
    pub at: UnixMs,
    /// See [`Record`].
    pub session: SessionId,
    /// See [`Record`].
    pub turn: u32,
    /// Number of the content.
    pub code: u16,
    /// Whose it is.
    pub device: &'a str,
    /// The content is encrypted.
    pub is_sealed: bool,
    /// The content.
    pub payload: &'a [u8],
    /// Its CRC.
    pub crc: u32,
    /// The CRC that the record before it must have.
    pub prev: u32,
    /// Bytes in all.
    pub len: usize,
    bytes: &'a [u8],
}

/// Number of an operation's content and of the log's own.
mod code {
    pub const TURN: u16 = 1;
    pub const SUMMARY: u16 = 2;
    pub const ROLE: u16 = 3;
    pub const TOOL: u16 = 4;
    pub const STATE: u16 = 5;
    pub const AUDIO: u16 = 6;
    pub const TRUNCATE: u16 = 7;
    pub const CLEAR: u16 = 8;
    pub const CHECKPOINT: u16 = 0xff01;
    pub const VOID: u16 = 0xff02;
    pub const ERASE: u16 = 0xff03;
}

impl Record {
    /// Appends it to `out`, chained to the record with the CRC `prev`. Returns its own CRC.
    pub fn emit(&self, prev: u32, out: &mut Vec<u8>) -> u32 {
        let (start, _) = self.emit_open(prev, out);
        finish(start, out)
    }

    /// The same, sealed if there are keys, and something to seal: a void says nothing.
    ///
    /// # Errors
    /// The system gives no randomness; nothing was appended then.
    pub fn emit_sealed(&self, prev: u32, keys: Option<&Keys>, out: &mut Vec<u8>) -> io::Result<u32> {
        let (Some(keys), Content::Operation(_) | Content::Checkpoint(_)) = (keys, &self.content) else {
            return Ok(self.emit(prev, out));
        };
        let (start, payload) = self.emit_open(prev, out);
        out[start + 55] = 1;
        let sealed = keys.seal(&self.device, &out[start + SEALED_HEAD..payload], &out[payload..]);
        let Some(sealed) = sealed else {
            out.truncate(start);
            return Err(io::Error::other("the system gives no randomness"));
        };
        out.truncate(payload);
        out.extend_from_slice(&sealed);
        Ok(finish(start, out))
    }

    /// All of it but length and CRC. Where it begins, and where its payload does.
    fn emit_open(&self, prev: u32, out: &mut Vec<u8>) -> (usize, usize) {
        let start = out.len();
        out.resize(start + HEAD_BYTES, 0);
        let device = self.device.as_bytes();
        let device = &device[..device.len().min(255)];
        out.extend_from_slice(device);
        let payload = out.len();
        let number = emit_content(&self.content, out);
        let head = &mut out[start..start + HEAD_BYTES];
        head[0..4].copy_from_slice(&MAGIC);
        head[12..16].copy_from_slice(&prev.to_le_bytes());
        head[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        head[24..32].copy_from_slice(&self.at.0.to_le_bytes());
        head[32..48].copy_from_slice(&self.session.0.to_le_bytes());
        head[48..52].copy_from_slice(&self.turn.to_le_bytes());
        head[52..54].copy_from_slice(&number.to_le_bytes());
        head[54] = device.len() as u8;
        (start, payload)
    }

    /// About how many bytes it takes while it waits.
    pub fn weight(&self) -> usize {
        let content = match &self.content {
            Content::Operation(Operation::Turn { user, reply, .. }) => user.len() + reply.len(),
            Content::Operation(Operation::Tool { call, result }) => call.len() + result.len(),
            Content::Operation(Operation::Summary(text) | Operation::Role(text) | Operation::State(text)) => text.len(),
            Content::Checkpoint(dialogue) => dialogue.turns().map(|turn| turn.user.len() + turn.reply.len()).sum(),
            _ => 16,
        };
        HEAD_BYTES + self.device.len() + content
    }
}

/// Fills in the length and the CRC of the record from `start` on.
fn finish(start: usize, out: &mut [u8]) -> u32 {
    let payload = start + HEAD_BYTES + usize::from(out[start + 54]);
    let length = (out.len() - payload) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    let crc = crc_of(&out[start..]);
    out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// The frame at the beginning of `bytes`, if a whole and undamaged one stands there.
pub fn parse(bytes: &[u8]) -> Option<Frame<'_>> {
    let head = bytes.get(..HEAD_BYTES).filter(|head| head[..4] == MAGIC)?;
    let length = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
    if length > limits::MEMORY_RECORD_BYTES {
        return None;
    }
    let device_end = HEAD_BYTES + usize::from(head[54]);
    let len = device_end + length;
    let whole = bytes.get(..len)?;
    let crc = u32::from_le_bytes(head[8..12].try_into().ok()?);
    if crc_of(whole) != crc {
        return None;
    }
    Some(Frame {
        sequence: u64::from_le_bytes(head[16..24].try_into().ok()?),
        at: UnixMs(u64::from_le_bytes(head[24..32].try_into().ok()?)),
        session: SessionId(u128::from_le_bytes(head[32..48].try_into().ok()?)),
        turn: u32::from_le_bytes(head[48..52].try_into().ok()?),
        code: u16::from_le_bytes(head[52..54].try_into().ok()?),
        device: std::str::from_utf8(&whole[HEAD_BYTES..device_end]).ok()?,
        is_sealed: head[55] & 1 != 0,
        payload: &whole[device_end..],
        crc,
        prev: u32::from_le_bytes(head[12..16].try_into().ok()?),
        len,
        bytes: whole,
    })
}

/// Where the next frame might begin, from `from` on.
pub fn next_candidate(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(MAGIC.len()).position(|four| four == MAGIC).map(|at| from + at)
}

impl Frame<'_> {
    /// The record that it holds; `None` if it is sealed, or its content is not what its number says: a defect, since its CRC is
    /// right.
    pub fn decode(&self) -> Option<Record> {
        self.open(None)
    }

    /// The same, with keys for what is sealed.
    pub fn open(&self, keys: Option<&Keys>) -> Option<Record> {
        let content = match self.is_sealed {
            false => parse_content(self.code, self.payload)?,
            true => {
                let head = &self.bytes[SEALED_HEAD..self.len - self.payload.len()];
                parse_content(self.code, &keys?.open(self.device, head, self.payload)?)?
            }
        };
        let (sequence, at, session, turn) = (self.sequence, self.at, self.session, self.turn);
        Some(Record { sequence, at, session, turn, device: self.device.into(), content })
    }

    /// Appends it as it is, but chained to the record with the CRC `prev`. Returns its new CRC.
    pub fn copy(&self, prev: u32, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        out.extend_from_slice(self.bytes);
        out[start + 12..start + 16].copy_from_slice(&prev.to_le_bytes());
        let crc = crc_of(&out[start..]);
        out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// The last sequence it accounts for: its own, but for a void.
    pub fn last(&self) -> u64 {
        match (self.code, parse_content(self.code, self.payload)) {
            (code::VOID, Some(Content::Void { last, .. })) => last.max(self.sequence),
            _ => self.sequence,
        }
    }

    /// Whether it only stands for records that are not there.
    pub fn is_void(&self) -> bool {
        self.code == code::VOID
    }

    /// Whether it holds a device's whole dialogue.
    pub fn is_checkpoint(&self) -> bool {
        self.code == code::CHECKPOINT
    }

    /// Whether it asks for its device to be erased.
    pub fn is_erase(&self) -> bool {
        self.code == code::ERASE
    }

    /// Whether it is a turn.
    pub fn is_turn(&self) -> bool {
        self.code == code::TURN
    }

    /// Whether it is an operation that we do not know.
    pub fn is_unknown(&self) -> bool {
        !matches!(self.code, code::TURN..=code::CLEAR | code::CHECKPOINT | code::VOID | code::ERASE)
    }

    /// The kind that retention goes by; the log's own records have none.
    pub fn kind(&self) -> Option<Kind> {
        match self.code {
            code::CHECKPOINT | code::VOID | code::ERASE => None,
            code::TURN | code::TRUNCATE | code::CLEAR => Some(Kind::Turn),
            code::SUMMARY | code::ROLE => Some(Kind::Summary),
            _ => Some(Kind::Event),
        }
    }
}

fn crc_of(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..8]);
    hasher.update(&frame[12..]);
    hasher.finalize()
}

fn emit_content(content: &Content, out: &mut Vec<u8>) -> u16 {
    match content {
        Content::Operation(operation) => emit_operation(operation, out),
        Content::Checkpoint(dialogue) => {
            put_text(dialogue.summary(), out);
            put_text(dialogue.role(), out);
            out.extend_from_slice(&dialogue.unknown().to_le_bytes());
            for turn in dialogue.turns() {
                out.extend_from_slice(&turn.at.0.to_le_bytes());
                out.push(u8::from(turn.complete));
                put_text(&turn.user, out);
                put_text(&turn.reply, out);
            }
            code::CHECKPOINT
        }
        Content::Void { last, why } => {
            out.extend_from_slice(&last.to_le_bytes());
            out.push(u8::from(*why == Gone::Lost));
            code::VOID
        }
        Content::Erase => code::ERASE,
    }
}

fn emit_operation(operation: &Operation, out: &mut Vec<u8>) -> u16 {
    match operation {
        Operation::Turn { user, reply, complete } => {
            out.push(u8::from(*complete));
            put_text(user, out);
            put_text(reply, out);
            code::TURN
        }
        Operation::Summary(text) => {
            put_text(text, out);
            code::SUMMARY
        }
        Operation::Role(text) => {
            put_text(text, out);
            code::ROLE
        }
        Operation::Tool { call, result } => {
            put_text(call, out);
            put_text(result, out);
            code::TOOL
        }
        Operation::State(text) => {
            put_text(text, out);
            code::STATE
        }
        Operation::Audio(text) => {
            put_text(text, out);
            code::AUDIO
        }
        Operation::Truncate(keep) => {
            out.extend_from_slice(&keep.to_le_bytes());
            code::TRUNCATE
        }
        Operation::Clear => code::CLEAR,
        Operation::Unknown { code, bytes } => {
            out.extend_from_slice(bytes);
            *code
        }
    }
}

fn parse_content(number: u16, payload: &[u8]) -> Option<Content> {
    let mut rest = payload;
    let r = &mut rest;
    let content = match number {
        code::TURN => {
            let complete = take::<1>(r)?[0] != 0;
            Content::Operation(Operation::Turn { complete, user: text(r)?, reply: text(r)? })
        }
        code::SUMMARY => Content::Operation(Operation::Summary(text(r)?)),
        code::ROLE => Content::Operation(Operation::Role(text(r)?)),
        code::TOOL => Content::Operation(Operation::Tool { call: text(r)?, result: text(r)? }),
        code::STATE => Content::Operation(Operation::State(text(r)?)),
        code::AUDIO => Content::Operation(Operation::Audio(text(r)?)),
        code::TRUNCATE => Content::Operation(Operation::Truncate(u32::from_le_bytes(take(r)?))),
        code::CLEAR => Content::Operation(Operation::Clear),
        code::CHECKPOINT => Content::Checkpoint(Box::new(parse_dialogue(r)?)),
        code::VOID => {
            let last = u64::from_le_bytes(take(r)?);
            let why = if take::<1>(r)?[0] == 0 { Gone::Removed } else { Gone::Lost };
            Content::Void { last, why }
        }
        code::ERASE => Content::Erase,
        code => {
            *r = &[];
            Content::Operation(Operation::Unknown { code, bytes: payload.to_vec() })
        }
    };
    rest.is_empty().then_some(content)
}

fn parse_dialogue(r: &mut &[u8]) -> Option<Dialogue> {
    let (summary, role) = (text(r)?, text(r)?);
    let unknown = u32::from_le_bytes(take(r)?);
    let mut turns = Vec::new();
    while !r.is_empty() {
        let at = UnixMs(u64::from_le_bytes(take(r)?));
        let complete = take::<1>(r)?[0] != 0;
        turns.push(Exchange { at, complete, user: text(r)?, reply: text(r)? });
    }
    Some(Dialogue::restored(turns, summary, role, unknown))
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let len = u32::from_le_bytes(take(rest)?) as usize;
    let (text, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    String::from_utf8(text.to_vec()).ok()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(content: Content) -> Record {
        Record {
            sequence: 7,
            at: UnixMs(1_700_000_000_123),
            session: SessionId(42),
            turn: 3,
            device: "aa:bb".into(),
            content,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let turn = Operation::Turn { user: "你好".into(), reply: "Hi".into(), complete: false };
        let mut dialogue = Dialogue::default();
        dialogue.apply(UnixMs(5), &turn, Default::default());
        dialogue.apply(UnixMs(6), &Operation::Role("pirate".into()), Default::default());
        let all = [
            Content::Operation(turn),
            Content::Operation(Operation::Summary("tea".into())),
            Content::Operation(Operation::Role(String::new())),
            Content::Operation(Operation::Tool { call: "a".into(), result: "b".into() }),
            Content::Operation(Operation::State("spoken".into())),
            Content::Operation(Operation::Audio("file".into())),
            Content::Operation(Operation::Truncate(3)),
            Content::Operation(Operation::Clear),
            Content::Operation(Operation::Unknown { code: 77, bytes: vec![1, 2] }),
            Content::Checkpoint(Box::new(dialogue)),
            Content::Void { last: 9, why: Gone::Lost },
            Content::Erase,
        ];
        let mut bytes = Vec::new();
        let mut prev = 1;
        all.iter().for_each(|content| prev = record(content.clone()).emit(prev, &mut bytes));
        let (mut at, mut prev) = (0, 1);
        for content in all {
            let frame = parse(&bytes[at..]).expect("a frame");
            assert_eq!(frame.prev, prev);
            assert_eq!(frame.decode(), Some(record(content)));
            (at, prev) = (at + frame.len, frame.crc);
        }
        assert_eq!(at, bytes.len());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let mut bytes = Vec::new();
        record(Content::Operation(Operation::Summary("tea".into()))).emit(9, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bytes).is_none(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!((0..bytes.len()).all(|cut| parse(&bytes[..cut]).is_none()));
        assert!(parse(&bytes).is_some());
    }
}
