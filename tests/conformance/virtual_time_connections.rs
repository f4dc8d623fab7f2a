//! What connections do in minutes and hours: waiting, keeping alive, giving up.

use crate::support::frames::{Frame, frame, opcode, request, take_frame};
use crate::support::sound::encode;
use crate::support::world::World;
use crate::support::{Got, fresh_id};
use serde_json::json;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use voxlane::audio::opus::EncoderSettings;
use voxlane::limits;
use voxlane::metrics::{Counter, Gauge};
use voxlane::session::Rules;
use voxlane::time::Duration;

/// Sessions that do not bid farewell to who is quiet.
fn patient() -> Rules {
    Rules { idle: Duration::ZERO, ..Rules::default() }
}

/// Opens a connection by hand, so that nobody answers pings for it; after both hellos.
fn mute_device(world: &mut World) -> usize {
    let device = world.connect();
    let far = world.devices[device].far.clone();
    far.send(request(&fresh_id(), 1, "").as_bytes());
    far.send(&frame(opcode::TEXT, br#"{"type":"hello"}"#));
    world.settle();
    assert!(far.take().starts_with(b"HTTP/1.1 101 "));
    device
}

/// The frames that a device opened by hand has got since.
fn frames(world: &World, device: usize) -> Vec<Frame> {
    let mut bytes = world.devices[device].far.take();
    std::iter::from_fn(|| take_frame(&mut bytes)).collect()
}

// --- item 57: bounded memory ---------------------------------------------------------------------------------------------

/// The system's allocator, which counts what the running thread holds.
struct Counted;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call is passed on as it came to the system's allocator, whose promises are ours; counting allocates nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that this call asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: likewise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTED: Counted = Counted;

#[test]
fn item_57_three_hours_of_silence_use_bounded_memory() {
    // What the firmware sends of a silent room: seven packets of one byte, then a refresh.
    let refresh = encode(EncoderSettings::device(16_000), 60, &[0; 960 * 8]).pop().expect("a packet");
    let mut second = Vec::new();
    for i in 0..16 {
        second.extend(frame(opcode::BINARY, if i % 8 == 0 { &refresh } else { &[0x58] }));
    }
    let mut world = World::new(patient());
    let device = world.upgrade();
    world.send(device, json!({"type": "hello"}));
    world.send(device, json!({"type": "listen", "state": "start", "mode": "auto"}));
    let mut stream = |ms: u64| {
        for _ in 0..ms / 960 {
            world.devices[device].far.send(&second);
            world.settle();
            world.pass(960);
            world.devices[device].got.clear();
        }
    };
    stream(60_000);
    let held = HELD.get();
    MOST.set(held);
    stream(3 * 3_600_000);
    assert!(HELD.get() - held <= 1_024, "{} bytes more after three hours", HELD.get() - held);
    assert!(MOST.get() - held <= 64 * 1_024, "{} bytes more in between", MOST.get() - held);
    assert_eq!(world.counted(Counter::FramesDecoded), (60_000 + 3 * 3_600_000) / 960 * 16, "each packet was heard");
    assert_eq!(world.counted(Counter::TurnsStarted), 0);
}

// --- item 82: signs of life ----------------------------------------------------------------------------------------------

#[test]
fn item_82_a_quiet_device_is_pinged_every_20_to_30_s_and_kept() {
    let mut world = World::new(patient());
    let device = world.device();
    let begin = world.now;
    world.pass(600_000);
    let pings = world.times(device, "ping");
    let gaps = [begin].iter().chain(&pings).zip(&pings).map(|(a, b)| b.since(*a).as_secs()).collect::<Vec<_>>();
    assert!((20..=30).contains(&pings.len()), "{gaps:?}");
    assert!(gaps.iter().all(|gap| (20..=30).contains(gap)), "{gaps:?}");
    assert!(!world.devices[device].is_closed());
}

#[test]
fn item_82_a_peer_silent_for_two_pings_is_dropped() {
    let mut world = World::new(patient());
    let device = mute_device(&mut world);
    world.pass(44_000);
    assert!(!world.devices[device].is_closed());
    let pings = frames(&world, device).iter().filter(|frame| frame.opcode == opcode::PING).count();
    assert_eq!(pings, 2, "it was asked twice");
    world.pass(3_000);
    assert!(world.devices[device].is_closed());
    assert_eq!(world.counted(Counter::EndedBySilence), 1);
}

#[test]
fn item_82_any_frame_counts_as_life() {
    for (kind, payload) in [(opcode::BINARY, &[0x58][..]), (opcode::TEXT, b"not json"), (opcode::PONG, b"")] {
        let mut world = World::new(patient());
        let device = mute_device(&mut world);
        for _ in 0..15 {
            world.pass(40_000);
            world.devices[device].far.send(&frame(kind, payload));
            world.settle();
        }
        assert!(!world.devices[device].is_closed(), "opcode {kind}");
    }
}

#[test]
fn item_82_who_speaks_is_not_pinged() {
    let mut world = World::new(patient());
    let device = mute_device(&mut world);
    for _ in 0..30 {
        world.pass(10_000);
        world.devices[device].far.send(&frame(opcode::BINARY, &[0x58]));
        world.settle();
    }
    assert!(frames(&world, device).iter().all(|frame| frame.opcode != opcode::PING));
}

#[test]
fn an_open_device_hears_a_message_at_least_every_45_s() {
    // Firmware takes a channel for dead after 120 s without text or audio; pings do not count there.
    let mut world = World::new(patient());
    let device = world.device();
    let mut last = world.now;
    world.pass(600_000);
    for (at, got) in world.devices[device].got.iter().filter(|(_, got)| matches!(got, Got::Json(_))) {
        assert!(at.since(last) <= Duration::from_secs(46), "{:?} of silence", at.since(last));
        assert_eq!((got.kind().as_str(), got.text()), ("tts:sentence_end", ""));
        last = *at;
    }
    assert!(world.now.since(last) <= Duration::from_secs(46));
}

// --- item 91 and slow handshakes -----------------------------------------------------------------------------------------

#[test]
fn item_91_without_a_hello_in_5_s_the_connection_is_closed() {
    let mut world = World::new(Rules::default());
    let device = world.upgrade();
    world.pass(4_900);
    assert!(world.kinds(device).is_empty() && !world.devices[device].is_closed());
    world.pass(200);
    assert_eq!(world.kinds(device)[0], "close 1008");
    world.pass(1_000);
    assert!(world.devices[device].is_closed());
}

#[test]
fn item_91_other_messages_and_audio_do_not_stand_in_for_a_hello() {
    let mut world = World::new(Rules::default());
    let device = world.upgrade();
    for _ in 0..6 {
        world.send(device, json!({"type": "listen", "state": "start", "mode": "auto"}));
        world.send_packet(device, &[0x58]);
        world.pass(800);
    }
    assert!(world.kinds(device).is_empty());
    world.pass(300);
    assert_eq!(world.kinds(device)[0], "close 1008");
}

#[test]
fn a_hello_in_the_last_moment_is_answered() {
    let mut world = World::new(Rules::default());
    let device = world.upgrade();
    world.pass(4_900);
    world.send(device, json!({"type": "hello"}));
    world.pass(10_000);
    assert_eq!(world.kinds(device), ["hello"]);
}

#[test]
fn a_connection_that_asks_nothing_for_5_s_is_closed_without_a_word() {
    let mut world = World::new(Rules::default());
    let device = world.connect();
    world.pass(4_900);
    assert!(!world.devices[device].is_closed());
    world.pass(200);
    assert!(world.devices[device].is_closed());
    assert!(world.devices[device].far.take().is_empty());
    assert_eq!((world.counted(Counter::EndedByHandshake), world.gauge(Gauge::Connections)), (1, 0));
}

#[test]
fn a_request_that_drips_in_for_5_s_is_answered_with_408() {
    let mut world = World::new(Rules::default());
    let device = world.connect();
    let far = world.devices[device].far.clone();
    for byte in request(&fresh_id(), 1, "").bytes().take(49) {
        far.send(&[byte]);
        world.settle();
        world.pass(100);
    }
    assert!(far.take().is_empty() && !far.is_closed());
    world.pass(200);
    assert!(far.take().starts_with(b"HTTP/1.1 408 "));
    world.pass(1_000);
    assert!(far.is_closed());
    assert_eq!((world.counted(Counter::EndedByHandshake), world.gauge(Gauge::Connections)), (1, 0));
}

#[test]
fn a_slow_request_that_ends_in_time_is_served() {
    let mut world = World::new(Rules::default());
    let device = world.connect();
    let far = world.devices[device].far.clone();
    let request = request(&fresh_id(), 1, "");
    let (first, second) = request.split_at(100);
    far.send(first.as_bytes());
    world.settle();
    world.pass(4_900);
    far.send(second.as_bytes());
    world.settle();
    assert!(far.take().starts_with(b"HTTP/1.1 101 "));
}

// --- item 92: slow readers -----------------------------------------------------------------------------------------------

/// A device in the middle of a reply of 36 s.
fn listener_to_a_long_reply() -> (World, usize) {
    let mut world = World::new(Rules::default());
    world.script.packets = 600;
    let device = world.device();
    world.send(device, json!({"type": "listen", "state": "detect", "text": "tell me a story"}));
    world.pass(2_000);
    assert_eq!(world.kinds(device).last().map(String::as_str), Some("packet"));
    (world, device)
}

#[test]
fn item_92_a_reader_that_stops_costs_a_bounded_queue_and_then_its_connection() {
    let (mut world, device) = listener_to_a_long_reply();
    let neighbour = world.device();
    world.devices[device].far.set_room(0);
    let begin = world.now;
    while world.now.since(begin) < Duration::from_millis(4_900) {
        world.pass(20);
        let waiting = world.gauge(Gauge::SendQueueBytes);
        assert!(waiting <= limits::SEND_QUEUE_BYTES as i64, "{waiting} bytes");
    }
    assert!(!world.devices[device].is_closed());
    let sent = 4_900 / 60 - limits::SEND_QUEUE_FRAMES as u64;
    assert!(world.counted(Counter::DroppedReplyFull).abs_diff(sent) <= 2, "the oldest go");
    world.pass(1_000);
    assert!(world.devices[device].is_closed());
    assert_eq!((world.counted(Counter::EndedUnwritable), world.gauge(Gauge::SendQueueBytes)), (1, 0));
    world.send(neighbour, json!({"type": "ping"}));
    assert_eq!(world.kinds(neighbour), ["pong"]);
}

#[test]
fn item_92_a_reader_that_comes_back_in_time_hears_the_newest_and_the_end() {
    let (mut world, device) = listener_to_a_long_reply();
    world.devices[device].far.set_room(0);
    world.pass(4_000);
    world.devices[device].got.clear();
    world.devices[device].far.set_room(usize::MAX);
    world.pass(60);
    let first = world.devices[device].got.iter().find_map(|(_, got)| match got {
        Got::Packet(packet) => Some(u32::from_be_bytes(*packet.first_chunk().expect("a number"))),
        _ => None,
    });
    let newest = (2_000 + 4_000) / 60;
    let kept = limits::SEND_QUEUE_FRAMES as u32;
    assert!(first.is_some_and(|first| first + kept >= newest && first <= newest), "packet {first:?} of {newest}");
    world.pass(40_000);
    assert_eq!(world.times(device, "tts:stop").len(), 1);
    assert!(!world.devices[device].is_closed());
}
