//! One simulated device: what it is doing and when it must act next. Some hundred bytes; sounds and buffers are shared.
//!
//! ```text
//!   Away -> Connecting -> Upgrading -> Greeting -> Listening <-> Hearing
//!    ^         |              |           |  \         |            |        Listening: streams room, its number, words, room
//!    └─────────┴──────────────┴───────────┘   Still    └────────────┴──> Away (goodbye, vanish, failure)
//! ```
//!
//! With `wss://` it is Securing between Connecting and Upgrading.

use super::checkin::Ticket;
use super::judge::Reply;
use super::line::Line;
use rustls::ClientConfig;
use std::sync::Arc;

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not connected; comes at its next action.
    Away,
    /// The connection is being made.
    Connecting,
    /// Connected; keys are being agreed on.
    Securing,
    /// A boot has been told of by HTTP; path and token are to come.
    CheckingIn,
    /// The upgrade has been asked for.
    Upgrading,
    /// Hello has been said.
    Greeting,
    /// Connected and silent for good.
    Still,
    /// Its button is up between two turns.
    Waiting,
    /// Its microphone is open.
    Listening,
    /// A reply is being played.
    Hearing,
    /// Sends garbage.
    Raving,
    /// Will not come back.
    Done,
}

impl Phase {
    /// Whether the server has answered the hello, so that what comes is conversation.
    pub fn is_greeted(self) -> bool {
        !matches!(self, Phase::Connecting | Phase::Securing | Phase::CheckingIn | Phase::Upgrading | Phase::Greeting)
    }
}

/// How a device behaves, in the order of [`crate::scenario::Mix::weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Behaviour {
    Talk,
    Idle,
    Abort,
    BargeIn,
    Reconnect,
    Vanish,
    SlowReader,
    Deaf,
    Rude,
}

impl Behaviour {
    /// By its place among the weights.
    pub fn of(index: usize) -> Behaviour {
        use Behaviour::*;
        [Talk, Idle, Abort, BargeIn, Reconnect, Vanish, SlowReader, Deaf, Rude][index.min(8)]
    }

    /// Whether what it suffers says something about the server.
    pub fn is_judged(self) -> bool {
        !matches!(self, Behaviour::SlowReader | Behaviour::Deaf | Behaviour::Rude)
    }
}

/// No action is due.
pub const NEVER: u64 = u64::MAX;

/// A device. Instants are nanoseconds on the run's clock.
#[derive(Debug)]
pub struct Device {
    /// Its number among all.
    pub index: u32,
    /// Part of its addresses, from the seed: two load tools with different seeds have different devices.
    pub household: u8,
    /// Its identity.
    pub id: u16,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// Where it is.
    pub phase: Phase,
    /// Its connection.
    pub stream: Option<Line>,
    /// What it keeps of TLS from one connection to the next: its sessions.
    pub tls: Option<Arc<ClientConfig>>,
    /// The beginning of a frame that was cut.
    pub part: Vec<u8>,
    /// What the socket did not take.
    pub unsent: Vec<u8>,
    /// The entry of the timers that counts.
    pub timer: u64,
    /// When it does its next thing of its own: connects, begins to listen, interrupts.
    pub action: u64,
    /// When it loses patience with what it waits for.
    pub patience: u64,
    /// When the connection was due, and when it was begun.
    pub due: u64,
    /// See `due`.
    pub opened: u64,
    /// When the handshake of TLS was begun.
    pub secured_from: u64,
    /// The microphone was opened.
    pub listen_from: u64,
    /// Packets sent since.
    pub sent: u32,
    /// Packets of room before the number and the words.
    pub lead: u32,
    /// What it says.
    pub utterance: u16,
    /// The last packet of the words has left: the true end of speech; 0 before.
    pub speech_end: u64,
    /// A reply is owed for what was said.
    pub is_owed: bool,
    /// What it hears now counts: the warm-up is over, and its behaviour says something about the server.
    pub counts: bool,
    /// A sentence of the reply named this device.
    pub is_named: bool,
    /// The reply being heard.
    pub reply: Reply,
    /// To the first packet, ns, of the reply being heard.
    pub first_audio: Option<u64>,
    /// An interruption was sent; 0 if not.
    pub aborted: u64,
    /// Turns done.
    pub turns: u32,
    /// A reply ended, and none has begun since.
    pub is_stopped: bool,
    /// The sample of its reply's sound.
    pub sample: Vec<Box<[u8]>>,
    /// Its reply belongs to the sample.
    pub is_sampled: bool,
    /// What its check-in told it.
    pub ticket: Option<Box<Ticket>>,
    /// Duration of reply packets, ms, and their rate, as the hello says.
    pub reply_ms: u16,
    /// See `reply_ms`.
    pub reply_rate: u32,
}

impl Device {
    /// One that connects at `due`.
    pub fn new(index: u32, behaviour: Behaviour, due: u64) -> Device {
        Device {
            index,
            household: 1,
            // Neighbours must not be each other's neighbours in the tone code.
            id: (index as u16).wrapping_mul(40_503).wrapping_add(1),
            behaviour,
            phase: Phase::Away,
            stream: None,
            tls: None,
            part: Vec::new(),
            unsent: Vec::new(),
            timer: NEVER,
            action: due,
            patience: NEVER,
            due,
            opened: 0,
            secured_from: 0,
            listen_from: NEVER,
            sent: 0,
            lead: 0,
            utterance: 0,
            speech_end: 0,
            is_owed: false,
            counts: false,
            is_named: false,
            reply: Reply::default(),
            first_audio: None,
            aborted: 0,
            turns: 0,
            is_stopped: false,
            sample: Vec::new(),
            is_sampled: false,
            ticket: None,
            reply_ms: 60,
            reply_rate: 24_000,
        }
    }

    /// When its next packet leaves; [`NEVER`] while its microphone is closed.
    pub fn next_packet(&self, packet_ns: u64) -> u64 {
        match self.listen_from {
            NEVER => NEVER,
            from => from + packet_ns * (u64::from(self.sent) + 1),
        }
    }

    /// When it must be looked at next.
    pub fn next(&self, packet_ns: u64) -> u64 {
        self.next_packet(packet_ns).min(self.action).min(self.patience)
    }

    /// Its MAC address.
    pub fn mac(&self) -> String {
        let [a, b, c, d] = self.index.to_be_bytes();
        let household = self.household.wrapping_add(15);
        format!("02:{household:02x}:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    /// Its UUID.
    pub fn uuid(&self) -> String {
        format!("766f786c-616e-4c6f-8061-{:04x}{:08x}", self.household, self.index)
    }

    /// Forgets the connection and everything that belonged to it.
    pub fn drop_connection(&mut self) {
        self.stream = None;
        self.part = Vec::new();
        self.unsent = Vec::new();
        self.sample = Vec::new();
        self.listen_from = NEVER;
        self.patience = NEVER;
        self.action = NEVER;
        (self.is_owed, self.is_stopped, self.aborted) = (false, false, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_small_and_has_a_name_of_its_own() {
        assert!(size_of::<Device>() <= 384, "{}", size_of::<Device>());
        let device = |i| Device::new(i, Behaviour::Talk, 0);
        let other = Device { household: 2, ..device(258) };
        assert_eq!(other.mac(), "02:11:00:00:01:02");
        assert_ne!(other.uuid(), device(258).uuid());
        assert_eq!((device(258).mac(), device(1).uuid().len()), ("02:10:00:00:01:02".into(), 36));
        let ids: std::collections::BTreeSet<u16> = (0..65_536).map(|i| device(i).id).collect();
        assert_eq!(ids.len(), 65_536);
    }

    #[test]
    fn the_earliest_of_its_duties_comes_first() {
        let mut device = Device::new(0, Behaviour::Talk, 500);
        assert_eq!(device.next(60), 500);
        (device.action, device.listen_from, device.sent) = (NEVER, 1_000, 2);
        assert_eq!(device.next(60), 1_180);
        device.patience = 1_100;
        assert_eq!(device.next(60), 1_100);
    }
}
