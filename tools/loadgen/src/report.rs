//! Runs as a file to look at and to send around.

pub mod page;
