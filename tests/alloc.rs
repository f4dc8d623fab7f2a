//! The per-frame path allocates nothing in steady state: receiving (unmask, framing, decode, voice detection) and sending (a
//! paced frame, framed and written). Counted as the program counts, on this thread, within the passes only.

#[path = "support/virtual_shard.rs"]
mod virtual_shard;

use virtual_shard::{VirtualShard, frame};
use voxlane::audio::opus::{Encoder, EncoderSettings};
use voxlane::metrics::Counter;
use voxlane::metrics::allocations::{Counting, of_this_thread};
use voxlane::shard::Rules;
use voxlane::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting(std::alloc::System);

fn count(work: impl FnOnce()) -> u64 {
    let before = of_this_thread().count;
    work();
    of_this_thread().count - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(count(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

/// A room with a little noise, as a device sends it: Opus, 16 kHz, 60 ms.
fn uplink(packets: usize) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::with(EncoderSettings { dtx: false, ..EncoderSettings::device(16_000) }).unwrap();
    let mut noise = 1u32;
    let mut packet = [0; 4_000];
    (0..packets)
        .map(|_| {
            let pcm: Vec<i16> = (0..960)
                .map(|_| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (noise >> 27) as i16 - 16
                })
                .collect();
            let len = encoder.encode(&pcm, &mut packet).unwrap();
            frame(2, &packet[..len])
        })
        .collect()
}

#[test]
fn receiving_allocates_nothing() {
    let mut shard = VirtualShard::new(Rules::default(), 8);
    let device = shard.device(1, r#"{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}"#);
    device.text(r#"{"type":"listen","state":"start","mode":"auto"}"#);
    shard.pass_for(&device);
    let frames = uplink(200);
    for (i, bytes) in frames.iter().cycle().take(700).enumerate() {
        device.far.send(bytes);
        shard.now += Duration::from_millis(60);
        let allocations = count(|| shard.pass_for(&device));
        // The first packets fill pre-roll, buffers and the tables of the detectors.
        assert!(i < 200 || allocations == 0, "packet {i}: {allocations} allocations");
        device.far.discard();
    }
    assert_eq!(shard.panel.counter(Counter::FramesDecoded), 700, "all were decoded");
}

#[test]
fn sending_a_paced_frame_allocates_nothing() {
    let mut shard = VirtualShard::new(Rules::default(), 8);
    let device = shard.device(1, "{}");
    // A first reply makes the buffers, the second one uses them.
    for round in 0..2 {
        shard.reply(&device, 100, 180);
        let mut sent = 0;
        while sent < 100 {
            let before = shard.panel.counter(Counter::PacketsOut);
            shard.now = shard.shard.next_deadline(shard.now).max(shard.now);
            let allocations = count(|| shard.pass());
            let packets = shard.panel.counter(Counter::PacketsOut) - before;
            sent += packets;
            let is_plain = packets > 0 && sent > 4 && sent < 100;
            assert!(round == 0 || !is_plain || allocations == 0, "packet {sent}: {allocations} allocations");
        }
        shard.wait(Duration::from_secs(2));
        device.far.discard();
    }
}
