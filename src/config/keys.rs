//! The keys: one call each, with default and meaning. This file is the list a reader of the configuration looks for.

use super::reader::Reader;
use super::values::*;
use std::net::SocketAddr;
use std::path::PathBuf;

const WAKE_WORDS: [&str; 14] = [
    "你好小智",
    "嘿你好呀",
    "你好小志",
    "小爱同学",
    "你好小鑫",
    "你好小新",
    "小美同学",
    "小龙小龙",
    "喵喵同学",
    "小滨小滨",
    "小冰小冰",
    "hi esp",
    "hi lexin",
    "hey voxlane",
];
const EXIT_WORDS: [&str; 9] = ["退出", "关闭", "再见", "拜拜", "exit", "quit", "goodbye", "good bye", "bye bye"];
const PERSONA: &str = "You are a friendly voice assistant on a small device. Your words are spoken aloud: answer in one to three \
short sentences, without lists, markup or emoji, in the language of the user.";

impl Config {
    /// Reads every key there is.
    pub(super) fn read(r: &mut Reader<'_>) -> Config {
        Config {
            listen: Listen::read(r),
            shards: Shards {
                count: r.number("shards", "count", 0, 0..=256, "Shard threads; 0 = half of the cores, at least 1.")
                    as usize,
                pin: r.flag("shards", "pin", true, "Pin each shard to a core."),
            },
            session: Session::read(r),
            vad: Vad::read(r),
            audio: Audio::read(r),
            asr: Asr::read(r),
            llm: Llm::read(r),
            tts: Tts::read(r),
            auth: Auth::read(r),
            limits: Limits {
                connections: r.number(
                    "limits",
                    "connections",
                    20_000,
                    1..=1_000_000,
                    "Open device connections, all shards.",
                ) as usize,
                connections_per_address: per_address(r),
                drain_s: r.number(
                    "limits",
                    "drain_s",
                    10,
                    0..=600,
                    "How long a stopping server lets sentences end, s.",
                ),
            },
            admin: Admin {
                token: r.secret(
                    "admin",
                    "token",
                    "token_file",
                    "Bearer token of the admin listener; needed off loopback.",
                ),
            },
            log: Log {
                json: r.choice("log", "format", "text", &[("text", false), ("json", true)], "Shape of a log line."),
                level: r
                    .choice(
                        "log",
                        "level",
                        "info",
                        &[
                            ("info", "info"),
                            ("error", "error"),
                            ("warn", "warn"),
                            ("debug", "debug"),
                            ("trace", "trace"),
                        ],
                        "Least level that is logged; VOXLANE_LOG overrides it, per room if wanted.",
                    )
                    .to_owned(),
            },
            state: State {
                dir: r
                    .path("state", "dir", "Where secrets and memory are kept; empty = the XDG state folder.")
                    .unwrap_or_else(default_state_dir),
            },
        }
        .check(r)
    }

    /// Values that are well-formed each and do not fit together.
    fn check(self, r: &mut Reader<'_>) -> Config {
        let service = |r: &mut Reader<'_>, section: &'static str, service: &Service| {
            if service.base_url.is_empty() {
                let help =
                    format!("give the address of the service, as in {section}.base_url = \"http://127.0.0.1:8080/v1\"");
                r.refuse(section, "provider", "the provider openai needs base_url".to_owned(), Some(help));
            }
            if service.model.is_empty() {
                let help = format!("name the model as the service calls it, in {section}.model");
                r.refuse(section, "provider", "the provider openai needs a model".to_owned(), Some(help));
            }
        };
        if self.asr.provider == AsrProvider::OpenAi {
            service(r, "asr", &self.asr.service);
        }
        if self.llm.provider == LlmProvider::OpenAi {
            service(r, "llm", &self.llm.service);
        }
        if self.tts.provider == TtsProvider::OpenAi {
            service(r, "tts", &self.tts.service);
        }
        if self.tts.provider == TtsProvider::Command && self.tts.command.is_empty() {
            let help =
                "name the program and its arguments, as in tts.command = [\"piper\", \"--output-raw\"]".to_owned();
            r.refuse("tts", "provider", "the provider command needs tts.command".to_owned(), Some(help));
        }
        if self.vad.stay_threshold > self.vad.start_threshold {
            let help = "what starts speech must be at least as sure as what sustains it".to_owned();
            r.refuse("vad", "stay_threshold", "it is above vad.start_threshold".to_owned(), Some(help));
        }
        if !self.listen.admin.ip().is_loopback() && self.admin.token.is_none() {
            let help = "set admin.token, or keep the admin listener on 127.0.0.1".to_owned();
            r.refuse("listen", "admin", "an admin address off loopback needs a token".to_owned(), Some(help));
        }
        self.check_addresses(r);
        self
    }

    fn check_addresses(&self, r: &mut Reader<'_>) {
        let all = [("device", self.listen.device), ("http", self.listen.http), ("admin", self.listen.admin)];
        for (i, (name, address)) in all.iter().enumerate() {
            let same = |other: &&(&str, SocketAddr)| other.1.port() == address.port() && address.port() != 0;
            if let Some((other, _)) = all[..i].iter().find(same) {
                let what = format!("port {} is listen.{other}'s already", address.port());
                r.refuse("listen", name, what, Some("give each listener a port of its own".to_owned()));
            }
        }
    }
}

impl Listen {
    fn read(r: &mut Reader<'_>) -> Listen {
        let listen = Listen {
            device: r.address("listen", "device", "0.0.0.0:8000", "Devices: WebSocket, OTA check-in, /healthz."),
            http: r.address("listen", "http", "0.0.0.0:8003", "Plain HTTP: OTA check-in, /healthz."),
            admin: r.address("listen", "admin", "127.0.0.1:8009", "Metrics and statistics; keep it on loopback."),
            public: r.text(
                "listen",
                "public",
                "",
                "Host (or host:port) that OTA tells devices to connect to; empty = the host they asked.",
            ),
            path: r.text("listen", "path", "/xiaozhi/v1/", "Path of the WebSocket, with or without the last slash."),
            lenient: r.flag("listen", "lenient", false, "Accept clients without a Device-Id, under an invented one."),
            tls: None,
        };
        let certificate =
            r.path("listen", "tls_cert", "PEM file with the certificate chain; with tls_key it turns TLS on.");
        let key = r.path("listen", "tls_key", "PEM file with the private key.");
        if !listen.path.starts_with('/') {
            r.refuse("listen", "path", "a path begins with /".to_owned(), None);
        }
        match (certificate, key) {
            (Some(certificate), Some(key)) => Listen { tls: Some((certificate, key)), ..listen },
            (None, None) => listen,
            (certificate, _) => {
                let (given, missing) =
                    if certificate.is_some() { ("tls_cert", "tls_key") } else { ("tls_key", "tls_cert") };
                r.refuse("listen", given, format!("listen.{missing} is missing"), Some("TLS needs both".to_owned()));
                listen
            }
        }
    }
}

impl Session {
    fn read(r: &mut Reader<'_>) -> Session {
        Session {
            idle_s: r.number("session", "idle_s", 120, 0..=86_400, "Seconds without speech before goodbye; 0 = never."),
            greeting: r.flag("session", "greeting", true, "Answer the wake word with a short phrase."),
            language: r
                .choice(
                    "session",
                    "language",
                    "en",
                    &[("en", "en"), ("zh", "zh")],
                    "Language of our own phrases while the device's is unknown.",
                )
                .to_owned(),
            persona: r.text("session", "persona", PERSONA, "The system prompt; {language} and {date} are filled in."),
            wake_words: r.list("session", "wake_words", &WAKE_WORDS, "Texts of listen/detect that are a wake word."),
            exit_words: r.list("session", "exit_words", &EXIT_WORDS, "Whole utterances that end the conversation."),
            turn_s: r.number("session", "turn_s", 12, 2..=60, "Budget from the end of speech to first audio, s."),
            wake_reply_en: r.text("session", "wake_reply_en", "Hi, I'm listening.", "Answer to the wake word."),
            wake_reply_zh: r.text("session", "wake_reply_zh", "我在，请说。", "The same in Chinese."),
            farewell_en: r.text("session", "farewell_en", "Goodbye, talk to you soon.", "Said before we close."),
            farewell_zh: r.text("session", "farewell_zh", "再见，下次再聊。", "The same in Chinese."),
            apology_en: r.text(
                "session",
                "apology_en",
                "Sorry, something went wrong. Please try again.",
                "Said when a service failed.",
            ),
            apology_zh: r.text("session", "apology_zh", "抱歉，出了点问题，请再试一次。", "The same in Chinese."),
            busy_en: r.text(
                "session",
                "busy_en",
                "I'm very busy right now. Please try again soon.",
                "Said when there is no room.",
            ),
            busy_zh: r.text("session", "busy_zh", "现在有点忙，请稍后再试。", "The same in Chinese."),
        }
    }
}

impl Vad {
    fn read(r: &mut Reader<'_>) -> Vad {
        Vad {
            engine: r.choice(
                "vad",
                "engine",
                "auto",
                &[
                    ("auto", VadEngine::Auto),
                    ("webrtc", VadEngine::Webrtc),
                    ("earshot", VadEngine::Earshot),
                    ("level", VadEngine::Level),
                ],
                "auto: webrtc as the gate, earshot confirms; level: by loudness alone, for tests.",
            ),
            onset_ms: r.number("vad", "onset_ms", 96, 20..=1_000, "Voice in a row before it counts as speech, ms.")
                as u32,
            silence_ms: r.number("vad", "silence_ms", 500, 100..=5_000, "Silence that ends an utterance, ms.") as u32,
            preroll_ms: r.number("vad", "preroll_ms", 400, 0..=2_000, "Audio kept from before speech began, ms.")
                as u32,
            voiced_min_ms: r.number("vad", "voiced_min_ms", 150, 20..=2_000, "Least voice in an utterance, ms.") as u32,
            start_threshold: r.decimal(
                "vad",
                "start_threshold",
                0.5,
                0.05..=0.99,
                "Voice probability that starts speech.",
            ) as f32,
            stay_threshold: r.decimal("vad", "stay_threshold", 0.35, 0.01..=0.99, "Voice probability that sustains it.")
                as f32,
        }
    }
}

impl Audio {
    fn read(r: &mut Reader<'_>) -> Audio {
        let rates = [("24000", 24_000), ("16000", 16_000), ("8000", 8_000), ("12000", 12_000), ("48000", 48_000)];
        let frames = [("60", 60), ("20", 20), ("40", 40)];
        let rate = r.number("audio", "rate", 24_000, 8_000..=48_000, "Sample rate of replies, Hz.");
        let frame_ms = r.number("audio", "frame_ms", 60, 20..=60, "Duration of a reply packet, ms: 20, 40 or 60.");
        if !rates.iter().any(|&(_, known)| known == rate) {
            r.refuse(
                "audio",
                "rate",
                format!("{rate} is no rate of Opus"),
                Some("8000, 12000, 16000, 24000 or 48000".into()),
            );
        }
        if !frames.iter().any(|&(_, known)| known == frame_ms) {
            r.refuse("audio", "frame_ms", format!("{frame_ms} ms is not possible"), Some("20, 40 or 60".to_owned()));
        }
        Audio {
            rate: rate as u32,
            frame_ms: frame_ms as u16,
            lead_ms: r.number("audio", "lead_ms", 180, 0..=360, "How far ahead of the playhead audio is sent, ms.")
                as u32,
            utterance_s: r.number("audio", "utterance_s", 30, 1..=30, "Longest utterance, s."),
        }
    }
}

impl Service {
    fn read(r: &mut Reader<'_>, section: &'static str, model_meaning: &'static str) -> Service {
        let base_url = r.text(section, "base_url", "", "openai: address of the service, ending in /v1.");
        if !base_url.is_empty() {
            let scheme = base_url.starts_with("http://") || base_url.starts_with("https://");
            if !scheme {
                let help = "as in \"http://127.0.0.1:8080/v1\"".to_owned();
                r.refuse(section, "base_url", "it must begin with http:// or https://".to_owned(), Some(help));
            } else if !base_url.trim_end_matches('/').ends_with("/v1") {
                let help = format!("did you mean \"{}/v1\"?", base_url.trim_end_matches('/'));
                r.refuse(section, "base_url", "it must end in /v1".to_owned(), Some(help));
            }
        }
        Service {
            base_url: base_url.trim_end_matches('/').to_owned(),
            model: r.text(section, "model", "", model_meaning),
            api_key: r.secret(section, "api_key", "api_key_file", "openai: the key, sent as a bearer token."),
        }
    }
}

impl Asr {
    fn read(r: &mut Reader<'_>) -> Asr {
        let providers =
            [("whisper", AsrProvider::Whisper), ("openai", AsrProvider::OpenAi), ("scripted", AsrProvider::Scripted)];
        let provider = r.choice("asr", "provider", "whisper", &providers, "Who recognises speech.");
        let service =
            Service::read(r, "asr", "whisper: path of a whisper.cpp model, empty = the one set up; openai: its name.");
        let language = r.text("asr", "language", "auto", "Two-letter code of the language spoken, or auto.");
        let is_code = language.len() == 2 && language.bytes().all(|b| b.is_ascii_lowercase());
        if language != "auto" && !is_code {
            let help = "write a two-letter code such as \"en\" or \"zh\", or \"auto\"".to_owned();
            r.refuse("asr", "language", format!("{language:?} is no language"), Some(help));
        }
        Asr {
            provider,
            service,
            language: is_code.then_some(language),
            workers: workers(r, "asr"),
            script: r.list("asr", "script", &[], "scripted: texts in turn; !hang !fail !empty are faults."),
            delay_ms: r.number("asr", "delay_ms", 0, 0..=60_000, "scripted: delay of an answer, ms."),
        }
    }
}

impl Llm {
    fn read(r: &mut Reader<'_>) -> Llm {
        let providers =
            [("builtin", LlmProvider::Builtin), ("openai", LlmProvider::OpenAi), ("scripted", LlmProvider::Scripted)];
        Llm {
            provider: r.choice("llm", "provider", "builtin", &providers, "Who answers; builtin needs no service."),
            service: Service::read(r, "llm", "openai: name of the model."),
            workers: workers(r, "llm"),
            temperature: r.decimal("llm", "temperature", 0.7, 0.0..=2.0, "openai: sampling temperature."),
            max_tokens: r.number("llm", "max_tokens", 500, 16..=8_192, "openai: longest answer, tokens.") as u32,
            script: r.list("llm", "script", &[], "scripted: answers in turn; !hang !fail !cut are faults."),
            first_token_ms: r.number("llm", "first_token_ms", 0, 0..=60_000, "scripted: delay of the first token, ms."),
            token_ms: r.number("llm", "token_ms", 0, 0..=10_000, "scripted: time between tokens, ms."),
        }
    }
}

impl Tts {
    fn read(r: &mut Reader<'_>) -> Tts {
        let providers = [
            ("espeak", TtsProvider::Espeak),
            ("openai", TtsProvider::OpenAi),
            ("command", TtsProvider::Command),
            ("scripted", TtsProvider::Scripted),
        ];
        let formats =
            [("wav", TtsFormat::Wav), ("pcm", TtsFormat::Pcm), ("mp3", TtsFormat::Mp3), ("opus", TtsFormat::Opus)];
        Tts {
            provider: r.choice("tts", "provider", "espeak", &providers, "Who speaks."),
            service: Service::read(r, "tts", "openai: name of the model."),
            workers: workers(r, "tts"),
            voice: r.text("tts", "voice", "", "Voice; espeak: empty = by language; openai: empty = alloy."),
            format: r.choice("tts", "format", "wav", &formats, "openai, command: what the audio comes as."),
            rate: r.number("tts", "rate", 24_000, 8_000..=48_000, "Sample rate of raw pcm, Hz.") as u32,
            command: r.list("tts", "command", &[], "command: program and arguments; text on stdin, audio on stdout."),
            opus_complexity: complexity(r),
            bitrate: r.number("tts", "bitrate", 24_000, 8_000..=64_000, "Opus bitrate of replies, bit/s.") as u32,
            script: r.list(
                "tts",
                "script",
                &[],
                "scripted: a fault for each sentence in turn, as !fail; empty = a tone.",
            ),
            first_audio_ms: r.number("tts", "first_audio_ms", 0, 0..=60_000, "scripted: delay of the first audio, ms."),
        }
    }
}

impl Auth {
    fn read(r: &mut Reader<'_>) -> Auth {
        Auth {
            token: r.choice(
                "auth",
                "mode",
                "open",
                &[("open", false), ("token", true)],
                "open: anybody on the network; token: OTA hands tokens to devices on the allow list.",
            ),
            allow: r.list("auth", "allow", &[], "Device-Ids that OTA gives a token to."),
            secret: r.secret(
                "auth",
                "secret",
                "secret_file",
                "Key of the tokens; empty = made once, kept in state.dir.",
            ),
            days: r.number("auth", "days", 30, 1..=3_650, "How long a token is good, days; a week of grace follows."),
        }
    }
}

fn per_address(r: &mut Reader<'_>) -> usize {
    let default = if r.is_value("auth", "mode", "token") { 256 } else { 0 };
    r.number("limits", "connections_per_address", default, 0..=1_000_000, "Connections from one address; 0 = no limit.")
        as usize
}

fn complexity(r: &mut Reader<'_>) -> Option<u8> {
    let text = r.text("tts", "opus_complexity", "auto", "Opus effort 0 to 10; auto = 5, less under load.");
    if text == "auto" {
        return None;
    }
    let value = text.parse::<u8>().ok().filter(|v| *v <= 10);
    if value.is_none() {
        r.refuse(
            "tts",
            "opus_complexity",
            format!("{text:?} is not possible"),
            Some("\"auto\" or \"0\" to \"10\"".to_owned()),
        );
    }
    value
}

fn workers(r: &mut Reader<'_>, section: &'static str) -> usize {
    r.number(section, "workers", 0, 0..=1_024, "Worker threads; 0 = on demand (local Whisper: the cores left).")
        as usize
}

fn default_state_dir() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state"));
    let base = std::env::var_os("XDG_STATE_HOME").filter(|x| !x.is_empty()).map(PathBuf::from).or_else(home);
    base.unwrap_or_else(|| PathBuf::from(".")).join("voxlane")
}
