//! Alerts: what is worth telling somebody who is not looking.
//!
//! ```text
//!   quiet --condition holds--> pending --for long enough--> firing: told once --no longer, for as long--> quiet: told once
//! ```
//!
//! A rule looks at one metric: its value (threshold), how much it grows a second (rate), or that it does not grow (absence). What
//! holds only for a moment is told to nobody, and what goes on is not told again. A rule is a line of text, read here:
//!
//! ```text
//!   llm_down: voxlane_outage{stage="llm"} > 0 for 30s
//!   failing: rate voxlane_turns_total{event="failed"} > 0.5 for 60s
//!   silent: absent voxlane_packets_sent_total for 10m
//! ```

use crate::time::{Duration, Instant};

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name in notices.
    pub name: String,
    /// The metric's name.
    pub metric: String,
    /// Labels that a line must have, as they stand between the braces, comma-separated; lines that have them are added up.
    pub labels: String,
    /// What is looked for.
    pub test: Test,
    /// How long it must hold before it is told, and be gone before it is over.
    pub hold: Duration,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Test {
    /// The value compares so.
    Threshold(Compare, f64),
    /// Its growth a second, since the last look, compares so.
    Rate(Compare, f64),
    /// It does not grow.
    Absence,
}

/// How a number compares with a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compare {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Compare {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Compare::Above => value > bound,
            Compare::AtLeast => value >= bound,
            Compare::Below => value < bound,
            Compare::AtMost => value <= bound,
        }
    }
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Rule, String> {
        let shape = || "a rule is NAME: [rate|absent] METRIC{LABELS} > NUMBER for TIME".to_owned();
        let (name, rest) = text.split_once(": ").ok_or_else(shape)?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(is_word) {
            return Err(format!("{name:?} is no name: letters, digits, _ and -"));
        }
        let (what, hold) = rest.rsplit_once(" for ").ok_or_else(shape)?;
        let hold = duration(hold.trim()).ok_or_else(|| format!("{:?} is no time; write 30s or 10m", hold.trim()))?;
        let (kind, what) = match what.trim().split_once(' ') {
            Some((kind @ ("rate" | "absent"), what)) => (kind, what.trim()),
            _ => ("", what.trim()),
        };
        let (series, test) = match kind {
            "absent" => (what, Test::Absence),
            kind => {
                let mut words = what.rsplitn(3, ' ');
                let (number, sign, series) = (words.next(), words.next(), words.next());
                let (Some(number), Some(sign), Some(series)) = (number, sign, series) else { return Err(shape()) };
                let compare = compare(sign).ok_or_else(|| format!("{sign:?} is none of > >= < <="))?;
                let bound = number.parse::<f64>().ok().filter(|bound| bound.is_finite());
                let bound = bound.ok_or_else(|| format!("{number:?} is no number"))?;
                let test = if kind == "rate" { Test::Rate(compare, bound) } else { Test::Threshold(compare, bound) };
                (series.trim(), test)
            }
        };
        let (metric, labels) = series_of(series).ok_or_else(|| format!("{series:?} is no metric"))?;
        Ok(Rule { name: name.to_owned(), metric, labels, test, hold })
    }
}

fn compare(sign: &str) -> Option<Compare> {
    match sign {
        ">" => Some(Compare::Above),
        ">=" => Some(Compare::AtLeast),
        "<" => Some(Compare::Below),
        "<=" => Some(Compare::AtMost),
        _ => None,
    }
}

/// `30s`, `10m`, `2h`; a day at most.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let secs = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    let secs = number.parse::<u64>().ok()?.checked_mul(secs)?;
    (secs <= 86_400).then(|| Duration::from_secs(secs))
}

/// The name and the labels of `name{a="b",c="d"}`.
fn series_of(text: &str) -> Option<(String, String)> {
    let (name, labels) = match text.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (text, ""),
    };
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let are_labels = labels.is_empty() || labels.split(',').all(|label| label.contains("=\"") && label.ends_with('"'));
    (is_name && are_labels).then(|| (name.to_owned(), labels.to_owned()))
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Notice {
    /// It has held long enough; the value or rate seen last.
    Firing(f64),
    /// It is over, after so long.
    Over(Duration),
}

/// A rule as it is watched.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The rule.
    pub rule: Rule,
    /// The last look.
    before: Option<(Instant, f64)>,
    /// Since when the condition has been as it is, and whether it holds.
    since: Instant,
    holds: bool,
    /// Since when it has been told that it fires.
    firing: Option<Instant>,
}

impl Watch {
    /// Begins.
    pub fn new(rule: Rule, now: Instant) -> Watch {
        Watch { rule, before: None, since: now, holds: false, firing: None }
    }

    /// Looks at the value; `None`: nothing has been measured yet.
    pub fn look(&mut self, now: Instant, value: Option<f64>) -> Option<Notice> {
        // What nobody has counted is 0.
        let value = value.unwrap_or(0.0);
        let growth = self.before.map(|(at, before)| (value - before) / now.since(at).as_secs_f64().max(1e-3));
        self.before = Some((now, value));
        let (holds, seen) = match (self.rule.test, growth) {
            (Test::Threshold(compare, bound), _) => (compare.holds(value, bound), value),
            (_, None) => return None,
            (Test::Rate(compare, bound), Some(growth)) => (compare.holds(growth, bound), growth),
            (Test::Absence, Some(growth)) => (growth <= 0.0, growth),
        };
        if holds != self.holds {
            (self.holds, self.since) = (holds, now);
        }
        if now.since(self.since) < self.rule.hold || self.firing.is_some() == holds {
            return None;
        }
        match self.firing.take() {
            Some(begin) => Some(Notice::Over(now.since(begin))),
            None => {
                self.firing = Some(now);
                Some(Notice::Firing(seen))
            }
        }
    }

    /// Whether it fires.
    pub fn is_firing(&self) -> bool {
        self.firing.is_some()
    }
}

/// How many notices leave: a bucket that fills up evenly.
#[derive(Clone, Debug)]
pub struct Rate {
    /// Time that one costs, and that can be saved.
    each: Duration,
    most: Duration,
    saved: Duration,
    at: Instant,
}

impl Rate {
    /// `most` at once, and as many in each `span`.
    pub fn new(most: u32, span: Duration, now: Instant) -> Rate {
        Rate { each: span / most.max(1), most: span, saved: span, at: now }
    }

    /// Whether one may leave now.
    pub fn take(&mut self, now: Instant) -> bool {
        self.saved = (self.saved + now.since(self.at)).min(self.most);
        self.at = now;
        let may = self.saved >= self.each;
        self.saved -= if may { self.each } else { Duration::ZERO };
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        Rule::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn rules_are_lines_of_text() {
        let read = rule(r#"llm_down: voxlane_degraded{stage="llm",a="b"} >= 4 for 30s"#);
        assert_eq!((read.name.as_str(), read.metric.as_str()), ("llm_down", "voxlane_degraded"));
        assert_eq!(read.labels, r#"stage="llm",a="b""#);
        assert_eq!((read.test, read.hold), (Test::Threshold(Compare::AtLeast, 4.0), Duration::from_secs(30)));
        assert_eq!(rule("a: rate b < 0.5 for 2h").test, Test::Rate(Compare::Below, 0.5));
        assert_eq!(rule("a: absent b for 10m").hold, Duration::from_secs(600));
    }

    #[test]
    fn what_is_no_rule_is_explained() {
        for (text, part) in [
            ("voxlane_degraded > 1", "a rule is"),
            ("a b: c > 1 for 1s", "is no name"),
            ("a: b > 1 for 1d", "is no time"),
            ("a: b > 1 for 25h", "is no time"),
            ("a: b > 1 for ", "is no time"),
            ("a: b == 1 for 1s", "none of >"),
            ("a: b > x for 1s", "no number"),
            ("a: b > inf for 1s", "no number"),
            ("a: b{c} > 1 for 1s", "no metric"),
            ("a: b{c=\"d\" > 1 for 1s", "no metric"),
            ("a: > 1 for 1s", "a rule is"),
        ] {
            let why = Rule::parse(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    /// Looks at `(s, value)`; the notices by their second.
    fn check(text: &str, looks: &[(u64, f64)]) -> Vec<(u64, Notice)> {
        let mut watch = Watch::new(rule(text), Instant::ZERO);
        let look = |&(s, value): &(u64, f64)| Some((s, watch.look(Instant::from_ms(s * 1_000), Some(value))?));
        looks.iter().filter_map(look).collect()
    }

    #[test]
    fn it_is_told_once_that_it_fires_and_once_that_it_is_over() {
        let told = check(
            "a: b > 1 for 2s",
            &[(0, 0.0), (1, 2.0), (2, 2.0), (3, 3.0), (4, 9.0), (5, 0.0), (6, 1.0), (7, 1.0), (8, 0.0)],
        );
        assert_eq!(told, [(3, Notice::Firing(3.0)), (7, Notice::Over(Duration::from_secs(4)))]);
    }

    #[test]
    fn what_holds_for_a_moment_is_told_to_nobody() {
        assert_eq!(check("a: b > 1 for 2s", &[(0, 2.0), (1, 2.0), (2, 0.0), (3, 2.0), (4, 0.0)]), []);
        // Nor is it over for a moment's sake.
        let told = check("a: b > 1 for 2s", &[(0, 2.0), (2, 2.0), (3, 0.0), (4, 2.0), (5, 2.0), (6, 2.0), (7, 2.0)]);
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn a_rate_is_growth_a_second() {
        let told = check("a: rate b > 2 for 0s", &[(0, 100.0), (2, 104.0), (4, 110.0), (6, 110.0)]);
        assert_eq!(told, [(4, Notice::Firing(3.0)), (6, Notice::Over(Duration::from_secs(2)))]);
    }

    #[test]
    fn absence_is_no_growth() {
        let told = check("a: absent b for 2s", &[(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 3.0), (6, 4.0)]);
        assert_eq!(told, [(3, Notice::Firing(0.0)), (6, Notice::Over(Duration::from_secs(3)))]);
        let mut watch = Watch::new(rule("a: absent b for 1s"), Instant::ZERO);
        assert_eq!(watch.look(Instant::from_ms(0), None), None);
        assert_eq!(watch.look(Instant::from_ms(1_000), None), None, "it holds from here on");
        assert!(watch.look(Instant::from_ms(2_000), None).is_some() && watch.is_firing());
    }

    #[test]
    fn notices_leave_no_faster_than_that() {
        let at = Instant::from_ms;
        let mut rate = Rate::new(3, Duration::from_secs(60), at(0));
        let taken = |rate: &mut Rate, ms| (0..10).filter(|_| rate.take(at(ms))).count();
        assert_eq!(taken(&mut rate, 0), 3);
        assert_eq!([taken(&mut rate, 19_999), taken(&mut rate, 20_000), taken(&mut rate, 39_000)], [0, 1, 0]);
        assert_eq!(taken(&mut rate, 10_000_000), 3, "no more are saved");
    }
}
