//! The memory as the server opens it, and `voxlane memory`: what is remembered of devices, for people and for programs; and forgetting it. Reading goes beside a server
//! that runs; erasing is asked of it, and done here where none runs.

use super::StartFault;
use super::serve::load;
use crate::cli::{MemoryAction, exit};
use crate::config::{Config, Memory};
use crate::lanes::Doorbell;
use crate::memory::frame::{Content, Frame};
use crate::memory::reading::{self, Reading};
use crate::memory::seal::KeyCheck;
use crate::memory::store::{self, Store};
use crate::memory::writer::DiskMaker;
use crate::memory::{Keys, StoreFault, Tally, Writer, disk, door};
use crate::metrics::Registry;
use crate::session::dialogue::Bounds;
use crate::session::record::{Durability, Operation};
use crate::shard::{self, MemoryPost};
use crate::time::{Clock, UnixMs};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// The writer, if a memory is kept, and each shard's end of the lane to it.
pub(super) type Opened = (Option<Writer>, Vec<Option<MemoryPost>>);

/// Opens the memory.
///
/// # Errors
/// The folder is somebody else's, another server's, or a newer version's.
pub(super) fn start(
    config: &Config,
    rules: &shard::Rules,
    clock: Clock,
    shards: &[Doorbell],
    registry: &Registry,
) -> Result<Opened, StartFault> {
    let Memory { path, durability, retention, key, .. } = &config.memory;
    if *durability == Durability::None {
        return Ok((None, shards.iter().map(|_| None).collect()));
    }
    let bounds = Bounds { turns: rules.session.dialogue_turns, tokens: rules.session.dialogue_tokens };
    let rules = crate::memory::Rules { durability: *durability, retention: *retention, bounds, keys: keys(key) };
    let tally = Arc::new(Tally::default());
    tally.watch(registry);
    let disk: DiskMaker = Box::new(|| Box::new(disk::Real));
    let started = Writer::start(path, rules, disk, clock, shards, tally);
    let (writer, posts) = started.map_err(|fault| StartFault::Other(format!("memory: {fault}")))?;
    Ok((Some(writer), posts.into_iter().map(Some).collect()))
}

fn keys(secret: &Option<String>) -> Option<Arc<Keys>> {
    secret.as_ref().map(|secret| Arc::new(Keys::new(secret.as_bytes())))
}

/// Runs one action.
pub fn run(config: Option<&Path>, action: &MemoryAction) -> u8 {
    let loaded = match load(config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let (dir, keys) = (&loaded.config.memory.path, keys(&loaded.config.memory.key));
    let done = match action {
        MemoryAction::List => list(dir),
        MemoryAction::Show(device) => turns(dir, device, keys.as_deref(), &show),
        MemoryAction::Export(device) => turns(dir, device, keys.as_deref(), &export),
        MemoryAction::Erase(device) => erase(dir, device, keys),
    };
    match done {
        Ok(()) => exit::OK,
        // A reader that has gone away is no failure of ours.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
        Err(Trouble::Output(error)) => fail(&format!("standard output: {error}")),
        Err(Trouble::Memory(why)) => fail(&why),
    }
}

enum Trouble {
    Output(io::Error),
    Memory(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Output(error)
    }
}

impl From<StoreFault> for Trouble {
    fn from(fault: StoreFault) -> Trouble {
        Trouble::Memory(fault.to_string())
    }
}

/// What is known of a device, in numbers.
#[derive(Default)]
struct Known {
    turns: u64,
    first: Option<UnixMs>,
    last: Option<UnixMs>,
}

fn list(dir: &Path) -> Result<(), Trouble> {
    let mut devices: BTreeMap<String, Known> = BTreeMap::new();
    let reading = read(dir, &mut |frame| {
        if frame.device.is_empty() {
            return;
        }
        let known = devices.entry(frame.device.to_owned()).or_default();
        known.turns += u64::from(frame.is_turn());
        known.first = known.first.or(Some(frame.at));
        known.last = known.last.max(Some(frame.at));
    })?;
    let mut out = io::stdout().lock();
    for (device, known) in &devices {
        let (first, last) = (date(known.first), date(known.last));
        writeln!(out, "{}\t{} turns\t{first}\t{last}", plain(device), known.turns)?;
    }
    if devices.is_empty() {
        eprintln!("voxlane: nothing is remembered in {}", dir.display());
    }
    complain(&reading);
    Ok(())
}

/// One turn of a device, in any form.
type Write1<'a> = &'a dyn Fn(&mut dyn Write, &Turn<'_>) -> io::Result<()>;

struct Turn<'a> {
    frame: &'a Frame<'a>,
    user: &'a str,
    reply: &'a str,
    complete: bool,
}

fn turns(dir: &Path, device: &str, keys: Option<&Keys>, write: Write1<'_>) -> Result<(), Trouble> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut failed, mut count, mut check) = (None, 0, KeyCheck::new(keys));
    let reading = read(dir, &mut |frame| {
        if frame.device != device || !frame.is_turn() || failed.is_some() {
            return;
        }
        check.look(frame);
        let Some(record) = frame.open(keys) else { return };
        if let Content::Operation(Operation::Turn { user, reply, complete }) = &record.content {
            count += 1;
            failed = write(&mut out, &Turn { frame, user, reply, complete: *complete }).err();
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    out.flush()?;
    check.verdict(dir)?;
    if count == 0 {
        eprintln!("voxlane: nothing is remembered of {}", plain(device));
    }
    complain(&reading);
    Ok(())
}

/// A turn as one JSON object. `turn` is its sequence in the log: unique, growing, never used again.
fn export(out: &mut dyn Write, turn: &Turn<'_>) -> io::Result<()> {
    let line = serde_json::json!({
        "turn": turn.frame.sequence,
        "at": date(Some(turn.frame.at)),
        "device": turn.frame.device,
        "session": turn.frame.session.to_string(),
        "user": turn.user,
        "reply": turn.reply,
        "complete": turn.complete,
    });
    writeln!(out, "{line}")
}

fn show(out: &mut dyn Write, turn: &Turn<'_>) -> io::Result<()> {
    let cut = if turn.complete { "" } else { " [not played to its end]" };
    writeln!(out, "{}  user:  {}", date(Some(turn.frame.at)), plain(turn.user))?;
    writeln!(out, "{:24}  reply: {}{cut}", "", plain(turn.reply))
}

fn erase(dir: &Path, device: &str, keys: Option<Arc<Keys>>) -> Result<(), Trouble> {
    let count = match door::ask_to_erase(dir, device) {
        Some(answer) => answer.map_err(Trouble::Memory)?,
        None => {
            // A folder is not made only to find nothing in it.
            read(dir, &mut |_| {})?;
            if !dir.exists() {
                println!("nothing is remembered of {}", plain(device));
                return Ok(());
            }
            let (mut store, reading) = Store::open_sealed(dir, Bounds::default(), Box::new(disk::Real), keys)?;
            complain(&reading);
            store.erase(device).map_err(|error| Trouble::Memory(format!("{}: {error}", dir.display())))?
        }
    };
    println!("erased {}: {count} records", plain(device));
    Ok(())
}

/// Reads the log. Beside a server that writes files anew a file may vanish in between: then once more from the beginning, as
/// nothing has been told yet.
fn read(dir: &Path, each: &mut dyn FnMut(&Frame<'_>)) -> Result<Reading, StoreFault> {
    const TRIES: usize = 3;
    for _ in 1..TRIES {
        match reading::read(dir, &mut |_, _, _| {}) {
            Err(StoreFault::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            Err(fault) => return Err(fault),
            Ok(_) => break,
        }
    }
    reading::read(dir, &mut |_, _, frame| each(frame))
}

/// Damage is named; a torn end is what a running server is just writing.
fn complain(reading: &Reading) {
    if reading.damage.iter().any(|(_, damage)| damage.is_loss()) {
        store::describe(reading).iter().for_each(|line| eprintln!("voxlane: {line}"));
    }
}

fn date(at: Option<UnixMs>) -> String {
    let at = at.and_then(|at| jiff::Timestamp::from_millisecond(at.0 as i64).ok());
    at.map_or_else(|| "-".to_owned(), |at| format!("{at:.3}"))
}

/// What a device said of itself does not reach the terminal as commands.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn fail(why: &str) -> u8 {
    eprintln!("voxlane: {why}");
    exit::FAILED
}
