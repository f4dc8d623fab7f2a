//! One module for each verb: its options, its help, what it prints.

pub mod bench;
pub mod compare;
pub mod find;
mod interrupt;
pub mod report;
pub mod run;
pub mod stage;
pub mod start;
