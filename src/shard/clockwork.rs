//! Time and chance, as a shard gets them: from the system in a server, written down in a test.

use crate::ids::SessionId;
use crate::time::{Clock, Instant};

/// Tells what time it is in the middle of a pass.
#[derive(Clone, Copy, Debug)]
pub enum Watch {
    /// The process's clock.
    Real(Clock),
    /// Virtual time: a pass takes none.
    Given,
}

impl Watch {
    /// The time now, `given` being the time of the pass.
    pub fn now(self, given: Instant) -> Instant {
        match self {
            Watch::Real(clock) => clock.now().max(given),
            Watch::Given => given,
        }
    }
}

/// Where session ids come from.
#[derive(Clone, Copy, Debug)]
pub enum Dice {
    /// The system's random numbers.
    System,
    /// A sequence with this state, for tests that print their seed.
    Seeded(u64),
}

impl Dice {
    /// Any 64 bits.
    pub fn number(&mut self) -> u64 {
        match self {
            Dice::System => system(),
            Dice::Seeded(state) => split_mix(state),
        }
    }

    /// A fresh id.
    pub fn session_id(&mut self) -> SessionId {
        match self {
            Dice::System => SessionId(u128::from(system()) << 64 | u128::from(system())),
            Dice::Seeded(state) => SessionId(u128::from(split_mix(state)) << 64 | u128::from(split_mix(state))),
        }
    }
}

/// Without the system's entropy (a kernel that is still booting refuses) an id need only differ from others: std's hash keys
/// do, and they come from the same source where it works.
fn system() -> u64 {
    use std::hash::BuildHasher;
    getrandom::u64().unwrap_or_else(|_| std::hash::RandomState::new().hash_one(0))
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
