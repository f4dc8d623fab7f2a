//! Conversations in which somebody stands in: a backup, kept speech, the responder that needs no service.

use crate::support::services::Place;
use crate::support::{Client, Got, Rig, kinds};
use crate::{APOLOGY, TURN, count, heard, packets_of_sentences, sentences};

fn speak(client: &mut Client) -> Vec<Got> {
    client.utterance(300);
    client.until("tts:stop")
}

fn ask(client: &mut Client, words: &str) -> Vec<Got> {
    client.detect(words);
    client.until("tts:stop")
}

/// Whatever is wrong with the first of each stage, the second answers, and the user hears no difference but the words.
#[test]
fn every_stage_has_somebody_behind_it() {
    for fault in ["!fail", "!refuse", "!garbage", "!cut"] {
        let rig = Rig::with(&[
            ("asr.script", &format!("[{fault:?}]")),
            ("asr.backups", r#"["scripted script=Hello."]"#),
            ("llm.script", &format!("[{:?}]", if fault == "!cut" { "!fail" } else { fault })),
            ("llm.backups", r#"["scripted script=Backup."]"#),
            ("tts.script", &format!("[{:?}]", if fault == "!cut" { "!empty" } else { fault })),
            ("tts.backups", r#"["scripted"]"#),
        ]);
        let mut client = rig.device();
        client.listen("start", "auto");
        let turn = speak(&mut client);
        assert_eq!((kinds(&turn), heard(&turn)), (TURN.map(String::from).to_vec(), "Hello"), "{fault}");
        assert_eq!((sentences(&turn), packets_of_sentences(&turn)), (vec!["Backup."], vec![7]), "{fault}");
        for stage in ["asr", "llm", "tts"] {
            let labels = format!(r#"stage="{stage}",rung="backup""#);
            assert_eq!(rig.metric("voxlane_answers_total", &labels), 1.0, "{fault}, {stage}");
            assert_eq!(rig.metric("voxlane_degraded", stage), 1.0);
        }
    }
}

#[test]
fn who_keeps_failing_is_not_asked_any_more() {
    let rig = Rig::with(&[("llm.script", r#"["!fail"]"#), ("llm.backups", r#"["scripted script=Ok."]"#)]);
    let mut client = rig.device();
    for _ in 0..8 {
        assert_eq!(sentences(&ask(&mut client, "tell me")), ["Ok."]);
    }
    let calls =
        |result: &str| rig.metric("voxlane_provider_calls_total", &format!(r#"provider="scripted",result="{result}""#));
    assert_eq!(calls("failed"), 5.0, "then its breaker opens");
    assert_eq!(rig.metric("voxlane_provider_state", r#"stage="llm",provider="scripted""#), 2.0);
    assert_eq!(rig.metric("voxlane_turns_total", r#"event="complete""#), 8.0);
}

#[test]
fn without_any_model_simple_things_are_answered_and_the_user_is_told_once() {
    let place = Place::new();
    let url = format!("{:?}", place.url());
    let rig = Rig::with(&[("llm.provider", r#""openai""#), ("llm.base_url", &url), ("llm.model", r#""m-1""#)]);
    let mut client = rig.device();
    let said: Vec<String> = ["what is 3 plus 5", "what is 2 plus 2", "why is the sky blue"]
        .map(|words| {
            let turn = ask(&mut client, words);
            assert_eq!((count(&turn, "tts:start"), count(&turn, "tts:stop")), (1, 1));
            assert!(packets_of_sentences(&turn).iter().all(|&packets| packets > 0), "all of it is spoken");
            sentences(&turn).join(" ")
        })
        .to_vec();
    assert!(said[0].starts_with("I can't reach my language model") && said[0].ends_with("3 plus 5 is 8."), "{said:?}");
    assert_eq!(said[1], "2 plus 2 is 4.");
    assert!(said[2].contains("try again later"), "{said:?}");
    // Another device is told too.
    let turn = ask(&mut rig.device(), "what is 1 plus 1");
    assert!(sentences(&turn)[0].starts_with("I can't reach"), "{:?}", sentences(&turn));
    assert_eq!(rig.metric("voxlane_degraded", "llm"), 4.0);
    assert_eq!(rig.metric("voxlane_turns_total", r#"event="failed""#), 0.0);
}

#[test]
fn one_answer_is_spoken_in_one_voice() {
    const PHRASES: usize = 8; // four, in two languages
    let voice = [&["ok"; PHRASES][..], &["!fail"]].concat();
    let rig = Rig::with(&[
        ("llm.script", r#"["One is here. Two is here. Three is here. Four is here."]"#),
        ("tts.script", &format!("{voice:?}")),
        ("tts.workers", "1"),
        ("tts.backups", r#"["scripted"]"#),
    ]);
    let mut client = rig.device();
    let turn = ask(&mut client, "tell me");
    assert_eq!(packets_of_sentences(&turn), [12, 12, 14, 13]);
    assert_eq!(rig.metric("voxlane_answers_total", r#"stage="tts",rung="backup""#), 4.0, "the first is well again");
    assert_eq!(rig.metric("voxlane_provider_calls_total", r#"stage="tts",provider="scripted",result="good""#), 0.0);
    ask(&mut client, "tell me more");
    assert_eq!(rig.metric("voxlane_answers_total", r#"stage="tts",rung="primary""#), 4.0, "the next answer returns");
}

#[test]
fn when_no_place_is_free_in_time_the_user_is_told_so() {
    let rig = Rig::with(&[
        ("llm.script", r#"["!hang"]"#),
        ("llm.concurrency", "1"),
        ("session.turn_s", "2"),
        ("phrases.busy_en", r#""Busy.""#),
        ("phrases.apology_en", &format!("{APOLOGY:?}")),
    ]);
    let (mut first, mut second) = (rig.device(), rig.device());
    first.detect("tell me");
    rig.metric_becomes("voxlane_provider_calls", r#"stage="llm",provider="scripted""#, |calls| calls == 1.0);
    // One call holds the only place for the whole budget.
    let turn = ask(&mut second, "tell me");
    let said = *sentences(&turn).last().unwrap();
    assert!([APOLOGY, "Busy."].contains(&said), "{said}");
    assert_eq!((count(&turn, "tts:start"), count(&turn, "tts:stop")), (1, 1));
    first.until("tts:stop");
}
