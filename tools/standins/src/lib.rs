//! Stand-ins for the services of a voice server: recognition, a language model and a voice, OpenAI-compatible, on one port.
//!
//! A capacity figure is honest only when what stands behind the server is the same each time, costs next to nothing and says
//! when it could not keep its own times. One thread, one event loop: requests come in, a plan is drawn for each from the seed,
//! its answer leaves when the plan says.
//!
//! [`identity`] is what makes a conversation recognisable on its way: a number as a tone code and as a word.

#![warn(missing_docs)]

pub mod dice;
pub mod identity;
pub mod profile;
pub mod reply;
pub mod script;
