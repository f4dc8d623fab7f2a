//! The real speech model: human recordings and espeak-ng's voice are understood, silence and noise are not words.
//!
//! Needs the model that `./tools/test` sets up; without it these tests fail and say so.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use support::sound::encode;
use support::{Client, Got, Rig, kinds};
use voxlane::audio::block::Speech;
use voxlane::audio::opus::{Decoder, EncoderSettings};
use voxlane::audio::resample::Resampler;
use voxlane::format::{Lang, ReplyFormat};
use voxlane::job::{Cancel, Recognise, Speak, Transcript};
use voxlane::providers::espeak::Espeak;
use voxlane::providers::whisper::{Whisper, WhisperModel};
use voxlane::providers::{Call, Flow, Recogniser, Synthesiser, model};
use voxlane::resilience::fault::Cause;
use voxlane::time::Clock;

const ENGLISH: &str = "it was the first great sorrow of his life it was not so much the loss of the cotton itself but the fantasy \
the hopes the dreams built around it";
const CHINESE: &str = "广州市房地产中介协会分析";

#[test]
fn an_english_recording_is_understood() {
    let heard = recognise(&recording("en-librispeech-1995-1837-0001.wav"), None, Lang::EN);
    let rate = error_rate(&words(ENGLISH), &words(&heard.text));
    assert!(rate <= 0.10, "{:.0} % of the words are wrong: {}", rate * 100.0, heard.text);
    assert_eq!(heard.language, Some(Lang::EN));
}

#[test]
fn a_chinese_recording_is_understood_in_simplified_characters() {
    for hint in [Lang::ZH, Lang::EN] {
        let heard = recognise(&recording("zh-aishell-BAC009S0724W0121.wav"), None, hint);
        let rate = error_rate(&characters(CHINESE), &characters(&heard.text));
        assert!(rate <= 0.20, "{:.0} % of the characters are wrong: {}", rate * 100.0, heard.text);
        assert_eq!(heard.language, Some(Lang::ZH));
    }
}

#[test]
fn a_question_by_espeak_is_understood() {
    let question = "What is twelve times three?";
    let heard = recognise(&spoken(question), Some(Lang::EN), Lang::EN);
    // The model may write numbers as digits.
    let text = heard.text.replace("12", "twelve").replace('3', "three");
    let rate = error_rate(&words(question), &words(&text));
    assert!(rate <= 0.20, "{}", heard.text);
}

#[test]
fn silence_noise_and_clicks_are_no_words() {
    let mut seed = 7u32;
    let mut noise = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as i16 / 64
    };
    let noise: Vec<i16> = (0..32_000).map(|_| noise()).collect();
    let clicks: Vec<i16> = (0..32_000).map(|i| if i % 4_000 < 20 { 12_000 } else { 0 }).collect();
    for (name, pcm) in
        [("silence", vec![0; 32_000]), ("noise", noise), ("clicks", clicks), ("too short", vec![900; 2_000])]
    {
        for language in [Some(Lang::EN), Some(Lang::ZH)] {
            let heard = recognise(&pcm, language, Lang::EN);
            assert_eq!(heard.text, "", "{name}");
        }
    }
}

#[test]
fn a_recognition_can_be_taken_back_and_has_a_deadline() {
    let pcm = recording("en-librispeech-1995-1837-0001.wav");
    let how = Recognise { language: Some(Lang::EN), hint: Lang::EN };
    let mut whisper = recogniser();
    let cancelled = call(Duration::from_secs(60));
    cancelled.cancel.cancel();
    assert_eq!(whisper.recognise(Speech::Samples(&pcm), &how, &cancelled).unwrap_err().cause, Cause::Cancelled);
    let late = call(Duration::from_millis(20));
    assert_eq!(whisper.recognise(Speech::Samples(&pcm), &how, &late).unwrap_err().cause, Cause::Timeout);
    // The state is of use afterwards.
    let again = whisper.recognise(Speech::Samples(&pcm), &how, &call(Duration::from_secs(60))).unwrap();
    assert!(again.text.to_lowercase().contains("sorrow"), "{}", again.text);
}

/// The whole way: real Opus in, the detectors, Whisper, the built-in responder, espeak-ng, real Opus out, over a socket.
#[test]
fn over_a_socket_questions_are_understood_and_answered_aloud() {
    let overrides = [
        ("vad.engine", r#""auto""#),
        ("asr.provider", r#""whisper""#),
        ("llm.provider", r#""builtin""#),
        ("tts.provider", r#""espeak""#),
    ];
    let rig = Rig::with(&overrides);

    let mut client = rig.opus_device();
    let question = "What is twelve times three?";
    let turn = say(&mut client, &spoken(question), "tts:stop");
    assert_eq!(kinds(&turn), ["stt", "tts:start", "llm", "tts:sentence_start", "packet", "tts:stop"]);
    let heard = turn[0].text().replace("12", "twelve").replace('3', "three");
    let rate = error_rate(&words(question), &words(&heard));
    assert!(rate <= 0.20, "{:.0} % of the words are wrong: {heard}", rate * 100.0);
    let shown = turn.iter().find(|got| got.kind() == "tts:sentence_start").unwrap().text().to_owned();
    assert!(shown.contains("36"), "{shown}");
    // What the device plays is what was shown: recognised again, it has the result in it.
    let again = recognise(&played(&turn), Some(Lang::EN), Lang::EN).text;
    assert!(
        again.contains("36") || again.to_lowercase().contains("thirty-six"),
        "shown {shown:?}, heard again {again:?}"
    );

    let mut client = rig.opus_device();
    let turn = say(&mut client, &recording("zh-aishell-BAC009S0724W0121.wav"), "packet");
    assert_eq!(kinds(&turn), ["stt", "tts:start", "llm", "tts:sentence_start", "packet"]);
    let rate = error_rate(&characters(CHINESE), &characters(turn[0].text()));
    assert!(rate <= 0.20, "{:.0} % of the characters are wrong: {}", rate * 100.0, turn[0].text());
    let answer = turn[3].text();
    assert!(answer.starts_with("我还没有接上语言模型"), "the answer is in Chinese: {answer}");
    client.abort();
    let mut all = turn;
    all.extend(client.until("tts:stop"));
    assert!(played(&all).iter().any(|sample| sample.abs() > 1_000), "it is spoken");
}

/// Says this in packets of 60 ms, with the silence that ends it, and returns all that comes up to `kind`.
fn say(client: &mut Client, pcm: &[i16], kind: &str) -> Vec<Got> {
    let mut pcm = pcm.to_vec();
    pcm.resize(pcm.len() + 640 * 16, 0);
    assert!(pcm.len() <= 5 * 16_000, "no more than may come at once");
    client.listen("start", "auto");
    encode(EncoderSettings::device(16_000), 60, &pcm).iter().for_each(|packet| client.send_packet(packet));
    client.until(kind)
}

/// The reply as a device plays it, then resampled to what a recogniser hears.
fn played(all: &[Got]) -> Vec<i16> {
    let mut decoder = Decoder::new(24_000).unwrap();
    let mut frame = vec![0; decoder.samples_max()];
    let mut resampler = Resampler::new(24_000, 16_000).unwrap();
    let mut out = Vec::new();
    for got in all {
        let Got::Packet(packet) = got else { continue };
        let samples = decoder.decode(packet, &mut frame).expect("an Opus packet");
        resampler.process(&frame[..samples], &mut out);
    }
    resampler.flush(&mut out);
    out
}

fn recognise(pcm: &[i16], language: Option<Lang>, hint: Lang) -> Transcript {
    recogniser().recognise(Speech::Samples(pcm), &Recognise { language, hint }, &call(Duration::from_secs(60))).unwrap()
}

fn recogniser() -> Whisper {
    static MODEL: OnceLock<Arc<WhisperModel>> = OnceLock::new();
    let load = || WhisperModel::load(&model::default_path()).unwrap_or_else(|why| panic!("run ./tools/test: {why}"));
    MODEL.get_or_init(load).recogniser(Clock::start()).unwrap()
}

fn call(time: Duration) -> Call {
    let clock = Clock::start();
    Call { clock, deadline: clock.now() + time, cancel: Cancel::new(), ticket: Default::default() }
}

fn recording(name: &str) -> Vec<i16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let bytes = std::fs::read(&path).unwrap();
    // Both files have the plain header of 44 bytes.
    bytes[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

/// 16 kHz samples of espeak-ng's English voice.
fn spoken(text: &str) -> Vec<i16> {
    let call = call(Duration::from_secs(10));
    let format = ReplyFormat::DEFAULT;
    let what = Speak { sentence: 0, text: text.to_owned(), language: Lang::EN, format, first_byte_by: call.deadline };
    let (mut pcm, mut rate) = (Vec::new(), 0);
    let mut take = |sound: voxlane::providers::Sound<'_>| {
        pcm.extend_from_slice(sound.pcm);
        rate = sound.rate;
        Flow::Continue
    };
    Espeak::default().speak(&what, &call, &mut take).unwrap();
    let mut out = Vec::new();
    let mut resampler = Resampler::new(rate, 16_000).unwrap();
    resampler.process(&pcm, &mut out);
    resampler.flush(&mut out);
    out
}

fn words(text: &str) -> Vec<String> {
    let plain: String = text.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    plain.split_whitespace().map(str::to_owned).collect()
}

fn characters(text: &str) -> Vec<String> {
    text.chars().filter(|c| c.is_alphanumeric()).map(String::from).collect()
}

/// Least number of changes (Levenshtein) over the length of what was said.
fn error_rate(said: &[String], heard: &[String]) -> f64 {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, a) in said.iter().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, b) in heard.iter().enumerate() {
            let change = before + usize::from(a != b);
            before = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(before + 1);
        }
    }
    row[heard.len()] as f64 / said.len() as f64
}
