//! An open connection: life, death, and what happens between.

use super::rig::{Rig, Said, frame};
use crate::metrics::{Counter, Gauge};
use serde_json::json;

#[test]
fn an_idle_device_is_pinged_and_kept_from_thinking_us_dead() {
    let mut rig = Rig::new();
    let mut device = rig.device("aa:bb");
    let mut heard = Vec::new();
    for second in 1..=92 {
        rig.wait_ms(1_000);
        while let Some(said) = device.next() {
            match said {
                Said::Ping(payload) => {
                    heard.push((second, "ping"));
                    device.far.send(&frame(10, &payload));
                }
                Said::Json(value) => {
                    assert_eq!((&value["type"], &value["state"]), (&json!("tts"), &json!("sentence_end")));
                    heard.push((second, "text"));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let expected = [(22, "ping"), (44, "ping"), (45, "text"), (66, "ping"), (88, "ping"), (90, "text")];
    // Deadlines are rounded up to whole seconds, pongs come up to a second later here.
    let near = |(a, what): &(i64, &str), (b, same): &(i64, &str)| what == same && (a - b).abs() <= 4;
    assert_eq!(heard.len(), expected.len(), "{heard:?}");
    assert!(heard.iter().zip(&expected).all(|(a, b)| near(a, b)), "{heard:?}");
}

#[test]
fn a_silent_peer_is_gone_after_forty_five_seconds() {
    let mut rig = Rig::new();
    let device = rig.device("aa:bb");
    rig.wait_ms(44_900);
    assert!(!device.far.is_closed());
    rig.wait_ms(1_200);
    assert!(device.far.is_closed());
    assert_eq!((rig.count(Counter::EndedBySilence), rig.gauge(Gauge::Sessions)), (1, 0));
}

#[test]
fn housekeeping_of_many_happens_in_few_passes() {
    let mut rig = Rig::new();
    for i in 0..50 {
        rig.device(&format!("aa:{i}"));
        rig.wait_ms(7);
    }
    let before = rig.passes;
    rig.wait_ms(23_000);
    assert!(rig.passes - before < 10, "{} passes for 50 pings", rig.passes - before);
}

#[test]
fn no_hello_in_five_seconds_ends_it() {
    let mut rig = Rig::new();
    let mut device = rig.upgrade("aa:bb");
    rig.wait_ms(4_900);
    assert!(!device.far.is_closed());
    rig.wait_ms(1_000);
    assert_eq!(device.words().len(), 1);
    assert!(device.far.is_closed());
}

#[test]
fn a_close_is_echoed_and_the_connection_ends_at_once() {
    let mut rig = Rig::new();
    let mut device = rig.device("aa:bb");
    device.far.send(&frame(8, &1_000u16.to_be_bytes()));
    rig.run();
    assert_eq!(device.words(), ["close 1000"]);
    assert!(device.far.is_closed(), "our side ends without waiting");
    rig.wait_ms(600);
    assert_eq!(rig.shard.connections(), 0);
}

#[test]
fn an_end_without_a_close_frame_is_a_hang_up() {
    let mut rig = Rig::new();
    let device = rig.device("aa:bb");
    device.text(&json!({"type": "listen", "state": "start", "mode": "auto"}));
    rig.run();
    assert_eq!((rig.gauge(Gauge::Sessions), rig.gauge(Gauge::Listening)), (1, 1));
    device.far.close();
    rig.run();
    assert_eq!((rig.gauge(Gauge::Sessions), rig.gauge(Gauge::Listening)), (0, 0));
    assert_eq!((rig.shard.connections(), rig.count(Counter::EndedByPeer)), (0, 1));
}

#[test]
fn broken_frames_get_their_code() {
    let cases: [(&[u8], &str); 4] = [
        (&[0x81, 0x02, b'h', b'i'], "close 1002"),
        (&[0xc1, 0x80, 0, 0, 0, 0], "close 1002"),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 2, 0, 0, 1, 2, 3, 4], "close 1009"),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], "close 1007"),
    ];
    for (bytes, expected) in cases {
        let mut rig = Rig::new();
        let mut device = rig.device("aa:bb");
        device.far.send(bytes);
        rig.run();
        assert_eq!(device.words(), [expected]);
        assert!(device.far.is_closed());
    }
}

#[test]
fn the_newer_connection_of_a_device_wins_without_a_word() {
    let mut rig = Rig::new();
    let mut old = rig.device("aa:bb");
    let other = rig.device("cc:dd");
    let new = rig.device("aa:bb");
    assert!(old.far.is_closed() && old.words().is_empty());
    assert!(!new.far.is_closed() && !other.far.is_closed());
    assert_eq!(rig.count(Counter::Replaced), 1);
    // The old one's end does not make the device forget the new one.
    rig.device("aa:bb");
    assert!(new.far.is_closed());
}

#[test]
fn a_newer_connection_on_another_shard_wins_too_and_an_older_does_not() {
    let mut rig = Rig::new();
    let device = rig.device("aa:bb");
    let hash = rig.shard.floor.slots.get(device.key).unwrap().device;
    let order = rig.shard.floor.slots.get(device.key).unwrap().order;
    rig.shard.floor.handle_newer(rig.now, hash, order - 1);
    assert!(!device.far.is_closed());
    rig.shard.floor.handle_newer(rig.now, hash, order + 1);
    assert!(device.far.is_closed());
}

#[test]
fn a_stopping_server_says_so_and_waits_for_nobody_idle() {
    let mut rig = Rig::new();
    let mut device = rig.device("aa:bb");
    let fresh = rig.connect();
    rig.shard.drain(rig.now, crate::time::Duration::from_secs(10), false);
    rig.run();
    assert_eq!(device.words(), ["close 1001"]);
    assert!(device.far.is_closed() && fresh.far.is_closed());
    rig.wait_ms(600);
    assert!(rig.shard.is_drained(rig.now));
}

#[test]
fn a_session_may_finish_its_sentence_but_not_longer_than_the_drain_lasts() {
    let mut rig = Rig::new();
    let mut device = rig.device("aa:bb");
    super::turns::begin_reply(&mut rig, &device, 400);
    rig.wait_ms(500);
    device.words();
    rig.shard.drain(rig.now, crate::time::Duration::from_secs(10), false);
    rig.wait_ms(9_000);
    assert!(!device.far.is_closed(), "24 s of audio are being played");
    assert!(!rig.shard.is_drained(rig.now));
    rig.wait_ms(1_100);
    assert_eq!(device.words().last().map(String::as_str), Some("close 1001"));
    rig.wait_ms(600);
    assert!(rig.shard.is_drained(rig.now));
}
