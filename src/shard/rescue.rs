//! When something panics: the session that did ends, with 1012, and the shard goes on; when the shard itself did, all of its
//! sessions end so, and it goes on with the same door, lanes and timers. Devices connect again by themselves.
//!
//! A device whose sessions do so again and again, or whose jobs kill workers, is kept out for a while (`resilience::quarantine`).

use super::Shard;
use super::connection::Phase;
use super::floor::Floor;
use super::mailbox::Letter;
use super::slots::Key;
use crate::metrics::Counter;
use crate::resilience::admission::Step;
use crate::session::phase::Phase as SessionPhase;
use crate::session::{Kit, Session};
use crate::time::{Duration, Instant};
use crate::wire::websocket::code;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Between two log lines about long passes: each shard writes six a minute at most.
const REPORT_PAUSE: Duration = Duration::from_secs(10);

impl Floor {
    /// Has a session do something; `None` if it panicked, and is no more. What it held of the shard is lost; its jobs are taken
    /// back if it still can.
    pub fn act(
        &mut self,
        key: Key,
        now: Instant,
        act: impl FnOnce(&mut Session, &mut Kit<'_>),
    ) -> Option<SessionPhase> {
        let connection = self.slots.get_mut(key)?;
        let session = connection.session.as_deref_mut()?;
        let mut kit =
            Kit { effects: &mut self.effects, ears: &mut self.ears, phrases: &self.common.phrases, group: self.group };
        let acted = catch_unwind(AssertUnwindSafe(|| {
            act(session, &mut kit);
            session.phase()
        }));
        if let Ok(phase) = acted {
            return Some(phase);
        }
        self.effects.clear();
        self.bury(key, now);
        None
    }

    /// Ends a connection whose session has panicked.
    fn bury(&mut self, key: Key, now: Instant) {
        self.panel.count(Counter::SessionPanics);
        let Some(connection) = self.slots.get_mut(key) else { return };
        let (admitted, device, id) = (connection.admitted, connection.device, connection.id);
        let session = connection.session.take();
        tracing::error!(session = %id, device = &*connection.device_id, "a session panicked; it ends, all others go on");
        let mut kit =
            Kit { effects: &mut self.effects, ears: &mut self.ears, phrases: &self.common.phrases, group: self.group };
        let closed = catch_unwind(AssertUnwindSafe(|| {
            if let Some(mut session) = session {
                session.close(now, &mut kit);
            }
        }));
        if closed.is_err() {
            self.effects.clear();
        }
        self.perform(key, now);
        self.turn_over(key, admitted);
        self.show(key, SessionPhase::Closing);
        self.close(key, now, code::RESTART, "restarting", Counter::EndedByPanic);
        self.strike(now, device);
    }

    /// A session of this device has broken something: everybody remembers it.
    pub fn strike(&mut self, now: Instant, device: u64) {
        if device == 0 {
            return;
        }
        let lost = self.mail.tell_others(|| Letter::Strike { device });
        self.panel.add(Counter::LettersLost, lost);
        self.handle_strike(now, device);
    }

    /// The same, told by another shard as well.
    pub fn handle_strike(&mut self, now: Instant, device: u64) {
        if !self.quarantine.strike(now, device) {
            return;
        }
        let Some(&key) = self.devices.get(&device) else { return };
        if let Some(connection) = self.slots.get(key) {
            tracing::error!(device = &*connection.device_id, "kept out for ten minutes: it has broken something twice");
        }
        self.panel.count(Counter::Quarantined);
        self.close(key, now, code::POLICY, "something you send breaks us", Counter::EndedByPanic);
    }

    /// The shard has panicked: every connection ends, as well as it still can.
    fn end_all(&mut self, now: Instant) {
        for key in self.slots.keys() {
            let said = catch_unwind(AssertUnwindSafe(|| {
                let is_open = self.slots.get(key).is_some_and(|connection| connection.phase == Phase::Open);
                match is_open {
                    true => self.close(key, now, code::RESTART, "restarting", Counter::EndedByPanic),
                    false => self.drop_connection(key, now, Counter::EndedByPanic),
                }
                self.flush(key, now);
            }));
            if said.is_err() {
                self.effects.clear();
                // Whatever of it was broken goes with it; that it held a place among its address's is known for sure.
                let removed = catch_unwind(AssertUnwindSafe(|| self.slots.remove(key).map(|gone| gone.place)));
                removed.ok().flatten().into_iter().for_each(|place| self.common.addresses.leave(place));
            }
        }
        self.send_bytes = 0;
        for key in self.slots.keys() {
            self.send_bytes += self.slots.get(key).map_or(0, |connection| i64::from(connection.send_bytes));
        }
    }
}

impl Shard {
    /// After a panic in the middle of a pass: what was being done is forgotten, connections end with 1012, and the next pass finds
    /// everything in order. Returns whether it is worth going on: a shard that panics again and again is not.
    pub fn revive(&mut self, now: Instant) -> bool {
        let floor = &mut self.floor;
        floor.panel.count(Counter::ShardPanics);
        let step = floor.common.board.step(usize::from(floor.id.0));
        let (shard, connections) = (floor.id.0, floor.slots.len());
        tracing::error!(shard, connections, step = step.name(), "a shard panicked; its sessions end, and it goes on");
        floor.effects.clear();
        floor.end_all(now);
        floor.backlog = Default::default();
        floor.errands = Default::default();
        floor.unread.clear();
        floor.dirty.clear();
        floor.load.forget_turns();
        floor.provider = None;
        self.expired.clear();
        self.pools.iter_mut().for_each(crate::lanes::Pool::look_again);
        self.is_unfinished = true;
        self.arrivals = true;
        self.deaths.retain(|at| now.since(*at) < DEATHS_WITHIN);
        self.deaths.push(now);
        self.deaths.len() <= DEATHS_MOST
    }

    /// Counts a pass that took too long for 60 ms frames to be on time, and says what took its time, now and then.
    pub(super) fn report_long_pass(&mut self, now: Instant, took: Duration) {
        let floor = &self.floor;
        floor.panel.count(Counter::LongPasses);
        self.long.count += 1;
        if self.long.told.is_some_and(|told| now.since(told) < REPORT_PAUSE) {
            return;
        }
        let (step, step_took) = self.lap.longest();
        tracing::warn!(
            shard = floor.id.0,
            took_ms = took.as_millis() as u64,
            step = step.name(),
            step_ms = step_took.as_millis() as u64,
            connections = floor.slots.len(),
            passes = self.long.count,
            "a pass of the loop took long; so many since the last such line"
        );
        self.long = Long { told: Some(now), count: 0 };
    }
}

/// Panics of a shard within [`DEATHS_WITHIN`] after which it gives up, and with it the process.
pub(super) const DEATHS_MOST: usize = 5;
const DEATHS_WITHIN: Duration = Duration::from_secs(60);

/// Long passes that were not told of yet.
#[derive(Default)]
pub(super) struct Long {
    told: Option<Instant>,
    count: u64,
}

/// What a pass spends its time on.
#[derive(Default)]
pub(super) struct Lap {
    at: Instant,
    longest: Option<(Step, Duration)>,
}

impl Lap {
    /// A pass begins.
    pub fn begin(now: Instant) -> Lap {
        Lap { at: now, longest: None }
    }

    /// A step of it is over.
    pub fn end(&mut self, step: Step, now: Instant) {
        let took = now.since(std::mem::replace(&mut self.at, now));
        if self.longest.is_none_or(|(_, most)| took > most) {
            self.longest = Some((step, took));
        }
    }

    fn longest(&self) -> (Step, Duration) {
        self.longest.unwrap_or((Step::Wait, Duration::ZERO))
    }
}
