//! The circuit breaker of one provider: whether it is worth asking.
//!
//! ```text
//!            failed or slow shares of the window too large, or failures in a row
//!   closed ------------------------------------------------> open  <--------------+
//!     ^                                                        | its time is over  | the probe failed:
//!     |                                                        v                   | twice the time
//!     +--- enough probes in a row went well, over a while -- half-open ------------+
//! ```
//!
//! While it is open nobody is sent there; while it is half-open one call at a time is: the probe. One good probe proves little
//! of a provider that comes and goes, so it is closed only after several, spread over a while; and each relapse doubles the
//! time that it stays open, so a provider that flaps every 2 s changes nothing more than once in that time.

use super::share;
use crate::time::{Duration, Instant};

/// When to open, for how long, and when to close again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Calls younger than this count.
    pub window: Duration,
    /// Fewer calls than this in the window prove nothing; as many failures in a row do, whenever they were.
    pub volume: u32,
    /// Failed calls among them, per cent, that open it.
    pub failed_percent: u32,
    /// Slow calls among them, per cent, that open it; a failed call counts as slow too.
    pub slow_percent: u32,
    /// A call whose first result took longer is slow.
    pub slow: Duration,
    /// How long it stays open at first. The dice add up to half.
    pub open: Duration,
    /// The longest time, after several relapses; without the dice's half.
    pub open_most: Duration,
    /// Good probes in a row that close it.
    pub probes: u32,
    /// They are spread over at least this time.
    pub settle: Duration,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The first result came after so long.
    Good(Duration),
    /// It failed.
    Failed,
    /// It was taken back before it could show anything.
    Void,
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Pass,
    /// Yes, as the probe: its report decides.
    Probe,
    /// No.
    Refuse,
}

/// What is seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls pass.
    Closed,
    /// A call passes now and then.
    HalfOpen,
    /// No call passes.
    Open,
}

impl State {
    /// The label in logs.
    pub const fn name(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::HalfOpen => "half-open",
            State::Open => "open",
        }
    }
}

/// The breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    rules: Rules,
    window: Window,
    /// Failed calls since the last that did not: who has few calls has no window full of them.
    failed_in_a_row: u32,
    open: Option<Open>,
}

/// What is remembered while it is not closed.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// No probe before.
    until: Instant,
    /// A probe is under way.
    is_probing: bool,
    /// Good probes in a row, and when the first of them came back.
    streak: u32,
    streak_since: Instant,
    /// Relapses since it was closed.
    relapses: u32,
}

impl Breaker {
    /// A closed one.
    pub fn new(rules: Rules) -> Breaker {
        Breaker { rules, window: Window::new(rules.window), failed_in_a_row: 0, open: None }
    }

    /// Asks for a call. Each [`Verdict::Pass`] and [`Verdict::Probe`] is followed by one [`Breaker::report`].
    pub fn admit(&mut self, now: Instant) -> Verdict {
        match &mut self.open {
            None => Verdict::Pass,
            Some(open) if open.is_probing || now < open.until => Verdict::Refuse,
            Some(open) => {
                open.is_probing = true;
                Verdict::Probe
            }
        }
    }

    /// Whether [`Breaker::admit`] would let a call pass.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.open.is_none_or(|open| !open.is_probing && now >= open.until)
    }

    /// Tells what a call came to. Returns the state if the breaker has opened or closed by it.
    pub fn report(&mut self, now: Instant, verdict: Verdict, report: Report, dice: u64) -> Option<State> {
        match (verdict, &mut self.open) {
            (Verdict::Probe, Some(_)) => self.on_probe(now, report, dice),
            // A call from before it opened tells nothing new.
            (_, Some(_)) => None,
            (_, None) => self.on_call(now, report, dice),
        }
    }

    /// The state.
    pub fn state(&self, now: Instant) -> State {
        match &self.open {
            None => State::Closed,
            Some(open) if now < open.until => State::Open,
            Some(_) => State::HalfOpen,
        }
    }

    /// What it goes by.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Good calls of the window, per cent, as if there had been as many good ones before as prove something: one failure after a
    /// quiet time makes nobody sick.
    pub fn health(&mut self, now: Instant) -> u32 {
        self.window.advance(now);
        let (calls, failed, _) = self.window.sums();
        let before = self.rules.volume.max(1);
        (calls - failed + before) * 100 / (calls + before)
    }

    fn on_call(&mut self, now: Instant, report: Report, dice: u64) -> Option<State> {
        if report == Report::Void {
            return None;
        }
        self.window.advance(now);
        self.window.add(report == Report::Failed, self.is_slow(report));
        self.failed_in_a_row = if report == Report::Failed { self.failed_in_a_row + 1 } else { 0 };
        let (calls, failed, slow) = self.window.sums();
        let too_many = |count: u32, percent: u32| count * 100 >= calls * percent;
        let Rules { volume, failed_percent, slow_percent, .. } = self.rules;
        let is_bad = calls >= volume && (too_many(failed, failed_percent) || too_many(slow, slow_percent));
        if !is_bad && self.failed_in_a_row < volume {
            return None;
        }
        self.failed_in_a_row = 0;
        let until = now + self.rest(0, dice);
        self.open = Some(Open { until, is_probing: false, streak: 0, streak_since: now, relapses: 0 });
        Some(State::Open)
    }

    fn on_probe(&mut self, now: Instant, report: Report, dice: u64) -> Option<State> {
        let is_good = matches!(report, Report::Good(_)) && !self.is_slow(report);
        let mut open = self.open?;
        open.is_probing = false;
        if is_good {
            open.streak_since = if open.streak == 0 { now } else { open.streak_since };
            open.streak += 1;
            if open.streak >= self.rules.probes && now.since(open.streak_since) >= self.rules.settle {
                self.open = None;
                self.window.clear();
                return Some(State::Closed);
            }
            open.until = now + self.rules.settle / self.rules.probes.saturating_sub(1).max(1);
        } else if report != Report::Void {
            open.streak = 0;
            open.relapses += 1;
            open.until = now + self.rest(open.relapses, dice);
        }
        self.open = Some(open);
        None
    }

    fn is_slow(&self, report: Report) -> bool {
        match report {
            Report::Good(took) => took > self.rules.slow,
            Report::Failed => true,
            Report::Void => false,
        }
    }

    /// How long it stays open. Jittered, so that servers that lost a provider together do not come back to it together.
    fn rest(&self, relapses: u32, dice: u64) -> Duration {
        let rest = self.rules.open.saturating_mul(1 << relapses.min(16)).min(self.rules.open_most);
        rest + share(rest / 2, dice)
    }
}

/// Parts of the window.
const PARTS: usize = 10;

/// Counts of the last calls, in parts that are forgotten one after the other.
#[derive(Clone, Debug)]
struct Window {
    part_us: u64,
    /// Which part is being filled, since the beginning of time.
    head: u64,
    parts: [(u32, u32, u32); PARTS],
}

impl Window {
    fn new(span: Duration) -> Window {
        let part_us = (span.as_micros() as u64 / PARTS as u64).max(1);
        Window { part_us, head: 0, parts: [(0, 0, 0); PARTS] }
    }

    fn advance(&mut self, now: Instant) {
        let head = (now.as_us() / self.part_us).max(self.head);
        for part in (self.head + 1..=head).rev().take(PARTS) {
            self.parts[part as usize % PARTS] = (0, 0, 0);
        }
        self.head = head;
    }

    fn add(&mut self, failed: bool, slow: bool) {
        let part = &mut self.parts[self.head as usize % PARTS];
        *part = (part.0 + 1, part.1 + u32::from(failed), part.2 + u32::from(slow));
    }

    fn sums(&self) -> (u32, u32, u32) {
        self.parts.iter().fold((0, 0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1, sum.2 + part.2))
    }

    fn clear(&mut self) {
        self.parts = [(0, 0, 0); PARTS];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        window: Duration::from_secs(10),
        volume: 5,
        failed_percent: 50,
        slow_percent: 80,
        slow: Duration::from_millis(500),
        open: Duration::from_secs(10),
        open_most: Duration::from_secs(60),
        probes: 3,
        settle: Duration::from_secs(3),
    };

    const FAST: Report = Report::Good(Duration::from_millis(100));
    const SLOW: Report = Report::Good(Duration::from_millis(501));

    fn at(ms: u64) -> Instant {
        Instant::from_ms(ms)
    }

    /// Makes a call at that time, if it may.
    fn call(breaker: &mut Breaker, ms: u64, report: Report) -> (Verdict, Option<State>) {
        let verdict = breaker.admit(at(ms));
        let change = (verdict != Verdict::Refuse).then(|| breaker.report(at(ms), verdict, report, 0));
        (verdict, change.flatten())
    }

    /// One that has opened at 1,000 ms.
    fn opened() -> Breaker {
        let mut breaker = Breaker::new(RULES);
        for i in 0..4 {
            assert_eq!(call(&mut breaker, 996 + i, Report::Failed), (Verdict::Pass, None));
        }
        assert_eq!(call(&mut breaker, 1_000, Report::Failed), (Verdict::Pass, Some(State::Open)));
        breaker
    }

    #[test]
    fn it_opens_after_five_failures_and_sends_one_probe_in_ten_seconds() {
        let mut breaker = opened();
        for ms in (1_000..11_000).step_by(100) {
            assert_eq!((breaker.admit(at(ms)), breaker.state(at(ms))), (Verdict::Refuse, State::Open), "{ms}");
        }
        assert_eq!(breaker.state(at(11_000)), State::HalfOpen);
        assert!(!breaker.is_ready(at(10_999)) && breaker.is_ready(at(11_000)));
        assert_eq!(breaker.admit(at(11_000)), Verdict::Probe);
        assert!(!breaker.is_ready(at(11_001)));
        assert_eq!(breaker.admit(at(11_001)), Verdict::Refuse, "one at a time");
        assert_eq!(breaker.report(at(11_500), Verdict::Probe, Report::Failed, 0), None);
        assert_eq!(breaker.admit(at(31_499)), Verdict::Refuse, "twice the time");
        assert_eq!(breaker.admit(at(31_500)), Verdict::Probe);
    }

    #[test]
    fn shares_of_failed_and_slow_calls_open_it() {
        let check = |reports: &[Report]| {
            let mut breaker = Breaker::new(RULES);
            (0..).zip(reports).filter_map(|(i, report)| call(&mut breaker, i, *report).1.map(|_| i)).next()
        };
        let (f, g, s) = (Report::Failed, FAST, SLOW);
        assert_eq!(check(&[f, f, f, f]), None, "too few to tell");
        assert_eq!(check(&[g, g, g, f, f, f]), Some(5), "half of them");
        assert_eq!(check(&[g, g, g, f, f, g]), None);
        assert_eq!(check(&[g, s, s, s, s]), Some(4), "80 % slow");
        assert_eq!(check(&[g, g, s, s, s, s]), None);
        assert_eq!(check(&[g, s, s, f, s]), Some(4), "a failure was no faster");
        assert_eq!(check(&[Report::Void; 20]), None, "what was taken back shows nothing");
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut breaker = Breaker::new(RULES);
        for i in 0..4 {
            call(&mut breaker, i * 100, Report::Failed);
        }
        assert_eq!(breaker.health(at(400)), 55, "5 of 9");
        assert_eq!(call(&mut breaker, 10_900, FAST), (Verdict::Pass, None));
        assert_eq!(call(&mut breaker, 11_000, Report::Failed), (Verdict::Pass, None));
        assert_eq!(call(&mut breaker, 1_000_000_000, FAST), (Verdict::Pass, None));
        assert_eq!(breaker.health(at(1_000_000_000)), 100);
    }

    #[test]
    fn five_failures_in_a_row_open_it_however_rarely_it_is_called() {
        let mut breaker = Breaker::new(RULES);
        let minutes = |n: u64| n * 60_000;
        for n in [1, 2, 3, 4] {
            assert_eq!(call(&mut breaker, minutes(n), Report::Failed), (Verdict::Pass, None));
        }
        assert_eq!(call(&mut breaker, minutes(5), FAST), (Verdict::Pass, None));
        assert_eq!((6..=10).filter_map(|n| call(&mut breaker, minutes(n), Report::Failed).1).count(), 1);
        assert_eq!(breaker.admit(at(minutes(10) + 1)), Verdict::Refuse);
    }

    #[test]
    fn several_good_probes_over_a_while_close_it() {
        let mut breaker = opened();
        assert_eq!(call(&mut breaker, 11_000, FAST), (Verdict::Probe, None));
        assert_eq!(call(&mut breaker, 11_500, FAST).0, Verdict::Refuse);
        assert_eq!(call(&mut breaker, 12_500, FAST), (Verdict::Probe, None));
        assert_eq!(call(&mut breaker, 14_000, FAST), (Verdict::Probe, Some(State::Closed)));
        assert_eq!(call(&mut breaker, 14_001, Report::Failed), (Verdict::Pass, None), "the old failures are forgotten");
    }

    #[test]
    fn a_slow_probe_is_no_good_one_and_one_taken_back_none() {
        let mut breaker = opened();
        assert_eq!(call(&mut breaker, 11_000, Report::Void).0, Verdict::Probe);
        assert_eq!(call(&mut breaker, 11_001, SLOW), (Verdict::Probe, None));
        assert_eq!(breaker.admit(at(31_000)), Verdict::Refuse);
    }

    #[test]
    fn calls_from_before_it_opened_change_nothing() {
        let mut breaker = opened();
        for i in 0..100 {
            assert_eq!(breaker.report(at(1_001 + i), Verdict::Pass, Report::Failed, 0), None);
            assert_eq!(breaker.report(at(1_001 + i), Verdict::Pass, FAST, 0), None);
        }
        assert_eq!(breaker.state(at(10_999)), State::Open);
    }

    #[test]
    fn the_dice_lengthen_the_rest_by_half_at_most() {
        for (dice, opens) in [(0, 11_000), (1 << 63, 13_500), (u64::MAX, 15_999)] {
            let mut breaker = Breaker::new(RULES);
            for i in 0..5 {
                let verdict = breaker.admit(at(996 + i));
                breaker.report(at(996 + i), verdict, Report::Failed, dice);
            }
            assert_eq!(breaker.admit(at(opens - 1)), Verdict::Refuse);
            assert_eq!(breaker.admit(at(opens + 1)), Verdict::Probe);
        }
    }

    /// Row 18 of the fault matrix: a provider that is up for 2 s and down for 2 s, asked ten times a second, for ten minutes.
    #[test]
    fn a_provider_that_flaps_changes_the_state_at_most_twice_in_half_a_minute() {
        let mut breaker = Breaker::new(RULES);
        let mut changes: Vec<u64> = Vec::new();
        let mut failed = 0;
        for ms in (0..600_000).step_by(100) {
            let is_up = ms / 2_000 % 2 == 0;
            let (verdict, change) = call(&mut breaker, ms, if is_up { FAST } else { Report::Failed });
            failed += u32::from(verdict != Verdict::Refuse && !is_up);
            changes.extend(change.map(|_| ms));
        }
        assert!(!changes.is_empty());
        let most = changes.iter().map(|&t| changes.iter().filter(|&&u| (t..t + 30_000).contains(&u)).count()).max();
        assert!(most <= Some(2), "{changes:?}");
        assert!(failed <= 60, "{failed} calls of 3,000 went into the dark");
    }
}
