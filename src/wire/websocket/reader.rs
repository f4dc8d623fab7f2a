//! Reading frames on a buffer that belongs to somebody else.
//!
//! The common case, a whole unfragmented message in the buffer, is unmasked in place and lent out: no copy, no heap.
//! Only a message of several frames, or one cut by the end of the buffer, moves into a boxed [`Part`] and leaves with it.

use super::mask::{rotate, unmask};
use super::{CONTROL_BYTES, Input, Violation, is_close_code};
use crate::limits::{MESSAGE_BYTES, MESSAGE_FRAGMENTS};
use std::borrow::Cow;
use std::io::Cursor;
use std::ops::Range;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Turns a client's bytes into [`Input`]s. Sixteen bytes, and no heap but for a message that is half received.
#[derive(Debug, Default)]
pub struct Reader {
    /// The data message that has begun and not ended.
    part: Option<Box<Part>>,
    /// A close or a violation was seen: the rest is swallowed.
    over: bool,
}

impl Reader {
    /// Takes the next input from the front of `buf`, with the count of bytes consumed. `None` means that all is read that
    /// can be: keep `buf[consumed..]` (fewer than [`super::REST_BYTES`] bytes) in front of what comes next. To stop early
    /// (a budget), stop calling and keep the rest. `buf` is unmasked in place, so a consumed byte must not be shown twice.
    ///
    /// # Errors
    /// The peer broke the rules: send a close frame with the violation's code. From then on everything is swallowed.
    pub fn read<'a>(&mut self, buf: &'a mut [u8]) -> Result<(usize, Option<Input<'a>>), Violation> {
        match self.find(buf) {
            Ok((consumed, None)) => Ok((consumed, None)),
            Ok((consumed, Some(found))) => match lend(found, buf) {
                Ok(input) => Ok((consumed, Some(input))),
                Err(violation) => self.end(violation),
            },
            Err(violation) => self.end(violation),
        }
    }

    /// Whether a message has begun and not ended. An idle connection's never has.
    pub fn is_amid_message(&self) -> bool {
        self.part.is_some()
    }

    /// Bytes on the heap: those of the message that is half received.
    pub fn heap_bytes(&self) -> usize {
        self.part.as_ref().map_or(0, |part| size_of::<Part>() + part.payload.capacity())
    }

    fn end<T>(&mut self, violation: Violation) -> Result<T, Violation> {
        self.part = None;
        self.over = true;
        Err(violation)
    }

    /// Walks over the bytes until an input is whole; says where it is.
    fn find(&mut self, buf: &mut [u8]) -> Result<(usize, Option<Found>), Violation> {
        let mut at = 0;
        while !self.over {
            if self.part.as_ref().is_some_and(|part| part.open.is_some()) {
                let (n, whole) = self.fill(buf.get_mut(at..).unwrap_or_default())?;
                at += n;
                match whole {
                    Some(found) => return Ok((at, Some(found))),
                    None if n == 0 => return Ok((at, None)),
                    None => continue,
                }
            }
            let Some(head) = Head::parse(buf.get(at..).unwrap_or_default(), self.part.as_deref())? else {
                return Ok((at, None));
            };
            let body = at + head.len..at.saturating_add(head.len).saturating_add(head.payload);
            let present = body.end <= buf.len();
            if head.needs_all() && !present {
                return Ok((at, None));
            }
            if present && (head.needs_all() || (head.last && self.part.is_none())) {
                unmask(&mut buf[body.clone()], head.key);
                self.over = head.opcode == OpCode::Control(Control::Close);
                return Ok((body.end, Some(Found::InPlace(head.opcode, body))));
            }
            at += head.len;
            self.open(&head);
            // An empty frame is complete with its header, though no byte may follow.
            let (n, whole) = self.fill(buf.get_mut(at..).unwrap_or_default())?;
            at += n;
            if let Some(found) = whole {
                return Ok((at, Some(found)));
            }
            if at == buf.len() {
                return Ok((at, None));
            }
        }
        Ok((buf.len(), None))
    }

    /// Begins, or goes on with, a message that does not lie whole in the buffer.
    fn open(&mut self, head: &Head) {
        let part = self.part.get_or_insert_with(|| {
            let is_text = head.opcode == OpCode::Data(Data::Text);
            Box::new(Part { is_text, fragments: 0, payload: Vec::new(), checked: 0, open: None })
        });
        part.fragments += 1;
        part.open = Some(Open { left: head.payload, key: head.key, last: head.last });
    }

    /// Moves bytes of the open frame into the message.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(usize, Option<Found>), Violation> {
        let Some(part) = self.part.as_deref_mut() else { return Ok((0, None)) };
        let Some(open) = part.open.as_mut() else { return Ok((0, None)) };
        let n = open.left.min(bytes.len());
        let bytes = &mut bytes[..n];
        unmask(bytes, open.key);
        open.key = rotate(open.key, n);
        open.left -= n;
        let (frame_done, last) = (open.left == 0, open.last);
        part.append(bytes);
        part.check_text(frame_done && last)?;
        if !frame_done {
            return Ok((n, None));
        }
        part.open = None;
        if !last {
            return Ok((n, None));
        }
        Ok((n, self.part.take().map(Found::Assembled)))
    }
}

/// A message that is half received.
#[derive(Debug)]
struct Part {
    is_text: bool,
    fragments: u32,
    payload: Vec<u8>,
    /// How much of the payload is known to be UTF-8.
    checked: usize,
    /// The frame whose payload is still coming.
    open: Option<Open>,
}

/// The rest of a frame.
#[derive(Debug)]
struct Open {
    left: usize,
    /// Mask of the next byte and those after it.
    key: [u8; 4],
    last: bool,
}

impl Part {
    /// Memory grows with what has arrived, never by what was announced, and never past the limit.
    fn append(&mut self, bytes: &[u8]) {
        let needed = self.payload.len() + bytes.len();
        if needed > self.payload.capacity() {
            let room = needed.max((2 * self.payload.capacity()).min(MESSAGE_BYTES));
            self.payload.reserve_exact(room - self.payload.len());
        }
        self.payload.extend_from_slice(bytes);
    }

    /// Text is refused at its first bad byte; a character cut by the border of a frame waits for its rest.
    fn check_text(&mut self, whole: bool) -> Result<(), Violation> {
        if !self.is_text {
            return Ok(());
        }
        let new = self.payload.get(self.checked..).unwrap_or_default();
        match std::str::from_utf8(new) {
            Ok(_) => self.checked = self.payload.len(),
            Err(e) if e.error_len().is_some() || whole => return Err(Violation::NotUtf8),
            Err(e) => self.checked += e.valid_up_to(),
        }
        Ok(())
    }
}

/// Where an input was found.
enum Found {
    /// In the caller's buffer, unmasked.
    InPlace(OpCode, Range<usize>),
    /// In pieces that are now one.
    Assembled(Box<Part>),
}

fn lend(found: Found, buf: &[u8]) -> Result<Input<'_>, Violation> {
    let (opcode, range) = match found {
        Found::Assembled(part) if part.is_text => {
            let text = String::from_utf8(part.payload).map_err(|_| Violation::NotUtf8)?;
            return Ok(Input::Text(Cow::Owned(text)));
        }
        Found::Assembled(part) => return Ok(Input::Binary(Cow::Owned(part.payload))),
        Found::InPlace(opcode, range) => (opcode, range),
    };
    let payload = buf.get(range).unwrap_or_default();
    match opcode {
        OpCode::Data(Data::Text) => Ok(Input::Text(Cow::Borrowed(utf8(payload)?))),
        OpCode::Data(_) => Ok(Input::Binary(Cow::Borrowed(payload))),
        OpCode::Control(Control::Ping) => Ok(Input::Ping(payload)),
        OpCode::Control(Control::Pong) => Ok(Input::Pong(payload)),
        OpCode::Control(_) => close(payload),
    }
}

fn close(payload: &[u8]) -> Result<Input<'_>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(Input::Close(None)) } else { Err(Violation::BadClose) };
    };
    let code = u16::from_be_bytes(*code);
    if !is_close_code(code) {
        return Err(Violation::BadClose);
    }
    Ok(Input::Close(Some((code, utf8(reason)?))))
}

fn utf8(bytes: &[u8]) -> Result<&str, Violation> {
    std::str::from_utf8(bytes).map_err(|_| Violation::NotUtf8)
}

/// A frame header that has passed every rule.
struct Head {
    opcode: OpCode,
    last: bool,
    key: [u8; 4],
    /// Bytes of the header.
    len: usize,
    /// Bytes of the payload; at most [`MESSAGE_BYTES`].
    payload: usize,
}

impl Head {
    /// Control frames are small and must not be taken apart; they wait in the caller's buffer until they are whole.
    fn needs_all(&self) -> bool {
        matches!(self.opcode, OpCode::Control(_))
    }

    /// Reads and judges a header; `None` if it is cut. `part` is the message that has begun.
    fn parse(bytes: &[u8], part: Option<&Part>) -> Result<Option<Head>, Violation> {
        let mut cursor = Cursor::new(bytes);
        let Some((header, payload)) = FrameHeader::parse(&mut cursor).map_err(|_| Violation::BadOpcode)? else {
            return Ok(None);
        };
        let len = cursor.position() as usize;
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::ReservedBit);
        }
        let Some(key) = header.mask else { return Err(Violation::Unmasked) };
        match header.opcode {
            OpCode::Control(_) if !header.is_final => return Err(Violation::FragmentedControl),
            OpCode::Control(_) if payload > CONTROL_BYTES as u64 => return Err(Violation::LongControl),
            OpCode::Data(Data::Continue) if part.is_none() => return Err(Violation::Orphan),
            OpCode::Data(Data::Text | Data::Binary) if part.is_some() => return Err(Violation::Interleaved),
            _ => {}
        }
        let (before, fragments) = match (header.opcode, part) {
            (OpCode::Data(_), Some(part)) => (part.payload.len(), part.fragments),
            _ => (0, 0),
        };
        if payload > (MESSAGE_BYTES - before.min(MESSAGE_BYTES)) as u64 {
            return Err(Violation::TooBig);
        }
        if fragments >= MESSAGE_FRAGMENTS {
            return Err(Violation::TooManyFragments);
        }
        if len != header.len(payload) {
            return Err(Violation::BadLength);
        }
        Ok(Some(Head { opcode: header.opcode, last: header.is_final, key, len, payload: payload as usize }))
    }
}
