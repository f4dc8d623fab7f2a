//! One thread's counters, gauges and series. The thread that owns the panel is its only writer, so a plain load and store of
//! an atomic is enough (2 ns, where a shared counter costs 20).

use super::catalog::{Counter, Gauge, Series};
use super::histogram::Histogram;
use crate::time::Duration;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A thread's private set of measurements; shared as `Arc<Panel>` with whoever merges.
pub struct Panel {
    counters: [AtomicU64; Counter::ALL.len()],
    gauges: [AtomicI64; Gauge::ALL.len()],
    series: [Histogram; Series::ALL.len()],
}

impl Default for Panel {
    fn default() -> Panel {
        Panel {
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
            gauges: std::array::from_fn(|_| AtomicI64::new(0)),
            series: std::array::from_fn(|_| Histogram::default()),
        }
    }
}

impl Panel {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts `n`.
    pub fn add(&self, counter: Counter, n: u64) {
        let cell = &self.counters[counter as usize];
        cell.store(cell.load(Relaxed) + n, Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, gauge: Gauge, value: i64) {
        self.gauges[gauge as usize].store(value, Relaxed);
    }

    /// Moves a gauge.
    pub fn shift(&self, gauge: Gauge, by: i64) {
        let cell = &self.gauges[gauge as usize];
        cell.store(cell.load(Relaxed) + by, Relaxed);
    }

    /// Records a duration.
    pub fn record(&self, series: Series, value: Duration) {
        self.series[series as usize].record(value.as_micros().min(u64::MAX as u128) as u64);
    }

    /// A counter's value.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Relaxed)
    }

    /// A gauge's value.
    pub fn gauge(&self, gauge: Gauge) -> i64 {
        self.gauges[gauge as usize].load(Relaxed)
    }

    /// A series' histogram.
    pub fn series(&self, series: Series) -> &Histogram {
        &self.series[series as usize]
    }
}
