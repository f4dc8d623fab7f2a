//! What the person asked for.

use std::ffi::OsString;
use std::path::PathBuf;

pub const HELP: &str = "\
voxlane-device: a device on this machine. It checks in, connects, speaks, listens, and judges the reply as a device would.

Usage:
  voxlane-device [where] [what] [how]

Where (default --ota http://127.0.0.1:8003/xiaozhi/ota/):
  --ota URL            check in there, connect to the WebSocket it names
  --url WS_URL         connect there without checking in, as in ws://127.0.0.1:8000/xiaozhi/v1/
  --device-id MAC      default 02:00:00:00:00:01
  --client-id UUID     default: a random one
  --token TOKEN        default: what the check-in gave

What (several make several turns; default --say \"What time is it?\"):
  --say TEXT           speak it by espeak-ng (--lang picks the voice)
  --wav FILE           speak this recording (any rate, mono or stereo)
  --sample zh          speak the built-in recording of a Chinese sentence
  --type TEXT          type it instead of speaking
  --wake WORD          begin with a wake word and wait for the greeting

How:
  --mode auto|manual|realtime      who decides that you have finished; default auto
  --lang en|zh                     voice of --say, language told at check-in; default en
  --frame-ms 20|40|60              duration of uplink packets; default 60
  --framing 1|2|3                  binary framing; default 1
  --pcm                            PCM16 both ways instead of Opus
  --abort-after MS                 interrupt the reply after so much of it has been heard
  --timeout S                      longest wait for a reply; default 30
  --out FILE                       save what was heard as WAV; default reply.wav
  --play                           play it too, by aplay, paplay or ffplay
  --json                           print one JSON object instead of the timeline

Exit codes: 0 every turn was answered, 1 a turn was not, or the connection failed, 2 wrong options.
";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Speak(String),
    Recording(PathBuf),
    Sample,
    Type(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Auto,
    Manual,
    Realtime,
}

impl Mode {
    pub fn word(self) -> &'static str {
        match self {
            Mode::Auto => "auto",
            Mode::Manual => "manual",
            Mode::Realtime => "realtime",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub ota: Option<String>,
    pub url: Option<String>,
    pub device_id: String,
    pub client_id: Option<String>,
    pub token: Option<String>,
    pub turns: Vec<Said>,
    pub wake: Option<String>,
    pub mode: Mode,
    pub lang: String,
    pub frame_ms: u32,
    pub framing: u8,
    pub pcm: bool,
    pub abort_after_ms: Option<u64>,
    pub timeout_s: u64,
    pub out: PathBuf,
    pub play: bool,
    pub json: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ota: None,
            url: None,
            device_id: "02:00:00:00:00:01".to_owned(),
            client_id: None,
            token: None,
            turns: Vec::new(),
            wake: None,
            mode: Mode::Auto,
            lang: "en".to_owned(),
            frame_ms: 60,
            framing: 1,
            pcm: false,
            abort_after_ms: None,
            timeout_s: 30,
            out: PathBuf::from("reply.wav"),
            play: false,
            json: false,
        }
    }
}

/// `None` asks for the help.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, String> {
    use lexopt::Arg::{Long, Short};
    let mut o = Options::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        let Long(name) = argument else {
            if matches!(argument, Short('h')) {
                return Ok(None);
            }
            return Err(argument.unexpected().to_string());
        };
        let name = name.to_owned();
        match name.as_str() {
            "help" => return Ok(None),
            "pcm" => o.pcm = true,
            "play" => o.play = true,
            "json" => o.json = true,
            _ => {
                let value = parser.value().map_err(|e| e.to_string())?;
                let value = value.into_string().map_err(|_| format!("--{name} wants text"))?;
                set(&mut o, &name, value)?;
            }
        }
    }
    if o.turns.is_empty() && o.wake.is_none() {
        o.turns.push(Said::Speak("What time is it?".to_owned()));
    }
    if o.ota.is_some() && o.url.is_some() {
        return Err("--ota and --url exclude each other".to_owned());
    }
    Ok(Some(o))
}

fn set(o: &mut Options, name: &str, value: String) -> Result<(), String> {
    match name {
        "ota" => o.ota = Some(value),
        "url" => o.url = Some(value),
        "device-id" => o.device_id = value,
        "client-id" => o.client_id = Some(value),
        "token" => o.token = Some(value),
        "say" => o.turns.push(Said::Speak(value)),
        "wav" => o.turns.push(Said::Recording(value.into())),
        "sample" if value == "zh" => o.turns.push(Said::Sample),
        "sample" => return Err(format!("the only sample is zh, not {value}")),
        "type" => o.turns.push(Said::Type(value)),
        "wake" => o.wake = Some(value),
        "mode" => {
            o.mode = match value.as_str() {
                "auto" => Mode::Auto,
                "manual" => Mode::Manual,
                "realtime" => Mode::Realtime,
                _ => return Err(format!("--mode is auto, manual or realtime, not {value}")),
            }
        }
        "lang" if ["en", "zh"].contains(&value.as_str()) => o.lang = value,
        "lang" => return Err(format!("--lang is en or zh, not {value}")),
        "frame-ms" => o.frame_ms = number(name, &value, &[20, 40, 60])? as u32,
        "framing" => o.framing = number(name, &value, &[1, 2, 3])? as u8,
        "abort-after" => o.abort_after_ms = Some(number(name, &value, &[])?),
        "timeout" => o.timeout_s = number(name, &value, &[])?,
        "out" => o.out = value.into(),
        _ => return Err(format!("unknown option --{name}; see --help")),
    }
    Ok(())
}

fn number(name: &str, value: &str, allowed: &[u64]) -> Result<u64, String> {
    match value.parse() {
        Ok(n) if allowed.is_empty() || allowed.contains(&n) => Ok(n),
        _ if allowed.is_empty() => Err(format!("--{name} wants a number, not {value}")),
        _ => Err(format!("--{name} is one of {allowed:?}, not {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Options>, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn several_things_said_are_several_turns() {
        let o = read("--say hi --sample zh --type there --mode manual --framing 3").unwrap().unwrap();
        assert_eq!(o.turns, [Said::Speak("hi".into()), Said::Sample, Said::Type("there".into())]);
        assert_eq!((o.mode, o.framing), (Mode::Manual, 3));
    }

    #[test]
    fn wrong_options_are_refused() {
        assert!(read("--mode loud").unwrap_err().contains("realtime"));
        assert!(read("--framing 4").unwrap_err().contains("[1, 2, 3]"));
        assert!(read("--ota a --url b").is_err());
        assert!(read("--sya hi").unwrap_err().contains("--sya"));
        assert_eq!(read("--help"), Ok(None));
    }
}
