//! A world in which time is a number: one real shard with real sessions, devices on byte queues in memory, and workers that
//! answer at once with what the test says. An hour passes in a moment, and every instant is exact.

use super::{Got, fresh_id};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};
use voxlane::audio::block::AudioBlock;
use voxlane::audio::phrase::{Phrase, Phrasebook};
use voxlane::audio::vad::Engine;
use voxlane::format::Lang;
use voxlane::ids::ShardId;
use voxlane::job::{Answer, Job, Outcome, PacketBlock, ReplyEnd, Stage, TextBlock, Transcript, Work};
use voxlane::lanes::{self, Desk, Doorbell, Flow, PoolSpec, Spawn};
use voxlane::limits;
use voxlane::metrics::{Counter, Gauge, Panel};
use voxlane::net::Stream;
use voxlane::net::memory::{self, Far};
use voxlane::session;
use voxlane::shard::clockwork::{Dice, Watch};
use voxlane::shard::mailbox::Mail;
use voxlane::shard::reactor::{News, Ready};
use voxlane::shard::slots::Key;
use voxlane::shard::{Common, DeviceLanguages, Parts, Rules, Shard};
use voxlane::time::{Clock, Duration, Instant};

/// What the workers answer.
pub struct Script {
    /// What recognition hears in any utterance; `None` leaves it unanswered.
    pub heard: Option<String>,
    /// What the model says to anything; `None` leaves it unanswered.
    pub reply: Option<String>,
    /// Packets of a sentence's audio.
    pub packets: usize,
}

/// Shard, workers and devices.
pub struct World {
    pub now: Instant,
    pub script: Script,
    pub panel: Arc<Panel>,
    pub devices: Vec<Device>,
    /// How late the shard wakes up, ms at most; each time by another amount.
    pub late_ms: u64,
    shard: Shard,
    workers: Vec<Worker>,
    seed: u64,
}

/// A device at the far end of a connection in memory.
pub struct Device {
    /// Our end: to stop reading, to hang up, to send bytes that are no WebSocket.
    pub far: Far,
    /// All that was received, and when.
    pub got: Vec<(Instant, Got)>,
    key: Key,
    /// `None` before the upgrade.
    socket: Option<WebSocket<Line>>,
}

impl World {
    /// A world whose sessions go by `rules`. Voice is what is loud; phrases of our own are synthesised like any sentence.
    pub fn new(rules: session::Rules) -> World {
        let (pools, workers) = Stage::ALL.into_iter().map(Worker::hired).unzip();
        let panel = Arc::new(Panel::default());
        let rules = Rules { engine: Engine::Level, session: Arc::new(rules), ..Rules::default() };
        let phrases = Phrasebook::new(|phrase, _: Lang| match phrase {
            Phrase::Farewell => "Goodbye.".to_owned(),
            other => format!("{other:?}."),
        });
        let shard = Shard::new(Parts {
            id: ShardId(0),
            common: Common::new(rules, Arc::new(phrases), Arc::new(DeviceLanguages::default())),
            pools,
            memory: None,
            panel: panel.clone(),
            mail: Mail::alone(),
            watch: Watch::Given,
            dice: Dice::Seeded(1),
            connections: 64,
            port: 8000,
        });
        World {
            now: Instant::from_ms(1_000),
            script: Script { heard: Some("hello".into()), reply: Some("Fine.".into()), packets: 10 },
            panel,
            devices: Vec::new(),
            late_ms: 0,
            shard,
            workers,
            seed: 7,
        }
    }

    /// A connection that has said nothing yet; its number.
    pub fn connect(&mut self) -> usize {
        let (pipe, far) = memory::pair();
        let key = self.shard.admit(self.now, Stream::Memory(Box::new(pipe)), None).expect("room");
        self.devices.push(Device { far, got: Vec::new(), key, socket: None });
        self.devices.len() - 1
    }

    /// A connection after the upgrade, without a hello.
    pub fn upgrade(&mut self) -> usize {
        let device = self.connect();
        let head = format!(
            "GET /xiaozhi/v1/ HTTP/1.1\r\nHost: voxlane\r\nClient-Id: c\r\nConnection: Upgrade\r\nDevice-Id: {}\r\n\
             Protocol-Version: 1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Upgrade: websocket\r\n\r\n",
            fresh_id()
        );
        self.devices[device].far.send(head.as_bytes());
        self.settle();
        let place = &mut self.devices[device];
        let answer = String::from_utf8(place.far.take()).expect("an answer in text");
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let line = Line { far: place.far.clone(), taken: VecDeque::new() };
        place.socket = Some(WebSocket::from_raw_socket(line, Role::Client, None));
        device
    }

    /// A connection after both hellos, with PCM both ways.
    pub fn device(&mut self) -> usize {
        let device = self.upgrade();
        let audio = json!({"format": "pcm", "sample_rate": 16_000, "channels": 1, "frame_duration": 60});
        self.send(device, json!({"type": "hello", "version": 1, "transport": "websocket", "audio_params": audio}));
        assert_eq!(self.kinds(device), ["hello"]);
        self.devices[device].got.clear();
        device
    }

    /// A device sends a message now.
    pub fn send(&mut self, device: usize, message: Value) {
        self.write(device, Message::text(message.to_string()));
    }

    /// A device sends an audio packet now.
    pub fn send_packet(&mut self, device: usize, packet: &[u8]) {
        self.write(device, Message::binary(packet.to_vec()));
    }

    fn write(&mut self, device: usize, message: Message) {
        // A device that has been hung up on talks to nobody.
        if let Some(socket) = &mut self.devices[device].socket {
            let _ = socket.send(message);
        }
        self.settle();
    }

    /// A device speaks, or is silent, for `ms`: a packet each 60 ms, while time passes.
    pub fn sound(&mut self, device: usize, ms: u64, is_voice: bool) {
        for _ in 0..ms.div_ceil(60) {
            self.send_packet(device, &super::pcm_packet(is_voice));
            self.pass(60);
        }
    }

    /// Lets time pass: the shard wakes at each of its deadlines.
    pub fn pass(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        loop {
            let next = self.shard.next_deadline(self.now);
            if next > until {
                self.now = until;
                return;
            }
            let late = if self.late_ms == 0 { 0 } else { self.random() % self.late_ms };
            self.now = self.now.max((next + Duration::from_millis(late)).min(until));
            self.settle();
        }
    }

    /// Kinds of all that a device has got, runs of packets as one.
    pub fn kinds(&self, device: usize) -> Vec<String> {
        super::kinds(&self.devices[device].got.iter().map(|(_, got)| got.clone()).collect::<Vec<_>>())
    }

    /// When a device got things of this kind.
    pub fn times(&self, device: usize, kind: &str) -> Vec<Instant> {
        self.devices[device].got.iter().filter(|(_, got)| got.kind() == kind).map(|(at, _)| *at).collect()
    }

    /// A counter of the shard.
    pub fn counted(&self, counter: Counter) -> u64 {
        self.panel.counter(counter)
    }

    /// A gauge of the shard.
    pub fn gauge(&self, gauge: Gauge) -> i64 {
        self.panel.gauge(gauge)
    }

    /// Passes of the shard, turns of the workers and looks of the devices, until nobody has anything to do at this instant.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let all = |device: &Device| Ready { key: device.key, readable: true, writable: true, ended: false };
            let news = News { ready: self.devices.iter().map(all).collect(), ..News::default() };
            self.shard.pass(self.now, &news);
            let mut worked = false;
            for worker in &mut self.workers {
                worked |= worker.work(&self.script);
            }
            for device in &mut self.devices {
                worked |= device.look(self.now);
            }
            if !worked && self.shard.next_deadline(self.now) > self.now {
                return;
            }
        }
        panic!("the shard never comes to rest at {:?}", self.now);
    }

    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 33
    }
}

impl Device {
    /// Whether the server has ended the connection.
    pub fn is_closed(&self) -> bool {
        self.far.is_closed()
    }

    /// Takes what has come; returns whether it said something to that, as devices answer pings.
    fn look(&mut self, now: Instant) -> bool {
        let said = self.far.unread();
        let Some(socket) = &mut self.socket else { return false };
        loop {
            let got = match socket.read() {
                Ok(Message::Text(text)) => Got::Json(serde_json::from_str(&text).expect("every text frame is JSON")),
                Ok(Message::Binary(bytes)) => Got::Packet(bytes.to_vec()),
                Ok(Message::Ping(payload)) => Got::Ping(payload.to_vec()),
                Ok(Message::Pong(payload)) => Got::Pong(payload.to_vec()),
                Ok(Message::Close(frame)) => Got::Close(frame.map_or(1005, |f| f.code.into())),
                Ok(Message::Frame(_)) => continue,
                Err(tungstenite::Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                    return self.far.unread() > said;
                }
                Err(_) => Got::End,
            };
            let ended = got == Got::End;
            self.got.push((now, got));
            if ended {
                self.socket = None;
                return false;
            }
        }
    }
}

/// The device's end of a pipe as a stream that never waits.
struct Line {
    far: Far,
    taken: VecDeque<u8>,
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.taken.extend(self.far.take());
        if self.taken.is_empty() {
            return if self.far.is_closed() { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        self.taken.read(into)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.far.send(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The one worker of a stage: takes any number of jobs, answers each in pieces that fit the lane.
struct Worker {
    desk: Desk,
    /// Recognitions whose utterance is not over.
    hearing: Vec<Job>,
    /// Answers that wait for room in the lane, with the job they belong to.
    answers: VecDeque<(Job, VecDeque<Outcome>)>,
}

/// Answers handed in between two looks of the shard: half of what it takes at one look.
const BATCH: usize = limits::LANE_BUDGET / 2;

impl Worker {
    fn hired(stage: Stage) -> (lanes::Pool, Worker) {
        let desks: Arc<Mutex<Vec<Desk>>> = Arc::default();
        let keep = desks.clone();
        let spawn: Spawn = Box::new(move |desk, _| {
            keep.lock().push(desk);
            Ok(())
        });
        let flow = if stage == Stage::Asr { Flow::Live } else { Flow::JobsOnly };
        let spec = PoolSpec { min: 1, max: 1, capacity: 64, flow };
        let (mut pools, mut foreman) = lanes::build(stage, spec, &[Doorbell::new(|| {})], Clock::start(), spawn);
        foreman.pass(Instant::ZERO);
        let desk = desks.lock().pop().expect("a desk");
        (pools.remove(0), Worker { desk, hearing: Vec::new(), answers: VecDeque::new() })
    }

    /// Whether there was anything to do.
    fn work(&mut self, script: &Script) -> bool {
        let mut worked = false;
        let mut blocks: Vec<AudioBlock> = Vec::new();
        self.desk.next_blocks(usize::MAX, Duration::ZERO, &mut blocks);
        while let Some(job) = self.desk.next_job(Duration::ZERO) {
            worked = true;
            match job.work {
                Work::Recognise(_) => self.hearing.push(job),
                _ => self.answer(job, script),
            }
        }
        worked |= !blocks.is_empty();
        for last in blocks.iter().filter(|block| block.last) {
            if let Some(at) = self.hearing.iter().position(|job| job.ticket == last.ticket) {
                let job = self.hearing.remove(at);
                self.answer(job, script);
            }
        }
        worked | self.hand_in()
    }

    fn answer(&mut self, job: Job, script: &Script) {
        let outcomes: VecDeque<Outcome> = match &job.work {
            Work::Recognise(_) => script.heard.iter().map(|text| transcript(text)).collect(),
            Work::Converse(_) => script.reply.iter().flat_map(|text| said(text)).collect(),
            Work::Speak(speak) => spoken(speak.sentence, script.packets).collect(),
        };
        self.answers.push_back((job, outcomes));
    }

    fn hand_in(&mut self) -> bool {
        let mut handed_in = 0;
        while let Some((job, outcomes)) = self.answers.front_mut() {
            while let Some(outcome) = outcomes.pop_front() {
                if handed_in == BATCH {
                    outcomes.push_front(outcome);
                    return true;
                }
                handed_in += 1;
                let answer = Answer::new(job.ticket, outcome);
                let handed = self.desk.publish(answer, &job.cancel, Instant::ZERO);
                assert_ne!(handed, Err(lanes::Gone::Deadline), "the lane has room for a batch");
            }
            self.answers.pop_front();
        }
        handed_in > 0
    }
}

fn transcript(text: &str) -> Outcome {
    Outcome::Transcript(Box::new(Transcript { text: text.to_owned(), language: Some(Lang::EN), confidence: None }))
}

fn said(text: &str) -> Vec<Outcome> {
    vec![Outcome::Token(TextBlock::split_from(text).0), Outcome::ReplyEnd(ReplyEnd::Complete)]
}

/// Packets that carry their number.
fn spoken(sentence: u16, packets: usize) -> impl Iterator<Item = Outcome> {
    let packet = move |i: usize| PacketBlock::cut(sentence, &(i as u32).to_be_bytes()).next().map(Outcome::Packet);
    (0..packets).filter_map(packet).chain([Outcome::SpeechEnd { sentence, packets: packets as u32 }])
}
