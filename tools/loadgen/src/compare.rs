//! Two servers or two configurations, measured in turns.

pub mod interval;
