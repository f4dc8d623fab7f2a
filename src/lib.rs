//! # voxlane: a synchronous, thread-per-core real-time voice server for ESP32 devices
//!
//! One sentence: **bytes become events, the session turns events into effects, the shard performs effects, slow effects
//! travel on lanes and return as events.**
//!
//! ```text
//!           shard thread: one per core, pinned, shares nothing                     worker threads: may wait
//!           +----------------------------------------------------------------+
//! device -->| net --bytes--> wire --events---> session <--samples--> audio   |
//! device <--| net <--bytes-- wire <--effects-- session                       |
//!           |                                  |     ^                       |
//!           |                 submit, cancel   |     |   outcome             |     +----------------------------------+
//!           |                                  v     |                       |     | workers: asr, llm, tts           |
//!           | perform --------------------->  lanes (rings)                  |<===>|   call providers                 |---> services
//!           | mailbox <---------------------  lanes (rings)                  |     +----------------------------------+
//!           | slots, timers, reactor, metrics panel                          |
//!           +----------------------------------------------------------------+
//!           control plane: server (assembly, signals), config, admin (HTTP: OTA, live page, /metrics)
//! ```
//!
//! There is no async runtime. A shard waits in its reactor and nowhere else; whatever may take time is a job on a lane.
//!
//! ## Rooms, in reading order
//!
//! | Room | What it is about |
//! |---|---|
//! | [`time`] [`ids`] [`format`](mod@format) [`limits`] [`secret`] | values everyone speaks; `limits` holds every bound with its reason |
//! | [`wire`] | bytes to values and back: HTTP head, WebSocket, framing, messages, OTA, tokens |
//! | [`audio`] | pure signal: codec, voice detection, endpointing, the audio queue, pacing, our own phrases |
//! | [`job`] | what crosses threads: work orders and outcomes, each with a ticket |
//! | [`session`] | the pure core: one conversation as a machine |
//! | [`lanes`] | rings, doorbells, pools: where shards and workers meet |
//! | [`net`] | device sockets: listener, stream, send queue |
//! | [`shard`] | the pinned loop |
//! | [`providers`] | outside services and programs, one file each |
//! | [`workers`] | threads that may wait, and call providers |
//! | [`memory`] | dialogues on disk: the log, its repair, its one writer |
//! | [`resilience`] | what kind of trouble a failure is, and what follows: again, another, or none |
//! | [`metrics`] | counting where it happens |
//! | [`admin`] | control-plane HTTP: OTA, the live page, metrics, health |
//! | [`config`] [`cli`] [`log`] `server` | from a command line to a running server |
//!
//! ## Who may use whom
//!
//! `tests/tidy.rs` reads this table and enforces it. "values" are `time`, `ids`, `format`, `limits`, `secret`.
//!
//! | Room | may use |
//! |---|---|
//! | `time` `ids` `format` `limits` `secret` | values |
//! | `wire` | values |
//! | `audio` | values |
//! | `metrics` | values |
//! | `resilience` | values |
//! | `log` | values |
//! | `job` | values, audio::block, resilience::fault |
//! | `lanes` | values, job, audio::block, resilience::fault |
//! | `session` | values, wire, audio, job, resilience::fault |
//! | `memory` | values, session, lanes, metrics |
//! | `net` | values, metrics |
//! | `providers` | values, job, audio, resilience::fault |
//! | `workers` | values, job, lanes, audio, providers, resilience, metrics |
//! | `shard` | values, net, wire, session, audio, lanes, job, resilience, metrics |
//! | `admin` | values, wire, metrics |
//! | `config` | values, audio, session, resilience, memory::cleaning, log::store |
//! | `cli` | config::mistake |
//! | `server` | everything |
//!
//! ## Invariants, written as absences
//!
//! 1. `wire`, `audio`, `session`, `resilience`, `job` contain no socket, file, thread, clock, dice or log call.
//! 2. A shard never waits except in the reactor: no lock, no name lookup, no handshake to a service, no model.
//! 3. `shard` and `workers` never mention each other; they meet in `lanes` and `job`.
//! 4. No `Instant::now` outside [`time::Clock`]; every decision is given `now`; voice detection runs in audio time.
//! 5. `unsafe` only where the operating system or a C library is called, each block with its reason.
//! 6. Only `wire` knows JSON names of the device protocol; only `providers` those of services.
//! 7. No queue without a bound from [`limits`], a policy when full, and a count of what was refused or dropped.
//! 8. A session lives and dies on one shard. What crosses threads carries a [`ids::Ticket`]; a late answer is dropped and
//!    counted, so cross-talk is impossible by construction.
//! 9. Every `tts start` is followed by exactly one `tts stop`, whatever fails in between.

#![warn(missing_docs)]

pub mod admin;
pub mod audio;
pub mod cli;
pub mod config;
pub mod format;
pub mod ids;
pub mod job;
pub mod lanes;
pub mod limits;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod providers;
pub mod resilience;
pub mod secret;
pub mod server;
pub mod session;
pub mod shard;
pub mod time;
pub mod wire;
pub mod workers;
