//! Conversations through services that speak the OpenAI protocol.

use crate::support::services::{Asked, Place};
use crate::support::{Client, Got, PATIENCE, Rig, kinds};
use crate::{TURN, count, heard, packets_of_sentences, sentences};
use serde_json::Value;
use std::time::Instant;

/// A rig whose three providers are at `place`.
fn rig(place: &Place, more: &[(&str, &str)]) -> Rig {
    let (openai, url, key) = (r#""openai""#, format!("{:?}", place.url()), r#""canary-key-5521""#);
    let mut overrides = Vec::new();
    let keys = ["asr", "llm", "tts"]
        .map(|section| ["provider", "base_url", "model", "api_key"].map(|key| format!("{section}.{key}")));
    for section in &keys {
        for (path, value) in section.iter().zip([openai, &url, r#""m-1""#, key]) {
            overrides.push((path.as_str(), value));
        }
    }
    Rig::with(&[&overrides[..], more].concat())
}

fn speak(client: &mut Client, ms: usize) -> Vec<Got> {
    client.listen("start", "manual");
    client.sound(ms, true);
    client.listen("stop", "");
    client.until("tts:stop")
}

fn roles_and_words(asked: &Asked) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let json = asked.json();
    let messages = json["messages"].as_array().expect("messages");
    messages.iter().map(|message| (text(&message["role"]), text(&message["content"]))).collect()
}

#[test]
fn a_conversation_through_three_services_keeps_its_thread() {
    let place = Place::new();
    let more = [("phrases.wake_reply_en", r#""""#), ("session.dialogue_turns", "2"), ("tts.voice", r#""nova""#)];
    let rig = rig(&place, &more);
    let services = place.open(
        &["Who wrote Faust?", "When was he born?", "And where?", "Thank you."],
        &["Goethe wrote it.", "In 1749. That is long ago.", "In Frankfurt.", "You are welcome."],
    );
    let mut client = rig.device();
    let mut replies = Vec::new();
    for ms in [600, 900, 1_200, 1_500] {
        let turn = speak(&mut client, ms);
        assert_eq!(kinds(&turn)[..4], TURN[..4]);
        assert_eq!(count(&turn, "tts:stop"), 1);
        // 60 ms for each character that was spoken, and a decoder's and a resampler's delay.
        let packets = packets_of_sentences(&turn);
        assert!(
            sentences(&turn).iter().zip(&packets).all(|(s, &n)| n.abs_diff(s.chars().count()) <= 12),
            "{packets:?}"
        );
        replies.push((heard(&turn).to_owned(), sentences(&turn).join(" ")));
    }
    let said = |user: &str, reply: &str| (user.to_owned(), reply.to_owned());
    assert_eq!(replies[0], said("Who wrote Faust", "Goethe wrote it."));
    assert_eq!(replies[1], said("When was he born", "In 1749. That is long ago."));

    // The recogniser was given the utterance as WAV: 16 kHz, 16 bit, mono, and nothing is lost or added.
    let heard_ms: Vec<usize> = services.asked("transcriptions").iter().map(|asked| wav_ms(&asked.body)).collect();
    assert_eq!(heard_ms, [600, 900, 1_200, 1_500]);
    // The model was given the persona, the turns of the window, and the question.
    let questions: Vec<_> = services.asked("completions").iter().map(roles_and_words).collect();
    let roles = |i: usize| questions[i].iter().map(|(role, _)| role.as_str()).collect::<Vec<_>>();
    assert_eq!(roles(0), ["system", "user"]);
    assert_eq!(roles(1), ["system", "user", "assistant", "user"]);
    assert_eq!(roles(3), ["system", "user", "assistant", "user", "assistant", "user"], "two turns are kept");
    assert!(questions[0][0].1.contains("voice assistant"), "{:?}", questions[0]);
    let words = |i: usize| questions[i][1..].iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>();
    assert_eq!(words(1), ["Who wrote Faust?", "Goethe wrote it.", "When was he born?"]);
    assert_eq!(words(3)[0], "When was he born?");
    assert_eq!(words(3)[4], "Thank you.");
    // The voice was given sentences, and everybody the key.
    let spoken = services.asked("speech");
    assert!(spoken.iter().any(|asked| asked.json()["input"] == "That is long ago."));
    assert!(spoken.iter().all(|asked| asked.json()["voice"] == "nova" && asked.json()["response_format"] == "wav"));
    for what in ["transcriptions", "completions", "speech"] {
        let asked = services.asked(what);
        assert!(!asked.is_empty() && asked.iter().all(|a| a.head.contains("authorization: bearer canary-key-5521")));
    }
}

/// The length of the WAV in a form.
fn wav_ms(form: &[u8]) -> usize {
    let at = form.windows(4).position(|w| w == b"RIFF").expect("a WAV");
    assert_eq!(form[at + 36..at + 40], *b"data", "the plain header of 44 bytes");
    let len = u32::from_le_bytes(*form[at + 40..].first_chunk().unwrap());
    len as usize / 32
}

#[test]
fn what_was_interrupted_is_remembered_only_as_far_as_it_was_heard() {
    let place = Place::new();
    let rig = rig(&place, &[]);
    let services = place.open(&[], &["One goes first. Two comes second. Three is never heard by anybody.", "Ok."]);
    let mut client = rig.device();
    client.detect("count");
    // In the middle of the second sentence.
    while client.until("tts:sentence_start").last().unwrap().text() != "Two comes second." {}
    (0..8).for_each(|_| drop(client.until("packet")));
    client.abort();
    client.until("tts:stop");
    client.detect("go on");
    client.until("tts:stop");
    let asked = services.asked("completions");
    let words = roles_and_words(asked.last().unwrap());
    let (role, said) = &words[2];
    assert_eq!((words[1].1.as_str(), role.as_str(), words[3].1.as_str()), ("count", "assistant", "go on"));
    assert!(said.starts_with("One goes first.") && !said.contains("Three"), "{said}");
}

#[test]
fn with_its_services_down_the_server_starts_apologises_and_works_when_they_come() {
    let place = Place::new();
    let more =
        [("phrases.apology_en", r#""Sorry.""#), ("phrases.busy_zh", r#""Busy.""#), ("services.offline", "false")];
    let rig = rig(&place, &more);
    let mut client = rig.device();
    let turn = speak(&mut client, 600);
    assert_eq!((sentences(&turn), packets_of_sentences(&turn)), (vec!["Sorry."], vec![0]), "shown: there is no voice");
    client.detect("hello?");
    let turn = client.until("tts:stop");
    assert_eq!((sentences(&turn), count(&turn, "tts:stop")), (vec!["Sorry."], 1));
    rig.metric_reaches("voxlane_jobs_total", r#"result="unavailable""#, 2.0);

    let services = place.open(&["hello"], &["Here I am."]);
    let turn = speak(&mut client, 600);
    assert_eq!((kinds(&turn), sentences(&turn)), (TURN.map(String::from).to_vec(), vec!["Here I am."]));
    // Our own phrases get their sound soon after there is a voice; this is the last of them.
    let begin = Instant::now();
    while services.asked("speech").iter().filter(|asked| asked.json()["input"] == "Busy.").count() == 0 {
        assert!(begin.elapsed() < PATIENCE, "they are never spoken");
        client.is_alive();
    }
    client.is_alive();
    drop(services);
    client.detect("still there?");
    let turn = client.until("tts:stop");
    assert_eq!((sentences(&turn), packets_of_sentences(&turn).len()), (vec!["Sorry."], 1));
    assert!(packets_of_sentences(&turn)[0] >= 5, "spoken now: {:?}", kinds(&turn));
}
