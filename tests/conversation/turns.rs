//! Conversations in which nothing fails.

use crate::support::sound::{device_packets, framed_v2, framed_v3};
use crate::support::{Client, Got, PATIENCE, Rig, fresh_id, kinds};
use crate::{TURN, count, heard, packets_of_sentences, sentences};
use serde_json::json;
use voxlane::audio::opus::Decoder;

#[test]
fn in_every_mode_the_reply_is_to_what_was_said() {
    for mode in ["auto", "manual", "realtime"] {
        let mut client = Rig::shared().device();
        client.listen("start", mode);
        client.utterance(600);
        if mode == "manual" {
            client.listen("stop", "");
        }
        let turn = client.until("tts:stop");
        assert_eq!(kinds(&turn), TURN, "{mode}");
        let said = format!("You said: {}", heard(&turn));
        assert_eq!(sentences(&turn), [said.as_str()], "{mode}");
        assert_eq!(packets_of_sentences(&turn), [said.len()], "{mode}: 60 ms for each character");
    }
}

#[test]
fn an_opus_device_hears_the_voice_in_whole_packets() {
    let mut client = Rig::shared().opus_device();
    client.listen("start", "manual");
    device_packets(60, 600).iter().for_each(|packet| client.send_packet(packet));
    client.listen("stop", "");
    let turn = client.until("tts:stop");
    assert_eq!(kinds(&turn), TURN);
    assert_eq!(heard(&turn), "utterance of 600 ms");
    let packets =
        turn.iter().filter_map(|got| if let Got::Packet(packet) = got { Some(packet.as_slice()) } else { None });
    is_a_hum(packets, "You said: utterance of 600 ms".len());
}

#[test]
fn framed_devices_converse_in_their_framing() {
    for version in [2, 3] {
        let set = |request: &mut tungstenite::http::Request<()>| {
            request.headers_mut().insert("Protocol-Version", version.to_string().parse().unwrap());
        };
        let mut client = Client::connect_as(Rig::shared().device, &fresh_id(), set).expect("upgrade");
        client.hello(json!({"version": version}));
        client.listen("start", "manual");
        for (i, packet) in device_packets(60, 300).iter().enumerate() {
            client.send_packet(&if version == 2 { framed_v2(packet, i as u32 * 60) } else { framed_v3(packet) });
        }
        client.listen("stop", "");
        let turn = client.until("tts:stop");
        assert_eq!((kinds(&turn), heard(&turn)), (TURN.map(String::from).to_vec(), "utterance of 300 ms"));
        let header = if version == 2 { 16 } else { 4 };
        let packets =
            turn.iter().filter_map(|got| if let Got::Packet(packet) = got { packet.get(header..) } else { None });
        is_a_hum(packets, "You said: utterance of 300 ms".len());
    }
}

/// Decodes: so many packets of 60 ms, loud in the middle.
fn is_a_hum<'a>(packets: impl Iterator<Item = &'a [u8]>, expected: usize) {
    let mut decoder = Decoder::new(24_000).unwrap();
    let mut pcm = vec![0; decoder.samples_max()];
    let loudness: Vec<f64> = packets
        .map(|packet| {
            assert_eq!(decoder.decode(packet, &mut pcm), Ok(1_440));
            (pcm[..1_440].iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 1_440.0).sqrt()
        })
        .collect();
    assert_eq!(loudness.len(), expected);
    assert!(loudness[1..expected - 1].iter().all(|rms| (1_000.0..4_000.0).contains(rms)), "{loudness:?}");
}

#[test]
fn a_conversation_goes_on_for_turns_in_every_mode_and_between_modes() {
    let rig = Rig::with(&[("llm.script", r#"["Ok."]"#)]);
    let mut client = rig.device();
    for mode in ["auto", "auto", "realtime", "realtime", "manual", "manual", "auto"] {
        client.listen("start", mode);
        client.utterance(300);
        if mode == "manual" {
            client.listen("stop", "");
        }
        assert_eq!(kinds(&client.until("tts:stop")), TURN, "{mode}");
    }
    rig.metric_reaches("voxlane_turns_total", r#"event="complete""#, 7.0);
    assert_eq!(rig.metric("voxlane_turns_total", r#"event="started""#), 7.0);
}

#[test]
fn in_realtime_whoever_interrupts_is_heard_and_may_be_interrupted_again() {
    let rig = Rig::with(&[("tts.script", r#"["!long 3000"]"#), ("llm.script", r#"["A long story."]"#)]);
    let mut client = rig.device();
    client.listen("start", "realtime");
    client.utterance(600);
    client.until("packet");
    for times in 1..=3 {
        client.sound(600, true);
        let cut = client.until("tts:stop");
        assert!(count(&cut, "packet") < 40, "of 50, at interruption {times}");
        client.sound(900, false);
        let next = client.until("packet");
        assert_eq!(kinds(&next), ["stt", "tts:start", "llm", "tts:sentence_start", "packet"]);
    }
    assert_eq!(count(&client.until("tts:stop"), "tts:stop"), 1);
    rig.metric_reaches("voxlane_barge_ins_total", "", 3.0);
    assert_eq!(rig.metric("voxlane_barge_ins_total", ""), 3.0);
}

#[test]
fn exit_words_end_the_conversation_in_the_users_language() {
    let rig = Rig::with(&[
        ("asr.script", r#"["Good bye!", "再见。", "退出", "EXIT."]"#),
        ("phrases.farewell_en", r#""Bye.""#),
        ("phrases.farewell_zh", r#""再会。""#),
    ]);
    for (word, farewell) in [("Good bye", "Bye."), ("再见", "再会。"), ("退出", "再会。"), ("EXIT", "Bye.")] {
        let mut client = rig.device();
        client.listen("start", "auto");
        client.utterance(300);
        let all = client.until("close 1000");
        assert_eq!(kinds(&all), ["stt", "tts:start", "tts:sentence_start", "packet", "tts:stop", "close 1000"]);
        assert_eq!((heard(&all), sentences(&all)), (word, vec![farewell]));
        assert_eq!(client.next(PATIENCE), Some(Got::End));
    }
}

#[test]
fn a_wake_word_is_greeted_and_the_question_after_it_answered() {
    let rig = Rig::with(&[("llm.script", r#"["Ok."]"#), ("phrases.wake_reply_en", r#""Hi.""#)]);
    let mut client = rig.device();
    client.detect("你好小智");
    client.listen("start", "auto");
    let greeting = client.until("tts:stop");
    assert_eq!(kinds(&greeting), ["tts:start", "tts:sentence_start", "packet", "tts:stop"]);
    assert_eq!((sentences(&greeting), packets_of_sentences(&greeting)), (vec!["Hi."], vec![5]));
    client.utterance(300);
    assert_eq!(kinds(&client.until("tts:stop")), TURN);
}

#[test]
fn what_is_typed_is_answered_like_what_is_said() {
    let mut client = Rig::shared().device();
    client.detect("how are you?");
    let turn = client.until("tts:stop");
    assert_eq!((kinds(&turn), sentences(&turn)), (TURN.map(String::from).to_vec(), vec!["You said: how are you?"]));
    client.send(json!({"session_id": client.session, "type": "text", "text": "and you?"}));
    let turn = client.until("tts:stop");
    assert_eq!((kinds(&turn), sentences(&turn)), (TURN.map(String::from).to_vec(), vec!["You said: and you?"]));
    // Typed and spoken may take turns.
    client.listen("start", "auto");
    client.utterance(300);
    assert_eq!(kinds(&client.until("tts:stop")), TURN);
}
