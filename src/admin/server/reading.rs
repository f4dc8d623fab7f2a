//! The thread that accepts, and reads until a request is whole. It never waits for one peer.

use super::Config;
use super::answering::Whole;
use crate::admin::Routes;
use crate::limits::{ADMIN_LINGER, ADMIN_LINGER_BYTES, HEAD_BYTES};
use crate::metrics::{Counter, Panel};
use crate::time::{Clock, Duration, Instant};
use crate::wire::http::{Reply, parse_head};
use crossbeam::channel::{Sender, TrySendError};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Token of the wake-up for the end.
pub const WAKER: Token = Token(usize::MAX - 1);
const LISTENER: Token = Token(usize::MAX - 2);
/// Routes are told of the time this often; a failed accept is tried again then.
const TICK: Duration = Duration::from_secs(1);
/// Connections accepted before those that are open get their turn.
const ACCEPT_BATCH: usize = 32;
/// Slots beyond the bound for peers that are told so: an answer followed at once by a close would often be lost to a reset.
const REFUSED_SLOTS: usize = 32;
/// Bytes read from one peer before the others get their turn; so with head and body no peer's buffer exceeds 40 KiB.
const CHUNK: usize = 16 * 1024;

const BUSY: Reply = Reply::new(503, "too busy, try again\n").with(&[("Retry-After", "1")]);
const TOO_SLOW: Reply = Reply::new(408, "the request did not come in time\n");

/// See the file's documentation.
pub struct Reader {
    poll: Poll,
    listener: TcpListener,
    config: Config,
    routes: Arc<dyn Routes>,
    queue: Sender<Whole>,
    panel: Arc<Panel>,
    clock: Clock,
    stop: Arc<AtomicBool>,
    slots: Vec<Option<Connection>>,
    chunk: Box<[u8]>,
    /// The listener may have more.
    accept_more: bool,
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    bytes: Vec<u8>,
    stage: Stage,
    deadline: Instant,
}

/// How far a connection is.
#[derive(Clone, Copy)]
enum Stage {
    /// The head is not whole.
    Head,
    /// So many bytes make the request, the last `body_len` of them its body.
    Body { wanted: usize, body_len: usize },
    /// Refused; so many bytes more are read and thrown away, so that the peer sees the answer and not a reset.
    Refused { left: usize },
}

/// What is to become of a connection after a read.
enum Next {
    /// More has to come.
    Wait,
    /// Its socket may hold more already.
    Again,
    /// Nothing more to do.
    Close,
    /// All is here.
    Whole { body_len: usize },
    /// No.
    Refuse(Reply),
}

impl Reader {
    #[allow(clippy::too_many_arguments, reason = "one caller, which has just made them all")]
    pub fn new(
        poll: Poll,
        listener: TcpListener,
        config: Config,
        routes: Arc<dyn Routes>,
        queue: Sender<Whole>,
        panel: Arc<Panel>,
        clock: Clock,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Reader> {
        listener.set_nonblocking(true)?;
        poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
        let slots = (0..config.connections + REFUSED_SLOTS).map(|_| None).collect();
        let chunk = vec![0; CHUNK].into();
        Ok(Reader { poll, listener, config, routes, queue, panel, clock, stop, slots, chunk, accept_more: true })
    }

    /// Runs until told to stop.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut ready: Vec<usize> = Vec::new();
        let mut tick = self.clock.now();
        while !self.stop.load(Ordering::Acquire) {
            let now = self.clock.now();
            let wait = if self.accept_more || !ready.is_empty() { Duration::ZERO } else { self.next(tick).until(now) };
            // Whole milliseconds, rounded up: a wait that ends just before the deadline would only be repeated.
            let wait = wait + Duration::from_micros(999);
            if let Err(error) = self.poll.poll(&mut events, Some(Duration::from_millis(wait.as_millis() as u64)))
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "control plane: poll failed");
                return;
            }
            let now = self.clock.now();
            if now >= tick {
                tick = now + TICK;
                // An accept that failed for want of descriptors gets no event of its own.
                self.accept_more = true;
                self.routes.tick(now);
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept_more = true,
                    WAKER => {}
                    Token(slot) if !ready.contains(&slot) => ready.push(slot),
                    Token(_) => {}
                }
            }
            ready.retain(|slot| self.read(*slot, now));
            self.expire(now);
            self.accept(now);
        }
    }

    /// When something is due.
    fn next(&self, tick: Instant) -> Instant {
        self.slots.iter().flatten().map(|connection| connection.deadline).min().map_or(tick, |first| first.min(tick))
    }

    fn accept(&mut self, now: Instant) {
        if !self.accept_more {
            return;
        }
        for _ in 0..ACCEPT_BATCH {
            match self.listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accept_more = false;
                    return;
                }
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    tracing::warn!(%error, "control plane: accept failed, trying again in a second");
                    self.accept_more = false;
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr, now: Instant) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let is_busy = self.slots.iter().flatten().filter(|open| !open.is_refused()).count() >= self.config.connections;
        self.panel.add(Counter::ControlBusy, u64::from(is_busy));
        let Some(slot) = self.slots.iter().position(Option::is_none) else { return say(&stream, BUSY) };
        let added = self.poll.registry().register(&mut SourceFd(&stream.as_raw_fd()), Token(slot), Interest::READABLE);
        if let Err(error) = added {
            tracing::warn!(%error, "control plane: a connection cannot be watched");
            return;
        }
        let deadline = now + self.config.deadline;
        self.slots[slot] = Some(Connection { stream, peer, bytes: Vec::new(), stage: Stage::Head, deadline });
        if is_busy {
            self.refuse(slot, BUSY, now);
        }
    }

    /// Reads once from a slot. Whether it wants another turn at once.
    fn read(&mut self, slot: usize, now: Instant) -> bool {
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return false };
        match connection.read(&mut self.chunk, &*self.routes) {
            Next::Wait => {}
            Next::Again => return true,
            Next::Close => self.slots[slot] = None,
            Next::Whole { body_len } => self.hand_over(slot, body_len),
            Next::Refuse(reply) => {
                self.panel.count(Counter::ControlRefused);
                return self.refuse(slot, reply, now);
            }
        }
        false
    }

    fn hand_over(&mut self, slot: usize, body_len: usize) {
        let Some(Connection { stream, peer, bytes, deadline, .. }) = self.slots[slot].take() else { return };
        let Ok(local) = stream.local_addr() else { return };
        // Its new owner blocks on it; our poll must not speak of it any more.
        let _ = self.poll.registry().deregister(&mut SourceFd(&stream.as_raw_fd()));
        match self.queue.try_send(Whole { stream, peer, local, bytes, body_len, deadline }) {
            Ok(()) => {}
            Err(TrySendError::Full(whole) | TrySendError::Disconnected(whole)) => {
                self.panel.count(Counter::ControlBusy);
                say(&whole.stream, BUSY);
            }
        }
    }

    /// Says no, then stays a moment so that the peer can hear it.
    fn refuse(&mut self, slot: usize, reply: Reply, now: Instant) -> bool {
        let Some(connection) = self.slots[slot].as_mut() else { return false };
        say(&connection.stream, reply);
        connection.bytes = Vec::new();
        connection.stage = Stage::Refused { left: ADMIN_LINGER_BYTES };
        connection.deadline = now + ADMIN_LINGER.min(self.config.deadline);
        true
    }

    fn expire(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            let Some(connection) = &self.slots[slot] else { continue };
            if connection.deadline > now {
                continue;
            }
            self.panel.add(Counter::ControlSlow, u64::from(!connection.is_refused()));
            // One that has said nothing is told nothing.
            if !connection.is_refused() && !connection.bytes.is_empty() {
                say(&connection.stream, TOO_SLOW);
            }
            self.slots[slot] = None;
        }
    }
}

impl Connection {
    fn is_refused(&self) -> bool {
        matches!(self.stage, Stage::Refused { .. })
    }

    /// Reads one chunk and says what is next.
    fn read(&mut self, chunk: &mut [u8], routes: &dyn Routes) -> Next {
        let n = match self.stream.read(chunk) {
            Ok(0) => return Next::Close,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Wait,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Next::Again,
            Err(_) => return Next::Close,
        };
        let news = &chunk[..n];
        match &mut self.stage {
            Stage::Refused { left } => {
                *left = left.saturating_sub(n);
                if *left == 0 { Next::Close } else { Next::Again }
            }
            Stage::Head => {
                // Parsing starts over each time, so not for every drop of a slow peer: an end of head has a line feed.
                let is_first = self.bytes.is_empty();
                self.bytes.extend_from_slice(news);
                let is_worth = is_first || news.contains(&b'\n') || self.bytes.len() >= HEAD_BYTES;
                if is_worth { self.head(routes) } else { Next::Again }
            }
            Stage::Body { wanted, body_len } => {
                self.bytes.extend_from_slice(news);
                if self.bytes.len() >= *wanted { Next::Whole { body_len: *body_len } } else { Next::Again }
            }
        }
    }

    fn head(&mut self, routes: &dyn Routes) -> Next {
        let (len, body_len, expects) = match parse_head(&self.bytes) {
            Ok(None) => return Next::Again,
            Err(fault) => return Next::Refuse(fault.reply()),
            Ok(Some((head, len))) => match head.body_len(routes.body_max(&head)) {
                Err(reply) => return Next::Refuse(reply),
                Ok(body_len) => (len, body_len, head.has_token("expect", "100-continue")),
            },
        };
        let wanted = len + body_len;
        if self.bytes.len() >= wanted {
            return Next::Whole { body_len };
        }
        if expects && (&self.stream).write(b"HTTP/1.1 100 Continue\r\n\r\n").is_err() {
            return Next::Close;
        }
        self.stage = Stage::Body { wanted, body_len };
        Next::Again
    }
}

/// Says something short without waiting: it fits a fresh socket's buffer, and a peer whose buffer is full does not listen.
fn say(mut stream: &TcpStream, reply: Reply) {
    let mut out = Vec::new();
    reply.emit(&mut out);
    let _ = stream.write(&out);
    let _ = stream.shutdown(Shutdown::Write);
}
