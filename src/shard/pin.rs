//! Which core a shard stays on. The list is taken once, before any thread pins itself: afterwards a thread sees only its own.

use core_affinity::CoreId;

/// The cores this process may use.
pub struct Cores(Vec<CoreId>);

impl Cores {
    /// Asks the system. Call it before anything is pinned.
    pub fn list() -> Cores {
        Cores(core_affinity::get_core_ids().unwrap_or_default())
    }

    /// Leaves the first `count` to others, such as the kernel's interrupts and our workers: shards take the next ones.
    pub fn leave(&mut self, count: usize) {
        if count < self.0.len() {
            self.0.rotate_left(count);
        }
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

/// Keeps the calling thread, and those it starts, on the cores that shards leave free; undone when dropped. Workers that encode
/// speech would otherwise take turns with a shard that has a packet due.
pub struct Confinement(libc::cpu_set_t);

/// Confines the calling thread for a server of so many pinned shards. `None` where shards leave no core free, are not pinned, or
/// the system refuses: then all threads share all cores.
pub fn confine(cores: &Cores, shards: usize) -> Option<Confinement> {
    cores.of(0, shards)?;
    let free = cores.0.get(shards..).filter(|free| !free.is_empty())?;
    // SAFETY: a set of bits; all zero is the empty set.
    let (mut before, mut wanted): (libc::cpu_set_t, libc::cpu_set_t) = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    for core in free.iter().filter(|core| core.id < 8 * size) {
        // SAFETY: the bit lies within the set, as filtered.
        unsafe { libc::CPU_SET(core.id, &mut wanted) };
    }
    // SAFETY: plain system calls on the calling thread (0) with sets of the size given.
    let done =
        unsafe { libc::sched_getaffinity(0, size, &mut before) == 0 && libc::sched_setaffinity(0, size, &wanted) == 0 };
    done.then_some(Confinement(before))
}

impl Drop for Confinement {
    fn drop(&mut self) {
        // SAFETY: a plain system call on the calling thread with the set it had before.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.0) };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> usize {
        Cores::list().count()
    }

    #[test]
    fn a_confined_thread_and_its_children_leave_the_shards_cores_alone() {
        let cores = Cores::list();
        let all = cores.count();
        let Some(confinement) = confine(&cores, 1) else {
            assert!(all < 2, "with {all} cores there is one to spare");
            return;
        };
        assert_eq!(allowed(), all - 1);
        assert_eq!(std::thread::spawn(allowed).join().unwrap(), all - 1);
        drop(confinement);
        assert_eq!(allowed(), all);
    }

    #[test]
    fn shards_take_the_cores_behind_those_that_are_left() {
        let mut cores = Cores((0..4).map(|id| CoreId { id }).collect());
        cores.leave(1);
        assert_eq!((cores.of(0, 2), cores.of(1, 2)), (Some(CoreId { id: 1 }), Some(CoreId { id: 2 })));
        assert_eq!(cores.0.get(2..), Some(&[CoreId { id: 3 }, CoreId { id: 0 }][..]), "for workers");
    }

    #[test]
    fn where_shards_take_all_cores_nobody_is_confined() {
        let cores = Cores::list();
        assert!(confine(&cores, cores.count()).is_none());
        assert!(confine(&cores, cores.count() + 1).is_none());
    }
}
