use super::*;
use crate::ids::ShardId;
use crate::metrics::Panel;
use crate::metrics::registry::Probe;
use crate::time::{Duration, UnixMs};
use std::collections::HashSet;
use std::sync::Arc;

/// Two shards that have counted, and their panels: without a holder a gauge does not count.
fn registry() -> (Registry, [Arc<Panel>; 2]) {
    let registry = Registry::new(UnixMs(1_767_225_600_500));
    let shards = [0, 1].map(|id| {
        let shard = registry.panel(Home::Shard(ShardId(id)));
        shard.add(Counter::Accepted, 2 + id as u64);
        shard.set(Gauge::Sessions, 1);
        shard.record(Series::FrameLateness, Duration::from_micros(40));
        shard.record(Series::FrameLateness, Duration::from_micros(4_900));
        shard.record(Series::FrameLateness, Duration::from_secs(90));
        shard
    });
    registry.watch(Probe {
        name: "voxlane_log_lines_dropped_total",
        labels: "".into(),
        help: "Log lines lost.",
        value: Box::new(|| 7),
    });
    (registry, shards)
}

fn usage() -> Usage {
    Usage { cpu: Some(Duration::from_millis(1_250)), resident_bytes: Some(1_048_576), threads: Some(3) }
}

/// The golden text: all lines of some families, as they are to stay. A dashboard somewhere depends on them.
#[test]
fn the_text_is_as_agreed() {
    let (registry, _shards) = registry();
    let text = prometheus(&registry, &usage());
    let golden = r#"# HELP process_cpu_seconds_total User and system CPU time spent.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1.25
# HELP process_resident_memory_bytes Resident memory.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1048576
# HELP process_start_time_seconds When the process began, Unix time.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1767225600.5
# HELP process_threads Threads of the process.
# TYPE process_threads gauge
process_threads 3
"#;
    assert!(text.starts_with(golden), "{}", &text[..golden.len()]);
    for family in [
        r#"# HELP voxlane_log_lines_dropped_total Log lines lost.
# TYPE voxlane_log_lines_dropped_total counter
voxlane_log_lines_dropped_total 7
"#,
        r#"# HELP voxlane_sessions Sessions between hello and close.
# TYPE voxlane_sessions gauge
voxlane_sessions{shard="0"} 1
voxlane_sessions{shard="1"} 1
"#,
        r#"# HELP voxlane_frame_lateness_seconds How late a reply packet was written after its scheduled instant.
# TYPE voxlane_frame_lateness_seconds histogram
voxlane_frame_lateness_seconds_bucket{shard="0",le="0.00005"} 1
voxlane_frame_lateness_seconds_bucket{shard="0",le="0.0001"} 1
voxlane_frame_lateness_seconds_bucket{shard="0",le="0.00025"} 1
voxlane_frame_lateness_seconds_bucket{shard="0",le="0.0005"} 1
voxlane_frame_lateness_seconds_bucket{shard="0",le="0.001"} 1
voxlane_frame_lateness_seconds_bucket{shard="0",le="0.0025"} 1
voxlane_frame_lateness_seconds_bucket{shard="0",le="0.005"} 2
voxlane_frame_lateness_seconds_bucket{shard="0",le="0.01"} 2
"#,
        r#"voxlane_frame_lateness_seconds_bucket{shard="1",le="+Inf"} 3
voxlane_frame_lateness_seconds_sum{shard="1"} 90.00494
voxlane_frame_lateness_seconds_count{shard="1"} 3
"#,
    ] {
        assert!(text.contains(family), "{family}\nis not in\n{text}");
    }
    assert!(text.contains(r#"voxlane_connections_total{event="accepted",shard="1"} 3"#));
    assert!(
        text.contains(r#"voxlane_connections_total{event="refused",shard="1"} 0"#),
        "counters show before they count"
    );
}

/// What a scraper insists on: help and type once and first, no line twice, every value a number, labels closed.
#[test]
fn the_text_parses() {
    let (registry, _shards) = registry();
    let text = prometheus(&registry, &usage());
    let (mut names, mut lines, mut family) = (HashSet::new(), HashSet::new(), String::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap().into();
            assert!(names.insert(family.clone()), "{family} twice");
        } else if !line.starts_with("# TYPE ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(&family), "{line} stands under {family}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(lines.insert(name), "{name} twice");
            assert_eq!(name.contains('{'), name.ends_with('}'), "{line}");
        }
    }
}

#[test]
fn a_series_that_nobody_used_and_a_value_that_cannot_be_read_are_left_out() {
    let registry = Registry::new(UnixMs(0));
    let _shard = registry.panel(Home::Shard(ShardId(0)));
    let text = prometheus(&registry, &Usage::default());
    assert!(!text.contains("voxlane_frame_lateness_seconds"));
    assert!(!text.contains("process_cpu"));
}

#[test]
fn a_pool_shows_only_what_it_counts() {
    let registry = Registry::new(UnixMs(0));
    registry.panel(Home::Worker("tts")).add(Counter::BytesIn, 4);
    let text = prometheus(&registry, &Usage::default());
    assert!(text.contains(r#"voxlane_bytes_total{direction="in",pool="tts"} 4"#));
    assert!(!text.contains("voxlane_connections_total"));
}
