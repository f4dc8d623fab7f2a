//! Who is let in when there is more to do than can be done in time.
//!
//! Work that will not be finished in time is worse than work refused: it takes from everybody else, and then fails too. So load
//! is weighed ten times a second, and things are given up in this order as it grows:
//!
//! ```text
//!   score   70           85                       100              100 for 5 s
//!   ease --> no extras --> and no newcomers ------> and no turns ----> and no idlers
//!            (hedges)      (503 at the door,        beyond a limit     who is told "busy" is also sent away
//!                           background jobs)        ("busy" is said)
//! ```
//!
//! The score is the worst of several signals, each 100 where it means that users begin to suffer. A burst is not load: of the
//! last looks the calmest one counts, as a queue that never empties is the sign of too much work, and a long queue is not.
//!
//! How many turns at a time are too many is not reckoned but found, as TCP finds the width of a line: the limit falls by a tenth
//! of what was under way when it was too much, and grows again by small steps, smaller ones near where it was too much last. A
//! queue that becomes shorter already is left alone, and one that is very long is emptied first.

use crate::time::{Duration, Instant};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Between two looks.
pub const LOOK: Duration = Duration::from_millis(100);
/// Looks of which the calmest counts: half a second.
const LOOKS: usize = 5;
/// After so long without a look what was seen before tells nothing.
const STALE: Duration = Duration::from_secs(2);

/// A job that so long has no worker's attention, though one was given it: threads do not get a core.
const UNTAKEN_MOST: Duration = Duration::from_millis(300);
/// A job that waits so long for any worker.
const WAITING_MOST: Duration = Duration::from_secs(2);
/// A shard that wakes so late: of the 60 ms that a device must be given every 60 ms.
const LATE_MOST: Duration = Duration::from_millis(25);
/// Share of its time from which on a shard's work counts, per cent; at 100 the score is 100.
const BUSY_FROM: u32 = 90;

/// Turns below which no limit falls: a machine that cannot do so many is not helped by refusing them.
const TURNS_LEAST: f32 = 4.0;
/// What a limit becomes of the turns that were too many.
const CUT: f32 = 0.9;
/// Between two cuts: so long turns take to end that make room.
const CUT_PAUSE: Duration = Duration::from_secs(2);
/// A score from which on nobody is let in until it is below 100 again: what waits must be done before anything is in time.
const DROWNING: u32 = 200;
/// Growth of a limit that has been calm for a second, and near the place where it was too much.
const GROWTH: f32 = 0.02;
const GROWTH_NEAR: f32 = 0.005;
/// A limit of which less than half is used for so long is forgotten.
const FORGET: Duration = Duration::from_secs(10);
/// The score stays so long at 100 before those that idle are sent away.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Nothing.
    #[default]
    Ease,
    /// Work done twice to be sooner.
    NoExtras,
    /// What nobody waits for, and connections.
    NoNewcomers,
    /// Turns beyond the limit.
    NoTurns,
    /// Connections that do nothing.
    NoIdlers,
}

impl Level {
    const ALL: [Level; 5] = [Level::Ease, Level::NoExtras, Level::NoNewcomers, Level::NoTurns, Level::NoIdlers];

    /// The score from which on it stands.
    const fn from(self) -> u32 {
        match self {
            Level::Ease => 0,
            Level::NoExtras => 70,
            Level::NoNewcomers => 85,
            Level::NoTurns | Level::NoIdlers => 100,
        }
    }

    /// The word for it in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Ease => "ease",
            Level::NoExtras => "no extras",
            Level::NoNewcomers => "no newcomers",
            Level::NoTurns => "no turns",
            Level::NoIdlers => "no idlers",
        }
    }

    fn of_number(number: u8) -> Level {
        Level::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }
}

/// What is seen in one look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals {
    /// Share of the time since the last look that the shard worked, per cent.
    pub busy_percent: u32,
    /// How late it woke, on the average of its wake-ups with a deadline.
    pub late: Duration,
    /// How long the oldest job lies with a worker that has not looked at it.
    pub untaken: Duration,
    /// How long the oldest job waits for a worker.
    pub waiting: Duration,
    /// Memory of the process, per cent of its budget.
    pub memory_percent: u32,
    /// Admitted turns under way.
    pub turns: u32,
}

impl Signals {
    /// 0 is nothing to do, 100 where users begin to suffer; memory apart.
    fn score(&self) -> u32 {
        let part = |is: Duration, most: Duration| (100 * is.as_micros() / most.as_micros()).min(1_000) as u32;
        let busy = (self.busy_percent.min(100).saturating_sub(BUSY_FROM) * 100) / (100 - BUSY_FROM);
        let waits = part(self.untaken, UNTAKEN_MOST).max(part(self.waiting, WAITING_MOST));
        busy.max(part(self.late, LATE_MOST)).max(waits)
    }
}

/// See the file's documentation. One for each shard.
#[derive(Clone, Debug)]
pub struct Admission {
    scores: [u32; LOOKS],
    next: usize,
    looked: Instant,
    score: u32,
    level: Level,
    /// Since when the level has been what it is.
    since: Instant,
    /// Since when the score has been at 100 or above.
    full_since: Instant,
    limit: Limit,
}

impl Admission {
    /// Nothing seen yet.
    pub fn new(now: Instant) -> Admission {
        Admission {
            scores: [0; LOOKS],
            next: 0,
            looked: now,
            score: 0,
            level: Level::Ease,
            since: now,
            full_since: Instant::NEVER,
            limit: Limit {
                most: None,
                was_too_much: f32::INFINITY,
                was_score: 0,
                is_drowning: false,
                changed: now,
                needed: now,
            },
        }
    }

    /// When the next look is due.
    pub fn look_at(&self) -> Instant {
        self.looked + LOOK
    }

    /// Takes a look in; returns the level if it has changed.
    pub fn observe(&mut self, now: Instant, signals: Signals) -> Option<Level> {
        if now.since(self.looked) > STALE {
            self.scores = [0; LOOKS];
        }
        self.looked = now;
        self.scores[self.next] = signals.score();
        self.next = (self.next + 1) % LOOKS;
        let standing = self.scores.iter().min().copied().unwrap_or(0);
        self.score = standing.max(signals.memory_percent);
        self.full_since = match self.score {
            100.. if self.full_since == Instant::NEVER => now,
            100.. => self.full_since,
            _ => Instant::NEVER,
        };
        self.limit.observe(now, self.score, signals.turns);
        let before = self.level;
        self.level = self.next_level(now);
        if self.level == before {
            return None;
        }
        self.since = now;
        Some(self.level)
    }

    /// Up at once, down a step a second, and only well below where the step stands: what is saved there shall not end it.
    fn next_level(&self, now: Instant) -> Level {
        let is_long = self.full_since != Instant::NEVER && now.since(self.full_since) >= PATIENCE;
        let reached = match self.score {
            100.. if is_long => Level::NoIdlers,
            score => Level::ALL[..4].iter().rev().copied().find(|level| score >= level.from()).unwrap_or_default(),
        };
        let is_over = self.score + 15 < self.level.from() && now.since(self.since) >= Duration::from_secs(1);
        match is_over {
            true => reached.max(Level::of_number(self.level as u8 - 1)),
            false => reached.max(self.level),
        }
    }

    /// How much is given up.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Load as one number: 100 is where users begin to suffer.
    pub fn score(&self) -> u32 {
        self.score
    }

    /// Turns that may be under way at once; `None`: no limit was needed lately.
    pub fn turns_max(&self) -> Option<u32> {
        self.limit.most.map(|most| most as u32)
    }

    /// Whether another turn may begin beside so many.
    pub fn admits_turn(&self, turns: u32) -> bool {
        !self.limit.is_drowning && self.limit.most.is_none_or(|most| turns < most as u32)
    }

    /// Whether a device may connect, while so many turns are under way: it would soon want one.
    pub fn admits_device(&self, turns: u32) -> bool {
        self.level < Level::NoNewcomers && self.admits_turn(turns)
    }

    /// How long a device that is refused is to stay away, whole seconds: spread, as those that come back together would be
    /// refused together. `dice` are any 64 bits.
    pub fn stay_away(&self, dice: u64) -> Duration {
        let (least, spread) = if self.level >= Level::NoTurns { (10, 30) } else { (3, 12) };
        Duration::from_secs(least + super::share(Duration::from_secs(spread + 1), dice).as_secs().min(spread))
    }
}

/// How many turns may be under way.
#[derive(Clone, Debug)]
struct Limit {
    most: Option<f32>,
    /// Turns at which it was too much last.
    was_too_much: f32,
    /// The score when that was looked at last.
    was_score: u32,
    /// Nobody is let in.
    is_drowning: bool,
    changed: Instant,
    /// When it was last near.
    needed: Instant,
}

impl Limit {
    fn observe(&mut self, now: Instant, score: u32, turns: u32) {
        let (turns, quiet) = (turns as f32, now.since(self.changed));
        let was_drowning = self.is_drowning;
        self.is_drowning = score >= DROWNING || was_drowning && score >= 100;
        let Some(most) = self.most else {
            if score >= 100 {
                self.cut(now, turns, score);
            }
            return;
        };
        if turns >= most / 2.0 {
            self.needed = now;
        }
        if self.is_drowning && !was_drowning {
            self.cut(now, turns.min(most), score);
        } else if score >= 100 && quiet >= CUT_PAUSE {
            match score < self.was_score || self.is_drowning {
                true => (self.was_score, self.changed) = (score, now),
                false => self.cut(now, turns.min(most), score),
            }
        } else if score < Level::NoExtras.from() && now.since(self.needed) >= FORGET {
            (self.most, self.was_too_much) = (None, f32::INFINITY);
        } else if score < Level::NoExtras.from() && quiet >= Duration::from_secs(1) {
            let growth = if most < 0.95 * self.was_too_much { GROWTH } else { GROWTH_NEAR };
            // Only what is used is known to go well.
            if turns >= 0.9 * most - 1.0 {
                self.most = Some(most + (most * growth).max(0.25));
            }
            self.changed = now;
        }
    }

    fn cut(&mut self, now: Instant, turns: f32, score: u32) {
        self.was_score = score;
        self.most = Some((turns * CUT).max(TURNS_LEAST));
        (self.was_too_much, self.changed, self.needed) = (turns.max(TURNS_LEAST), now, now);
    }
}

/// What a shard's loop is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Step {
    #[default]
    Wait,
    Frames,
    Accept,
    Read,
    Answers,
    Timers,
    Errands,
    Write,
}

impl Step {
    const ALL: [Step; 8] =
        [Step::Wait, Step::Frames, Step::Accept, Step::Read, Step::Answers, Step::Timers, Step::Errands, Step::Write];

    /// The words for it in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Step::Wait => "waiting",
            Step::Frames => "sending frames that are due",
            Step::Accept => "accepting",
            Step::Read => "reading and handling what devices sent",
            Step::Answers => "taking answers of workers",
            Step::Timers => "calling those whose time has come",
            Step::Errands => "handing jobs to workers",
            Step::Write => "writing",
        }
    }
}

/// What the shards of a process tell everybody else of their load and of what they are at, and are told of memory: a few words
/// without a lock.
#[derive(Debug)]
pub struct Board {
    levels: Box<[AtomicU8]>,
    steps: Box<[AtomicU8]>,
    /// When the pass under way began, µs; 0 while there is none.
    passes: Box<[AtomicU64]>,
    memory_percent: AtomicU32,
}

impl Board {
    /// For so many shards.
    pub fn new(shards: usize) -> Board {
        let bytes = || (0..shards.max(1)).map(|_| AtomicU8::new(0)).collect();
        Board {
            levels: bytes(),
            steps: bytes(),
            passes: (0..shards.max(1)).map(|_| AtomicU64::new(0)).collect(),
            memory_percent: AtomicU32::new(0),
        }
    }

    /// A shard's level from now on.
    pub fn tell(&self, shard: usize, level: Level) {
        if let Some(cell) = self.levels.get(shard) {
            cell.store(level as u8, Relaxed);
        }
    }

    /// The highest level of all shards.
    pub fn level(&self) -> Level {
        Level::of_number(self.levels.iter().map(|cell| cell.load(Relaxed)).max().unwrap_or(0))
    }

    /// A shard's pass begins, or is over (`None`).
    pub fn tell_pass(&self, shard: usize, began: Option<Instant>) {
        if let Some(cell) = self.passes.get(shard) {
            cell.store(began.map_or(0, |began| began.as_us().max(1)), Relaxed);
        }
    }

    /// What a shard is at from now on.
    pub fn tell_step(&self, shard: usize, step: Step) {
        if let Some(cell) = self.steps.get(shard) {
            cell.store(step as u8, Relaxed);
        }
    }

    /// What a shard was at last.
    pub fn step(&self, shard: usize) -> Step {
        let number = self.steps.get(shard).map_or(0, |cell| cell.load(Relaxed));
        Step::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }

    /// Shards in a pass that began at least so long ago: which, when it began, and what it is at.
    pub fn stuck(&self, now: Instant, least: Duration) -> impl Iterator<Item = (usize, Instant, Step)> {
        let began = self.passes.iter().map(|cell| cell.load(Relaxed)).enumerate().filter(|(_, us)| *us != 0);
        let began = began.map(|(shard, us)| (shard, Instant::from_us(us)));
        began
            .filter(move |(_, began)| now.since(*began) >= least)
            .map(|(shard, began)| (shard, began, self.step(shard)))
    }

    /// Memory of the process is so much of its budget, per cent.
    pub fn tell_memory(&self, percent: u32) {
        self.memory_percent.store(percent, Relaxed);
    }

    /// The same, as it was told last.
    pub fn memory_percent(&self) -> u32 {
        self.memory_percent.load(Relaxed)
    }
}

#[cfg(test)]
mod tests;
