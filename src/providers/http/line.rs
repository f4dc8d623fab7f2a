//! The socket under a call, watched: who takes the call back can shut it, whatever ureq is doing with it.
//!
//! A connection outlives the call that opened it, so the connection carries its socket and each call its [`Watch`]. Whenever a
//! connection is about to wait, it leaves its socket in the watch of the call that runs on this thread; before it goes back to
//! the pool it takes it out again. A cancel therefore shuts the socket of its own call or none.

use crate::limits;
use crate::time::{Clock, Duration, Instant};
use parking_lot::Mutex;
use socket2::{Domain, SockRef, Socket, Type};
use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Weak};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

/// What a call shares with its cancel and with the connection it uses.
#[derive(Debug)]
pub struct Watch {
    clock: Clock,
    deadline: Instant,
    /// When the wait in progress must end, µs.
    by: AtomicU64,
    cancelled: AtomicBool,
    socket: Mutex<Weak<TcpStream>>,
    /// A connection was opened for this call.
    opened: AtomicBool,
    /// Something was received in this call.
    received: AtomicBool,
    /// Its connection is not to be used again.
    spoilt: AtomicBool,
}

thread_local! {
    /// The call that runs on this thread. ureq does not hand a call's context down to its transports.
    static CURRENT: RefCell<Option<Arc<Watch>>> = const { RefCell::new(None) };
}

/// Ends the presence of a watch on its thread.
pub struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| *current = None);
    }
}

/// The watch of the call that runs on this thread.
pub fn current() -> Option<Arc<Watch>> {
    CURRENT.with_borrow(Clone::clone)
}

impl Watch {
    /// A watch that lets nothing wait past `deadline`.
    pub fn new(clock: Clock, deadline: Instant) -> Watch {
        Watch {
            clock,
            deadline,
            by: AtomicU64::new(deadline.as_us()),
            cancelled: AtomicBool::new(false),
            socket: Mutex::new(Weak::new()),
            opened: AtomicBool::new(false),
            received: AtomicBool::new(false),
            spoilt: AtomicBool::new(false),
        }
    }

    /// The next waits end at `by`.
    pub fn begin(&self, by: Instant) {
        self.by.store(by.min(self.deadline).as_us(), Ordering::Relaxed);
    }

    /// Makes this the call that runs on this thread, until the guard is dropped.
    pub fn enter(self: &Arc<Watch>) -> Entered {
        CURRENT.with_borrow_mut(|current| *current = Some(self.clone()));
        Entered(())
    }

    /// The call is over: a later cancel shuts nothing.
    pub fn leave(&self) {
        *self.socket.lock() = Weak::new();
    }

    /// Takes the call back. Called by a shard, which must not wait, so it only *tries* the lock: a worker that holds it looks at
    /// the flag as soon as it has let go.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        // Pairs with the fence in `show`: either we get the lock after the socket is in its place, or the worker sees the flag.
        fence(Ordering::SeqCst);
        if let Some(place) = self.socket.try_lock()
            && let Some(socket) = place.upgrade()
        {
            // An error means that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Whether the call was taken back.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// What is behind the call's connection is in trouble: the next call gets another one, and with it perhaps another server.
    pub fn spoil(&self) {
        self.spoilt.store(true, Ordering::Relaxed);
    }

    /// Whether the call met a kept connection and got nothing out of it.
    pub fn was_stale(&self) -> bool {
        !self.is_cancelled() && !self.opened.load(Ordering::Relaxed) && !self.received.load(Ordering::Relaxed)
    }

    /// What is left of the wait in progress.
    pub fn left(&self) -> Duration {
        Instant::from_us(self.by.load(Ordering::Relaxed)).until(self.now())
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Leaves the socket that is about to wait.
    fn show(&self, socket: &Arc<TcpStream>) -> Result<(), Error> {
        *self.socket.lock() = Arc::downgrade(socket);
        fence(Ordering::SeqCst);
        self.check()
    }

    /// Fails if the call was taken back.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_cancelled() { Err(io::Error::new(ErrorKind::ConnectionAborted, "cancelled").into()) } else { Ok(()) }
    }
}

/// Opens watched connections: the part of ureq's chain that its own TCP connector would be.
#[derive(Debug)]
pub struct Tracked;

impl<In: Transport> Connector<In> for Tracked {
    type Out = Either<In, Line>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if chained.is_some() {
            return Ok(chained.map(Either::A));
        }
        // Only `HttpClient` opens connections, and it has a call.
        let watch = current().ok_or(Error::ConnectionFailed)?;
        watch.opened.store(true, Ordering::Relaxed);
        let limit = (*details.timeout.after).min(limits::SERVICE_CONNECT).min(watch.left());
        let by = watch.now() + limit;
        let mut last = Error::ConnectionFailed;
        let count = details.addrs.len();
        for (i, addr) in details.addrs.iter().enumerate() {
            // The first address gets half of what is left, and so on; the last one all of it.
            let left = by.until(watch.now());
            let share = if i + 1 == count { left } else { left / 2 };
            match open(*addr, share, &watch) {
                Ok(socket) => {
                    (details.register_shutdown)(Arc::downgrade(&socket) as Weak<dyn ShutdownHandle>)?;
                    let config = details.config;
                    let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
                    return Ok(Some(Either::B(Line { socket, buffers })));
                }
                Err(error) => last = error,
            }
            watch.check()?;
        }
        Err(last)
    }
}

/// Connects within `limit`. The socket is in the watch before the wait, so a cancel ends that too.
fn open(addr: SocketAddr, limit: Duration, watch: &Watch) -> Result<Arc<TcpStream>, Error> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    let stream = Arc::new(TcpStream::from(socket));
    match SockRef::from(&*stream).connect(&addr.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            watch.show(&stream)?;
            if !wait_writable(&stream, limit)? {
                return Err(Error::Timeout(Timeout::Connect));
            }
            if let Some(error) = stream.take_error()? {
                return Err(error.into());
            }
            // A socket shut while connecting is writable without an error, but has no peer.
            stream.peer_addr()?;
        }
        Err(error) => return Err(error.into()),
    }
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn wait_writable(stream: &TcpStream, limit: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    let ms = limit.as_millis().clamp(1, i32::MAX as u128) as i32;
    loop {
        // SAFETY: `poll` is one valid pollfd, and its descriptor is open as long as `stream` lives.
        let ready = unsafe { libc::poll(&mut poll, 1, ms) };
        let error = io::Error::last_os_error();
        match ready {
            // A signal; there are few, so the wait begins again.
            ready if ready < 0 && error.kind() == ErrorKind::Interrupted => {}
            ready if ready < 0 => return Err(error),
            ready => return Ok(ready > 0),
        }
    }
}

/// A connection to a service.
pub struct Line {
    socket: Arc<TcpStream>,
    buffers: LazyBuffers,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({:?})", self.socket.peer_addr().ok())
    }
}

impl Line {
    /// Shows the socket to the current call's watch; returns the watch and how long to wait: what is left for the call, or for
    /// ureq's own purpose.
    fn prepare(&self, timeout: NextTimeout) -> Result<(Option<Arc<Watch>>, Duration), Error> {
        let watch = current();
        let mut left = *timeout.after;
        if let Some(watch) = &watch {
            watch.show(&self.socket)?;
            left = left.min(watch.left());
        }
        if left.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        // The kernel takes whole microseconds above zero, and no more than a signed count of seconds.
        Ok((watch, left.clamp(Duration::from_micros(100), Duration::from_secs(3_600))))
    }
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut at = 0;
        while at < amount {
            let (_, left) = self.prepare(timeout.for_write())?;
            self.socket.set_write_timeout(Some(left))?;
            match (&*self.socket).write(&self.buffers.output()[at..amount]) {
                Ok(0) => return Err(io::Error::from(ErrorKind::BrokenPipe).into()),
                Ok(written) => at += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(Error::Timeout(timeout.reason)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        loop {
            let (watch, left) = self.prepare(timeout.for_read())?;
            self.socket.set_read_timeout(Some(left))?;
            match (&*self.socket).read(self.buffers.input_append_buf()) {
                Ok(read) => {
                    if let Some(watch) = &watch {
                        watch.check()?;
                        watch.received.fetch_or(read > 0, Ordering::Relaxed);
                    }
                    self.buffers.input_appended(read);
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(Error::Timeout(timeout.reason)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asked before the connection goes to the pool and when it comes out: the moment to forget whose call it was.
    fn is_open(&mut self) -> bool {
        if let Some(watch) = current() {
            watch.leave();
            if watch.is_cancelled() || watch.spoilt.load(Ordering::Relaxed) {
                return false;
            }
        }
        let probe = SockRef::from(&*self.socket);
        if probe.set_nonblocking(true).is_err() {
            return false;
        }
        // Open and silent is the only good state: a byte that nobody asked for would be taken for the next answer.
        let silent = matches!((&*self.socket).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        silent && probe.set_nonblocking(false).is_ok()
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
