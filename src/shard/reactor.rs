//! Waiting: for a socket, for a deadline, for a doorbell. The only place where a shard waits.
//!
//! epoll's own timeout is rounded up to whole milliseconds (about 0.8 ms late); a timerfd beside the sockets is 35 µs late. It
//! is armed for the next deadline, and need not be read: arming it anew is enough for an edge-triggered reactor.

use super::slots::Key;
use crate::lanes::Doorbell;
use crate::metrics::calls::{Call, made};
use crate::time::{Duration, Instant};
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;

/// Events taken from the kernel at once; more come with the next pass.
const EVENTS: usize = 1_024;

/// A shorter sleep is not worth its system call.
const REST_LEAST: Duration = Duration::from_micros(60);

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const TIMER: Token = Token(usize::MAX - 2);

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which connection; it may be gone.
    pub key: Key,
    /// There is something to read, or an end to be read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The peer has ended: behind what can be read comes the end, of which nothing will tell again.
    pub ended: bool,
}

/// What a wait brought.
#[derive(Debug, Default)]
pub struct News {
    /// Sockets.
    pub ready: Vec<Ready>,
    /// Somebody wants to connect.
    pub arrivals: bool,
    /// The deadline that was asked for has passed by this much.
    pub late: Option<Duration>,
    /// How long the shard slept, or spun instead; `None` when it only looked.
    pub slept: Option<Duration>,
}

/// A shard's poll, timer and waker.
pub struct Reactor {
    poll: Poll,
    events: Events,
    timer: File,
    armed: Instant,
    spin: Duration,
    rest: Duration,
    /// When the last wait ended.
    woke: Instant,
    bell: Doorbell,
}

impl Reactor {
    /// A reactor and, as [`Reactor::bell`], the doorbell that wakes it.
    pub fn new() -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let timer = timer()?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let bell = Doorbell::new(move || {
            // It fails only when the eventfd's counter is full, and then the shard is awake anyway.
            let _ = waker.wake();
        });
        Ok(Reactor {
            poll,
            events: Events::with_capacity(EVENTS),
            timer,
            armed: Instant::NEVER,
            spin: Duration::ZERO,
            rest: Duration::ZERO,
            woke: Instant::ZERO,
            bell,
        })
    }

    /// Looks for so long before each sleep, and gets up so long before each deadline: whoever rings in that time pays no
    /// system call, and a deadline is met within a look. Costs the core's idle time.
    pub fn spin(&mut self, spin: Duration) {
        self.spin = spin;
    }

    /// Waits end no closer to each other than this, whatever happens meanwhile: what comes in between is found together, and
    /// whoever rings pays no system call. A deadline may be missed by as much.
    pub fn rest(&mut self, rest: Duration) {
        self.rest = rest;
    }

    /// Wakes this reactor.
    pub fn bell(&self) -> &Doorbell {
        &self.bell
    }

    /// Where streams are registered.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Reports on this listener from now on.
    pub fn watch(&self, listener: &mut mio::net::TcpListener) -> io::Result<()> {
        self.poll.registry().register(listener, LISTENER, Interest::READABLE)
    }

    /// Waits until something happens or `until` comes; looks only when `until` has passed. `clock` is read once before and once
    /// after; the latter is what it returns.
    pub fn wait(&mut self, until: Instant, clock: &dyn Fn() -> Instant, news: &mut News) -> io::Result<Instant> {
        news.ready.clear();
        news.arrivals = false;
        news.late = None;
        let began = clock();
        let (before, is_found) = match self.take_rest(until, began)? {
            Some(is_found) => (clock(), is_found),
            None => self.look_around(until, began, clock)?,
        };
        let asleep = !is_found && until > before && self.bell.may_sleep();
        let limit = if asleep { None } else { Some(Duration::ZERO) };
        if asleep {
            self.arm(if until == Instant::NEVER { until } else { until - self.spin }, before)?;
        }
        if !is_found {
            self.poll(limit)?;
        }
        self.bell.awake();
        let now = clock();
        self.woke = now;
        let waited = asleep || before > began;
        news.slept = waited.then(|| now.since(began));
        if until > began && before >= until {
            news.late = Some(now.since(until));
        }
        for event in &self.events {
            match event.token() {
                LISTENER => news.arrivals = true,
                WAKER => {}
                TIMER => {
                    self.armed = Instant::NEVER;
                    if asleep && now >= until {
                        news.late = Some(now.since(until));
                    }
                }
                token => news.ready.push(ready(token, event)),
            }
        }
        Ok(now)
    }

    /// Sleeps through what is left of the rest, then looks; whether sockets have news. `None`: nothing was left.
    fn take_rest(&mut self, until: Instant, began: Instant) -> io::Result<Option<bool>> {
        let end = self.woke + self.rest;
        if self.rest.is_zero() || until <= began || end.until(began) < REST_LEAST {
            return Ok(None);
        }
        made(Call::Wait);
        std::thread::sleep(end.until(began));
        self.poll(Some(Duration::ZERO))?;
        Ok(Some(!self.events.is_empty() || self.bell.is_rung()))
    }

    /// Stays awake until something comes, or for as long as [`Reactor::spin`] says: the time then, and whether sockets have news.
    fn look_around(
        &mut self,
        until: Instant,
        began: Instant,
        clock: &dyn Fn() -> Instant,
    ) -> io::Result<(Instant, bool)> {
        if self.spin.is_zero() || until <= began {
            return Ok((began, false));
        }
        let end = if until.since(began) <= 2 * self.spin { until } else { began + self.spin };
        loop {
            self.poll(Some(Duration::ZERO))?;
            let now = clock();
            let is_found = !self.events.is_empty();
            if is_found || self.bell.is_rung() || now >= end {
                return Ok((now, is_found));
            }
        }
    }

    fn poll(&mut self, limit: Option<Duration>) -> io::Result<()> {
        made(Call::Wait);
        match self.poll.poll(&mut self.events, limit) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    /// Arms the timer; an earlier deadline that is no longer wanted costs one idle pass.
    fn arm(&mut self, until: Instant, now: Instant) -> io::Result<()> {
        if until == self.armed || until == Instant::NEVER {
            return Ok(());
        }
        made(Call::Timer);
        set(&self.timer, until.until(now))?;
        self.armed = until;
        Ok(())
    }
}

fn ready(token: Token, event: &Event) -> Ready {
    let ended = event.is_error() || event.is_read_closed();
    let readable = event.is_readable() || ended;
    Ready { key: Key::of_token(token.0), readable, writable: event.is_writable(), ended }
}

fn timer() -> io::Result<File> {
    // SAFETY: timerfd_create takes no pointer; the flags are valid.
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh, open, and owned by nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn set(timer: &File, after: Duration) -> io::Result<()> {
    // Zero would disarm it.
    let after = after.max(Duration::from_nanos(1));
    let spec = libc::itimerspec {
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: libc::timespec {
            tv_sec: after.as_secs().min(i32::MAX as u64) as libc::time_t,
            tv_nsec: after.subsec_nanos() as libc::c_long,
        },
    };
    // SAFETY: the descriptor is open as long as `timer` lives, `spec` is a valid itimerspec that outlives the call, and a null
    // pointer for the old value is allowed.
    let result = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &spec, std::ptr::null_mut()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A clock that goes on by `step` µs with each look.
    fn stepping(step: u64) -> impl Fn() -> Instant {
        let us = Cell::new(0);
        move || Instant::from_us(us.replace(us.get() + step))
    }

    #[test]
    fn a_spinning_reactor_meets_a_near_deadline_without_sleeping() {
        let mut reactor = Reactor::new().unwrap();
        reactor.spin(Duration::from_micros(50));
        let mut news = News::default();
        let until = Instant::from_us(100);
        let now = reactor.wait(until, &stepping(10), &mut news).unwrap();
        assert!(now >= until && now < Instant::from_us(130), "{now:?}");
        assert!(news.late.is_some() && news.ready.is_empty());
        assert_eq!(reactor.armed, Instant::NEVER, "no timer was needed");
    }

    #[test]
    fn a_spinning_reactor_hears_a_ring_without_being_woken() {
        let mut reactor = Reactor::new().unwrap();
        reactor.spin(Duration::from_secs(1));
        let bell = reactor.bell().clone();
        let looks = Cell::new(0);
        let clock = || {
            looks.set(looks.get() + 1);
            if looks.get() == 4 {
                bell.ring();
            }
            Instant::from_us(looks.get())
        };
        let woken = crate::lanes::bell::rung_by_this_thread().1;
        let mut news = News::default();
        let now = reactor.wait(Instant::from_ms(5_000), &clock, &mut news).unwrap();
        assert_eq!((now, news.late), (Instant::from_us(5), None));
        assert_eq!(crate::lanes::bell::rung_by_this_thread().1, woken, "a ring was a store, not a system call");
    }

    #[test]
    fn one_that_does_not_spin_looks_once() {
        let mut reactor = Reactor::new().unwrap();
        reactor.bell().ring();
        let mut news = News::default();
        let now = reactor.wait(Instant::from_ms(5), &stepping(1), &mut news).unwrap();
        assert_eq!((now, news.slept), (Instant::from_us(1), None));
    }
}
