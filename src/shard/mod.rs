//! The pinned loop: one thread per core, and all it owns. Shares nothing with other shards but letters and a few counters.
//!
//! ```text
//!   wait -> send due frames -> accept -> read -> answers of workers, letters -> timers -> write -> ring doorbells -> wait
//! ```
//!
//! The order is the policy: what has a deadline goes before what is new, and between two packets of somebody's audio the frame
//! timer is looked at again. A shard that has much to do works in larger pieces: it rests up to 2 ms between passes and lets reply
//! packets leave in pairs (`strain`). Neighbours: `net` gives streams, `wire` their meaning, `session` the decisions, `lanes` the way to
//! workers. Never here: a wait outside [`reactor`], a lock, a name lookup, a file.
//!
//! [`Shard::pass`] is given the time and who is ready, so tests drive it without sockets; [`site`] puts shards on threads.

pub mod backlog;
pub mod bucket;
pub mod clockwork;
pub mod connection;
mod door;
mod floor;
mod keep;
pub mod languages;
mod load;
pub mod mailbox;
mod perform;
pub mod pin;
pub mod privilege;
pub mod reactor;
mod receive;
mod rescue;
pub mod rules;
pub mod site;
pub mod slots;
mod strain;
mod timeline;
pub mod timers;

pub use floor::Common;
pub use languages::DeviceLanguages;
pub use rules::{Access, Rules};
pub use site::{Crew, Handle, Site, lay};

use crate::audio::ear::EarPool;
use crate::ids::ShardId;
use crate::job::{Job, Stage, Work};
use crate::lanes::pool::{Class, Taken};
use crate::lanes::{Pool, Post, bell};
use crate::limits;
use crate::metrics::calls::Tally;
use crate::metrics::{Counter, Gauge, Panel, Series};
use crate::net::listener::{Accepted, Listener};
use crate::net::tls::TlsStream;
use crate::net::{Stream, outbox::Shelf};
use crate::resilience::admission::Step;
use crate::resilience::fault::Cause;
use crate::resilience::quarantine::Quarantine;
use crate::session::record::{Answer, Order};
use crate::session::{Effects, Event};
use crate::time::{Duration, Instant};
use backlog::Backlog;
use clockwork::{Dice, Watch};
use floor::{Errands, Floor};
use load::Load;
use mailbox::{Letter, Mail};
use mio::Registry;
use mio::net::TcpStream;
use reactor::{News, Ready};
use rescue::{Lap, Long};
use slots::{Key, Slots};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use strain::Strain;
use timeline::Timelines;
use timers::Timers;

/// Ears kept for the next session that listens: about as many as listen at once on a busy shard.
const SPARE_EARS: usize = 64;

/// A shard's end of the lane to the memory.
pub type MemoryPost = Post<Order, Answer>;

/// One shard.
pub struct Shard {
    floor: Floor,
    pools: Vec<Pool>,
    memory: Option<MemoryPost>,
    listener: Option<Listener>,
    registry: Option<Registry>,
    buffer: Box<[u8]>,
    packet: Vec<u8>,
    expired: Vec<Job>,
    /// The last pass left something that the reactor will not tell of.
    is_unfinished: bool,
    /// Until when time has been counted, as busy or as waited.
    counted: Option<Instant>,
    strain: Strain,
    tally: Tally,
    /// The listener may have more.
    arrivals: bool,
    drain: Option<Drain>,
    /// What the pass is at, and what has taken its time.
    step: Step,
    lap: Lap,
    long: Long,
    /// Panics of the last minute.
    deaths: Vec<Instant>,
    /// At which step a test wants it to panic, once.
    #[cfg(test)]
    plant: Option<Step>,
}

/// A shard that is to end.
struct Drain {
    /// When the step ends that it is at.
    until: Instant,
    step: DrainStep,
    /// How long the last step but closing may take.
    rest: Duration,
}

/// What a draining shard still waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DrainStep {
    /// Those who have just been accepted: another process has the door now.
    Newcomers,
    /// Turns.
    Turns,
    /// The sentences that play.
    Sentences,
    /// The last bytes.
    Closing,
}

/// What a shard is made of.
pub struct Parts {
    /// Which.
    pub id: ShardId,
    /// What all shards share.
    pub common: Common,
    /// Ends of the lanes, at most one for each stage; jobs for a stage without one are refused.
    pub pools: Vec<Pool>,
    /// Its end of the lane to the memory; sessions whose rules promise nothing need none.
    pub memory: Option<MemoryPost>,
    /// Its measurements.
    pub panel: Arc<Panel>,
    /// Its mailbox.
    pub mail: Mail,
    /// What time it is.
    pub watch: Watch,
    /// Where ids come from.
    pub dice: Dice,
    /// Most connections.
    pub connections: usize,
    /// Port of the listener.
    pub port: u16,
}

impl Shard {
    /// A shard without a listener. Called on the thread that it will live on: its voice detectors do not travel.
    pub fn new(parts: Parts) -> Shard {
        let Parts { id, common, pools, memory, panel, mail, watch, dice, connections, port } = parts;
        let ears = EarPool::new(common.rules.engine, common.rules.endpoint, SPARE_EARS)
            .with_budget(common.audio.clone())
            .with_relay(common.rules.relay);
        let floor = Floor {
            id,
            common,
            watch,
            dice,
            panel,
            slots: Slots::new(connections + limits::CONNECTIONS_BEYOND),
            timers: Timers::default(),
            timelines: Timelines::default(),
            provider: None,
            backlog: Backlog::default(),
            errands: Errands::default(),
            mail,
            ears,
            effects: Effects::default(),
            shelf: Shelf::default(),
            port,
            devices: HashMap::new(),
            dirty: Vec::new(),
            unread: VecDeque::new(),
            json: Vec::new(),
            pass: 0,
            group: 1,
            send_bytes: 0,
            draining: false,
            load: Load::new(Instant::ZERO),
            quarantine: Quarantine::default(),
            most_open: connections,
        };
        Shard {
            floor,
            pools,
            memory,
            listener: None,
            registry: None,
            buffer: vec![0; limits::READ_BYTES].into(),
            packet: Vec::new(),
            expired: Vec::new(),
            is_unfinished: false,
            counted: None,
            strain: Strain::new(Instant::ZERO),
            tally: Tally::start(bell::rung_by_this_thread()),
            arrivals: false,
            drain: None,
            step: Step::Wait,
            lap: Lap::default(),
            long: Long::default(),
            deaths: Vec::new(),
            #[cfg(test)]
            plant: None,
        }
    }

    /// Opens the door: connections of `listener` from now on, their streams registered with the reactor.
    pub fn open(&mut self, listener: Listener, registry: Registry) {
        self.listener = Some(listener);
        self.registry = Some(registry);
        self.arrivals = true;
    }

    /// One pass of the loop.
    pub fn pass(&mut self, now: Instant, news: &News) {
        self.floor.pass = self.floor.pass.wrapping_add(1);
        self.is_unfinished = false;
        self.lap = Lap::begin(now);
        self.enter(Step::Frames);
        self.floor.send_due(now);
        self.floor.look(now, &self.pools);
        self.pass_on(now, Step::Accept);
        self.accept(now, news.arrivals);
        self.pass_on(now, Step::Read);
        self.read_ready(now, &news.ready);
        self.pass_on(now, Step::Answers);
        self.drain_mailbox(now);
        self.pass_on(now, Step::Timers);
        self.floor.fire_timers(now);
        self.end_drain(now);
        self.pass_on(now, Step::Errands);
        self.run_errands(now);
        self.pass_on(now, Step::Write);
        self.flush_writes(now);
        self.ring_doorbells();
        self.measure(now, news);
    }

    fn enter(&mut self, step: Step) {
        #[cfg(test)]
        assert!(self.plant.take_if(|plant| *plant == step).is_none(), "planted");
        self.step = step;
        self.floor.common.board.tell_step(usize::from(self.floor.id.0), step);
    }

    /// One step of the pass is over, the next begins.
    fn pass_on(&mut self, now: Instant, next: Step) {
        self.lap.end(self.step, self.floor.watch.now(now));
        self.enter(next);
    }

    /// When the next pass must be, if nothing happens before; the time of this one if it left something.
    pub fn next_deadline(&self, now: Instant) -> Instant {
        if self.is_unfinished {
            return now;
        }
        let pours = if self.floor.errands.pours.is_empty() { Instant::NEVER } else { now + limits::POUR_AGAIN };
        let accept = self.listener.as_ref().and_then(Listener::resumes_at).unwrap_or(Instant::NEVER);
        let drained = self.drain.as_ref().filter(|drain| drain.until > now).map_or(Instant::NEVER, |drain| drain.until);
        self.floor.timers.next_deadline().min(pours).min(accept).min(drained)
    }

    /// Time between the beginnings of passes, at least: zero at ease.
    pub fn rest(&self) -> Duration {
        self.strain.rest()
    }

    /// Takes in a connection that came by another way than the listener.
    pub fn admit(&mut self, now: Instant, stream: Stream, from: Option<SocketAddr>) -> Option<Key> {
        let stream = match (stream, &self.floor.common.rules.tls) {
            (Stream::Plain(socket), Some(tls)) => Stream::Tls(Box::new(TlsStream::new(socket, Arc::clone(tls)).ok()?)),
            (stream, _) => stream,
        };
        let key = self.floor.admit(now, stream, from)?;
        if let (Some(registry), Some(connection)) = (&self.registry, self.floor.slots.get_mut(key))
            && connection.stream.register(registry, mio::Token(key.token())).is_err()
        {
            self.floor.drop_connection(key, now, Counter::Refused);
            return None;
        }
        Some(key)
    }

    /// Stops accepting; turns may end for three fifths of `limit`, sentences for the rest of it, then what is left is closed. With
    /// a `heir`, a process that accepts at the same door from now on, whoever was accepted before is still let in first.
    pub fn drain(&mut self, now: Instant, limit: Duration, has_heir: bool) {
        if self.drain.is_some() {
            return;
        }
        self.listener = None;
        let turns = limit * 3 / 5;
        let drain = Drain { until: now, step: DrainStep::Newcomers, rest: limit };
        match has_heir {
            true => self.drain = Some(Drain { until: now + limits::NEWCOMERS, ..drain }),
            false => {
                self.drain = Some(Drain { until: now + turns, step: DrainStep::Turns, rest: limit - turns });
                self.floor.drain(now);
            }
        }
    }

    /// Whether a draining shard has nothing left to do, or no time left to do it.
    pub fn is_drained(&self, now: Instant) -> bool {
        let Some(drain) = &self.drain else { return false };
        let may_end = drain.step != DrainStep::Newcomers;
        (may_end && self.floor.slots.is_empty()) || (drain.step == DrainStep::Closing && now >= drain.until)
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.floor.slots.len()
    }

    /// When the time of a drain is over, what is left is closed; after that only the last bytes are waited for.
    fn end_drain(&mut self, now: Instant) {
        while let Some(drain) = self.drain.as_mut().filter(|drain| now >= drain.until) {
            let Drain { rest, step, .. } = *drain;
            *drain = match step {
                DrainStep::Newcomers => {
                    let turns = rest * 3 / 5;
                    Drain { until: now + turns, step: DrainStep::Turns, rest: rest - turns }
                }
                DrainStep::Turns => Drain { until: now + rest, step: DrainStep::Sentences, rest },
                DrainStep::Sentences => Drain { until: now + limits::CLOSE_LINGER, step: DrainStep::Closing, rest },
                DrainStep::Closing => return,
            };
            match step {
                DrainStep::Newcomers => self.floor.drain(now),
                DrainStep::Turns => self.floor.tell_all(now, || Event::DrainSoon),
                DrainStep::Sentences => self.floor.close_all(now),
                DrainStep::Closing => {}
            }
        }
    }

    fn accept(&mut self, now: Instant, arrivals: bool) {
        self.arrivals |= arrivals || self.listener.as_ref().is_some_and(|listener| listener.resumes_at().is_some());
        if !self.arrivals {
            return;
        }
        for _ in 0..limits::ACCEPTS_PER_PASS {
            let Some(listener) = &mut self.listener else { return };
            match listener.accept(now) {
                Accepted::Stream(socket, from) => self.welcome(now, socket, from),
                Accepted::Broken => {}
                Accepted::Nobody => return self.arrivals = false,
                Accepted::NoDescriptor => {
                    self.floor.panel.count(Counter::DescriptorsOut);
                    return tracing::warn!("no file descriptor left: accepting rests");
                }
            }
        }
        self.is_unfinished = true;
    }

    /// Keeps a fresh connection, or hands it to a much emptier shard.
    fn welcome(&mut self, now: Instant, socket: TcpStream, from: SocketAddr) {
        let _ = Stream::prepare(&socket);
        match self.floor.mail.hand_over(self.floor.slots.len(), socket, from) {
            None => self.floor.panel.count(Counter::HandedOver),
            Some(socket) => {
                self.admit(now, Stream::Plain(socket), Some(from));
            }
        }
    }

    /// First everybody is read, which is cheap; then packets are worked on, which is not.
    fn read_ready(&mut self, now: Instant, ready: &[Ready]) {
        for ready in ready {
            self.floor.handle_ready(ready, now);
        }
        for _ in 0..self.floor.unread.len().min(limits::READS_PER_PASS) {
            if self.floor.backlog.is_full() {
                break;
            }
            let Some(key) = self.floor.unread.pop_front() else { break };
            if let Some(connection) = self.floor.slots.get_mut(key) {
                connection.is_unread = false;
                self.floor.read(key, now, &mut self.buffer);
                self.floor.frames_first(now);
            }
        }
        self.work_off(now);
        self.is_unfinished |= !self.floor.unread.is_empty() || !self.floor.backlog.is_empty();
    }

    /// Works on the backlog for a slice of time, frames first.
    fn work_off(&mut self, began: Instant) {
        let mut now = began;
        while now.since(began) < limits::PASS_SLICE {
            now = self.floor.frames_first(now);
            if !self.floor.work_off_one(now, &mut self.packet) {
                return;
            }
        }
    }

    /// Letters of other shards, and answers of workers.
    fn drain_mailbox(&mut self, now: Instant) {
        while let Some(letter) = self.floor.mail.receive() {
            match letter {
                Letter::Adopt(socket, from) => {
                    self.admit(now, Stream::Plain(socket), Some(from));
                }
                Letter::Rules(rules, connections) => {
                    self.floor.common.rules = rules;
                    self.floor.most_open = connections;
                    self.floor.slots.set_most(connections + limits::CONNECTIONS_BEYOND);
                }
                Letter::Strike { device } => self.floor.handle_strike(now, device),
                Letter::Newer { device, order } => self.floor.handle_newer(now, device, order),
            }
        }
        let (floor, expired) = (&mut self.floor, &mut self.expired);
        for pool in &mut self.pools {
            let take = &mut |answer| match floor.take_answer(now, answer) {
                Ok(()) => Taken::Yes,
                Err(answer) => Taken::No(*answer),
            };
            let left = pool.drain(now, limits::ANSWERS_PER_PASS, take, &mut |job| expired.push(job));
            self.is_unfinished |= left;
        }
        if let Some(memory) = &mut self.memory {
            for _ in 0..limits::ANSWERS_PER_PASS {
                let Some(answer) = memory.take() else { break };
                self.floor.take_news(now, answer);
            }
            self.is_unfinished |= memory.has_answers();
        }
        while let Some(job) = self.expired.pop() {
            self.floor.refuse(now, &job, Cause::Timeout);
        }
    }

    /// Jobs go to their pools, audio into its lanes, and what waited for turns that are over is forgotten.
    fn run_errands(&mut self, now: Instant) {
        while let Some(ticket) = self.floor.errands.ended.pop() {
            self.pools.iter_mut().for_each(|pool| pool.withdraw(ticket));
        }
        // A refused job makes its session think of something else, which may be another job.
        for _ in 0..limits::JOBS_PER_PASS {
            let Some((_, job)) = self.floor.errands.jobs.pop_front() else { break };
            if !self.floor.may_begin(&job) {
                self.floor.shed_turn(now, &job);
                continue;
            }
            self.floor.panel.count(Counter::JobsSubmitted);
            let class = class(&job);
            let refused = match pool_of(&mut self.pools, job.stage()) {
                Some(pool) => pool.submit(now, class, job).err(),
                None => Some(Box::new(job)),
            };
            if let Some(job) = refused {
                self.floor.refuse(now, &job, Cause::Overload);
            }
        }
        self.is_unfinished |= !self.floor.errands.jobs.is_empty();
        while let Some(order) = self.floor.errands.orders.pop_front() {
            let refused = match &mut self.memory {
                Some(memory) => memory.send(order).err(),
                None => Some(order),
            };
            if let Some(order) = refused {
                self.floor.refuse_order(now, &order);
            }
        }
        let Some(pool) = pool_of(&mut self.pools, Stage::Asr) else { return self.floor.errands.pours.clear() };
        let floor = &mut self.floor;
        floor.errands.pours.retain(|key| {
            let Some(connection) = floor.slots.get_mut(*key) else { return false };
            let Some(session) = connection.session.as_deref_mut() else { return false };
            let is_done = session.pour(&mut |block| {
                let is_taken = pool.feed(block);
                floor.panel.add(Counter::BlocksFed, u64::from(is_taken));
                is_taken
            });
            connection.is_pouring = !is_done;
            !is_done
        });
    }

    /// One write for each connection that has something to say; who was written to in this pass waits for the next.
    fn flush_writes(&mut self, now: Instant) {
        let mut dirty = std::mem::take(&mut self.floor.dirty);
        let pass = self.floor.pass;
        dirty.retain(|key| {
            let Some(connection) = self.floor.slots.get_mut(*key) else { return false };
            connection.is_dirty = connection.written_in == pass && connection.outbox.is_some();
            if connection.written_in == pass {
                return connection.is_dirty;
            }
            self.floor.flush(*key, now);
            self.floor.frames_first(now);
            false
        });
        self.is_unfinished |= !dirty.is_empty();
        // What became dirty while we wrote waits as well.
        dirty.append(&mut self.floor.dirty);
        self.floor.dirty = dirty;
    }

    fn ring_doorbells(&mut self) {
        self.pools.iter_mut().for_each(Pool::ring_doorbells);
        self.memory.iter_mut().for_each(Post::ring);
        self.floor.mail.publish_load(self.floor.slots.len());
    }

    fn measure(&mut self, now: Instant, news: &News) {
        let panel = &self.floor.panel;
        let ended = self.floor.watch.now(now);
        self.lap.end(self.step, ended);
        panel.record(Series::LoopDuration, ended.since(now));
        panel.count(Counter::Passes);
        let slept = news.slept.unwrap_or_default();
        if news.slept.is_some() {
            panel.count(Counter::Sleeps);
            panel.add(Counter::Waited, slept.as_micros() as u64);
        }
        // From the end of the last pass to the end of this one, without the sleep between them: nothing is lost or counted twice.
        let since = self.counted.replace(ended).map_or(ended.since(now), |counted| ended.since(counted));
        let busy = since.saturating_sub(slept);
        panel.add(Counter::Busy, busy.as_micros() as u64);
        // Under virtual time nothing takes any.
        let worked = if let Watch::Given = self.floor.watch { Duration::ZERO } else { busy };
        self.floor.load.note(worked, news.late);
        self.strain.observe(ended, busy);
        self.floor.group = self.strain.group();
        self.tally.settle(panel, bell::rung_by_this_thread());
        if let Some(late) = news.late {
            panel.record(Series::LoopLateness, late);
        }
        panel.set(Gauge::SendQueueBytes, self.floor.send_bytes);
        panel.set(Gauge::Mailbox, self.floor.mail.waiting() as i64);
        panel.set(Gauge::Backlog, self.floor.backlog.len() as i64);
        for pool in &mut self.pools {
            let (waiting, shut) = match pool.stage() {
                Stage::Asr => (Gauge::AsrWaiting, Gauge::AsrShut),
                Stage::Llm => (Gauge::LlmWaiting, Gauge::LlmShut),
                Stage::Tts => (Gauge::TtsWaiting, Gauge::TtsShut),
            };
            panel.set(waiting, pool.waiting() as i64);
            panel.set(shut, i64::from(pool.is_shut()));
        }
        if let Some(memory) = &self.memory {
            panel.set(Gauge::MemoryOrders, memory.open() as i64);
        }
        if ended.since(now) > limits::LONG_PASS {
            self.report_long_pass(ended, ended.since(now));
        }
    }
}

/// How urgent: somebody waits for all of it but later sentences.
fn class(job: &Job) -> Class {
    match &job.work {
        Work::Recognise(_) | Work::Converse(_) => Class::First,
        Work::Speak(speak) if speak.sentence == 0 => Class::First,
        Work::Speak(_) => Class::Live,
    }
}

fn pool_of(pools: &mut [Pool], stage: Stage) -> Option<&mut Pool> {
    pools.iter_mut().find(|pool| pool.stage() == stage)
}

#[cfg(test)]
mod tests;
