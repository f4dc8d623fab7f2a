//! What the conversation machine costs: one event of an open session, a token of an answer, and a tick of a thousand speakers.
//!
//! `cargo bench --bench session`

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use voxlane::audio::ear::EarPool;
use voxlane::audio::endpoint::EndpointRules;
use voxlane::audio::phrase::{EncodedSpeech, Phrase, Phrasebook};
use voxlane::audio::vad::Engine;
use voxlane::format::{Codec, Lang, ReplyFormat, UplinkFormat};
use voxlane::ids::{SessionId, Ticket};
use voxlane::job::{Outcome, TextBlock};
use voxlane::session::{Effects, Event, Kit, Rules, Session};
use voxlane::time::{Duration, Instant};
use voxlane::wire::message::{ClientHello, ClientMessage, Features, Listen, ListenMode};

const SPEAKERS: usize = 1_000;
/// 120 bytes: 60 ms of Opus at 16 kbit/s.
const PACKET: usize = 120;
/// More than criterion takes, so that no speaker finishes while we measure.
const PACKETS: usize = 200_000;

struct Shard {
    effects: Effects,
    ears: EarPool,
    phrases: Phrasebook,
}

impl Shard {
    fn new() -> Shard {
        let phrases = Phrasebook::new(|_, _| "Hello.".to_string());
        let ends: Vec<u32> = (1..=PACKETS).map(|i| (i * PACKET) as u32).collect();
        let speech =
            EncodedSpeech { format: ReplyFormat::DEFAULT, bytes: vec![7; PACKETS * PACKET].into(), ends: ends.into() };
        phrases.fill(Phrase::WakeReply, Lang::EN, speech);
        let ears = EarPool::new(Engine::Level, EndpointRules::default(), 1);
        Shard { effects: Effects::default(), ears, phrases }
    }

    fn handle(&mut self, session: &mut Session, now: Instant, event: Event<'_>) {
        let Shard { effects, ears, phrases } = self;
        session.handle(now, event, &mut Kit { effects, ears, phrases, group: 1 });
    }

    fn message(&mut self, session: &mut Session, now: Instant, message: ClientMessage) {
        self.handle(session, now, Event::Message(message));
    }

    fn open(&mut self, now: Instant) -> Session {
        let mut session =
            Session::new(Arc::new(Rules::default()), SessionId(1), Ticket::default(), Some(Lang::EN), now);
        let uplink = UplinkFormat { codec: Codec::Opus, rate: 16_000, channels: 1 };
        let hello =
            ClientHello { version: None, uplink, wants_pcm: false, is_browser: false, features: Features::default() };
        self.message(&mut session, now, ClientMessage::Hello(Box::new(hello)));
        self.effects.clear();
        session
    }
}

fn event(c: &mut Criterion) {
    let mut shard = Shard::new();
    let mut session = shard.open(Instant::ZERO);
    c.bench_function("session/listen_start", |b| {
        b.iter(|| {
            let start = ClientMessage::Listen(Listen::Start(Some(ListenMode::Auto)));
            shard.message(&mut session, Instant::ZERO, start);
            shard.effects.clear();
            black_box(session.poll_timeout())
        })
    });
    // Each sample begins a turn; its reply gets a hundred tokens, less than fills it.
    let (block, _) = TextBlock::split_from("and so it goes, on and on");
    c.bench_function("session/token_of_24_letters", |b| {
        b.iter_custom(|times| {
            let mut spent = std::time::Duration::ZERO;
            for done in (0..times).step_by(100) {
                shard.message(&mut session, Instant::ZERO, ClientMessage::Text("hi".into()));
                let turn = session.turn();
                let began = std::time::Instant::now();
                for _ in done..times.min(done + 100) {
                    shard.handle(&mut session, Instant::ZERO, Event::Outcome(turn, Outcome::Token(block.clone())));
                    shard.effects.clear();
                }
                spent += began.elapsed();
            }
            spent
        })
    });
}

/// Everybody speaks: what a shard spends per 60 ms on deciding and copying, without the socket.
fn pacing(c: &mut Criterion) {
    let mut shard = Shard::new();
    let mut now = Instant::from_ms(1);
    let mut speakers: Vec<Session> = (0..SPEAKERS).map(|_| shard.open(now)).collect();
    for session in &mut speakers {
        shard.message(session, now, ClientMessage::Listen(Listen::Detect("alexa".into())));
    }
    shard.effects.clear();
    let mut packets = 0;
    c.bench_function("session/pacing_of_1000_speakers_per_60_ms", |b| {
        b.iter(|| {
            now += Duration::from_millis(60);
            for session in &mut speakers {
                let Shard { effects, ears, phrases } = &mut shard;
                session.handle_timeout(now, &mut Kit { effects, ears, phrases, group: 1 });
                black_box(session.poll_timeout());
            }
            packets += shard.effects.bytes.len() / PACKET;
            shard.effects.clear();
        })
    });
    assert!(packets < SPEAKERS * PACKETS, "the speakers had nothing left to say");
}

criterion_group!(benches, event, pacing);
criterion_main!(benches);
