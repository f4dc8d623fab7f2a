//! The command line: what was asked for, and the words for it.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the program is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve devices until a signal.
    Serve {
        /// The configuration file; none is embedded defaults.
        config: Option<PathBuf>,
    },
    /// Explain the configuration in force and try each provider once.
    Check {
        /// The configuration file; none is embedded defaults.
        config: Option<PathBuf>,
    },
    /// Hold a spoken conversation with ourselves and exit.
    Demo(Demo),
    /// Look at what is remembered, or erase it.
    Memory {
        /// The configuration file; none is embedded defaults.
        config: Option<PathBuf>,
        /// What to do.
        action: MemoryAction,
    },
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// Options of the demonstration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demo {
    /// The configuration file; none is embedded defaults.
    pub config: Option<PathBuf>,
    /// Only this language: `en` or `zh`.
    pub language: Option<String>,
    /// Speak this instead of the prepared question.
    pub text: Option<String>,
    /// Play the sound on this machine.
    pub play: bool,
}

/// What to do with the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryAction {
    /// Name every device, and how much is remembered of it.
    List,
    /// Print a device's turns for people.
    Show(String),
    /// Print a device's turns as JSON, one object a line.
    Export(String),
    /// Remove everything of a device.
    Erase(String),
}

/// A command line that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Misuse(pub String);

/// Exit codes, the same for every command.
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// Something failed while running; the last line says what.
    pub const FAILED: u8 = 1;
    /// The command line or the configuration is wrong; nothing was started.
    pub const MISUSE: u8 = 2;
    /// The speech model is missing or is not a model; nothing was started.
    pub const MODEL: u8 = 3;
    /// An address is in use or not ours; nothing was started.
    pub const ADDRESS: u8 = 4;
}

/// The text of `--help`.
pub const HELP: &str = "\
voxlane: a real-time voice server for ESP32 devices

Usage:
  voxlane serve [--config FILE]       serve devices until Ctrl-C (this is the default)
  voxlane check [--config FILE]       explain the configuration in force, try each provider once
  voxlane demo  [--lang en|zh] [--text TEXT] [--play] [--config FILE]
                                      hold a spoken conversation over a real socket, and exit
  voxlane memory list | show | export | erase  [--device ID] [--config FILE]
                                      what is remembered of devices; also while a server runs
  voxlane --version | --help

Without a file the embedded defaults are in force: local recognition (Whisper base), the built-in offline responder,
espeak-ng as the voice; no key and no network service is needed. config/voxlane.toml lists every key with its default.
Every key can be overridden by VOXLANE_<SECTION>_<KEY>; VOXLANE_LOG sets the log level (error, warn, info, debug, or
per room: \"info,voxlane::session=debug\").
A running server shows what it does live in a browser, at http://127.0.0.1:8009/ (listen.admin).

Examples:
  voxlane serve
  voxlane serve --config voxlane.toml
  VOXLANE_LLM_PROVIDER=openai VOXLANE_LLM_BASE_URL=http://127.0.0.1:11434/v1 VOXLANE_LLM_MODEL=qwen3 voxlane serve
  voxlane check --config voxlane.toml
  voxlane demo --lang en --text \"What is twelve times three?\"
  voxlane memory export --device aa:bb:cc:dd:ee:ff --config voxlane.toml

Exit codes:
  0  all went well
  1  something failed while running
  2  the command line or the configuration is wrong; nothing was started
  3  the speech model is missing or is not a model; nothing was started
  4  an address is in use or not ours; nothing was started
";

/// Understands the arguments after the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Misuse> {
    use lexopt::Arg::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut verb: Option<String> = None;
    let mut demo = Demo::default();
    let mut only_demo: Option<&str> = None;
    let mut action: Option<String> = None;
    let mut device: Option<String> = None;
    while let Some(argument) = parser.next().map_err(misuse)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Short('c') | Long("config") => demo.config = Some(parser.value().map_err(misuse)?.into()),
            Long("lang") => {
                let language = text(parser.value().map_err(misuse)?)?;
                if !["en", "zh"].contains(&language.as_str()) {
                    return Err(Misuse(format!("--lang is en or zh, not '{language}'")));
                }
                only_demo = Some("--lang");
                demo.language = Some(language);
            }
            Long("text") => {
                only_demo = Some("--text");
                demo.text = Some(text(parser.value().map_err(misuse)?)?);
            }
            Long("play") => {
                only_demo = Some("--play");
                demo.play = true;
            }
            Long("device") => device = Some(text(parser.value().map_err(misuse)?)?),
            Value(word) if verb.is_none() => verb = Some(text(word)?),
            Value(word) if verb.as_deref() == Some("memory") && action.is_none() => action = Some(text(word)?),
            other => return Err(unexpected(other)),
        }
    }
    let verb = verb.unwrap_or_else(|| "serve".to_owned());
    if let (Some(option), false) = (only_demo, verb == "demo") {
        return Err(Misuse(format!("{option} belongs to 'voxlane demo'")));
    }
    if device.is_some() && verb != "memory" {
        return Err(Misuse("--device belongs to 'voxlane memory'".to_owned()));
    }
    match verb.as_str() {
        "memory" => Ok(Command::Memory { config: demo.config, action: memory_action(action, device)? }),
        "serve" => Ok(Command::Serve { config: demo.config }),
        "check" => Ok(Command::Check { config: demo.config }),
        "demo" => Ok(Command::Demo(demo)),
        "help" => Ok(Command::Help),
        "version" => Ok(Command::Version),
        other => Err(Misuse(
            match crate::config::mistake::nearest(other, ["serve", "check", "demo", "memory", "help", "version"]) {
                Some(near) => format!("unknown command '{other}', did you mean '{near}'?"),
                None => format!("unknown command '{other}'; commands are serve, check, demo, memory"),
            },
        )),
    }
}

fn memory_action(action: Option<String>, device: Option<String>) -> Result<MemoryAction, Misuse> {
    const ACTIONS: [&str; 4] = ["list", "show", "export", "erase"];
    let action = action.ok_or_else(|| Misuse("'voxlane memory' does one of: list, show, export, erase".to_owned()))?;
    let whose = |device: Option<String>| {
        device.filter(|id| !id.is_empty()).ok_or_else(|| Misuse(format!("'voxlane memory {action}' needs --device ID")))
    };
    match action.as_str() {
        "list" if device.is_some() => {
            Err(Misuse("'voxlane memory list' names all devices; leave --device out".to_owned()))
        }
        "list" => Ok(MemoryAction::List),
        "show" => Ok(MemoryAction::Show(whose(device)?)),
        "export" => Ok(MemoryAction::Export(whose(device)?)),
        "erase" => Ok(MemoryAction::Erase(whose(device)?)),
        other => Err(Misuse(match crate::config::mistake::nearest(other, ACTIONS) {
            Some(near) => format!("unknown '{other}', did you mean 'voxlane memory {near}'?"),
            None => format!("'voxlane memory' does one of list, show, export, erase; not '{other}'"),
        })),
    }
}

fn text(word: OsString) -> Result<String, Misuse> {
    word.into_string().map_err(|word| Misuse(format!("{} is not text", word.display())))
}

fn unexpected(argument: lexopt::Arg<'_>) -> Misuse {
    const OPTIONS: [&str; 7] = ["--config", "--lang", "--text", "--play", "--device", "--help", "--version"];
    let written = match &argument {
        lexopt::Arg::Long(name) => format!("--{name}"),
        lexopt::Arg::Short(letter) => format!("-{letter}"),
        lexopt::Arg::Value(word) => word.display().to_string(),
    };
    match crate::config::mistake::nearest(&written, OPTIONS) {
        Some(near) => Misuse(format!("unexpected '{written}', did you mean '{near}'?")),
        None => Misuse(format!("unexpected '{written}'")),
    }
}

fn misuse(error: lexopt::Error) -> Misuse {
    Misuse(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<Command, &str>) {
        let parsed = parse(line.split_whitespace().map(OsString::from));
        assert_eq!(parsed, expected.map_err(|e| Misuse(e.to_owned())), "{line}");
    }

    #[test]
    fn commands_and_their_options() {
        check("", Ok(Command::Serve { config: None }));
        check("serve --config a.toml", Ok(Command::Serve { config: Some("a.toml".into()) }));
        check("--config=a.toml check", Ok(Command::Check { config: Some("a.toml".into()) }));
        let demo = Demo { language: Some("zh".into()), play: true, ..Demo::default() };
        check("demo --lang zh --play", Ok(Command::Demo(demo)));
        let memory = |action| Ok(Command::Memory { config: None, action });
        check("memory list", memory(MemoryAction::List));
        check("memory export --device a:b", memory(MemoryAction::Export("a:b".into())));
        check("-h", Ok(Command::Help));
        check("serve --version", Ok(Command::Version));
    }

    #[test]
    fn what_cannot_be_understood_is_said_with_a_suggestion() {
        check("srve", Err("unknown command 'srve', did you mean 'serve'?"));
        check("serve --confg a", Err("unexpected '--confg', did you mean '--config'?"));
        check("demo --lang fr", Err("--lang is en or zh, not 'fr'"));
        check("serve --play", Err("--play belongs to 'voxlane demo'"));
        check("memory", Err("'voxlane memory' does one of: list, show, export, erase"));
        check("memory erase", Err("'voxlane memory erase' needs --device ID"));
        check("memory exprot --device a", Err("unknown 'exprot', did you mean 'voxlane memory export'?"));
        check("serve --device a", Err("--device belongs to 'voxlane memory'"));
        check("serve now", Err("unexpected 'now'"));
    }
}
