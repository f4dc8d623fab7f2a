//! What the room's tests share, and those that need the whole room.

pub mod signals;
