//! What was read and is not handled yet: audio, and messages that must not overtake it.
//!
//! Reading is cheap and decoding is not, so a pass first reads everybody (control, which is acted on at once: abort, goodbye,
//! close, ping) and then works on this list, in order, while it looks at the frame timer between two packets. Bounded by
//! [`limits::BACKLOG_ITEMS`] and [`limits::BACKLOG_BYTES`]; when it is full, sockets are left unread.

use super::slots::Key;
use crate::limits;
use crate::wire::message::ClientMessage;
use std::collections::VecDeque;

/// One thing to handle.
#[derive(Debug)]
pub enum Item {
    /// An audio packet; its bytes were copied to where [`Backlog::pop`] was told.
    Packet,
    /// A binary message that holds no packet.
    BadFrame,
    /// A message.
    Message(ClientMessage),
}

/// The list.
#[derive(Debug, Default)]
pub struct Backlog {
    entries: VecDeque<Entry>,
    /// Bytes of the packets, in the entries' order; those before `head` are used up.
    bytes: Vec<u8>,
    head: usize,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    what: What,
}

#[derive(Debug)]
enum What {
    Packet(u32),
    BadFrame,
    Message(ClientMessage),
}

impl Backlog {
    /// Whether sockets are to be left unread. There is room for one more read even then.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= limits::BACKLOG_ITEMS || self.bytes.len() - self.head >= limits::BACKLOG_BYTES
    }

    /// How much waits.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a packet.
    pub fn push_packet(&mut self, key: Key, packet: &[u8]) {
        self.bytes.extend_from_slice(packet);
        self.entries.push_back(Entry { key, what: What::Packet(packet.len() as u32) });
    }

    /// Adds a binary message that holds no packet: bad ones are counted in a row, so it keeps its place among the good.
    pub fn push_bad_frame(&mut self, key: Key) {
        self.entries.push_back(Entry { key, what: What::BadFrame });
    }

    /// Adds a message.
    pub fn push_message(&mut self, key: Key, message: ClientMessage) {
        self.entries.push_back(Entry { key, what: What::Message(message) });
    }

    /// Takes the oldest; a packet's bytes replace what is in `packet`.
    pub fn pop(&mut self, packet: &mut Vec<u8>) -> Option<(Key, Item)> {
        let Entry { key, what } = self.entries.pop_front()?;
        let item = match what {
            What::Message(message) => Item::Message(message),
            What::BadFrame => Item::BadFrame,
            What::Packet(len) => {
                let end = self.head + len as usize;
                packet.clear();
                packet.extend_from_slice(&self.bytes[self.head..end]);
                self.head = end;
                Item::Packet
            }
        };
        if self.entries.is_empty() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head >= limits::BACKLOG_BYTES / 2 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        Some((key, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key = Key { slot: 1, generation: 0 };

    #[test]
    fn order_and_bytes_are_kept() {
        let mut backlog = Backlog::default();
        let mut packet = Vec::new();
        for round in 0..3_000u32 {
            backlog.push_packet(A, &vec![round as u8; 900]);
            backlog.push_message(A, ClientMessage::Ping);
            if round > 5 {
                assert!(matches!(backlog.pop(&mut packet), Some((A, Item::Packet))));
                assert_eq!(packet, vec![(round - 6) as u8; 900]);
                assert!(matches!(backlog.pop(&mut packet), Some((A, Item::Message(ClientMessage::Ping)))));
            }
        }
        assert_eq!(backlog.len(), 12);
        assert!(backlog.bytes.len() < limits::BACKLOG_BYTES);
    }

    #[test]
    fn it_says_when_it_is_full() {
        let mut backlog = Backlog::default();
        while !backlog.is_full() {
            backlog.push_packet(A, &[0; 4_000]);
        }
        assert!(backlog.bytes.len() < limits::BACKLOG_BYTES + 4_000);
        let mut packet = Vec::new();
        backlog.pop(&mut packet);
        assert!(!backlog.is_full());
    }
}
