//! A. What breaks real devices when it is missing: hello, check-in, the frame around each reply, and how we hang up.

use crate::support::frames::{Raw, opcode, request};
use crate::support::{Client, Got, PATIENCE, Rig, Shared, fresh_id, http, kinds};
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use voxlane::audio::opus;
use voxlane::audio::phrase::Phrase;

static RIG: Shared = Shared::new();

/// Short answers, and short phrases of our own.
const BRIEF: &[(&str, &str)] = &[
    ("llm.script", r#"["Ok."]"#),
    ("phrases.wake_reply_en", r#""Hi.""#),
    ("phrases.wake_reply_zh", r#""在。""#),
    ("phrases.farewell_en", r#""Bye.""#),
    ("phrases.apology_en", r#""Sorry.""#),
];

/// A rig whose model, synthesis or recognition does as a script says.
fn rig_with(key: &str, script: &str) -> Rig {
    let mut all = BRIEF.to_vec();
    all.push((key, script));
    Rig::with(&all)
}

/// Client hellos as the projects send them.
const HELLOS: &[(&str, &str)] = &[
    (
        "firmware 2.4",
        r#"{"type":"hello","version":1,"features":{"mcp":true,"aec":false,"glyph_push":true},"transport":"websocket","audio_params":{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60},"text_font":{"bundle":"x","charset":"basic","size":20,"bpp":4}}"#,
    ),
    (
        "firmware 1.6",
        r#"{"type": "hello","version": 1,"transport":"websocket","audio_params":{"format":"opus", "sample_rate":16000, "channels":1, "frame_duration":60}}"#,
    ),
    (
        "desktop client",
        r#"{"type":"hello","version":1,"features":{"mcp":true},"transport":"websocket","audio_params":{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":20}}"#,
    ),
    (
        "browser page",
        r#"{"type":"hello","device_id":"AA:BB:CC:00:11:22","device_name":"Web","device_mac":"AA:BB:CC:00:11:22","token":"","features":{"mcp":true,"emoji":true}}"#,
    ),
    ("gateway", r#"{"type":"hello","version":2,"transport":"websocket","audio_params":null,"features":{"mcp":true}}"#),
];

/// The next JSON message.
fn message(client: &mut Client) -> Value {
    match client.next(PATIENCE) {
        Some(Got::Json(value)) => value,
        other => panic!("a message, not {other:?}"),
    }
}

/// A conversation with a bit of everything: wake word, typed questions, aborts, a farewell. All that came; held once.
fn conversation() -> &'static [Got] {
    static ALL: OnceLock<Vec<Got>> = OnceLock::new();
    ALL.get_or_init(|| converse(&RIG.with(BRIEF)))
}

fn converse(rig: &Rig) -> Vec<Got> {
    let mut client = Client::connect(rig.device);
    client.send_text(HELLOS[0].1);
    let mut all = client.until("hello");
    client.send(json!({"type": "hello", "audio_params": {"format": "opus"}}));
    client.detect("你好小智");
    all.extend(client.until("tts:stop"));
    client.detect("quotes \" and \\ and \u{7} and 😀 and 汉字");
    all.extend(client.until("tts:stop"));
    client.detect("again");
    all.extend(client.until("tts:start"));
    client.abort();
    all.extend(client.until("tts:stop"));
    client.abort();
    all.extend(client.until("tts:stop"));
    client.detect("goodbye");
    all.extend(client.until("close 1000"));
    all
}

fn messages(all: &[Got]) -> Vec<&Value> {
    all.iter().filter_map(|got| if let Got::Json(value) = got { Some(value) } else { None }).collect()
}

fn packets(all: &[Got]) -> Vec<&[u8]> {
    all.iter().filter_map(|got| if let Got::Packet(packet) = got { Some(&packet[..]) } else { None }).collect()
}

#[test]
fn item_1_every_hello_is_answered_with_transport_websocket() {
    let rig = RIG.with(BRIEF);
    for (who, hello) in HELLOS {
        let mut client = Client::connect(rig.device);
        let begin = Instant::now();
        client.send_text(hello);
        let answer = message(&mut client);
        assert!(begin.elapsed() < Duration::from_secs(2), "{who}: {:?}", begin.elapsed());
        assert_eq!((&answer["type"], &answer["transport"]), (&json!("hello"), &json!("websocket")), "{who}");
        // Decision 1: what the device gets does not depend on what it sends.
        let audio = json!({"format": "opus", "sample_rate": 24_000, "channels": 1, "frame_duration": 60});
        assert_eq!(answer["audio_params"], audio, "{who}");
    }
}

#[test]
fn item_2_no_hello_comes_before_the_clients() {
    let rig = RIG.with(BRIEF);
    let mut client = Client::connect(rig.device);
    client.listen("start", "auto");
    client.quiet(300);
    client.hello(json!({}));
}

#[test]
fn item_2_a_second_hello_is_never_answered_but_its_features_are_taken_over() {
    let rig = RIG.with(BRIEF);
    let mut client = rig.opus_device();
    client.send(json!({"type": "hello", "features": {"emoji": false}}));
    client.detect("a question");
    let turn = client.until("tts:stop");
    assert_eq!(kinds(&turn), ["stt", "tts:start", "tts:sentence_start", "packet", "tts:stop"], "no hello, no emotion");
}

#[test]
fn item_3_the_session_id_can_stand_in_json_unescaped() {
    let rig = RIG.with(BRIEF);
    let ids: Vec<String> = (0..3).map(|_| rig.opus_device().session).collect();
    for id in &ids {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        assert!(!id.is_empty() && id.chars().all(plain), "{id:?}");
    }
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "each session has its own: {ids:?}");
}

#[test]
fn item_4_every_text_frame_is_an_object_with_a_string_type() {
    let all = conversation();
    for message in messages(all) {
        assert!(message.is_object() && message["type"].is_string(), "{message}");
    }
    let text = |got: &&Got| got.kind() == "stt" && got.text().contains('"') && got.text().contains("汉字");
    assert!(all.iter().any(|got| text(&got)), "the text with quotes came back: {all:?}");
}

#[test]
fn item_5_every_tts_message_has_a_string_state() {
    let all = conversation();
    let tts: Vec<_> = messages(all).into_iter().filter(|message| message["type"] == "tts").collect();
    assert!(tts.len() >= 12, "{tts:?}");
    assert!(tts.iter().all(|message| message["state"].is_string()), "{tts:?}");
}

/// A check-in as the firmware makes it, from both listeners in turn.
fn check_in(rig: &Rig, firmware: &str) -> [crate::support::Answer; 2] {
    let body = json!({"version": 2, "language": "zh-CN", "mac_address": "02:00:00:aa:00:01",
        "application": {"name": "xiaozhi", "version": firmware}, "board": {"type": "bread-compact-wifi"}})
    .to_string();
    [rig.device, rig.http].map(|address| {
        let request = format!(
            "POST /xiaozhi/ota/ HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nActivation-Version: 1\r\nDevice-Id: 02:00:00:aa:00:01\r\n\
             Client-Id: 7b6b1f0e-6a39-4b1b-8d4b-0a52b6c0d001\r\nUser-Agent: bread-compact-wifi/{firmware}\r\n\
             Accept-Language: zh-CN\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            address.port(),
            body.len()
        );
        http(address, &request)
    })
}

fn check_in_json(rig: &Rig) -> [Value; 2] {
    check_in(rig, "2.4.2").map(|answer| serde_json::from_str(&answer.body).expect("JSON"))
}

#[test]
fn item_6_a_check_in_is_answered_whole_small_and_directly() {
    let rig = RIG.with(BRIEF);
    for answer in check_in(&rig, "2.4.2") {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
        assert_eq!(answer.header("transfer-encoding"), None);
        assert_eq!(answer.header("content-encoding"), None);
        assert!(answer.header("content-type").unwrap_or("").starts_with("application/json"), "{}", answer.head);
        assert!(answer.body.len() < 6 * 1024);
        assert!(serde_json::from_str::<Value>(&answer.body).is_ok_and(|body| body.is_object()));
    }
}

#[test]
fn item_7_a_check_in_says_url_token_and_version_and_nothing_of_mqtt() {
    for answer in check_in_json(&RIG.with(BRIEF)) {
        let websocket = &answer["websocket"];
        assert!(websocket["url"].is_string() && websocket["version"].is_u64(), "{answer}");
        assert_eq!(websocket["token"], "", "none, and said so: the device keeps its last one otherwise");
        assert!(answer.get("mqtt").is_none(), "{answer}");
    }
}

#[test]
fn item_8_no_member_of_websocket_has_a_name_too_long_for_flash() {
    for answer in check_in_json(&RIG.with(BRIEF)) {
        let members = answer["websocket"].as_object().unwrap();
        assert!(!members.is_empty() && members.keys().all(|name| name.len() <= 15), "{members:?}");
        // Strings longer than a page of flash are refused there too.
        assert!(members.values().all(|value| value.as_str().is_none_or(|text| text.len() < 4_000)));
    }
}

#[test]
fn item_9_a_firmware_version_is_digits_and_dots() {
    let rig = RIG.with(BRIEF);
    for firmware in ["2.4.2", "1.0", "2.4.2-beta", "v3", "", "2..4", "latest"] {
        for answer in check_in(&rig, firmware) {
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            let Some(version) = body["firmware"].get("version") else { continue };
            let parts = version.as_str().expect("a string").split('.');
            let mut numbers = parts.map(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
            assert!(numbers.all(|is_number| is_number), "{version} for {firmware:?}");
        }
    }
}

#[test]
fn item_10_the_url_has_a_port_and_leads_to_us() {
    let rig = RIG.with(BRIEF);
    for answer in check_in_json(&rig) {
        let url = answer["websocket"]["url"].as_str().unwrap().to_owned();
        let (host, path) = url.strip_prefix("ws://").and_then(|rest| rest.split_once('/')).expect("ws://host/path");
        assert_eq!(host, rig.device.to_string(), "{url}");
        // What the firmware's parser takes for the port begins behind the first colon.
        assert!(!path.contains(':'), "{url}");
        let change = |request: &mut tungstenite::http::Request<()>| *request.uri_mut() = url.parse().unwrap();
        Client::connect_as(rig.device, &fresh_id(), change).expect("it leads to us").hello(json!({}));
    }
}

#[test]
fn item_11_audio_goes_out_only_between_start_and_stop() {
    let mut speaking = false;
    let all = conversation();
    for got in all {
        match got.kind().as_str() {
            "tts:start" => speaking = true,
            "tts:stop" => speaking = false,
            "packet" => assert!(speaking, "{:?}", kinds(all)),
            _ => {}
        }
    }
    assert!(packets(all).len() >= 15, "three replies of 300 ms");
}

/// An abort now: `tts stop` comes soon, with nothing but audio that was under way before it, and nothing comes behind it.
fn abort_is_answered(client: &mut Client, state: &str) {
    let begin = Instant::now();
    client.abort();
    let until_stop = client.until("tts:stop");
    assert!(begin.elapsed() < Duration::from_secs(1), "{state}: {:?}", begin.elapsed());
    let before = |got: &Got| ["packet", "tts:sentence_start", "tts:stop"].contains(&got.kind().as_str());
    assert!(until_stop.iter().all(before), "{state}: {:?}", kinds(&until_stop));
    client.quiet(300);
}

#[test]
fn item_12_an_abort_is_answered_by_tts_stop_when_nothing_is_said() {
    let rig = RIG.with(BRIEF);
    let mut client = rig.device();
    abort_is_answered(&mut client, "idle");
    client.listen("start", "auto");
    abort_is_answered(&mut client, "listening");
    client.sound(480, true);
    abort_is_answered(&mut client, "in the middle of an utterance");
}

#[test]
fn item_12_an_abort_is_answered_by_tts_stop_while_we_think() {
    // Phrases of our own are synthesised first, and must be, before the server is ready.
    let phrases = r#""a phrase", "#.repeat(2 * Phrase::ALL.len());
    let hangs = [("asr.script", String::new()), ("llm.script", String::new()), ("tts.script", phrases)];
    for (key, before) in hangs {
        let rig = rig_with(key, &format!(r#"[{before}"!hang"]"#));
        let mut client = rig.device();
        client.listen("start", "auto");
        client.utterance(600);
        match key {
            "asr.script" => rig.metric_reaches("voxlane_turns_total", r#"event="started""#, 1.0),
            "llm.script" => drop(client.until("tts:start")),
            _ => drop(client.until("llm")),
        }
        abort_is_answered(&mut client, key);
    }
}

#[test]
fn item_12_an_abort_is_answered_by_tts_stop_while_we_speak() {
    let rig = RIG.with(BRIEF);
    let mut client = rig.opus_device();
    client.detect("say something");
    client.until("packet");
    abort_is_answered(&mut client, "speaking");
}

#[test]
fn item_13_nothing_of_an_aborted_turn_follows_its_stop() {
    let rig = rig_with("llm.script", r#"["One two three four. Five six seven eight. Nine ten eleven."]"#);
    // As the desktop client does it: abort, `listen start` at once, and again on our stop.
    let mut client = rig.opus_device();
    client.detect("count");
    client.until("packet");
    client.abort();
    client.listen("start", "auto");
    client.until("tts:stop");
    client.listen("start", "auto");
    client.quiet(1_000);
    rig.metric_becomes("voxlane_workers_busy", "", |busy| busy == 0.0);
}

/// Typed questions to a server with this script, all at once: however they fail, each is one `tts start` and one `tts stop`.
fn every_start_has_its_stop(key: &str, script: &str, turns: usize) {
    let rig = rig_with(key, script);
    let mut clients: Vec<Client> = (0..turns).map(|_| rig.opus_device()).collect();
    clients.iter_mut().for_each(|client| client.detect("a question"));
    for client in &mut clients {
        let all = kinds(&client.until("tts:stop"));
        let starts = all.iter().filter(|kind| *kind == "tts:start").count();
        assert_eq!(starts, 1, "{key} = {script}: {all:?}");
    }
    clients.iter_mut().for_each(|client| client.quiet(100));
}

#[test]
fn item_14_a_failing_model_costs_one_stop_per_start() {
    every_start_has_its_stop("llm.script", r#"["!fail", "!refuse", "!garbage", "!empty"]"#, 4);
    every_start_has_its_stop("llm.script", r#"["!cut One. Two. Three."]"#, 1);
}

#[test]
fn item_14_failing_synthesis_costs_one_stop_per_start() {
    for script in [r#"["!fail"]"#, r#"["!empty"]"#, r#"["!cut"]"#, r#"["!garbage"]"#] {
        every_start_has_its_stop("tts.script", script, 2);
    }
}

#[test]
fn item_14_failing_recognition_is_apologised_for_with_one_stop() {
    let rig = rig_with("asr.script", r#"["!fail"]"#);
    let mut client = rig.device();
    client.listen("start", "auto");
    for _ in 0..2 {
        client.utterance(600);
        let all = client.until("tts:stop");
        assert_eq!(kinds(&all), ["tts:start", "tts:sentence_start", "packet", "tts:stop"]);
        assert_eq!(all[1].text(), "Sorry.");
    }
}

#[test]
fn item_15_tts_stop_waits_until_all_can_have_been_played() {
    let rig = rig_with("llm.script", r#"["One two three."]"#);
    let mut client = rig.opus_device();
    client.detect("count");
    let all = client.timed_until("tts:stop");
    let packets: Vec<Instant> = all.iter().filter(|(_, got)| got.kind() == "packet").map(|(at, _)| *at).collect();
    assert_eq!(packets.len(), 14, "840 ms");
    // 200 ms more, of which a slow reader of the first packet may miss some; the exact instant stands in `virtual_time`.
    let played = packets[0] + Duration::from_millis(14 * 60);
    let stop = all.last().unwrap().0;
    assert!(stop >= played, "{:?} too early", played - stop);
}

#[test]
fn item_16_never_more_than_25_packets_ahead() {
    let rig = rig_with("llm.script", r#"["Once upon a time there was a voice without a body."]"#);
    let mut client = rig.opus_device();
    client.detect("talk");
    let all = client.timed_until("tts:stop");
    let packets: Vec<Instant> = all.iter().filter(|(_, got)| got.kind() == "packet").map(|(at, _)| *at).collect();
    assert_eq!(packets.len(), 50, "3 s, which would all be ahead if nobody paced them");
    for (i, at) in packets.iter().enumerate() {
        let played = (*at - packets[0]).as_millis() as usize / 60;
        assert!(i < played + 25, "packet {i} is {} ahead", i + 1 - played);
    }
}

#[test]
fn item_18_packets_are_mono_and_as_long_as_the_hello_says() {
    for frame_ms in [20, 60] {
        let rig = rig_with("audio.frame_ms", &frame_ms.to_string());
        let mut client = Client::connect(rig.device);
        // The device's own duration is that of its microphone.
        let hello =
            client.hello(json!({"audio_params": {"format": "opus", "sample_rate": 16_000, "frame_duration": 40}}));
        let audio = &hello["audio_params"];
        assert_eq!((audio["frame_duration"].as_u64(), audio["channels"].as_u64()), (Some(frame_ms), Some(1)));
        let rate = audio["sample_rate"].as_u64().unwrap() as u32;
        client.detect("talk");
        let all = client.until("tts:stop");
        assert_eq!(packets(&all).len() as u64, 300 / frame_ms);
        for packet in packets(&all) {
            let samples = opus::packet_samples(packet, rate).expect("Opus") as u64;
            assert_eq!(samples * 1_000 / u64::from(rate), frame_ms);
            assert_eq!(packet[0] & 4, 0, "mono");
        }
    }
}

/// The binary messages of one reply to a device that asks for this framing in its handshake.
fn framed_reply(rig: &Rig, version: &str) -> Vec<Vec<u8>> {
    let change = |request: &mut tungstenite::http::Request<()>| {
        request.headers_mut().insert("Protocol-Version", version.parse().unwrap());
    };
    let mut client = Client::connect_as(rig.device, &fresh_id(), change).unwrap();
    client.hello(json!({}));
    client.detect("talk");
    packets(&client.until("tts:stop")).into_iter().map(<[u8]>::to_vec).collect()
}

fn is_opus(packet: &[u8]) -> bool {
    opus::packet_samples(packet, 24_000) == Ok(1_440)
}

#[test]
fn item_19_frames_of_version_2_have_exact_sizes_type_0_and_the_playback_clock() {
    let frames = framed_reply(&RIG.with(BRIEF), "2");
    assert_eq!(frames.len(), 5);
    for (i, frame) in frames.iter().enumerate() {
        let (header, packet) = frame.split_at(16);
        let field = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!(header[..4], [0, 2, 0, 0], "version 2, type 0");
        assert_eq!((field(4), field(8), field(12)), (0, i as u32 * 60, packet.len() as u32));
        assert!(is_opus(packet));
    }
}

#[test]
fn item_19_frames_of_version_3_have_exact_sizes_and_type_0() {
    let frames = framed_reply(&RIG.with(BRIEF), "3");
    assert_eq!(frames.len(), 5);
    for frame in &frames {
        let (header, packet) = frame.split_at(4);
        assert_eq!(header[..2], [0, 0], "type 0");
        assert_eq!(u16::from_be_bytes([header[2], header[3]]) as usize, packet.len());
        assert!(is_opus(packet));
    }
}

#[test]
fn item_20_the_layout_follows_header_then_query_then_hello_then_1() {
    let rig = RIG.with(BRIEF);
    let cases = [
        (Some("3"), None, 1, 4),
        (Some("3"), Some("2"), 2, 4),
        (None, Some("2"), 1, 16),
        (None, None, 2, 16),
        (None, None, 3, 4),
        (None, None, 1, 0),
        (None, None, 7, 0),
        (Some("9"), None, 3, 4),
    ];
    let connect = |(header, query, hello, bytes): (Option<&str>, Option<&str>, u8, usize)| {
        let change = |request: &mut tungstenite::http::Request<()>| {
            request.headers_mut().remove("Protocol-Version");
            if let Some(version) = header {
                request.headers_mut().insert("Protocol-Version", version.parse().unwrap());
            }
            if let Some(version) = query {
                let uri = format!("ws://{}/xiaozhi/v1/?protocol-version={version}", rig.device);
                *request.uri_mut() = uri.parse().unwrap();
            }
        };
        let mut client = Client::connect_as(rig.device, &fresh_id(), change).unwrap();
        client.hello(json!({"version": hello}));
        client.detect("talk");
        (client, bytes)
    };
    for (i, (mut client, bytes)) in cases.map(connect).into_iter().enumerate() {
        let all = client.until("tts:stop");
        let frames = packets(&all);
        let is_so = |frame: &&[u8]| frame.get(bytes..).is_some_and(is_opus);
        assert!(
            !frames.is_empty() && frames.iter().all(is_so),
            "(header, query, hello, header bytes) = {:?}",
            cases[i]
        );
    }
}

#[test]
fn item_21_an_offered_extension_is_not_taken() {
    let rig = RIG.with(BRIEF);
    let mut raw = Raw::connect(rig.device);
    // As Chromium offers it.
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    raw.send(request(&fresh_id(), 1, offer).as_bytes());
    let head = raw.http_head(PATIENCE).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(!head.contains("sec-websocket-extensions") && !head.contains("sec-websocket-protocol"), "{head}");
    // `Raw::frame` refuses frames with a reserved bit, as compressed ones would have.
    raw.send(&crate::support::frames::frame(opcode::TEXT, HELLOS[0].1.as_bytes()));
    let hello = raw.frame(PATIENCE).expect("a hello");
    assert!(hello.payload.starts_with(b"{"), "{hello:?}");
}

#[test]
fn item_22_the_upgrade_is_answered_with_http_1_1_101() {
    let rig = RIG.with(BRIEF);
    for path in ["/xiaozhi/v1/", "/xiaozhi/v1"] {
        let mut raw = Raw::connect(rig.device);
        raw.send(request(&fresh_id(), 1, "").replace("/xiaozhi/v1/", path).as_bytes());
        let head = raw.http_head(PATIENCE);
        assert_eq!(head.lines().next(), Some("HTTP/1.1 101 Switching Protocols"));
        let accept = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Accept: "));
        // RFC 6455, 1.3, for the key that `request` sends.
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}

#[test]
fn item_23_a_hang_up_without_a_close_frame_releases_everything() {
    let rig = rig_with("llm.script", r#"["!long 2000"]"#);
    let mut speaking = rig.opus_device();
    speaking.detect("talk for long");
    speaking.until("packet");
    let mut listening = rig.device();
    listening.listen("start", "auto");
    listening.sound(600, true);
    rig.metric_becomes("voxlane_sessions_in_phase", r#"phase="speaking""#, |n| n == 1.0);
    rig.metric_becomes("voxlane_sessions_in_phase", r#"phase="listening""#, |n| n == 1.0);
    // A device hangs up by closing TCP.
    drop((speaking, listening));
    for phase in [r#"phase="listening""#, r#"phase="speaking""#] {
        rig.metric_becomes("voxlane_sessions_in_phase", phase, |n| n == 0.0);
    }
    for gauge in ["connections", "sessions", "workers_busy"] {
        rig.metric_becomes(&format!("voxlane_{gauge}"), "", |n| n == 0.0);
    }
    rig.metric_reaches("voxlane_turns_total", r#"event="closed""#, 2.0);
}

#[test]
fn item_24_we_close_with_1000_and_hang_up_without_waiting_for_an_echo() {
    let rig = RIG.with(BRIEF);
    let mut raw = Raw::upgraded(rig.device, &fresh_id(), 1);
    for message in [HELLOS[0].1, r#"{"type":"listen","state":"detect","text":"goodbye"}"#] {
        raw.send(&crate::support::frames::frame(opcode::TEXT, message.as_bytes()));
    }
    assert_eq!(raw.closed_with(), Some(1000));
    assert!(raw.ends(Duration::from_secs(1)), "the device never answers a close frame");
}
