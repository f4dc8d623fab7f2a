//! Panics: who ends, with what words, and who goes on as if nothing had happened.

use super::rig::{Device, Rig, request};
use super::turns::begin_reply;
use crate::job::{Failure, Outcome, PacketBlock, ReplyEnd, Stage, TextBlock, Work};
use crate::metrics::{Counter, Gauge};
use crate::resilience::admission::Step;
use crate::resilience::fault::{DIED, PANICKED};
use crate::shard::reactor::{News, Ready};
use crate::shard::rescue::DEATHS_MOST;
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};

fn type_text(rig: &mut Rig, device: &Device) -> Option<crate::job::Job> {
    device.text(&json!({"type": "listen", "state": "detect", "text": "what time is it"}));
    rig.run();
    rig.job(Stage::Llm)
}

fn break_session(rig: &mut Rig, device: &Device) {
    rig.shard.floor.talk(device.key, rig.now, |_, _| panic!("planted"));
    rig.run();
}

fn knock(rig: &mut Rig, device_id: &str) -> String {
    let mut device = rig.connect();
    device.far.send(request(device_id, "").as_bytes());
    rig.run();
    device.http()
}

/// A turn from text to `tts stop`.
fn a_turn_goes_well(rig: &mut Rig, device: &mut Device) {
    // Jobs of sessions that are no more.
    Stage::ALL.into_iter().for_each(|stage| while rig.job(stage).is_some() {});
    let llm = type_text(rig, device).expect("a job for the model");
    rig.answer(&llm, Outcome::Token(TextBlock::split_from("It is late.").0));
    rig.answer(&llm, Outcome::ReplyEnd(ReplyEnd::Complete));
    let tts = rig.job(Stage::Tts).expect("a job for the voice");
    let Work::Speak(speak) = &tts.work else { panic!("{:?}", tts.work) };
    let sentence = speak.sentence;
    for block in PacketBlock::cut(sentence, &[7; 240]) {
        rig.answer(&tts, Outcome::Packet(block));
    }
    rig.answer(&tts, Outcome::SpeechEnd { sentence, packets: 1 });
    rig.wait_ms(2_000);
    let said = device.words();
    assert!(said.contains(&"audio".to_owned()) && said.last().is_some_and(|word| word == "tts stop"), "{said:?}");
}

#[test]
fn a_session_that_panics_ends_and_nobody_else_notices() {
    let mut rig = Rig::new();
    let (mut broken, mut other) = (rig.device("aa:01"), rig.device("aa:02"));
    begin_reply(&mut rig, &broken, 100);
    rig.wait_ms(500);
    broken.words();
    break_session(&mut rig, &broken);
    let said = broken.words();
    assert_eq!(said.last().map(String::as_str), Some("close 1012"), "{said:?}");
    assert_eq!((rig.count(Counter::SessionPanics), rig.count(Counter::EndedByPanic)), (1, 1));
    assert_eq!((rig.gauge(Gauge::Speaking), rig.gauge(Gauge::Sessions)), (0, 1));
    a_turn_goes_well(&mut rig, &mut other);
    // It may come back at once.
    let mut again = rig.device("aa:01");
    a_turn_goes_well(&mut rig, &mut again);
    assert_eq!(rig.shard.connections(), 2);
}

#[test]
fn who_breaks_something_twice_is_kept_out_for_a_while() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        let device = rig.device("aa:01");
        break_session(&mut rig, &device);
        rig.wait_ms(1_000);
    }
    let answer = knock(&mut rig, "aa:01");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Retry-After: 599\r\n"), "{answer}");
    assert!(knock(&mut rig, "aa:02").starts_with("HTTP/1.1 101"));
    rig.wait_ms(600_000);
    assert!(knock(&mut rig, "aa:01").starts_with("HTTP/1.1 101"));
}

#[test]
fn so_is_whose_jobs_kill_workers_and_not_whose_service_fails() {
    let mut rig = Rig::new();
    for (what, is_crash) in [("more attempts than places", false), (DIED, true), (PANICKED, true)] {
        let mut device = rig.device("aa:01");
        for _ in 0..2 {
            let job = type_text(&mut rig, &device).expect("a job for the model");
            rig.answer(&job, Outcome::Failed(Box::new(Failure::internal(Stage::Llm, 0, what))));
        }
        rig.wait_ms(1_000);
        let is_out = device.words().contains(&"close 1008".to_owned());
        assert_eq!((is_out, rig.count(Counter::Quarantined) > 0), (is_crash, is_crash), "{what}");
        assert_eq!(knock(&mut rig, "aa:01").starts_with("HTTP/1.1 503"), is_crash, "{what}");
        if is_crash {
            rig.wait_ms(601_000);
        }
    }
}

/// One pass in which everybody may be read and written; `false` if the shard panicked and is to go on.
fn pass(rig: &mut Rig, device: &Device) -> bool {
    let ready = vec![Ready { key: device.key, readable: true, writable: true, ended: false }];
    let news = News { ready, ..News::default() };
    let passed = catch_unwind(AssertUnwindSafe(|| rig.shard.pass(rig.now, &news)));
    passed.is_ok() || !rig.shard.revive(rig.now)
}

#[test]
fn a_shard_that_panics_at_whatever_step_ends_its_sessions_and_goes_on() {
    for step in [Step::Frames, Step::Accept, Step::Read, Step::Answers, Step::Timers, Step::Errands, Step::Write] {
        let mut rig = Rig::new();
        let (mut talker, mut asker) = (rig.device("aa:01"), rig.device("aa:02"));
        begin_reply(&mut rig, &talker, 100);
        rig.wait_ms(500);
        let job = type_text(&mut rig, &asker).expect("a job for the model");
        talker.words();
        asker.words();
        asker.text(&json!({"type": "abort"}));
        rig.shard.plant = Some(step);
        assert!(!pass(&mut rig, &asker), "{step:?}");
        assert_eq!(rig.count(Counter::ShardPanics), 1);
        for device in [&mut talker, &mut asker] {
            let said = device.words();
            assert_eq!(said.last().map(String::as_str), Some("close 1012"), "{step:?}: {said:?}");
        }
        assert!(job.cancel.is_cancelled(), "{step:?}");
        rig.wait_ms(1_000);
        assert_eq!((rig.shard.connections(), rig.gauge(Gauge::Connections), rig.gauge(Gauge::Sessions)), (0, 0, 0));
        assert_eq!((rig.gauge(Gauge::TurnsAdmitted), rig.gauge(Gauge::SendQueueBytes)), (0, 0), "{step:?}");
        rig.answer(&job, Outcome::ReplyEnd(ReplyEnd::Complete));
        let mut again = rig.device("aa:01");
        a_turn_goes_well(&mut rig, &mut again);
    }
}

#[test]
fn a_shard_that_panics_again_and_again_gives_up() {
    let mut rig = Rig::new();
    assert!((0..DEATHS_MOST).all(|_| rig.shard.revive(rig.now)));
    assert!(!rig.shard.revive(rig.now));
    rig.wait_ms(60_000);
    assert!(rig.shard.revive(rig.now));
}
