//! The command line: a verb and its options.

mod verbs;

use std::process::ExitCode;
use verbs::run::Verb;

const HELP: &str = "\
voxlane-load: thousands of devices that talk to a xiaozhi-compatible server, and judge it as devices would

Usage:
  voxlane-load run [options]                            devices that talk, judged as devices would judge
  voxlane-load find [options]                           how many conversations a core carries at a promise
  voxlane-load compare [options]                        two servers or configurations, in turns
  voxlane-load idle [options]                           devices that stay: the server's memory and CPU for each
  voxlane-load connect [options]                        devices that come: from accept to hello
  voxlane-load report RUN.json [OTHER.json] [options]   charts from the JSON of a run, or of two side by side
  voxlane-load stage [options] -- COMMAND               one command against a server and stand-ins that are started for it
  voxlane-load start [options]                          the server's program: its size, its start, its memory with nobody there
  voxlane-load bench-report FOLDER [options]            tables and charts of what tools/bench-all measured
  voxlane-load VERB --help | --help | --version

Exit codes: 0 all is well, 1 something failed, 2 the command line or a file is wrong, 3 the promise (--slo) was broken,
4 the load tool itself was too slow to measure latencies (counts and failures are told), 130 ended early by Ctrl-C or SIGTERM (what
there is is told; the second Ctrl-C ends at once).
";

/// The exit code of what Ctrl-C has ended, as shells know it.
pub const INTERRUPTED: u8 = 130;

/// How a verb ends.
pub enum End {
    /// All is well.
    Well,
    /// Something failed while running; one line says what.
    Failed(String),
    /// The command line or a file is wrong.
    Misuse(String),
    /// The load tool was too slow to be believed, and why.
    Unmeasured(String),
    /// Ended early by a signal; what was measured until then has been printed.
    Interrupted,
    /// The promise was broken; what was measured has been printed.
    Broken,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next().map(|v| v.to_string_lossy().into_owned()).unwrap_or_default();
    let end = match verb.as_str() {
        "run" => verbs::run::run(Verb::Run, arguments),
        "idle" => verbs::run::run(Verb::Idle, arguments),
        "connect" => verbs::run::run(Verb::Connect, arguments),
        "find" => verbs::find::run(arguments),
        "compare" => verbs::compare::run(arguments),
        "report" => verbs::report::run(arguments),
        "stage" => verbs::stage::run(arguments),
        "start" => verbs::start::run(arguments),
        "bench-report" => verbs::bench::run(arguments),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            End::Well
        }
        "--version" | "-V" => {
            println!("voxlane-load {}", env!("CARGO_PKG_VERSION"));
            End::Well
        }
        other => {
            let verbs = ["run", "find", "compare", "idle", "connect", "report", "stage", "start", "bench-report"];
            let near = voxlane::config::mistake::nearest(other, verbs);
            let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            End::Misuse(format!("there is no verb {other}{hint} See voxlane-load --help"))
        }
    };
    let (code, line) = match end {
        End::Well => (0, None),
        End::Failed(line) => (1, Some(line)),
        End::Misuse(line) => (2, Some(line)),
        End::Broken => (3, None),
        End::Interrupted => (INTERRUPTED, None),
        End::Unmeasured(why) => (4, Some(format!("latencies were not measured: {why}"))),
    };
    if let Some(line) = line {
        eprintln!("voxlane-load: {}", line.trim_end());
    }
    ExitCode::from(code)
}
