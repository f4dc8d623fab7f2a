//! What counting costs the thread that counts, and a scrape the thread that scrapes.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use voxlane::ids::ShardId;
use voxlane::metrics::exposition::prometheus;
use voxlane::metrics::process::Usage;
use voxlane::metrics::{Counter, Gauge, Home, Registry, Series};
use voxlane::time::{Duration, UnixMs};

fn counting(c: &mut Criterion) {
    let registry = Registry::new(UnixMs(0));
    let panel = registry.panel(Home::Shard(ShardId(0)));
    c.bench_function("metrics/count", |b| b.iter(|| panel.count(black_box(Counter::PacketsOut))));
    c.bench_function("metrics/gauge shift", |b| b.iter(|| panel.shift(black_box(Gauge::Sessions), 1)));
    // Values that wander over the buckets as latencies do, so that not one cache line answers for all.
    let mut us = 1u64;
    c.bench_function("metrics/record", |b| {
        b.iter(|| {
            us = us.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            panel.record(Series::FrameLateness, Duration::from_micros((us >> 44) & 0xf_ffff));
        });
    });
}

fn scraping(c: &mut Criterion) {
    let registry = Registry::new(UnixMs(0));
    let panels: Vec<_> = (0..8).map(|id| registry.panel(Home::Shard(ShardId(id)))).collect();
    for (panel, series) in panels.iter().flat_map(|panel| Series::ALL.iter().map(move |series| (panel, series))) {
        (0..2_000).for_each(|us| panel.record(*series, Duration::from_micros(us)));
    }
    c.bench_function("metrics/scrape of 8 shards", |b| {
        b.iter(|| prometheus(&registry, &Usage::default()).len());
    });
}

criterion_group!(benches, counting, scraping);
criterion_main!(benches);
