//! The door of one provider: its breaker, its places, how long it wants to be left alone, and what came of the calls.
//!
//! Shared by all workers of the stage. The lock is held for some arithmetic, twice a call; nobody on a shard's thread comes here.

use super::dice;
use crate::limits;
use crate::providers::Call;
use crate::resilience::breaker::{Breaker, Report, Rules, State, Verdict};
use crate::resilience::choice::Form;
use crate::resilience::crowd::{Crowd, Entry};
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Clock, Duration, Instant};
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often somebody who waits for a place looks whether his call was taken back.
const LOOK: Duration = Duration::from_millis(20);

/// The door.
#[derive(Debug)]
pub struct Gate {
    /// For logs: stage and provider.
    pub stage: &'static str,
    /// As in metrics.
    pub name: String,
    inner: Mutex<Inner>,
    freed: Condvar,
    /// What came of the calls.
    pub tally: Tally,
}

#[derive(Debug)]
struct Inner {
    breaker: Breaker,
    crowd: Crowd,
    /// Left alone until then, as it asked.
    alone_until: Instant,
    /// Of first results; moves an eighth towards each new one.
    latency: Duration,
}

/// Counts, by result.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "the names are those of the metric's label")]
pub struct Tally {
    pub good: AtomicU64,
    pub failed: AtomicU64,
    pub void: AtomicU64,
    /// Not made: the breaker was open.
    pub held_back: AtomicU64,
    /// Not made: the service wants to be left alone.
    pub left_alone: AtomicU64,
    /// Not made: no place would have been free in time.
    pub busy: AtomicU64,
    /// Made once more, of those above.
    pub repeated: AtomicU64,
    /// Those of the failed and of the void that a fault explains, by its cause, in the order of [`Cause::ALL`].
    pub faults: [AtomicU64; Cause::ALL.len()],
    /// Made because another was late, of those above.
    pub hedged: AtomicU64,
    /// Times that the breaker opened.
    pub opened: AtomicU64,
}

impl Gate {
    /// An open door for `places` calls at once (0: any number).
    pub fn new(stage: &'static str, name: String, rules: Rules, places: u32) -> Gate {
        let inner = Inner {
            breaker: Breaker::new(rules),
            crowd: Crowd::new(places),
            alone_until: Instant::ZERO,
            latency: Duration::ZERO,
        };
        Gate { stage, name, inner: Mutex::new(inner), freed: Condvar::new(), tally: Tally::default() }
    }

    /// Whether a call would be made now, and at once.
    pub fn is_open(&self, now: Instant) -> bool {
        let inner = self.inner.lock();
        inner.breaker.is_ready(now) && inner.alone_until <= now && !inner.crowd.is_full()
    }

    /// Whether it is not being left to recover and not left alone: a call would be made, if perhaps after waiting for a place.
    pub fn is_up(&self, now: Instant) -> bool {
        let inner = self.inner.lock();
        inner.breaker.is_ready(now) && inner.alone_until <= now
    }

    /// Asks for a call whose first result must come by `by`. Waits for a place if `may_wait`.
    ///
    /// # Errors
    /// Unavailable: the breaker is open. Overload: the service wants to be left alone, or has no place in time. Cancelled.
    pub fn enter(&self, call: &Call, by: Instant, may_wait: bool) -> Result<Permit<'_>, Fault> {
        let now = call.clock.now();
        let mut inner = self.inner.lock();
        if inner.alone_until > now {
            self.tally.left_alone.fetch_add(1, Relaxed);
            let left = inner.alone_until.until(now);
            return Err(Fault::new(Cause::Overload, "it wants to be left alone").wait(Some(left)));
        }
        if !inner.breaker.is_ready(now) {
            return Err(self.hold_back());
        }
        let busy = || {
            self.tally.busy.fetch_add(1, Relaxed);
            Fault::new(Cause::Overload, "no place would be free in time")
        };
        let left = if may_wait { by.until(now) } else { Duration::ZERO };
        match inner.crowd.enter(left) {
            Entry::In => {}
            Entry::Busy => return Err(busy()),
            Entry::Wait => {
                while !inner.crowd.try_again() {
                    let now = call.clock.now();
                    let is_cancelled = call.cancel.is_cancelled();
                    if is_cancelled || now >= by {
                        inner.crowd.give_up();
                        return Err(if is_cancelled { Fault::cancelled() } else { busy() });
                    }
                    self.freed.wait_for(&mut inner, by.until(now).min(LOOK));
                }
            }
        }
        let at = call.clock.now();
        let verdict = inner.breaker.admit(at);
        if verdict == Verdict::Refuse {
            // It was given the place and needs none: nobody learns a duration from it.
            inner.crowd.undo();
            self.freed.notify_one();
            return Err(self.hold_back());
        }
        Ok(Permit { gate: self, clock: call.clock, at, verdict, is_settled: false })
    }

    fn hold_back(&self) -> Fault {
        self.tally.held_back.fetch_add(1, Relaxed);
        Fault::new(Cause::Unavailable, "it has been failing and is left to recover")
    }

    /// What its breaker goes by.
    #[cfg(test)]
    pub fn rules(&self) -> Rules {
        self.inner.lock().breaker.rules()
    }

    /// How it has been doing.
    pub fn form(&self, now: Instant) -> Form {
        let mut inner = self.inner.lock();
        Form { health: inner.breaker.health(now), latency: inner.latency }
    }

    /// The breaker's state: 0 closed, 1 half-open, 2 open.
    pub fn state(&self, now: Instant) -> u64 {
        match self.inner.lock().breaker.state(now) {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open => 2,
        }
    }

    /// Calls under way.
    pub fn inside(&self) -> u64 {
        u64::from(self.inner.lock().crowd.count().0)
    }

    /// Of first results, µs; 0 if there were none.
    pub fn latency_us(&self) -> u64 {
        self.inner.lock().latency.as_micros() as u64
    }

    fn leave(&self, permit: &Permit<'_>, report: Report, fault: Option<&Fault>) {
        let now = permit.clock.now();
        let counter = match report {
            Report::Good(_) => &self.tally.good,
            Report::Failed => &self.tally.failed,
            Report::Void => &self.tally.void,
        };
        counter.fetch_add(1, Relaxed);
        if let Some(fault) = fault {
            self.tally.faults[fault.cause as usize].fetch_add(1, Relaxed);
        }
        let mut inner = self.inner.lock();
        inner.crowd.leave(now.since(permit.at));
        if let Some(pause) = fault.and_then(|fault| fault.retry_after) {
            inner.alone_until = inner.alone_until.max(now + pause.min(limits::RETRY_AFTER));
        }
        if let Report::Good(took) = report {
            inner.latency = if inner.latency.is_zero() { took } else { inner.latency * 7 / 8 + took / 8 };
        }
        let change = inner.breaker.report(now, permit.verdict, report, dice());
        drop(inner);
        self.freed.notify_one();
        let (stage, provider) = (self.stage, self.name.as_str());
        let cause = fault.map_or("slow", |fault| fault.cause.name());
        match change {
            Some(State::Open) => {
                self.tally.opened.fetch_add(1, Relaxed);
                tracing::warn!(stage, provider, cause, "the provider keeps failing and is left to recover");
            }
            Some(State::Closed) => tracing::info!(stage, provider, "the provider has recovered"),
            _ => {}
        }
    }
}

/// A call that may be made. Dropped without a word, as by a panic, it counts as failed.
#[derive(Debug)]
pub struct Permit<'a> {
    gate: &'a Gate,
    clock: Clock,
    at: Instant,
    verdict: Verdict,
    is_settled: bool,
}

impl Permit<'_> {
    /// Tells what the call came to; `first` is when its first result came.
    pub fn settle(mut self, first: Option<Instant>, fault: Option<&Fault>) {
        self.is_settled = true;
        let report = match (fault, first) {
            (None, first) => Report::Good(first.unwrap_or_else(|| self.clock.now()).since(self.at)),
            (Some(fault), _) if fault.cause == Cause::Cancelled => Report::Void,
            // It works and is busy, and says for how long.
            (Some(fault), _) if fault.retry_after.is_some() => Report::Void,
            (Some(_), _) => Report::Failed,
        };
        self.gate.leave(&self, report, fault);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.gate.leave(self, Report::Failed, None);
        }
    }
}
