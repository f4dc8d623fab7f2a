//! A promise about a run, as one line: `first_audio.p95<800ms,late<0.1%,errors=0`. It is what turns a measurement into an
//! exit code, and what `find` calls "still good".
//!
//! ```text
//!   slo       = condition { "," condition }
//!   condition = metric [ "." statistic ] relation number [ unit ]
//!   relation  = "<" | "<=" | "=" | ">=" | ">"
//!   statistic = "p50" | "p95" | "p99.9" | ... | "mean" | "max" | "count"      times only; p95 when none is given
//!   unit      = "us" | "ms" | "s"  for times (ms when none is given)
//!             | "%"                for shares (a plain number is a fraction of 1)
//! ```
//!
//! A condition about something that was not measured (no reply was heard, so there is no time to first audio) is not kept:
//! silence proves nothing.

use std::fmt;
use std::ops::Range;
use voxlane::config::mistake::nearest;

/// Conditions, all of which must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// In the order written.
    pub conditions: Vec<Condition>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What is judged.
    pub metric: Metric,
    /// Which figure of it; [`Statistic::Value`] for shares and counts.
    pub statistic: Statistic,
    /// How it must stand to the limit.
    pub relation: Relation,
    /// Milliseconds for times, a fraction of 1 for shares, a number for counts.
    pub limit: f64,
}

/// What a run can be judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// As written in a promise.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// One line of meaning.
    pub meaning: &'static str,
}

/// Kinds of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A distribution of durations; statistics of it are in milliseconds.
    Time,
    /// A part of a whole, 0 to 1.
    Share,
    /// Occurrences in the run, or another plain number.
    Count,
}

/// A figure of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// A percentile, 0 to 100.
    Percentile(f64),
    /// The arithmetic mean.
    Mean,
    /// The largest value.
    Max,
    /// How many values there are.
    Count,
    /// The number itself, of a share or a count.
    Value,
}

/// How a figure must stand to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `=`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
}

/// What can stand in a promise. Names are those of the JSON of a run.
pub const METRICS: &[Metric] = &[
    time("first_audio", "from the true end of speech to the first packet of the reply"),
    time("stt", "from the true end of speech to the stt message"),
    time("tts_start", "from the true end of speech to tts start"),
    time("hello", "from the connection's accept to the hello reply"),
    time("hello_resumed", "of them those of devices that came back with an earlier session of TLS"),
    time("tls", "of the handshake of TLS, where the server is wss://"),
    time("checkin", "from connecting to the whole answer of the check-in"),
    time("connect", "from when the connection was due to the hello reply, a check-in included"),
    time("barge_in", "from abort, or from speaking over it, to the last packet of the reply that was cut"),
    time(
        "added",
        "by the server itself: end of the utterance noticed to first packet ready, without providers (needs --stats)",
    ),
    time("gap", "between neighbouring packets of a reply"),
    time("lateness", "of a packet against the playout clock that its reply's first packets set"),
    time("stop", "from the end of playout to tts stop"),
    time("send_lag", "of the load tool itself: how late it did what was due"),
    share("late", "of reply packets more than 5 ms late"),
    share("very_late", "of reply packets more than 60 ms late"),
    share("failed", "of turns that got no complete reply"),
    share("underrun", "of replies that ran dry while they were played"),
    share("overrun5", "of replies that overflowed a buffer of 5 packets, as old firmware has"),
    share("overrun20", "of replies that overflowed a buffer of 20 packets"),
    share("overrun40", "of replies that overflowed a buffer of 40 packets"),
    share("cut_off", "of utterances that the server took for ended before they were"),
    share("resumed", "of handshakes of TLS that went on with the device's earlier session"),
    share("server_cpu", "of its cores that the server used (needs --pid or --stats)"),
    share("own_cpu", "of its cores that the load tool used"),
    count("errors", "failures of every class"),
    count("crosstalk", "words or sound of another device"),
    count("silence", "turns in which no reply came at all"),
    count("tail_cut", "replies stopped before their last packet was played"),
    count("missing_stop", "replies without tts stop"),
    count("doubled_stop", "replies with more than one tts stop"),
    count("wrong_order", "messages that came in an order the protocol forbids"),
    count("refused", "connections or turns turned away"),
    count("turns", "turns with a complete reply"),
    count("turns_per_s", "complete turns per second"),
    count("tones", "replies of the sample whose sound was heard to be their device's own"),
    count("interrupted", "replies that were interrupted, by abort or by voice, and then stopped"),
    count("vanished", "lines that devices cut in the middle of a reply"),
    count("turned_out", "unruly devices that the server closed on"),
    count("devices", "devices that were connected at the busiest moment"),
    count("rss_mib", "resident memory of the server at its highest, MiB (needs --pid or --stats)"),
];

const fn time(name: &'static str, meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Time, meaning }
}

const fn share(name: &'static str, meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Share, meaning }
}

const fn count(name: &'static str, meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Count, meaning }
}

/// Whether a promise was kept, condition by condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// In the order of the conditions.
    pub findings: Vec<Finding>,
}

/// One condition and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was promised.
    pub condition: Condition,
    /// What came out; `None` when nothing was measured.
    pub value: Option<f64>,
    /// Whether it was kept.
    pub kept: bool,
}

/// A promise that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SloFault {
    /// The promise as written.
    pub text: String,
    /// Which bytes of it are wrong.
    pub span: Range<usize>,
    /// What is wrong with them.
    pub what: String,
    /// What to write instead.
    pub help: String,
}

impl Slo {
    /// Reads a promise.
    pub fn parse(text: &str) -> Result<Slo, SloFault> {
        let mut conditions = Vec::new();
        let mut start = 0;
        for piece in text.split(',') {
            conditions.push(Scan { text, at: start, end: start + piece.len() }.condition()?);
            start += piece.len() + 1;
        }
        Ok(Slo { conditions })
    }

    /// Judges by `figure`, which tells what was measured in the units of [`Condition::limit`].
    pub fn judge(&self, figure: impl Fn(&Metric, Statistic) -> Option<f64>) -> Verdict {
        let findings = self.conditions.iter().map(|condition| {
            let value = figure(&condition.metric, condition.statistic).filter(|v| v.is_finite());
            let kept = value.is_some_and(|v| condition.relation.holds(v, condition.limit));
            Finding { condition: condition.clone(), value, kept }
        });
        Verdict { findings: findings.collect() }
    }
}

impl Verdict {
    /// Whether every condition was kept.
    pub fn is_kept(&self) -> bool {
        self.findings.iter().all(|f| f.kept)
    }

    /// Whether a single condition was broken, and by less than half or twice its limit: it may have been a disturbance. One that
    /// demands none of something, or an exact number, is never broken by little.
    pub fn is_narrow(&self) -> bool {
        let mut broken = self.broken();
        let (Some(finding), None) = (broken.next(), broken.next()) else { return false };
        let limit = finding.condition.limit;
        finding.value.is_some_and(|value| match finding.condition.relation {
            Relation::Below | Relation::AtMost => value < 2.0 * limit,
            Relation::AtLeast | Relation::Above => value > limit / 2.0,
            Relation::Equal => false,
        })
    }

    /// What was not kept.
    pub fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| !f.kept)
    }
}

impl Relation {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Relation::Below => value < limit,
            Relation::AtMost => value <= limit,
            Relation::Equal => value == limit,
            Relation::AtLeast => value >= limit,
            Relation::Above => value > limit,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Relation::Below => "<",
            Relation::AtMost => "<=",
            Relation::Equal => "=",
            Relation::AtLeast => ">=",
            Relation::Above => ">",
        }
    }
}

/// Reads one condition of `text[at..end]`.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    end: usize,
}

impl Scan<'_> {
    fn condition(mut self) -> Result<Condition, SloFault> {
        let metric = self.metric()?;
        let statistic = self.statistic(&metric)?;
        let relation = self.relation()?;
        let limit = self.limit(&metric, statistic)?;
        Ok(Condition { metric, statistic, relation, limit })
    }

    fn metric(&mut self) -> Result<Metric, SloFault> {
        let span = self.word(|c| c.is_alphanumeric() || c == '_');
        let name = &self.text[span.clone()];
        if name.is_empty() {
            return Err(self.fault(self.rest(), "a condition is missing here", "write one as in errors=0"));
        }
        METRICS.iter().find(|m| m.name == name).copied().ok_or_else(|| {
            let help = match nearest(name, METRICS.iter().map(|m| m.name)) {
                Some(near) => format!("did you mean {near}? {}", listed()),
                None => listed(),
            };
            self.fault(span, &format!("nothing is measured under the name {name}"), &help)
        })
    }

    fn statistic(&mut self, metric: &Metric) -> Result<Statistic, SloFault> {
        if !self.text[self.at..self.end].starts_with('.') {
            return Ok(if metric.kind == Kind::Time { Statistic::Percentile(95.0) } else { Statistic::Value });
        }
        let dot = self.at;
        self.at += 1;
        let span = self.word(|c| c.is_alphanumeric() || c == '.' || c == '_');
        if metric.kind != Kind::Time {
            let help = format!("only times have statistics; write {} alone", metric.name);
            return Err(self.fault(dot..span.end, &format!("{} is one number", metric.name), &help));
        }
        let name = &self.text[span.clone()];
        Statistic::read(name).ok_or_else(|| {
            let near = nearest(name, ["p50", "p90", "p95", "p99", "p99.9", "mean", "max", "count"]);
            let what =
                if name.is_empty() { "a statistic is missing".to_owned() } else { format!("{name} is no statistic") };
            let hint = near.map_or(String::new(), |near| format!("did you mean {near}? "));
            self.fault(span, &what, &format!("{hint}possible are p50, p95, p99.9 and the like, mean, max, count"))
        })
    }

    fn relation(&mut self) -> Result<Relation, SloFault> {
        self.blank();
        let rest = &self.text[self.at..self.end];
        let signs = [
            ("<=", Relation::AtMost),
            (">=", Relation::AtLeast),
            ("==", Relation::Equal),
            ("<", Relation::Below),
            (">", Relation::Above),
            ("=", Relation::Equal),
        ];
        match signs.into_iter().find(|(sign, _)| rest.starts_with(sign)) {
            Some((sign, relation)) => {
                self.at += sign.len();
                Ok(relation)
            }
            None => Err(self.fault(self.rest(), "a relation is missing here", "write <, <=, =, >= or > and a number")),
        }
    }

    fn limit(&mut self, metric: &Metric, statistic: Statistic) -> Result<f64, SloFault> {
        let span = self.word(|c| c.is_ascii_digit() || c == '.' || c == '-');
        let digits = &self.text[span.clone()];
        let Some(number) = digits.parse::<f64>().ok().filter(|n| n.is_finite()) else {
            let span = if span.is_empty() { self.rest() } else { span };
            return Err(self.fault(span, "a number is missing here", "write one as in first_audio.p95<800ms"));
        };
        if number < 0.0 {
            return Err(self.fault(span, "nothing measured is below zero", "write a number from 0 on"));
        }
        let unit = self.word(|c| !c.is_whitespace());
        let name = &self.text[unit.clone()];
        let is_time = metric.kind == Kind::Time && statistic != Statistic::Count;
        let (factor, possible) = match (is_time, metric.kind) {
            (true, _) => {
                (units(name, &[("", 1.0), ("ms", 1.0), ("s", 1e3), ("us", 1e-3), ("µs", 1e-3)]), "us, ms or s")
            }
            (false, Kind::Share) => (units(name, &[("", 1.0), ("%", 1e-2)]), "% (or none: a fraction of 1)"),
            (false, _) => (units(name, &[("", 1.0)]), "none: it is a plain number"),
        };
        let Some(factor) = factor else {
            let what = format!("{name} is no unit of {}", metric.name);
            return Err(self.fault(unit, &what, &format!("possible are {possible}")));
        };
        self.blank();
        if self.at < self.end {
            return Err(self.fault(self.rest(), "this was not expected", "conditions are separated by commas"));
        }
        if metric.kind == Kind::Share && number * factor > 1.0 {
            let help = format!("a share is at most 1; for percent write {digits}%");
            return Err(self.fault(span.start..unit.end, "this is more than all of it", &help));
        }
        Ok(number * factor)
    }

    /// The next word of such characters, blanks before it skipped.
    fn word(&mut self, belongs: impl Fn(char) -> bool) -> Range<usize> {
        self.blank();
        let rest = &self.text[self.at..self.end];
        let len = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let span = self.at..self.at + len;
        self.at = span.end;
        span
    }

    fn blank(&mut self) {
        let rest = &self.text[self.at..self.end];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// What is left of the condition; one place at its end when nothing is.
    fn rest(&self) -> Range<usize> {
        self.at..self.end.max(self.at)
    }

    fn fault(&self, span: Range<usize>, what: &str, help: &str) -> SloFault {
        SloFault { text: self.text.to_owned(), span, what: what.to_owned(), help: help.to_owned() }
    }
}

impl Statistic {
    fn read(name: &str) -> Option<Statistic> {
        match name {
            "mean" => return Some(Statistic::Mean),
            "max" => return Some(Statistic::Max),
            "count" => return Some(Statistic::Count),
            _ => {}
        }
        let digits = name.strip_prefix('p')?;
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        // p999 is what people write for p99.9.
        let number = match digits.strip_prefix("99") {
            Some(nines) if !nines.is_empty() && nines.bytes().all(|b| b == b'9') => format!("99.{nines}"),
            _ => digits.to_owned(),
        };
        number.parse().ok().filter(|p| (0.0..=100.0).contains(p)).map(Statistic::Percentile)
    }
}

fn units(name: &str, possible: &[(&str, f64)]) -> Option<f64> {
    possible.iter().find(|(unit, _)| *unit == name).map(|(_, factor)| *factor)
}

fn listed() -> String {
    let names: Vec<&str> = METRICS.iter().map(|m| m.name).collect();
    format!("measured are {}", names.join(", "))
}

/// What can stand in a promise, a line each: for `--help slo`.
pub fn metrics_help() -> String {
    let kind = |m: &Metric| match m.kind {
        Kind::Time => "time",
        Kind::Share => "share",
        Kind::Count => "count",
    };
    METRICS.iter().map(|m| format!("  {:<13} {:<6} {}\n", m.name, kind(m), m.meaning)).collect()
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<String> = self.conditions.iter().map(Condition::to_string).collect();
        f.write_str(&list.join(","))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}{}", self.metric.name, self.statistic, self.relation.sign(), self.shown(self.limit))
    }
}

impl Condition {
    /// A figure of this condition with its unit.
    fn shown(&self, value: f64) -> String {
        match self.metric.kind {
            Kind::Time if self.statistic != Statistic::Count => format!("{}ms", tidy(value)),
            Kind::Share => format!("{}%", tidy(value * 100.0)),
            _ => tidy(value),
        }
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Statistic::Percentile(p) => write!(f, ".p{}", tidy(*p)),
            Statistic::Mean => f.write_str(".mean"),
            Statistic::Max => f.write_str(".max"),
            Statistic::Count => f.write_str(".count"),
            Statistic::Value => Ok(()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.kept { "kept  " } else { "BROKEN" };
        match self.value {
            Some(value) => write!(f, "{mark} {}: {}", self.condition, self.condition.shown(value)),
            None => write!(f, "{mark} {}: not measured", self.condition),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

impl fmt::Display for SloFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.text[..self.span.start].chars().count();
        let width = self.text[self.span.clone()].chars().count().max(1);
        writeln!(f, "--slo, column {}: {}", column + 1, self.what)?;
        writeln!(f, "  | {}", self.text)?;
        writeln!(f, "  | {:column$}{}", "", "^".repeat(width))?;
        write!(f, "  = {}", self.help)
    }
}

impl std::error::Error for SloFault {}

/// Three decimals at most, none that say nothing.
fn tidy(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
