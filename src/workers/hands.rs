//! How long a job is in its provider's hands: the other side of what we add to a turn ourselves (`voxlane_added_seconds`).
//!
//! A service thinks while our thread sleeps. So its time is the time that the thread *slept* in the call: neither what the
//! thread computed (building the request, reading the answer, encoding), nor the time it stood ready and another thread had the
//! core. A model that computes on this thread is different: all of the call is its own.

use crate::metrics::thread::OwnUsage;
use crate::time::{Duration, Instant};

/// Readings closer together than this are one: a thread that has just answered has hardly slept since, and a reading costs two
/// system calls. What it did sleep then counts as ours, which errs on the hard side.
const FRESH: Duration = Duration::from_micros(200);
/// Readings of a job at most, so that a long answer costs no more: the first sentence is what matters. Later time counts as ours.
const READINGS_MAX: u32 = 48;

/// The stopwatch of one worker.
#[derive(Default)]
pub struct Hands {
    usage: OwnUsage,
    computes: bool,
    job: Option<Running>,
}

struct Running {
    begun: Instant,
    awake_before: Duration,
    read_at: Instant,
    readings: u32,
    taken: Duration,
}

impl Hands {
    /// The provider computes on the worker's own thread: a local model.
    pub fn computes_here(&mut self) {
        self.computes = true;
    }

    /// A job goes to its provider.
    pub fn begin(&mut self, now: Instant) {
        let awake_before = if self.computes { Duration::ZERO } else { self.usage.awake() };
        self.job = Some(Running { begun: now, awake_before, read_at: now, readings: 0, taken: Duration::ZERO });
    }

    /// How long the job has been there, µs; 0 when none is.
    pub fn taken_us(&mut self, now: Instant) -> u32 {
        let Some(job) = &mut self.job else { return 0 };
        if job.readings == 0 || (now.since(job.read_at) >= FRESH && job.readings < READINGS_MAX) {
            let awake = if self.computes { Duration::ZERO } else { self.usage.awake() - job.awake_before };
            job.taken = now.since(job.begun).saturating_sub(awake).max(job.taken);
            job.read_at = now;
            job.readings += 1;
        }
        job.taken.as_micros().min(u128::from(u32::MAX)) as u32
    }

    /// The job is over; returns how long it was there, µs.
    pub fn end(&mut self, now: Instant) -> u32 {
        let taken = self.taken_us(now);
        self.job = None;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_awake_is_ours_unless_the_provider_computes_here() {
        let second = |hands: &mut Hands| {
            hands.begin(Instant::ZERO);
            hands.end(Instant::from_ms(1_000))
        };
        let mut hands = Hands::default();
        // The clock of the test says that a second has gone by; the thread has been awake for some microseconds of it.
        let slept = second(&mut hands);
        assert!((500_000..1_000_000).contains(&slept), "{slept} us");
        hands.computes_here();
        assert_eq!(second(&mut hands), 1_000_000);
        assert_eq!(hands.taken_us(Instant::from_ms(2_000)), 0, "no job, nobody's hands");
    }

    #[test]
    fn a_thread_that_computed_all_the_time_had_no_provider() {
        let mut hands = Hands::default();
        let before = hands.usage.awake();
        hands.begin(Instant::ZERO);
        while hands.usage.awake() < before + Duration::from_millis(3) {
            std::hint::spin_loop();
        }
        assert_eq!(hands.end(Instant::from_us(2_000)), 0);
    }

    #[test]
    fn pieces_right_behind_each_other_are_one_reading_and_a_long_answer_costs_no_more() {
        let mut hands = Hands::default();
        hands.begin(Instant::ZERO);
        let first = hands.taken_us(Instant::from_ms(10));
        assert_eq!(hands.taken_us(Instant::from_us(10_199)), first);
        assert!(hands.taken_us(Instant::from_us(10_200)) >= first);
        (2..100).for_each(|n| _ = hands.taken_us(Instant::from_ms(n * 100)));
        assert_eq!(hands.job.as_ref().map(|job| job.readings), Some(READINGS_MAX));
    }
}
