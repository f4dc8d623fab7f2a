//! What can be seen of a run while it goes on. Each thread puts up a board once a second; whoever looks on puts them together.

use super::device::{Device, Phase};
use super::tally::{Count, Tally, Time};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Devices by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Not connected, or not greeted yet.
    pub coming: u32,
    /// Their words are under way.
    pub talking: u32,
    /// A reply is owed to them and has not begun.
    pub waiting: u32,
    /// A reply is being played.
    pub hearing: u32,
    /// Connected, and nothing goes on: between two turns, or for good.
    pub idle: u32,
    /// Done, and gone.
    pub done: u32,
}

/// A run as it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Glance {
    /// Whole seconds since it began.
    pub second: u32,
    /// How long it is meant to be, ms.
    pub duration_ms: u64,
    /// From when what happens counts, ms.
    pub warmup_ms: u64,
    /// Devices at most.
    pub devices: u32,
    /// What they do.
    pub phases: Phases,
    /// Complete turns, those of the warm-up left out.
    pub turns: u64,
    /// Failures by class.
    pub failures: BTreeMap<&'static str, u64>,
    /// To first audio, ms: p50, p95, p99; `None` before there was any.
    pub first_audio: Option<[f64; 3]>,
    /// Lateness of reply packets, ms, the same.
    pub lateness: Option<[f64; 3]>,
    /// Of reply packets those that came more than 5 ms late, 0 to 1.
    pub late: Option<f64>,
    /// Of a core, used by this process in the last second.
    pub own_cores: f64,
    /// Used by the server in the last second, with `--pid`.
    pub server_cores: Option<f64>,
    /// Its resident memory, bytes.
    pub rss: Option<u64>,
    /// Its shards' busy shares, 0 to 1, with `--stats`.
    pub shards: Vec<f64>,
}

/// What one thread puts up.
pub(super) struct Board {
    phases: Phases,
    turns: u64,
    packets: u64,
    late: u64,
    failures: BTreeMap<&'static str, u64>,
    first_audio: Histogram<u64>,
    lateness: Histogram<u64>,
}

/// The boards of all threads.
#[derive(Default)]
pub(super) struct Boards(Mutex<BTreeMap<u32, Board>>);

impl std::fmt::Debug for Boards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Boards")
    }
}

impl Board {
    pub fn of(devices: &[Device], tally: &Tally) -> Board {
        let mut phases = Phases::default();
        for device in devices {
            *phases.of(device) += 1;
        }
        Board {
            phases,
            turns: tally.counted(Count::Turns),
            packets: tally.counted(Count::Packets),
            late: tally.counted(Count::Late),
            failures: tally.failures(),
            first_audio: tally.histogram(Time::FirstAudio).clone(),
            lateness: tally.histogram(Time::Lateness).clone(),
        }
    }
}

impl Phases {
    fn of(&mut self, device: &Device) -> &mut u32 {
        match device.phase {
            Phase::Done => &mut self.done,
            Phase::Hearing => &mut self.hearing,
            _ if !device.is_up() => &mut self.coming,
            _ if device.is_owed => &mut self.waiting,
            Phase::Listening if device.sent > device.lead => &mut self.talking,
            _ => &mut self.idle,
        }
    }
}

impl Boards {
    /// Puts up a thread's board in the place of its last one.
    pub fn put(&self, thread: u32, board: Board) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(thread, board);
    }

    /// Takes down all of them: another run begins.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Puts them together into `glance`.
    pub fn read(&self, glance: &mut Glance) {
        let boards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut packets, mut late) = (0, 0);
        let mut times: Option<(Histogram<u64>, Histogram<u64>)> = None;
        for board in boards.values() {
            let (all, own) = (&mut glance.phases, &board.phases);
            all.coming += own.coming;
            all.talking += own.talking;
            all.waiting += own.waiting;
            all.hearing += own.hearing;
            all.idle += own.idle;
            all.done += own.done;
            glance.turns += board.turns;
            packets += board.packets;
            late += board.late;
            board.failures.iter().for_each(|(class, n)| *glance.failures.entry(class).or_default() += n);
            match &mut times {
                None => times = Some((board.first_audio.clone(), board.lateness.clone())),
                Some((first_audio, lateness)) => {
                    first_audio.add(&board.first_audio).expect("all have the same bounds");
                    lateness.add(&board.lateness).expect("all have the same bounds");
                }
            }
        }
        let three = |histogram: &Histogram<u64>| {
            let at = |p| histogram.value_at_percentile(p) as f64 / 1e3;
            (!histogram.is_empty()).then(|| [at(50.0), at(95.0), at(99.0)])
        };
        glance.first_audio = times.as_ref().and_then(|(first_audio, _)| three(first_audio));
        glance.lateness = times.as_ref().and_then(|(_, lateness)| three(lateness));
        glance.late = (packets > 0).then(|| late as f64 / packets as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::{Behaviour, NEVER};

    fn device(phase: Phase, sent: u32, is_owed: bool) -> Device {
        Device { phase, sent, lead: 3, is_owed, ..Device::new(0, Behaviour::Talk, NEVER) }
    }

    #[test]
    fn devices_are_told_apart_by_what_they_do() {
        let devices = [
            device(Phase::Away, 0, false),
            device(Phase::Greeting, 0, false),
            device(Phase::Listening, 3, false),
            device(Phase::Listening, 4, false),
            device(Phase::Listening, 40, true),
            device(Phase::Waiting, 0, true),
            device(Phase::Waiting, 0, false),
            device(Phase::Still, 0, false),
            device(Phase::Hearing, 40, true),
            device(Phase::Done, 0, false),
        ];
        let phases = Board::of(&devices, &Tally::default()).phases;
        assert_eq!(phases, Phases { coming: 2, talking: 1, waiting: 2, hearing: 1, idle: 3, done: 1 });
    }

    #[test]
    fn the_boards_of_all_threads_are_one_view() {
        let boards = Boards::default();
        for (thread, ms) in [(0, 800), (1, 900)] {
            let mut tally = Tally::default();
            for _ in 0..10 {
                tally.time(Time::FirstAudio, ms * 1_000_000);
                tally.turn(0, None);
                tally.lateness(1_000_000, 0);
            }
            tally.lateness(9_000_000, 0);
            tally.fail("silence", 0, || "x".into());
            boards.put(thread, Board::of(&[device(Phase::Hearing, 9, true)], &tally));
            // A board replaces the one before it.
            boards.put(thread, Board::of(&[device(Phase::Hearing, 9, true)], &tally));
        }
        let mut glance = Glance::default();
        boards.read(&mut glance);
        assert_eq!((glance.phases.hearing, glance.turns, glance.failures["silence"]), (2, 20, 2));
        let [p50, _, p99] = glance.first_audio.unwrap();
        assert!((795.0..810.0).contains(&p50) && (895.0..910.0).contains(&p99), "{p50} {p99}");
        assert_eq!(glance.late, Some(2.0 / 22.0));
        boards.clear();
        let mut glance = Glance::default();
        boards.read(&mut glance);
        assert_eq!(glance, Glance::default());
    }
}
