//! The live page's stream, over real sockets.

use super::*;
use crate::limits::LIVE_WATCHERS;
use serde_json::Value;
use std::io::{BufRead, BufReader};

/// A stream of events.
struct Watch(BufReader<TcpStream>);

impl Watch {
    /// Asks, and reads the head.
    fn ask(stand: &Stand, lines: &str) -> Result<Watch, String> {
        let mut stream = stand.open();
        stream.write_all(format!("GET /live HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        if status(&head) == "200" {
            assert!(head.contains("Content-Type: text/event-stream"), "{head}");
            return Ok(Watch(reader));
        }
        reader.read_to_string(&mut head).unwrap();
        Err(head)
    }

    /// The next event: its name and its data.
    fn event(&mut self) -> (String, Value) {
        let mut line = || {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            line
        };
        let (name, data, end) = (line(), line(), line());
        assert_eq!(end, "\n");
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap().trim_end().to_owned(), data)
    }
}

#[test]
fn a_watcher_is_told_the_past_and_then_the_news_of_every_second() {
    let readiness = Readiness::default();
    let _asr = readiness.part("asr", "loading the model");
    let stand = Stand::admin(None, readiness);
    let shard = stand.registry.panel(Home::Shard(ShardId(0)));
    let turn = TurnRecord { device: DeviceTag::new("<img src=x onerror=alert(1)>"), turn: 1, ..TurnRecord::default() };
    shard.turns().write(&turn);
    let mut watch = Watch::ask(&stand, "").ok().unwrap();
    let (name, past) = watch.event();
    assert_eq!((&*name, &past["late_ms"]), ("past", &5.into()));
    assert_eq!(past["stages"].as_array().map(Vec::len), Some(6));
    let (name, beat) = watch.event();
    let number = beat["number"].as_u64().unwrap();
    assert_eq!((&*name, &beat["missing"]), ("beat", &serde_json::json!([["asr", "loading the model"]])));
    shard.turns().write(&TurnRecord { turn: 2, ..turn });
    let (_, next) = watch.event();
    assert_eq!(next["number"], number + 1);
    // Each turn is told once, by the past or by the beat after it, whenever the watcher came.
    let told = [&past, &beat, &next].map(|event| event["turns"].as_array().unwrap().clone()).concat();
    assert_eq!(told.iter().map(|turn| turn["turn"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(told[0]["device"], "<img src=x onerror=alert", "as it came; whoever shows it escapes it");
    let (_, again) = Watch::ask(&stand, "").ok().unwrap().event();
    assert_eq!((&again["turns"][0]["turn"], &again["turns"][1]["turn"]), (&2.into(), &1.into()), "newest first");
    assert_eq!(stand.registry.total(Counter::LiveOpened), 2);
}

#[test]
fn watchers_are_few_and_a_seat_that_is_left_is_free() {
    let stand = Stand::admin(None, Readiness::default());
    let mut watchers: Vec<Watch> = (0..LIVE_WATCHERS).map(|_| Watch::ask(&stand, "").ok().unwrap()).collect();
    let refusal = Watch::ask(&stand, "").err().unwrap();
    assert!(status(&refusal) == "503" && body(&refusal).contains("close another"), "{refusal}");
    assert_eq!(status(&stand.get("/metrics")), "200", "watchers hold no thread");
    watchers.pop();
    // The seat is free once its emptiness is seen, at the next beat.
    while Watch::ask(&stand, "").is_err() {
        std::thread::yield_now();
    }
    while stand.counted(Counter::LiveRefused) == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn the_stream_is_guarded_like_every_page() {
    let stand = Stand::admin(Some("s3cret"), Readiness::default());
    let refusal = |lines: &str| Watch::ask(&stand, lines).err().map(|answer| status(&answer).to_owned());
    assert_eq!(refusal("").as_deref(), Some("401"));
    assert_eq!(refusal("Authorization: Bearer wrong\r\n").as_deref(), Some("401"));
    assert_eq!(refusal("Authorization: Bearer s3cret\r\nOrigin: http://evil.example\r\n").as_deref(), Some("403"));
    assert_eq!(refusal("Authorization: Bearer s3cret\r\n"), None);
    assert_eq!(status(&stand.ask("POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")), "401");
    let stand = Stand::admin(None, Readiness::default());
    assert_eq!(status(&stand.ask("POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")), "405");
    let head = stand.ask("HEAD /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((status(&head), body(&head)), ("200", ""));
}

#[test]
fn the_end_of_the_server_is_the_end_of_the_stream() {
    let stand = Stand::admin(None, Readiness::default());
    let mut watch = Watch::ask(&stand, "").ok().unwrap();
    watch.event();
    stand.server.stop();
    let mut rest = String::new();
    watch.0.read_to_string(&mut rest).unwrap();
}
