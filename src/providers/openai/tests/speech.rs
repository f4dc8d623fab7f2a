use super::*;
use crate::audio::block::Speech;
use crate::format::{Lang, ReplyFormat};
use crate::job::{Recognise, Speak, Transcript};
use crate::limits;
use crate::providers::openai::asr::{AsrConfig, OpenAiAsr};
use crate::providers::openai::tts::{OpenAiTts, TtsConfig};
use crate::providers::sound::Encoding;
use crate::providers::stub::{Step, answer, chunk, chunked};
use crate::providers::{Flow, Recogniser, Synthesiser};
use crate::resilience::fault::{Cause, Fault};
use crate::time::Instant;

fn recognise(stub: &Stub, samples: usize, language: Option<Lang>, unknown: Option<&str>) -> Result<Transcript, Fault> {
    let language_unknown = unknown.map(str::to_owned);
    let config = AsrConfig { service: service(stub), language: None, language_unknown, verbose: unknown.is_some() };
    let mut asr = OpenAiAsr::new(config).unwrap();
    asr.recognise(Speech::Samples(&vec![257; samples]), &Recognise { language, hint: Lang::EN }, &call(LONG))
}

fn json(text: &str) -> Vec<Step> {
    vec![answer(200, "application/json", text.as_bytes())]
}

#[test]
fn an_utterance_goes_as_a_form_with_a_wav() {
    let stub = Stub::new(vec![json(r#"{"text":" Hello there. "}"#), json(r#"{"text":"你好","language":"chinese"}"#)]);
    let said = recognise(&stub, 1_600, Some(Lang::EN), None).unwrap();
    assert_eq!((said.text.as_str(), said.language), ("Hello there.", Some(Lang::EN)));
    let said = recognise(&stub, 1_600, None, Some("auto")).unwrap();
    assert_eq!((said.text.as_str(), said.language), ("你好", Some(Lang::ZH)));

    let asked = stub.asked();
    assert!(asked[0].head.contains("content-type: multipart/form-data; boundary="), "{}", asked[0].head);
    let form = String::from_utf8_lossy(&asked[0].body);
    for part in ["name=\"file\"; filename=\"utterance.wav\"", "audio/wav", "name=\"model\"\r\n\r\nm-1\r\n"] {
        assert!(form.contains(part), "{part} in {form}");
    }
    assert!(form.contains("name=\"response_format\"\r\n\r\njson\r\n"), "{form}");
    assert!(form.contains("name=\"language\"\r\n\r\nen\r\n"), "{form}");
    let wav = asked[0].body.windows(4).position(|w| w == b"RIFF").unwrap();
    assert_eq!(asked[0].body[wav + 44..wav + 44 + 3_200], [1; 3_200]);
    let form = String::from_utf8_lossy(&asked[1].body);
    assert!(form.contains("\r\n\r\nverbose_json\r\n") && form.contains("name=\"language\"\r\n\r\nauto\r\n"), "{form}");
}

#[test]
fn a_recogniser_may_answer_anything() {
    let flood = serde_json::json!({ "text": "x".repeat(1_000_000) }).to_string();
    let too_much = serde_json::json!({ "text": "x".repeat(limits::SERVICE_JSON_BYTES) }).to_string();
    let stub = Stub::new(vec![
        json(r#"{"text":"  "}"#),
        json(&flood),
        json(&too_much),
        json(r#"{"error":{"code":"bad_model"}}"#),
        json("[]"),
        vec![answer(200, "text/html", b"<html>")],
        json(r#"{"text":null}"#),
    ]);
    let next = || recognise(&stub, 4_800, None, None).map(|t| t.text.len()).map_err(|f| f.cause);
    assert_eq!(next(), Ok(0));
    assert_eq!(next(), Ok(limits::TRANSCRIPT_BYTES));
    for _ in 0..5 {
        assert_eq!(next(), Err(Cause::Malformed));
    }
    // Too short for words and for the service.
    assert_eq!(recognise(&stub, 1_599, None, None).unwrap().text, "");
    assert_eq!(stub.asked().len(), 7);
}

fn speak(stub: &Stub, encoding: Encoding, call: &Call) -> (usize, u32, Result<(), Fault>) {
    let config = TtsConfig { service: service(stub), voice: String::new(), encoding, speed: None };
    let mut tts = OpenAiTts::new(config).unwrap();
    let what = Speak {
        sentence: 3,
        text: "Hello.".to_owned(),
        language: Lang::EN,
        format: ReplyFormat::DEFAULT,
        first_byte_by: Instant::NEVER,
    };
    let (mut samples, mut rate) = (0, 0);
    let end = tts.speak(&what, call, &mut |sound| {
        samples += sound.pcm.len();
        rate = sound.rate;
        Flow::Continue
    });
    (samples, rate, end)
}

const PCM: Encoding = Encoding::Pcm { rate: 24_000 };

#[test]
fn a_sentence_is_spoken_as_it_comes() {
    let pieces = vec![chunked("audio/pcm"), chunk(&[1; 333]), chunk(&[1; 667]), chunk(b"")];
    let mp3 = include_bytes!("../../../../tests/data/tone-440hz-600ms.mp3");
    let stub = Stub::new(vec![pieces, vec![answer(200, "audio/mpeg", mp3)]]);
    assert_eq!(speak(&stub, PCM, &call(LONG)), (500, 24_000, Ok(())));
    let (samples, rate, end) = speak(&stub, Encoding::Mp3, &call(LONG));
    assert!(samples > 12_000 && rate == 22_050 && end == Ok(()), "{samples} at {rate}, {end:?}");
    let asked = stub.asked().remove(0);
    assert_eq!(asked.line, "POST /v1/audio/speech");
    let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    let expected = serde_json::json!({ "model": "m-1", "input": "Hello.", "voice": "alloy", "response_format": "pcm" });
    assert_eq!(body, expected);
}

#[test]
fn a_synthesiser_may_answer_anything() {
    let audio = |body: &[u8]| vec![answer(200, "audio/wav", body)];
    let cases: Vec<(Vec<Step>, Encoding, Result<(), Cause>)> = vec![
        (json(r#"{"error":{"message":"no voice"}}"#), PCM, Err(Cause::Malformed)),
        (vec![answer(200, "text/html; charset=utf-8", b"<html>")], PCM, Err(Cause::Malformed)),
        (audio(b""), PCM, Err(Cause::Malformed)),
        (audio(b"{\"error\":1}"), Encoding::Wav, Err(Cause::Malformed)),
        (audio(b"RIFF\0\0\0\0WAVE"), Encoding::Wav, Err(Cause::Malformed)),
        (vec![answer(503, "text/plain", b"")], PCM, Err(Cause::Unavailable)),
        (vec![answer(429, "text/plain", b"")], PCM, Err(Cause::Overload)),
        (vec![answer(400, "text/plain", b"")], PCM, Err(Cause::Refused)),
        (vec![chunked("audio/pcm"), chunk(&[0; 100]), Step::Reset], PCM, Err(Cause::Unavailable)),
    ];
    let expected: Vec<_> = cases.iter().map(|(_, encoding, end)| (*encoding, *end)).collect();
    let stub = Stub::new(cases.into_iter().map(|(steps, ..)| steps).collect());
    for (i, (encoding, end)) in expected.into_iter().enumerate() {
        assert_eq!(speak(&stub, encoding, &call(LONG)).2.map_err(|f| f.cause), end, "case {i}");
    }
}

#[test]
fn a_sentence_that_stalls_or_never_ends_is_ended() {
    let second = vec![0; 48_000];
    let piece = [b"bb80\r\n".as_slice(), &second, b"\r\n"].concat();
    let endless = Step::Drip(piece, Duration::from_micros(1));
    let stub = Stub::new(vec![
        vec![Step::Hang],
        vec![chunked("audio/pcm"), chunk(&[0; 960]), Step::Hang],
        vec![chunked("audio/pcm"), endless],
    ]);
    assert_eq!(speak(&stub, PCM, &call(SHORT)), (0, 0, Err(Fault::timeout("first audio"))));
    assert_eq!(speak(&stub, PCM, &call(SHORT)), (480, 24_000, Err(Fault::timeout("next audio"))));
    let most = limits::SENTENCE_AUDIO.as_secs() as usize * 24_000;
    assert_eq!(speak(&stub, PCM, &call(LONG)), (most, 24_000, Ok(())));
}

#[test]
fn a_cancel_ends_a_sentence() {
    let call = call(LONG);
    let stub =
        Stub::new(vec![vec![chunked("audio/pcm"), chunk(&[0; 960]), Step::Cancel(call.cancel.clone()), Step::Hang]]);
    assert_eq!(speak(&stub, PCM, &call).2, Err(Fault::cancelled()));
}
