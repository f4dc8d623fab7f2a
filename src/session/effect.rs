//! What a session wants done. The shard performs effects in order.

use super::record::Operation;
use crate::format::Lang;
use crate::ids::TurnId;
use crate::job::{Cancel, Job, Stage};
use crate::resilience::fault::Cause;
use crate::time::{Duration, Instant};
use crate::wire::message::ServerMessage;

/// One thing to do.
#[derive(Debug)]
pub enum Effect {
    /// Send a control message.
    Send(ServerMessage),
    /// Send the reply packet that stands at `start..start + len` of [`Effects::bytes`].
    Packet {
        /// Where it begins.
        start: u32,
        /// How long it is, bytes.
        len: u32,
        /// Position on the reply's playback clock, ms: the timestamp of v2 framing.
        timestamp_ms: u32,
        /// When it was due.
        due: Instant,
    },
    /// Hand a job to the pool of its stage.
    Submit(Job),
    /// Blocks of the current utterance wait: call [`super::Session::pour`] with room in the lane.
    Pour,
    /// Take a job back.
    Cancel(Cancel),
    /// Bring back what is known of the device.
    Recall,
    /// Write down a change of its dialogue that belongs to this turn; turn 0 is none.
    Persist(TurnId, Operation),
    /// Drop queued, unsent audio of this connection: the reply it belongs to is over.
    DropAudio,
    /// A milestone of the turn, `since` its end of speech.
    Mark(Milestone, Duration),
    /// Count something.
    Count(Count),
    /// Something for the log.
    Note(Note),
    /// Send Close with this code and close the socket.
    Close(u16, &'static str),
}

/// Effects of one call, in order, and the bytes of their packets. One per shard, reused: no allocation in steady state.
#[derive(Debug, Default)]
pub struct Effects {
    /// In order.
    pub list: Vec<Effect>,
    /// Bytes of the packets.
    pub bytes: Vec<u8>,
}

impl Effects {
    /// Adds one.
    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    /// Adds a message.
    pub fn send(&mut self, message: ServerMessage) {
        self.list.push(Effect::Send(message));
    }

    /// Adds a packet, copying its bytes.
    pub fn packet(&mut self, packet: &[u8], timestamp_ms: u32, due: Instant) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(packet);
        self.list.push(Effect::Packet { start, len: packet.len() as u32, timestamp_ms, due });
    }

    /// Forgets all, keeps the room.
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
    }
}

/// Named instants of a turn (`lexicon.md` 2.8); each is reported once, as the time since end of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Milestone {
    /// Endpointing's verdict.
    EndOfUtterance,
    /// Recognition is done.
    FinalTranscript,
    /// The model's first token.
    FirstToken,
    /// The first sentence is complete.
    FirstSentence,
    /// The first reply packet is ready to send (decision 3).
    FirstAudioReady,
    /// The first reply packet was sent.
    FirstAudio,
    /// The reply has been played.
    ReplyEnd,
}

/// Things a session counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Count {
    /// Audio before the first hello or listen, or while it does not matter.
    EarlyAudio,
    /// Audio while we think or speak in auto and manual mode.
    IgnoredAudio,
    /// A packet the ear refused.
    BadPacket,
    /// A packet decoded.
    FrameDecoded,
    /// A message that had no meaning in this phase.
    IgnoredMessage,
    /// A second hello.
    SecondHello,
    /// An onset.
    Onset,
    /// An onset that was no speech.
    FalseStart,
    /// An outcome of a turn that is over.
    LateOutcome,
    /// Blocks that entered the audio queue.
    BlocksQueued(u32),
    /// Blocks lost to a bound of the audio queue.
    BlocksDropped(u32),
    /// The reply ran dry while playing.
    Underrun,
    /// Text that did not fit the reply's bound.
    ReplyCut,
    /// A `tts stop` that had to say that its turn is not durable.
    StopNotDurable,
}

/// Something for the structured log.
#[derive(Debug)]
pub enum Note {
    /// A turn began with an utterance or text.
    TurnStarted(TurnId),
    /// What was understood.
    Heard(TurnId, String, Option<Lang>),
    /// A turn ended.
    TurnEnded(TurnId, TurnEnd),
    /// A job failed.
    JobFailed(TurnId, Stage, Cause, Box<str>),
    /// A device's tool message while tools are not used.
    Ignored(&'static str),
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnEnd {
    /// All was said.
    Complete,
    /// Nothing was recognised.
    Empty,
    /// The device asked for silence.
    Aborted,
    /// The user spoke over us.
    BargeIn,
    /// A service failed; the apology was spoken or shown.
    Failed(Stage, Cause),
    /// The connection ended.
    Closed,
}

impl TurnEnd {
    /// The word for it in the log and on the operator's page.
    pub const fn name(self) -> &'static str {
        match self {
            TurnEnd::Complete => "complete",
            TurnEnd::Empty => "empty",
            TurnEnd::Aborted => "aborted",
            TurnEnd::BargeIn => "barge-in",
            TurnEnd::Failed(..) => "failed",
            TurnEnd::Closed => "closed",
        }
    }
}
