use super::*;
use crate::limits::JSON_DEPTH;
use proptest::prelude::*;
use serde_json::{Value, json};

const SESSION: SessionId = SessionId(0x0b9f6c1e_3d0a_4f1e_9a55_2f1f7d5f4c11);
const ID: &str = "0b9f6c1e-3d0a-4f1e-9a55-2f1f7d5f4c11";

fn hello_of(text: &str) -> ClientHello {
    match parse(text) {
        Ok(ClientMessage::Hello(hello)) => *hello,
        other => panic!("{text}: {other:?}"),
    }
}

fn said(message: &ServerMessage) -> String {
    let mut out = Vec::new();
    emit(message, SESSION, &mut out);
    String::from_utf8(out).unwrap()
}

fn default_hello() -> ClientHello {
    let uplink = UplinkFormat { codec: Codec::Opus, rate: 16_000, channels: 1 };
    ClientHello { version: None, uplink, wants_pcm: false, is_browser: false, features: Features::default() }
}

#[test]
fn a_hello_of_each_client_is_read() {
    let firmware = r#"{"type":"hello","version":3,"features":{"mcp":true,"aec":true,"glyph_push":false},"transport":"websocket",
        "audio_params":{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}}"#;
    let features = Features { mcp: true, aec: true, emoji: true };
    assert_eq!(hello_of(firmware), ClientHello { version: Some(3), features, ..default_hello() });
    let browser = r#"{"type":"hello","device_id":"AA","device_name":"x","device_mac":"AA","token":"",
        "features":{"mcp":true,"emoji":false}}"#;
    let features = Features { mcp: true, aec: false, emoji: false };
    assert_eq!(hello_of(browser), ClientHello { features, is_browser: true, ..default_hello() });
}

#[test]
fn a_hello_of_only_a_type_gets_the_defaults() {
    assert_eq!(hello_of(r#"{"type":"hello"}"#), default_hello());
}

#[test]
fn odd_features_are_none() {
    for odd in ["null", "[]", "[true]", r#""mcp""#, "7", "true", r#"{"mcp":1,"aec":"yes","emoji":null}"#, "{}"] {
        let text = format!(r#"{{"type":"hello","features":{odd}}}"#);
        assert_eq!(hello_of(&text).features, Features::default(), "{odd}");
    }
}

#[test]
fn odd_versions_and_audio_params_take_defaults() {
    for odd in ["null", "0", "4", "-1", r#""2""#, "2.5", "1e99", "[]", "{}", "999999999999"] {
        let text = format!(r#"{{"type":"hello","version":{odd}}}"#);
        assert_eq!(hello_of(&text).version, None, "{odd}");
    }
    for odd in ["null", "[]", r#""opus""#, r#"{"format":7,"sample_rate":0,"channels":99,"frame_duration":-5}"#] {
        let text = format!(r#"{{"type":"hello","audio_params":{odd}}}"#);
        assert_eq!(hello_of(&text), default_hello(), "{odd}");
    }
    let rate =
        |rate: &str| hello_of(&format!(r#"{{"type":"hello","audio_params":{{"sample_rate":{rate}}}}}"#)).uplink.rate;
    assert_eq!(rate("48000.0"), 48_000);
    assert_eq!(rate("44100"), 16_000);
    assert_eq!(rate("-16000"), 16_000);
    assert_eq!(rate("1e400"), 16_000);
}

#[test]
fn pcm_goes_both_ways() {
    let of = |rate: u32| {
        let audio = format!(r#"{{"format":"PCM","sample_rate":{rate},"channels":2}}"#);
        hello_of(&format!(r#"{{"type":"hello","audio_params":{audio}}}"#))
    };
    let hello = of(44_100);
    assert!(hello.wants_pcm);
    assert_eq!(hello.uplink, UplinkFormat { codec: Codec::Pcm, rate: 44_100, channels: 2 });
    assert_eq!(of(4_000_000).uplink.rate, 16_000);
    assert_eq!(of(7_999).uplink.rate, 16_000);
}

#[test]
fn listen_is_read_or_ignored_whole() {
    let listen = |members: &str| parse(&format!(r#"{{"session_id":"","type":"listen",{members}}}"#));
    let ok = |listen| Ok(ClientMessage::Listen(listen));
    assert_eq!(listen(r#""state":"start","mode":"auto""#), ok(Listen::Start(Some(ListenMode::Auto))));
    assert_eq!(listen(r#""state":"start","mode":"manual""#), ok(Listen::Start(Some(ListenMode::Manual))));
    assert_eq!(listen(r#""state":"start","mode":"realtime""#), ok(Listen::Start(Some(ListenMode::Realtime))));
    assert_eq!(listen(r#""state":"start""#), ok(Listen::Start(None)));
    assert_eq!(listen(r#""state":"start","mode":null"#), ok(Listen::Start(None)));
    assert_eq!(listen(r#""state":"stop","mode":"manual""#), ok(Listen::Stop));
    assert_eq!(listen(r#""state":"detect","text":"你好小智""#), ok(Listen::Detect("你好小智".into())));
    assert_eq!(listen(r#""state":"detect","text":"\u4f60\ud83d\ude0a""#), ok(Listen::Detect("你😊".into())));
    assert_eq!(listen(r#""state":"detect""#), ok(Listen::Detect(String::new())));
    for bad in [
        r#""mode":"auto""#,
        r#""state":"begin""#,
        r#""state":null"#,
        r#""state":["start"]"#,
        r#""state":"start","mode":"loud""#,
        r#""state":"start","mode":1"#,
        r#""state":"detect","text":7"#,
        r#""state":"detect","text":"\ud83d""#,
    ] {
        assert_eq!(listen(bad), Err(MessageFault::WrongShape), "{bad}");
    }
}

#[test]
fn the_small_messages_are_read() {
    assert_eq!(parse(r#"{"type":"abort","reason":"wake_word_detected"}"#), Ok(ClientMessage::Abort));
    assert_eq!(parse(r#"{"type":"abort","reason":[]}"#), Ok(ClientMessage::Abort));
    assert_eq!(parse(r#"{"type":"goodbye","session_id":"x"}"#), Ok(ClientMessage::Goodbye));
    assert_eq!(parse(r#" {"type":"ping"} "#), Ok(ClientMessage::Ping));
    assert_eq!(parse(r#"{"type":"iot","update":true,"descriptors":[{"name":"Speaker"}]}"#), Ok(ClientMessage::Iot));
    assert_eq!(parse(r#"{"type":"iot","update":true,"states":[]}"#), Ok(ClientMessage::Iot));
    assert_eq!(parse(r#"{"type":"text","text":"hi"}"#), Ok(ClientMessage::Text("hi".into())));
    assert_eq!(parse(r#"{"type":"text"}"#), Err(MessageFault::WrongShape));
}

#[test]
fn a_tools_payload_is_kept_as_it_came() {
    let payload = r#"{"jsonrpc":"2.0","id":1, "result":{"n":1.50}}"#;
    let text = format!(r#"{{"type":"mcp","payload":{payload}}}"#);
    assert_eq!(parse(&text), Ok(ClientMessage::Mcp(payload.into())));
    for odd in ["null", "[]", "1", r#""{}""#] {
        assert_eq!(parse(&format!(r#"{{"type":"mcp","payload":{odd}}}"#)), Err(MessageFault::WrongShape), "{odd}");
    }
}

#[test]
fn an_odd_member_that_is_not_needed_spoils_nothing() {
    let odd = r#""session_id":{"a":[1]},"version":"x","text":[],"payload":null,"mode":0,"features":3,"more":[{}]"#;
    assert_eq!(parse(&format!(r#"{{"type":"abort",{odd}}}"#)), Ok(ClientMessage::Abort));
}

#[test]
fn what_is_ignored_has_a_name() {
    for text in
        ["", "hello", "{", r#"{"type":"abort""#, r#"{"type":"abort"} x"#, r#"{"type":"a"b"}"#, "{\"type\":\"a\nb\"}"]
    {
        assert_eq!(parse(text), Err(MessageFault::NotJson), "{text}");
    }
    for text in ["7", "null", "[]", r#"["hello"]"#, r#""hello""#, "{}", r#"{"type":null}"#, r#"{"type":7}"#] {
        assert_eq!(parse(text), Err(MessageFault::NoType), "{text}");
    }
    for kind in ["server", "", "Hello", "udp_timeout", "stt"] {
        assert_eq!(parse(&format!(r#"{{"type":"{kind}"}}"#)), Err(MessageFault::UnknownType), "{kind}");
    }
    assert_eq!(parse(r#"{"type":"abort","type":"hello"}"#), Err(MessageFault::WrongShape));
}

#[test]
fn json_is_taken_to_its_depth_and_size_and_no_further() {
    // The object itself is one level.
    let nested = |depth: usize| format!(r#"{{"type":"abort","x":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(parse(&nested(JSON_DEPTH - 1)), Ok(ClientMessage::Abort));
    assert_eq!(parse(&nested(JSON_DEPTH)), Err(MessageFault::NotJson));
    assert_eq!(parse(&"[".repeat(60_000)), Err(MessageFault::NotJson));
    // Brackets inside strings are no depth.
    let text = format!(r#"{{"type":"text","text":"\"{}"}}"#, "[".repeat(40));
    assert_eq!(parse(&text), Ok(ClientMessage::Text(format!("\"{}", "[".repeat(40)))));
    // A string that ends in a backslash does end.
    let text = format!(r#"{{"x":"\\","type":"abort","y":{}{}}}"#, "[".repeat(JSON_DEPTH), "]".repeat(JSON_DEPTH));
    assert_eq!(parse(&text), Err(MessageFault::NotJson));
    let filled = |len: usize| format!(r#"{{"type":"abort","x":"{}"}}"#, "y".repeat(len - 23));
    assert_eq!(filled(MESSAGE_BYTES).len(), MESSAGE_BYTES);
    assert_eq!(parse(&filled(MESSAGE_BYTES)), Ok(ClientMessage::Abort));
    assert_eq!(parse(&filled(MESSAGE_BYTES + 1)), Err(MessageFault::NotJson));
}

#[test]
fn typed_text_is_cut_at_a_character() {
    let long = "好".repeat(2_000);
    let Ok(ClientMessage::Text(text)) = parse(&format!(r#"{{"type":"text","text":"{long}"}}"#)) else { panic!() };
    assert_eq!(text.len(), TYPED_TEXT_BYTES / 3 * 3);
    let detect = format!(r#"{{"type":"listen","state":"detect","text":"{long}"}}"#);
    assert_eq!(parse(&detect), Ok(ClientMessage::Listen(Listen::Detect(text))));
}

#[test]
fn our_hello_is_the_one_devices_know() {
    let expected = format!(
        r#"{{"type":"hello","version":1,"transport":"websocket","session_id":"{ID}","audio_params":{{"format":"opus","sample_rate":24000,"channels":1,"frame_duration":60}}}}"#
    );
    assert_eq!(said(&ServerMessage::Hello(ReplyFormat::DEFAULT)), expected);
    let pcm = ReplyFormat { codec: Codec::Pcm, rate: 16_000, frame_ms: 20 };
    let value: Value = serde_json::from_str(&said(&ServerMessage::Hello(pcm))).unwrap();
    assert_eq!(value["audio_params"]["format"], "pcm");
    assert_eq!(value["audio_params"]["frame_duration"], 20);
}

#[test]
fn each_message_has_its_members() {
    let check = |message: ServerMessage, expected: Value| {
        let value: Value = serde_json::from_str(&said(&message)).unwrap();
        assert_eq!(value, expected);
    };
    let id = ID;
    check(ServerMessage::Stt("你好".into()), json!({"type":"stt","text":"你好","session_id":id}));
    check(ServerMessage::Llm(Emotion::Happy), json!({"type":"llm","text":"🙂","emotion":"happy","session_id":id}));
    check(ServerMessage::TtsStart, json!({"type":"tts","state":"start","session_id":id}));
    check(
        ServerMessage::SentenceStart("Hi.".into()),
        json!({"type":"tts","state":"sentence_start","text":"Hi.","session_id":id}),
    );
    check(
        ServerMessage::SentenceEnd(String::new()),
        json!({"type":"tts","state":"sentence_end","text":"","session_id":id}),
    );
    check(ServerMessage::TtsStop { durable: true }, json!({"type":"tts","state":"stop","session_id":id}));
    check(
        ServerMessage::TtsStop { durable: false },
        json!({"type":"tts","state":"stop","session_id":id,"durable":false}),
    );
    check(
        ServerMessage::Alert { status: "s".into(), message: "m".into(), emotion: Emotion::Sad },
        json!({"type":"alert","status":"s","message":"m","emotion":"sad","session_id":id}),
    );
    check(
        ServerMessage::Mcp(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.into()),
        json!({"type":"mcp","session_id":id,"payload":{"jsonrpc":"2.0","id":1,"method":"tools/list"}}),
    );
    check(ServerMessage::Pong, json!({"type":"pong","session_id":id}));
}

#[test]
fn emotions_have_names_and_emoji_of_their_own() {
    for (i, emotion) in Emotion::ALL.into_iter().enumerate() {
        assert_eq!(Emotion::from_name(emotion.name()), Some(emotion));
        let mut emoji = emotion.emoji().chars();
        assert_eq!(emoji.next().and_then(Emotion::from_emoji), Some(emotion));
        assert_eq!(emoji.next(), None);
        assert!(!Emotion::ALL[..i].contains(&emotion));
    }
    assert_eq!(Emotion::ALL.len(), 21);
    assert_eq!(Emotion::from_emoji('x'), None);
}

proptest! {
    #[test]
    fn any_text_travels_unharmed(text in "\\PC{0,60}|[\\x00-\\x7f]{0,60}") {
        let value: Value = serde_json::from_str(&said(&ServerMessage::SentenceStart(text.clone()))).unwrap();
        prop_assert_eq!(&value["text"], &Value::String(text.clone()));
        prop_assert_eq!(&value["session_id"], ID);
        let typed = json!({"type":"text","text":text}).to_string();
        prop_assert_eq!(parse(&typed), Ok(ClientMessage::Text(text)));
    }

    #[test]
    fn damaged_messages_never_panic(at in 0usize..200, to in "\\PC", cut in 0usize..200) {
        let good = r#"{"type":"hello","version":3,"features":{"mcp":true},"audio_params":{"format":"pcm","sample_rate":16000}}"#;
        let mut text = good.to_owned();
        text.replace_range(at % good.len()..=at % good.len(), &to);
        let _ = (parse(&text), parse(&good[..cut.min(good.len())]));
    }

    #[test]
    fn noise_never_panics(text in "[\\[\\]{}\":,a-e0-3\\\\ ]{0,60}") {
        let _ = parse(&text);
    }
}
