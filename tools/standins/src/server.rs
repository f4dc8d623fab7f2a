//! The one thread: accepts, reads, answers when it is time, and measures how late it was.
//!
//! ```text
//!   wait for sockets, or the next time in the heap
//!     -> accept, read, complete requests become answers
//!     -> what is due is made and sent; the rest of an answer goes back into the heap
//! ```

use crate::answer::Next;
use crate::connection::{Connection, OUT_BYTES, Phase};
use crate::lag::Lag;
use crate::profile::Profile;
use crate::service::Service;
use crate::voice::{Piece, Voice};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most connections: 5,000 conversations have up to three each.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Connections that may wait to be accepted: a herd's.
const BACKLOG: i32 = 4_096;
/// Bytes read at a time, for all connections one buffer.
const READ_BYTES: usize = 64 * 1024;
/// Readings of one connection before others have their turn.
const READS_AT_A_TIME: usize = 16;
/// Questions to the thread that may wait.
const ASKED: usize = 16;
/// Readiness taken at a time.
const EVENTS: usize = 1_024;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// What stand-ins are started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 for any that is free.
    pub listen: SocketAddr,
    /// What chance begins with.
    pub seed: u64,
    /// How they behave.
    pub profile: Profile,
    /// The core to stay on, by the system's number.
    pub core: Option<usize>,
}

impl Config {
    /// With a profile, on a free port of this machine.
    pub fn new(profile: Profile) -> Config {
        Config { listen: ([127, 0, 0, 1], 0).into(), seed: 1, profile, core: None }
    }
}

/// The stand-ins.
pub struct Standins;

/// Stand-ins at work, until it is dropped.
pub struct Handle {
    address: SocketAddr,
    waker: Arc<Waker>,
    questions: SyncSender<Question>,
    thread: Option<JoinHandle<Lag>>,
}

enum Question {
    Lag(SyncSender<Lag>),
    Stop,
}

impl Standins {
    /// Starts them on a thread of their own; they listen when this returns.
    ///
    /// # Errors
    /// The address is taken, or is not ours.
    pub fn start(config: Config) -> io::Result<Handle> {
        let listener = listen(config.listen)?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let voice = Voice::new().map_err(io::Error::other)?;
        let (questions, asked) = sync_channel(ASKED);
        let thread = std::thread::Builder::new().name("standins".to_owned()).spawn(move || {
            if let Some(id) = config.core {
                core_affinity::set_for_current(core_affinity::CoreId { id });
            }
            Loop::new(poll, listener, config, voice, asked).run()
        })?;
        Ok(Handle { address, waker, questions, thread: Some(thread) })
    }
}

impl Handle {
    /// Where they listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What goes into `base_url` of a server's configuration.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// How they have kept their times so far.
    pub fn lag(&self) -> Lag {
        let (answer, answered) = sync_channel(1);
        if self.questions.send(Question::Lag(answer)).is_err() || self.waker.wake().is_err() {
            return Lag::default();
        }
        answered.recv().unwrap_or_default()
    }

    /// Ends them; open answers are cut.
    pub fn stop(mut self) -> Lag {
        self.end().unwrap_or_default()
    }

    fn end(&mut self) -> Option<Lag> {
        let thread = self.thread.take()?;
        let _ = self.questions.send(Question::Stop);
        let _ = self.waker.wake();
        thread.join().ok()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// A time at which something is to be done for a connection.
type Timer = Reverse<(Instant, usize, u64)>;

struct Loop {
    poll: Poll,
    listener: TcpListener,
    asked: Receiver<Question>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    timers: BinaryHeap<Timer>,
    service: Service,
    serial: u64,
    read: Box<[u8]>,
    samples: Vec<i16>,
    pieces: Vec<Piece>,
    /// Connections that have more to read than their turn allowed.
    unread: Vec<(usize, u64)>,
}

impl Loop {
    fn new(poll: Poll, listener: TcpListener, config: Config, voice: Voice, asked: Receiver<Question>) -> Loop {
        Loop {
            poll,
            listener,
            asked,
            connections: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            service: Service::new(config.profile, config.seed, voice),
            serial: 0,
            read: vec![0; READ_BYTES].into(),
            samples: Vec::with_capacity(READ_BYTES / 2),
            pieces: Vec::new(),
            unread: Vec::new(),
        }
    }

    fn run(mut self) -> Lag {
        let mut events = Events::with_capacity(EVENTS);
        if self.poll.registry().register(&mut self.listener, LISTENER, Interest::READABLE).is_err() {
            return Lag::default();
        }
        loop {
            let wait = match self.timers.peek() {
                _ if !self.unread.is_empty() => Some(Duration::ZERO),
                timer => timer.map(|Reverse((due, ..))| due.saturating_duration_since(Instant::now())),
            };
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return self.service.book.lag();
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => {
                        if !self.handle_questions() {
                            return self.service.book.lag();
                        }
                    }
                    Token(at) => self.handle_ready(at, event.is_readable() || event.is_error(), event.is_writable()),
                }
            }
            for (at, serial) in std::mem::take(&mut self.unread) {
                if self.is_here(at, serial) {
                    self.handle_ready(at, true, false);
                }
            }
            self.fire();
        }
    }

    /// False: stop.
    fn handle_questions(&mut self) -> bool {
        loop {
            match self.asked.try_recv() {
                Ok(Question::Lag(answer)) => drop(answer.try_send(self.service.book.lag())),
                Err(TryRecvError::Empty) => return true,
                Ok(Question::Stop) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn accept(&mut self) {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Out of descriptors, or the client is gone already: the others need not wait.
                Err(_) => {
                    self.service.book.counts.refused_connections += 1;
                    return;
                }
            };
            let counts = &mut self.service.book.counts;
            if counts.connections as usize >= CONNECTIONS_MAX {
                counts.refused_connections += 1;
                continue;
            }
            let _ = stream.set_nodelay(true);
            let at = self.free.pop().unwrap_or(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, Token(at), interest).is_err() {
                counts.refused_connections += 1;
                self.free.push(at);
                continue;
            }
            counts.connections += 1;
            counts.connections_max = counts.connections_max.max(counts.connections);
            self.serial += 1;
            if at == self.connections.len() {
                self.connections.push(None);
            }
            self.connections[at] = Some(Connection::new(stream, self.serial));
        }
    }

    fn is_here(&self, at: usize, serial: u64) -> bool {
        self.connections.get(at).and_then(Option::as_ref).is_some_and(|connection| connection.serial == serial)
    }

    fn handle_ready(&mut self, at: usize, readable: bool, writable: bool) {
        if self.connections.get(at).is_none_or(Option::is_none) {
            return;
        }
        let waits = |this: &Loop| this.connections[at].as_ref().is_some_and(|c| c.out_bytes > 0 || c.closing);
        let stays = (!readable || self.receive(at)) && (!writable || !waits(self) || self.advance(at));
        if !stays {
            self.close(at);
        }
    }

    /// Reads what has come. False: the connection is over.
    fn receive(&mut self, at: usize) -> bool {
        for _ in 0..READS_AT_A_TIME {
            let Some(connection) = self.connections[at].as_mut() else { return true };
            match connection.stream.read(&mut self.read) {
                Ok(0) => return false,
                Ok(len) => {
                    let taken = connection.take(&self.read[..len], &mut self.samples);
                    if !self.handle_taken(at, taken) {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        let serial = self.connections[at].as_ref().map_or(0, |connection| connection.serial);
        self.unread.push((at, serial));
        true
    }

    fn handle_taken(
        &mut self,
        at: usize,
        taken: Result<Option<(crate::http::Head, Box<crate::connection::Body>)>, &'static str>,
    ) -> bool {
        let Some(connection) = self.connections[at].as_mut() else { return true };
        let (head, body) = match taken {
            Ok(None) => return true,
            Ok(Some(request)) => request,
            Err(_) => {
                self.service.book.counts.refused_requests += 1;
                connection.push(Piece::of(
                    &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"[..],
                ));
                let _ = connection.send();
                return false;
            }
        };
        let answer = self.service.answer(&head, &body, Instant::now());
        connection.phase = Phase::Answer(Box::new(answer));
        self.advance(at)
    }

    /// Makes what is due, sends what goes, and sets the time for the rest. False: the connection is over.
    fn advance(&mut self, at: usize) -> bool {
        loop {
            let Some(connection) = self.connections[at].as_mut() else { return true };
            let Ok(all_sent) = connection.send() else { return false };
            if connection.closing {
                return !all_sent;
            }
            // A slow reader: writability will bring us back.
            if connection.out_bytes >= OUT_BYTES {
                return true;
            }
            let Phase::Answer(answer) = &mut connection.phase else { return true };
            let now = Instant::now();
            let next = answer.advance(now, &mut self.service.voice, &mut self.pieces, OUT_BYTES);
            let made = !self.pieces.is_empty();
            self.pieces.drain(..).for_each(|piece| connection.push(piece));
            match next {
                Next::At(due) if due > now => {
                    self.timers.push(Reverse((due, at, connection.serial)));
                    return !made || connection.send().is_ok();
                }
                Next::At(_) => {}
                Next::Close => connection.closing = true,
                Next::Done => {
                    connection.phase = Phase::Head;
                    let behind = std::mem::take(&mut connection.input);
                    if behind.is_empty() {
                        return connection.send().is_ok();
                    }
                    let taken = connection.take(&behind, &mut self.samples);
                    return self.handle_taken(at, taken) && self.send(at);
                }
            }
        }
    }

    fn send(&mut self, at: usize) -> bool {
        self.connections[at].as_mut().is_none_or(|connection| connection.send().is_ok())
    }

    /// Does what is due, and notes how late it is.
    fn fire(&mut self) {
        let mut now = Instant::now();
        while let Some(&Reverse((due, at, serial))) = self.timers.peek() {
            if due > now {
                now = Instant::now();
                if due > now {
                    return;
                }
            }
            self.timers.pop();
            if !self.is_here(at, serial) {
                continue;
            }
            let is_due = matches!(&self.connections[at].as_ref().map(|connection| &connection.phase),
                Some(Phase::Answer(answer)) if answer.due == due);
            // An answer that a slow reader held up has gone on by itself.
            if !is_due {
                continue;
            }
            now = Instant::now();
            self.service.book.late(now - due);
            if !self.advance(at) {
                self.close(at);
            }
        }
    }

    fn close(&mut self, at: usize) {
        let Some(mut connection) = self.connections[at].take() else { return };
        if matches!(connection.phase, Phase::Answer(_)) && !connection.closing {
            self.service.book.counts.abandoned += 1;
        }
        let _ = self.poll.registry().deregister(&mut connection.stream);
        self.service.book.counts.connections -= 1;
        self.free.push(at);
    }
}
