//! Bytes to values and back, without I/O: the request head, the WebSocket, the audio packet's framing, the JSON messages.
//!
//! Everything here takes bytes that anybody may have sent: it refuses, it never panics, and it holds no more memory than
//! `limits` says. Only this room knows the JSON names of the device protocol. Neighbours: `shard` calls it; `session` speaks
//! in its [`message`] values.

pub mod http;
pub mod message;
pub mod ota;
pub mod packet;
pub mod token;
pub mod upgrade;
pub mod websocket;
