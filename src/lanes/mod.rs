//! Where shards and workers meet: lock-free rings, one writer and one reader each, and doorbells that wake who sleeps.
//!
//! ```text
//!    shard  --jobs-->        worker        one lane for each (shard, worker) pair
//!           --pcm blocks-->                (recognisers only)
//!           <--answers--
//! ```
//!
//! A [`Pool`] is a shard's end of all lanes to the workers of one stage: it keeps jobs that wait for a worker (bounded, by
//! class, fairness and deadline), gives each to the least occupied worker, and rings the [`Foreman`] for another one while the
//! pool may grow. A [`Desk`] is a worker's end of its lanes to all shards. Doorbells are rung once per loop pass and only for
//! who sleeps. Shards and workers never mention each other: they meet here and in `job`.
//!
//! [`post`] is the smaller kin of it: one thread that keeps something for all shards, and answers each order once.
//!
//! What it costs (`benches/lanes.rs`, a shared 2-core machine): a piece of an answer out and taken 0.4 µs, a job out and its
//! end back 0.7 µs, a 60 ms block fed and read 0.7 µs, a look at an idle pool of 1,024 workers 0.1 µs; there and back between
//! two threads that both sleep 13 µs.
//!
//! What is promised: a job given to a worker ends with exactly one final outcome, also when its worker dies; an answer goes to
//! the shard of its ticket and to no other; no wake-up is lost (each pairing argues for itself where it stands).

pub mod bell;
pub mod desk;
pub mod foreman;
mod lane;
mod overflow;
mod plant;
pub mod pool;
pub mod post;
pub mod waiting;

pub use bell::Doorbell;
pub use desk::{Desk, Gone};
pub use foreman::{Foreman, PoolHandle, PoolState, Spawn, build};
pub use plant::{Flow, PoolSpec};
pub use pool::{Class, Pool, Taken};
pub use post::{Office, Post};

#[cfg(test)]
mod tests;
