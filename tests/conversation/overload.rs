//! More than the server is allowed: who is turned away, with what words, and who talks on.

use super::support::{Client, Got, Rig, fresh_id, http};

/// A device's request as it stands on the wire.
fn request(device_id: &str) -> String {
    format!(
        "GET /xiaozhi/v1/ HTTP/1.1\r\nHost: h\r\nDevice-Id: {device_id}\r\nClient-Id: c\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[test]
fn a_server_without_memory_lets_nobody_in_and_says_when_to_come_back() {
    // More than that is in use before the first device comes.
    let rig = Rig::with(&[("limits.memory_mb", "1"), ("limits.shed", "true")]);
    // The watchdog has looked by the time it is ready; the shard looks when somebody comes.
    let answer = loop {
        let answer = http(rig.device, &request(&fresh_id()));
        if answer.status == 503 {
            break answer;
        }
    };
    let wait: u64 = answer.header("Retry-After").expect("when to come back").parse().expect("seconds");
    assert!((3..=40).contains(&wait), "{wait}");
    assert_eq!(http(rig.device, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    assert!(rig.metric("voxlane_shed_total", "what=\"connection\"") >= 1.0);
    assert!(rig.metric("voxlane_load_score", "shard") >= 100.0);
    assert!(rig.metric("voxlane_load_level", "shard") >= 2.0);
    assert_eq!(rig.metric("voxlane_memory_budget_bytes", ""), 1_048_576.0);
}

#[test]
fn one_device_more_than_allowed_gets_a_word_and_comes_in_when_another_has_left() {
    let rig = Rig::with(&[("limits.connections", "2")]);
    let (mut first, second) = (rig.device(), rig.device());
    let refused = http(rig.device, &request(&fresh_id()));
    assert_eq!(refused.status, 503);
    assert!(refused.header("Retry-After").is_some(), "{}", refused.head);
    first.is_alive();
    drop(second);
    rig.metric_becomes("voxlane_connections", "shard", |connections| connections < 2.0);
    let mut third = Client::connect(rig.device);
    third.hello(serde_json::json!({}));
    first.is_alive();
}

#[test]
fn turns_beyond_what_workers_can_begin_are_told_that_we_are_busy() {
    // One worker that never answers: whoever comes after the first waits for it.
    let rig = Rig::with(&[
        ("llm.workers", "1"),
        ("llm.script", r#"["!hang"]"#),
        ("limits.shed", "true"),
        ("session.turn_s", "60"),
    ]);
    let mut crowd: Vec<Client> = (0..4).map(|_| rig.device()).collect();
    let mut last = rig.device();
    let mut heard = Vec::new();
    for _ in 0..20 {
        // As many as are admitted whatever the load. Nobody answers them, and after 5 s they give up.
        crowd.iter_mut().for_each(|client| client.detect("hello"));
        let thinking = || rig.metric("voxlane_sessions_in_phase", "thinking");
        rig.metric_becomes("voxlane_sessions_in_phase", "thinking", |thinking| thinking >= 4.0);
        // A shard weighs its load when it gets up: somebody has to say something.
        while rig.metric("voxlane_load_level", "shard") < 3.0 && thinking() >= 4.0 {
            last.is_alive();
        }
        last.detect("hello");
        let said = last.until("tts:stop");
        let text = said.iter().find(|got| got.kind() == "tts:sentence_start").map_or("", Got::text);
        heard.push(text.to_owned());
        if text == "I'm very busy right now. Please try again soon." {
            assert!(rig.metric("voxlane_shed_total", "what=\"turn\"") >= 1.0);
            return last.is_alive();
        }
    }
    panic!("nobody was told that we are busy: {heard:?}");
}
