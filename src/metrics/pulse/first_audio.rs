//! How long users waited for the first audio, and what they waited for: percentiles of the last minute's turns, each with the
//! stages of the turns around it. Percentiles of single stages would not add up to anything a user has felt.

use super::{ms, round};
use crate::ids::ShardId;
use crate::limits;
use crate::metrics::registry::Registry;
use crate::metrics::turns::{FIRST_AUDIO, TurnRecord};
use crate::time::{Duration, Instant};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// Stages of the wait, in order: each ends with the milestone of the same place.
pub const STAGES: [&str; FIRST_AUDIO + 1] =
    ["endpoint wait", "recognition", "first token", "first sentence", "speech synthesis", "sending"];

/// What the users of the last minute have felt.
#[derive(Debug, Serialize)]
pub struct FirstAudio {
    /// Turns with audio in the last minute, at most [`limits::TURNS_WEIGHED`].
    pub n: usize,
    /// At the 50th, the 95th and the 99th percentile.
    pub bars: [Bar; 3],
}

/// A percentile and what it is made of.
#[derive(Debug, Serialize)]
pub struct Bar {
    /// 50, 95, 99.
    pub p: f64,
    /// From the end of speech to the first audio, exactly.
    pub ms: f64,
    /// Shares of [`STAGES`] in it, ms: those of the turns around this percentile. Their sum is `ms`.
    pub stages_ms: [f64; STAGES.len()],
}

/// Turns of the last minute.
#[derive(Default)]
pub(super) struct Recent {
    next: BTreeMap<ShardId, u64>,
    turns: VecDeque<(Instant, Wait)>,
}

/// One turn's wait, stage by stage, µs.
type Wait = [u32; STAGES.len()];

impl Recent {
    /// Takes in what has ended since the last time; returns the newest of it, newest first.
    pub fn read(&mut self, registry: &Registry, now: Instant) -> Vec<(ShardId, TurnRecord)> {
        let mut fresh = Vec::new();
        registry.panels(|home, panel, _| {
            if let super::Home::Shard(id) = home {
                let next = self.next.entry(id).or_default();
                *next = panel.turns().read(*next, |turn| fresh.push((id, turn)));
            }
        });
        fresh.sort_by_key(|(_, turn)| turn.ended());
        self.turns.extend(fresh.iter().filter_map(|(_, turn)| Some((turn.ended(), wait(turn)?))));
        let is_old = |(ended, _): &(Instant, Wait)| now.since(*ended) > super::MINUTE;
        while self.turns.len() > limits::TURNS_WEIGHED || self.turns.front().is_some_and(is_old) {
            self.turns.pop_front();
        }
        fresh.reverse();
        fresh.truncate(limits::TURNS_SHOWN);
        fresh
    }

    /// Percentiles, unless there was no turn with audio.
    pub fn first_audio(&self) -> Option<FirstAudio> {
        let mut waits: Vec<(u32, &Wait)> = self.turns.iter().map(|(_, wait)| (wait.iter().sum(), wait)).collect();
        waits.sort_unstable_by_key(|(all, _)| *all);
        if waits.is_empty() {
            return None;
        }
        Some(FirstAudio { n: waits.len(), bars: [50.0, 95.0, 99.0].map(|p| bar(p, &waits)) })
    }
}

/// By nearest rank, and the mean stages of the turns within a fiftieth of all around it.
fn bar(p: f64, waits: &[(u32, &Wait)]) -> Bar {
    let rank = ((p / 100.0 * waits.len() as f64).ceil() as usize).clamp(1, waits.len()) - 1;
    let reach = (waits.len() / 50).max(1);
    let around = &waits[rank.saturating_sub(reach)..waits.len().min(rank + reach + 1)];
    let sum = |i: usize| around.iter().map(|(_, wait)| f64::from(wait[i])).sum::<f64>();
    let all: f64 = around.iter().map(|(all, _)| f64::from(*all)).sum();
    let exact = f64::from(waits[rank].0) / 1e3;
    let share = |i: usize| if all > 0.0 { round(sum(i) / all * exact) } else { 0.0 };
    Bar { p, ms: exact, stages_ms: std::array::from_fn(share) }
}

/// How a turn's wait for the first audio divides; `None` where there was none. A milestone that was reached early, or passed
/// over, as in a turn that was typed, costs nothing.
fn wait(turn: &TurnRecord) -> Option<Wait> {
    let whole = turn.first_audio()?;
    let mut before = Duration::ZERO;
    Some(std::array::from_fn(|i| {
        let reached = turn.milestones[i].unwrap_or(before).clamp(before, whole.max(before));
        let stage = reached - before;
        before = reached;
        (ms(stage) * 1e3) as u32
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Home;
    use crate::metrics::turns::MILESTONES;
    use crate::time::UnixMs;

    fn turn(ended_ms: u64, milestones: [u64; FIRST_AUDIO + 1]) -> TurnRecord {
        let mut turn = TurnRecord { began: Instant::from_ms(ended_ms), end: "complete", ..TurnRecord::default() };
        for (to, from) in turn.milestones.iter_mut().zip(milestones) {
            *to = (from != 0).then(|| Duration::from_millis(from));
        }
        turn
    }

    #[test]
    fn stages_add_up_whatever_the_order_of_the_milestones() {
        let table = [
            ([400, 500, 700, 800, 900, 905], Some([400, 100, 200, 100, 100, 5])),
            ([0, 0, 200, 300, 400, 400], Some([0, 0, 200, 100, 100, 0])),
            ([400, 100, 700, 600, 900, 905], Some([400, 0, 300, 0, 200, 5])),
            ([400, 500, 2_000, 0, 0, 905], Some([400, 100, 405, 0, 0, 0])),
            ([400, 500, 700, 800, 900, 0], None),
        ];
        for (milestones, stages) in table {
            let found = wait(&turn(0, milestones));
            assert_eq!(found, stages.map(|stages| stages.map(|ms: u32| ms * 1_000)), "{milestones:?}");
        }
        assert_eq!(STAGES.len(), MILESTONES.len() - 1, "all but the reply's end");
    }

    #[test]
    fn bars_are_percentiles_with_the_stages_of_their_neighbours() {
        let registry = Registry::new(UnixMs(0));
        let shards = [0, 1].map(|id| registry.panel(Home::Shard(ShardId(id))));
        let mut recent = Recent::default();
        assert!(recent.first_audio().is_none());
        // The slow ones wait for the model, the others for the endpoint.
        for n in 1..=200 {
            let wait = if n > 180 { [100, 100, n * 5, 0, 0, n * 5] } else { [n * 5, 0, 0, 0, 0, n * 5] };
            shards[n as usize % 2].turns().write(&turn(n, wait));
        }
        let fresh = recent.read(&registry, Instant::from_ms(1_000));
        assert_eq!((fresh.len(), fresh[0].1.ended()), (limits::TURNS_SHOWN, Instant::from_ms(200)));
        assert!(recent.read(&registry, Instant::from_ms(1_000)).is_empty());
        let first = recent.first_audio().unwrap();
        assert_eq!((first.n, first.bars[0].ms, first.bars[1].ms, first.bars[2].ms), (200, 500.0, 950.0, 990.0));
        assert!(first.bars[0].stages_ms[0] > 499.0 && first.bars[1].stages_ms[2] > 800.0, "{first:?}");
        for bar in &first.bars {
            assert!((bar.stages_ms.iter().sum::<f64>() - bar.ms).abs() < 0.01, "{bar:?}");
        }
        recent.read(&registry, Instant::from_ms(60_100));
        assert_eq!(recent.first_audio().unwrap().n, 101, "a minute later half of them are gone");
    }

    #[test]
    fn a_storm_of_turns_is_weighed_by_its_newest() {
        let registry = Registry::new(UnixMs(0));
        let shard = registry.panel(Home::Shard(ShardId(0)));
        let mut recent = Recent::default();
        for n in 0..(limits::TURNS_WEIGHED + 500) as u64 {
            shard.turns().write(&turn(n, [1, 1, 1, 1, 1, 1]));
            recent.read(&registry, Instant::from_ms(n));
        }
        assert_eq!(recent.first_audio().unwrap().n, limits::TURNS_WEIGHED);
    }
}
