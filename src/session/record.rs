//! What is written down of a dialogue: one operation for each change. The same operations move a live dialogue and a recovered
//! one, through [`Dialogue::apply`](super::dialogue::Dialogue::apply), so that the two cannot drift apart.

use super::dialogue::Dialogue;
use crate::ids::{SessionId, Ticket};
use crate::time::{Duration, Instant, UnixMs};

/// One exchange, as it was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// When it ended, by the wall clock.
    pub at: UnixMs,
    /// What the user said.
    pub user: String,
    /// What was played of our reply; may be empty.
    pub reply: String,
    /// The reply was played to its end.
    pub complete: bool,
}

/// One change of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A turn is added; its time is the record's.
    Turn {
        /// What the user said.
        user: String,
        /// What was played of our reply.
        reply: String,
        /// The reply was played to its end.
        complete: bool,
    },
    /// What older turns were about, in place of what was known.
    Summary(String),
    /// The role that the model plays for this device; empty is the configured one.
    Role(String),
    /// A tool was called and has answered. Kept for the record, not part of the window.
    Tool {
        /// Its name and arguments.
        call: String,
        /// What it answered.
        result: String,
    },
    /// How far a turn had come. Kept for the record.
    State(String),
    /// Where the sound of a turn lies, if capture is on: a reference, never the sound.
    Audio(String),
    /// Only so many of the newest turns stay.
    Truncate(u32),
    /// All turns and the summary are forgotten.
    Clear,
    /// Written by a version that knows more than we do: kept, counted, not applied.
    Unknown {
        /// Its number.
        code: u16,
        /// Its content.
        bytes: Vec<u8>,
    },
}

impl Operation {
    /// The kind that retention goes by.
    pub fn kind(&self) -> Kind {
        match self {
            Operation::Turn { .. } | Operation::Truncate(_) | Operation::Clear => Kind::Turn,
            Operation::Summary(_) | Operation::Role(_) => Kind::Summary,
            _ => Kind::Event,
        }
    }
}

/// Kinds of records, each kept for its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Turns, and what changes them.
    Turn,
    /// Summaries and roles.
    Summary,
    /// Everything else.
    Event,
}

/// What is done about a device's memory, on behalf of a session. Each order is answered by one [`Answer`].
#[derive(Clone, Debug)]
pub struct Order {
    /// Where the answer goes; with the turn that a record belongs to.
    pub ticket: Ticket,
    /// The connection.
    pub session: SessionId,
    /// Whose memory it is.
    pub device: Box<str>,
    /// When it was asked.
    pub asked_at: Instant,
    /// What is to be done.
    pub ask: Ask,
}

/// See [`Order`].
#[derive(Clone, Debug)]
pub enum Ask {
    /// Bring back what is known.
    Recall,
    /// Write down a change.
    Write(Operation),
}

/// What became of an [`Order`].
#[derive(Debug)]
pub struct Answer {
    /// As in the order.
    pub ticket: Ticket,
    /// As in the order.
    pub asked_at: Instant,
    /// What became of it.
    pub news: News,
}

/// See [`Answer`].
#[derive(Debug)]
pub enum News {
    /// What is known of the device; `None` if nothing is.
    Recalled(Option<Box<Remembered>>),
    /// The change is as durable as was promised, or it is not (yet).
    Written {
        /// Whether.
        durable: bool,
    },
}

/// A dialogue that was found again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// As the records make it.
    pub dialogue: Dialogue,
    /// Time since the last change, by the wall clock.
    pub age: Duration,
}

/// What is promised about the memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is remembered.
    #[default]
    None,
    /// Turns are written once a second; a crash loses those of the last one.
    Interval,
    /// `tts stop` tells that the turn is on the disk; or says that it is not.
    Turn,
}
