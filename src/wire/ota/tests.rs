use super::*;
use crate::wire::http::parse_head;
use serde_json::{Value, json};

/// A device's check-in, its body shortened to what matters and one foreign member.
const BODY: &str = r#"{"version":2,"language":"zh-CN","flash_size":16777216,"minimum_free_heap_size":"8441000",
    "application":{"name":"xiaozhi","version":"2.4.2","elf_sha256":"00"},"board":{"type":"bread-compact-wifi","rssi":-50}}"#;

fn request(method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: 10.0.0.5:8003\r\n{lines}\r\n")
}

const IDS: &str = "Device-Id: 24:0a:c4:1d:5e:90\r\nClient-Id: uuid-1\r\nAccept-Language: en-US\r\n";

fn no_token(_: &CheckIn) -> String {
    String::new()
}

fn context() -> OtaContext<'static> {
    OtaContext {
        public: None,
        local_host: "192.168.1.2",
        port: 8000,
        is_tls: false,
        path: "/xiaozhi/v1/",
        version: Version::V1,
        now: UnixMs(1_767_225_600_000),
        tz_offset_min: 480,
        token: &no_token,
    }
}

fn ask(text: &str, body: &[u8], context: &OtaContext<'_>) -> Option<Answer> {
    answer(&parse_head(text.as_bytes()).unwrap().unwrap().0, body, context)
}

/// Head and body of an answer, its length checked.
fn split(answer: &Answer) -> (String, String) {
    let text = String::from_utf8(answer.bytes.clone()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {} ", answer.status)));
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
    assert!(head.contains("\r\nConnection: close"));
    assert!(!head.to_lowercase().contains("transfer-encoding"));
    (head.to_owned(), body.to_owned())
}

fn told(text: &str, body: &str, context: &OtaContext<'_>) -> Value {
    let answer = ask(text, body.as_bytes(), context).unwrap();
    assert_eq!(answer.status, 200);
    serde_json::from_str(&split(&answer).1).unwrap()
}

#[test]
fn a_device_is_told_where_to_talk() {
    let token = |check_in: &CheckIn| format!("token-of-{}", check_in.device_id);
    let context = OtaContext { token: &token, ..context() };
    let value = told(&request("POST", "/xiaozhi/ota/", IDS), BODY, &context);
    let expected = json!({
        "server_time": {"timestamp": 1_767_225_600_000u64, "timezone_offset": 480},
        "firmware": {"version": "2.4.2", "url": ""},
        "websocket": {"url": "ws://10.0.0.5:8000/xiaozhi/v1/", "token": "token-of-24:0a:c4:1d:5e:90", "version": 1},
    });
    // As a whole: so neither `mqtt` nor `activation` is there.
    assert_eq!(value, expected);
}

#[test]
fn names_fit_into_the_devices_flash() {
    let value = told(&request("POST", "/xiaozhi/ota/", IDS), BODY, &context());
    for name in value["websocket"].as_object().unwrap().keys() {
        assert!(name.len() <= 15, "{name}");
    }
    assert_eq!(value["websocket"]["token"], "");
}

#[test]
fn what_the_device_said_is_handed_on() {
    let answer = ask(&request("POST", "/xiaozhi/ota/", IDS), BODY.as_bytes(), &context()).unwrap();
    let expected = CheckIn {
        device_id: "24:0a:c4:1d:5e:90".into(),
        client_id: Some("uuid-1".into()),
        language: Some(Lang::ZH),
        firmware: "2.4.2".into(),
        board: "bread-compact-wifi".into(),
    };
    assert_eq!(answer.check_in, Some(expected));
}

#[test]
fn a_garbage_body_is_answered_by_the_headers() {
    let deep = format!("{{\"language\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    for body in
        [&b""[..], b"\xff\xfe", b"[]", b"null", b"{", br#"{"application":7,"board":[],"language":{}}"#, deep.as_bytes()]
    {
        let answer = ask(&request("POST", "/xiaozhi/ota/", IDS), body, &context()).unwrap();
        let check_in = answer.check_in.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!((check_in.language, &*check_in.firmware, &*check_in.board), (Some(Lang::EN), "0.0.0", ""));
    }
}

#[test]
fn a_device_without_an_id_gets_400_not_a_polite_200() {
    for lines in ["", "Device-Id: \r\n", "Device-Id: a\"b\r\n", "Device-Id: x\r\nClient-Id: a b\r\n"] {
        let answer = ask(&request("POST", "/xiaozhi/ota/", lines), BODY.as_bytes(), &context()).unwrap();
        let (head, body) = split(&answer);
        assert_eq!((answer.status, answer.check_in), (400, None), "{lines}");
        assert!(body.len() < 100 && head.contains("Access-Control-Allow-Origin: *"));
    }
}

#[test]
fn both_spellings_of_the_path_are_one_and_others_are_not_ours() {
    for path in ["/xiaozhi/ota", "/xiaozhi/ota/", "/xiaozhi/ota?x=1", "/xiaozhi/ota/?x=1"] {
        assert_eq!(ask(&request("POST", path, IDS), b"", &context()).unwrap().status, 200, "{path}");
    }
    for path in ["/", "/xiaozhi/", "/xiaozhi/ota/activate", "/xiaozhi/ota//", "/xiaozhi/v1/"] {
        assert_eq!(ask(&request("POST", path, IDS), b"", &context()), None, "{path}");
    }
}

#[test]
fn a_browser_is_let_in() {
    let wanted =
        ["Access-Control-Allow-Origin: *", "GET, POST, OPTIONS", "content-type, device-id, client-id, authorization"];
    for (method, lines) in [("OPTIONS", ""), ("POST", IDS), ("GET", "")] {
        let answer = ask(&request(method, "/xiaozhi/ota/", lines), b"", &context()).unwrap();
        let (head, _) = split(&answer);
        assert_eq!(answer.status, 200);
        assert!(wanted.iter().all(|line| head.contains(line)), "{method}: {head}");
    }
}

#[test]
fn a_person_is_told_what_this_is() {
    let answer = ask(&request("GET", "/xiaozhi/ota/", ""), b"", &context()).unwrap();
    let (head, body) = split(&answer);
    assert!(head.contains("text/plain") && body.contains("ws://10.0.0.5:8000/xiaozhi/v1/"));
    let head_only = ask(&request("HEAD", "/xiaozhi/ota/", ""), b"", &context()).unwrap();
    assert!(head_only.bytes.ends_with(b"\r\n\r\n"));
    assert_eq!(ask(&request("PUT", "/xiaozhi/ota/", IDS), b"", &context()).unwrap().status, 405);
}

#[test]
fn the_url_always_has_a_port() {
    let url = |context: OtaContext<'_>, host: &str| {
        let text = request("POST", "/xiaozhi/ota/", IDS).replace("10.0.0.5:8003", host);
        told(&text, "{}", &context)["websocket"]["url"].as_str().unwrap().to_owned()
    };
    let public = |public| OtaContext { public: Some(public), ..context() };
    assert_eq!(url(context(), "voice.lan"), "ws://voice.lan:8000/xiaozhi/v1/");
    assert_eq!(url(OtaContext { is_tls: true, ..context() }, "voice.lan:1"), "wss://voice.lan:8000/xiaozhi/v1/");
    assert_eq!(url(public("v.example"), "x"), "ws://v.example:8000/xiaozhi/v1/");
    assert_eq!(url(public("v.example:443"), "x"), "ws://v.example:443/xiaozhi/v1/");
    assert_eq!(url(public("wss://v.example:443/w"), "x"), "wss://v.example:443/w");
    // A Host that is none: our own address instead.
    for odd in ["", "[::1]:8003", "a b", "a\"b", "a/b", &"h".repeat(300)] {
        assert_eq!(url(context(), odd), "ws://192.168.1.2:8000/xiaozhi/v1/", "{odd}");
    }
}

#[test]
fn a_public_address_is_one_the_firmware_can_parse() {
    for good in ["v.example", "10.0.0.5", "v.example:443", "ws://v:80/", "wss://v.example:443/x/v1/?a=b:c"] {
        assert!(is_public_address(good), "{good}");
    }
    let bad = [
        "",
        ":80",
        "v:",
        "v:0",
        "v:65536",
        "v:+80",
        "v/x",
        "[::1]:80",
        "http://v:80/",
        "ws://v/x",
        "ws://v:80",
        "ws://v:80/a b",
        "wss://v.example:443/\"",
        "v\n",
    ];
    for bad in bad {
        assert!(!is_public_address(bad), "{bad}");
    }
}

#[test]
fn a_version_is_digits_and_dots() {
    let check = |said: &str, expected: &str| assert_eq!(&*clean_version(said), expected, "{said}");
    check("2.4.2", "2.4.2");
    check("v1.9.4", "1.9.4");
    check("2.1.1-beta.3", "2.1.1");
    check("1.2.", "1.2");
    check("1..2", "1");
    check(".1", "0.0.0");
    check("", "0.0.0");
    check("latest", "0.0.0");
    check("1.9999999999", "1");
    check("1.2.3.4.5.6.7.8", "1.2.3.4.5.6");
    check("١.٢", "0.0.0");
}

#[test]
fn the_largest_answer_stays_under_six_kilobytes() {
    let token = |_: &CheckIn| "t".repeat(100);
    let id = "d".repeat(crate::limits::ID_BYTES);
    let body = format!(r#"{{"application":{{"version":"{}"}}}}"#, "123456789.".repeat(1_000));
    let text = request("POST", "/xiaozhi/ota/", &format!("Device-Id: {id}\r\n")).replace("10.0.0.5", &"h".repeat(253));
    let answer = ask(&text, body.as_bytes(), &OtaContext { token: &token, ..context() }).unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.bytes.len() < OTA_ANSWER_BYTES / 4);
}
