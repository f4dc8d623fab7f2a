//! What counting costs the thread that counts, and a scrape the thread that scrapes.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use voxlane::ids::ShardId;
use voxlane::metrics::calls::{Call, Tally, made};
use voxlane::metrics::exposition::prometheus;
use voxlane::metrics::process::Usage;
use voxlane::metrics::pulse::Pulse;
use voxlane::metrics::{Counter, Gauge, Home, Registry, Series, TurnRecord};
use voxlane::time::{Duration, Instant, UnixMs};

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

/// What the profile of a core adds to each pass: calls noted where they are made, then moved into the panel.
fn profiling(c: &mut Criterion) {
    let panel = Registry::new(UnixMs(0)).panel(Home::Shard(ShardId(0)));
    c.bench_function("metrics/a system call noted", |b| b.iter(|| made(black_box(Call::Read))));
    let mut tally = Tally::start((0, 0));
    c.bench_function("metrics/tally of a pass", |b| {
        b.iter(|| {
            [Call::Wait, Call::Timer, Call::Read, Call::Write].into_iter().for_each(made);
            tally.settle(&panel, black_box((0, 0)));
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

/// The live page's beat, on the largest server there may be: it comes once a second, so 10 ms would be 1 % of a core.
fn beating(c: &mut Criterion) {
    let registry = Registry::new(UnixMs(0));
    let shards: Vec<_> = (0..64).map(|id| registry.panel(Home::Shard(ShardId(id)))).collect();
    let workers: Vec<_> = ["asr", "llm", "tts"]
        .into_iter()
        .flat_map(|pool| (0..1_024).map(move |_| pool))
        .map(|pool| registry.panel(Home::Worker(pool)))
        .collect();
    for worker in &workers {
        worker.record(Series::JobDuration, Duration::from_millis(1));
    }
    let (mut pulse, mut second) = (Pulse::default(), 0);
    c.bench_function("metrics/beat of 64 shards with 640 turns a second, 3,072 workers", |b| {
        b.iter(|| {
            second += 1;
            let now = Instant::from_ms(second * 1_000);
            for (shard, n) in shards.iter().flat_map(|shard| (0..10).map(move |n| (shard, n))) {
                let milestones = [100, 200, 300, 400, 500, 500, 900].map(|ms| Some(Duration::from_millis(ms + n)));
                shard.turns().write(&TurnRecord { began: now, milestones, ..TurnRecord::default() });
            }
            serde_json::to_vec(&pulse.beat(&registry, now, UnixMs(second * 1_000))).map_or(0, |json| json.len())
        });
    });
}

criterion_group!(benches, counting, profiling, scraping, beating);
criterion_main!(benches);
