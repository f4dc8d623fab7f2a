//! System calls, counted where they are made, by the thread that makes them: one addition to a thread-local cell (1 ns).
//!
//! Whoever makes a call says so with [`made`]; the thread's owner moves the numbers into its panel once per pass with
//! [`Tally::settle`]. So the code that makes a call needs no panel, and the hot path no atomic.
//!
//! Counted is what the server does for devices: waits, reads, writes, accepts, timers, wake-ups, and what a connection's
//! beginning and end take. Not counted: reading the clock (no system call: vDSO), page faults, the log's hand-over to its
//! thread, the memory allocator's own.

use super::IS_BLIND;
use super::allocations;
use super::catalog::Counter;
use super::panel::Panel;
use std::cell::Cell;

/// Kinds of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Call {
    /// `epoll_wait`.
    Wait,
    /// `read`, `recv`.
    Read,
    /// `write`, `send`.
    Write,
    /// `accept4`.
    Accept,
    /// `timerfd_settime`.
    Timer,
    /// `epoll_ctl`.
    Register,
    /// `setsockopt`, `getpeername`, `getsockname`, `shutdown`, `close`: once or twice in a connection's life.
    Socket,
}

/// The counter of each kind, in their order.
const COUNTERS: [Counter; 7] = [
    Counter::CallsWait,
    Counter::CallsRead,
    Counter::CallsWrite,
    Counter::CallsAccept,
    Counter::CallsTimer,
    Counter::CallsRegister,
    Counter::CallsSocket,
];

thread_local! {
    static MADE: [Cell<u64>; COUNTERS.len()] = const { [const { Cell::new(0) }; COUNTERS.len()] };
}

/// This thread has made such a call.
#[inline]
pub fn made(call: Call) {
    made_n(call, 1);
}

/// This thread has made `n` such calls.
#[inline]
pub fn made_n(call: Call, n: u64) {
    if IS_BLIND {
        return;
    }
    MADE.with(|cells| {
        let cell = &cells[call as usize];
        cell.set(cell.get().wrapping_add(n));
    });
}

/// How much of what its thread did is in the panel already: calls, allocations, doorbells.
#[derive(Default)]
pub struct Tally {
    calls: [u64; COUNTERS.len()],
    allocations: allocations::Made,
    rung: u64,
    woken: u64,
}

impl Tally {
    /// Counts from here on: what the thread has done before is nobody's.
    pub fn start((rung, woken): (u64, u64)) -> Tally {
        let calls = MADE.with(|cells| cells.each_ref().map(Cell::get));
        Tally { calls, allocations: allocations::of_this_thread(), rung, woken }
    }

    /// Moves into the panel what the calling thread has done since the last time. `bells`: how often it has ever rung a
    /// doorbell, and how often that woke somebody (which is a system call of its own).
    pub fn settle(&mut self, panel: &Panel, (rung, woken): (u64, u64)) {
        if IS_BLIND {
            return;
        }
        MADE.with(|cells| {
            for ((cell, seen), counter) in cells.iter().zip(&mut self.calls).zip(COUNTERS) {
                let now = cell.get();
                if now != *seen {
                    panel.add(counter, now.wrapping_sub(*seen));
                    *seen = now;
                }
            }
        });
        if rung != self.rung {
            panel.add(Counter::Rung, rung.wrapping_sub(self.rung));
            panel.add(Counter::CallsWake, woken.wrapping_sub(self.woken));
            (self.rung, self.woken) = (rung, woken);
        }
        let made = allocations::of_this_thread();
        if made != self.allocations {
            panel.add(Counter::Allocations, made.count.wrapping_sub(self.allocations.count));
            panel.add(Counter::AllocatedBytes, made.bytes.wrapping_sub(self.allocations.bytes));
            self.allocations = made;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_did_is_moved_once_and_what_another_did_is_not() {
        let panel = Panel::default();
        made(Call::Read);
        let mut tally = Tally::start((5, 2));
        made(Call::Read);
        made_n(Call::Socket, 3);
        std::thread::spawn(|| made_n(Call::Read, 100)).join().unwrap();
        tally.settle(&panel, (9, 3));
        tally.settle(&panel, (9, 3));
        let seen = [Counter::CallsRead, Counter::CallsSocket, Counter::CallsWrite, Counter::Rung, Counter::CallsWake];
        assert_eq!(seen.map(|counter| panel.counter(counter)), [1, 3, 0, 4, 1]);
    }
}
