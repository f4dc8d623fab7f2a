//! How many calls a provider is given at once, and whether waiting for a place is worth it.
//!
//! Who would still be waiting when his answer is of no use any more is told so at once: "busy" now is worth more than silence
//! first. What is ahead is reckoned from how long calls have been taking.

use crate::time::Duration;

/// The places of one provider.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// 0: as many as come.
    places: u32,
    inside: u32,
    waiting: u32,
    /// How long a call holds its place; moves an eighth towards each new one.
    mean: Duration,
}

/// What becomes of who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// He has a place.
    In,
    /// He waits.
    Wait,
    /// Waiting would take too long.
    Busy,
}

impl Crowd {
    /// With so many places; 0 is no limit.
    pub fn new(places: u32) -> Crowd {
        Crowd { places, inside: 0, waiting: 0, mean: Duration::ZERO }
    }

    /// Somebody comes whose answer is of use for another `left`. In is followed by one [`Crowd::leave`], Wait by
    /// [`Crowd::try_again`] until that says yes or by one [`Crowd::give_up`].
    pub fn enter(&mut self, left: Duration) -> Entry {
        if self.places == 0 || (self.inside < self.places && self.waiting == 0) {
            self.inside += 1;
            return Entry::In;
        }
        // Places become free one after the other, `places` of them in the time of one call.
        if self.mean * (self.waiting + 1) / self.places >= left {
            return Entry::Busy;
        }
        self.waiting += 1;
        Entry::Wait
    }

    /// Whether the room is full, for who would rather go elsewhere.
    pub fn is_full(&self) -> bool {
        self.places > 0 && (self.inside >= self.places || self.waiting > 0)
    }

    /// Somebody who waits asks again.
    pub fn try_again(&mut self) -> bool {
        let is_free = self.inside < self.places;
        if is_free {
            self.waiting -= 1;
            self.inside += 1;
        }
        is_free
    }

    /// Somebody who waits goes.
    pub fn give_up(&mut self) {
        self.waiting -= 1;
    }

    /// Somebody who has a place does not need it after all.
    pub fn undo(&mut self) {
        self.inside -= 1;
    }

    /// A call is over that took so long.
    pub fn leave(&mut self, took: Duration) {
        self.inside -= 1;
        self.mean = if self.mean.is_zero() { took } else { self.mean * 7 / 8 + took / 8 };
    }

    /// Calls under way, and those that wait.
    pub fn count(&self) -> (u32, u32) {
        (self.inside, self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    #[test]
    fn without_a_limit_everybody_has_a_place() {
        let mut crowd = Crowd::new(0);
        assert!((0..10_000).all(|_| crowd.enter(Duration::ZERO) == Entry::In));
        assert!(!crowd.is_full());
    }

    #[test]
    fn who_finds_no_place_waits_and_none_passes_him() {
        let mut crowd = Crowd::new(2);
        let came: Vec<Entry> = (0..3).map(|_| crowd.enter(LONG)).collect();
        assert_eq!(came, [Entry::In, Entry::In, Entry::Wait]);
        assert!(!crowd.try_again());
        crowd.leave(Duration::from_secs(1));
        assert_eq!(crowd.enter(LONG), Entry::Wait, "the place is his who waited");
        assert!(crowd.try_again());
        assert!(!crowd.try_again());
        crowd.give_up();
        assert_eq!(crowd.count(), (2, 0));
    }

    #[test]
    fn who_would_wait_too_long_is_told_at_once() {
        let mut crowd = Crowd::new(2);
        assert_eq!([crowd.enter(LONG), crowd.enter(LONG)], [Entry::In, Entry::In]);
        crowd.leave(Duration::from_secs(4));
        assert_eq!(crowd.enter(LONG), Entry::In);
        // A call takes 4 s and there are two places: one becomes free every 2 s.
        assert_eq!(crowd.enter(Duration::from_secs(2)), Entry::Busy);
        assert_eq!([crowd.enter(LONG), crowd.enter(LONG), crowd.enter(LONG)], [Entry::Wait, Entry::Wait, Entry::Busy]);
        assert_eq!(crowd.count(), (2, 2));
    }
}
