//! What was said before, said again. It spares a call while providers are well; when none is, it is a rung of the ladder: above
//! text alone, below everybody who could have spoken.

use super::{Chain, Line};
use crate::audio::phrase::EncodedSpeech;
use crate::ids::Ticket;
use crate::job::Speak;
use crate::providers::{Call, Keeping, Synthesiser};
use crate::resilience::ladder::Rung;
use crate::time::Instant;
use crate::workers::shelf::{Key, Shelf};
use std::sync::Arc;

impl<P: ?Sized> Line<P> {
    /// Has what its providers say kept on that shelf. Once; before the first call.
    pub fn keep_on(&self, shelf: Arc<Shelf>) {
        let _ = self.shelf.set(shelf);
    }

    /// The sentence in the voice of one of those.
    fn key(&self, i: usize, what: &Speak) -> Option<Key> {
        self.members[i].spec.voice.clone().map(|voice| Key::new(voice, what))
    }

    /// Who would be asked now, and is not being left to recover.
    fn speaker(&self, ticket: Ticket, now: Instant) -> Option<usize> {
        self.order(ticket, now).into_iter().find(|&i| self.members[i].gate.is_up(now))
    }

    /// Whether every provider has been failing: what is said now is said without them.
    fn is_down(&self, now: Instant) -> bool {
        self.members.iter().all(|member| member.gate.state(now) != 0)
    }

    /// The sentence in anybody's voice.
    fn said_by_any(&self, what: &Speak, ticket: Ticket, now: Instant) -> Option<Arc<EncodedSpeech>> {
        let order = self.order(ticket, now);
        self.shelf.get()?.find_any(order.into_iter().filter_map(|i| self.key(i, what)))
    }
}

impl Chain<dyn Synthesiser> {
    /// What is left when nobody has spoken: notes which rung that is.
    pub(super) fn fall_back(&mut self, what: &Speak, call: &Call) -> Rung {
        self.instead = self.line.said_by_any(what, call.ticket, call.clock.now());
        if self.instead.is_some() { Rung::Cached } else { Rung::Text }
    }
}

impl Keeping for Chain<dyn Synthesiser> {
    fn kept(&mut self, what: &Speak, call: &Call, takes_light: bool) -> Option<Arc<EncodedSpeech>> {
        let (line, now) = (&self.line, call.clock.now());
        let speaker = line.speaker(call.ticket, now);
        let speech = match speaker {
            Some(speaker) => {
                let speech = line.shelf.get()?.find(&line.key(speaker, what)?, takes_light)?;
                line.keep_voice(call.ticket, speaker);
                speech
            }
            None => line.said_by_any(what, call.ticket, now)?,
        };
        if speaker.is_none() || line.is_down(now) {
            line.note(Rung::Cached);
        }
        Some(speech)
    }

    fn instead(&mut self) -> Option<Arc<EncodedSpeech>> {
        self.instead.take()
    }

    fn keep(&mut self, what: &Speak, speech: EncodedSpeech, is_light: bool) {
        let Some(speaker) = self.spoke.take() else { return };
        if let Some((shelf, key)) = self.line.shelf.get().zip(self.line.key(speaker, what)) {
            shelf.keep(key, speech, is_light);
        }
    }
}
