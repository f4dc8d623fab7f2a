//! Who counts: the list of panels, by the kind of thread behind each, and of values that live elsewhere.
//!
//! The lock is taken when a thread starts, when somebody looks, and once a second for the window; never to count.

use super::catalog::{Counter, Gauge, Series};
use super::histogram::Snapshot;
use super::load::{Loads, Spent};
use super::panel::Panel;
use super::thread::ThreadUsage;
use super::turns::TurnRecord;
use super::window::Window;
use crate::ids::ShardId;
use crate::time::{Duration, Instant, UnixMs};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{Ordering::Acquire, fence};

/// What a panel belongs to: a label of the exposition. Threads of one pool are added up, shards are shown one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Home {
    /// A shard: `shard="0"`.
    Shard(ShardId),
    /// A thread of the pool of that name: `pool="asr"`. Pools of jobs are named as `job::Stage::name` says.
    Worker(&'static str),
    /// Everything else: no label.
    Process,
}

/// Every panel of the process. One per server, shared as `Arc<Registry>`.
pub struct Registry {
    panels: Mutex<Vec<(Home, Arc<Panel>)>>,
    probes: Mutex<Vec<Probe>>,
    window: Mutex<Window>,
    loads: Mutex<Loads>,
    /// When the process began.
    pub started: UnixMs,
}

/// A value that lives elsewhere and is asked for when somebody looks, such as the lines a full log has dropped.
pub struct Probe {
    /// Metric name; ends in `_total` if it only grows.
    pub name: &'static str,
    /// Labels as they stand between the braces; may be empty.
    pub labels: Cow<'static, str>,
    /// One sentence of meaning.
    pub help: &'static str,
    /// Tells the value.
    pub value: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// The panels of one home, added up.
pub struct Sum {
    /// Whose.
    pub home: Home,
    /// Threads that live.
    pub threads: usize,
    counters: Vec<u64>,
    gauges: Vec<i64>,
    series: Vec<Snapshot>,
}

impl Registry {
    /// An empty one.
    pub fn new(started: UnixMs) -> Registry {
        Registry {
            panels: Mutex::default(),
            probes: Mutex::default(),
            window: Mutex::default(),
            loads: Mutex::default(),
            started,
        }
    }

    /// A panel for the thread that asks; it is to be that thread's alone. A shard's panel has all its memory at once. A worker
    /// gets the panel of an earlier thread of its pool that has ended, if there is one: so a pool that grows and shrinks keeps
    /// its totals and no more panels than it ever had threads.
    pub fn panel(&self, home: Home) -> Arc<Panel> {
        let mut panels = self.panels.lock();
        if let Some((_, free)) = panels.iter().find(|(owner, panel)| *owner == home && is_orphan(panel)) {
            free.reset_gauges();
            return free.clone();
        }
        let panel = Arc::new(Panel::default());
        if matches!(home, Home::Shard(_)) {
            panel.warm();
        }
        panels.push((home, panel.clone()));
        panel
    }

    /// Adds a value that lives elsewhere.
    pub fn watch(&self, probe: Probe) {
        self.probes.lock().push(probe);
    }

    /// Calls `each` for every probe, in order of name.
    pub fn probes(&self, mut each: impl FnMut(&Probe)) {
        let mut probes = self.probes.lock();
        probes.sort_by_key(|probe| probe.name);
        probes.iter().for_each(&mut each);
    }

    /// Takes the readings that the sliding window and the loads are made of; to be called about once a second.
    pub fn sample(&self, now: Instant) {
        let reading = Window::reading(|pool, counter| self.total_in(pool, counter));
        self.window.lock().push(now, reading);
        let spent = self.spent();
        self.loads.lock().push(now, spent);
    }

    /// How busy threads have been, as of the last [`Registry::sample`].
    pub fn loads(&self) -> Loads {
        self.loads.lock().clone()
    }

    /// What the threads of each home have used so far, in the order of [`Registry::sums`]. Asks the system about each thread:
    /// some 10 µs for each that has run since, half a µs for each other.
    pub fn spent(&self) -> Vec<Spent> {
        let mut all: BTreeMap<Home, Spent> = BTreeMap::new();
        // Not copied out of the lock: a second holder would make an ended thread's panel look alive.
        for (home, panel) in self.panels.lock().iter() {
            let none =
                Spent { home: *home, threads: 0, busy: Duration::ZERO, cpu: Duration::ZERO, run_delay: Duration::ZERO };
            let spent = all.entry(*home).or_insert(none);
            let ThreadUsage { cpu, run_delay } = panel.life().usage();
            spent.threads += usize::from(panel.life().tid().is_some());
            spent.busy += Duration::from_micros(panel.counter(Counter::Busy));
            spent.cpu += cpu;
            spent.run_delay += run_delay;
        }
        all.into_values().collect()
    }

    /// The sliding window as of the last [`Registry::sample`].
    pub fn window(&self) -> Window {
        self.window.lock().clone()
    }

    /// Calls `each` for every panel, and whether its thread lives. The lock is held meanwhile.
    pub(super) fn panels(&self, mut each: impl FnMut(Home, &Panel, bool)) {
        self.panels.lock().iter().for_each(|(home, panel)| each(*home, panel, !is_orphan(panel)));
    }

    /// The last `most` turns of all shards by their end, the newest first.
    pub fn turns(&self, most: usize) -> Vec<(ShardId, TurnRecord)> {
        let mut turns = Vec::new();
        for (home, panel) in self.panels.lock().iter() {
            if let Home::Shard(id) = home {
                panel.turns().read(0, |turn| turns.push((*id, turn)));
            }
        }
        turns.sort_by_key(|(_, turn)| Reverse(turn.ended()));
        turns.truncate(most);
        turns
    }

    /// One counter over all panels.
    pub fn total(&self, counter: Counter) -> u64 {
        self.total_in(None, counter)
    }

    /// One counter over the panels of a pool, or over all.
    fn total_in(&self, pool: Option<&str>, counter: Counter) -> u64 {
        let is_meant = |home: &Home| pool.is_none_or(|pool| matches!(home, Home::Worker(name) if *name == pool));
        let panels = self.panels.lock();
        panels.iter().filter(|(home, _)| is_meant(home)).map(|(_, panel)| panel.counter(counter)).sum()
    }

    /// All panels, added up by home: shards first, then pools by name, then the rest.
    pub fn sums(&self) -> Vec<Sum> {
        let mut sums: BTreeMap<Home, Sum> = BTreeMap::new();
        for (home, panel) in self.panels.lock().iter() {
            sums.entry(*home).or_insert_with(|| Sum::new(*home)).add(panel, is_orphan(panel));
        }
        let mut sums: Vec<Sum> = sums.into_values().collect();
        sums.iter_mut().flat_map(|sum| &mut sum.series).for_each(Snapshot::sort);
        sums
    }
}

/// Whether the thread behind a panel has ended: nobody but the registry holds it. Under the registry's lock only: it alone
/// makes new holders.
fn is_orphan(panel: &Arc<Panel>) -> bool {
    let orphan = Arc::strong_count(panel) == 1;
    // The count is read without order; what the last holder wrote before it let go must be seen by the next.
    fence(Acquire);
    orphan
}

impl Sum {
    /// Nothing yet.
    pub fn new(home: Home) -> Sum {
        Sum {
            home,
            threads: 0,
            counters: vec![0; Counter::ALL.len()],
            gauges: vec![0; Gauge::ALL.len()],
            series: vec![Snapshot::default(); Series::ALL.len()],
        }
    }

    /// Adds a panel. What a thread that has ended left in its gauges is not true any more.
    fn add(&mut self, panel: &Panel, orphan: bool) {
        for counter in Counter::ALL {
            self.counters[*counter as usize] += panel.counter(*counter);
        }
        for series in Series::ALL {
            panel.series(*series).read(&mut self.series[*series as usize]);
        }
        if orphan {
            return;
        }
        self.threads += 1;
        for gauge in Gauge::ALL {
            self.gauges[*gauge as usize] += panel.gauge(*gauge);
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Sum) {
        self.threads += other.threads;
        self.counters.iter_mut().zip(&other.counters).for_each(|(sum, n)| *sum += n);
        self.gauges.iter_mut().zip(&other.gauges).for_each(|(sum, n)| *sum += n);
        self.series.iter_mut().zip(&other.series).for_each(|(sum, other)| sum.merge(other));
    }

    /// A counter.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// A gauge.
    pub fn gauge(&self, gauge: Gauge) -> i64 {
        self.gauges[gauge as usize]
    }

    /// A series.
    pub fn series(&self, series: Series) -> &Snapshot {
        &self.series[series as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_a_pool_are_added_up_and_shards_are_not() {
        let registry = Registry::new(UnixMs(0));
        let shards = [0, 1].map(|i| registry.panel(Home::Shard(ShardId(i))));
        let workers = [0, 1].map(|_| registry.panel(Home::Worker("asr")));
        shards[0].add(Counter::Accepted, 2);
        shards[1].add(Counter::Accepted, 3);
        workers.iter().for_each(|panel| panel.add(Counter::BytesIn, 5));
        let sums = registry.sums();
        assert_eq!(
            sums.iter().map(|s| (s.home, s.threads)).collect::<Vec<_>>(),
            [(Home::Shard(ShardId(0)), 1), (Home::Shard(ShardId(1)), 1), (Home::Worker("asr"), 2)]
        );
        assert_eq!(sums[1].counter(Counter::Accepted), 3);
        assert_eq!(sums[2].counter(Counter::BytesIn), 10);
        assert_eq!(registry.total(Counter::Accepted), 5);
    }

    #[test]
    fn a_pool_that_shrinks_and_grows_keeps_its_totals_and_its_panels() {
        let registry = Registry::new(UnixMs(0));
        for _ in 0..100 {
            let panel = registry.panel(Home::Worker("llm"));
            panel.count(Counter::JobsSubmitted);
            panel.set(Gauge::Sessions, 7);
        }
        let sums = registry.sums();
        assert_eq!((sums[0].counter(Counter::JobsSubmitted), sums[0].threads), (100, 0));
        assert_eq!(sums[0].gauge(Gauge::Sessions), 0, "what an ended thread left behind");
        assert_eq!(registry.panels.lock().len(), 1);
        let both = [0, 1].map(|_| registry.panel(Home::Worker("llm")));
        assert!(!Arc::ptr_eq(&both[0], &both[1]), "two living threads never share a panel");
    }
}
