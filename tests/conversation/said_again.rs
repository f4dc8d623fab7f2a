//! Sentences that were said before: spoken and encoded once, and what is left when the voice is down.

use crate::support::services::{Place, Services};
use crate::support::{Client, Got, Rig};
use crate::{APOLOGY, count, sentences};

/// A device asks; the sentences, and all packets of the answer.
fn ask(client: &mut Client) -> (Vec<String>, Vec<Vec<u8>>) {
    client.detect("tell me");
    let turn = client.until("tts:stop");
    assert_eq!((count(&turn, "tts:start"), count(&turn, "tts:stop")), (1, 1));
    let said = sentences(&turn).into_iter().map(str::to_owned).collect();
    let packet = |got: Got| if let Got::Packet(bytes) = got { Some(bytes.to_vec()) } else { None };
    (said, turn.into_iter().filter_map(packet).collect())
}

/// How often the voice was asked for a sentence.
fn asked(services: &Services, text: &str) -> usize {
    services.asked("speech").iter().filter(|asked| asked.json()["input"] == text).count()
}

/// A server whose voice is a service and whose model says these answers in turn.
fn rig(answers: &[&str], more: &[(&str, &str)]) -> (Rig, Services) {
    let place = Place::new();
    let (url, script, apology) = (format!("{:?}", place.url()), format!("{answers:?}"), format!("{APOLOGY:?}"));
    let own = [
        ("llm.script", script.as_str()),
        ("tts.provider", r#""openai""#),
        ("tts.base_url", &url),
        ("tts.model", r#""m-1""#),
        ("tts.opus_complexity", r#""0""#),
        ("phrases.apology_en", &apology),
    ];
    let services = place.open(&[], &[]);
    (Rig::with(&[&own, more].concat()), services)
}

const KEPT: &str = "voxlane_speech_kept_total";

#[test]
fn the_same_answer_is_spoken_once_and_heard_by_all() {
    let (rig, services) = rig(&["Yes, it is. Ask me more."], &[]);
    let (mut first, mut second, mut pcm) = (rig.opus_device(), rig.opus_device(), rig.device());
    let heard = ask(&mut first);
    assert_eq!(heard.0, ["Yes, it is.", "Ask me more."]);
    assert!(ask(&mut first) == heard && ask(&mut second) == heard, "other packets");
    assert_eq!(["Yes, it is.", "Ask me more."].map(|text| asked(&services, text)), [1, 1]);
    // Another format is another recording.
    let plain = ask(&mut pcm);
    assert!(ask(&mut pcm) == plain && plain.1 != heard.1);
    assert_eq!(asked(&services, "Yes, it is."), 2);
    assert_eq!([r#""hit""#, r#""miss""#, r#""stored""#].map(|event| rig.metric(KEPT, event)), [6.0, 4.0, 4.0]);
    assert!(rig.metric("voxlane_speech_kept_bytes", "") > 1_000.0);
    assert_eq!(rig.metric("voxlane_reply_packets_total", r#""kept""#), 2.0 * heard.1.len() as f64);
    assert_eq!(rig.metric("voxlane_degraded", "tts"), 0.0);
}

#[test]
fn a_voice_that_is_down_says_what_it_has_said_before() {
    let news: Vec<String> = (0..6).map(|i| format!("News {i}.")).collect();
    let news = news.iter().map(String::as_str);
    let answers: Vec<&str> = ["It is noon."].into_iter().chain(news).chain(["It is noon.", "More news."]).collect();
    let (rig, services) = rig(&answers, &[]);
    let mut client = rig.opus_device();
    let noon = ask(&mut client);
    assert!(!noon.1.is_empty());
    drop(services);
    for i in 0..6 {
        assert_eq!(ask(&mut client).0, [format!("News {i}."), APOLOGY.to_owned()], "shown, not spoken");
    }
    let breaker = |state: f64| rig.metric("voxlane_provider_state", r#"stage="tts""#) == state;
    assert!(breaker(2.0), "nobody is asked any more");
    assert!(ask(&mut client) == noon);
    assert_eq!(rig.metric("voxlane_answers_total", r#"stage="tts",rung="cached""#), 1.0);
    assert!(rig.metric("voxlane_degraded", "tts") >= 2.0);
    assert_eq!(rig.metric("voxlane_outage", "tts"), 1.0);
    assert_eq!(ask(&mut client).0, ["More news.", APOLOGY]);
}

#[test]
fn without_memory_for_it_every_sentence_is_asked_for() {
    let (rig, services) = rig(&["Yes, it is."], &[("tts.cache_mb", "0")]);
    let mut client = rig.opus_device();
    assert!(ask(&mut client) == ask(&mut client));
    assert_eq!(asked(&services, "Yes, it is."), 2);
    assert_eq!(rig.metric(KEPT, ""), 0.0);
}
