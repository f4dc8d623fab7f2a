//! The values of a configuration, section by section.

use crate::audio::endpoint::EndpointRules;
use crate::audio::phrase::Phrase;
use crate::audio::vad::Engine;
use crate::format::Lang;
use crate::log::store;
use crate::memory::cleaning::Retention;
use crate::resilience::alert::Rule;
use crate::resilience::choice::Choice;
use crate::session::Rules;
use crate::session::record::Durability;
use crate::time::Duration;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything that can be configured.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Config {
    pub listen: Listen,
    pub shards: Shards,
    pub session: Rules,
    pub phrases: Phrases,
    pub vad: Vad,
    pub asr: Asr,
    pub llm: Llm,
    pub tts: Tts,
    pub services: Services,
    pub auth: Auth,
    pub limits: Limits,
    pub admin: Admin,
    pub alerts: Alerts,
    pub log: Log,
    pub memory: Memory,
    pub state: State,
}

/// Where we listen.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Listen {
    pub device: SocketAddr,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    pub public: String,
    pub path: String,
    pub lenient: bool,
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// The shard threads.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Shards {
    pub count: usize,
    pub pin: bool,
    pub leave_cores: usize,
    pub spin_us: u64,
    pub realtime: u8,
    pub lock_memory: bool,
}

/// Our own sentences, in English and in Chinese.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrases {
    pub(super) texts: Vec<(Phrase, Lang, String)>,
}

impl Phrases {
    /// The words.
    pub fn text(&self, phrase: Phrase, lang: Lang) -> &str {
        let found = self.texts.iter().find(|(p, l, _)| *p == phrase && *l == lang.phrase_language());
        found.map_or("", |(_, _, text)| text)
    }
}

/// Voice detection and endpointing.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Vad {
    pub engine: Engine,
    pub rules: EndpointRules,
}

/// Providers of one stage that are reached by an address.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Service {
    pub base_url: String,
    pub model: String,
    pub api_key: Option<String>,
}

/// Speech to text.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Asr {
    pub provider: AsrProvider,
    pub service: Service,
    pub language: Option<String>,
    pub unknown_language: Option<String>,
    pub workers: usize,
    /// A device's Opus packets are uploaded as they came.
    pub uploads_opus: bool,
    pub concurrency: u32,
    pub backups: Vec<Asr>,
    pub script: Vec<String>,
    pub delay_ms: u64,
    pub is_queued: bool,
}

/// `[asr] provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AsrProvider {
    Whisper,
    OpenAi,
    Scripted,
}

/// Text to reply.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Llm {
    pub provider: LlmProvider,
    pub service: Service,
    pub workers: usize,
    pub concurrency: u32,
    pub backups: Vec<Llm>,
    pub hedge_ms: u64,
    pub temperature: f64,
    pub max_tokens: u32,
    pub script: Vec<String>,
    pub first_token_ms: u64,
    pub token_ms: u64,
}

/// `[llm] provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LlmProvider {
    Builtin,
    OpenAi,
    Scripted,
}

/// Reply to speech.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Tts {
    pub provider: TtsProvider,
    pub service: Service,
    pub workers: usize,
    pub concurrency: u32,
    pub backups: Vec<Tts>,
    pub voice: String,
    pub format: TtsFormat,
    pub rate: u32,
    pub speed: f64,
    pub command: Vec<String>,
    pub opus_complexity: Option<u8>,
    pub bitrate: u32,
    pub cache_mb: u64,
    pub script: Vec<String>,
    pub first_audio_ms: u64,
}

/// `[tts] provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TtsProvider {
    Espeak,
    OpenAi,
    Command,
    Scripted,
}

/// `[tts] format`: what a service or program is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TtsFormat {
    Wav,
    Pcm,
    Mp3,
    Opus,
}

/// How services are reached over HTTP.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Services {
    pub proxy: bool,
    pub ca_file: Option<PathBuf>,
    pub choice: Choice,
    pub retry_percent: u32,
    pub breaker_percent: u32,
    pub breaker_open_s: u64,
    pub offline: bool,
}

/// Who may connect.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Auth {
    pub token: bool,
    pub allow: Vec<String>,
    pub secret: Option<String>,
}

/// Bounds that an operator may choose; all others stand in `limits.rs`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Limits {
    pub connections: usize,
    pub connections_per_address: usize,
    pub shed: bool,
    pub memory_mb: u64,
    pub drain_s: u64,
}

/// The admin listener.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Admin {
    pub token: Option<String>,
}

/// Who is told of what.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Alerts {
    pub rules: Vec<Rule>,
    pub webhook: Option<String>,
    pub command: Vec<String>,
    pub per_minute: u32,
}

/// The log.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Log {
    pub json: bool,
    pub level: String,
    pub store: Option<store::Rules>,
}

/// What is remembered of devices.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Memory {
    pub path: PathBuf,
    pub durability: Durability,
    pub resume: Duration,
    pub retention: Retention,
    pub key: Option<String>,
}

/// What is kept on disk.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct State {
    pub dir: PathBuf,
}
