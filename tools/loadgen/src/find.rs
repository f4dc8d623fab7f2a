//! How many conversations one busy core carries at a promise, and which resource ended it.
//!
//! A probe is a fleet of its own: devices arrive over most of a turn, so that they are spread over its phases, and what begins
//! after that counts. The search decides how large the next one is.

pub mod child;
pub mod limit;
pub mod search;
pub mod settings;

use crate::engine::threads::Spent;
use crate::engine::{Glance, Live, Plan, Target, Watch};
use crate::outcome::Outcome;
use crate::scenario::{Arrival, Scenario};
use crate::slo::{Slo, Verdict};
use crate::voices::Utterance;
use limit::{Limit, Seen};
use search::{Found, Grade, Rules, Search};
use std::net::SocketAddr;

/// The server under search, wherever it came from.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Where devices connect.
    pub target: Target,
    /// Its process; without it there is no figure per core.
    pub pid: Option<u32>,
    /// Its statistics.
    pub stats: Option<SocketAddr>,
    /// Cores it may use.
    pub cores: usize,
}

/// How long a probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeTimes {
    /// From the first arrival to the last, ms; then counting begins.
    pub ramp_ms: u64,
    /// Counting, ms.
    pub hold_ms: u64,
}

impl Default for ProbeTimes {
    fn default() -> ProbeTimes {
        // A turn takes about ten seconds: one to spread the devices, one to count. Nine probes keep within three minutes.
        ProbeTimes { ramp_ms: 8_000, hold_ms: 10_000 }
    }
}

/// One probe.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Conversations.
    pub n: u32,
    /// What came out.
    pub outcome: Outcome,
    /// Whether the promise was kept.
    pub verdict: Verdict,
    /// What the stand-ins say of themselves: share of a core, lateness p99 in ms.
    pub services: Option<(f64, f64)>,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Good and bad.
    pub found: Found,
    /// The greatest good one.
    pub best: Option<Probe>,
    /// What broke, or at the greatest what there was.
    pub limit: Limit,
    /// The probe that was too much, if any.
    pub broke: Option<Probe>,
    /// Every probe, in order.
    pub probes: Vec<Probe>,
}

/// What a search needs.
pub struct Wish<'a> {
    /// Whom.
    pub subject: Subject,
    /// What must hold.
    pub slo: Slo,
    /// How far and how exactly.
    pub rules: Rules,
    /// How long a probe takes.
    pub times: ProbeTimes,
    /// See [`Plan::tick_us`].
    pub tick_us: u32,
    /// What devices do, but for their number and the times.
    pub scenario: Scenario,
    /// What they say.
    pub voices: &'a [Utterance],
    /// What the stand-ins say of themselves since they were last asked; `None` when they are not ours.
    pub services: &'a dyn Fn() -> Option<(f64, f64)>,
    /// The request to end early.
    pub live: &'a Live,
    /// Is told how a probe goes: conversations, and what there is to see.
    pub look: &'a dyn Fn(u32, &Glance),
}

impl Wish<'_> {
    /// Searches. `say` is told of every probe.
    pub fn find(&self, say: &mut dyn FnMut(&Probe)) -> Result<Answer, String> {
        let mut search = Search::new(self.rules);
        let mut probes: Vec<Probe> = Vec::new();
        while let Some(n) = search.next().filter(|_| !self.live.is_stopped()) {
            let probe = self.probe(n)?;
            if probe.outcome.interrupted {
                // Of half a probe nothing can be said.
                break;
            }
            say(&probe);
            search.learn(n, grade(&probe, self.subject.cores));
            probes.push(probe);
        }
        let found = search.found();
        let of = |n: Option<u32>, is_good: bool| {
            let is_it = |p: &&Probe| Some(p.n) == n && p.verdict.is_kept() == is_good;
            probes.iter().rev().find(is_it).cloned()
        };
        let (best, broke) = (of(found.good, true), of(found.bad, false));
        let wall = probes.iter().filter(|p| p.outcome.unmeasured.is_some()).min_by_key(|p| p.n);
        let told = if found.is_lower_bound { wall.or(best.as_ref()) } else { broke.as_ref() };
        let is_asked = found.is_lower_bound && wall.is_none();
        let limit = match told {
            _ if is_asked => Limit::Asked,
            Some(probe) => Limit::of(&self.seen(probe)),
            None => Limit::Unknown,
        };
        Ok(Answer { found, best, limit, broke, probes })
    }

    /// Tries so many conversations.
    pub fn probe(&self, n: u32) -> Result<Probe, String> {
        let ProbeTimes { ramp_ms, hold_ms } = self.times;
        let scenario = Scenario {
            devices: n,
            arrival: Arrival::Ramp { over_ms: ramp_ms },
            warmup_ms: ramp_ms,
            duration_ms: ramp_ms + hold_ms,
            turns: 0,
            ..self.scenario.clone()
        };
        let label = format!("{n} conversations");
        let mut plan = Plan::new(self.subject.target.clone(), scenario, self.voices, label)?;
        plan.is_cut_short = true;
        plan.tick_us = self.tick_us;
        let _ = (self.services)();
        let mut watch = Watch::new(self.subject.pid, self.subject.stats);
        let outcome = plan.run(&mut watch, self.live, &mut |glance| (self.look)(n, glance))?;
        let services = (self.services)();
        let verdict = outcome.judge(&self.slo);
        Ok(Probe { n, outcome, verdict, services })
    }

    fn seen(&self, probe: &Probe) -> Seen {
        let server = probe.outcome.server.clone().unwrap_or_default();
        let worst = server.job_wait.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(pool, ms)| (pool.clone(), *ms));
        Seen {
            spent: Spent {
                cores: server.cores,
                kinds: server.kinds,
                busiest: server.busiest,
                rss: server.rss,
                ..Spent::default()
            },
            cores: self.subject.cores as f64,
            own_cpu: probe.outcome.own.cpu,
            is_unmeasured: probe.outcome.unmeasured.is_some(),
            provider: probe.services,
            loop_lateness: server.shards.iter().map(|s| s.lateness_p99).reduce(f64::max),
            job_wait: worst,
            memory_free: memory_free(),
        }
    }
}

fn grade(probe: &Probe, cores: usize) -> Grade {
    if probe.outcome.unmeasured.is_some() {
        return Grade::Unmeasured;
    }
    let server = probe.outcome.server.as_ref();
    // The fullest of what can fill up: a core of the server's, or the load tool's own, which must not either.
    let own = probe.outcome.own.cpu * 0.88 / crate::engine::OWN_CPU_MAX;
    let load = server.map(|s| s.busiest.values().copied().fold(s.cores / cores.max(1) as f64, f64::max).max(own));
    let load = load.filter(|load| *load > 0.0);
    match probe.verdict.is_kept() {
        true => Grade::Good { load },
        false if probe.verdict.is_narrow() => Grade::Narrow { load },
        false => Grade::Bad,
    }
}

impl Answer {
    /// Conversations for each core that the server used while it carried them.
    pub fn per_busy_core(&self) -> Option<f64> {
        let best = self.best.as_ref()?;
        let cores = best.outcome.server.as_ref()?.cores;
        (cores > 0.0).then(|| f64::from(best.n) / cores)
    }

    /// Loads below the greatest good one that broke the promise whenever they were tried: the server is at its worst there.
    pub fn broke_below(&self) -> impl Iterator<Item = &Probe> {
        let best = self.best.as_ref().map_or(0, |best| best.n);
        let was_kept = |n| self.probes.iter().any(|p| p.n == n && p.verdict.is_kept());
        let is_last = |(i, p): &(usize, &Probe)| !self.probes[i + 1..].iter().any(|later| later.n == p.n);
        let all = self.probes.iter().enumerate().filter(is_last).map(|(_, p)| p);
        all.filter(move |p| p.n < best && p.outcome.unmeasured.is_none() && !was_kept(p.n))
    }

    /// CPU of the server for a turn at that load, microseconds.
    pub fn cpu_us_per_turn(&self) -> Option<f64> {
        let best = self.best.as_ref()?;
        let per_s = best.outcome.counts.get("turns_per_s").copied().filter(|n| *n > 0.0)?;
        Some(best.outcome.server.as_ref()?.cores * 1e6 / per_s)
    }
}

/// Memory that the system could still give, bytes.
fn memory_free() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}
