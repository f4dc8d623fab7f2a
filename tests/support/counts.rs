//! Instruction counts beside a stored baseline: read, compare, shown as a table. Used by `benches/instructions.rs`, tested in
//! `tests/counts.rs`.
//!
//! A baseline belongs to one toolchain, one libopus and one kind of processor (its *kind*): another compiler makes other
//! instructions, and libopus picks its own by what the processor has.
#![allow(dead_code)] // each program uses a part of it

use std::collections::BTreeMap;

/// More than this above the baseline fails, percent.
pub const MORE_MAX: f64 = 5.0;

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
