//! `GET /live`: the server's pulse as server-sent events, once a second, for a few watchers.
//!
//! ```text
//! answering thread: guard, seat, head ──stream──> live thread: beat, encode once, write to everybody, never wait
//! ```
//! A thread of its own, so that nobody who watches delays `/metrics`. It never waits for a watcher: what a socket does not take
//! is kept, one event at most, and the next events pass that watcher by; one that does not catch up is let go. Who comes, or
//! has missed something, is told the past first.

use super::Keep;
use crate::limits::{LIVE_PATIENCE, LIVE_SEND_BYTES, LIVE_WATCHERS};
use crate::metrics::catalog::{Counter, Gauge};
use crate::metrics::pulse::{self, Beat, Past, Pulse};
use crate::metrics::{Home, Panel, Readiness, Registry};
use crate::time::{Clock, Duration, Instant, UnixMs};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::Serialize;
use serde_json::Value;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;

/// From one beat to the next.
const BEAT: Duration = Duration::from_secs(1);

/// The live thread, and the way to its seats. Ends when dropped.
pub struct Live {
    seats: Arc<Seats>,
    arrivals: Option<Sender<Watcher>>,
    thread: Option<JoinHandle<()>>,
}

/// What the page is told once.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    /// The program's version.
    pub version: &'static str,
    /// Each stage with its provider.
    pub providers: Vec<(&'static str, String)>,
    /// How many shards there are, and where they run.
    pub shards: String,
}

impl Live {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(registry: Arc<Registry>, readiness: Readiness, clock: Clock, about: About) -> io::Result<Live> {
        // As many as have a seat may wait to be welcomed.
        let (arrivals, arrived) = bounded(LIVE_WATCHERS);
        let seats = Arc::<Seats>::default();
        let panel = registry.panel(Home::Process);
        let desk = Desk {
            registry,
            readiness,
            clock,
            about,
            panel,
            seats: seats.clone(),
            refused: 0,
            pulse: Pulse::default(),
        };
        let run = move || desk.run(&arrived);
        let thread = std::thread::Builder::new().name("admin-live".to_owned()).spawn(run)?;
        Ok(Live { seats, arrivals: Some(arrivals), thread: Some(thread) })
    }

    /// A seat, if one is free: takes the connection once its head is written.
    pub fn seat(&self) -> Option<Keep> {
        let arrivals = self.arrivals.clone()?;
        let seat = Seats::take(&self.seats)?;
        Some(Box::new(move |stream| {
            // There is room for everybody with a seat; if the thread is gone, so is the watcher.
            let _ = Watcher::new(stream, seat).map(|watcher| arrivals.try_send(watcher));
        }))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // The end of the arrivals is the thread's end.
        self.arrivals = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How many watch.
#[derive(Default)]
struct Seats {
    taken: AtomicUsize,
    refused: AtomicU64,
}

/// The right to be one of the watchers; given back when dropped.
struct Seat(Arc<Seats>);

impl Seats {
    fn take(seats: &Arc<Seats>) -> Option<Seat> {
        let taken = seats.taken.fetch_update(Relaxed, Relaxed, |taken| (taken < LIVE_WATCHERS).then_some(taken + 1));
        if taken.is_err() {
            seats.refused.fetch_add(1, Relaxed);
            return None;
        }
        Some(Seat(seats.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

/// The live thread's own.
struct Desk {
    registry: Arc<Registry>,
    readiness: Readiness,
    clock: Clock,
    about: About,
    panel: Arc<Panel>,
    seats: Arc<Seats>,
    /// Refusals counted so far.
    refused: u64,
    pulse: Pulse,
}

/// The event of every second.
#[derive(Serialize)]
struct News<'a> {
    #[serde(flatten)]
    beat: &'a Beat,
    /// Parts that are not ready, and why.
    missing: Vec<(Box<str>, Box<str>)>,
}

/// The event for who has just come.
#[derive(Serialize)]
struct Welcome<'a> {
    about: &'a About,
    /// Names of a wait's stages, in order.
    stages: &'static [&'static str],
    /// A frame later than this is late.
    late_ms: u64,
    past: Past,
    turns: Vec<Value>,
}

impl Desk {
    fn run(mut self, arrived: &Receiver<Watcher>) {
        let mut watchers: Vec<Watcher> = Vec::with_capacity(LIVE_WATCHERS);
        let mut next = self.clock.now();
        loop {
            match arrived.recv_timeout(next.until(self.clock.now())) {
                Ok(watcher) => {
                    self.panel.count(Counter::LiveOpened);
                    watchers.push(watcher);
                    let now = self.clock.now();
                    self.tell(&mut watchers, now, None);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.clock.now();
                    // After a pause of the whole machine the beats that were missed are not made up for.
                    next = (next + BEAT).max(now);
                    let beat = self.pulse.beat(&self.registry, now, UnixMs::now());
                    self.tell(&mut watchers, now, Some(&beat));
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Everybody gets what is due to them; who cannot be told any more leaves.
    fn tell(&mut self, watchers: &mut Vec<Watcher>, now: Instant, beat: Option<&Beat>) {
        let news = beat
            .filter(|_| !watchers.is_empty())
            .map(|beat| event("beat", &News { beat, missing: self.readiness.missing() }));
        let mut past: Option<Vec<u8>> = None;
        watchers.retain_mut(|watcher| {
            let fate = watcher.tell(now, news.as_deref(), || past.get_or_insert_with(|| self.welcome(now)));
            self.panel.add(Counter::LiveSlow, u64::from(fate == Fate::Slow));
            fate == Fate::Stays
        });
        self.panel.set(Gauge::LiveWatchers, watchers.len() as i64);
        let refused = self.seats.refused.load(Relaxed);
        self.panel.add(Counter::LiveRefused, refused - std::mem::replace(&mut self.refused, refused));
    }

    fn welcome(&self, now: Instant) -> Vec<u8> {
        let turns = self.pulse.turns(now, UnixMs::now());
        let late_ms = pulse::LATE.as_millis() as u64;
        event("past", &Welcome { about: &self.about, stages: &pulse::STAGES, late_ms, past: self.pulse.past(), turns })
    }
}

/// A server-sent event. JSON has no line break outside its strings, and none unescaped within.
fn event(name: &str, value: &impl Serialize) -> Vec<u8> {
    let mut out = format!("event: {name}\ndata: ").into_bytes();
    // Writing to memory does not fail, and nothing here has keys that are no strings; an empty event would be ignored.
    let _ = serde_json::to_writer(&mut out, value);
    out.extend_from_slice(b"\n\n");
    out
}

/// Somebody who watches.
struct Watcher {
    stream: TcpStream,
    /// What the socket has not taken yet, and since when.
    rest: Vec<u8>,
    stuck: Instant,
    /// Has to be told the past before any news.
    is_behind: bool,
    _seat: Seat,
}

/// What becomes of a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Gone,
    Slow,
}

impl Watcher {
    fn new(stream: TcpStream, seat: Seat) -> io::Result<Watcher> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        // What lies in the kernel cannot be taken back, and a slow watcher shall be known as one.
        socket2::SockRef::from(&stream).set_send_buffer_size(LIVE_SEND_BYTES)?;
        Ok(Watcher { stream, rest: Vec::new(), stuck: Instant::ZERO, is_behind: true, _seat: seat })
    }

    /// Tells the past or the news, whichever is due.
    fn tell<'a>(&mut self, now: Instant, news: Option<&[u8]>, past: impl FnOnce() -> &'a mut Vec<u8>) -> Fate {
        if self.has_left() {
            return Fate::Gone;
        }
        if !self.rest.is_empty() {
            self.is_behind |= news.is_some();
            if !self.push() {
                return Fate::Gone;
            }
            if !self.rest.is_empty() {
                return if now.since(self.stuck) >= LIVE_PATIENCE { Fate::Slow } else { Fate::Stays };
            }
        }
        match (std::mem::take(&mut self.is_behind), news) {
            (true, _) => self.rest.extend_from_slice(past()),
            (false, Some(news)) => self.rest.extend_from_slice(news),
            (false, None) => return Fate::Stays,
        }
        self.stuck = now;
        if self.push() { Fate::Stays } else { Fate::Gone }
    }

    /// Writes as much as the socket takes; `false` if it takes nothing ever again.
    fn push(&mut self) -> bool {
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(0) => return false,
                Ok(n) => drop(self.rest.drain(..n)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        // A long past need not be held on to.
        self.rest.shrink_to(LIVE_SEND_BYTES);
        true
    }

    /// Whether the peer has ended. What it says meanwhile has no meaning here.
    fn has_left(&mut self) -> bool {
        let mut chunk = [0; 1_024];
        match self.stream.read(&mut chunk) {
            Ok(n) => n == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
}

#[cfg(test)]
#[path = "live/tests.rs"]
mod tests;
