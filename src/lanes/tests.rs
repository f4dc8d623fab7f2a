//! The lanes with shard, worker and foreman in one thread: every step is in the test's hand. `threads` runs them for real.

mod threads;

use super::*;
use crate::audio::block::AudioBlock;
use crate::format::{Codec, Lang, ReplyFormat};
use crate::ids::{ShardId, Ticket, TurnId};
use crate::job::{
    Answer, Cancel, Converse, Job, Outcome, PacketBlock, Recognise, ReplyEnd, Speak, Stage, TextBlock, Transcript, Work,
};
use crate::limits;
use crate::time::{Clock, Duration, Instant};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Long enough never to pass where a wake-up comes, short enough to fail a run in which one is lost.
const LONG: Duration = Duration::from_secs(20);
const NOW: Instant = Instant::from_ms(1_000);
const LATER: Instant = Instant::from_ms(3_600_000);

/// Pools whose workers are desks in the test's own hands.
struct World {
    pools: Vec<Pool>,
    foreman: Foreman,
    desks: Arc<Mutex<Vec<Desk>>>,
    bells: Vec<Doorbell>,
    rings: Vec<Arc<AtomicU32>>,
}

impl World {
    fn new(stage: Stage, spec: PoolSpec, shards: usize) -> World {
        let rings: Vec<Arc<AtomicU32>> = (0..shards).map(|_| Arc::default()).collect();
        let bells: Vec<Doorbell> = rings.iter().map(counting_bell).collect();
        let desks: Arc<Mutex<Vec<Desk>>> = Arc::default();
        let keep = desks.clone();
        let spawn: Spawn = Box::new(move |desk, _| {
            keep.lock().push(desk);
            Ok(())
        });
        let (pools, mut foreman) = build(stage, spec, &bells, Clock::start(), spawn);
        foreman.pass(NOW);
        let mut world = World { pools, foreman, desks, bells, rings };
        world.pass();
        world
    }

    fn desk(&self) -> Desk {
        self.desks.lock().remove(0)
    }

    /// One pass of every shard; what it brought. Then all sleep, never rung.
    fn pass(&mut self) -> Vec<Answer> {
        let mut got = Vec::new();
        for pool in &mut self.pools {
            got.extend(drain(pool, NOW).0);
        }
        for (bell, rings) in self.bells.iter().zip(&self.rings) {
            bell.awake();
            assert!(bell.may_sleep());
            rings.store(0, Ordering::SeqCst);
        }
        got
    }
}

/// Always asleep when rung: counts.
fn counting_bell(count: &Arc<AtomicU32>) -> Doorbell {
    let count = count.clone();
    let bell = Doorbell::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    assert!(bell.may_sleep());
    bell
}

fn drain(pool: &mut Pool, now: Instant) -> (Vec<Answer>, Vec<Job>) {
    let (mut got, mut expired) = (Vec::new(), Vec::new());
    let take = &mut |answer| {
        got.push(answer);
        Taken::Yes
    };
    while pool.drain(now, 1_000, take, &mut |job| expired.push(job)) {}
    pool.ring_doorbells();
    (got, expired)
}

const fn spec(min: usize, max: usize) -> PoolSpec {
    PoolSpec { min, max, capacity: 1, flow: Flow::JobsOnly }
}

fn ticket(shard: u16, slot: u32) -> Ticket {
    Ticket { shard: ShardId(shard), slot, generation: 1, turn: TurnId(1) }
}

fn job(ticket: Ticket, work: Work) -> Job {
    Job { ticket, deadline: LATER, cancel: Cancel::new(), work }
}

fn ask(shard: u16, slot: u32) -> Job {
    let ask = Converse { dialogue: Vec::new(), language: Lang::EN, first_token_by: LATER };
    job(ticket(shard, slot), Work::Converse(Box::new(ask)))
}

fn hear(slot: u32) -> Job {
    job(ticket(0, slot), Work::Recognise(Recognise { language: None, hint: Lang::EN }))
}

fn say(slot: u32, sentence: u16) -> Job {
    let what =
        Speak { sentence, text: "hi".into(), language: Lang::EN, format: ReplyFormat::DEFAULT, first_byte_by: LATER };
    job(ticket(0, slot), Work::Speak(Box::new(what)))
}

fn token(ticket: Ticket, text: &str) -> Answer {
    Answer::new(ticket, Outcome::Token(TextBlock::split_from(text).0))
}

fn end(ticket: Ticket) -> Answer {
    Answer::new(ticket, Outcome::ReplyEnd(ReplyEnd::Complete))
}

fn block(slot: u32, mark: i16, last: bool) -> AudioBlock {
    AudioBlock {
        len: 1,
        last,
        words: std::array::from_fn(|i| if i == 0 { mark } else { 0 }),
        ..AudioBlock::empty(ticket(0, slot), Codec::Pcm)
    }
}

fn texts(answers: &[Answer]) -> Vec<String> {
    let text = |answer: &Answer| match &answer.outcome {
        Outcome::Token(text) => text.text().to_owned(),
        other => format!("{other:?}"),
    };
    answers.iter().map(text).collect()
}

fn is_lost(answer: &Answer) -> bool {
    matches!(&answer.outcome, Outcome::Failed(failure) if failure.fault.cause.name() == "internal")
}

#[test]
fn a_job_goes_out_and_its_answers_come_back_in_order() {
    let mut world = World::new(Stage::Llm, spec(1, 1), 1);
    let mut desk = world.desk();
    assert!(world.pools[0].submit(NOW, Class::First, ask(0, 7)).is_ok());
    assert_eq!(world.pools[0].depth(), (0, 1, 1));
    let job = desk.next_job(Duration::ZERO).unwrap();
    for text in ["one", "two"] {
        desk.publish(token(job.ticket, text), &job.cancel, job.deadline).unwrap();
    }
    desk.publish(end(job.ticket), &job.cancel, job.deadline).unwrap();
    assert_eq!(world.rings[0].load(Ordering::SeqCst), 1, "one wake-up for all of it");
    assert_eq!(texts(&world.pass()), ["one", "two", "ReplyEnd(Complete)"]);
    assert_eq!(world.pools[0].depth(), (0, 1, 0));
}

#[test]
fn without_work_a_desk_comes_back_empty() {
    let world = World::new(Stage::Llm, spec(1, 1), 1);
    let mut desk = world.desk();
    assert!(desk.next_job(Duration::from_millis(1)).is_none());
    let mut blocks = Vec::new();
    desk.next_blocks(10, Duration::from_millis(1), &mut blocks);
    assert!(blocks.is_empty());
    assert!(!desk.is_over());
}

#[test]
fn a_job_waits_while_all_workers_are_busy_and_goes_to_the_first_free_one() {
    let mut world = World::new(Stage::Llm, spec(1, 1), 1);
    let mut desk = world.desk();
    for slot in 1..=2 {
        assert!(world.pools[0].submit(NOW, Class::First, ask(0, slot)).is_ok());
    }
    assert_eq!(world.pools[0].depth().0, 1);
    let first = desk.next_job(Duration::ZERO).unwrap();
    assert!(desk.next_job(Duration::ZERO).is_none());
    desk.publish(end(first.ticket), &first.cancel, LATER).unwrap();
    world.pass();
    assert_eq!(desk.next_job(Duration::ZERO).unwrap().ticket.slot, 2);
}

#[test]
fn a_worker_freed_by_one_shard_wakes_another_that_waits_for_it() {
    let mut world = World::new(Stage::Llm, spec(1, 1), 2);
    let mut desk = world.desk();
    assert!(world.pools[0].submit(NOW, Class::First, ask(0, 1)).is_ok());
    assert!(world.pools[1].submit(NOW, Class::First, ask(1, 2)).is_ok());
    let first = desk.next_job(Duration::ZERO).unwrap();
    assert_eq!(world.rings[1].load(Ordering::SeqCst), 0);
    desk.publish(end(first.ticket), &first.cancel, LATER).unwrap();
    assert_eq!(world.rings[1].load(Ordering::SeqCst), 1);
    drain(&mut world.pools[1], NOW);
    assert_eq!(desk.next_job(Duration::ZERO).unwrap().ticket, ticket(1, 2));
}

#[test]
fn a_full_waiting_queue_gives_the_least_urgent_job_back() {
    let mut world = World::new(Stage::Llm, spec(1, 1), 1);
    for slot in 0..=limits::WAITING_JOBS as u32 {
        assert!(world.pools[0].submit(NOW, Class::Live, ask(0, slot)).is_ok());
    }
    let mut back = |class, slot| world.pools[0].submit(NOW, class, ask(0, slot)).unwrap_err().ticket.slot;
    assert_eq!(back(Class::Live, 9_998), 9_998);
    assert_eq!(back(Class::First, 9_999), limits::WAITING_JOBS as u32);
}

#[test]
fn the_age_of_what_nobody_looks_at_is_told() {
    let mut world = World::new(Stage::Llm, spec(1, 1), 1);
    let mut desk = world.desk();
    let at = |ms| NOW + Duration::from_millis(ms);
    assert_eq!(world.pools[0].oldest(LATER), (Duration::ZERO, Duration::ZERO));
    assert!(world.pools[0].submit(NOW, Class::First, ask(0, 0)).is_ok());
    assert!(world.pools[0].submit(at(30), Class::First, ask(0, 1)).is_ok());
    assert_eq!(world.pools[0].oldest(at(50)), (Duration::from_millis(50), Duration::from_millis(20)));
    assert!(desk.next_job(Duration::ZERO).is_some());
    assert_eq!(world.pools[0].oldest(at(50)), (Duration::ZERO, Duration::from_millis(20)));
}

#[test]
fn a_waiting_job_expires_and_can_be_withdrawn() {
    let mut world = World::new(Stage::Llm, spec(1, 1), 1);
    let pool = &mut world.pools[0];
    for slot in 0..3 {
        let mut job = ask(0, slot);
        job.deadline = NOW + Duration::from_secs(u64::from(slot));
        assert!(pool.submit(NOW, Class::Live, job).is_ok());
    }
    pool.withdraw(ticket(0, 1));
    assert_eq!(pool.depth().0, 1);
    let (_, expired) = drain(pool, NOW + Duration::from_secs(2));
    assert_eq!(expired.iter().map(|job| job.ticket.slot).collect::<Vec<_>>(), [2]);
}

#[test]
fn the_least_occupied_worker_gets_the_job() {
    let spec = PoolSpec { min: 3, max: 3, capacity: 8, flow: Flow::Whole };
    let mut world = World::new(Stage::Asr, spec, 1);
    let mut desks: Vec<Desk> = world.desks.lock().drain(..).collect();
    for slot in 0..6 {
        assert!(world.pools[0].submit(NOW, Class::First, hear(slot)).is_ok());
    }
    for desk in &mut desks {
        let jobs: Vec<Job> = std::iter::from_fn(|| desk.next_job(Duration::ZERO)).collect();
        assert_eq!(jobs.len(), 2);
    }
}

#[test]
fn a_refused_answer_stays_at_the_head_of_its_lane_only() {
    let mut world = World::new(Stage::Llm, spec(2, 2), 1);
    let (mut a, mut b) = (world.desk(), world.desk());
    for slot in 1..=2 {
        assert!(world.pools[0].submit(NOW, Class::First, ask(0, slot)).is_ok());
    }
    let (first, second) = (a.next_job(Duration::ZERO).unwrap(), b.next_job(Duration::ZERO).unwrap());
    for text in ["1", "2"] {
        a.publish(token(first.ticket, text), &first.cancel, LATER).unwrap();
        b.publish(token(second.ticket, text), &second.cancel, LATER).unwrap();
    }
    let mut got = Vec::new();
    let more = world.pools[0].drain(
        NOW,
        100,
        &mut |answer| {
            if answer.ticket == first.ticket {
                return Taken::No(answer);
            }
            got.push(answer);
            Taken::Yes
        },
        &mut |_| {},
    );
    assert!(!more, "a refusal is no reason to come again at once");
    assert_eq!(texts(&got), ["1", "2"]);
    assert_eq!(texts(&world.pass()), ["1", "2"], "nothing lost, nothing out of order");
}

#[test]
fn a_small_budget_serves_every_lane_in_its_turn() {
    let mut world = World::new(Stage::Llm, spec(3, 3), 1);
    let mut desks: Vec<Desk> = world.desks.lock().drain(..).collect();
    for slot in 0..3 {
        assert!(world.pools[0].submit(NOW, Class::First, ask(0, slot)).is_ok());
    }
    for desk in &mut desks {
        let job = desk.next_job(Duration::ZERO).unwrap();
        for _ in 0..10 {
            desk.publish(token(job.ticket, "x"), &job.cancel, LATER).unwrap();
        }
    }
    let mut per_session = [0; 3];
    for _ in 0..3 {
        let take = &mut |answer: Answer| {
            per_session[answer.ticket.slot as usize] += 1;
            Taken::Yes
        };
        assert!(world.pools[0].drain(NOW, 5, take, &mut |_| {}));
    }
    assert_eq!(per_session, [5, 5, 5]);
}

#[test]
fn a_worker_ahead_of_its_reader_waits_until_the_deadline_or_the_cancel() {
    let mut world = World::new(Stage::Llm, spec(1, 1), 1);
    let mut desk = world.desk();
    assert!(world.pools[0].submit(NOW, Class::First, ask(0, 1)).is_ok());
    let job = desk.next_job(Duration::ZERO).unwrap();
    for _ in 0..limits::OUTCOME_RING {
        desk.publish(token(job.ticket, "x"), &job.cancel, LATER).unwrap();
    }
    assert_eq!(desk.publish(token(job.ticket, "y"), &job.cancel, Instant::ZERO), Err(Gone::Deadline));
    job.cancel.cancel();
    assert_eq!(desk.publish(token(job.ticket, "y"), &job.cancel, LATER), Err(Gone::Cancelled));
    assert_eq!(world.pass().len(), limits::OUTCOME_RING);
    assert_eq!(desk.publish(end(job.ticket), &job.cancel, Instant::ZERO), Ok(()), "the end comes through all the same");
    assert_eq!(world.pass().len(), 1);
}

#[test]
fn a_pool_grows_one_ahead_of_need_up_to_its_maximum() {
    let mut world = World::new(Stage::Llm, spec(1, 3), 1);
    assert_eq!(world.foreman.handle().state().workers, 1);
    for slot in 0..5 {
        assert!(world.pools[0].submit(NOW, Class::First, ask(0, slot)).is_ok());
        world.foreman.pass(NOW);
        world.pass();
    }
    let state = world.foreman.handle().state();
    assert_eq!((state.workers, state.busy, state.waiting), (3, 3, 2));
    assert_eq!(world.desks.lock().len(), 3);
}

#[test]
fn an_idle_worker_ends_but_not_below_the_minimum() {
    let mut world = World::new(Stage::Llm, spec(1, 4), 1);
    assert!(world.pools[0].submit(NOW, Class::First, ask(0, 1)).is_ok());
    world.foreman.pass(NOW);
    world.pass();
    let (mut busy, mut idle) = (world.desk(), world.desk());
    let job = busy.next_job(Duration::ZERO).unwrap();
    assert!(!busy.retire(), "it has a job");
    assert!(idle.retire());
    drop(idle);
    busy.publish(end(job.ticket), &job.cancel, LATER).unwrap();
    assert!(!busy.retire(), "the last one stays");
    assert_eq!(world.pass().len(), 1);
    let state = world.foreman.handle().state();
    assert_eq!((state.workers, state.retired, state.died), (1, 1, 0));
    assert!(world.pools[0].submit(NOW, Class::First, ask(0, 2)).is_ok());
    assert!(busy.next_job(Duration::ZERO).is_some(), "the retired one's seat gets nothing");
}

#[test]
fn jobs_of_a_dead_worker_fail_once_and_it_is_replaced() {
    let mut world = World::new(Stage::Tts, spec(1, 1), 1);
    let mut desk = world.desk();
    assert!(world.pools[0].submit(NOW, Class::First, say(1, 3)).is_ok());
    let job = desk.next_job(Duration::ZERO).unwrap();
    let packet = PacketBlock::cut(3, &[1, 2, 3]).next().unwrap();
    desk.publish(Answer::new(job.ticket, Outcome::Packet(packet)), &job.cancel, LATER).unwrap();
    drop(desk);
    let answers = world.pass();
    assert_eq!(answers.len(), 2);
    assert!(matches!(answers[0].outcome, Outcome::Packet(_)), "what it had said before stands");
    assert!(is_lost(&answers[1]));
    assert!(matches!(&answers[1].outcome, Outcome::Failed(f) if f.sentence == 3 && f.stage == Stage::Tts));
    assert!(world.pass().is_empty());

    assert!(world.pools[0].submit(NOW, Class::First, say(2, 0)).is_ok());
    world.foreman.pass(NOW);
    world.pass();
    let state = world.foreman.handle().state();
    assert_eq!((state.started, state.died), (2, 1));
    assert_eq!(world.desk().next_job(Duration::ZERO).unwrap().ticket.slot, 2);
}

#[test]
fn a_job_that_the_dead_worker_had_not_seen_fails_too() {
    let mut world = World::new(Stage::Llm, spec(1, 1), 1);
    assert!(world.pools[0].submit(NOW, Class::First, ask(0, 1)).is_ok());
    drop(world.desk());
    let answers = world.pass();
    assert_eq!(answers.len(), 1);
    assert!(is_lost(&answers[0]));
}

#[test]
fn workers_that_keep_dying_are_replaced_only_so_often() {
    let mut world = World::new(Stage::Llm, spec(1, 1), 1);
    drop(world.desk());
    assert_eq!(world.foreman.pass(NOW), None, "the first at once");
    drop(world.desk());
    world.pass();
    let pause = world.foreman.pass(NOW).unwrap();
    assert!(world.desks.lock().is_empty());
    assert!(pause > Duration::ZERO && pause <= limits::RESPAWN_PAUSE);
    assert_eq!(world.foreman.pass(NOW + pause), None);
    assert_eq!(world.desks.lock().len(), 1);
}

#[test]
fn a_thread_that_cannot_be_started_pauses_growth() {
    let fail = Arc::new(AtomicBool::new(true));
    let (asked, seated) = (fail.clone(), Arc::new(Mutex::new(Vec::new())));
    let keep = seated.clone();
    let spawn: Spawn = Box::new(move |desk, _| {
        if asked.load(Ordering::SeqCst) {
            return Err(std::io::Error::from(std::io::ErrorKind::WouldBlock));
        }
        keep.lock().push(desk);
        Ok(())
    });
    let bells = [counting_bell(&Arc::default())];
    let (mut pools, mut foreman) = build(Stage::Llm, spec(2, 2), &bells, Clock::start(), spawn);
    assert_eq!(foreman.pass(NOW), Some(limits::SPAWN_RETRY));
    let state = foreman.handle().state();
    assert_eq!((state.workers, state.not_started, state.died), (0, 1, 0));
    assert!(pools[0].submit(NOW, Class::First, ask(0, 1)).is_ok(), "the job waits");
    fail.store(false, Ordering::SeqCst);
    assert_eq!(foreman.pass(NOW + limits::SPAWN_RETRY), None);
    drain(&mut pools[0], NOW);
    assert_eq!(pools[0].depth(), (0, 2, 1));
}

#[test]
fn the_foreman_does_not_wait_for_a_shard_that_does_not_look() {
    let mut world = World::new(Stage::Llm, spec(1, 1), 1);
    for death in 1..=2 {
        drop(world.desk());
        world.foreman.pass(NOW + Duration::from_secs(death));
        assert_eq!(world.desks.lock().len(), 1);
    }
    assert!(world.foreman.pass(NOW).is_some(), "lanes are left to deliver");
    world.pass();
    assert!(world.foreman.pass(NOW).is_none());
    world.pass();
    assert!(world.pools[0].submit(NOW, Class::First, ask(0, 1)).is_ok());
    assert!(world.desk().next_job(Duration::ZERO).is_some());
}

const HEARING: PoolSpec = PoolSpec { min: 1, max: 1, capacity: 4, flow: Flow::Whole };

fn marks(desk: &mut Desk) -> Vec<(u32, i16)> {
    let mut blocks = Vec::new();
    desk.next_blocks(1_000, Duration::ZERO, &mut blocks);
    blocks.iter().map(|block| (block.ticket.slot, block.words[0])).collect()
}

#[test]
fn blocks_follow_their_job_and_never_come_before_it() {
    let mut world = World::new(Stage::Asr, HEARING, 1);
    let mut desk = world.desk();
    let pool = &mut world.pools[0];
    assert!(!pool.feed(&block(1, 1, false)), "no job yet");
    assert!(pool.submit(NOW, Class::First, hear(1)).is_ok());
    assert!(pool.submit(NOW, Class::First, hear(2)).is_ok());
    for (slot, mark) in [(1, 1), (2, 20), (1, 2)] {
        assert!(pool.feed(&block(slot, mark, false)));
    }
    assert_eq!(marks(&mut desk), [(1, 1), (2, 20), (1, 2)]);
    assert_eq!(desk.next_job(Duration::ZERO).unwrap().ticket.slot, 1);
    assert_eq!(desk.next_job(Duration::ZERO).unwrap().ticket.slot, 2);
}

#[test]
fn a_batch_holds_at_most_what_was_asked_for() {
    let mut world = World::new(Stage::Asr, HEARING, 1);
    let mut desk = world.desk();
    assert!(world.pools[0].submit(NOW, Class::First, hear(1)).is_ok());
    for mark in 0..15 {
        assert!(world.pools[0].feed(&block(1, mark, false)));
    }
    let mut blocks = Vec::new();
    desk.next_blocks(10, Duration::ZERO, &mut blocks);
    assert_eq!(blocks.len(), 10);
    blocks.clear();
    desk.next_blocks(10, Duration::ZERO, &mut blocks);
    assert_eq!(blocks.len(), 5);
}

#[test]
fn a_full_ring_refuses_and_takes_again_when_the_worker_has_read() {
    let mut world = World::new(Stage::Asr, HEARING, 1);
    let mut desk = world.desk();
    assert!(world.pools[0].submit(NOW, Class::First, hear(1)).is_ok());
    let mut fed = 0;
    while world.pools[0].feed(&block(1, 0, false)) {
        fed += 1;
    }
    assert_eq!(fed, limits::PCM_RING);
    assert_eq!(marks(&mut desk).len(), limits::PCM_RING);
    assert!(world.pools[0].feed(&block(1, 0, true)));
}

#[test]
fn blocks_of_an_earlier_attempt_are_not_heard_in_the_next() {
    let mut world = World::new(Stage::Asr, HEARING, 1);
    let mut desk = world.desk();
    assert!(world.pools[0].submit(NOW, Class::First, hear(1)).is_ok());
    let first = desk.next_job(Duration::ZERO).unwrap();
    assert!(world.pools[0].feed(&block(1, 1, false)));
    let said = Transcript { text: String::new(), language: None, confidence: None };
    let answer = Answer::new(first.ticket, Outcome::Transcript(Box::new(said)));
    desk.publish(answer, &first.cancel, LATER).unwrap();
    // Fed before the shard knows that the attempt is over: still in the ring when the second attempt begins.
    assert!(world.pools[0].feed(&block(1, 2, false)));
    world.pass();
    assert!(!world.pools[0].feed(&block(1, 3, false)));
    assert!(world.pools[0].submit(NOW, Class::First, hear(1)).is_ok());
    assert!(world.pools[0].feed(&block(1, 4, true)));
    assert_eq!(marks(&mut desk), [(1, 4)]);
}

#[test]
fn a_desk_ends_when_all_shards_are_gone_or_the_pool_is_ended() {
    let mut world = World::new(Stage::Llm, spec(2, 2), 2);
    let (mut a, b) = (world.desk(), world.desk());
    world.pools.pop();
    assert!(!a.is_over());
    world.pools.pop();
    assert!(a.is_over() && b.is_over());
    assert!(a.next_job(LONG).is_none());

    let world = World::new(Stage::Llm, spec(1, 1), 1);
    let mut desk = world.desk();
    world.foreman.handle().end();
    assert!(desk.next_job(LONG).is_none());
    assert!(desk.is_over());
    drop(desk);
    world.foreman.run();
}
