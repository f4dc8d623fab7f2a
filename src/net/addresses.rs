//! How many connections an address has, over all shards: a table of counters that shards share without a lock.
//!
//! A cell holds 40 bits of the address's keyed hash and a count of 24. An address looks at `PROBES` neighbouring cells; where
//! all are taken it goes uncounted and is let in: the cap is a defence, not a law, and it fails open.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Cells: 16,384 addresses at once, 128 KiB.
const CELLS: usize = 16_384;
const PROBES: usize = 8;
const COUNT: u64 = (1 << 24) - 1;

/// The shared table.
pub struct AddressBook {
    cells: Box<[AtomicU64]>,
    /// Zero is no cap: nothing is counted.
    most: u64,
    hash: RandomState,
}

/// An address's place at the table; given back when the connection ends. Zero is "uncounted".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// Nothing was counted.
    pub const NONE: Place = Place(u32::MAX);
}

impl AddressBook {
    /// A table that allows `most` connections for each address; 0 is no limit and needs no memory.
    pub fn new(most: usize) -> AddressBook {
        let cells = if most == 0 { 0 } else { CELLS };
        AddressBook {
            cells: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            most: most as u64,
            hash: RandomState::new(),
        }
    }

    /// Counts a connection in; `None` if the address has as many as it may.
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        if self.most == 0 {
            return Some(Place::NONE);
        }
        let hash = self.hash.hash_one(block(address));
        let tag = (hash >> 24).max(1) << 24;
        let first = hash as usize % CELLS;
        for at in (first..first + PROBES).map(|i| i % CELLS) {
            let mut seen = self.cells[at].load(Relaxed);
            // A cell is ours if it has our tag, free if its count is zero.
            while seen & !COUNT == tag || seen & COUNT == 0 {
                let count = if seen & !COUNT == tag { seen & COUNT } else { 0 };
                if count >= self.most.min(COUNT - 1) {
                    return None;
                }
                match self.cells[at].compare_exchange_weak(seen, tag | (count + 1), Relaxed, Relaxed) {
                    Ok(_) => return Some(Place(at as u32)),
                    Err(now) => seen = now,
                }
            }
        }
        Some(Place::NONE)
    }

    /// Counts a connection out.
    pub fn leave(&self, place: Place) {
        if let Some(cell) = self.cells.get(place.0 as usize) {
            // The connection that leaves kept the count above zero, so the cell is still its own.
            cell.fetch_sub(1, Relaxed);
        }
    }
}

/// Who counts as one: an IPv4 address, or the /64 that an IPv6 subscriber gets.
fn block(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let book = AddressBook::new(2);
        let first = book.enter(v4(1)).unwrap();
        assert!(book.enter(v4(1)).is_some());
        assert!(book.enter(v4(1)).is_none());
        assert!(book.enter(v4(2)).is_some());
        book.leave(first);
        assert!(book.enter(v4(1)).is_some());
        assert!(book.enter(v4(1)).is_none());
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_block_and_mapped_ipv4_is_ipv4() {
        let book = AddressBook::new(1);
        assert!(book.enter("2001:db8::1".parse().unwrap()).is_some());
        assert!(book.enter("2001:db8::2".parse().unwrap()).is_none());
        assert!(book.enter(v4(1)).is_some());
        assert!(book.enter("::ffff:10.0.0.1".parse().unwrap()).is_none());
    }

    #[test]
    fn without_a_cap_nothing_is_counted() {
        let book = AddressBook::new(0);
        for _ in 0..100 {
            let place = book.enter(v4(1)).unwrap();
            assert_eq!(place, Place::NONE);
            book.leave(place);
        }
    }
}
