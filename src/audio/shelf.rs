//! Packets that their own encoder found to be quiet, kept as they came: while nobody speaks, most need never be decoded.

use std::collections::VecDeque;

/// Bytes kept: quiet packets have 10 to 80, and a pre-roll of 400 ms is seven of 60 ms.
const BYTES_MAX: usize = 2_048;
/// Packets kept: the longest pre-roll and onset, 3 s, of packets of 60 ms.
const PACKETS_MAX: usize = 50;

/// The newest quiet packets. Its memory is that of its bounds, from the start.
#[derive(Debug)]
pub struct Shelf {
    bytes: VecDeque<u8>,
    /// Length in bytes and in samples of each, oldest first.
    packets: VecDeque<(u16, u16)>,
    samples: u32,
    /// Samples that are enough: older packets give way.
    enough: u32,
}

impl Shelf {
    /// One that keeps at least the newest `enough` samples, if its bounds allow.
    pub fn new(enough: u32) -> Shelf {
        Shelf {
            bytes: VecDeque::with_capacity(BYTES_MAX),
            packets: VecDeque::with_capacity(PACKETS_MAX),
            samples: 0,
            enough,
        }
    }

    /// Keeps a packet of so many samples; `false` if it is too large for that.
    pub fn push(&mut self, packet: &[u8], samples: u16) -> bool {
        if packet.len() > BYTES_MAX / 4 {
            return false;
        }
        while self.packets.len() == PACKETS_MAX || self.bytes.len() + packet.len() > BYTES_MAX {
            self.drop_oldest();
        }
        self.bytes.extend(packet);
        self.packets.push_back((packet.len() as u16, samples));
        self.samples += u32::from(samples);
        while let Some((_, oldest)) = self.packets.front()
            && self.samples - u32::from(*oldest) >= self.enough
        {
            self.drop_oldest();
        }
        true
    }

    /// Takes the oldest packet off, into `packet`; `false` when there is none.
    pub fn pop(&mut self, packet: &mut Vec<u8>) -> bool {
        let Some((len, samples)) = self.packets.pop_front() else { return false };
        packet.clear();
        packet.extend(self.bytes.drain(..usize::from(len)));
        self.samples -= u32::from(samples);
        true
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
        self.samples = 0;
    }

    fn drop_oldest(&mut self) {
        if let Some((len, samples)) = self.packets.pop_front() {
            self.bytes.drain(..usize::from(len));
            self.samples -= u32::from(samples);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(shelf: &mut Shelf) -> Vec<Vec<u8>> {
        let (mut all, mut packet) = (Vec::new(), Vec::new());
        while shelf.pop(&mut packet) {
            all.push(packet.clone());
        }
        all
    }

    #[test]
    fn the_newest_are_kept_and_come_in_order() {
        let mut shelf = Shelf::new(2_000);
        assert!((0..9_u8).all(|n| shelf.push(&vec![n; usize::from(n) + 1], 960)));
        assert_eq!(contents(&mut shelf), [vec![6; 7], vec![7; 8], vec![8; 9]]);
        assert!(shelf.is_empty() && shelf.samples == 0 && shelf.bytes.is_empty());
    }

    #[test]
    fn its_bounds_hold_whatever_comes() {
        let mut shelf = Shelf::new(u32::MAX);
        assert!(!shelf.push(&[0; BYTES_MAX / 4 + 1], 960));
        for n in 0..500_u16 {
            assert!(shelf.push(&vec![1; usize::from(n) % 500], 320));
            assert!(shelf.bytes.len() <= BYTES_MAX && shelf.packets.len() <= PACKETS_MAX);
        }
        shelf.clear();
        assert_eq!(contents(&mut shelf), Vec::<Vec<u8>>::new());
    }
}
