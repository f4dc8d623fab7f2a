//! `run`, `idle` and `connect`: a fleet against a server, watched while it runs, judged at the end.

use super::interrupt::Interrupt;
use super::options::{Word, believe};
use crate::End;
use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use voxlane_load::engine::{self, Live, Plan, Target, Trust, Watch};
use voxlane_load::outcome::Outcome;
use voxlane_load::scenario::{FLAGS, Scenario, flags_help};
use voxlane_load::screen::Screen;
use voxlane_load::slo::{Slo, Statistic, metrics_help};
use voxlane_load::voices;

/// Which verb it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Any scenario.
    Run,
    /// Devices that only stay.
    Idle,
    /// Devices that only come.
    Connect,
}

fn help(verb: Verb) -> String {
    let (what, example) = match verb {
        Verb::Run => (
            "run: devices that talk to a server, judged as devices would judge",
            "run --url ws://127.0.0.1:8000/xiaozhi/v1/ --devices 100 --duration 30 --slo \"errors=0,crosstalk=0,late<0.1%\"",
        ),
        Verb::Idle => (
            "idle: devices that say hello and stay; the server's memory and CPU for each",
            "idle --url ws://127.0.0.1:8000/xiaozhi/v1/ --devices 10000 --pid $(pidof voxlane)",
        ),
        Verb::Connect => (
            "connect: devices that come as fast as asked; from accept to hello",
            "connect --url ws://127.0.0.1:8000/xiaozhi/v1/ --devices 2000 --ramp 4",
        ),
    };
    format!(
        "voxlane-load {what}\n\nUsage:\n  voxlane-load {example}\n\nWhere:\n  \
         --url URL                    ws://host:port/path or wss:// (ws://127.0.0.1:8000/xiaozhi/v1/)\n  \
         --ca FILE                    of wss://: believe the authorities in this PEM file alone, not the public ones\n  \
         --insecure                   of wss://: believe any certificate\n  \
         --token TOKEN                sent as a bearer token\n  \
         --i-own-this-host            load another machine than this one\n  \
         --pid PID                    watch this process: CPU, memory\n  \
         --stats URL                  ask for statistics there, as in http://127.0.0.1:8009/stats.json\n\nWhat:\n  \
         --scenario FILE              a TOML file, see tools/loadgen/scenarios; flags override it\n{}\n\
         How:\n  --threads N                  threads that drive devices, one core each (1)\n  \
         --tick-us N                  look at what came every N us, 1000 at most, and be woken by nobody: on one machine each\n  \
                                      wake-up costs the server more than the packet; times are then known to N us.\n  \
                                      0: woken by each arrival (0)\n  \
         --slo PROMISE                sets the exit code: 3 when it is broken\n  \
         --json FILE                  everything that was measured, for voxlane-load report; - is stdout, and nothing\n  \
                                      else is there\n  \
         --label TEXT                 a name for the report\n\nIn a promise can stand:\n{}",
        flags_help(),
        metrics_help()
    )
}

/// Threads that drive devices, at most.
const THREADS_MAX: u32 = 256;
/// So many causes fit in a line.
const CAUSES_TOLD: usize = 3;

#[derive(Debug)]
struct Options {
    target: Target,
    scenario: Scenario,
    pid: Option<u32>,
    stats: Option<SocketAddr>,
    threads: u32,
    tick_us: u32,
    slo: Option<Slo>,
    json: Option<PathBuf>,
    label: String,
}

/// Runs the verb.
pub fn run(verb: Verb, arguments: impl IntoIterator<Item = OsString>) -> End {
    let options = match parse(verb, arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", help(verb));
            return End::Well;
        }
        Err(why) => return End::Misuse(why),
    };
    if let Err(why) = super::can_begin(&[&options.json], options.pid, options.stats) {
        return End::Misuse(why);
    }
    // Until all has been told: who does not want to wait for that presses Ctrl-C once more.
    let live = Arc::new(Live::default());
    let _interrupt = match Interrupt::of(&live) {
        Ok(interrupt) => interrupt,
        Err(why) => return End::Failed(why),
    };
    let outcome = match drive(&options, verb, &live) {
        Ok(outcome) => outcome,
        Err(why) => return End::Failed(why),
    };
    let mut told = summary(&outcome);
    if verb == Verb::Idle {
        told += &per_device(&outcome);
    }
    let verdict = options.slo.as_ref().map(|slo| outcome.judge(slo));
    told += &verdict.as_ref().map_or(String::new(), ToString::to_string);
    if let (Some(why), Some(_)) = (&outcome.unmeasured, verdict.as_ref().filter(|verdict| !verdict.is_kept())) {
        told += &format!("       latencies were not measured: {why}\n");
    }
    let written = match &options.json {
        Some(file) if file.as_os_str() == "-" => {
            // Nothing but JSON: the words go where the screen was.
            eprint!("{told}");
            writeln!(std::io::stdout(), "{}", outcome.json()).map_err(|e| format!("stdout: {e}"))
        }
        Some(file) => {
            print!("{told}");
            std::fs::write(file, outcome.json()).map_err(|e| format!("{}: {e}", file.display()))
        }
        None => {
            print!("{told}");
            Ok(())
        }
    };
    if let Err(why) = written {
        return End::Failed(why);
    }
    if outcome.interrupted {
        return End::Interrupted;
    }
    if verdict.is_some_and(|verdict| !verdict.is_kept()) {
        return End::Broken;
    }
    let refused_all = outcome.counts.get("devices").is_none_or(|n| *n == 0.0);
    match &outcome.unmeasured {
        _ if refused_all && !outcome.failures.is_empty() => {
            End::Failed(format!("no device was connected: {}", causes(&outcome)))
        }
        Some(why) => End::Unmeasured(why.clone()),
        None => End::Well,
    }
}

/// Why connections ended, the most frequent cause first.
fn causes(outcome: &Outcome) -> String {
    let mut list: Vec<(u64, &str)> = Vec::new();
    for (class, failures) in &outcome.failures {
        let told: u64 = failures.causes.values().sum();
        list.extend(failures.causes.iter().map(|(cause, count)| (*count, cause.as_str())));
        list.extend(Some((failures.count.saturating_sub(told), class.as_str())).filter(|(rest, _)| *rest > 0));
    }
    list.sort_by(|a, b| b.cmp(a));
    let times = |count| if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let told: Vec<String> =
        list.iter().take(CAUSES_TOLD).map(|(count, cause)| format!("{}: {cause}", times(*count))).collect();
    let rest: u64 = list.iter().skip(CAUSES_TOLD).map(|(count, _)| count).sum();
    let rest = if rest > 0 { format!("; {} otherwise", times(rest)) } else { String::new() };
    told.join("; ") + &rest
}

fn drive(options: &Options, verb: Verb, live: &Live) -> Result<Outcome, String> {
    let voices = voices::gather(voices::cache_folder().as_deref());
    if let Some(note) = voices.note.as_ref().filter(|_| verb == Verb::Run) {
        eprintln!("voxlane-load: {note}");
    }
    let utterances = engine::utterances(&voices)?;
    let mut plan = Plan::new(options.target.clone(), options.scenario.clone(), &utterances, options.label.clone())?;
    plan.threads = options.threads;
    plan.tick_us = options.tick_us;
    let mut screen = Screen::open(&format!("{} to {}", options.scenario, options.target.url()));
    let mut watch = Watch::new(options.pid, options.stats);
    plan.run(&mut watch, live, &mut |glance| screen.show(glance))
}

/// What people want to know, a few lines.
pub fn summary(outcome: &Outcome) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    let count = |name: &str| outcome.counts.get(name).copied().unwrap_or(0.0);
    let _ = writeln!(
        out,
        "{} devices, {} turns ({:.1}/s), {} failures in {:.1} s{}",
        count("devices"),
        count("turns"),
        count("turns_per_s"),
        count("errors"),
        outcome.took_ms as f64 / 1e3,
        if outcome.interrupted { ", ended early" } else { "" }
    );
    if outcome.own.tick_us > 0 && !outcome.times.is_empty() {
        let _ = writeln!(
            out,
            "  times are known to {} us: what came was looked at so often (--tick-us)",
            outcome.own.tick_us
        );
    }
    for (name, distribution) in &outcome.times {
        let at = |p| distribution.percentile(p).unwrap_or(0.0);
        let _ = writeln!(
            out,
            "  {name:<13} p50 {:>9.2}  p95 {:>9.2}  p99 {:>9.2}  max {:>9.2} ms  ({})",
            at(50.0),
            at(95.0),
            at(99.0),
            distribution.statistic(Statistic::Max).unwrap_or(0.0),
            distribution.count()
        );
    }
    let shares: Vec<String> = outcome.shares.iter().map(|(n, v)| format!("{n} {:.3} %", v * 100.0)).collect();
    let _ = writeln!(out, "  {}", shares.join(", "));
    if let Some(server) = &outcome.server {
        let kinds: Vec<String> =
            server.kinds.iter().filter(|k| *k.1 >= 0.001).map(|(k, v)| format!("{k} {v:.3}")).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        let _ = writeln!(out, "  server: {:.3} cores{kinds}, {:.1} MiB", server.cores, server.rss as f64 / 1_048_576.0);
    }
    for (class, failures) in &outcome.failures {
        let _ = writeln!(
            out,
            "  {} {class}, as in {}",
            failures.count,
            failures.examples.first().map_or("", String::as_str)
        );
    }
    out
}

/// Of idle devices: what each of them costs the server.
fn per_device(outcome: &Outcome) -> String {
    let devices = outcome.counts.get("devices").copied().unwrap_or(0.0);
    match &outcome.server {
        Some(server) if devices > 0.0 => format!(
            "  each idle device: {:.2} KiB of anonymous memory, {:.1} us of CPU per second\n",
            server.grown as f64 / 1_024.0 / devices,
            server.cores * 1e6 / devices
        ),
        _ => "  the server was not watched: --pid tells its memory and CPU\n".to_owned(),
    }
}

/// The options of the verb: its own, and the flags of a scenario.
fn known(verb: Verb) -> super::options::Options {
    let name = match verb {
        Verb::Run => "run",
        Verb::Idle => "idle",
        Verb::Connect => "connect",
    };
    let own = ["url", "token", "ca", "scenario", "pid", "threads", "tick-us", "stats", "slo", "json", "label"];
    let flags = |is_bare: bool| FLAGS.iter().filter(move |flag| flag.value.is_empty() == is_bare).map(|flag| flag.name);
    super::options::Options::new(
        name,
        own.into_iter().chain(flags(false)),
        ["i-own-this-host", "insecure"].into_iter().chain(flags(true)),
    )
}

fn parse(verb: Verb, arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, String> {
    let (mut url, mut token, mut is_own) = ("ws://127.0.0.1:8000/xiaozhi/v1/".to_owned(), String::new(), false);
    let (mut flags, mut file, mut stats) = (preset(verb), None, None);
    let (mut pid, mut threads, mut slo, mut json, mut label) = (None, 1, None, None, String::new());
    let (mut tick_us, mut trust) = (0, Trust::Public);
    let is_help = !known(verb).read(arguments, |word| {
        match word {
            Word::Bare(name) if name == "i-own-this-host" => is_own = true,
            Word::Bare(name) if name == "insecure" => believe(&mut trust, Trust::Anybody)?,
            Word::Bare(name) => flags.push((name, "true".to_owned())),
            Word::Valued(name, value) => match name.as_str() {
                "url" => url = value.text()?,
                "token" => token = value.text()?,
                "ca" => believe(&mut trust, Trust::Authorities(value.path()))?,
                "scenario" => file = Some(value.path()),
                "pid" => pid = Some(value.count()?),
                "threads" => threads = value.number(1..=THREADS_MAX)?,
                "tick-us" => tick_us = value.tick()?,
                "stats" => stats = Some(value.statistics()?),
                "slo" => slo = Some(value.promise()?),
                "json" => json = Some(value.path()),
                "label" => label = value.text()?,
                _ => flags.push((name, value.text()?)),
            },
            Word::Operand(_) => {}
        }
        Ok(())
    })?;
    if is_help {
        return Ok(None);
    }
    let scenario = Scenario::load(file.as_deref(), &flags).map_err(|e| e.to_string())?;
    let mut target = Target::parse(&url, is_own)?.trusting(&trust)?;
    target.token = token;
    if label.is_empty() {
        label = target.url();
    }
    Ok(Some(Options { target, scenario, pid, stats, threads, tick_us, slo, json, label }))
}

/// What the shorter verbs mean; the person's flags come after and win.
fn preset(verb: Verb) -> Vec<(String, String)> {
    let list: &[(&str, &str)] = match verb {
        Verb::Run => &[],
        Verb::Idle => &[("idle", "1"), ("devices", "1000"), ("ramp", "5"), ("duration", "30"), ("warmup", "10")],
        Verb::Connect => &[("idle", "1"), ("devices", "1000"), ("ramp", "4"), ("duration", "6")],
    };
    list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(verb: Verb, line: &str) -> Result<Option<Options>, String> {
        parse(verb, line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_and_presets_become_a_scenario() {
        let o = read(Verb::Idle, "--devices 50 --checkin --pid 7 --stats http://127.0.0.1:8009/stats.json")
            .unwrap()
            .unwrap();
        assert_eq!((o.scenario.devices, o.scenario.mix.idle, o.scenario.checkin), (50, 1.0, true));
        assert_eq!((o.pid, o.stats.unwrap().port(), o.tick_us), (Some(7), 8_009, 0));
        assert_eq!(read(Verb::Run, "--tick-us 500").unwrap().unwrap().tick_us, 500);
        assert!(read(Verb::Run, "--help").unwrap().is_none());
    }

    #[test]
    fn causes_are_told_in_a_line_with_their_counts() {
        let mut outcome = Outcome::default();
        let refused = outcome.failures.entry("refused".into()).or_default();
        refused.count = 9;
        refused.cause("the token was refused (status 401)", 6);
        refused.cause("connection refused: nobody listens there", 1);
        assert_eq!(
            causes(&outcome),
            "6 times: the token was refused (status 401); 2 times: refused; once: connection refused: nobody listens there"
        );
        let closed = outcome.failures.entry("closed".into()).or_default();
        closed.count = 3;
        closed.cause("the server closed the connection before its hello", 3);
        assert!(causes(&outcome).ends_with("; 2 times: refused; once otherwise"), "{}", causes(&outcome));
    }

    #[test]
    fn mistakes_are_told() {
        let wrong = |line| read(Verb::Run, line).err().unwrap();
        assert!(wrong("--devizes 5").contains("did you mean --devices?"));
        assert!(wrong("--url http://x/").contains("ws://"));
        assert!(wrong("--slo erors=0").contains("did you mean errors?"));
        assert!(wrong("--scenario /nowhere.toml").contains("/nowhere.toml"));
        assert!(wrong("--insecure").contains("wss://") && wrong("--insecure --ca x").contains("one of them"));
        assert!(wrong("--url wss://127.0.0.1:1/ --ca /nowhere.pem").contains("/nowhere.pem"));
        assert!(wrong("--devices many").contains("--devices"));
        assert!(wrong("--tick-us 1001").contains("from 0 (woken by each arrival) to 1000, not 1001"));
    }
}
