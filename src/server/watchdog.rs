//! The thread that looks once a second at what shards cannot see of themselves: how much of its memory budget the process uses, of
//! which admission hears (`resilience::admission`), and whether a shard is stuck in a pass of its loop.

use crate::limits;
use crate::metrics::process::Usage;
use crate::metrics::registry::{Probe, Registry};
use crate::resilience::admission::Board;
use crate::time::{Clock, Instant};
use crossbeam::channel::{RecvTimeoutError, Sender, bounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{Builder, JoinHandle};

/// Between two looks: memory of a server grows by some MB a second at most, and its budget leaves more than that.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);
/// Share of what the machine or the container has that is the budget where none is set: the rest is the kernel's, for sockets and
/// files, and whoever else's.
const SHARE_PERCENT: u64 = 80;

/// Keeps looking.
pub struct Watchdog {
    budget: Arc<AtomicU64>,
    thread: (Sender<()>, JoinHandle<()>),
}

impl Watchdog {
    /// Looks at memory against a budget of so many MB; 0 is `SHARE_PERCENT` of what there is.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(budget_mb: u64, board: Arc<Board>, clock: Clock, registry: &Registry) -> io::Result<Watchdog> {
        let budget = Arc::new(AtomicU64::new(budget_bytes(budget_mb)));
        let (shown, used) = (budget.clone(), budget.clone());
        registry.watch(Probe {
            name: "voxlane_memory_budget_bytes",
            labels: "".into(),
            help: "Memory that the process may use; 0: not known. From 85 per cent of it on nobody new is let in.",
            value: Box::new(move || shown.load(Relaxed)),
        });
        let stuck = Arc::new(AtomicU64::new(0));
        let shown = stuck.clone();
        registry.watch(Probe {
            name: "voxlane_stuck_shards_total",
            labels: "".into(),
            help: "Times that a shard was found in a pass of its loop that had begun a second before.",
            value: Box::new(move || shown.load(Relaxed)),
        });
        let (stop, stopped) = bounded(0);
        let thread = Builder::new().name("watchdog".into()).spawn(move || {
            let mut told = Vec::new();
            loop {
                stuck.fetch_add(report_stuck(&board, clock.now(), &mut told), Relaxed);
                board.tell_memory(percent(Usage::read().resident_bytes, used.load(Relaxed)));
                if stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Watchdog { budget, thread: (stop, thread) })
    }

    /// Another budget from now on.
    pub fn set_budget(&self, budget_mb: u64) {
        self.budget.store(budget_bytes(budget_mb), Relaxed);
    }

    /// Ends the thread.
    pub fn stop(self) {
        let (stop, thread) = self.thread;
        drop(stop);
        let _ = thread.join();
    }
}

/// Says which shards are stuck, and where, once for each pass of theirs; returns how many are newly so.
fn report_stuck(board: &Board, now: Instant, told: &mut Vec<(usize, Instant)>) -> u64 {
    let stuck: Vec<_> = board.stuck(now, limits::STUCK_PASS).collect();
    told.retain(|known| stuck.iter().any(|(shard, began, _)| known == &(*shard, *began)));
    let mut count = 0;
    for (shard, began, step) in stuck {
        if told.contains(&(shard, began)) {
            continue;
        }
        told.push((shard, began));
        count += 1;
        let for_ms = now.since(began).as_millis() as u64;
        tracing::error!(shard, for_ms, step = step.name(), "a shard is stuck");
    }
    count
}

fn percent(used: Option<u64>, budget: u64) -> u32 {
    used.zip(std::num::NonZeroU64::new(budget)).map_or(0, |(used, budget)| (used.saturating_mul(100) / budget) as u32)
}

fn budget_bytes(budget_mb: u64) -> u64 {
    if budget_mb > 0 {
        return budget_mb.saturating_mul(1 << 20);
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let all = [
        of_machine(&read("/proc/meminfo")),
        of_container(&read("/sys/fs/cgroup/memory.max")),
        of_container(&read("/sys/fs/cgroup/memory/memory.limit_in_bytes")),
    ];
    all.into_iter().flatten().min().map_or(0, |bytes| bytes / 100 * SHARE_PERCENT)
}

/// The first line of `/proc/meminfo`, kB (proc(5)).
fn of_machine(meminfo: &str) -> Option<u64> {
    let kb = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_ascii_whitespace().next()?;
    kb.parse::<u64>().ok()?.checked_mul(1_024)
}

/// Bytes, or `max`; version 1 says nearly 2^63 where there is no limit, which is more than any machine has.
fn of_container(limit: &str) -> Option<u64> {
    limit.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::admission::Step;

    #[test]
    fn the_budget_is_what_is_set_or_most_of_what_there_is() {
        assert_eq!(budget_bytes(3), 3 << 20);
        let found = budget_bytes(0);
        assert!(found > 1 << 20, "{found} bytes of this machine");
        assert_eq!(of_machine("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!((of_machine(""), of_machine("MemTotal: x")), (None, None));
        assert_eq!((of_container("max\n"), of_container("1048576\n")), (None, Some(1 << 20)));
    }

    #[test]
    fn a_share_of_nothing_known_is_nothing() {
        assert_eq!((percent(None, 100), percent(Some(5), 0), percent(Some(85), 100)), (0, 0, 85));
    }

    #[test]
    fn a_stuck_shard_is_told_of_once() {
        let (board, mut told) = (Board::new(2), Vec::new());
        let at = Instant::from_ms;
        board.tell_pass(1, Some(at(500)));
        board.tell_step(1, Step::Errands);
        assert_eq!(report_stuck(&board, at(1_400), &mut told), 0);
        assert_eq!(board.stuck(at(1_500), limits::STUCK_PASS).collect::<Vec<_>>(), [(1, at(500), Step::Errands)]);
        assert_eq!(report_stuck(&board, at(1_500), &mut told), 1);
        assert_eq!(report_stuck(&board, at(2_500), &mut told), 0);
        board.tell_pass(1, None);
        assert_eq!(report_stuck(&board, at(3_500), &mut told), 0);
        board.tell_pass(1, Some(at(3_600)));
        assert_eq!(report_stuck(&board, at(4_700), &mut told), 1, "again");
    }

    #[test]
    fn what_is_used_is_told_and_the_budget_can_be_changed() {
        let (board, registry) = (Arc::new(Board::new(1)), Registry::new(crate::time::UnixMs(0)));
        let told = |board: &Board, is_meant: fn(u32) -> bool| {
            while !is_meant(board.memory_percent()) {
                std::thread::yield_now();
            }
        };
        // A test program takes more than 1 MB, and far less than a million.
        let watchdog = Watchdog::start(1, board.clone(), Clock::start(), &registry).unwrap();
        told(&board, |percent| percent > 100);
        watchdog.set_budget(1 << 20);
        told(&board, |percent| percent < 50);
        watchdog.stop();
    }
}
