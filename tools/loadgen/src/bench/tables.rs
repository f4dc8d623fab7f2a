//! The tables, section by section. Each says what its columns mean, and for what was not measured, why.

use super::{Folder, Step};
use crate::outcome::Outcome;
use crate::slo::Statistic;
use serde_json::Value;
use std::fmt::Write as _;

/// A part of the page.
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// Markdown.
    pub text: String,
    /// Names of the charts that belong below it.
    pub pictures: &'static [&'static str],
}

/// How replies come, as in the names of steps, and in words.
pub const REPLIES: [(&str, &str); 2] = [("encoded", "encoded here, 24 kHz"), ("passed", "Opus passed on, both ways")];
/// Loads at which latency is taken, percent of the server's core.
pub const LEVELS: [u32; 2] = [50, 85];

/// Every section of which a step was done.
pub fn all(folder: &Folder) -> Vec<Section> {
    let sections = [
        machine(folder),
        capacity(folder),
        added(folder),
        floor(folder),
        arrivals(folder),
        idle(folder),
        scaling(folder),
        settings(folder),
        program(folder),
        counts(folder),
        soak(folder),
        steps(folder),
    ];
    sections.into_iter().flatten().collect()
}

fn machine(folder: &Folder) -> Option<Section> {
    let mut table = Table::new(&["", ""]);
    folder.machine.iter().for_each(|(name, value)| table.row([name.as_str().into(), value.as_str().into()]));
    Some(Section { title: "Measured on", text: table.markdown(), pictures: &[] })
}

fn capacity(folder: &Folder) -> Option<Section> {
    let mut table = Table::new(&[
        "Replies",
        "Stand-ins",
        "Greatest good load",
        "Server used",
        "**Per busy core**",
        "CPU of a turn",
        "On time (5 ms)",
        "Worst packet",
        "First audio p50, p95",
        "What ended the search",
    ]);
    for (name, words) in REPLIES {
        let step = format!("capacity-{name}");
        table.measured(folder, &step, words, || {
            let (found, run) = (folder.json(&format!("{step}.json"))?, folder.outcome(&format!("{step}.run.json"))?);
            let bound = if found["is_lower_bound"] == true { "at least " } else { "" };
            Some(vec![
                text(&found["profile"]),
                format!("{bound}{}", count(found["conversations"].as_f64())),
                cores(&run),
                format!("**{bound}{}**", count(found["conversations_per_busy_core"].as_f64())),
                format!("{} µs", count(found["cpu_us_per_turn"].as_f64())),
                on_time(&run),
                ms(&run, "lateness", Statistic::Max),
                format!("{}, {}", ms(&run, "first_audio", P50), ms(&run, "first_audio", P95)),
                match broken(&found) {
                    Some(why) => format!("{}; {why}", text(&found["limit"])),
                    None => text(&found["limit"]),
                },
            ])
        });
    }
    let text = format!(
        "Real Opus both ways, 60 ms frames; 3 s of speech, about 5 s of reply, 0.9 s between. First audio counts from the true end \
         of speech and includes the wait for silence of 500 ms. R1 answers without delay, R2 as good services do. \
         *Passed on*: the packets of a reply are the voice's own, and those of an utterance go to recognition as they came (Ogg-Opus), \
         most of them never decoded here. *Encoded*: both are samples.\n\n{}",
        table.markdown()
    );
    table.section("Conversations of one busy core", text, &["capacity", "load", "kinds"])
}

fn added(folder: &Folder) -> Option<Section> {
    let mut table = Table::new(&[
        "Replies",
        "Aimed at",
        "Conversations",
        "Server used",
        "Added p50",
        "p95",
        "p99",
        "Reply packets on time (5 ms)",
        "More than 60 ms late",
        "Worst",
        "Errors",
        "Promised",
    ]);
    for (name, words) in REPLIES {
        for level in LEVELS {
            let step = format!("added-{name}-{level}");
            table.measured(folder, &step, words, || {
                let run = folder.outcome(&format!("{step}.json"))?;
                let promised = match folder.step(&step) {
                    Some(Step { result, .. }) if result == "ok" => "kept".to_owned(),
                    Some(step) => step.reason.clone(),
                    None => String::new(),
                };
                Some(vec![
                    format!("{level} %"),
                    count(run.counts.get("devices").copied()),
                    cores(&run),
                    ms(&run, "added", P50),
                    ms(&run, "added", P95),
                    ms(&run, "added", P99),
                    on_time(&run),
                    share(run.shares.get("very_late").copied()),
                    ms(&run, "lateness", Statistic::Max),
                    count(run.counts.get("errors").copied()),
                    promised,
                ])
            });
        }
    }
    let text = format!(
        "*Added* is what the server itself puts between the end of an utterance, once noticed, and the first reply packet ready to be \
         sent: without the wait for silence, without the time services took, and without the 60 ms that a device needs after `tts \
         start` (`voxlane_added_seconds`). Punctuality is judged by the devices, against the clock that a reply's first packets \
         set. Aimed at is a share of one core, by the figures above; where that is more than were carried within the promise, \
         those.\n\n{}",
        table.markdown()
    );
    table.section("What the server adds, and how punctual it is", text, &["added", "lateness"])
}

fn floor(folder: &Folder) -> Option<Section> {
    let mut table = Table::new(&[
        "Replies",
        "Conversations",
        "Server, CPU of a turn",
        "Floor, CPU of a turn",
        "**Ratio**",
        "Doubts",
    ]);
    for (name, words) in REPLIES {
        let step = format!("floor-{name}");
        table.measured(folder, &step, words, || {
            let bare = folder.json(&format!("{step}.json"))?;
            let run = folder.outcome(&format!("{step}-server.json"))?;
            let floor = bare["with_detection"]["cpu_us_per_turn"].as_f64()?;
            let server = cpu_us_per_turn(&run)?;
            let doubts: Vec<String> = bare["doubts"].as_array().into_iter().flatten().map(text).collect();
            Some(vec![
                count(bare["conversations"].as_f64()),
                format!("{} µs", count(Some(server))),
                format!("{} µs", count(Some(floor))),
                format!("**{:.2}**", server / floor),
                doubts.join("; "),
            ])
        });
    }
    let text = format!(
        "`voxlane-floor` makes the same system calls and library calls and nothing around them; the ratio carries to other machines. \
         Both have as many conversations, \
         one after the other; encoded replies with complexity 5 throughout.\n\n{}",
        table.markdown()
    );
    table.section("The floor", text, &[])
}

fn arrivals(folder: &Folder) -> Option<Section> {
    let mut table = Table::new(&["What", "Devices", "Took", "Hello p50", "p99", "Worst", "Errors", "Meanwhile"]);
    let hello = |run: &Outcome, took: String, meanwhile: String| {
        vec![
            count(run.counts.get("devices").copied()),
            took,
            ms(run, "hello", P50),
            ms(run, "hello", P99),
            ms(run, "hello", Statistic::Max),
            count(run.counts.get("errors").copied()),
            meanwhile,
        ]
    };
    table.measured(folder, "connect", "accept to hello, plain", || {
        Some(hello(&folder.outcome("connect.json")?, String::new(), String::new()))
    });
    table.measured(folder, "connect-tls", "accept to hello, TLS 1.3", || {
        Some(hello(&folder.outcome("connect-tls.json")?, String::new(), String::new()))
    });
    table.measured(folder, "connect-tls", "of them: with the session of an earlier visit", || {
        let mut run = folder.outcome("connect-tls.json")?;
        let resumed = run.times.remove("hello_resumed")?;
        run.times.insert("hello".to_owned(), resumed);
        Some(hello(&run, String::new(), String::new()))
    });
    table.measured(folder, "storm", "all connect at the same instant, again and again", || {
        let (herd, live) = (folder.outcome("storm.herd.json")?, folder.outcome("storm.json")?);
        let took = herd.times.get("connect").and_then(|d| d.statistic(Statistic::Max));
        let meanwhile = format!(
            "{} live conversations: {} on time, worst {}, {} errors",
            count(live.counts.get("devices").copied()),
            on_time(&live),
            ms(&live, "lateness", Statistic::Max),
            count(live.counts.get("errors").copied())
        );
        Some(hello(&herd, took.map_or(NONE.to_owned(), |ms| format!("{:.2} s", ms / 1e3)), meanwhile))
    });
    let text = format!(
        "Hello counts from the connection's accept. *Took*: from the instant at which all were due to the last one's hello, counted \
         from when each should have come.\n\n{}",
        table.markdown()
    );
    table.section("Arrivals", text, &["storm"])
}

fn idle(folder: &Folder) -> Option<Section> {
    let mut table =
        Table::new(&["What", "Devices", "Server's memory", "**User memory of each**", "CPU of each", "Errors"]);
    table.measured(folder, "idle", "said hello, and stay", || {
        let run = folder.outcome("idle.json")?;
        let devices = run.counts.get("devices").copied().filter(|n| *n > 0.0)?;
        let server = run.server.as_ref()?;
        Some(vec![
            count(Some(devices)),
            format!("{:.1} MiB", server.rss as f64 / 1_048_576.0),
            format!("**{:.2} KiB**", server.grown as f64 / 1_024.0 / devices),
            format!("{:.1} µs/s", server.cores * 1e6 / devices),
            count(run.counts.get("errors").copied()),
        ])
    });
    let text = format!(
        "User memory is what the server's anonymous memory grew by; the kernel's sockets are not in it.\n\n{}",
        table.markdown()
    );
    table.section("Idle devices", text, &[])
}

fn scaling(folder: &Folder) -> Option<Section> {
    let mut table = Table::new(&["Shards", "Greatest good load", "Server used", "Per busy core"]);
    table.measured(folder, "capacity-2-shards", "2", || {
        let (found, run) = (folder.json("capacity-2-shards.json")?, folder.outcome("capacity-2-shards.run.json")?);
        let per_core = count(found["conversations_per_busy_core"].as_f64());
        Some(vec![count(found["conversations"].as_f64()), cores(&run), per_core])
    });
    let mut text = table.markdown();
    let counted = spread(folder);
    if let Some(step) = folder.step("scaling") {
        let _ = match counted.rows.is_empty() {
            true => writeln!(text, "\n{}: {}: {}", step.name, step.result, step.reason),
            false => write!(text, "\n{SPREAD}\n\n{}", counted.markdown()),
        };
    }
    let is_anything = folder.step("scaling").is_some() || !table.rows.is_empty();
    is_anything.then_some(Section { title: "Scaling", text, pictures: &["scaling"] })
}

const SPREAD: &str = "More shards than a small machine has cores are counted, not timed (`cargo bench --bench scaling`): how much fuller \
    than the mean the fullest shard is. *Kernel*: as it dealt real connections to as many listeners as the server opens (χ²/df \
    about 1: evenly at random). The others: the server's own hand-over, simulated with as many connections. Where the fullest \
    shard is full the others have room, so N shards are worth N, divided by what the talkers show.";

/// How evenly shards are loaded, as the bench counted it.
fn spread(folder: &Folder) -> Table {
    let mut table = Table::new(&[
        "Shards",
        "Kernel (χ²/df)",
        "At random",
        "With hand-over",
        "Handed over",
        "Of those who talk",
        "**Cores' worth**",
    ]);
    let counted = folder.step("scaling").and_then(|_| folder.json("scaling.json")).unwrap_or_default();
    for row in counted["rows"].as_array().into_iter().flatten() {
        let figure = |key: &str| row[key].as_f64();
        let three = |key: &str| figure(key).map_or(NONE.to_owned(), |n| format!("{n:.3}"));
        let chi2 = figure("chi2_per_df").map_or(NONE.to_owned(), |n| format!("{n:.2}"));
        table.row([
            count(figure("shards")),
            format!("{} ({chi2})", three("kernel")),
            three("random"),
            three("handed_over"),
            figure("hand_over_share").map_or(NONE.to_owned(), |n| format!("{:.1} %", n * 100.0)),
            three("talkers"),
            figure("cores_worth").map_or(NONE.to_owned(), |n| format!("**{n:.1}**")),
        ]);
    }
    table
}

/// Keys for those to whom latency is worth a core, each measured against a server without it.
pub const SETTINGS: [(&str, &str); 2] = [("spin", "`shards.spin_us`"), ("realtime", "`shards.realtime`")];

fn settings(folder: &Folder) -> Option<Section> {
    let mut table = Table::new(&["Key", "Conversations", "Figure", "Without", "With", "Ratio (95 % interval)"]);
    for (name, key) in SETTINGS {
        let step = format!("setting-{name}");
        let found = folder.step(&step).and_then(|_| folder.json(&format!("{step}.json"))).unwrap_or_default();
        let rows = found["rows"].as_array().map_or(&[][..], Vec::as_slice);
        if rows.is_empty() {
            table.measured(folder, &step, key, || None);
        }
        for row in rows {
            table.measured(folder, &step, key, || {
                let two = |key: &str| row[key].as_f64().map(|n| format!("{n:.2}"));
                let ratio = match (two("ratio"), two("low"), two("high")) {
                    (Some(ratio), Some(low), Some(high)) if row["is_difference"] == true => {
                        format!("**{ratio}** ({low} to {high})")
                    }
                    (Some(ratio), Some(low), Some(high)) => format!("{ratio} ({low} to {high}): no difference"),
                    _ => "too few rounds".to_owned(),
                };
                Some(vec![count(found["devices"].as_f64()), text(&row["name"]), two("a")?, two("b")?, ratio])
            });
        }
    }
    let text = format!(
        "Both are off unless asked for. Two servers that differ in the key alone, in turns (`voxlane-load compare`).\n\n{}",
        table.markdown()
    );
    table.section("For latency alone: looking without sleeping, real-time priority", text, &[])
}

fn program(folder: &Folder) -> Option<Section> {
    let mut table = Table::new(&["What", "Figure", "Meant to be"]);
    let start = folder.json("start.json");
    let mib = |key: &str| start.as_ref().and_then(|s| s[key].as_f64()).map(|n| format!("{:.1} MiB", n / 1_048_576.0));
    let median = |key: &str| start.as_ref().and_then(|s| s[key].as_f64()).map(|n| format!("{n:.1} ms"));
    for (words, figure, target) in [
        ("size of the program, models apart", mib("program_bytes"), "≤ 15 MB"),
        ("from exec to a connection accepted, median", median("listening_ms"), "≤ 50 ms"),
        ("resident, nobody connected", mib("resident_bytes"), "≤ 25 MB"),
    ] {
        table.measured(folder, "start", words, || Some(vec![figure.clone()?, target.to_owned()]));
    }
    table.measured(folder, "page", "the live page open, CPU of a core", || {
        let run = folder.outcome("page.json")?;
        let admin: f64 =
            run.server.as_ref()?.kinds.iter().filter(|(kind, _)| kind.starts_with("admin")).map(|k| k.1).sum();
        let n = count(run.counts.get("devices").copied());
        Some(vec![format!("{:.2} % at {n} conversations", admin * 100.0), "≤ 1 %".to_owned()])
    });
    let text = table.markdown();
    table.section("The program", text, &[])
}

fn counts(folder: &Folder) -> Option<Section> {
    let mut text = String::new();
    printed(folder, "counts", &mut text);
    (!text.is_empty()).then_some(Section { title: "Instructions of the hot paths", text, pictures: &[] })
}

fn soak(folder: &Folder) -> Option<Section> {
    let mut table = Table::new(&[
        "What",
        "Conversations",
        "Took",
        "Turns",
        "On time",
        "Errors",
        "Resident after a fifth",
        "At the end",
    ]);
    table.measured(folder, "soak", "conversations without end", || {
        let run = folder.outcome("soak.json")?;
        let memory = super::pictures::memory(folder);
        let at = |i: usize| memory.get(i).map_or(NONE.to_owned(), |(_, mib)| format!("{mib:.1} MiB"));
        Some(vec![
            count(run.counts.get("devices").copied()),
            format!("{:.0} min", run.took_ms as f64 / 60e3),
            count(run.counts.get("turns").copied()),
            on_time(&run),
            count(run.counts.get("errors").copied()),
            at(memory.len() / 5),
            at(memory.len().saturating_sub(1)),
        ])
    });
    let text = table.markdown();
    table.section("Soak", text, &["memory"])
}

fn steps(folder: &Folder) -> Option<Section> {
    let mut table = Table::new(&["Step", "Result", "Took", "Begun, UTC", "Command"]);
    for step in &folder.steps {
        let result = match step.reason.is_empty() {
            true => step.result.clone(),
            false => format!("{}: {}", step.result, step.reason),
        };
        let command = format!("`{}`", step.command.replace('`', "'"));
        table.row([step.name.clone(), result, format!("{} s", step.seconds), step.when.clone(), command]);
    }
    (!folder.steps.is_empty()).then_some(Section { title: "Commands", text: table.markdown(), pictures: &[] })
}

/// What a step printed, as it is; or why there is nothing.
fn printed(folder: &Folder, step: &str, text: &mut String) {
    match (folder.step(step), folder.log(step)) {
        (_, Some(log)) => {
            let _ = write!(text, "\n```text\n{}\n```\n", log.trim_end());
        }
        (Some(step), None) => {
            let _ = writeln!(text, "\n{}: {}: {}", step.name, step.result, step.reason);
        }
        (None, None) => {}
    }
}

const NONE: &str = "–";
const P50: Statistic = Statistic::Percentile(50.0);
const P95: Statistic = Statistic::Percentile(95.0);
const P99: Statistic = Statistic::Percentile(99.0);

/// CPU of the server for a turn, µs.
pub fn cpu_us_per_turn(run: &Outcome) -> Option<f64> {
    let per_s = run.counts.get("turns_per_s").copied().filter(|n| *n > 0.0)?;
    Some(run.server.as_ref()?.cores * 1e6 / per_s)
}

fn broken(found: &Value) -> Option<String> {
    let at = found["broke_at"].as_f64()?;
    let probes = found["probes"].as_array()?;
    let probe = probes.iter().rev().find(|probe| probe["conversations"].as_f64() == Some(at))?;
    let why: Vec<String> = probe["broken"].as_array()?.iter().map(text).collect();
    (!why.is_empty()).then(|| format!("at {}: {}", count(Some(at)), why.join(", ")))
}

fn cores(run: &Outcome) -> String {
    run.server.as_ref().map_or(NONE.to_owned(), |server| format!("{:.3} cores", server.cores))
}

fn on_time(run: &Outcome) -> String {
    share(run.shares.get("late").map(|late| 1.0 - late))
}

fn share(value: Option<f64>) -> String {
    value.map_or(NONE.to_owned(), |value| format!("{:.3} %", value * 100.0))
}

fn ms(run: &Outcome, time: &str, statistic: Statistic) -> String {
    let value = run.times.get(time).and_then(|distribution| distribution.statistic(statistic));
    match value {
        None => NONE.to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.2} ms"),
        Some(ms) => format!("{ms:.0} ms"),
    }
}

/// A whole number, its thousands apart.
pub fn count(value: Option<f64>) -> String {
    let Some(value) = value else { return NONE.to_owned() };
    let digits = format!("{:.0}", value.max(0.0));
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| NONE.to_owned(), str::to_owned)
}

/// Rows of Markdown.
struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&'static str]) -> Table {
        Table { head: head.to_vec(), rows: Vec::new() }
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A row of what a step measured: its name in words, then `cells`. Of a step that was not done there is no row; of one that
    /// measured nothing the row says why.
    fn measured(&mut self, folder: &Folder, step: &str, words: &str, cells: impl FnOnce() -> Option<Vec<String>>) {
        let Some(step) = folder.step(step) else { return };
        let was_measured = step.result == "ok" || step.result == "broken";
        let cells = cells().filter(|_| was_measured).unwrap_or_else(|| {
            let why = if step.reason.is_empty() { "its figures cannot be read" } else { &step.reason };
            vec![format!("{}: {why}", if was_measured { "failed" } else { &step.result })]
        });
        let mut row = vec![words.to_owned()];
        row.extend(cells);
        row.resize(self.head.len(), String::new());
        self.rows.push(row);
    }

    fn section(self, title: &'static str, text: String, pictures: &'static [&'static str]) -> Option<Section> {
        (!self.rows.is_empty()).then_some(Section { title, text, pictures })
    }

    fn markdown(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut out = line(&mut self.head.iter().copied());
        let _ = writeln!(out, "|{}", "---|".repeat(self.head.len()));
        self.rows.iter().for_each(|row| out += &line(&mut row.iter().map(String::as_str)));
        out
    }
}
