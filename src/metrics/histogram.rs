//! A log-linear histogram of microseconds that one thread writes and any may read, and the last 1000 values beside it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// See the room's documentation. Skeleton: buckets and the recent ring come with the room.
#[derive(Default)]
pub struct Histogram {
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl Histogram {
    /// Records one value, µs.
    pub fn record(&self, us: u64) {
        self.count.store(self.count.load(Relaxed) + 1, Relaxed);
        self.sum_us.store(self.sum_us.load(Relaxed) + us, Relaxed);
    }
}
