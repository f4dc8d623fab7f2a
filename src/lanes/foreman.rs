//! Who seats workers: grows a pool when jobs wait, replaces workers that died.
//!
//! A shard must never start a thread (it is pinned, and a child inherits its mask), so it only rings. The foreman runs on a
//! thread of its own, asleep unless rung. It brings the lanes of a new worker to every shard through a channel and rings them.

use super::bell::Doorbell;
use super::desk::Desk;
use super::lane::{ShardEnd, lane};
use super::plant::{Plant, PoolSpec};
use super::pool::Pool;
use crate::job::Stage;
use crate::limits;
use crate::time::{Clock, Duration, Instant};
use crossbeam::channel::{Sender, TrySendError, bounded};
use crossbeam::sync::Parker;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Starts the thread of one worker: given its desk and its seat (a number below the pool's maximum).
pub type Spawn = Box<dyn FnMut(Desk, usize) -> io::Result<()> + Send>;

/// Builds the lanes of one stage: a pool for each shard (in the order of the doorbells, which is that of [`crate::ids::ShardId`])
/// and the foreman, whose [`Foreman::run`] seats the first workers. `spawn` must not pin the thread it starts.
pub fn build(stage: Stage, spec: PoolSpec, shards: &[Doorbell], clock: Clock, spawn: Spawn) -> (Vec<Pool>, Foreman) {
    let spec = spec.bounded();
    let parker = Parker::new();
    let unparker = parker.unparker().clone();
    let bell = Doorbell::new(move || unparker.unpark());
    let plant = Arc::new(Plant::new(stage, spec, shards, bell.clone()));
    // As many places as workers; a shard that has not looked for longer than that is brought its lanes later.
    let (senders, receivers): (Vec<_>, Vec<_>) = shards.iter().map(|_| bounded(spec.max)).unzip();
    let pools = receivers.into_iter().enumerate().map(|(i, r)| Pool::new(plant.clone(), i, r)).collect();
    let foreman = Foreman {
        plant,
        senders,
        spawn,
        clock,
        bell,
        parker,
        undelivered: Vec::new(),
        died_seen: 0,
        calm_from: Instant::ZERO,
        paused_until: Instant::ZERO,
    };
    (pools, foreman)
}

/// See the module's documentation.
pub struct Foreman {
    plant: Arc<Plant>,
    senders: Vec<Sender<ShardEnd>>,
    spawn: Spawn,
    clock: Clock,
    bell: Doorbell,
    parker: Parker,
    /// Lanes whose shard's channel was full, with the shard; while there are any, nobody else is seated.
    undelivered: Vec<(usize, ShardEnd)>,
    died_seen: u32,
    /// A death before this instant follows another too soon.
    calm_from: Instant,
    paused_until: Instant,
}

/// Ends a pool and tells how it is: for the thread that runs the server.
#[derive(Clone)]
pub struct PoolHandle {
    plant: Arc<Plant>,
}

/// How a pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Workers now.
    pub workers: usize,
    /// Workers that hold a job now.
    pub busy: usize,
    /// Jobs that wait now, over all shards.
    pub waiting: usize,
    /// Workers started since the beginning.
    pub started: u32,
    /// Workers that died (panicked outside a job, or returned) since the beginning.
    pub died: u32,
    /// Workers that ended because they had nothing to do.
    pub retired: u32,
    /// Threads the system refused to start.
    pub not_started: u32,
}

impl Foreman {
    /// The handle by which the pool is ended.
    pub fn handle(&self) -> PoolHandle {
        PoolHandle { plant: self.plant.clone() }
    }

    /// Works until the pool is ended, then waits for its workers, [`limits::WORKERS_END`] at most. On a thread of its own that
    /// is not pinned.
    pub fn run(mut self) {
        while !self.plant.is_over() {
            self.bell.awake();
            let nap = self.pass(self.clock.now());
            if self.bell.may_sleep() {
                match nap {
                    Some(nap) => self.parker.park_timeout(nap),
                    None => self.parker.park(),
                }
            }
        }
        let until = self.clock.now() + limits::WORKERS_END;
        loop {
            self.bell.awake();
            let left = until.until(self.clock.now());
            if self.plant.alive() == 0 || left.is_zero() {
                return;
            }
            if self.bell.may_sleep() {
                self.parker.park_timeout(left);
            }
        }
    }

    /// One look: seats as many workers as are needed. Returns after what time it wants to look again if nobody rings.
    pub fn pass(&mut self, now: Instant) -> Option<Duration> {
        self.note_deaths(now);
        let lanes = std::mem::take(&mut self.undelivered);
        lanes.into_iter().for_each(|(shard, end)| self.deliver(shard, end));
        if !self.undelivered.is_empty() {
            return Some(limits::RESPAWN_PAUSE);
        }
        while self.is_short() && self.undelivered.is_empty() && !self.plant.is_over() {
            if now < self.paused_until {
                self.plant.may_grow.store(false, Ordering::Relaxed);
                return Some(self.paused_until.until(now));
            }
            if self.start().is_err() {
                self.plant.not_started.fetch_add(1, Ordering::Relaxed);
                self.paused_until = now + limits::SPAWN_RETRY;
            }
        }
        self.plant.may_grow.store(self.plant.alive() < self.plant.spec.max, Ordering::Relaxed);
        None
    }

    /// Whether another worker is needed and allowed: below the minimum, or more jobs than places, with one place to spare.
    fn is_short(&self) -> bool {
        let (spec, alive) = (self.plant.spec, self.plant.alive());
        if alive < spec.min {
            return true;
        }
        let waiting: usize = self.plant.sides.iter().map(|side| side.waiting.load(Ordering::SeqCst)).sum();
        alive < spec.max && self.plant.free() < waiting as i64 + 1
    }

    /// A worker that dies is replaced at once; if others follow, only so often.
    fn note_deaths(&mut self, now: Instant) {
        let died = self.plant.died.load(Ordering::SeqCst);
        if died == self.died_seen {
            return;
        }
        self.died_seen = died;
        if now < self.calm_from {
            self.paused_until = self.paused_until.max(self.calm_from);
        }
        self.calm_from = now.max(self.calm_from) + limits::RESPAWN_PAUSE;
    }

    /// Seats one worker and brings its lanes to the shards.
    fn start(&mut self) -> io::Result<()> {
        let slot = self.plant.empty_seat().ok_or_else(|| io::Error::other("no empty seat"))?;
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let bell = Doorbell::new(move || unparker.unpark());
        let generation = self.plant.seat(slot);
        let ends = || lane(self.plant.spec, slot, generation, bell.clone());
        let (shard_ends, worker_ends): (Vec<_>, Vec<_>) = self.senders.iter().map(|_| ends()).unzip();
        self.plant.bells.lock()[slot] = Some(bell.clone());
        let desk = Desk::new(self.plant.clone(), slot, generation, worker_ends, (bell, parker), self.clock);
        // On failure the desk is dropped in there, which empties the seat again.
        if let Err(e) = (self.spawn)(desk, slot) {
            self.plant.died.fetch_sub(1, Ordering::SeqCst);
            return Err(e);
        }
        self.plant.started.fetch_add(1, Ordering::Relaxed);
        shard_ends.into_iter().enumerate().for_each(|(shard, end)| self.deliver(shard, end));
        Ok(())
    }

    /// Brings a lane to its shard. A shard that is gone needs none.
    fn deliver(&mut self, shard: usize, end: ShardEnd) {
        match self.senders[shard].try_send(end) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(end)) => self.undelivered.push((shard, end)),
        }
        self.plant.sides[shard].bell.ring();
    }
}

impl PoolHandle {
    /// Ends the pool: workers finish what they do and return.
    pub fn end(&self) {
        self.plant.end();
    }

    /// Which stage.
    pub fn stage(&self) -> Stage {
        self.plant.stage
    }

    /// How the pool is now.
    pub fn state(&self) -> PoolState {
        let plant = &self.plant;
        PoolState {
            workers: plant.alive(),
            busy: plant.busy(),
            waiting: plant.sides.iter().map(|side| side.waiting.load(Ordering::Relaxed)).sum(),
            started: plant.started.load(Ordering::Relaxed),
            died: plant.died.load(Ordering::Relaxed),
            retired: plant.retired.load(Ordering::Relaxed),
            not_started: plant.not_started.load(Ordering::Relaxed),
        }
    }
}
