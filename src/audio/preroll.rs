//! The last moments before we believe that somebody speaks: a ring of samples, so that the first syllable survives.

/// A ring of the newest samples. Its memory is that of its capacity, from the start.
#[derive(Clone, Debug)]
pub struct Preroll {
    ring: Box<[i16]>,
    /// Where the next sample goes.
    next: usize,
    len: usize,
}

impl Preroll {
    /// A ring that keeps the newest `capacity` samples; 0 keeps none.
    pub fn new(capacity: usize) -> Preroll {
        Preroll { ring: vec![0; capacity].into_boxed_slice(), next: 0, len: 0 }
    }

    /// Takes samples; the oldest give way.
    pub fn push(&mut self, pcm: &[i16]) {
        let capacity = self.ring.len();
        let newest = &pcm[pcm.len().saturating_sub(capacity)..];
        let first = newest.len().min(capacity - self.next);
        let (now, wrapped) = newest.split_at(first);
        self.ring[self.next..self.next + first].copy_from_slice(now);
        self.ring[..wrapped.len()].copy_from_slice(wrapped);
        self.next = if capacity == 0 { 0 } else { (self.next + newest.len()) % capacity };
        self.len = (self.len + newest.len()).min(capacity);
    }

    /// The newest samples, at most `count`, oldest first, in two pieces.
    pub fn newest(&self, count: usize) -> (&[i16], &[i16]) {
        let count = count.min(self.len);
        if count <= self.next {
            return (&self.ring[self.next - count..self.next], &[]);
        }
        let wrapped = count - self.next;
        (&self.ring[self.ring.len() - wrapped..], &self.ring[..self.next])
    }

    /// How many samples are kept.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.next = 0;
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn the_newest_samples_in_order(capacity in 0_usize..50, pieces in prop::collection::vec(0_usize..70, 0..20), count in 0_usize..80) {
            let mut preroll = Preroll::new(capacity);
            let mut all: Vec<i16> = Vec::new();
            for len in pieces {
                let piece: Vec<i16> = (0..len).map(|n| (all.len() + n) as i16).collect();
                preroll.push(&piece);
                all.extend(piece);
            }
            let (a, b) = preroll.newest(count);
            let expected = &all[all.len() - count.min(capacity).min(all.len())..];
            prop_assert_eq!([a, b].concat(), expected);
            prop_assert_eq!(preroll.len(), all.len().min(capacity));
            preroll.clear();
            prop_assert!(preroll.is_empty() && preroll.newest(9) == (&[][..], &[][..]));
        }
    }
}
