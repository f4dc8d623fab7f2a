//! What all shards and workers of one stage share: a few atomics, touched once or twice per job, never per frame.
//!
//! A *seat* is a worker's place in the pool: one word that holds its generation and how many jobs it holds. Shards claim by
//! compare-and-swap; the generation keeps a shard that still knows a dead worker from claiming its successor's room. Seats lie
//! close together on purpose: a scan for the least occupied of 1,024 reads 8 KB in a row.
//!
//! The two places where one thread must not sleep while another waits for it are marked *pairs with*.

use super::bell::Doorbell;
use crate::job::Stage;
use crossbeam::utils::CachePadded;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Whether blocks of audio travel on a pool's lanes, and how eagerly the worker is woken for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Jobs only.
    JobsOnly,
    /// Audio, of use when the utterance is complete: the worker is woken for the last block, and for a ring half full.
    Whole,
    /// Audio that is heard as it comes: the worker is woken in every pass that fed it.
    Live,
}

/// How a pool is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Workers started at once, and kept.
    pub min: usize,
    /// Workers at most; up to [`crate::limits::POOL_THREADS`].
    pub max: usize,
    /// Jobs one worker may hold: 1 for a service call, more where a worker gathers utterances and takes the most urgent.
    pub capacity: u32,
    /// Whether audio goes with the jobs.
    pub flow: Flow,
}

impl PoolSpec {
    /// The same with every number brought into its bounds.
    pub fn bounded(self) -> PoolSpec {
        let max = self.max.clamp(1, crate::limits::POOL_THREADS);
        PoolSpec { min: self.min.clamp(1, max), max, capacity: self.capacity.max(1), ..self }
    }
}

/// Held count of a seat nobody sits on.
const EMPTY: u32 = u32::MAX;

/// See the module's documentation.
pub(super) struct Plant {
    pub stage: Stage,
    pub spec: PoolSpec,
    pub sides: Box<[CachePadded<Side>]>,
    /// Rung for growth, deaths and the end.
    pub foreman: Doorbell,
    /// Growing is possible: not at the maximum, not pausing after a failed start.
    pub may_grow: AtomicBool,
    seats: Box<[AtomicU64]>,
    /// Bells of seated workers; only the foreman and whoever ends the pool lock it.
    pub bells: Mutex<Vec<Option<Doorbell>>>,
    /// Places nobody has claimed, over all seats. A hint for shards that may be late, never early in the pairing below.
    free: AtomicI64,
    alive: AtomicUsize,
    /// Shards that have dropped their pool.
    gone: AtomicUsize,
    over: AtomicBool,
    pub started: AtomicU32,
    pub died: AtomicU32,
    pub retired: AtomicU32,
    pub not_started: AtomicU32,
}

/// What belongs to one shard.
pub(super) struct Side {
    /// One bit per seat: the worker has published something since the shard last swapped the word to zero.
    ready: Box<[AtomicU64]>,
    /// Jobs that wait for a worker.
    pub waiting: AtomicUsize,
    pub bell: Doorbell,
}

impl Plant {
    pub(super) fn new(stage: Stage, spec: PoolSpec, shards: &[Doorbell], foreman: Doorbell) -> Plant {
        let words = spec.max.div_ceil(64);
        let side = |bell: &Doorbell| {
            CachePadded::new(Side {
                ready: (0..words).map(|_| AtomicU64::new(0)).collect(),
                waiting: AtomicUsize::new(0),
                bell: bell.clone(),
            })
        };
        Plant {
            stage,
            spec,
            sides: shards.iter().map(side).collect(),
            foreman,
            may_grow: AtomicBool::new(true),
            seats: (0..spec.max).map(|_| AtomicU64::new(word(0, EMPTY))).collect(),
            bells: Mutex::new(vec![None; spec.max]),
            free: AtomicI64::new(0),
            alive: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            started: AtomicU32::new(0),
            died: AtomicU32::new(0),
            retired: AtomicU32::new(0),
            not_started: AtomicU32::new(0),
        }
    }

    // --- seats ----------------------------------------------------------------------------------------------------------

    /// A seat nobody sits on.
    pub(super) fn empty_seat(&self) -> Option<usize> {
        self.seats.iter().position(|seat| held(seat.load(Ordering::SeqCst)) == EMPTY)
    }

    /// Seats a worker; returns its generation. Only the foreman does this.
    pub(super) fn seat(&self, slot: usize) -> u32 {
        let generation = generation(self.seats[slot].load(Ordering::SeqCst)).wrapping_add(1);
        self.seats[slot].store(word(generation, 0), Ordering::SeqCst);
        self.alive.fetch_add(1, Ordering::SeqCst);
        self.free.fetch_add(i64::from(self.spec.capacity), Ordering::SeqCst);
        generation
    }

    /// Jobs a seat holds; `None` when it is empty or another's by now.
    pub(super) fn held(&self, slot: usize, by: u32) -> Option<u32> {
        let seat = self.seats[slot].load(Ordering::Relaxed);
        (generation(seat) == by && held(seat) != EMPTY).then(|| held(seat))
    }

    /// Takes one place at a seat; `false` when there is none, or the seat is not that worker's any more.
    pub(super) fn claim(&self, slot: usize, by: u32) -> bool {
        let claimed = self.seats[slot].fetch_update(Ordering::SeqCst, Ordering::SeqCst, |seat| {
            let room = generation(seat) == by && held(seat) < self.spec.capacity;
            room.then(|| seat + 1)
        });
        if claimed.is_ok() {
            self.free.fetch_sub(1, Ordering::SeqCst);
        }
        claimed.is_ok()
    }

    /// Gives places at one's own seat back and rings every shard that has a job waiting.
    /// Pairs with `Pool::submit`: we free, then look for waiting jobs; it says that a job waits, then looks for free places.
    /// All four are sequentially consistent, so one of the two sees the other.
    pub(super) fn release(&self, slot: usize) {
        self.seats[slot].fetch_sub(1, Ordering::SeqCst);
        self.free.fetch_add(1, Ordering::SeqCst);
        for side in &self.sides {
            if side.waiting.load(Ordering::SeqCst) > 0 {
                side.bell.ring();
            }
        }
    }

    /// Empties a seat whose worker died or ended. What it held is the shards' to answer for.
    pub(super) fn vacate(&self, slot: usize) {
        let seat = self.seats[slot].load(Ordering::SeqCst);
        let was = self.seats[slot].swap(word(generation(seat).wrapping_add(1), EMPTY), Ordering::SeqCst);
        self.free.fetch_sub(i64::from(self.spec.capacity) - i64::from(held(was)), Ordering::SeqCst);
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }

    /// Empties one's own seat if it holds nothing and the pool keeps its minimum without it.
    pub(super) fn retire(&self, slot: usize, by: u32) -> bool {
        let keeps_minimum = |alive: usize| (alive > self.spec.min).then(|| alive - 1);
        if self.alive.fetch_update(Ordering::SeqCst, Ordering::SeqCst, keeps_minimum).is_err() {
            return false;
        }
        let empty = word(by.wrapping_add(1), EMPTY);
        let seat = &self.seats[slot];
        if seat.compare_exchange(word(by, 0), empty, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            self.alive.fetch_add(1, Ordering::SeqCst);
            return false;
        }
        self.free.fetch_sub(i64::from(self.spec.capacity), Ordering::SeqCst);
        true
    }

    /// Places nobody has claimed.
    pub(super) fn free(&self) -> i64 {
        self.free.load(Ordering::SeqCst)
    }

    /// Workers seated.
    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    /// Workers that hold a job.
    pub(super) fn busy(&self) -> usize {
        let busy = |seat: &&AtomicU64| !matches!(held(seat.load(Ordering::Relaxed)), 0 | EMPTY);
        self.seats.iter().filter(busy).count()
    }

    // --- news -----------------------------------------------------------------------------------------------------------

    /// Tells a shard that the worker in `slot` has something for it. The bell is rung only by who sets the bit first: until
    /// the shard swaps the word it is bound to look, and its swap then acquires our release, hence sees our push.
    pub(super) fn announce(&self, side: &Side, slot: usize) {
        let bit = 1 << (slot % 64);
        if side.ready[slot / 64].fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            side.bell.ring();
        }
    }

    /// The pool ends: workers finish and return.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        for bell in self.bells.lock().iter().flatten() {
            bell.ring();
        }
        self.foreman.ring();
    }

    /// A shard has dropped its pool; with the last one the pool ends.
    pub(super) fn shard_gone(&self) {
        if self.gone.fetch_add(1, Ordering::SeqCst) + 1 >= self.sides.len() {
            self.end();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

impl Side {
    /// Moves the bits of seats with news into `into`.
    pub(super) fn take_ready(&self, into: &mut [u64]) {
        for (word, into) in self.ready.iter().zip(into) {
            // The load keeps an idle pool from writing to lines that workers write.
            if word.load(Ordering::Relaxed) != 0 {
                *into |= word.swap(0, Ordering::AcqRel);
            }
        }
    }
}

const fn word(generation: u32, held: u32) -> u64 {
    (generation as u64) << 32 | held as u64
}

const fn generation(seat: u64) -> u32 {
    (seat >> 32) as u32
}

const fn held(seat: u64) -> u32 {
    seat as u32
}
