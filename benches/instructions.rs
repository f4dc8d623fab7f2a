//! How many instructions the hot paths take, counted by valgrind: the same number on a busy machine as on a quiet one. The
//! numbers stand in `instructions.toml`; more than 5 % above them is a failure.
//!
//!     tools/count                 count, compare
//!     tools/count --update        count, store as the new baseline
//!     tools/count uplink          only cases with that in their name
//!
//! It also proves what the instruments cost: `tools/count` builds this program twice, once with all counting compiled away
//! (feature `blind`), counts the cases of a turn with both (`--store`, `--blind`), and fails above 1 % ([`counts::Mix`]).
//!
//! Without arguments this program runs itself under callgrind once for each case; with `--case` it is the program that is
//! counted. Only [`measured`] counts: what a case does around it is free.

#[path = "../tests/support/counts.rs"]
mod counts;
#[path = "../tests/support/virtual_shard.rs"]
mod virtual_shard;

use counts::{Mix, Part, Verdict};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use virtual_shard::{Device, VirtualShard, frame};
use voxlane::audio::opus::{Encoder, EncoderSettings};
use voxlane::audio::vad::Engine;
use voxlane::format::Lang;
use voxlane::job::{Converse, Job, Outcome, ReplyEnd, Stage, TextBlock, Work};
use voxlane::lanes::{Class, Desk, Doorbell, Flow, Foreman, Pool, PoolSpec, Taken, build};
use voxlane::metrics::{Counter, IS_BLIND};
use voxlane::shard::Rules;
use voxlane::time::{Clock, Duration, Instant};
use voxlane::wire::message;
use voxlane::{ids, job, session};

/// Iterations that are counted, after as many that warm up.
const ITERATIONS: u64 = 200;

/// A case does its iterations, one [`measured`] call in each.
type Case = fn(&mut Gate, u64);

const CASES: &[(&str, Case)] = &[
    ("pass_idle", pass_idle),
    ("uplink_packet_opus", uplink_packet_opus),
    ("uplink_packet_pcm", uplink_packet_pcm),
    ("uplink_packet_ignored", uplink_packet_ignored),
    ("downlink_packet_paced", downlink_packet_paced),
    ("connect_and_hello", connect_and_hello),
    ("message_through_shard", message_through_shard),
    ("message_parse", message_parse),
    ("lane_round_trip", lane_round_trip),
];

/// What a shard does for one turn (`targets.md`: 3 s of speech and a second in which its end is noticed, a second of waiting, 5 s
/// of reply, packets of 60 ms both ways); the model's answer comes in some 25 pieces. The clock is read for the instruments at
/// the end of each pass, and once more for each packet that leaves.
const TURN: [Part; 4] = [
    Part { case: "uplink_packet_opus", times: 67, clock_reads: 1 },
    Part { case: "uplink_packet_ignored", times: 17, clock_reads: 1 },
    Part { case: "downlink_packet_paced", times: 84, clock_reads: 2 },
    Part { case: "pass_idle", times: 30, clock_reads: 1 },
];

/// What is counted. Its name is what callgrind looks for.
#[inline(never)]
#[unsafe(no_mangle)]
fn voxlane_measured(work: &mut dyn FnMut()) {
    work();
    // Nothing may be moved out of here.
    black_box(());
}

/// Closed while a case warms up.
struct Gate {
    open: bool,
}

impl Gate {
    fn measured(&mut self, mut work: impl FnMut()) {
        if self.open { voxlane_measured(&mut work) } else { work() }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--case", name] => return play(name),
        ["--store", file] => store(file),
        ["--update"] => count("", true),
        [] => count("", false),
        ["--blind", file] => judge_instruments(file),
        [part] if !part.starts_with('-') => count(part, false),
        _ => Err("tools/count [--update | part of a case's name]".to_owned()),
    };
    match outcome {
        Ok(code) => code,
        Err(why) => {
            eprintln!("count: {why}");
            ExitCode::from(2)
        }
    }
}

/// The counted program: the whole case once with the gate closed, and once with it open.
fn play(name: &str) -> ExitCode {
    let Some((_, case)) = CASES.iter().find(|(known, _)| *known == name) else { return ExitCode::from(2) };
    case(&mut Gate { open: false }, ITERATIONS);
    case(&mut Gate { open: true }, ITERATIONS);
    ExitCode::SUCCESS
}

fn count(part: &str, update: bool) -> Result<ExitCode, String> {
    let (kind, file) = (kind()?, baseline_file());
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let mut baselines = counts::read(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut counted = Vec::new();
    for (name, _) in CASES.iter().filter(|(name, _)| name.contains(part)) {
        counted.push((name.to_string(), under_callgrind(name)?));
    }
    if counted.is_empty() {
        return Err(format!("no case has {part:?} in its name"));
    }
    if update {
        baselines.insert(kind.clone(), counted.iter().cloned().collect());
        std::fs::write(&file, counts::write(&baselines)).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    if let Some(known) = baselines.get_mut(&kind) {
        known.retain(|case, _| case.contains(part));
    }
    let (table, verdict) = counts::compare(&baselines, &kind, &counted);
    print!("{kind}\n{table}");
    match verdict {
        Verdict::Fine => Ok(ExitCode::SUCCESS),
        Verdict::Unknown => {
            println!("no baseline for this toolchain, libopus and processor; tools/count --update stores one");
            Ok(ExitCode::SUCCESS)
        }
        Verdict::Grown => {
            println!("more than {} % above the baseline; if that is wanted: tools/count --update", counts::MORE_MAX);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What a turn's parts take, for the program that is built the other way.
fn store(file: &str) -> Result<ExitCode, String> {
    let text = counts::write(&[(kind()?, parts_of_turn()?)].into());
    std::fs::write(file, text).map_err(|e| format!("{file}: {e}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Compares what a turn's parts take with what they took without instruments.
fn judge_instruments(file: &str) -> Result<ExitCode, String> {
    if IS_BLIND {
        return Err("--blind is for the program that counts".to_owned());
    }
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let mut stored = counts::read(&text).map_err(|e| format!("{file}: {e}"))?;
    let without = stored.remove(&kind()?).ok_or_else(|| format!("{file} is of another toolchain"))?;
    let mix = Mix { parts: &TURN, with: &parts_of_turn()?, without: &without };
    let (table, share) = mix.judge()?;
    print!("{table}");
    Ok(if share <= counts::INSTRUMENTS_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parts_of_turn() -> Result<BTreeMap<String, u64>, String> {
    TURN.iter().map(|part| Ok((part.case.to_owned(), under_callgrind(part.case)?))).collect()
}

/// Instructions of one iteration.
fn under_callgrind(case: &str) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=voxlane_measured"])
        .args(["--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--case", case])
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let total = counts::collected(&said).filter(|_| output.status.success());
    let total = total.ok_or_else(|| format!("{case} under valgrind: {said}"))?;
    if total < ITERATIONS {
        return Err(format!("{case}: nothing was counted; has the binary lost its symbols?"));
    }
    Ok(total / ITERATIONS)
}

fn kind() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output().map_err(|e| format!("rustc: {e}"))?;
    let said = String::from_utf8_lossy(&said.stdout);
    let rustc = said.split_whitespace().nth(1).ok_or("rustc does not say its version")?;
    // SAFETY: libopus returns a static string that ends with a zero.
    let libopus = unsafe { std::ffi::CStr::from_ptr(opusic_sys::opus_get_version_string()) };
    Ok(format!("rustc {rustc}, {}, {}{}", libopus.to_string_lossy(), std::env::consts::ARCH, vectors()))
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    if is_x86_feature_detected!("avx2") { " with AVX2" } else { "" }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    ""
}

fn baseline_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml")
}

/// Rules under which hours go by and nobody is bid farewell.
fn patient(engine: Engine) -> Rules {
    let session = session::Rules { idle: Duration::ZERO, ..session::Rules::default() };
    Rules { session: Arc::new(session), engine, ..Rules::default() }
}

fn pass_idle(gate: &mut Gate, iterations: u64) {
    let mut shard = VirtualShard::new(patient(Engine::Auto), 8);
    let devices: Vec<Device> = (0..100).map(|i| shard.device(i, "{}")).collect();
    for _ in 0..iterations {
        gate.measured(|| shard.pass());
    }
    drop(devices);
}

/// Speech of a person: unmasked, decoded, listened to, queued, poured to the recogniser's lane.
fn uplink_packet_opus(gate: &mut Gate, iterations: u64) {
    let mut encoder = Encoder::with(EncoderSettings { dtx: false, ..EncoderSettings::device(16_000) }).expect("16 kHz");
    let mut packet = [0; 4_000];
    let packets: Vec<Vec<u8>> = speech()
        .chunks_exact(960)
        .map(|pcm| {
            let len = encoder.encode(pcm, &mut packet).expect("a legal frame");
            frame(2, &packet[..len])
        })
        .collect();
    let audio = r#"{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}"#;
    hear(gate, iterations, VirtualShard::new(patient(Engine::Auto), 8), audio, &packets);
}

/// The same without libopus and detectors: our own part.
fn uplink_packet_pcm(gate: &mut Gate, iterations: u64) {
    let bytes = |pcm: &[i16]| pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>();
    let packets: Vec<Vec<u8>> = speech().chunks_exact(960).map(|pcm| frame(2, &bytes(pcm))).collect();
    let audio = r#"{"format":"pcm","sample_rate":16000,"channels":1,"frame_duration":60}"#;
    hear(gate, iterations, VirtualShard::new(patient(Engine::Level), 8), audio, &packets);
}

fn hear(gate: &mut Gate, iterations: u64, mut shard: VirtualShard, audio: &str, packets: &[Vec<u8>]) {
    let device = shard.device(1, audio);
    device.text(r#"{"type":"listen","state":"start","mode":"manual"}"#);
    shard.pass_for(&device);
    for packet in packets.iter().cycle().take(iterations as usize) {
        device.far.send(packet);
        shard.now += Duration::from_millis(60);
        gate.measured(|| shard.pass_for(&device));
        let mut blocks = Vec::new();
        shard.desk(Stage::Asr).next_blocks(10, Duration::ZERO, &mut blocks);
        device.far.discard();
    }
    assert!(IS_BLIND || shard.panel.counter(Counter::FramesDecoded) == iterations, "every packet was heard");
}

fn uplink_packet_ignored(gate: &mut Gate, iterations: u64) {
    let mut shard = VirtualShard::new(patient(Engine::Auto), 8);
    let device = shard.device(1, "{}");
    let packet = frame(2, &[0x58; 180]);
    for _ in 0..iterations {
        device.far.send(&packet);
        shard.now += Duration::from_millis(60);
        gate.measured(|| shard.pass_for(&device));
    }
    assert!(IS_BLIND || shard.panel.counter(Counter::DroppedEarlyPacket) == iterations);
}

/// A pass in which one packet of a reply is due, among a hundred that speak.
fn downlink_packet_paced(gate: &mut Gate, iterations: u64) {
    const SPEAKERS: usize = 100;
    let mut shard = VirtualShard::new(Rules::default(), 2 * SPEAKERS as u32);
    let devices: Vec<Device> = (0..SPEAKERS).map(|i| shard.device(i, "{}")).collect();
    for device in &devices {
        shard.reply(device, 50, 180);
        shard.now += Duration::from_micros(600);
    }
    // Everybody's first packets, which leave several at once, and the buffers they need.
    shard.wait(Duration::from_millis(300));
    devices.iter().for_each(|device| _ = device.far.discard());
    let before = shard.panel.counter(Counter::PacketsOut);
    for _ in 0..iterations {
        shard.now = shard.shard.next_deadline(shard.now).max(shard.now);
        gate.measured(|| shard.pass());
    }
    let sent = shard.panel.counter(Counter::PacketsOut) - before;
    assert!(IS_BLIND || sent == iterations, "one packet in each pass");
}

fn connect_and_hello(gate: &mut Gate, iterations: u64) {
    let mut shard = VirtualShard::new(patient(Engine::Auto), 8);
    let mut devices = Vec::new();
    for i in 0..iterations as usize {
        gate.measured(|| devices.push(shard.device(i, "{}")));
    }
}

fn message_through_shard(gate: &mut Gate, iterations: u64) {
    let mut shard = VirtualShard::new(patient(Engine::Auto), 8);
    let device = shard.device(1, "{}");
    let ping = frame(1, br#"{"session_id":"x","type":"ping"}"#);
    for _ in 0..iterations {
        device.far.send(&ping);
        gate.measured(|| shard.pass_for(&device));
        device.far.discard();
    }
}

fn message_parse(gate: &mut Gate, iterations: u64) {
    const LISTEN: &str =
        r#"{"session_id":"0b5d8a1c-9d5e-4f0e-8a37-3d1f2c6b7a90","type":"listen","state":"start","mode":"auto"}"#;
    for _ in 0..iterations {
        gate.measured(|| assert!(black_box(message::parse(black_box(LISTEN))).is_ok()));
    }
}

/// A job out, one piece and the end back.
fn lane_round_trip(gate: &mut Gate, iterations: u64) {
    const LATER: Instant = Instant::from_ms(3_600_000);
    let (mut pool, mut desk, _foreman) = seat();
    let ticket = ids::Ticket { shard: ids::ShardId(0), slot: 1, generation: 1, turn: ids::TurnId(1) };
    let words = TextBlock::split_from("a few words of the reply").0;
    for _ in 0..iterations {
        let ask = Converse { dialogue: Vec::new(), language: Lang::EN, first_token_by: LATER };
        let work = Work::Converse(Box::new(ask));
        let mut order = Some(Job { ticket, deadline: LATER, cancel: job::Cancel::new(), work });
        gate.measured(|| {
            let order = order.take().expect("once");
            assert!(pool.submit(Instant::ZERO, Class::First, order).is_ok());
            let job = desk.next_job(Duration::ZERO).expect("just submitted");
            for outcome in [Outcome::Token(words.clone()), Outcome::ReplyEnd(ReplyEnd::Complete)] {
                desk.publish(job::Answer::new(ticket, outcome), &job.cancel, LATER).expect("room");
            }
            assert_eq!(drain(&mut pool), 2);
        });
    }
}

/// A pool with one worker whose desk is in our hands.
fn seat() -> (Pool, Desk, Foreman) {
    let (give, desks) = std::sync::mpsc::channel();
    let spawn = Box::new(move |desk, _| give.send(desk).map_err(|_| std::io::Error::other("over")));
    let spec = PoolSpec { min: 1, max: 1, capacity: 1, flow: Flow::JobsOnly };
    let (mut pools, mut foreman) = build(Stage::Llm, spec, &[Doorbell::new(|| {})], Clock::start(), spawn);
    foreman.pass(Instant::ZERO);
    let mut pool = pools.remove(0);
    drain(&mut pool);
    (pool, desks.try_recv().expect("a worker"), foreman)
}

fn drain(pool: &mut Pool) -> usize {
    let mut taken = 0;
    let take = &mut |answer| {
        black_box(&answer);
        taken += 1;
        Taken::Yes
    };
    pool.drain(Instant::ZERO, 1_000, take, &mut |_| {});
    pool.ring_doorbells();
    taken
}

fn speech() -> Vec<i16> {
    let wav = include_bytes!("../tests/data/en-librispeech-1995-1837-0001.wav");
    wav[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}
