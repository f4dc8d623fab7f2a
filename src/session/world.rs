//! A world for the session's tests: time is a number, services answer when the script says so, and everything the session wants
//! done is written down in a few words.

use super::effect::{Count, Effect, Note};
use super::record::Operation;
use super::{Effects, Event, Kit, Phase, Rules, Session};
use crate::audio::ear::EarPool;
use crate::audio::endpoint::EndpointRules;
use crate::audio::phrase::{EncodedSpeech, Phrase, Phrasebook};
use crate::audio::vad::Engine;
use crate::format::{Codec, Lang, ReplyFormat, UplinkFormat};
use crate::ids::{SessionId, Ticket, TurnId};
use crate::job::{Failure, Job, Outcome, PacketBlock, ReplyEnd, Said, Stage, TextBlock, Transcript, Work};
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Duration, Instant};
use crate::wire::message::{ClientHello, ClientMessage, Features, Listen, ListenMode, ServerMessage};
use std::sync::Arc;

/// One session and all that surrounds it.
pub struct World {
    pub session: Session,
    pub now: Instant,
    pub effects: Effects,
    pub ears: EarPool,
    pub phrases: Phrasebook,
    /// What the session wanted, in a few words each; packets that follow each other are one entry.
    pub log: Vec<String>,
    pub counts: Vec<Count>,
    pub notes: Vec<String>,
    pub marks: Vec<String>,
    /// Every job ever submitted.
    pub jobs: Vec<Job>,
    /// When packets left, ms, and their timestamps.
    pub packets: Vec<(u64, u32)>,
    /// Blocks poured into lanes: turn, last.
    pub blocks: Vec<(TurnId, bool)>,
    /// The lane takes no blocks.
    pub lane_full: bool,
    pub closed: bool,
}

/// Runs a script and compares what the session wanted.
#[track_caller]
pub fn check(script: impl FnOnce(&mut World), expected: &[&str]) {
    check_in(World::new(), script, expected);
}

/// The same in a world that was prepared.
#[track_caller]
pub fn check_in(mut world: World, script: impl FnOnce(&mut World), expected: &[&str]) {
    script(&mut world);
    assert_eq!(world.log, expected, "at {} ms", world.now.as_ms());
}

impl World {
    pub fn new() -> World {
        World::with(Rules::default(), Features::default())
    }

    /// A session that has said hello. Our phrases have two packets each.
    pub fn with(rules: Rules, features: Features) -> World {
        let mut world = World::ungreeted(rules);
        world.hello(features);
        world.log.clear();
        world.counts.clear();
        world
    }

    /// A session that has not said hello.
    pub fn ungreeted(rules: Rules) -> World {
        let phrases = Phrasebook::new(|phrase, lang| format!("<{phrase:?} {}>", lang.code()));
        for phrase in Phrase::ALL {
            for lang in [Lang::EN, Lang::ZH] {
                let (bytes, ends) = (vec![7; 8].into(), vec![4, 8].into());
                phrases.fill(phrase, lang, EncodedSpeech { format: rules.reply, bytes, ends });
            }
        }
        World {
            session: Session::new(Arc::new(rules), SessionId(1), Ticket::default(), None, Instant::ZERO),
            now: Instant::ZERO,
            effects: Effects::default(),
            ears: EarPool::new(Engine::Level, EndpointRules::default(), 4),
            phrases,
            log: Vec::new(),
            counts: Vec::new(),
            notes: Vec::new(),
            marks: Vec::new(),
            jobs: Vec::new(),
            packets: Vec::new(),
            blocks: Vec::new(),
            lane_full: false,
            closed: false,
        }
    }

    pub fn hello(&mut self, features: Features) {
        let uplink = UplinkFormat { codec: Codec::Pcm, rate: 16_000, channels: 1 };
        let hello = ClientHello { version: None, uplink, wants_pcm: false, is_browser: false, features };
        self.say(ClientMessage::Hello(Box::new(hello)));
    }

    pub fn say(&mut self, message: ClientMessage) {
        self.event(Event::Message(message));
    }

    pub fn start(&mut self, mode: ListenMode) {
        self.say(ClientMessage::Listen(Listen::Start(Some(mode))));
    }

    pub fn stop(&mut self) {
        self.say(ClientMessage::Listen(Listen::Stop));
    }

    pub fn detect(&mut self, text: &str) {
        self.say(ClientMessage::Listen(Listen::Detect(text.into())));
    }

    pub fn abort(&mut self) {
        self.say(ClientMessage::Abort);
    }

    /// Loud packets of 60 ms for so long, as fast as they are spoken.
    pub fn speak(&mut self, ms: u64) {
        self.hear(ms, 8_000);
    }

    /// Silence for so long.
    pub fn silence(&mut self, ms: u64) {
        self.hear(ms, 0);
    }

    fn hear(&mut self, ms: u64, level: i16) {
        for _ in 0..ms / 60 {
            self.packet(level);
            self.pass(60);
        }
    }

    /// One packet of 60 ms, now.
    pub fn packet(&mut self, level: i16) {
        let pcm: Vec<u8> = (0..960).flat_map(|i| if i % 2 == 0 { level } else { -level }.to_le_bytes()).collect();
        self.event(Event::Packet(&pcm));
    }

    /// An utterance: a second of speech and the silence that ends it.
    pub fn utterance(&mut self) {
        self.speak(1_020);
        self.silence(600);
    }

    pub fn transcript(&mut self, text: &str) {
        let transcript = Transcript { text: text.into(), language: None, confidence: None };
        self.outcome(Outcome::Transcript(Box::new(transcript)));
    }

    pub fn token(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let (block, tail) = TextBlock::split_from(rest);
            self.outcome(Outcome::Token(block));
            rest = tail;
        }
    }

    /// The model's whole answer.
    pub fn reply(&mut self, text: &str) {
        self.token(text);
        self.reply_end();
    }

    pub fn reply_end(&mut self) {
        self.outcome(Outcome::ReplyEnd(ReplyEnd::Complete));
    }

    /// Audio of a sentence, without its end.
    pub fn audio(&mut self, sentence: u16, packets: usize) {
        for _ in 0..packets {
            for block in PacketBlock::cut(sentence, b"opus") {
                self.outcome(Outcome::Packet(block));
            }
        }
    }

    /// A whole sentence's audio.
    pub fn speech(&mut self, sentence: u16, packets: usize) {
        self.audio(sentence, packets);
        self.outcome(Outcome::SpeechEnd { sentence, packets: packets as u32 });
    }

    pub fn fails(&mut self, stage: Stage, sentence: u16, cause: Cause) {
        let fault = Fault::new(cause, "scripted");
        self.outcome(Outcome::Failed(Box::new(Failure { stage, sentence, fault })));
    }

    /// The pool gives the last job back.
    pub fn refuse(&mut self) {
        let job = self.jobs.pop().expect("a job was submitted");
        self.event(Event::Refused(&job, Cause::Overload));
    }

    /// For the newest turn.
    pub fn outcome(&mut self, outcome: Outcome) {
        let turn = self.session.turn();
        self.outcome_of(turn, outcome);
    }

    pub fn outcome_of(&mut self, turn: TurnId, outcome: Outcome) {
        self.event(Event::Outcome(turn, outcome));
    }

    /// Time passes; timers fire at their instants.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        let mut rounds = 0;
        while let Some((at, timer)) = self.session.poll_timeout().filter(|(at, _)| *at <= end) {
            rounds = if at > self.now { 0 } else { rounds + 1 };
            assert!(rounds < 20, "timer {timer:?} does not move on");
            self.now = self.now.max(at);
            self.session.handle_timeout(
                self.now,
                &mut Kit { effects: &mut self.effects, ears: &mut self.ears, phrases: &self.phrases, group: 1 },
            );
            self.perform();
        }
        self.now = end;
    }

    pub fn event(&mut self, event: Event<'_>) {
        self.session.handle(
            self.now,
            event,
            &mut Kit { effects: &mut self.effects, ears: &mut self.ears, phrases: &self.phrases, group: 1 },
        );
        self.perform();
    }

    pub fn close(&mut self) {
        self.session.close(
            self.now,
            &mut Kit { effects: &mut self.effects, ears: &mut self.ears, phrases: &self.phrases, group: 1 },
        );
        self.perform();
    }

    /// As a shard does when there is room again. Returns whether all has gone.
    pub fn pour(&mut self) -> bool {
        let (blocks, full) = (&mut self.blocks, self.lane_full);
        self.session.pour(&mut |block| {
            if !full {
                blocks.push((block.ticket.turn, block.last));
            }
            !full
        })
    }

    pub fn phase(&self) -> Phase {
        self.session.phase()
    }

    pub fn count(&self, count: Count) -> usize {
        self.counts.iter().filter(|c| **c == count).count()
    }

    /// The dialogue that the last asked model was given.
    pub fn asked(&self) -> &[Said] {
        let converse = self.jobs.iter().rev().find_map(|job| match &job.work {
            Work::Converse(converse) => Some(&converse.dialogue),
            _ => None,
        });
        converse.expect("the model was asked")
    }

    /// Jobs that nobody took back.
    pub fn cancelled(&self, stage: Stage) -> usize {
        self.jobs.iter().filter(|job| job.stage() == stage && job.cancel.is_cancelled()).count()
    }

    fn perform(&mut self) {
        let effects = std::mem::take(&mut self.effects);
        for effect in effects.list {
            assert!(!self.closed, "after close: {effect:?}");
            let line = match effect {
                Effect::Send(message) => words_for(&message),
                Effect::Packet { timestamp_ms, .. } => {
                    self.packets.push((self.now.as_ms(), timestamp_ms));
                    "packet".into()
                }
                Effect::Submit(job) => {
                    let line = match &job.work {
                        Work::Recognise(_) => "ask asr".into(),
                        Work::Converse(_) => "ask llm".into(),
                        Work::Speak(speak) => format!("ask tts {}: {}", speak.sentence, speak.text),
                    };
                    self.jobs.push(job);
                    line
                }
                Effect::Pour => {
                    self.pour();
                    continue;
                }
                Effect::Cancel(cancel) => {
                    cancel.cancel();
                    continue;
                }
                Effect::Recall => "recall".into(),
                Effect::Persist(_, operation) => match operation {
                    Operation::Turn { user, reply, complete } => {
                        let cut = if complete { "" } else { ", cut short" };
                        format!("write {user} / {reply}{cut}")
                    }
                    other => format!("write {other:?}"),
                },
                Effect::DropAudio => "drop".into(),
                Effect::Mark(milestone, since) => {
                    self.marks.push(format!("{milestone:?} {}", since.as_millis()));
                    continue;
                }
                Effect::Count(count) => {
                    self.counts.push(count);
                    continue;
                }
                Effect::Note(note) => {
                    if !matches!(note, Note::TurnStarted(_)) {
                        self.notes.push(format!("{note:?}"));
                    }
                    continue;
                }
                Effect::Close(code, _) => {
                    self.closed = true;
                    format!("close {code}")
                }
            };
            self.write(line);
        }
    }

    fn write(&mut self, line: String) {
        if line == "packet" {
            if let Some(last) = self.log.last_mut().filter(|last| last.ends_with("packets")) {
                let count: usize = last.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                *last = format!("{} packets", count + 1);
                return;
            }
            return self.log.push("1 packets".into());
        }
        self.log.push(line);
    }
}

fn words_for(message: &ServerMessage) -> String {
    match message {
        ServerMessage::Hello(ReplyFormat { codec, rate, frame_ms }) => format!("hello {codec:?} {rate} {frame_ms}"),
        ServerMessage::Stt(text) => format!("stt {text}"),
        ServerMessage::Llm(emotion) => format!("face {emotion:?}"),
        ServerMessage::TtsStart => "tts start".into(),
        ServerMessage::SentenceStart(text) => format!("says {text}"),
        ServerMessage::TtsStop { durable: false } => "tts stop, not durable".into(),
        ServerMessage::TtsStop { .. } => "tts stop".into(),
        other => format!("{other:?}"),
    }
}
