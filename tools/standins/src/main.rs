//! `voxlane-standins`: see `--help`.

mod options;

use options::Options;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process::ExitCode;
use voxlane_standins::{Standins, allow_files};

fn main() -> ExitCode {
    let config = match options::parse(std::env::args_os().skip(1)) {
        Ok(Options::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Options::Serve(config)) => config,
        Err(why) => {
            eprintln!("voxlane-standins: {}", why.trim_end());
            return ExitCode::from(2);
        }
    };
    let files = allow_files();
    if files < voxlane_standins::CONNECTIONS_MAX as u64 {
        eprintln!("voxlane-standins: only {files} open files are allowed; `ulimit -n` raises that");
    }
    let at = config.listen;
    let started = Signals::new([SIGINT, SIGTERM]).and_then(|signals| Ok((signals, Standins::start(*config)?)));
    let (mut signals, handle) = match started {
        Ok(started) => started,
        Err(error) => {
            eprintln!("voxlane-standins: cannot listen at {at}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("stand-ins at {}", handle.base_url());
    signals.forever().next();
    println!("{}", handle.stop().line());
    ExitCode::SUCCESS
}
