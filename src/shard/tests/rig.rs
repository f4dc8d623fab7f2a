//! A shard without threads or sockets, and devices that speak to it in bytes.

use crate::audio::phrase::Phrasebook;
use crate::audio::vad::Engine;
use crate::ids::ShardId;
use crate::job::{Answer, Job, Outcome, Stage};
use crate::lanes::{self, Desk, Doorbell, Flow, Foreman, Pool, PoolSpec};
use crate::metrics::{Counter, Gauge, Panel};
use crate::net::{Stream, memory};
use crate::shard::clockwork::{Dice, Watch};
use crate::shard::languages::DeviceLanguages;
use crate::shard::mailbox::Mail;
use crate::shard::reactor::{News, Ready};
use crate::shard::slots::Key;
use crate::shard::{Common, Parts, Rules, Shard};
use crate::time::{Clock, Duration, Instant};
use serde_json::{Value, json};
use std::sync::{Arc, mpsc};

/// A shard and its clock.
pub struct Rig {
    pub shard: Shard,
    pub now: Instant,
    pub panel: Arc<Panel>,
    desks: Vec<(Stage, Desk)>,
    _foremen: Vec<Foreman>,
    keys: Vec<Key>,
    pub passes: u32,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(Rules::default())
    }

    /// With these rules, but for the voice detector, which is the one for tests.
    pub fn with(rules: Rules) -> Rig {
        Rig::with_capacity(rules, 8)
    }

    /// The same with a worker for each stage that holds so many jobs.
    pub fn with_capacity(rules: Rules, capacity: u32) -> Rig {
        let rules = Rules { engine: Engine::Level, ..rules };
        let connections = rules.connections;
        let common = Common::new(rules, Arc::new(Phrasebook::default()), Arc::new(DeviceLanguages::default()));
        let panel = Arc::new(Panel::default());
        let (mut pools, mut desks, mut foremen) = (Vec::new(), Vec::new(), Vec::new());
        for stage in Stage::ALL {
            let (pool, desk, foreman) = seat_one(stage, capacity);
            pools.push(pool);
            desks.push((stage, desk));
            foremen.push(foreman);
        }
        let shard = Shard::new(Parts {
            id: ShardId(0),
            common,
            pools,
            memory: None,
            panel: panel.clone(),
            mail: Mail::alone(),
            watch: Watch::Given,
            dice: Dice::Seeded(1),
            connections,
            port: 8_000,
        });
        let now = Instant::from_ms(1_000);
        Rig { shard, now, panel, desks, _foremen: foremen, keys: Vec::new(), passes: 0 }
    }

    /// A fresh connection, nothing said.
    pub fn connect(&mut self) -> Device {
        let (pipe, far) = memory::pair();
        let key = self.shard.admit(self.now, Stream::Memory(Box::new(pipe)), None).expect("room");
        self.keys.push(key);
        Device { far, key, bytes: Vec::new(), is_upgraded: false }
    }

    /// An open WebSocket of that device, no hello yet.
    pub fn upgrade(&mut self, device_id: &str) -> Device {
        let mut device = self.connect();
        device.far.send(request(device_id, "").as_bytes());
        self.run();
        device.expect_upgrade();
        device
    }

    /// A device after both hellos; PCM both ways.
    pub fn device(&mut self, device_id: &str) -> Device {
        let mut device = self.upgrade(device_id);
        let audio = json!({"format": "pcm", "sample_rate": 16_000, "channels": 1, "frame_duration": 60});
        device.text(&json!({"type": "hello", "version": 1, "transport": "websocket", "audio_params": audio}));
        self.run();
        let hello = device.next_json().expect("a hello");
        assert_eq!(hello["type"], "hello");
        device
    }

    /// Passes until nothing is left for now.
    pub fn run(&mut self) {
        for _ in 0..10_000 {
            let ready =
                self.keys.iter().map(|key| Ready { key: *key, readable: true, writable: true, ended: false }).collect();
            self.shard.pass(self.now, &News { ready, arrivals: false, late: None, slept: None });
            self.passes += 1;
            if self.shard.next_deadline(self.now) > self.now {
                return;
            }
        }
        panic!("the shard never rests");
    }

    /// Lets time pass, deadline by deadline.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.run();
            let next = self.shard.next_deadline(self.now);
            if next > until {
                break;
            }
            self.now = next;
        }
        self.now = until;
        self.run();
    }

    pub fn wait_ms(&mut self, ms: u64) {
        self.wait(Duration::from_millis(ms));
    }

    /// The next job at the desk of a stage.
    pub fn job(&mut self, stage: Stage) -> Option<Job> {
        self.desk(stage).next_job(Duration::ZERO)
    }

    pub fn desk(&mut self, stage: Stage) -> &mut Desk {
        &mut self.desks.iter_mut().find(|(s, _)| *s == stage).expect("a desk").1
    }

    /// Hands an outcome in and lets the shard see it.
    pub fn answer(&mut self, job: &Job, outcome: Outcome) {
        let answer = Answer::new(job.ticket, outcome);
        let _ = self.desk(job.stage()).publish(answer, &job.cancel, Instant::NEVER);
        self.run();
    }

    pub fn count(&self, counter: Counter) -> u64 {
        self.panel.counter(counter)
    }

    pub fn gauge(&self, gauge: Gauge) -> i64 {
        self.panel.gauge(gauge)
    }
}

/// A pool with one worker, whose desk the test has.
fn seat_one(stage: Stage, capacity: u32) -> (Pool, Desk, Foreman) {
    let (give, desks) = mpsc::channel();
    let flow = if stage == Stage::Asr { Flow::Live } else { Flow::JobsOnly };
    let spec = PoolSpec { min: 1, max: 1, capacity, flow };
    let spawn = Box::new(move |desk, _| give.send(desk).map_err(|_| std::io::Error::other("the test is over")));
    let (mut pools, mut foreman) = lanes::build(stage, spec, &[Doorbell::new(|| ())], Clock::start(), spawn);
    foreman.pass(Instant::ZERO);
    (pools.remove(0), desks.try_recv().expect("a worker"), foreman)
}

/// An upgrade as the firmware writes it.
pub fn request(device_id: &str, more: &str) -> String {
    format!(
        "GET /xiaozhi/v1/ HTTP/1.1\r\nHost: 10.0.0.1\r\n{more}Client-Id: c-1\r\nConnection: Upgrade\r\nDevice-Id: {device_id}\r\n\
         Protocol-Version: 1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"
    )
}

/// A masked frame.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    out
}

/// 60 ms of PCM at 16 kHz, loud or silent.
pub fn pcm(is_loud: bool) -> Vec<u8> {
    let sample = |i: usize| {
        if !is_loud {
            0i16
        } else if i.is_multiple_of(2) {
            8_000
        } else {
            -8_000
        }
    };
    (0..960).flat_map(|i| sample(i).to_le_bytes()).collect()
}

/// What the server sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Json(Value),
    Audio(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16),
}

/// The far end of a connection.
pub struct Device {
    pub far: memory::Far,
    pub key: Key,
    bytes: Vec<u8>,
    is_upgraded: bool,
}

impl Device {
    pub fn text(&self, value: &Value) {
        self.far.send(&frame(1, value.to_string().as_bytes()));
    }

    pub fn audio(&self, packet: &[u8]) {
        self.far.send(&frame(2, packet));
    }

    /// What came over HTTP.
    pub fn http(&mut self) -> String {
        String::from_utf8(self.far.take()).expect("text")
    }

    pub fn expect_upgrade(&mut self) {
        self.bytes.extend(self.far.take());
        let end = self.bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(self.bytes.drain(..end).collect()).expect("text");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        self.is_upgraded = true;
    }

    /// The next thing said.
    pub fn next(&mut self) -> Option<Said> {
        self.bytes.extend(self.far.take());
        let (first, second) = (*self.bytes.first()?, *self.bytes.get(1)?);
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (len, head) = match second {
            126 => (usize::from(u16::from_be_bytes([self.bytes[2], self.bytes[3]])), 4),
            127 => panic!("nothing that long is sent"),
            len => (usize::from(len), 2),
        };
        assert!(self.bytes.len() >= head + len, "a frame is cut");
        let payload: Vec<u8> = self.bytes.drain(..head + len).skip(head).collect();
        Some(match first & 0x0f {
            1 => Said::Json(serde_json::from_slice(&payload).expect("JSON")),
            2 => Said::Audio(payload),
            8 => Said::Close(u16::from_be_bytes([payload[0], payload[1]])),
            9 => Said::Ping(payload),
            10 => Said::Pong(payload),
            other => panic!("opcode {other}"),
        })
    }

    pub fn next_json(&mut self) -> Option<Value> {
        match self.next()? {
            Said::Json(value) => Some(value),
            other => panic!("JSON was expected, not {other:?}"),
        }
    }

    /// All that was said, as short words: `hello`, `tts start`, `audio`, `close 1000`, …
    pub fn words(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next())
            .map(|said| match said {
                Said::Json(value) => {
                    let state = value["state"].as_str().map(|s| format!(" {s}")).unwrap_or_default();
                    format!("{}{state}", value["type"].as_str().unwrap_or("?"))
                }
                Said::Audio(_) => "audio".into(),
                Said::Ping(_) => "ping".into(),
                Said::Pong(_) => "pong".into(),
                Said::Close(code) => format!("close {code}"),
            })
            .collect()
    }
}
