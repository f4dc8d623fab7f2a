//! `voxlane serve`: from a file name to an exit code.

use super::{Server, StartFault, banner};
use crate::cli::exit;
use crate::config::{self, Loaded};
use crate::log;
use crate::time::Duration;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::Path;

/// How often the main thread looks for a signal; nothing else wakes it.
const LOOK: Duration = Duration::from_millis(250);

/// Serves until a signal.
pub fn run(path: Option<&Path>) -> u8 {
    let loaded = match load(path) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let config = &loaded.config;
    let wish = std::env::var("VOXLANE_LOG").ok();
    let log = log::Config { json: config.log.json, level: config.log.level.clone(), store: config.log.store.clone() };
    let log = match log::install(&log, wish.as_deref()) {
        Ok(guard) => guard,
        Err(why) => return fail(exit::MISUSE, &why),
    };
    // Before anything is started: a signal that comes during the start ends it too.
    let mut signals = match Signals::new([SIGINT, SIGTERM]) {
        Ok(signals) => signals,
        Err(error) => return fail(exit::FAILED, &format!("cannot listen for signals: {error}")),
    };
    let server = match Server::start(config) {
        Ok(server) => server,
        Err(fault) => return refuse(&fault),
    };
    server.count_lost_log_lines(log.dropped());
    print!("{}", banner::banner(config, &server));
    while signals.pending().next().is_none() {
        if server.has_failed() {
            server.stop(Duration::ZERO);
            return fail(exit::FAILED, "a shard has fallen over; the log says where");
        }
        std::thread::sleep(LOOK);
    }
    println!("stopping: turns may end for {} s; a second signal ends at once", config.limits.drain_s);
    let impatience = signals.handle();
    let second = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(i32::from(exit::FAILED));
        }
    });
    server.stop(Duration::from_secs(config.limits.drain_s));
    impatience.close();
    if let Ok(second) = second {
        let _ = second.join();
    }
    exit::OK
}

/// Reads the configuration; all its mistakes go to standard error.
pub(super) fn load(path: Option<&Path>) -> Result<Loaded, u8> {
    config::load(path, &config::environment()).map_err(|mistakes| {
        let count = mistakes.list.len();
        eprint!("{mistakes}");
        fail(
            exit::MISUSE,
            &format!("{count} mistake{} in the configuration; nothing was started", if count == 1 { "" } else { "s" }),
        )
    })
}

/// Says why the server did not start, and gives the code for it.
pub(super) fn refuse(fault: &StartFault) -> u8 {
    let code = match fault {
        StartFault::Model(_) => exit::MODEL,
        StartFault::Address(_) => exit::ADDRESS,
        StartFault::Other(_) => exit::FAILED,
    };
    fail(code, &fault.to_string())
}

fn fail(code: u8, why: &str) -> u8 {
    eprintln!("voxlane: {why}");
    code
}
