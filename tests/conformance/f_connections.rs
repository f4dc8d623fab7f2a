//! F. Connections: who may in, who must go, and how it is said.

use crate::support::frames::{Raw, frame, opcode};
use crate::support::{Answer, Client, Got, PATIENCE, Rig, fresh_id, http, read_answer};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use std::net::{Shutdown, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECRET: &str = "a secret of the tests, long enough";
const CLIENT_ID: &str = "7b6b1f0e-6a39-4b1b-8d4b-0a52b6c0d001";
/// The device that gets a token.
const FRIEND: &str = "02:11:22:33:44:aa";

/// A server that asks for tokens, and hands them to one device.
fn guarded() -> &'static Rig {
    static GUARDED: OnceLock<Rig> = OnceLock::new();
    GUARDED.get_or_init(|| {
        let (allow, secret) = (format!("[{FRIEND:?}]"), format!("{SECRET:?}"));
        Rig::with(&[("auth.mode", r#""token""#), ("auth.allow", &allow), ("auth.secret", &secret)])
    })
}

/// A token made as the protocol says, by other hands than the server's.
fn token(client_id: &str, device_id: &str, age_s: u64) -> String {
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - age_s;
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{client_id}|{device_id}|{stamp}").as_bytes());
    format!("{}.{stamp}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// Knocks as this device with this Authorization; the status of a refusal.
fn knock(device_id: &str, authorization: Option<&str>) -> Result<Client, u16> {
    let set = |request: &mut tungstenite::http::Request<()>| {
        if let Some(value) = authorization {
            request.headers_mut().insert("Authorization", value.parse().unwrap());
        }
    };
    Client::connect_as(guarded().device, device_id, set).map_err(|(status, body)| {
        assert!(body.len() < 200, "a refusal is short: {body}");
        status
    })
}

/// The status of an upgrade written by hand: this target and these lines.
fn upgrade(address: SocketAddr, target: &str, lines: &str) -> String {
    let mut raw = Raw::connect(address);
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    );
    raw.send(request.as_bytes());
    let head = raw.http_head(PATIENCE);
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn check_in(address: SocketAddr, target: &str, lines: &str, body: &str) -> Answer {
    let request =
        format!("POST {target} HTTP/1.1\r\nHost: voice.test\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len());
    http(address, &request)
}

/// Both places where devices check in.
fn desks() -> [SocketAddr; 2] {
    [Rig::shared().device, Rig::shared().http]
}

#[test]
fn item_78_header_names_are_case_insensitive() {
    let lines = format!("dEVICE-iD: {}\r\nCLIENT-ID: c\r\nprotocol-version: 1\r\n", fresh_id());
    assert_eq!(upgrade(Rig::shared().device, "/xiaozhi/v1/", &lines), "101");
    // And in the request of a client that writes all of them small.
    let mut raw = Raw::connect(Rig::shared().device);
    let id = fresh_id();
    raw.send(
        format!(
            "GET /xiaozhi/v1/ HTTP/1.1\r\nhost: x\r\nupgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\ndevice-id: {id}\r\n\r\n"
        )
        .as_bytes(),
    );
    assert!(raw.http_head(PATIENCE).starts_with("HTTP/1.1 101 "));
}

#[test]
fn item_78_query_parameters_stand_in_for_headers_and_plus_is_a_space() {
    let (id, token) = ("02%3A11%3A22%3A33%3A44%3Aee", token(CLIENT_ID, "02:11:22:33:44:ee", 0));
    let query = |authorization: &str| {
        format!("/xiaozhi/v1/?device-id={id}&client-id={CLIENT_ID}&authorization={authorization}")
    };
    assert_eq!(upgrade(guarded().device, &query(&format!("Bearer+{token}")), ""), "101");
    assert_eq!(upgrade(guarded().device, &query(&format!("Bearer%20{token}")), ""), "101");
    assert_eq!(upgrade(guarded().device, &query(&token), ""), "401", "Bearer is required");
    // A header goes before a parameter.
    let lines = format!("Device-Id: {}\r\n", fresh_id());
    assert_eq!(upgrade(guarded().device, &query(&format!("Bearer+{token}")), &lines), "401");
}

#[test]
fn item_79_without_a_good_token_the_answer_is_401_before_the_upgrade() {
    let good = token(CLIENT_ID, FRIEND, 0);
    let (signature, stamp) = good.split_once('.').unwrap();
    for bad in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer test-token".to_owned(),
        "Bearer None".to_owned(),
        format!("Basic {good}"),
        good.clone(),
        format!("Bearer {signature}"),
        format!("Bearer {signature}."),
        format!("Bearer .{stamp}"),
        format!("Bearer {good}.1"),
        format!("Bearer {}.{stamp}", "A".repeat(signature.len())),
        format!("Bearer {signature}.99999999999999999999999999"),
    ] {
        assert_eq!(knock(FRIEND, Some(&bad)).err(), Some(401), "{bad:?}");
    }
    assert_eq!(knock(FRIEND, None).err(), Some(401));
}

#[test]
fn item_80_a_token_from_check_in_opens_the_door_again_and_again() {
    let lines = format!("Device-Id: {FRIEND}\r\nClient-Id: {CLIENT_ID}\r\n");
    let answer = check_in(guarded().http, "/xiaozhi/ota/", &lines, "{}");
    let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
    let token = answer["websocket"]["token"].as_str().expect("a token");
    for _ in 0..2 {
        let mut client = knock(FRIEND, Some(&format!("Bearer {token}"))).expect("welcome");
        client.hello(json!({}));
    }
}

#[test]
fn item_80_a_token_is_good_for_its_ids_only_case_included() {
    let good = format!("Bearer {}", token(CLIENT_ID, FRIEND, 0));
    assert_eq!(knock("02:11:22:33:44:bb", Some(&good)).err(), Some(401), "another device");
    assert_eq!(knock(&FRIEND.to_uppercase(), Some(&good)).err(), Some(401), "ids count as sent");
    let other_client = format!("Bearer {}", token("another-client", FRIEND, 0));
    assert_eq!(knock(FRIEND, Some(&other_client)).err(), Some(401), "another client");
    // The browser sends its id in upper case, and its token is made of that.
    let upper = format!("Bearer {}", token(CLIENT_ID, "02:11:22:33:44:CC", 0));
    assert!(knock("02:11:22:33:44:CC", Some(&upper)).is_ok());
}

#[test]
fn item_80_a_token_lives_30_days_and_a_grace_of_a_week() {
    const DAY: u64 = 24 * 3_600;
    let aged = |age_s| format!("Bearer {}", token(CLIENT_ID, "02:11:22:33:44:dd", age_s));
    assert!(knock("02:11:22:33:44:dd", Some(&aged(30 * DAY - 60))).is_ok());
    assert!(knock("02:11:22:33:44:dd", Some(&aged(36 * DAY))).is_ok(), "uptimes over a month exist");
    assert_eq!(guarded().metric("voxlane_tokens_in_grace_total", ""), 1.0);
    assert_eq!(knock("02:11:22:33:44:dd", Some(&aged(38 * DAY))).err(), Some(401));
}

#[test]
fn item_80_a_stranger_gets_no_token_and_no_entry() {
    let lines = "Device-Id: 02:99:99:99:99:99\r\nClient-Id: c\r\n";
    let answer = check_in(guarded().http, "/xiaozhi/ota/", lines, "{}");
    let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(answer["websocket"]["token"], "");
    assert_eq!(knock("02:99:99:99:99:99", None).err(), Some(401));
}

#[test]
fn item_81_without_a_device_id_the_answer_is_400() {
    assert_eq!(upgrade(Rig::shared().device, "/xiaozhi/v1/", ""), "400");
    assert_eq!(upgrade(Rig::shared().device, "/xiaozhi/v1/", "Device-Id: \r\n"), "400");
    assert_eq!(upgrade(Rig::shared().device, "/xiaozhi/v1/", "Device-Id: a\"b\r\n"), "400");
    let long = format!("Device-Id: {}\r\n", "a".repeat(200));
    assert_eq!(upgrade(Rig::shared().device, "/xiaozhi/v1/", &long), "400");
}

#[test]
fn item_81_a_lenient_server_invents_an_id() {
    let rig = Rig::with(&[("listen.lenient", "true")]);
    assert_eq!(upgrade(rig.device, "/xiaozhi/v1/", ""), "101");
}

#[test]
fn item_82_a_ping_is_answered_with_its_payload() {
    let mut raw = Raw::upgraded(Rig::shared().device, &fresh_id(), 1);
    for payload in [&b""[..], b"x", &[7; 125]] {
        raw.send(&frame(opcode::PING, payload));
        let pong = raw.frame(PATIENCE).expect("a pong");
        assert_eq!((pong.opcode, &*pong.payload), (opcode::PONG, payload));
    }
}

#[test]
fn item_83_a_second_connection_of_a_device_replaces_the_first() {
    let id = fresh_id();
    let mut first = Client::connect_as(Rig::shared().device, &id, |_| {}).expect("upgrade");
    first.hello(json!({}));
    let mut second = Client::connect_as(Rig::shared().device, &id, |_| {}).expect("upgrade");
    second.hello(json!({}));
    // Without a word: the device has forgotten the old one.
    assert_eq!(first.next(PATIENCE), Some(Got::End));
    second.is_alive();
    assert_ne!(first.session, second.session);
}

#[test]
fn item_84_plain_http_on_the_websocket_path_gets_a_sentence() {
    let address = Rig::shared().device;
    let status = |request: &str| {
        let answer = http(address, request);
        assert!((1..200).contains(&answer.body.len()), "{answer:?}");
        assert_eq!(answer.header("Content-Length"), Some(answer.body.len().to_string().as_str()));
        answer.status
    };
    assert_eq!(status("GET /xiaozhi/v1/ HTTP/1.1\r\nHost: x\r\n\r\n"), 426);
    assert_eq!(status("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_eq!(status("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_eq!(status("GET /wrong/path HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    assert_eq!(status("POST /xiaozhi/v1/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), 405);
    assert_eq!(status("\x16\x03\x01 hello over TLS\r\n\r\n"), 400);
}

#[test]
fn item_84_an_upgrade_that_is_none_of_ours_is_told_why() {
    let device = format!("Device-Id: {}\r\n", fresh_id());
    assert_eq!(upgrade(Rig::shared().device, "/other/", &device), "404");
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let with = |lines: &str| {
        let request = format!("GET /xiaozhi/v1/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{device}{lines}\r\n");
        http(Rig::shared().device, &request)
    };
    let old = with(&format!("Upgrade: websocket\r\nSec-WebSocket-Version: 8\r\n{key}"));
    assert_eq!((old.status, old.header("Sec-WebSocket-Version")), (426, Some("13")));
    assert_eq!(with("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n").status, 400, "no key");
    assert_eq!(with(&format!("Upgrade: h2c\r\nSec-WebSocket-Version: 13\r\n{key}")).status, 426);
}

#[test]
fn item_85_check_in_lets_browsers_in() {
    for address in desks() {
        let origin = "Origin: http://localhost:8006\r\n";
        let asked = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: device-id,client-id\r\n";
        let options = http(address, &format!("OPTIONS /xiaozhi/ota/ HTTP/1.1\r\nHost: x\r\n{origin}{asked}\r\n"));
        let post = check_in(address, "/xiaozhi/ota/", &format!("{origin}Device-Id: 02:AA\r\n"), "{}");
        for answer in [options, post] {
            assert!(matches!(answer.status, 200 | 204), "{answer:?}");
            assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
            let headers = answer.header("Access-Control-Allow-Headers").expect("headers").to_lowercase();
            let methods = answer.header("Access-Control-Allow-Methods").expect("methods");
            assert!(["content-type", "device-id", "client-id", "authorization"].iter().all(|h| headers.contains(h)));
            assert!(["GET", "POST", "OPTIONS"].iter().all(|method| methods.contains(method)));
        }
    }
}

#[test]
fn item_86_a_last_slash_makes_no_difference() {
    for address in desks() {
        let urls = ["/xiaozhi/ota", "/xiaozhi/ota/"].map(|target| {
            let answer = check_in(address, target, "Device-Id: 02:bb\r\n", "{}");
            assert_eq!(answer.status, 200, "{target}");
            serde_json::from_str::<Value>(&answer.body).expect("JSON")["websocket"].clone()
        });
        assert_eq!(urls[0], urls[1]);
    }
    for target in ["/xiaozhi/v1", "/xiaozhi/v1/", "/xiaozhi/v1?x=1"] {
        assert_eq!(upgrade(Rig::shared().device, target, &format!("Device-Id: {}\r\n", fresh_id())), "101", "{target}");
    }
}

#[test]
fn item_87_check_in_without_a_device_id_is_400() {
    for address in desks() {
        let answer = check_in(address, "/xiaozhi/ota/", "Client-Id: c\r\n", "{}");
        assert_eq!(answer.status, 400, "not 200: the device would turn to MQTT");
        assert!((1..200).contains(&answer.body.len()));
    }
}

#[test]
fn item_88_check_in_with_a_garbage_body_is_answered_by_its_headers() {
    for address in desks() {
        for body in
            ["", "garbage", "[1,2]", "{\"application\":", "{\"application\":{\"version\":\"v9'; drop\"}}", "\u{1}\u{2}"]
        {
            let answer = check_in(address, "/xiaozhi/ota/", "Device-Id: 02:cc\r\n", body);
            assert_eq!(answer.status, 200, "{body:?}");
            let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
            assert!(answer["websocket"]["url"].as_str().is_some_and(|url| url.starts_with("ws://voice.test:")));
        }
    }
}

#[test]
fn item_89_time_is_in_milliseconds_and_its_offset_in_minutes() {
    let offset_min = i64::from(jiff::tz::TimeZone::system().to_offset(jiff::Timestamp::now()).seconds() / 60);
    for address in desks() {
        let answer = check_in(address, "/xiaozhi/ota/", "Device-Id: 02:dd\r\n", "{}");
        let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let said_ms = answer["server_time"]["timestamp"].as_i64().expect("a whole number");
        assert!((now_ms - said_ms).abs() < 60_000, "{said_ms} at {now_ms}");
        assert_eq!(answer["server_time"]["timezone_offset"].as_i64(), Some(offset_min));
    }
}

#[test]
fn item_91_after_the_upgrade_the_server_waits_for_the_hello_and_says_nothing() {
    // That it closes after 5 s is shown under virtual time.
    let mut client = Client::connect(Rig::shared().device);
    client.quiet(100);
    client.hello(json!({}));
}

#[test]
fn a_request_in_many_pieces_is_a_request() {
    let mut raw = Raw::connect(Rig::shared().device);
    for byte in crate::support::frames::request(&fresh_id(), 1, "").as_bytes() {
        raw.send(&[*byte]);
    }
    assert!(raw.http_head(PATIENCE).starts_with("HTTP/1.1 101 "));
    // The hello right behind the request, in one piece with it.
    let mut raw = Raw::connect(Rig::shared().device);
    let mut bytes = crate::support::frames::request(&fresh_id(), 1, "").into_bytes();
    bytes.extend(frame(opcode::TEXT, br#"{"type":"hello"}"#));
    raw.send(&bytes);
    assert!(raw.http_head(PATIENCE).starts_with("HTTP/1.1 101 "));
    assert_eq!(raw.frame(PATIENCE).expect("a hello").opcode, opcode::TEXT);
}

#[test]
fn a_hang_up_right_behind_the_last_words_is_noticed_at_once() {
    // Bytes and the end of the stream in one event of the kernel, which does not come again.
    for _ in 0..20 {
        let mut open = Raw::upgraded(Rig::shared().device, &fresh_id(), 1);
        open.send(&frame(opcode::TEXT, br#"{"type":"hello"}"#));
        let _ = open.stream.shutdown(Shutdown::Write);
        let mut knocking = Raw::connect(Rig::shared().device);
        knocking.send(b"GET /xiaozhi/v1/ HTTP/1.1\r\nHost: x\r\n");
        let _ = knocking.stream.shutdown(Shutdown::Write);
        assert!(open.ends(Duration::from_secs(4)) && knocking.ends(Duration::from_secs(4)));
    }
}

#[test]
fn an_answer_ends_its_connection() {
    let mut raw = Raw::connect(Rig::shared().device);
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = read_answer(&mut raw.stream);
    assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")));
    assert!(raw.ends(Duration::from_secs(5)));
}
