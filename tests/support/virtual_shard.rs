//! A shard on the caller's thread: time is a number, connections are bytes in memory, and the caller is the only worker.
//! For the tests and benches that must see exactly what one pass does.
#![allow(dead_code)] // each program uses a part of it

use std::sync::{Arc, mpsc};
use voxlane::audio::phrase::Phrasebook;
use voxlane::ids::ShardId;
use voxlane::job::{Answer, Job, Outcome, PacketBlock, ReplyEnd, Stage, TextBlock, Transcript, Work};
use voxlane::lanes::{self, Desk, Doorbell, Flow, Foreman, Pool, PoolSpec};
use voxlane::metrics::Panel;
use voxlane::net::{Stream, memory};
use voxlane::shard::clockwork::{Dice, Watch};
use voxlane::shard::mailbox::Mail;
use voxlane::shard::reactor::{News, Ready};
use voxlane::shard::slots::Key;
use voxlane::shard::{Common, DeviceLanguages, Parts, Rules, Shard};
use voxlane::time::{Clock, Duration, Instant};

pub struct VirtualShard {
    pub shard: Shard,
    pub now: Instant,
    pub panel: Arc<Panel>,
    desks: Vec<(Stage, Desk)>,
    _foremen: Vec<Foreman>,
    news: News,
}

/// A device's end.
pub struct Device {
    pub far: memory::Far,
    pub key: Key,
}

impl VirtualShard {
    pub fn new(rules: Rules, capacity: u32) -> VirtualShard {
        let common = Common::new(rules, Arc::new(Phrasebook::default()), Arc::new(DeviceLanguages::default()));
        let connections = common.rules.connections;
        let panel = Arc::new(Panel::default());
        panel.warm();
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
        let news = News::default();
        VirtualShard { shard, now: Instant::from_ms(1_000), panel, desks, _foremen: foremen, news }
    }

    /// A device after both hellos; `audio` is its `audio_params`.
    pub fn device(&mut self, id: usize, audio: &str) -> Device {
        let (pipe, far) = memory::pair();
        let key = self.shard.admit(self.now, Stream::Memory(Box::new(pipe)), None).expect("room");
        let device = Device { far, key };
        let request = format!(
            "GET /xiaozhi/v1/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nDevice-Id: d-{id}\r\nSec-WebSocket-Key: \
             dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"
        );
        device.far.send(request.as_bytes());
        self.pass_for(&device);
        device.text(&format!(r#"{{"type":"hello","audio_params":{audio}}}"#));
        self.pass_for(&device);
        let said = String::from_utf8_lossy(&device.far.take()).into_owned();
        assert!(said.contains(r#""type":"hello""#), "{said}");
        device
    }

    /// One pass in which this device's socket is ready.
    pub fn pass_for(&mut self, device: &Device) {
        self.news.ready.clear();
        self.news.ready.push(Ready { key: device.key, readable: true, writable: true, ended: false });
        self.shard.pass(self.now, &self.news);
    }

    /// One pass in which nobody's is.
    pub fn pass(&mut self) {
        self.news.ready.clear();
        self.shard.pass(self.now, &self.news);
    }

    /// Lets time pass, deadline by deadline.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let next = self.shard.next_deadline(self.now);
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            self.pass();
        }
        self.now = until;
    }

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
        self.pass();
    }

    /// Makes a device ask (by text) and hands in a reply of one sentence with so many packets of so many bytes.
    pub fn reply(&mut self, device: &Device, packets: u32, bytes: usize) {
        device.text(r#"{"type":"listen","state":"detect","text":"what time is it"}"#);
        self.pass_for(device);
        let llm = self.job(Stage::Llm).expect("a job for the model");
        self.answer(&llm, Outcome::Token(TextBlock::split_from("It is late.").0));
        self.answer(&llm, Outcome::ReplyEnd(ReplyEnd::Complete));
        let tts = self.job(Stage::Tts).expect("a job for the voice");
        let Work::Speak(speak) = &tts.work else { panic!("{:?}", tts.work) };
        let sentence = speak.sentence;
        let packet = vec![7; bytes];
        for _ in 0..packets {
            PacketBlock::cut(sentence, &packet).for_each(|block| self.answer(&tts, Outcome::Packet(block)));
        }
        self.answer(&tts, Outcome::SpeechEnd { sentence, packets });
    }

    /// Answers a recogniser's job.
    pub fn transcript(&mut self, job: &Job, text: &str) {
        let transcript = Transcript { text: text.into(), language: None, confidence: None };
        self.answer(job, Outcome::Transcript(Box::new(transcript)));
    }
}

fn seat_one(stage: Stage, capacity: u32) -> (Pool, Desk, Foreman) {
    let (give, desks) = mpsc::channel();
    let flow = if stage == Stage::Asr { Flow::Live } else { Flow::JobsOnly };
    let spec = PoolSpec { min: 1, max: 1, capacity, flow };
    let spawn = Box::new(move |desk, _| give.send(desk).map_err(|_| std::io::Error::other("over")));
    let (mut pools, mut foreman) = lanes::build(stage, spec, &[Doorbell::new(|| ())], Clock::start(), spawn);
    foreman.pass(Instant::ZERO);
    (pools.remove(0), desks.try_recv().expect("a worker"), foreman)
}

impl Device {
    pub fn text(&self, text: &str) {
        self.far.send(&frame(1, text.as_bytes()));
    }
}

/// A masked frame as a device sends it.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    out
}
