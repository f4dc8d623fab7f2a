//! How a session remembers: what it is told of earlier conversations, and what it has written down of this one.
//!
//! ```text
//!   hello --> Recall ......> Recalled: the dialogue goes on, or is summed up if the device was away for long
//!   played to its end --> Persist ......> Written      `tts stop` waits for it, at most 50 ms beyond its time
//!   cut short         --> Persist, and `tts stop` at once, which then promises nothing
//! ```
//!
//! Only what was played is recorded as said. A reply is written down when its last sample has been played, which is 200 ms before
//! `tts stop` is due: a disk that works costs no waiting.

use super::dialogue::Bounds;
use super::effect::{Count, Effect};
use super::machine::{Kit, Session};
use super::record::{Durability, Operation, Remembered};
use super::turn::{Kept, Turn, Voice};
use crate::ids::TurnId;
use crate::limits;
use crate::time::{Instant, UnixMs};

impl Session {
    /// Asks for what is known of the device.
    pub(super) fn recall(&self, kit: &mut Kit<'_>) {
        if self.rules.durability != Durability::None {
            kit.effects.push(Effect::Recall);
        }
    }

    /// The device is known: its dialogue goes on. If that was long ago this is a new conversation, and what was said then becomes
    /// the summary, here and on the disk. Turns of this session, had it to begin without, come last.
    pub(super) fn on_recalled(&mut self, remembered: Remembered, kit: &mut Kit<'_>) {
        let Remembered { mut dialogue, age } = remembered;
        let meanwhile = self.dialogue.take();
        if age > self.rules.resume && dialogue.turns().len() != 0 {
            dialogue.fold_all();
            let keep = meanwhile.as_ref().map_or(0, |meanwhile| meanwhile.len() as u32);
            // In this order: should only the first be found again, nothing is forgotten.
            let fold = [Operation::Summary(dialogue.summary().to_owned()), Operation::Truncate(keep)];
            fold.into_iter().for_each(|operation| kit.effects.push(Effect::Persist(TurnId(0), operation)));
        }
        for turn in meanwhile.iter().flat_map(|meanwhile| meanwhile.turns()) {
            let (user, reply) = (turn.user.clone(), turn.reply.clone());
            dialogue.apply(turn.at, &Operation::Turn { user, reply, complete: turn.complete }, self.bounds());
        }
        self.dialogue = Some(Box::new(dialogue));
    }

    /// What became of a record.
    pub(super) fn on_written(&mut self, now: Instant, turn: TurnId, durable: bool, kit: &mut Kit<'_>) {
        let Some(voice) = self.turn.as_mut().filter(|current| current.id == turn).and_then(|it| it.voice.as_mut())
        else {
            return;
        };
        if voice.kept != Kept::Asked {
            return;
        }
        voice.kept = if durable { Kept::Durable } else { Kept::NotDurable };
        if std::mem::take(&mut voice.waits_for_disk) {
            self.finish(now, kit);
        }
    }

    /// When the reply that is now sent in full is to be written down, given when it will have been played.
    pub(super) fn write_at(&self, now: Instant, played: Option<Instant>) -> Instant {
        let is_promised = self.rules.durability == Durability::Turn;
        let said = self.turn.as_ref().is_some_and(|turn| !turn.user.is_empty());
        if is_promised && said { played.unwrap_or(now) } else { Instant::NEVER }
    }

    /// The reply has been played: it is written down, once.
    pub(super) fn write_reply(&mut self, kit: &mut Kit<'_>) {
        let Some(mut turn) = self.turn.take() else { return };
        if let Some(voice) = turn.voice.as_mut().filter(|voice| voice.kept == Kept::No) {
            let reply = if voice.answers { voice.reply.delivered() } else { String::new() };
            let complete = voice.answers && voice.end == super::effect::TurnEnd::Complete;
            voice.kept = self.write(turn.id, &turn.user, reply, complete, kit);
        }
        self.turn = Some(turn);
    }

    /// A turn ends before its time: what was heard of it is written down, unless it had been played to its end. Returns whether a
    /// `tts stop` that leaves now keeps the promise.
    pub(super) fn write_heard(&mut self, now: Instant, turn: &Turn, kit: &mut Kit<'_>) -> bool {
        let voice = turn.voice.as_deref();
        let kept = match voice.map_or(Kept::No, |voice| voice.kept) {
            Kept::No => {
                let heard = |voice: &Voice| voice.reply.heard(voice.pacer.played(now));
                let reply = voice.filter(|voice| voice.answers).map(heard).unwrap_or_default();
                self.write(turn.id, &turn.user, reply, false, kit)
            }
            kept => kept,
        };
        kept.is_good()
    }

    /// Whether `tts stop`, due at `stop_at`, still waits for the disk; then it is called again when the answer comes, or the time
    /// for it is over.
    pub(super) fn waits_for_disk(&mut self, now: Instant, stop_at: Instant) -> bool {
        let Some(voice) = self.voice_mut().filter(|voice| voice.kept == Kept::Asked) else { return false };
        if std::mem::replace(&mut voice.waits_for_disk, true) {
            return false;
        }
        voice.stop_at = Some(stop_at + limits::MEMORY_ACK);
        now < stop_at + limits::MEMORY_ACK
    }

    /// Counts a `tts stop` that breaks the promise.
    pub(super) fn count_stop(&self, durable: bool, kit: &mut Kit<'_>) {
        if !durable {
            kit.effects.push(Effect::Count(Count::StopNotDurable));
        }
    }

    fn write(&mut self, id: TurnId, user: &str, reply: String, complete: bool, kit: &mut Kit<'_>) -> Kept {
        if user.is_empty() {
            return Kept::Nothing;
        }
        let turn = Operation::Turn { user: user.into(), reply, complete };
        let bounds = self.bounds();
        self.dialogue.get_or_insert_default().apply(UnixMs(0), &turn, bounds);
        match self.rules.durability {
            Durability::None => Kept::Nothing,
            Durability::Interval => {
                kit.effects.push(Effect::Persist(id, turn));
                Kept::Nothing
            }
            Durability::Turn => {
                kit.effects.push(Effect::Persist(id, turn));
                Kept::Asked
            }
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds { turns: self.rules.dialogue_turns, tokens: self.rules.dialogue_tokens }
    }
}

#[cfg(test)]
mod tests;
