//! Single values by name and labels, as they stand in the exposition: for alerts. Counters, gauges and probes; to look is a few
//! loads for each thread, and no histogram is merged for it.

use super::catalog::{Counter, Gauge};
use super::exposition::home_label;
use super::registry::{Home, Registry};

/// The sum of all lines of that name that have all of `labels` (`a="b",c="d"`); a time in seconds. `None`: there is no such line.
pub fn value(registry: &Registry, name: &str, labels: &str) -> Option<f64> {
    let counters: Vec<Counter> = Counter::ALL.iter().copied().filter(|m| m.name() == name).collect();
    let gauges: Vec<Gauge> = Gauge::ALL.iter().copied().filter(|m| m.name() == name).collect();
    let mut found = None;
    let mut add = |value: f64| found = Some(found.unwrap_or(0.0) + value);
    if counters.is_empty() && gauges.is_empty() {
        let is_it = |own: &str, has: &str| own == name && has_labels(&[has], labels);
        registry.probes(|probe| {
            if is_it(probe.name, &probe.labels) {
                add((probe.value)() as f64);
            }
        });
        return found;
    }
    // Which of them fit depends on whose panel it is, and the panels of one pool mostly follow one another.
    let mut fitting: Option<(Home, Vec<Counter>, Vec<Gauge>)> = None;
    registry.panels(|home, panel, _| {
        if fitting.as_ref().is_none_or(|(known, ..)| *known != home) {
            let label = home_label(home);
            let has = |own: &str| has_labels(&[own, &label], labels);
            let counters = counters.iter().copied().filter(|m| has(m.labels())).collect();
            fitting = Some((home, counters, gauges.iter().copied().filter(|m| has(m.labels())).collect()));
        }
        let Some((_, counters, gauges)) = &fitting else { return };
        let times = |m: &Counter| if m.is_time() { 1e-6 } else { 1.0 };
        counters.iter().for_each(|m| add(panel.counter(*m) as f64 * times(m)));
        gauges.iter().for_each(|m| add(panel.gauge(*m) as f64));
    });
    found
}

/// Every name that can be asked for.
pub fn names(registry: &Registry) -> Vec<String> {
    let counters = Counter::ALL.iter().map(|m| m.name().to_owned());
    let mut names: Vec<String> = counters.chain(Gauge::ALL.iter().map(|m| m.name().to_owned())).collect();
    registry.probes(|probe| names.push(probe.name.to_owned()));
    names
}

fn has_labels(own: &[&str], wanted: &str) -> bool {
    let own = || own.iter().flat_map(|labels| labels.split(','));
    wanted.split(',').filter(|label| !label.is_empty()).all(|label| own().any(|have| have == label.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;
    use crate::metrics::registry::Probe;
    use crate::time::UnixMs;

    #[test]
    fn a_value_is_the_sum_of_the_lines_that_fit() {
        let registry = Registry::new(UnixMs(0));
        let shards = [0, 1].map(|id| registry.panel(Home::Shard(ShardId(id))));
        let worker = registry.panel(Home::Worker("llm"));
        shards.iter().for_each(|shard| shard.add(Counter::TurnsFailed, 2));
        shards[0].set(Gauge::Idle, 5);
        shards[1].add(Counter::Busy, 1_500_000);
        worker.add(Counter::JobsOk, 7);
        let labels = r#"stage="llm",provider="one""#.into();
        registry.watch(Probe { name: "voxlane_x", labels, help: "x", value: Box::new(|| 3) });
        for (name, labels, expected) in [
            ("voxlane_turns_total", r#"event="failed""#, Some(4.0)),
            ("voxlane_turns_total", r#"event="failed",shard="1""#, Some(2.0)),
            ("voxlane_turns_total", r#"event="nothing""#, None),
            ("voxlane_sessions_in_phase", r#"phase="idle""#, Some(5.0)),
            ("voxlane_busy_seconds_total", r#"shard="1""#, Some(1.5)),
            ("voxlane_jobs_total", r#"pool="llm""#, Some(7.0)),
            ("voxlane_x", r#"provider="one""#, Some(3.0)),
            ("voxlane_y", "", None),
        ] {
            assert_eq!(value(&registry, name, labels), expected, "{name}{{{labels}}}");
        }
        let names = names(&registry);
        assert!(["voxlane_turns_total", "voxlane_x"].iter().all(|name| names.iter().any(|known| known == name)));
    }
}
