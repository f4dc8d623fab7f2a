//! When does who want to be called? Two heaps: due reply packets, which go before all new work, and everything else.
//!
//! Each connection has at most one entry in each heap, and a heap knows where an entry stands, so a deadline is moved or
//! withdrawn in place: nothing stale is ever kept, and the size is bounded by the connections.

use crate::time::Instant;

/// A heap of deadlines, at most one for each slot.
#[derive(Debug, Default)]
pub struct Deadlines {
    heap: Vec<(Instant, u32)>,
    /// Where a slot's entry stands in `heap`, or [`NOWHERE`].
    places: Vec<u32>,
}

const NOWHERE: u32 = u32::MAX;

impl Deadlines {
    /// Sets, moves or ([`Instant::NEVER`]) withdraws the deadline of a slot.
    pub fn set(&mut self, slot: u32, at: Instant) {
        let place = self.places.get(slot as usize).copied().unwrap_or(NOWHERE);
        match (place, at) {
            (NOWHERE, Instant::NEVER) => {}
            (NOWHERE, _) => {
                if self.places.len() <= slot as usize {
                    self.places.resize(slot as usize + 1, NOWHERE);
                }
                self.heap.push((at, slot));
                self.rise(self.heap.len() - 1);
            }
            (place, Instant::NEVER) => self.take_out(place as usize),
            (place, _) => {
                let place = place as usize;
                let before = std::mem::replace(&mut self.heap[place].0, at);
                if at < before { self.rise(place) } else { self.sink(place) }
            }
        }
    }

    /// The earliest deadline; [`Instant::NEVER`] if there is none.
    pub fn next(&self) -> Instant {
        self.heap.first().map_or(Instant::NEVER, |first| first.0)
    }

    /// Takes out a slot whose deadline has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let (at, slot) = *self.heap.first()?;
        if at > now {
            return None;
        }
        self.take_out(0);
        Some(slot)
    }

    /// A slot's deadline.
    pub fn of(&self, slot: u32) -> Instant {
        let place = self.places.get(slot as usize).copied().unwrap_or(NOWHERE);
        self.heap.get(place as usize).map_or(Instant::NEVER, |entry| entry.0)
    }

    fn take_out(&mut self, place: usize) {
        let (_, slot) = self.heap.swap_remove(place);
        self.places[slot as usize] = NOWHERE;
        if place < self.heap.len() {
            // What came from the end may belong above or below.
            self.places[self.heap[place].1 as usize] = place as u32;
            self.rise(place);
            self.sink(place);
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
                break;
            }
            self.swap(place, parent);
            place = parent;
        }
        self.places[self.heap[place].1 as usize] = place as u32;
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut least = place;
            for child in [left, right] {
                if child < self.heap.len() && self.heap[child].0 < self.heap[least].0 {
                    least = child;
                }
            }
            if least == place {
                break;
            }
            self.swap(place, least);
            place = least;
        }
        self.places[self.heap[place].1 as usize] = place as u32;
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.places[self.heap[a].1 as usize] = a as u32;
        self.places[self.heap[b].1 as usize] = b as u32;
    }
}

/// The two heaps of a shard.
#[derive(Debug, Default)]
pub struct Timers {
    /// Reply packets.
    pub frames: Deadlines,
    /// Hello, turn budgets, silence, housekeeping.
    pub rest: Deadlines,
}

impl Timers {
    /// When the shard must be awake.
    pub fn next_deadline(&self) -> Instant {
        self.frames.next().min(self.rest.next())
    }

    /// Withdraws both deadlines of a slot.
    pub fn forget(&mut self, slot: u32) {
        self.frames.set(slot, Instant::NEVER);
        self.rest.set(slot, Instant::NEVER);
    }
}

/// The whole second at or after `at`: what need not be punctual happens together, in one wake-up for all connections.
pub fn on_the_second(at: Instant) -> Instant {
    if at == Instant::NEVER { at } else { Instant::from_us(at.as_us().div_ceil(1_000_000).saturating_mul(1_000_000)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_moved_deadline_leaves_nothing_behind() {
        let mut d = Deadlines::default();
        d.set(7, Instant::from_ms(10));
        d.set(7, Instant::from_ms(30));
        d.set(3, Instant::from_ms(20));
        assert_eq!(d.pop_due(Instant::from_ms(25)), Some(3));
        assert_eq!(d.pop_due(Instant::from_ms(25)), None);
        assert_eq!(d.next(), Instant::from_ms(30));
        d.set(7, Instant::NEVER);
        assert_eq!(d.next(), Instant::NEVER);
    }

    #[test]
    fn lazy_things_happen_on_the_second() {
        assert_eq!(on_the_second(Instant::from_ms(1_001)), Instant::from_ms(2_000));
        assert_eq!(on_the_second(Instant::from_ms(2_000)), Instant::from_ms(2_000));
        assert_eq!(on_the_second(Instant::NEVER), Instant::NEVER);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn it_gives_what_a_sorted_map_gives(steps in prop::collection::vec((0u32..40, 0u64..100), 1..300)) {
            let (mut d, mut model) = (Deadlines::default(), BTreeMap::new());
            for (slot, ms) in steps {
                if ms < 10 {
                    d.set(slot, Instant::NEVER);
                    model.remove(&slot);
                } else if ms > 95 {
                    let due = d.pop_due(Instant::from_ms(50));
                    let least = model.values().copied().min().filter(|at| *at <= Instant::from_ms(50));
                    prop_assert_eq!(due.and_then(|slot| model.remove(&slot)), least);
                } else {
                    d.set(slot, Instant::from_ms(ms));
                    model.insert(slot, Instant::from_ms(ms));
                }
                prop_assert_eq!(d.next(), model.values().copied().min().unwrap_or(Instant::NEVER));
            }
            prop_assert!((0..40).all(|s| d.of(s) == model.get(&s).copied().unwrap_or(Instant::NEVER)));
        }
    }
}
