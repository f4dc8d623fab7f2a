//! `voxlane serve`: from a file name to an exit code.

use super::{Server, StartFault, banner, reload};
use crate::cli::exit;
use crate::config::{self, Loaded};
use crate::log;
use crate::time::Duration;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::Path;

/// How often the main thread looks for a signal; nothing else wakes it.
const LOOK: Duration = Duration::from_millis(250);

/// Serves until a signal.
pub fn run(path: Option<&Path>) -> u8 {
    let mut loaded = match load(path) {
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
    let mut signals = match Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        Ok(signals) => signals,
        Err(error) => return fail(exit::FAILED, &format!("cannot listen for signals: {error}")),
    };
    let server = match Server::start(config) {
        Ok(server) => server,
        Err(fault) => return refuse(&fault),
    };
    server.count_lost_log_lines(log.dropped());
    print!("{}", banner::banner(config, &server));
    loop {
        let heard: Vec<i32> = signals.pending().collect();
        if heard.iter().any(|signal| *signal != SIGHUP) {
            break;
        }
        if heard.contains(&SIGHUP) {
            reload(path, &mut loaded, &server);
        }
        if server.has_failed() {
            server.stop(Duration::ZERO);
            return fail(exit::FAILED, "a shard has fallen over; the log says where");
        }
        std::thread::sleep(LOOK);
    }
    let drain_s = loaded.config.limits.drain_s;
    println!("stopping: turns may end for {drain_s} s; a second signal ends at once");
    let impatience = signals.handle();
    let second = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().any(|signal| signal != SIGHUP) {
            std::process::exit(i32::from(exit::FAILED));
        }
    });
    server.stop(Duration::from_secs(drain_s));
    impatience.close();
    if let Ok(second) = second {
        let _ = second.join();
    }
    exit::OK
}

/// Takes over a changed configuration; one with mistakes changes nothing.
fn reload(path: Option<&Path>, loaded: &mut Loaded, server: &Server) {
    let new = match config::load(path, &config::environment()) {
        Ok(new) => new,
        Err(mistakes) => {
            eprint!("{mistakes}");
            let (count, s) = (mistakes.list.len(), if mistakes.list.len() == 1 { "" } else { "s" });
            println!("configuration not reloaded: {count} mistake{s}; the old one stays");
            return tracing::error!(mistakes = count, "the configuration was not reloaded");
        }
    };
    let config = reload::merged(&loaded.config, &new.config);
    if let Err(fault) = server.reload(&config) {
        println!("configuration not reloaded: {fault}; the old one stays");
        return tracing::error!(%fault, "the configuration was not reloaded");
    }
    let changes = reload::changes(&loaded.keys, &new.keys);
    for (section, key, reach) in &changes {
        tracing::warn!(key = format!("{section}.{key}"), takes_effect = reach.name(), "changed");
    }
    println!("configuration reloaded: {} keys changed", changes.len());
    // What needs a restart stays as it was, and is named again by the next reload.
    let stays = |known: &config::Known| reload::Reach::of(known.section, known.key) == reload::Reach::Restart;
    let keep = |known: config::Known| match loaded
        .keys
        .iter()
        .find(|old| (old.section, old.key) == (known.section, known.key))
    {
        Some(old) if stays(old) => old.clone(),
        _ => known,
    };
    *loaded = Loaded { config, keys: new.keys.into_iter().map(keep).collect() };
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
