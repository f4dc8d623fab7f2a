//! What standing in costs a job that needs nobody: asking at the door, the row of providers around a call, a look of the alerts.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use voxlane::audio::block::Speech;
use voxlane::format::Lang;
use voxlane::job::{Cancel, Recognise, Stage, Transcript};
use voxlane::metrics::registry::{Home, Registry};
use voxlane::metrics::{Counter, lookup};
use voxlane::providers::{About, Call, Recogniser};
use voxlane::resilience::breaker::{Breaker, Report, Rules};
use voxlane::resilience::choice::Choice;
use voxlane::resilience::fault::Fault;
use voxlane::resilience::ladder::Rung;
use voxlane::time::{Clock, Duration, Instant, UnixMs};
use voxlane::workers::chain::{self, Line, Spec};

/// Answers at once.
struct Prompt;

impl Recogniser for Prompt {
    fn recognise(&mut self, _: Speech<'_>, _: &Recognise, _: &Call) -> Result<Transcript, Fault> {
        Ok(Transcript { text: String::new(), language: None, confidence: None })
    }
}

fn door(c: &mut Criterion) {
    let rules = Rules {
        window: Duration::from_secs(10),
        volume: 5,
        failed_percent: 50,
        slow_percent: 80,
        slow: Duration::from_secs(2),
        open: Duration::from_secs(10),
        open_most: Duration::from_secs(60),
        probes: 3,
        settle: Duration::from_secs(3),
    };
    let mut breaker = Breaker::new(rules);
    let mut us = 0;
    c.bench_function("resilience/breaker, one call", |b| {
        b.iter(|| {
            us += 500;
            let verdict = breaker.admit(Instant::from_us(us));
            breaker.report(Instant::from_us(us), verdict, Report::Good(Duration::from_millis(1)), 0)
        });
    });
}

fn row(c: &mut Criterion) {
    let clock = Clock::start();
    let how = Recognise { language: None, hint: Lang::EN };
    let call = || Call { clock, deadline: Instant::NEVER, cancel: Cancel::new(), ticket: Default::default() };
    c.bench_function("resilience/a call without a row", |b| {
        let mut alone: Box<dyn Recogniser> = Box::new(Prompt);
        b.iter(|| black_box(alone.recognise(Speech::Samples(&[]), &how, &call())));
    });
    for (name, count) in [("resilience/a call in a row of one", 1), ("resilience/a call in a row of three", 3)] {
        let rungs = [Rung::Primary, Rung::Backup, Rung::Backup];
        let spec = |rung| Spec::<dyn Recogniser> {
            about: About { name: "prompt", detail: String::new(), language: None },
            factory: Arc::new(|_| Ok(Box::new(Prompt))),
            is_service: true,
            places: 0,
            rung,
            voice: None,
        };
        let rules = chain::Rules {
            budget: Duration::from_secs(4),
            retry_percent: 10,
            breaker_percent: 50,
            breaker_open: Duration::from_secs(10),
            choice: Choice::Ordered,
            hedge: None,
            is_aside: false,
        };
        let line = Line::new(Stage::Asr, rungs[..count].iter().map(|rung| spec(*rung)).collect(), rules, clock);
        let mut chained = chain::recognisers(line)(0).expect("it is made");
        c.bench_function(name, |b| b.iter(|| black_box(chained.recognise(Speech::Samples(&[]), &how, &call()))));
    }
}

fn alerts(c: &mut Criterion) {
    let registry = Registry::new(UnixMs(0));
    let panels: Vec<_> = (0..600).map(|_| registry.panel(Home::Worker("llm"))).collect();
    panels.iter().for_each(|panel| panel.count(Counter::JobsOk));
    c.bench_function("resilience/one rule's look at 600 workers", |b| {
        b.iter(|| lookup::value(&registry, "voxlane_jobs_total", black_box(r#"pool="llm",result="failed""#)));
    });
}

criterion_group!(benches, door, row, alerts);
criterion_main!(benches);
