//! What the room's tests share, and those that need the whole room.

mod ear;
mod relay;
pub mod signals;
