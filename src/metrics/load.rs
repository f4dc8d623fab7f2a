//! How busy threads have been lately: shares of the last ten seconds, from numbers that only grow.

use super::registry::Home;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// How far back a share reaches.
pub const SPAN: Duration = Duration::from_secs(10);
/// Readings kept: one a second for the span, and one at its far end.
const READINGS: usize = 11;
/// Readings closer together than this replace each other, so a caller in a hurry cannot shorten the span.
const STEP: Duration = Duration::from_millis(950);

/// What the threads of a home have used up to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Whose.
    pub home: Home,
    /// Living threads.
    pub threads: usize,
    /// Time at work: a shard outside its wait, a worker on a job.
    pub busy: Duration,
    /// Time on a core.
    pub cpu: Duration,
    /// Time ready to run without a core.
    pub run_delay: Duration,
}

/// Shares of the time that has passed, for each thread of a home: 0 … 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// At work.
    pub busy: f64,
    /// On a core.
    pub cpu: f64,
    /// Ready to run without a core.
    pub run_delay: f64,
}

/// See the file's documentation.
#[derive(Clone, Default)]
pub struct Loads {
    readings: VecDeque<(Instant, Vec<Spent>)>,
}

impl Loads {
    /// Takes a reading in.
    pub fn push(&mut self, now: Instant, reading: Vec<Spent>) {
        let before = self.readings.len().checked_sub(2).and_then(|i| self.readings.get(i));
        if before.is_some_and(|(at, _)| now.since(*at) < STEP) {
            self.readings.pop_back();
        }
        self.readings.push_back((now, reading));
        while self.readings.len() > READINGS || self.readings.get(1).is_some_and(|(at, _)| now.since(*at) >= SPAN) {
            self.readings.pop_front();
        }
    }

    /// How busy a home has been; `None` before there are two readings with it.
    pub fn shares(&self, home: Home) -> Option<Shares> {
        let of = |(at, all): &(Instant, Vec<Spent>)| Some((*at, *all.iter().find(|spent| spent.home == home)?));
        let (began, first) = self.readings.iter().find_map(of)?;
        let (ended, last) = of(self.readings.back()?)?;
        let wall = ended.since(began).as_secs_f64() * last.threads.max(1) as f64;
        if wall <= 0.0 {
            return None;
        }
        let share = |after: Duration, before: Duration| after.saturating_sub(before).as_secs_f64() / wall;
        Some(Shares {
            busy: share(last.busy, first.busy),
            cpu: share(last.cpu, first.cpu),
            run_delay: share(last.run_delay, first.run_delay),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    const HOME: Home = Home::Shard(ShardId(0));

    fn at(loads: &mut Loads, ms: u64, busy_ms: u64, threads: usize) {
        let busy = Duration::from_millis(busy_ms);
        let spent = Spent { home: HOME, threads, busy, cpu: busy / 2, run_delay: busy / 4 };
        loads.push(Instant::from_ms(ms), vec![spent]);
    }

    #[test]
    fn a_share_is_what_was_spent_by_what_has_passed_and_by_thread() {
        let mut loads = Loads::default();
        assert_eq!(loads.shares(HOME), None);
        at(&mut loads, 0, 40, 1);
        assert_eq!(loads.shares(HOME), None, "one reading is no share");
        at(&mut loads, 1_000, 540, 1);
        assert_eq!(loads.shares(HOME), Some(Shares { busy: 0.5, cpu: 0.25, run_delay: 0.125 }));
        at(&mut loads, 2_000, 2_040, 2);
        assert_eq!(loads.shares(HOME).unwrap().busy, 0.5);
        assert_eq!(loads.shares(Home::Worker("asr")), None);
    }

    #[test]
    fn what_is_older_than_ten_seconds_is_forgotten() {
        let mut loads = Loads::default();
        for second in 0..60 {
            // Busy all the time for half a minute, then never again.
            at(&mut loads, second * 1_000, second.min(30) * 1_000, 1);
        }
        assert_eq!(loads.shares(HOME).unwrap().busy, 0.0);
        assert!(loads.readings.len() <= READINGS);
    }

    #[test]
    fn a_caller_in_a_hurry_does_not_shorten_the_span() {
        let mut loads = Loads::default();
        for ms in (0..30_000).step_by(10) {
            at(&mut loads, ms, 0, 1);
        }
        let span = loads.readings.back().unwrap().0.since(loads.readings.front().unwrap().0);
        assert!(span >= Duration::from_secs(9), "{span:?}");
    }
}
