//! CPU time of a process by what its threads do, from `/proc`. Works for any server whose threads have names; ours are called
//! `shard-0`, `tts-3` and the like.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// CPU seconds since the process began.
#[derive(Clone, Debug)]
pub struct Sample {
    at: Instant,
    /// Of the whole process, threads that have ended included.
    total: f64,
    /// Of each living thread, by id: its name and seconds.
    threads: BTreeMap<u32, (String, f64)>,
    /// Resident memory, bytes.
    rss: u64,
}

/// What was used between two samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent {
    /// Between them.
    pub span: Duration,
    /// Cores used by the process: CPU seconds per second.
    pub cores: f64,
    /// The same by kind of thread: the name up to its number. Threads that ended in between are in `cores` only.
    pub kinds: BTreeMap<String, f64>,
    /// Of the busiest thread of each kind, its share of a core.
    pub busiest: BTreeMap<String, f64>,
    /// Resident memory at the end, bytes.
    pub rss: u64,
}

impl Sample {
    /// Of a process; `None` when it is gone or the system has no `/proc`.
    pub fn take(pid: u32) -> Option<Sample> {
        let at = Instant::now();
        let (_, total, rss) = stat(&format!("/proc/{pid}/stat"))?;
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A thread may end while we read: then it is none.
            if let Some((name, seconds, _)) = stat(&format!("{}/stat", entry.path().display())) {
                threads.insert(id, (name, seconds));
            }
        }
        Some(Sample { at, total, threads, rss })
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Sample) -> Spent {
        let span = self.at.saturating_duration_since(before.at);
        let per_second = |seconds: f64| if span.is_zero() { 0.0 } else { (seconds / span.as_secs_f64()).max(0.0) };
        let mut spent = Spent { span, cores: per_second(self.total - before.total), rss: self.rss, ..Spent::default() };
        for (id, (name, seconds)) in &self.threads {
            let begun = before.threads.get(id).filter(|(n, _)| n == name).map_or(0.0, |(_, s)| *s);
            let share = per_second(seconds - begun);
            *spent.kinds.entry(kind(name).to_owned()).or_default() += share;
            let most = spent.busiest.entry(kind(name).to_owned()).or_default();
            *most = most.max(share);
        }
        spent
    }
}

/// Name, CPU seconds and resident bytes of a process or thread, from a line of proc(5).
fn stat(path: &str) -> Option<(String, f64, u64)> {
    // SAFETY: both take a number and return one.
    let (ticks, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
    parse(&fs::read_to_string(path).ok()?, ticks as f64, page as u64)
}

fn parse(line: &str, ticks: f64, page: u64) -> Option<(String, f64, u64)> {
    // The name stands in brackets and may hold anything; counting starts behind it, at field 3.
    let (head, rest) = line.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3)?.parse::<f64>().ok();
    Some((name, (field(14)? + field(15)?) / ticks, (field(24)? as u64).saturating_mul(page)))
}

/// `shard` of `shard-0`.
fn kind(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['-', '_', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets_and_blanks() {
        let line = "42 (tts (a) 7) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 7 0 1234 104857600 2560 1844674";
        assert_eq!(parse(line, 100.0, 4_096), Some(("tts (a) 7".into(), 2.0, 2_560 * 4_096)));
        assert_eq!(parse("nonsense", 100.0, 4_096), None);
    }

    #[test]
    fn kinds_are_names_without_numbers() {
        assert_eq!(
            ["shard-0", "tts-12", "asr-foreman", "voxlane", "7"].map(kind),
            ["shard", "tts", "asr-foreman", "voxlane", ""]
        );
    }

    #[test]
    fn what_was_used_is_told_by_kind_and_for_the_busiest() {
        let at = Instant::now();
        let sample = |s: u64, total, list: &[(u32, &str, f64)]| Sample {
            at: at + Duration::from_secs(s),
            total,
            threads: list.iter().map(|(id, name, cpu)| (*id, ((*name).to_owned(), *cpu))).collect(),
            rss: 7,
        };
        let before = sample(0, 10.0, &[(1, "shard-0", 4.0), (2, "tts-0", 1.0), (3, "tts-1", 1.0)]);
        let after = sample(4, 16.0, &[(1, "shard-0", 6.0), (2, "tts-0", 2.0), (4, "tts-2", 2.0)]);
        let spent = after.since(&before);
        assert_eq!((spent.cores, spent.rss), (1.5, 7));
        assert_eq!(spent.kinds, BTreeMap::from([("shard".into(), 0.5), ("tts".into(), 0.75)]));
        assert_eq!(spent.busiest["tts"], 0.5);
    }

    #[test]
    fn we_ourselves_can_be_sampled() {
        let sample = Sample::take(std::process::id()).unwrap();
        assert!(sample.rss > 0 && !sample.threads.is_empty());
        assert!(Sample::take(u32::MAX).is_none());
    }
}
