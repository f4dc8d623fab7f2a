//! Devices that talk at once, and how punctual their replies are: real Opus both ways over loopback, scripted providers, one
//! shard. The server's own measure counts: how late after its scheduled instant each reply packet was written.
//!
//!     cargo bench --bench talk -- [devices, default 25] [seconds, default 20]

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};
use voxlane::audio::opus::{Encoder, EncoderSettings};
use voxlane::config::{self, Environment};
use voxlane::metrics::histogram::Snapshot;
use voxlane::metrics::{Counter, Home, Series};
use voxlane::server::Server;

const CONFIG: &str = r#"
[listen]
device = "127.0.0.1:0"
http = "127.0.0.1:0"
admin = "127.0.0.1:0"
[shards]
count = 1
[asr]
provider = "scripted"
delay_ms = 120
[memory]
durability = "none"
[llm]
provider = "scripted"
script = ["This is the first sentence of the reply. Here comes the second one, a little longer than the first. And a third."]
first_token_ms = 220
token_ms = 16
[tts]
provider = "scripted"
first_audio_ms = 120
cache_mb = 0
"#;

fn main() {
    let mut numbers = std::env::args().filter_map(|a| a.parse::<u64>().ok());
    let devices = numbers.next().unwrap_or(25) as usize;
    let seconds = numbers.next().unwrap_or(20);
    let loaded = config::parse(Some((Path::new("bench.toml"), CONFIG)), &Environment::new()).expect("configuration");
    let server = Server::start(&loaded.config).expect("server");
    server.wait_ready(Duration::from_secs(10)).expect("ready");
    let packets = speech();
    let address = server.addresses().device;
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let turns: usize = std::thread::scope(|scope| {
        let talk = |i: usize| {
            let packets = &packets;
            // Spread over one packet's duration, as devices are.
            let first = begin + Duration::from_millis(1_000 + 60 * i as u64 / devices as u64);
            scope.spawn(move || converse(address, i, packets, first, end))
        };
        let all: Vec<_> = (0..devices).map(talk).collect();
        all.into_iter().map(|device| device.join().expect("a device")).sum()
    });
    report(&server, devices, turns, begin.elapsed());
    server.stop(Duration::ZERO);
}

fn report(server: &Server, devices: usize, turns: usize, took: Duration) {
    let sums = server.registry().sums();
    let shards: Vec<_> = sums.iter().filter(|sum| matches!(sum.home, Home::Shard(_))).collect();
    let merged = |series: Series| {
        let mut all = Snapshot::default();
        shards.iter().for_each(|sum| all.merge(sum.series(series)));
        all
    };
    let frames = merged(Series::FrameLateness);
    let sent: u64 = shards.iter().map(|sum| sum.counter(Counter::PacketsOut)).sum();
    let ms = |d: Option<Duration>| d.map_or(0.0, |d| d.as_secs_f64() * 1_000.0);
    let early =
        (1..=10_000).rev().map(|n| f64::from(n) / 100.0).find(|p| ms(frames.percentile(*p)) <= 5.0).unwrap_or(0.0);
    println!("{devices} devices, {turns} turns, {sent} reply packets in {:.1} s on one shard", took.as_secs_f64());
    println!(
        "reply packets late by p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.2} ms; {early:.2} % within 5 ms of schedule",
        ms(frames.percentile(50.0)),
        ms(frames.percentile(99.0)),
        ms(frames.percentile(99.9)),
        ms(Some(frames.max())),
    );
    let first = merged(Series::FirstAudioReady);
    println!(
        "end of speech to first packet ready: p50 {:.0} p95 {:.0} ms (500 of it the wait for silence, about 620 the stand-ins)",
        ms(first.percentile(50.0)),
        ms(first.percentile(95.0))
    );
}

/// Speaks and listens until `end`; returns how many replies came.
fn converse(address: SocketAddr, number: usize, packets: &[Vec<u8>], first: Instant, end: Instant) -> usize {
    let mut request = format!("ws://{address}/xiaozhi/v1/").into_client_request().expect("url");
    let id = format!("02:00:00:00:{:02x}:{:02x}", number / 256, number % 256);
    request.headers_mut().insert("Device-Id", id.parse().expect("id"));
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    let (mut socket, _) = tungstenite::client(request, stream).expect("upgrade");
    let hello = r#"{"type":"hello","version":1,"transport":"websocket","audio_params":{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}}"#;
    socket.send(Message::text(hello)).expect("hello");
    socket.send(Message::text(r#"{"type":"listen","state":"start","mode":"auto"}"#)).expect("listen");
    let (mut turns, mut next, mut at, mut speaking) = (0, first, 0, false);
    while Instant::now() < end {
        if let Some(text) = receive(&mut socket, if speaking { end } else { next }) {
            if text.contains(r#""start""#) {
                (speaking, at) = (true, 0);
            } else if text.contains(r#""stop""#) {
                (speaking, next) = (false, Instant::now());
                turns += 1;
            }
        }
        if !speaking && Instant::now() >= next {
            socket.send(Message::binary(packets[at % packets.len()].clone())).expect("packet");
            (at, next) = (at + 1, next + Duration::from_millis(60));
        }
    }
    turns
}

/// The next text message, if one comes before `until`.
fn receive(socket: &mut WebSocket<TcpStream>, until: Instant) -> Option<String> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        socket.get_ref().set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("timeout");
        match socket.read() {
            Ok(Message::Text(text)) => return Some(text.to_string()),
            Ok(_) => {}
            Err(tungstenite::Error::Io(e)) if matches!(e.kind(), std::io::ErrorKind::WouldBlock) => return None,
            Err(e) => panic!("the server hung up: {e}"),
        }
    }
}

/// A human sentence of 4 s as a device would encode it, then silence enough to end it.
fn speech() -> Vec<Vec<u8>> {
    let wav = include_bytes!("../tests/data/zh-aishell-BAC009S0724W0121.wav");
    let mut pcm: Vec<i16> = wav[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    pcm.resize((pcm.len() + 16_000 * 2).next_multiple_of(960), 0);
    let mut encoder = Encoder::with(EncoderSettings::device(16_000)).expect("encoder");
    let mut out = [0; 1_500];
    let mut encode = |frame: &[i16]| {
        let len = encoder.encode(frame, &mut out).expect("encode");
        out[..len].to_vec()
    };
    pcm.chunks_exact(960).map(&mut encode).collect()
}
