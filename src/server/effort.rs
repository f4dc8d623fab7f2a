//! The thread that looks once a second at what the process uses, and lets encoders try harder or less hard.

use crate::audio::effort::Ladder;
use crate::audio::opus::Effort;
use crate::metrics::process::Usage;
use crate::metrics::registry::{Probe, Registry};
use crate::time::{Clock, Duration};
use crossbeam::channel::{RecvTimeoutError, Sender, bounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{Builder, JoinHandle};

/// Between two looks. Bytes of `/proc` are cheap: about 20 µs of it.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// Keeps the effort of all encoders.
pub struct Keeper {
    effort: Arc<AtomicU32>,
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Keeper {
    /// A fixed complexity, or one that follows the load of the process on its `cores`; `bitrate` of replies, bit/s.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        fixed: Option<u8>,
        bitrate: u32,
        cores: usize,
        clock: Clock,
        registry: &Registry,
    ) -> io::Result<Keeper> {
        let mut ladder = Ladder::new(bitrate);
        let first = fixed.map_or(ladder.effort(), |complexity| Effort { complexity, is_light: false, bitrate });
        let effort = Arc::new(AtomicU32::new(first.to_word()));
        watch(registry, &effort);
        if fixed.is_some() {
            return Ok(Keeper { effort, thread: None });
        }
        let (stop, stopped) = bounded(0);
        let shared = effort.clone();
        let thread = Builder::new().name("effort".into()).spawn(move || {
            let mut before = (clock.now(), Usage::read().cpu);
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let now = (clock.now(), Usage::read().cpu);
                if let Some(share) = share(now.0.since(before.0), before.1.zip(now.1), cores) {
                    shared.store(ladder.observe(share).to_word(), Ordering::Relaxed);
                }
                before = now;
            }
        })?;
        Ok(Keeper { effort, thread: Some((stop, thread)) })
    }

    /// What encoders read.
    pub fn effort(&self) -> Arc<AtomicU32> {
        self.effort.clone()
    }

    /// Ends the thread.
    pub fn stop(self) {
        if let Some((stop, thread)) = self.thread {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// Share of the cores used; `None` where the system does not tell, or no time has passed.
fn share(span: Duration, cpu: Option<(Duration, Duration)>, cores: usize) -> Option<f64> {
    let (before, now) = cpu?;
    let whole = span.as_secs_f64() * cores.max(1) as f64;
    (whole > 0.0).then(|| now.saturating_sub(before).as_secs_f64() / whole)
}

fn watch(registry: &Registry, effort: &Arc<AtomicU32>) {
    let read = |effort: &Arc<AtomicU32>| {
        let effort = effort.clone();
        move || Effort::of_word(effort.load(Ordering::Relaxed))
    };
    let (complexity, light) = (read(effort), read(effort));
    registry.watch(Probe {
        name: "voxlane_opus_complexity",
        labels: "".into(),
        help: "Complexity of the Opus encoders, 0 to 10.",
        value: Box::new(move || u64::from(complexity().complexity)),
    });
    registry.watch(Probe {
        name: "voxlane_opus_light",
        labels: "".into(),
        help: "Whether load has made the Opus encoders leave out speech prediction.",
        value: Box::new(move || u64::from(light().is_light)),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_all_cores() {
        let s = Duration::from_secs;
        assert_eq!(share(s(2), Some((s(10), s(12))), 2), Some(0.5));
        assert_eq!(share(s(0), Some((s(10), s(12))), 2), None);
        assert_eq!(share(s(1), None, 2), None);
    }

    #[test]
    fn a_fixed_complexity_stays_and_another_begins_at_its_best() {
        let registry = Registry::new(crate::time::UnixMs(0));
        for (fixed, complexity) in [(Some(0), 0), (None, 5)] {
            let keeper = Keeper::start(fixed, 32_000, 2, Clock::start(), &registry).unwrap();
            let effort = Effort::of_word(keeper.effort().load(Ordering::Relaxed));
            assert_eq!(effort, Effort { complexity, is_light: false, bitrate: 32_000 });
            keeper.stop();
        }
    }
}
