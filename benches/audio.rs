//! What sound costs, per packet of 60 ms: hearing it (decode, voice detection, endpointing, queue) and encoding a reply.
//!
//! `cargo bench --bench audio`

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use voxlane::audio::ear::{EarPool, Listening};
use voxlane::audio::endpoint::EndpointRules;
use voxlane::audio::opus::{Decoder, ENCODED_BYTES_MAX, Encoder, EncoderSettings};
use voxlane::audio::resample::Resampler;
use voxlane::audio::vad::{Engine, Vad};
use voxlane::format::{Codec, UplinkFormat};
use voxlane::ids::Ticket;
use voxlane::time::Duration;

const OPUS: UplinkFormat = UplinkFormat { codec: Codec::Opus, rate: 16_000, channels: 1 };

fn speech() -> Vec<i16> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/en-librispeech-1995-1837-0001.wav");
    let wav = std::fs::read(path).expect("the recording is in tests/data");
    wav[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

fn packets(pcm: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::with(EncoderSettings::device(16_000)).expect("16 kHz");
    let mut packet = [0; ENCODED_BYTES_MAX];
    pcm.chunks_exact(960)
        .map(|frame| {
            let len = encoder.encode(frame, &mut packet).expect("a legal frame");
            packet[..len].to_vec()
        })
        .collect()
}

/// A device listens: each iteration hears one packet; a new utterance begins when all have been heard.
fn hear(c: &mut Criterion) {
    let talking = packets(&speech());
    let quiet = packets(&vec![3; 160_000]);
    for (name, packets) in [("hear_speech_60ms", &talking), ("hear_quiet_room_60ms", &quiet)] {
        let mut pool = EarPool::new(Engine::Auto, EndpointRules::default(), 1);
        let mut ear = pool.take(OPUS);
        let mut next = 0;
        c.bench_function(name, |b| {
            b.iter(|| {
                if next == packets.len() {
                    next = 0;
                    ear.restart(Listening::Endpointed, Duration::ZERO);
                }
                let heard = ear.hear(&packets[next]);
                next += 1;
                ear.pour(Ticket::default(), &mut |block| {
                    black_box(block.len);
                    true
                });
                black_box(heard)
            });
        });
    }
}

fn parts(c: &mut Criterion) {
    let pcm = speech();
    let packets = packets(&pcm);
    let mut decoder = Decoder::new(16_000).expect("16 kHz");
    let mut out = [0; 1_920];
    let mut next = 0;
    c.bench_function("decode_60ms", |b| {
        b.iter(|| {
            next = (next + 1) % packets.len();
            black_box(decoder.decode(&packets[next], &mut out))
        });
    });
    for engine in [Engine::Auto, Engine::Webrtc, Engine::Earshot] {
        let mut vad = Vad::new(engine);
        let mut frames = pcm.chunks_exact(960).cycle();
        c.bench_function(&format!("vad_{engine:?}_60ms"), |b| {
            b.iter(|| {
                vad.hear(frames.next().expect("a cycle"), |window| {
                    black_box(window);
                })
            });
        });
    }
    let mut pool = EarPool::new(Engine::Auto, EndpointRules::default(), 1);
    c.bench_function("lend_an_ear", |b| {
        b.iter(|| {
            let ear = pool.take(OPUS);
            pool.give_back(ear);
        });
    });
}

fn encode(c: &mut Criterion) {
    let pcm = speech();
    let mut at_24k = Vec::new();
    Resampler::new(16_000, 24_000).expect("both rates").process(&pcm, &mut at_24k);
    for complexity in [0, 5, 10] {
        let mut encoder = Encoder::new(24_000, complexity).expect("24 kHz");
        let mut packet = [0; ENCODED_BYTES_MAX];
        let mut frames = at_24k.chunks_exact(1_440).cycle();
        c.bench_function(&format!("encode_24k_60ms_complexity_{complexity}"), |b| {
            b.iter(|| black_box(encoder.encode(frames.next().expect("a cycle"), &mut packet)));
        });
    }
    let mut resampler = Resampler::new(22_050, 24_000).expect("both rates");
    let mut out = Vec::with_capacity(4_000);
    let frame = &pcm[16_000..16_000 + 1_323];
    c.bench_function("resample_22k_to_24k_60ms", |b| {
        b.iter(|| {
            out.clear();
            resampler.process(frame, &mut out);
            black_box(out.len())
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(std::time::Duration::from_secs(2)).warm_up_time(std::time::Duration::from_millis(500));
    targets = hear, parts, encode
}
criterion_main!(benches);
