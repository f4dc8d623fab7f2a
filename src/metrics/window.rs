//! What became of things lately: success and error rates over a sliding minute, from counters that only grow.
//!
//! A reading of the counters once a second; the rate is newest minus oldest within the span. Nobody who counts knows of it.

use super::catalog::Counter;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// How far back the window reaches.
pub const SPAN: Duration = Duration::from_secs(60);
/// Readings kept: one a second for the span, and one at its far end.
const READINGS: usize = 61;
/// Readings closer together than this replace each other, so a caller in a hurry cannot shorten the span.
const STEP: Duration = Duration::from_millis(950);

/// A pair of outcomes whose shares make 1.
pub struct Outcome {
    /// What it is about: the key in `/stats.json`.
    pub name: &'static str,
    /// Whose counters; `None`: everybody's.
    pub pool: Option<&'static str>,
    /// Counted as success.
    pub good: &'static [Counter],
    /// Counted as error.
    pub bad: &'static [Counter],
}

/// All pairs. A turn that the user broke off, or in which nothing was said, is neither a success nor an error of ours; nor is
/// a job that was cancelled.
pub const OUTCOMES: [Outcome; 4] = [
    Outcome { name: "turns", pool: None, good: &[Counter::TurnsComplete], bad: &[Counter::TurnsFailed] },
    Outcome { name: "asr", pool: Some("asr"), good: &[Counter::JobsOk], bad: JOBS_BAD },
    Outcome { name: "llm", pool: Some("llm"), good: &[Counter::JobsOk], bad: JOBS_BAD },
    Outcome { name: "tts", pool: Some("tts"), good: &[Counter::JobsOk], bad: JOBS_BAD },
];

const JOBS_BAD: &[Counter] = &[
    Counter::JobsMalformed,
    Counter::JobsOverload,
    Counter::JobsTimeout,
    Counter::JobsUnavailable,
    Counter::JobsRefused,
    Counter::JobsInternal,
];

/// Good and bad so far, by outcome.
type Reading = [(u64, u64); OUTCOMES.len()];

/// See the file's documentation.
#[derive(Clone, Default)]
pub struct Window {
    readings: VecDeque<(Instant, Reading)>,
}

/// Shares of good and bad among `n`; they sum to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// How many there were.
    pub n: u64,
    /// Share of successes, 0 … 1.
    pub success: f64,
    /// Share of errors, 0 … 1.
    pub error: f64,
}

impl Window {
    /// Reads the counters of all outcomes through `total`, which is given a pool and a counter.
    pub fn reading(total: impl Fn(Option<&str>, Counter) -> u64) -> Reading {
        let sum = |pool, counters: &[Counter]| counters.iter().map(|counter| total(pool, *counter)).sum();
        OUTCOMES.each_ref().map(|outcome| (sum(outcome.pool, outcome.good), sum(outcome.pool, outcome.bad)))
    }

    /// Takes a reading in.
    pub fn push(&mut self, now: Instant, reading: Reading) {
        let hasty = self.readings.len() >= 2
            && self.readings.get(self.readings.len() - 2).is_some_and(|(before, _)| now.since(*before) < STEP);
        if hasty {
            self.readings.pop_back();
        }
        self.readings.push_back((now, reading));
        while self.readings.len() > READINGS || self.is_second_old_enough(now) {
            self.readings.pop_front();
        }
    }

    /// The first reading may go once the second one already covers the span.
    fn is_second_old_enough(&self, now: Instant) -> bool {
        self.readings.get(1).is_some_and(|(at, _)| now.since(*at) >= SPAN)
    }

    /// How much time the window covers.
    pub fn span(&self) -> Duration {
        match (self.readings.front(), self.readings.back()) {
            (Some((first, _)), Some((last, _))) => last.since(*first),
            _ => Duration::ZERO,
        }
    }

    /// Rates of an outcome by its place in [`OUTCOMES`]; `None` when nothing happened.
    pub fn rates(&self, outcome: usize) -> Option<Rates> {
        let (first, last) = (self.readings.front()?.1.get(outcome)?, self.readings.back()?.1.get(outcome)?);
        let (good, bad) = (last.0.saturating_sub(first.0), last.1.saturating_sub(first.1));
        let n = good + bad;
        if n == 0 {
            return None;
        }
        let error = bad as f64 / n as f64;
        Some(Rates { n, success: 1.0 - error, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(window: &mut Window, second: u64, good: u64, bad: u64) {
        window.push(Instant::from_ms(second * 1_000), [(good, bad); OUTCOMES.len()]);
    }

    #[test]
    fn shares_sum_to_one_and_nothing_is_not_zero() {
        let mut window = Window::default();
        assert_eq!(window.rates(0), None);
        at(&mut window, 0, 5, 5);
        at(&mut window, 1, 5, 5);
        assert_eq!(window.rates(0), None, "what happened before the window does not count");
        at(&mut window, 2, 8, 6);
        let rates = window.rates(0).unwrap();
        assert_eq!((rates.n, rates.error), (4, 0.25));
        assert_eq!(rates.success + rates.error, 1.0);
        assert_eq!(window.rates(99), None);
    }

    #[test]
    fn an_error_leaves_the_window_after_a_minute() {
        let mut window = Window::default();
        at(&mut window, 0, 0, 0);
        for second in 1..=200 {
            at(&mut window, second, second, 1);
            let seen = window.rates(0).unwrap();
            assert_eq!(seen.error > 0.0, second <= 60, "second {second}");
            assert!(window.span() <= SPAN && window.readings.len() <= READINGS);
        }
        assert_eq!(window.rates(0).unwrap().n, 60);
    }

    #[test]
    fn a_caller_in_a_hurry_does_not_shorten_the_span() {
        let mut window = Window::default();
        for ms in (0..70_000).step_by(10) {
            window.push(Instant::from_ms(ms), [(ms, 0); OUTCOMES.len()]);
        }
        assert!(window.span() >= Duration::from_secs(55), "{:?}", window.span());
        assert!(window.readings.len() <= READINGS);
    }
}
