//! One connection: what its shard knows of it. Small, since ten thousand of them idle.
//!
//! ```text
//!   Head --upgrade--> Open --close--> Closing --flushed--> Lingering --end of stream, or time--> gone
//!     \---- answer ------------------^
//! ```

use super::bucket::Bucket;
use super::timeline;
use super::timers::on_the_second;
use crate::ids::{SessionId, TurnId};
use crate::limits;
use crate::net::addresses::Place;
use crate::net::{Outbox, Stream};
use crate::session::Session;
use crate::session::phase::Phase as SessionPhase;
use crate::session::timers::Timer;
use crate::time::Instant;
use crate::wire::packet::Version;
use crate::wire::websocket::Reader;

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its request is awaited.
    Head,
    /// A WebSocket with a session; whether the hello has come is the session's business.
    Open,
    /// The last bytes are on their way.
    Closing,
    /// All is sent, and the end of our side too; what still comes is read and forgotten, so that the kernel does not answer it
    /// with a reset that would overtake our last frame.
    Lingering,
}

/// A connection.
pub struct Connection {
    pub(super) stream: Stream,
    pub(super) outbox: Option<Box<Outbox>>,
    pub(super) session: Option<Box<Session>>,
    /// What is left of the last read: an incomplete head, or the beginning of a frame.
    pub(super) part: Vec<u8>,
    pub(super) reader: Reader,
    pub(super) id: SessionId,
    pub(super) device_id: Box<str>,
    /// Keyed hash of the device's id, and the place of this connection in the order of all upgrades.
    pub(super) device: u64,
    pub(super) order: u64,
    /// End of the handshake, then of closing.
    pub(super) deadline: Instant,
    /// The last sign of life.
    pub(super) heard_at: Instant,
    /// Our last ping.
    pub(super) pinged_at: Instant,
    /// Our last text or binary frame.
    pub(super) said_at: Instant,
    pub(super) bucket: Bucket,
    /// Bytes for which more of the request must come before it is looked at again.
    pub(super) awaited: u32,
    pub(super) place: Place,
    /// The timeline of its turn.
    pub(super) turn: timeline::Place,
    /// The pass in which this connection was last written to.
    pub(super) written_in: u32,
    /// Bytes in the outbox after the last write.
    pub(super) send_bytes: u32,
    /// Bytes of PCM for one ms; 0 stands for Opus.
    pub(super) pcm_bytes_per_ms: u16,
    /// Messages and packets of this connection in the backlog.
    pub(super) messages_waiting: u16,
    pub(super) packets_waiting: u16,
    /// Second of the last ping of the peer, and how many came within it.
    pub(super) ping_second: u32,
    pub(super) pings: u8,
    /// The turn that was let in last; of an earlier one, nothing is under way.
    pub(super) admitted: TurnId,
    pub(super) version: Option<Version>,
    pub(super) phase: Phase,
    /// The hello was answered.
    pub(super) is_greeted: bool,
    /// On the list of those to be written to.
    pub(super) is_dirty: bool,
    /// On the list of those to be read from again.
    pub(super) is_unread: bool,
    /// The peer has ended; the end is still to be read.
    pub(super) has_ended: bool,
    /// Not read from, since it does not take what we write.
    pub(super) is_paused: bool,
    /// On the list of those whose audio waits for its lane.
    pub(super) is_pouring: bool,
    /// The phase in which its session is counted.
    pub(super) shown: SessionPhase,
}

impl Connection {
    /// A fresh one whose request is awaited.
    pub(super) fn new(stream: Stream, place: Place, now: Instant) -> Connection {
        Connection {
            stream,
            outbox: None,
            session: None,
            part: Vec::new(),
            reader: Reader::default(),
            id: SessionId(0),
            device_id: Box::default(),
            device: 0,
            order: 0,
            deadline: now + limits::HANDSHAKE,
            heard_at: now,
            pinged_at: now,
            said_at: now,
            bucket: Bucket::new(now),
            awaited: 0,
            place,
            turn: timeline::Place::NONE,
            written_in: 0,
            send_bytes: 0,
            pcm_bytes_per_ms: 0,
            messages_waiting: 0,
            packets_waiting: 0,
            ping_second: 0,
            pings: 0,
            admitted: TurnId::default(),
            version: None,
            phase: Phase::Head,
            is_greeted: false,
            is_dirty: false,
            is_unread: false,
            has_ended: false,
            is_paused: false,
            is_pouring: false,
            shown: SessionPhase::Greeting,
        }
    }

    /// Counts a ping of the peer; `false` when there are too many within a second.
    pub(super) fn may_ping(&mut self, now: Instant) -> bool {
        let second = (now.as_ms() / 1_000) as u32;
        if second != self.ping_second {
            self.ping_second = second;
            self.pings = 0;
        }
        self.pings = self.pings.saturating_add(1);
        self.pings <= limits::PINGS_PER_SECOND
    }

    /// When a ping is due.
    pub(super) fn ping_at(&self) -> Instant {
        self.heard_at.max(self.pinged_at) + limits::PING_EVERY
    }

    /// When the peer counts as gone.
    pub(super) fn silent_at(&self) -> Instant {
        self.heard_at + limits::SILENT_PEER
    }

    /// When the device must hear from us; a ping does not count there.
    pub(super) fn keep_alive_at(&self) -> Instant {
        if self.is_greeted { self.said_at + limits::KEEPALIVE_TEXT } else { Instant::NEVER }
    }

    /// When a frame of the reply is due, and when anything else is.
    pub(super) fn deadlines(&self) -> (Instant, Instant) {
        if self.phase != Phase::Open {
            return (Instant::NEVER, self.deadline);
        }
        let unwritable = self.outbox.as_ref().and_then(|outbox| outbox.unwritable_at()).unwrap_or(Instant::NEVER);
        let lazy = on_the_second(self.ping_at().min(self.silent_at()).min(self.keep_alive_at()));
        let rest = lazy.min(unwritable);
        match self.session.as_ref().and_then(|session| session.poll_timeout()) {
            None => (Instant::NEVER, rest),
            Some((at, Timer::Frame)) => (at, rest),
            Some((at, Timer::Idle)) => (Instant::NEVER, rest.min(on_the_second(at))),
            Some((at, _)) => (Instant::NEVER, rest.min(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::memory;

    #[test]
    fn a_place_costs_little() {
        let bytes = std::mem::size_of::<Connection>();
        assert!(bytes <= 256, "{bytes} bytes");
    }

    #[test]
    fn a_flood_of_pings_is_seen() {
        let mut connection = Connection::new(Stream::Memory(Box::new(memory::pair().0)), Place::NONE, Instant::ZERO);
        assert!((0..10).all(|_| connection.may_ping(Instant::from_ms(1_500))));
        assert!(!connection.may_ping(Instant::from_ms(1_999)));
        assert!(connection.may_ping(Instant::from_ms(2_000)));
    }
}
