//! The stand-ins over real sockets, asked by the server's own providers.

use std::io::{Read, Write};
use std::net::TcpStream;
use voxlane::audio::block::{Speech, pack};
use voxlane::audio::opus::{ENCODED_BYTES_MAX, Encoder, EncoderSettings};
use voxlane::format::{Codec, Lang, ReplyFormat};
use voxlane::job::{Cancel, Converse, Recognise, ReplyEnd, Role, Said, Speak};
use voxlane::providers::http::{HttpClient, HttpConfig};
use voxlane::providers::openai::Service;
use voxlane::providers::openai::asr::{AsrConfig, OpenAiAsr};
use voxlane::providers::openai::llm::{LlmConfig, OpenAiLlm};
use voxlane::providers::openai::tts::{OpenAiTts, TtsConfig};
use voxlane::providers::sound::Encoding;
use voxlane::providers::{Call, Flow, LanguageModel, Recogniser, Synthesiser};
use voxlane::resilience::fault::{Cause, Fault};
use voxlane::time::{Clock, Duration};
use voxlane_standins::profile::{Faults, Manner, Profile};
use voxlane_standins::{Config, Handle, Standins, identity};

/// Long enough for anything that is meant to succeed, on the busiest machine.
const LONG: u64 = 20_000;
/// Short, for what is meant not to come.
const SHORT: u64 = 300;

fn start(profile: Profile) -> Handle {
    Standins::start(Config::new(profile)).unwrap()
}

fn with_faults(faults: Faults) -> Handle {
    let manner = Manner { faults, ..Manner::default() };
    start(Profile { manners: [manner; 3], hang_s: 30.0, drip_ms: 20.0, ..Profile::R1 })
}

fn service(handle: &Handle) -> Service {
    let client = HttpClient::new(&HttpConfig::default()).unwrap();
    Service { client, base_url: handle.base_url(), model: "standin".to_owned(), api_key: None }
}

fn call(ms: u64) -> Call {
    let clock = Clock::start();
    Call { clock, deadline: clock.now() + Duration::from_millis(ms), cancel: Cancel::new(), ticket: Default::default() }
}

fn recognise(service: Service, pcm: &[i16], ms: u64) -> Result<String, Fault> {
    hear(service, Speech::Samples(pcm), ms)
}

fn hear(service: Service, speech: Speech<'_>, ms: u64) -> Result<String, Fault> {
    let config = AsrConfig { service, language: None, language_unknown: None, verbose: false };
    let how = Recognise { language: None, hint: Lang::EN };
    OpenAiAsr::new(config)?.recognise(speech, &how, &call(ms)).map(|said| said.text)
}

/// As a device's packets.
fn packets(pcm: &[i16]) -> Vec<i16> {
    let mut encoder = Encoder::with(EncoderSettings { complexity: 5, ..EncoderSettings::device(16_000) }).unwrap();
    let (mut packet, mut words, mut all) = ([0; ENCODED_BYTES_MAX], Vec::new(), Vec::new());
    for frame in pcm.chunks_exact(960) {
        let len = encoder.encode(frame, &mut packet).unwrap();
        pack(&packet[..len], &mut words);
        all.extend_from_slice(&words);
    }
    all
}

fn converse(service: Service, text: &str, ms: u64) -> (Result<ReplyEnd, Fault>, String) {
    let config = LlmConfig { service, temperature: None, max_tokens: None, next_token: Duration::from_millis(ms) };
    let call = call(ms);
    let said = Said { role: Role::User, text: text.to_owned() };
    let ask = Converse { dialogue: vec![said], language: Lang::EN, first_token_by: call.deadline };
    let mut reply = String::new();
    let end = OpenAiLlm::new(config).unwrap().converse(&ask, &call, &mut |text| {
        reply.push_str(text);
        Flow::Continue
    });
    (end, reply)
}

fn speak(service: Service, text: &str, encoding: Encoding, ms: u64) -> (Result<(), Fault>, u32, Vec<i16>) {
    let config = TtsConfig { service, voice: String::new(), encoding, speed: None };
    let call = call(ms);
    let format = ReplyFormat { codec: Codec::Pcm, ..ReplyFormat::DEFAULT };
    let what = Speak { sentence: 0, text: text.to_owned(), language: Lang::EN, format, first_byte_by: call.deadline };
    let (mut pcm, mut rate) = (Vec::new(), 0);
    let end = OpenAiTts::new(config).unwrap().speak(&what, &call, &mut |sound| {
        rate = sound.rate;
        pcm.extend_from_slice(sound.pcm);
        Flow::Continue
    });
    (end, rate, pcm)
}

fn utterance(id: Option<u16>) -> Vec<i16> {
    let mut pcm = vec![0; 1_234];
    pcm.extend(id.map_or_else(Vec::new, |id| identity::tone(id, 16_000)));
    pcm.extend((0..48_000).map(|n| if n / 40 % 2 == 0 { 900 } else { -900 }));
    pcm
}

const SOUNDS: [Encoding; 3] = [Encoding::Wav, Encoding::Pcm { rate: 24_000 }, Encoding::Opus];

#[test]
fn an_identity_goes_through_all_three() {
    for profile in [Profile::R1, Profile { tokens_s: 2_000.0, speed: 500.0, ..Profile::R1 }] {
        let handle = start(profile);
        let service = service(&handle);
        for id in [1, 4_711, 65_535] {
            let heard = recognise(service.clone(), &utterance(Some(id)), LONG).unwrap();
            assert_eq!(identity::find(&heard), Some(id), "{heard}");
            let (end, reply) = converse(service.clone(), &heard, LONG);
            assert_eq!(end, Ok(ReplyEnd::Complete));
            assert_eq!(identity::find_all(&reply).collect::<Vec<_>>(), [id; 3], "{reply}");
            for encoding in SOUNDS {
                let (end, rate, pcm) = speak(service.clone(), &reply, encoding, LONG);
                assert_eq!((end, identity::heard(&pcm, rate)), (Ok(()), Some(id)), "{encoding:?}");
                let ms = pcm.len() * 1_000 / rate as usize;
                assert!((4_500..6_500).contains(&ms), "{encoding:?}: {ms} ms");
            }
        }
        let heard = hear(service.clone(), Speech::Packets(&packets(&utterance(Some(7)))), LONG).unwrap();
        assert_eq!(identity::find(&heard), Some(7), "{heard}");
        let heard = recognise(service.clone(), &utterance(None), LONG).unwrap();
        assert_eq!(identity::find(&heard), None);
        let lag = handle.lag();
        assert_eq!((lag.requests, lag.identified, lag.refused_requests), ([5, 3, 9], 4, 0));
        assert!(lag.connections_max <= 6, "connections are kept: {}", lag.connections_max);
        handle.stop();
    }
}

#[test]
fn every_fault_reaches_the_server_as_what_it_is() {
    let both = |faults: Faults| {
        let handle = with_faults(faults);
        let asr = recognise(service(&handle), &utterance(Some(1)), SHORT).map_err(|fault| fault.cause);
        let (llm, _) = converse(service(&handle), "hello", SHORT);
        let (tts, _, pcm) = speak(service(&handle), "Hello out there.", Encoding::Wav, SHORT);
        let lag = handle.stop();
        assert_eq!(lag.requests, [1, 1, 1], "{faults:?}: retries are the server's business, not the provider's");
        assert_eq!(lag.faults.iter().sum::<u64>(), 3, "{faults:?}");
        (asr.map(|_| ()), llm.map_err(|fault| fault.cause), tts.map_err(|fault| fault.cause), pcm.len())
    };
    let (asr, llm, tts, _) = both(Faults { error: 1.0, ..Faults::NONE });
    assert_eq!((asr, llm, tts), (Err(Cause::Unavailable), Err(Cause::Unavailable), Err(Cause::Unavailable)));
    let (asr, llm, tts, _) = both(Faults { hang: 1.0, ..Faults::NONE });
    assert_eq!((asr, llm, tts), (Err(Cause::Timeout), Err(Cause::Timeout), Err(Cause::Timeout)));
    let (asr, llm, tts, heard) = both(Faults { malformed: 1.0, ..Faults::NONE });
    assert_eq!((asr, tts, heard), (Err(Cause::Malformed), Err(Cause::Malformed), 0));
    // Half a reply stands, if it was read before the nonsense.
    assert!(matches!(llm, Ok(ReplyEnd::Cut) | Err(Cause::Malformed)), "{llm:?}");
    let (asr, llm, tts, heard) = both(Faults { cut: 1.0, ..Faults::NONE });
    assert!(asr.is_err() && tts.is_err() && heard > 0, "{asr:?} {tts:?} {heard}");
    assert!(matches!(llm, Ok(ReplyEnd::Cut) | Err(Cause::Unavailable)), "{llm:?}");
}

/// What has come of an answer when nothing more comes for half a second, and whether the connection has ended.
fn listen(handle: &Handle, path: &str, body: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(handle.address()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    write!(stream, "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut all = Vec::new();
    let mut some = [0; 4_096];
    loop {
        match stream.read(&mut some) {
            Ok(0) => return (String::from_utf8_lossy(&all).into_owned(), true),
            Ok(len) => all.extend_from_slice(&some[..len]),
            Err(_) => return (String::from_utf8_lossy(&all).into_owned(), false),
        }
    }
}

const QUESTION: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

#[test]
fn an_answer_that_stalls_is_half_there_and_one_that_drips_comes_in_the_end() {
    let handle = with_faults(Faults { stall: 1.0, ..Faults::NONE });
    let (text, is_over) = listen(&handle, "/v1/chat/completions", QUESTION);
    assert!(!is_over && text.contains("\"content\":") && !text.contains("[DONE]"), "{text}");
    // Slower than anyone waits for between two drips, so the provider gives up; sixteen bytes are less than a head.
    let profile = Profile { hang_s: 0.5, drip_ms: 10.0, ..Profile::R1 };
    let manner = Manner { faults: Faults { drip: 1.0, ..Faults::NONE }, ..Manner::default() };
    let handle = start(Profile { manners: [manner; 3], ..profile });
    let (text, is_over) = listen(&handle, "/v1/chat/completions", QUESTION);
    assert!(is_over && text.len() < 16 * 60 && !text.contains("[DONE]"), "{} bytes", text.len());
    let handle = start(Profile { manners: [manner; 3], hang_s: 60.0, drip_ms: 1.0, ..Profile::R1 });
    let (text, _) = listen(&handle, "/v1/chat/completions", QUESTION);
    assert!(text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{text}");
    assert_eq!(handle.lag().faults, [0, 0, 0, 1, 0, 0]);
}

#[test]
fn the_seed_decides_which_requests_fail() {
    let failures = |seed| {
        let mut profile = Profile::R1;
        profile.manners[1].faults.error = 0.4;
        let handle = Standins::start(Config { seed, ..Config::new(profile) }).unwrap();
        let service = service(&handle);
        (0..40).map(|_| converse(service.clone(), "hello", LONG).0.is_err()).collect::<Vec<bool>>()
    };
    let first = failures(3);
    assert_eq!(failures(3), first);
    assert_ne!(failures(4), first);
    assert!((6..28).contains(&first.iter().filter(|failed| **failed).count()), "{first:?}");
}

#[test]
fn five_hundred_streams_at_once_are_all_whole() {
    let handle = start(Profile { tokens_s: 60.0, ..Profile::R1 });
    let mut streams: Vec<(u16, TcpStream)> = (0..500)
        .map(|id| {
            let mut stream = TcpStream::connect(handle.address()).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            let words = identity::words(id);
            let body = format!(r#"{{"stream":true,"messages":[{{"role":"user","content":"{words}"}}]}}"#);
            let head = "POST /v1/chat/completions HTTP/1.1\r\nConnection: close\r\nContent-Length:";
            write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
            (id, stream)
        })
        .collect();
    for (id, stream) in &mut streams {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let content: String = text
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line.strip_prefix("data: ")?).ok())
            .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(identity::find_all(&content).collect::<Vec<_>>(), [*id; 3], "{content}");
        assert!(text.ends_with("0\r\n\r\n"));
    }
    let lag = handle.stop();
    assert_eq!((lag.requests[1], lag.refused_connections, lag.abandoned), (500, 0, 0));
    assert!(lag.connections_max == 500 && lag.actions > 5_000, "{lag:?}");
}

#[test]
fn what_is_no_request_is_refused_and_the_others_go_on() {
    let handle = start(Profile::R1);
    for (path, body, says) in [
        ("/v1/chat/completions", "{", "HTTP/1.1 400"),
        ("/v1/chat/completions", r#"{"messages":3}"#, "HTTP/1.1 400"),
        ("/v1/audio/speech", r#"{"input":"a","response_format":"flac"}"#, "none of wav, pcm, opus"),
        ("/v1/audio/transcriptions", "no form", "neither a WAV"),
        ("/v1/embeddings", "{}", "HTTP/1.1 404"),
    ] {
        let (answer, _) = listen(&handle, path, body);
        assert!(answer.contains(says), "{path} {body}: {answer}");
    }
    let mut stream = TcpStream::connect(handle.address()).unwrap();
    stream.write_all(b"\x16\x03\x01 what is this\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let (whole, _) = listen(&handle, "/v1/chat/completions", r#"{"messages":[{"role":"user","content":"hi"}]}"#);
    assert!(whole.contains("chat.completion\"") && whole.contains("Everyone hears"), "{whole}");
    assert_eq!(handle.lag().refused_requests, 6);
}

#[test]
fn models_and_lag_are_there_for_who_asks() {
    let handle = start(Profile::R2);
    let asr = AsrConfig { service: service(&handle), language: None, language_unknown: None, verbose: false };
    let line = OpenAiAsr::new(asr).unwrap().probe(&call(LONG)).unwrap();
    assert!(line.contains("standin is one of its 1 models"), "{line}");
    let mut stream = TcpStream::connect(handle.address()).unwrap();
    stream.write_all(b"GET /lag.json HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let json: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert!(json["p99_ms"].is_number() && json["cpu_share"].is_number() && json["connections"] == 1, "{json}");
}
