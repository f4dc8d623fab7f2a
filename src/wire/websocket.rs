//! The WebSocket, server side, as strict as RFC 6455 and without a heap while nothing is half received.
//!
//! tungstenite's `WebSocket` keeps buffers per connection that never shrink; a device that idles all day should cost bytes,
//! not kilobytes. So we take only its frame header and read on the caller's one buffer, like a reader at a shared desk who
//! takes a sheet home only when it was torn in two. [`Reader`] turns bytes into [`Input`]s; the `emit_*` functions are the way
//! back. Nothing is answered by itself: the caller replies to pings and closes, and sends the code of a [`Violation`].

mod mask;
mod reader;
#[cfg(test)]
mod tests;

pub use mask::unmask;
pub use reader::Reader;

use std::borrow::Cow;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Bytes that [`Reader::read`] may leave for the next call: a frame header (14) or a control frame (6 + 125) that is cut.
pub const REST_BYTES: usize = 6 + CONTROL_BYTES;
/// Longest payload of a control frame (RFC 6455, 5.5).
pub const CONTROL_BYTES: usize = 125;

/// Close codes that we send (RFC 6455, 7.4.1 and the IANA registry).
pub mod code {
    /// The conversation is over.
    pub const NORMAL: u16 = 1000;
    /// The server goes down.
    pub const AWAY: u16 = 1001;
    /// The peer broke the protocol.
    pub const PROTOCOL: u16 = 1002;
    /// Data we cannot use, such as audio that never decodes.
    pub const UNSUPPORTED: u16 = 1003;
    /// Text that is not UTF-8.
    pub const INVALID: u16 = 1007;
    /// The peer broke a rule of ours, such as a flood of pings.
    pub const POLICY: u16 = 1008;
    /// A message larger than we take.
    pub const TOO_BIG: u16 = 1009;
    /// A fault of ours.
    pub const INTERNAL: u16 = 1011;
    /// Our thread fell over: connect again.
    pub const RESTART: u16 = 1012;
    /// We are overloaded, or the peer does not read: come back later.
    pub const AGAIN: u16 = 1013;
}

/// One thing the peer said. It borrows from the caller's buffer unless the message came in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A whole text message, valid UTF-8.
    Text(Cow<'a, str>),
    /// A whole binary message.
    Binary(Cow<'a, [u8]>),
    /// Answer with a pong of the same payload.
    Ping(&'a [u8]),
    /// The answer to a ping, or an unasked sign of life.
    Pong(&'a [u8]),
    /// The peer closes, with code and reason if it gave any. Everything after it is swallowed.
    Close(Option<(u16, &'a str)>),
}

/// How the peer broke RFC 6455 or our limits. The connection is to be closed with [`Violation::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A client must mask.
    Unmasked,
    /// A reserved bit without an extension; we negotiate none.
    ReservedBit,
    /// An opcode that RFC 6455 does not define.
    BadOpcode,
    /// A length not written in the fewest bytes.
    BadLength,
    /// A control frame in pieces.
    FragmentedControl,
    /// A control frame of more than [`CONTROL_BYTES`].
    LongControl,
    /// A continuation of nothing.
    Orphan,
    /// A new message before the last one ended.
    Interleaved,
    /// A close frame with half a code, or one that must not be sent.
    BadClose,
    /// Text, or the reason of a close, is not UTF-8.
    NotUtf8,
    /// A message above [`crate::limits::MESSAGE_BYTES`], judged by the announced length.
    TooBig,
    /// More than [`crate::limits::MESSAGE_FRAGMENTS`] pieces.
    TooManyFragments,
}

impl Violation {
    /// The close code to answer with.
    pub const fn code(self) -> u16 {
        match self {
            Violation::NotUtf8 => code::INVALID,
            Violation::TooBig | Violation::TooManyFragments => code::TOO_BIG,
            _ => code::PROTOCOL,
        }
    }

    /// A few words for the close frame and the log.
    pub const fn reason(self) -> &'static str {
        match self {
            Violation::Unmasked => "unmasked frame",
            Violation::ReservedBit => "reserved bit set",
            Violation::BadOpcode => "undefined opcode",
            Violation::BadLength => "length not minimal",
            Violation::FragmentedControl => "fragmented control frame",
            Violation::LongControl => "control frame too long",
            Violation::Orphan => "continuation of nothing",
            Violation::Interleaved => "message inside a message",
            Violation::BadClose => "bad close frame",
            Violation::NotUtf8 => "not UTF-8",
            Violation::TooBig => "message too big",
            Violation::TooManyFragments => "too many fragments",
        }
    }
}

/// Appends a whole text message.
pub fn emit_text(text: &[u8], out: &mut Vec<u8>) {
    emit_header(OpCode::Data(Data::Text), text.len(), out);
    out.extend_from_slice(text);
}

/// Appends the header of a binary message of `len` bytes; exactly so many must follow.
pub fn emit_binary_header(len: usize, out: &mut Vec<u8>) {
    emit_header(OpCode::Data(Data::Binary), len, out);
}

/// Appends a ping; a payload above [`CONTROL_BYTES`] is cut.
pub fn emit_ping(payload: &[u8], out: &mut Vec<u8>) {
    emit_control(Control::Ping, payload, out);
}

/// Appends a pong; a payload above [`CONTROL_BYTES`] is cut (a ping's never is).
pub fn emit_pong(payload: &[u8], out: &mut Vec<u8>) {
    emit_control(Control::Pong, payload, out);
}

/// Appends a close frame. The reason is cut at a character to fit; a code that must not travel (such as 1005) is left out.
pub fn emit_close(code: u16, reason: &str, out: &mut Vec<u8>) {
    if !is_close_code(code) {
        return emit_control(Control::Close, &[], out);
    }
    let reason = super::cut(reason, CONTROL_BYTES - 2);
    emit_header(OpCode::Control(Control::Close), 2 + reason.len(), out);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

fn emit_control(kind: Control, payload: &[u8], out: &mut Vec<u8>) {
    let payload = &payload[..payload.len().min(CONTROL_BYTES)];
    emit_header(OpCode::Control(kind), payload.len(), out);
    out.extend_from_slice(payload);
}

fn emit_header(opcode: OpCode, len: usize, out: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let written = header.format(len as u64, out);
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
}

/// Codes that may stand in a close frame: those of RFC 6455 and the registry, of libraries (3xxx), of applications (4xxx).
const fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
