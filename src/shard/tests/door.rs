//! Requests that come to the device port.

use super::rig::{Rig, request};
use crate::format::Lang;
use crate::metrics::{Counter, Gauge};
use crate::shard::{Access, Rules};
use crate::wire::token::Keys;

/// The answer to a request that comes in pieces of `piece` bytes.
fn ask(rig: &mut Rig, text: &str, piece: usize) -> String {
    let mut device = rig.connect();
    for part in text.as_bytes().chunks(piece) {
        device.far.send(part);
        rig.run();
    }
    let answer = device.http();
    if !answer.starts_with("HTTP/1.1 101") {
        assert!(device.far.is_closed(), "an answer ends the connection: {answer}");
    }
    answer
}

fn check(text: &str, status: &str) {
    for piece in [1, 7, 100_000] {
        let answer = ask(&mut Rig::new(), text, piece);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{text:?} in pieces of {piece}: {answer}");
    }
}

#[test]
fn requests_get_their_answers_however_they_are_cut() {
    check("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", "200");
    check("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "200");
    check("GET /elsewhere HTTP/1.1\r\nHost: h\r\n\r\n", "404");
    check("GET /xiaozhi/v1/ HTTP/1.1\r\nHost: h\r\n\r\n", "426");
    check(&request("aa:bb", ""), "101");
    check(&request("aa:bb", "").replace("Device-Id: aa:bb\r\n", ""), "400");
    check("\x16\x03\x01\x02", "400");
    check(&format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(9_000)), "431");
}

#[test]
fn a_check_in_is_answered_when_its_body_is_there() {
    let body = r#"{"language":"zh-CN","application":{"version":"2.2.1"}}"#;
    let text = format!(
        "POST /xiaozhi/ota HTTP/1.1\r\nHost: 10.0.0.9:8000\r\nDevice-Id: aa:bb\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for piece in [1, 60, 10_000] {
        let mut rig = Rig::new();
        let answer = ask(&mut rig, &text, piece);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(r#""url":"ws://10.0.0.9:8000/xiaozhi/v1/""#), "{answer}");
        let languages = &rig.shard.floor.common.languages;
        assert_eq!(languages.of("aa:bb"), Some(Lang::ZH));
    }
}

#[test]
fn a_body_too_large_is_refused_before_it_comes() {
    check("POST /xiaozhi/ota HTTP/1.1\r\nHost: h\r\nDevice-Id: a\r\nContent-Length: 99999\r\n\r\n", "413");
}

#[test]
fn with_tokens_a_device_needs_the_one_it_was_given() {
    let keys = Keys::new(vec![b"0123456789abcdef0123".to_vec().into()], 0).unwrap();
    let access = Access::Token { keys, allow: vec!["AA:BB".into()] };
    let mut rig = Rig::with(Rules { access, ..Rules::default() });
    let check_in = |id: &str| {
        format!(
            "POST /xiaozhi/ota/ HTTP/1.1\r\nHost: h\r\nDevice-Id: {id}\r\nClient-Id: c-1\r\nContent-Length: 2\r\n\r\n{{}}"
        )
    };
    let token = |answer: &str| answer.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let ours = token(&ask(&mut rig, &check_in("aa:bb"), 1_000));
    assert!(!ours.is_empty());
    assert_eq!(token(&ask(&mut rig, &check_in("cc:dd"), 1_000)), "", "not on the list");
    let open = |rig: &mut Rig, id: &str, token: &str| {
        ask(rig, &request(id, &format!("Authorization: Bearer {token}\r\n")), 1_000)
    };
    assert!(open(&mut rig, "aa:bb", &ours).starts_with("HTTP/1.1 101"));
    assert!(open(&mut rig, "cc:dd", &ours).starts_with("HTTP/1.1 401"));
    assert!(open(&mut rig, "aa:bb", "x.1").starts_with("HTTP/1.1 401"));
    assert!(ask(&mut rig, &request("aa:bb", ""), 1_000).starts_with("HTTP/1.1 401"));
}

#[test]
fn a_slow_handshake_is_over_after_five_seconds() {
    let mut rig = Rig::new();
    let (mut slow, silent) = (rig.connect(), rig.connect());
    slow.far.send(b"GET /xiao");
    rig.wait_ms(4_990);
    assert!(!slow.far.is_closed() && !silent.far.is_closed());
    rig.wait_ms(20);
    assert!(slow.http().starts_with("HTTP/1.1 408"));
    assert!(slow.far.is_closed() && silent.far.is_closed());
    assert_eq!(silent.far.take(), b"");
    rig.wait_ms(1_000);
    assert_eq!((rig.shard.connections(), rig.gauge(Gauge::Connections)), (0, 0));
}

#[test]
fn a_full_house_takes_nobody_and_has_room_again() {
    let mut rig = Rig::with(Rules { connections: 2, ..Rules::default() });
    let a = rig.upgrade("aa:01");
    let _b = rig.upgrade("aa:02");
    let answer = ask(&mut rig, &request("aa:03", ""), 1_000);
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\r\nRetry-After: "), "{answer}");
    assert!(ask(&mut rig, "GET /healthz HTTP/1.1\r\n\r\n", 1_000).starts_with("HTTP/1.1 200"));
    a.far.close();
    rig.wait_ms(1_000);
    rig.upgrade("aa:04");
    // Beyond the places for those who are told, there is no word.
    for _ in 0..crate::limits::CONNECTIONS_BEYOND {
        rig.connect();
    }
    let (pipe, far) = crate::net::memory::pair();
    let stream = crate::net::Stream::Memory(Box::new(pipe));
    assert!(rig.shard.admit(rig.now, stream, None).is_none());
    assert!(far.is_closed());
    assert_eq!(rig.count(Counter::Refused), 2);
}

#[test]
fn an_address_has_its_share() {
    let mut rig = Rig::with(Rules { connections_per_address: 1, ..Rules::default() });
    let first = rig.connect();
    let mut second = rig.connect();
    rig.run();
    assert!(second.http().starts_with("HTTP/1.1 429"));
    first.far.close();
    second.far.close();
    rig.run();
    let mut third = rig.connect();
    third.far.send(b"GET /healthz HTTP/1.1\r\n\r\n");
    rig.run();
    assert!(third.http().starts_with("HTTP/1.1 200"));
}

#[test]
fn what_follows_an_upgrade_in_the_same_packet_is_not_lost() {
    let mut rig = Rig::new();
    let device = rig.connect();
    let mut bytes = request("aa:bb", "").into_bytes();
    bytes.extend(super::rig::frame(1, br#"{"type":"hello"}"#));
    device.far.send(&bytes);
    rig.run();
    let answer = String::from_utf8_lossy(&device.far.take()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains(r#""type":"hello""#), "{answer}");
    assert!(!device.far.is_closed());
}
