//! The lanes between real threads, in large numbers: nothing lost, nothing out of order, nobody left asleep.

use super::*;

/// A shard's bell for a test thread: parks and unparks, and knows when it slept through.
struct Sleeper {
    bell: Doorbell,
    parker: crossbeam::sync::Parker,
    clock: Clock,
}

impl Sleeper {
    fn new() -> Sleeper {
        let parker = crossbeam::sync::Parker::new();
        let unparker = parker.unparker().clone();
        Sleeper { bell: Doorbell::new(move || unparker.unpark()), parker, clock: Clock::start() }
    }

    /// Sleeps if it may; panics when nobody rang for so long that a wake-up must have been lost.
    fn sleep(&self) {
        let before = self.clock.now();
        if self.bell.may_sleep() {
            self.parker.park_timeout(LONG);
            assert!(self.clock.now().since(before) < LONG, "a wake-up was lost");
        }
    }
}

#[test]
fn no_wake_up_is_lost_in_two_million_items() {
    use ringbuf::traits::{Consumer, Producer, Split};
    const ITEMS: u64 = 2_000_000;
    // A ring this short makes both sides sleep often.
    let (mut put, mut get) = ringbuf::HeapRb::<u64>::new(8).split();
    let (reader, writer) = (Sleeper::new(), Sleeper::new());
    let (reader_bell, writer_bell) = (reader.bell.clone(), writer.bell.clone());
    let thread = std::thread::spawn(move || {
        let mut next = 0;
        while next < ITEMS {
            writer.bell.awake();
            let mut wrote = false;
            while next < ITEMS && put.try_push(next).is_ok() {
                next += 1;
                wrote = true;
            }
            if wrote {
                reader_bell.ring();
            } else {
                writer.sleep();
            }
        }
    });
    let mut expected = 0;
    while expected < ITEMS {
        reader.bell.awake();
        let mut read = false;
        while let Some(item) = get.try_pop() {
            assert_eq!(item, expected);
            expected += 1;
            read = true;
        }
        if read {
            writer_bell.ring();
        } else {
            reader.sleep();
        }
    }
    thread.join().unwrap();
}

/// Threads that answer each job with `tokens` pieces and an end, for as long as there are shards.
fn answering(tokens: usize) -> Spawn {
    Box::new(move |mut desk, _| {
        std::thread::Builder::new().spawn(move || {
            while !desk.is_over() {
                let Some(job) = desk.next_job(LONG) else { continue };
                for i in 0..tokens {
                    let _ = desk.publish(token(job.ticket, &i.to_string()), &job.cancel, LATER);
                }
                let _ = desk.publish(end(job.ticket), &job.cancel, LATER);
            }
        })?;
        Ok(())
    })
}

/// Two shards, four workers, rings that overflow: every job of each shard gets its pieces in order and one end, and nobody
/// ever sleeps while there is work.
#[test]
fn under_pressure_every_job_gets_all_its_answers_in_order() {
    const JOBS: u32 = 4_000;
    const TOKENS: usize = 100;
    let sleepers = [Sleeper::new(), Sleeper::new()];
    let bells: Vec<Doorbell> = sleepers.iter().map(|sleeper| sleeper.bell.clone()).collect();
    let spec = PoolSpec { min: 1, max: 4, capacity: 1, flow: Flow::JobsOnly };
    let (pools, foreman) = build(Stage::Llm, spec, &bells, Clock::start(), answering(TOKENS));
    let handle = foreman.handle();
    let foreman = std::thread::spawn(move || foreman.run());
    let shards: Vec<_> = pools
        .into_iter()
        .zip(sleepers)
        .enumerate()
        .map(|(shard, (pool, sleeper))| {
            std::thread::spawn(move || run_shard(shard as u16, pool, &sleeper, JOBS, TOKENS))
        })
        .collect();
    for shard in shards {
        shard.join().unwrap();
    }
    let state = handle.state();
    assert!(state.started >= 2 && state.workers <= 4, "{state:?}");
    handle.end();
    foreman.join().unwrap();
    assert_eq!(handle.state().workers, 0, "all workers have ended");
}

fn run_shard(shard: u16, mut pool: Pool, sleeper: &Sleeper, jobs: u32, tokens: usize) {
    let (mut submitted, mut ended) = (0, 0);
    let mut pieces = vec![0; jobs as usize];
    while ended < jobs {
        sleeper.bell.awake();
        let mut worked = false;
        while submitted < jobs && pool.submit(NOW, Class::Live, ask(shard, submitted)).is_ok() {
            submitted += 1;
            worked = true;
        }
        let take = &mut |answer: Answer| {
            worked = true;
            assert_eq!(answer.ticket.shard.0, shard);
            let seen = &mut pieces[answer.ticket.slot as usize];
            match answer.outcome {
                Outcome::Token(text) => assert_eq!(text.text(), seen.to_string()),
                Outcome::ReplyEnd(_) => {
                    assert_eq!(*seen, tokens);
                    ended += 1;
                }
                other => panic!("{other:?}"),
            }
            *seen += 1;
            Taken::Yes
        };
        let more = pool.drain(NOW, 64, take, &mut |_| {});
        pool.ring_doorbells();
        if !worked && !more {
            sleeper.sleep();
        }
    }
}

#[test]
fn a_worker_waiting_for_room_is_woken_by_the_drain() {
    let mut world = World::new(Stage::Llm, spec(1, 1), 1);
    let mut desk = world.desk();
    assert!(world.pools[0].submit(NOW, Class::First, ask(0, 1)).is_ok());
    const TOKENS: usize = 10 * limits::OUTCOME_RING;
    let worker = std::thread::spawn(move || {
        let job = desk.next_job(LONG).unwrap();
        for i in 0..TOKENS {
            desk.publish(token(job.ticket, &i.to_string()), &job.cancel, LATER).unwrap();
        }
        desk.publish(end(job.ticket), &job.cancel, LATER).unwrap();
    });
    world.pools[0].ring_doorbells();
    let mut got = Vec::new();
    while got.len() <= TOKENS {
        got.extend(world.pass());
        std::thread::yield_now();
    }
    worker.join().unwrap();
    let expected: Vec<String> = (0..TOKENS).map(|i| i.to_string()).chain(["ReplyEnd(Complete)".into()]).collect();
    assert_eq!(texts(&got), expected);
}
