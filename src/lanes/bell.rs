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

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The owner is awake and nobody has rung since it last looked.
const AWAKE: u8 = 0;
/// The owner sleeps, or is about to.
const ASLEEP: u8 = 1;
/// Somebody rang since the owner last looked.
const RUNG: u8 = 2;

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
        if self.bell.state.swap(RUNG, Ordering::AcqRel) == ASLEEP {
            (self.bell.wake)();
        }
    }

    /// The owner is about to sleep; `false` if it was rung since it last looked, and must look again instead.
    pub fn may_sleep(&self) -> bool {
        self.bell.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Relaxed).is_ok()
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
        bell.ring();
        assert_eq!(woken.load(Ordering::SeqCst), 0, "awake: a flag is enough");
        assert!(!bell.may_sleep(), "rung: look first");
        bell.awake();
        assert!(bell.may_sleep());
        bell.ring();
        bell.ring();
        assert_eq!(woken.load(Ordering::SeqCst), 1, "one wake-up however often it rings");
        bell.awake();
        assert!(bell.may_sleep());
    }
}
