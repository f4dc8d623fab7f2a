//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use voxlane::config::mistake::nearest;
use voxlane_standins::profile::Profile;
use voxlane_standins::{Config, script};

/// What is asked for.
#[derive(Debug)]
pub enum Options {
    /// How it is used.
    Help,
    /// To serve.
    Serve(Box<Config>),
}

/// How it is used.
pub const HELP: &str = "\
Stand-ins for recognition, language model and voice, OpenAI-compatible, on one port. Repeatable: what a request meets depends on
the seed, its stage and its number.

Usage: voxlane-standins [options]

  --listen ADDRESS   where to listen [127.0.0.1:9100]; port 0: any that is free
  --profile NAME     R1: no delay; R2: as good services are; R3: as on a bad day [R2]
  --script FILE      TOML over the profile: delays, rates, faults (below)
  --seed NUMBER      what chance begins with [1]
  --core NUMBER      the core to stay on
  --help             this

Serves POST /v1/audio/transcriptions, /v1/chat/completions (streamed and whole), /v1/audio/speech (wav, pcm, opus: 24 kHz mono,
60 ms packets), GET /v1/models, and GET /lag.json: how late its own answers left, and how much of a core it took.

Each device's number, spoken as a tone code, is echoed as a word by recognition and language model and as a tone by the voice.

A script, all keys optional:

  [asr]                     # likewise [llm], [tts]
  delay_ms = 120            # median time to the first byte
  sigma = 0.3               # spread of it, log-normal
  error = 0.02              # part of requests that get a 5xx; also hang, stall, drip, malformed, cut
  [llm]
  tokens_s = 60             # 0: all at once
  event_tokens = 1          # tokens in an event
  [tts]
  speed = 4                 # times real time; 0: all at once
  chars_s = 15              # how fast it speaks
  [reply]
  speech_ms = 5000
  sentences = 3
  [faults]
  hang_s = 60               # how long one hangs or stalls before its connection is closed
  drip_ms = 250             # time between drips of 16 bytes

Examples:

  voxlane-standins --profile R1
  voxlane-standins --profile R3 --seed 7 --listen 127.0.0.1:0
  voxlane-standins --script bad-day.toml

  # the server behind it
  VOXLANE_ASR_PROVIDER=openai VOXLANE_LLM_PROVIDER=openai VOXLANE_TTS_PROVIDER=openai \\
  VOXLANE_ASR_BASE_URL=http://127.0.0.1:9100/v1 VOXLANE_LLM_BASE_URL=http://127.0.0.1:9100/v1 \\
  VOXLANE_TTS_BASE_URL=http://127.0.0.1:9100/v1 VOXLANE_ASR_MODEL=standin VOXLANE_LLM_MODEL=standin \\
  VOXLANE_TTS_MODEL=standin voxlane serve

Exit codes: 0 ended by Ctrl-C or a signal, 1 cannot listen, 2 a mistake on the command line or in the script.
";

/// Parses the arguments.
///
/// # Errors
/// What is wrong with them or with the script, for people.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, String> {
    let mut config = Config::new(Profile::R2);
    config.listen = SocketAddr::from(([127, 0, 0, 1], 9_100));
    let mut script: Option<PathBuf> = None;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        use lexopt::prelude::*;
        match argument {
            Long("help") | Short('h') => return Ok(Options::Help),
            Long("listen") => {
                let text = value(&mut parser)?;
                config.listen = text
                    .parse()
                    .map_err(|_| format!("--listen {text}: write an address and a port, as in 127.0.0.1:9100"))?;
            }
            Long("profile") => {
                let name = value(&mut parser)?;
                config.profile =
                    Profile::named(&name).ok_or_else(|| format!("--profile {name}: it is R1, R2 or R3"))?;
            }
            Long("script") => script = Some(parser.value().map_err(|e| e.to_string())?.into()),
            Long("seed") => config.seed = number("--seed", &value(&mut parser)?)?,
            Long("core") => config.core = Some(number("--core", &value(&mut parser)?)? as usize),
            Long(other) => {
                let known = ["listen", "profile", "script", "seed", "core", "help"];
                let meant =
                    nearest(other, known).map_or("see --help".to_owned(), |near| format!("did you mean --{near}?"));
                return Err(format!("there is no --{other}: {meant}"));
            }
            other => return Err(format!("{}; see --help", other.unexpected())),
        }
    }
    if let Some(path) = script {
        config.profile = script::load(&path, &config.profile).map_err(|mistakes| mistakes.to_string())?;
    }
    Ok(Options::Serve(Box::new(config)))
}

fn value(parser: &mut lexopt::Parser) -> Result<String, String> {
    let value = parser.value().map_err(|e| e.to_string())?;
    value.into_string().map_err(|value| format!("{} is not UTF-8", value.display()))
}

fn number(option: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{option} {text}: write a whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Config, String> {
        match parse(line.split_whitespace().map(OsString::from))? {
            Options::Serve(config) => Ok(*config),
            Options::Help => Err("help".to_owned()),
        }
    }

    #[test]
    fn arguments_are_taken() {
        let config = parsed("--profile r3 --seed 7 --listen [::1]:0 --core 1").unwrap();
        assert_eq!((config.profile, config.seed, config.core), (Profile::r3(), 7, Some(1)));
        assert_eq!(config.listen.to_string(), "[::1]:0");
        assert_eq!(parsed("").unwrap().profile, Profile::R2);
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (line, says) in [
            ("--profil R1", "did you mean --profile?"),
            ("--profile R4", "R1, R2 or R3"),
            ("--listen 9100", "127.0.0.1:9100"),
            ("--seed x", "whole number"),
            ("--seed", "missing"),
            ("R1", "see --help"),
            ("--script /nowhere/a.toml", "cannot read the script"),
        ] {
            let why = parsed(line).unwrap_err();
            assert!(why.contains(says), "{line}: {why}");
        }
    }
}
