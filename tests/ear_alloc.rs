//! What an ear costs: no allocation per packet in steady state, and a bounded amount of memory. Counted by an allocator of its
//! own, so this stands alone in its binary.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use voxlane::audio::ear::{Ear, EarPool, Listening};
use voxlane::audio::endpoint::EndpointRules;
use voxlane::audio::opus::{Decoder, ENCODED_BYTES_MAX, Encoder, EncoderSettings};
use voxlane::audio::vad::Engine;
use voxlane::format::{Codec, UplinkFormat};
use voxlane::ids::Ticket;
use voxlane::time::Duration;

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

fn count(calls: u64, bytes: i64) {
    // A thread that is ending has no counters any more; nobody asks them then.
    let _ = CALLS.try_with(|c| c.set(c.get() + calls));
    let _ = LIVE.try_with(|c| c.set(c.get() + bytes));
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches only thread-local cells.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller's promise is the system allocator's condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: `at` came from `alloc` above, that is from the system's allocator.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: as for `dealloc`, and the caller's promise about `size`.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Speech between pauses, twice over, as packets.
fn packets(format: UplinkFormat) -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/zh-aishell-BAC009S0724W0121.wav");
    let wav = std::fs::read(path).unwrap();
    let pause = || std::iter::repeat_n(0_i16, 11_200);
    let speech = wav[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]));
    let pcm: Vec<i16> = pause().chain(speech).chain(pause()).collect();
    let mut encoder = Encoder::with(EncoderSettings::device(16_000)).unwrap();
    let mut packet = [0; ENCODED_BYTES_MAX];
    pcm.chunks_exact(960)
        .map(|frame| match format.codec {
            Codec::Opus => {
                let len = encoder.encode(frame, &mut packet).unwrap();
                packet[..len].to_vec()
            }
            Codec::Pcm => frame.iter().flat_map(|s| s.to_le_bytes()).collect(),
        })
        .collect()
}

fn listen(ear: &mut Ear, packets: &[Vec<u8>]) -> u32 {
    let mut edges = 0;
    for packet in packets {
        let heard = ear.hear(packet).unwrap();
        edges += u32::from(heard.edge.is_some());
        ear.pour(Ticket::default(), &mut |_| true);
    }
    edges
}

#[test]
fn hearing_allocates_nothing() {
    for format in [
        UplinkFormat { codec: Codec::Opus, rate: 16_000, channels: 1 },
        UplinkFormat { codec: Codec::Pcm, rate: 16_000, channels: 1 },
        UplinkFormat { codec: Codec::Pcm, rate: 24_000, channels: 2 },
    ] {
        let ways = [Listening::Endpointed, Listening::Manual].map(|how| [(how, false), (how, true)]);
        for (listening, relays) in ways.into_iter().flatten() {
            let packets = packets(format);
            let mut pool = EarPool::new(Engine::Auto, EndpointRules::default(), 4).with_relay(relays);
            let mut ear = pool.take(format);
            // The first utterance makes the room; from then on it is there.
            ear.restart(listening, Duration::ZERO);
            listen(&mut ear, &packets);
            let before = CALLS.get();
            let mut edges = 0;
            for _ in 0..5 {
                ear.restart(listening, Duration::ZERO);
                edges += listen(&mut ear, &packets);
                ear.finish();
                ear.rewind();
                ear.pour(Ticket::default(), &mut |_| true);
            }
            let calls = CALLS.get() - before;
            assert!(edges >= 5, "{format:?} {listening:?}: {edges} edges; the test must hear speech");
            assert_eq!(calls, 0, "{format:?} {listening:?}");
            // Lending it again allocates nothing either.
            pool.give_back(ear);
            let before = CALLS.get();
            let ear = pool.take(format);
            pool.give_back(ear);
            assert_eq!(CALLS.get() - before, 0, "{format:?}");
        }
    }
}

#[test]
fn an_ear_has_the_size_that_its_documentation_names() {
    let format = UplinkFormat { codec: Codec::Opus, rate: 16_000, channels: 1 };
    let packets = packets(format);
    let mut pool = EarPool::new(Engine::Auto, EndpointRules::default(), 4);
    let before = LIVE.get();
    let mut ear = pool.take(format);
    let fresh = LIVE.get() - before;
    listen(&mut ear, &packets);
    let used = LIVE.get() - before;
    println!("an ear: {fresh} bytes, after an utterance {used}");
    assert!((40_000..64_000).contains(&fresh), "{fresh} bytes");
    assert!(used - fresh <= 200_000, "{} bytes for an utterance", used - fresh);
    drop(ear);
    assert!(LIVE.get() - before < 100, "all of it came back");
}

#[test]
fn codecs_allocate_only_when_made() {
    let mut decoder = Decoder::new(16_000).unwrap();
    let mut encoder = Encoder::new(24_000, 0).unwrap();
    let mut packet = [0; ENCODED_BYTES_MAX];
    let mut pcm = [0; 1_920];
    let before = CALLS.get();
    for _ in 0..50 {
        let len = encoder.encode(&pcm[..1_440], &mut packet).unwrap();
        decoder.decode(&packet[..len], &mut pcm).unwrap();
    }
    assert_eq!(CALLS.get() - before, 0);
}
