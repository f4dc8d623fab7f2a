//! The coalesced wake-up: a flag says whether the other side sleeps; only then is it woken (13 µs, against a few ns).
//!
//! The owner's loop, and the only right order:
//!
//! ```text
//!   loop { bell.awake();  look at every ring;  if nothing was there && bell.may_sleep() { sleep } }
//! ```
//!
//! Why no wake-up is lost: both sides change the one state by read-modify-write only, so their changes stand in one order.
//! The ringer first pushes, then swaps in `RUNG`. If the owner's `awake` comes after that swap, its acquire reads our release
//! (through any ringer in between: read-modify-writes continue a release sequence) and the look that follows sees the push. If
//! it comes before, the state holds `RUNG` until the owner looks again: `may_sleep` refuses. If the owner already sleeps, the
//! swap returns `ASLEEP`, and we wake it. No fence is needed, and rings that meet `RUNG` or `AWAKE` cost one swap.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The owner is awake and nobody has rung since it last looked.
const AWAKE: u8 = 0;
/// The owner sleeps, or is about to.
const ASLEEP: u8 = 1;
/// Somebody rang since the owner last looked.
const RUNG: u8 = 2;

thread_local! {
    static RUNG_BY: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// How often the calling thread has ever rung, and how often that woke somebody: a system call. The rest were coalesced: the
/// owner was awake, or had been rung before.
pub fn rung_by_this_thread() -> (u64, u64) {
    RUNG_BY.with(Cell::get)
}

/// Wakes one thread. A shard gives a mio waker, a worker its parker; the ringer does not know which.
#[derive(Clone)]
pub struct Doorbell {
    bell: Arc<Bell>,
}

struct Bell {
    state: AtomicU8,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Doorbell {
    /// A doorbell that calls `wake` when its owner sleeps. `wake` must not block; it may be called once more than needed.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Doorbell {
        Doorbell { bell: Arc::new(Bell { state: AtomicU8::new(AWAKE), wake: Box::new(wake) }) }
    }

    /// Says that there is something to see; wakes the owner if it sleeps. From any thread, after the push.
    pub fn ring(&self) {
        // Release: what was pushed before is seen by the owner's `awake`. Acquire: continues another ringer's release.
        let sleeps = self.bell.state.swap(RUNG, Ordering::AcqRel) == ASLEEP;
        // Not where the cost of counting is looked for (`metrics::IS_BLIND`, which this room does not know).
        if !cfg!(feature = "blind") {
            RUNG_BY.with(|cell| {
                let (rung, woken) = cell.get();
                cell.set((rung + 1, woken + u64::from(sleeps)));
            });
        }
        if sleeps {
            (self.bell.wake)();
        }
    }

    /// The owner is about to sleep; `false` if it was rung since it last looked, and must look again instead.
    pub fn may_sleep(&self) -> bool {
        self.bell.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether it was rung since the owner last looked: for an owner that stays awake and watches it.
    pub fn is_rung(&self) -> bool {
        self.bell.state.load(Ordering::Acquire) == RUNG
    }

    /// The owner is awake and looks. Before the look, never after it.
    pub fn awake(&self) {
        self.bell.state.swap(AWAKE, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.bell.state.load(Ordering::Relaxed) {
            AWAKE => "awake",
            ASLEEP => "asleep",
            _ => "rung",
        };
        write!(f, "Doorbell({state})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn only_a_sleeper_is_woken() {
        let woken = Arc::new(AtomicU32::new(0));
        let count = woken.clone();
        let bell = Doorbell::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let before = rung_by_this_thread();
        bell.ring();
        assert_eq!(woken.load(Ordering::SeqCst), 0, "awake: a flag is enough");
        assert!(!bell.may_sleep(), "rung: look first");
        assert!(bell.is_rung());
        bell.awake();
        assert!(!bell.is_rung());
        assert!(bell.may_sleep());
        bell.ring();
        bell.ring();
        assert_eq!(woken.load(Ordering::SeqCst), 1, "one wake-up however often it rings");
        let (rung, wakes) = rung_by_this_thread();
        assert_eq!((rung - before.0, wakes - before.1), (3, 1), "rings, and those that cost a system call");
        bell.awake();
        assert!(bell.may_sleep());
    }
}
