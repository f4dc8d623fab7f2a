//! The pure core: one device's conversation from hello to close, as a machine that takes events and time and gives effects.
//!
//! Neighbours: `shard` drives it; `wire` gives the message values, `audio` the ear, the pacer and the phrases, `job` the work it
//! asks for. Never here: a socket, a thread, a clock, a dice, a log line.

pub mod dialogue;
pub mod effect;
pub mod emotion;
pub mod event;
mod listening;
pub mod machine;
pub mod phase;
pub mod reply;
pub mod rules;
pub mod sentence;
mod speaking;
pub mod spoken;
mod thinking;
pub mod timers;
mod turn;
pub mod words;

pub use effect::{Effect, Effects};
pub use event::Event;
pub use machine::{Kit, Session};
pub use phase::Phase;
pub use rules::Rules;
pub use timers::Timer;
