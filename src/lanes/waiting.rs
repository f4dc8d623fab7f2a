//! Jobs that wait for a worker, in the order in which they should get one. Pure: time comes with each call.
//!
//! Three rules, in this order. *Class*: what a user waits for goes first; waiting lifts a job one class per
//! [`limits::AGEING`], so that nothing starves. *Fairness*: within a class every session gets its turn; a session's second
//! waiting job does not pass another's first (start-time fair queueing: each job is tagged with a round, one round apart for
//! jobs of one session). *Deadline*: within a round the earlier goes first.
//!
//! When it is full the least urgent of those that came last is given up, and when that goes on for long the queue is shut to new
//! work until half of it is done (`overflow`).

use super::overflow::Overflow;
use super::pool::Class;
use crate::ids::Ticket;
use crate::job::Job;
use crate::limits;
use crate::time::Instant;

/// See the module's documentation. At most [`limits::WAITING_JOBS`]; operations are scans of that many.
#[derive(Default)]
pub struct WaitingJobs {
    jobs: Vec<Waiting>,
    /// The round of the job that left last.
    round: u64,
    /// Grows by one per job: who came first.
    count: u64,
    overflow: Overflow,
}

/// A job and when it came.
pub struct Waiting {
    /// The job.
    pub job: Job,
    /// When it was submitted.
    pub since: Instant,
    class: Class,
    round: u64,
    number: u64,
}

impl WaitingJobs {
    /// An empty one with all its memory.
    pub fn new() -> WaitingJobs {
        let overflow = Overflow::default();
        WaitingJobs { jobs: Vec::with_capacity(limits::WAITING_JOBS), round: 0, count: 0, overflow }
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Since when the oldest waits.
    pub fn oldest(&self) -> Option<Instant> {
        self.jobs.iter().map(|w| w.since).min()
    }

    /// Whether new work is turned away until half of the jobs are done.
    pub fn is_shut(&mut self) -> bool {
        self.overflow.is_shut(self.jobs.len())
    }

    /// Takes a job in, or gives one back for which there is no room: the least urgent of all, which need not be this one. While
    /// the queue is shut only the rest of what plays already is taken in.
    // The error is the job itself, as large as it is: nothing is lost and nothing allocated on refusal.
    #[allow(clippy::result_large_err)]
    pub fn push(&mut self, now: Instant, class: Class, job: Job) -> Result<(), Job> {
        if class != Class::Live && self.is_shut() {
            return Err(job);
        }
        if self.jobs.len() >= limits::WAITING_JOBS {
            self.jobs.retain(|w| !w.job.cancel.is_cancelled());
        }
        if self.jobs.len() < limits::WAITING_JOBS {
            self.put(now, class, job);
            return Ok(());
        }
        self.overflow.turned_away(now);
        // By the class it came with: waiting lifts it in the order, and makes it no more worth keeping.
        let last = (0..self.jobs.len()).max_by_key(|&i| (self.jobs[i].class, self.jobs[i].number));
        match last.filter(|&i| self.jobs[i].class > class) {
            Some(i) => {
                let given_up = self.jobs.swap_remove(i).job;
                self.put(now, class, job);
                Err(given_up)
            }
            None => Err(job),
        }
    }

    fn put(&mut self, now: Instant, class: Class, job: Job) {
        let last = self.jobs.iter().filter(|w| is_same_session(w.job.ticket, job.ticket)).map(|w| w.round + 1).max();
        let round = last.unwrap_or(0).max(self.round);
        self.count += 1;
        self.jobs.push(Waiting { job, since: now, class, round, number: self.count });
    }

    /// The job whose turn it is. Jobs that have been taken back meanwhile are dropped on the way.
    pub fn pop(&mut self, now: Instant) -> Option<Waiting> {
        self.jobs.retain(|w| !w.job.cancel.is_cancelled());
        let rank = |w: &Waiting| (w.class_at(now), w.round, w.job.deadline, w.number);
        let best = (0..self.jobs.len()).min_by_key(|&i| rank(&self.jobs[i]))?;
        let next = self.jobs.swap_remove(best);
        self.round = self.round.max(next.round);
        Some(next)
    }

    /// Hands jobs whose deadline has passed to `expired`.
    pub fn expire(&mut self, now: Instant, expired: &mut dyn FnMut(Job)) {
        for i in (0..self.jobs.len()).rev() {
            if self.jobs[i].job.deadline <= now {
                self.overflow.turned_away(now);
                expired(self.jobs.swap_remove(i).job);
            }
        }
    }

    /// Forgets the jobs of a ticket; returns how many.
    pub fn withdraw(&mut self, ticket: Ticket) -> usize {
        let before = self.jobs.len();
        self.jobs.retain(|w| w.job.ticket != ticket);
        before - self.jobs.len()
    }
}

impl Waiting {
    /// The class after ageing.
    fn class_at(&self, now: Instant) -> u64 {
        let lift = now.since(self.since).as_micros() / limits::AGEING.as_micros();
        (self.class as u64).saturating_sub(lift as u64)
    }
}

/// All turns of a connection are one session's.
fn is_same_session(a: Ticket, b: Ticket) -> bool {
    (a.shard, a.slot, a.generation) == (b.shard, b.slot, b.generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ShardId, TurnId};
    use crate::job::{Cancel, Recognise, Work};
    use crate::time::Duration;
    use proptest::prelude::*;

    fn job(session: u32, name: u32, deadline_ms: u64) -> Job {
        Job {
            ticket: Ticket { shard: ShardId(0), slot: session, generation: 1, turn: TurnId(name) },
            deadline: Instant::from_ms(deadline_ms),
            cancel: Cancel::new(),
            work: Work::Recognise(Recognise { language: None, hint: crate::format::Lang::EN }),
        }
    }

    /// Pushes (ms, class, session, name, deadline ms) in order, pops all at `at_ms`; the names in the order they came out.
    fn check(script: &[(u64, Class, u32, u32, u64)], at_ms: u64, expected: &[u32]) {
        let mut queue = WaitingJobs::new();
        for &(ms, class, session, name, deadline) in script {
            assert!(queue.push(Instant::from_ms(ms), class, job(session, name, deadline)).is_ok());
        }
        let order: Vec<u32> =
            std::iter::from_fn(|| queue.pop(Instant::from_ms(at_ms))).map(|w| w.job.ticket.turn.0).collect();
        assert_eq!(order, expected);
    }

    #[test]
    fn the_more_urgent_class_goes_first() {
        use Class::*;
        check(&[(0, Background, 1, 1, 9_000), (0, Live, 2, 2, 9_000), (0, First, 3, 3, 9_000)], 0, &[3, 2, 1]);
    }

    #[test]
    fn within_a_class_the_earlier_deadline_goes_first_then_who_came_first() {
        use Class::*;
        check(&[(0, First, 1, 1, 900), (0, First, 2, 2, 500), (0, First, 3, 3, 500)], 0, &[2, 3, 1]);
    }

    #[test]
    fn waiting_lifts_a_class() {
        use Class::*;
        let late = limits::AGEING.as_millis() as u64 * 2;
        check(&[(0, Background, 1, 1, 8_000), (late, First, 2, 2, 9_000)], late, &[1, 2]);
        check(&[(0, Background, 1, 1, 8_000), (late, First, 2, 2, 9_000)], late - 1, &[2, 1]);
    }

    #[test]
    fn a_sessions_second_job_does_not_pass_anothers_first() {
        use Class::*;
        let script = [
            (0, First, 1, 11, 100),
            (0, First, 1, 12, 100),
            (0, First, 1, 13, 100),
            (1, First, 2, 21, 900),
            (1, First, 3, 31, 800),
        ];
        check(&script, 1, &[11, 31, 21, 12, 13]);
    }

    #[test]
    fn a_session_that_keeps_asking_does_not_starve_another() {
        let mut queue = WaitingJobs::new();
        let now = Instant::from_ms(1);
        for name in 0..4 {
            assert!(queue.push(now, Class::Live, job(1, name, 10)).is_ok());
        }
        assert!(queue.push(now, Class::Live, job(2, 100, 10_000)).is_ok());
        let mut before = 0;
        loop {
            let next = queue.pop(now).map(|w| w.job.ticket.turn.0);
            if next == Some(100) {
                break;
            }
            before += 1;
            assert!(queue.push(now, Class::Live, job(1, 10 + before, 10)).is_ok());
        }
        assert!(before <= 1, "{before} jobs of the chatty session went first");
    }

    #[test]
    fn full_is_an_answer() {
        let mut queue = WaitingJobs::new();
        for i in 0..limits::WAITING_JOBS as u32 {
            assert!(queue.push(Instant::ZERO, Class::Live, job(i, i, 10)).is_ok());
        }
        let back = queue.push(Instant::ZERO, Class::Live, job(9_999, 7, 10)).unwrap_err();
        assert_eq!(back.ticket.turn, TurnId(7));
    }

    /// A full queue of live jobs, the last of them of nobody's interest.
    fn full() -> WaitingJobs {
        let mut queue = WaitingJobs::new();
        for i in 0..limits::WAITING_JOBS as u32 {
            let class = if i == 3 { Class::Background } else { Class::Live };
            assert!(queue.push(Instant::ZERO, class, job(i, i, 10_000)).is_ok());
        }
        queue
    }

    #[test]
    fn when_it_is_full_the_least_urgent_is_given_up() {
        let mut queue = full();
        let last = limits::WAITING_JOBS as u32 - 1;
        let mut given_up =
            |class, name| queue.push(Instant::ZERO, class, job(name, name, 10_000)).unwrap_err().ticket.turn.0;
        assert_eq!(given_up(Class::Background, 9_000), 9_000, "none is less urgent");
        assert_eq!(given_up(Class::Live, 9_001), 3, "background before live");
        assert_eq!(given_up(Class::Live, 9_002), 9_002);
        assert_eq!(given_up(Class::First, 9_003), 9_001, "of the live ones who came last");
        assert_eq!(given_up(Class::First, 9_004), last);
        assert_eq!(queue.len(), limits::WAITING_JOBS);
        let first = queue.pop(Instant::ZERO).map(|w| w.job.ticket.turn.0);
        assert_eq!(first, Some(9_003));
    }

    #[test]
    fn what_was_taken_back_makes_room() {
        let mut queue = full();
        queue.jobs[7].job.cancel.cancel();
        assert!(queue.push(Instant::ZERO, Class::First, job(9_999, 7, 10)).is_ok());
        assert_eq!(queue.len(), limits::WAITING_JOBS);
    }

    #[test]
    fn sustained_overflow_shuts_it_to_new_work_until_half_is_done() {
        let mut queue = full();
        let mut at = Instant::ZERO;
        while !queue.is_shut() {
            at += Duration::from_millis(100);
            assert!(at < Instant::from_ms(2_000), "it never shuts");
            assert!(queue.push(at, Class::Live, job(1, 1, 10_000)).is_err());
        }
        assert!(at >= Instant::from_ms(1_000));
        assert!(queue.pop(at).is_some());
        assert!(
            queue.push(at, Class::First, job(2, 2, 10_000)).is_err()
                && queue.push(at, Class::Background, job(3, 3, 1)).is_err()
        );
        assert!(queue.push(at, Class::Live, job(4, 4, 10_000)).is_ok(), "what plays goes on");
        while queue.len() > limits::WAITING_JOBS_LOW {
            assert!(queue.is_shut() && queue.pop(at).is_some());
        }
        assert!(queue.push(at, Class::First, job(5, 5, 10_000)).is_ok());
    }

    #[test]
    fn past_deadline_and_taken_back_leave_the_queue() {
        let mut queue = WaitingJobs::new();
        let taken_back = job(3, 3, 100);
        let cancel = taken_back.cancel.clone();
        for j in [job(1, 1, 5), job(2, 2, 100), taken_back, job(4, 4, 100)] {
            assert!(queue.push(Instant::ZERO, Class::Live, j).is_ok());
        }
        let mut late = Vec::new();
        queue.expire(Instant::from_ms(5), &mut |j| late.push(j.ticket.turn.0));
        assert_eq!(late, [1]);
        cancel.cancel();
        assert_eq!(queue.withdraw(job(4, 4, 0).ticket), 1);
        assert_eq!(queue.pop(Instant::from_ms(6)).map(|w| w.job.ticket.turn.0), Some(2));
        assert!(queue.pop(Instant::from_ms(6)).is_none());
    }

    proptest! {
        /// Whatever comes and goes: every job leaves exactly once, and never in front of another session's job of a class at
        /// least as urgent whose round was earlier.
        #[test]
        fn every_job_leaves_once_and_no_session_runs_ahead(
            ops in proptest::collection::vec((0u32..5, 0u8..3, 1u64..5_000, any::<bool>()), 1..200)
        ) {
            let mut queue = WaitingJobs::new();
            let (mut now, mut inside, mut left) = (Instant::ZERO, std::collections::HashSet::new(), 0);
            for (i, (session, class, deadline, pop)) in ops.iter().enumerate() {
                now += Duration::from_millis(7);
                let class = [Class::First, Class::Live, Class::Background][*class as usize];
                prop_assert!(queue.push(now, class, job(*session, i as u32, *deadline)).is_ok());
                inside.insert(i as u32);
                if *pop {
                    let first_rounds: Vec<_> = queue.jobs.iter().map(|w| (w.class_at(now), w.round)).collect();
                    let next = queue.pop(now).unwrap();
                    prop_assert_eq!(Some((next.class_at(now), next.round)), first_rounds.into_iter().min());
                    prop_assert!(inside.remove(&next.job.ticket.turn.0));
                    left += 1;
                }
            }
            while let Some(next) = queue.pop(now) {
                prop_assert!(inside.remove(&next.job.ticket.turn.0));
                left += 1;
            }
            prop_assert!(inside.is_empty());
            prop_assert_eq!(left, ops.len());
        }
    }
}
