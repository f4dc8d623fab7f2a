//! A session's ear: everything between an uplink packet and the edges of an utterance. Exists only while a session listens,
//! taken from the shard's [`EarPool`] and given back, so that an idle device holds no codec state.
//!
//! ```text
//!   packet -> opus, or pcm -> resample -> 16 kHz -> dc block -> vad -> endpoint -> edge
//!                                                         \-> gain -> preroll (until the onset) -> queue -> AudioBlocks
//! ```
//!
//! While nobody speaks, packets in which their encoder found no voice are put on a shelf as they are, and decoded only when one
//! comes in which it did: then they are the pre-roll. Where the recogniser takes packets as they are, most of an utterance need
//! not be decoded either (`relay`).
//!
//! An ear has 60 KiB (measured in `tests/ear_alloc.rs`, which also shows that hearing allocates nothing): pre-roll 19, decoder
//! 18, detectors 12, room for packets 8, shelf 2. The first utterance adds 190 KiB for its audio; a longer one than 6 s doubles
//! that until the ear is given back. A PCM uplink at another rate than 16 kHz adds a resampler of about 30.

use super::block::AudioBlock;
use super::dsp::{DcBlock, Gain, GainRules};
use super::endpoint::{self, Border, Endpoint, EndpointRules, VoicedMeter};
use super::opus;
use super::preroll::Preroll;
use super::queue::{AudioQueue, Budget, QueueRules, QueueTotals};
use super::shelf::Shelf;
use super::vad::{Engine, Vad, WINDOW};
use crate::format::{Codec, UplinkFormat};
use crate::ids::Ticket;
use crate::limits;
use crate::time::Duration;
use relay::Relay;
use source::Source;
use std::sync::Arc;

mod relay;
mod source;

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
    /// We believe that somebody speaks; the pre-roll and what follows are the utterance. In manual mode all since the start is.
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

/// A session's ear.
pub struct Ear {
    rules: EndpointRules,
    source: Source,
    /// The packet's samples at 16 kHz.
    pcm: Vec<i16>,
    dc: DcBlock,
    gain: Gain,
    vad: Vad,
    endpoint: Endpoint,
    meter: VoicedMeter,
    preroll: Preroll,
    shelf: Shelf,
    relay: Relay,
    /// A packet off the shelf; kept for its memory.
    packet: Vec<u8>,
    queue: AudioQueue,
    listening: Listening,
    /// Samples for which voice is still ignored.
    mute: u32,
    stage: Stage,
    /// Samples of the utterance so far.
    length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No onset yet.
    Waiting,
    /// Between onset and end.
    Open,
    /// The utterance has ended; what comes is heard and forgotten until [`Ear::restart`].
    Over,
}

/// What the detector found in a packet.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    border: Option<Border>,
    voiced: bool,
    /// Samples of the packet after the window of the border; without one, after the last window.
    after: u32,
}

/// Longest packet, samples at 16 kHz: 120 ms.
const PACKET_SAMPLES: usize = 1_920;
/// A quiet packet off the shelf that needs no more memory: any that devices send.
const SHELVED_BYTES: usize = 512;
/// Bytes on the shelf: quiet packets have 10 to 80, and a pre-roll of 400 ms is seven of 60 ms.
const SHELF_BYTES: usize = 2_048;

impl Ear {
    fn new(engine: Engine, rules: EndpointRules, gain: GainRules, relays: bool, budget: Arc<Budget>) -> Ear {
        let rules = rules.bounded();
        let kept = endpoint::samples(rules.preroll_ms + rules.onset_ms) as usize + PACKET_SAMPLES;
        Ear {
            rules,
            source: Source::default(),
            pcm: Vec::with_capacity(2 * PACKET_SAMPLES),
            dc: DcBlock::default(),
            gain: Gain::new(gain),
            vad: Vad::new(engine),
            endpoint: Endpoint::new(rules),
            meter: VoicedMeter::default(),
            preroll: Preroll::new(kept),
            shelf: Shelf::new(kept as u32, if relays { relay::SHELF_BYTES } else { SHELF_BYTES }),
            relay: Relay::new(relays),
            packet: Vec::with_capacity(SHELVED_BYTES),
            queue: AudioQueue::new(QueueRules::default(), budget),
            listening: Listening::Endpointed,
            mute: 0,
            stage: Stage::Waiting,
            length: 0,
        }
    }

    /// Starts anew: forgets utterance and pre-roll; decoder state and what is known of the room's noise are kept. `mute` is audio
    /// time for which voice is ignored (the tail of a wake word).
    pub fn restart(&mut self, listening: Listening, mute: Duration) {
        self.listening = listening;
        self.mute = endpoint::samples(u32::try_from(mute.as_millis()).unwrap_or(u32::MAX));
        self.vad.restart();
        self.preroll.clear();
        self.shelf.clear();
        self.forget();
    }

    /// Takes one packet. An empty one is heard as nothing. After the utterance's end packets are only checked.
    pub fn hear(&mut self, packet: &[u8]) -> Result<Heard, PacketFault> {
        if packet.is_empty() {
            return Ok(Heard::default());
        }
        if self.relay.is_on {
            return self.hear_relayed(packet);
        }
        if let Some(samples) = self.spared(packet)? {
            return Ok(Heard { ms: samples / 16, voiced: false, edge: None });
        }
        self.clear_shelf();
        self.pcm.clear();
        let ms = self.source.read(packet, &mut self.pcm)?;
        if self.stage == Stage::Over {
            return Ok(Heard { ms, voiced: false, edge: None });
        }
        let muted = self.mute > 0;
        let tuned = self.is_tuned();
        if tuned {
            self.dc.process(&mut self.pcm);
        }
        let found = self.detect();
        if tuned {
            self.gain.process(&mut self.pcm);
        }
        let edge = match self.listening {
            Listening::Endpointed => self.follow_borders(found, muted),
            Listening::Manual => {
                self.take_packet();
                self.follow_button()
            }
        };
        Ok(Heard { ms, voiced: found.voiced, edge })
    }

    /// Samples of a packet that need not be decoded: nobody will hear it, or nobody speaks in it and it goes on the shelf.
    fn spared(&mut self, packet: &[u8]) -> Result<Option<u32>, PacketFault> {
        let is_opus = self.source.format.is_some_and(|format| format.codec == Codec::Opus);
        let is_over = self.stage == Stage::Over;
        let is_awaited = self.stage == Stage::Waiting
            && self.listening == Listening::Endpointed
            && self.vad.engine() == Engine::Auto
            && self.mute == 0
            && !self.endpoint.is_voice();
        if !is_opus || !(is_over || is_awaited && opus::is_quiet(packet)) {
            return Ok(None);
        }
        let samples = opus::packet_samples(packet, 16_000).map_err(|_| PacketFault::Undecodable)?;
        let is_spared = is_over || self.shelf.push(packet, samples as u16);
        Ok(is_spared.then_some(samples as u32))
    }

    /// Hears what is on the shelf, as the quiet that it is.
    fn clear_shelf(&mut self) {
        while self.shelf.pop(&mut self.packet) {
            self.pcm.clear();
            if self.source.read(&self.packet, &mut self.pcm).is_err() {
                continue;
            }
            self.dc.process(&mut self.pcm);
            let endpoint = &mut self.endpoint;
            self.vad.hear(&self.pcm, |_| {
                endpoint.window(0.0, WINDOW as u32);
            });
            self.gain.process(&mut self.pcm);
            self.preroll.push(&self.pcm);
        }
    }

    /// Ends the utterance now (manual stop, length cap, stalled device): `None` when too little voice was in it, and then it is
    /// forgotten. `Some` only after [`Edge::Onset`].
    pub fn finish(&mut self) -> Option<Utterance> {
        let was = self.stage;
        if was == Stage::Over || (was == Stage::Waiting && self.listening == Listening::Endpointed) {
            return None;
        }
        self.settle();
        if !self.is_speech() {
            self.forget();
            self.stage = Stage::Over;
            return None;
        }
        self.pcm.clear();
        self.source.flush(&mut self.pcm);
        if self.is_tuned() {
            self.gain.process(&mut self.pcm);
        }
        self.take_packet();
        Some(self.end(self.vad.pending() as u32, false))
    }

    /// Moves waiting blocks of the utterance to `sink` until it is empty or `sink` says no; stamps them with `ticket`. The last
    /// block of a finished utterance has `last` set. Returns whether everything that is waiting has gone. Before the onset
    /// nothing is.
    pub fn pour(&mut self, ticket: Ticket, sink: &mut dyn FnMut(&AudioBlock) -> bool) -> bool {
        if self.stage == Stage::Waiting {
            return true;
        }
        self.queue.get_batch(usize::MAX, ticket, sink);
        self.queue.is_drained()
    }

    /// Plays the utterance's kept audio from its start again: the next [`Ear::pour`] begins with it (recognition failed, try
    /// another). `false` if it is not kept any more.
    pub fn rewind(&mut self) -> bool {
        self.stage != Stage::Waiting && self.length > 0 && self.queue.rewind()
    }

    /// What the queue counted since the last call: received, processed, dropped.
    pub fn take_totals(&mut self) -> QueueTotals {
        self.queue.take_totals()
    }

    /// Whether samples are made pleasant on their way. With [`Engine::Level`] they pass as they came: a simulation finds its own
    /// again.
    fn is_tuned(&self) -> bool {
        self.vad.engine() != Engine::Level
    }

    /// Runs the detector over the packet.
    fn detect(&mut self) -> Found {
        let Ear { vad, endpoint, meter, gain, mute, pcm, listening, rules, .. } = self;
        let pending = vad.pending();
        let (mut found, mut windows, mut border_at) = (Found::default(), 0, None);
        vad.hear(pcm, |window| {
            windows += 1;
            if *mute > 0 {
                *mute = mute.saturating_sub(WINDOW as u32);
                return;
            }
            found.voiced = match listening {
                Listening::Manual => meter.window(rules, window.score, WINDOW as u32),
                // After an end the rest of the packet waits for nobody: a packet has one border.
                Listening::Endpointed if matches!(found.border, Some(Border::FalseStart | Border::End)) => false,
                Listening::Endpointed => {
                    let border = endpoint.window(window.score, WINDOW as u32);
                    if border.is_some() {
                        found.border = border;
                        border_at = Some(windows);
                    }
                    endpoint.is_voice()
                }
            };
            gain.hear(window.peak, found.voiced);
        });
        let heard = (border_at.unwrap_or(windows) * WINDOW).saturating_sub(pending);
        found.after = pcm.len().saturating_sub(heard) as u32;
        found
    }

    fn follow_borders(&mut self, found: Found, muted: bool) -> Option<Edge> {
        // The tail of a wake word must not come back as the first word of the utterance.
        if !muted {
            self.preroll.push(&self.pcm);
        }
        match (self.stage, found.border) {
            (Stage::Waiting, Some(Border::Onset)) => {
                self.take_preroll(found.after);
                self.stage = Stage::Open;
                Some(Edge::Onset)
            }
            (Stage::Open, border) => {
                self.take_packet();
                match border {
                    Some(Border::End) => Some(Edge::End(self.end(found.after, false))),
                    Some(Border::FalseStart) => Some(self.false_start()),
                    _ => self.cut_if_long(found.after),
                }
            }
            _ => None,
        }
    }

    fn follow_button(&mut self) -> Option<Edge> {
        if self.stage == Stage::Waiting && self.has_onset_voice() {
            self.stage = Stage::Open;
            return Some(Edge::Onset);
        }
        self.cut_if_long(self.vad.pending() as u32)
    }

    /// An utterance that would pass its longest duration with the next packet ends here.
    fn cut_if_long(&mut self, after: u32) -> Option<Edge> {
        if self.length + PACKET_SAMPLES as u32 <= endpoint::samples(self.rules.longest_ms) {
            return None;
        }
        if self.is_speech() {
            return Some(Edge::End(self.end(after, true)));
        }
        if self.stage == Stage::Waiting {
            // A button held without a word: the oldest silence is of no use to anybody.
            self.forget();
            return None;
        }
        Some(self.false_start())
    }

    fn false_start(&mut self) -> Edge {
        self.forget();
        Edge::FalseStart
    }

    fn end(&mut self, after: u32, cut: bool) -> Utterance {
        let (voiced, silence) = match self.listening {
            Listening::Endpointed => (self.endpoint.voiced(), self.endpoint.silence()),
            Listening::Manual => (self.meter.voiced(), self.meter.silence()),
        };
        self.queue.finish();
        self.stage = Stage::Over;
        let (voiced, length, wait) = (duration(voiced), duration(self.length), duration(silence + after));
        Utterance { voiced, length, wait, cut }
    }

    /// Forgets the utterance and waits for another.
    fn forget(&mut self) {
        self.queue.clear();
        self.endpoint.restart();
        self.meter = VoicedMeter::default();
        self.stage = Stage::Waiting;
        self.length = 0;
        self.relay.forget();
    }

    /// The utterance begins: all from `preroll_ms` before its first voice.
    fn take_preroll(&mut self, after: u32) {
        let wanted = endpoint::samples(self.rules.preroll_ms + self.rules.onset_ms) + after;
        let (older, newer) = self.preroll.newest(wanted as usize);
        self.queue.push(older);
        self.queue.push(newer);
        self.length = (older.len() + newer.len()) as u32;
    }

    fn take_packet(&mut self) {
        self.queue.push(&self.pcm);
        self.length += self.pcm.len() as u32;
    }

    fn is_speech(&self) -> bool {
        let (voiced, onset) = match self.listening {
            Listening::Endpointed => (self.endpoint.voiced(), true),
            Listening::Manual => (self.meter.voiced(), self.stage == Stage::Open),
        };
        onset && self.endpoint.is_speech(voiced)
    }

    /// In manual mode the onset need not be in one piece, and never comes after what makes an utterance.
    fn has_onset_voice(&self) -> bool {
        let needed = self.rules.onset_ms.min(self.rules.voiced_min_ms);
        self.meter.voiced() >= endpoint::samples(needed)
    }

    /// Made ready for another session.
    fn retune(&mut self, format: UplinkFormat, gain: GainRules) {
        self.source.tune(format);
        let is_relayed = self.relay.tune(format.codec);
        self.queue.begin(if is_relayed { Codec::Opus } else { Codec::Pcm });
        self.dc = DcBlock::default();
        self.gain = Gain::new(gain);
        self.vad.reset();
        self.restart(Listening::Endpointed, Duration::ZERO);
        self.queue.take_totals();
    }
}

fn duration(samples: u32) -> Duration {
    Duration::from_micros(u64::from(samples) * 1_000 / 16)
}

/// Ears of a shard, lent to sessions that listen.
pub struct EarPool {
    engine: Engine,
    rules: EndpointRules,
    gain: GainRules,
    relays: bool,
    budget: Arc<Budget>,
    // Boxed, because they are lent in their box.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Ear>>,
    spare_max: usize,
}

impl EarPool {
    /// A pool that keeps up to `spare` unused ears, with a budget of its own ([`limits::AUDIO_BUDGET_BYTES`]) and default gain.
    /// Makes nothing yet.
    pub fn new(engine: Engine, rules: EndpointRules, spare: usize) -> EarPool {
        EarPool {
            engine,
            rules,
            gain: GainRules::default(),
            relays: false,
            budget: Budget::new(limits::AUDIO_BUDGET_BYTES),
            spare: Vec::new(),
            spare_max: spare,
        }
    }

    /// The same pool with a budget that all pools of the process share.
    pub fn with_budget(mut self, budget: Arc<Budget>) -> EarPool {
        self.budget = budget;
        self
    }

    /// The same pool with other gain.
    pub fn with_gain(mut self, gain: GainRules) -> EarPool {
        self.gain = gain;
        self
    }

    /// The same pool, whose ears pass an Opus device's packets on as they came instead of the samples in them, if so. Then
    /// samples are made only where the detectors need some, and no gain is applied.
    pub fn with_relay(mut self, relays: bool) -> EarPool {
        self.relays = relays;
        self
    }

    /// Lends an ear, reset for the format: 28 µs, nearly all of it the decoder's reset; 60 µs where one must be made.
    pub fn take(&mut self, format: UplinkFormat) -> Box<Ear> {
        let mut ear = match self.spare.pop() {
            Some(ear) => ear,
            None => Box::new(Ear::new(self.engine, self.rules, self.gain, self.relays, self.budget.clone())),
        };
        ear.retune(format, self.gain);
        ear
    }

    /// Takes one back.
    // The pool keeps it in its box; moving 2 KiB in and out would be the alternative.
    #[allow(clippy::boxed_local)]
    pub fn give_back(&mut self, mut ear: Box<Ear>) {
        ear.forget();
        ear.queue.shrink();
        if self.spare.len() < self.spare_max {
            self.spare.push(ear);
        }
    }

    /// Bytes of audio held by all ears of the budget.
    pub fn bytes(&self) -> usize {
        self.budget.used()
    }
}

const _: () = {
    // A pool may be made before its shard's thread starts.
    const fn is_send<T: Send>() {}
    is_send::<EarPool>();
};
