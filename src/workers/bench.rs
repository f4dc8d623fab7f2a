//! What every worker has around its provider: the loop, the guard against panics, the counts.

use super::hands::Hands;
use crate::job::{Answer, Failure, Job, Outcome, Stage, Work};
use crate::lanes::{Desk, Gone, bell};
use crate::limits;
use crate::metrics::calls::Tally;
use crate::metrics::{Counter, Gauge, Panel, Series};
use crate::providers::Call;
use crate::resilience::fault::{Cause, Fault, PANICKED};
use crate::time::{Clock, Duration, Instant};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A worker's place: its desk, the clock, and the panel it counts on.
pub struct Bench {
    /// Its end of the lanes.
    pub desk: Desk,
    /// The process's clock.
    pub clock: Clock,
    stage: Stage,
    panel: Arc<Panel>,
    /// Measures how long jobs are in the provider's hands.
    pub hands: Hands,
    tally: Tally,
    started: Instant,
    has_first: bool,
    /// Pieces laid out of which the shard has not been told.
    untold: u32,
}

/// A provider, or why there is none.
pub type Built<P> = Result<Box<P>, Fault>;

/// How a worker does one job: final outcome or fault. Pieces go through the bench while it runs.
pub type Task<'a, P> = &'a mut dyn FnMut(&mut P, &mut Bench, &Job) -> Result<Outcome, Fault>;

impl Bench {
    /// A place at that desk.
    pub fn new(stage: Stage, desk: Desk, clock: Clock, panel: Arc<Panel>) -> Bench {
        let tally = Tally::start(bell::rung_by_this_thread());
        let hands = Hands::default();
        Bench { desk, clock, stage, panel, hands, tally, started: Instant::ZERO, has_first: true, untold: 0 }
    }

    /// Serves jobs one after another until the server ends, or until there was nothing to do for [`limits::WORKER_IDLE`] and
    /// the pool has enough workers without this one. `build` makes a provider; a provider that panicked is replaced.
    pub fn serve<P: ?Sized>(&mut self, build: &dyn Fn() -> Built<P>, work: Task<'_, P>) {
        let mut provider = build_guarded(build);
        loop {
            let Some(job) = self.desk.next_job(limits::WORKER_IDLE) else {
                if self.desk.is_over() || self.desk.retire() {
                    return;
                }
                continue;
            };
            self.waited(self.desk.waited());
            if self.one(&mut provider, &job, |provider, bench| work(provider, bench, &job)) {
                provider = build_guarded(build);
            }
        }
    }

    /// Does one job and hands its final outcome in. Returns whether the provider panicked and is not to be used again.
    pub fn one<P: ?Sized>(
        &mut self,
        provider: &mut Built<P>,
        job: &Job,
        work: impl FnOnce(&mut P, &mut Bench) -> Result<Outcome, Fault>,
    ) -> bool {
        self.started = self.clock.now();
        self.has_first = false;
        self.panel.shift(Gauge::WorkersBusy, 1);
        let (mut panicked, mut ran) = (false, false);
        let result = match provider {
            _ if job.cancel.is_cancelled() => Err(Fault::cancelled()),
            _ if job.deadline <= self.started => Err(Fault::timeout("no worker was free in time")),
            Err(fault) => Err(fault.clone()),
            Ok(provider) => {
                ran = true;
                self.hands.begin(self.started);
                catch_unwind(AssertUnwindSafe(|| work(provider, self))).unwrap_or_else(|_| {
                    panicked = true;
                    Err(Fault::new(Cause::Internal, PANICKED))
                })
            }
        };
        if ran {
            let took = self.clock.now().since(self.started);
            self.panel.record(Series::JobDuration, took);
            self.panel.add(Counter::Busy, took.as_micros() as u64);
        }
        self.panel.shift(Gauge::WorkersBusy, -1);
        self.finish(job, result);
        panicked
    }

    /// Counts a job that is left to others.
    pub fn left_elsewhere(&self) {
        self.panel.count(Counter::JobsElsewhere);
    }

    /// The same for a job that was done elsewhere, in so long.
    pub fn finish_elsewhere(&mut self, job: &Job, result: Result<Outcome, Fault>, took: Duration) {
        self.has_first = true;
        self.panel.record(Series::JobDuration, took);
        self.hand_in(job, result, took.as_micros().min(u128::from(u32::MAX)) as u32);
    }

    /// Hands a job's final outcome in and counts it.
    pub fn finish(&mut self, job: &Job, result: Result<Outcome, Fault>) {
        let provider_us = self.hands.end(self.clock.now());
        self.hand_in(job, result, provider_us);
    }

    fn hand_in(&mut self, job: &Job, result: Result<Outcome, Fault>, provider_us: u32) {
        // A cancel explains every other trouble of the job.
        let result = match result {
            Err(_) if job.cancel.is_cancelled() => Err(Fault::cancelled()),
            other => other,
        };
        self.panel.count(counter(result.as_ref().err().map(|fault| fault.cause)));
        if result.is_ok() {
            self.first();
        }
        let outcome = result.unwrap_or_else(|fault| {
            let sentence = if let Work::Speak(what) = &job.work { what.sentence } else { 0 };
            Outcome::Failed(Box::new(Failure { stage: self.stage, sentence, fault }))
        });
        // The end tells of all that was laid out before it. `Err`: the shard is gone, and nobody waits for this answer.
        self.untold = 0;
        let _ = self.desk.publish(Answer { ticket: job.ticket, outcome, provider_us }, &job.cancel, job.deadline);
        self.tally.settle(&self.panel, bell::rung_by_this_thread());
    }

    /// Hands a piece in; the time of the first one is recorded.
    pub fn piece(&mut self, job: &Job, outcome: Outcome) -> Result<(), Gone> {
        self.first();
        let provider_us = self.hands.taken_us(self.clock.now());
        self.desk.publish(Answer { ticket: job.ticket, outcome, provider_us }, &job.cancel, job.deadline)
    }

    /// Hands in a piece that has others right behind it: the shard is told of the first at once, then of several together, as
    /// waking it costs more than a packet. [`Bench::told`] tells of the rest.
    pub fn piece_of_several(&mut self, job: &Job, outcome: Outcome) -> Result<(), Gone> {
        let is_first = !self.has_first;
        self.first();
        // Of several only the first can be the reply's first.
        let provider_us = if is_first { self.hands.taken_us(self.clock.now()) } else { 0 };
        let laid = self.desk.lay(Answer { ticket: job.ticket, outcome, provider_us }, &job.cancel, job.deadline);
        self.untold += 1;
        if is_first || self.untold >= limits::PIECES_UNTOLD {
            self.told(job);
        }
        laid
    }

    /// Tells the shard of pieces that it does not know of yet.
    pub fn told(&mut self, job: &Job) {
        if std::mem::take(&mut self.untold) > 0 {
            self.desk.announce(job.ticket.shard);
        }
    }

    /// Counts Opus packets passed on and packets encoded here.
    pub fn made(&self, (passed, encoded): (u64, u64)) {
        self.panel.add(Counter::PacketsPassed, passed);
        self.panel.add(Counter::PacketsEncoded, encoded);
    }

    /// Counts packets of kept speech.
    pub fn said_again(&self, packets: u64) {
        self.panel.add(Counter::PacketsKept, packets);
    }

    /// Notes how long a job waited for this worker.
    pub fn waited(&self, wait: Duration) {
        self.panel.record(Series::JobWait, wait);
    }

    /// What a provider is told of a job; `deadline` is the job's, or an earlier one.
    pub fn call(&self, job: &Job, deadline: Instant) -> Call {
        Call { clock: self.clock, deadline: deadline.min(job.deadline), cancel: job.cancel.clone(), ticket: job.ticket }
    }

    fn first(&mut self) {
        if !self.has_first {
            self.has_first = true;
            self.panel.record(Series::JobFirst, self.clock.now().since(self.started));
        }
    }
}

/// Builds a provider; a panic while building is a fault like another.
pub fn build_guarded<P: ?Sized>(build: &dyn Fn() -> Built<P>) -> Built<P> {
    catch_unwind(AssertUnwindSafe(build))
        .unwrap_or_else(|_| Err(Fault::new(Cause::Internal, "the provider panicked while it was set up")))
}

fn counter(cause: Option<Cause>) -> Counter {
    match cause {
        None => Counter::JobsOk,
        Some(Cause::Malformed) => Counter::JobsMalformed,
        Some(Cause::Overload) => Counter::JobsOverload,
        Some(Cause::Timeout) => Counter::JobsTimeout,
        Some(Cause::Unavailable) => Counter::JobsUnavailable,
        Some(Cause::Refused) => Counter::JobsRefused,
        Some(Cause::Internal) => Counter::JobsInternal,
        Some(Cause::Cancelled) => Counter::JobsCancelled,
    }
}
