//! The short load run that every change must pass: a hundred devices for twenty seconds against the real server and the
//! stand-ins, in this process. It gates on errors, cross-talk and order, never on time.

use std::net::SocketAddr;
use std::path::Path;
use voxlane::config::{self, Environment};
use voxlane::server::Server;
use voxlane_load::engine::{self, Live, Plan, Target, Watch};
use voxlane_load::find::settings::{Settings, Tts};
use voxlane_load::outcome::Outcome;
use voxlane_load::scenario::Scenario;
use voxlane_load::slo::Slo;
use voxlane_load::voices;
use voxlane_standins::profile::Profile;
use voxlane_standins::{Config, Standins};

fn run(tts: Tts, flags: &[(&str, &str)]) -> Outcome {
    let mut services = Config::new(Profile::named("R2").expect("a profile"));
    services.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let services = Standins::start(services).expect("stand-ins");
    let settings =
        Settings { providers: services.address(), tts, shards: 1, complexity: "0".into(), connections: 1_000 };
    let text = settings.toml();
    let loaded = config::parse(Some((Path::new("load.toml"), &text)), &Environment::new());
    let server = Server::start(&loaded.map_err(|e| e.to_string()).expect("configuration").config).expect("server");
    server.wait_ready(std::time::Duration::from_secs(30)).expect("ready");
    let flags: Vec<_> = flags.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let scenario = Scenario::read(None, &flags).map_err(|e| e.to_string()).expect("scenario");
    let url = format!("ws://{}/xiaozhi/v1/", server.addresses().device);
    let utterances = engine::utterances(&voices::gather(None)).expect("voices");
    let target = Target::parse(&url, false).expect("target");
    let plan = Plan::new(target, scenario, &utterances, "short".into()).expect("plan");
    let mut watch = Watch::new(Some(std::process::id()), Some(server.addresses().admin));
    let outcome = plan.run(&mut watch, &Live::default(), &mut |_| {}).expect("run");
    server.stop(voxlane::time::Duration::ZERO);
    services.stop();
    outcome
}

fn kept(outcome: &Outcome, promise: &str) {
    let verdict = outcome.judge(&Slo::parse(promise).expect("promise"));
    assert!(verdict.is_kept(), "{verdict}{:#?}", outcome.failures);
}

#[test]
fn a_hundred_devices_are_answered_in_their_own_words_and_sounds() {
    let outcome =
        run(Tts::Pcm, &[("devices", "100"), ("ramp", "6"), ("duration", "20"), ("talk", "9"), ("reconnect", "1")]);
    kept(&outcome, "errors=0,crosstalk=0,doubled_stop=0,missing_stop=0,wrong_order=0,turns>=100,tones>=3,devices>=90");
}
