//! What meeting costs: a job out and its answer back, a block of audio, a look at a large idle pool, and the wake-up.

use criterion::{Criterion, criterion_group, criterion_main};
use crossbeam::sync::Parker;
use parking_lot::Mutex;
use std::hint::black_box;
use std::sync::Arc;
use voxlane::audio::block::AudioBlock;
use voxlane::format::{Codec, Lang};
use voxlane::ids::{ShardId, Ticket, TurnId};
use voxlane::job::{Answer, Cancel, Converse, Job, Outcome, Recognise, ReplyEnd, Stage, TextBlock, Work};
use voxlane::lanes::{Class, Desk, Doorbell, Flow, Foreman, Pool, PoolSpec, Taken, build};
use voxlane::limits;
use voxlane::time::{Clock, Duration, Instant};

const LATER: Instant = Instant::from_ms(3_600_000);
const TICKET: Ticket = Ticket { shard: ShardId(0), slot: 1, generation: 1, turn: TurnId(1) };

/// A pool whose desks are in our hands.
fn pool(stage: Stage, workers: usize, capacity: u32, flow: Flow) -> (Pool, Vec<Desk>, Foreman) {
    let desks: Arc<Mutex<Vec<Desk>>> = Arc::default();
    let keep = desks.clone();
    let spawn = Box::new(move |desk, _| {
        keep.lock().push(desk);
        Ok(())
    });
    let spec = PoolSpec { min: workers, max: workers, capacity, flow };
    let (mut pools, mut foreman) = build(stage, spec, &[Doorbell::new(|| {})], Clock::start(), spawn);
    foreman.pass(Instant::ZERO);
    let mut pool = pools.remove(0);
    drain(&mut pool);
    let desks = std::mem::take(&mut *desks.lock());
    (pool, desks, foreman)
}

fn drain(pool: &mut Pool) -> usize {
    let mut taken = 0;
    let take = &mut |answer| {
        black_box(&answer);
        taken += 1;
        Taken::Yes
    };
    pool.drain(Instant::ZERO, 1_000, take, &mut |_| {});
    pool.ring_doorbells();
    taken
}

fn ask() -> Job {
    let ask = Converse { dialogue: Vec::new(), language: Lang::EN, first_token_by: LATER };
    Job { ticket: TICKET, deadline: LATER, cancel: Cancel::new(), work: Work::Converse(Box::new(ask)) }
}

fn answer(outcome: Outcome) -> Answer {
    Answer::new(TICKET, outcome)
}

fn lanes(c: &mut Criterion) {
    let (mut shard, mut desks, _foreman) = pool(Stage::Llm, 1, 1, Flow::JobsOnly);
    c.bench_function("lane/job_out_and_end_back", |b| {
        b.iter(|| {
            assert!(shard.submit(Instant::ZERO, Class::First, ask()).is_ok());
            let job = desks[0].next_job(Duration::ZERO).expect("just submitted");
            let end = answer(Outcome::ReplyEnd(ReplyEnd::Complete));
            desks[0].publish(end, &job.cancel, LATER).expect("room");
            assert_eq!(drain(&mut shard), 1);
        });
    });

    let token = TextBlock::split_from("a few words of the reply").0;
    assert!(shard.submit(Instant::ZERO, Class::First, ask()).is_ok());
    let job = desks[0].next_job(Duration::ZERO).expect("just submitted");
    c.bench_function("lane/answer_piece", |b| {
        b.iter(|| {
            desks[0].publish(answer(Outcome::Token(token.clone())), &job.cancel, LATER).expect("room");
            assert_eq!(drain(&mut shard), 1);
        });
    });

    let (mut ears, mut hearing, _foreman2) = pool(Stage::Asr, 1, 4, Flow::Whole);
    let work = Work::Recognise(Recognise { language: None, hint: Lang::EN });
    let hear = Job { ticket: TICKET, deadline: LATER, cancel: Cancel::new(), work };
    assert!(ears.submit(Instant::ZERO, Class::First, hear).is_ok());
    let block = AudioBlock { len: 960, words: [1; limits::PCM_BLOCK_SAMPLES], ..AudioBlock::empty(TICKET, Codec::Pcm) };
    let mut batch = Vec::with_capacity(limits::BLOCK_BATCH);
    c.bench_function("lane/ten_blocks_fed_and_read", |b| {
        b.iter(|| {
            (0..10).for_each(|_| assert!(ears.feed(&block)));
            batch.clear();
            hearing[0].next_blocks(10, Duration::ZERO, &mut batch);
            assert_eq!(batch.len(), 10);
        });
    });

    let (mut large, _desks, _foreman3) = pool(Stage::Tts, limits::POOL_THREADS, 1, Flow::JobsOnly);
    c.bench_function("lane/idle_pass_of_1024_workers", |b| b.iter(|| black_box(drain(&mut large))));
}

/// There and back between two threads that both sleep: two wake-ups.
fn wake_up(c: &mut Criterion) {
    let parker = Parker::new();
    let unparker = parker.unparker().clone();
    let bell = Doorbell::new(move || unparker.unpark());
    let spawn = Box::new(|mut desk: Desk, _: usize| {
        std::thread::Builder::new().spawn(move || {
            while !desk.is_over() {
                let Some(job) = desk.next_job(Duration::from_secs(60)) else { continue };
                let _ = desk.publish(answer(Outcome::ReplyEnd(ReplyEnd::Complete)), &job.cancel, LATER);
            }
        })?;
        Ok(())
    });
    let spec = PoolSpec { min: 1, max: 1, capacity: 1, flow: Flow::JobsOnly };
    let (mut pools, mut foreman) = build(Stage::Llm, spec, std::slice::from_ref(&bell), Clock::start(), spawn);
    foreman.pass(Instant::ZERO);
    let mut shard = pools.remove(0);
    c.bench_function("lane/round_trip_with_two_wake_ups", |b| {
        b.iter(|| {
            assert!(shard.submit(Instant::ZERO, Class::First, ask()).is_ok());
            shard.ring_doorbells();
            loop {
                bell.awake();
                if drain(&mut shard) > 0 {
                    break;
                }
                if bell.may_sleep() {
                    parker.park();
                }
            }
        });
    });
}

criterion_group!(benches, lanes, wake_up);
criterion_main!(benches);
