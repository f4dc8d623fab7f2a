//! What waits to be written to one connection: whole frames in order, in one piece of memory, so that a pass needs one write.
//!
//! ```text
//!   bytes  [ sent | rest of frame 0 | frame 1 | frame 2 | … ]     frames: length, class, due instant
//!                 ^ head
//! ```
//!
//! The bound is [`limits::SEND_QUEUE_BYTES`] and [`limits::SEND_QUEUE_FRAMES`]. When a frame does not fit, the oldest *unsent
//! whole* audio frame goes, and the next, until it does; control is never dropped, and a queue full of control is a peer to hang
//! up on. Most connections have nothing to write: they hold no outbox, the shard lends one from its [`Shelf`].

use super::Stream;
use crate::limits;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;
use std::io;

/// Above this much waiting, the connection is not read from: its peer asks for more than it takes.
pub const HIGH_WATER_BYTES: usize = limits::SEND_QUEUE_BYTES / 2;
/// Below this much it is read from again.
pub const LOW_WATER_BYTES: usize = limits::SEND_QUEUE_BYTES / 8;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Messages, pings, close, HTTP: never dropped, never re-ordered.
    Control,
    /// A reply packet: of no use when late.
    Audio,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    len: u32,
    class: Class,
    due: Instant,
}

/// A send queue.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    frames: VecDeque<Frame>,
    /// Bytes at the front of `bytes` that have been written.
    head: usize,
    /// Of those, how many belong to the first frame.
    cut: usize,
    blocked_since: Option<Instant>,
}

/// What a push did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits; this many audio frames were dropped for it.
    Queued(u32),
    /// A reply packet that found only control before it: itself dropped. This many with it, itself included.
    Dropped(u32),
    /// No room, and nothing that may be dropped: the peer takes nothing.
    Full,
}

/// What a write did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Bytes the socket took.
    pub bytes: usize,
    /// Nothing waits any more.
    pub empty: bool,
}

impl Outbox {
    /// Adds a frame whose bytes `write` appends; `due` is when a reply packet should have left.
    pub fn push(&mut self, class: Class, due: Instant, write: impl FnOnce(&mut Vec<u8>)) -> Pushed {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let len = self.bytes.len() - start;
        let mut dropped = 0;
        while self.waiting_bytes() > limits::SEND_QUEUE_BYTES || self.frames.len() + 1 > limits::SEND_QUEUE_FRAMES {
            if self.drop_oldest_audio() {
                dropped += 1;
                continue;
            }
            self.bytes.truncate(self.bytes.len() - len);
            return if class == Class::Audio { Pushed::Dropped(dropped + 1) } else { Pushed::Full };
        }
        self.frames.push_back(Frame { len: len as u32, class, due });
        Pushed::Queued(dropped)
    }

    /// Adds the frame that ends the connection, whatever the bounds say: at most 127 bytes, once.
    pub fn push_last(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let len = (self.bytes.len() - start) as u32;
        self.frames.push_back(Frame { len, class: Class::Control, due: Instant::ZERO });
    }

    /// Drops all audio that has not begun to leave; returns how many frames.
    pub fn drop_audio(&mut self) -> u32 {
        let mut dropped = 0;
        while self.drop_oldest_audio() {
            dropped += 1;
        }
        dropped
    }

    /// Writes once. `on_audio` is told the due instant of each reply packet whose last byte the socket took.
    pub fn flush(
        &mut self,
        now: Instant,
        stream: &mut Stream,
        on_audio: &mut dyn FnMut(Instant),
    ) -> io::Result<Flushed> {
        if self.is_empty() {
            return Ok(Flushed { bytes: 0, empty: true });
        }
        match stream.write(&self.bytes[self.head..]) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                self.advance(n, on_audio);
                self.blocked_since = if self.is_empty() { None } else { Some(now) };
                Ok(Flushed { bytes: n, empty: self.is_empty() })
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.blocked_since.get_or_insert(now);
                Ok(Flushed { bytes: 0, empty: false })
            }
            Err(e) => Err(e),
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.head == self.bytes.len()
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Frames that wait, a half-sent one included.
    pub fn waiting_frames(&self) -> usize {
        self.frames.len()
    }

    /// When the socket must have taken something, or the connection is given up.
    pub fn unwritable_at(&self) -> Option<Instant> {
        self.blocked_since.map(|since| since + limits::UNWRITABLE)
    }

    /// How long the socket has taken nothing.
    pub fn blocked_for(&self, now: Instant) -> Duration {
        self.blocked_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    fn advance(&mut self, n: usize, on_audio: &mut dyn FnMut(Instant)) {
        self.head += n;
        self.cut += n;
        while let Some(first) = self.frames.front().copied() {
            if self.cut < first.len as usize {
                break;
            }
            self.cut -= first.len as usize;
            if first.class == Class::Audio {
                on_audio(first.due);
            }
            self.frames.pop_front();
        }
        if self.is_empty() {
            self.clear();
        } else if self.head >= limits::SEND_QUEUE_BYTES {
            // A peer that is always a little behind must not make us keep what it has.
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }

    /// Takes the oldest audio frame out of the middle, unless a part of it has left: a WebSocket frame is sent whole.
    fn drop_oldest_audio(&mut self) -> bool {
        let mut at = self.head;
        for i in 0..self.frames.len() {
            let frame = self.frames[i];
            let begun = if i == 0 { self.cut } else { 0 };
            let left = frame.len as usize - begun;
            if frame.class == Class::Audio && begun == 0 {
                self.bytes.drain(at..at + left);
                self.frames.remove(i);
                return true;
            }
            at += left;
        }
        false
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
        self.head = 0;
        self.cut = 0;
    }
}

/// Spare outboxes of a shard, so that a connection with nothing to write holds none and one that writes allocates none.
#[derive(Debug, Default)]
// Boxed because they move between here and a connection: a pointer, not 80 bytes.
#[allow(clippy::vec_box)]
pub struct Shelf {
    spare: Vec<Box<Outbox>>,
}

/// Spare outboxes kept: what a shard of devices all speaking at once uses within one pass.
const SPARE: usize = 512;
/// Memory a spare outbox may keep; beyond, it is given back to the system.
const SPARE_BYTES: usize = 8 * 1024;

impl Shelf {
    /// Lends an empty one.
    pub fn take(&mut self) -> Box<Outbox> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes one back, whatever is in it.
    pub fn give_back(&mut self, mut outbox: Box<Outbox>) {
        if self.spare.len() >= SPARE || outbox.bytes.capacity() > SPARE_BYTES {
            return;
        }
        outbox.clear();
        outbox.blocked_since = None;
        self.spare.push(outbox);
    }
}

#[cfg(test)]
mod tests;
