//! How a device's connection ends, whoever ended it, and when the device comes back.

use super::device::{Device, NEVER, Phase};
use super::fleet::Fleet;
use super::tally::Count;
use crate::scenario::Arrival;
use std::sync::atomic::Ordering::Relaxed;

/// From a loss to the next attempt.
pub const RETURN_NS: u64 = 1_000_000_000;

impl Fleet<'_> {
    /// The run's time is over: who is in the middle of a turn ends it, the others go.
    pub(super) fn go_home(&mut self, i: usize, _now: u64) {
        let device = &self.devices[i];
        let is_busy = device.behaviour.is_judged()
            && (device.is_owed || device.phase == Phase::Hearing || {
                device.phase == Phase::Listening && device.sent > device.lead
            });
        if is_busy {
            return;
        }
        self.say_goodbye(i);
        self.devices[i].phase = Phase::Done;
        self.rearm(i);
    }

    pub(super) fn say_goodbye(&mut self, i: usize) {
        if self.devices[i].is_up() {
            self.live.devices.fetch_sub(1, Relaxed);
        }
        self.devices[i].drop_connection();
    }

    /// Cuts the line and comes back at `back`.
    pub(super) fn leave(&mut self, i: usize, back: u64) {
        self.say_goodbye(i);
        let is_over = self.is_over();
        let device = &mut self.devices[i];
        (device.phase, device.action) = match is_over {
            true => (Phase::Done, NEVER),
            false => (Phase::Away, back),
        };
        self.rearm(i);
    }

    /// A herd leaves, and is back at the same instant.
    pub(super) fn stampede(&mut self, now: u64) {
        (0..self.devices.len())
            .filter(|i| self.devices[*i].phase != Phase::Done)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|i| self.leave(i, now));
    }

    /// The line is gone.
    pub(super) fn lose(&mut self, i: usize, what: String) {
        match self.devices[i].phase {
            Phase::Done | Phase::Away => {}
            Phase::Connecting | Phase::Securing => self.fail(i, "refused", what),
            Phase::CheckingIn => self.fail(i, "refused", format!("check-in: {what}")),
            // Some servers answer what is no TLS by hanging up.
            Phase::Upgrading if self.plan.target.tls.is_none() => {
                self.fail(i, "closed", format!("{what} before it answered the upgrade; if it speaks TLS, use wss://"));
            }
            Phase::Upgrading => self.fail(i, "closed", format!("{what} before it answered the upgrade")),
            Phase::Greeting => self.fail(i, "closed", format!("{what} before its hello")),
            _ => self.fail(i, "closed", what),
        }
    }

    /// Notes a failure and begins anew.
    pub(super) fn fail(&mut self, i: usize, class: &'static str, what: String) {
        let at = self.now();
        if self.devices[i].is_owed && self.devices[i].counts {
            self.tally.count(Count::Failed);
        }
        if self.devices[i].behaviour.is_judged() {
            self.tally.cause(class, &what);
        }
        self.note(i, class, at, || what);
        self.leave(i, at + RETURN_NS);
    }

    /// Notes a failure. What unruly devices suffer is theirs, unless it is somebody else's words.
    pub(super) fn note(&mut self, i: usize, class: &'static str, at: u64, what: impl FnOnce() -> String) {
        let device: &Device = &self.devices[i];
        if !device.behaviour.is_judged() && class != "crosstalk" {
            return self.tally.count(Count::TurnedOut);
        }
        self.live.failures.fetch_add(1, Relaxed);
        let mac = device.mac();
        self.tally.fail(class, at, || format!("{mac}: {}", what()));
    }

    /// From now on a herd's next departure; [`NEVER`] for others.
    pub(super) fn next_departure(&self, after: u64) -> u64 {
        match self.plan.scenario.arrival {
            Arrival::Herd { period_ms } => (after / (period_ms * 1_000_000) + 1) * period_ms * 1_000_000,
            _ => NEVER,
        }
    }
}
