//! The keys: one call each, with default and meaning. This file is the list a reader of the configuration looks for.

use super::backup;
use super::reader::Reader;
use super::values::*;
use crate::audio::endpoint::EndpointRules;
use crate::audio::phrase::Phrase;
use crate::audio::vad::Engine;
use crate::format::{Lang, ReplyFormat};
use crate::limits;
use crate::resilience::choice::Choice;
use crate::session::Rules;
use crate::time::Duration;
use std::net::SocketAddr;
use std::path::PathBuf;

impl Config {
    /// Reads every key there is.
    pub(super) fn read(r: &mut Reader<'_>) -> Config {
        Config {
            listen: Listen::read(r),
            shards: Shards::read(r),
            session: read_session(r),
            phrases: Phrases::read(r),
            vad: Vad::read(r),
            asr: Asr::read(r),
            llm: Llm::read(r),
            tts: Tts::read(r),
            services: Services::read(r),
            auth: Auth::read(r),
            limits: Limits::read(r),
            admin: Admin {
                token: r.secret(
                    "admin",
                    "token",
                    "token_file",
                    "Bearer token of the admin listener; needed off loopback.",
                ),
            },
            alerts: Alerts::read(r),
            log: Log::read(r),
            memory: Memory::read(r),
            state: State { dir: default_state_dir() },
        }
        .with_state(r)
        .check(r)
    }

    /// Where things are kept: the memory lies in the state folder unless told otherwise.
    fn with_state(mut self, r: &mut Reader<'_>) -> Config {
        let dir = r.path("state", "dir", "Where secrets and memory are kept; empty = the XDG state folder.");
        self.state.dir = dir.unwrap_or(self.state.dir);
        if self.memory.path.as_os_str().is_empty() {
            self.memory.path = self.state.dir.join("memory");
        }
        self
    }

    /// Values that are well-formed each and do not fit together.
    fn check(self, r: &mut Reader<'_>) -> Config {
        check_asr(r, &self.asr);
        check_llm(r, &self.llm);
        check_tts(r, &self.tts);
        if self.vad.rules.stay_threshold > self.vad.rules.start_threshold {
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

fn check_asr(r: &mut Reader<'_>, asr: &Asr) {
    if asr.provider == AsrProvider::OpenAi {
        asr.service.check(r, "asr");
    }
}

fn check_llm(r: &mut Reader<'_>, llm: &Llm) {
    if llm.provider == LlmProvider::OpenAi {
        llm.service.check(r, "llm");
    }
}

fn check_tts(r: &mut Reader<'_>, tts: &Tts) {
    if tts.provider == TtsProvider::OpenAi {
        tts.service.check(r, "tts");
    }
    if tts.provider == TtsProvider::Command && tts.command.is_empty() {
        let help = "name the program and its arguments, as in tts.command = [\"piper\", \"--output-raw\"]".to_owned();
        r.refuse("tts", "provider", "the provider command needs tts.command".to_owned(), Some(help));
    }
}

impl Limits {
    fn read(r: &mut Reader<'_>) -> Limits {
        let shed =
            "Refuse connections (503) and turns (\"busy\") that would not be served in time; false: serve all, late.";
        let memory = "Memory the server may use, MB; near it nobody new is let in. 0 = 80 % of what the machine or container has.";
        let drain = "How long a stopping server lets turns end, s; no new ones begin.";
        let connections = "Open device connections, all shards.";
        Limits {
            connections: r.number("limits", "connections", 20_000, 1..=1_000_000, connections) as usize,
            connections_per_address: per_address(r),
            shed: r.flag("limits", "shed", true, shed),
            memory_mb: r.number("limits", "memory_mb", 0, 0..=16_777_216, memory),
            drain_s: r.number("limits", "drain_s", 25, 0..=600, drain),
        }
    }
}

impl Services {
    fn read(r: &mut Reader<'_>) -> Services {
        let choices = [("ordered", Choice::Ordered), ("weighted", Choice::Weighted)];
        let choice = "Whom to ask first: the first that is well, or any, the healthier and faster the likelier.";
        let retry = "Calls repeated at the same service, per hundred.";
        let breaker =
            "A provider with a backup that fails this often, per cent of 10 s, is left to recover; one without: 100.";
        let offline = "When no language model can be reached, answer the time, sums and small talk all the same.";
        Services {
            proxy: r.flag("services", "proxy", false, "Go through the proxy that HTTPS_PROXY and the like name."),
            ca_file: r.path("services", "ca_file", "PEM file of authorities to trust instead of the web's."),
            choice: r.choice("services", "choice", "ordered", &choices, choice),
            retry_percent: r.number("services", "retry_percent", 10, 0..=100, retry) as u32,
            breaker_percent: r.number("services", "breaker_percent", 50, 1..=100, breaker) as u32,
            breaker_open_s: r.number("services", "breaker_open_s", 10, 1..=600, "For how long at first, s."),
            offline: r.flag("services", "offline", true, offline),
        }
    }
}

impl Shards {
    fn read(r: &mut Reader<'_>) -> Shards {
        let spin = "Look so long before sleeping and before deadlines, us; costs idle time of the core. Not with fewer cores than shards + 1.";
        let realtime = "Real-time priority (SCHED_FIFO) of shards; 0 = none. Needs CAP_SYS_NICE.";
        let lock = "Keep touched pages in memory (mlockall). Needs an unlimited RLIMIT_MEMLOCK.";
        Shards {
            count: r.number("shards", "count", 0, 0..=256, "Shard threads; 0 = half of the cores, at least 1.")
                as usize,
            pin: r.flag("shards", "pin", true, "Pin each shard to a core."),
            leave_cores: r.number("shards", "leave_cores", 0, 0..=255, "Cores, the first ones, that shards stay off.")
                as usize,
            spin_us: r.number("shards", "spin_us", 0, 0..=10_000, spin),
            realtime: r.number("shards", "realtime", 0, 0..=99, realtime) as u8,
            lock_memory: r.flag("shards", "lock_memory", false, lock),
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

/// Sections `session` and `audio`: the rules of conversations.
fn read_session(r: &mut Reader<'_>) -> Rules {
    let d = Rules::default();
    let words = |list: &[String]| list.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    let (wake, exit) = (words(&d.wake_words), words(&d.exit_words));
    let mut rules = Rules {
        idle: Duration::from_secs(r.number(
            "session",
            "idle_s",
            d.idle.as_secs(),
            0..=86_400,
            "Seconds without speech before goodbye; 0 = never.",
        )),
        turn: Duration::from_secs(r.number(
            "session",
            "turn_s",
            d.turn.as_secs(),
            2..=60,
            "Budget from the end of speech to first audio, s.",
        )),
        wake_reply: r.flag("session", "greeting", d.wake_reply, "Answer the wake word with a short phrase."),
        wake_words: r.list(
            "session",
            "wake_words",
            &wake.lines().collect::<Vec<_>>(),
            "Texts of listen/detect that are a wake word.",
        ),
        exit_words: r.list(
            "session",
            "exit_words",
            &exit.lines().collect::<Vec<_>>(),
            "Whole utterances that end the conversation.",
        ),
        persona: r.text("session", "persona", &d.persona, "The system prompt; {language} is filled in."),
        persona_zh: r.text("session", "persona_zh", &d.persona_zh, "The same for users who speak Chinese."),
        dialogue_turns: r.number(
            "session",
            "dialogue_turns",
            d.dialogue_turns as u64,
            1..=200,
            "Turns the language model is given.",
        ) as usize,
        dialogue_tokens: r.number(
            "session",
            "dialogue_tokens",
            d.dialogue_tokens as u64,
            100..=100_000,
            "Tokens of them, estimated; whole turns are dropped.",
        ) as usize,
        ..d
    };
    rules.lead_ms = r.number(
        "audio",
        "lead_ms",
        u64::from(rules.lead_ms),
        0..=360,
        "How far ahead of the playhead audio is sent, ms.",
    ) as u32;
    rules.group = group(r);
    let rate = r.number("audio", "rate", u64::from(rules.reply.rate), 8_000..=48_000, "Sample rate of replies, Hz.");
    let frame_ms = r.number(
        "audio",
        "frame_ms",
        u64::from(rules.reply.frame_ms),
        20..=60,
        "Duration of a reply packet, ms: 20, 40 or 60.",
    );
    if ![8_000, 12_000, 16_000, 24_000, 48_000].contains(&rate) {
        let help = "8000, 12000, 16000, 24000 or 48000".to_owned();
        r.refuse("audio", "rate", format!("{rate} is no rate of Opus"), Some(help));
    }
    if ![20, 40, 60].contains(&frame_ms) {
        r.refuse("audio", "frame_ms", format!("{frame_ms} ms is not possible"), Some("20, 40 or 60".to_owned()));
    }
    rules.reply = ReplyFormat { rate: rate as u32, frame_ms: frame_ms as u16, ..rules.reply };
    rules
}

impl Phrases {
    fn read(r: &mut Reader<'_>) -> Phrases {
        let mut texts = Vec::new();
        let mut phrase =
            |phrase, lang, key, default, meaning| texts.push((phrase, lang, r.text("phrases", key, default, meaning)));
        let (en, zh) = (Lang::EN, Lang::ZH);
        phrase(Phrase::WakeReply, en, "wake_reply_en", "Hi, I'm listening.", "Answer to the wake word.");
        phrase(Phrase::WakeReply, zh, "wake_reply_zh", "我在，请说。", "The same in Chinese.");
        phrase(Phrase::Farewell, en, "farewell_en", "Goodbye, talk to you soon.", "Said before we close.");
        phrase(Phrase::Farewell, zh, "farewell_zh", "再见，下次再聊。", "The same in Chinese.");
        let sorry = "Sorry, something went wrong. Please try again.";
        phrase(Phrase::Apology, en, "apology_en", sorry, "Said when a service failed.");
        phrase(Phrase::Apology, zh, "apology_zh", "抱歉，出了点问题，请再试一次。", "The same in Chinese.");
        let busy = "I'm very busy right now. Please try again soon.";
        phrase(Phrase::Busy, en, "busy_en", busy, "Said when there is no room for a turn.");
        phrase(Phrase::Busy, zh, "busy_zh", "现在有点忙，请稍后再试。", "The same in Chinese.");
        Phrases { texts }
    }
}

impl Vad {
    fn read(r: &mut Reader<'_>) -> Vad {
        let engines = [
            ("auto", Engine::Auto),
            ("webrtc", Engine::Webrtc),
            ("earshot", Engine::Earshot),
            ("level", Engine::Level),
        ];
        let meaning = "auto: webrtc as the gate, earshot confirms; level: by loudness alone, for tests.";
        let engine = r.choice("vad", "engine", "auto", &engines, meaning);
        let d = EndpointRules::default();
        let mut ms =
            |key, default: u32, range, meaning| r.number("vad", key, u64::from(default), range, meaning) as u32;
        let rules = EndpointRules {
            onset_ms: ms("onset_ms", d.onset_ms, 20..=1_000, "Voice in a row before it counts as speech, ms."),
            silence_ms: ms("silence_ms", d.silence_ms, 100..=5_000, "Silence that ends an utterance, ms."),
            preroll_ms: ms("preroll_ms", d.preroll_ms, 0..=2_000, "Audio kept from before speech began, ms."),
            voiced_min_ms: ms("voiced_min_ms", d.voiced_min_ms, 20..=2_000, "Least voice in an utterance, ms."),
            longest_ms: ms("longest_ms", d.longest_ms, 1_000..=30_000, "Longest utterance, ms."),
            ..d
        };
        let mut probability = |key, default: f32, meaning| {
            let shown = (f64::from(default) * 100.0).round() / 100.0;
            r.decimal("vad", key, shown, 0.01..=0.99, meaning) as f32
        };
        let rules = EndpointRules {
            start_threshold: probability("start_threshold", d.start_threshold, "Voice probability that starts speech."),
            stay_threshold: probability("stay_threshold", d.stay_threshold, "Voice probability that sustains it."),
            ..rules
        };
        Vad { engine, rules }
    }
}

impl Service {
    /// What openai cannot do without.
    fn check(&self, r: &mut Reader<'_>, section: &'static str) {
        if self.base_url.is_empty() {
            let help =
                format!("give the address of the service, as in {section}.base_url = \"http://127.0.0.1:8080/v1\"");
            r.refuse(section, "provider", "the provider openai needs base_url".to_owned(), Some(help));
        }
        if self.model.is_empty() {
            let help = format!("name the model as the service calls it, in {section}.model");
            r.refuse(section, "provider", "the provider openai needs a model".to_owned(), Some(help));
        }
    }

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
        let mut own = Asr::read_one(r);
        own.workers = workers(r, "asr");
        own.backups = backup::read(r, "asr", Asr::read_one, check_asr);
        for backup in &mut own.backups {
            backup.language = backup.language.take().or_else(|| own.language.clone());
        }
        own
    }

    fn read_one(r: &mut Reader<'_>) -> Asr {
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
            unknown_language: Some(r.text(
                "asr",
                "unknown_language",
                "",
                "openai: sent as the language while it is unknown; whisper.cpp's server wants auto.",
            ))
            .filter(|l| !l.is_empty()),
            uploads_opus: r.choice(
                "asr",
                "upload",
                "wav",
                &[("wav", false), ("opus", true)],
                "openai: what is sent: wav, or an Opus device's packets as they came, in Ogg (if the service takes it).",
            ),
            workers: 0,
            concurrency: concurrency(r, "asr"),
            backups: Vec::new(),
            script: r.list("asr", "script", &[], "scripted: texts in turn; !hang !fail !empty are faults."),
            delay_ms: r.number("asr", "delay_ms", 0, 0..=60_000, "scripted: delay of an answer, ms."),
            is_queued: r.flag("asr", "queued", false, "scripted: few workers, each with a queue, as whisper has."),
        }
    }
}

impl Llm {
    fn read(r: &mut Reader<'_>) -> Llm {
        let mut own = Llm::read_one(r);
        own.workers = workers(r, "llm");
        own.backups = backup::read(r, "llm", Llm::read_one, check_llm);
        let hedge = "Ask another (the next backup, else the same service) when the first token is later than this, ms; 0 = never.";
        own.hedge_ms = r.number("llm", "hedge_ms", 0, 0..=5_000, hedge);
        own
    }

    fn read_one(r: &mut Reader<'_>) -> Llm {
        let providers =
            [("builtin", LlmProvider::Builtin), ("openai", LlmProvider::OpenAi), ("scripted", LlmProvider::Scripted)];
        Llm {
            provider: r.choice("llm", "provider", "builtin", &providers, "Who answers; builtin needs no service."),
            service: Service::read(r, "llm", "openai: name of the model."),
            workers: 0,
            concurrency: concurrency(r, "llm"),
            backups: Vec::new(),
            hedge_ms: 0,
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
        let mut own = Tts::read_one(r);
        own.workers = workers(r, "tts");
        own.backups = backup::read(r, "tts", Tts::read_one, check_tts);
        own.opus_complexity = complexity(r);
        own.bitrate = r.number("tts", "bitrate", 24_000, 8_000..=64_000, "Opus bitrate of replies, bit/s.") as u32;
        let cache =
            "Memory for sentences that were said before, so that each is spoken and encoded once, MB; 0 = none.";
        own.cache_mb = r.number("tts", "cache_mb", 16, 0..=limits::SPEECH_KEPT_MB_MOST, cache);
        own
    }

    fn read_one(r: &mut Reader<'_>) -> Tts {
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
            workers: 0,
            concurrency: concurrency(r, "tts"),
            backups: Vec::new(),
            voice: r.text("tts", "voice", "", "Voice; espeak: empty = by language; openai: empty = alloy."),
            format: r.choice("tts", "format", "wav", &formats, "openai, command: what the audio comes as."),
            rate: r.number("tts", "rate", 24_000, 8_000..=48_000, "Sample rate of raw pcm, Hz.") as u32,
            speed: r.decimal("tts", "speed", 1.0, 0.25..=4.0, "openai: speed of speech."),
            command: r.list("tts", "command", &[], "command: program and arguments; text on stdin, audio on stdout."),
            opus_complexity: None,
            bitrate: 0,
            cache_mb: 0,
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
            secret: read_secret(r),
        }
    }
}

fn read_secret(r: &mut Reader<'_>) -> Option<String> {
    let secret = r.secret("auth", "secret", "secret_file", "Key of the tokens; empty = made once, kept in state.dir.");
    if secret.as_ref().is_some_and(|s| s.len() < 16) {
        r.refuse("auth", "secret", "a secret has at least 16 characters".to_owned(), Some("longer, please".to_owned()));
    }
    secret
}

fn per_address(r: &mut Reader<'_>) -> usize {
    let default = if r.is_value("auth", "mode", "token") { 256 } else { 0 };
    r.number("limits", "connections_per_address", default, 0..=1_000_000, "Connections from one address; 0 = no limit.")
        as usize
}

fn group(r: &mut Reader<'_>) -> Option<u32> {
    let text =
        r.text("audio", "group", "auto", "Reply packets sent together, 1 to 3; auto = 1, and 2 while a shard is busy.");
    if text == "auto" {
        return None;
    }
    let value = text.parse::<u32>().ok().filter(|v| (1..=3).contains(v));
    if value.is_none() {
        let help = "\"auto\" or \"1\" to \"3\"".to_owned();
        r.refuse("audio", "group", format!("{text:?} is not possible"), Some(help));
    }
    value
}

fn complexity(r: &mut Reader<'_>) -> Option<u8> {
    let text = r.text("tts", "opus_complexity", "auto", "Opus effort 0 to 10; auto = 5 at ease, ever less under load.");
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

fn concurrency(r: &mut Reader<'_>, section: &'static str) -> u32 {
    r.number(section, "concurrency", 0, 0..=1_024, "Calls to the provider at once; 0 = as many as workers.") as u32
}

fn default_state_dir() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state"));
    let base = std::env::var_os("XDG_STATE_HOME").filter(|x| !x.is_empty()).map(PathBuf::from).or_else(home);
    base.unwrap_or_else(|| PathBuf::from(".")).join("voxlane")
}
