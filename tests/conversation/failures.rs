//! Conversations in which a service fails: each failure is spoken or shown, each ends with one `tts stop`, and the next turn works.

use crate::support::{Client, Got, Rig, kinds};
use crate::{APOLOGY, SORRY, TURN, count, heard, packets_of_sentences, sentences};

/// A rig whose apology is short, with overrides.
fn rig(overrides: &[(&str, &str)]) -> Rig {
    let apology = format!("{APOLOGY:?}");
    let all = [overrides, &[("phrases.apology_en", &apology)]].concat();
    Rig::with(&all)
}

/// A script for the voice: our own phrases are spoken well, and then these entries come for each reply.
fn voice(entries: &[&str]) -> String {
    const PHRASES: usize = 8; // four, in two languages
    format!("{:?}", [&["ok"; PHRASES][..], entries].concat())
}

/// One spoken turn of a device in auto mode.
fn speak(client: &mut Client) -> Vec<Got> {
    client.utterance(300);
    client.until("tts:stop")
}

fn ask(client: &mut Client) -> Vec<Got> {
    client.detect("tell me");
    client.until("tts:stop")
}

/// Nothing was said but the apology, aloud.
fn is_sorry(all: &[Got], what: &str) {
    assert_eq!(
        (sentences(all), packets_of_sentences(all)),
        (vec![APOLOGY], vec![APOLOGY.len()]),
        "{what}: {:?}",
        kinds(all)
    );
    assert_eq!((count(all, "tts:start"), count(all, "tts:stop")), (1, 1), "{what}: {:?}", kinds(all));
}

#[test]
fn every_failure_of_recognition_is_apologised_for_and_the_device_is_heard_again() {
    let faults = ["!fail", "!refuse", "!garbage", "!cut half a word"];
    let rig =
        rig(&[("asr.script", &format!("{:?}", [&faults[..], &["hello"]].concat())), ("llm.script", r#"["Ok."]"#)]);
    let mut client = rig.device();
    client.listen("start", "auto");
    for fault in faults {
        let turn = speak(&mut client);
        assert_eq!(kinds(&turn), SORRY, "{fault}");
        is_sorry(&turn, fault);
    }
    let turn = speak(&mut client);
    assert_eq!((kinds(&turn), heard(&turn)), (TURN.map(String::from).to_vec(), "hello"));
    client.quiet(300);
    rig.metric_reaches("voxlane_turns_total", r#"event="failed""#, 4.0);
}

#[test]
fn what_was_no_speech_after_all_is_passed_over_in_silence() {
    let rig = rig(&[("asr.script", r#"["!empty", "…", "hello"]"#), ("llm.script", r#"["Ok."]"#)]);
    let mut client = rig.device();
    client.listen("start", "auto");
    for empty in 1..=2 {
        client.utterance(300);
        rig.metric_reaches("voxlane_turns_total", r#"event="empty""#, f64::from(empty));
    }
    client.quiet(200);
    assert_eq!(heard(&speak(&mut client)), "hello");
}

#[test]
fn recognition_that_hangs_costs_the_budget_and_an_apology() {
    let rig = rig(&[("session.turn_s", "2"), ("asr.script", r#"["!hang", "hello"]"#), ("llm.script", r#"["Ok."]"#)]);
    let mut client = rig.device();
    client.listen("start", "auto");
    is_sorry(&speak(&mut client), "!hang");
    assert_eq!(heard(&speak(&mut client)), "hello");
    rig.metric_reaches("voxlane_turn_seconds_count", r#"milestone="final_transcript""#, 1.0);
}

#[test]
fn every_failure_of_the_model_before_its_first_word_is_apologised_for() {
    let faults = ["!fail", "!refuse", "!garbage", "!empty"];
    let rig = rig(&[("llm.script", &format!("{:?}", [&faults[..], &["Ok."]].concat()))]);
    let mut client = rig.device();
    for fault in faults {
        let turn = ask(&mut client);
        assert_eq!(kinds(&turn), ["stt", "tts:start", "tts:sentence_start", "packet", "tts:stop"], "{fault}");
        is_sorry(&turn, fault);
    }
    assert_eq!(kinds(&ask(&mut client)), TURN);
    client.quiet(300);
}

#[test]
fn a_model_that_breaks_off_has_said_what_it_said() {
    let rig = rig(&[("llm.script", r#"["!cut One two. Three four. Five six. Seven eight.", "Ok."]"#)]);
    let mut client = rig.device();
    let turn = ask(&mut client);
    let said = sentences(&turn).join(" ");
    assert!(said.starts_with("One two. Three four") && !said.contains("Seven"), "{said}");
    assert!(!said.contains(APOLOGY), "{said}");
    assert_eq!((count(&turn, "tts:start"), count(&turn, "tts:stop")), (1, 1));
    assert_eq!(sentences(&ask(&mut client)), ["Ok."]);
}

#[test]
fn a_model_that_hangs_costs_the_budget_and_an_apology() {
    let rig = rig(&[("session.turn_s", "2"), ("llm.workers", "1"), ("llm.script", r#"["!hang", "Ok."]"#)]);
    let mut client = rig.device();
    is_sorry(&ask(&mut client), "!hang");
    // Its only worker is free again.
    assert_eq!(sentences(&ask(&mut client)), ["Ok."]);
}

#[test]
fn one_sentence_that_cannot_be_spoken_is_shown_and_the_others_are_heard() {
    let text = "This is one. This is two. This is three.";
    let rig = rig(&[
        ("llm.script", &format!("[{text:?}]")),
        ("tts.script", &voice(&["ok", "!fail", "ok"])),
        ("tts.workers", "1"),
    ]);
    let mut client = rig.device();
    let turn = ask(&mut client);
    assert_eq!(sentences(&turn), ["This is one.", "This is two.", "This is three."]);
    assert_eq!(packets_of_sentences(&turn), [12, 0, 14]);
    assert_eq!((count(&turn, "tts:start"), count(&turn, "tts:stop")), (1, 1));
    client.quiet(200);
}

#[test]
fn a_reply_that_cannot_be_spoken_at_all_is_shown_and_apologised_for() {
    let text = "This is one. This is two. This is three.";
    let rig = rig(&[("llm.script", &format!("[{text:?}]")), ("tts.script", &voice(&["!fail", "!empty", "!refuse"]))]);
    let mut client = rig.device();
    let turn = ask(&mut client);
    assert_eq!(sentences(&turn), ["This is one.", "This is two.", "This is three.", APOLOGY]);
    assert_eq!(packets_of_sentences(&turn), [0, 0, 0, APOLOGY.len()]);
    assert_eq!((count(&turn, "tts:start"), count(&turn, "tts:stop")), (1, 1));
    client.quiet(200);
}

#[test]
fn a_voice_that_breaks_off_is_heard_until_then() {
    let rig = rig(&[("llm.script", r#"["Twenty letters here."]"#), ("tts.script", &voice(&["!cut"]))]);
    let turn = ask(&mut rig.device());
    assert_eq!((sentences(&turn), packets_of_sentences(&turn)), (vec!["Twenty letters here."], vec![10]));
}

#[test]
fn a_voice_that_hangs_costs_the_budget_and_an_apology() {
    let rig = rig(&[
        ("session.turn_s", "2"),
        ("llm.script", r#"["Ok."]"#),
        ("tts.script", &voice(&["!hang", "ok"])),
        ("tts.workers", "1"),
    ]);
    let mut client = rig.device();
    let turn = ask(&mut client);
    assert_eq!((count(&turn, "tts:start"), count(&turn, "tts:stop")), (1, 1));
    assert_eq!(
        (*sentences(&turn).last().unwrap(), *packets_of_sentences(&turn).last().unwrap()),
        (APOLOGY, APOLOGY.len())
    );
    // Its only worker is free again.
    let turn = ask(&mut client);
    assert_eq!((sentences(&turn), packets_of_sentences(&turn)), (vec!["Ok."], vec![5]));
}

#[test]
fn without_a_voice_for_our_own_phrases_they_are_shown() {
    let rig = Rig::with(&[("llm.script", r#"["Ok."]"#), ("tts.script", r#"["!fail"]"#)]);
    let mut client = rig.device();
    let turn = ask(&mut client);
    assert_eq!(kinds(&turn), ["stt", "tts:start", "llm", "tts:sentence_start", "tts:sentence_start", "tts:stop"]);
    assert_eq!(sentences(&turn), ["Ok.", "Sorry, something went wrong. Please try again."]);
    client.detect("Alexa");
    assert_eq!(sentences(&client.until("tts:stop")), ["Hi, I'm listening."]);
}

/// Each stage has one worker, which hangs: after an abort it must be free for the next turn, long before its deadline.
#[test]
fn an_abort_frees_the_worker_that_hangs_in_each_stage() {
    for (stage, script) in [
        ("asr", r#"["!hang", "hello"]"#.to_owned()),
        ("llm", r#"["!hang", "Ok."]"#.to_owned()),
        ("tts", voice(&["!hang", "ok"])),
    ] {
        let (script_key, workers_key) = (format!("{stage}.script"), format!("{stage}.workers"));
        let mut overrides = vec![(script_key.as_str(), script.as_str()), (workers_key.as_str(), "1")];
        if stage != "llm" {
            overrides.push(("llm.script", r#"["Ok."]"#));
        }
        let rig = rig(&overrides);
        let mut client = rig.device();
        client.listen("start", "auto");
        client.utterance(300);
        // The worker has the job: it was submitted, and nothing waits.
        let job = format!("pool=\"{stage}\"");
        rig.metric_reaches("voxlane_workers_busy", &job, 1.0);
        client.abort();
        let stopped = client.until("tts:stop");
        assert_eq!(count(&stopped, "packet"), 0, "{stage}");
        let turn = speak(&mut client);
        assert_eq!((kinds(&turn), count(&turn, "packet")), (TURN.map(String::from).to_vec(), 5), "{stage}");
        client.quiet(200);
    }
}

#[test]
fn an_abort_while_we_speak_is_silence_and_the_next_turn_is_whole() {
    let rig = rig(&[("llm.script", r#"["A sentence that takes its time, and then some more of it.", "Ok."]"#)]);
    let mut client = rig.device();
    client.detect("tell me");
    client.until("packet");
    client.abort();
    let rest = client.until("tts:stop");
    assert!(count(&rest, "packet") < 10 && sentences(&rest).is_empty(), "{:?}", kinds(&rest));
    let turn = ask(&mut client);
    assert_eq!((kinds(&turn), sentences(&turn)), (TURN.map(String::from).to_vec(), vec!["Ok."]));
    client.quiet(200);
}
