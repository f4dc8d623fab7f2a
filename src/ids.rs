//! Names of things: who a message is from, and where an answer belongs.

use std::fmt;

/// Which shard: its index, also the index of its metrics panel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// One exchange of a session: what the user said and our whole reply. Grows by one; all work of the exchange carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TurnId(pub u32);

impl TurnId {
    /// The turn after this one.
    pub const fn next(self) -> TurnId {
        TurnId(self.0.wrapping_add(1))
    }
}

/// The return address of work that leaves a shard. A late answer whose generation or turn is no longer current is dropped
/// and counted; so an answer can never reach another device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The shard that asked.
    pub shard: ShardId,
    /// Its slot for the connection.
    pub slot: u32,
    /// How often that slot had been reused.
    pub generation: u32,
    /// The turn the work is for.
    pub turn: TurnId,
}

/// A session's name on the wire: 128 random bits, printed as a UUID. Safe unescaped inside JSON, as devices need it
/// (FW `protocol.cc` puts it into its messages by concatenation).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub u128);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            (b >> 96) as u32,
            (b >> 80) as u16,
            (b >> 64) as u16,
            (b >> 48) as u16,
            b & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_prints_as_a_uuid() {
        let id = SessionId(0x0b9f6c1e_3d0a_4f1e_9a55_2f1f7d5f4c11);
        assert_eq!(id.to_string(), "0b9f6c1e-3d0a-4f1e-9a55-2f1f7d5f4c11");
    }
}
