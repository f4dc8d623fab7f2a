//! What a thread has of the processor: asked for when somebody looks, by whoever looks; the thread itself does nothing for it.
//!
//! A thread says once which it is ([`AtWork::new`]); its processor time then is the clock that the system keeps for it, and its
//! wait for a core stands in `/proc/self/task/TID/schedstat`. When it ends, its time stays in the panel: totals of a pool
//! whose threads come and go never fall.

use super::panel::Panel;
use crate::time::Duration;
use parking_lot::Mutex;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicI32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Processor time of a thread, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadUsage {
    /// Time on a core.
    pub cpu: Duration,
    /// Time spent ready to run while others had the core; zero where the system does not tell (no `CONFIG_SCHED_INFO`).
    pub run_delay: Duration,
}

impl ThreadUsage {
    /// Adds another.
    pub fn add(&mut self, other: ThreadUsage) {
        self.cpu += other.cpu;
        self.run_delay += other.run_delay;
    }
}

/// What the calling thread itself has used, for one that asks often: two system calls, nothing allocated after the first time.
#[derive(Default)]
pub struct OwnUsage {
    schedstat: std::cell::OnceCell<Option<std::fs::File>>,
}

impl OwnUsage {
    /// How long the calling thread has not slept: on a core, or ready to run. To be asked for by one thread only.
    pub fn awake(&self) -> Duration {
        use std::os::unix::fs::FileExt;
        let cpu = cpu_clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default();
        let schedstat = self.schedstat.get_or_init(|| std::fs::File::open("/proc/thread-self/schedstat").ok());
        let mut line = [0; 96];
        let read = schedstat.as_ref().and_then(|file| file.read_at(&mut line, 0).ok()).unwrap_or(0);
        cpu + run_delay(std::str::from_utf8(&line[..read]).unwrap_or_default())
    }
}

/// What a thread had used when it was last looked at.
#[derive(Default)]
struct Seen {
    tid: i32,
    usage: ThreadUsage,
}

/// The panel's knowledge of its thread.
#[derive(Default)]
pub struct Life {
    /// The system's number of the living thread; 0 when there is none.
    tid: AtomicI32,
    /// What earlier threads of this panel have used, ns.
    past_cpu_ns: AtomicU64,
    past_delay_ns: AtomicU64,
    /// Of the living thread; locked by those who look, never by the thread itself before it ends.
    seen: Mutex<Seen>,
}

impl Life {
    /// All that the threads of this panel have used.
    pub fn usage(&self) -> ThreadUsage {
        loop {
            let tid = self.tid.load(Acquire);
            let mut usage = self.living(tid);
            usage.add(ThreadUsage {
                cpu: Duration::from_nanos(self.past_cpu_ns.load(Relaxed)),
                run_delay: Duration::from_nanos(self.past_delay_ns.load(Relaxed)),
            });
            // A thread that ended while we looked would be missed or stand in the sum twice.
            if self.tid.load(Acquire) == tid {
                return usage;
            }
        }
    }

    /// What the living thread of that id has used; nothing when there is none. Of a thread that has not run since it was last
    /// looked at, only the clock is asked (0.4 µs, not 8): its wait is added up when it gets its core, so it is the same, too.
    fn living(&self, tid: i32) -> ThreadUsage {
        if tid == 0 {
            return ThreadUsage::default();
        }
        let cpu = cpu_clock(clock_of(tid)).unwrap_or_default();
        let mut seen = self.seen.lock();
        if seen.tid != tid || seen.usage.cpu != cpu {
            *seen = Seen { tid, usage: ThreadUsage { cpu, run_delay: run_delay_of(tid) } };
        }
        seen.usage
    }

    /// The system's number of the thread, if it lives.
    pub fn tid(&self) -> Option<i32> {
        Some(self.tid.load(Relaxed)).filter(|tid| *tid != 0)
    }
}

/// The calling thread works for a panel as long as this lives.
pub struct AtWork(Arc<Panel>);

impl AtWork {
    /// The calling thread is the panel's from now on.
    pub fn new(panel: Arc<Panel>) -> AtWork {
        // SAFETY: takes nothing, gives a number, never fails.
        panel.life().tid.store(unsafe { libc::gettid() }, Release);
        AtWork(panel)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let life = self.0.life();
        let used = life.living(life.tid.load(Relaxed));
        let keep = |cell: &AtomicU64, time: Duration| cell.store(cell.load(Relaxed) + time.as_nanos() as u64, Relaxed);
        keep(&life.past_cpu_ns, used.cpu);
        keep(&life.past_delay_ns, used.run_delay);
        life.tid.store(0, Release);
    }
}

/// The clock of a thread's processor time, as `pthread_getcpuclockid` makes it: the kernel's CPUCLOCK_SCHED (2) of one thread (4).
fn clock_of(tid: i32) -> libc::clockid_t {
    (!tid << 3) | 4 | 2
}

fn cpu_clock(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the call to write to; a clock that is none is answered with -1.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    (result == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

fn run_delay_of(tid: i32) -> Duration {
    let mut line = [0; 96];
    let file = std::fs::File::open(format!("/proc/self/task/{tid}/schedstat"));
    let read = file.and_then(|mut file| file.read(&mut line)).unwrap_or(0);
    run_delay(std::str::from_utf8(&line[..read]).unwrap_or_default())
}

/// The second number of a schedstat line: ns that the thread was ready and did not run (Documentation/scheduler/sched-stats).
fn run_delay(schedstat: &str) -> Duration {
    let delay = schedstat.split_ascii_whitespace().nth(1).and_then(|ns| ns.parse().ok());
    Duration::from_nanos(delay.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedstat_line_is_cpu_delay_slices() {
        assert_eq!(run_delay("1664134636 5988179 82\n"), Duration::from_nanos(5_988_179));
        assert_eq!((run_delay(""), run_delay("1 x 2")), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn a_thread_is_seen_from_outside_and_its_time_outlives_it() {
        let panel = Arc::new(Panel::default());
        assert_eq!((panel.life().usage(), panel.life().tid()), (ThreadUsage::default(), None));
        let (told, tell) = std::sync::mpsc::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let own = panel.clone();
        let thread = std::thread::spawn(move || {
            let _at_work = AtWork::new(own);
            let begun = cpu_clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap();
            while cpu_clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap() < begun + Duration::from_millis(3) {}
            ready.send(cpu_clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap()).unwrap();
            let _ = tell.recv();
        });
        let told_itself: Duration = is_ready.recv().unwrap();
        let alive = panel.life().usage();
        assert!(alive.cpu >= told_itself, "{alive:?} after {told_itself:?}");
        drop(told);
        thread.join().unwrap();
        assert_eq!(panel.life().tid(), None);
        let after = panel.life().usage();
        assert!(after.cpu >= alive.cpu && after.run_delay >= alive.run_delay, "{after:?} after {alive:?}");
    }

    #[test]
    fn of_a_thread_that_has_not_run_the_clock_alone_is_asked() {
        const MARK: Duration = Duration::from_secs(1_000_000);
        let panel = Arc::new(Panel::default());
        let (told, tell) = std::sync::mpsc::channel::<()>();
        let own = panel.clone();
        let thread = std::thread::spawn(move || {
            let _at_work = AtWork::new(own);
            let _ = tell.recv();
        });
        let life = panel.life();
        let is_kept = || {
            std::thread::yield_now();
            life.usage();
            life.seen.lock().usage.run_delay = MARK;
            life.usage().run_delay == MARK
        };
        // Until it has come to sleep it may run at any time, and is asked anew.
        while !(life.tid().is_some() && is_kept()) {}
        drop(told);
        thread.join().unwrap();
        assert!(life.usage().run_delay < MARK, "it ran to its end, and was asked");
    }
}
