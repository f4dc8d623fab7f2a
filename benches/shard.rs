//! What a pass costs: an idle shard, a packet that is heard, a message that is answered, a due frame among a thousand speakers.

#[path = "../tests/support/virtual_shard.rs"]
mod virtual_shard;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;
use virtual_shard::{Device, VirtualShard, frame};
use voxlane::audio::opus::{Encoder, EncoderSettings};
use voxlane::metrics::Counter;
use voxlane::session;
use voxlane::shard::Rules;
use voxlane::time::Duration;

fn passes(c: &mut Criterion) {
    let mut group = c.benchmark_group("shard");

    // Hours go by while a packet is measured: nobody is bid farewell.
    let session = session::Rules { idle: Duration::ZERO, ..session::Rules::default() };
    let mut shard = VirtualShard::new(Rules { session: Arc::new(session), ..Rules::default() }, 8);
    let device = shard.device(1, "{}");
    group.bench_function("pass_idle", |b| b.iter(|| shard.pass()));

    let ping = frame(1, br#"{"session_id":"x","type":"ping"}"#);
    group.bench_function("message_in_and_out", |b| {
        b.iter(|| {
            device.far.send(&ping);
            shard.pass_for(&device);
            device.far.discard()
        })
    });

    device.text(r#"{"type":"listen","state":"start","mode":"auto"}"#);
    shard.pass_for(&device);
    let mut encoder = Encoder::with(EncoderSettings { dtx: false, ..EncoderSettings::device(16_000) }).unwrap();
    let mut packet = [0; 4_000];
    let hum: Vec<i16> = (0..960).map(|i| (i % 31) as i16 - 15).collect();
    let len = encoder.encode(&hum, &mut packet).unwrap();
    let audio = frame(2, &packet[..len]);
    group.bench_function("packet_heard_60ms_opus", |b| {
        b.iter(|| {
            device.far.send(&audio);
            shard.now += Duration::from_millis(60);
            shard.pass_for(&device);
            device.far.discard()
        })
    });
    let decoded = shard.panel.counter(Counter::FramesDecoded);
    assert!(decoded > 1_000, "{decoded} packets were heard: the bench measures something else");
    group.finish();
}

/// A thousand devices whose replies are all being played; a step is the pass in which the next frame is due.
fn speakers(c: &mut Criterion) {
    const SPEAKERS: usize = 1_000;
    let mut group = c.benchmark_group("shard");
    group.throughput(Throughput::Elements(1));
    let mut shard = VirtualShard::new(Rules::default(), 2 * SPEAKERS as u32);
    let devices: Vec<Device> = (0..SPEAKERS).map(|i| shard.device(i, "{}")).collect();
    let say = |shard: &mut VirtualShard| {
        for device in &devices {
            // 36 s: these devices answer no ping, and who is silent for 45 s is gone.
            shard.reply(device, 600, 180);
            shard.now += Duration::from_micros(60);
        }
    };
    say(&mut shard);
    group.bench_function("frame_due_among_1000_speakers", |b| {
        b.iter_custom(|frames| {
            let mut spent = Duration::ZERO;
            let mut left = frames;
            while left > 0 {
                let before = shard.panel.counter(Counter::PacketsOut);
                shard.now = shard.shard.next_deadline(shard.now).max(shard.now);
                let began = std::time::Instant::now();
                shard.pass();
                spent += began.elapsed();
                let sent = shard.panel.counter(Counter::PacketsOut) - before;
                left = left.saturating_sub(sent);
                if sent == 0 && shard.panel.gauge(voxlane::metrics::Gauge::Speaking) == 0 {
                    say(&mut shard);
                }
                if left % 4_096 == 0 {
                    devices.iter().for_each(|device| _ = device.far.discard());
                }
            }
            spent
        })
    });
    group.finish();
}

criterion_group!(benches, passes, speakers);
criterion_main!(benches);
