//! JSON control messages of the device protocol: what clients send, what we send.

use crate::format::{ReplyFormat, UplinkFormat};
use crate::ids::SessionId;

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

/// Reads a text frame. Skeleton: the room fills it in.
pub fn parse(_text: &str) -> Result<ClientMessage, MessageFault> {
    todo!()
}

/// Writes a message as one JSON object with string `type` and `session_id`, appended to `out`.
pub fn emit(_message: &ServerMessage, _session: SessionId, _out: &mut Vec<u8>) {
    todo!()
}
