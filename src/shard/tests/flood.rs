//! Too much of everything.

use super::rig::{Rig, frame, pcm};
use crate::limits;
use crate::metrics::Counter;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn a_flood_of_pings_is_policy() {
    let mut rig = Rig::new();
    let mut device = rig.device("aa:bb");
    for _ in 0..10 {
        device.far.send(&frame(9, b"x"));
    }
    rig.run();
    assert_eq!(device.words(), ["pong"; 10]);
    rig.wait_ms(1_000);
    for _ in 0..11 {
        device.far.send(&frame(9, b"x"));
    }
    rig.run();
    assert_eq!(device.words().last().map(String::as_str), Some("close 1008"));
    assert_eq!(rig.count(Counter::EndedByPings), 1);
}

#[test]
fn audio_at_a_hundred_times_real_time_is_cut_and_neighbours_do_not_notice() {
    let mut rig = Rig::new();
    let (flooder, mut neighbour) = (rig.device("aa:bb"), rig.device("cc:dd"));
    for _ in 0..1_667 {
        flooder.audio(&pcm(false));
    }
    neighbour.text(&json!({"type": "ping"}));
    rig.run();
    assert_eq!(neighbour.words(), ["pong"]);
    assert!(!flooder.far.is_closed());
    let (came, dropped) = (rig.count(Counter::PacketsIn), rig.count(Counter::DroppedFastPacket));
    assert_eq!(came, 1_667);
    assert!(dropped > 1_550, "{dropped} of {came}");
}

#[test]
fn a_wake_words_burst_is_whole() {
    let mut rig = Rig::new();
    let device = rig.device("aa:bb");
    for _ in 0..33 {
        device.audio(&pcm(true));
    }
    rig.run();
    assert_eq!((rig.count(Counter::PacketsIn), rig.count(Counter::DroppedFastPacket)), (33, 0));
}

#[test]
fn a_peer_that_asks_and_does_not_read_is_not_read_from_and_then_given_up() {
    let mut rig = Rig::new();
    let mut device = rig.device("aa:bb");
    device.far.set_room(0);
    let ping = frame(1, json!({"type": "ping", "pad": "x".repeat(400)}).to_string().as_bytes());
    for _ in 0..2_000 {
        device.far.send(&ping);
        rig.run();
    }
    let floor = &rig.shard.floor;
    let is_gone = floor.slots.get(device.key).is_none_or(|connection| connection.session.is_none());
    assert!(is_gone, "a queue full of control is given up");
    assert_eq!(rig.count(Counter::EndedUnwritable), 1);
    rig.wait_ms(600);
    assert!(device.far.is_closed());
    assert_eq!(device.words().len(), 0);
}

#[test]
fn a_socket_that_takes_nothing_for_five_seconds_is_given_up() {
    let mut rig = Rig::new();
    let device = rig.device("aa:bb");
    device.far.set_room(0);
    device.text(&json!({"type": "ping"}));
    rig.wait_ms(4_900);
    assert!(!device.far.is_closed());
    rig.wait_ms(700);
    assert_eq!(rig.count(Counter::EndedUnwritable), 1);
    assert!(device.far.is_closed());
    rig.wait_ms(600);
    assert_eq!(rig.shard.connections(), 0);
}

#[test]
fn abort_is_known_before_the_audio_it_came_behind_but_never_before_a_listen() {
    let mut rig = Rig::new();
    let device = rig.device("aa:bb");
    let mut buffer = vec![0; limits::READ_BYTES];
    let read = |rig: &mut Rig, buffer: &mut [u8]| rig.shard.floor.read(device.key, rig.now, buffer);
    for _ in 0..3 {
        device.audio(&pcm(false));
    }
    device.text(&json!({"type": "ping"}));
    device.text(&json!({"type": "listen", "state": "start", "mode": "auto"}));
    device.text(&json!({"type": "ping"}));
    read(&mut rig, &mut buffer);
    let floor = &rig.shard.floor;
    assert_eq!(floor.backlog.len(), 5, "three packets, the listen, and the ping that must not pass it");
    let outbox = floor.slots.get(device.key).unwrap().outbox.as_ref().unwrap();
    assert_eq!(outbox.waiting_frames(), 1, "the first pong is on its way while the audio waits");
}

#[test]
fn one_write_for_each_pass() {
    let mut rig = Rig::new();
    let mut device = rig.device("aa:bb");
    let (writes, passes) = (device.far.writes(), rig.passes);
    for _ in 0..20 {
        device.text(&json!({"type": "ping"}));
    }
    rig.run();
    assert_eq!(device.words().len(), 20);
    assert_eq!(device.far.writes() - writes, 1);
    assert!(rig.passes - passes <= 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever comes, in whatever pieces: nothing panics, and a neighbour is served.
    #[test]
    fn noise_hurts_nobody(
        seed in prop::collection::vec(any::<u8>(), 0..400),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        piece in 1usize..300,
    ) {
        let mut rig = Rig::new();
        let mut neighbour = rig.device("cc:dd");
        let device = rig.device("aa:bb");
        let mut bytes = frame(1, br#"{"type":"listen","state":"start","mode":"realtime"}"#);
        bytes.extend(frame(2, &pcm(true)[..200]));
        bytes.extend(frame(9, b"x"));
        bytes.extend(frame(2, &seed));
        bytes.extend(frame(1, br#"{"type":"abort"}"#));
        for (index, bits) in flips {
            let at = index.index(bytes.len());
            bytes[at] ^= bits;
        }
        for part in bytes.chunks(piece) {
            device.far.send(part);
            rig.run();
        }
        rig.wait_ms(700);
        neighbour.text(&json!({"type": "ping"}));
        rig.run();
        prop_assert_eq!(neighbour.words(), ["pong"]);
    }
}
