//! Cost of the wire: unmasking, reading a frame, framing a packet, reading and writing messages, a token.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use voxlane::ids::SessionId;
use voxlane::wire::message::{self, ServerMessage};
use voxlane::wire::packet::{self, Version};
use voxlane::wire::token::{self, Keys};
use voxlane::wire::websocket::{self, Reader};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const HELLO: &str = r#"{"type":"hello","version":1,"features":{"mcp":true},"transport":"websocket","audio_params":{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}}"#;
const LISTEN: &str = r#"{"session_id":"","type":"listen","state":"start","mode":"auto"}"#;

fn mask(c: &mut Criterion) {
    let mut group = c.benchmark_group("unmask");
    for size in [150, 4_000, 65_535] {
        let mut payload = vec![7; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} bytes"), |b| b.iter(|| websocket::unmask(black_box(&mut payload), KEY)));
    }
}

/// A masked binary frame as a device sends it.
fn frame(len: usize) -> Vec<u8> {
    let mut out = vec![0x82];
    match len {
        0..126 => out.push(0x80 | len as u8),
        _ => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
    }
    out.extend(KEY);
    let mut payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
    websocket::unmask(&mut payload, KEY);
    out.extend(payload);
    out
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read a frame");
    for len in [100, 1_952] {
        let bytes = frame(len);
        let mut reader = Reader::default();
        group.bench_function(format!("{len} bytes"), |b| {
            b.iter_batched_ref(
                || bytes.clone(),
                |bytes| reader.read(black_box(bytes)).map(|(used, input)| (used, input.is_some())),
                BatchSize::SmallInput,
            )
        });
    }
}

fn framing(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame a packet of 180 bytes");
    let packet = [9; 180];
    let mut out = Vec::with_capacity(256);
    for version in [Version::V1, Version::V2, Version::V3] {
        group.bench_function(format!("v{}", version.number()), |b| {
            b.iter(|| {
                out.clear();
                packet::emit_frame(version, black_box(&packet), 60, &mut out);
            })
        });
    }
}

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    group.bench_function("read hello", |b| b.iter(|| message::parse(black_box(HELLO))));
    group.bench_function("read listen", |b| b.iter(|| message::parse(black_box(LISTEN))));
    let said = ServerMessage::SentenceStart("今天多云，最高二十度。".to_owned());
    let mut out = Vec::with_capacity(256);
    group.bench_function("write sentence_start", |b| {
        b.iter(|| {
            out.clear();
            message::emit(black_box(&said), SessionId(7), &mut out);
        })
    });
}

fn tokens(c: &mut Criterion) {
    let keys = Keys::new(vec![(*b"0123456789abcdef0123456789abcdef").into()], 0).expect("a key");
    let signed = token::issue(&keys, "client", "02:00:00:00:00:01", 1_000);
    c.bench_function("verify a token", |b| {
        b.iter(|| token::verify(&keys, black_box(&signed), "client", "02:00:00:00:00:01", 2_000))
    });
}

criterion_group!(benches, mask, read, framing, messages, tokens);
criterion_main!(benches);
