//! # voxlane: a synchronous, thread-per-core real-time voice server for ESP32 devices
//!
//! One sentence: **bytes become events, the session turns events into effects, the shard performs effects, slow effects travel
//! on lanes and return as events.**

pub mod admin;
pub mod audio;
pub mod cli;
pub mod config;
pub mod format;
pub mod ids;
pub mod job;
pub mod lanes;
pub mod limits;
pub mod metrics;
pub mod net;
pub mod providers;
pub mod resilience;
pub mod session;
pub mod shard;
pub mod time;
pub mod wire;
pub mod workers;
