//! Two servers or two configurations, measured in turns: A B, B A, A B, … so that a disturbance hits both and a drift cancels out.

pub mod interval;

use crate::find::Probe;
use crate::slo::{METRICS, Statistic};
use interval::Ratio;
use serde_json::{Value, json};
use std::fmt::Write;

/// The rounds of a comparison: what A and B showed in each.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Pairs of the same round.
    pub rounds: Vec<(Probe, Probe)>,
}

/// One line of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What is compared, with its unit.
    pub name: String,
    /// Medians over the rounds.
    pub a: f64,
    /// See `a`.
    pub b: f64,
    /// B to A; `None` with too few rounds.
    pub ratio: Option<Ratio>,
}

/// A figure of a probe.
type Figure = fn(&Probe) -> Option<f64>;

const FIGURES: [(&str, Figure); 7] = [
    ("server CPU of a turn, us", cpu_of_a_turn),
    ("server cores", |p| Some(p.outcome.server.as_ref()?.cores).filter(|v| *v > 0.0)),
    ("server memory, MiB", |p| p.outcome.counts.get("rss_mib").copied()),
    ("first audio p50, ms", |p| time(p, "first_audio", 50.0)),
    ("first audio p95, ms", |p| time(p, "first_audio", 95.0)),
    ("packet lateness p99, ms", |p| time(p, "lateness", 99.0)),
    ("accept to hello p99, ms", |p| time(p, "hello", 99.0)),
];

/// Which of A and B (false, true) goes first in a round: turn about.
pub fn order(round: usize) -> [bool; 2] {
    if round.is_multiple_of(2) { [false, true] } else { [true, false] }
}

impl Comparison {
    /// The result, for figures that both have.
    pub fn rows(&self) -> Vec<Row> {
        let row = |(name, figure): &(&str, Figure)| {
            let pairs: Vec<(f64, f64)> =
                self.rounds.iter().filter_map(|(a, b)| Some((figure(a)?, figure(b)?))).collect();
            let middle = |pick: fn(&(f64, f64)) -> f64| interval::median(pairs.iter().map(pick).collect());
            (!pairs.is_empty()).then(|| Row {
                name: (*name).to_owned(),
                a: middle(|p| p.0),
                b: middle(|p| p.1),
                ratio: Ratio::of(&pairs),
            })
        };
        FIGURES.iter().filter_map(row).collect()
    }

    /// Errors of A and of B, all rounds.
    pub fn errors(&self) -> (f64, f64) {
        let of = |p: &Probe| p.outcome.counts.get("errors").copied().unwrap_or(0.0);
        self.rounds.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + of(x), b + of(y)))
    }

    /// The result for programs: its rows, and errors of both.
    pub fn json(&self, devices: u32) -> Value {
        let row = |row: Row| {
            let r = row.ratio;
            json!({
                "name": row.name, "a": row.a, "b": row.b, "ratio": r.map(|r| r.ratio), "low": r.map(|r| r.low),
                "high": r.map(|r| r.high), "is_difference": r.is_some_and(|r| r.is_difference()),
            })
        };
        let rows: Vec<Value> = self.rows().into_iter().map(row).collect();
        let (a, b) = self.errors();
        json!({ "schema": 1, "devices": devices, "rounds": self.rounds.len(), "rows": rows, "errors_a": a, "errors_b": b })
    }

    /// The result as a table, a line each.
    pub fn table(&self) -> String {
        let mut out = format!("{:<26} {:>10} {:>10}   B / A (95 % interval)\n", "", "A", "B");
        for row in self.rows() {
            let ratio = match row.ratio {
                None => "too few rounds for an interval".to_owned(),
                Some(r) => {
                    let is = if r.is_difference() { "" } else { ": no difference" };
                    format!("{:.3} ({:.3} to {:.3}){is}", r.ratio, r.low, r.high)
                }
            };
            let _ = writeln!(out, "{:<26} {:>10.2} {:>10.2}   {ratio}", row.name, row.a, row.b);
        }
        let (a, b) = self.errors();
        let _ = writeln!(out, "{:<26} {a:>10.0} {b:>10.0}", "errors");
        out
    }
}

fn cpu_of_a_turn(probe: &Probe) -> Option<f64> {
    let per_s = probe.outcome.counts.get("turns_per_s").copied().filter(|n| *n > 0.0)?;
    Some(probe.outcome.server.as_ref()?.cores * 1e6 / per_s)
}

fn time(probe: &Probe, name: &str, percentile: f64) -> Option<f64> {
    let metric = METRICS.iter().find(|m| m.name == name)?;
    probe.outcome.figure(metric, Statistic::Percentile(percentile))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::sample;
    use crate::slo::Verdict;

    fn probe(factor: f64) -> Probe {
        let mut outcome = sample(factor);
        outcome.counts.insert("turns_per_s".into(), 4.0);
        Probe { n: 40, outcome, verdict: Verdict { findings: Vec::new() }, services: None }
    }

    #[test]
    fn a_difference_is_told_with_its_interval() {
        let rounds = [1.0, 1.1, 0.9, 1.05].map(|f| (probe(f), probe(f * 0.8)));
        let comparison = Comparison { rounds: rounds.into() };
        let rows = comparison.rows();
        let cpu = rows.iter().find(|r| r.name == "server CPU of a turn, us").unwrap();
        let ratio = cpu.ratio.unwrap();
        assert!((ratio.ratio - 0.8).abs() < 1e-9 && ratio.is_difference(), "{cpu:?}");
        assert!(comparison.table().contains("0.800 (0.800 to 0.800)"), "{}", comparison.table());
        assert_eq!(comparison.errors(), (4.0, 4.0));
        let json = comparison.json(40);
        assert_eq!((&json["devices"], &json["rounds"], &json["errors_a"]), (&40.into(), &4.into(), &4.0.into()));
        assert_eq!(json["rows"][0]["is_difference"], true, "{json}");
    }

    #[test]
    fn two_rounds_are_no_interval() {
        let comparison = Comparison { rounds: vec![(probe(1.0), probe(1.0)); 2] };
        assert!(comparison.table().contains("too few rounds"));
        assert_eq!(comparison.json(40)["rows"][0]["ratio"], Value::Null);
    }

    #[test]
    fn who_goes_first_takes_turns() {
        assert_eq!([order(0), order(1), order(2)], [[false, true], [true, false], [false, true]]);
    }
}
