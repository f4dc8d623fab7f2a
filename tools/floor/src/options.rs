//! What the person asked for.

use crate::codec::Effort;
use crate::duty::Duty;
use std::ffi::OsString;
use std::net::SocketAddr;

pub const HELP: &str = "\
voxlane-floor: what a voice server cannot do without.

Usage:
  voxlane-floor run [options]      CPU of the system calls and library calls of so many conversations, and nothing around them
  voxlane-floor null [options]     a server that understands nothing: what sockets cost

run:
  --conversations N    at once; default 100
  --seconds S          measured, rounded up to an even number of turns; default 40
  --effort full:N|light:N  how replies are encoded, at complexity N: as libopus likes, or CELT alone, as the server does under
                       load (voxlane-load find says which); default full:5
  --complexity N       the same as --effort full:N
  --pass-through       the service takes and sends Opus packets: nothing is encoded, every fourth packet decoded
  --listening N        packets of a turn that are heard; default 67 of 60 ms: 3 s of speech, 1 s of quiet
  --waiting N          that come while services work, at least 14; default 17
  --speaking N         packets of a reply, a multiple of 12; default 84
  --json               print one JSON object instead of text (README explains it; voxlane-load find --floor FILE reads it)

null:
  --listen ADDR        default 127.0.0.1:0 (a free port, which is printed)
  --after N            answer when so many packets have come since `listen start`, if quiet is not noticed before; default 500
  --packets N          of a reply; default 84: 5 s

Examples:
  voxlane-floor run --json > floor.json
  voxlane-floor run --pass-through --conversations 400
  voxlane-floor null --listen 127.0.0.1:8000

Exit codes: 0 done, 1 it failed, or the measurement is in doubt (said last), 2 wrong options.
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    Help,
    Run(RunOptions),
    Null(NullOptions),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOptions {
    pub duty: Duty,
    pub conversations: usize,
    pub seconds: u64,
    pub effort: Effort,
    pub pass_through: bool,
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NullOptions {
    pub listen: SocketAddr,
    pub after: u32,
    pub packets: u32,
}

/// Three sockets each, on both sides: what a limit of descriptors that can be raised allows.
const CONVERSATIONS_MAX: usize = 2_000;
/// The services need 0.7 s for the first audio, as in the profile R2 of the stand-ins.
const WAITING_MIN: u64 = 14;
/// A minute, of each part of a turn.
const PACKETS_MAX: u64 = 1_000;
const SECONDS_MAX: u64 = 3_600;

impl RunOptions {
    /// An even number of rounds of one turn, at least so long as was asked for.
    pub fn rounds(&self) -> usize {
        let turns = (self.seconds * 1_000).div_ceil(self.duty.turn_ms()).max(2) as usize;
        turns.next_multiple_of(2)
    }
}

pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, String> {
    use lexopt::Arg::{Long, Short, Value};
    use lexopt::ValueExt as _;
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut run = RunOptions {
        duty: Duty::default(),
        conversations: 100,
        seconds: 40,
        effort: Effort { complexity: 5, is_light: false },
        pass_through: false,
        json: false,
    };
    let mut null = NullOptions { listen: SocketAddr::from(([127, 0, 0, 1], 0)), after: 500, packets: 84 };
    let verb = match parser.next().map_err(|e| e.to_string())? {
        Some(Short('h') | Long("help")) => return Ok(Options::Help),
        Some(Value(verb)) if verb == "run" || verb == "null" => verb,
        Some(Value(verb)) => return Err(format!("there is no {verb:?}; voxlane-floor runs `run` or `null`")),
        _ => return Err("say what: `run` or `null` (--help shows both)".to_owned()),
    };
    let runs = verb == "run";
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        let Long(name) = argument else {
            if argument == Short('h') {
                return Ok(Options::Help);
            }
            return Err(format!("{} (--help shows what there is)", argument.unexpected()));
        };
        let name = name.to_owned();
        let mut number = |least: u64, most: u64| -> Result<u64, String> {
            let text = parser.value().and_then(|v| v.string()).map_err(|e| e.to_string())?;
            let bad = || format!("--{name} {text}: a number from {least} to {most} is wanted");
            text.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(bad)
        };
        match (name.as_str(), runs) {
            ("help", _) => return Ok(Options::Help),
            ("conversations", true) => run.conversations = number(1, CONVERSATIONS_MAX as u64)? as usize,
            ("seconds", true) => run.seconds = number(1, SECONDS_MAX)?,
            ("complexity", true) => {
                run.effort = Effort { complexity: number(0, 10)? as u8, is_light: false };
            }
            ("effort", true) => {
                let text = parser.value().and_then(|v| v.string()).map_err(|e| e.to_string())?;
                run.effort = Effort::parse(&text)
                    .ok_or(format!("--effort {text}: full:N or light:N is wanted, N from 0 to 10"))?;
            }
            ("listening", true) => run.duty.listening = number(17, PACKETS_MAX)? as u32,
            ("waiting", true) => run.duty.waiting = number(WAITING_MIN, PACKETS_MAX)? as u32,
            ("speaking", true) => run.duty.speaking = number(u64::from(Duty::SPEAKING_STEP), PACKETS_MAX)? as u32,
            ("pass-through", true) => run.pass_through = true,
            ("json", true) => run.json = true,
            ("after", false) => null.after = number(1, 10_000)? as u32,
            ("packets", false) => null.packets = number(1, 10_000)? as u32,
            ("listen", false) => {
                let text = parser.value().and_then(|v| v.string()).map_err(|e| e.to_string())?;
                null.listen =
                    text.parse().map_err(|_| format!("--listen {text}: an address as in 127.0.0.1:8000 is wanted"))?;
            }
            (name, _) => {
                return Err(format!("`{}` has no option --{name} (--help shows what there is)", verb.display()));
            }
        }
    }
    if !run.duty.speaking.is_multiple_of(Duty::SPEAKING_STEP) {
        let step = Duty::SPEAKING_STEP;
        return Err(format!(
            "--speaking {}: a multiple of {step} is wanted (sentences of whole bursts)",
            run.duty.speaking
        ));
    }
    Ok(if runs { Options::Run(run) } else { Options::Null(null) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_are_taken_and_mistakes_are_named() {
        let Ok(Options::Run(run)) = parsed("run --conversations 7 --pass-through --seconds 1") else { panic!() };
        assert_eq!((run.conversations, run.pass_through, run.rounds()), (7, true, 2));
        assert_eq!(RunOptions { seconds: 31, ..run }.rounds(), 4);
        assert!(matches!(parsed("null --listen 127.0.0.1:8000"), Ok(Options::Null(n)) if n.listen.port() == 8_000));
        assert_eq!(parsed("--help"), Ok(Options::Help));
        for (line, word) in [
            ("", "`run` or `null`"),
            ("walk", "walk"),
            ("run --conversations 0", "from 1 to"),
            ("run --complexity 11", "from 0 to 10"),
            ("run --effort heavy:1", "light:N"),
            ("run --listen 127.0.0.1:1", "no option --listen"),
            ("null --json", "no option --json"),
            ("null --listen here", "127.0.0.1:8000"),
            ("run 5", "--help"),
            ("run --speaking 80", "a multiple of 12"),
            ("run --waiting 3", "from 14 to"),
        ] {
            let why = parsed(line).expect_err(line);
            assert!(why.contains(word), "{line}: {why}");
        }
    }
}
