//! Counting where it happens: every thread has a [`Panel`] of its own, written by it alone, merged when somebody looks.
//!
//! Neighbours: `shard` and `workers` write panels; `admin` reads them. Never here: a lock or an allocation on the writing side.
//! [`catalog`] is the list of everything that is counted; [`exposition`] turns merged panels into Prometheus text and JSON.

pub mod catalog;
pub mod exposition;
pub mod histogram;
pub mod panel;

pub use catalog::{Counter, Gauge, Series};
pub use panel::Panel;
