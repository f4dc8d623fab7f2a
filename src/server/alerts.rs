//! Tells somebody who is not looking: once a second each rule looks at its metric, and what fires or is over goes to the log, to
//! a webhook and to a command.
//!
//! ```text
//!   metrics --> rules (pure, resilience::alert) --> log
//!                                              \-> queue, bounded --> thread that may wait --> webhook, command
//! ```

use crate::config::Alerts;
use crate::config::mistake::nearest;
use crate::job::Cancel;
use crate::limits;
use crate::metrics::lookup;
use crate::metrics::registry::{Probe, Registry};
use crate::providers::child::{self, Leash, Program};
use crate::providers::http::{Content, HttpClient, Request, Until};
use crate::providers::{Call, Flow};
use crate::resilience::alert::{Notice, Rate, Watch};
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Clock, Duration, UnixMs};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{Builder, JoinHandle};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// The threads that look and tell.
pub struct Watchman {
    stop: Sender<()>,
    current: Arc<Current>,
    threads: Vec<JoinHandle<()>>,
}

/// What became of notices.
#[derive(Default)]
struct Tally {
    firing: AtomicU64,
    told: AtomicU64,
    failed: AtomicU64,
    held_back: AtomicU64,
}

/// Who is told outside.
struct Sinks {
    client: HttpClient,
    webhook: Option<String>,
    command: Vec<String>,
    clock: Clock,
    current: Arc<Current>,
    tally: Arc<Tally>,
}

/// The notice on its way, so that it can be taken back: each has a cancel of its own, as places for hooks are few.
#[derive(Default)]
struct Current(Mutex<(bool, Cancel)>);

impl Current {
    fn next(&self) -> Cancel {
        let mut current = self.0.lock();
        current.1 = Cancel::new();
        if current.0 {
            current.1.cancel();
        }
        current.1.clone()
    }

    fn end(&self) {
        let mut current = self.0.lock();
        current.0 = true;
        current.1.cancel();
    }
}

/// Rules whose metric nobody measures, as a sentence each.
pub fn unknown(alerts: &Alerts, registry: &Registry) -> Vec<String> {
    // Registered once the server runs.
    const LATER: &str = "voxlane_log_lines_dropped_total";
    let mut names = lookup::names(registry);
    names.push(LATER.to_owned());
    let is_unknown = |metric: &String| !names.contains(metric);
    let unknown = alerts.rules.iter().filter(|rule| is_unknown(&rule.metric));
    unknown
        .map(|rule| {
            let near = nearest(&rule.metric, names.iter().map(String::as_str));
            let help = near.map_or_else(|| "see /metrics".to_owned(), |near| format!("did you mean {near}?"));
            format!("alerts.rules: {}: there is no metric {}; {help}", rule.name, rule.metric)
        })
        .collect()
}

/// Starts to look.
///
/// # Errors
/// The system gives no thread.
pub fn start(alerts: &Alerts, client: HttpClient, registry: &Arc<Registry>, clock: Clock) -> io::Result<Watchman> {
    let (tally, current) = (Arc::<Tally>::default(), Arc::<Current>::default());
    watch(registry, &tally);
    let (stop, stopped) = bounded(0);
    let (notices, noticed) = bounded(limits::ALERTS_WAITING);
    let sinks = Sinks {
        client,
        webhook: alerts.webhook.clone(),
        command: alerts.command.clone(),
        clock,
        current: current.clone(),
        tally: tally.clone(),
    };
    let teller = Builder::new().name("alert-sinks".into()).spawn(move || sinks.run(&noticed))?;
    let watches = alerts.rules.iter().map(|rule| Watch::new(rule.clone(), clock.now())).collect();
    let rate = Rate::new(alerts.per_minute, Duration::from_secs(60), clock.now());
    let mut looker = Looker { watches, rate, registry: registry.clone(), clock, tally, notices };
    let looker = Builder::new().name("alerts".into()).spawn(move || {
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            looker.look();
        }
    })?;
    Ok(Watchman { stop, current, threads: vec![looker, teller] })
}

impl Watchman {
    /// Ends the threads; a notice on its way is taken back.
    pub fn stop(self) {
        drop(self.stop);
        self.current.end();
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// The thread that looks.
struct Looker {
    watches: Vec<Watch>,
    rate: Rate,
    registry: Arc<Registry>,
    clock: Clock,
    tally: Arc<Tally>,
    notices: Sender<String>,
}

impl Looker {
    fn look(&mut self) {
        let now = self.clock.now();
        for watch in &mut self.watches {
            let value = lookup::value(&self.registry, &watch.rule.metric, &watch.rule.labels);
            let Some(notice) = watch.look(now, value) else { continue };
            // The log is told of each: it has its own bound.
            log(watch, notice);
            if !self.rate.take(now) {
                self.tally.held_back.fetch_add(1, Relaxed);
                continue;
            }
            if let Err(TrySendError::Full(_)) = self.notices.try_send(json(watch, notice)) {
                self.tally.held_back.fetch_add(1, Relaxed);
            }
        }
        self.tally.firing.store(self.watches.iter().filter(|watch| watch.is_firing()).count() as u64, Relaxed);
    }
}

fn log(watch: &Watch, notice: Notice) {
    let (rule, metric, labels) = (watch.rule.name.as_str(), watch.rule.metric.as_str(), watch.rule.labels.as_str());
    match notice {
        Notice::Firing(value) => tracing::warn!(rule, metric, labels, value, "alert"),
        Notice::Over(after) => tracing::info!(rule, metric, labels, after_s = after.as_secs(), "alert is over"),
    }
}

/// A notice for machines.
fn json(watch: &Watch, notice: Notice) -> String {
    let rule = &watch.rule;
    let (state, value, after_s) = match notice {
        Notice::Firing(value) => ("firing", Some(value), None),
        Notice::Over(after) => ("over", None, Some(after.as_secs())),
    };
    let mut notice = serde_json::json!({
        "alert": rule.name, "state": state, "metric": rule.metric, "labels": rule.labels, "hold_s": rule.hold.as_secs(),
        "at_ms": UnixMs::now().0, "server": format!("voxlane {}", env!("CARGO_PKG_VERSION")),
    });
    if let Some(value) = value {
        notice["value"] = value.into();
    }
    if let Some(after_s) = after_s {
        notice["after_s"] = after_s.into();
    }
    notice.to_string()
}

impl Sinks {
    fn run(&self, noticed: &Receiver<String>) {
        for notice in noticed {
            if let Some(url) = &self.webhook {
                self.count("webhook", self.post(url, &notice));
            }
            if let [name, arguments @ ..] = &self.command[..] {
                self.count("command", self.execute(name, arguments, &notice));
            }
        }
    }

    fn call(&self) -> Call {
        let deadline = self.clock.now() + limits::ALERT;
        Call { clock: self.clock, deadline, cancel: self.current.next(), ticket: Default::default() }
    }

    fn post(&self, url: &str, notice: &str) -> Result<(), Fault> {
        let call = self.call();
        let until = Until { by: call.deadline, what: "the webhook's answer" };
        let request = Request { url, key: None, content: Content::Json(notice.as_bytes()) };
        let exchange = self.client.send(&request, &call, until)?;
        exchange.finish(self.clock.now());
        Ok(())
    }

    fn execute(&self, name: &str, arguments: &[String], notice: &str) -> Result<(), Fault> {
        let call = self.call();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let program = Program { name, arguments: &arguments, cure: "see alerts.command" };
        let leash = Leash::new(&call);
        // What it says is of no interest, but it is read, so that it can say it.
        child::run(&program, notice.as_bytes(), &call, &leash, call.deadline, &mut |_| Flow::Continue)
    }

    fn count(&self, sink: &str, result: Result<(), Fault>) {
        match result {
            Ok(()) => self.tally.told.fetch_add(1, Relaxed),
            Err(fault) if fault.cause == Cause::Cancelled => self.tally.failed.fetch_add(1, Relaxed),
            Err(fault) => {
                tracing::warn!(sink, %fault, "an alert could not be told");
                self.tally.failed.fetch_add(1, Relaxed)
            }
        };
    }
}

fn watch(registry: &Registry, tally: &Arc<Tally>) {
    let firing = tally.clone();
    registry.watch(Probe {
        name: "voxlane_alerts_firing",
        labels: "".into(),
        help: "Alert rules that fire.",
        value: Box::new(move || firing.firing.load(Relaxed)),
    });
    type Count = fn(&Tally) -> &AtomicU64;
    const RESULTS: [(&str, Count); 3] =
        [("told", |tally| &tally.told), ("failed", |tally| &tally.failed), ("held_back", |tally| &tally.held_back)];
    for (result, count) in RESULTS {
        let tally = tally.clone();
        registry.watch(Probe {
            name: "voxlane_alert_notices_total",
            labels: format!(r#"result="{result}""#).into(),
            help: "Notices to webhook and command, by what became of them.",
            value: Box::new(move || count(&tally).load(Relaxed)),
        });
    }
}
