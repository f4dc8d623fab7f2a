//! The pure core: one device's conversation from hello to close, as a machine that takes events and time and gives effects.
//!
//! ```text
//!   Event --> machine (the table) --> listening   ear, edges of speech, who ends an utterance
//!                                 --> thinking    transcript, model, failures, deadlines
//!                                 --> speaking    sentences, synthesis, paced packets, tts stop   --> Effects
//!                                 --> remembering  recalled at hello, written down when played
//!
//!   turn: one exchange under way     reply: sentences in, packets out     sentence, spoken, emotion, words: text
//! ```
//!
//! Promises: every `tts start` is followed by exactly one `tts stop`; nothing of a turn comes out after it is over; every job
//! either ends or is taken back; an ear is held only while somebody may speak. `machine/model.rs` throws dice against them.
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
pub mod record;
mod remembering;
pub mod reply;
pub mod rules;
pub mod sentence;
mod speaking;
pub mod spoken;
mod thinking;
pub mod timers;
mod turn;
pub mod words;
#[cfg(test)]
mod world;

pub use effect::{Effect, Effects};
pub use event::Event;
pub use machine::{Kit, Session};
pub use phase::Phase;
pub use rules::Rules;
pub use timers::Timer;
