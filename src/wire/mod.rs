//! Bytes to values and back, without I/O: the request head, the WebSocket, the audio packet's framing, the JSON messages.
//!
//! Everything here takes bytes that anybody may have sent: it refuses, it never panics, and it holds no more memory than
//! `limits` says. Only this room knows the JSON names of the device protocol. Neighbours: `shard` calls it; `session` speaks
//! in its [`message`] values.

pub mod http;
pub mod identity;
mod json;
pub mod message;
pub mod ota;
pub mod packet;
pub mod token;
pub mod upgrade;
pub mod websocket;

/// The longest start of `text` that fits into `bytes` and ends at a character.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
