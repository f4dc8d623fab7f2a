//! Where a session is. Derived from what it holds, never stored beside it, so the two cannot disagree.
//!
//! ```text
//!   Greeting --hello--> Idle <--stop/manual-- Speaking <------------+
//!                        |  ^                    |  ^               |
//!             listen start  | listen stop        |  | first packet  |
//!                        v  |     auto/realtime  v  |               |
//!                      Listening <---------------+ Thinking --wake, farewell
//!                        |                           ^
//!                        +------end of utterance-----+          any --close--> Closing
//! ```

/// The word for it in logs and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The hello is awaited.
    Greeting,
    /// Nobody listens, nobody speaks.
    Idle,
    /// The microphone matters; an utterance may be open.
    Listening,
    /// An utterance or a text is being answered; nothing has been said yet.
    Thinking,
    /// Our voice is under way.
    Speaking,
    /// `Close` has been asked for; nothing matters any more.
    Closing,
}
