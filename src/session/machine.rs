//! The session's machine: what it holds, and the one table that says what each event means.
//!
//! How it listens stands in `listening`, how it thinks in `thinking`, how it speaks in `speaking`.

use super::dialogue::Dialogue;
use super::effect::{Count, Effect, Note, TurnEnd};
use super::phase::Phase;
use super::reply::CancelReason;
use super::timers::Timer;
use super::turn::{Step, Then, Turn};
use super::{Effects, Event, Rules};
use crate::audio::block::AudioBlock;
use crate::audio::ear::{Ear, EarPool, Listening};
use crate::audio::phrase::Phrasebook;
use crate::format::{Codec, Lang, ReplyFormat, UplinkFormat};
use crate::ids::{SessionId, Ticket, TurnId};
use crate::job::Outcome;
use crate::limits;
use crate::time::{Duration, Instant};
use crate::wire::message::{ClientHello, ClientMessage, Emotion, Features, Listen, ListenMode, ServerMessage};
use std::sync::Arc;

/// What a session may use while it handles one event: the shard's, lent for the call.
pub struct Kit<'a> {
    /// Where effects go.
    pub effects: &'a mut Effects,
    /// Ears, lent while listening.
    pub ears: &'a mut EarPool,
    /// Our own sentences.
    pub phrases: &'a Phrasebook,
    /// Reply packets that leave together, where the rules do not say: 1, more while the shard has much to do.
    pub group: u32,
}

/// One device's conversation. Small while nothing happens: what a turn needs is boxed and goes with it.
pub struct Session {
    pub(super) rules: Arc<Rules>,
    id: SessionId,
    /// The return address; its turn is the newest one.
    pub(super) ticket: Ticket,
    pub(super) ear: Option<Box<Ear>>,
    pub(super) turn: Option<Box<Turn>>,
    pub(super) dialogue: Option<Box<Dialogue>>,
    /// In Greeting, when the hello must have come; later, when an idle user is bid farewell.
    pub(super) idle_at: Instant,
    /// When silence on the line ends an utterance, or gives an unused ear back.
    pub(super) stall_at: Instant,
    /// Voice is not believed before this.
    pub(super) mute_until: Instant,
    pub(super) bad_packets: u32,
    /// Audio heard since a manual start, ms.
    pub(super) heard_ms: u32,
    /// Speech over a turn that is not over yet.
    pub(super) pending: Pending,
    /// How the ear listens, if there is one.
    pub(super) ear_kind: Listening,
    /// The ear has ended an utterance: it hears nothing more until it is started anew.
    pub(super) ear_over: bool,
    pub(super) uplink: UplinkFormat,
    pub(super) reply: ReplyFormat,
    pub(super) features: Features,
    pub(super) is_browser: bool,
    pub(super) language: Lang,
    door: Door,
    pub(super) mode: ListenMode,
    /// The device has asked to be listened to, and has not taken it back.
    pub(super) armed: bool,
    /// Packets matter now, no turn being under way.
    pub(super) listening: bool,
    /// The server goes down: this turn is the last.
    pub(super) leaving: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Greeting,
    Open,
    Closing,
}

/// Speech that began while a turn was still being recognised or spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    None,
    /// An onset, and so much voice after it, ms.
    Onset(u32),
    /// It is over already; its end of speech.
    Ended(Instant),
}

impl Session {
    /// A session whose connection has been upgraded at `now`; the hello is awaited. `base` is the return address, its turn 0.
    pub fn new(rules: Arc<Rules>, id: SessionId, base: Ticket, language: Option<Lang>, now: Instant) -> Session {
        let reply = rules.reply;
        Session {
            rules,
            id,
            ticket: base,
            ear: None,
            turn: None,
            dialogue: None,
            idle_at: now + limits::HELLO,
            stall_at: Instant::NEVER,
            mute_until: Instant::ZERO,
            bad_packets: 0,
            heard_ms: 0,
            pending: Pending::None,
            ear_kind: Listening::Endpointed,
            ear_over: false,
            uplink: UplinkFormat { codec: Codec::Opus, rate: 16_000, channels: 1 },
            reply,
            features: Features::default(),
            is_browser: false,
            language: language.unwrap_or(Lang::EN),
            door: Door::Greeting,
            mode: ListenMode::Auto,
            armed: false,
            listening: false,
            leaving: false,
        }
    }

    /// Takes news.
    pub fn handle(&mut self, now: Instant, event: Event<'_>, kit: &mut Kit<'_>) {
        match (self.door, event) {
            (Door::Closing, _) => {}
            (Door::Greeting, Event::Message(ClientMessage::Hello(hello))) => self.on_hello(now, &hello, kit),
            (_, Event::Message(ClientMessage::Goodbye)) => self.hang_up(now, 1000, "goodbye", kit),
            (Door::Greeting, Event::Message(_)) => kit.effects.push(Effect::Count(Count::IgnoredMessage)),
            (Door::Greeting, Event::Packet(_)) => kit.effects.push(Effect::Count(Count::EarlyAudio)),
            (Door::Open, Event::Message(message)) => self.on_message(now, message, kit),
            (Door::Open, Event::Packet(packet)) => self.on_packet(now, packet, kit),
            (Door::Greeting, Event::BadFrame) => kit.effects.push(Effect::Count(Count::BadPacket)),
            (Door::Open, Event::BadFrame) => self.on_bad_frame(now, kit),
            (_, Event::Outcome(turn, outcome)) => self.on_outcome(now, turn, outcome, kit),
            (_, Event::Refused(job, cause)) => self.on_refused(now, job, cause, kit),
            (_, Event::Recalled(remembered)) => self.on_recalled(remembered, kit),
            (_, Event::Written(turn, durable)) => self.on_written(now, turn, durable, kit),
            (_, Event::Drain) => self.leaving = true,
            (_, Event::DrainSoon) => self.on_drain_soon(now, kit),
            (_, Event::DrainOver) => self.hang_up(now, 1001, "going away", kit),
        }
        self.leave_if_over(now, kit);
    }

    fn on_message(&mut self, now: Instant, message: ClientMessage, kit: &mut Kit<'_>) {
        match message {
            ClientMessage::Hello(hello) => {
                // A second answer would end the device's *next* connection (protocol.md 1.4): only its features count.
                self.features = hello.features;
                kit.effects.push(Effect::Count(Count::SecondHello));
            }
            ClientMessage::Listen(Listen::Start(mode)) => self.on_start(now, mode, kit),
            ClientMessage::Listen(Listen::Stop) => self.on_stop(now, kit),
            ClientMessage::Listen(Listen::Detect(text)) => self.on_detect(now, text, kit),
            ClientMessage::Text(text) => self.on_text(now, text, kit),
            ClientMessage::Abort => self.on_abort(now, kit),
            ClientMessage::Ping => kit.effects.send(ServerMessage::Pong),
            ClientMessage::Mcp(_) => kit.effects.push(Effect::Note(Note::Ignored("mcp"))),
            ClientMessage::Iot => kit.effects.push(Effect::Note(Note::Ignored("iot"))),
            ClientMessage::Goodbye => {}
        }
    }

    /// Called when `poll_timeout`'s instant has come (later is fine, earlier does nothing).
    pub fn handle_timeout(&mut self, now: Instant, kit: &mut Kit<'_>) {
        if self.door == Door::Greeting && self.idle_at <= now {
            return self.hang_up(now, 1008, "no hello", kit);
        }
        if self.stall_at <= now {
            self.on_stall(now, kit);
        }
        self.on_deadlines(now, kit);
        self.pump(now, kit);
        if self.door == Door::Open && self.turn.is_none() && self.idle_at <= now {
            self.on_idle(now, kit);
        }
        self.leave_if_over(now, kit);
    }

    /// The server goes down, and nothing is under way any more.
    fn leave_if_over(&mut self, now: Instant, kit: &mut Kit<'_>) {
        if self.leaving && self.turn.is_none() && self.door != Door::Closing {
            self.hang_up(now, 1001, "going away", kit);
        }
    }

    /// The next instant this session wants to be called at, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match self.door {
            Door::Closing => return None,
            Door::Greeting => return Some((self.idle_at, Timer::Hello)),
            Door::Open => {}
        }
        let mut next = (self.stall_at, Timer::Stall);
        let mut consider = |at: Instant, timer: Timer| {
            if at < next.0 {
                next = (at, timer);
            }
        };
        match &self.turn {
            None => consider(self.idle_at, Timer::Idle),
            Some(turn) => {
                consider(turn.deadline(), Timer::Turn);
                if let Some(voice) = &turn.voice {
                    consider(voice.ends_at(), Timer::Stop);
                    if voice.reply.packet_waits() {
                        consider(voice.pacer.next(), Timer::Frame);
                    }
                }
            }
        }
        (next.0 != Instant::NEVER).then_some(next)
    }

    /// Moves waiting audio of the utterance into the lane until `sink` says no. Returns whether all has gone.
    pub fn pour(&mut self, sink: &mut dyn FnMut(&AudioBlock) -> bool) -> bool {
        let (Some(turn), Some(ear)) = (&mut self.turn, &mut self.ear) else { return true };
        if turn.asr.is_none() || turn.poured {
            return true;
        }
        let ticket = Ticket { turn: turn.id, ..self.ticket };
        // What comes behind the utterance's last block belongs to the next one.
        let poured = &mut turn.poured;
        ear.pour(ticket, &mut |block| {
            let taken = !*poured && sink(block);
            *poured |= taken && block.last;
            taken
        }) || turn.poured
    }

    /// Whether this outcome of the turn can be taken now; if not, leave it in the lane (back-pressure to the worker). Final
    /// outcomes and those of turns that are over can always be taken.
    pub fn has_room(&self, turn: TurnId, outcome: &Outcome) -> bool {
        let Some(voice) = self.turn.as_ref().filter(|t| t.id == turn).and_then(|t| t.voice.as_ref()) else {
            return true;
        };
        match outcome {
            Outcome::Token(_) => voice.splitter.waiting() < limits::REPLY_WAITING_BYTES,
            Outcome::Packet(block) => voice.reply.has_audio_room(block.sentence),
            _ => true,
        }
    }

    /// The connection is gone: gives everything back, cancels what runs. Last call. No `tts stop` any more: nobody hears it.
    pub fn close(&mut self, now: Instant, kit: &mut Kit<'_>) {
        if let Some(mut turn) = self.turn.take() {
            self.write_heard(now, &turn, kit);
            Self::cancel_jobs(&mut turn, CancelReason::Close, kit.effects);
            kit.effects.push(Effect::Note(Note::TurnEnded(turn.id, TurnEnd::Closed)));
        }
        self.give_ear_back(kit);
        self.dialogue = None;
        self.listening = false;
        self.door = Door::Closing;
    }

    /// Where the session is.
    pub fn phase(&self) -> Phase {
        match (self.door, &self.turn) {
            (Door::Greeting, _) => Phase::Greeting,
            (Door::Closing, _) => Phase::Closing,
            (Door::Open, None) if self.listening => Phase::Listening,
            (Door::Open, None) => Phase::Idle,
            (Door::Open, Some(turn)) => match (turn.step, &turn.voice) {
                (Step::Hearing, _) => Phase::Listening,
                (_, Some(voice)) if voice.reply.packets_sent() > 0 => Phase::Speaking,
                _ => Phase::Thinking,
            },
        }
    }

    /// Its name on the wire.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The turn that is under way, or was last.
    pub fn turn(&self) -> TurnId {
        self.ticket.turn
    }

    /// The language it speaks with this user.
    pub fn language(&self) -> Lang {
        self.language
    }

    fn on_hello(&mut self, now: Instant, hello: &ClientHello, kit: &mut Kit<'_>) {
        self.door = Door::Open;
        self.features = hello.features;
        self.is_browser = hello.is_browser;
        self.uplink = hello.uplink;
        if hello.wants_pcm {
            self.reply.codec = Codec::Pcm;
        }
        self.touch(now);
        kit.effects.send(ServerMessage::Hello(self.reply));
        self.recall(kit);
    }

    /// The user did something: the idle clock starts anew.
    pub(super) fn touch(&mut self, now: Instant) {
        self.idle_at = if self.rules.idle == Duration::ZERO { Instant::NEVER } else { now + self.rules.idle };
    }

    /// Nobody spoke for long: a spoken farewell, then the end.
    fn on_idle(&mut self, now: Instant, kit: &mut Kit<'_>) {
        self.say_farewell(now, "idle", kit);
    }

    /// The server goes down soon. A sentence that plays is finished; anything else ends here.
    fn on_drain_soon(&mut self, now: Instant, kit: &mut Kit<'_>) {
        const GOING: Then = Then::Close(1001, "going away");
        if let Some(voice) = self.turn.as_mut().and_then(|turn| turn.voice.as_mut()) {
            let playing = voice.reply.keep_playing_only() || voice.stop_at.is_some() || voice.plays(now);
            if playing {
                voice.splitter = Default::default();
                kit.effects.list.extend(voice.llm.take().map(|llm| Effect::Cancel(llm.job)));
                kit.effects.list.extend(voice.reply.take_dropped().map(Effect::Cancel));
                if voice.then == Then::Rest {
                    voice.then = GOING;
                }
                return self.pump(now, kit);
            }
        }
        self.hang_up(now, 1001, "going away", kit);
    }

    /// Ends the session with a close frame: what plays is cut, with its `tts stop`.
    pub(super) fn hang_up(&mut self, now: Instant, code: u16, why: &'static str, kit: &mut Kit<'_>) {
        self.end_turn(now, TurnEnd::Closed, CancelReason::Close, kit);
        self.close(now, kit);
        kit.effects.push(Effect::Close(code, why));
    }

    /// A note on the screen, then the end: the device sends what we can not read.
    pub(super) fn refuse_audio(&mut self, now: Instant, kit: &mut Kit<'_>) {
        kit.effects.send(ServerMessage::Alert {
            status: "Error".into(),
            message: "Audio format not understood".into(),
            emotion: Emotion::Confused,
        });
        self.hang_up(now, 1003, "audio not understood", kit);
    }
}

#[cfg(test)]
mod draining;

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests;
