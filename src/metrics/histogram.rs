//! A histogram of microseconds that one thread writes and any may read, and the last 1000 values beside it.
//!
//! The histogram answers for the life of the process, within 1.25 % of the true value; the ring answers exactly for the last 1000
//! values. Values below 100 µs have a bucket each; from there on every decade is cut into 160 buckets: 50 from 1 to 2, 60 from
//! 2 to 5, 50 from 5 to 10. So every round number is the border of a bucket, and what is said of the targets (1 ms, 5 ms,
//! 60 ms, 600 ms, 800 ms) is a count and no estimate.
//!
//! Size: 1,060 buckets of 8 bytes (8.3 KiB; 32-bit ones would wrap within two days at 25,000 frames a second) and 4 KB of ring,
//! taken at the first value, or beforehand by [`Histogram::warm`]: most workers use a few of the series only.

use crate::time::Duration;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Values kept for the exact recent percentile (seed: the last 1000).
pub const RECENT: usize = 1_000;
/// Values below this have a bucket each.
const EXACT: usize = 100;
/// Buckets of a decade.
const DECADE: usize = 160;
/// Decades above [`EXACT`]: 100 µs … 100 s. No wait of the server is longer (`limits`: 60 s).
const DECADES: usize = 6;
/// Fine buckets; the last also takes what is longer.
pub const BUCKETS: usize = EXACT + DECADES * DECADE;

/// One writer, any number of readers; see the file's documentation.
#[derive(Default)]
pub struct Histogram {
    sum_us: AtomicU64,
    max_us: AtomicU32,
    body: OnceLock<Box<Body>>,
}

struct Body {
    /// Values ever recorded: the next place in the ring is `written % RECENT`.
    written: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
    recent: [AtomicU32; RECENT],
}

impl Histogram {
    /// Records one value, µs; what exceeds 71 minutes counts as that. A few ns, no lock; only the very first value allocates.
    /// To be called by one thread only: two writers would lose values, though nothing worse.
    pub fn record(&self, us: u64) {
        let value = us.min(u32::MAX as u64) as u32;
        let body = self.body.get_or_init(Body::new);
        let bucket = &body.buckets[index(value)];
        bucket.store(bucket.load(Relaxed).wrapping_add(1), Relaxed);
        self.sum_us.store(self.sum_us.load(Relaxed).wrapping_add(value as u64), Relaxed);
        if value > self.max_us.load(Relaxed) {
            self.max_us.store(value, Relaxed);
        }
        let written = body.written.load(Relaxed);
        body.recent[(written % RECENT as u64) as usize].store(value, Relaxed);
        // A reader that sees the new count also sees the value it stands for.
        body.written.store(written.wrapping_add(1), Release);
    }

    /// Takes the memory now, so that the first value does not.
    pub fn warm(&self) {
        self.body.get_or_init(Body::new);
    }

    /// Adds what has been recorded so far to `into`. While the writer goes on, a value may be in one part of the snapshot and
    /// not yet in another; the count is the sum of the buckets, so a distribution always adds up.
    pub fn read(&self, into: &mut Snapshot) {
        let Some(body) = self.body.get() else { return };
        let kept = body.written.load(Acquire).min(RECENT as u64) as usize;
        into.recent.extend(body.recent[..kept].iter().map(|cell| cell.load(Relaxed)));
        self.read_counts(into);
    }

    /// As [`Histogram::read`] without the recent values.
    pub fn read_counts(&self, into: &mut Snapshot) {
        let Some(body) = self.body.get() else { return };
        for (sum, bucket) in into.buckets.iter_mut().zip(&body.buckets) {
            let n = bucket.load(Relaxed);
            *sum += n;
            into.count += n;
        }
        into.sum_us += self.sum_us.load(Relaxed);
        into.max_us = into.max_us.max(self.max_us.load(Relaxed));
    }

    /// How many values there were and their sum, µs: two loads, where a mean is all that is asked for.
    pub fn totals(&self) -> (u64, u64) {
        let count = self.body.get().map_or(0, |body| body.written.load(Acquire));
        (count, self.sum_us.load(Relaxed))
    }

    /// What has been recorded so far.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.read(&mut snapshot);
        snapshot.sort();
        snapshot
    }
}

impl Body {
    fn new() -> Box<Body> {
        Box::new(Body {
            written: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            recent: std::array::from_fn(|_| AtomicU32::new(0)),
        })
    }
}

/// A copy at one moment, of one histogram or of several merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    count: u64,
    sum_us: u64,
    max_us: u32,
    buckets: Vec<u64>,
    /// Ascending, after [`Snapshot::sort`].
    recent: Vec<u32>,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot { count: 0, sum_us: 0, max_us: 0, buckets: vec![0; BUCKETS], recent: Vec::new() }
    }
}

impl Snapshot {
    /// Adds another. The recent values become those of both: the last 1000 of *each* thread, since nothing tells their order.
    pub fn merge(&mut self, other: &Snapshot) {
        self.count += other.count;
        self.sum_us += other.sum_us;
        self.max_us = self.max_us.max(other.max_us);
        for (sum, n) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += n;
        }
        self.recent.extend_from_slice(&other.recent);
        self.sort();
    }

    /// What was recorded since `earlier`, an earlier snapshot of the same: without recent values, its greatest one known to the
    /// bucket only.
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let mut news = Snapshot { sum_us: self.sum_us.saturating_sub(earlier.sum_us), ..Snapshot::default() };
        for (i, (now, before)) in self.buckets.iter().zip(&earlier.buckets).enumerate() {
            let n = now.saturating_sub(*before);
            news.buckets[i] = n;
            news.count += n;
            if n > 0 {
                news.max_us = self.max_us.min(lower(i + 1) as u32 - 1);
            }
        }
        news
    }

    /// Buckets that are not empty, rising: the greatest value one can hold, µs, and how many lie in it.
    pub fn filled(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, n)| (lower(i + 1) - 1, *n))
    }

    /// How many values were longer than `bound`, which counts as the border of the next fine bucket.
    pub fn longer_than(&self, bound: Duration) -> u64 {
        let first = index(bound.as_micros().min(u128::from(u32::MAX)) as u32) + 1;
        self.buckets.iter().skip(first).sum()
    }

    /// Puts the recent values in order; to be called after the last [`Histogram::read`].
    pub fn sort(&mut self) {
        self.recent.sort_unstable();
    }

    /// Values recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// The greatest, exactly; zero when there is none.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max_us as u64)
    }

    /// Their mean; `None` when there is none.
    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_micros(self.sum_us / self.count))
    }

    /// The `p`-th percentile (0 … 100) of all values, by nearest rank, within 1.25 % of the true value; the 100th is exact.
    pub fn percentile(&self, p: f64) -> Option<Duration> {
        let rank = nearest_rank(p, self.count)?;
        if rank + 1 == self.count {
            return Some(self.max());
        }
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|n| {
            seen += n;
            seen > rank
        })?;
        let middle = (lower(bucket) + lower(bucket + 1) - 1) / 2;
        Some(Duration::from_micros(middle.min(self.max_us as u64)))
    }

    /// The `p`-th percentile (0 … 100) of the recent values, exactly, by nearest rank: index `ceil(p/100·n) − 1`, clamped.
    pub fn recent_percentile(&self, p: f64) -> Option<Duration> {
        let rank = nearest_rank(p, self.recent.len() as u64)?;
        Some(Duration::from_micros(self.recent[rank as usize] as u64))
    }

    /// How many values are among the recent ones.
    pub fn recent_count(&self) -> usize {
        self.recent.len()
    }

    /// How many values were shorter than each of [`BOUNDS_US`]: the cumulative buckets of the exposition.
    pub fn cumulative(&self) -> [u64; BOUNDS_US.len()] {
        let mut fine = self.buckets.iter();
        let (mut taken, mut below) = (0, 0);
        BOUNDS_US.map(|bound| {
            let wanted = index(bound as u32);
            below += fine.by_ref().take(wanted - taken).sum::<u64>();
            taken = wanted;
            below
        })
    }
}

/// Bounds of the exposition's buckets, µs: borders of fine buckets, so that the counts are exact, and the targets among them.
/// Whole microseconds are recorded, cut off; so "below the border" and "at most the border" are the same.
pub const BOUNDS_US: [u64; 21] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 60_000, 100_000, 250_000, 500_000, 600_000, 800_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// The place of the `p`-th percentile among `n` values in ascending order, counted from 0.
fn nearest_rank(p: f64, n: u64) -> Option<u64> {
    if n == 0 {
        return None;
    }
    // In thousandths of a percent and whole numbers: 99.9 / 100 · 1000 is 999.0000000000001 as a float, one rank too many.
    let p = (p.clamp(0.0, 100.0) * 1_000.0).round() as u128;
    let rank = (p * n as u128).div_ceil(100_000) as u64;
    Some(rank.saturating_sub(1).min(n - 1))
}

/// The bucket of a value.
const fn index(us: u32) -> usize {
    if us < EXACT as u32 {
        return us as usize;
    }
    let decade = us.ilog10() as usize - 2;
    // The first three digits, 100 … 999.
    let digits = (us / POWERS[decade]) as usize;
    let within = match digits {
        ..200 => (digits - 100) / 2,
        200..500 => 50 + (digits - 200) / 5,
        _ => 110 + (digits - 500) / 10,
    };
    let at = EXACT + decade * DECADE + within;
    if at < BUCKETS { at } else { BUCKETS - 1 }
}

/// The smallest value of a bucket, µs.
const fn lower(bucket: usize) -> u64 {
    if bucket < EXACT {
        return bucket as u64;
    }
    let (decade, within) = ((bucket - EXACT) / DECADE, (bucket - EXACT) % DECADE);
    let digits = match within {
        ..50 => 100 + 2 * within,
        50..110 => 200 + 5 * (within - 50),
        _ => 500 + 10 * (within - 110),
    };
    digits as u64 * POWERS[decade] as u64
}

/// What the first three digits are counted in, by decade.
const POWERS: [u32; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

#[cfg(test)]
#[path = "histogram/tests.rs"]
mod tests;
