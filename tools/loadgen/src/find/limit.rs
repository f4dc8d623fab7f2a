//! Why not more: which resource ran out at the load that was too much, pure. What is asked first is what invalidates the rest.

use crate::engine::threads::Spent;
use std::fmt;

/// Everything that was seen at the load that was too much (or, when none was, at the greatest).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// What the server used.
    pub spent: Spent,
    /// Cores it was given.
    pub cores: f64,
    /// Of its cores that the load tool used, 0 to 1.
    pub own_cpu: f64,
    /// The load tool could not measure.
    pub is_unmeasured: bool,
    /// Of one core that the stand-ins used, 0 to 1, and how late they were, p99 in ms.
    pub provider: Option<(f64, f64)>,
    /// How late shards woke, p99 in ms.
    pub loop_lateness: Option<f64>,
    /// How long jobs waited for a worker, p95 in ms, of the worst pool, and which.
    pub job_wait: Option<(String, f64)>,
    /// Memory of the machine that is still free, bytes.
    pub memory_free: Option<u64>,
}

/// What ran out.
#[derive(Clone, Debug, PartialEq)]
pub enum Limit {
    /// The load tool itself: the figure is a lower bound.
    Tool,
    /// The stand-ins for the providers were late: the figure says more about them.
    Provider(f64),
    /// Memory.
    Memory(u64),
    /// The threads that own the devices: their share of the CPU the server used.
    ShardCpu(f64),
    /// The threads that work for them: which, and their share of the CPU the server used.
    WorkerCpu(String, f64),
    /// Jobs waited for a worker although there was CPU: which pool, ms.
    Workers(String, f64),
    /// Shards woke late although there was CPU: something else ran on their core, ms.
    Lateness(f64),
    /// Nothing: more was not to be tried.
    Asked,
    /// None of these.
    Unknown,
}

/// A core that is busier than this has no more to give: what is left goes to the kernel's own work and to waiting.
const FULL: f64 = 0.85;
/// Stand-ins that are later than this distort a latency promise.
const PROVIDER_LATE_MS: f64 = 20.0;
/// Jobs that wait longer for a worker show in the promise.
const WAIT_MS: f64 = 100.0;
/// Shards that wake later than this send late: the border of "punctual".
const LATE_MS: f64 = 5.0;
/// Less free memory than this and the system begins to reclaim.
const MEMORY_MIN: u64 = 256 << 20;

impl Limit {
    /// The first that applies.
    pub fn of(seen: &Seen) -> Limit {
        if seen.is_unmeasured {
            return Limit::Tool;
        }
        if let Some((cpu, lag)) = seen.provider.filter(|(cpu, lag)| *cpu > FULL || *lag > PROVIDER_LATE_MS) {
            return Limit::Provider(if cpu > FULL { cpu } else { lag });
        }
        if let Some(free) = seen.memory_free.filter(|free| *free < MEMORY_MIN) {
            return Limit::Memory(free);
        }
        let shards = seen.spent.kinds.get("shard").copied().unwrap_or(0.0);
        let shard_is_full = seen.spent.busiest.get("shard").is_some_and(|share| *share > FULL);
        if shard_is_full || seen.spent.cores > FULL * seen.cores {
            let used = seen.spent.cores.max(f64::MIN_POSITIVE);
            let others = seen.spent.kinds.iter().filter(|(kind, _)| *kind != "shard");
            let (kind, most) = others.max_by(|a, b| a.1.total_cmp(b.1)).map_or(("", 0.0), |(k, v)| (k, *v));
            return match shard_is_full || shards >= most {
                true => Limit::ShardCpu(shards / used),
                false => Limit::WorkerCpu(kind.to_owned(), most / used),
            };
        }
        if let Some((pool, ms)) = seen.job_wait.clone().filter(|(_, ms)| *ms > WAIT_MS) {
            return Limit::Workers(pool, ms);
        }
        match seen.loop_lateness.filter(|ms| *ms > LATE_MS) {
            Some(ms) => Limit::Lateness(ms),
            None => Limit::Unknown,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: &f64| (share * 100.0).round();
        match self {
            Limit::Tool => write!(f, "the load tool itself, so the figure is a lower bound"),
            Limit::Provider(_) => write!(f, "provider: the stand-ins were late, so the figure is a lower bound"),
            Limit::Memory(free) => write!(f, "memory: {} MiB left on this machine", free >> 20),
            Limit::ShardCpu(share) => write!(f, "shard CPU ({}% of what the server used)", percent(share)),
            Limit::WorkerCpu(kind, share) => {
                write!(f, "worker CPU: {kind} ({}% of what the server used)", percent(share))
            }
            Limit::Workers(pool, ms) => {
                write!(f, "workers: {pool} jobs waited {ms:.0} ms (p95) although there was CPU")
            }
            Limit::Lateness(ms) => write!(f, "loop lateness: shards woke {ms:.1} ms late (p99) although there was CPU"),
            Limit::Asked => {
                write!(f, "nothing yet: more was not to be tried (--max, --tries), so the figure is a lower bound")
            }
            Limit::Unknown => write!(f, "none of CPU, workers, loop lateness, provider, memory: see what broke"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn seen(cores: f64, kinds: &[(&str, f64)]) -> Seen {
        let kinds: BTreeMap<String, f64> = kinds.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        let spent = Spent { cores, busiest: kinds.clone(), kinds, ..Spent::default() };
        Seen { spent, cores: 1.0, ..Seen::default() }
    }

    #[test]
    fn cpu_is_told_by_who_used_it() {
        assert_eq!(Limit::of(&seen(0.95, &[("shard", 0.5), ("tts", 0.4)])), Limit::ShardCpu(0.5 / 0.95));
        assert_eq!(Limit::of(&seen(0.95, &[("shard", 0.2), ("tts", 0.6)])), Limit::WorkerCpu("tts".into(), 0.6 / 0.95));
        // Two cores, one of them full with its shard.
        let two = Seen { cores: 2.0, ..seen(1.1, &[("shard", 0.97), ("tts", 0.1)]) };
        assert!(matches!(Limit::of(&two), Limit::ShardCpu(_)));
    }

    #[test]
    fn what_invalidates_the_figure_comes_first() {
        let full = seen(0.99, &[("shard", 0.9)]);
        assert_eq!(Limit::of(&Seen { is_unmeasured: true, ..full.clone() }), Limit::Tool);
        assert_eq!(Limit::of(&Seen { provider: Some((0.1, 45.0)), ..full.clone() }), Limit::Provider(45.0));
        assert_eq!(Limit::of(&Seen { memory_free: Some(1 << 20), ..full.clone() }), Limit::Memory(1 << 20));
        assert!(matches!(Limit::of(&full), Limit::ShardCpu(_)));
    }

    #[test]
    fn with_cpu_left_it_is_waiting_or_lateness() {
        let calm = seen(0.4, &[("shard", 0.3)]);
        assert_eq!(
            Limit::of(&Seen { job_wait: Some(("llm".into(), 400.0)), ..calm.clone() }),
            Limit::Workers("llm".into(), 400.0)
        );
        assert_eq!(Limit::of(&Seen { loop_lateness: Some(9.0), ..calm.clone() }), Limit::Lateness(9.0));
        assert_eq!(Limit::of(&calm), Limit::Unknown);
    }
}
