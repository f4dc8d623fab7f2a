//! Waiting that ends when it should: at the instant asked for, at the call's deadline, or when the call is taken back.
//!
//! Scripted providers use it to be as slow as a real one. The thread parks; the cancel's hook unparks it, so nothing polls.

use super::Call;
use crate::resilience::fault::Fault;
use crate::time::{Duration, Instant};

/// Waits of one call on the thread that made it.
#[derive(Debug)]
pub struct Patience<'a> {
    call: &'a Call,
}

impl<'a> Patience<'a> {
    /// Prepares to wait within `call`. Leaves one hook in its cancel.
    pub fn new(call: &'a Call) -> Patience<'a> {
        let thread = std::thread::current();
        call.cancel.on_cancel(move || thread.unpark());
        Patience { call }
    }

    /// Waits until `until`.
    ///
    /// # Errors
    /// Cancelled as soon as the call is; Timeout, naming `what`, at the call's deadline if that comes first.
    pub fn wait_until(&self, until: Instant, what: &str) -> Result<(), Fault> {
        loop {
            if self.call.cancel.is_cancelled() {
                return Err(Fault::cancelled());
            }
            let now = self.call.clock.now();
            if now >= self.call.deadline {
                return Err(Fault::timeout(what));
            }
            if now >= until {
                return Ok(());
            }
            // A spurious return only takes us round the loop.
            std::thread::park_timeout(until.min(self.call.deadline).until(now).max(Duration::from_micros(1)));
        }
    }

    /// Waits for `delay`, which must not reach past `by`.
    ///
    /// # Errors
    /// As [`Patience::wait_until`]; Timeout at `by` too.
    pub fn wait(&self, delay: Duration, by: Instant, what: &str) -> Result<(), Fault> {
        let until = self.call.clock.now() + delay;
        if until <= by {
            return self.wait_until(until, what);
        }
        self.wait_until(by, what)?;
        Err(Fault::timeout(what))
    }
}
