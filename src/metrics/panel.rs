//! One thread's counters, gauges and series. The thread that owns the panel is its only writer, so a plain load and store of
//! an atomic is enough (2 ns, where a shared counter costs 20).

use super::IS_BLIND;
use super::catalog::{Counter, Gauge, Series};
use super::histogram::Histogram;
use super::thread::Life;
use super::turns::TurnLog;
use crate::time::Duration;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A thread's private set of measurements; shared as `Arc<Panel>` with whoever merges. Get one from
/// [`super::Registry::panel`], so that it is seen. Aligned so that no two panels share a cache line (or a pair of them).
#[repr(align(128))]
pub struct Panel {
    counters: [AtomicU64; Counter::ALL.len()],
    gauges: [AtomicI64; Gauge::ALL.len()],
    series: [Histogram; Series::ALL.len()],
    turns: TurnLog,
    life: Life,
}

impl Default for Panel {
    fn default() -> Panel {
        Panel {
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
            gauges: std::array::from_fn(|_| AtomicI64::new(0)),
            series: std::array::from_fn(|_| Histogram::default()),
            turns: TurnLog::default(),
            life: Life::default(),
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
        if IS_BLIND {
            return;
        }
        let cell = &self.counters[counter as usize];
        cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, gauge: Gauge, value: i64) {
        if IS_BLIND {
            return;
        }
        self.gauges[gauge as usize].store(value, Relaxed);
    }

    /// Moves a gauge.
    pub fn shift(&self, gauge: Gauge, by: i64) {
        if IS_BLIND {
            return;
        }
        let cell = &self.gauges[gauge as usize];
        cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
    }

    /// Records a duration.
    pub fn record(&self, series: Series, value: Duration) {
        if IS_BLIND {
            return;
        }
        self.series[series as usize].record(value.as_micros().min(u64::MAX as u128) as u64);
    }

    /// Takes the memory of every series and of the turns now: a shard's first frame shall not allocate (12 KB each; see
    /// `histogram`, `turns`).
    pub fn warm(&self) {
        self.series.iter().for_each(Histogram::warm);
        self.turns.warm();
    }

    /// Puts the gauges to zero: the next thread that takes over this panel starts without the last one's state.
    pub fn reset_gauges(&self) {
        self.gauges.iter().for_each(|cell| cell.store(0, Relaxed));
    }

    /// The last turns; only a shard writes some.
    pub fn turns(&self) -> &TurnLog {
        &self.turns
    }

    /// A counter's value.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Relaxed)
    }

    /// A gauge's value.
    pub fn gauge(&self, gauge: Gauge) -> i64 {
        self.gauges[gauge as usize].load(Relaxed)
    }

    /// What is known of the thread behind it.
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// A series' histogram.
    pub fn series(&self, series: Series) -> &Histogram {
        &self.series[series as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_keeps_what_it_is_told() {
        let panel = Panel::default();
        panel.count(Counter::Accepted);
        panel.add(Counter::BytesIn, 164);
        panel.set(Gauge::Sessions, 3);
        panel.shift(Gauge::Sessions, -1);
        panel.record(Series::LoopDuration, Duration::from_millis(2));
        assert_eq!((panel.counter(Counter::Accepted), panel.counter(Counter::BytesIn)), (1, 164));
        assert_eq!(panel.gauge(Gauge::Sessions), 2);
        assert_eq!(panel.series(Series::LoopDuration).snapshot().max(), Duration::from_millis(2));
        assert_eq!(panel.series(Series::LoopLateness).snapshot().count(), 0);
        panel.reset_gauges();
        assert_eq!(panel.gauge(Gauge::Sessions), 0);
    }
}
