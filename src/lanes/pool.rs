//! A shard's end of the lanes to one stage.
//!
//! ```text
//!   submit --> [waiting, bounded] --> seat claimed --> lane --> worker
//!                                                      lane <-- answers <-- worker
//!   drain:  swap ready bits -> visit those lanes -> new lanes -> waiting jobs to freed workers
//! ```
//!
//! A pass over an idle pool of 1,024 workers reads 16 words. A lane is visited only when its worker set its bit.

use super::lane::{Given, Order, ShardEnd};
use super::plant::{Flow, Plant};
use super::waiting::{Waiting, WaitingJobs};
use crate::audio::block::AudioBlock;
use crate::ids::Ticket;
use crate::job::{Answer, Failure, Job, Outcome, Stage};
use crate::limits;
use crate::resilience::fault::DIED;
use crate::time::{Duration, Instant};
use crossbeam::channel::Receiver;
use ringbuf::traits::{Consumer, Observer, Producer};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// How urgent a job is; within a class the earlier deadline goes first. Ageing lifts a class after a while. What controls (an
/// abort, a cancel, a barge-in) is above all of them: it is no job, waits nowhere and acts at once ([`crate::job::Cancel`]).
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
// An answer carries its audio or text inline; it is moved, not boxed, on the way back too.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Taken {
    /// Gone.
    Yes,
    /// Here it is back. It stays at the head of its lane, and with it all behind it: back-pressure to that one worker.
    No(Answer),
}

/// See the room's documentation.
pub struct Pool {
    plant: Arc<Plant>,
    shard: usize,
    arrivals: Receiver<ShardEnd>,
    /// A new lane whose seat's former lane still has answers.
    arrived: VecDeque<ShardEnd>,
    lanes: Box<[Option<Box<ShardEnd>>]>,
    /// Seats with a lane, for scans.
    present: Vec<u16>,
    waiting: WaitingJobs,
    /// Seats with news not yet looked at.
    ready: Box<[u64]>,
    /// Seats of this pass, in the order of their visits; kept for its memory.
    round: Vec<u16>,
    /// Where the last pass stopped.
    turn: usize,
    /// Which lane has an utterance.
    hearing: HashMap<Ticket, u16>,
    /// Seats whose workers are to be rung.
    due: Vec<u16>,
}

/// What a visit to a lane found.
#[derive(PartialEq, Eq)]
enum Visit {
    /// Nothing left.
    Empty,
    /// The reader does not want more now.
    Refused,
    /// The budget is used up.
    More,
}

impl Pool {
    pub(super) fn new(plant: Arc<Plant>, shard: usize, arrivals: Receiver<ShardEnd>) -> Pool {
        let max = plant.spec.max;
        // Twice what can be in it: the table then cleans itself in place and never allocates again.
        let hearing = if plant.spec.flow == Flow::JobsOnly { 0 } else { 2 * max * plant.spec.capacity as usize };
        Pool {
            shard,
            arrivals,
            arrived: VecDeque::new(),
            lanes: (0..max).map(|_| None).collect(),
            present: Vec::with_capacity(max),
            waiting: WaitingJobs::new(),
            ready: vec![0; max.div_ceil(64)].into(),
            round: Vec::with_capacity(max),
            turn: 0,
            hearing: HashMap::with_capacity(hearing.min(2 * limits::POOL_THREADS)),
            due: Vec::with_capacity(max),
            plant,
        }
    }

    /// Which stage.
    pub fn stage(&self) -> Stage {
        self.plant.stage
    }

    /// Takes a job. When [`crate::limits::WAITING_JOBS`] wait already, the least urgent is given back, this one or another; and
    /// while the queue has been overflowing for long, so is all new work. Fairness: one session's waiting jobs do not pass
    /// another's older ones of the same class.
    pub fn submit(&mut self, now: Instant, class: Class, job: Job) -> Result<(), Box<Job>> {
        debug_assert_eq!(usize::from(job.ticket.shard.0), self.shard, "answers go to the shard of the ticket");
        if self.waiting.is_empty()
            && let Some(slot) = self.claim()
        {
            self.give(slot, now, job);
            self.want_growth();
            return Ok(());
        }
        let pushed = self.waiting.push(now, class, job);
        self.tell_waiting();
        // Once more, now that workers can see that a job waits (pairs with `Plant::release`).
        self.dispatch(now);
        pushed.map_err(Box::new)
    }

    /// Writes one block of the utterance with that ticket into its lane. `false`: no room, or its job still waits for a worker;
    /// try again in a later pass.
    pub fn feed(&mut self, block: &AudioBlock) -> bool {
        let Some(&slot) = self.hearing.get(&block.ticket) else { return false };
        let Some(lane) = self.lanes[slot as usize].as_deref_mut() else { return false };
        let Some(blocks) = &mut lane.blocks else { return false };
        if blocks.is_full() || blocks.try_push(block.clone()).is_err() {
            mark_due(&mut self.due, lane);
            return false;
        }
        lane.blocks_in += 1;
        let half_full = blocks.occupied_len() * 2 >= blocks.capacity().get();
        if self.plant.spec.flow == Flow::Live || block.last || half_full {
            mark_due(&mut self.due, lane);
        }
        true
    }

    /// Forgets the waiting jobs of that ticket (cancelled before a worker had them), and makes the worker that hears its
    /// utterance look up. Set the job's cancel first.
    pub fn withdraw(&mut self, ticket: Ticket) {
        if self.waiting.withdraw(ticket) > 0 {
            self.tell_waiting();
        }
        let lane = self.hearing.get(&ticket).and_then(|&slot| self.lanes[slot as usize].as_deref_mut());
        if let Some(lane) = lane {
            mark_due(&mut self.due, lane);
        }
    }

    /// Gives all answers that have come to `take`, lane by lane, at most `budget`; then hands waiting jobs to workers that have
    /// become free, and gives those past their deadline back through `expired`. Returns whether the budget left answers behind;
    /// refused ones do not count, the pass that makes room for them comes here anyway.
    ///
    /// To be called in every pass between [`super::Doorbell::awake`] and [`super::Doorbell::may_sleep`]: workers ring once,
    /// then rely on this look. Jobs of a worker that died are answered here, as failed by a defect of ours.
    pub fn drain(
        &mut self,
        now: Instant,
        budget: usize,
        take: &mut dyn FnMut(Answer) -> Taken,
        expired: &mut dyn FnMut(Job),
    ) -> bool {
        self.plant.sides[self.shard].take_ready(&mut self.ready);
        let left = self.visit_ready(budget, take);
        self.receive_lanes();
        if !self.waiting.is_empty() {
            self.waiting.expire(now, expired);
            self.tell_waiting();
            self.dispatch(now);
        }
        left
    }

    /// Rings the doorbell of each worker that was given something since the last call.
    pub fn ring_doorbells(&mut self) {
        for slot in self.due.drain(..) {
            if let Some(lane) = self.lanes[slot as usize].as_deref_mut() {
                lane.due = false;
                lane.bell.ring();
            }
        }
    }

    /// Whether new work is turned away, so many jobs having waited for so long.
    pub fn is_shut(&mut self) -> bool {
        self.waiting.is_shut()
    }

    /// Jobs of this shard waiting for a worker. Cheap: for every pass.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Jobs of this shard waiting for a worker, workers of the stage, and workers busy. Looks at every seat.
    pub fn depth(&self) -> (usize, usize, usize) {
        (self.waiting.len(), self.plant.alive(), self.plant.busy())
    }

    /// How long the oldest job has been with a worker that has not looked at it, and how long the oldest one waits for a worker.
    /// Where workers gather jobs they tell themselves what they cannot do in time, and this is zero. Looks at every lane.
    pub fn oldest(&self, now: Instant) -> (Duration, Duration) {
        if self.plant.spec.capacity > 1 {
            return (Duration::ZERO, Duration::ZERO);
        }
        let lanes = self.present.iter().filter_map(|&slot| self.lanes[slot as usize].as_deref());
        let untaken = lanes.filter(|lane| !lane.orders.is_empty()).map(|lane| now.since(lane.given_at)).max();
        let waiting = self.waiting.oldest().map(|since| now.since(since));
        (untaken.unwrap_or_default(), waiting.unwrap_or_default())
    }

    /// After its reader has panicked: whatever was being looked at is looked at again, and everybody is rung who may wait for us.
    pub fn look_again(&mut self) {
        self.due.clear();
        for &slot in &self.present {
            self.ready[slot as usize / 64] |= 1 << (slot % 64);
            let Some(lane) = self.lanes[slot as usize].as_deref_mut() else { continue };
            lane.due = false;
            mark_due(&mut self.due, lane);
        }
        let lanes = &self.lanes;
        self.hearing.retain(|ticket, slot| {
            let lane = lanes[*slot as usize].as_deref();
            lane.is_some_and(|lane| lane.given.iter().any(|given| given.ticket == *ticket))
        });
    }

    // --- answers --------------------------------------------------------------------------------------------------------

    fn visit_ready(&mut self, budget: usize, take: &mut dyn FnMut(Answer) -> Taken) -> bool {
        let mut round = std::mem::take(&mut self.round);
        round.clear();
        for (i, word) in self.ready.iter_mut().enumerate() {
            while *word != 0 {
                round.push((i * 64) as u16 + word.trailing_zeros() as u16);
                *word &= *word - 1;
            }
        }
        // Begin behind the lane where the last pass stopped, so that a small budget does not always serve the same lanes.
        let first = round.partition_point(|&slot| (slot as usize) < self.turn);
        let (mut budget, mut left) = (budget, false);
        for &slot in round[first..].iter().chain(&round[..first]) {
            let before = budget;
            let visit = self.visit(slot, &mut budget, take);
            if before > 0 && budget == 0 {
                self.turn = slot as usize + 1;
            }
            if visit != Visit::Empty {
                self.ready[slot as usize / 64] |= 1 << (slot % 64);
            }
            left |= visit == Visit::More;
        }
        self.round = round;
        left
    }

    fn visit(&mut self, slot: u16, budget: &mut usize, take: &mut dyn FnMut(Answer) -> Taken) -> Visit {
        let Some(lane) = self.lanes[slot as usize].as_deref_mut() else { return Visit::Empty };
        // Asked before the ring is emptied: what a worker pushed before it died is read below.
        let dead = !lane.answers.write_is_held();
        let allowed = limits::LANE_BUDGET.min(*budget);
        let mut taken = 0;
        let visit = loop {
            if taken == allowed {
                let empty = lane.refused.is_none() && lane.answers.is_empty();
                break if empty { Visit::Empty } else { Visit::More };
            }
            let Some(answer) = lane.refused.take().or_else(|| lane.answers.try_pop()) else { break Visit::Empty };
            let over = Given::of_final(&answer);
            if let Taken::No(answer) = take(answer) {
                lane.refused = Some(answer);
                break Visit::Refused;
            }
            taken += 1;
            if let Some(over) = over {
                forget(lane, over, &mut self.hearing);
            }
        };
        *budget -= taken;
        if taken > 0 {
            // Pairs with `Desk::push`: the worker says that it wants room, then looks at the ring once more; we made room,
            // then look whether it wants some. The fences put both pairs into one order.
            fence(Ordering::SeqCst);
            if lane.wants_room.load(Ordering::Relaxed) {
                lane.wants_room.store(false, Ordering::Relaxed);
                mark_due(&mut self.due, lane);
            }
        }
        if dead && visit == Visit::Empty { self.bury(slot, take) } else { visit }
    }

    /// Answers for the jobs of a dead worker and forgets its lane.
    fn bury(&mut self, slot: u16, take: &mut dyn FnMut(Answer) -> Taken) -> Visit {
        let Some(lane) = self.lanes[slot as usize].as_deref_mut() else { return Visit::Empty };
        while let Some(&given) = lane.given.last() {
            if let Taken::No(_) = take(lost(self.plant.stage, given)) {
                return Visit::Refused;
            }
            forget(lane, given, &mut self.hearing);
        }
        self.lanes[slot as usize] = None;
        self.present.retain(|&other| other != slot);
        Visit::Empty
    }

    // --- jobs -----------------------------------------------------------------------------------------------------------

    /// Hands waiting jobs to free workers.
    fn dispatch(&mut self, now: Instant) {
        while !self.waiting.is_empty() {
            let Some(slot) = self.claim() else { break };
            match self.waiting.pop(now) {
                Some(Waiting { job, since, .. }) => self.give(slot, since, job),
                None => self.plant.release(slot),
            }
        }
        self.tell_waiting();
        self.want_growth();
    }

    /// Claims a place at the least occupied worker.
    fn claim(&mut self) -> Option<usize> {
        // Another shard may be quicker at the seat we chose; then we choose again, at most once for each of ours.
        for _ in 0..=self.present.len() {
            if self.plant.free() <= 0 {
                return None;
            }
            let (slot, generation) = self.least_occupied()?;
            if self.plant.claim(slot, generation) {
                return Some(slot);
            }
        }
        None
    }

    fn least_occupied(&self) -> Option<(usize, u32)> {
        let mut best: Option<(u32, usize, u32)> = None;
        for &slot in &self.present {
            let Some(lane) = self.lanes[slot as usize].as_deref() else { continue };
            let Some(held) = self.plant.held(lane.slot, lane.generation) else { continue };
            if held == 0 {
                return Some((lane.slot, lane.generation));
            }
            if held < self.plant.spec.capacity && best.is_none_or(|(least, ..)| held < least) {
                best = Some((held, lane.slot, lane.generation));
            }
        }
        best.map(|(_, slot, generation)| (slot, generation))
    }

    /// Puts a job on the lane of a worker at which a place was claimed.
    fn give(&mut self, slot: usize, submitted: Instant, job: Job) {
        let Some(lane) = self.lanes[slot].as_deref_mut() else {
            debug_assert!(false, "a seat is claimed only through its lane");
            return;
        };
        let given = Given::of_job(&job);
        if lane.blocks.is_some() {
            self.hearing.insert(job.ticket, slot as u16);
        }
        lane.given.push(given);
        lane.given_at = submitted;
        let pushed = lane.orders.try_push(Order { job, submitted, blocks_before: lane.blocks_in });
        debug_assert!(pushed.is_ok(), "as many places in the ring as at the seat");
        mark_due(&mut self.due, lane);
    }

    /// Lets workers and the foreman know how many jobs wait here.
    fn tell_waiting(&self) {
        self.plant.sides[self.shard].waiting.store(self.waiting.len(), Ordering::SeqCst);
    }

    /// Rings the foreman when no place is left and the pool may still grow: one worker ahead of need.
    fn want_growth(&self) {
        let spare = i64::from(self.plant.spec.max > self.plant.spec.min);
        let short = !self.waiting.is_empty() || self.plant.free() < spare;
        if short && self.plant.may_grow.load(Ordering::Relaxed) {
            self.plant.foreman.ring();
        }
    }

    /// Takes up lanes of new workers.
    fn receive_lanes(&mut self) {
        while let Ok(lane) = self.arrivals.try_recv() {
            self.arrived.push_back(lane);
        }
        for _ in 0..self.arrived.len() {
            let Some(lane) = self.arrived.pop_front() else { break };
            if self.lanes[lane.slot].is_some() {
                // The seat's former worker is dead, but its last answers are still being taken.
                self.arrived.push_back(lane);
                continue;
            }
            let slot = lane.slot;
            self.present.push(slot as u16);
            self.lanes[slot] = Some(Box::new(lane));
            // Its worker may have died, or been told of news, before we knew the lane.
            self.ready[slot / 64] |= 1 << (slot % 64);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.plant.sides[self.shard].waiting.store(0, Ordering::SeqCst);
        self.arrived.extend(self.arrivals.try_iter());
        let lanes = self.lanes.iter().flatten().map(|lane| &lane.bell);
        let bells: Vec<_> = lanes.chain(self.arrived.iter().map(|lane| &lane.bell)).cloned().collect();
        self.lanes = Box::default();
        self.arrived.clear();
        // Rung after the rings are dropped: workers look, and find us gone.
        bells.iter().for_each(super::Doorbell::ring);
        self.plant.shard_gone();
    }
}

fn mark_due(due: &mut Vec<u16>, lane: &mut ShardEnd) {
    if !lane.due {
        lane.due = true;
        due.push(lane.slot as u16);
    }
}

/// A job is over: its entry and the way to its lane go.
fn forget(lane: &mut ShardEnd, over: Given, hearing: &mut HashMap<Ticket, u16>) {
    if let Some(i) = lane.given.iter().position(|given| *given == over) {
        lane.given.swap_remove(i);
    }
    // Only if it leads here: the utterance may be on another worker's lane by now.
    if lane.blocks.is_some() && hearing.get(&over.ticket) == Some(&(lane.slot as u16)) {
        hearing.remove(&over.ticket);
    }
}

/// The answer of a worker that cannot give one any more.
fn lost(stage: Stage, given: Given) -> Answer {
    let failure = Failure::internal(stage, given.sentence, DIED);
    Answer::new(given.ticket, Outcome::Failed(Box::new(failure)))
}
