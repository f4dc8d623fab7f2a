//! Counting where it happens: every thread has a [`Panel`] of its own, written by it alone, merged when somebody looks.
//!
//! ```text
//! shard 0 ──writes──> Panel ─┐
//! shard 1 ──writes──> Panel ─┤
//! worker  ──writes──> Panel ─┼── Registry ──merges on demand──> exposition: Prometheus text, /stats.json
//! log, budget … ───> probes ─┘        └── window: what became of the last minute's turns
//! ```
//! Neighbours: `shard` and `workers` write panels; `admin` reads them. Never here: a lock or an allocation on the writing side;
//! the registry's lock is taken by whoever looks, and once by each thread that starts.
//! [`catalog`] is the list of everything that is counted; [`exposition`] and [`stats`] turn merged panels into text and JSON.
//! What a thread does is counted in cells of its own ([`calls`]: system calls, [`allocations`]) and moved into its panel once
//! per pass; what it has of the processor ([`thread`]) is asked of the system by whoever looks.

pub mod allocations;
pub mod calls;
pub mod catalog;
pub mod exposition;
pub mod histogram;
pub mod load;
pub mod lookup;
pub mod panel;
pub mod process;
pub mod pulse;
pub mod readiness;
pub mod registry;
pub mod stats;
pub mod thread;
pub mod turns;
pub mod window;

/// Nothing is counted: for the bench that wants to know what counting costs (`tools/count`), never for a server.
pub const IS_BLIND: bool = cfg!(feature = "blind");

pub use catalog::{Counter, Gauge, Series};
pub use panel::Panel;
pub use readiness::{Readiness, Ready};
pub use registry::{Home, Registry};
pub use thread::AtWork;
pub use turns::TurnRecord;
