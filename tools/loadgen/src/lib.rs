//! `voxlane-load`: thousands of devices on a fixed schedule, judged as devices would judge.
//!
//! | Module | What it is about |
//! |---|---|
//! | [`scenario`] | what a run does, from a file and flags |
//! | [`slo`] | a promise as a line, and whether it was kept |
//! | [`voices`] | what devices say, with the end of speech known to the sample |
//! | [`outcome`] | what came out of a run, as JSON |
//! | [`chart`] | charts as SVG |
//! | [`screen`] | what is seen of a run while it goes on |
//! | [`report`] | a run as one HTML file |
//! | [`find`] | how many conversations one core carries, and why not more |
//! | [`compare`] | two servers or configurations, and how sure the difference is |
//! | [`mod@bench`] | a folder of measurements as the tables and charts of BENCHMARKS.md |

#![warn(missing_docs)]

pub mod bench;
pub mod chart;
pub mod compare;
pub mod engine;
pub mod find;
pub mod outcome;
pub mod report;
pub mod scenario;
pub mod screen;
pub mod slo;
pub mod voices;
