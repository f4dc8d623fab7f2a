//! Hearing for a recogniser that takes a device's packets as they are: no sample is made that only it would want.
//!
//! The detectors still want some, but not all. Quiet by the packet's own encoder is quiet. In the middle of a clear voice packets
//! are *trusted* for up to [`TRUSTED_MS`]: they go on unheard, and the next one is decoded. If there is voice in it, they were a
//! part of it. If not, the ear goes back and hears them all: speech that has ended is found late, but where it ended, and as the
//! pause that ends an utterance is longer than that, no end comes later for it.

use super::{Ear, Edge, Found, Heard, Listening, PacketFault, Stage, endpoint, opus};
use crate::audio::block::{self, PACKET_BYTES_MAX};
use crate::audio::endpoint::Border;
use crate::audio::vad::{Engine, WINDOW};
use crate::format::Codec;

/// Bytes on the shelf of an ear that relays: all packets of a pre-roll, at up to 100 kbit/s, and four of the longest.
pub const SHELF_BYTES: usize = 4 * PACKET_BYTES_MAX;
/// Most voice that is trusted at a time: three packets of 60 ms.
const TRUSTED_MS: u32 = 180;
/// Samples not heard before a packet that is, which the detectors hear after all: what they look back on (128 ms).
const LEAD: u32 = 2_048;
/// Windows in the longest packet, with what was left of the one before.
const WINDOWS_MAX: usize = super::PACKET_SAMPLES / WINDOW + 1;

/// What an ear that relays remembers.
pub struct Relay {
    /// Its pool relays.
    may: bool,
    /// It does.
    pub is_on: bool,
    /// Samples of the utterance that are trusted to be voice.
    trusted: u32,
    /// Samples not heard that make no whole window.
    owed: u32,
    /// A packet as it is queued; kept for its memory.
    words: Vec<i16>,
}

impl Relay {
    /// Off until it is tuned.
    pub fn new(may: bool) -> Relay {
        Relay { may, is_on: false, trusted: 0, owed: 0, words: Vec::new() }
    }

    /// Only Opus is passed on as it came; says whether.
    pub fn tune(&mut self, codec: Codec) -> bool {
        self.is_on = self.may && codec == Codec::Opus;
        self.is_on
    }

    /// Another utterance.
    pub fn forget(&mut self) {
        (self.trusted, self.owed) = (0, 0);
    }
}

/// What was found in a packet, and whether it was decoded for it.
struct Judged {
    found: Found,
    is_heard: bool,
}

impl Ear {
    /// As [`Ear::hear`].
    pub(super) fn hear_relayed(&mut self, packet: &[u8]) -> Result<Heard, PacketFault> {
        let samples = opus::packet_samples(packet, 16_000).map_err(|_| PacketFault::Undecodable)? as u32;
        if packet.len() > PACKET_BYTES_MAX {
            return Err(PacketFault::Length);
        }
        let ms = samples / 16;
        if self.stage == Stage::Over {
            return Ok(Heard { ms, voiced: false, edge: None });
        }
        let muted = self.mute > 0;
        let Judged { found, is_heard } = self.judge(packet, samples)?;
        let edge = match self.listening {
            Listening::Endpointed => {
                if !muted {
                    self.shelve(packet, samples, is_heard);
                }
                self.follow_relayed(packet, samples, found)
            }
            Listening::Manual => {
                self.queue_packet(packet, samples);
                self.follow_button()
            }
        };
        Ok(Heard { ms, voiced: found.voiced, edge })
    }

    /// What there is in a packet, found out as cheaply as may be.
    fn judge(&mut self, packet: &[u8], samples: u32) -> Result<Judged, PacketFault> {
        let may_skip = self.listening == Listening::Endpointed && self.vad.engine() == Engine::Auto && self.mute == 0;
        let is_onset_near = self.stage == Stage::Waiting && self.endpoint.is_voice();
        if may_skip && !is_onset_near && opus::is_quiet(packet) {
            let found = self.settle();
            return Ok(Judged { found: self.pass(found, 0.0, samples), is_heard: false });
        }
        if may_skip && self.is_trusted(packet, samples) {
            self.relay.trusted += samples;
            return Ok(Judged { found: Found { border: None, voiced: true, after: 0 }, is_heard: false });
        }
        if self.relay.trusted > 0 {
            return Ok(Judged { found: self.confirm(packet)?, is_heard: true });
        }
        self.catch_up();
        self.decode(packet)?;
        Ok(Judged { found: self.detect(), is_heard: true })
    }

    fn is_trusted(&self, packet: &[u8], samples: u32) -> bool {
        let most = TRUSTED_MS.min(self.rules.silence_ms / 2);
        self.endpoint.is_speaking()
            && self.vad.is_sure()
            && opus::is_voiced(packet)
            && self.relay.trusted + samples <= endpoint::samples(most)
    }

    /// Hears a packet after some that were trusted: they were right, or are heard too.
    fn confirm(&mut self, packet: &[u8]) -> Result<Found, PacketFault> {
        self.source.mark();
        let dc = self.dc;
        self.relay.owed += self.vad.pending() as u32;
        self.vad.skip();
        self.vad.doubt();
        self.decode(packet)?;
        let (mut scores, mut windows) = ([0.0; WINDOWS_MAX], 0);
        self.vad.hear(&self.pcm, |window| {
            if let Some(score) = scores.get_mut(windows) {
                *score = window.score;
                windows += 1;
            }
        });
        let scores = &scores[..windows];
        if scores.iter().any(|&score| score >= self.rules.stay_threshold) {
            let trusted = std::mem::take(&mut self.relay.trusted);
            let found = self.pass(Found::default(), 1.0, trusted);
            self.shelf.mark_heard();
            return Ok(self.follow_scores(found, scores, self.pcm.len() as u32));
        }
        self.source.go_back();
        self.dc = dc;
        self.vad.skip();
        let found = self.settle();
        self.decode(packet)?;
        Ok(self.follow_scores(found, scores, self.pcm.len() as u32))
    }

    /// Hears what was trusted, one by one.
    pub(super) fn settle(&mut self) -> Found {
        let mut all = Found::default();
        if std::mem::take(&mut self.relay.trusted) == 0 {
            return all;
        }
        for nth in self.shelf.unheard() {
            let samples = self.shelf.samples_of(nth);
            all.after += if all.border.is_some() { samples } else { 0 };
            if !self.decode_shelved(nth) || all.border.is_some() {
                continue;
            }
            all = self.detect();
        }
        self.shelf.mark_heard();
        all
    }

    /// Lets the detectors hear the last moments of what was passed over.
    fn catch_up(&mut self) {
        let unheard = self.shelf.unheard();
        if unheard.is_empty() {
            return;
        }
        self.relay.owed += self.vad.pending() as u32;
        self.vad.skip();
        for nth in self.shelf.newest(LEAD).start.max(unheard.start)..unheard.end {
            if self.decode_shelved(nth) {
                self.vad.hear(&self.pcm, |_| {});
            }
        }
        self.relay.owed = self.relay.owed.saturating_sub(self.vad.pending() as u32);
        self.shelf.mark_heard();
    }

    fn decode(&mut self, packet: &[u8]) -> Result<(), PacketFault> {
        self.pcm.clear();
        self.source.read(packet, &mut self.pcm)?;
        if self.is_tuned() {
            self.dc.process(&mut self.pcm);
        }
        Ok(())
    }

    fn decode_shelved(&mut self, nth: usize) -> bool {
        let mut packet = std::mem::take(&mut self.packet);
        self.shelf.read(nth, &mut packet);
        let is_decoded = self.decode(&packet).is_ok();
        self.packet = packet;
        is_decoded
    }

    /// Goes on by so many samples, all of that score, after what was found before.
    fn pass(&mut self, found: Found, score: f32, samples: u32) -> Found {
        self.relay.owed += samples;
        let windows = self.relay.owed / WINDOW as u32;
        self.relay.owed %= WINDOW as u32;
        self.follow(found, (0..windows).map(|_| score), samples)
    }

    fn follow_scores(&mut self, found: Found, scores: &[f32], samples: u32) -> Found {
        self.follow(found, scores.iter().copied(), samples)
    }

    /// Takes windows that together are about so many samples.
    fn follow(&mut self, mut found: Found, scores: impl Iterator<Item = f32>, samples: u32) -> Found {
        if matches!(found.border, Some(Border::FalseStart | Border::End)) {
            return Found { voiced: false, after: found.after + samples, ..found };
        }
        let mut left = samples;
        for score in scores {
            left = left.saturating_sub(WINDOW as u32);
            let border = self.endpoint.window(score, WINDOW as u32);
            found.voiced = self.endpoint.is_voice();
            if border.is_some() {
                found = Found { border, voiced: false, after: left };
                break;
            }
        }
        found
    }

    /// The newest packet, for the pre-roll and for whoever wants to hear it later.
    fn shelve(&mut self, packet: &[u8], samples: u32, is_heard: bool) {
        self.shelf.push(packet, samples as u16);
        if is_heard {
            self.shelf.mark_heard();
        }
    }

    /// As `follow_borders`, with packets in place of samples.
    fn follow_relayed(&mut self, packet: &[u8], samples: u32, found: Found) -> Option<Edge> {
        match (self.stage, found.border) {
            (Stage::Waiting, Some(Border::Onset)) => {
                self.queue_shelf(found.after);
                self.stage = Stage::Open;
                Some(Edge::Onset)
            }
            (Stage::Open, border) => {
                self.queue_packet(packet, samples);
                match border {
                    Some(Border::End) => Some(Edge::End(self.end(found.after, false))),
                    Some(Border::FalseStart) => Some(self.false_start()),
                    _ => self.cut_if_long(found.after),
                }
            }
            _ => None,
        }
    }

    /// The utterance begins: all packets in which there is something of the time from `preroll_ms` before its first voice.
    fn queue_shelf(&mut self, after: u32) {
        let wanted = endpoint::samples(self.rules.preroll_ms + self.rules.onset_ms) + after;
        let mut packet = std::mem::take(&mut self.packet);
        for nth in self.shelf.newest(wanted) {
            self.shelf.read(nth, &mut packet);
            self.queue_packet(&packet, self.shelf.samples_of(nth));
        }
        self.packet = packet;
    }

    fn queue_packet(&mut self, packet: &[u8], samples: u32) {
        block::pack(packet, &mut self.relay.words);
        self.queue.push(&self.relay.words);
        self.length += samples;
    }
}
