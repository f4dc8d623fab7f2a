//! The stand-ins measured by themselves: how late their answers left, how much of a core they took.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How the stand-ins kept their own times. A capacity figure is worth nothing when they did not.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Lag {
    /// Actions that had a time.
    pub actions: u64,
    /// How late they were, ms.
    pub p50_ms: f64,
    /// As `p50_ms`.
    pub p99_ms: f64,
    /// As `p50_ms`.
    pub max_ms: f64,
    /// Time since the start, s.
    pub wall_s: f64,
    /// Processor time of the thread since the start, s.
    pub cpu_s: f64,
    /// The second divided by the first: share of a core.
    pub cpu_share: f64,
    /// Requests so far: recognition, language model, voice.
    pub requests: [u64; 3],
    /// Recognitions in which an identity was heard.
    pub identified: u64,
    /// Faults so far, in the order error, hang, stall, drip, malformed, cut.
    pub faults: [u64; 6],
    /// Requests that were none of ours or broken.
    pub refused_requests: u64,
    /// Connections now, and the most at a time.
    pub connections: u64,
    /// As `connections`.
    pub connections_max: u64,
    /// Connections refused because there were too many.
    pub refused_connections: u64,
    /// Answers not wanted to their end.
    pub abandoned: u64,
}

impl Lag {
    /// One line for people.
    pub fn line(&self) -> String {
        let [asr, llm, tts] = self.requests;
        format!(
            "{asr} recognitions ({} identified), {llm} replies, {tts} sentences, {} faults; lag p50 {:.2} ms, p99 {:.2} ms, \
             max {:.2} ms; {:.1} % of a core over {:.0} s; at most {} connections, {} refused",
            self.identified,
            self.faults.iter().sum::<u64>(),
            self.p50_ms,
            self.p99_ms,
            self.max_ms,
            self.cpu_share * 100.0,
            self.wall_s,
            self.connections_max,
            self.refused_connections
        )
    }
}

/// Keeps the book.
pub(crate) struct Book {
    pub counts: Lag,
    /// µs.
    lags: Histogram<u64>,
    started: Instant,
    cpu_at_start: Duration,
}

/// Longest lag that is told apart, µs.
const LAG_US_MAX: u64 = 60_000_000;

impl Book {
    pub fn new() -> Book {
        let lags = Histogram::new_with_bounds(1, LAG_US_MAX, 3).expect("bounds are in order");
        Book { counts: Lag::default(), lags, started: Instant::now(), cpu_at_start: thread_cpu() }
    }

    pub fn late(&mut self, by: Duration) {
        self.lags.saturating_record((by.as_micros() as u64).clamp(1, LAG_US_MAX));
    }

    /// All so far. On the thread that is measured.
    pub fn lag(&self) -> Lag {
        let ms = |us: u64| us as f64 / 1_000.0;
        let wall_s = self.started.elapsed().as_secs_f64();
        let cpu_s = (thread_cpu() - self.cpu_at_start).as_secs_f64();
        Lag {
            actions: self.lags.len(),
            p50_ms: ms(self.lags.value_at_quantile(0.5)),
            p99_ms: ms(self.lags.value_at_quantile(0.99)),
            max_ms: ms(self.lags.max()),
            wall_s,
            cpu_s,
            cpu_share: cpu_s / wall_s.max(1e-9),
            ..self.counts.clone()
        }
    }
}

/// Processor time of this thread.
fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
