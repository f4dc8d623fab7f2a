//! B. Turn logic: who speaks when, and what ends what.

use crate::support::{Client, Got, PATIENCE, Rig, Shared, kinds, sound};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use voxlane::audio::opus::EncoderSettings;

/// Recognition says how long the utterance was, replies are short, and so are phrases of our own.
const BRIEF: &[(&str, &str)] = &[
    ("llm.script", r#"["Ok."]"#),
    ("phrases.wake_reply_en", r#""Hi.""#),
    ("phrases.wake_reply_zh", r#""在。""#),
    ("phrases.farewell_en", r#""Bye.""#),
];

/// A whole spoken turn.
const TURN: [&str; 6] = ["stt", "tts:start", "llm", "tts:sentence_start", "packet", "tts:stop"];

static RIG: Shared = Shared::new();
/// Replies of about two seconds.
static SLOW: Shared = Shared::new();
/// A model that never answers.
static MUTE: Shared = Shared::new();

/// A reply whose synthesis hums a packet for each character.
const STORY: &str = "Once there was a lighthouse keeper.";

fn brief() -> std::sync::Arc<Rig> {
    RIG.with(BRIEF)
}

fn slow() -> std::sync::Arc<Rig> {
    SLOW.with(&[("llm.script", &format!("[{STORY:?}]"))])
}

fn mute() -> std::sync::Arc<Rig> {
    MUTE.with(&[("llm.script", r#"["!hang"]"#)])
}

fn count(all: &[Got], kind: &str) -> usize {
    all.iter().filter(|got| got.kind() == kind).count()
}

/// The length of the utterance that recognition was given, ms.
fn heard_ms(all: &[Got]) -> usize {
    let stt = all.iter().find(|got| got.kind() == "stt").unwrap_or_else(|| panic!("no stt in {:?}", kinds(all)));
    let number = stt.text().strip_prefix("utterance of ").and_then(|rest| rest.strip_suffix(" ms"));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{:?}", stt.text()))
}

#[test]
fn item_25_speech_then_silence_is_one_turn_in_order() {
    let rig = brief();
    let mut client = rig.device();
    client.listen("start", "auto");
    client.utterance(600);
    let turn = client.until("tts:stop");
    assert_eq!(kinds(&turn), TURN);
    let ms = heard_ms(&turn);
    assert!((600..=1_300).contains(&ms), "the voice, its pre-roll and its tail: {ms} ms");
    client.quiet(300);
}

#[test]
fn item_25_a_human_voice_over_opus_is_one_turn() {
    let rig = Rig::with(&[("vad.engine", r#""auto""#), ("llm.script", r#"["Ok."]"#)]);
    let wav = std::fs::read("tests/data/zh-aishell-BAC009S0724W0121.wav").unwrap();
    let mut pcm: Vec<i16> = wav[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    let spoken_ms = pcm.len() / 16;
    // With the silence that ends it just what may come at once: 5 s.
    pcm.resize(pcm.len() + 640 * 16, 0);
    let mut client = rig.opus_device();
    client.listen("start", "auto");
    for packet in sound::encode(EncoderSettings::device(16_000), 60, &pcm) {
        client.send_packet(&packet);
    }
    let turn = client.until("tts:stop");
    assert_eq!(kinds(&turn), TURN);
    let ms = heard_ms(&turn);
    assert!(ms * 2 > spoken_ms && ms < spoken_ms + 1_000, "{ms} of {spoken_ms} ms");
}

#[test]
fn item_26_a_button_held_is_one_turn_with_all_audio_between() {
    let rig = brief();
    let mut client = rig.device();
    client.listen("start", "manual");
    client.sound(600, true);
    client.sound(1_500, false);
    client.sound(600, true);
    client.listen("stop", "");
    let turn = client.until("tts:stop");
    assert_eq!(kinds(&turn), TURN);
    assert_eq!(heard_ms(&turn), 2_700, "silence inside neither ends it nor is left out");
    client.quiet(300);
}

#[test]
fn item_27_a_button_without_speech_says_nothing_and_breaks_nothing() {
    let rig = brief();
    let mut client = rig.device();
    client.listen("start", "manual");
    client.sound(1_200, false);
    client.listen("stop", "");
    client.listen("start", "manual");
    client.listen("stop", "");
    client.quiet(500);
    client.listen("start", "manual");
    client.sound(600, true);
    client.listen("stop", "");
    assert_eq!(kinds(&client.until("tts:stop")), TURN);
}

#[test]
fn item_28_a_typed_text_is_answered_as_a_turn() {
    let rig = Rig::new();
    let mut client = rig.device();
    client.detect("what is new?");
    let turn = client.until("tts:stop");
    assert_eq!(kinds(&turn), TURN);
    assert_eq!(turn[0].text(), "what is new");
    assert_eq!(turn[3].text(), "You said: what is new?");
}

#[test]
fn item_29_a_wake_word_is_greeted_and_never_asked() {
    let rig = brief();
    let say = |word| {
        let mut client = rig.device();
        client.detect(word);
        (word, client)
    };
    for (word, mut client) in ["你好小智", "嘿，你好呀", "Hi, ESP", "Jarvis!"].map(say) {
        let greeting = client.until("tts:stop");
        assert_eq!(kinds(&greeting), ["tts:start", "tts:sentence_start", "packet", "tts:stop"], "{word}");
        assert!(["Hi.", "在。"].contains(&greeting[1].text()), "{word}: {:?}", greeting[1]);
        client.quiet(100);
    }
}

#[test]
fn item_29_without_a_greeting_a_wake_word_is_silent_and_speech_is_heard() {
    let rig = Rig::with(&[("session.greeting", "false"), ("llm.script", r#"["Ok."]"#)]);
    let mut client = rig.device();
    client.detect("你好小智");
    client.listen("start", "auto");
    client.quiet(400);
    client.utterance(600);
    assert_eq!(kinds(&client.until("tts:stop")), TURN);
}

#[test]
fn item_30_listen_start_right_behind_detect_cancels_nothing() {
    let rig = brief();
    let cases = [("你好小智", "auto"), ("你好小智", "realtime"), ("a question", "auto"), ("a question", "realtime")];
    let mut clients = cases.map(|(text, mode)| {
        let mut client = rig.device();
        client.detect(text);
        client.listen("start", mode);
        client
    });
    for (client, case) in clients.iter_mut().zip(cases) {
        let all = client.until("tts:stop");
        assert_eq!(count(&all, "packet"), 5, "{case:?}: {:?}", kinds(&all));
        // And it has been heard: what is said now is recognised.
        client.utterance(600);
    }
    for (client, case) in clients.iter_mut().zip(cases) {
        assert_eq!(kinds(&client.until("tts:stop")), TURN, "{case:?}");
    }
}

#[test]
fn item_31_detect_right_behind_listen_start_is_answered() {
    let rig = brief();
    let ask = |mode| {
        let mut client = rig.device();
        client.listen("start", mode);
        client.detect("a question");
        (mode, client)
    };
    for (mode, mut client) in ["manual", "auto", "realtime"].map(ask) {
        let all = client.until("tts:stop");
        assert_eq!((kinds(&all), all[0].text()), (TURN.map(String::from).to_vec(), "a question"), "{mode}");
        client.quiet(200);
    }
}

#[test]
fn item_32_listen_start_twice_is_as_once() {
    let rig = brief();
    let speak = |mode, starts| {
        let mut client = rig.device();
        (0..starts).for_each(|_| client.listen("start", mode));
        client.utterance(600);
        if mode == "manual" {
            client.listen("stop", "");
        }
        client
    };
    let heard = |mut client: Client| {
        let turn = client.until("tts:stop");
        assert_eq!(kinds(&turn), TURN);
        client.quiet(100);
        heard_ms(&turn)
    };
    for (mode, twice, once) in ["auto", "manual", "realtime"].map(|mode| (mode, speak(mode, 2), speak(mode, 1))) {
        assert_eq!(heard(twice), heard(once), "{mode}");
    }
}

#[test]
fn item_33_in_auto_mode_we_listen_again_by_ourselves() {
    let rig = brief();
    let mut client = rig.device();
    // The browser page sends one start for ever, and never stops streaming.
    client.listen("start", "auto");
    for turn in 0..3 {
        client.utterance(600);
        assert_eq!(kinds(&client.until("tts:stop")), TURN, "turn {turn}");
        client.sound(300, false);
    }
}

#[test]
fn item_34_in_realtime_mode_one_start_serves_any_number_of_turns() {
    let rig = brief();
    let mut client = rig.device();
    client.listen("start", "realtime");
    for turn in 0..3 {
        client.utterance(600);
        assert_eq!(kinds(&client.until("tts:stop")), TURN, "turn {turn}");
        client.sound(300, false);
    }
}

#[test]
fn item_35_in_realtime_mode_speech_over_our_reply_ends_it_and_is_the_next_turn() {
    let rig = slow();
    let mut client = rig.device();
    client.listen("start", "realtime");
    client.utterance(600);
    client.until("packet");
    let begin = Instant::now();
    client.sound(480, true);
    let rest = client.until("tts:stop");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert!(count(&rest, "packet") < 20, "of {}: {}", STORY.len(), count(&rest, "packet"));
    client.sound(480, true);
    client.sound(900, false);
    let next = client.until("tts:start");
    assert_eq!(kinds(&next), ["stt", "tts:start"], "nothing of the old reply comes first");
    assert!(heard_ms(&next) >= 960, "the words that interrupted belong to it");
}

#[test]
fn item_36_what_is_said_while_we_think_or_speak_changes_nothing() {
    let rig = slow();
    let speak = |mode| {
        let mut client = rig.device();
        client.listen("start", mode);
        client.utterance(600);
        if mode == "manual" {
            client.listen("stop", "");
        }
        // Three or four packets are always under way when the reply begins; the browser page never stops at all.
        client.sound(240, true);
        let turn = client.until("packet");
        client.utterance(600);
        (mode, client, turn)
    };
    for (mode, mut client, mut turn) in ["auto", "manual"].map(speak) {
        turn.extend(client.until("tts:stop"));
        assert_eq!(kinds(&turn), TURN, "{mode}");
        assert_eq!(count(&turn, "packet"), STORY.len(), "{mode}");
        client.quiet(300);
    }
}

/// A typed question whose reply is played now.
fn speaking(rig: &Rig) -> Client {
    let mut client = rig.device();
    client.detect("tell me");
    client.until("packet");
    client
}

/// A typed question that the model does not answer.
fn thinking(rig: &Rig) -> Client {
    let mut client = rig.device();
    client.detect("tell me");
    client.until("tts:start");
    client
}

#[test]
fn item_37_the_button_cancels_a_reply_that_is_pending_or_played() {
    let (slow, mute) = (slow(), mute());
    for (state, mut client) in [("speaking", speaking(&slow)), ("thinking", thinking(&mute))] {
        client.listen("start", "manual");
        let rest = client.until("tts:stop");
        assert!(count(&rest, "packet") < 20, "{state}");
        client.sound(600, true);
        client.listen("stop", "");
        let next = client.until("tts:start");
        assert_eq!(kinds(&next), ["stt", "tts:start"], "{state}");
        assert_eq!(heard_ms(&next), 600, "{state}");
    }
}

#[test]
fn item_38_a_text_typed_while_we_speak_takes_the_replys_place() {
    let rig = slow();
    let mut client = speaking(&rig);
    client.detect("something else");
    let all = client.until("stt");
    let order = kinds(&all);
    assert_eq!(order[order.len() - 2..], ["tts:stop", "stt"], "the old one is over first: {order:?}");
    assert_eq!(all.last().unwrap().text(), "something else");
    assert_eq!(kinds(&client.until("tts:start")), ["tts:start"]);
}

#[test]
fn item_39_audio_before_the_first_listen_start_is_no_utterance() {
    let rig = brief();
    let mut client = rig.device();
    client.utterance(900);
    client.quiet(300);
    client.listen("start", "auto");
    client.sound(900, false);
    client.quiet(300);
}

#[test]
fn item_40_a_burst_of_33_packets_is_taken_whole() {
    let rig = brief();
    let mut client = rig.opus_device();
    client.listen("start", "manual");
    let packets = sound::device_packets(60, 33 * 60);
    assert_eq!(packets.len(), 33);
    packets.iter().for_each(|packet| client.send_packet(packet));
    client.listen("stop", "");
    assert_eq!(heard_ms(&client.until("tts:stop")), 1_980);
}

#[test]
fn item_41_audio_behind_listen_stop_is_no_utterance() {
    let rig = brief();
    let mut client = rig.device();
    client.listen("start", "manual");
    client.sound(600, true);
    client.listen("stop", "");
    client.utterance(600);
    let turn = client.until("tts:stop");
    assert_eq!(heard_ms(&turn), 600);
    client.utterance(600);
    client.quiet(400);
}

#[test]
fn item_43_no_packet_comes_together_with_tts_start() {
    let rig = brief();
    let mut client = rig.device();
    client.detect("a question");
    let all = client.timed_until("packet");
    let at = |kind: &str| all.iter().find(|(_, got)| got.kind() == kind).map(|(at, _)| *at).unwrap();
    // 60 ms, of which a slow reader may miss some; the exact instant stands in `virtual_time`.
    assert!(at("packet") - at("tts:start") >= Duration::from_millis(20));
}

#[test]
fn item_44_each_sentence_is_announced_between_the_packets_of_its_neighbours() {
    let sentences = ["This is one.", "Now two.", "Three."];
    let rig = Rig::with(&[("llm.script", &format!("[{:?}]", sentences.join(" ")))]);
    let mut client = rig.device();
    client.detect("count");
    let all = client.until("tts:stop");
    let body: Vec<&Got> = all.iter().skip_while(|got| got.kind() != "tts:sentence_start").collect();
    let mut rest = &body[..];
    for sentence in sentences {
        assert_eq!((rest[0].kind().as_str(), rest[0].text()), ("tts:sentence_start", sentence));
        // 60 ms of sound for each character: the synthesiser's own rule.
        let packets = sentence.len();
        assert!(rest[1..=packets].iter().all(|got| got.kind() == "packet"), "{sentence}");
        rest = &rest[packets + 1..];
    }
    assert_eq!(rest.len(), 1, "then `tts stop`: {rest:?}");
}

#[test]
fn item_45_one_emotion_comes_after_tts_start_with_a_name_from_the_list() {
    let names = "neutral happy laughing funny sad angry crying loving embarrassed surprised shocked thinking winking cool \
                 relaxed delicious kissy confident sleepy silly confused";
    let rig = Rig::with(&[("llm.script", r#"["Ha 😂! So 😔.", "Four.", "🤔 Hm."]"#)]);
    let mut client = rig.device();
    for expected in ["funny", "neutral", "thinking"] {
        client.detect("a question");
        let all = client.until("tts:stop");
        let emotions: Vec<&Value> = all
            .iter()
            .filter_map(|got| if let Got::Json(value) = got { Some(value) } else { None })
            .filter(|value| value["type"] == "llm")
            .collect();
        assert_eq!(emotions.len(), 1, "{emotions:?}");
        assert_eq!(emotions[0]["emotion"], expected);
        assert!(names.split_whitespace().any(|name| name == expected));
        assert!(emotions[0]["text"].as_str().is_some_and(|text| text.chars().count() == 1));
        assert_eq!(kinds(&all)[..3], ["stt", "tts:start", "llm"]);
    }
}

#[test]
fn item_46_who_wants_no_emoji_gets_no_emotion() {
    let rig = brief();
    let mut client = Client::connect(rig.device);
    client.hello(json!({"features": {"emoji": false}}));
    client.detect("a question");
    let all = client.until("tts:stop");
    assert_eq!(kinds(&all), ["stt", "tts:start", "tts:sentence_start", "packet", "tts:stop"]);
}

#[test]
fn item_47_nothing_that_the_browser_page_would_print_is_sent_unasked() {
    let rig = brief();
    let mut client = Client::connect(rig.device);
    let mut all = vec![Got::Json(client.hello(json!({"features": {"mcp": true, "emoji": true}})))];
    client.detect("嘿，你好呀");
    client.listen("start", "auto");
    all.extend(client.until("tts:stop"));
    for packet in
        sound::device_packets(60, 600).iter().chain(&sound::encode(EncoderSettings::device(16_000), 60, &[0; 14_400]))
    {
        client.send_packet(packet);
    }
    all.extend(client.until("tts:stop"));
    client.abort();
    client.detect("goodbye");
    all.extend(client.until("close 1000"));
    let known = ["hello", "stt", "llm", "tts:start", "tts:sentence_start", "tts:stop", "packet", "ping", "close 1000"];
    for kind in kinds(&all) {
        assert!(known.contains(&kind.as_str()), "{kind}");
    }
}

#[test]
fn item_48_after_an_abort_no_more_than_the_lead_is_heard() {
    let leads = [("60", 1), ("180", 3), ("360", 6)];
    let rigs = leads.map(|(lead_ms, _)| Rig::with(&[("audio.lead_ms", lead_ms), ("llm.script", r#"["!long 60"]"#)]));
    for (rig, (lead_ms, frames)) in rigs.iter().zip(leads) {
        let mut client = rig.device();
        client.detect("tell me");
        let mut all: Vec<(Instant, Got)> = client.timed_until("packet");
        all.extend((0..8).flat_map(|_| client.timed_until("packet")));
        let aborted = Instant::now();
        client.abort();
        all.extend(client.timed_until("tts:stop"));
        assert!(aborted.elapsed() < Duration::from_millis(500), "lead {lead_ms}");
        let packets: Vec<Instant> = all.iter().filter(|(_, got)| got.kind() == "packet").map(|(at, _)| *at).collect();
        let last_heard = packets[0] + Duration::from_millis(60) * packets.len() as u32;
        let latency = last_heard.saturating_duration_since(aborted);
        assert!(latency <= Duration::from_millis(60 * frames + 200), "lead {lead_ms}: {latency:?}");
        client.quiet(100);
    }
}

#[test]
fn item_48_a_lead_of_more_than_six_packets_is_refused() {
    let text = "[audio]\nlead_ms = 361\n";
    let loaded =
        voxlane::config::parse(Some((std::path::Path::new("test.toml"), text)), &voxlane::config::Environment::new());
    let mistakes = loaded.expect_err("a mistake").to_string();
    assert!(mistakes.contains("lead_ms"), "{mistakes}");
}

#[test]
fn item_49_a_goodbye_is_answered_and_then_the_door_closes() {
    let rig = Rig::with(&[("asr.script", r#"["Goodbye!"]"#), ("phrases.farewell_en", r#""Bye.""#)]);
    let mut client = rig.device();
    client.listen("start", "auto");
    client.utterance(600);
    let all = client.until("close 1000");
    let order = ["stt", "tts:start", "tts:sentence_start", "packet", "tts:stop", "close 1000"];
    assert_eq!((kinds(&all), all[2].text()), (order.map(String::from).to_vec(), "Bye."));
    assert_eq!(client.next(PATIENCE), Some(Got::End));
}
