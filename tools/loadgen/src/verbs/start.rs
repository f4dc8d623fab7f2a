//! `start`: what the server's program is before anybody comes: its size, how soon it listens, what it holds in memory.

use super::options::Word;
use crate::End;
use serde_json::json;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const HELP: &str = "\
voxlane-load start: the server's program with nobody connected. It is started again and again with providers of its own; what is
told is the median of: from exec to the first connection accepted, the same to `/readyz`, and resident memory then.

Usage:
  voxlane-load start [options]

Options:
  --server PATH    the server's program (voxlane beside this one)
  --times N        how often (9)
  --json FILE      the figures
";

/// A server that has not accepted after this will not.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to connect: a hundredth of what is allowed.
const PAUSE: Duration = Duration::from_micros(500);
/// Starts at most.
const TIMES_MAX: u32 = 1_000;
/// After it is ready, until its memory is looked at: threads that start with it have started.
const SETTLED: Duration = Duration::from_millis(300);

#[derive(Debug, PartialEq)]
struct Options {
    server: Option<PathBuf>,
    times: u32,
    json: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> End {
    match parse(arguments) {
        Ok(Some(options)) => measure(&options).map_or_else(End::Failed, |()| End::Well),
        Ok(None) => {
            print!("{HELP}");
            End::Well
        }
        Err(why) => End::Misuse(why),
    }
}

fn measure(options: &Options) -> Result<(), String> {
    let program = options.server.clone().map_or_else(super::find::beside, Ok)?;
    let bytes = std::fs::metadata(&program).map_err(|e| format!("{}: {e}", program.display()))?.len();
    let folder = std::env::temp_dir().join(format!("voxlane-load-start-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let starts: Result<Vec<Start>, String> = (0..options.times).map(|_| start(&program, &folder)).collect();
    let _ = std::fs::remove_dir_all(&folder);
    let starts = starts?;
    let median = |of: fn(&Start) -> f64| {
        let mut values: Vec<f64> = starts.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (listening, ready) = (median(|s| s.listening_ms), median(|s| s.ready_ms));
    let resident = median(|s| s.resident_bytes as f64);
    let longest = starts.iter().map(|s| s.listening_ms).fold(0.0, f64::max);
    println!(
        "{}: {:.1} MiB; accepts after {listening:.1} ms (of {} starts the longest {longest:.1}), ready after {ready:.1} ms; {:.1} \
         MiB resident",
        program.display(),
        bytes as f64 / 1_048_576.0,
        starts.len(),
        resident / 1_048_576.0
    );
    let Some(file) = &options.json else { return Ok(()) };
    let value = json!({
        "program_bytes": bytes,
        "starts": starts.len(),
        "listening_ms": listening,
        "listening_max_ms": longest,
        "ready_ms": ready,
        "resident_bytes": resident,
    });
    std::fs::write(file, value.to_string()).map_err(|e| format!("{}: {e}", file.display()))
}

struct Start {
    listening_ms: f64,
    ready_ms: f64,
    resident_bytes: u64,
}

/// Ended however we leave.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &Path, folder: &Path) -> Result<Start, String> {
    // Ports that are free now: the program says its own only after it listens, which is what is measured.
    let [device, http, admin] = free_ports().map_err(|e| format!("no free port: {e}"))?;
    let config = folder.join("voxlane.toml");
    let text = format!(
        "[listen]\ndevice = \"{device}\"\nhttp = \"{http}\"\nadmin = \"{admin}\"\n[asr]\nprovider = \"scripted\"\n\
         [llm]\nprovider = \"scripted\"\n[tts]\nprovider = \"scripted\"\n[log]\nlevel = \"warn\"\n"
    );
    std::fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(&config).current_dir(folder).env("XDG_STATE_HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let child = command.spawn().map_err(|e| format!("{} does not start: {e}", program.display()))?;
    let mut running = Running(child);
    let mut until = |what: &str, is_so: &dyn Fn() -> bool| -> Result<f64, String> {
        while !is_so() {
            if let Ok(Some(status)) = running.0.try_wait() {
                return Err(format!("{} ended ({status})", program.display()));
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{} {what} after {} s", program.display(), PATIENCE.as_secs()));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    };
    let listening_ms = until("accepts nobody", &|| TcpStream::connect(device).is_ok())?;
    let is_ready = || matches!(voxlane_load::find::child::get(admin, "/readyz"), Ok((200, _)));
    let ready_ms = until("is not ready", &is_ready)?;
    std::thread::sleep(SETTLED);
    let resident_bytes = resident(running.0.id()).ok_or("its memory cannot be read")?;
    Ok(Start { listening_ms, ready_ms, resident_bytes })
}

fn free_ports() -> std::io::Result<[SocketAddr; 3]> {
    // All open at once, so that they differ.
    let bind = || TcpListener::bind("127.0.0.1:0");
    let listeners = [bind()?, bind()?, bind()?];
    let [a, b, c] = listeners.each_ref().map(TcpListener::local_addr);
    Ok([a?, b?, c?])
}

/// Resident memory of a process, bytes.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut o = Options { server: None, times: 9, json: None };
    let options = super::options::Options::new("start", ["server", "json", "times"], []);
    let is_help = !options.read(arguments, |word| {
        match word {
            Word::Valued(name, value) if name == "server" => o.server = Some(value.path()),
            Word::Valued(name, value) if name == "json" => o.json = Some(value.path()),
            Word::Valued(_, value) => o.times = value.number(1..=TIMES_MAX)?,
            Word::Bare(_) | Word::Operand(_) => {}
        }
        Ok(())
    })?;
    if is_help {
        return Ok(None);
    }
    Ok(Some(o))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_mistakes_told() {
        let read = |line: &str| parse(line.split_whitespace().map(OsString::from));
        let o = read("--server /x --times 3").unwrap().unwrap();
        assert_eq!((o.server, o.times), (Some("/x".into()), 3));
        assert_eq!(read("--help"), Ok(None));
        assert!(read("--times 0").unwrap_err().contains("from 1 to 1000"));
        assert!(read("--tims 0").unwrap_err().contains("did you mean --times?"));
    }

    #[test]
    fn a_program_that_ends_or_is_not_there_is_told() {
        let folder = std::env::temp_dir();
        let why = start("/bin/false".as_ref(), &folder).err().unwrap();
        assert!(why.starts_with("/bin/false ended"), "{why}");
        let why = start("/nowhere/voxlane".as_ref(), &folder).err().unwrap();
        assert!(why.contains("does not start"), "{why}");
    }
}
