//! Whole fleets against the real server in this process, with scripted services. They gate on errors, order and counts, never
//! on time.

mod bad_server;
mod secure;

use super::*;
use crate::slo::Slo;
use std::path::Path;
use voxlane::config::{self, Environment};
use voxlane::server::Server;

const CONFIG: &str = r#"
[listen]
device = "127.0.0.1:0"
http = "127.0.0.1:0"
admin = "127.0.0.1:0"
[shards]
count = 1
[session]
greeting = false
[limits]
shed = false
[asr]
provider = "scripted"
[memory]
durability = "none"
[llm]
provider = "scripted"
script = ["Yes."]
[tts]
provider = "scripted"
"#;

fn server(config: &str) -> Server {
    let loaded = config::parse(Some((Path::new("t.toml"), config)), &Environment::new()).expect("configuration");
    let mut config = loaded.config;
    // On a slow machine with much else to do the server would rightly refuse; here it is to be slow.
    config.limits.shed = false;
    let server = Server::start(&config).expect("server");
    server.wait_ready(std::time::Duration::from_secs(10)).expect("ready");
    server
}

/// Runs flags against a server of its own.
fn run(flags: &[(&str, &str)]) -> Outcome {
    run_on(CONFIG, flags)
}

/// The same with a configuration of its own.
fn run_on(config: &str, flags: &[(&str, &str)]) -> Outcome {
    let server = server(config);
    let flags: Vec<_> = flags.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let scenario = Scenario::read(None, &flags).map_err(|e| e.to_string()).expect("scenario");
    let url = format!("ws://{}/xiaozhi/v1/", server.addresses().device);
    let voices = utterances(&voices::gather(None)).expect("voices");
    let plan = Plan::new(Target::parse(&url, false).expect("target"), scenario, &voices, "test".into()).expect("plan");
    let mut watch = Watch::new(Some(std::process::id()), Some(server.addresses().admin));
    let outcome = plan.run(&mut watch, &Live::default(), &mut |_| {}).expect("run");
    server.stop(voxlane::time::Duration::ZERO);
    outcome
}

fn kept(outcome: &Outcome, promise: &str) {
    let verdict = outcome.judge(&Slo::parse(promise).expect("promise"));
    assert!(verdict.is_kept(), "{verdict}{:#?}", outcome.failures);
}

#[test]
fn devices_talk_and_are_answered() {
    let outcome = run(&[("devices", "12"), ("ramp", "1"), ("turns", "1"), ("duration", "120")]);
    kept(&outcome, "errors=0,crosstalk=0,doubled_stop=0,turns=12,devices>=1,refused=0");
    assert!(outcome.failures.is_empty() && outcome.server.is_some(), "{outcome:?}");
    assert!(outcome.unmeasured.is_some() || outcome.times["first_audio"].count() == 12);
}

#[test]
fn buttons_framings_and_samples_work() {
    let outcome = run(&[
        ("devices", "6"),
        ("ramp", "0.5"),
        ("turns", "1"),
        ("duration", "120"),
        ("mode", "manual"),
        ("framing", "3"),
        ("codec", "pcm"),
    ]);
    kept(&outcome, "errors=0,turns=6");
}

#[test]
fn only_who_checks_in_gets_a_token_and_in() {
    let config = format!(
        "{CONFIG}[auth]\nmode = \"token\"\nallow = [\"02:10:00:00:00:00\", \"02:10:00:00:00:01\"]\nsecret = \"{}\"\n",
        "s".repeat(40)
    );
    let flags = [("devices", "3"), ("ramp", "0.2"), ("turns", "1"), ("duration", "4")];
    let outcome = run_on(&config, &[&flags[..], &[("checkin", "true")]].concat());
    kept(&outcome, "turns=2,refused>=1,crosstalk=0");
    let refused = &outcome.failures["refused"];
    assert!(refused.examples.iter().all(|e| e.contains("02:10:00:00:00:02")), "{refused:?}");
    let outcome = run_on(&config, &flags);
    kept(&outcome, "turns=0,refused>=3");
}

#[test]
fn the_unruly_do_no_harm() {
    let outcome = run(&[
        ("devices", "24"),
        ("ramp", "0.5"),
        ("duration", "9"),
        ("talk", "3"),
        ("rude", "2"),
        ("deaf", "1"),
        ("slow-reader", "1"),
        ("abort", "1"),
        ("reconnect", "1"),
    ]);
    kept(&outcome, "errors=0,turns>=3");
}

#[test]
fn a_port_where_nobody_listens_is_refused() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let flags = [
        ("devices".to_owned(), "3".to_owned()),
        ("duration".to_owned(), "0.5".to_owned()),
        ("ramp".to_owned(), "0".to_owned()),
    ];
    let scenario = Scenario::read(None, &flags).expect("scenario");
    let target = Target::parse(&format!("ws://127.0.0.1:{port}/"), false).expect("target");
    let voices = [Utterance {
        name: "x".into(),
        text: "".into(),
        packets: vec![Box::new([0])],
        pcm: vec![],
        speech_end_ms: 1.0,
    }];
    let plan = Plan::new(target, scenario, &voices, "test".into()).expect("plan");
    let outcome = plan.run(&mut Watch::default(), &Live::default(), &mut |_| {}).expect("run");
    kept(&outcome, "refused>=3,turns=0");
    assert!(outcome.failures["refused"].examples[0].contains("refused"), "{:?}", outcome.failures);
}

#[test]
fn a_tool_that_is_late_says_so() {
    assert!(distrust(0.81, None).unwrap().contains("81 %"));
    assert!(distrust(0.1, Some(5.5)).unwrap().contains("5.5 ms late"));
    assert_eq!(distrust(0.8, Some(5.0)), None);
}

#[test]
fn descriptors_that_are_not_allowed_are_told_exactly() {
    assert_eq!(allow_files(3), Ok(()));
    let error = allow_files(u64::MAX / 2).unwrap_err();
    assert!(error.contains(&format!("ulimit -n {}", u64::MAX / 2)), "{error}");
}
