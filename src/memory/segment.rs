//! One file of the log: a header, then records, each chained to the one before.
//!
//! ```text
//!   "VXLNMEM\n" 8 | schema 4 | flags 4 | number 8 | first 8 | prev_end 8 | crc 4 | records…
//! ```
//! A file is only ever appended to, and by one process in one run: a start, like a failed write, opens the next file. The header
//! of that says where the file before it ends (`prev_end`) and from which sequence on it speaks itself (`first`): what a crash
//! or a full disk left behind that point was never acknowledged, and counts as never written. Retention and erasure write a file
//! anew, whole (flag 1: its end is its own), and put it in the place of the old one.

use super::frame::{self, Frame};
use std::fmt;

/// The version of the layout. A file of an older one is read by its own reader, and written anew in this one by whatever rewrites
/// it next; a newer one is refused. Version 1 is the first.
pub const SCHEMA: u32 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 44;
const MAGIC: [u8; 8] = *b"VXLNMEM\n";
const WHOLE: u32 = 1;

/// A file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its number: the order of files.
    pub number: u64,
    /// The sequence from which on it speaks.
    pub first: u64,
    /// Where the file before it ends, bytes.
    pub prev_end: u64,
    /// It was written in one piece.
    pub is_whole: bool,
    /// What its first record is chained to.
    pub crc: u32,
}

/// What stands where a header should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// One.
    Good(Header),
    /// One that a newer version wrote.
    Newer(u32),
    /// One that is damaged.
    Damaged,
    /// Nothing of ours.
    Foreign,
}

impl Header {
    /// Appends it to `out`; returns the CRC that its first record is chained to.
    pub fn emit(&self, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&SCHEMA.to_le_bytes());
        out.extend_from_slice(&u32::from(self.is_whole).to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.prev_end.to_le_bytes());
        let crc = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        crc
    }
}

/// Reads the header of a file.
pub fn head(bytes: &[u8]) -> Head {
    let Some(head) = bytes.get(..HEADER_BYTES) else {
        return if MAGIC.starts_with(bytes.get(..8).unwrap_or(bytes)) { Head::Damaged } else { Head::Foreign };
    };
    let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
    let u32_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap_or_default());
    let crc = u32_at(40);
    if crc32fast::hash(&head[..40]) != crc {
        // Two bytes may be wrong: a foreign file is not that near.
        let alike = head[..8].iter().zip(MAGIC).filter(|(is, should)| **is == *should).count();
        return if alike >= 6 { Head::Damaged } else { Head::Foreign };
    }
    match (head[..8] == MAGIC, u32_at(8)) {
        (false, _) => Head::Foreign,
        (true, schema) if schema > SCHEMA => Head::Newer(schema),
        (true, _) => Head::Good(Header {
            number: u64_at(16),
            first: u64_at(24),
            prev_end: u64_at(32),
            is_whole: u32_at(12) & WHOLE != 0,
            crc,
        }),
    }
}

/// What is wrong with a log, and where. Offsets are bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The header of a file.
    Header,
    /// The small file that says how far the log was acknowledged.
    Mark,
    /// Bytes that are no record.
    Bytes {
        /// Where they begin.
        from: usize,
        /// How many there are.
        len: usize,
    },
    /// A whole record where it does not belong: a block that was written elsewhere, or twice.
    Misplaced {
        /// Its sequence.
        sequence: u64,
    },
    /// Records that are not there.
    Missing {
        /// The first sequence.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// The last record is incomplete: the process or the machine ended while it was written. It was not acknowledged.
    Torn {
        /// Where it begins.
        from: usize,
        /// How many bytes there are of it.
        len: usize,
    },
}

impl Damage {
    /// Whether something that had been kept is damaged; a torn end is what a crash leaves.
    pub fn is_loss(&self) -> bool {
        !matches!(self, Damage::Torn { .. })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Header => write!(f, "its header is damaged"),
            Damage::Mark => write!(f, "the mark of what was acknowledged is damaged"),
            Damage::Bytes { from, len } => write!(f, "{len} bytes at {from} are no record"),
            Damage::Misplaced { sequence } => write!(f, "record {sequence} stands where it does not belong"),
            Damage::Missing { first, last } if first == last => write!(f, "record {first} is lost"),
            Damage::Missing { first, last } => write!(f, "records {first} to {last} are lost"),
            Damage::Torn { from, len } => {
                write!(f, "{len} bytes at {from} are the beginning of a record that was never acknowledged")
            }
        }
    }
}

/// How to read a file.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// The sequence that comes next.
    pub next: u64,
    /// What the first record is chained to; unknown where the header is damaged.
    pub prev: Option<u32>,
    /// Where the file ends for us, bytes.
    pub end: usize,
    /// The next file speaks from here on.
    pub until: u64,
    /// No file comes after it: what is no record at its end may be torn.
    pub is_last: bool,
}

impl Walk {
    /// Calls `each` for every good record, in order and once, with its offset; says what is wrong, and what comes next.
    pub fn run(mut self, bytes: &[u8], damage: &mut Vec<Damage>, each: &mut dyn FnMut(usize, &Frame<'_>)) -> u64 {
        let bytes = &bytes[..self.end.min(bytes.len())];
        let mut at = HEADER_BYTES.min(bytes.len());
        while at < bytes.len() {
            let frame = frame::parse(&bytes[at..]);
            let fits =
                |frame: &Frame<'_>| frame.sequence == self.next && self.prev.is_none_or(|prev| frame.prev == prev);
            let Some(frame) = frame.filter(fits) else {
                return self.salvage(bytes, at, damage, each);
            };
            if frame.sequence >= self.until {
                return self.next;
            }
            each(at, &frame);
            self.next = frame.last() + 1;
            self.prev = Some(frame.crc);
            at += frame.len;
        }
        self.next
    }

    /// From the first thing that is wrong: every good record that is still there, in the order of their sequences.
    fn salvage(
        mut self,
        bytes: &[u8],
        from: usize,
        damage: &mut Vec<Damage>,
        each: &mut dyn FnMut(usize, &Frame<'_>),
    ) -> u64 {
        let (mut good, mut holes) = (Vec::new(), Vec::new());
        let mut at = from;
        while at < bytes.len() {
            if let Some(frame) = frame::parse(&bytes[at..]) {
                good.push((at, frame));
                at += frame.len;
                continue;
            }
            let next = frame::next_candidate(bytes, at + 1).unwrap_or(bytes.len());
            match holes.last_mut() {
                Some(Damage::Bytes { from, len }) if *from + *len == at => *len = next - *from,
                _ => holes.push(Damage::Bytes { from: at, len: next - at }),
            }
            at = next;
        }
        if good.is_empty() && self.is_last {
            damage.push(Damage::Torn { from, len: bytes.len() - from });
            return self.next;
        }
        let (mut prev, mut before) = (self.prev, self.next.wrapping_sub(1));
        let has_holes = !holes.is_empty();
        damage.append(&mut holes);
        for (_, frame) in &good {
            let in_order = frame.sequence > before && (has_holes || prev.is_none_or(|prev| prev == frame.prev));
            if !in_order {
                damage.push(Damage::Misplaced { sequence: frame.sequence });
            }
            (prev, before) = (Some(frame.crc), frame.last());
        }
        good.sort_by_key(|(_, frame)| frame.sequence);
        for (at, frame) in good {
            if frame.sequence < self.next || frame.sequence >= self.until {
                continue;
            }
            if frame.sequence > self.next {
                damage.push(Damage::Missing { first: self.next, last: frame.sequence - 1 });
            }
            each(at, &frame);
            self.next = frame.last() + 1;
        }
        self.next
    }
}
