use super::*;
use proptest::prelude::*;

fn head(text: &str) -> Head<'_> {
    parse_head(text.as_bytes()).unwrap().unwrap().0
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: voxlane\r\n\r\n")
}

#[test]
fn a_head_is_read_and_the_rest_is_left() {
    let bytes = b"POST /xiaozhi/ota/?a=1?b HTTP/1.1\r\nHost: h:8003\r\nCONTENT-length:  2 \r\n\r\n{}";
    let (head, len) = parse_head(bytes).unwrap().unwrap();
    assert_eq!(&bytes[len..], b"{}");
    assert_eq!((head.method, head.path, head.query, head.is_11), ("POST", "/xiaozhi/ota/", "a=1?b", true));
    assert_eq!(head.header("Content-Length"), Some("2"));
    assert_eq!(head.header("host"), Some("h:8003"));
    assert_eq!(head.header("accept"), None);
    assert_eq!(head.body_len(16), Ok(2));
}

#[test]
fn a_head_that_is_not_whole_yet_is_waited_for() {
    let text = get("/");
    for end in 0..text.len() {
        assert!(parse_head(&text.as_bytes()[..end]).unwrap().is_none(), "after {end} bytes");
    }
}

#[test]
fn what_is_not_http_is_refused_at_once() {
    // A TLS client on the plain port, an HTTP/2 preface, a line without a version.
    for bytes in [&b"\x16\x03\x01\x02\x00\x01"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /\r\n\r\n"] {
        assert_eq!(parse_head(bytes).err(), Some(HeadFault::Malformed), "{bytes:?}");
    }
    assert_eq!(HeadFault::Malformed.reply().status, 400);
    // A folded header could smuggle one line inside another.
    assert!(parse_head(b"GET / HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n").is_err());
}

#[test]
fn a_head_has_a_greatest_length() {
    let filled = |len: usize| {
        let empty = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(len - empty))
    };
    let (_, len) = parse_head(filled(HEAD_BYTES).as_bytes()).unwrap().unwrap();
    assert_eq!(len, HEAD_BYTES);
    assert_eq!(parse_head(filled(HEAD_BYTES + 1).as_bytes()).err(), Some(HeadFault::TooLong));
    assert_eq!(parse_head(&filled(2 * HEAD_BYTES).as_bytes()[..HEAD_BYTES]).err(), Some(HeadFault::TooLong));
    assert_eq!(HeadFault::TooLong.reply().status, 431);
}

#[test]
fn a_head_has_a_greatest_number_of_lines() {
    let with = |lines: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(lines));
    assert_eq!(head(&with(HEAD_LINES)).headers("a").count(), HEAD_LINES);
    assert_eq!(parse_head(with(HEAD_LINES + 1).as_bytes()).err(), Some(HeadFault::TooManyLines));
    assert_eq!(HeadFault::TooManyLines.reply().status, 431);
}

#[test]
fn tokens_are_found_in_any_line_and_case() {
    let text = "GET / HTTP/1.1\r\nConnection: keep-alive, UPGRADE\r\nconnection: x\r\n\r\n";
    assert!(head(text).has_token("Connection", "upgrade"));
    assert!(head(text).has_token("Connection", "x"));
    assert!(!head(text).has_token("Connection", "up"));
}

#[test]
fn parameters_are_decoded_and_named_in_any_case() {
    let text = get("/x?Device-Id=AA%3abb&authorization=Bearer+a.b&%63lient-id=c&flag&e=&device-id=second");
    let head = head(&text);
    assert_eq!(head.parameter("device-id").as_deref(), Some("AA:bb"));
    assert_eq!(head.parameter("authorization").as_deref(), Some("Bearer a.b"));
    assert_eq!(head.parameter("client-id").as_deref(), Some("c"));
    assert_eq!(head.parameter("flag").as_deref(), Some(""));
    assert_eq!(head.parameter("absent"), None);
    assert_eq!(head.header_or_parameter("e"), None);
}

#[test]
fn a_header_wins_over_the_query_unless_it_is_empty() {
    let text = "GET /x?device-id=q HTTP/1.1\r\nDevice-Id: h\r\n\r\n";
    assert_eq!(head(text).header_or_parameter("device-id").as_deref(), Some("h"));
    let text = "GET /x?device-id=q HTTP/1.1\r\nDevice-Id: \r\n\r\n";
    assert_eq!(head(text).header_or_parameter("device-id").as_deref(), Some("q"));
}

#[test]
fn odd_escapes_stay_or_become_replacement_characters() {
    assert_eq!(decode("plain"), "plain");
    assert_eq!(decode("%E4%BD%A0+%e5%a5%bd"), "你 好");
    assert_eq!(decode("100%"), "100%");
    assert_eq!(decode("%4"), "%4");
    assert_eq!(decode("%zz%41"), "%zzA");
    assert_eq!(decode("%ff%41"), "\u{fffd}A");
}

#[test]
fn a_body_announces_its_length_or_is_refused() {
    let with = |lines: &str| format!("POST / HTTP/1.1\r\n{lines}\r\n");
    let status = |lines: &str| head(&with(lines)).body_len(100).map_err(|reply| reply.status);
    assert_eq!(status(""), Ok(0));
    assert_eq!(status("Content-Length: 100\r\n"), Ok(100));
    assert_eq!(status("Content-Length: 101\r\n"), Err(413));
    assert_eq!(status("Content-Length: 99999999999999999999999999\r\n"), Err(413));
    assert_eq!(status("Content-Length: 5\r\nContent-Length: 5\r\n"), Ok(5));
    assert_eq!(status("Content-Length: 5\r\nContent-Length: 6\r\n"), Err(400));
    for bad in ["", "+5", "-1", "5,5", "0x5", "5 5"] {
        assert_eq!(status(&format!("Content-Length: {bad}\r\n")), Err(400), "{bad}");
    }
    assert_eq!(status("Transfer-Encoding: chunked\r\n"), Err(411));
    assert_eq!(status("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), Err(411));
}

#[test]
fn an_answer_has_its_length_and_closes() {
    let mut out = Vec::new();
    respond(200, JSON, &[("Access-Control-Allow-Origin", "*")], b"{}", &mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\
         Connection: close\r\nAccess-Control-Allow-Origin: *\r\n\r\n{}"
    );
    let mut out = Vec::new();
    respond_to("HEAD", 200, TEXT, &[], b"12345", &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("Content-Length: 5\r\n") && text.ends_with("\r\n\r\n"));
}

#[test]
fn replies_are_short() {
    let mut out = Vec::new();
    HeadFault::TooLong.reply().emit(&mut out);
    assert!(out.starts_with(b"HTTP/1.1 431 Request Header Fields Too Large\r\n"));
    assert!(out.len() < 256);
}

#[test]
fn debug_shows_no_header() {
    let text = "GET /x?authorization=secret HTTP/1.1\r\nAuthorization: Bearer secret\r\n\r\n";
    assert!(!format!("{:?}", head(text)).contains("secret"));
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(Some((head, len))) = parse_head(&bytes) {
            prop_assert!(len <= bytes.len());
            let _ = (head.body_len(10), head.parameter("device-id"));
        }
    }

    #[test]
    fn queries_never_panic(query in "[ -~]{0,80}") {
        let text = get(&format!("/?{}", query.replace(' ', "+")));
        if let Ok(Some((head, _))) = parse_head(text.as_bytes()) {
            let _ = (head.parameter("device-id"), head.header_or_parameter("authorization"));
        }
        decode(&query);
    }
}
