//! A shard's end of the lanes to one stage.

use crate::audio::pcm::PcmBlock;
use crate::ids::Ticket;
use crate::job::{Answer, Job, Stage};
use crate::time::Instant;

/// How urgent a job is; within a class the earlier deadline goes first. Ageing lifts a class after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The first sentence of a reply, a recognition whose user waits.
    First,
    /// What plays later.
    Live,
    /// What nobody waits for.
    Background,
}

/// Whether the reader of an answer took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Gone.
    Yes,
    /// It stays in the lane, and with it all behind it in that lane: back-pressure to that one worker.
    No,
}

/// See the room's documentation. Skeleton.
pub struct Pool {}

#[allow(unused_variables)]
impl Pool {
    /// Which stage.
    pub fn stage(&self) -> Stage {
        todo!()
    }

    /// Takes a job; gives it back when [`crate::limits::WAITING_JOBS`] wait already. Fairness: one session's waiting jobs do not
    /// pass another's older ones of the same class.
    pub fn submit(&mut self, now: Instant, class: Class, job: Job) -> Result<(), Box<Job>> {
        todo!()
    }

    /// Writes one block of the utterance with that ticket into its lane. `false`: no room, or its job still waits for a worker;
    /// try again in a later pass.
    pub fn feed(&mut self, block: &PcmBlock) -> bool {
        todo!()
    }

    /// Forgets a waiting job of that ticket (cancelled before a worker had it).
    pub fn withdraw(&mut self, ticket: Ticket) {
        todo!()
    }

    /// Gives all answers that have come to `take`, lane by lane, at most `budget`; then hands waiting jobs to workers that have
    /// become free, and gives those past their deadline back through `expired`. Returns whether answers are left.
    pub fn drain(
        &mut self,
        now: Instant,
        budget: usize,
        take: &mut dyn FnMut(Answer) -> Taken,
        expired: &mut dyn FnMut(Job),
    ) -> bool {
        todo!()
    }

    /// Rings the doorbell of each worker that was given something since the last call.
    pub fn ring_doorbells(&mut self) {
        todo!()
    }

    /// Jobs waiting for a worker, workers, and workers busy: gauges.
    pub fn depth(&self) -> (usize, usize, usize) {
        todo!()
    }
}
