//! A worker's end of its lanes.

use super::bell::Doorbell;
use super::lane::{Order, WorkerEnd};
use super::plant::Plant;
use crate::audio::block::AudioBlock;
use crate::ids::{ShardId, Ticket};
use crate::job::{Answer, Cancel, Job};
use crate::limits;
use crate::time::{Clock, Duration, Instant};
use crossbeam::sync::Parker;
use ringbuf::traits::{Consumer, Observer, Producer};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// See the room's documentation. Moved into the worker's thread; when it is dropped, by return or by panic, the shards answer
/// for jobs that were still open, and the foreman seats another worker if one is needed.
pub struct Desk {
    plant: Arc<Plant>,
    slot: usize,
    generation: u32,
    /// One per shard, by its index.
    lanes: Vec<WorkerEnd>,
    /// Jobs read from the lanes and not yet given out, with the time each had waited.
    inbox: VecDeque<(Job, Duration)>,
    waited: Duration,
    /// Which lane is looked at first.
    turn: usize,
    bell: Doorbell,
    parker: Parker,
    clock: Clock,
    seated: bool,
}

/// Why an answer could not be handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The job was taken back, or the shard is no more.
    Cancelled,
    /// The shard took nothing until the deadline.
    Deadline,
}

impl Desk {
    pub(super) fn new(
        plant: Arc<Plant>,
        slot: usize,
        generation: u32,
        lanes: Vec<WorkerEnd>,
        (bell, parker): (Doorbell, Parker),
        clock: Clock,
    ) -> Desk {
        Desk {
            plant,
            slot,
            generation,
            lanes,
            inbox: VecDeque::new(),
            waited: Duration::ZERO,
            turn: 0,
            bell,
            parker,
            clock,
            seated: true,
        }
    }

    /// The next job, waiting up to `wait` for one; `None` on timeout or when the server ends ([`Desk::is_over`]).
    pub fn next_job(&mut self, wait: Duration) -> Option<Job> {
        let until = self.clock.now() + wait;
        loop {
            self.bell.awake();
            self.read_orders();
            if let Some((job, waited)) = self.inbox.pop_front() {
                self.waited = waited;
                return Some(job);
            }
            if !self.sleep(until) {
                return None;
            }
        }
    }

    /// Blocks that are there, at most `max`, from all shards, waiting up to `wait` for the first (the seed's `get_batch(10, 1 s)`,
    /// woken and not polled). Never waits to fill a batch. Comes back with nothing, before `wait` is over, when it was rung for
    /// another reason: a job has come, or one was taken back. The job of a block is there for [`Desk::next_job`] together with
    /// the block, or before it.
    pub fn next_blocks(&mut self, max: usize, wait: Duration, into: &mut Vec<AudioBlock>) {
        let until = self.clock.now() + wait;
        self.bell.awake();
        self.read_blocks(max, into);
        if into.is_empty() && self.inbox.is_empty() && self.sleep(until) {
            self.bell.awake();
            self.read_blocks(max, into);
        }
    }

    /// Hands an answer in. A piece waits while the ring is full, until `deadline` or until the job is cancelled. A final
    /// outcome ends the job: it waits as long as the shard lives, and whatever comes of it the worker's place is free again.
    pub fn publish(&mut self, answer: Answer, cancel: &Cancel, deadline: Instant) -> Result<(), Gone> {
        let (ticket, is_final) = (answer.ticket, answer.outcome.is_final());
        let pushed = self.push(answer, cancel, deadline);
        if is_final {
            self.end_job(ticket);
        }
        self.announce(ticket.shard);
        pushed
    }

    /// As [`Desk::publish`] for a piece with others right behind it: the shard is not told, unless the ring is full. Whoever calls
    /// this calls [`Desk::announce`] soon.
    pub fn lay(&mut self, piece: Answer, cancel: &Cancel, deadline: Instant) -> Result<(), Gone> {
        debug_assert!(!piece.outcome.is_final(), "an end is published");
        self.push(piece, cancel, deadline)
    }

    /// Tells a shard of what was laid out for it.
    pub fn announce(&self, shard: ShardId) {
        if let Some(side) = self.plant.sides.get(usize::from(shard.0)) {
            self.plant.announce(side, self.slot);
        }
    }

    /// What wakes this worker: whoever rings has it look up.
    pub fn bell(&self) -> Doorbell {
        self.bell.clone()
    }

    /// How long the job last given out had waited since the shard got it.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The server is ending, or all shards have gone: finish and return.
    pub fn is_over(&self) -> bool {
        self.plant.is_over() || self.lanes.iter().all(|lane| !lane.answers.read_is_held())
    }

    /// A worker that has had nothing to do asks whether it may end. `true`: no job can come any more; drop the desk.
    pub fn retire(&mut self) -> bool {
        if !self.inbox.is_empty() || !self.plant.retire(self.slot, self.generation) {
            return false;
        }
        self.plant.retired.fetch_add(1, Ordering::Relaxed);
        self.seated = false;
        true
    }

    // --- reading --------------------------------------------------------------------------------------------------------

    fn read_orders(&mut self) {
        let n = self.lanes.len();
        for i in 0..n {
            let lane = &mut self.lanes[(self.turn + i) % n];
            while let Some(order) = lane.orders.try_pop() {
                accept(lane, &mut self.inbox, order, self.clock.now());
            }
        }
        self.turn = (self.turn + 1) % n.max(1);
    }

    fn read_blocks(&mut self, max: usize, into: &mut Vec<AudioBlock>) {
        let n = self.lanes.len();
        for i in 0..n {
            let lane = &mut self.lanes[(self.turn + i) % n];
            // Counted before the orders are read: the job of each of these blocks was pushed before it, so it is there.
            let there = lane.blocks.as_ref().map_or(0, |blocks| blocks.occupied_len());
            while let Some(order) = lane.orders.try_pop() {
                accept(lane, &mut self.inbox, order, self.clock.now());
            }
            for _ in 0..there {
                if into.len() >= max {
                    break;
                }
                let Some(block) = lane.blocks.as_mut().and_then(|blocks| blocks.try_pop()) else { break };
                let number = lane.blocks_out;
                lane.blocks_out += 1;
                // Blocks of a job that is over, or of an earlier attempt at the same utterance, end here.
                if lane.open.iter().any(|&(ticket, first)| ticket == block.ticket && number >= first) {
                    into.push(block);
                }
            }
        }
        self.turn = (self.turn + 1) % n.max(1);
    }

    /// Sleeps until rung or until `until`; `false` when it is no use to look again.
    fn sleep(&self, until: Instant) -> bool {
        if self.is_over() {
            return false;
        }
        let left = until.until(self.clock.now());
        if left.is_zero() {
            return false;
        }
        if self.bell.may_sleep() {
            self.parker.park_timeout(left);
        }
        true
    }

    // --- answering ------------------------------------------------------------------------------------------------------

    fn push(&mut self, answer: Answer, cancel: &Cancel, deadline: Instant) -> Result<(), Gone> {
        let is_final = answer.outcome.is_final();
        let shard = usize::from(answer.ticket.shard.0);
        let mut answer = answer;
        loop {
            if !is_final && cancel.is_cancelled() {
                return Err(Gone::Cancelled);
            }
            let Some(lane) = self.lanes.get_mut(shard) else { return Err(Gone::Cancelled) };
            if !lane.answers.read_is_held() {
                return Err(Gone::Cancelled);
            }
            match lane.answers.try_push(answer) {
                Ok(()) => return Ok(()),
                Err(back) => answer = back,
            }
            self.bell.awake();
            lane.wants_room.store(true, Ordering::Relaxed);
            // Pairs with `Pool::visit`: say that we want room, then look again.
            fence(Ordering::SeqCst);
            if !lane.answers.is_full() {
                continue;
            }
            // What was only laid out makes no room until the shard knows of it.
            if let Some(side) = self.plant.sides.get(shard) {
                self.plant.announce(side, self.slot);
            }
            if self.plant.is_over() {
                return Err(Gone::Cancelled);
            }
            let left = deadline.until(self.clock.now());
            if !is_final && left.is_zero() {
                return Err(Gone::Deadline);
            }
            let nap = if is_final { limits::PUBLISH_RECHECK } else { left.min(limits::PUBLISH_RECHECK) };
            if self.bell.may_sleep() {
                self.parker.park_timeout(nap);
            }
        }
    }

    fn end_job(&mut self, ticket: Ticket) {
        if let Some(lane) = self.lanes.get_mut(usize::from(ticket.shard.0)) {
            lane.open.retain(|&(open, _)| open != ticket);
        }
        self.plant.release(self.slot);
    }
}

/// Puts an order into the inbox and opens the door for its blocks.
fn accept(lane: &mut WorkerEnd, inbox: &mut VecDeque<(Job, Duration)>, order: Order, now: Instant) {
    if lane.blocks.is_some() {
        lane.open.push((order.job.ticket, order.blocks_before));
    }
    inbox.push_back((order.job, now.since(order.submitted)));
}

impl Drop for Desk {
    fn drop(&mut self) {
        // First nobody can claim a place any more, then the rings close, then the shards are told to look: so a shard that
        // claimed in time finds its job unanswered and the lane closed, and answers for it.
        if self.seated {
            self.plant.vacate(self.slot);
            if !self.plant.is_over() {
                self.plant.died.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.lanes.clear();
        for side in &self.plant.sides {
            self.plant.announce(side, self.slot);
        }
        self.plant.foreman.ring();
    }
}
