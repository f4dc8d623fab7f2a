//! A running server takes over other configurations, a thousand times, and has no more of anything afterwards.

mod support;

use serde_json::json;
use std::time::Instant;
use support::{Client, PATIENCE, Rig, configuration, fresh_id, kinds};
use voxlane::config::Config;
use voxlane::server::Server;

const RELOADS: usize = 1_000;

/// Open descriptors, threads, and resident memory in KiB, of this process.
fn held() -> (usize, usize, i64) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (count("fd"), count("task"), rss.split_ascii_whitespace().next().unwrap().parse().unwrap())
}

fn knock(rig: &Rig) -> Result<Client, u16> {
    Client::connect_as(rig.device, &fresh_id(), |_| {}).map_err(|(status, _)| status)
}

/// Waits until the shard goes by it.
fn until(mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "the reload takes no effect");
    }
}

#[test]
fn a_thousand_reloads_take_effect_leak_nothing_and_cut_nobody() {
    let overrides: &[(&str, &str)] = &[("llm.script", r#"["This one is being said."]"#)];
    let rig = Rig::with(overrides);
    let server: &Server = rig.server.as_ref().unwrap();
    let with = |more: &[(&str, &str)]| -> Config { configuration(&[overrides, more].concat()).0 };
    let (open, shut) = (with(&[]), with(&[("auth.mode", "\"token\""), ("auth.secret", "\"0123456789abcdef\"")]));
    let quiet = with(&[("session.greeting", "false")]);

    let mut talker = rig.device();
    server.reload(&shut).unwrap();
    until(|| matches!(knock(&rig), Err(401)));
    // Who is in stays in and is served.
    talker.detect("tell me");
    assert!(kinds(&talker.until("tts:stop")).contains(&"packet".to_owned()));

    // Rules of a session are those it began with.
    server.reload(&quiet).unwrap();
    until(|| knock(&rig).is_ok());
    let mut newcomer = knock(&rig).expect("open again");
    newcomer.hello(json!({}));
    newcomer.detect("hey xiaozhi");
    newcomer.is_alive();
    talker.detect("hey xiaozhi");
    talker.until("tts:stop");

    // A configuration that cannot be used changes nothing.
    let mut broken = quiet.clone();
    broken.auth.token = true;
    broken.auth.secret = Some("short".to_owned());
    assert!(server.reload(&broken).is_err());
    assert!(knock(&rig).is_ok());

    // The first hundred fill what is kept.
    let all = [&shut, &quiet, &open];
    (0..100).for_each(|i| server.reload(all[i % 3]).unwrap());
    until(|| matches!(knock(&rig), Err(401)));
    talker.is_alive();
    let before = held();
    (0..RELOADS).for_each(|i| server.reload(all[i % 3]).unwrap());
    until(|| matches!(knock(&rig), Err(401)));
    talker.is_alive();
    newcomer.is_alive();
    until(|| (held().0, held().1) == (before.0, before.1));
    let grown = held().2 - before.2;
    assert!(grown < 4 * 1_024, "{grown} KiB more after {RELOADS} reloads");
}
