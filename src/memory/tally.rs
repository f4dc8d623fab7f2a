//! What the memory counts, for `/metrics`: written by its one thread, read by whoever looks.

use super::reading::Reading;
use super::store::Store;
use crate::metrics::Registry;
use crate::metrics::registry::Probe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// See the file's beginning.
#[derive(Debug, Default)]
pub struct Tally {
    /// Changes taken to be written.
    pub taken: AtomicU64,
    /// Changes not taken: too much waited for the disk.
    pub lost_pending: AtomicU64,
    /// Changes not taken: too many devices.
    pub lost_devices: AtomicU64,
    /// Changes not taken: the log could not be opened.
    pub lost_no_log: AtomicU64,
    /// Changes that were not durable when they should have been.
    pub not_durable: AtomicU64,
    /// Commits tried.
    pub commits: AtomicU64,
    /// Commits, and openings of the log, that failed.
    pub failures: AtomicU64,
    /// Dialogues found again.
    pub recalled: AtomicU64,
    /// Records erased by order.
    pub erased: AtomicU64,
    /// Records whose time was over.
    pub expired: AtomicU64,
    /// Places of damage found.
    pub damage: AtomicU64,
    /// Operations kept and not understood.
    pub unknown: AtomicU64,
    /// The disk fails at present.
    pub is_failing: AtomicBool,
    devices: AtomicU64,
    waiting: AtomicU64,
}

/// What a line of `/metrics` shows.
type Value = fn(&Tally) -> u64;

impl Tally {
    /// Notes what opening the log has shown.
    pub(super) fn opened(&self, store: &Store, reading: &Reading) {
        self.damage.fetch_add(reading.damage.iter().filter(|(_, damage)| damage.is_loss()).count() as u64, Relaxed);
        self.depth(Some(store));
    }

    /// Notes how full it is.
    pub(super) fn depth(&self, store: Option<&Store>) {
        let Some(store) = store else { return };
        self.devices.store(store.devices() as u64, Relaxed);
        self.waiting.store(store.waiting() as u64, Relaxed);
        self.unknown.store(store.unknown(), Relaxed);
    }

    /// Shows all of it.
    pub fn watch(self: &Arc<Tally>, registry: &Registry) {
        const RECORDS: &str = "Changes of dialogues by what became of them.";
        let show = |name, labels: &'static str, help, value: Value| {
            let tally = self.clone();
            registry.watch(Probe { name, labels: labels.into(), help, value: Box::new(move || value(&tally)) });
        };
        let records: [(&'static str, Value); 7] = [
            (r#"event="taken""#, |t| t.taken.load(Relaxed)),
            (r#"event="lost_pending""#, |t| t.lost_pending.load(Relaxed)),
            (r#"event="lost_devices""#, |t| t.lost_devices.load(Relaxed)),
            (r#"event="lost_no_log""#, |t| t.lost_no_log.load(Relaxed)),
            (r#"event="erased""#, |t| t.erased.load(Relaxed)),
            (r#"event="expired""#, |t| t.expired.load(Relaxed)),
            (r#"event="unknown""#, |t| t.unknown.load(Relaxed)),
        ];
        for (labels, value) in records {
            show("voxlane_memory_records_total", labels, RECORDS, value);
        }
        let late = "Changes that were not on the disk when they should have been.";
        show("voxlane_memory_not_durable_total", "", late, |t| t.not_durable.load(Relaxed));
        show("voxlane_memory_commits_total", "", "Commits of the memory's log.", |t| t.commits.load(Relaxed));
        let failures = "Times that the disk did not take what was said.";
        show("voxlane_memory_failures_total", "", failures, |t| t.failures.load(Relaxed));
        show("voxlane_memory_recalled_total", "", "Dialogues found again.", |t| t.recalled.load(Relaxed));
        show("voxlane_memory_damage_total", "", "Places of damage found in the log.", |t| t.damage.load(Relaxed));
        show("voxlane_memory_failing", "", "1 while the disk does not take what is said.", |t| {
            u64::from(t.is_failing.load(Relaxed))
        });
        show("voxlane_memory_devices", "", "Devices that are remembered.", |t| t.devices.load(Relaxed));
        show("voxlane_memory_waiting", "", "Changes that wait for the disk.", |t| t.waiting.load(Relaxed));
    }
}
