//! What is shown of a row: the step in force, who answered, and each provider's door.

use super::Line;
use super::gate::Gate;
use crate::metrics::registry::{Probe, Registry};
use crate::resilience::fault::Cause;
use crate::resilience::ladder::Rung;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl<P: ?Sized + Send + 'static> Line<P> {
    /// Shows it among the metrics.
    pub fn watch(self: &Arc<Line<P>>, registry: &Registry) {
        let stage = self.stage.name();
        let line = self.clone();
        registry.watch(Probe {
            name: "voxlane_degraded",
            labels: format!(r#"stage="{stage}""#).into(),
            help: "How far down a stage has had to go of late: 0 primary, 1 backup, 2 kept speech, 3 text only, 4 offline.",
            value: Box::new(move || line.ladder.lock().rung() as u64),
        });
        let line = self.clone();
        registry.watch(Probe {
            name: "voxlane_outage",
            labels: format!(r#"stage="{stage}""#).into(),
            help: "1 from the first answer that no provider of the stage could give to the next that one gave.",
            value: Box::new(move || u64::from(line.ladder.lock().outage().is_some())),
        });
        for (i, rung) in Rung::ALL.into_iter().enumerate() {
            let line = self.clone();
            registry.watch(Probe {
                name: "voxlane_answers_total",
                labels: format!(r#"stage="{stage}",rung="{}""#, rung.name()).into(),
                help: "Answers of a stage by what gave them.",
                value: Box::new(move || line.answers[i].load(Relaxed)),
            });
        }
        for i in (0..self.members.len()).filter(|&i| self.members[i].spec.rung.is_service()) {
            self.watch_member(i, registry);
        }
    }

    fn watch_member(self: &Arc<Line<P>>, i: usize, registry: &Registry) {
        let labels = format!(r#"stage="{}",provider="{}""#, self.stage.name(), self.members[i].gate.name);
        let show = |name, help, value: fn(&Line<P>, &Gate) -> u64| {
            let (line, labels) = (self.clone(), labels.clone().into());
            registry.watch(Probe { name, labels, help, value: Box::new(move || value(&line, &line.members[i].gate)) });
        };
        show("voxlane_provider_state", "A provider's breaker: 0 closed, 1 half-open, 2 open.", |line, gate| {
            gate.state(line.clock.now())
        });
        show("voxlane_provider_calls", "Calls under way at a provider.", |_, gate| gate.inside());
        show(
            "voxlane_provider_latency_microseconds",
            "How long a provider's first results take, smoothed.",
            |_, gate| gate.latency_us(),
        );
        show("voxlane_provider_opened_total", "Times that a provider's breaker opened.", |_, gate| {
            gate.tally.opened.load(Relaxed)
        });
        show("voxlane_provider_repeated_total", "Calls to a provider that were repetitions.", |_, gate| {
            gate.tally.repeated.load(Relaxed)
        });
        show("voxlane_provider_hedged_total", "Calls to a provider because another was late.", |_, gate| {
            gate.tally.hedged.load(Relaxed)
        });
        for (at, cause) in Cause::ALL.into_iter().enumerate().filter(|(_, cause)| *cause != Cause::Cancelled) {
            let line = self.clone();
            registry.watch(Probe {
                name: "voxlane_provider_faults_total",
                labels: format!(r#"{labels},cause="{}""#, cause.name()).into(),
                help: "Faults of a provider by cause.",
                value: Box::new(move || line.members[i].gate.tally.faults[at].load(Relaxed)),
            });
        }
        type Count = fn(&Gate) -> u64;
        const RESULTS: [(&str, Count); 6] = [
            ("good", |gate| gate.tally.good.load(Relaxed)),
            ("failed", |gate| gate.tally.failed.load(Relaxed)),
            ("void", |gate| gate.tally.void.load(Relaxed)),
            ("held_back", |gate| gate.tally.held_back.load(Relaxed)),
            ("left_alone", |gate| gate.tally.left_alone.load(Relaxed)),
            ("busy", |gate| gate.tally.busy.load(Relaxed)),
        ];
        for (result, count) in RESULTS {
            let line = self.clone();
            registry.watch(Probe {
                name: "voxlane_provider_calls_total",
                labels: format!(r#"{labels},result="{result}""#).into(),
                help: "Calls to a provider, made (good, failed, void: taken back or told to wait) and not made.",
                value: Box::new(move || count(&line.members[i].gate)),
            });
        }
    }
}
