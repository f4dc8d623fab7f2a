//! Device sockets: how they are listened for, read, written, and how much may wait to be written.
//!
//! Neighbours: `shard` owns listeners and streams and calls them from its loop. Nothing here waits: what cannot be done now
//! says so. Never here: the meaning of a byte, a session, a thread.

pub mod addresses;
pub mod listener;
pub mod memory;
pub mod occupant;
pub mod outbox;
pub mod stream;
pub mod tls;

pub use addresses::AddressBook;
pub use listener::{ListenFault, Listener};
pub use outbox::Outbox;
pub use stream::Stream;
