//! The real server and the stand-ins in this process, for fleets of devices over loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use voxlane::config::{self, Environment};
use voxlane::server::Server;
use voxlane_load::engine::{self, Live, Plan, Target, Watch};
use voxlane_load::find::child::get;
use voxlane_load::find::settings::{Settings, Tts};
use voxlane_load::outcome::Outcome;
use voxlane_load::scenario::Scenario;
use voxlane_load::slo::Slo;
use voxlane_load::voices::{self, Utterance};
use voxlane_standins::profile::Profile;
use voxlane_standins::{Config, Handle, Standins};

/// A server with its services; ended by [`Stage::end`].
pub struct Stage {
    server: Server,
    services: Handle,
    utterances: Vec<Utterance>,
}

impl Stage {
    /// `profile`: how fast the services are.
    pub fn set(tts: Tts, profile: &str) -> Stage {
        let mut services = Config::new(Profile::named(profile).expect("a profile"));
        services.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let services = Standins::start(services).expect("stand-ins");
        let settings =
            Settings { providers: services.address(), tts, shards: 1, complexity: "0".into(), connections: 1_000 };
        // All are served, late where the machine is slow: whom a server refuses that cannot keep up is not looked at here.
        let text =
            settings.toml().replace("[limits]\n", "[limits]\nshed = false\n") + "[memory]\ndurability = \"none\"\n";
        let loaded = config::parse(Some((Path::new("load.toml"), &text)), &Environment::new());
        let mut config = loaded.map_err(|e| e.to_string()).expect("configuration").config;
        // On a slow machine with much else to do the server would rightly refuse; here it is to be slow.
        config.limits.shed = false;
        let server = Server::start(&config).expect("server");
        server.wait_ready(Duration::from_secs(30)).expect("ready");
        let utterances = engine::utterances(&voices::gather(None)).expect("voices");
        Stage { server, services, utterances }
    }

    /// A fleet's run from beginning to end; several may be under way.
    pub fn run(&self, flags: &[(&str, &str)]) -> Outcome {
        let flags: Vec<_> = flags.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let scenario = Scenario::read(None, &flags).map_err(|e| e.to_string()).expect("scenario");
        let target = Target::parse(&self.url(), false).expect("target");
        let plan = Plan::new(target, scenario, &self.utterances, "short".into()).expect("plan");
        let mut watch = Watch::new(Some(std::process::id()), Some(self.admin()));
        plan.run(&mut watch, &Live::default(), &mut |_| {}).expect("run")
    }

    /// Where devices connect.
    pub fn url(&self) -> String {
        format!("ws://{}/xiaozhi/v1/", self.server.addresses().device)
    }

    /// The server's admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.server.addresses().admin
    }

    /// A metric of the server now, of all its shards together.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = get(self.admin(), "/metrics").expect("metrics");
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix("{shard=")?.split_once(' ')?.1.parse().ok();
        text.lines().filter_map(value).reduce(|a: f64, b| a + b).expect("the server has this metric")
    }

    /// Waits until a metric is as wanted; of a slow machine it is patient.
    pub fn until(&self, name: &str, is_so: impl Fn(f64) -> bool) {
        for _ in 0..600 {
            if is_so(self.metric(name)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{name} stays at {}", self.metric(name));
    }

    /// Ends server and services.
    pub fn end(self) {
        self.server.stop(voxlane::time::Duration::ZERO);
        self.services.stop();
    }
}

/// Fails with what was measured unless the promise was kept.
pub fn kept(outcome: &Outcome, promise: &str) {
    let verdict = outcome.judge(&Slo::parse(promise).expect("promise"));
    assert!(verdict.is_kept(), "{verdict}{:#?}", outcome.failures);
}
