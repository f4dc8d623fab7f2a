//! The memory: how long until a turn is on the disk, at 2,000 turns a second, and how long a log of a million turns takes to open.
//!
//! `cargo bench --bench memory`; `VOXLANE_MEMORY_DIR` names a folder on another disk, `VOXLANE_MEMORY_TURNS` another number of turns to
//! recover. `targets.md` 9: acknowledged within 5 ms at p99, or twice the p99 of the disk's own `fdatasync`, which is measured before
//! and after on the same disk; recovery within 1 s per million turns.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use voxlane::ids::{SessionId, Ticket, TurnId};
use voxlane::lanes::{Doorbell, Post};
use voxlane::memory::{Entry, Rules, Store, Tally, Writer, disk};
use voxlane::session::dialogue::Bounds;
use voxlane::session::record::{Answer, Ask, Durability, Operation, Order};
use voxlane::time::{Clock, Duration, Instant, UnixMs};

/// Turns a second, and for how long.
const RATE: u64 = 2_000;
const SECONDS: u64 = 10;
/// Turns of the log that is opened, and devices they are of.
const TURNS: usize = 1_000_000;
const DEVICES: usize = 20_000;
/// Syncs of the disk alone, before and after.
const SYNCS: usize = 1_000;

fn main() {
    let dir = std::env::var("VOXLANE_MEMORY_DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    let dir = PathBuf::from(dir).join(format!("memory-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let mut alone = Vec::new();
    sync_alone(&dir, &mut alone);
    let mut acks = acknowledge(&dir);
    sync_alone(&dir, &mut alone);
    alone.sort_unstable();
    acks.sort_unstable();
    let (ack, sync) = (ms(&acks, 0.99), ms(&alone, 0.99));
    println!("fdatasync alone    p50 {:.2} ms  p99 {sync:.2} ms", ms(&alone, 0.5));
    let bound = (2.0 * sync).max(5.0);
    let verdict = if ack <= bound { "kept" } else { "missed" };
    println!("turn acknowledged  p50 {:.2} ms  p99 {ack:.2} ms  target {bound:.2} ms: {verdict}", ms(&acks, 0.5));
    recover(&dir);
    let _ = std::fs::remove_dir_all(dir);
}

/// A quantile of microseconds, in milliseconds.
fn ms(sorted: &[u64], quantile: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * quantile) as usize] as f64 / 1_000.0
}

/// What the disk takes for a write of a few records by itself.
fn sync_alone(dir: &Path, took: &mut Vec<u64>) {
    let (clock, mut file) = (Clock::start(), File::create(dir.join("alone")).expect("a file"));
    for _ in 0..SYNCS {
        let begin = clock.now();
        file.write_all(&[7; 1_500]).and_then(|()| file.sync_data()).expect("a disk");
        took.push(clock.now().since(begin).as_micros() as u64);
    }
}

/// Turns on a fixed schedule; each is measured from the instant at which it should have been given.
fn acknowledge(dir: &Path) -> Vec<u64> {
    let (clock, tally) = (Clock::start(), Arc::new(Tally::default()));
    let main = std::thread::current();
    let bell = Doorbell::new(move || main.unpark());
    let rules = Rules { durability: Durability::Turn, ..Rules::default() };
    let disk = Box::new(|| Box::new(disk::Real) as Box<dyn disk::Disk>);
    let started = Writer::start(&dir.join("acks"), rules, disk, clock, std::slice::from_ref(&bell), tally.clone());
    let (writer, mut posts) = started.expect("a memory");
    let post = &mut posts[0];
    let mut took = Vec::new();
    let begin = clock.now();
    let due = |turn: u64| begin + Duration::from_micros(turn * 1_000_000 / RATE);
    let (mut sent, mut answered) = (0, 0);
    while answered < RATE * SECONDS {
        bell.awake();
        answered += take(post, clock.now(), &mut took);
        let now = clock.now();
        while sent < RATE * SECONDS && due(sent) <= now {
            assert!(post.send(order(sent, due(sent))).is_ok(), "4,096 are open");
            sent += 1;
        }
        post.ring();
        let next = if sent < RATE * SECONDS { due(sent) } else { now + Duration::from_millis(100) };
        if bell.may_sleep() {
            std::thread::park_timeout(next.until(clock.now()));
        }
    }
    drop(writer);
    let commits = tally.commits.load(std::sync::atomic::Ordering::Relaxed);
    println!(
        "{answered} turns at {RATE} a second in {commits} commits, {:.1} in each",
        answered as f64 / commits as f64
    );
    took
}

fn take(post: &mut Post<Order, Answer>, now: Instant, took: &mut Vec<u64>) -> u64 {
    let mut answers = 0;
    while let Some(answer) = post.take() {
        answers += 1;
        took.push(now.since(answer.asked_at).as_micros() as u64);
    }
    answers
}

fn order(turn: u64, asked_at: Instant) -> Order {
    let ticket = Ticket { turn: TurnId(turn as u32), ..Ticket::default() };
    let device = format!("02:00:00:00:{:02x}:{:02x}", turn / 256 % 16, turn % 256).into();
    Order { ticket, session: SessionId(1), device, asked_at, ask: Ask::Write(said(turn as usize)) }
}

/// A turn as people have them: a question of one sentence, an answer of two.
fn said(turn: usize) -> Operation {
    let user = format!("What will the weather be like in town number {turn} tomorrow?");
    let reply = "It will be mostly sunny, with a light wind from the west. You will not need an umbrella.".to_owned();
    Operation::Turn { user, reply, complete: true }
}

fn recover(dir: &Path) {
    let turns = std::env::var("VOXLANE_MEMORY_TURNS").ok().and_then(|text| text.parse().ok()).unwrap_or(TURNS);
    let (clock, dir) = (Clock::start(), dir.join("recovery"));
    let open = || Store::open(&dir, Bounds::default(), Box::new(disk::Real)).expect("a log").0;
    let mut store = open();
    for turn in 0..turns {
        let device = format!("02:00:00:00:{:02x}:{:02x}", turn % DEVICES / 256, turn % DEVICES % 256).into();
        let entry = Entry { at: UnixMs::now(), device, session: SessionId(1), turn: 1, operation: said(turn) };
        store.append(entry).expect("room");
        if turn % 4_000 == 3_999 {
            store.commit(true).expect("a disk");
        }
    }
    store.commit(true).expect("a disk");
    drop(store);
    let bytes: u64 =
        std::fs::read_dir(&dir).expect("files").flatten().filter_map(|f| Some(f.metadata().ok()?.len())).sum();
    // From memory: what is measured is our work, not how fast this disk reads.
    let begin = clock.now();
    let mut store = open();
    let opened = clock.now().since(begin);
    let per_million = opened.as_secs_f64() * 1e6 / turns as f64;
    let verdict = if per_million <= 1.0 { "kept" } else { "missed" };
    println!(
        "{turns} turns of {} devices, {:.0} MB: opened in {:.2} s, {per_million:.2} s per million, target 1 s: {verdict}",
        store.devices(),
        bytes as f64 / 1e6,
        opened.as_secs_f64()
    );
    let begin = clock.now();
    let recalls = 1_000;
    (0..recalls).for_each(|i| {
        assert!(!store.recall(&format!("02:00:00:00:{:02x}:{:02x}", i / 256, i % 256)).dialogue.is_empty())
    });
    println!("a dialogue recalled in {} us", clock.now().since(begin).as_micros() / recalls as u128);
}
