//! How far down a stage has had to go to answer.
//!
//! ```text
//!   primary --> backup --> cached --> text only --> offline
//! ```
//!
//! Down is told at once; up only when nobody has needed the lower step for a while, so that the log does not fill with the
//! steps of single calls. An outage is the time without any provider: it begins when none could answer and is over with the
//! first answer of one. Users hear of it once for each.

use crate::time::{Duration, Instant};

/// What answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// The provider that was wanted.
    Primary,
    /// Another one.
    Backup,
    /// Nobody: what was said comes from speech that is kept.
    Cached,
    /// Nobody: the words are shown.
    Text,
    /// The responder that needs no service.
    Offline,
}

impl Rung {
    /// Every step, from the top.
    pub const ALL: [Rung; 5] = [Rung::Primary, Rung::Backup, Rung::Cached, Rung::Text, Rung::Offline];

    /// The label in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Rung::Primary => "primary",
            Rung::Backup => "backup",
            Rung::Cached => "cached",
            Rung::Text => "text",
            Rung::Offline => "offline",
        }
    }

    /// A provider answered.
    pub const fn is_service(self) -> bool {
        matches!(self, Rung::Primary | Rung::Backup)
    }
}

/// The step of one stage.
#[derive(Clone, Debug)]
pub struct Ladder {
    hold: Duration,
    rung: Rung,
    /// When a step this low was needed last.
    needed: Instant,
    outages: u64,
    is_out: bool,
}

impl Ladder {
    /// At the top; `hold` is how long a step stays in force after it was needed last.
    pub fn new(hold: Duration) -> Ladder {
        Ladder { hold, rung: Rung::Primary, needed: Instant::ZERO, outages: 0, is_out: false }
    }

    /// Notes what answered a call. Returns the step that was in force before if another one is now.
    pub fn note(&mut self, now: Instant, rung: Rung) -> Option<Rung> {
        if self.is_out == rung.is_service() {
            self.is_out = !self.is_out;
            self.outages += u64::from(self.is_out);
        }
        if rung < self.rung && now.since(self.needed) < self.hold {
            return None;
        }
        self.needed = now;
        let before = std::mem::replace(&mut self.rung, rung);
        (before != rung).then_some(before)
    }

    /// The step in force.
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// The number of the outage that lasts, from 1.
    pub fn outage(&self) -> Option<u64> {
        self.is_out.then_some(self.outages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Rung::*;

    /// Notes (ms, rung); what was in force after each.
    fn check(script: &[(u64, Rung)], expected: &[Rung]) -> Ladder {
        let mut ladder = Ladder::new(Duration::from_secs(10));
        let mut before = Primary;
        for (&(ms, rung), &force) in script.iter().zip(expected) {
            let told = ladder.note(Instant::from_ms(ms), rung);
            assert_eq!(ladder.rung(), force, "at {ms} ms");
            assert_eq!(told, (before != force).then_some(before), "at {ms} ms");
            before = force;
        }
        assert_eq!(script.len(), expected.len());
        ladder
    }

    #[test]
    fn down_at_once_and_up_when_nobody_needed_it_for_a_while() {
        check(
            &[(1, Primary), (2, Backup), (3, Primary), (4, Offline), (5, Backup), (10_003, Backup), (10_004, Backup)],
            &[Primary, Backup, Backup, Offline, Offline, Offline, Backup],
        );
        check(
            &[(1, Backup), (9_000, Backup), (11_000, Primary), (19_000, Primary)],
            &[Backup, Backup, Backup, Primary],
        );
    }

    #[test]
    fn an_outage_lasts_until_a_provider_answers() {
        let mut ladder = check(&[(1, Offline), (60_000, Offline)], &[Offline, Offline]);
        assert_eq!(ladder.outage(), Some(1));
        ladder.note(Instant::from_ms(60_001), Backup);
        assert_eq!(ladder.outage(), None);
        ladder.note(Instant::from_ms(60_002), Cached);
        assert_eq!(ladder.outage(), Some(2));
    }
}
