//! How a thread of devices waits until something is due or something came, to the microsecond. One of two ways:
//!
//! - *Woken*: it sleeps in its Poll, and each arrival wakes it. What comes is known at once. But on the loopback it is the sender
//!   who wakes the reader: a `send` of the server to a sleeping load tool interrupts another core, which costs the server more
//!   than the packet. Behind a real network card nobody does: cards gather what comes and interrupt now and then.
//! - *By ticks*: it sleeps by the clock alone, looks at all sockets every so many microseconds, and is woken by nobody. What it
//!   sends leaves on time all the same. When something came is then known to a tick: between the look before and this one.

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Longest tick: what is known no better than this is no measurement of a packet that is late after 5 ms.
pub const TICK_US_MAX: u32 = 1_000;
/// Sleeps no longer than this: somebody may have asked to stop.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// The token of the alarm; devices have smaller ones.
const ALARM: Token = Token(usize::MAX);
/// Sockets told of at once.
const EVENTS: usize = 1_024;

/// A Poll and how to wait with it. All instants are nanoseconds since the run's start.
pub struct Waiting {
    poll: Poll,
    events: Events,
    started: Instant,
    way: Way,
}

enum Way {
    Woken(Alarm),
    Ticks(Ticks),
}

struct Ticks {
    every: u64,
    /// The last look of all.
    last: u64,
    /// Everything that came before this has been told of.
    told: u64,
    /// `told` once what is in `events` has been handled.
    next_told: u64,
}

impl Waiting {
    /// Looks every so many µs; 0: is woken. To be made on the thread that waits.
    pub fn new(started: Instant, tick_us: u32) -> io::Result<Waiting> {
        let poll = Poll::new()?;
        let way = match tick_us {
            0 => Way::Woken(Alarm::new(poll.registry())?),
            us => {
                sleep_exactly();
                Way::Ticks(Ticks { every: u64::from(us) * 1_000, last: 0, told: 0, next_told: 0 })
            }
        };
        Ok(Waiting { poll, events: Events::with_capacity(EVENTS), started, way })
    }

    /// Where sockets are registered.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Waits until `next`, or something came, or 100 ms.
    pub fn wait(&mut self, next: u64) -> io::Result<()> {
        let now = self.started.elapsed().as_nanos() as u64;
        match &mut self.way {
            Way::Woken(alarm) => {
                let at_most = if next <= now { Duration::ZERO } else { SLEEP_MAX };
                if next > now {
                    alarm.set(next, next - now)?;
                }
                poll(&mut self.poll, &mut self.events, at_most)
            }
            Way::Ticks(ticks) => {
                let look = ticks.last + ticks.every;
                let sleep = Duration::from_nanos(next.min(look).saturating_sub(now));
                if !sleep.is_zero() {
                    std::thread::sleep(sleep);
                }
                ticks.told = ticks.next_told;
                self.events.clear();
                let now = self.started.elapsed().as_nanos() as u64;
                if now < look {
                    return Ok(());
                }
                poll(&mut self.poll, &mut self.events, Duration::ZERO)?;
                // More than can be told of at once: the rest is told of by the next look, which follows at once.
                match self.events.iter().count() < EVENTS {
                    true => (ticks.last, ticks.next_told) = (now, now),
                    false => ticks.last = now.saturating_sub(ticks.every),
                }
                Ok(())
            }
        }
    }

    /// The sockets that something came of in the last [`wait`](Waiting::wait): number, is writable, is readable, was closed.
    pub fn ready(&self) -> impl Iterator<Item = Ready> {
        self.events.iter().filter(|event| event.token() != ALARM).map(|event| Ready {
            device: event.token().0,
            is_writable: event.is_writable(),
            is_readable: event.is_readable() || event.is_read_closed(),
            is_closed: event.is_read_closed(),
        })
    }

    /// What is read at `at` came so many ns before, at most.
    pub fn blur(&self, at: u64) -> u64 {
        match &self.way {
            Way::Woken(_) => 0,
            Way::Ticks(ticks) => at.saturating_sub(ticks.told),
        }
    }
}

/// A socket about which there is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its token.
    pub device: usize,
    /// It takes bytes, or has failed to connect.
    pub is_writable: bool,
    /// It has bytes, or its end.
    pub is_readable: bool,
    /// The other side has closed; no event will tell of it again.
    pub is_closed: bool,
}

fn poll(poll: &mut Poll, events: &mut Events, at_most: Duration) -> io::Result<()> {
    match poll.poll(events, Some(at_most)) {
        Err(e) if e.kind() != ErrorKind::Interrupted => Err(e),
        _ => Ok(()),
    }
}

/// A timer that wakes a Poll; its own timeout counts whole milliseconds.
struct Alarm {
    timer: OwnedFd,
    at: u64,
}

impl Alarm {
    fn new(registry: &Registry) -> io::Result<Alarm> {
        // SAFETY: the call takes two numbers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let timer = unsafe { OwnedFd::from_raw_fd(fd) };
        // Edge-triggered: each time it is set it tells once, and nobody need read it.
        registry.register(&mut SourceFd(&fd), ALARM, Interest::READABLE)?;
        Ok(Alarm { timer, at: 0 })
    }

    /// Wakes at `at`, which is `after` ns from now and more than none.
    fn set(&mut self, at: u64, after: u64) -> io::Result<()> {
        if at == self.at {
            return Ok(());
        }
        self.at = at;
        // What is never due is woken for in a year; the poll ends earlier.
        let after = after.min(365 * 86_400 * 1_000_000_000);
        let value = libc::timespec {
            tv_sec: (after / 1_000_000_000) as libc::time_t,
            tv_nsec: (after % 1_000_000_000) as libc::c_long,
        };
        let once = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // SAFETY: the descriptor is open, the pointer is to a value of ours, and the old setting is not asked for.
        match unsafe { libc::timerfd_settime(self.timer.as_raw_fd(), 0, &once, std::ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Sleeps of this thread end when they should, not up to 50 µs later so that wake-ups can be gathered.
fn sleep_exactly() {
    // SAFETY: the call takes numbers; 1 ns is the least slack there is. Refused, sleeps are as they were.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    /// A waiting with one socket that has something to say.
    fn with_news(tick_us: u32) -> (Waiting, UnixStream, UnixStream) {
        let waiting = Waiting::new(Instant::now(), tick_us).expect("a poll");
        let (mut here, there) = UnixStream::pair().expect("a pair");
        waiting
            .registry()
            .register(&mut SourceFd(&there.as_raw_fd()), Token(7), Interest::READABLE)
            .expect("registers");
        here.write_all(b"news").expect("is written");
        (waiting, here, there)
    }

    fn wait_for_news(waiting: &mut Waiting) -> Ready {
        (0..1_000)
            .find_map(|_| {
                waiting.wait(u64::MAX).expect("waits");
                waiting.ready().next()
            })
            .expect("news")
    }

    #[test]
    fn news_are_told_of_both_ways_and_once() {
        for tick_us in [0, 200] {
            let (mut waiting, _here, _there) = with_news(tick_us);
            let ready = wait_for_news(&mut waiting);
            assert_eq!((ready.device, ready.is_readable, ready.is_closed), (7, true, false));
            waiting.wait(0).expect("waits");
            assert_eq!(waiting.ready().count(), 0, "tick {tick_us}");
        }
    }

    #[test]
    fn what_is_due_ends_the_wait_without_news() {
        for tick_us in [0, 1_000] {
            let started = Instant::now();
            let mut waiting = Waiting::new(started, tick_us).expect("a poll");
            for due in [300_000, 600_000, 2_300_000] {
                let mut now = 0;
                while now < due {
                    waiting.wait(due).expect("waits");
                    now = started.elapsed().as_nanos() as u64;
                    assert_eq!(waiting.ready().count(), 0);
                }
            }
        }
    }

    #[test]
    fn who_is_woken_knows_when_and_who_ticks_knows_since_when() {
        let (mut woken, _here, _there) = with_news(0);
        wait_for_news(&mut woken);
        assert_eq!(woken.blur(u64::MAX), 0);
        let (mut ticking, mut here, _there) = with_news(100);
        wait_for_news(&mut ticking);
        // Nothing was told before, so it may have come at any time.
        assert_eq!(ticking.blur(5_000_000_000), 5_000_000_000);
        here.write_all(b"more").expect("is written");
        wait_for_news(&mut ticking);
        let now = ticking.started.elapsed().as_nanos() as u64;
        let earliest = now - ticking.blur(now);
        assert!(0 < earliest && earliest < now, "after an earlier look, and before now");
    }
}
