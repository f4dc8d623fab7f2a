//! A caller's loop, short scripts of frames, and tungstenite's own client at the other end.

use super::*;
use crate::limits::{MESSAGE_BYTES, MESSAGE_FRAGMENTS};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use tungstenite::protocol::{CloseFrame, Role, WebSocket};
use tungstenite::{Bytes, Error, Message};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FIN: u8 = 0x80;
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What was read, owned, and how it ended.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    inputs: Vec<String>,
    violation: Option<Violation>,
}

/// A connection as the shard holds it: a reader, and the bytes it left.
#[derive(Default)]
struct Peer {
    reader: Reader,
    rest: Vec<u8>,
    heard: Heard,
}

impl Peer {
    fn receive(&mut self, bytes: &[u8]) {
        let mut buf = std::mem::take(&mut self.rest);
        buf.extend_from_slice(bytes);
        let mut at = 0;
        while self.heard.violation.is_none() {
            match self.reader.read(&mut buf[at..]) {
                Ok((consumed, Some(input))) => {
                    at += consumed;
                    self.heard.inputs.push(describe(&input));
                }
                Ok((consumed, None)) => {
                    self.rest = buf.split_off(at + consumed);
                    assert!(self.rest.len() < REST_BYTES);
                    return;
                }
                Err(violation) => self.heard.violation = Some(violation),
            }
        }
    }
}

fn describe(input: &Input<'_>) -> String {
    match input {
        Input::Text(text) => format!("text {text}"),
        Input::Binary(bytes) => format!("binary {bytes:02x?}"),
        Input::Ping(payload) => format!("ping {payload:02x?}"),
        Input::Pong(payload) => format!("pong {payload:02x?}"),
        Input::Close(close) => format!("close {close:?}"),
    }
}

fn hear(bytes: &[u8]) -> Heard {
    let mut peer = Peer::default();
    peer.receive(bytes);
    peer.heard
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = announce(first, payload.len() as u64);
    let mut body = payload.to_vec();
    unmask(&mut body, KEY);
    out.extend(body);
    out
}

/// The header of a client's frame that announces `len` bytes.
fn announce(first: u8, len: u64) -> Vec<u8> {
    let mut out = vec![first];
    match len {
        0..=125 => out.push(0x80 | len as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend(len.to_be_bytes());
        }
    }
    out.extend(KEY);
    out
}

/// `script` is read as `inputs` and then, if one is named, a violation.
fn check(script: &[Vec<u8>], inputs: &[&str], violation: Option<Violation>) {
    let heard = hear(&script.concat());
    assert_eq!(heard.inputs, inputs);
    assert_eq!(heard.violation, violation);
}

#[test]
fn whole_messages_are_lent_out_of_the_buffer() {
    check(&[frame(FIN | TEXT, "你好".as_bytes())], &["text 你好"], None);
    check(&[frame(FIN | BINARY, &[1, 2, 3])], &["binary [01, 02, 03]"], None);
    check(&[frame(FIN | TEXT, b""), frame(FIN | BINARY, b"")], &["text ", "binary []"], None);
    let mut bytes = frame(FIN | BINARY, &[7; 300]);
    let mut reader = Reader::default();
    let (consumed, input) = reader.read(&mut bytes).unwrap();
    assert_eq!(consumed, 2 + 2 + 4 + 300);
    assert!(matches!(input, Some(Input::Binary(Cow::Borrowed(payload))) if payload == [7; 300]));
}

#[test]
fn an_idle_reader_costs_sixteen_bytes_and_no_heap() {
    assert!(size_of::<Reader>() <= 24);
    assert_eq!(size_of::<Reader>(), 16);
    let mut peer = Peer::default();
    peer.receive(&frame(TEXT, &[b'a'; 4_000]));
    assert!(peer.reader.is_amid_message());
    assert!(peer.reader.heap_bytes() >= 4_000);
    peer.receive(&frame(FIN | CONTINUE, b"b"));
    assert!(!peer.reader.is_amid_message());
    assert_eq!(peer.reader.heap_bytes(), 0);
}

#[test]
fn fragments_become_one_message_with_control_frames_between() {
    let script = [frame(TEXT, b"Hel"), frame(FIN | PING, b"?"), frame(CONTINUE, b""), frame(FIN | CONTINUE, b"lo")];
    check(&script, &["ping [3f]", "text Hello"], None);
    check(&[frame(BINARY, &[1]), frame(FIN | CONTINUE, &[2])], &["binary [01, 02]"], None);
    check(&[frame(BINARY, b""), frame(FIN | CONTINUE, b"")], &["binary []"], None);
}

#[test]
fn a_close_has_a_code_and_a_reason_or_neither_and_ends_everything() {
    check(&[frame(FIN | CLOSE, b""), frame(FIN | TEXT, b"late"), vec![0xff; 9]], &["close None"], None);
    check(&[frame(FIN | CLOSE, b"\x03\xe8bye")], &[r#"close Some((1000, "bye"))"#], None);
    check(&[frame(FIN | CLOSE, b"\x03")], &[], Some(Violation::BadClose));
    check(&[frame(FIN | CLOSE, b"\x03\xe8\xff")], &[], Some(Violation::NotUtf8));
    for code in [1000u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        let heard = hear(&frame(FIN | CLOSE, &code.to_be_bytes()));
        assert_eq!(heard.inputs, [format!(r#"close Some(({code}, ""))"#)]);
    }
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        assert_eq!(hear(&frame(FIN | CLOSE, &code.to_be_bytes())).violation, Some(Violation::BadClose), "{code}");
    }
}

#[test]
fn each_broken_rule_has_its_name() {
    check(&[vec![FIN | TEXT, 1, b'x']], &[], Some(Violation::Unmasked));
    for bit in [0x40, 0x20, 0x10] {
        check(&[frame(FIN | bit | TEXT, b"x")], &[], Some(Violation::ReservedBit));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check(&[frame(FIN | opcode, b"")], &[], Some(Violation::BadOpcode));
    }
    check(&[frame(PING, b"")], &[], Some(Violation::FragmentedControl));
    check(&[frame(CLOSE, b"")], &[], Some(Violation::FragmentedControl));
    check(&[frame(FIN | PING, &[0; 125])], &[&describe(&Input::Ping(&[0; 125]))], None);
    check(&[announce(FIN | PING, 126)], &[], Some(Violation::LongControl));
    check(&[frame(FIN | CONTINUE, b"x")], &[], Some(Violation::Orphan));
    check(&[frame(TEXT, b"x"), frame(FIN | TEXT, b"y")], &[], Some(Violation::Interleaved));
    check(
        &[frame(BINARY, b"x"), frame(FIN | CONTINUE, b"y"), frame(CONTINUE, b"z")],
        &["binary [78, 79]"],
        Some(Violation::Orphan),
    );
    let mut fat = vec![FIN | BINARY, 0x80 | 126, 0, 5];
    fat.extend(KEY);
    check(&[fat], &[], Some(Violation::BadLength));
}

#[test]
fn violations_answer_with_the_codes_of_the_rfc() {
    assert_eq!(Violation::Unmasked.code(), 1002);
    assert_eq!(Violation::ReservedBit.code(), 1002);
    assert_eq!(Violation::BadClose.code(), 1002);
    assert_eq!(Violation::NotUtf8.code(), 1007);
    assert_eq!(Violation::TooBig.code(), 1009);
    assert_eq!(Violation::TooManyFragments.code(), 1009);
}

#[test]
fn after_a_violation_everything_is_swallowed() {
    let mut reader = Reader::default();
    assert!(reader.read(&mut [FIN | TEXT, 1, b'x']).is_err());
    assert_eq!(reader.read(&mut frame(FIN | TEXT, b"x")), Ok((7, None)));
}

#[test]
fn too_big_is_judged_by_the_announced_length_before_a_byte_is_kept() {
    for len in [MESSAGE_BYTES as u64 + 1, 1 << 31, 1 << 63, u64::MAX] {
        let mut peer = Peer::default();
        peer.receive(&announce(FIN | BINARY, len));
        assert_eq!(peer.heard.violation, Some(Violation::TooBig), "{len}");
        assert_eq!(peer.reader.heap_bytes(), 0);
    }
    // The largest one passes, and its announcement alone reserves nothing.
    let mut peer = Peer::default();
    peer.receive(&announce(FIN | BINARY, MESSAGE_BYTES as u64));
    assert!(peer.reader.heap_bytes() < 256);
    peer.receive(&vec![0; MESSAGE_BYTES]);
    assert_eq!((peer.heard.inputs.len(), peer.heard.violation), (1, None));
    // In pieces: the sum counts.
    let half = vec![0; MESSAGE_BYTES / 2];
    let script = [frame(BINARY, &half), frame(CONTINUE, &half), announce(FIN | CONTINUE, 1)];
    check(&script, &[], Some(Violation::TooBig));
}

#[test]
fn memory_follows_what_arrived_and_stays_under_the_limit() {
    let mut peer = Peer::default();
    peer.receive(&announce(FIN | BINARY, MESSAGE_BYTES as u64));
    let mut received = 0;
    while received + 1_000 < MESSAGE_BYTES {
        peer.receive(&[0; 1_000]);
        received += 1_000;
        let heap = peer.reader.heap_bytes();
        assert!(heap <= (2 * received).min(MESSAGE_BYTES) + 256, "{heap} bytes for {received}");
    }
}

#[test]
fn endless_fragments_end() {
    let mut peer = Peer::default();
    peer.receive(&frame(BINARY, b"x"));
    for _ in 1..MESSAGE_FRAGMENTS {
        peer.receive(&frame(CONTINUE, b""));
    }
    assert_eq!(peer.heard.violation, None);
    peer.receive(&frame(FIN | CONTINUE, b""));
    assert_eq!(peer.heard.violation, Some(Violation::TooManyFragments));
}

#[test]
fn text_fails_at_its_first_bad_byte_wherever_frames_end() {
    // A character across two frames is fine; half of one at the end is not.
    check(&[frame(TEXT, b"\xe4\xbd"), frame(FIN | CONTINUE, b"\xa0")], &["text 你"], None);
    check(&[frame(TEXT, b"\xe4\xbd"), frame(FIN | CONTINUE, b"")], &[], Some(Violation::NotUtf8));
    check(&[frame(FIN | TEXT, b"\xe4\xbd")], &[], Some(Violation::NotUtf8));
    // Overlong, surrogate, above U+10FFFF: refused in an unfinished message, before its second frame.
    for bad in [&b"ok\xc0\xaf"[..], b"ok\xed\xa0", b"ok\xf4\x90", b"ok\xf5", b"ok\xff"] {
        check(&[frame(TEXT, bad)], &[], Some(Violation::NotUtf8));
    }
    // And inside one frame that has not arrived whole, byte by byte.
    let mut peer = Peer::default();
    for (i, byte) in frame(FIN | TEXT, b"ok\xc0never mind").iter().enumerate() {
        peer.receive(&[*byte]);
        assert_eq!(peer.heard.violation.is_some(), i >= 6 + 2, "byte {i}");
        if peer.heard.violation.is_some() {
            break;
        }
    }
    // Binary may be anything.
    check(&[frame(FIN | BINARY, &[0xff])], &["binary [ff]"], None);
}

/// Bytes with everything in them: sizes of all three length forms, fragments, control frames between, a close.
fn medley() -> Vec<u8> {
    [
        frame(FIN | TEXT, br#"{"type":"hello"}"#),
        frame(FIN | BINARY, &[9; 126]),
        frame(TEXT, "你好，".as_bytes()),
        frame(FIN | PING, b"alive?"),
        frame(CONTINUE, "小".as_bytes().split_at(1).0),
        frame(FIN | CONTINUE, "小智".as_bytes().split_at(1).1),
        frame(FIN | PONG, b""),
        frame(FIN | BINARY, b""),
        frame(FIN | CLOSE, b"\x03\xe9gone"),
    ]
    .concat()
}

#[test]
fn every_split_of_a_stream_gives_the_same_inputs() {
    let bytes = medley();
    let whole = hear(&bytes);
    assert_eq!((whole.inputs.len(), whole.violation), (7, None));
    for at in 0..=bytes.len() {
        let mut peer = Peer::default();
        peer.receive(&bytes[..at]);
        peer.receive(&bytes[at..]);
        assert_eq!(peer.heard, whole, "split at {at}");
    }
    for size in 1..20 {
        let mut peer = Peer::default();
        bytes.chunks(size).for_each(|chunk| peer.receive(chunk));
        assert_eq!(peer.heard, whole, "in chunks of {size}");
    }
}

#[test]
fn unmasking_by_words_is_unmasking_by_bytes() {
    for len in 0..70 {
        let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        let by_bytes: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ KEY[i % 4]).collect();
        let mut by_words = plain.clone();
        unmask(&mut by_words, KEY);
        assert_eq!(by_words, by_bytes, "{len} bytes");
        for cut in 0..=plain.len() {
            let mut in_two = plain.clone();
            let (head, tail) = in_two.split_at_mut(cut);
            unmask(head, KEY);
            unmask(tail, mask::rotate(KEY, cut));
            assert_eq!(in_two, by_bytes, "{len} bytes cut at {cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn damaged_streams_are_read_alike_in_any_pieces(
        damage in proptest::collection::vec((0usize..400, any::<u8>()), 0..4),
        sizes in proptest::collection::vec(1usize..60, 1..12),
    ) {
        let mut bytes = medley();
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let whole = hear(&bytes);
        let mut peer = Peer::default();
        let mut rest = &bytes[..];
        for size in sizes.iter().cycle() {
            let (chunk, tail) = rest.split_at((*size).min(rest.len()));
            peer.receive(chunk);
            rest = tail;
            if rest.is_empty() { break }
        }
        prop_assert_eq!(peer.heard, whole);
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        hear(&bytes);
    }
}

/// Both ends of a stream in memory, seen by tungstenite.
#[derive(Default)]
struct Pipe {
    to_client: VecDeque<u8>,
    to_server: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.to_client.read(into)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_server.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client() -> WebSocket<Pipe> {
    WebSocket::from_raw_socket(Pipe::default(), Role::Client, None)
}

#[test]
fn tungstenites_client_is_understood() {
    let mut client = client();
    let text = "我".repeat(700);
    let binary = vec![0xab; 65_000];
    client.send(Message::text(text.as_str())).unwrap();
    client.send(Message::binary(binary.clone())).unwrap();
    client.send(Message::Ping(Bytes::from_static(b"p"))).unwrap();
    client.send(Message::Pong(Bytes::new())).unwrap();
    client.close(Some(CloseFrame { code: 1000.into(), reason: "done".into() })).unwrap();
    client.flush().unwrap();
    let heard = hear(&client.get_ref().to_server);
    let expected = [
        format!("text {text}"),
        format!("binary {binary:02x?}"),
        "ping [70]".into(),
        "pong []".into(),
        r#"close Some((1000, "done"))"#.into(),
    ];
    assert_eq!(heard.violation, None);
    assert_eq!(heard.inputs, expected);
}

#[test]
fn tungstenites_client_understands_us() {
    let mut client = client();
    let mut out = Vec::new();
    emit_text("你好".as_bytes(), &mut out);
    for len in [0usize, 125, 126, 65_535, 65_536] {
        emit_binary_header(len, &mut out);
        out.resize(out.len() + len, 0x55);
    }
    emit_ping(b"alive?", &mut out);
    emit_pong(&[1; 200], &mut out);
    emit_close(code::AWAY, &"再".repeat(60), &mut out);
    client.get_mut().to_client.extend(out);

    assert_eq!(client.read().unwrap(), Message::text("你好"));
    for len in [0usize, 125, 126, 65_535, 65_536] {
        assert_eq!(client.read().unwrap(), Message::binary(vec![0x55; len]));
    }
    assert_eq!(client.read().unwrap(), Message::Ping(Bytes::from_static(b"alive?")));
    assert_eq!(client.read().unwrap(), Message::Pong(Bytes::from(vec![1; CONTROL_BYTES])));
    let Message::Close(Some(close)) = client.read().unwrap() else { panic!("a close") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1001, "再".repeat(41).as_str()));

    // Its answers to our ping and our close.
    assert!(matches!(client.flush(), Ok(()) | Err(Error::ConnectionClosed)));
    let heard = hear(&client.get_ref().to_server);
    assert!(heard.inputs.contains(&describe(&Input::Pong(b"alive?"))), "{:?}", heard.inputs);
    assert!(heard.inputs.last().is_some_and(|last| last.starts_with("close Some((1001")), "{:?}", heard.inputs);
}

#[test]
fn a_code_that_must_not_travel_is_left_out() {
    let mut out = Vec::new();
    emit_close(1005, "no status", &mut out);
    assert_eq!(out, [FIN | CLOSE, 0]);
    // And a long reason is cut to what a control frame holds.
    out.clear();
    emit_close(code::NORMAL, &"x".repeat(200), &mut out);
    assert_eq!((out[1] as usize, out.len()), (CONTROL_BYTES, 2 + CONTROL_BYTES));
}
