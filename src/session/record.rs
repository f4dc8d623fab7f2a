//! What is written down of a dialogue: one operation for each change. The same operations move a live dialogue and a recovered
//! one, through [`Dialogue::apply`](super::dialogue::Dialogue::apply), so that the two cannot drift apart.

use crate::time::UnixMs;

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
