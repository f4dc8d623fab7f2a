//! `stage`: the server and the stand-ins as `find` starts them, for one command of the person's own.

use super::find;
use crate::End;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const HELP: &str = "\
voxlane-load stage: starts the server on a core of its own and stand-ins for the services on the others, as find does, runs one
command against them, on the others too, and ends everything.

Usage:
  voxlane-load stage [options] -- COMMAND [ARGUMENT...]

In the command's words {url} stands for where devices connect, {pid} for the server's process, {stats} for its statistics, {admin}
for the address of its admin listener. Its exit code is ours.

  --tts pcm|opus, --profile R1|R2|R3, --shards N, --complexity N|auto, --set SECTION.KEY=V, --config FILE, --server PATH,
  --server-cores LIST    as of find
  --max N                connections that the server allows, less a hundred (20000)

Examples:
  voxlane-load stage --tts opus --profile R1 -- \\
    voxlane-load run --url {url} --pid {pid} --stats {stats} --devices 300 --slo \"added.p99<10ms\"
  voxlane-load stage -- bash
";

/// Runs the verb.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> End {
    let (options, command) = match parse(arguments) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => {
            print!("{HELP}");
            return End::Well;
        }
        Err(why) => return End::Misuse(why),
    };
    let stage = match find::set_up(&options) {
        Ok(stage) => stage,
        Err(why) => return End::Failed(why),
    };
    eprintln!("{}", stage.about());
    let command: Vec<OsString> = command.iter().map(|word| filled(word, &stage)).collect();
    match conduct(&command) {
        Ok(status) => end(&command[0], status),
        Err(why) => End::Failed(why),
    }
}

/// Runs the command to its end. A signal to end is passed on to it, and to what it has started: the server is ended after it.
fn conduct(command: &[OsString]) -> Result<ExitStatus, String> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let named = |e: std::io::Error| format!("{}: {e}", command[0].to_string_lossy());
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(|e| format!("signals: {e}"))?;
    // A group of its own: it is told once, by us, whoever tells us.
    let mut child = Command::new(&command[0]).args(&command[1..]).process_group(0).spawn().map_err(named)?;
    let (handle, is_over) = (signals.handle(), AtomicBool::new(false));
    let group = child.id() as libc::pid_t;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for signal in signals.forever() {
                if !is_over.load(SeqCst) {
                    // SAFETY: takes two numbers; the group is our child's, which has not been waited for.
                    unsafe { libc::kill(-group, signal) };
                }
            }
        });
        let status = child.wait().map_err(named);
        is_over.store(true, SeqCst);
        handle.close();
        status
    })
}

fn end(program: &OsStr, status: ExitStatus) -> End {
    let program = program.to_string_lossy();
    match (status.code(), status.signal()) {
        (Some(0), _) => End::Well,
        (Some(2), _) => End::Misuse(format!("{program} says that its command line or a file is wrong")),
        (Some(3), _) => End::Broken,
        (Some(4), _) => End::Unmeasured(format!("{program} said why")),
        (Some(code), _) => End::Failed(format!("{program} ended with {code}")),
        (None, signal) => End::Failed(format!("{program} was ended by signal {}", signal.unwrap_or_default())),
    }
}

fn filled(word: &OsStr, stage: &find::Stage) -> OsString {
    let Some(text) = word.to_str() else { return word.to_owned() };
    let subject = &stage.subject;
    let admin = subject.stats.map_or(String::new(), |at| at.to_string());
    let pid = subject.pid.map_or(String::new(), |pid| pid.to_string());
    let text = text.replace("{url}", &subject.target.url()).replace("{pid}", &pid);
    text.replace("{stats}", &format!("http://{admin}/stats.json")).replace("{admin}", &admin).into()
}

/// The options and the command after `--`.
type Parsed = (find::Options, Vec<OsString>);

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Parsed>, String> {
    let mut own: Vec<OsString> = arguments.into_iter().collect();
    let command = match own.iter().position(|word| word == "--") {
        Some(at) => own.split_off(at).split_off(1),
        None => Vec::new(),
    };
    for word in &own {
        let name = word.to_str().and_then(|word| word.strip_prefix("--")).unwrap_or_default();
        if let Some(name) = ["url", "pid", "stats", "slo", "floor", "json", "run", "smoke", "first", "tries"]
            .iter()
            .find(|known| name.split('=').next() == Some(**known))
        {
            return Err(format!("--{name} belongs to find, or to the command after --"));
        }
    }
    match find::parse("stage", own)? {
        Some(_) if command.is_empty() => {
            Err("stage needs a command after --; see voxlane-load stage --help".to_owned())
        }
        Some(options) => Ok(Some((options, command))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Parsed>, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let (options, command) = read("--profile R1 --max 300 -- run --url {url} -- x").unwrap().unwrap();
        assert_eq!((options.profile.as_str(), options.rules.most), ("R1", 300));
        assert_eq!(command, ["run", "--url", "{url}", "--", "x"].map(OsString::from));
        assert!(read("--help").unwrap().is_none());
        let wrong = |line| read(line).err().unwrap();
        assert!(wrong("--profile R1").contains("a command after --"));
        assert!(wrong("--profil R1 -- x").contains("did you mean --profile?"));
        assert!(wrong("--json x -- x").contains("--json belongs to find, or to the command"));
    }

    #[test]
    fn the_commands_end_is_ours() {
        let code = |script: &str| {
            let command = ["sh", "-c", script].map(OsString::from);
            end(&command[0], conduct(&command).unwrap())
        };
        assert!(matches!(code("exit 0"), End::Well));
        assert!(matches!(code("exit 3"), End::Broken));
        assert!(matches!(code("exit 4"), End::Unmeasured(_)));
        assert!(matches!(code("exit 9"), End::Failed(why) if why == "sh ended with 9"));
        assert!(matches!(code("kill -9 $$"), End::Failed(why) if why == "sh was ended by signal 9"));
        assert!(conduct(&["/nowhere/x".into()]).unwrap_err().starts_with("/nowhere/x: No such file"));
    }
}
