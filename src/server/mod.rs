//! Assembly: a checked configuration becomes a running server, and a running server comes to an end in order.

pub mod state;

use crate::config::Config;
use crate::time::Duration;
use std::fmt;
use std::net::SocketAddr;

/// A running server.
pub struct Server {}

/// Where it listens, with the ports it was given for port 0.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Devices.
    pub device: SocketAddr,
    /// Plain HTTP.
    pub http: SocketAddr,
    /// Metrics and statistics.
    pub admin: SocketAddr,
}

/// Why nothing was started.
#[derive(Debug)]
pub enum StartFault {
    /// The speech model is missing or is no model; with the cure.
    Model(String),
    /// An address is in use or not ours.
    Address(String),
    /// Anything else: a file, a thread.
    Other(String),
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartFault::Model(text) | StartFault::Address(text) | StartFault::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for StartFault {}

#[allow(unused_variables)]
impl Server {
    /// Checks everything that can be checked, then listens.
    pub fn start(config: &Config) -> Result<Server, StartFault> {
        todo!()
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        todo!()
    }

    /// Waits until every part is ready (a speech model loads after listening has begun).
    pub fn wait_ready(&self, limit: Duration) -> Result<(), String> {
        todo!()
    }

    /// Stops accepting, lets running sentences end for as long as `drain`, closes with 1001, ends all threads.
    pub fn stop(self, drain: Duration) {
        todo!()
    }
}
