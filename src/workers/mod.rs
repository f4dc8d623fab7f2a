//! Threads that may wait: one provider each, one job at a time.
//!
//! ```text
//!   desk --job--> skip if taken back or late --> provider, caught if it panics --> pieces ... one final outcome --> desk
//! ```
//!
//! What a worker takes for its provider is a row of them ([`chain`]): the one that is wanted, and who stands in when it fails.
//!
//! A worker owns its provider and its desk and knows nothing else: not who asked, not how many others there are. Whatever
//! happens in between, a job it took ends with exactly one final outcome. Neighbours: `lanes` bring the jobs, `providers` do the
//! work, `audio` encodes speech. Never here: a session, a shard, a decision about a turn.

pub mod asr;
pub mod bench;
pub mod chain;
pub mod crew;
pub mod elsewhere;
pub mod hands;
pub mod llm;
pub mod pace;
pub mod phrases;
pub mod shelf;
pub mod tts;
pub mod voice;

pub use crew::{AsrRules, Base, Cores, Crew, Factory, Size, start_asr, start_llm, start_tts};

#[cfg(test)]
mod tests;
