//! More to do than can be done in time: who is refused, how, and who is not.

use super::rig::{Device, Rig, Said, request};
use super::turns::begin_reply;
use crate::job::{Outcome, ReplyEnd, Stage, TextBlock};
use crate::metrics::{Counter, Gauge};
use crate::shard::Rules;
use crate::shard::reactor::News;
use crate::time::Duration;
use serde_json::json;

/// For so many tenths of a second the shard wakes so late.
fn late(rig: &mut Rig, tenths: u32, late_ms: u64) {
    for _ in 0..tenths {
        rig.now += Duration::from_millis(100);
        let late = Some(Duration::from_millis(late_ms));
        // What is noted at the end of one pass is weighed at the beginning of the next.
        rig.shard.pass(rig.now, &News { late, ..News::default() });
        rig.now += Duration::from_millis(1);
        rig.run();
    }
}

fn type_text(device: &Device, text: &str) {
    device.text(&json!({"type": "listen", "state": "detect", "text": text}));
}

fn knock(rig: &mut Rig) -> String {
    let mut device = rig.connect();
    device.far.send(request("00:ff", "").as_bytes());
    rig.run();
    device.http()
}

#[test]
fn under_load_newcomers_are_told_when_to_come_back() {
    let mut rig = Rig::new();
    assert!(knock(&mut rig).starts_with("HTTP/1.1 101"));
    late(&mut rig, 7, 22);
    assert_eq!((rig.gauge(Gauge::LoadScore), rig.gauge(Gauge::LoadLevel)), (88, 2));
    let passes = rig.passes;
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let answer = knock(&mut rig);
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        let wait = answer.lines().find_map(|line| line.strip_prefix("Retry-After: ")).expect("when to come back");
        waits.insert(wait.parse::<u64>().expect("seconds"));
    }
    assert!(waits.len() > 5 && waits.iter().all(|wait| (3..=15).contains(wait)), "{waits:?}");
    assert!(rig.passes - passes <= 40 * 3, "an answer leaves in the pass in which the request came");
    assert_eq!((rig.count(Counter::ShedDevices), rig.count(Counter::Upgraded)), (40, 1));
    // Health and check-in are answered all the same.
    let mut device = rig.connect();
    device.far.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    rig.run();
    assert!(device.http().starts_with("HTTP/1.1 200"));
    late(&mut rig, 40, 0);
    assert!(knock(&mut rig).starts_with("HTTP/1.1 101"));
}

#[test]
fn under_more_load_new_turns_hear_that_we_are_busy_and_those_under_way_go_on() {
    let mut rig = Rig::new();
    let (mut talker, mut other) = (rig.device("aa:01"), rig.device("aa:02"));
    type_text(&talker, "tell me something");
    rig.run();
    let llm = rig.job(Stage::Llm).expect("a job for the model");
    let crowd: Vec<Device> = (0..3).map(|i| rig.device(&format!("bb:{i:02}"))).collect();
    for device in &crowd {
        type_text(device, "me too");
        rig.run();
        rig.job(Stage::Llm).expect("a job for the model");
    }
    late(&mut rig, 7, 30);
    assert_eq!((rig.gauge(Gauge::LoadLevel), rig.gauge(Gauge::TurnsAdmitted), rig.gauge(Gauge::TurnsMost)), (3, 4, 4));
    type_text(&other, "hello");
    rig.run();
    assert!(rig.job(Stage::Llm).is_none(), "no worker hears of it");
    let said = other.words();
    assert_eq!(said[..2], ["stt", "tts start"]);
    assert_eq!(rig.count(Counter::ShedTurns), 1);
    // The other turn's next job is admitted whatever the load.
    talker.words();
    rig.answer(&llm, Outcome::Token(TextBlock::split_from("It is late, my friend, very late.").0));
    rig.answer(&llm, Outcome::ReplyEnd(ReplyEnd::Complete));
    assert!(rig.job(Stage::Tts).is_some());
    // With a place free, a turn begins.
    talker.far.close();
    rig.wait_ms(1_000);
    assert_eq!(rig.count(Counter::TurnsClosed), 1);
    type_text(&other, "hello");
    rig.run();
    assert!(rig.job(Stage::Llm).is_some());
}

#[test]
fn at_last_those_who_do_nothing_are_sent_away_and_those_who_speak_stay() {
    let mut rig = Rig::new();
    let (mut talker, mut idler) = (rig.device("aa:01"), rig.device("aa:02"));
    begin_reply(&mut rig, &talker, 200);
    talker.words();
    late(&mut rig, 49, 30);
    assert_eq!(rig.shard.connections(), 2);
    late(&mut rig, 8, 30);
    assert_eq!(rig.gauge(Gauge::LoadLevel), 4);
    assert_eq!(idler.words(), ["close 1013"]);
    assert_eq!((rig.count(Counter::ShedIdlers), rig.count(Counter::EndedByLoad)), (1, 1));
    let said = talker.words();
    assert!(said.len() > 80 && said[1..].iter().all(|word| word == "audio"), "{said:?}");
    assert_eq!(rig.count(Counter::TurnsClosed), 0);
}

#[test]
fn when_everything_is_too_much_a_user_reads_that_we_are_busy() {
    let mut rig = Rig::new();
    let mut devices: Vec<Device> = (0..5).map(|i| rig.device(&format!("aa:{i:02}"))).collect();
    for device in &devices {
        device.text(&json!({"type": "listen", "state": "start", "mode": "auto"}));
        rig.run();
    }
    late(&mut rig, 60, 30);
    // So many may always.
    for device in &devices[..4] {
        type_text(device, "me too");
        rig.run();
    }
    let last = devices.last_mut().expect("five");
    type_text(last, "and me");
    rig.run();
    let mut alert = None;
    while let Some(said) = last.next() {
        match said {
            Said::Json(value) if value["type"] == "alert" => alert = Some(value),
            Said::Close(code) => assert_eq!(code, 1013),
            _ => {}
        }
    }
    let alert = alert.expect("a word");
    assert_eq!(alert["status"], "Busy");
    rig.wait_ms(1_000);
    assert!(devices[4].far.is_closed());
}

#[test]
fn a_server_told_to_serve_all_refuses_nobody() {
    let mut rig = Rig::with(Rules { sheds: false, ..Rules::default() });
    let device = rig.device("aa:01");
    late(&mut rig, 70, 60);
    assert!(knock(&mut rig).starts_with("HTTP/1.1 101"));
    type_text(&device, "hello");
    rig.run();
    assert!(rig.job(Stage::Llm).is_some());
}

#[test]
fn jobs_that_no_worker_looks_at_are_load_however_punctual_the_shard() {
    let mut rig = Rig::with_capacity(Rules::default(), 1);
    let device = rig.device("aa:01");
    type_text(&device, "hello");
    rig.run();
    late(&mut rig, 4, 0);
    assert_eq!(rig.gauge(Gauge::LoadLevel), 0, "four tenths: may be a moment");
    late(&mut rig, 5, 0);
    assert_eq!(rig.gauge(Gauge::LoadLevel), 3);
    rig.job(Stage::Llm).expect("the worker looks up at last");
    late(&mut rig, 50, 0);
    assert_eq!(rig.gauge(Gauge::LoadLevel), 0);
}
