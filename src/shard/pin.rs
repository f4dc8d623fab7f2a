//! Which core a shard stays on. The list is taken once, before any thread pins itself: afterwards a thread sees only its own.

use core_affinity::CoreId;

/// The cores this process may use.
pub struct Cores(Vec<CoreId>);

impl Cores {
    /// Asks the system. Call it before anything is pinned.
    pub fn list() -> Cores {
        Cores(core_affinity::get_core_ids().unwrap_or_default())
    }

    /// How many there are; 0 if the system does not say.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The core of shard `index`; `None` where pinning makes no sense: one core, or fewer cores than shards.
    pub fn of(&self, index: usize, shards: usize) -> Option<CoreId> {
        if self.0.len() < 2 || shards > self.0.len() { None } else { self.0.get(index).copied() }
    }
}

/// How a shard stands, for the banner and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// On this core.
    On(usize),
    /// Wherever the system puts it: not asked for, or it makes no sense.
    Free,
    /// The system refused.
    Refused,
}

/// Pins the calling thread.
pub fn pin(core: Option<CoreId>) -> Pinning {
    match core {
        None => Pinning::Free,
        Some(core) if core_affinity::set_for_current(core) => Pinning::On(core.id),
        Some(_) => Pinning::Refused,
    }
}
