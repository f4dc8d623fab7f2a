//! Utterances that a model on our own cores leaves to the recognisers behind it, because more people talk than it can recognise
//! in good time. Each call has a thread of its own, for the model's goes on meanwhile; their number is bounded, and what finds
//! no place stays in the model's queue.

use super::chain::Behind;
use crate::audio::block::Speech;
use crate::format::Codec;
use crate::ids::Ticket;
use crate::job::{Job, Recognise, Transcript, Work};
use crate::lanes::Doorbell;
use crate::limits;
use crate::providers::Call;
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Clock, Duration, Instant};
use crossbeam::channel::{Receiver, Sender, bounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::Builder;

/// The calls of one worker.
pub struct Elsewhere {
    behind: Behind,
    clock: Clock,
    /// The worker's: rung when a call is over.
    bell: Doorbell,
    stack: usize,
    jobs: Vec<Job>,
    send: Sender<Over>,
    over: Receiver<Over>,
}

/// A call that is over.
struct Over {
    ticket: Ticket,
    result: Result<Transcript, Fault>,
    took: Duration,
}

/// What became of a job.
pub struct Done {
    /// The job.
    pub job: Job,
    /// The transcript, or why there is none.
    pub result: Result<Transcript, Fault>,
    /// How long the call took.
    pub took: Duration,
}

impl Elsewhere {
    /// No call under way. `stack` is that of each thread, bytes.
    pub fn new(behind: Behind, clock: Clock, bell: Doorbell, stack: usize) -> Elsewhere {
        // As many places as calls: a thread never waits to tell its end.
        let (send, over) = bounded(limits::ELSEWHERE);
        Elsewhere { behind, clock, bell, stack, jobs: Vec::new(), send, over }
    }

    /// Whether a call would be made, and at once.
    pub fn has_room(&self, now: Instant) -> bool {
        self.jobs.len() < limits::ELSEWHERE && self.behind.is_open(now)
    }

    /// Calls under way.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether no call is under way.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes an utterance, the words of its blocks, that is to be recognised by then. Back comes the job if no thread could be started.
    // The error is the job itself: nothing is lost.
    #[allow(clippy::result_large_err)]
    pub fn take(&mut self, job: Job, codec: Codec, words: Vec<i16>, by: Instant) -> Result<(), Job> {
        let Work::Recognise(how) = &job.work else { return Err(job) };
        let how = how.clone();
        let call = Call { clock: self.clock, deadline: by, cancel: job.cancel.clone(), ticket: job.ticket };
        let (behind, send, bell) = (self.behind.clone(), self.send.clone(), self.bell.clone());
        let thread = Builder::new().name("asr-elsewhere".into()).stack_size(self.stack);
        let spawned = thread.spawn(move || {
            let begun = call.clock.now();
            let result = recognise(&behind, Speech::of(codec, &words), &how, &call);
            let took = call.clock.now().since(begun);
            // Nobody listens when the worker is gone; its jobs are answered for then.
            let _ = send.send(Over { ticket: call.ticket, result, took });
            bell.ring();
        });
        if spawned.is_err() {
            return Err(job);
        }
        self.jobs.push(job);
        Ok(())
    }

    /// The next job whose call is over.
    pub fn next_done(&mut self) -> Option<Done> {
        let Over { ticket, result, took } = self.over.try_recv().ok()?;
        let i = self.jobs.iter().position(|job| job.ticket == ticket)?;
        Some(Done { job: self.jobs.swap_remove(i), result, took })
    }
}

fn recognise(behind: &Behind, speech: Speech<'_>, how: &Recognise, call: &Call) -> Result<Transcript, Fault> {
    let heard = || behind.recogniser()?.recognise(speech, how, call);
    catch_unwind(AssertUnwindSafe(heard)).unwrap_or_else(|_| Err(Fault::new(Cause::Internal, "the provider panicked")))
}
