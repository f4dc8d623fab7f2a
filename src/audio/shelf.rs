//! Packets kept as they came, because most need never be decoded: while nobody speaks those that their own encoder found to be
//! quiet, and in an ear that passes packets on all of the last moments.

use std::collections::VecDeque;
use std::ops::Range;

/// Packets kept: the longest pre-roll and onset, 3 s, of packets of 60 ms.
const PACKETS_MAX: usize = 50;

/// The newest packets. Its memory is that of its bounds, from the start.
#[derive(Debug)]
pub struct Shelf {
    bytes: VecDeque<u8>,
    /// Length in bytes and in samples of each, oldest first.
    packets: VecDeque<(u16, u16)>,
    samples: u32,
    /// Samples that are enough: older packets give way.
    enough: u32,
    bytes_max: usize,
    /// How many of the newest have not been decoded.
    unheard: usize,
}

impl Shelf {
    /// One that keeps at least the newest `enough` samples, if `bytes_max` and `PACKETS_MAX` allow.
    pub fn new(enough: u32, bytes_max: usize) -> Shelf {
        Shelf {
            bytes: VecDeque::with_capacity(bytes_max),
            packets: VecDeque::with_capacity(PACKETS_MAX),
            samples: 0,
            enough,
            bytes_max,
            unheard: 0,
        }
    }

    /// Keeps a packet of so many samples; `false` if it is too large for that.
    pub fn push(&mut self, packet: &[u8], samples: u16) -> bool {
        if packet.len() > self.bytes_max / 4 {
            return false;
        }
        while self.packets.len() == PACKETS_MAX || self.bytes.len() + packet.len() > self.bytes_max {
            self.drop_oldest();
        }
        self.bytes.extend(packet);
        self.packets.push_back((packet.len() as u16, samples));
        self.samples += u32::from(samples);
        self.unheard += 1;
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
        self.unheard = self.unheard.min(self.packets.len());
        true
    }

    /// Puts the `nth` oldest packet into `packet`, which becomes empty if there is none.
    pub fn read(&self, nth: usize, packet: &mut Vec<u8>) {
        packet.clear();
        let Some((len, _)) = self.packets.get(nth) else { return };
        let at: usize = self.packets.iter().take(nth).map(|(len, _)| usize::from(*len)).sum();
        packet.extend(self.bytes.range(at..at + usize::from(*len)));
    }

    /// Which of the newest packets have at least so many samples together, or all.
    pub fn newest(&self, samples: u32) -> Range<usize> {
        let all = self.packets.len();
        let (mut count, mut sum) = (0, 0);
        while count < all && sum < samples {
            count += 1;
            sum += u32::from(self.packets[all - count].1);
        }
        all - count..all
    }

    /// Which packets have not been decoded.
    pub fn unheard(&self) -> Range<usize> {
        self.packets.len() - self.unheard..self.packets.len()
    }

    /// All that it keeps has been decoded, or need not be any more.
    pub fn mark_heard(&mut self) {
        self.unheard = 0;
    }

    /// Samples of a packet.
    pub fn samples_of(&self, nth: usize) -> u32 {
        self.packets.get(nth).map_or(0, |(_, samples)| u32::from(*samples))
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
        self.unheard = 0;
    }

    fn drop_oldest(&mut self) {
        if let Some((len, samples)) = self.packets.pop_front() {
            self.bytes.drain(..usize::from(len));
            self.samples -= u32::from(samples);
            self.unheard = self.unheard.min(self.packets.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 2_048;

    fn contents(shelf: &mut Shelf) -> Vec<Vec<u8>> {
        let (mut all, mut packet) = (Vec::new(), Vec::new());
        while shelf.pop(&mut packet) {
            all.push(packet.clone());
        }
        all
    }

    #[test]
    fn the_newest_are_kept_and_come_in_order() {
        let mut shelf = Shelf::new(2_000, BYTES_MAX);
        assert!((0..9_u8).all(|n| shelf.push(&vec![n; usize::from(n) + 1], 960)));
        assert_eq!(contents(&mut shelf), [vec![6; 7], vec![7; 8], vec![8; 9]]);
        assert!(shelf.is_empty() && shelf.samples == 0 && shelf.bytes.is_empty());
    }

    #[test]
    fn its_bounds_hold_whatever_comes() {
        let mut shelf = Shelf::new(u32::MAX, BYTES_MAX);
        assert!(!shelf.push(&[0; BYTES_MAX / 4 + 1], 960));
        for n in 0..500_u16 {
            assert!(shelf.push(&vec![1; usize::from(n) % 500], 320));
            assert!(shelf.bytes.len() <= BYTES_MAX && shelf.packets.len() <= PACKETS_MAX);
        }
        shelf.clear();
        assert_eq!(contents(&mut shelf), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn it_knows_what_was_not_decoded_and_where_each_packet_is() {
        let mut shelf = Shelf::new(5_000, BYTES_MAX);
        (0..3_u8).for_each(|n| assert!(shelf.push(&vec![n; usize::from(n) + 1], 960)));
        assert_eq!(shelf.unheard(), 0..3);
        shelf.mark_heard();
        (3..7_u8).for_each(|n| assert!(shelf.push(&vec![n; usize::from(n) + 1], 960)));
        // Six are kept: number 1 is the oldest.
        assert_eq!((shelf.unheard(), shelf.newest(961), shelf.newest(99_999)), (2..6, 4..6, 0..6));
        let mut packet = Vec::new();
        shelf.read(2, &mut packet);
        assert_eq!((packet.as_slice(), shelf.samples_of(2)), ([3; 4].as_slice(), 960));
        shelf.read(6, &mut packet);
        assert!(packet.is_empty() && shelf.samples_of(6) == 0);
        shelf.clear();
        assert_eq!((shelf.unheard(), shelf.newest(1)), (0..0, 0..0));
    }
}
