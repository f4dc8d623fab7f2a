//! Policies for the bad day, pure: what kind of trouble a failure is, and what follows from it.
//!
//! Neighbours: `providers` classify their failures as a [`fault::Fault`]; `workers` and `session` decide by it.
//! Never here: a socket, a clock, a dice, a log line.

pub mod fault;
