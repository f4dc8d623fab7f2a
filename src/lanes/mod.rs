//! Where shards and workers meet: lock-free rings, one writer and one reader each, and doorbells that wake who sleeps.
//!
//! ```text
//!    shard  --jobs-->        worker        one lane for each (shard, worker) pair
//!           --pcm blocks-->                (recognisers only)
//!           <--answers--
//! ```
//!
//! A [`Pool`] is a shard's end of all lanes to the workers of one stage: it keeps jobs that wait for a worker (bounded, by
//! class and deadline), gives each to the least occupied lane, and asks the foreman for another worker while the pool may
//! grow. A [`Desk`] is a worker's end of its lanes to all shards. Doorbells are rung once per loop pass and only for who
//! sleeps. Shards and workers never mention each other: they meet here and in `job`.

pub mod bell;
pub mod desk;
pub mod pool;

pub use bell::Doorbell;
pub use desk::Desk;
pub use pool::Pool;
