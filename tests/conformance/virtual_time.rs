//! Minutes in milliseconds: sessions and shards under a clock that is a number.

use crate::support::world::World;
use serde_json::json;
use voxlane::session::Rules;

#[test]
fn item_17_in_the_long_run_audio_is_sent_at_the_speed_of_play() {
    let mut world = World::new(Rules::default());
    world.late_ms = 25;
    world.script.reply = Some("The first minute of it. And then the second.".into());
    world.script.packets = 600;
    let device = world.device();
    world.send(device, json!({"type": "listen", "state": "detect", "text": "talk for long"}));
    world.pass(75_000);

    let packets = world.times(device, "packet");
    assert_eq!(packets.len(), 1_200, "72 s of audio");
    let first = packets[0];
    for (i, at) in packets.iter().enumerate() {
        let sent = i as i64 + 1;
        let played = at.since(first).as_millis() as i64 / 60;
        assert!((0..=3).contains(&(sent - played)), "packet {i} is {} ahead of real time", sent - played);
    }
    assert_eq!(world.kinds(device).last().unwrap(), "tts:stop");
}
