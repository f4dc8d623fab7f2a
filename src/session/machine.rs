//! The session's machine: phases, and the one table that says what each event means in each.

use super::timers::Timer;
use super::{Effects, Event, Rules};
use crate::audio::ear::EarPool;
use crate::audio::pcm::PcmBlock;
use crate::audio::phrase::Phrasebook;
use crate::format::Lang;
use crate::ids::{SessionId, Ticket, TurnId};
use crate::job::Outcome;
use crate::time::Instant;
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

    /// Whether this outcome of the turn can be taken now; if not, leave it in the lane (back-pressure to the worker). Final
    /// outcomes and those of turns that are over can always be taken.
    pub fn has_room(&self, turn: TurnId, outcome: &Outcome) -> bool {
        todo!()
    }

    /// The connection is gone: gives everything back, cancels what runs. Last call.
    pub fn close(&mut self, now: Instant, kit: &mut Kit<'_>) {
        todo!()
    }
}
