use super::*;
use crate::wire::http::parse_head;

/// The upgrade of RFC 6455, 1.2, as a device sends it; `edit` may change its text.
fn request(edit: impl Fn(String) -> String) -> String {
    edit(
        "GET /xiaozhi/v1/ HTTP/1.1\r\nHost: 10.0.0.5\r\nAuthorization: Bearer sig.123\r\nClient-Id: uuid-1\r\n\
         Connection: Upgrade\r\nDevice-Id: 24:0a:c4:1d:5e:90\r\nProtocol-Version: 2\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"
            .to_owned(),
    )
}

fn judged(text: &str) -> Result<Upgrade, Reply> {
    let (head, _) = parse_head(text.as_bytes()).unwrap().unwrap();
    judge(&head, &Rules::default())
}

fn without(line: &str) -> impl Fn(String) -> String + '_ {
    move |text| {
        let kept = text.split_inclusive("\r\n").filter(|l| !l.starts_with(line));
        kept.collect()
    }
}

#[test]
fn a_device_comes_in() {
    let upgrade = judged(&request(|text| text)).unwrap();
    assert_eq!(upgrade.device_id.as_deref(), Some("24:0a:c4:1d:5e:90"));
    assert_eq!(upgrade.client_id.as_deref(), Some("uuid-1"));
    assert_eq!(upgrade.token.as_deref(), Some("sig.123"));
    assert_eq!(upgrade.version, Some(Version::V2));
    let mut out = Vec::new();
    upgrade.emit(&mut out);
    // The accept key is the RFC's own example; no extension is named.
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_gateways_lower_case_headers_and_its_query_come_in() {
    let text = request(|text| {
        text.replace("Device-Id", "device-id")
            .replace("Client-Id", "client-id")
            .replace("Authorization", "authorization")
            .replace("Protocol-Version", "protocol-version")
            .replace("/v1/", "/v1/?from=mqtt_gateway")
    });
    let upgrade = judged(&text).unwrap();
    assert_eq!((upgrade.version, upgrade.client_id.as_deref()), (Some(Version::V2), Some("uuid-1")));
}

#[test]
fn a_browser_puts_its_ids_into_the_query_and_offers_compression() {
    let text = "GET /xiaozhi/v1/?authorization=Bearer+a.1&device-id=AA%3ABB&client-id=web_test_client HTTP/1.1\r\n\
                Host: h:8000\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nOrigin: http://page\r\n\
                Accept-Language: zh-CN,zh;q=0.9\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    let upgrade = judged(text).unwrap();
    assert_eq!(upgrade.device_id.as_deref(), Some("AA:BB"));
    assert_eq!(upgrade.client_id.as_deref(), Some("web_test_client"));
    assert_eq!(upgrade.token.as_deref(), Some("a.1"));
    assert_eq!((upgrade.version, upgrade.language), (None, Some(Lang::ZH)));
    let mut out = Vec::new();
    upgrade.emit(&mut out);
    assert!(!String::from_utf8(out).unwrap().to_lowercase().contains("extensions"));
}

#[test]
fn a_header_wins_over_the_query() {
    let text = request(|text| text.replace("/v1/", "/v1/?device-id=other&client-id=other&authorization=Bearer+x"));
    let upgrade = judged(&text).unwrap();
    assert_eq!(upgrade.device_id.as_deref(), Some("24:0a:c4:1d:5e:90"));
    assert_eq!(upgrade.token.as_deref(), Some("sig.123"));
}

#[test]
fn both_spellings_of_the_path_are_one() {
    assert!(judged(&request(|text| text.replace("/v1/ ", "/v1 "))).is_ok());
    for path in ["/xiaozhi/v1//", "/xiaozhi/v2/", "/xiaozhi/V1/", "/xiaozhi/v1/x", "/%78iaozhi/v1/"] {
        let text = request(|text| text.replace("/xiaozhi/v1/", path));
        assert_eq!(judged(&text).map_err(|r| r.status), Err(404), "{path}");
    }
}

#[test]
fn each_refusal_has_its_status() {
    let status = |text: String| judged(&text).map(|_| 101).unwrap_or_else(|reply| reply.status);
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n".into()), 200);
    assert_eq!(status("GET /etc/passwd HTTP/1.1\r\n\r\n".into()), 404);
    assert_eq!(status("GET http://h/xiaozhi/v1/ HTTP/1.1\r\n\r\n".into()), 404);
    assert_eq!(status("GET /xiaozhi/v1/ HTTP/1.1\r\nHost: h\r\n\r\n".into()), 426);
    assert_eq!(status("POST /xiaozhi/v1/ HTTP/1.1\r\nHost: h\r\n\r\n".into()), 405);
    assert_eq!(status(request(without("Upgrade"))), 426);
    assert_eq!(status(request(|text| text.replace("Version: 13", "Version: 8"))), 426);
    assert_eq!(status(request(without("Connection"))), 400);
    assert_eq!(status(request(without("Sec-WebSocket-Version"))), 400);
    assert_eq!(status(request(without("Sec-WebSocket-Key"))), 400);
    assert_eq!(status(request(|text| text.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="))), 400);
    assert_eq!(status(request(|text| text.replace("HTTP/1.1", "HTTP/1.0"))), 400);
    assert_eq!(status(request(without("Device-Id"))), 400);
    assert_eq!(status(request(|text| text.replace("24:0a", "24;0a"))), 400);
    assert_eq!(status(request(|text| text.replace("uuid-1", "\"uuid\""))), 400);
    assert_eq!(status(request(|text| text.replace("24:0a", &"a".repeat(200)))), 400);
    assert_eq!(status(request(|text| text.replace("/v1/", "/v1/?client-id=x").replace("uuid-1", ""))), 101);
}

#[test]
fn ids_that_would_break_a_log_line_are_refused() {
    for bad in ["a%0d%0aevil", "a%1b[31m", "a%22b", "a%5cb", "%e2%80%aeb", "a%7cb", "a+b"] {
        let text = request(without("Device-Id")).replace("/v1/", &format!("/v1/?device-id={bad}"));
        assert_eq!(judged(&text).map_err(|r| r.status), Err(400), "{bad}");
    }
}

#[test]
fn lenient_rules_let_the_nameless_in() {
    let text = request(without("Device-Id"));
    let (head, _) = parse_head(text.as_bytes()).unwrap().unwrap();
    let rules = Rules { is_lenient: true, ..Rules::default() };
    assert_eq!(judge(&head, &rules).unwrap().device_id, None);
}

#[test]
fn a_version_we_do_not_know_is_left_to_the_hello() {
    for version in ["0", "4", "x", "256", "-1"] {
        let text = request(|text| text.replace("Version: 2", &format!("Version: {version}")));
        assert_eq!(judged(&text).unwrap().version, None, "{version}");
    }
}

#[test]
fn another_path_may_be_configured() {
    let text = request(|text| text.replace("/xiaozhi/v1/", "/voice"));
    let (head, _) = parse_head(text.as_bytes()).unwrap().unwrap();
    assert!(judge(&head, &Rules { path: "/voice/".into(), is_lenient: false }).is_ok());
}

#[test]
fn debug_hides_the_token() {
    assert!(!format!("{:?}", judged(&request(|text| text))).contains("sig.123"));
}
