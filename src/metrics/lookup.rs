//! Single values by name and labels, as they stand in the exposition: for alerts.

use super::catalog::{Counter, Gauge, Series};
use super::exposition::home_label;
use super::registry::{Registry, Sum};

/// What was measured at one moment.
pub struct Lookup {
    sums: Vec<Sum>,
    probes: Vec<(&'static str, String, u64)>,
}

impl Lookup {
    /// Reads everything once.
    pub fn new(registry: &Registry) -> Lookup {
        let mut probes = Vec::new();
        registry.probes(|probe| probes.push((probe.name, probe.labels.to_string(), (probe.value)())));
        Lookup { sums: registry.sums(), probes }
    }

    /// The sum of all lines of that name that have all of `labels` (`a="b",c="d"`); a time in seconds, a series by its count.
    /// `None`: there is no such line.
    pub fn value(&self, name: &str, labels: &str) -> Option<f64> {
        let mut found = None;
        let mut add = |value: f64| found = Some(found.unwrap_or(0.0) + value);
        for sum in &self.sums {
            let home = home_label(sum.home);
            let has = |own: &str| has_labels(&[own, &home], labels);
            let counters = Counter::ALL.iter().filter(|m| m.name() == name && has(m.labels()));
            counters.for_each(|m| add(sum.counter(*m) as f64 / if m.is_time() { 1e6 } else { 1.0 }));
            let gauges = Gauge::ALL.iter().filter(|m| m.name() == name && has(m.labels()));
            gauges.for_each(|m| add(sum.gauge(*m) as f64));
            let counted = name.strip_suffix("_count").unwrap_or("");
            let series = Series::ALL.iter().filter(|m| m.name() == counted && has(m.labels()));
            series.for_each(|m| add(sum.series(*m).count() as f64));
        }
        let probes = self.probes.iter().filter(|(own, has, _)| *own == name && has_labels(&[has], labels));
        probes.for_each(|(_, _, value)| add(*value as f64));
        found
    }

    /// Every name that can be asked for.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        let counters = Counter::ALL.iter().map(|m| m.name().to_owned());
        let gauges = Gauge::ALL.iter().map(|m| m.name().to_owned());
        let series = Series::ALL.iter().map(|m| format!("{}_count", m.name()));
        counters.chain(gauges).chain(series).chain(self.probes.iter().map(|(name, _, _)| (*name).to_owned()))
    }
}

fn has_labels(own: &[&str], wanted: &str) -> bool {
    let own = || own.iter().flat_map(|labels| labels.split(','));
    wanted.split(',').filter(|label| !label.is_empty()).all(|label| own().any(|have| have == label.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;
    use crate::metrics::registry::{Home, Probe};
    use crate::time::{Duration, UnixMs};

    #[test]
    fn a_value_is_the_sum_of_the_lines_that_fit() {
        let registry = Registry::new(UnixMs(0));
        let shards = [0, 1].map(|id| registry.panel(Home::Shard(ShardId(id))));
        let worker = registry.panel(Home::Worker("llm"));
        shards.iter().for_each(|shard| shard.add(Counter::TurnsFailed, 2));
        shards[0].set(Gauge::Idle, 5);
        shards[1].add(Counter::Busy, 1_500_000);
        shards[1].record(Series::FirstAudio, Duration::from_millis(3));
        worker.add(Counter::JobsOk, 7);
        let labels = r#"stage="llm",provider="one""#.into();
        registry.watch(Probe { name: "voxlane_x", labels, help: "x", value: Box::new(|| 3) });
        let lookup = Lookup::new(&registry);
        for (name, labels, expected) in [
            ("voxlane_turns_total", r#"event="failed""#, Some(4.0)),
            ("voxlane_turns_total", r#"event="failed",shard="1""#, Some(2.0)),
            ("voxlane_turns_total", r#"event="nothing""#, None),
            ("voxlane_sessions_in_phase", r#"phase="idle""#, Some(5.0)),
            ("voxlane_busy_seconds_total", r#"shard="1""#, Some(1.5)),
            ("voxlane_turn_seconds_count", r#"milestone="first_audio""#, Some(1.0)),
            ("voxlane_jobs_total", r#"pool="llm""#, Some(7.0)),
            ("voxlane_x", r#"provider="one""#, Some(3.0)),
            ("voxlane_y", "", None),
        ] {
            assert_eq!(lookup.value(name, labels), expected, "{name}{{{labels}}}");
        }
        assert!(["voxlane_turns_total", "voxlane_x"].iter().all(|name| lookup.names().any(|known| known == *name)));
    }
}
