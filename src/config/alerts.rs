//! The sections `alerts` and `log`: what is told of the server, and to whom.

use super::reader::Reader;
use super::values::{Alerts, Log};
use crate::limits;
use crate::log::store;
use crate::resilience::alert::Rule;
use crate::time::Duration;

/// What an operator wants to hear of in any case.
const RULES: [&str; 5] = [
    "asr_down: voxlane_outage{stage=\"asr\"} > 0 for 30s",
    "llm_down: voxlane_outage{stage=\"llm\"} > 0 for 30s",
    "tts_down: voxlane_outage{stage=\"tts\"} > 0 for 30s",
    "turns_fail: rate voxlane_turns_total{event=\"failed\"} > 0.5 for 1m",
    "log_lost: rate voxlane_log_lines_dropped_total > 0 for 10s",
];

impl Alerts {
    pub(super) fn read(r: &mut Reader<'_>) -> Alerts {
        let rules =
            "NAME: [rate|absent] METRIC{LABELS} > NUMBER for TIME; what fires and what is over goes to the log.";
        let webhook = "Address that each notice is posted to as JSON.";
        let command = "Program and arguments; the notice comes on stdin.";
        let alerts = Alerts {
            rules: read_rules(r, rules),
            // Such addresses are keys: whoever knows one may post to it.
            webhook: r.secret("alerts", "webhook", "webhook_file", webhook),
            command: r.list("alerts", "command", &[], command),
            per_minute: r.number("alerts", "per_minute", 6, 1..=600, "Notices to webhook and command, at most.") as u32,
        };
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if alerts.webhook.as_ref().is_some_and(|url| !is_url(url)) {
            let help = "as in \"http://127.0.0.1:9000/alert\"".to_owned();
            r.refuse("alerts", "webhook", "it must begin with http:// or https://".to_owned(), Some(help));
        }
        alerts
    }
}

fn read_rules(r: &mut Reader<'_>, meaning: &'static str) -> Vec<Rule> {
    let texts = r.list("alerts", "rules", &RULES, meaning);
    if texts.len() > limits::ALERT_RULES {
        r.refuse("alerts", "rules", format!("there are more than {} rules", limits::ALERT_RULES), None);
    }
    let mut rules: Vec<Rule> = Vec::new();
    for text in texts.iter().take(limits::ALERT_RULES) {
        match Rule::parse(text) {
            _ if text.len() > limits::ALERT_RULE_BYTES => {
                let what = format!("a rule of more than {} bytes", limits::ALERT_RULE_BYTES);
                r.refuse("alerts", "rules", what, Some("name fewer labels".to_owned()));
            }
            Ok(rule) if rules.iter().any(|other| other.name == rule.name) => {
                let help = "give each rule a name of its own".to_owned();
                r.refuse("alerts", "rules", format!("there are two rules {}", rule.name), Some(help));
            }
            Ok(rule) => rules.push(rule),
            Err(why) => r.refuse("alerts", "rules", format!("{text:?} is no rule"), Some(why)),
        }
    }
    rules
}

impl Log {
    pub(super) fn read(r: &mut Reader<'_>) -> Log {
        let levels = [("info", "info"), ("error", "error"), ("warn", "warn"), ("debug", "debug"), ("trace", "trace")];
        let level = "Least level that is logged; VOXLANE_LOG overrides it, per room if wanted.";
        let json = r.choice("log", "format", "text", &[("text", false), ("json", true)], "Shape of a log line.");
        let level = r.choice("log", "level", "info", &levels, level).to_owned();
        let path =
            r.path("log", "file", "File that is written instead of stderr; older ones beside it as .1, .2 and so on.");
        let mut number = |key, default, range, meaning| r.number("log", key, default, range, meaning);
        let mib = number("file_mib", 64, 1..=4_096, "Size of one file, MiB.");
        let hours = number("file_hours", 24, 1..=8_760, "A file is written to for so long, h.");
        let files = number("files", 7, 0..=100, "Older files that are kept.") as u32;
        let days = number("file_days", 30, 1..=3_650, "Older files than this are removed, days.");
        let age = Duration::from_secs(hours * 3_600);
        let keep = Duration::from_secs(days * 86_400);
        Log { json, level, store: path.map(|path| store::Rules { path, bytes: mib * 1024 * 1024, age, files, keep }) }
    }
}
