//! A session's ear: everything between an uplink packet and the edges of an utterance. Exists only while a session listens,
//! taken from the shard's [`EarPool`] and given back, so that an idle device holds no codec state.

use super::endpoint::EndpointRules;
use super::pcm::PcmBlock;
use super::queue::{AudioQueue, QueueTotals};
use super::vad::Engine;
use crate::format::UplinkFormat;
use crate::ids::Ticket;
use crate::time::Duration;

/// How the ear listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// Find the utterance's end by silence (auto and realtime).
    Endpointed,
    /// Everything until [`Ear::finish`] is the utterance (manual).
    Manual,
}

/// What a packet brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Audio in the packet, ms rounded down.
    pub ms: u32,
    /// Whether the last window of it was voice.
    pub voiced: bool,
    /// A border that was crossed within it.
    pub edge: Option<Edge>,
}

/// Borders of an utterance. After `Onset` blocks are waiting to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// We believe that somebody speaks; the pre-roll and what follows are the utterance.
    Onset,
    /// It was too short to be speech: forget the utterance, no turn.
    FalseStart,
    /// The utterance is over.
    End(Utterance),
}

/// What is known of a finished utterance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utterance {
    /// Voiced time within it.
    pub voiced: Duration,
    /// Its whole length with pre-roll and tail.
    pub length: Duration,
    /// Audio time between the last voiced sample and the verdict: what endpointing cost.
    pub wait: Duration,
    /// It was cut because it reached its longest duration.
    pub cut: bool,
}

/// Why a packet was not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketFault {
    /// Not an Opus packet, or one the decoder refuses.
    Undecodable,
    /// PCM with half a sample, or longer than a packet may be.
    Length,
}

/// A session's ear. Skeleton: the room fills it in.
pub struct Ear {
    #[allow(dead_code)]
    queue: AudioQueue,
}

#[allow(unused_variables)]
impl Ear {
    /// Starts anew: forgets utterance, pre-roll, decoder state and noise floor is kept. `mute` is audio time for which voice is
    /// ignored (the tail of a wake word).
    pub fn restart(&mut self, listening: Listening, mute: Duration) {
        todo!()
    }

    /// Takes one packet. An empty one is heard as nothing.
    pub fn hear(&mut self, packet: &[u8]) -> Result<Heard, PacketFault> {
        todo!()
    }

    /// Ends the utterance now (manual stop, length cap, stalled device): `None` when too little voice was in it.
    pub fn finish(&mut self) -> Option<Utterance> {
        todo!()
    }

    /// Moves waiting blocks of the utterance to `sink` until it is empty or `sink` says no; stamps them with `ticket`. The last
    /// block of a finished utterance has `last` set. Returns whether everything that is waiting has gone.
    pub fn pour(&mut self, ticket: Ticket, sink: &mut dyn FnMut(&PcmBlock) -> bool) -> bool {
        todo!()
    }

    /// Plays the utterance's kept audio from its start again: the next [`Ear::pour`] begins with it (recognition failed, try
    /// another). `false` if it is not kept any more.
    pub fn rewind(&mut self) -> bool {
        todo!()
    }

    /// What the queue counted since the last call: received, processed, dropped.
    pub fn take_totals(&mut self) -> QueueTotals {
        todo!()
    }
}

/// Ears of a shard, lent to sessions that listen.
pub struct EarPool {
    #[allow(dead_code)]
    engine: Engine,
    #[allow(dead_code)]
    rules: EndpointRules,
}

#[allow(unused_variables)]
impl EarPool {
    /// A pool that keeps up to `spare` unused ears.
    pub fn new(engine: Engine, rules: EndpointRules, spare: usize) -> EarPool {
        todo!()
    }

    /// Lends an ear, reset for the format.
    pub fn take(&mut self, format: UplinkFormat) -> Box<Ear> {
        todo!()
    }

    /// Takes one back.
    pub fn give_back(&mut self, ear: Box<Ear>) {
        todo!()
    }
}
