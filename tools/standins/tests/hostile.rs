//! Conversations while all three services fail in every way there is: each turn ends once, and says or shows something.

#[path = "../../../tests/support/mod.rs"]
mod support;

use support::{Client, Got, Rig, kinds};
use voxlane_standins::profile::{Faults, Manner, Profile};
use voxlane_standins::{Config, Handle, Standins};

/// Devices that talk at the same time.
const DEVICES: usize = 8;
/// Turns of each.
const TURNS: usize = 4;

/// A third of all requests meets some fault.
const HOSTILE: Faults = Faults { error: 0.12, hang: 0.05, stall: 0.03, drip: 0.02, malformed: 0.06, cut: 0.05 };

fn standins(profile: Profile, seed: u64) -> Handle {
    Standins::start(Config { seed, ..Config::new(Profile { speech_ms: 300, ..profile }) }).unwrap()
}

fn hostile() -> Profile {
    let spoil = |manner: Manner| Manner { faults: HOSTILE, ..manner };
    Profile { manners: Profile::R1.manners.map(spoil), ..Profile::R1 }
}

/// A rig whose services are `first`, with others behind them.
fn rig(first: &Handle, more: &[(&str, &str)]) -> Rig {
    let (openai, url, model) = (r#""openai""#, format!("{:?}", first.base_url()), r#""standin""#);
    let mut overrides = vec![("tts.format", r#""pcm""#), ("session.turn_s", "3")];
    for [provider, address, name] in [
        ["asr.provider", "asr.base_url", "asr.model"],
        ["llm.provider", "llm.base_url", "llm.model"],
        ["tts.provider", "tts.base_url", "tts.model"],
    ] {
        overrides.extend([(provider, openai), (address, url.as_str()), (name, model)]);
    }
    overrides.extend(more);
    Rig::with(&overrides)
}

/// Turns of all devices at once, each checked.
fn talk(rig: &Rig) -> Vec<Vec<Got>> {
    std::thread::scope(|scope| {
        let devices: Vec<_> = (0..DEVICES)
            .map(|_| {
                scope.spawn(move || {
                    let mut client = rig.device();
                    (0..TURNS).map(|_| turn(&mut client)).collect::<Vec<_>>()
                })
            })
            .collect();
        devices.into_iter().flat_map(|device| device.join().unwrap()).collect()
    })
}

fn turn(client: &mut Client) -> Vec<Got> {
    client.listen("start", "manual");
    client.sound(600, true);
    client.listen("stop", "");
    let got = client.until("tts:stop");
    let count = |kind: &str| got.iter().filter(|one| one.kind() == kind).count();
    assert_eq!((count("tts:start"), count("tts:stop")), (1, 1), "{:?}", kinds(&got));
    assert!(count("tts:sentence_start") > 0, "something is said or shown: {:?}", kinds(&got));
    got
}

/// What was measured, for `--nocapture`.
fn tell(what: &str, rig: &Rig, turns: &[Vec<Got>]) {
    let (sorry, all) = (apologies(turns), turns.len());
    let answers = |rung: &str| rig.metric("voxlane_answers_total", &format!("rung=\"{rung}\""));
    let (backup, offline) = (answers("backup"), answers("offline"));
    eprintln!("{what}: {sorry} of {all} turns apologised; answers of backups {backup}, offline {offline}");
}

fn apologies(turns: &[Vec<Got>]) -> usize {
    turns.iter().filter(|got| got.iter().any(|one| one.text().starts_with("Sorry"))).count()
}

#[test]
fn every_turn_ends_once_and_says_something_while_a_third_of_all_calls_fail() {
    let services = standins(hostile(), 1);
    let rig = rig(&services, &[]);
    let turns = talk(&rig);
    tell("a third of all calls fails", &rig, &turns);
    assert_eq!(turns.len(), DEVICES * TURNS);
    assert_eq!(rig.metric("voxlane_turns_total", r#"event="started""#), (DEVICES * TURNS) as f64);
    // Nothing is left behind: no worker, no call.
    rig.metric_becomes("voxlane_workers_busy", "", |busy| busy == 0.0);
    rig.metric_becomes("voxlane_provider_calls", "", |calls| calls == 0.0);
}

/// R3 as the benchmarks have it: delays up to 5 s and more, 2 % errors, 1 % never answered.
#[test]
fn every_turn_ends_once_with_services_of_profile_r3() {
    let services = standins(Profile::r3(), 5);
    let rig = rig(&services, &[("session.turn_s", "12"), ("llm.hedge_ms", "800")]);
    let turns = talk(&rig);
    tell("profile R3, hedged", &rig, &turns);
    assert_eq!(turns.len(), DEVICES * TURNS);
    rig.metric_becomes("voxlane_workers_busy", "", |busy| busy == 0.0);
    rig.metric_becomes("voxlane_provider_calls", "", |calls| calls == 0.0);
}

#[test]
fn with_somebody_behind_each_service_hardly_anybody_hears_an_apology() {
    let (bad, good) = (standins(hostile(), 3), standins(Profile::R1, 3));
    let backup = format!("[\"openai base_url={} model=standin", good.base_url());
    let (plain, pcm) = (format!("{backup}\"]"), format!("{backup} format=pcm\"]"));
    let rig =
        rig(&bad, &[("asr.backups", &plain), ("llm.backups", &plain), ("tts.backups", &pcm), ("session.turn_s", "8")]);
    let turns = talk(&rig);
    // A hang takes half of a stage's time before the backup is asked.
    tell("a third of all calls fails, with backups", &rig, &turns);
    let sorry = apologies(&turns);
    assert!(sorry * 10 <= turns.len(), "{sorry} of {} turns", turns.len());
    assert!(rig.metric("voxlane_answers_total", r#"rung="backup""#) > 0.0);
    assert_eq!(rig.metric("voxlane_answers_total", r#"rung="offline""#), 0.0);
}
