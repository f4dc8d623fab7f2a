//! A server with scripted providers on free loopback ports, and a client that speaks to it as devices do.
//!
//! The client is tungstenite's own WebSocket: a second opinion on ours. Nothing here sleeps; waiting is reading with a limit.
#![allow(dead_code)] // each test program uses a part of it

pub mod frames;
pub mod services;
pub mod sound;
pub mod world;

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::Request;
use tungstenite::{Message, WebSocket};
use voxlane::config::{self, Config, Environment};
use voxlane::server::Server;

/// Longest wait for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Everything scripted, voice by loudness: a conversation costs milliseconds.
const BASE: &str = r#"
[listen]
device = "127.0.0.1:0"
http = "127.0.0.1:0"
admin = "127.0.0.1:0"
[shards]
count = 1
pin = false
[vad]
engine = "level"
[asr]
provider = "scripted"
[llm]
provider = "scripted"
[tts]
provider = "scripted"
[limits]
shed = false
[log]
level = "warn"
"#;

/// A running server; stopped when dropped.
pub struct Rig {
    pub server: Option<Server>,
    pub device: SocketAddr,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    state: PathBuf,
}

impl Rig {
    /// The scripted server with overrides, each `section.key = value` in TOML, as in `("asr.script", r#"["hello"]"#)`.
    pub fn with(overrides: &[(&str, &str)]) -> Rig {
        let (config, state) = configuration(overrides);
        let server = Server::start(&config).unwrap_or_else(|e| panic!("{e}"));
        server.wait_ready(PATIENCE).expect("ready");
        let at = server.addresses();
        Rig { device: at.device, http: at.http, admin: at.admin, server: Some(server), state }
    }

    /// The scripted server as it is.
    pub fn new() -> Rig {
        Rig::with(&[])
    }

    /// The scripted server as it is, one for all tests of a program that do not count.
    pub fn shared() -> &'static Rig {
        static SHARED: OnceLock<Rig> = OnceLock::new();
        SHARED.get_or_init(Rig::new)
    }

    /// The folder of its state.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// A connection after both hellos; PCM both ways, so that voice is written as numbers.
    pub fn device(&self) -> Client {
        let mut client = Client::connect(self.device);
        client.hello(
            json!({"audio_params": {"format": "pcm", "sample_rate": 16_000, "channels": 1, "frame_duration": 60}}),
        );
        client
    }

    /// A connection after both hellos; Opus both ways.
    pub fn opus_device(&self) -> Client {
        let mut client = Client::connect(self.device);
        client.hello(json!({}));
        client
    }

    /// The value of a metric on the admin listener, summed over its label sets that contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = http(self.admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").body;
        let of =
            |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']) && line.contains(labels);
        text.lines().filter(of).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until a metric has reached `least`.
    pub fn metric_reaches(&self, name: &str, labels: &str, least: f64) {
        self.metric_becomes(name, labels, |value| value >= least);
    }

    /// Waits until a metric is as wanted.
    pub fn metric_becomes(&self, name: &str, labels: &str, is_wanted: impl Fn(f64) -> bool) {
        let begin = Instant::now();
        while !is_wanted(self.metric(name, labels)) {
            assert!(begin.elapsed() < PATIENCE, "{name}{{{labels}}} stays at {}", self.metric(name, labels));
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(Duration::ZERO);
        }
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

/// A rig that tests share while any of them runs: `static RIG: Shared = Shared::new();` and `RIG.with(&[…])`. Tests in it must
/// not count by its metrics.
pub struct Shared(Mutex<Weak<Rig>>);

impl Shared {
    pub const fn new() -> Shared {
        Shared(Mutex::new(Weak::new()))
    }

    /// The rig; it is started, with these overrides, by whoever comes first.
    pub fn with(&self, overrides: &[(&str, &str)]) -> Arc<Rig> {
        let mut place = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        place.upgrade().unwrap_or_else(|| {
            let rig = Arc::new(Rig::with(overrides));
            *place = Arc::downgrade(&rig);
            rig
        })
    }
}

/// A Device-Id that nobody else in this process has: the newest connection of an id replaces the others.
pub fn fresh_id() -> String {
    static IDS: AtomicU32 = AtomicU32::new(1);
    let [a, b, c, d] = IDS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The scripted server's configuration with overrides, and its state folder, which nobody else uses.
pub fn configuration(overrides: &[(&str, &str)]) -> (Config, PathBuf) {
    let (text, state) = configuration_text(overrides);
    let loaded = config::parse(Some((Path::new("test.toml"), &text)), &Environment::new());
    (loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).config, state)
}

/// The same as it stands in a file.
pub fn configuration_text(overrides: &[(&str, &str)]) -> (String, PathBuf) {
    static RIGS: AtomicU32 = AtomicU32::new(0);
    let number = RIGS.fetch_add(1, Ordering::Relaxed);
    let state = std::env::temp_dir().join(format!("voxlane-test-{}-{number}", std::process::id()));
    let mut text = format!("{BASE}[state]\ndir = {state:?}\n");
    for (path, value) in overrides {
        let (section, key) = path.split_once('.').expect("section.key");
        text = put(&text, section, key, value);
    }
    (text, state)
}

fn put(text: &str, section: &str, key: &str, value: &str) -> String {
    let header = format!("[{section}]\n");
    let line = format!("{key} = {value}\n");
    let Some(at) = text.find(&header) else { return format!("{text}{header}{line}") };
    let (before, after) = text.split_at(at + header.len());
    let end = after.find("\n[").map_or(after.len(), |i| i + 1);
    let kept: String =
        after[..end].lines().filter(|l| !l.starts_with(&format!("{key} "))).map(|l| format!("{l}\n")).collect();
    format!("{before}{line}{kept}{}", &after[end..])
}

/// What a client received.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Json(Value),
    Packet(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame with its code (1005 if it had none).
    Close(u16),
    /// The connection ended without one.
    End,
}

impl Got {
    /// `type`, or `type:state` for `tts`; `packet`, `ping`, `close` … for the rest.
    pub fn kind(&self) -> String {
        match self {
            Got::Json(v) => match v["state"].as_str() {
                Some(state) => format!("{}:{state}", v["type"].as_str().unwrap_or("?")),
                None => v["type"].as_str().unwrap_or("?").to_owned(),
            },
            Got::Packet(_) => "packet".to_owned(),
            Got::Ping(_) => "ping".to_owned(),
            Got::Pong(_) => "pong frame".to_owned(),
            Got::Close(code) => format!("close {code}"),
            Got::End => "end".to_owned(),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Got::Json(v) => v["text"].as_str().unwrap_or(""),
            _ => "",
        }
    }
}

/// A client on one connection.
pub struct Client {
    pub socket: WebSocket<TcpStream>,
    pub session: String,
    pub opened: Instant,
}

impl Client {
    /// Upgraded with the headers of a device, under an id of its own; no hello yet.
    pub fn connect(address: SocketAddr) -> Client {
        Client::connect_as(address, &fresh_id(), |_| {}).expect("upgrade")
    }

    /// Upgraded under this Device-Id, after `change` to the request; the refusal's status and body otherwise.
    pub fn connect_as(
        address: SocketAddr,
        device_id: &str,
        change: impl FnOnce(&mut Request<()>),
    ) -> Result<Client, (u16, String)> {
        let mut request = format!("ws://{address}/xiaozhi/v1/").into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("Device-Id", device_id.parse().unwrap());
        headers.insert("Client-Id", "7b6b1f0e-6a39-4b1b-8d4b-0a52b6c0d001".parse().unwrap());
        headers.insert("Protocol-Version", "1".parse().unwrap());
        change(&mut request);
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Client { socket, session: String::new(), opened: Instant::now() }),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                let body = answer.body().as_deref().map(|b| String::from_utf8_lossy(b).into_owned());
                Err((answer.status().as_u16(), body.unwrap_or_default()))
            }
            Err(other) => panic!("upgrade: {other}"),
        }
    }

    /// Sends a hello with these members beside `type`, and returns the server's.
    pub fn hello(&mut self, members: Value) -> Value {
        let mut hello = json!({"type": "hello", "version": 1, "transport": "websocket"});
        for (name, value) in members.as_object().unwrap() {
            hello[name] = value.clone();
        }
        self.send(hello);
        let Got::Json(answer) = self.next(PATIENCE).expect("a hello") else { panic!("no hello") };
        assert_eq!(answer["type"], "hello");
        self.session = answer["session_id"].as_str().unwrap_or("").to_owned();
        answer
    }

    pub fn send(&mut self, message: Value) {
        self.send_text(&message.to_string());
    }

    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("send");
    }

    pub fn send_packet(&mut self, packet: &[u8]) {
        self.socket.send(Message::binary(packet.to_vec())).expect("send");
    }

    pub fn listen(&mut self, state: &str, mode: &str) {
        match state {
            "start" => self.send(json!({"session_id": self.session, "type": "listen", "state": "start", "mode": mode})),
            _ => self.send(json!({"session_id": self.session, "type": "listen", "state": state})),
        }
    }

    pub fn detect(&mut self, text: &str) {
        self.send(json!({"session_id": self.session, "type": "listen", "state": "detect", "text": text}));
    }

    pub fn abort(&mut self) {
        self.send(json!({"session_id": self.session, "type": "abort"}));
    }

    /// Sends `ms` of PCM voice, or silence, in packets of 60 ms (as fast as the socket takes them).
    pub fn sound(&mut self, ms: usize, is_voice: bool) {
        for _ in 0..ms.div_ceil(60) {
            self.send_packet(&pcm_packet(is_voice));
        }
    }

    /// An utterance as an auto-mode device sends it: a breath, voice, then silence enough to end it.
    pub fn utterance(&mut self, voice_ms: usize) {
        self.sound(120, false);
        self.sound(voice_ms, true);
        self.sound(900, false);
    }

    /// The next thing that comes within `wait`. Pings are answered by tungstenite and returned.
    pub fn next(&mut self, wait: Duration) -> Option<Got> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.get_ref().set_read_timeout(Some(left)).unwrap();
            let got = match self.socket.read() {
                Ok(Message::Text(text)) => Got::Json(serde_json::from_str(&text).expect("every text frame is JSON")),
                Ok(Message::Binary(bytes)) => Got::Packet(bytes.to_vec()),
                Ok(Message::Ping(payload)) => Got::Ping(payload.to_vec()),
                Ok(Message::Pong(payload)) => Got::Pong(payload.to_vec()),
                Ok(Message::Close(frame)) => Got::Close(frame.map_or(1005, |f| f.code.into())),
                Ok(Message::Frame(_)) => continue,
                Err(tungstenite::Error::Io(e)) if is_timeout(&e) && Instant::now() < until => continue,
                Err(tungstenite::Error::Io(e)) if is_timeout(&e) => return None,
                Err(_) => Got::End,
            };
            return Some(got);
        }
    }

    /// Everything up to and including the first thing of this kind (see [`Got::kind`]).
    pub fn until(&mut self, kind: &str) -> Vec<Got> {
        self.timed_until(kind).into_iter().map(|(_, got)| got).collect()
    }

    /// The same with the time at which each thing was received.
    pub fn timed_until(&mut self, kind: &str) -> Vec<(Instant, Got)> {
        let begin = Instant::now();
        let mut all: Vec<(Instant, Got)> = Vec::new();
        loop {
            let left = PATIENCE.saturating_sub(begin.elapsed());
            let got = self.next(left);
            let list = || kinds(&all.iter().map(|(_, got)| got.clone()).collect::<Vec<_>>());
            let Some(got) = got else { panic!("waited for {kind}, got {:?}", list()) };
            let found = got.kind() == kind;
            assert!(found || got != Got::End, "waited for {kind}, the connection ended after {:?}", list());
            all.push((Instant::now(), got));
            if found {
                return all;
            }
        }
    }

    /// Asserts that nothing but pings comes for `ms`.
    pub fn quiet(&mut self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        while let Some(got) = self.next(until.saturating_duration_since(Instant::now())) {
            assert!(matches!(got, Got::Ping(_)), "expected silence, got {got:?}");
        }
    }

    /// Asserts that the connection still works: a `ping` message is answered by `pong`.
    pub fn is_alive(&mut self) {
        self.send(json!({"type": "ping"}));
        self.until("pong");
    }
}

/// Kinds in order, runs of packets as one.
pub fn kinds(all: &[Got]) -> Vec<String> {
    let mut list: Vec<String> = all.iter().map(Got::kind).collect();
    list.dedup_by(|a, b| a == "packet" && b == "packet");
    list
}

/// 60 ms of 16 kHz PCM: a square wave that the level detector takes for voice, or silence.
pub fn pcm_packet(is_voice: bool) -> Vec<u8> {
    let sample = |i: usize| if is_voice { if (i / 40).is_multiple_of(2) { 6_000i16 } else { -6_000 } } else { 0 };
    (0..960).flat_map(|i| sample(i).to_le_bytes()).collect()
}

/// An answer to a plain HTTP request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|l| l.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()))
    }
}

/// Sends a request as it stands and reads the answer to the end of the connection.
pub fn http(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    read_answer(&mut stream)
}

/// Reads an answer to the end of the connection.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes); // a reset after the answer is no loss
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn is_timeout(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
