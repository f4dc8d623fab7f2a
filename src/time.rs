//! The one clock.
//!
//! Everything that decides is *given* the time; only threads that own a loop ask for it, once per pass, from a [`Clock`].
//! An [`Instant`] is a number of microseconds, so a test writes time down instead of waiting for it.

use std::ops::{Add, AddAssign, Sub};
pub use std::time::Duration;

/// A point in monotonic time: microseconds since the process's clock was made. Eight bytes, ordered, never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock.
    pub const ZERO: Instant = Instant(0);
    /// Later than anything that happens.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// The instant `us` microseconds after the start.
    pub const fn from_us(us: u64) -> Instant {
        Instant(us)
    }

    /// The instant `ms` milliseconds after the start.
    pub const fn from_ms(ms: u64) -> Instant {
        Instant(ms * 1_000)
    }

    /// Microseconds since the start.
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// Milliseconds since the start, rounded down.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000
    }

    /// How long after `earlier` this is; zero if it is not later.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// How long until this instant, seen from `now`; zero if it has passed.
    pub const fn until(self, now: Instant) -> Duration {
        self.since(now)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, d: Duration) -> Instant {
        Instant(self.0.saturating_add(d.as_micros().min(u64::MAX as u128) as u64))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, d: Duration) -> Instant {
        Instant(self.0.saturating_sub(d.as_micros().min(u64::MAX as u128) as u64))
    }
}

/// Reads monotonic time. Copies of one clock agree; every thread of a process shares the copy made in `server`.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock { start: std::time::Instant::now() }
    }

    /// The current instant.
    pub fn now(&self) -> Instant {
        Instant(self.start.elapsed().as_micros() as u64)
    }
}

/// Wall-clock time: milliseconds since the Unix epoch, UTC. For tokens, logs and the device's clock; never for a timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// The wall clock's reading.
    pub fn now() -> UnixMs {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixMs(since.map_or(0, |d| d.as_millis() as u64))
    }

    /// Whole seconds since the epoch.
    pub const fn secs(self) -> u64 {
        self.0 / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_a_number_you_write_down() {
        let t = Instant::from_ms(10) + Duration::from_micros(500);
        assert_eq!(t.as_us(), 10_500);
        assert_eq!(t.since(Instant::from_ms(10)), Duration::from_micros(500));
        assert_eq!(Instant::ZERO.since(t), Duration::ZERO);
        assert_eq!(Instant::NEVER + Duration::from_secs(1), Instant::NEVER);
    }
}
