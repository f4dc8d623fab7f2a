//! Merged panels as JSON: `/stats.json`, for people and for the tools of this repository. Durations are in milliseconds; counters
//! and gauges that are 0, and series without a value, are left out; a rate of nothing is `null`.

use super::catalog::{CALLS, Counter, Gauge, Series};
use super::histogram::Snapshot;
use super::load::{Loads, Spent};
use super::process::Usage;
use super::registry::{Home, Registry, Sum};
use super::window::OUTCOMES;
use crate::time::{Duration, UnixMs};
use serde_json::{Map, Value, json};

/// Everything the registry knows: the whole process, each shard, each pool, rates of the last minute. Beside its percentiles,
/// `all.added_us` tells all of `voxlane_added_seconds`: of two readings the difference is the distribution of the time between.
pub fn stats(registry: &Registry, usage: &Usage, now: UnixMs) -> Value {
    let sums = registry.sums();
    let mut all = Sum::new(Home::Process);
    sums.iter().for_each(|sum| all.merge(sum));
    let (spent, loads) = (registry.spent(), registry.loads());
    let of = |wanted: fn(&Home) -> bool| {
        let homes = sums.iter().filter(move |sum| wanted(&sum.home));
        homes.map(|sum| home_json(sum, spent.iter().find(|spent| spent.home == sum.home), &loads)).collect::<Vec<_>>()
    };
    let mut elsewhere = Map::new();
    registry.probes(|probe| {
        elsewhere.insert(key(probe.name, &probe.labels), json!((probe.value)()));
    });
    let mut whole = sum_json(&all);
    whole["added_us"] = buckets_json(all.series(Series::Added));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": now.0.saturating_sub(registry.started.0) as f64 / 1e3,
        "process": {
            "cpu_s": usage.cpu.map(|cpu| cpu.as_secs_f64()),
            "resident_bytes": usage.resident_bytes,
            "threads": usage.threads,
        },
        "window": window_json(registry),
        "all": whole,
        "shards": of(|home| matches!(home, Home::Shard(_))),
        "pools": of(|home| matches!(home, Home::Worker(_))),
        "elsewhere": elsewhere,
    })
}

fn sum_json(sum: &Sum) -> Value {
    let counters = Counter::ALL.iter().filter(|m| sum.counter(**m) != 0);
    let gauges = Gauge::ALL.iter().filter(|m| sum.gauge(**m) != 0);
    let series = Series::ALL.iter().filter(|m| sum.series(**m).count() > 0);
    json!({
        "threads": sum.threads,
        "counters": counters.map(|m| (key(m.name(), m.labels()), counter_json(sum, *m))).collect::<Map<_, _>>(),
        "gauges": gauges.map(|m| (key(m.name(), m.labels()), json!(sum.gauge(*m)))).collect::<Map<_, _>>(),
        "series_ms": series.map(|m| (key(m.name(), m.labels()), series_json(sum.series(*m)))).collect::<Map<_, _>>(),
    })
}

/// Time in seconds, as its name says; all else as it is.
fn counter_json(sum: &Sum, counter: Counter) -> Value {
    match (counter.is_time(), sum.counter(counter)) {
        (true, us) => json!(us as f64 / 1e6),
        (false, n) => json!(n),
    }
}

/// A shard or a pool: beside all that it counts, what a benchmarker divides, flat and always there.
///
/// | Key | Of | Meaning |
/// |---|---|---|
/// | `shard`, `pool` | | which |
/// | `threads` | both | that live |
/// | `busy` | both | share of the last 10 s at work (a shard outside its wait, a worker on a job), mean of its threads; `null` at first |
/// | `cpu`, `run_delay` | both | shares of the last 10 s on a core, and ready to run without one |
/// | `busy_s`, `cpu_s`, `run_delay_s` | both | the same since the start, in seconds; `waited_s`: a shard's sleep |
/// | `allocs`, `alloc_bytes` | both | blocks and bytes asked for; 0 in a program that does not count them |
/// | `rung`, `woken` | both | doorbells rung for other threads, and those that woke one; the rest were coalesced |
/// | `passes`, `sleeps` | shard | passes of the loop, and those before which it slept |
/// | `syscalls`, `calls` | shard | system calls for devices, all and by kind |
/// | `frames_in`, `frames_out`, `bytes_in`, `bytes_out` | shard | audio packets and bytes on device sockets |
/// | `sessions` | shard | sessions by phase, now |
fn home_json(sum: &Sum, spent: Option<&Spent>, loads: &Loads) -> Value {
    let mut value = sum_json(sum);
    let seconds = |d: Duration| json!(d.as_secs_f64());
    let shares = loads.shares(sum.home);
    value["busy"] = json!(shares.map(|shares| shares.busy));
    value["cpu"] = json!(shares.map(|shares| shares.cpu));
    value["run_delay"] = json!(shares.map(|shares| shares.run_delay));
    value["busy_s"] = seconds(Duration::from_micros(sum.counter(Counter::Busy)));
    value["cpu_s"] = json!(spent.map(|spent| spent.cpu.as_secs_f64()));
    value["run_delay_s"] = json!(spent.map(|spent| spent.run_delay.as_secs_f64()));
    value["allocs"] = json!(sum.counter(Counter::Allocations));
    value["alloc_bytes"] = json!(sum.counter(Counter::AllocatedBytes));
    value["rung"] = json!(sum.counter(Counter::Rung));
    value["woken"] = json!(sum.counter(Counter::CallsWake));
    match sum.home {
        Home::Shard(id) => {
            value["shard"] = json!(id.0);
            value["waited_s"] = seconds(Duration::from_micros(sum.counter(Counter::Waited)));
            shard_json(sum, &mut value);
        }
        Home::Worker(pool) => value["pool"] = json!(pool),
        Home::Process => {}
    }
    value
}

fn shard_json(sum: &Sum, value: &mut Value) {
    let calls = CALLS.map(|call| (label_value(call.labels()), sum.counter(call)));
    value["syscalls"] = json!(calls.iter().map(|(_, n)| n).sum::<u64>());
    value["calls"] = calls.into_iter().map(|(name, n)| (name.to_owned(), json!(n))).collect::<Map<_, _>>().into();
    for (name, counter) in [
        ("passes", Counter::Passes),
        ("sleeps", Counter::Sleeps),
        ("frames_in", Counter::PacketsIn),
        ("frames_out", Counter::PacketsOut),
        ("bytes_in", Counter::BytesIn),
        ("bytes_out", Counter::BytesOut),
    ] {
        value[name] = json!(sum.counter(counter));
    }
    let phases = [Gauge::Idle, Gauge::Listening, Gauge::Thinking, Gauge::Speaking];
    value["sessions"] = phases
        .map(|phase| (label_value(phase.labels()).to_owned(), json!(sum.gauge(phase))))
        .into_iter()
        .collect::<Map<_, _>>()
        .into();
}

/// The value of the only label.
fn label_value(labels: &'static str) -> &'static str {
    labels.split('"').nth(1).unwrap_or(labels)
}

fn series_json(snapshot: &Snapshot) -> Value {
    let life = |p| snapshot.percentile(p).map(ms);
    let recent = |p| snapshot.recent_percentile(p).map(ms);
    json!({
        "count": snapshot.count(),
        "mean": snapshot.mean().map(ms),
        "max": ms(snapshot.max()),
        "lifetime": { "p50": life(50.0), "p95": life(95.0), "p99": life(99.0), "p999": life(99.9) },
        "recent": {
            "count": snapshot.recent_count(),
            "p50": recent(50.0), "p95": recent(95.0), "p99": recent(99.0), "p999": recent(99.9),
        },
    })
}

/// A whole distribution in microseconds: the greatest value of each bucket and how many lie in it.
fn buckets_json(snapshot: &Snapshot) -> Value {
    json!({
        "max_us": snapshot.max().as_micros() as u64,
        "sum_us": snapshot.sum().as_micros() as u64,
        "buckets": snapshot.filled().collect::<Vec<_>>(),
    })
}

fn window_json(registry: &Registry) -> Value {
    let window = registry.window();
    let mut value = json!({ "span_s": window.span().as_secs_f64() });
    for (i, outcome) in OUTCOMES.iter().enumerate() {
        let rates = window.rates(i);
        value[outcome.name] = json!({
            "n": rates.map_or(0, |r| r.n),
            "success_rate": rates.map(|r| r.success),
            "error_rate": rates.map(|r| r.error),
        });
    }
    value
}

/// The metric's name with its labels, as Prometheus would print it.
fn key(name: &str, labels: &str) -> String {
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{labels}}}") }
}

fn ms(d: Duration) -> f64 {
    d.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;
    use crate::time::Instant;

    #[test]
    fn the_whole_is_the_sum_of_shards_and_pools() {
        let registry = Registry::new(UnixMs(10_000));
        let shards = [0, 1].map(|id| registry.panel(Home::Shard(ShardId(id))));
        let worker = registry.panel(Home::Worker("asr"));
        registry.sample(Instant::ZERO);
        for shard in &shards {
            shard.add(Counter::TurnsComplete, 3);
            shard.count(Counter::TurnsFailed);
            shard.record(Series::FrameLateness, Duration::from_micros(1_500));
            shard.record(Series::Added, Duration::from_micros(204));
        }
        worker.add(Counter::JobsOk, 3);
        worker.add(Counter::JobsTimeout, 1);
        worker.add(Counter::JobsCancelled, 9);
        registry.sample(Instant::from_ms(1_000));
        let stats = stats(&registry, &Usage::default(), UnixMs(12_500));

        assert_eq!(stats["uptime_s"], 2.5);
        assert_eq!(stats["process"]["cpu_s"], Value::Null);
        assert_eq!(stats["all"]["counters"][r#"voxlane_turns_total{event="complete"}"#], 6);
        assert_eq!(stats["shards"][1]["counters"][r#"voxlane_turns_total{event="complete"}"#], 3);
        assert_eq!(stats["shards"][1]["shard"], 1);
        assert_eq!(stats["pools"][0]["pool"], "asr");
        assert_eq!(stats["all"]["threads"], 3);
        let lateness = &stats["all"]["series_ms"]["voxlane_frame_lateness_seconds"];
        assert_eq!((&lateness["count"], &lateness["recent"]["p99"]), (&json!(2), &json!(1.5)));
        assert_eq!(stats["all"]["added_us"], json!({ "max_us": 204, "sum_us": 408, "buckets": [[204, 2]] }));
        let turns = &stats["window"]["turns"];
        assert_eq!(turns, &json!({ "n": 8, "success_rate": 0.75, "error_rate": 0.25 }));
        assert_eq!(&stats["window"]["asr"], &json!({ "n": 4, "success_rate": 0.75, "error_rate": 0.25 }));
        assert_eq!(&stats["window"]["llm"]["n"], 0);
    }

    #[test]
    fn a_shard_tells_what_a_benchmarker_divides() {
        let registry = Registry::new(UnixMs(0));
        let shard = registry.panel(Home::Shard(ShardId(3)));
        let before = stats(&registry, &Usage::default(), UnixMs(0));
        assert_eq!((&before["shards"][0]["busy"], &before["shards"][0]["syscalls"]), (&Value::Null, &json!(0)));
        registry.sample(Instant::ZERO);
        shard.add(Counter::Busy, 250_000);
        shard.add(Counter::Waited, 750_000);
        shard.add(Counter::CallsRead, 3);
        shard.add(Counter::CallsWake, 2);
        shard.add(Counter::Rung, 5);
        shard.set(Gauge::Thinking, 7);
        registry.sample(Instant::from_ms(1_000));
        let after = &stats(&registry, &Usage::default(), UnixMs(0))["shards"][0];
        assert_eq!((&after["shard"], &after["busy"], &after["busy_s"]), (&json!(3), &json!(0.25), &json!(0.25)));
        assert_eq!(after["counters"]["voxlane_waited_seconds_total"], json!(0.75), "as the name says");
        assert_eq!((&after["syscalls"], &after["calls"]["read"]), (&json!(5), &json!(3)));
        assert_eq!((&after["rung"], &after["woken"]), (&json!(5), &json!(2)));
        assert_eq!(after["sessions"], json!({ "idle": 0, "listening": 0, "thinking": 7, "speaking": 0 }));
    }

    #[test]
    fn rates_of_nothing_are_null() {
        let registry = Registry::new(UnixMs(0));
        let stats = stats(&registry, &Usage::default(), UnixMs(0));
        assert_eq!(stats["window"]["turns"], json!({ "n": 0, "success_rate": null, "error_rate": null }));
    }
}
