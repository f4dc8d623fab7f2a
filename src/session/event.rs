//! What a session is told.

use super::record::Remembered;
use crate::ids::TurnId;
use crate::job::{Job, Outcome};
use crate::resilience::fault::Cause;
use crate::wire::message::ClientMessage;

/// News for a session. Time comes beside it.
// Outcomes are large because audio and text travel inline; an event lives on the stack of one call.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Event<'a> {
    /// A control message.
    Message(ClientMessage),
    /// An audio packet, framing already taken off.
    Packet(&'a [u8]),
    /// A binary message whose framing holds no packet.
    BadFrame,
    /// An answer from a worker. The session drops it if the turn is no longer current.
    Outcome(TurnId, Outcome),
    /// The pool gave this job back: no room for it ([`Cause::Overload`]), or nobody had time for it before its deadline
    /// ([`Cause::Timeout`]).
    Refused(&'a Job, Cause),
    /// What is known of the device from before.
    Recalled(Remembered),
    /// What became of the record of this turn: whether it is durable.
    Written(TurnId, bool),
    /// The server is going down: end the turn that is under way, then close.
    Drain,
    /// There is little time left for that: end the running sentence, then close.
    DrainSoon,
    /// The time for that is over: close, with the `tts stop` that is owed.
    DrainOver,
}
