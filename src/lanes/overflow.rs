//! Whether a queue overflows for a moment or for good. A moment's overflow is met by giving up the least urgent. When it lasts,
//! a queue that is kept full is of no use: whoever gets in waits as long as can be waited, and most of it was in vain. So it is
//! shut to new work, as a breaker is, until half of it is done; who is turned away hears so at once. Pure: time comes with each
//! call.

use crate::limits;
use crate::time::Instant;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overflow {
    /// Of the overflow that lasts: its beginning, and when somebody was turned away last.
    lasts: Option<(Instant, Instant)>,
    is_shut: bool,
}

impl Overflow {
    /// A job was turned away for want of room, or waited in vain.
    pub fn turned_away(&mut self, now: Instant) {
        let since = match self.lasts {
            Some((since, last)) if now.since(last) <= limits::OVERFLOW_PAUSE => since,
            _ => now,
        };
        self.lasts = Some((since, now));
        self.is_shut |= now.since(since) >= limits::OVERFLOW_LASTS;
    }

    /// Whether new work is turned away, `depth` jobs waiting.
    pub fn is_shut(&mut self, depth: usize) -> bool {
        if self.is_shut && depth <= limits::WAITING_JOBS_LOW {
            *self = Overflow::default();
        }
        self.is_shut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shuts_when_overflow_lasts_and_opens_at_half() {
        let mut overflow = Overflow::default();
        let full = limits::WAITING_JOBS;
        for ms in (0..=900).step_by(100) {
            overflow.turned_away(Instant::from_ms(ms));
            assert!(!overflow.is_shut(full), "at {ms} ms");
        }
        overflow.turned_away(Instant::from_ms(1_000));
        assert!(overflow.is_shut(full) && overflow.is_shut(limits::WAITING_JOBS_LOW + 1));
        assert!(!overflow.is_shut(limits::WAITING_JOBS_LOW));
        // Begun anew.
        overflow.turned_away(Instant::from_ms(1_001));
        assert!(!overflow.is_shut(full));
    }

    #[test]
    fn bursts_with_room_between_them_do_not_shut_it() {
        let mut overflow = Overflow::default();
        for ms in (0..20_000).step_by(400) {
            overflow.turned_away(Instant::from_ms(ms));
            assert!(!overflow.is_shut(limits::WAITING_JOBS));
        }
    }
}
