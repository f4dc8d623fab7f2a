//! A worker's end of its lanes.

use crate::audio::pcm::PcmBlock;
use crate::job::{Answer, Cancel, Job};
use crate::time::{Duration, Instant};

/// See the room's documentation. Skeleton.
pub struct Desk {}

/// Why an answer could not be handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The job was taken back, or the shard is no more.
    Cancelled,
    /// The shard took nothing until the deadline.
    Deadline,
}

#[allow(unused_variables)]
impl Desk {
    /// The next job, waiting up to `wait` for one; `None` on timeout or when the server ends ([`Desk::is_over`]).
    pub fn next_job(&mut self, wait: Duration) -> Option<Job> {
        todo!()
    }

    /// Blocks that are there, at most `max`, from all shards, waiting up to `wait` for the first (the seed's `get_batch(10, 1 s)`,
    /// woken and not polled). Never waits to fill a batch.
    pub fn next_blocks(&mut self, max: usize, wait: Duration, into: &mut Vec<PcmBlock>) {
        todo!()
    }

    /// Hands an answer in; waits while the ring is full, until `deadline` or until the job is cancelled.
    pub fn publish(&mut self, answer: Answer, cancel: &Cancel, deadline: Instant) -> Result<(), Gone> {
        todo!()
    }

    /// The server is ending: finish and return.
    pub fn is_over(&self) -> bool {
        todo!()
    }
}
