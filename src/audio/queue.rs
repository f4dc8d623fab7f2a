//! The audio queue of one session: bounded, drop-oldest, and every item accounted for:
//! `received = processed + dropped + waiting` at any time, in items and in bytes.

/// What a queue counted, items and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueTotals {
    /// Taken in.
    pub received: (u64, u64),
    /// Given out.
    pub processed: (u64, u64),
    /// Lost to a bound.
    pub dropped: (u64, u64),
    /// How often a bound was hit.
    pub overflows: u64,
}

/// Skeleton.
#[derive(Debug, Default)]
pub struct AudioQueue {}
