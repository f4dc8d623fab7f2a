//! The pulse of the server, felt once a second: what the live page shows. From counters that only grow it makes "this second"
//! and "the last minute"; nobody who counts knows of it.
//!
//! ```text
//!   panels ──beat, once a second──> Pulse ──> Beat: now, this second, the last minute, the turns that have just ended
//!                                     └─────> Past: five minutes of seconds, for somebody who has just come
//! ```

mod beat;
mod first_audio;

pub use beat::{Beat, Dropped, Ended, Minute, Past, Pool, Process, Queue, Shard};
pub use first_audio::{FirstAudio, STAGES};

use super::catalog::{Counter, Gauge, Series};
use super::histogram::Snapshot;
use super::load::Loads;
use super::panel::Panel;
use super::process::Usage;
use super::registry::{Home, Registry};
use super::turns::TurnRecord;
use crate::ids::ShardId;
use crate::limits;
use crate::time::{Duration, Instant, UnixMs};
use first_audio::Recent;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// A frame later than this is late (`targets.md`, row 8).
pub const LATE: Duration = Duration::from_millis(5);
/// How far "the last minute" reaches.
const MINUTE: Duration = Duration::from_secs(60);
/// Readings kept for it: one a second, and one at its far end.
const READINGS: usize = 61;
const COUNTERS: usize = Counter::ALL.len();
const GAUGES: usize = Gauge::ALL.len();

/// See the file's documentation. One thread has it.
#[derive(Default)]
pub struct Pulse {
    beats: u64,
    /// Turns of the last minute, and where each shard's log is to be read on.
    turns: Recent,
    readings: VecDeque<Reading>,
    seconds: VecDeque<Second>,
    usage: Option<(Instant, Usage)>,
    /// The last turns that beats have told, newest first.
    told: VecDeque<(ShardId, TurnRecord)>,
}

/// Everything that only grows, at one moment.
struct Reading {
    at: Instant,
    total: Counters,
    shards: BTreeMap<ShardId, ShardReading>,
    pools: BTreeMap<&'static str, PoolReading>,
}

type Counters = Box<[u64; COUNTERS]>;

#[derive(Default)]
struct ShardReading {
    /// Only in the newest two readings: two times 8.3 KiB a shard.
    lateness: Option<Box<(Snapshot, Snapshot)>>,
    gauges: Vec<i64>,
    busy_us: u64,
    frames: u64,
    late: u64,
}

#[derive(Default)]
struct PoolReading {
    threads: usize,
    busy: i64,
    results: Vec<u64>,
    /// Count and sum, µs, of [`MEANS`].
    means: [(u64, u64); 3],
}

/// Series of a pool of which the page shows the mean.
const MEANS: [Series; 3] = [Series::JobWait, Series::JobFirst, Series::JobDuration];
/// Results of jobs, as the page lists them.
const RESULTS: [Counter; 8] = [
    Counter::JobsOk,
    Counter::JobsMalformed,
    Counter::JobsOverload,
    Counter::JobsTimeout,
    Counter::JobsUnavailable,
    Counter::JobsRefused,
    Counter::JobsInternal,
    Counter::JobsCancelled,
];

/// One second, as it is remembered.
#[derive(Clone, Debug, Default)]
struct Second {
    at_ms: u64,
    connections: i64,
    idle: i64,
    listening: i64,
    thinking: i64,
    speaking: i64,
    /// Turns a second.
    complete: f64,
    /// See `complete`.
    failed: f64,
    /// First audio over the minute that ends with this second, ms.
    first_audio_ms: Option<[f64; 3]>,
    /// Reply frames a second, and those of them that were late.
    frames: f64,
    /// See `frames`.
    late: f64,
    /// 99th percentile of this second's frames, ms.
    frame_late_ms: Option<f64>,
    shards: Vec<ShardSecond>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ShardSecond {
    id: u16,
    /// Share of the time, 0 … 1.
    busy: f64,
    /// 99th percentile of how late it woke, ms.
    late_ms: Option<f64>,
}

impl Pulse {
    /// One beat; to be called about once a second.
    pub fn beat(&mut self, registry: &Registry, now: Instant, wall: UnixMs) -> Beat {
        self.beats += 1;
        let fresh = self.turns.read(registry, now);
        let reading = Reading::take(registry, now);
        let first_audio = self.turns.first_audio();
        let second = self.second(&reading, wall, first_audio.as_ref());
        self.remember(reading, second.clone());
        let (usage, loads) = (Usage::read(), registry.loads());
        let before = self.usage.replace((now, usage));
        fresh.iter().rev().for_each(|turn| self.told.push_front(*turn));
        self.told.truncate(limits::TURNS_SHOWN);
        Beat {
            number: self.beats,
            at_ms: wall.0,
            uptime_s: round(wall.0.saturating_sub(registry.started.0) as f64 / 1e3),
            process: Process::of(&usage, before, now),
            second: beat::SecondJson::of(&second),
            minute: self.minute(),
            first_audio,
            shards: self.shards(&second, &loads),
            queues: self.queues(registry),
            drops: self.drops(),
            ended: self.ended(),
            pools: self.pools(&loads, &beat::Doors::read(registry)),
            turns: super::turns::all_to_json(&fresh, now, wall),
        }
    }

    /// The last turns that beats have told: who starts from these is told each turn once.
    pub fn turns(&self, now: Instant, wall: UnixMs) -> Vec<Value> {
        super::turns::all_to_json(&self.told, now, wall)
    }

    /// What has been, second by second.
    pub fn past(&self) -> Past {
        Past::of(&self.seconds)
    }

    fn remember(&mut self, reading: Reading, second: Second) {
        // Distributions are compared with the last reading only.
        if let Some(last) = self.readings.back_mut() {
            last.shards.values_mut().for_each(|shard| shard.lateness = None);
        }
        self.readings.push_back(reading);
        let now = self.readings.back().map_or(Instant::ZERO, |reading| reading.at);
        while self.readings.len() > READINGS || self.readings.get(1).is_some_and(|next| now.since(next.at) >= MINUTE) {
            self.readings.pop_front();
        }
        if self.seconds.len() >= limits::LIVE_SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(second);
    }

    /// This second: the difference to the last reading, which is still the newest of those kept.
    fn second(&self, reading: &Reading, wall: UnixMs, first_audio: Option<&FirstAudio>) -> Second {
        let gauge = |gauge: Gauge| reading.gauge(gauge);
        let mut second = Second {
            at_ms: wall.0,
            connections: gauge(Gauge::Connections),
            idle: gauge(Gauge::Idle),
            listening: gauge(Gauge::Listening),
            thinking: gauge(Gauge::Thinking),
            speaking: gauge(Gauge::Speaking),
            first_audio_ms: first_audio.map(|first| [first.bars[0].ms, first.bars[1].ms, first.bars[2].ms]),
            ..Second::default()
        };
        let Some(last) = self.readings.back() else { return second };
        // A beat may be late, as when the whole machine rests; rates are by the time that has passed.
        let elapsed_us = reading.at.since(last.at).as_micros().max(1) as f64;
        let rate = |now: u64, before: u64| round(now.saturating_sub(before) as f64 / elapsed_us * 1e6);
        let since = |counter: Counter| rate(reading.total[counter as usize], last.total[counter as usize]);
        (second.complete, second.failed) = (since(Counter::TurnsComplete), since(Counter::TurnsFailed));
        let mut frames = Snapshot::default();
        for (id, now) in &reading.shards {
            let Some(before) = last.shards.get(id) else { continue };
            let (Some(lateness), Some(earlier)) = (&now.lateness, &before.lateness) else { continue };
            frames.merge(&lateness.1.since(&earlier.1));
            second.frames += rate(now.frames, before.frames);
            second.late += rate(now.late, before.late);
            second.shards.push(ShardSecond {
                id: id.0,
                busy: round((now.busy_us.saturating_sub(before.busy_us) as f64 / elapsed_us).min(1.0)),
                late_ms: lateness.0.since(&earlier.0).percentile(99.0).map(ms),
            });
        }
        second.frame_late_ms = frames.percentile(99.0).map(ms);
        second
    }

    /// What a counter has grown by in the last minute.
    fn in_minute(&self, counter: Counter) -> u64 {
        let of = |reading: Option<&Reading>| reading.map_or(0, |reading| reading.total[counter as usize]);
        of(self.readings.back()).saturating_sub(of(self.readings.front()))
    }

    fn minute(&self) -> Minute {
        let frames = |of: fn(&ShardReading) -> u64| {
            let sum =
                |reading: Option<&Reading>| reading.map_or(0, |reading| reading.shards.values().map(of).sum::<u64>());
            sum(self.readings.back()).saturating_sub(sum(self.readings.front()))
        };
        let span = match (self.readings.front(), self.readings.back()) {
            (Some(first), Some(last)) => last.at.since(first.at),
            _ => Duration::ZERO,
        };
        Minute {
            span_s: round(span.as_secs_f64()),
            started: self.in_minute(Counter::TurnsStarted),
            complete: self.in_minute(Counter::TurnsComplete),
            failed: self.in_minute(Counter::TurnsFailed),
            aborted: self.in_minute(Counter::TurnsAborted),
            empty: self.in_minute(Counter::TurnsEmpty),
            closed: self.in_minute(Counter::TurnsClosed),
            barge_ins: self.in_minute(Counter::BargeIns),
            underruns: self.in_minute(Counter::Underruns),
            frames: frames(|shard| shard.frames),
            frames_late: frames(|shard| shard.late),
            accepted: self.in_minute(Counter::Accepted),
            refused: self.in_minute(Counter::Refused),
        }
    }

    fn shards(&self, second: &Second, loads: &Loads) -> Vec<Shard> {
        let Some(reading) = self.readings.back() else { return Vec::new() };
        let of = |(id, shard): (&ShardId, &ShardReading)| {
            let now = second.shards.iter().find(|second| second.id == id.0);
            let gauge = |gauge: Gauge| shard.gauges.get(gauge as usize).copied().unwrap_or_default();
            let shares = loads.shares(Home::Shard(*id));
            Shard {
                shard: id.0,
                busy: now.map(|now| now.busy),
                cpu: shares.map(|shares| round(shares.cpu)),
                run_delay: shares.map(|shares| round(shares.run_delay)),
                late_ms: now.and_then(|now| now.late_ms),
                connections: gauge(Gauge::Connections),
                listening: gauge(Gauge::Listening),
                speaking: gauge(Gauge::Speaking),
                load: gauge(Gauge::LoadScore),
                level: gauge(Gauge::LoadLevel),
            }
        };
        reading.shards.iter().map(of).collect()
    }

    fn queues(&self, registry: &Registry) -> Vec<Queue> {
        let Some(reading) = self.readings.back() else { return Vec::new() };
        let shards = reading.shards.len() as u64;
        let queue = |name, gauge: Gauge, bound: usize| Queue {
            name,
            depth: reading.gauge(gauge).max(0) as u64,
            bound: bound as u64 * shards,
        };
        let mut queues = vec![
            queue("asr jobs", Gauge::AsrWaiting, limits::WAITING_JOBS),
            queue("llm jobs", Gauge::LlmWaiting, limits::WAITING_JOBS),
            queue("tts jobs", Gauge::TtsWaiting, limits::WAITING_JOBS),
            queue("read backlog", Gauge::Backlog, limits::BACKLOG_ITEMS),
            queue("mailbox", Gauge::Mailbox, limits::MAILBOX),
        ];
        let connections = reading.gauge(Gauge::Connections).max(0) as u64;
        queues.push(Queue {
            name: "send queues, bytes",
            depth: reading.gauge(Gauge::SendQueueBytes).max(0) as u64,
            bound: connections * limits::SEND_QUEUE_BYTES as u64,
        });
        registry.probes(|probe| {
            if probe.name == "voxlane_audio_queue_bytes" {
                let (depth, bound) = ((probe.value)(), limits::AUDIO_BUDGET_BYTES as u64);
                queues.push(Queue { name: "audio queues, bytes", depth, bound });
            }
        });
        queues
    }

    /// What was ever dropped, by what and why.
    fn drops(&self) -> Vec<Dropped> {
        let of = |counter: &Counter, total: u64| {
            let mut labels = counter.labels().split('"');
            let (item, cause) = (labels.nth(1).unwrap_or_default(), labels.nth(1).unwrap_or_default());
            Dropped { item, cause, total, minute: self.in_minute(*counter) }
        };
        self.grown("voxlane_dropped_total").map(|(counter, total)| of(counter, total)).collect()
    }

    /// Connections that ended, by cause.
    fn ended(&self) -> Vec<Ended> {
        let of = |counter: &Counter, total: u64| Ended {
            cause: counter.labels().split('"').nth(1).unwrap_or_default(),
            total,
            minute: self.in_minute(*counter),
        };
        self.grown("voxlane_ended_total").map(|(counter, total)| of(counter, total)).collect()
    }

    /// Counters of one name that are not 0.
    fn grown(&self, name: &'static str) -> impl Iterator<Item = (&'static Counter, u64)> {
        let last = self.readings.back();
        let named = Counter::ALL.iter().filter(move |counter| counter.name() == name);
        named.filter_map(move |counter| Some((counter, last?.total[*counter as usize])).filter(|(_, total)| *total > 0))
    }

    fn pools(&self, loads: &Loads, doors: &beat::Doors) -> Vec<Pool> {
        let (Some(first), Some(last)) = (self.readings.front(), self.readings.back()) else { return Vec::new() };
        let nothing = PoolReading::default();
        let of = |(name, now): (&&'static str, &PoolReading)| {
            let before = first.pools.get(name).unwrap_or(&nothing);
            let mean = |i: usize| {
                let (n, us) = (
                    now.means[i].0 - before.means[i].0.min(now.means[i].0),
                    now.means[i].1.saturating_sub(before.means[i].1),
                );
                (n > 0).then(|| round(us as f64 / n as f64 / 1e3))
            };
            let grown = |i: usize| now.results[i].saturating_sub(before.results.get(i).copied().unwrap_or_default());
            Pool {
                pool: name,
                threads: now.threads,
                busy: now.busy,
                cores: loads.shares(Home::Worker(name)).map(|shares| round(shares.cpu * now.threads as f64)),
                results: RESULTS
                    .iter()
                    .enumerate()
                    .map(|(i, m)| (m.labels().split('"').nth(1).unwrap_or_default(), grown(i)))
                    .collect(),
                wait_ms: mean(0),
                first_ms: mean(1),
                job_ms: mean(2),
                degraded: doors.degraded(name),
                providers: doors.providers(name),
            }
        };
        last.pools.iter().map(of).collect()
    }
}

impl Reading {
    fn take(registry: &Registry, at: Instant) -> Reading {
        let mut reading =
            Reading { at, total: Box::new([0; COUNTERS]), shards: BTreeMap::new(), pools: BTreeMap::new() };
        registry.panels(|home, panel, is_alive| {
            for counter in Counter::ALL {
                reading.total[*counter as usize] += panel.counter(*counter);
            }
            match home {
                Home::Shard(id) => reading.shards.entry(id).or_default().add(panel),
                Home::Worker(pool) => reading.pools.entry(pool).or_default().add(panel, is_alive),
                Home::Process => {}
            }
        });
        reading
    }

    /// A gauge over all shards.
    fn gauge(&self, gauge: Gauge) -> i64 {
        self.shards.values().filter_map(|shard| shard.gauges.get(gauge as usize)).sum()
    }
}

impl ShardReading {
    fn add(&mut self, panel: &Panel) {
        let mut lateness = Box::<(Snapshot, Snapshot)>::default();
        panel.series(Series::LoopLateness).read_counts(&mut lateness.0);
        panel.series(Series::FrameLateness).read_counts(&mut lateness.1);
        self.frames = lateness.1.count();
        self.late = lateness.1.longer_than(LATE);
        self.lateness = Some(lateness);
        self.busy_us = panel.counter(Counter::Busy);
        self.gauges = (0..GAUGES).map(|i| panel.gauge(Gauge::ALL[i])).collect();
    }
}

impl PoolReading {
    fn add(&mut self, panel: &Panel, is_alive: bool) {
        self.results.resize(RESULTS.len(), 0);
        for (sum, counter) in self.results.iter_mut().zip(RESULTS) {
            *sum += panel.counter(counter);
        }
        for (mean, series) in self.means.iter_mut().zip(MEANS) {
            let (n, us) = panel.series(series).totals();
            *mean = (mean.0 + n, mean.1 + us);
        }
        if is_alive {
            self.threads += 1;
            self.busy += panel.gauge(Gauge::WorkersBusy);
        }
    }
}

/// Milliseconds, to the microsecond.
fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

/// To three places: more is noise on a screen and bytes on the wire.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests;
