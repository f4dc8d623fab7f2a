//! The shard under virtual time: connections are bytes in memory, time is a number, workers are desks that the test sits at.

mod connections;
mod door;
mod flood;
mod load;
mod loopback;
mod rescue;
mod rig;
mod turns;
