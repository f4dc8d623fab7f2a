//! What came of it: one JSON object, and the same as text.

use crate::bare::{Calls, Plan, Round};
use crate::codec::{self, Decoder, Detector, Effort, Encoder, PACKET_BYTES};
use crate::duty::{self, CHUNK, Duty, HEARD_FRAME, SAID_FRAME, Shown};
use crate::peer::Punctuality;
use crate::{clock, frames, sound};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// Above these the other side has disturbed the measurement.
const PEER_BUSY_MAX: f64 = 0.8;
const PEER_LAG_MAX: Duration = Duration::from_millis(5);
/// And above this share of late packets the measured side was overloaded.
const LATE_MAX: f64 = 0.001;

/// The result. README explains each field.
#[derive(Debug, Serialize)]
pub struct Report {
    pub program: &'static str,
    pub version: &'static str,
    /// `encode` or `pass-through`.
    pub mode: &'static str,
    pub opus_complexity: Option<u8>,
    /// `full:5`, `light:0`; nothing where packets pass through.
    pub effort: Option<String>,
    pub libopus: String,
    pub conversations: usize,
    pub rounds: usize,
    pub pinned: bool,
    /// Of the processor, as the system says it.
    pub cpu: String,
    pub duty: Shown,
    /// Every library call of the server, voice detection among them: what server figures are divided by.
    pub with_detection: Cost,
    pub without_detection: Cost,
    /// Calls of one turn, mean.
    pub per_turn: PerTurn,
    /// Library calls alone, one after another on a warm core, µs each.
    pub alone: Alone,
    pub peer: PeerReport,
    /// Whether the measurement stands; if not, why.
    pub trusted: bool,
    pub doubts: Vec<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    pub cpu_us_per_turn: f64,
    pub cpu_us_per_conversation_second: f64,
    /// How many conversations would fill a core.
    pub conversations_per_core: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct PerTurn {
    pub device_reads: f64,
    pub device_writes: f64,
    pub service_reads: f64,
    pub service_writes: f64,
    pub waits: f64,
    pub decodes: f64,
    pub encodes: f64,
    pub detections: f64,
    pub packets_out: f64,
    pub packets_late: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Alone {
    pub decode_us: f64,
    pub detect_us: f64,
    /// 0 where packets pass through.
    pub encode_us: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct PeerReport {
    pub lag_p99_ms: f64,
    pub busy: f64,
}

impl Report {
    pub fn new(
        plan: Plan,
        conversations: usize,
        pinned: bool,
        rounds: &[Round],
        alone: Alone,
        peer: Punctuality,
    ) -> Report {
        let per_turn = PerTurn::mean(rounds, plan.duty);
        let mut doubts = Vec::new();
        if peer.busy > PEER_BUSY_MAX {
            doubts.push(format!("the other side used {:.0} % of its core", peer.busy * 100.0));
        }
        if peer.lag_p99 > PEER_LAG_MAX {
            doubts.push(format!("the other side was {:.1} ms late (p99)", peer.lag_p99.as_secs_f64() * 1e3));
        }
        if per_turn.packets_late > LATE_MAX * per_turn.packets_out {
            let share = per_turn.packets_late * 100.0 / per_turn.packets_out;
            doubts.push(format!("{share:.2} % of the packets left more than 5 ms late: too many conversations?"));
        }
        if !pinned {
            doubts.push("nothing is pinned: fewer than two cores are allowed to this process".to_owned());
        }
        Report {
            program: "voxlane-floor",
            version: env!("CARGO_PKG_VERSION"),
            mode: if plan.is_pass_through() { "pass-through" } else { "encode" },
            opus_complexity: plan.effort.map(|effort| effort.complexity),
            effort: plan.effort.map(Effort::word),
            libopus: codec::version(),
            conversations,
            rounds: rounds.len(),
            pinned,
            cpu: cpu_name(),
            duty: Shown::of(plan.duty, plan.is_pass_through()),
            with_detection: Cost::median(rounds, plan.duty, true),
            without_detection: Cost::median(rounds, plan.duty, false),
            per_turn,
            alone,
            peer: PeerReport { lag_p99_ms: peer.lag_p99.as_secs_f64() * 1e3, busy: peer.busy },
            trusted: doubts.is_empty(),
            doubts,
        }
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        let (with, without, turn) = (&self.with_detection, &self.without_detection, &self.per_turn);
        let how = match &self.effort {
            Some(effort) => format!("replies encoded {effort} by {}", self.libopus),
            None => "replies passed through".to_owned(),
        };
        let _ = writeln!(
            out,
            "{} conversations, {how}; turns of {:.2} s: {:.2} listening, {:.2} waiting, {:.2} speaking",
            self.conversations,
            self.duty.turn_ms as f64 / 1e3,
            self.duty.listening_ms as f64 / 1e3,
            self.duty.waiting_ms as f64 / 1e3,
            self.duty.speaking_ms as f64 / 1e3,
        );
        let _ = writeln!(out, "median of {} rounds each       with voice detection      without", self.rounds / 2);
        let mut line = |what: &str, of: fn(&Cost) -> f64| {
            let _ = writeln!(out, "  {what:<34} {:>13.0} {:>12.0}", of(with), of(without));
        };
        line("CPU per turn, µs", |cost| cost.cpu_us_per_turn);
        line("CPU per conversation-second, µs", |cost| cost.cpu_us_per_conversation_second);
        line("conversations per core at 100 %", |cost| cost.conversations_per_core);
        let _ = writeln!(
            out,
            "calls per turn: devices {:.1} reads, {:.1} writes; services {:.1} reads, {:.1} writes; {:.1} waits; \
             {:.1} decodes, {:.1} encodes, {:.1} detections in every second round",
            turn.device_reads,
            turn.device_writes,
            turn.service_reads,
            turn.service_writes,
            turn.waits,
            turn.decodes,
            turn.encodes,
            turn.detections * 2.0,
        );
        let alone = &self.alone;
        let _ = writeln!(
            out,
            "library calls alone, warm: decode {:.1} µs, voice detection {:.1} µs, encode {:.1} µs",
            alone.decode_us, alone.detect_us, alone.encode_us
        );
        let _ = writeln!(
            out,
            "the other side: {:.0} % of its core, {:.2} ms late (p99)",
            self.peer.busy * 100.0,
            self.peer.lag_p99_ms
        );
        for doubt in &self.doubts {
            let _ = writeln!(out, "DOUBTFUL: {doubt}");
        }
        out
    }
}

impl Cost {
    fn median(rounds: &[Round], duty: Duty, with_detection: bool) -> Cost {
        let of = rounds.iter().filter(|round| round.with_detection == with_detection);
        let mut each: Vec<f64> = of.map(|round| round.cpu.as_secs_f64() * 1e6 / round.turns(duty)).collect();
        each.sort_by(f64::total_cmp);
        let middle = each.len() / 2;
        let us = if each.len().is_multiple_of(2) { (each[middle - 1] + each[middle]) / 2.0 } else { each[middle] };
        let per_second = us * 1e3 / duty.turn_ms() as f64;
        Cost {
            cpu_us_per_turn: us,
            cpu_us_per_conversation_second: per_second,
            conversations_per_core: 1e6 / per_second,
        }
    }
}

impl PerTurn {
    fn mean(rounds: &[Round], duty: Duty) -> PerTurn {
        let turns: f64 = rounds.iter().map(|round| round.turns(duty)).sum();
        let mean = |of: fn(&Calls) -> u64| rounds.iter().map(|round| of(&round.calls)).sum::<u64>() as f64 / turns;
        PerTurn {
            device_reads: mean(|c| c.device_reads),
            device_writes: mean(|c| c.device_writes),
            service_reads: mean(|c| c.service_reads),
            service_writes: mean(|c| c.service_writes),
            waits: mean(|c| c.waits),
            decodes: mean(|c| c.decodes),
            encodes: mean(|c| c.encodes),
            detections: mean(|c| c.detections),
            packets_out: mean(|c| c.packets_out),
            packets_late: mean(|c| c.packets_late),
        }
    }
}

impl Alone {
    /// Measures on the calling thread.
    pub fn measure(plan: Plan) -> Result<Alone, String> {
        let (mut decoder, mut detector) = (Decoder::new()?, Detector::new());
        let mut pcm = [0; HEARD_FRAME];
        let mut heard = Vec::new();
        let mut packets = Vec::new();
        for mut frame in sound::uplink(plan.duty)? {
            let (_, packet) = frames::next(&mut frame, &mut 0).ok_or("a cut frame")?;
            packets.push(packet.to_vec());
        }
        let decode_us = mean_us(packets.len(), &mut |n| {
            decoder.decode(&packets[n], &mut pcm);
        });
        for packet in &packets {
            decoder.decode(packet, &mut pcm);
            heard.push(pcm);
        }
        let detect_us = mean_us(heard.len(), &mut |n| {
            std::hint::black_box(detector.hear(&heard[n]));
        });
        let Some(effort) = plan.effort else { return Ok(Alone { decode_us, detect_us, encode_us: 0.0 }) };
        let mut encoder = Encoder::new(effort)?;
        let said = sound::reply(plan.duty, false)?;
        let frames: Vec<[i16; SAID_FRAME]> = said
            .iter()
            .flat_map(|piece| piece[CHUNK..].chunks_exact(duty::unit(false)))
            .map(|frame| {
                let (samples, _) = frame.as_chunks::<2>();
                std::array::from_fn(|i| i16::from_le_bytes(samples[i]))
            })
            .collect();
        let mut packet = [0; PACKET_BYTES];
        let encode_us = mean_us(frames.len(), &mut |n| {
            encoder.encode(&frames[n], &mut packet);
        });
        Ok(Alone { decode_us, detect_us, encode_us })
    }
}

/// CPU time of a call, mean of five times through all of them after one that warms up.
fn mean_us(count: usize, call: &mut dyn FnMut(usize)) -> f64 {
    (0..count).for_each(&mut *call);
    let began = clock::thread_cpu();
    (0..5 * count).for_each(|n| call(n % count));
    (clock::thread_cpu() - began).as_secs_f64() * 1e6 / (5 * count) as f64
}

fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name").and_then(|rest| rest.split_once(':')));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(ms: u64, with_detection: bool) -> Round {
        Round {
            with_detection,
            cpu: Duration::from_millis(ms),
            calls: Calls { packets_heard: 10 * u64::from(Duty::default().listening), ..Calls::default() },
        }
    }

    #[test]
    fn rounds_with_and_without_detection_are_kept_apart_and_the_median_counts() {
        let rounds = [(30, false), (60, true), (20, false), (50, true), (90, false), (400, true)];
        let rounds: Vec<Round> = rounds.map(|(ms, detects)| round(ms, detects)).to_vec();
        let with = Cost::median(&rounds, Duty::default(), true);
        assert_eq!(with.cpu_us_per_turn, 6_000.0, "60 ms for ten turns");
        assert_eq!(Cost::median(&rounds, Duty::default(), false).cpu_us_per_turn, 3_000.0);
        assert_eq!(Cost::median(&rounds[..4], Duty::default(), true).cpu_us_per_turn, 5_500.0, "of two: their mean");
        let turn_s = Duty::default().turn_ms() as f64 / 1e3;
        assert!((with.cpu_us_per_conversation_second - 6_000.0 / turn_s).abs() < 1e-9);
        assert!((with.conversations_per_core - turn_s * 1e6 / 6_000.0).abs() < 1e-9);
    }

    #[test]
    fn an_other_side_that_was_late_or_busy_is_not_trusted() {
        let plan = Plan { duty: Duty::default(), effort: None, rounds: 2 };
        let rounds = [round(30, true), round(20, false)];
        let alone = Alone { decode_us: 1.0, detect_us: 1.0, encode_us: 0.0 };
        let report = |peer, pinned| Report::new(plan, 10, pinned, &rounds, alone, peer);
        let good = Punctuality { lag_p99: Duration::from_millis(1), busy: 0.5 };
        assert!(report(good, true).trusted);
        assert!(!report(good, false).trusted);
        assert!(!report(Punctuality { busy: 0.9, ..good }, true).trusted);
        let late = report(Punctuality { lag_p99: Duration::from_millis(6), ..good }, true);
        assert!(!late.trusted && late.text().contains("DOUBTFUL"), "{}", late.text());
    }
}
