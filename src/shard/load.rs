//! What a shard knows of its load, and what it therefore refuses: connections at the door, turns, at last connections that idle.
//! The policy is `resilience::admission`'s; here it gets its numbers and is obeyed.

use super::connection::Phase;
use super::floor::Floor;
use super::slots::Key;
use crate::audio::phrase::Phrase;
use crate::ids::TurnId;
use crate::job::{Job, Work};
use crate::lanes::Pool;
use crate::limits;
use crate::metrics::{Counter, Gauge};
use crate::resilience::admission::{Admission, Level, Signals};
use crate::resilience::fault::Cause;
use crate::session::phase::Phase as SessionPhase;
use crate::time::{Duration, Instant};
use crate::wire::http::{self, Line};
use crate::wire::message::{Emotion, ServerMessage};
use crate::wire::upgrade::Upgrade;
use crate::wire::websocket::code;

/// What has been seen since the last look, and what follows from all looks.
pub(super) struct Load {
    admission: Admission,
    /// Turns that were admitted and are not over.
    turns: u32,
    looked: Instant,
    busy: Duration,
    late: Duration,
    wakes: u32,
    /// Where the search for idle connections goes on.
    cursor: u32,
}

impl Load {
    /// Nothing seen yet.
    pub fn new(now: Instant) -> Load {
        let admission = Admission::new(now);
        Load { admission, turns: 0, looked: now, busy: Duration::ZERO, late: Duration::ZERO, wakes: 0, cursor: 0 }
    }

    /// A pass is over: for so long the shard was busy, and so late it woke for a deadline, if for one.
    pub fn note(&mut self, busy: Duration, late: Option<Duration>) {
        self.busy += busy;
        if let Some(late) = late {
            self.late += late;
            self.wakes += 1;
        }
    }

    /// No turn is under way any more.
    pub fn forget_turns(&mut self) {
        self.turns = 0;
    }

    fn signals(&mut self, now: Instant, pools: &[Pool], memory_percent: u32) -> Signals {
        let span = now.since(std::mem::replace(&mut self.looked, now)).as_micros().max(1);
        let busy = std::mem::take(&mut self.busy).as_micros();
        let late = std::mem::take(&mut self.late) / std::mem::take(&mut self.wakes).max(1);
        let ages = pools.iter().map(|pool| pool.oldest(now));
        let (untaken, waiting) = ages.fold((Duration::ZERO, Duration::ZERO), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        let busy_percent = (100 * busy / span).min(100) as u32;
        Signals { busy_percent, late, untaken, waiting, memory_percent, turns: self.turns }
    }
}

impl Floor {
    /// Weighs the load, if it is time to: before anybody is let in.
    pub fn look(&mut self, now: Instant, pools: &[Pool]) {
        if !self.common.rules.sheds || now < self.load.admission.look_at() {
            return;
        }
        let signals = self.load.signals(now, pools, self.common.board.memory_percent());
        let change = self.load.admission.observe(now, signals);
        let admission = &self.load.admission;
        self.panel.set(Gauge::LoadScore, i64::from(admission.score()));
        self.panel.set(Gauge::TurnsAdmitted, i64::from(self.load.turns));
        self.panel.set(Gauge::TurnsMost, admission.turns_max().map_or(0, i64::from));
        if let Some(level) = change {
            self.panel.set(Gauge::LoadLevel, level as i64);
            self.common.board.tell(usize::from(self.id.0), level);
            let (score, turns) = (admission.score(), self.load.turns);
            tracing::warn!(shard = self.id.0, level = level.name(), score, turns, ?signals, "load");
        }
        if self.load.admission.level() == Level::NoIdlers {
            self.shed_idlers(now);
        }
    }

    /// For how long a device that asks to come in is to stay away; `None`: it is welcome.
    pub fn refuses_device(&mut self, now: Instant, upgrade: &Upgrade) -> Option<Duration> {
        let device = upgrade.device_id.as_deref().map_or(0, |device_id| self.hash(device_id));
        if let Some(left) = self.quarantine.left(now, device) {
            return Some(left);
        }
        let is_full = self.slots.len() > self.most_open;
        let admits = !self.common.rules.sheds || self.load.admission.admits_device(self.load.turns);
        if !is_full && admits {
            return None;
        }
        self.panel.count(Counter::ShedDevices);
        Some(self.load.admission.stay_away(self.dice.number()))
    }

    /// Whether a job may go to its pool: one that begins a turn needs a place among the turns under way.
    pub fn may_begin(&mut self, job: &Job) -> bool {
        let begins = match &job.work {
            Work::Recognise(_) | Work::Converse(_) => true,
            Work::Speak(_) => false,
        };
        let key = Key { slot: job.ticket.slot, generation: job.ticket.generation };
        let Some(connection) = self.slots.get_mut(key) else { return true };
        if !begins || connection.admitted == job.ticket.turn {
            return true;
        }
        if self.common.rules.sheds && !self.load.admission.admits_turn(self.load.turns) {
            return false;
        }
        connection.admitted = job.ticket.turn;
        self.load.turns += 1;
        true
    }

    /// A turn is over, whether it was admitted or not.
    pub fn turn_over(&mut self, key: Key, turn: TurnId) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        if connection.admitted == turn {
            connection.admitted = TurnId::default();
            self.load.turns = self.load.turns.saturating_sub(1);
        }
    }

    /// There is no room for a turn: the user hears that we are busy, or, when that is too much as well, reads it and is sent away.
    pub fn shed_turn(&mut self, now: Instant, job: &Job) {
        self.panel.count(Counter::ShedTurns);
        if self.load.admission.level() < Level::NoIdlers {
            return self.tell_refused(now, job, Cause::Overload);
        }
        let key = Key { slot: job.ticket.slot, generation: job.ticket.generation };
        let Some(session) = self.slots.get(key).and_then(|connection| connection.session.as_deref()) else { return };
        let message = self.common.phrases.text(Phrase::Busy, session.language()).into();
        self.send(key, now, &ServerMessage::Alert { status: "Busy".into(), message, emotion: Emotion::Sleepy });
        self.close(key, now, code::AGAIN, "busy", Counter::EndedByLoad);
    }

    /// Sends some of those away that neither speak nor are spoken to: places, memory and keep-alives are wanted elsewhere.
    fn shed_idlers(&mut self, now: Instant) {
        for _ in 0..limits::IDLERS_PER_LOOK {
            let slot = self.load.cursor;
            self.load.cursor = if (slot as usize) + 1 < self.slots.places() { slot + 1 } else { 0 };
            let Some(key) = self.slots.key_at(slot) else { continue };
            let is_idle = |connection: &super::connection::Connection| {
                connection.phase == Phase::Open && connection.shown == SessionPhase::Idle
            };
            if self.slots.get(key).is_some_and(is_idle) {
                self.panel.count(Counter::ShedIdlers);
                self.close(key, now, code::AGAIN, "busy", Counter::EndedByLoad);
            }
        }
    }
}

/// The answer to a device that is to come back after so long.
pub(super) fn busy(away: Duration) -> Vec<u8> {
    let seconds = away.as_secs().to_string();
    let lines: &[Line<'_>] = &[("Retry-After", &seconds)];
    let mut answer = Vec::new();
    http::respond(503, http::TEXT, lines, b"busy, come back later\n", &mut answer);
    answer
}
