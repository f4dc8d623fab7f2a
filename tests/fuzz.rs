//! Malformed input over real sockets: ten thousand mutations of what devices really send, against one server, while a neighbour
//! holds its conversation. Nothing falls over, the neighbour notices nothing, and no connection is left behind.
//!
//! `VOXLANE_FUZZ_SEED=n cargo test --test fuzz` repeats a run or tries another.

#[path = "support/mod.rs"]
mod support;

use serde_json::json;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use support::frames::{Raw, frame, opcode, piece, request};
use support::sound::{browser_packets, device_packets, framed_v2, framed_v3};
use support::{Client, Got, PATIENCE, Rig, fresh_id, http, pcm_packet};

const SEED: u64 = 20_250_808;
/// Mutations of each kind.
const HEADS: usize = 2_000;
const CHECK_INS: usize = 1_000;
const FRAMES: usize = 2_000;
const MESSAGES: usize = 2_500;
const PACKETS: usize = 2_500;
/// Mutations on one connection, where a mutation seldom ends it.
const ROUND: usize = 25;

#[test]
fn ten_thousand_mutations_disturb_nobody() {
    let seed = std::env::var("VOXLANE_FUZZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(SEED);
    println!("seed {seed}");
    let panics = count_panics();
    let rig = Rig::with(&[("llm.script", r#"["Fine."]"#)]);
    let over = AtomicBool::new(false);
    let mut fuzz = Fuzz { rig: &rig, dice: Dice(seed), done: 0 };
    let turns = std::thread::scope(|scope| {
        let neighbour = scope.spawn(|| converse_until(&rig, &over));
        let fuzzed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fuzz.run()));
        over.store(true, Ordering::Relaxed);
        let turns = neighbour.join().expect("the neighbour's conversation");
        fuzzed.expect("the fuzzer");
        turns
    });
    assert_eq!(fuzz.done, HEADS + CHECK_INS + FRAMES + MESSAGES + PACKETS);
    assert!(turns > 0, "the neighbour spoke");
    assert_eq!(panics.load(Ordering::Relaxed), 0, "seed {seed}");
    assert_eq!(http(rig.device, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
    turn(&mut rig.device(), "still there");
    rig.metric_becomes("voxlane_connections", "", |open| open == 0.0);
    rig.metric_becomes("voxlane_sessions", "", |open| open == 0.0);
    println!("{} mutations, {turns} turns of the neighbour", fuzz.done);
}

/// Panics of all threads from now on.
fn count_panics() -> Arc<AtomicU32> {
    let panics = Arc::new(AtomicU32::new(0));
    let (counted, usual) = (panics.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        counted.fetch_add(1, Ordering::Relaxed);
        usual(info);
    }));
    panics
}

/// The neighbour: one turn after the other, each as it should be. Returns how many.
fn converse_until(rig: &Rig, over: &AtomicBool) -> u32 {
    let mut client = rig.device();
    let mut turns = 0;
    while !over.load(Ordering::Relaxed) {
        turns += 1;
        turn(&mut client, &format!("turn {turns}"));
    }
    turns
}

/// A typed turn: the whole answer and nothing else.
fn turn(client: &mut Client, text: &str) {
    client.detect(text);
    let said = client.until("tts:stop");
    let heard: Vec<&str> = said.iter().filter(|got| got.kind() == "stt").map(Got::text).collect();
    assert_eq!(heard, [text]);
    assert_eq!(support::kinds(&said), ["stt", "tts:start", "llm", "tts:sentence_start", "packet", "tts:stop"]);
    // The scripted voice takes 60 ms a character, 300 at least: five packets.
    assert_eq!(said.iter().filter(|got| matches!(got, Got::Packet(_))).count(), 5, "of {text}");
}

struct Fuzz<'r> {
    rig: &'r Rig,
    dice: Dice,
    done: usize,
}

impl Fuzz<'_> {
    fn run(&mut self) {
        (0..HEADS).for_each(|_| self.head());
        (0..CHECK_INS).for_each(|_| self.check_in());
        (0..FRAMES).for_each(|_| self.frames());
        (0..MESSAGES / ROUND).for_each(|_| self.messages());
        (0..PACKETS / ROUND).for_each(|_| self.packets());
    }

    /// A request for the WebSocket, by header or by query.
    fn head(&mut self) {
        let plain = request(&fresh_id(), 1, "Authorization: Bearer a.1\r\n");
        let by_query = plain.replace("/v1/ ", "/v1/?device-id=02%3A00&client-id=c&authorization=Bearer+a.1 ");
        let mut bytes = self.dice.pick(&[plain, by_query]).clone().into_bytes();
        self.dice.mutate(&mut bytes);
        self.ask(&bytes);
    }

    /// A check-in of a device.
    fn check_in(&mut self) {
        let body = json!({
            "version": 2, "language": "zh-CN", "mac_address": "02:00", "minimum_free_heap_size": "8000",
            "application": {"name": "xiaozhi", "version": "2.4.2"}, "board": {"type": "bread-compact", "name": "b"}
        });
        let mut body = body.to_string().into_bytes();
        let is_body = self.dice.below(2) == 0;
        if is_body {
            self.dice.mutate(&mut body);
        }
        let head = format!(
            "POST /xiaozhi/ota/ HTTP/1.1\r\nHost: 10.0.0.5:8000\r\nDevice-Id: 02:00\r\nClient-Id: c\r\nActivation-Version: 1\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let mut bytes = head.into_bytes();
        if !is_body {
            self.dice.mutate(&mut bytes);
        }
        bytes.extend(body);
        self.ask(&bytes);
    }

    /// Sends a request, hangs up, and sees that the answer, if there is one, is HTTP and the connection ends.
    fn ask(&mut self, bytes: &[u8]) {
        let mut raw = Raw::connect(self.rig.device);
        raw.send(bytes);
        let _ = raw.stream.shutdown(Shutdown::Write);
        let answer = raw.http_head(PATIENCE);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 "),
            "{answer:?} to {:?}",
            String::from_utf8_lossy(bytes)
        );
        assert!(raw.ends(PATIENCE), "open after {:?}", String::from_utf8_lossy(bytes));
        self.done += 1;
    }

    /// A few frames of a conversation with a mutation anywhere in their bytes.
    fn frames(&mut self) {
        let mut bytes = frame(opcode::TEXT, br#"{"type":"hello","version":1}"#);
        bytes.extend(frame(opcode::TEXT, br#"{"type":"listen","state":"start","mode":"realtime"}"#));
        bytes.extend(frame(opcode::BINARY, &[0x58; 90]));
        bytes.extend(frame(opcode::PING, b"are you there"));
        bytes.extend(piece(false, opcode::TEXT, br#"{"type":"#));
        bytes.extend(piece(true, opcode::CONTINUATION, br#""abort"}"#));
        bytes.extend(frame(opcode::BINARY, &vec![0x58; 300]));
        bytes.extend(frame(opcode::CLOSE, &[3, 232]));
        self.dice.mutate(&mut bytes);
        let mut raw = Raw::upgraded(self.rig.device, &fresh_id(), 1);
        raw.send(&bytes);
        let _ = raw.stream.shutdown(Shutdown::Write);
        // What the server says is well-formed whatever it was told.
        while raw.frame(PATIENCE).is_some() {}
        assert!(raw.ends(PATIENCE), "open after {bytes:02x?}");
        self.done += 1;
    }

    /// Mutated messages in good frames.
    fn messages(&mut self) {
        let samples = messages();
        let mut raw = Raw::upgraded(self.rig.device, &fresh_id(), 1);
        for _ in 0..ROUND {
            let mut text = self.dice.pick(&samples).clone().into_bytes();
            self.dice.mutate(&mut text);
            // A frame that is not UTF-8 would end the round.
            raw.send(&frame(opcode::TEXT, String::from_utf8_lossy(&text).as_bytes()));
            self.done += 1;
        }
        self.lives_or_says_why(raw);
    }

    /// Mutated packets in good frames, in all framings, while the server listens.
    fn packets(&mut self) {
        let version = 1 + self.dice.below(3) as u8;
        let is_pcm = self.dice.below(4) == 0;
        let packets: Vec<Vec<u8>> = match is_pcm {
            true => vec![pcm_packet(true), pcm_packet(false)],
            false => {
                device_packets(60, 240).into_iter().chain(device_packets(20, 60)).chain(browser_packets(120)).collect()
            }
        };
        let format = if is_pcm { "pcm" } else { "opus" };
        let mode = *self.dice.pick(&["auto", "manual", "realtime"]);
        let mut raw = Raw::upgraded(self.rig.device, &fresh_id(), version);
        let hello = json!({"type": "hello", "version": version, "audio_params": {"format": format}});
        raw.send(&frame(opcode::TEXT, hello.to_string().as_bytes()));
        raw.send(&frame(
            opcode::TEXT,
            json!({"type": "listen", "state": "start", "mode": mode}).to_string().as_bytes(),
        ));
        for i in 0..ROUND {
            let packet = self.dice.pick(&packets).clone();
            let mut message = match version {
                1 => packet,
                2 => framed_v2(&packet, i as u32 * 60),
                _ => framed_v3(&packet),
            };
            self.dice.mutate(&mut message);
            raw.send(&frame(opcode::BINARY, &message));
            self.done += 1;
        }
        raw.send(&frame(opcode::TEXT, br#"{"type":"listen","state":"stop"}"#));
        self.lives_or_says_why(raw);
    }

    /// The connection answers a ping, or was closed with a code.
    fn lives_or_says_why(&mut self, mut raw: Raw) {
        raw.send(&frame(opcode::PING, b"end"));
        loop {
            let Some(frame) = raw.frame(PATIENCE) else { panic!("gone without a word") };
            match frame.opcode {
                opcode::PONG => return assert_eq!(frame.payload, b"end"),
                opcode::CLOSE => return assert!(frame.close_code().is_some()),
                opcode::TEXT => drop(serde_json::from_slice::<serde_json::Value>(&frame.payload).expect("JSON")),
                _ => {}
            }
        }
    }
}

/// One of each message that clients send.
fn messages() -> Vec<String> {
    let tools = json!({"jsonrpc": "2.0", "id": 2, "result": {"tools": [{"name": "self.reboot", "inputSchema": {}}]}});
    [
        json!({"type": "hello", "version": 1, "transport": "websocket", "features": {"mcp": true, "aec": true, "emoji": false},
            "audio_params": {"format": "opus", "sample_rate": 16_000, "channels": 1, "frame_duration": 60}}),
        json!({"type": "hello", "audio_params": {"format": "pcm", "sample_rate": 44_100, "channels": 2, "frame_duration": 20}}),
        json!({"session_id": "x", "type": "listen", "state": "start", "mode": "auto"}),
        json!({"type": "listen", "state": "start", "mode": "manual"}),
        json!({"type": "listen", "state": "start", "mode": "realtime"}),
        json!({"type": "listen", "state": "stop"}),
        json!({"type": "listen", "state": "detect", "text": "你好小智"}),
        json!({"type": "listen", "state": "detect", "text": "what is 2.5 times 4? 😀 https://example.org/a?b=c"}),
        json!({"type": "abort", "reason": "wake_word_detected"}),
        json!({"type": "mcp", "session_id": "x", "payload": tools}),
        json!({"type": "iot", "update": true, "states": [{"name": "Speaker", "state": {"volume": 70}}]}),
        json!({"type": "text", "text": "hello"}),
        json!({"type": "ping"}),
        json!({"type": "goodbye"}),
    ]
    .iter()
    .map(ToString::to_string)
    .collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014), and what is done with it.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// One to four changes of the kinds that break parsers.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len());
            let run = 1 + self.below(8);
            let end = (at + run).min(bytes.len());
            match self.below(9) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => {
                    bytes[at] = *self.pick(&[0, 1, 0x20, 0x7f, 0x80, 0xfe, 0xff, b'"', b'{', b'\r', b'\n'])
                }
                2 if !bytes.is_empty() => bytes[at..end].fill(0xff),
                3 => drop(bytes.drain(at..end)),
                4 => bytes.truncate(at),
                5 => {
                    let noise: Vec<u8> = (0..run * 4).map(|_| self.next() as u8).collect();
                    bytes.splice(at..at, noise);
                }
                6 => {
                    let again = bytes[at..end].repeat(1 + self.below(300));
                    bytes.splice(at..at, again);
                }
                7 => {
                    let odd: &[&str] = &[
                        "18446744073709551616",
                        "-1",
                        "1e999",
                        "null",
                        "[[[[",
                        "\\ud800",
                        "\u{0}",
                        "\r\n\r\n",
                        "\u{202e}",
                    ];
                    let odd = self.pick(odd).bytes().collect::<Vec<_>>();
                    bytes.splice(at..end, odd);
                }
                _ => bytes[at..end].reverse(),
            }
        }
    }
}
