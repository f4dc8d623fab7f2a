//! What went wrong with an outside service, by cause. Classified where it happens, by type and never by message text.

use crate::time::Duration;
use std::fmt;

/// The cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// What came back does not follow the service's protocol.
    Malformed,
    /// The service or our own queue has no room: 429, 503 with Retry-After, a full pool.
    Overload,
    /// A deadline passed.
    Timeout,
    /// No connection, connection lost, 5xx, program missing.
    Unavailable,
    /// The service understood and said no: 400, 401, 403, 404.
    Refused,
    /// A defect of ours.
    Internal,
    /// We asked it to stop. Not an error: never retried, never spoken of.
    Cancelled,
}

impl Cause {
    /// Every cause, for metrics that want a series for each.
    pub const ALL: [Cause; 7] = [
        Cause::Malformed,
        Cause::Overload,
        Cause::Timeout,
        Cause::Unavailable,
        Cause::Refused,
        Cause::Internal,
        Cause::Cancelled,
    ];

    /// The label in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Malformed => "malformed",
            Cause::Overload => "overload",
            Cause::Timeout => "timeout",
            Cause::Unavailable => "unavailable",
            Cause::Refused => "refused",
            Cause::Internal => "internal",
            Cause::Cancelled => "cancelled",
        }
    }

    /// Whether trying again may help.
    pub const fn is_transient(self) -> bool {
        matches!(self, Cause::Overload | Cause::Timeout | Cause::Unavailable)
    }
}

/// What a fault says of a provider that panicked.
pub const PANICKED: &str = "the provider panicked";
/// What a failure says of a worker that died.
pub const DIED: &str = "the worker died";

/// A classified failure with a detail for the log. The detail holds no secret and no user text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The cause.
    pub cause: Cause,
    /// For the log: what exactly, in a few words.
    pub detail: Box<str>,
    /// How long the service wants to be left alone, if it says so (HTTP `Retry-After`).
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// Whether a thread fell over this job: not a service's failure, and with the same job it may well happen again.
    pub fn is_crash(&self) -> bool {
        self.cause == Cause::Internal && [PANICKED, DIED].contains(&&*self.detail)
    }

    /// A failure of the given cause.
    pub fn new(cause: Cause, detail: impl Into<Box<str>>) -> Fault {
        Fault { cause, detail: detail.into(), retry_after: None }
    }

    /// The same fault of a service that wants to be left alone for `pause`.
    pub fn wait(self, pause: Option<Duration>) -> Fault {
        Fault { retry_after: pause, ..self }
    }

    /// The answer to our own cancel.
    pub fn cancelled() -> Fault {
        Fault::new(Cause::Cancelled, "cancelled")
    }

    /// A passed deadline; `what` names the one that passed, as in "first token".
    pub fn timeout(what: &str) -> Fault {
        Fault::new(Cause::Timeout, what)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.name(), self.detail)
    }
}

impl std::error::Error for Fault {}
