//! Minutes in milliseconds, and instants to the microsecond: a shard and its sessions under a clock that is a number.

use crate::support::pcm_packet;
use crate::support::world::World;
use serde_json::json;
use voxlane::metrics::{Counter, Gauge};
use voxlane::session::Rules;
use voxlane::time::{Duration, Instant};

/// A typed question.
fn ask(world: &mut World, device: usize) {
    world.send(device, json!({"type": "listen", "state": "detect", "text": "tell me something"}));
}

fn listen(world: &mut World, device: usize, mode: &str) {
    world.send(device, json!({"type": "listen", "state": "start", "mode": mode}));
}

fn once(world: &World, device: usize, kind: &str) -> Instant {
    let times = world.times(device, kind);
    assert_eq!(times.len(), 1, "{kind} in {:?}", world.kinds(device));
    times[0]
}

#[test]
fn item_15_tts_stop_comes_200_ms_after_all_has_been_played() {
    let mut world = World::new(Rules::default());
    let device = world.device();
    ask(&mut world, device);
    world.pass(5_000);
    let packets = world.times(device, "packet");
    let played = packets[0] + Duration::from_millis(60) * packets.len() as u32;
    assert_eq!(once(&world, device, "tts:stop"), played + Duration::from_millis(200));
}

#[test]
fn item_15_the_browser_page_plays_later_and_gets_400_ms() {
    let mut world = World::new(Rules::default());
    let device = world.upgrade();
    // The page names its MAC in the hello, which no other client does.
    let hello = json!({"type": "hello", "device_id": "web", "device_name": "page", "device_mac": "02:00:00:00:00:15",
        "token": "", "features": {"mcp": true}});
    world.send(device, hello);
    ask(&mut world, device);
    world.pass(5_000);
    let packets = world.times(device, "packet");
    let played = packets[0] + Duration::from_millis(60) * packets.len() as u32;
    assert_eq!(once(&world, device, "tts:stop"), played + Duration::from_millis(400));
}

#[test]
fn item_14_a_model_that_never_answers_costs_an_apology_and_one_tts_stop() {
    let mut world = World::new(Rules::default());
    world.script.reply = None;
    let device = world.device();
    ask(&mut world, device);
    world.pass(15_000);
    assert_eq!(world.kinds(device), ["stt", "tts:start", "tts:sentence_start", "tts:stop"]);
    let waited = once(&world, device, "tts:stop").since(once(&world, device, "tts:start"));
    assert_eq!(waited, Duration::from_secs(5), "the first token's deadline");
}

#[test]
fn item_16_never_more_than_six_packets_ahead_whatever_the_lead() {
    let mut world = World::new(Rules { lead_ms: 60_000, ..Rules::default() });
    world.script.packets = 200;
    let device = world.device();
    ask(&mut world, device);
    world.pass(20_000);
    let packets = world.times(device, "packet");
    assert_eq!(packets.len(), 200);
    for (i, at) in packets.iter().enumerate() {
        let played = at.since(packets[0]).as_millis() as usize / 60;
        assert!(i + 1 - played <= 6, "packet {i}");
    }
}

#[test]
fn item_17_in_the_long_run_audio_is_sent_at_the_speed_of_play() {
    let mut world = World::new(Rules::default());
    world.late_ms = 25;
    world.script.reply = Some("The first half of it. And then the second.".into());
    world.script.packets = 600;
    let device = world.device();
    ask(&mut world, device);
    world.pass(75_000);

    let packets = world.times(device, "packet");
    assert_eq!(packets.len(), 1_200, "72 s of audio");
    for (i, at) in packets.iter().enumerate() {
        let (sent, played) = (i as i64 + 1, at.since(packets[0]).as_millis() as i64 / 60);
        assert!((2..=3).contains(&(sent - played)) || i < 2, "packet {i} is {} ahead of real time", sent - played);
    }
    assert_eq!(world.counted(Counter::Underruns), 0);
    assert_eq!(world.kinds(device).last().unwrap(), "tts:stop");
}

#[test]
fn item_42_a_manual_session_without_stop_ends_at_the_length_cap() {
    let mut world = World::new(Rules::default());
    let device = world.device();
    listen(&mut world, device, "manual");
    let start = world.now;
    world.sound(device, 45_000, true);

    let cut = once(&world, device, "stt").since(start).as_millis();
    assert!((29_000..=30_100).contains(&cut), "cut after {cut} ms");
    assert_eq!(world.kinds(device)[..3], ["stt", "tts:start", "llm"]);
    once(&world, device, "tts:stop");
    assert_eq!(world.gauge(Gauge::Listening), 0, "the decoder is given back");
}

#[test]
fn item_42_a_button_pressed_and_forgotten_ends_without_a_word() {
    let mut world = World::new(Rules::default());
    let device = world.device();
    listen(&mut world, device, "manual");
    world.sound(device, 35_000, false);
    assert_eq!(world.kinds(device), [""; 0]);
    assert_eq!(world.gauge(Gauge::Listening), 0);
    // The next press works as ever.
    listen(&mut world, device, "manual");
    world.sound(device, 600, true);
    world.send(device, json!({"type": "listen", "state": "stop"}));
    once(&world, device, "stt");
}

#[test]
fn item_43_the_first_packet_leaves_60_ms_after_tts_start() {
    let mut world = World::new(Rules::default());
    let device = world.device();
    ask(&mut world, device);
    world.pass(5_000);
    let start = once(&world, device, "tts:start");
    assert_eq!(world.times(device, "packet")[0], start + Duration::from_millis(60));
}

#[test]
fn item_48_what_is_heard_after_an_abort_is_the_lead() {
    for (lead_ms, frames) in [(60, 1), (180, 3), (360, 6), (60_000, 6)] {
        let mut world = World::new(Rules { lead_ms, ..Rules::default() });
        world.script.packets = 100;
        let device = world.device();
        ask(&mut world, device);
        world.pass(2_030);
        world.send(device, json!({"type": "abort"}));
        let (aborted, packets) = (world.now, world.times(device, "packet"));
        world.pass(5_000);
        assert_eq!(once(&world, device, "tts:stop"), aborted, "lead {lead_ms}");
        assert_eq!(world.times(device, "packet").len(), packets.len(), "nothing follows, lead {lead_ms}");
        let last_heard = packets[0] + Duration::from_millis(60) * packets.len() as u32;
        assert!(last_heard.since(aborted) <= Duration::from_millis(60 * frames), "lead {lead_ms}");
    }
}

#[test]
fn item_50_two_minutes_without_voice_end_the_session_with_a_farewell() {
    let mut world = World::new(Rules::default());
    let device = world.device();
    listen(&mut world, device, "auto");
    let start = world.now;
    // Silence is sent all the time: it is no activity.
    world.sound(device, 125_000, false);

    assert!(world.devices[device].got.iter().any(|(_, got)| got.text() == "Goodbye."), "{:?}", world.kinds(device));
    let farewell = once(&world, device, "tts:start").since(start).as_secs();
    assert!((120..=121).contains(&farewell), "after {farewell} s");
    let kinds = world.kinds(device);
    assert_eq!(kinds[kinds.len() - 4..], ["packet", "tts:stop", "close 1000", "end"]);
    assert!(world.devices[device].is_closed());
    assert_eq!(world.gauge(Gauge::Connections), 0);
}

#[test]
fn item_50_voice_puts_the_end_off() {
    let mut world = World::new(Rules::default());
    let device = world.device();
    listen(&mut world, device, "auto");
    world.sound(device, 100_000, false);
    world.sound(device, 600, true);
    let spoke = world.now;
    world.sound(device, 125_000, false);

    let starts = world.times(device, "tts:start");
    assert_eq!(starts.len(), 2, "an answer, then the farewell: {:?}", world.kinds(device));
    assert!(starts[1].since(spoke) >= Duration::from_secs(120));
}

#[test]
fn item_50_without_a_limit_nothing_ends() {
    let mut world = World::new(Rules { idle: Duration::ZERO, ..Rules::default() });
    let device = world.device();
    listen(&mut world, device, "auto");
    world.sound(device, 200_000, false);
    assert!(world.times(device, "tts:start").is_empty());
    assert_eq!(world.gauge(Gauge::Connections), 1);
}

#[test]
fn an_open_device_hears_a_text_message_every_45_s() {
    let mut world = World::new(Rules { idle: Duration::ZERO, ..Rules::default() });
    let device = world.device();
    let start = world.now;
    for _ in 0..1_000 {
        world.send_packet(device, &pcm_packet(false));
        world.pass(300);
    }
    let mut before = start;
    for at in world.times(device, "tts:sentence_end") {
        assert!(at.since(before) <= Duration::from_secs(46));
        before = at;
    }
    assert!(world.now.since(before) <= Duration::from_secs(46));
}
