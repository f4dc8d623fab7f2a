//! The shop floor: all connections of a shard and what they share. It speaks to sessions and performs what they want; it does
//! not know the reactor, the listener or the pools, so tests drive it with bytes and numbers.

use super::backlog::Backlog;
use super::clockwork::{Dice, Watch};
use super::connection::{Connection, Phase};
use super::languages::DeviceLanguages;
use super::load::Load;
use super::mailbox::Mail;
use super::rules::Rules;
use super::slots::{Key, Slots};
use super::timeline::Timelines;
use super::timers::Timers;
use crate::audio::ear::EarPool;
use crate::audio::phrase::Phrasebook;
use crate::audio::queue::Budget;
use crate::ids::{ShardId, Ticket};
use crate::job::{Answer, Job, Outcome};
use crate::limits;
use crate::metrics::calls::{Call, made};
use crate::metrics::{Counter, Gauge, Panel, Series};
use crate::net::addresses::Place;
use crate::net::outbox::{Class, LOW_WATER_BYTES, Pushed, Shelf};
use crate::net::{AddressBook, Stream};
use crate::resilience::admission::Board;
use crate::resilience::fault::Cause;
use crate::resilience::quarantine::Quarantine;
use crate::session::phase::Phase as SessionPhase;
use crate::session::record::{self, Ask, News, Order};
use crate::session::{Effects, Event, Kit, Session};
use crate::time::{Duration, Instant};
use crate::wire::websocket::{self, code};
use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What all shards of a process share.
#[derive(Clone)]
pub struct Common {
    /// How connections are treated.
    pub rules: Arc<Rules>,
    /// Our own sentences.
    pub phrases: Arc<Phrasebook>,
    /// Languages of devices that have checked in.
    pub languages: Arc<DeviceLanguages>,
    /// Connections of each address.
    pub addresses: Arc<AddressBook>,
    /// Bytes of all audio queues together.
    pub audio: Arc<Budget>,
    /// How much load makes the shards give up, for all to see.
    pub board: Arc<Board>,
    /// Hashes Device-Ids; the same in all shards.
    pub hash: RandomState,
}

impl Common {
    /// What shards with these rules share.
    pub fn new(rules: Rules, phrases: Arc<Phrasebook>, languages: Arc<DeviceLanguages>) -> Common {
        let addresses = Arc::new(AddressBook::new(rules.connections_per_address));
        let audio = Budget::new(limits::AUDIO_BUDGET_BYTES);
        let board = Arc::new(Board::new(limits::SHARDS));
        Common { rules: Arc::new(rules), phrases, languages, addresses, audio, board, hash: RandomState::new() }
    }
}

/// What is done for sessions after they have been spoken to: pools are out of reach while they are being drained.
#[derive(Default)]
pub(super) struct Errands {
    /// Jobs to submit.
    pub jobs: VecDeque<(Key, Job)>,
    /// What is to be done about memories.
    pub orders: VecDeque<Order>,
    /// Connections whose audio waits for its lane.
    pub pours: Vec<Key>,
    /// Turns that are over: their waiting jobs can be forgotten.
    pub ended: Vec<Ticket>,
}

/// See the file's beginning.
pub(super) struct Floor {
    pub id: ShardId,
    pub common: Common,
    pub watch: Watch,
    pub dice: Dice,
    pub panel: Arc<Panel>,
    pub slots: Slots<Connection>,
    pub timers: Timers,
    pub timelines: Timelines,
    /// How long the job whose answer is being handled was in its provider's hands; `None` when no answer is.
    pub provider: Option<Duration>,
    pub backlog: Backlog,
    pub errands: Errands,
    pub mail: Mail,
    pub ears: EarPool,
    pub effects: Effects,
    pub shelf: Shelf,
    /// Our port, for devices that ask where to talk.
    pub port: u16,
    /// The newest connection of each device.
    pub devices: HashMap<u64, Key>,
    /// Connections to be written to.
    pub dirty: Vec<Key>,
    /// Connections to be read from again without being told.
    pub unread: VecDeque<Key>,
    /// JSON of the message being sent; kept for its memory.
    pub json: Vec<u8>,
    pub pass: u32,
    /// Reply packets that leave together, in replies that begin now.
    pub group: u32,
    /// Bytes in all send queues after their last write.
    pub send_bytes: i64,
    pub draining: bool,
    pub load: Load,
    /// Devices that are kept out.
    pub quarantine: Quarantine,
    /// Connections that may be open at once; a few more find a place only to be told so.
    pub most_open: usize,
}

impl Floor {
    /// Takes a connection in; it is turned away with a word when there is no room for it.
    pub fn admit(&mut self, now: Instant, stream: Stream, from: Option<SocketAddr>) -> Option<Key> {
        self.panel.count(Counter::Accepted);
        let address = from.map_or(IpAddr::from([127, 0, 0, 1]), |from| from.ip());
        let place = self.common.addresses.enter(address);
        let is_known = place.is_some();
        let key = self.slots.insert_with(|_| Connection::new(stream, place.unwrap_or(Place::NONE), now));
        let Some(key) = key else {
            // No place even for a word; the closed socket says enough.
            self.panel.count(Counter::Refused);
            self.common.addresses.leave(place.unwrap_or(Place::NONE));
            return None;
        };
        self.panel.set(Gauge::Connections, self.slots.len() as i64);
        self.arm(key);
        if !is_known {
            self.answer(key, now, crate::wire::http::Reply::new(429, "too many connections from your address\n"));
        }
        Some(key)
    }

    /// Speaks to a session and performs what it wants.
    pub fn talk(&mut self, key: Key, now: Instant, act: impl FnOnce(&mut Session, &mut Kit<'_>)) {
        let Some(phase) = self.act(key, now, act) else { return };
        self.perform(key, now);
        self.show(key, phase);
        self.arm(key);
    }

    /// Takes an answer of a worker; gives it back when its session has no room for it now.
    pub fn take_answer(&mut self, now: Instant, answer: Answer) -> Result<(), Box<Answer>> {
        let Answer { ticket, outcome, provider_us } = answer;
        let key = Key { slot: ticket.slot, generation: ticket.generation };
        let session = self.slots.get(key).and_then(|connection| connection.session.as_deref());
        let (Some(session), true) = (session, ticket.shard == self.id) else {
            self.panel.count(Counter::DroppedLateOutcome);
            return Ok(());
        };
        if !session.has_room(ticket.turn, &outcome) {
            return Err(Box::new(Answer { ticket, outcome, provider_us }));
        }
        self.panel.count(Counter::OutcomesIn);
        // What follows a failure is an apology, and no measure of speed.
        let is_of_use = !matches!(outcome, Outcome::Failed(_));
        self.provider = is_of_use.then(|| Duration::from_micros(u64::from(provider_us)));
        let has_crashed = matches!(&outcome, Outcome::Failed(failure) if failure.fault.is_crash());
        self.talk(key, now, |session, kit| session.handle(now, Event::Outcome(ticket.turn, outcome), kit));
        self.provider = None;
        if has_crashed && let Some(device) = self.slots.get(key).map(|connection| connection.device) {
            self.strike(now, device);
        }
        Ok(())
    }

    /// Takes news of a device's memory.
    pub fn take_news(&mut self, now: Instant, answer: record::Answer) {
        let record::Answer { ticket, asked_at, news } = answer;
        let key = Key { slot: ticket.slot, generation: ticket.generation };
        let event = match news {
            News::Recalled(None) => return,
            News::Recalled(Some(remembered)) => Event::Recalled(*remembered),
            News::Written { durable } => {
                self.panel.record(Series::MemoryAck, now.since(asked_at));
                Event::Written(ticket.turn, durable)
            }
        };
        self.talk(key, now, |session, kit| session.handle(now, event, kit));
    }

    /// The memory has no room for an order: a session goes on without what it had asked for, or knows that it is not durable.
    pub fn refuse_order(&mut self, now: Instant, order: &Order) {
        self.panel.count(Counter::DroppedOrderFull);
        let key = Key { slot: order.ticket.slot, generation: order.ticket.generation };
        if let Ask::Write(_) = order.ask {
            let turn = order.ticket.turn;
            self.talk(key, now, |session, kit| session.handle(now, Event::Written(turn, false), kit));
        }
    }

    /// Tells a session that a job of its came back undone.
    pub fn refuse(&mut self, now: Instant, job: &Job, cause: Cause) {
        let counter = if cause == Cause::Overload { Counter::DroppedJobFull } else { Counter::DroppedJobLate };
        self.panel.count(counter);
        self.tell_refused(now, job, cause);
    }

    /// The same where it is counted elsewhere.
    pub fn tell_refused(&mut self, now: Instant, job: &Job, cause: Cause) {
        let key = Key { slot: job.ticket.slot, generation: job.ticket.generation };
        self.talk(key, now, |session, kit| session.handle(now, Event::Refused(job, cause), kit));
    }

    /// Queues a frame; a connection that takes nothing is closed.
    pub fn push(&mut self, key: Key, now: Instant, class: Class, due: Instant, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        if matches!(connection.phase, Phase::Closing | Phase::Lingering) {
            return;
        }
        let outbox = connection.outbox.get_or_insert_with(|| self.shelf.take());
        match outbox.push(class, due, write) {
            Pushed::Queued(0) => {}
            Pushed::Queued(n) | Pushed::Dropped(n) => self.panel.add(Counter::DroppedReplyFull, u64::from(n)),
            Pushed::Full => return self.close(key, now, code::AGAIN, "too slow", Counter::EndedUnwritable),
        }
        mark(&mut self.dirty, connection, key);
    }

    /// Writes what waits for a connection, once.
    pub fn flush(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        let Some(outbox) = connection.outbox.as_deref_mut() else { return };
        let (watch, panel) = (self.watch, &self.panel);
        let flushed = outbox.flush(now, &mut connection.stream, &mut |due| {
            panel.count(Counter::PacketsOut);
            panel.record(Series::FrameLateness, watch.now(now).since(due));
        });
        let Ok(flushed) = flushed else { return self.drop_connection(key, now, Counter::EndedByPeer) };
        connection.written_in = self.pass;
        let waiting = outbox.waiting_bytes() as u32;
        self.send_bytes += i64::from(waiting) - i64::from(std::mem::replace(&mut connection.send_bytes, waiting));
        panel.add(Counter::BytesOut, flushed.bytes as u64);
        let resumes = connection.is_paused && outbox.waiting_bytes() < LOW_WATER_BYTES;
        if flushed.empty {
            if let Some(outbox) = connection.outbox.take() {
                self.shelf.give_back(outbox);
            }
            if connection.phase == Phase::Closing {
                connection.stream.shutdown();
                connection.phase = Phase::Lingering;
            }
        }
        if resumes {
            connection.is_paused = false;
            self.read_again(key);
        }
        self.arm(key);
    }

    /// Reads from this connection in the next pass, whatever the reactor says.
    pub fn read_again(&mut self, key: Key) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        if !std::mem::replace(&mut connection.is_unread, true) {
            self.unread.push_back(key);
        }
    }

    /// Ends a connection with a close frame; what is queued before it still leaves, if the peer takes it in time.
    pub fn close(&mut self, key: Key, now: Instant, code: u16, reason: &str, cause: Counter) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        if connection.phase != Phase::Open {
            return self.drop_connection(key, now, cause);
        }
        self.end_session(key, now);
        let Some(connection) = self.slots.get_mut(key) else { return };
        tracing::info!(session = %connection.id, code, reason, "session closed");
        let outbox = connection.outbox.get_or_insert_with(|| self.shelf.take());
        let dropped = outbox.drop_audio();
        outbox.push_last(|out| websocket::emit_close(code, reason, out));
        self.panel.add(Counter::DroppedReplyOver, u64::from(dropped));
        self.panel.count(cause);
        self.begin_closing(key, now);
    }

    /// From now on only what is queued matters.
    pub fn begin_closing(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        connection.phase = Phase::Closing;
        connection.deadline = now + limits::CLOSE_LINGER;
        connection.part = Vec::new();
        mark(&mut self.dirty, connection, key);
        self.arm(key);
    }

    /// Ends a connection without a word.
    pub fn drop_connection(&mut self, key: Key, now: Instant, cause: Counter) {
        self.end_session(key, now);
        let Some(mut connection) = self.slots.remove(key) else { return };
        self.timelines.give_back(&mut connection.turn);
        if matches!(connection.phase, Phase::Open | Phase::Head) {
            self.panel.count(cause);
        }
        if connection.phase == Phase::Open {
            tracing::info!(session = %connection.id, "connection lost");
        }
        if let Some(outbox) = connection.outbox {
            self.shelf.give_back(outbox);
        }
        self.send_bytes -= i64::from(connection.send_bytes);
        self.common.addresses.leave(connection.place);
        self.timers.forget(key.slot);
        self.panel.count(Counter::Closed);
        // Its socket is closed with it.
        made(Call::Socket);
        self.panel.set(Gauge::Connections, self.slots.len() as i64);
    }

    /// The session of a connection ends: what it holds goes back, what runs for it is cancelled.
    fn end_session(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        if connection.device != 0 && self.devices.get(&connection.device) == Some(&key) {
            self.devices.remove(&connection.device);
        }
        let Some(mut session) = connection.session.take() else { return };
        let mut kit =
            Kit { effects: &mut self.effects, ears: &mut self.ears, phrases: &self.common.phrases, group: self.group };
        let closed = catch_unwind(AssertUnwindSafe(|| session.close(now, &mut kit)));
        if closed.is_err() {
            self.panel.count(Counter::SessionPanics);
            self.effects.clear();
        }
        self.perform(key, now);
        self.show(key, SessionPhase::Closing);
    }

    /// Sets the deadlines of a connection anew.
    pub fn arm(&mut self, key: Key) {
        let Some(connection) = self.slots.get(key) else { return };
        let (frame, rest) = connection.deadlines();
        self.timers.frames.set(key.slot, frame);
        self.timers.rest.set(key.slot, rest);
    }
}

/// Puts a connection on the list of those to be written to.
pub(super) fn mark(dirty: &mut Vec<Key>, connection: &mut Connection, key: Key) {
    if !std::mem::replace(&mut connection.is_dirty, true) {
        dirty.push(key);
    }
}
