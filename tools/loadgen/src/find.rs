//! How many conversations one busy core carries at a promise, and which resource ended it.

pub mod child;
pub mod limit;
pub mod search;
pub mod settings;
