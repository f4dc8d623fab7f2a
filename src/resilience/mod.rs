//! Policies for the bad day, pure: what kind of trouble a failure is, and what follows from it.
//!
//! ```text
//!   fault ----> retry: give up | go to another provider | once more, after a pause
//!     |
//!     +------> breaker: closed --faults or slowness--> open --a probe at a time--> closed
//!                                                        \-- nobody is sent to a provider that is down
//! ```
//!
//! Neighbours: `providers` classify their failures as a [`fault::Fault`]; `workers` and `session` decide by it.
//! Never here: a socket, a clock, a dice, a log line. Time and chance come in as numbers.

pub mod admission;
pub mod alert;
pub mod breaker;
pub mod choice;
pub mod crowd;
pub mod fault;
pub mod ladder;
pub mod quarantine;
pub mod retry;

/// A share of `whole`, from nothing to all of it, as the dice (any 64 bits) say.
pub(crate) fn share(whole: crate::time::Duration, dice: u64) -> crate::time::Duration {
    // The upper 32 bits: 2^-32 of any wait we know is below a microsecond.
    crate::time::Duration::from_micros(((whole.as_micros() * u128::from(dice >> 32)) >> 32) as u64)
}
