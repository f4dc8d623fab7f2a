//! One exchange under way: from the onset (or the text) to `tts stop`.

use super::effect::{Milestone, TurnEnd};
use super::reply::Reply;
use super::sentence::Splitter;
use crate::audio::pacing::Pacer;
use crate::ids::TurnId;
use crate::job::{Cancel, Stage, Transcript};
use crate::resilience::fault::Cause;
use crate::time::Instant;

/// Boxed in the session, which is small while nothing happens.
#[derive(Debug)]
pub struct Turn {
    /// Which.
    pub id: TurnId,
    /// How far it is.
    pub step: Step,
    /// The user's last voiced sample, or the moment the text came. Milestones count from here.
    pub end_of_speech: Instant,
    /// Audio must have begun.
    pub budget: Instant,
    /// The recognition that runs, and what it answered before the utterance was over.
    pub asr: Option<Cancel>,
    /// See `asr`.
    pub asr_early: Option<Heard>,
    /// The utterance's last block has gone into the lane.
    pub poured: bool,
    /// What the user said.
    pub user: String,
    /// What is said back, once the turn speaks.
    pub voice: Option<Box<Voice>>,
    /// Milestones reported, a bit each.
    marked: u8,
    /// Milestones matter: not for phrases of our own accord.
    pub measured: bool,
}

/// How far a turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The utterance is open.
    Hearing,
    /// The utterance is over; the transcript must have come by then.
    Recognising {
        /// Its deadline.
        by: Instant,
    },
    /// Between `tts start` and `tts stop`.
    Replying,
}

/// What recognition answered.
pub type Heard = Result<Box<Transcript>, Cause>;

/// The speaking half of a turn.
#[derive(Debug)]
pub struct Voice {
    /// The model's answer that runs.
    pub llm: Option<Llm>,
    /// Its text, cut into sentences.
    pub splitter: Splitter,
    /// Bytes of text taken so far.
    pub text_bytes: usize,
    /// The sentences and their audio.
    pub reply: Reply,
    /// When packets leave.
    pub pacer: Pacer,
    /// The face has been chosen.
    pub face_done: bool,
    /// It speaks for the model: a failure is apologised for, and what was heard is remembered.
    pub answers: bool,
    /// When the reply has been played and `tts stop` is due.
    pub stop_at: Option<Instant>,
    /// When the reply is written down, if that is to be before `tts stop`.
    pub write_at: Instant,
    /// Whether it was written down.
    pub kept: Kept,
    /// `tts stop` is due and waits for the disk.
    pub waits_for_disk: bool,
    /// How it will have ended.
    pub end: TurnEnd,
    /// What follows `tts stop`.
    pub then: Then,
}

/// A running answer of the model.
#[derive(Debug)]
pub struct Llm {
    /// How to take it back.
    pub job: Cancel,
    /// When the first token must have come; [`Instant::NEVER`] once it has.
    pub first_token_by: Instant,
    /// When all must have come.
    pub by: Instant,
}

/// What follows a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Listening again, as the mode says.
    Rest,
    /// Close with this code.
    Close(u16, &'static str),
}

/// What is on the disk of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is to be written down.
    No,
    /// There is nothing to write, or nothing was promised.
    Nothing,
    /// It was given to the one who writes.
    Asked,
    /// It is on the disk.
    Durable,
    /// The disk does not take it now.
    NotDurable,
}

impl Kept {
    /// Whether what was promised is kept.
    pub const fn is_good(self) -> bool {
        matches!(self, Kept::Nothing | Kept::Durable)
    }
}

impl Turn {
    /// A turn that begins at `now`.
    pub fn new(id: TurnId, now: Instant) -> Box<Turn> {
        Box::new(Turn {
            id,
            step: Step::Hearing,
            end_of_speech: now,
            budget: Instant::NEVER,
            asr: None,
            asr_early: None,
            poured: false,
            user: String::new(),
            voice: None,
            marked: 0,
            measured: true,
        })
    }

    /// Whether this milestone is new, and counts.
    pub fn reaches(&mut self, milestone: Milestone) -> bool {
        let bit = 1 << milestone as u8;
        let new = self.measured && self.marked & bit == 0;
        self.marked |= bit;
        new
    }

    /// What follows it.
    pub fn then(&self) -> Then {
        self.voice.as_ref().map_or(Then::Rest, |voice| voice.then)
    }

    /// The next deadline of a stage, or of the whole.
    pub fn deadline(&self) -> Instant {
        match self.step {
            Step::Hearing => Instant::NEVER,
            Step::Recognising { by } => by.min(self.budget),
            Step::Replying => self.voice.as_ref().map_or(Instant::NEVER, |voice| voice.deadline(self.budget)),
        }
    }
}

impl Voice {
    fn deadline(&self, budget: Instant) -> Instant {
        let llm = self.llm.as_ref().map_or(Instant::NEVER, |llm| llm.first_token_by.min(llm.by));
        let sentence = self.reply.overdue_at().map_or(Instant::NEVER, |(by, _)| by);
        llm.min(sentence).min(if self.is_silent() { budget } else { Instant::NEVER })
    }

    /// Nothing has been said, and nothing is ready to be.
    pub fn is_silent(&self) -> bool {
        self.reply.packets_sent() == 0 && !self.reply.packet_waits() && self.stop_at.is_none()
    }

    /// A voice that says nothing yet.
    pub fn new(pacer: Pacer, answers: bool) -> Box<Voice> {
        Box::new(Voice {
            llm: None,
            splitter: Splitter::default(),
            text_bytes: 0,
            reply: Reply::default(),
            pacer,
            face_done: !answers,
            answers,
            stop_at: None,
            write_at: Instant::NEVER,
            kept: Kept::No,
            waits_for_disk: false,
            end: TurnEnd::Complete,
            then: Then::Rest,
        })
    }

    /// When it is looked at next, once all was sent.
    pub fn ends_at(&self) -> Instant {
        let stop_at = self.stop_at.unwrap_or(Instant::NEVER);
        if self.kept == Kept::No { stop_at.min(self.write_at) } else { stop_at }
    }

    /// Something of it is still being played.
    pub fn plays(&self, now: Instant) -> bool {
        self.pacer.playout_end().is_some_and(|end| end > now)
    }

    /// Notes a failure; the first one stands.
    pub fn failed(&mut self, stage: Stage, cause: Cause) {
        if self.end == TurnEnd::Complete {
            self.end = TurnEnd::Failed(stage, cause);
        }
    }
}
