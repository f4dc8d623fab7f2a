//! The timers of a session.

/// One meaning each. The frame timer is the urgent one: shards fire it before new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// No hello came.
    Hello,
    /// A reply packet is due.
    Frame,
    /// The reply has been played: `tts stop`.
    Stop,
    /// The turn's budget, or a stage's deadline, is used up.
    Turn,
    /// No audio comes any more: an open utterance is over, an ear that hears nothing is given back.
    Stall,
    /// Nobody spoke: farewell.
    Idle,
}
