//! The coalesced wake-up: a flag says whether the other side sleeps; only then is it woken (13 µs, against 2 ns).

use std::sync::Arc;

/// Wakes one thread. A shard gives a mio waker, a worker its parker; the ringer does not know which.
#[derive(Clone)]
pub struct Doorbell {
    #[allow(dead_code)]
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Doorbell {
    /// A doorbell that calls `wake` when its owner sleeps.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Doorbell {
        Doorbell { wake: Arc::new(wake) }
    }

    /// Says that there is something to see; wakes the owner if it sleeps.
    pub fn ring(&self) {
        todo!()
    }

    /// The owner is about to sleep; `false` if it was rung since it last looked, and must look again instead.
    pub fn may_sleep(&self) -> bool {
        todo!()
    }

    /// The owner is awake and looks.
    pub fn awake(&self) {
        todo!()
    }
}
