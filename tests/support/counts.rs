//! Instruction counts beside a stored baseline: read, compare, shown as a table. Used by `benches/instructions.rs`, tested in
//! `tests/counts.rs`.
//!
//! A baseline belongs to one toolchain, one libopus and one kind of processor (its *kind*): another compiler makes other
//! instructions, and libopus picks its own by what the processor has.
#![allow(dead_code)] // each program uses a part of it

use std::collections::BTreeMap;

/// More than this above the baseline fails, percent.
pub const MORE_MAX: f64 = 5.0;

/// More than this of a turn's instructions for counting and measuring fails, percent.
pub const INSTRUMENTS_MAX: f64 = 1.0;

/// Reading the clock without a system call (vDSO), instructions: about 60 on x86-64, and we are not to be generous to ourselves.
/// Under virtual time, in which the cases run, nothing is read; so it is added.
pub const CLOCK_READ: u64 = 100;

/// A part of a turn: how often a case happens in it.
pub struct Part {
    pub case: &'static str,
    pub times: u64,
    /// How often each reads the clock for the instruments' sake.
    pub clock_reads: u64,
}

/// A turn, counted with instruments and without.
pub struct Mix<'a> {
    pub parts: &'a [Part],
    pub with: &'a BTreeMap<String, u64>,
    pub without: &'a BTreeMap<String, u64>,
}

impl Mix<'_> {
    /// The table for people, and the share of the instruments in a turn, percent.
    pub fn judge(&self) -> Result<(String, f64), String> {
        let columns = ["in a turn", "counting", "not counting", "instruments"];
        let mut table = format!("{:<28}", "instruments");
        columns.iter().for_each(|column| table += &format!(" {column:>12}"));
        table.push('\n');
        let (mut spent, mut all) = (0, 0);
        for Part { case, times, clock_reads } in self.parts {
            let of = |counts: &BTreeMap<String, u64>| counts.get(*case).copied().ok_or(format!("{case}: not counted"));
            let (without, clock) = (of(self.without)?, clock_reads * CLOCK_READ);
            let with = of(self.with)? + clock;
            let extra = with.saturating_sub(without);
            table += &format!("{case:<28} {times:>12} {with:>12} {without:>12} {extra:>12}\n");
            (spent, all) = (spent + times * extra, all + times * with);
        }
        if all == 0 {
            return Err("a turn without instructions".to_owned());
        }
        let share = spent as f64 * 100.0 / all as f64;
        let word = if share > INSTRUMENTS_MAX { "  TOO MANY" } else { "" };
        table += &format!(
            "instruments: {spent} of {all} instructions of a turn, {share:.3} % (at most {INSTRUMENTS_MAX} %){word}\n"
        );
        Ok((table, share))
    }
}

/// By kind, then by case: instructions of one iteration.
pub type Baselines = BTreeMap<String, BTreeMap<String, u64>>;

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No case grew too much.
    Fine,
    /// At least one did, or was not counted any more.
    Grown,
    /// Nothing is known of this kind.
    Unknown,
}

/// Reads a baseline file.
pub fn read(text: &str) -> Result<Baselines, String> {
    toml::from_str(text).map_err(|e| e.to_string())
}

/// Writes one.
pub fn write(baselines: &Baselines) -> String {
    let mut out = String::from(
        "# Instructions of one iteration, by kind of toolchain, libopus and processor. Written by `tools/count --update`.\n",
    );
    for (kind, cases) in baselines {
        out += &format!("\n[{kind:?}]\n");
        cases.iter().for_each(|(case, count)| out += &format!("{case} = {count}\n"));
    }
    out
}

/// The table for people, and the verdict.
pub fn compare(baselines: &Baselines, kind: &str, counted: &[(String, u64)]) -> (String, Verdict) {
    let known = baselines.get(kind);
    let mut table = format!("{:<28} {:>12} {:>12} {:>9}\n", "instructions", "baseline", "now", "change");
    let mut verdict = if known.is_some() { Verdict::Fine } else { Verdict::Unknown };
    for (case, count) in counted {
        let Some(before) = known.and_then(|cases| cases.get(case)).filter(|before| **before > 0) else {
            table += &format!("{case:<28} {:>12} {count:>12} {:>9}\n", "-", "new");
            continue;
        };
        let change = (*count as f64 - *before as f64) * 100.0 / *before as f64;
        let grown = change > MORE_MAX;
        let word = if grown { "  TOO MANY" } else { "" };
        table += &format!("{case:<28} {before:>12} {count:>12} {change:>+8.2}%{word}\n");
        if grown {
            verdict = Verdict::Grown;
        }
    }
    for case in known.into_iter().flat_map(BTreeMap::keys) {
        if !counted.iter().any(|(counted, _)| counted == case) {
            table += &format!("{case:<28} is in the baseline and was not counted\n");
            verdict = Verdict::Grown;
        }
    }
    (table, verdict)
}

/// The number in callgrind's last lines: `==12== Collected : 123456`.
pub fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected : ")).and_then(|(_, number)| number.trim().parse().ok())
}
