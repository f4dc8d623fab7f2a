//! What a beat tells, ready to become JSON. Shares are 0 … 1; `null` stands for "nothing to tell from".

use super::first_audio::FirstAudio;
use super::{Second, round};
use crate::metrics::process::Usage;
use crate::metrics::registry::Registry;
use crate::time::Instant;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::VecDeque;

/// One second's news.
#[derive(Debug, Serialize)]
pub struct Beat {
    /// Counts from 1.
    pub number: u64,
    /// Wall clock, ms since 1970.
    pub at_ms: u64,
    /// Since the start of the process.
    pub uptime_s: f64,
    /// The process.
    pub process: Process,
    /// This second, one point of each column of [`Past`].
    pub second: SecondJson,
    /// The last minute.
    pub minute: Minute,
    /// How long users of the last minute waited for the first audio, and for what.
    pub first_audio: Option<FirstAudio>,
    /// Shard by shard.
    pub shards: Vec<Shard>,
    /// Everything that may fill up.
    pub queues: Vec<Queue>,
    /// What was ever dropped.
    pub drops: Vec<Dropped>,
    /// Why connections have ended.
    pub ended: Vec<Ended>,
    /// The health of what stands behind each stage.
    pub pools: Vec<Pool>,
    /// Turns that ended since the last beat, newest first, at most [`crate::limits::TURNS_SHOWN`].
    pub turns: Vec<Value>,
}

/// The process, from the system.
#[derive(Debug, Serialize)]
pub struct Process {
    /// Cores it kept busy since the last beat.
    pub cores: Option<f64>,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

impl Process {
    pub(super) fn of(usage: &Usage, before: Option<(Instant, Usage)>, now: Instant) -> Process {
        let cores = before.and_then(|(at, before)| {
            let spent = usage.cpu?.saturating_sub(before.cpu?).as_secs_f64();
            let passed = now.since(at).as_secs_f64();
            (passed > 0.0).then(|| round(spent / passed))
        });
        Process { cores, resident_bytes: usage.resident_bytes, threads: usage.threads }
    }
}

/// Counts of the last minute.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of the counters")]
pub struct Minute {
    /// How much of a minute there is yet.
    pub span_s: f64,
    pub started: u64,
    pub complete: u64,
    pub failed: u64,
    pub aborted: u64,
    pub empty: u64,
    pub closed: u64,
    pub barge_ins: u64,
    pub underruns: u64,
    /// Reply packets written.
    pub frames: u64,
    /// Those of them that left more than [`super::LATE`] after their instant.
    pub frames_late: u64,
    pub accepted: u64,
    pub refused: u64,
}

/// A shard now.
#[derive(Debug, Serialize)]
pub struct Shard {
    /// Which.
    pub shard: u16,
    /// Share of this second outside the reactor.
    pub busy: Option<f64>,
    /// Share of the last ten seconds on a core.
    pub cpu: Option<f64>,
    /// Share of the last ten seconds ready to run, while others had the core.
    pub run_delay: Option<f64>,
    /// 99th percentile of how late it woke in this second.
    pub late_ms: Option<f64>,
    /// Open connections.
    pub connections: i64,
    /// Sessions that listen.
    pub listening: i64,
    /// Sessions that speak.
    pub speaking: i64,
    /// Its load as admission weighs it: 100 where users begin to suffer.
    pub load: i64,
    /// What that makes it give up, 0 to 4 (`voxlane_load_level`).
    pub level: i64,
}

/// Something that may fill up.
#[derive(Debug, Serialize)]
pub struct Queue {
    /// For people.
    pub name: &'static str,
    /// What waits now, in all shards.
    pub depth: u64,
    /// What would fit.
    pub bound: u64,
}

/// Things dropped for one cause.
#[derive(Debug, Serialize)]
pub struct Dropped {
    /// What.
    pub item: &'static str,
    /// Why.
    pub cause: &'static str,
    /// Since the start.
    pub total: u64,
    /// In the last minute.
    pub minute: u64,
}

/// Connections ended for one cause.
#[derive(Debug, Serialize)]
pub struct Ended {
    /// Why.
    pub cause: &'static str,
    /// Since the start.
    pub total: u64,
    /// In the last minute.
    pub minute: u64,
}

/// A stage's workers, and how what they call has answered in the last minute.
#[derive(Debug, Serialize)]
pub struct Pool {
    /// The stage.
    pub pool: &'static str,
    /// Living threads.
    pub threads: usize,
    /// Those with a job.
    pub busy: i64,
    /// Cores they kept busy in the last ten seconds.
    pub cores: Option<f64>,
    /// Jobs of the last minute by result.
    #[serde(serialize_with = "as_map")]
    pub results: Vec<(&'static str, u64)>,
    /// Mean wait for a worker.
    pub wait_ms: Option<f64>,
    /// Mean time to the first result.
    pub first_ms: Option<f64>,
    /// Mean length of a job.
    pub job_ms: Option<f64>,
    /// How far down the stage has had to go of late (`voxlane_degraded`); `null` without providers.
    pub degraded: Option<u64>,
    /// Its providers, in order of name.
    pub providers: Vec<Provider>,
}

/// A provider's door.
#[derive(Debug, Serialize)]
pub struct Provider {
    /// As in metrics.
    pub name: String,
    /// 0 closed, 1 half-open, 2 open: of the breaker.
    pub state: u64,
}

/// What is told of providers, as it stands among the metrics: stage, and the value or the provider.
#[derive(Debug, Default)]
pub(super) struct Doors {
    degraded: Vec<(String, u64)>,
    providers: Vec<(String, String, u64)>,
}

impl Doors {
    pub(super) fn read(registry: &Registry) -> Doors {
        let mut doors = Doors::default();
        let value = |labels: &str, name: &str| {
            let found = labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().trim_matches('"').to_owned()
        };
        registry.probes(|probe| match probe.name {
            "voxlane_degraded" => doors.degraded.push((value(&probe.labels, "stage"), (probe.value)())),
            "voxlane_provider_state" => {
                let (stage, name) = (value(&probe.labels, "stage"), value(&probe.labels, "provider"));
                doors.providers.push((stage, name, (probe.value)()));
            }
            _ => {}
        });
        doors.providers.sort();
        doors
    }

    pub(super) fn degraded(&self, stage: &str) -> Option<u64> {
        self.degraded.iter().find(|(own, _)| own == stage).map(|(_, value)| *value)
    }

    pub(super) fn providers(&self, stage: &str) -> Vec<Provider> {
        let own = self.providers.iter().filter(|(own, ..)| own == stage);
        own.map(|(_, name, state)| Provider { name: name.clone(), state: *state }).collect()
    }
}

fn as_map<S: Serializer>(pairs: &[(&'static str, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

/// One point of each column of [`Past`].
#[derive(Debug, Serialize)]
pub struct SecondJson {
    idle: i64,
    listening: i64,
    thinking: i64,
    speaking: i64,
    complete: f64,
    failed: f64,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    frames: f64,
    late: f64,
    frame_late_ms: Option<f64>,
    connections: i64,
}

impl SecondJson {
    pub(super) fn of(second: &Second) -> SecondJson {
        let percentile = |i: usize| second.first_audio_ms.map(|all| all[i]);
        SecondJson {
            idle: second.idle,
            listening: second.listening,
            thinking: second.thinking,
            speaking: second.speaking,
            complete: second.complete,
            failed: second.failed,
            p50: percentile(0),
            p95: percentile(1),
            p99: percentile(2),
            frames: second.frames,
            late: second.late,
            frame_late_ms: second.frame_late_ms,
            connections: second.connections,
        }
    }
}

/// What has been, oldest first, in columns: one value a second in each.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of a second's points")]
pub struct Past {
    /// Wall clock, ms since 1970.
    pub at_ms: Vec<u64>,
    pub idle: Vec<i64>,
    pub listening: Vec<i64>,
    pub thinking: Vec<i64>,
    pub speaking: Vec<i64>,
    pub complete: Vec<f64>,
    pub failed: Vec<f64>,
    pub p50: Vec<Option<f64>>,
    pub p95: Vec<Option<f64>>,
    pub p99: Vec<Option<f64>>,
    pub frames: Vec<f64>,
    pub late: Vec<f64>,
    pub frame_late_ms: Vec<Option<f64>>,
    pub connections: Vec<i64>,
    /// Shard by shard.
    pub shards: Vec<PastShard>,
}

/// A shard's columns.
#[derive(Debug, Serialize)]
pub struct PastShard {
    /// Which.
    pub shard: u16,
    /// Share of each second outside the reactor.
    pub busy: Vec<Option<f64>>,
    /// 99th percentile of how late it woke.
    pub late_ms: Vec<Option<f64>>,
}

impl Past {
    pub(super) fn of(seconds: &VecDeque<Second>) -> Past {
        fn column<T>(seconds: &VecDeque<Second>, of: impl Fn(&Second) -> T) -> Vec<T> {
            seconds.iter().map(of).collect()
        }
        let percentile = |i: usize| column(seconds, |second| second.first_audio_ms.map(|all| all[i]));
        let shard = |id: u16| {
            let of = |second: &Second| second.shards.iter().find(|shard| shard.id == id).copied();
            PastShard {
                shard: id,
                busy: column(seconds, |second| of(second).map(|shard| shard.busy)),
                late_ms: column(seconds, |second| of(second).and_then(|shard| shard.late_ms)),
            }
        };
        Past {
            at_ms: column(seconds, |second| second.at_ms),
            idle: column(seconds, |second| second.idle),
            listening: column(seconds, |second| second.listening),
            thinking: column(seconds, |second| second.thinking),
            speaking: column(seconds, |second| second.speaking),
            complete: column(seconds, |second| second.complete),
            failed: column(seconds, |second| second.failed),
            p50: percentile(0),
            p95: percentile(1),
            p99: percentile(2),
            frames: column(seconds, |second| second.frames),
            late: column(seconds, |second| second.late),
            frame_late_ms: column(seconds, |second| second.frame_late_ms),
            connections: column(seconds, |second| second.connections),
            shards: seconds.back().map_or_else(Vec::new, |last| last.shards.iter().map(|s| shard(s.id)).collect()),
        }
    }
}
