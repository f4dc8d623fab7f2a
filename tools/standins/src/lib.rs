//! Stand-ins for the services of a voice server: recognition, a language model and a voice, OpenAI-compatible, on one port.
//!
//! [`identity`] is what makes a conversation recognisable on its way: a number as a tone code and as a word.

#![warn(missing_docs)]

pub mod identity;
