//! The connection: check-in, upgrade, hello, framing. Written from the protocol, not from the server's code.

use crate::options::Options;
use serde_json::{Value, json};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// What the check-in told us.
#[derive(Clone, Debug, Default)]
pub struct CheckIn {
    pub url: String,
    pub token: String,
}

/// Asks an OTA address as a device does at boot.
pub fn check_in(url: &str, options: &Options, client_id: &str) -> Result<CheckIn, String> {
    let body = json!({
        "version": 2, "language": options.lang, "mac_address": options.device_id, "uuid": client_id,
        "chip_model_name": "esp32s3", "application": {"name": "xiaozhi", "version": "2.4.2"},
        "board": {"type": "voxlane-device", "name": "voxlane-device", "mac": options.device_id},
    });
    let language = if options.lang == "zh" { "zh-CN" } else { "en-US" };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let mut answer = agent
        .post(url)
        .header("Device-Id", &options.device_id)
        .header("Client-Id", client_id)
        .header("Activation-Version", "1")
        .header("User-Agent", "voxlane-device/2.4.2")
        .header("Accept-Language", language)
        .header("Content-Type", "application/json")
        .send(body.to_string())
        .map_err(|e| format!("check-in at {url}: {e}"))?;
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().map_err(|e| format!("check-in at {url}: {e}"))?;
    if status != 200 {
        return Err(format!("check-in at {url}: status {status}: {}", text.trim()));
    }
    let value: Value = serde_json::from_str(&text).map_err(|e| format!("check-in at {url}: no JSON: {e}"))?;
    if value.get("mqtt").is_some() {
        return Err(format!("check-in at {url}: the answer has `mqtt`, so a device would not use WebSocket"));
    }
    let socket = &value["websocket"];
    let url = socket["url"].as_str().ok_or("check-in: the answer names no websocket.url")?.to_owned();
    let token = socket["token"].as_str().unwrap_or("").to_owned();
    Ok(CheckIn { url, token })
}

/// What came over the wire.
#[derive(Debug)]
pub enum News {
    Message(Value),
    Packet(Vec<u8>),
    Closed(String),
    Nothing,
}

/// An open connection after the hello.
pub struct Link {
    socket: WebSocket<TcpStream>,
    opened: Instant,
    framing: u8,
    pub session_id: String,
    pub pcm: bool,
    pub rate: u32,
    pub packet_ms: u32,
    pub upgrade_ms: f64,
    pub hello_ms: f64,
}

impl Link {
    /// Connects and exchanges hellos.
    pub fn open(url: &str, token: &str, options: &Options, client_id: &str) -> Result<Link, String> {
        let fail = |what: String| format!("{url}: {what}");
        let mut request = url.into_client_request().map_err(|e| fail(e.to_string()))?;
        let uri = request.uri().clone();
        if uri.scheme_str() != Some("ws") {
            return Err(fail("only ws:// is spoken here".to_owned()));
        }
        let headers = request.headers_mut();
        let mut set = |name: &'static str, value: &str| {
            value.parse().map(|value| headers.insert(name, value)).map_err(|_| format!("{name} cannot be sent"))
        };
        set("Device-Id", &options.device_id)?;
        set("Client-Id", client_id)?;
        set("Protocol-Version", &options.framing.to_string())?;
        if !token.is_empty() {
            let value = if token.contains(' ') { token.to_owned() } else { format!("Bearer {token}") };
            set("Authorization", &value)?;
        }
        let authority = uri.authority().ok_or_else(|| fail("no host".to_owned()))?;
        let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80))
            .to_socket_addrs()
            .map_err(|e| fail(e.to_string()))?
            .next()
            .ok_or_else(|| fail("the host has no address".to_owned()))?;
        let opened = Instant::now();
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(|e| fail(e.to_string()))?;
        stream.set_nodelay(true).map_err(|e| fail(e.to_string()))?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(|e| fail(e.to_string()))?;
        let (socket, _) = tungstenite::client(request, stream).map_err(|e| match e {
            tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer)) => {
                let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                fail(format!("refused with status {}: {}", answer.status().as_u16(), body.trim()))
            }
            other => fail(other.to_string()),
        })?;
        let upgrade_ms = ms(opened);
        let mut link = Link {
            socket,
            opened,
            framing: options.framing,
            session_id: String::new(),
            pcm: false,
            rate: 24_000,
            packet_ms: 60,
            upgrade_ms,
            hello_ms: 0.0,
        };
        link.hello(options).map_err(fail)?;
        Ok(link)
    }

    fn hello(&mut self, options: &Options) -> Result<(), String> {
        let asked = Instant::now();
        let format = if options.pcm { "pcm" } else { "opus" };
        self.send(json!({
            "type": "hello", "version": options.framing, "transport": "websocket", "features": {"mcp": false},
            "audio_params": {"format": format, "sample_rate": 16_000, "channels": 1, "frame_duration": options.frame_ms},
        }))?;
        loop {
            match self.receive(Duration::from_secs(10).saturating_sub(asked.elapsed()))? {
                News::Message(m) if m["type"] == "hello" => {
                    if m["transport"] != "websocket" {
                        return Err(
                            "the server's hello lacks \"transport\":\"websocket\": devices reboot on it".to_owned()
                        );
                    }
                    let audio = &m["audio_params"];
                    self.session_id = m["session_id"].as_str().unwrap_or("").to_owned();
                    self.pcm = audio["format"] == "pcm";
                    self.rate = audio["sample_rate"].as_u64().unwrap_or(24_000) as u32;
                    self.packet_ms = audio["frame_duration"].as_u64().unwrap_or(60) as u32;
                    self.hello_ms = ms(asked);
                    return Ok(());
                }
                News::Closed(why) => return Err(format!("closed before the hello: {why}")),
                News::Nothing => return Err("no hello within 10 s".to_owned()),
                _ => {}
            }
        }
    }

    /// Milliseconds since the connection was opened.
    pub fn now_ms(&self) -> f64 {
        ms(self.opened)
    }

    pub fn send(&mut self, message: Value) -> Result<(), String> {
        self.write(Message::text(message.to_string()))
    }

    /// Sends one audio packet in the framing of this connection.
    pub fn send_audio(&mut self, payload: &[u8]) -> Result<(), String> {
        let mut frame = Vec::with_capacity(payload.len() + 16);
        match self.framing {
            2 => {
                frame.extend([0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                frame.extend((payload.len() as u32).to_be_bytes());
            }
            3 => {
                frame.extend([0, 0]);
                frame.extend((payload.len() as u16).to_be_bytes());
            }
            _ => {}
        }
        frame.extend_from_slice(payload);
        self.write(Message::binary(frame))
    }

    /// Hangs up as a device does: without a close frame.
    pub fn hang_up(self) {
        drop(self.socket);
    }

    /// Waits up to `wait` for the next message or packet.
    pub fn receive(&mut self, wait: Duration) -> Result<News, String> {
        let wait = wait.max(Duration::from_millis(1));
        self.socket.get_ref().set_read_timeout(Some(wait)).map_err(|e| e.to_string())?;
        match self.socket.read() {
            Ok(Message::Text(text)) => {
                let value = serde_json::from_str(&text).map_err(|e| format!("the server sent no JSON: {e}"))?;
                Ok(News::Message(value))
            }
            Ok(Message::Binary(frame)) => self.unframe(&frame).map(News::Packet),
            Ok(Message::Close(frame)) => Ok(News::Closed(match frame {
                Some(frame) => format!("close {} {}", u16::from(frame.code), frame.reason),
                None => "close without a code".to_owned(),
            })),
            Ok(_) => Ok(News::Nothing),
            Err(tungstenite::Error::Io(e)) if is_timeout(&e) => Ok(News::Nothing),
            Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => {
                Ok(News::Closed("closed".to_owned()))
            }
            Err(e) => Ok(News::Closed(e.to_string())),
        }
    }

    fn write(&mut self, message: Message) -> Result<(), String> {
        self.socket.send(message).map_err(|e| format!("sending: {e}"))
    }

    fn unframe(&self, frame: &[u8]) -> Result<Vec<u8>, String> {
        let (header, size) = match self.framing {
            2 => (16, frame.get(12..16).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize)),
            3 => (4, frame.get(2..4).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))),
            _ => return Ok(frame.to_vec()),
        };
        match (size, frame.get(header..)) {
            (Some(size), Some(payload)) if size == payload.len() => Ok(payload.to_vec()),
            _ => {
                Err(format!("a frame of framing {} with a wrong size: a device would read past its end", self.framing))
            }
        }
    }
}

fn is_timeout(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}
