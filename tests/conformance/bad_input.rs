//! Bad input: what garbage, floods and silence get.

use crate::support::frames::{Raw, frame, head, opcode, piece};
use crate::support::sound::{device_packets, framed_v3};
use crate::support::{Client, Got, PATIENCE, Rig, configuration, configuration_text, fresh_id, http, kinds};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use voxlane::server::{Server, StartFault};

/// What no Opus decoder takes, and short by its own account, so that a hundred fit into a burst.
const GARBAGE: &[u8] = &[0x83, 0];

fn dropped(rig: &Rig, item: &str, cause: &str) -> f64 {
    rig.metric("voxlane_dropped_total", &format!(r#"item="{item}",cause="{cause}""#))
}

#[test]
fn garbage_opus_is_counted_and_skipped_and_the_conversation_goes_on() {
    let rig = Rig::new();
    let mut client = rig.opus_device();
    client.listen("start", "manual");
    for packet in device_packets(60, 600) {
        client.send_packet(GARBAGE);
        client.send_packet(&packet);
    }
    client.listen("stop", "");
    assert_eq!(client.until("stt").pop().expect("stt").text(), "utterance of 600 ms");
    client.until("packet");
    assert_eq!(dropped(&rig, "packet", "malformed"), 10.0);
}

#[test]
fn a_hundred_bad_packets_in_a_row_get_an_alert_and_1003() {
    let mut client = Rig::shared().opus_device();
    client.listen("start", "auto");
    (0..100).for_each(|_| client.send_packet(GARBAGE));
    let said = kinds(&client.until("close 1003"));
    assert_eq!(said, ["alert", "close 1003"]);
}

#[test]
fn a_good_packet_forgives_the_bad_ones_before_it() {
    let mut client = Rig::shared().opus_device();
    client.listen("start", "auto");
    for _ in 0..3 {
        (0..99).for_each(|_| client.send_packet(GARBAGE));
        client.send_packet(&[0x58]);
    }
    client.is_alive();
}

#[test]
fn a_hundred_bad_framings_in_a_row_get_an_alert_and_1003() {
    let set = |request: &mut tungstenite::http::Request<()>| {
        request.headers_mut().insert("Protocol-Version", "3".parse().unwrap());
    };
    let mut client = Client::connect_as(Rig::shared().device, &fresh_id(), set).expect("upgrade");
    client.hello(json!({"version": 3}));
    client.listen("start", "auto");
    (0..99).for_each(|_| client.send_packet(&[0, 0, 0xff, 0xff, 0x58]));
    client.send_packet(&framed_v3(&[0x58]));
    client.is_alive();
    (0..100).for_each(|_| client.send_packet(&[0, 0, 0xff, 0xff, 0x58]));
    assert_eq!(kinds(&client.until("close 1003")), ["alert", "close 1003"]);
}

#[test]
fn an_oversized_frame_is_refused_with_1009_by_its_head_alone() {
    for kind in [opcode::TEXT, opcode::BINARY] {
        for len in [64 * 1024 + 1, 1 << 30, 1 << 62] {
            let mut raw = Raw::upgraded(Rig::shared().device, &fresh_id(), 1);
            raw.send(&head(true, kind, len));
            assert_eq!(raw.closed_with(), Some(1009), "{len} bytes");
        }
    }
}

#[test]
fn fragments_that_grow_too_large_are_refused_with_1009() {
    let mut raw = Raw::upgraded(Rig::shared().device, &fresh_id(), 1);
    raw.send(&piece(false, opcode::BINARY, &[0; 32 * 1024]));
    raw.send(&piece(false, opcode::CONTINUATION, &[0; 32 * 1024]));
    raw.send(&piece(false, opcode::CONTINUATION, &[0]));
    assert_eq!(raw.closed_with(), Some(1009));
}

#[test]
fn broken_framing_is_refused_with_1002_and_text_that_is_not_utf8_with_1007() {
    let hello = br#"{"type":"hello"}"#;
    let masked = frame(opcode::TEXT, hello);
    let unmasked: Vec<u8> = [&[0x81, hello.len() as u8], &hello[..]].concat();
    let reserved_bit: Vec<u8> = [&[masked[0] | 0x40], &masked[1..]].concat();
    for (bytes, code) in [
        (unmasked, 1002),
        (reserved_bit, 1002),
        (frame(3, b""), 1002),
        (frame(opcode::PING, &[0; 126]), 1002),
        (piece(false, opcode::PING, b""), 1002),
        (piece(true, opcode::CONTINUATION, b"x"), 1002),
        (frame(opcode::CLOSE, &[3]), 1002),
        (frame(opcode::TEXT, &[0xff, 0xfe]), 1007),
    ] {
        let mut raw = Raw::upgraded(Rig::shared().device, &fresh_id(), 1);
        raw.send(&bytes);
        assert_eq!(raw.closed_with(), Some(code), "{bytes:02x?}");
    }
}

#[test]
fn text_that_is_not_json_and_wrong_shapes_are_counted_and_ignored() {
    let rig = Rig::new();
    let mut client = rig.device();
    let bad = [
        "not json",
        "{\"type\":\"listen\"",
        "[]",
        "{}",
        r#"{"type":"listen","state":7}"#,
        r#"{"type":"mcp","payload":1}"#,
    ];
    bad.iter().for_each(|text| client.send_text(text));
    client.is_alive();
    assert_eq!(dropped(&rig, "message", "malformed"), bad.len() as f64);
}

#[test]
fn an_unknown_type_is_counted_and_ignored() {
    let rig = Rig::new();
    let mut client = rig.device();
    client.send(json!({"type": "teleport", "to": "the moon"}));
    client.is_alive();
    assert_eq!(dropped(&rig, "message", "unknown_type"), 1.0);
}

#[test]
fn audio_before_hello_is_counted_and_ignored() {
    let rig = Rig::new();
    let mut client = Client::connect(rig.device);
    (0..33).for_each(|_| client.send_packet(&[0x58]));
    client.send(json!({"type": "listen", "state": "start", "mode": "auto"}));
    client.hello(json!({}));
    client.is_alive();
    assert_eq!(dropped(&rig, "packet", "early"), 33.0);
    assert_eq!(dropped(&rig, "message", "no_meaning"), 1.0);
}

#[test]
fn a_second_hello_is_never_answered_and_its_features_count() {
    let rig = Rig::new();
    let mut client = rig.opus_device();
    client.detect("first");
    assert!(kinds(&client.until("tts:sentence_start")).contains(&"llm".to_owned()));
    client.send(json!({"type": "hello", "features": {"emoji": false}}));
    client.detect("second");
    let said = client.until("tts:sentence_start");
    assert!(said.iter().all(|got| !matches!(got.kind().as_str(), "hello" | "llm")), "{:?}", kinds(&said));
    assert!(said.iter().any(|got| got.kind() == "stt" && got.text() == "second"));
    assert_eq!(dropped(&rig, "message", "second_hello"), 1.0);
}

#[test]
fn a_request_head_above_8_kib_is_431() {
    for address in [Rig::shared().device, Rig::shared().http] {
        let long = format!("GET /xiaozhi/v1/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(8 * 1024));
        assert_eq!(http(address, &long).status, 431);
        let endless = format!("GET /{}", "x".repeat(9 * 1024));
        assert_eq!(http(address, &endless).status, 431);
        let lines: String = (0..65).map(|i| format!("X-{i}: y\r\n")).collect();
        assert_eq!(http(address, &format!("GET /xiaozhi/v1/ HTTP/1.1\r\n{lines}\r\n")).status, 431);
    }
}

#[test]
fn a_flood_of_pings_is_closed_with_1008() {
    let mut raw = Raw::upgraded(Rig::shared().device, &fresh_id(), 1);
    // Twice what a second allows, should the flood span two of them.
    (0..21).for_each(|_| raw.send(&frame(opcode::PING, b"")));
    assert_eq!(raw.closed_with(), Some(1008));
}

#[test]
fn a_provider_that_cannot_be_reached_does_not_keep_the_server_from_starting_and_the_turn_apologises() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!(r#""http://{nobody}/v1""#);
    let rig = Rig::with(&[("llm.provider", r#""openai""#), ("llm.base_url", &url), ("llm.model", r#""m""#)]);
    let mut client = rig.opus_device();
    client.detect("is anybody there");
    let said = client.until("tts:stop");
    let apology = said.iter().find(|got| got.kind() == "tts:sentence_start").expect("a spoken apology");
    assert!(apology.text().starts_with("I can't reach my language model"), "{}", apology.text());
    assert!(said.iter().any(|got| matches!(got, Got::Packet(_))));
    client.is_alive();
}

#[test]
fn a_provider_that_cannot_be_reached_is_a_warning_at_start() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!(r#""http://{nobody}/v1""#);
    for stage in ["asr", "llm"] {
        let key = |name: &str| format!("{stage}.{name}");
        let (provider, base_url, model) = (key("provider"), key("base_url"), key("model"));
        let (text, state) = configuration_text(&[(&provider, r#""openai""#), (&base_url, &url), (&model, r#""m""#)]);
        std::fs::create_dir_all(&state).unwrap();
        let file = state.join("voxlane.toml");
        std::fs::write(&file, text).unwrap();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_voxlane"));
        let serve = serve.args(["serve", "--config"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut serve = serve.spawn().unwrap();
        let (tell, told) = mpsc::channel();
        let log = BufReader::new(serve.stderr.take().unwrap());
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let wanted = format!("stage=\"{stage}\"");
        let warning = std::iter::from_fn(|| told.recv_timeout(PATIENCE).ok()).find(|line| line.contains(&wanted));
        serve.kill().unwrap();
        serve.wait().unwrap();
        let _ = std::fs::remove_dir_all(state);
        assert!(
            warning.as_ref().is_some_and(|line| line.contains("WARN") && line.contains("cannot be reached")),
            "{warning:?}"
        );
    }
}

#[test]
fn a_port_in_use_is_one_clear_line_that_names_the_port_and_the_process() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for key in ["listen.device", "listen.http", "listen.admin"] {
        let (config, _) = configuration(&[(key, &format!(r#""127.0.0.1:{port}""#))]);
        let Err(fault) = Server::start(&config) else { panic!("{key}: it started") };
        let text = fault.to_string();
        assert!(matches!(fault, StartFault::Address(_)), "{key}: {text}");
        let names = [port.to_string(), std::process::id().to_string()];
        assert!(text.lines().count() == 1 && names.iter().all(|name| text.contains(name)), "{key}: {text}");
    }
}

#[test]
fn nobody_is_answered_before_it_has_asked() {
    let mut raw = Raw::connect(Rig::shared().device);
    assert!(raw.frame(std::time::Duration::from_millis(100)).is_none());
    raw.send(crate::support::frames::request(&fresh_id(), 1, "").as_bytes());
    assert!(raw.http_head(PATIENCE).starts_with("HTTP/1.1 101 "));
}
