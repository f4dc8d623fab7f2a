use super::*;
use crate::ids::{SessionId, TurnId};
use crate::memory::reading;
use crate::memory::rig::{Folder, Trick};
use crate::session::record::Operation;
use std::sync::atomic::Ordering::Relaxed;

/// A clerk without a thread, and the shard that writes to it.
struct Desk {
    clerk: Clerk,
    post: Post<Order, Answer>,
    trick: Trick,
    erasures: Sender<Erasure>,
    turn: u32,
}

impl Desk {
    fn new(folder: &Folder, durability: Durability) -> Desk {
        let trick = Trick::roomy();
        let (office, mut posts) = post::open(&[Doorbell::new(|| ())], limits::MEMORY_ORDERS);
        let rules = Rules { durability, ..Rules::default() };
        let (erasures, waiting) = bounded(limits::MEMORY_ERASURES);
        let disk = trick.clone();
        let disk: DiskMaker = Box::new(move || Box::new(disk.clone()));
        let mut clerk = Clerk::new(&folder.0, rules, disk, office, waiting, Arc::new(Tally::default()));
        clerk.open(Instant::ZERO).unwrap();
        Desk { clerk, post: posts.remove(0), trick, erasures, turn: 0 }
    }

    fn ask(&mut self, device: &str, ask: Ask) {
        self.turn += 1;
        let ticket = Ticket { turn: TurnId(self.turn), ..Ticket::default() };
        let order = Order { ticket, session: SessionId(1), device: device.into(), asked_at: Instant::ZERO, ask };
        assert!(self.post.send(order).is_ok());
    }

    fn say(&mut self, device: &str, user: &str) {
        let turn = Operation::Turn { user: user.into(), reply: "ok".into(), complete: true };
        self.ask(device, Ask::Write(turn));
    }

    /// What became of writes, by turn.
    fn written(&mut self) -> Vec<(u32, bool)> {
        let mut told = Vec::new();
        while let Some(answer) = self.post.take() {
            if let News::Written { durable } = answer.news {
                told.push((answer.ticket.turn.0, durable));
            }
        }
        told
    }

    fn recall(&mut self, device: &str) -> Option<Remembered> {
        self.ask(device, Ask::Recall);
        self.clerk.pass(at(0));
        loop {
            if let News::Recalled(what) = self.post.take().expect("an answer").news {
                return what.map(|what| *what);
            }
        }
    }
}

fn at(ms: u64) -> Instant {
    Instant::from_ms(ms)
}

fn kept(folder: &Folder) -> usize {
    let mut turns = 0;
    reading::read(&folder.0, &mut |_, _, frame| turns += usize::from(frame.is_turn())).unwrap();
    turns
}

#[test]
fn what_came_together_is_committed_together_and_then_acknowledged() {
    let folder = Folder::new("together");
    let mut desk = Desk::new(&folder, Durability::Turn);
    (0..100).for_each(|i| desk.say(&format!("d{}", i % 7), "hello"));
    desk.clerk.pass(at(1));
    let told = desk.written();
    assert_eq!(told.len(), 100);
    assert!(told.iter().all(|(_, durable)| *durable));
    assert_eq!((desk.clerk.tally.commits.load(Relaxed), kept(&folder)), (1, 100));
}

#[test]
fn a_dialogue_comes_back_and_a_stranger_has_none() {
    let folder = Folder::new("back");
    let mut desk = Desk::new(&folder, Durability::Turn);
    desk.say("a", "my name is Ada");
    let back = desk.recall("a").expect("it was said a moment ago");
    assert_eq!(back.dialogue.turns().map(|turn| turn.user.as_str()).collect::<Vec<_>>(), ["my name is Ada"]);
    assert!(back.age < Duration::from_secs(3_600));
    assert_eq!(desk.recall("b"), None);
}

#[test]
fn on_a_full_disk_conversations_go_on_and_all_is_written_when_there_is_room() {
    let folder = Folder::new("full");
    let mut desk = Desk::new(&folder, Durability::Turn);
    desk.say("a", "one");
    desk.clerk.pass(at(0));
    assert_eq!(desk.written(), [(1, true)]);
    desk.trick.room.store(10, Relaxed);
    desk.say("a", "two");
    let next = desk.clerk.pass(at(100));
    assert_eq!(desk.written(), [(2, false)], "told at once, not after the disk's return");
    assert_eq!(next, at(100) + limits::MEMORY_RETRY);
    desk.say("a", "three");
    desk.clerk.pass(at(200));
    assert_eq!(desk.written(), [(3, false)]);
    let tally = desk.clerk.tally.clone();
    assert_eq!((tally.failures.load(Relaxed), tally.is_failing.load(Relaxed)), (1, true), "the disk is not pestered");
    assert_eq!(desk.recall("a").map(|it| it.dialogue.len()), Some(3), "what waits is known all the same");
    desk.trick.room.store(i64::MAX, Relaxed);
    desk.clerk.pass(next);
    assert_eq!((kept(&folder), tally.is_failing.load(Relaxed), tally.not_durable.load(Relaxed)), (3, false, 2));
    desk.say("a", "four");
    desk.clerk.pass(next);
    assert!(desk.written().iter().all(|(_, durable)| *durable));
}

#[test]
fn a_sync_that_fails_acknowledges_nothing_and_is_not_asked_again() {
    let folder = Folder::new("eio");
    let mut desk = Desk::new(&folder, Durability::Turn);
    desk.say("a", "one");
    desk.clerk.pass(at(0));
    desk.written();
    desk.trick.bad_syncs.store(1, Relaxed);
    desk.say("a", "two");
    let next = desk.clerk.pass(at(1));
    assert_eq!(desk.written(), [(2, false)]);
    let before = folder.segments().len();
    desk.clerk.pass(next);
    assert_eq!((folder.segments().len(), kept(&folder)), (before + 1, 2), "a new file, and nothing twice");
}

#[test]
fn by_interval_a_turn_waits_for_no_disk_and_is_written_within_a_second() {
    let folder = Folder::new("interval");
    let mut desk = Desk::new(&folder, Durability::Interval);
    desk.say("a", "one");
    let next = desk.clerk.pass(at(5_000));
    assert_eq!((desk.written(), kept(&folder)), (vec![(1, true)], 0));
    assert_eq!(next, at(5_000) + limits::MEMORY_INTERVAL);
    desk.say("a", "two");
    desk.clerk.pass(next);
    assert_eq!(kept(&folder), 2);
}

#[test]
fn what_was_sent_before_the_end_is_written() {
    let folder = Folder::new("end");
    let mut desk = Desk::new(&folder, Durability::Interval);
    desk.say("a", "one");
    desk.clerk.end();
    assert_eq!(kept(&folder), 1);
}

#[test]
fn an_erased_device_is_a_stranger() {
    let folder = Folder::new("erase");
    let mut desk = Desk::new(&folder, Durability::Turn);
    (0..3).for_each(|_| desk.say("a", "my secret"));
    desk.say("b", "mine");
    desk.clerk.pass(at(0));
    desk.written();
    let (done, told) = bounded(1);
    desk.erasures.try_send(Erasure { device: "a".into(), done }).ok().unwrap();
    desk.clerk.pass(at(1));
    assert_eq!(told.try_recv(), Ok(Ok(3)));
    assert_eq!((desk.recall("a"), desk.recall("b").map(|it| it.dialogue.len())), (None, Some(1)));
    let bytes: Vec<u8> = folder.segments().iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!bytes.windows(9).any(|window| window == b"my secret"));
}

#[test]
fn the_thread_answers_its_shard_and_a_second_server_is_refused() {
    let folder = Folder::new("thread");
    let rung = Arc::new(AtomicBool::new(false));
    let tell = rung.clone();
    let bell = Doorbell::new(move || tell.store(true, Ordering::SeqCst));
    let start = |bell: &Doorbell| {
        let disk: DiskMaker = Box::new(|| Box::new(Trick::roomy()));
        let rules = Rules { durability: Durability::Turn, ..Rules::default() };
        Writer::start(&folder.0, rules, disk, Clock::start(), std::slice::from_ref(bell), Arc::default())
    };
    let (writer, mut posts) = start(&bell).unwrap();
    assert!(matches!(start(&bell), Err(StoreFault::Taken(_))));
    assert!(bell.may_sleep());
    let turn = Operation::Turn { user: "hello".into(), reply: String::new(), complete: false };
    let (ticket, asked_at) = (Ticket::default(), Instant::ZERO);
    let order = Order { ticket, session: SessionId(1), device: "a".into(), asked_at, ask: Ask::Write(turn) };
    posts[0].send(order).unwrap();
    posts[0].ring();
    while !rung.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    assert!(matches!(posts[0].take(), Some(Answer { news: News::Written { durable: true }, .. })));
    assert_eq!(super::super::door::ask_to_erase(&folder.0, "a"), Some(Ok(1)));
    drop(writer);
    assert!(start(&bell).is_ok(), "the folder is free again");
}
