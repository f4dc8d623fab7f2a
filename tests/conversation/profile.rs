//! What a benchmarker reads of a core: the numbers move as the work does, and looking at it disturbs nobody.

use crate::TURN;
use crate::support::{Rig, http, kinds};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

/// System calls of the shard for each packet that came or went, waits left out: one to move it, one to set the timer for the
/// next, and a wake-up. A shard of one device has nobody to share them with.
const CALLS_A_FRAME: f64 = 3.0;
/// Waits for each packet: the sleep before it, looks after it for what could not be done in the same pass.
const WAITS_A_FRAME: f64 = 6.0;

fn get(rig: &Rig, path: &str) -> String {
    http(rig.admin, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).body
}

/// The number under `key` of the only shard.
fn number(stats: &Value, key: &str) -> f64 {
    stats["shards"][0][key].as_f64().unwrap_or_else(|| panic!("no {key} in {}", stats["shards"][0]))
}

#[test]
fn a_talk_moves_the_numbers_of_its_shard_within_bounds() {
    let rig = Rig::with(&[("shards.count", "1")]);
    let stats = || serde_json::from_str::<Value>(&get(&rig, "/stats.json")).expect("JSON");
    let mut client = rig.device();
    let before = stats();
    client.listen("start", "manual");
    client.utterance(600);
    client.listen("stop", "");
    assert_eq!(kinds(&client.until("tts:stop")), TURN);
    let after = stats();
    let moved = |key| number(&after, key) - number(&before, key);
    let frames = moved("frames_in") + moved("frames_out");
    assert!(moved("frames_in") >= 10.0 && moved("frames_out") >= 20.0, "{frames} frames");
    let by_kind = &after["shards"][0]["calls"];
    let waits =
        by_kind["wait"].as_f64().expect("waits") - before["shards"][0]["calls"]["wait"].as_f64().expect("waits");
    let calls = (moved("syscalls") - waits) / frames;
    assert!(calls > 0.5 && calls <= CALLS_A_FRAME, "{calls} system calls a frame: {by_kind}");
    assert!(waits / frames <= WAITS_A_FRAME, "{waits} waits for {frames} frames");
    assert!(moved("passes") >= moved("sleeps") && moved("sleeps") > 0.0);
    assert!(moved("busy_s") > 0.0 && moved("waited_s") > 0.0 && moved("cpu_s") > 0.0);
    assert!(moved("rung") >= moved("woken") && moved("rung") > 0.0, "workers were rung");
    let phases = after["shards"][0]["sessions"].as_object().expect("phases");
    assert_eq!(phases.values().filter_map(Value::as_i64).sum::<i64>(), 1, "{phases:?}");
    assert!(after["pools"].as_array().expect("pools").iter().all(|pool| pool["busy_s"].is_number()));
}

#[test]
fn a_conversation_goes_on_while_its_server_is_sampled() {
    let rig = Rig::with(&[]);
    let mut client = rig.device();
    std::thread::scope(|scope| {
        let picture = scope.spawn(|| get(&rig, "/debug/flamegraph?seconds=2"));
        let mut turns = 0;
        while !picture.is_finished() {
            client.listen("start", "manual");
            client.utterance(300);
            client.listen("stop", "");
            assert_eq!(kinds(&client.until("tts:stop")), TURN, "turn {turns}");
            turns += 1;
        }
        assert!(turns > 0);
        assert!(picture.join().expect("a picture").contains("<svg"));
    });
    client.is_alive();
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = promtool else {
        return eprintln!("skipped: promtool is not installed (Debian package prometheus, 90 MB)");
    };
    let rig = Rig::with(&[]);
    let mut client = rig.device();
    client.detect("tell me");
    client.until("tts:stop");
    promtool.stdin.take().expect("piped").write_all(get(&rig, "/metrics").as_bytes()).expect("it reads");
    let said = promtool.wait_with_output().expect("it ends");
    let complaints = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && complaints.is_empty(), "{complaints}");
}
