//! Stand-ins for the services of a voice server: recognition, a language model and a voice, OpenAI-compatible, on one port.
//!
//! A capacity figure is honest only when what stands behind the server is the same each time, costs next to nothing and says
//! when it could not keep its own times. One thread, one event loop: requests come in, a plan is drawn for each from the seed,
//! its answer leaves when the plan says.
//!
//! ```text
//!   bytes -> http -> upload / JSON -> service: plan by dice -> answer: pieces by time -> connection -> bytes
//!                                        reply, voice (prepared, shared)
//! ```
//!
//! [`identity`] is what makes a conversation recognisable on its way: a number as a tone code and as a word.

#![warn(missing_docs)]

mod answer;
mod connection;
pub mod dice;
mod http;
pub mod identity;
mod lag;
mod ogg;
pub mod profile;
pub mod reply;
pub mod script;
mod server;
mod service;
mod upload;
pub mod voice;

pub use lag::Lag;
pub use server::{CONNECTIONS_MAX, Config, Handle, Standins};

/// Raises the number of files that this process may have open as far as it may; returns it.
pub fn allow_files() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 0;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: `raised` is a valid rlimit that outlives the call; the call only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 { raised.rlim_cur } else { limit.rlim_cur }
}
