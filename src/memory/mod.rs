//! What was said, kept on disk: a conversation survives the connection, the process and the power.
//!
//! ```text
//!   frame    one record: CRC, chain, sequence          segment  one file: header, records, what is wrong with it
//!   reading  the whole log, read                       store    append, commit, recall, erase      cleaning  files written anew
//!   writer   the thread that does it for all shards         tally   what is counted
//!   seal     encryption, if there is a key
//!   disk     where bytes go (tests put a worse one)        door     where `voxlane memory` asks a running server
//! ```
//!
//! A log of our own, not a database: each turn costs one append to a file and its share of one `fdatasync`; every bit of a file
//! is under a checksum, so a flipped one is found, costs one record, and is named by that record's sequence. (A database's own
//! log ends at the first bad page, without a word about what came after it.)
//!
//! The rule that everything here serves: **an acknowledged record is found again, once; or its sequence is named as lost.**
//! Sequences have no holes: what was removed leaves a void that says so.
//!
//! Neighbours: `session::record` says what can be written down and `session::dialogue` what it means. Never here: a decision about
//! a conversation.

pub mod cleaning;
pub mod disk;
pub mod door;
pub mod fault;
pub mod frame;
pub mod reading;
#[cfg(test)]
mod rig;
pub mod seal;
pub mod segment;
pub mod store;
pub mod tally;
pub mod writer;

pub use fault::StoreFault;
pub use seal::Keys;
pub use store::{Entry, Recalled, Store};
pub use tally::Tally;
pub use writer::{Rules, Writer};
