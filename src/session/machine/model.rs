//! Random conversations against what was promised: a thousand in a debug build, twenty thousand in a release build. Messages, audio, answers of services (late, early, failed, out
//! of order, for turns long over) and jumps of time come as dice fall; a checker watches every effect. The seed of a failure is
//! printed; `run(seed)` repeats it.

use super::*;
use crate::audio::endpoint::EndpointRules;
use crate::audio::phrase::{EncodedSpeech, Phrase};
use crate::audio::vad::Engine;
use crate::job::{Failure, Job, PacketBlock, ReplyEnd, Stage, TextBlock, Transcript, Work};
use crate::resilience::fault::{Cause, Fault};
use crate::session::dialogue::Bounds;
use crate::session::record::{Durability, Operation, Remembered};
use crate::time::UnixMs;

#[test]
fn promises_hold_in_random_conversations() {
    let scripts: u64 = if cfg!(debug_assertions) { 1_000 } else { 20_000 };
    let mut reached = Reached::default();
    for seed in 0..scripts {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed)));
        // The promise that was broken has been printed by then.
        let of_it = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        reached.add(&of_it);
    }
    // Dice that never roll a barge-in would prove nothing about it.
    let rare = [
        reached.not_durable,
        reached.stops,
        reached.packets,
        reached.barge_ins,
        reached.failures,
        reached.closes,
        reached.late,
    ];
    assert!(rare.iter().all(|&n| n > scripts / 50), "{reached:?}");
}

/// What happened in the scripts, so that the test knows it tested something.
#[derive(Debug, Default)]
struct Reached {
    stops: u64,
    packets: u64,
    barge_ins: u64,
    failures: u64,
    closes: u64,
    late: u64,
    not_durable: u64,
}

impl Reached {
    fn add(&mut self, other: &Reached) {
        self.stops += other.stops;
        self.packets += other.packets;
        self.barge_ins += other.barge_ins;
        self.failures += other.failures;
        self.closes += other.closes;
        self.late += other.late;
        self.not_durable += other.not_durable;
    }
}

/// A linear congruential generator: the same seed, the same script.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// A job as its worker sees it.
struct Order {
    job: Job,
    /// It had its final outcome, or was refused.
    over: bool,
    packets: u32,
}

struct Trial {
    dice: Dice,
    session: Session,
    now: Instant,
    effects: Effects,
    ears: EarPool,
    phrases: Phrasebook,
    orders: Vec<Order>,
    loud: Vec<u8>,
    quiet: Vec<u8>,
    /// `tts start` was sent at that instant and its `tts stop` is owed.
    started: Option<Instant>,
    /// Packets of this reply: when the first left, how many did, and how far ahead the device is.
    first_packet: Option<Instant>,
    played_until: Instant,
    faces: u32,
    stops_owed_to_aborts: u32,
    hellos: u32,
    /// Turns given to be written down, and those of them that are on the disk; with what waits for an answer.
    written: Vec<TurnId>,
    durable: Vec<TurnId>,
    unanswered: Vec<TurnId>,
    recalls: u32,
    closed: bool,
    reached: Reached,
}

fn run(seed: u64) -> Reached {
    let mut trial = Trial::new(seed);
    if !trial.dice.one_in(20) {
        trial.hello();
    }
    for _ in 0..trial.dice.roll(40) + 5 {
        trial.step();
    }
    trial.settle();
    trial.reached
}

impl Trial {
    fn new(seed: u64) -> Trial {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let phrases = Phrasebook::new(|phrase, _| format!("{phrase:?}."));
        for phrase in Phrase::ALL {
            if !dice.one_in(3) {
                let (bytes, ends) = (vec![7; 8].into(), vec![4, 8].into());
                phrases.fill(phrase, Lang::EN, EncodedSpeech { format: ReplyFormat::DEFAULT, bytes, ends });
            }
        }
        let durability =
            [Durability::None, Durability::Interval, Durability::Turn, Durability::Turn][dice.roll(4) as usize];
        let rules =
            Rules { durability, wake_reply: !dice.one_in(3), lead_ms: 60 * dice.roll(8) as u32, ..Rules::default() };
        let pcm = |level: i16| -> Vec<u8> {
            (0..960).flat_map(|i| if i % 2 == 0 { level } else { -level }.to_le_bytes()).collect()
        };
        Trial {
            session: Session::new(Arc::new(rules), SessionId(1), Ticket::default(), None, Instant::ZERO),
            dice,
            now: Instant::ZERO,
            effects: Effects::default(),
            ears: EarPool::new(Engine::Level, EndpointRules::default(), 1),
            phrases,
            orders: Vec::new(),
            loud: pcm(8_000),
            quiet: pcm(0),
            started: None,
            first_packet: None,
            played_until: Instant::ZERO,
            faces: 0,
            stops_owed_to_aborts: 0,
            hellos: 0,
            written: Vec::new(),
            durable: Vec::new(),
            unanswered: Vec::new(),
            recalls: 0,
            closed: false,
            reached: Reached::default(),
        }
    }

    fn step(&mut self) {
        if self.closed {
            return;
        }
        if self.dice.one_in(4) {
            self.memory();
        }
        match self.dice.roll(100) {
            0..=24 => self.audio(),
            25..=69 => self.answer(),
            70..=79 => {
                let ms = [1, 20, 60, 60, 300, 2_100, 5_000, 15_000][self.dice.roll(8) as usize];
                self.pass(ms);
            }
            80..=97 => self.message(),
            98 => {
                let rare = self.dice.roll(6);
                match rare {
                    0 => self.event(Event::Drain),
                    1 => self.pass(130_000),
                    2 => self.event(Event::Message(ClientMessage::Goodbye)),
                    3 => self.event(Event::DrainOver),
                    4 => self.event(Event::DrainSoon),
                    _ => self.hello(),
                }
            }
            _ => self.garbage(),
        }
    }

    fn hello(&mut self) {
        let uplink = UplinkFormat { codec: Codec::Pcm, rate: 16_000, channels: 1 };
        let features = Features { mcp: false, aec: self.dice.one_in(2), emoji: !self.dice.one_in(4) };
        let hello = ClientHello { version: None, uplink, wants_pcm: false, is_browser: false, features };
        self.event(Event::Message(ClientMessage::Hello(Box::new(hello))));
    }

    fn message(&mut self) {
        let text = |dice: &mut Dice| {
            ["hi", "你好小智", "", "今天", "goodbye", "what is it?"][dice.roll(6) as usize].to_string()
        };
        let message = match self.dice.roll(20) {
            0..=8 => {
                let mode = [ListenMode::Auto, ListenMode::Manual, ListenMode::Realtime, ListenMode::Realtime]
                    [self.dice.roll(4) as usize];
                self.stops_owed_to_aborts += u32::from(mode == ListenMode::Manual);
                ClientMessage::Listen(Listen::Start(Some(mode)))
            }
            9 => {
                // It keeps the mode, which may be manual.
                self.stops_owed_to_aborts += 1;
                ClientMessage::Listen(Listen::Start(None))
            }
            10..=11 => ClientMessage::Listen(Listen::Stop),
            12..=14 => ClientMessage::Listen(Listen::Detect(text(&mut self.dice))),
            15..=16 => ClientMessage::Text(text(&mut self.dice)),
            17..=18 => {
                self.stops_owed_to_aborts += 1;
                ClientMessage::Abort
            }
            _ => ClientMessage::Ping,
        };
        self.event(Event::Message(message));
        self.stops_owed_to_aborts = 0;
    }

    /// A stretch of speech, perhaps with the silence that ends it, in time or in a burst.
    fn audio(&mut self) {
        let step = if self.dice.one_in(5) { 0 } else { 60 };
        for _ in 0..self.dice.roll(8) {
            self.packet(true);
            self.pass(step);
        }
        if self.dice.one_in(2) {
            for _ in 0..10 {
                self.packet(false);
                self.pass(step);
            }
        }
    }

    fn packet(&mut self, loud: bool) {
        let packet = std::mem::take(if loud { &mut self.loud } else { &mut self.quiet });
        self.event(Event::Packet(&packet));
        *(if loud { &mut self.loud } else { &mut self.quiet }) = packet;
    }

    /// The memory says something: what it knows, or what became of a turn.
    fn memory(&mut self) {
        if self.recalls > 0 && self.dice.one_in(2) {
            self.recalls -= 1;
            let mut remembered =
                Remembered { age: Duration::from_secs(self.dice.roll(4_000)), ..Remembered::default() };
            let turn = Operation::Turn { user: "before".into(), reply: "yes".into(), complete: true };
            remembered.dialogue.apply(UnixMs(1), &turn, Bounds::default());
            return self.event(Event::Recalled(remembered));
        }
        if let Some(turn) = self.unanswered.pop() {
            let is_good = !self.dice.one_in(4);
            self.durable.extend(is_good.then_some(turn));
            self.event(Event::Written(turn, is_good));
        }
    }

    fn garbage(&mut self) {
        let bad = if self.dice.one_in(5) { 110 } else { 3 };
        (0..bad).for_each(|_| self.event(Event::Packet(&[1])));
    }

    /// Some worker says something: mostly one of the newest.
    fn answer(&mut self) {
        if self.orders.is_empty() {
            return;
        }
        let newest = self.orders.len() as u64;
        let back = if self.dice.one_in(10) { self.dice.roll(newest) } else { self.dice.roll(newest.min(4)) };
        let place = (newest - 1 - back) as usize;
        for _ in 0..self.dice.roll(6) + 1 {
            self.answer_of(place);
        }
    }

    fn answer_of(&mut self, place: usize) {
        let order = &mut self.orders[place];
        if order.over {
            return;
        }
        let turn = order.job.ticket.turn;
        let stage = order.job.stage();
        let sentence = if let Work::Speak(speak) = &order.job.work { speak.sentence } else { 0 };
        let failed = |cause| Outcome::Failed(Box::new(Failure { stage, sentence, fault: Fault::new(cause, "dice") }));
        let outcome = match (stage, self.dice.roll(12)) {
            (_, 0) => failed(Cause::Unavailable),
            (Stage::Asr, n) => {
                let text = ["", "hello", "今天天气怎么样", "goodbye", "tell me more"][n as usize % 5];
                Outcome::Transcript(Box::new(Transcript { text: text.into(), language: None, confidence: None }))
            }
            (Stage::Llm, n @ 1..=8) => {
                let text = ["One. ", "Two and three! ", "你好。", "```code", "```", " 🙂 ", "and so on, ", "\n\n"]
                    [n as usize - 1];
                Outcome::Token(TextBlock::split_from(text).0)
            }
            (Stage::Llm, _) => Outcome::ReplyEnd(ReplyEnd::Complete),
            (Stage::Tts, 1..=9) => {
                order.packets += 1;
                Outcome::Packet(PacketBlock::cut(sentence, b"opus").next().expect("one block"))
            }
            (Stage::Tts, _) => Outcome::SpeechEnd { sentence, packets: order.packets },
        };
        if !self.session.has_room(turn, &outcome) {
            return;
        }
        self.orders[place].over = outcome.is_final();
        self.event(Event::Outcome(turn, outcome));
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        let mut rounds = 0;
        while let Some((at, timer)) = self.session.poll_timeout().filter(|(at, _)| *at <= end) {
            rounds = if at > self.now { 0 } else { rounds + 1 };
            assert!(rounds < 20, "{timer:?} does not move on");
            // Shards are late now and then.
            let late = if self.dice.one_in(8) { self.dice.roll(90) } else { 0 };
            self.now = self.now.max(at) + Duration::from_millis(late);
            let (effects, ears, phrases) = (&mut self.effects, &mut self.ears, &self.phrases);
            self.session.handle_timeout(self.now, &mut Kit { effects, ears, phrases, group: 1 });
            self.perform();
        }
        self.now = self.now.max(end);
    }

    fn event(&mut self, event: Event<'_>) {
        let (effects, ears, phrases) = (&mut self.effects, &mut self.ears, &self.phrases);
        self.session.handle(self.now, event, &mut Kit { effects, ears, phrases, group: 1 });
        self.perform();
    }

    /// The checker.
    fn perform(&mut self) {
        let mut refused = Vec::new();
        for effect in std::mem::take(&mut self.effects.list) {
            assert!(!self.closed, "{effect:?} after close");
            match effect {
                Effect::Recall => self.recalls += 1,
                Effect::Persist(TurnId(0), _) => {}
                Effect::Persist(turn, _) => {
                    assert!(!self.written.contains(&turn), "{turn:?} is written down twice");
                    self.written.push(turn);
                    self.unanswered.push(turn);
                }
                Effect::Send(message) => self.on_message(&message),
                Effect::Packet { len, .. } => self.on_packet(len),
                Effect::Submit(job) => {
                    assert_eq!(job.ticket.turn, self.session.turn(), "work for a turn that is over");
                    assert!(job.deadline > self.now);
                    let over = self.dice.one_in(30);
                    if over {
                        refused.push(self.orders.len());
                    }
                    self.orders.push(Order { job, over, packets: 0 });
                }
                Effect::Pour => {
                    let mut room = self.dice.roll(20);
                    self.session.pour(&mut |_| {
                        let taken = room > 0;
                        room = room.saturating_sub(1);
                        taken
                    });
                }
                Effect::Cancel(cancel) => cancel.cancel(),
                Effect::DropAudio => assert!(self.started.is_some()),
                Effect::Count(Count::LateOutcome) => self.reached.late += 1,
                Effect::Note(Note::TurnEnded(_, TurnEnd::BargeIn)) => self.reached.barge_ins += 1,
                Effect::Note(Note::TurnEnded(_, TurnEnd::Failed(..))) => self.reached.failures += 1,
                Effect::Mark(..) | Effect::Count(_) | Effect::Note(_) => {}
                Effect::Close(..) => {
                    assert!(self.started.is_none(), "closed without tts stop");
                    self.closed = true;
                    self.reached.closes += 1;
                }
            }
        }
        self.effects.clear();
        for place in refused {
            let job = std::mem::replace(&mut self.orders[place].job, dummy_job());
            self.event(Event::Refused(&job, Cause::Overload));
            self.orders[place].job = job;
        }
    }

    fn on_message(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Hello(_) => {
                self.hellos += 1;
                assert_eq!(self.hellos, 1, "a second hello");
            }
            ServerMessage::Stt(text) => assert!(self.started.is_none() && !text.is_empty(), "stt within a reply"),
            ServerMessage::TtsStart => {
                assert!(self.started.replace(self.now).is_none(), "tts start within a reply");
                self.first_packet = None;
                self.faces = 0;
            }
            ServerMessage::TtsStop { durable } => {
                let turn = self.session.turn();
                let is_promised = self.session.rules.durability == Durability::Turn && self.written.contains(&turn);
                if self.started.take().is_some() {
                    assert!(!durable || !is_promised || self.durable.contains(&turn), "{turn:?} is not on the disk");
                    self.reached.not_durable += u64::from(!durable);
                } else {
                    assert!(self.stops_owed_to_aborts > 0, "tts stop without tts start");
                    self.stops_owed_to_aborts -= 1;
                }
                self.reached.stops += 1;
            }
            ServerMessage::Llm(_) => {
                self.faces += 1;
                assert!(self.started.is_some() && self.faces == 1 && self.session.features.emoji);
            }
            ServerMessage::SentenceStart(text) => assert!(self.started.is_some() && !text.is_empty()),
            _ => {}
        }
    }

    fn on_packet(&mut self, len: u32) {
        let started = self.started.expect("a packet outside of a reply");
        assert!(self.now.since(started) >= Duration::from_millis(60), "the device is not ready yet");
        assert!(len > 0);
        if self.first_packet.is_none() {
            (self.first_packet, self.played_until) = (Some(self.now), self.now);
        }
        self.played_until = self.played_until.max(self.now) + Duration::from_millis(60);
        let ahead = self.played_until.since(self.now).as_millis() as u32;
        assert!(ahead <= 60 * limits::LEAD_FRAMES, "{ahead} ms ahead");
        self.reached.packets += 1;
    }

    /// Nothing more comes from outside: the session must come to rest by itself, owing nothing.
    fn settle(&mut self) {
        // The longest wait is the model's minute, with the speaking before and after it.
        for _ in 0..100 {
            if self.session.turn.is_none() && self.session.ear.is_none() {
                break;
            }
            self.pass(1_000);
        }
        assert!(self.started.is_none(), "tts stop is still owed");
        assert!(self.session.turn.is_none(), "a turn that never ends");
        assert!(self.session.ear.is_none(), "an ear nobody speaks to");
        for order in &self.orders {
            assert!(order.over || order.job.cancel.is_cancelled(), "forgotten: {:?}", order.job);
        }
        if !self.closed {
            self.pass(130_000);
            assert!(self.closed, "an idle session is bid farewell");
        }
    }
}

fn dummy_job() -> Job {
    let recognise = crate::job::Recognise { language: None, hint: Lang::EN };
    let work = Work::Recognise(recognise);
    Job { ticket: Ticket::default(), deadline: Instant::NEVER, cancel: Default::default(), work }
}
