//! Crews with scripted providers on real threads; the test is the shard. Nobody sleeps: all waiting is for a doorbell.

mod hearing;
mod said_again;
mod speaking;
mod thinking;

use super::*;
use crate::format::{Lang, ReplyFormat};
use crate::ids::{ShardId, Ticket, TurnId};
use crate::job::{Answer, Cancel, Converse, Failure, Job, Outcome, Recognise, Speak, Stage, Work};
use crate::lanes::{Class, Doorbell, Pool, Taken};
use crate::limits;
use crate::metrics::{Counter, Home, Readiness, Registry, Series};
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Clock, Duration, Instant, UnixMs};
use crossbeam::sync::Parker;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Long enough never to pass where an answer comes.
const LONG: Duration = Duration::from_secs(20);

/// A shard of one stage.
struct Rig {
    clock: Clock,
    bell: Doorbell,
    parker: Parker,
    registry: Arc<Registry>,
    readiness: Readiness,
    pool: Option<Pool>,
    crew: Option<Crew>,
    got: Vec<Answer>,
}

impl Rig {
    fn new(start: impl FnOnce(&Base, &Readiness) -> std::io::Result<(Vec<Pool>, Crew)>) -> Rig {
        let clock = Clock::start();
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let bell = Doorbell::new(move || unparker.unpark());
        let registry = Arc::new(Registry::new(UnixMs(0)));
        let base = Base { clock, shards: vec![bell.clone()], registry: registry.clone(), cores: Cores::Own };
        let readiness = Readiness::default();
        let (mut pools, crew) = start(&base, &readiness).unwrap();
        Rig { clock, bell, parker, registry, readiness, pool: pools.pop(), crew: Some(crew), got: Vec::new() }
    }

    fn pool(&mut self) -> &mut Pool {
        self.pool.as_mut().unwrap()
    }

    fn submit(&mut self, job: Job) -> Cancel {
        let (now, cancel) = (self.clock.now(), job.cancel.clone());
        assert!(self.pool().submit(now, Class::First, job).is_ok());
        self.pool().ring_doorbells();
        cancel
    }

    /// Passes of the loop until `enough` of what has come.
    fn until(&mut self, enough: impl Fn(&[Answer]) -> bool) {
        let deadline = self.clock.now() + LONG;
        while !enough(&self.got) {
            let now = self.clock.now();
            assert!(now < deadline, "no more came than {:?}", self.got);
            self.bell.awake();
            let (pool, got) = (self.pool.as_mut().unwrap(), &mut self.got);
            let before = got.len();
            let more = pool.drain(
                now,
                1_000,
                &mut |answer| {
                    got.push(answer);
                    Taken::Yes
                },
                &mut |job| panic!("{job:?} expired in the queue"),
            );
            pool.ring_doorbells();
            if !more && got.len() == before && self.bell.may_sleep() {
                self.parker.park_timeout(deadline.until(now));
            }
        }
    }

    /// All answers up to the `n`th final outcome.
    fn finals(&mut self, n: usize) -> Vec<Answer> {
        self.until(|got| got.iter().filter(|answer| answer.outcome.is_final()).count() >= n);
        std::mem::take(&mut self.got)
    }

    /// The one job's failure.
    fn failure(&mut self) -> Failure {
        let answers = self.finals(1);
        match answers.into_iter().last().map(|answer| answer.outcome) {
            Some(Outcome::Failed(failure)) => *failure,
            other => panic!("{other:?}"),
        }
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.registry.total(counter)
    }

    /// Ends the stage; all its threads have returned.
    fn end(mut self) -> Arc<Registry> {
        let crew = self.crew.take().unwrap();
        assert_eq!(crew.join(), 0, "a worker did not return");
        self.registry
    }

    fn job(&self, slot: u32, work: Work) -> Job {
        Job { ticket: ticket(slot), deadline: self.clock.now() + LONG, cancel: Cancel::new(), work }
    }
}

fn ticket(slot: u32) -> Ticket {
    Ticket { shard: ShardId(0), slot, generation: 1, turn: TurnId(1) }
}

const ONE: Size = Size { min: 1, max: 1 };

/// Policy and niceness of the calling thread.
fn standing() -> (i32, i32) {
    // SAFETY: plain system calls about the calling thread.
    unsafe { (libc::sched_getscheduler(0), libc::getpriority(libc::PRIO_PROCESS, 0)) }
}

#[test]
fn workers_go_last_on_a_core_that_a_shard_may_use() {
    // Whoever runs the tests may be nice already, or of another policy: workers inherit what they do not change.
    let (policy, nice) = standing();
    for cores in [Cores::Own, Cores::Shared] {
        let (tell, told) = crossbeam::channel::unbounded();
        let factory: Factory<dyn crate::providers::LanguageModel> = Arc::new(move |_| {
            tell.send(standing()).unwrap();
            Err(Fault::new(Cause::Unavailable, "not needed"))
        });
        let rig = Rig::new(|base, _| start_llm(Size { min: 1, max: 1 }, factory, &Base { cores, ..base.clone() }));
        let seen = told.recv_timeout(std::time::Duration::from_secs(20)).expect("a worker");
        match cores {
            Cores::Own => assert!(seen.0 == policy && seen.1 >= 5, "{seen:?}, the tests have {:?}", (policy, nice)),
            Cores::Shared => assert_eq!(seen, (libc::SCHED_IDLE, nice)),
        }
        drop(rig);
    }
}
