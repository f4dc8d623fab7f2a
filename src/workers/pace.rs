//! How long one recognition takes here, and who in a queue will therefore not be understood in time.
//!
//! Ten people who talk at once to one core are not all answered within their deadlines, whatever the order. Whoever cannot be is
//! told at once: that takes nothing from those before him, and he may try again while a queue that only grew would have failed
//! everybody.

use crate::time::{Duration, Instant};

/// The usual time of one recognition, as a moving average.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    usual: Duration,
}

impl Pace {
    /// Before anything was measured, an eighth of the budget: short, for nobody is to be sent away on a guess that is too long.
    pub fn new(budget: Duration) -> Pace {
        Pace { usual: budget / 8 }
    }

    /// The usual time of one.
    pub fn usual(self) -> Duration {
        self.usual
    }

    /// Learns what one took. One that was given up (taken back, or out of time) would have taken longer: it counts only if it
    /// tells of more than we knew.
    pub fn learn(&mut self, took: Duration, is_whole: bool) {
        // A quarter of each: one long utterance does not send the next people away, four slow ones in a row do.
        if is_whole || took > self.usual {
            self.usual = (self.usual * 3 + took) / 4;
        }
    }

    /// Whether an utterance that must be recognised by `by` can be, when `before` others are recognised first and the first of
    /// all begins now. With nobody before it, always: it costs nobody anything to try, and trying is how an average that has
    /// become too long is corrected.
    pub fn is_in_time(self, before: u32, now: Instant, by: Instant) -> bool {
        before == 0 || self.usual.saturating_mul(before + 1) <= by.until(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_secs(8);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A pace after many recognitions of that length.
    fn settled(each: Duration) -> Pace {
        let mut pace = Pace::new(BUDGET);
        (0..40).for_each(|_| pace.learn(each, true));
        pace
    }

    /// How many of so many that must be done by `by` are kept, in the order of the queue.
    fn kept(pace: Pace, waiting: u32, by: Duration) -> u32 {
        let by = Instant::ZERO + by;
        (0..waiting).fold(0, |before, _| before + u32::from(pace.is_in_time(before, Instant::ZERO, by)))
    }

    #[test]
    fn as_many_are_kept_as_are_done_in_time() {
        for (each, left, expected) in [
            (ms(799), BUDGET, 10),
            (ms(801), BUDGET, 9),
            (ms(2_500), BUDGET, 3),
            (ms(3_000), BUDGET, 2),
            (ms(4_100), BUDGET, 1),
            (ms(800), ms(1_700), 2),
            (ms(800), ms(1_500), 1),
        ] {
            assert_eq!(kept(settled(each), 10, left), expected, "{each:?} each, {left:?} left");
        }
    }

    #[test]
    fn the_first_is_always_tried() {
        for each in [ms(1), ms(9_000), ms(1_000_000)] {
            assert!(settled(each).is_in_time(0, Instant::ZERO, Instant::ZERO + ms(10)));
        }
    }

    #[test]
    fn nothing_measured_sends_few_away() {
        assert_eq!(Pace::new(BUDGET).usual(), ms(1_000));
        assert_eq!(kept(Pace::new(BUDGET), 10, BUDGET), 8);
    }

    #[test]
    fn the_average_follows_in_both_directions() {
        let mut pace = settled(ms(800));
        pace.learn(ms(4_800), true);
        assert_eq!(pace.usual().as_millis(), 1_800);
        (0..8).for_each(|_| pace.learn(ms(800), true));
        assert!((800..920).contains(&pace.usual().as_millis()), "{:?}", pace.usual());
    }

    #[test]
    fn what_was_given_up_tells_only_of_more() {
        let mut pace = settled(ms(800));
        pace.learn(ms(30), false);
        assert_eq!(pace.usual(), settled(ms(800)).usual());
        pace.learn(ms(8_000), false);
        assert_eq!(pace.usual().as_millis(), 2_600);
    }

    #[test]
    fn no_amount_overflows() {
        let mut pace = Pace::new(BUDGET);
        pace.learn(Duration::from_secs(u64::MAX / 8), true);
        assert!(!pace.is_in_time(u32::MAX - 1, Instant::ZERO, Instant::from_us(u64::MAX)));
    }
}
