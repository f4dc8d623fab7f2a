//! Nothing that was acknowledged is lost or doubled, at whatever moment a process is killed.
//!
//! ```text
//!   a child writes turns and says which were acknowledged --kill -9--> what is on the disk is compared with what it said
//! ```
//!
//! The suite kills 40 writers and 3 servers under load; `VOXLANE_KILLS=1000 cargo test --release --test crash -- --nocapture` kills
//! 950 and 50. `VOXLANE_KILLS_SEED` repeats a run as far as dice go; where the children are when they die, nobody can repeat.

#[path = "support/mod.rs"]
mod support;

#[path = "support/process.rs"]
mod process;

use process::Served;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Client, Got, PATIENCE, configuration_text, fresh_id};
use voxlane::ids::{SessionId, Ticket, TurnId};
use voxlane::lanes::{Doorbell, Post};
use voxlane::memory::frame::Content;
use voxlane::memory::{Rules, Writer, disk, reading};
use voxlane::session::record::{Answer, Ask, Durability, News, Operation, Order};
use voxlane::time::Clock;

/// Kills in the suite, of writers and of servers.
const KILLS: (u32, u32) = (40, 3);
/// Of so many kills, how many are of the server.
const SERVER_SHARE: u32 = 20;
/// Orders that a child has open at once: commits then have several of them.
const OPEN: usize = 32;
/// Names the folder for a child, and where it counts on.
const CHILD: &str = "VOXLANE_CRASH_CHILD";

fn kills() -> (u32, u32) {
    let wished = std::env::var("VOXLANE_KILLS").ok().and_then(|text| text.parse::<u32>().ok());
    wished.map_or(KILLS, |all| (all - all / SERVER_SHARE, all / SERVER_SHARE))
}

/// A linear congruential generator.
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        Dice(std::env::var("VOXLANE_KILLS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7))
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What is in the log, by what the user said; a text that comes twice, and damage, fail.
fn kept(dir: &Path) -> BTreeMap<String, (String, bool)> {
    let mut turns = BTreeMap::new();
    let reading = reading::read(dir, &mut |_, _, frame| {
        let content = frame.decode().expect("a record that checks can be read").content;
        if let Content::Operation(Operation::Turn { user, complete, .. }) = content {
            let device = frame.device.to_owned();
            assert!(turns.insert(user.clone(), (device, complete)).is_none(), "{user:?} is there twice");
        }
    });
    let reading = reading.unwrap_or_else(|fault| panic!("{fault}"));
    let loss: Vec<_> = reading.damage.iter().filter(|(_, damage)| damage.is_loss()).collect();
    assert!(loss.is_empty(), "{loss:?}");
    turns
}

fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("voxlane-crash-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

#[test]
fn no_acknowledged_turn_is_lost_or_doubled_when_the_writer_is_killed() {
    let (wished, _) = kills();
    let dir = folder("writer");
    let (mut dice, mut all, mut acked) = (Dice::new(), 0, BTreeSet::new());
    for kill in 0..wished {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "a_child_that_writes", "--ignored", "--nocapture"]);
        child.env(CHILD, format!("{}\n{kill}", dir.display())).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = child.stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // After so many acknowledgements and a moment more, or at once: while it opens the log.
        for _ in 0..dice.roll(300) {
            let Some(line) = lines.next() else { break };
            acked.extend(line.strip_prefix("acked ").map(str::to_owned));
        }
        (0..dice.roll(3_000)).for_each(|_| std::thread::yield_now());
        child.kill().unwrap();
        child.wait().unwrap();
        acked.extend(lines.filter_map(|line| line.strip_prefix("acked ").map(str::to_owned)));
        let turns = kept(&dir);
        let lost: Vec<_> = acked.iter().filter(|text| !turns.contains_key(*text)).collect();
        assert!(lost.is_empty(), "after kill {kill}: {} lost, the first {:?}", lost.len(), lost[0]);
        // A log that has grown takes long to read a thousand times; what follows begins with an empty one.
        if turns.len() > 20_000 || kill + 1 == wished {
            all += acked.len();
            acked.clear();
            std::fs::remove_dir_all(&dir).unwrap();
        }
    }
    println!("writer: {wished} kills, {all} acknowledged turns, 0 lost, 0 doubled");
    assert!(all > wished as usize, "too few turns were acknowledged to prove anything: {all}");
}

/// Not a test of its own: what is killed by the one above.
#[test]
#[ignore = "a part of the test above"]
fn a_child_that_writes() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (dir, run) = told.split_once('\n').expect("a folder and a number");
    let rules = Rules { durability: Durability::Turn, ..Rules::default() };
    let main = std::thread::current();
    let bell = Doorbell::new(move || main.unpark());
    let disk = Box::new(|| Box::new(disk::Real) as Box<dyn disk::Disk>);
    let clock = Clock::start();
    let started = Writer::start(Path::new(dir), rules, disk, clock, std::slice::from_ref(&bell), Default::default());
    let (_writer, mut posts) = started.unwrap_or_else(|fault| panic!("{fault}"));
    let post = &mut posts[0];
    let mut out = std::io::stdout().lock();
    for turn in 1.. {
        while post.open() >= OPEN {
            bell.awake();
            if !say_answers(post, run, &mut out) && bell.may_sleep() {
                std::thread::park();
            }
        }
        let ticket = Ticket { turn: TurnId(turn), ..Ticket::default() };
        let (user, reply) = (format!("{run}-{turn}"), "word ".repeat(turn as usize % 60));
        let ask = Ask::Write(Operation::Turn { user, reply, complete: true });
        let device = format!("device-{}", turn % 7).into();
        let order = Order { ticket, session: SessionId(u128::from(turn)), device, asked_at: clock.now(), ask };
        assert!(post.send(order).is_ok());
        post.ring();
    }
}

/// Says each acknowledged turn. Whether there was any.
fn say_answers(post: &mut Post<Order, Answer>, run: &str, out: &mut impl Write) -> bool {
    let mut any = false;
    while let Some(answer) = post.take() {
        any = true;
        if let News::Written { durable: true } = answer.news {
            // One write for each: the parent may kill us between two.
            let _ = out.write_all(format!("acked {run}-{}\n", answer.ticket.turn.0).as_bytes());
            let _ = out.flush();
        }
    }
    any
}

/// A device, the turns it has asked for, and how many of them have ended.
struct Talk {
    client: Client,
    asked: Vec<String>,
    ended: usize,
}

impl Talk {
    fn new(served: &Served, id: &str) -> Talk {
        let mut client = Client::connect_as(served.device, id, |_| {}).expect("upgrade");
        client.hello(json!({}));
        Talk { client, asked: Vec::new(), ended: 0 }
    }

    fn ask(&mut self, text: String) {
        self.client.send(json!({"type": "text", "text": text}));
        self.asked.push(text);
    }

    /// Reads to the end of the next turn, or of the connection. The turn, if its end promised that it is on the disk.
    fn promised(&mut self) -> Option<String> {
        loop {
            match self.client.next(PATIENCE).expect("an end") {
                Got::Json(stop) if stop["type"] == "tts" && stop["state"] == "stop" => {
                    self.ended += 1;
                    let turn = self.asked[self.ended - 1].clone();
                    return stop.get("durable").is_none().then_some(turn);
                }
                Got::End | Got::Close(_) => return None,
                _ => {}
            }
        }
    }
}

#[test]
fn no_acknowledged_turn_is_lost_or_doubled_when_the_server_is_killed() {
    let (_, wished) = kills();
    let (text, state) = configuration_text(&[]);
    let devices: Vec<String> = (0..8).map(|_| fresh_id()).collect();
    let (mut dice, mut acked, mut slowest) = (Dice::new(), BTreeSet::new(), Duration::ZERO);
    for kill in 0..wished {
        let begin = Instant::now();
        let mut served = Served::start(&text, &state);
        slowest = slowest.max(begin.elapsed());
        let mut talks: Vec<Talk> = devices.iter().map(|id| Talk::new(&served, id)).collect();
        // All of them talk; some rounds are seen to their end, and the kill comes in the middle of the next.
        let rounds = 1 + dice.roll(2);
        for round in 0..=rounds {
            for (i, talk) in talks.iter_mut().enumerate() {
                talk.ask(format!("{kill} {round} {i}"));
            }
            let seen = if round == rounds { dice.roll(8) as usize } else { talks.len() };
            acked.extend(talks.iter_mut().take(seen).filter_map(Talk::promised));
        }
        (0..dice.roll(10_000)).for_each(|_| std::thread::yield_now());
        served.kill();
        // What had left before the kill counts.
        for talk in talks.iter_mut().filter(|talk| talk.ended < talk.asked.len()) {
            acked.extend(talk.promised());
        }
        let turns = kept(&state.join("memory"));
        let lost: Vec<_> = acked.iter().filter(|text| !turns.contains_key(*text)).collect();
        assert!(lost.is_empty(), "after kill {kill}: {lost:?}");
    }
    let turns = acked.len();
    println!("server: {wished} kills, {turns} acknowledged turns, 0 lost, 0 doubled; listening within {slowest:?}");
    let _ = std::fs::remove_dir_all(state);
}
