//! The keys of a scenario: one call each, with default, bounds and meaning. This file is the list a reader looks for.

use super::{Arrival, Codec, Mix, Mode, Scenario};
use voxlane::config::reader::Reader;

/// Longest run: a week.
const DURATION_S_MAX: f64 = 7.0 * 86_400.0;

/// Reads every key there is.
pub fn read(r: &mut Reader<'_>) -> Scenario {
    let devices = r.number("devices", "count", 100, 1..=1_000_000, "Devices at most at a time.") as u32;
    let arrivals = [("ramp", 0), ("storm", 1), ("herd", 2)];
    let arrival = r.choice(
        "devices",
        "arrival",
        "ramp",
        &arrivals,
        "ramp: evenly; storm: all at once; herd: all at once, again and again.",
    );
    let ramp_s = r.decimal("devices", "ramp_s", 10.0, 0.0..=86_400.0, "ramp: from the first to the last arrival, s.");
    let herd_s = r.decimal("devices", "herd_s", 30.0, 1.0..=86_400.0, "herd: from one arrival to the next, s.");
    let stay_s = r.decimal(
        "devices",
        "stay_s",
        0.0,
        0.0..=86_400.0,
        "An idle device hangs up after this, comes back; 0 = stays, s.",
    );
    let seed = r.number("devices", "seed", 1, 0..=u64::MAX, "Of every draw: the same seed makes the same run.");
    let duration_s =
        r.decimal("run", "duration_s", 60.0, 0.1..=DURATION_S_MAX, "From the first arrival to the end, s.");
    let warmup_s = r.decimal("run", "warmup_s", 0.0, 0.0..=DURATION_S_MAX, "What happens earlier is not counted, s.");
    if warmup_s >= duration_s {
        let what = format!("a warm-up of {warmup_s} s leaves nothing of {duration_s} s");
        r.refuse("run", "warmup_s", what, Some("make it shorter, or the run longer".to_owned()));
    }
    let pause_s =
        r.decimal("talk", "pause_s", 0.9, 0.0..=86_400.0, "From the end of a reply to the next utterance, s.");
    let turns = r.number("talk", "turns", 0, 0..=1_000_000, "Turns of a device; 0 = as many as fit.") as u32;
    let modes = [("auto", Mode::Auto), ("manual", Mode::Manual), ("realtime", Mode::Realtime)];
    let mode = r.choice("talk", "mode", "auto", &modes, "Who decides that an utterance is over.");
    let framing = r.number("device", "framing", 1, 1..=3, "Binary framing.") as u8;
    let codecs = [("opus", Codec::Opus), ("pcm", Codec::Pcm)];
    let codec = r.choice("device", "codec", "opus", &codecs, "What goes over the wire, both ways.");
    let checkin = r.flag("device", "checkin", false, "Check in by OTA first, as after a boot.");
    let mix = mix(r);
    Scenario {
        devices,
        arrival: match arrival {
            1 => Arrival::Storm,
            2 => Arrival::Herd { period_ms: ms(herd_s) },
            _ => Arrival::Ramp { over_ms: ms(ramp_s) },
        },
        duration_ms: ms(duration_s),
        warmup_ms: ms(warmup_s),
        stay_ms: ms(stay_s),
        pause_ms: ms(pause_s),
        turns,
        mode,
        framing,
        codec,
        checkin,
        mix,
        seed,
    }
}

/// Unwritten weights are 0, and `talk` is 1 when nothing is written.
fn mix(r: &mut Reader<'_>) -> Mix {
    let mut weight = |key, meaning| r.decimal("mix", key, 0.0, 0.0..=1e6, meaning);
    let mut mix = Mix {
        talk: weight("talk", "Weight: talks, listens, pauses. 1 if no weight is given."),
        idle: weight("idle", "Weight: says hello and then nothing."),
        abort: weight("abort", "Weight: interrupts each reply by abort."),
        barge_in: weight("barge_in", "Weight: interrupts each reply by speaking."),
        reconnect: weight("reconnect", "Weight: says goodbye after each turn and comes back."),
        vanish: weight("vanish", "Weight: cuts the line within a reply and comes back."),
        slow_reader: weight("slow_reader", "Weight: reads at a tenth of the speed."),
        deaf: weight("deaf", "Weight: talks and never reads."),
        rude: weight("rude", "Weight: sends garbage."),
    };
    if mix.weights().iter().all(|w| w.1 == 0.0) {
        mix.talk = 1.0;
    }
    mix
}

fn ms(s: f64) -> u64 {
    (s * 1_000.0).round() as u64
}
