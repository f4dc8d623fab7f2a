//! `find`: starts the server and the stand-ins, pinned apart, and searches for the greatest load at a promise.

use super::interrupt::Interrupt;
use crate::End;
use floor::{PASS_THROUGH, Told, effort_of};
use serde_json::json;
use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use voxlane_load::engine::{self, Glance, Live, Target};
use voxlane_load::find::child::{Launch, Server, allowed_cores, keep_to};
use voxlane_load::find::settings::{Settings, Tts};
use voxlane_load::find::{Answer, Probe, Subject, Wish};
use voxlane_load::scenario::Scenario;
use voxlane_load::screen::Screen;
use voxlane_load::slo::{Slo, Statistic};
use voxlane_load::voices;
use voxlane_standins::profile::Profile;
use voxlane_standins::{Config, Handle, Standins};

const HELP: &str = "\
voxlane-load find: how many conversations one busy core carries at a promise, and why not more. At most three minutes.

Usage:
  voxlane-load find [options]

Without --url it starts the server beside itself on a core of its own, stand-ins for the services and devices on the others, on free
ports of this machine. Conversations are those of the design: 3 s of speech, about 5 s of reply, 0.9 s between, Opus both ways.

  --tts pcm|opus         the voice gives samples, which the server encodes, or Opus packets, which it passes on, as it does
                         those of an utterance to recognition (pcm)
  --profile R1|R2|R3     stand-ins: without delay, realistic, hostile (R2)
  --slo PROMISE          what must hold; the default is printed at the start
  --shards N             threads that own devices (1); two need three cores
  --complexity N|auto    Opus effort of the server (auto)
  --set SECTION.KEY=V    any other key of the server's configuration, again and again
  --config FILE          the server's configuration instead of a generated one; listeners and services are replaced
  --server PATH          the server's program (voxlane beside this one)
  --server-cores LIST    cores of the server, as in 0 or 0,1 (0)
  --first N, --max N     the first and the greatest load tried (40, 20000)
  --tries N              probes at most (9); one that failed narrowly is repeated, and counts as bad if that fails, too
  --tick-us N            look at what came every N us, 1000 at most, and be woken by nobody, so that the server pays for no
                         wake-up of the load tool; 0: woken by each arrival (0)
  --floor FILE           JSON of voxlane-floor run --json: the ratio to it is told, if replies were
                         made alike (its --effort, --pass-through)
  --json FILE            the answer with every probe
  --run FILE             everything about the greatest good probe, for voxlane-load report
  --smoke                a handful of devices, two probes: does it all work?

  --url URL              search a server that runs already; services are its own
  --pid PID, --stats URL  its process and statistics; without --pid there is no figure per core
  --ca FILE, --insecure   of wss://: believe the authorities in FILE alone; believe any certificate
  --i-own-this-host      it may be another machine

Examples:
  voxlane-load find
  voxlane-load find --tts opus --json opus.json
  voxlane-load find --slo \"first_audio.p95<1200ms,late<0.1%,errors=0\" --set vad.silence_ms=350
";

mod floor;
mod options;

pub use options::{BARE, Options, VALUED, parse};

/// Runs the verb.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> End {
    match parse("find", arguments) {
        Ok(Some(options)) => search(&options),
        Ok(None) => {
            print!("{HELP}");
            End::Well
        }
        Err(why) => End::Misuse(why),
    }
}

/// What a realistic server can keep; endpointing waits half a second of it.
pub fn default_slo(profile: &str) -> Slo {
    let first_audio = match profile {
        "R1" => 1_000,
        "R2" => 1_600,
        _ => 6_000,
    };
    let errors = if profile == "R3" { "failed<10%" } else { "errors=0" };
    Slo::parse(&format!("first_audio.p95<{first_audio}ms,late<0.1%,{errors},crosstalk=0")).expect("a valid promise")
}

fn search(options: &Options) -> End {
    let began = Instant::now();
    let floor = match options.floor.as_deref().map(floor::read).transpose() {
        Ok(floor) => floor,
        Err(why) => return End::Misuse(why),
    };
    if let Err(why) = super::can_begin(&[&options.json, &options.run], options.pid, options.stats) {
        return End::Misuse(why);
    }
    let slo = options.slo.clone().unwrap_or_else(|| default_slo(&options.profile));
    // Before the stage, so that it outlives it: the second Ctrl-C does not wait for the server's end.
    let live = Arc::new(Live::default());
    let _interrupt = match Interrupt::of(&live) {
        Ok(interrupt) => interrupt,
        Err(why) => return End::Failed(why),
    };
    let mut stage = match set_up(options) {
        Ok(stage) => stage,
        Err(why) => return End::Failed(why),
    };
    eprintln!("promise {slo}");
    eprintln!("{}", stage.about);
    let voices = voices::gather(voices::cache_folder().as_deref());
    voices.note.iter().for_each(|note| eprintln!("voxlane-load: {note}"));
    let utterances = match engine::utterances(&voices) {
        Ok(utterances) => utterances,
        Err(why) => return End::Failed(why),
    };
    let screen = RefCell::new(Screen::open(""));
    let look = |n: u32, glance: &Glance| {
        let mut screen = screen.borrow_mut();
        screen.set_title(&format!("{n} conversations"));
        if screen.is_drawn() {
            screen.show(glance);
        }
    };
    let services = stage.services.as_ref();
    let before = RefCell::new(services.map(Handle::lag));
    let lag = || {
        let now = services?.lag();
        let last = before.borrow_mut().replace(now.clone())?;
        let share = (now.cpu_s - last.cpu_s) / (now.wall_s - last.wall_s).max(0.001);
        Some((share, now.p99_ms))
    };
    let wish = Wish {
        subject: stage.subject.clone(),
        slo,
        rules: options.rules,
        times: options.times,
        tick_us: options.tick_us,
        scenario: Scenario::default(),
        voices: &utterances,
        services: &lag,
        live: &live,
        look: &look,
    };
    let answer = wish.find(&mut |probe| {
        screen.borrow_mut().clear();
        println!("{}", line(probe));
    });
    screen.borrow_mut().clear();
    let (answer, died) = (answer, stage.server.as_mut().map(Server::check));
    if let Some(Err(why)) = died {
        return End::Failed(why);
    }
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => return End::Failed(why),
    };
    let effort = in_force(&stage, options);
    let told = Told { floor: floor.as_ref(), effort: &effort };
    let text = match (live.is_stopped(), answer.best.is_some()) {
        (true, false) => "ended early, before any load was known to be good ".to_owned(),
        (true, true) => format!("ended early: the search was not over\n{}", conclusion(&stage, &answer, &told)),
        (false, _) => conclusion(&stage, &answer, &told),
    };
    println!("{text}({:.0} s)", began.elapsed().as_secs_f64());
    let files = [
        (&options.json, Some(json_of(options, &stage, &answer, &told).to_string())),
        (&options.run, answer.best.as_ref().map(|best| best.outcome.json())),
    ];
    for (file, content) in files {
        if let (Some(file), Some(content)) = (file, content)
            && let Err(e) = std::fs::write(file, content)
        {
            return End::Failed(format!("{}: {e}", file.display()));
        }
    }
    match answer.best {
        _ if live.is_stopped() => End::Interrupted,
        Some(_) => End::Well,
        None => End::Broken,
    }
}

/// What a search happens on.
pub struct Stage {
    /// The server.
    pub subject: Subject,
    server: Option<Server>,
    services: Option<Handle>,
    about: String,
}

impl Stage {
    /// Who runs where, in a line.
    pub fn about(&self) -> &str {
        &self.about
    }
}

/// Starts what is to be started.
pub fn set_up(options: &Options) -> Result<Stage, String> {
    if let Some(url) = &options.url {
        let target = Target::parse(url, options.is_own)?.trusting(&options.trust)?;
        let subject =
            Subject { target, pid: options.pid, stats: options.stats, cores: options.server_cores.len().max(1) };
        return Ok(Stage { subject, server: None, services: None, about: format!("{url}, with services of its own") });
    }
    // Once: afterwards this process is kept to some of them.
    static CORES: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let cores = CORES.get_or_init(allowed_cores);
    let server_cores = options.server_cores.clone();
    if let Some(missing) = server_cores.iter().find(|c| !cores.contains(c)) {
        return Err(format!("core {missing} is not there; there are {cores:?}"));
    }
    let others: Vec<usize> = cores.iter().copied().filter(|c| !server_cores.contains(c)).collect();
    if options.shards > 1 && cores.len() < options.shards + 1 {
        return Err(format!(
            "{} shards need {} cores, one of them for the load; there are {}: skipped",
            options.shards,
            options.shards + 1,
            cores.len()
        ));
    }
    if others.is_empty() {
        return Err("there is no core beside the server's: load and server would disturb each other".to_owned());
    }
    let profile = Profile::named(&options.profile).ok_or("no such profile")?;
    keep_to(&others).map_err(|e| format!("this process cannot be kept to cores {others:?}: {e}"))?;
    let mut config = Config::new(profile);
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let services = Standins::start(config).map_err(|e| format!("the stand-ins do not start: {e}"))?;
    let settings = Settings {
        providers: services.address(),
        tts: options.tts,
        shards: options.shards,
        complexity: options.complexity.clone(),
        connections: options.rules.most + 100,
    };
    let own = options.config.as_ref().map(|p| std::fs::read_to_string(p).map_err(|e| format!("{}: {e}", p.display())));
    let (config, mut variables) = match own.transpose()? {
        Some(text) => (text, settings.variables()),
        None => (settings.toml(), Vec::new()),
    };
    variables.extend(options.set.iter().cloned());
    let program = options.server.clone().map_or_else(beside, Ok)?;
    let server = Server::start(&Launch { program, config, variables, cores: server_cores.clone() })?;
    let subject = Subject {
        target: Target::parse(&server.url, false)?,
        pid: Some(server.pid()),
        stats: Some(server.admin),
        cores: server_cores.len(),
    };
    let about = format!(
        "server on core {server_cores:?} with {} shard(s), devices and stand-ins ({}) on {others:?}, voice {}, complexity {}, ticks of {} us",
        options.shards,
        options.profile,
        options.tts.word(),
        options.complexity,
        options.tick_us
    );
    Ok(Stage { subject, server: Some(server), services: Some(services), about })
}

/// The server's program in this program's folder.
pub fn beside() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|e| format!("where this program is: {e}"))?;
    let program = own.with_file_name("voxlane");
    match program.is_file() {
        true => Ok(program),
        false => Err(format!("{} is not there: cargo build --release, or --server PATH", program.display())),
    }
}

/// A probe in a line.
pub fn line(probe: &Probe) -> String {
    let o = &probe.outcome;
    let p95 = o.times.get("first_audio").and_then(|d| d.percentile(95.0));
    let cores = o.server.as_ref().map_or("     –".to_owned(), |s| format!("{:>6.3}", s.cores));
    let what = match (&o.unmeasured, probe.verdict.broken().next()) {
        (Some(why), _) => format!("not measured: {why}"),
        (None, None) => "good".to_owned(),
        (None, Some(finding)) => finding.to_string(),
    };
    let late = o.shares.get("late").map_or("     –".to_owned(), |v| format!("{:>6.3}", v * 100.0));
    let p95 = p95.map_or("     –".to_owned(), |v| format!("{v:>6.0}"));
    let own = o.own.cpu * 100.0;
    format!(
        "{:>6} conversations: {cores} cores, first audio p95 {p95} ms, late {late} %, own {own:>3.0} %  {what}",
        probe.n
    )
}

fn conclusion(stage: &Stage, answer: &Answer, told: &Told) -> String {
    let mut out = String::new();
    let Some(best) = &answer.best else {
        let _ = writeln!(out, "no load was good; limit: {}", answer.limit);
        if let Some(broke) = &answer.broke {
            out.push_str(&broke.verdict.to_string());
            for (class, failures) in &broke.outcome.failures {
                let _ = writeln!(out, "{class}: {}", failures.examples.join("; "));
            }
        }
        return out;
    };
    let bound = if answer.found.is_lower_bound { "at least " } else { "" };
    let _ = writeln!(out, "greatest good load: {bound}{} conversations", best.n);
    let why = |p: &Probe| p.verdict.broken().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if let Some(broke) = &answer.broke {
        let _ = writeln!(out, "the promise broke at {}: {}", broke.n, why(broke));
    }
    for low in answer.broke_below() {
        let _ = writeln!(out, "it broke at {} as well, less than was good: {}", low.n, why(low));
    }
    let _ = writeln!(out, "limit: {}", answer.limit);
    if let Some(us) = answer.cpu_us_per_turn() {
        let _ = write!(out, "server CPU of a turn: {us:.0} us");
        match (told.floor, told.comparable()) {
            (_, Some(floor)) => {
                let _ = writeln!(out, ", {:.2} times the floor's {floor:.0} us ({})", us / floor, told.effort);
            }
            (Some(floor), None) => {
                let (own, theirs) = (told.effort, &floor.effort);
                let _ =
                    writeln!(out, "; no ratio: the server had {own}, the floor {theirs}: measure that again at {own}");
            }
            (None, None) => out.push('\n'),
        }
    }
    let p999 = |name: &str, p| best.outcome.times.get(name).and_then(|d| d.statistic(Statistic::Percentile(p)));
    if let (Some(late), Some(worst)) = (best.outcome.shares.get("late"), p999("lateness", 100.0)) {
        let _ = writeln!(
            out,
            "punctual: {:.3} % of reply packets within 5 ms, the worst {worst:.1} ms late",
            100.0 - late * 100.0
        );
    }
    let _ = writeln!(out, "mode: {}; {}", stage.about, told.effort);
    match (answer.per_busy_core(), answer.found.is_lower_bound) {
        (Some(n), true) => {
            let _ = writeln!(out, "at least {n:.0} conversations per busy core");
        }
        (Some(n), false) => {
            let _ = writeln!(out, "{n:.0} conversations per busy core");
        }
        (None, _) => {
            let _ = writeln!(out, "the server's process was not watched: --pid gives the figure per core");
        }
    }
    out
}

/// How the server's replies came about at the end of the search: `pass-through`, or the effort that it reports (`light:0`).
fn in_force(stage: &Stage, options: &Options) -> String {
    if options.tts == Tts::Opus {
        return PASS_THROUGH.to_owned();
    }
    let stats = stage.server.as_ref().and_then(|s| s.stats().ok()).unwrap_or_default();
    effort_of(&stats).unwrap_or_else(|| "an effort that is not told".to_owned())
}

fn json_of(options: &Options, stage: &Stage, answer: &Answer, told: &Told) -> serde_json::Value {
    let first_audio = |p: &Probe, at| p.outcome.times.get("first_audio").and_then(|d| d.percentile(at));
    let probe = |p: &Probe| {
        json!({
            "conversations": p.n,
            "good": p.verdict.is_kept() && p.outcome.unmeasured.is_none(),
            "unmeasured": p.outcome.unmeasured,
            "broken": p.verdict.broken().map(ToString::to_string).collect::<Vec<_>>(),
            "server_cores": p.outcome.server.as_ref().map(|s| s.cores),
            "kinds": p.outcome.server.as_ref().map(|s| s.kinds.clone()),
            "first_audio_ms": { "p50": first_audio(p, 50.0), "p95": first_audio(p, 95.0), "p99": first_audio(p, 99.0) },
            "late": p.outcome.shares.get("late"),
            "own_cpu": p.outcome.own.cpu,
            "turns_per_s": p.outcome.counts.get("turns_per_s"),
            "rss_mib": p.outcome.counts.get("rss_mib"),
            "services": p.services.map(|(cpu, lag)| json!({ "cpu": cpu, "lag_p99_ms": lag })),
        })
    };
    json!({
        "schema": 1,
        "conversations_per_busy_core": answer.per_busy_core(),
        "is_lower_bound": answer.found.is_lower_bound,
        "conversations": answer.found.good,
        "broke_at": answer.found.bad,
        "broke_below": answer.broke_below().map(|p| p.n).collect::<Vec<_>>(),
        "limit": answer.limit.to_string(),
        "cpu_us_per_turn": answer.cpu_us_per_turn(),
        "effort": told.effort,
        "floor_ratio": told.comparable().zip(answer.cpu_us_per_turn()).map(|(floor, us)| us / floor),
        "tts": options.tts.word(),
        "profile": options.profile,
        "complexity": options.complexity,
        "shards": options.shards,
        "tick_us": options.tick_us,
        "about": stage.about,
        "probes": answer.probes.iter().map(probe).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_a_promise() {
        for profile in ["R1", "R2", "R3"] {
            assert!(default_slo(profile).to_string().contains("first_audio.p95<"));
        }
    }

    #[test]
    fn two_shards_on_two_cores_are_skipped_with_the_reason() {
        if allowed_cores().len() > 2 {
            return;
        }
        let why = set_up(&parse("find", ["--shards", "2"].map(OsString::from)).unwrap().unwrap()).err().unwrap();
        assert!(why.contains("2 shards need 3 cores"), "{why}");
    }
}
