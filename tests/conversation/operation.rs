//! What an operator does: start, look, let devices in, and stop while somebody is being spoken to.

use crate::support::{Client, Got, PATIENCE, Rig, fresh_id, http, kinds};
use crate::{TURN, count, packets_of_sentences};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

const CLIENT_ID: &str = "7b6b1f0e-6a39-4b1b-8d4b-0a52b6c0d001";

#[test]
fn a_stopping_server_lets_the_turn_end_and_says_that_it_goes() {
    let mut rig = Rig::with(&[("llm.script", r#"["This one is being said. This one is said too."]"#)]);
    let mut client = rig.device();
    let mut idle = rig.device();
    client.detect("tell me");
    let mut all = client.until("packet");
    let server = rig.server.take().unwrap();
    let begin = Instant::now();
    let stopping = std::thread::spawn(move || server.stop(Duration::from_secs(10)));
    all.extend(client.until("close 1001"));
    let end = ["packet", "tts:sentence_start", "packet", "tts:stop", "close 1001"];
    assert!(kinds(&all).ends_with(&end.map(str::to_owned)), "{:?}", kinds(&all));
    assert_eq!(packets_of_sentences(&all), [23, 21]);
    assert_eq!(client.next(PATIENCE), Some(Got::End));
    assert_eq!(kinds(&idle.until("close 1001")), ["close 1001"], "who is not spoken to need not wait");
    drop(idle);
    stopping.join().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    assert!(TcpStream::connect(rig.device).is_err(), "nobody listens any more");
}

#[test]
fn a_stop_that_will_not_wait_still_ends_what_was_begun() {
    let mut rig = Rig::with(&[("tts.script", r#"["!long 20000"]"#)]);
    let mut client = rig.device();
    client.detect("tell me");
    let mut all = client.until("packet");
    let server = rig.server.take().unwrap();
    let stopping = std::thread::spawn(move || server.stop(Duration::from_millis(200)));
    all.extend(client.until("close 1001"));
    assert_eq!((count(&all, "tts:start"), count(&all, "tts:stop")), (1, 1), "{:?}", kinds(&all));
    assert!(count(&all, "packet") < 60);
    stopping.join().unwrap();
}

/// The token that check-in hands out; empty for strangers.
fn token(rig: &Rig, device_id: &str) -> String {
    let request = format!(
        "POST /xiaozhi/ota/ HTTP/1.1\r\nHost: voice.test\r\nDevice-Id: {device_id}\r\nClient-Id: {CLIENT_ID}\r\n\
         Content-Length: 2\r\n\r\n{{}}"
    );
    let answer: Value = serde_json::from_str(&http(rig.http, &request).body).expect("JSON");
    answer["websocket"]["token"].as_str().expect("a token, if an empty one").to_owned()
}

fn knock(rig: &Rig, device_id: &str, token: &str) -> Result<Client, u16> {
    let set = |request: &mut tungstenite::http::Request<()>| {
        request.headers_mut().insert("Authorization", format!("Bearer {token}").parse().unwrap());
    };
    Client::connect_as(rig.device, device_id, set).map_err(|(status, _)| status)
}

#[test]
fn a_token_from_check_in_lets_its_device_talk_also_after_a_restart() {
    const FRIEND: &str = "02:11:22:33:44:55";
    let folder = std::env::temp_dir().join(format!("voxlane-tokens-{}", std::process::id()));
    let (allow, dir) = (format!("[{FRIEND:?}]"), format!("{folder:?}"));
    let start = || Rig::with(&[("auth.mode", r#""token""#), ("auth.allow", &allow), ("state.dir", &dir)]);
    let rig = start();
    let good = token(&rig, FRIEND);
    assert!(!good.is_empty());
    assert_eq!(token(&rig, "02:99:99:99:99:99"), "", "strangers get none");
    assert_eq!(knock(&rig, "02:99:99:99:99:99", &good).err(), Some(401), "another's token");
    let talk = |rig: &Rig| {
        let mut client = knock(rig, FRIEND, &good).expect("welcome");
        client.hello(json!({}));
        client.detect("hello");
        assert_eq!(kinds(&client.until("tts:stop")), TURN);
    };
    talk(&rig);
    drop(rig);
    talk(&start());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_device_converses_over_tls() {
    let pem = |name: &str| format!("{:?}", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name));
    let rig = Rig::with(&[("listen.tls_cert", &pem("server.pem")), ("listen.tls_key", &pem("server-key.pem"))]);
    let mut socket = {
        let mut roots = RootCertStore::empty();
        let authority = include_bytes!("../data/tls/authority.pem");
        roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let tls = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        let stream = TcpStream::connect(rig.device).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("wss://localhost:{}/xiaozhi/v1/", rig.device.port()).into_client_request().unwrap();
        request.headers_mut().insert("Device-Id", fresh_id().parse().unwrap());
        tungstenite::client(request, StreamOwned::new(tls, stream)).expect("upgrade").0
    };
    socket.send(Message::text(r#"{"type":"hello","audio_params":{"format":"pcm"}}"#)).unwrap();
    let (mut kinds, mut packets) = (Vec::new(), 0);
    while kinds.last().is_none_or(|kind| kind != "tts:stop") {
        match socket.read().expect("a message") {
            Message::Text(text) => {
                let value: Value = serde_json::from_str(&text).unwrap();
                kinds.push(Got::Json(value).kind());
                if kinds.last().unwrap() == "hello" {
                    socket.send(Message::text(r#"{"type":"listen","state":"detect","text":"over tls"}"#)).unwrap();
                }
            }
            Message::Binary(bytes) => {
                assert_eq!(bytes.len(), 2 * 1_440, "60 ms at 24 kHz");
                packets += 1;
            }
            _ => {}
        }
    }
    assert_eq!(kinds, ["hello", "stt", "tts:start", "llm", "tts:sentence_start", "tts:stop"]);
    assert_eq!(packets, "You said: over tls".len());
    // Check-in, still in the clear, sends devices there.
    let answer = http(
        rig.http,
        "POST /xiaozhi/ota/ HTTP/1.1\r\nHost: voice.test\r\nDevice-Id: 02:aa\r\nContent-Length: 0\r\n\r\n",
    )
    .body;
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let url = answer["websocket"]["url"].as_str().unwrap_or_default();
    assert_eq!(url, format!("wss://voice.test:{}/xiaozhi/v1/", rig.device.port()));
}

#[test]
fn after_a_turn_every_stage_has_counted_and_every_milestone_is_there() {
    // Providers that take a while: what they take is not what we add.
    let slow = [("asr.delay_ms", "40"), ("llm.first_token_ms", "40"), ("tts.first_audio_ms", "40")];
    let rig = Rig::with(&[&[("llm.script", r#"["Ok."]"#)], &slow[..]].concat());
    let mut client = rig.device();
    client.listen("start", "auto");
    client.utterance(600);
    assert_eq!(kinds(&client.until("tts:stop")), TURN);
    rig.metric_reaches("voxlane_turns_total", r#"event="complete""#, 1.0);
    for item in [
        r#"stage="input",item="message""#,
        r#"stage="input",item="packet""#,
        r#"stage="preprocess",item="frame""#,
        r#"stage="detection",item="onset""#,
        r#"stage="queue",item="block""#,
        r#"stage="processing",item="job""#,
        r#"stage="result",item="outcome""#,
    ] {
        assert!(rig.metric("voxlane_items_total", item) >= 1.0, "{item}");
    }
    for pool in ["asr", "llm", "tts"] {
        let ok = |rig: &Rig| {
            let text = http(rig.admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").body;
            let of = |l: &&str| l.starts_with("voxlane_jobs_total") && l.contains(pool) && l.contains(r#"result="ok""#);
            text.lines().filter(of).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
        };
        assert_eq!(ok(&rig), 1.0, "{pool}");
    }
    assert_eq!(rig.metric("voxlane_packets_sent_total", ""), 5.0);
    assert_eq!(rig.metric("voxlane_frame_lateness_seconds_count", ""), 5.0);
    let mut before = 0.0;
    for name in [
        "end_of_utterance",
        "final_transcript",
        "first_token",
        "first_sentence",
        "first_audio_ready",
        "first_audio",
        "reply_end",
    ] {
        let milestone = format!("milestone={name:?}");
        assert_eq!(rig.metric("voxlane_turn_seconds_count", &milestone), 1.0, "{name}");
        let at = rig.metric("voxlane_turn_seconds_sum", &milestone);
        assert!(at >= before, "{name} at {at} s, the one before it at {before} s");
        before = at;
    }
    assert!(before < 5.0, "the reply ended after {before} s");
    let at = |milestone: &str| rig.metric("voxlane_turn_seconds_sum", &format!("milestone={milestone:?}"));
    let all = at("first_audio_ready") - at("end_of_utterance");
    let added = rig.metric("voxlane_added_seconds_sum", "");
    assert_eq!(rig.metric("voxlane_added_seconds_count", ""), 1.0);
    assert!(all > 0.12 && added < all, "{added} s of {all} s are ours, though providers take 0.12 s");

    let get = |target: &str| http(rig.admin, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!((get("/readyz").status, get("/readyz").body.as_str()), (200, "ready\n"));
    for address in [rig.device, rig.http, rig.admin] {
        let answer = http(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!((answer.status, answer.body.trim()), (200, "ok"));
    }
    let stats: Value = serde_json::from_str(&get("/stats.json").body).expect("JSON");
    assert_eq!(stats["all"]["counters"][r#"voxlane_turns_total{event="complete"}"#], 1);
    assert_eq!(stats["all"]["series_ms"][r#"voxlane_turn_seconds{milestone="first_audio"}"#]["count"], 1);
    assert_eq!(stats["shards"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_operators_pages_are_for_those_who_name_us_rightly() {
    let rig = Rig::with(&[("admin.token", r#""a token for the operator""#)]);
    let get = |lines: &str| http(rig.admin, &format!("GET /metrics HTTP/1.1\r\n{lines}\r\n")).status;
    let token = "Authorization: Bearer a token for the operator\r\n";
    assert_eq!(get(&format!("Host: localhost\r\n{token}")), 200);
    assert_eq!(get("Host: localhost\r\n"), 401);
    assert_eq!(get("Host: localhost\r\nAuthorization: Bearer a guess\r\n"), 401);
    assert_eq!(get(&format!("Host: evil.example\r\n{token}")), 421, "a name that was pointed at us");
    assert_eq!(get(&format!("Host: localhost\r\nOrigin: http://evil.example\r\n{token}")), 403, "another site's page");
}
