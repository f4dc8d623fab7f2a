//! D. Robustness of messages: what is ignored, and what is understood all the same.

use crate::support::sound::device_packets;
use crate::support::{Client, Got, PATIENCE, Rig, fresh_id};
use serde_json::{Value, json};

/// Asserts that nothing was said since, and that the connection works: the answer to a ping is what comes next.
fn is_undisturbed(client: &mut Client) {
    client.send(json!({"type": "ping"}));
    let next = client.next(PATIENCE).expect("an answer to ping");
    assert_eq!(next.kind(), "pong", "{next:?}");
}

/// Types a text and returns what the server understood.
fn understood(client: &mut Client, text: &str) -> String {
    client.detect(text);
    client.until("stt").pop().expect("stt").text().to_owned()
}

#[test]
fn item_58_what_is_no_message_of_ours_is_ignored() {
    let mut client = Rig::shared().device();
    for text in [
        "",
        "hello",
        "{",
        "42",
        "\"hello\"",
        "null",
        "[]",
        r#"[{"type":"abort"}]"#,
        "{}",
        r#"{"state":"start"}"#,
        r#"{"type":null}"#,
        r#"{"type":7}"#,
        r#"{"type":{"type":"abort"}}"#,
        r#"{"type":""}"#,
        r#"{"type":"ABORT"}"#,
        r#"{"type":"speak_ready"}"#,
        r#"{"type":"udp_timeout"}"#,
        r#"{"type":"server","action":"restart","content":{"secret":"x"}}"#,
        // Firmware builds this without escaping.
        r#"{"session_id":"","type":"listen","state":"detect","text":"say "hi""}"#,
        &format!("{{\"type\":\"abort\",\"x\":{}{}}}", "[".repeat(500), "]".repeat(500)),
    ] {
        client.send_text(text);
        is_undisturbed(&mut client);
    }
    assert_eq!(understood(&mut client, "still here"), "still here");
}

#[test]
fn item_59_a_missing_empty_or_wrong_session_id_does_not_matter() {
    let mut client = Rig::shared().device();
    let ids = [None, Some(json!("")), Some(json!("not-yours")), Some(json!(7)), Some(Value::Null)];
    for (i, id) in ids.into_iter().enumerate() {
        let text = format!("number {i}");
        let mut message = json!({"type": "listen", "state": "detect", "text": text});
        if let Some(id) = id {
            message["session_id"] = id;
        }
        client.send(message);
        assert_eq!(client.until("stt").pop().expect("stt").text(), text);
    }
}

#[test]
fn item_60_a_hello_with_only_a_type_is_accepted_with_defaults() {
    let without = |request: &mut tungstenite::http::Request<()>| {
        request.headers_mut().remove("Protocol-Version");
    };
    let mut client = Client::connect_as(Rig::shared().device, &fresh_id(), without).expect("upgrade");
    client.send(json!({"type": "hello"}));
    let Got::Json(hello) = client.next(PATIENCE).expect("a hello") else { panic!("no hello") };
    let audio = json!({"format": "opus", "sample_rate": 24_000, "channels": 1, "frame_duration": 60});
    assert_eq!(
        (&hello["type"], &hello["transport"], &hello["audio_params"]),
        (&json!("hello"), &json!("websocket"), &audio)
    );
    // Uplink: Opus without framing, endpoints found by the server.
    client.send(json!({"type": "listen", "state": "start"}));
    device_packets(60, 600).iter().for_each(|packet| client.send_packet(packet));
    (0..15).for_each(|_| client.send_packet(&[0x58]));
    assert!(client.until("stt").pop().expect("stt").text().starts_with("utterance of "));
}

#[test]
fn item_61_features_that_are_no_object_are_none() {
    for features in
        [json!(null), json!([]), json!(["emoji"]), json!("mcp"), json!(1), json!({"mcp": "yes", "emoji": "no"})]
    {
        let mut client = Client::connect(Rig::shared().device);
        client.hello(json!({"features": features}));
        client.detect("hello");
        // Without features: no tools are asked for, and the face is shown.
        let said: Vec<String> = client.until("tts:sentence_start").iter().map(Got::kind).collect();
        assert_eq!(said, ["stt", "tts:start", "llm", "tts:sentence_start"], "{features}");
    }
}

#[test]
fn item_62_listen_without_a_known_state_or_mode_is_ignored() {
    let rig = Rig::new();
    let mut client = rig.device();
    for message in [
        json!({"type": "listen"}),
        json!({"type": "listen", "mode": "auto"}),
        json!({"type": "listen", "state": "go"}),
        json!({"type": "listen", "state": null, "mode": "auto"}),
        json!({"type": "listen", "state": 1, "mode": "auto"}),
        json!({"type": "listen", "state": "start", "mode": "automatic"}),
        json!({"type": "listen", "state": "start", "mode": 3}),
    ] {
        client.send(message);
    }
    is_undisturbed(&mut client);
    // Nobody listens: the audio is dropped as that of a device that has not asked to be heard.
    client.sound(600, true);
    rig.metric_reaches("voxlane_dropped_total", r#"item="packet",cause="early""#, 10.0);
    assert_eq!(rig.metric("voxlane_dropped_total", r#"item="message",cause="malformed""#), 7.0);
}

#[test]
fn item_62_an_unknown_mode_leaves_the_mode_as_it_was() {
    let mut client = Rig::shared().device();
    client.listen("start", "manual");
    client.listen("start", "whatever");
    // In manual mode silence ends nothing; it is all one utterance.
    client.sound(600, true);
    client.sound(900, false);
    client.sound(600, true);
    client.listen("stop", "");
    assert_eq!(client.until("stt").pop().expect("stt").text(), "utterance of 2100 ms");
}

#[test]
fn item_63_mcp_that_nobody_asked_for_is_ignored() {
    let result = json!({"jsonrpc": "2.0", "id": 99, "result": {"tools": []}});
    let mut client = Rig::shared().device();
    for payload in [
        result.clone(),
        json!({"jsonrpc": "2.0", "method": "notifications/state", "params": {"x": 1}}),
        json!({"jsonrpc": "2.0", "id": "one", "error": {"message": "no"}}),
        json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "reboot"}}),
        json!({}),
        json!(null),
        json!("text"),
        json!([1]),
    ] {
        client.send(json!({"type": "mcp", "session_id": client.session, "payload": payload}));
    }
    client.send(json!({"type": "mcp"}));
    is_undisturbed(&mut client);
    // Before hello, that is before any features.
    let mut early = Client::connect(Rig::shared().device);
    early.send(json!({"type": "mcp", "payload": result}));
    early.hello(json!({"features": {"mcp": false}}));
    is_undisturbed(&mut early);
}

#[test]
fn item_64_iot_of_old_firmware_is_accepted() {
    let mut client = Rig::shared().device();
    let speaker = json!({
        "name": "Speaker", "description": "扬声器", "properties": {"volume": {"description": "音量", "type": "number"}},
        "methods": {"SetVolume": {"description": "设置音量", "parameters": {"volume": {"description": "0-100", "type": "number"}}}}
    });
    client.send(json!({"session_id": client.session, "type": "iot", "update": true, "descriptors": [speaker]}));
    client.send(json!({"type": "iot", "update": true, "states": [{"name": "Speaker", "state": {"volume": 70}}]}));
    client.send(json!({"type": "iot", "descriptors": "none", "states": 3}));
    is_undisturbed(&mut client);
    assert_eq!(understood(&mut client, "still here"), "still here");
}

#[test]
fn item_65_a_ping_message_is_answered_by_one_pong() {
    let mut client = Rig::shared().device();
    client.send(json!({"type": "ping"}));
    client.send(json!({"type": "ping"}));
    client.detect("hello");
    let said: Vec<String> = client.until("stt").iter().map(Got::kind).collect();
    assert_eq!(said, ["pong", "pong", "stt"]);
}

/// A ping message of exactly `bytes` bytes.
fn ping_of(bytes: usize) -> String {
    let (before, after) = (r#"{"type":"ping","pad":""#, r#""}"#);
    format!("{before}{}{after}", "x".repeat(bytes - before.len() - after.len()))
}

#[test]
fn item_66_a_text_frame_of_64_kib_is_parsed() {
    let mut client = Rig::shared().device();
    client.send_text(&ping_of(64 * 1024));
    assert_eq!(client.next(PATIENCE).expect("pong").kind(), "pong");
}

#[test]
fn item_66_a_longer_text_frame_closes_with_1009() {
    let mut client = Rig::shared().device();
    client.send_text(&ping_of(64 * 1024 + 1));
    client.until("close 1009");
}

#[test]
fn item_67_emoji_and_cjk_survive_both_ways() {
    let mut client = Rig::shared().device();
    let text = "今天😀天气 naïve 𠮷";
    assert_eq!(understood(&mut client, text), text);
    // The desktop client escapes everything beyond ASCII.
    let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    client.send_text(&format!(r#"{{"session_id":"","type":"listen","state":"detect","text":"{escaped}"}}"#));
    assert_eq!(client.until("stt").pop().expect("stt").text(), text);
    // The scripted model repeats it; an emoji is shown as a face and not in the sentence.
    let sentence = client.until("tts:sentence_start").pop().expect("a sentence");
    assert!(sentence.text().contains("今天") && sentence.text().contains("naïve 𠮷"), "{}", sentence.text());
    assert!(!sentence.text().contains('😀'), "{}", sentence.text());
}
