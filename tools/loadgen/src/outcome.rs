//! What came out of a run: the JSON that `--json` writes and that `report`, `--slo`, `find` and `compare` read. Names of times,
//! shares and counts are those of [`crate::slo::METRICS`]; what was not measured is absent, never zero.

mod distribution;

pub use distribution::Distribution;

use crate::scenario::Scenario;
use crate::slo::{Kind, Metric, Slo, Statistic, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The shape of the file; a reader refuses another.
pub const SCHEMA: u32 = 1;
/// Examples kept of a class of failures.
pub const EXAMPLES_MAX: usize = 5;
/// Causes of failures that are told apart; a server that answers each device otherwise does not grow the report.
pub const CAUSES_MAX: usize = 16;
/// Longest file that is read.
const BYTES_MAX: u64 = 64 << 20;

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the tool.
    pub tool: String,
    /// A name that the person gave, or the target.
    pub label: String,
    /// Where devices connected.
    pub target: String,
    /// Start, ms since 1970.
    pub started_unix_ms: u64,
    /// From the first arrival to the last device's end, ms.
    pub took_ms: u64,
    /// What was run.
    pub scenario: Scenario,
    /// Why latencies are not to be believed; then `times` is empty.
    pub unmeasured: Option<String>,
    /// Whether it was ended by the person before its time.
    pub interrupted: bool,
    /// Durations.
    pub times: BTreeMap<String, Distribution>,
    /// Parts of a whole, 0 to 1.
    pub shares: BTreeMap<String, f64>,
    /// Occurrences.
    pub counts: BTreeMap<String, f64>,
    /// Failures by class.
    pub failures: BTreeMap<String, Failures>,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// What the load tool used itself.
    pub own: Own,
    /// What was seen of the server, with `--pid` or `--stats`.
    pub server: Option<ServerSeen>,
}

/// A class of failures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Failures {
    /// How many.
    pub count: u64,
    /// The first [`EXAMPLES_MAX`], a line each: device, second of the run, what happened.
    pub examples: Vec<String>,
    /// Of those that ended a connection: how many for each cause, as far as there are no more than [`CAUSES_MAX`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub causes: BTreeMap<String, u64>,
}

impl Failures {
    /// So many more for this cause.
    pub fn cause(&mut self, cause: &str, count: u64) {
        if let Some(known) = self.causes.get_mut(cause) {
            *known += count;
        } else if self.causes.len() < CAUSES_MAX {
            self.causes.insert(cause.to_owned(), count);
        }
    }
}

/// One second of a run. A figure that nothing was measured of is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Its number, from 0.
    pub at: u32,
    /// Devices connected at its end.
    pub devices: u32,
    /// Turns completed within it.
    pub turns: u32,
    /// Failures within it.
    pub failures: u32,
    /// Packets heard within it, and how many of them were late.
    pub packets: u32,
    /// See `packets`.
    pub late: u32,
    /// Of the turns completed, ms.
    pub first_audio_p50: Option<f64>,
    /// See `first_audio_p50`.
    pub first_audio_p95: Option<f64>,
    /// Cores used by the server.
    pub server_cores: Option<f64>,
    /// Of the cores it has, the share that the load tool used.
    pub own_cpu: f64,
    /// Busy share of each shard, 0 to 1.
    pub shards: Vec<f64>,
}

/// What the load tool used itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Own {
    /// Threads that drive devices.
    pub threads: u32,
    /// How often they looked at what came, µs: the resolution of every time; 0 where each arrival woke them.
    #[serde(default)]
    pub tick_us: u32,
    /// Share of a core used by the busiest of them, mean of the run.
    pub cpu: f64,
    /// Resident memory at its highest, bytes.
    pub rss: u64,
}

/// What was seen of the server between the warm-up's end and the run's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerSeen {
    /// Cores used: CPU seconds per second.
    pub cores: f64,
    /// The same by kind of thread, as in `shard` or `tts`.
    pub kinds: BTreeMap<String, f64>,
    /// Of the busiest thread of each kind, its share of a core.
    pub busiest: BTreeMap<String, f64>,
    /// Resident memory at its highest, bytes.
    pub rss: u64,
    /// How much its anonymous memory grew from before the first device to its highest, bytes.
    pub grown: u64,
    /// Each shard.
    pub shards: Vec<ShardSeen>,
    /// Where the time to first audio went, in order.
    pub stages: Vec<Stage>,
    /// How long jobs waited for a worker by pool, p95 in ms.
    pub job_wait: BTreeMap<String, f64>,
    /// What the server says it is: mode and complexity of the voice, version.
    pub about: BTreeMap<String, String>,
}

/// A stage of a turn, ms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// What happens in it.
    pub name: String,
    /// Its median.
    pub p50: f64,
    /// Its 95th percentile.
    pub p95: f64,
}

/// A shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardSeen {
    /// Its number.
    pub shard: u32,
    /// Share of its time outside the reactor, 0 to 1.
    pub busy: f64,
    /// Sessions at the busiest moment.
    pub sessions: u64,
    /// How late it woke, p99 in ms.
    pub lateness_p99: f64,
    /// How late packets were written, p99 in ms.
    pub frame_lateness_p99: f64,
}

impl Outcome {
    /// A figure in the unit of a promise; `None` when it was not measured.
    pub fn figure(&self, metric: &Metric, statistic: Statistic) -> Option<f64> {
        match metric.kind {
            Kind::Time => self.times.get(metric.name)?.statistic(statistic),
            Kind::Share => self.shares.get(metric.name).copied(),
            Kind::Count => self.counts.get(metric.name).copied(),
        }
    }

    /// Whether a promise was kept.
    pub fn judge(&self, slo: &Slo) -> Verdict {
        slo.judge(|metric, statistic| self.figure(metric, statistic))
    }

    /// From a file; the error is one line that says where the text stops being a run.
    pub fn load(path: &Path) -> Result<Outcome, String> {
        let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let bytes = std::fs::metadata(path).map_err(|e| named(&e))?.len();
        if bytes > BYTES_MAX {
            return Err(named(&format!("{} MiB are too much for the JSON of a run", bytes >> 20)));
        }
        let text = std::fs::read_to_string(path).map_err(|e| named(&e))?;
        Outcome::read(&text).map_err(|e| format!("{}:{e}", path.display()))
    }

    /// From a text; the error begins with line and column.
    pub fn read(text: &str) -> Result<Outcome, String> {
        #[derive(Deserialize)]
        struct Shape {
            schema: u32,
        }
        match serde_json::from_str::<Shape>(text) {
            Ok(Shape { schema: SCHEMA }) => {}
            Ok(Shape { schema }) => {
                return Err(format!("1:1: this is a run of shape {schema}; this tool reads {SCHEMA}"));
            }
            Err(e) if e.is_data() => {
                return Err(format!("{}:{}: not the JSON of a run, as --json writes it ({e})", e.line(), e.column()));
            }
            Err(_) => {}
        }
        serde_json::from_str(text).map_err(|e| {
            let what = e.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            format!("{}:{}: {what}", e.line(), e.column())
        })
    }

    /// As text for a file.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers, texts and lists can be written")
    }

    /// Takes a failure.
    pub fn fail(&mut self, class: &str, example: impl FnOnce() -> String) {
        let failures = self.failures.entry(class.to_owned()).or_default();
        failures.count += 1;
        if failures.examples.len() < EXAMPLES_MAX {
            failures.examples.push(example());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
