//! Places for connections, each with a generation, so that a name from yesterday cannot reach today's guest.
//!
//! Memory grows by whole chunks that never move: no doubling, no copy of ten thousand connections in the middle of a pass.

/// Places in a chunk: at about 300 bytes each, some 40 KiB at a time.
const CHUNK: usize = 128;

/// Which connection: a place, and how often it had been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The place.
    pub slot: u32,
    /// How often it had been given up before.
    pub generation: u32,
}

impl Key {
    /// Both in one word, for the reactor.
    pub const fn token(self) -> usize {
        (self.generation as usize) << 32 | self.slot as usize
    }

    /// The way back.
    pub const fn of_token(token: usize) -> Key {
        Key { slot: token as u32, generation: (token >> 32) as u32 }
    }
}

struct Place<T> {
    generation: u32,
    /// Next free place; meaningful while empty.
    next_free: u32,
    guest: Option<T>,
}

const NONE: u32 = u32::MAX;

/// The slab.
pub struct Slots<T> {
    chunks: Vec<Box<[Place<T>]>>,
    first_free: u32,
    taken: usize,
    most: usize,
}

impl<T> Slots<T> {
    /// Room for at most `most` guests; memory comes as they do.
    pub fn new(most: usize) -> Slots<T> {
        Slots { chunks: Vec::new(), first_free: NONE, taken: 0, most: most.min(NONE as usize - 1) }
    }

    /// Room for another number of guests; who is here may stay.
    pub fn set_most(&mut self, most: usize) {
        self.most = most.min(NONE as usize - 1);
    }

    /// Gives a place to what `make` makes of its key; `None` when all are taken.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Option<Key> {
        if self.taken >= self.most {
            return None;
        }
        if self.first_free == NONE {
            self.grow();
        }
        let slot = self.first_free;
        let place = &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK];
        let key = Key { slot, generation: place.generation };
        self.first_free = place.next_free;
        place.guest = Some(make(key));
        self.taken += 1;
        Some(key)
    }

    /// The guest of that name, if it is still here.
    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.chunks.get(key.slot as usize / CHUNK)?.get(key.slot as usize % CHUNK)?;
        if place.generation == key.generation { place.guest.as_ref() } else { None }
    }

    /// Likewise.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.chunks.get_mut(key.slot as usize / CHUNK)?.get_mut(key.slot as usize % CHUNK)?;
        if place.generation == key.generation { place.guest.as_mut() } else { None }
    }

    /// Sees a guest out; its key is dead from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.chunks.get_mut(key.slot as usize / CHUNK)?.get_mut(key.slot as usize % CHUNK)?;
        if place.generation != key.generation {
            return None;
        }
        let guest = place.guest.take()?;
        place.generation = place.generation.wrapping_add(1);
        place.next_free = self.first_free;
        self.first_free = key.slot;
        self.taken -= 1;
        Some(guest)
    }

    /// The key of whoever is in that place now.
    pub fn key_at(&self, slot: u32) -> Option<Key> {
        let place = self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)?;
        place.guest.as_ref().map(|_| Key { slot, generation: place.generation })
    }

    /// Everyone's key. For the rare days when all are spoken to.
    pub fn keys(&self) -> Vec<Key> {
        (0..(self.chunks.len() * CHUNK) as u32).filter_map(|slot| self.key_at(slot)).collect()
    }

    /// How many places there are, taken or not: a bound for [`Slots::key_at`].
    pub fn places(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// How many are here.
    pub fn len(&self) -> usize {
        self.taken
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    fn grow(&mut self) {
        let base = (self.chunks.len() * CHUNK) as u32;
        let place = |i: u32| Place {
            generation: 0,
            next_free: if i + 1 < CHUNK as u32 { base + i + 1 } else { NONE },
            guest: None,
        };
        self.chunks.push((0..CHUNK as u32).map(place).collect());
        self.first_free = base;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn an_old_name_reaches_nobody() {
        let mut slots = Slots::new(2);
        let a = slots.insert_with(|_| "a").unwrap();
        slots.remove(a);
        let b = slots.insert_with(|_| "b").unwrap();
        assert_eq!(a.slot, b.slot);
        assert_eq!((slots.get(a), slots.get(b)), (None, Some(&"b")));
        assert_eq!(slots.remove(a), None);
        assert_eq!(Key::of_token(b.token()), b);
    }

    #[test]
    fn a_full_house_says_so() {
        let mut slots = Slots::new(1);
        assert!(slots.insert_with(|_| ()).is_some());
        assert!(slots.insert_with(|_| ()).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a plain map: whoever is in is found by its key and by no other.
        #[test]
        fn it_behaves_like_a_map(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..600)) {
            let (mut slots, mut model, mut dead) = (Slots::new(300), HashMap::new(), Vec::new());
            for (n, (add, index)) in steps.into_iter().enumerate() {
                if add || model.is_empty() {
                    if let Some(key) = slots.insert_with(|_| n) {
                        prop_assert!(model.insert(key, n).is_none());
                    }
                } else {
                    let key = *index.get(&model.keys().copied().collect::<Vec<_>>());
                    prop_assert_eq!(slots.remove(key), model.remove(&key));
                    dead.push(key);
                }
                prop_assert_eq!(slots.len(), model.len());
            }
            prop_assert!(model.iter().all(|(key, n)| slots.get(*key) == Some(n)));
            prop_assert!(dead.iter().all(|key| slots.get(*key).is_none()));
            prop_assert_eq!(slots.keys().len(), model.len());
        }
    }
}
