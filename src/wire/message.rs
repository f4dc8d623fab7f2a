//! JSON control messages of the device protocol: what clients send, what we send.

#[cfg(test)]
mod tests;

use super::json::{self, Member, Object};
use crate::format::{Codec, ReplyFormat, UplinkFormat};
use crate::ids::SessionId;
use crate::limits::{MESSAGE_BYTES, TYPED_TEXT_BYTES};
use serde::Deserialize;

/// What a client says. Unknown members are ignored; wrong shapes are a [`MessageFault`], never an error for the connection.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// Opens the session.
    Hello(Box<ClientHello>),
    /// Listening begins, ends, or a wake word (or typed text) came.
    Listen(Listen),
    /// Be silent. The reason is only for the log.
    Abort,
    /// A JSON-RPC payload of the device's tools, kept as text.
    Mcp(Box<str>),
    /// Legacy descriptors and states: accepted, ignored.
    Iot,
    /// Hang up.
    Goodbye,
    /// `{"type":"ping"}` of some third-party clients.
    Ping,
    /// Extension: typed text, the same as `listen/detect` with text that is no wake word.
    Text(String),
}

/// A client's hello, with defaults in place of what is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientHello {
    /// Binary framing version it names, if it does.
    pub version: Option<u8>,
    /// Uplink encoding.
    pub uplink: UplinkFormat,
    /// It wants PCM both ways.
    pub wants_pcm: bool,
    /// It is the browser client, which collects 400 ms of a reply before it plays and drops the rest on `tts stop`.
    pub is_browser: bool,
    /// What it can do.
    pub features: Features,
}

/// The features of a client's hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// It is a tool server.
    pub mcp: bool,
    /// It cancels echo, or wants us to.
    pub aec: bool,
    /// It wants `llm` emotion messages (default true).
    pub emoji: bool,
}

impl Default for Features {
    fn default() -> Features {
        Features { mcp: false, aec: false, emoji: true }
    }
}

/// `listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Start, with the mode if it names a known one.
    Start(Option<ListenMode>),
    /// Stop (push-to-talk released).
    Stop,
    /// Wake word or typed text; empty when absent.
    Detect(String),
}

/// Who decides that the user has finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenMode {
    /// The server, by silence; the microphone is off while we speak.
    #[default]
    Auto,
    /// The user, by a button.
    Manual,
    /// The server, and the microphone stays on.
    Realtime,
}

/// Why a text frame was ignored; all are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageFault {
    /// Not JSON, or deeper than [`crate::limits::JSON_DEPTH`].
    NotJson,
    /// JSON, but not an object with a string `type`.
    NoType,
    /// A type we do not know.
    UnknownType,
    /// A known type of the wrong shape.
    WrongShape,
}

/// What we say.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage {
    /// The answer to a hello: exactly one per connection.
    Hello(ReplyFormat),
    /// What we understood.
    Stt(String),
    /// The face for this turn, with a name from [`Emotion`].
    Llm(Emotion),
    /// Our voice begins.
    TtsStart,
    /// This sentence is heard from now on.
    SentenceStart(String),
    /// Ignored by devices; with empty text it keeps a channel alive.
    SentenceEnd(String),
    /// Our voice ends. `durable: false` says that the turn was not written down in time.
    TtsStop {
        /// Written out only when false.
        durable: bool,
    },
    /// A note on the screen.
    Alert {
        /// Status line.
        status: String,
        /// The note.
        message: String,
        /// The face.
        emotion: Emotion,
    },
    /// A JSON-RPC payload for the device's tool server.
    Mcp(String),
    /// The answer to `ping`.
    Pong,
}

/// Emotion names that every client knows (protocol.md 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Emotion {
    Neutral,
    Happy,
    Laughing,
    Funny,
    Sad,
    Angry,
    Crying,
    Loving,
    Embarrassed,
    Surprised,
    Shocked,
    Thinking,
    Winking,
    Cool,
    Relaxed,
    Delicious,
    Kissy,
    Confident,
    Sleepy,
    Silly,
    Confused,
}

impl Emotion {
    /// All of them.
    pub const ALL: [Emotion; 21] = [
        Emotion::Neutral,
        Emotion::Happy,
        Emotion::Laughing,
        Emotion::Funny,
        Emotion::Sad,
        Emotion::Angry,
        Emotion::Crying,
        Emotion::Loving,
        Emotion::Embarrassed,
        Emotion::Surprised,
        Emotion::Shocked,
        Emotion::Thinking,
        Emotion::Winking,
        Emotion::Cool,
        Emotion::Relaxed,
        Emotion::Delicious,
        Emotion::Kissy,
        Emotion::Confident,
        Emotion::Sleepy,
        Emotion::Silly,
        Emotion::Confused,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        self.spelling().0
    }

    /// The emoji that goes with it.
    pub const fn emoji(self) -> &'static str {
        self.spelling().1
    }

    /// The emotion whose emoji this is.
    pub fn from_emoji(emoji: char) -> Option<Emotion> {
        Emotion::ALL.into_iter().find(|emotion| emotion.emoji().chars().eq([emoji]))
    }

    /// The emotion of that name, lower case.
    pub fn from_name(name: &str) -> Option<Emotion> {
        Emotion::ALL.into_iter().find(|emotion| emotion.name() == name)
    }

    const fn spelling(self) -> (&'static str, &'static str) {
        match self {
            Emotion::Neutral => ("neutral", "😶"),
            Emotion::Happy => ("happy", "🙂"),
            Emotion::Laughing => ("laughing", "😆"),
            Emotion::Funny => ("funny", "😂"),
            Emotion::Sad => ("sad", "😔"),
            Emotion::Angry => ("angry", "😠"),
            Emotion::Crying => ("crying", "😭"),
            Emotion::Loving => ("loving", "😍"),
            Emotion::Embarrassed => ("embarrassed", "😳"),
            Emotion::Surprised => ("surprised", "😯"),
            Emotion::Shocked => ("shocked", "😱"),
            Emotion::Thinking => ("thinking", "🤔"),
            Emotion::Winking => ("winking", "😉"),
            Emotion::Cool => ("cool", "😎"),
            Emotion::Relaxed => ("relaxed", "😌"),
            Emotion::Delicious => ("delicious", "🤤"),
            Emotion::Kissy => ("kissy", "😘"),
            Emotion::Confident => ("confident", "😏"),
            Emotion::Sleepy => ("sleepy", "😴"),
            Emotion::Silly => ("silly", "😜"),
            Emotion::Confused => ("confused", "🙄"),
        }
    }
}

/// Reads a text frame.
///
/// # Errors
/// [`MessageFault`]: count it and go on; old firmware builds messages without escaping, so bad ones are daily bread.
pub fn parse(text: &str) -> Result<ClientMessage, MessageFault> {
    if text.len() > MESSAGE_BYTES || !json::is_shallow(text) {
        return Err(MessageFault::NotJson);
    }
    if !json::is_object(text) {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        return Err(if is_json { MessageFault::NoType } else { MessageFault::NotJson });
    }
    let members: Members<'_> = serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => MessageFault::WrongShape, // a member that comes twice
        _ => MessageFault::NotJson,
    })?;
    let kind = json::string(members.kind).ok_or(MessageFault::NoType)?;
    match kind.as_str() {
        "hello" => Ok(ClientMessage::Hello(Box::new(members.hello()))),
        "listen" => members.listen().map(ClientMessage::Listen).ok_or(MessageFault::WrongShape),
        "abort" => Ok(ClientMessage::Abort),
        "mcp" => members.mcp().map(ClientMessage::Mcp).ok_or(MessageFault::WrongShape),
        "iot" => Ok(ClientMessage::Iot),
        "goodbye" => Ok(ClientMessage::Goodbye),
        "ping" => Ok(ClientMessage::Ping),
        "text" => members.typed().map(ClientMessage::Text).ok_or(MessageFault::WrongShape),
        _ => Err(MessageFault::UnknownType),
    }
}

/// Members of all client messages. Raw, so that a member we do not need in this message may be anything.
#[derive(Default, Deserialize)]
struct Members<'a> {
    #[serde(borrow, rename = "type")]
    kind: Member<'a>,
    #[serde(borrow)]
    version: Member<'a>,
    #[serde(borrow)]
    audio_params: Member<'a>,
    #[serde(borrow)]
    features: Member<'a>,
    #[serde(borrow)]
    state: Member<'a>,
    #[serde(borrow)]
    mode: Member<'a>,
    #[serde(borrow)]
    text: Member<'a>,
    #[serde(borrow)]
    payload: Member<'a>,
    #[serde(borrow)]
    device_mac: Member<'a>,
}

#[derive(Default, Deserialize)]
struct AudioParams<'a> {
    #[serde(borrow)]
    format: Member<'a>,
    #[serde(borrow)]
    sample_rate: Member<'a>,
    #[serde(borrow)]
    channels: Member<'a>,
}

#[derive(Default, Deserialize)]
struct FeatureMembers<'a> {
    #[serde(borrow)]
    mcp: Member<'a>,
    #[serde(borrow)]
    aec: Member<'a>,
    #[serde(borrow)]
    emoji: Member<'a>,
}

impl Members<'_> {
    /// Whatever is missing or odd takes its default: a device that is refused here would only try again.
    fn hello(&self) -> ClientHello {
        let audio: AudioParams<'_> = json::members(self.audio_params);
        let features: FeatureMembers<'_> = json::members(self.features);
        let wants_pcm = json::string(audio.format).is_some_and(|format| format.eq_ignore_ascii_case("pcm"));
        let codec = if wants_pcm { Codec::Pcm } else { Codec::Opus };
        let rate = json::number(audio.sample_rate).filter(|&rate| is_rate(codec, rate)).unwrap_or(UPLINK_RATE);
        let channels = json::number(audio.channels).and_then(|n| u8::try_from(n).ok()).filter(|n| matches!(n, 1 | 2));
        ClientHello {
            version: json::number(self.version).and_then(|n| u8::try_from(n).ok()).filter(|n| matches!(n, 1..=3)),
            uplink: UplinkFormat { codec, rate, channels: channels.unwrap_or(1) },
            wants_pcm,
            // Only the browser client says who it is in its hello: it cannot set headers (protocol.md 1.4).
            is_browser: self.device_mac.is_some(),
            features: Features {
                mcp: json::truth(features.mcp).unwrap_or(false),
                aec: json::truth(features.aec).unwrap_or(false),
                emoji: json::truth(features.emoji).unwrap_or(true),
            },
        }
    }

    fn listen(&self) -> Option<Listen> {
        match json::string(self.state)?.as_str() {
            "start" => self.mode().map(Listen::Start),
            "stop" => Some(Listen::Stop),
            "detect" if self.text.is_none() => Some(Listen::Detect(String::new())),
            "detect" => json::string(self.text).map(|text| Listen::Detect(cut_owned(text))),
            _ => None,
        }
    }

    /// A missing mode keeps the last one; an unknown one spoils the message (checklist 62).
    fn mode(&self) -> Option<Option<ListenMode>> {
        if self.mode.is_none() {
            return Some(None);
        }
        match json::string(self.mode)?.as_str() {
            "auto" => Some(Some(ListenMode::Auto)),
            "manual" => Some(Some(ListenMode::Manual)),
            "realtime" => Some(Some(ListenMode::Realtime)),
            _ => None,
        }
    }

    fn mcp(&self) -> Option<Box<str>> {
        let payload = self.payload?.get();
        json::is_object(payload).then(|| payload.into())
    }

    fn typed(&self) -> Option<String> {
        json::string(self.text).map(cut_owned)
    }
}

/// Uplink where the hello says nothing sensible: what all firmware sends.
const UPLINK_RATE: u32 = 16_000;

fn is_rate(codec: Codec, rate: u32) -> bool {
    match codec {
        Codec::Opus => matches!(rate, 8_000 | 12_000 | 16_000 | 24_000 | 48_000),
        Codec::Pcm => (8_000..=48_000).contains(&rate),
    }
}

fn cut_owned(mut text: String) -> String {
    text.truncate(super::cut(&text, TYPED_TEXT_BYTES).len());
    text
}

/// Writes a message as one JSON object with string `type` and `session_id`, appended to `out`.
pub fn emit(message: &ServerMessage, session: SessionId, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    let mut id = [0; 36];
    let id = session_text(session, &mut id);
    match message {
        ServerMessage::Hello(format) => hello(*format, id, &mut object),
        ServerMessage::Stt(text) => {
            object.string("type", "stt").string("text", text).string("session_id", id);
        }
        ServerMessage::Llm(emotion) => {
            object.string("type", "llm").string("text", emotion.emoji()).string("emotion", emotion.name());
            object.string("session_id", id);
        }
        ServerMessage::TtsStart => tts("start", None, id, &mut object),
        ServerMessage::SentenceStart(text) => tts("sentence_start", Some(text), id, &mut object),
        ServerMessage::SentenceEnd(text) => tts("sentence_end", Some(text), id, &mut object),
        ServerMessage::TtsStop { durable } => {
            tts("stop", None, id, &mut object);
            if !durable {
                object.raw("durable", "false");
            }
        }
        ServerMessage::Alert { status, message, emotion } => {
            object.string("type", "alert").string("status", status).string("message", message);
            object.string("emotion", emotion.name()).string("session_id", id);
        }
        ServerMessage::Mcp(payload) => {
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(payload).is_ok();
            debug_assert!(is_json, "our own payload is JSON");
            object.string("type", "mcp").string("session_id", id);
            object.raw("payload", if is_json { payload } else { "null" });
        }
        ServerMessage::Pong => {
            object.string("type", "pong").string("session_id", id);
        }
    }
    object.close();
}

/// Without a string `transport` the device reboots (protocol.md 0.1).
fn hello(format: ReplyFormat, session: &str, object: &mut Object<'_>) {
    object.string("type", "hello").number("version", 1).string("transport", "websocket").string("session_id", session);
    object.object("audio_params", |audio| {
        let codec = match format.codec {
            Codec::Opus => "opus",
            Codec::Pcm => "pcm",
        };
        audio.string("format", codec).number("sample_rate", format.rate.into()).number("channels", 1);
        audio.number("frame_duration", format.frame_ms.into());
    });
}

/// Every `tts` has a string `state`: without it firmware up to 2.3.0 crashes.
fn tts(state: &str, text: Option<&String>, session: &str, object: &mut Object<'_>) {
    object.string("type", "tts").string("state", state);
    if let Some(text) = text {
        object.string("text", text);
    }
    object.string("session_id", session);
}

/// The id as text, without a heap.
fn session_text(session: SessionId, into: &mut [u8; 36]) -> &str {
    use std::io::Write as _;
    let written = write!(&mut into[..], "{session}");
    debug_assert!(written.is_ok(), "a UUID has 36 characters");
    std::str::from_utf8(into).unwrap_or_default()
}
