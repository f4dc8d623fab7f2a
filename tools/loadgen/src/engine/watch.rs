//! What can be seen of the server from outside while it is under load: its process, and its statistics.

use super::glance::Glance;
use super::threads::Sample;
use crate::find::child::get;
use crate::outcome::{Distribution, Outcome, ServerSeen, ShardSeen, Stage};
use serde_json::Value;
use std::net::SocketAddr;

/// An observer of one server; of none it sees nothing.
#[derive(Debug, Default)]
pub struct Watch {
    pid: Option<u32>,
    stats: Option<SocketAddr>,
    begun: Option<Sample>,
    last: Option<Sample>,
    seconds: Vec<Option<f64>>,
    shards: Vec<Vec<f64>>,
    rss: u64,
    anonymous: Option<u64>,
    anonymous_max: u64,
    /// What the server had told it adds to turns when the warm-up ended, and what it told last.
    added_before: Option<Distribution>,
    added: Distribution,
}

/// The milestones of a turn in order, and the stage that each one ends.
const STAGES: [(&str, &str); 6] = [
    ("end_of_utterance", "endpointing"),
    ("final_transcript", "recognition"),
    ("first_token", "language model"),
    ("first_sentence", "first sentence"),
    ("first_audio_ready", "voice"),
    ("first_audio", "60 ms after tts start"),
];

/// The server is asked for its statistics so often, besides when the warm-up ends and when all is over: with a thousand workers an
/// answer costs it a hundredth of a second of its core, and what is drawn second by second, how busy its shards are, is a mean over
/// ten seconds anyway.
const STATS_EVERY_S: usize = 5;

impl Watch {
    /// Of a process and of statistics, as far as given.
    pub fn new(pid: Option<u32>, stats: Option<SocketAddr>) -> Watch {
        Watch { pid, stats, anonymous: pid.and_then(anonymous), ..Watch::default() }
    }

    /// Looks once. `is_warm`: what is used from now on counts.
    pub fn second(&mut self, is_warm: bool) {
        let sample = self.pid.and_then(Sample::take);
        let used = self.last.as_ref().zip(sample.as_ref()).map(|(before, now)| now.since(before));
        self.seconds.push(used.as_ref().map(|used| used.cores));
        self.rss = self.rss.max(used.map_or(0, |used| used.rss));
        self.anonymous_max = self.anonymous_max.max(self.pid.and_then(anonymous).unwrap_or(0));
        if is_warm && self.begun.is_none() {
            self.begun.clone_from(&sample);
        }
        self.last = sample;
        let is_warm_now = is_warm && self.added_before.is_none();
        if !is_warm_now && self.seconds.len() % STATS_EVERY_S != 1 {
            return self.shards.push(self.shards.last().cloned().unwrap_or_default());
        }
        let stats = self.ask();
        let shards = stats["shards"].as_array().map_or(&[][..], Vec::as_slice);
        self.shards.push(shards.iter().map(|s| s["busy"].as_f64().unwrap_or(0.0)).collect());
        if is_warm_now {
            self.added_before = Some(added(&stats));
        }
    }

    fn ask(&self) -> Value {
        let stats = self.stats.and_then(|at| get(at, "/stats.json").ok());
        stats.and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default()
    }

    /// What was seen in the last second, for those who look on.
    pub(super) fn glance(&self, glance: &mut Glance) {
        glance.server_cores = self.seconds.last().copied().flatten();
        glance.rss = self.pid.map(|_| self.rss).filter(|rss| *rss > 0);
        glance.shards = self.shards.last().cloned().unwrap_or_default();
    }

    /// What was seen since the warm-up; `None` of nothing.
    pub fn finish(&mut self) -> Option<ServerSeen> {
        let spent = self.begun.as_ref().zip(self.last.as_ref()).map(|(b, l)| l.since(b));
        let stats = self.ask();
        if spent.is_none() && stats.is_null() {
            return None;
        }
        let spent = spent.unwrap_or_default();
        self.added = added(&stats).since(self.added_before.as_ref().unwrap_or(&Distribution::default()));
        let p = |series: &Value, which: &str| {
            series["recent"][which].as_f64().or_else(|| series["lifetime"][which].as_f64())
        };
        let shards = stats["shards"].as_array().map_or(&[][..], Vec::as_slice);
        let shard = |(i, s): (usize, &Value)| ShardSeen {
            shard: s["shard"].as_u64().unwrap_or(i as u64) as u32,
            busy: s["busy"].as_f64().unwrap_or(0.0),
            sessions: s["gauges"]["voxlane_sessions"].as_u64().unwrap_or(0),
            lateness_p99: p(&s["series_ms"]["voxlane_loop_lateness_seconds"], "p99").unwrap_or(0.0),
            frame_lateness_p99: p(&s["series_ms"]["voxlane_frame_lateness_seconds"], "p99").unwrap_or(0.0),
        };
        let pools = stats["pools"].as_array().map_or(&[][..], Vec::as_slice);
        let wait = |pool: &Value| {
            let name = pool["pool"].as_str()?.to_owned();
            Some((name, p(&pool["series_ms"]["voxlane_job_wait_seconds"], "p95")?))
        };
        Some(ServerSeen {
            cores: spent.cores,
            kinds: spent.kinds,
            busiest: spent.busiest,
            rss: self.rss.max(stats["process"]["resident_bytes"].as_u64().unwrap_or(0)),
            grown: self.anonymous.map_or(0, |before| self.anonymous_max.saturating_sub(before)),
            shards: shards.iter().enumerate().map(shard).collect(),
            stages: stages(&stats),
            job_wait: pools.iter().filter_map(wait).collect(),
            about: stats["version"].as_str().map(|v| ("version".to_owned(), v.to_owned())).into_iter().collect(),
        })
    }

    /// Adds what was seen second by second. `own`: cores that the load tool used.
    pub fn write(&self, outcome: &mut Outcome, own: &[f64]) {
        for (i, second) in outcome.seconds.iter_mut().enumerate() {
            second.server_cores = self.seconds.get(i).copied().flatten();
            second.own_cpu = own.get(i).copied().unwrap_or(0.0);
            second.shards = self.shards.get(i).cloned().unwrap_or_default();
        }
        if self.added.count() > 0 {
            outcome.times.insert("added".to_owned(), self.added.clone());
        }
        if let Some(server) = &outcome.server {
            outcome.shares.insert("server_cpu".to_owned(), server.cores);
            outcome.counts.insert("rss_mib".to_owned(), server.rss as f64 / 1_048_576.0);
        }
    }
}

/// Anonymous memory of a process, bytes: what it allocated, without the pages of its program.
fn anonymous(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// What the server says it has added to turns; nothing where it says nothing, as others do.
fn added(stats: &Value) -> Distribution {
    serde_json::from_value(stats["all"]["added_us"].clone()).unwrap_or_default()
}

/// Where the time went: differences of the milestones' percentiles.
fn stages(stats: &Value) -> Vec<Stage> {
    let series = &stats["all"]["series_ms"];
    let (mut p50, mut p95) = (0.0, 0.0);
    let mut stages = Vec::new();
    for (milestone, name) in STAGES {
        let at = &series[format!("voxlane_turn_seconds{{milestone=\"{milestone}\"}}")]["lifetime"];
        let (Some(a), Some(b)) = (at["p50"].as_f64(), at["p95"].as_f64()) else { continue };
        stages.push(Stage { name: name.to_owned(), p50: (a - p50).max(0.0), p95: (b - p95).max(0.0) });
        (p50, p95) = (a.max(p50), b.max(p95));
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stages_are_what_lies_between_milestones() {
        let at = |a: f64, b: f64| json!({"lifetime": {"p50": a, "p95": b}});
        let stats = json!({"all": {"series_ms": {
            r#"voxlane_turn_seconds{milestone="end_of_utterance"}"#: at(560.0, 600.0),
            r#"voxlane_turn_seconds{milestone="final_transcript"}"#: at(690.0, 740.0),
            r#"voxlane_turn_seconds{milestone="first_audio"}"#: at(680.0, 900.0),
        }}});
        let found: Vec<(String, f64, f64)> = stages(&stats).into_iter().map(|s| (s.name, s.p50, s.p95)).collect();
        assert_eq!(
            found,
            [
                ("endpointing".into(), 560.0, 600.0),
                ("recognition".into(), 130.0, 140.0),
                ("60 ms after tts start".into(), 0.0, 160.0),
            ]
        );
        assert!(stages(&Value::Null).is_empty());
    }

    #[test]
    fn what_the_server_added_is_read_from_its_statistics() {
        let stats = json!({"all": {"added_us": {"max_us": 905, "sum_us": 1_105, "buckets": [[200, 1], [909, 1]]}}});
        assert_eq!(added(&stats).percentile(100.0), Some(0.905));
        assert_eq!(added(&json!({"all": {}})), Distribution::default());
    }

    #[test]
    fn of_nothing_nothing_is_seen() {
        let mut watch = Watch::default();
        watch.second(true);
        assert_eq!(watch.finish(), None);
    }
}
