//! `wss://` against the real server with the certificate of the tests, and the mistakes that people make with it.

use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/tls");
const TALK: &[(&str, &str)] = &[("devices", "4"), ("ramp", "0.2"), ("turns", "1"), ("duration", "120")];
const COME: &[(&str, &str)] = &[("devices", "2"), ("ramp", "0"), ("idle", "1"), ("duration", "3")];

fn authority() -> Trust {
    Trust::Authorities(Path::new(FOLDER).join("authority.pem"))
}

fn secure_config() -> String {
    let keys = format!("tls_cert = \"{FOLDER}/server.pem\"\ntls_key = \"{FOLDER}/server-key.pem\"\n[shards]");
    CONFIG.replacen("[shards]", &keys, 1)
}

/// Devices of `scheme` at a server with this configuration.
fn run_at(scheme: &str, config: &str, trust: &Trust, flags: &[(&str, &str)]) -> Outcome {
    let server = server(config);
    let url = format!("{scheme}://{}/xiaozhi/v1/", server.addresses().device);
    let target = Target::parse(&url, false).and_then(|target| target.trusting(trust)).expect("target");
    let flags: Vec<_> = flags.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let scenario = Scenario::read(None, &flags).map_err(|e| e.to_string()).expect("scenario");
    let voices = utterances(&voices::gather(None)).expect("voices");
    let plan = Plan::new(target, scenario, &voices, "test".into()).expect("plan");
    let outcome = plan.run(&mut Watch::default(), &Live::default(), &mut |_| {}).expect("run");
    server.stop(voxlane::time::Duration::ZERO);
    assert_eq!(outcome.target, url);
    outcome
}

/// Nobody got in, and each was told why.
fn refused(outcome: &Outcome, why: &str) {
    kept(outcome, "devices=0,refused>=2");
    assert_eq!(outcome.failures.len(), 1, "{:?}", outcome.failures);
    let examples = &outcome.failures["refused"].examples;
    assert!(examples.iter().all(|e| e.contains(why) && !e.contains('\n')), "{examples:?}");
}

#[test]
fn who_comes_back_resumes_a_session_of_its_own_and_no_other() {
    let flags =
        [("devices", "3"), ("ramp", "0.2"), ("reconnect", "1"), ("talk", "0"), ("turns", "2"), ("duration", "180")];
    let outcome = run_at("wss", &secure_config(), &authority(), &flags);
    // Each talks, hangs up, comes back and talks again: it shakes hands in full, then with what it kept.
    kept(&outcome, "errors=0,crosstalk=0,turns=6,resumed=50%");
}

#[test]
fn the_check_in_is_made_over_tls_too() {
    let flags = [TALK, &[("checkin", "true")]].concat();
    kept(&run_at("wss", &secure_config(), &authority(), &flags), "errors=0,turns=4");
}

#[test]
fn a_certificate_of_nobody_known_is_refused_unless_any_will_do() {
    let outcome = run_at("wss", &secure_config(), &Trust::Public, COME);
    refused(&outcome, "the certificate is not accepted");
    // These hang up and come back, again and again: all but each one's first time with its session.
    let flags = [COME, &[("stay", "0.3"), ("duration", "4")]].concat();
    kept(&run_at("wss", &secure_config(), &Trust::Anybody, &flags), "errors=0,resumed>=50%");
}

#[test]
fn the_wrong_scheme_is_told_with_the_right_one() {
    refused(&run_at("ws", &secure_config(), &Trust::Public, COME), "use wss://");
    refused(&run_at("wss", CONFIG, &authority(), COME), "use ws://");
}

#[test]
fn a_server_that_hangs_up_on_a_handshake_may_speak_no_tls() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("wss://{}/", listener.local_addr().expect("its address"));
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let flags = COME.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let voices = utterances(&voices::gather(None)).expect("voices");
    let scenario = Scenario::read(None, &flags).expect("scenario");
    let plan = Plan::new(Target::parse(&url, false).expect("target"), scenario, &voices, "test".into()).expect("plan");
    let outcome = plan.run(&mut Watch::default(), &Live::default(), &mut |_| {}).expect("run");
    refused(&outcome, "use ws://");
}
