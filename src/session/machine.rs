//! The session's machine: phases, and the one table that says what each event means in each.

use super::{Effects, Event};
use crate::audio::ear::EarPool;
use crate::audio::pcm::PcmBlock;
use crate::audio::phrase::Phrasebook;
use crate::format::Lang;
use crate::ids::{SessionId, Ticket};
use crate::time::{Duration, Instant};
use std::sync::Arc;

/// What a session may use while it handles one event: the shard's, lent for the call.
pub struct Kit<'a> {
    /// Where effects go.
    pub effects: &'a mut Effects,
    /// Ears, lent while listening.
    pub ears: &'a mut EarPool,
    /// Our own sentences.
    pub phrases: &'a Phrasebook,
}

/// Timers of a session, one meaning each. The frame timer is the urgent one: shards fire it before new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// No hello came.
    Hello,
    /// A reply packet is due.
    Frame,
    /// The reply has been played: `tts stop`.
    Stop,
    /// The turn's budget, or a stage's deadline, is used up.
    Turn,
    /// An open utterance gets no audio any more.
    Stall,
    /// Nobody spoke: farewell.
    Idle,
}

/// The session's rules, from the configuration; one immutable copy for all.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Time without speech after which we say goodbye; zero is never.
    pub idle: Duration,
    /// How far ahead of the playhead we send, ms.
    pub lead_ms: u32,
    // The room adds what it needs.
}

/// One device's conversation. Skeleton: the room fills it in.
pub struct Session {}

#[allow(unused_variables)]
impl Session {
    /// A session whose connection has been upgraded at `now`; the hello is awaited. `base` is the return address, its turn 0.
    pub fn new(rules: Arc<Rules>, id: SessionId, base: Ticket, language: Option<Lang>, now: Instant) -> Session {
        todo!()
    }

    /// Takes news.
    pub fn handle(&mut self, now: Instant, event: Event<'_>, kit: &mut Kit<'_>) {
        todo!()
    }

    /// Called when `poll_timeout`'s instant has come (later is fine, earlier does nothing).
    pub fn handle_timeout(&mut self, now: Instant, kit: &mut Kit<'_>) {
        todo!()
    }

    /// The next instant this session wants to be called at, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        todo!()
    }

    /// Moves waiting audio of the utterance into the lane until `sink` says no. Returns whether all has gone.
    pub fn pour(&mut self, sink: &mut dyn FnMut(&PcmBlock) -> bool) -> bool {
        todo!()
    }

    /// Whether text of the reply can be taken; if not, leave it in the lane (back-pressure to the model).
    pub fn has_room(&self) -> bool {
        todo!()
    }

    /// The connection is gone: gives everything back, cancels what runs. Last call.
    pub fn close(&mut self, now: Instant, kit: &mut Kit<'_>) {
        todo!()
    }
}
