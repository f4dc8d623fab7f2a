//! The configuration of the server that a search starts: everything but the providers, which are the stand-ins, as anybody would
//! have it. Written as a file, so that the person can take it and repeat the run by hand.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use voxlane::config::Environment;
use voxlane::config::mistake::nearest;
use voxlane::config::reader::variable;

/// What the server is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The stand-ins for recogniser, language model and voice.
    pub providers: SocketAddr,
    /// How the voice delivers.
    pub tts: Tts,
    /// Threads that own devices.
    pub shards: usize,
    /// `auto` or 0 to 10.
    pub complexity: String,
    /// Open connections at most.
    pub connections: u32,
}

/// How replies come from the voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tts {
    /// As samples, which the server encodes.
    Pcm,
    /// As Opus packets, which the server passes through.
    Opus,
}

impl Tts {
    /// What is sent to recognition: where the reply is passed through, so is the utterance.
    fn upload(self) -> &'static str {
        match self {
            Tts::Pcm => "wav",
            Tts::Opus => "opus",
        }
    }

    /// As on the command line and in the server's configuration.
    pub fn word(self) -> &'static str {
        match self {
            Tts::Pcm => "pcm",
            Tts::Opus => "opus",
        }
    }
}

impl Settings {
    /// The text of the file.
    pub fn toml(&self) -> String {
        let Settings { providers, shards, connections, .. } = self;
        let service = format!("provider = \"openai\"\nbase_url = \"http://{providers}/v1\"\nmodel = \"stand-in\"\n");
        let complexity = match self.complexity.parse::<u8>() {
            Ok(number) => format!("\"{number}\""),
            Err(_) => format!("{:?}", self.complexity),
        };
        format!(
            "[listen]\ndevice = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             [shards]\ncount = {shards}\n\
             [session]\nidle_s = 0\ngreeting = false\n\
             [asr]\n{service}language = \"en\"\nupload = \"{}\"\n\
             [llm]\n{service}\
             [tts]\n{service}format = \"{}\"\nrate = 24000\nopus_complexity = {complexity}\ncache_mb = 0\n\
             [limits]\nconnections = {connections}\nconnections_per_address = 0\ndrain_s = 1\n\
             [log]\nlevel = \"warn\"\n",
            self.tts.upload(),
            self.tts.word()
        )
    }

    /// The same for a file of the person's own: variables that override what must be ours, and leave the rest as written.
    pub fn variables(&self) -> Vec<(String, String)> {
        let mut list: Vec<(String, String)> = Vec::new();
        let mut set = |section: &str, key: &str, value: &str| list.push((variable(section, key), value.to_owned()));
        for key in ["device", "http", "admin"] {
            set("listen", key, "127.0.0.1:0");
        }
        for section in ["asr", "llm", "tts"] {
            set(section, "provider", "openai");
            set(section, "base_url", &format!("http://{}/v1", self.providers));
            set(section, "model", "stand-in");
        }
        // Every reply is made: sentences that all devices hear alike would else be kept ones.
        set("tts", "cache_mb", "0");
        set("session", "idle_s", "0");
        set("limits", "connections", &self.connections.to_string());
        set("limits", "drain_s", "1");
        list
    }
}

/// `section.key=value`, as written on the command line, as the variable that the server reads.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').and_then(|(name, value)| Some((name.trim().split_once('.')?, value.trim())));
    match parts {
        Some(((section, key), value)) if !section.is_empty() && !key.is_empty() => {
            known_section(section)?;
            Ok((variable(section, key), value.to_owned()))
        }
        _ => Err(format!("--set wants section.key=value, as in vad.silence_ms=350, not {text}")),
    }
}

/// Keys that are wrong are told by the server, which may be of another version; a section that it does not have is no variable of
/// its, and would be passed over in silence.
fn known_section(section: &str) -> Result<(), String> {
    let loaded = voxlane::config::parse(None, &Environment::new()).map_err(|e| e.to_string())?;
    let sections: BTreeSet<&str> = loaded.keys.iter().map(|known| known.section).collect();
    if sections.contains(section) {
        return Ok(());
    }
    let near =
        nearest(section, sections.iter().copied()).map_or(String::new(), |near| format!("; did you mean {near}?"));
    let all: Vec<&str> = sections.into_iter().collect();
    Err(format!("--set {section}.…: the configuration has no section {section}{near} It has {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use voxlane::config::{Environment, parse};

    #[test]
    fn the_server_takes_it() {
        let settings = Settings {
            providers: "127.0.0.1:4000".parse().unwrap(),
            tts: Tts::Pcm,
            shards: 2,
            complexity: "auto".into(),
            connections: 900,
        };
        for complexity in ["auto", "3"] {
            let text = Settings { complexity: complexity.into(), ..settings.clone() }.toml();
            let loaded =
                parse(Some(("v.toml".as_ref(), &text)), &Environment::new()).map_err(|e| e.to_string()).unwrap();
            assert_eq!((loaded.config.shards.count, loaded.config.limits.connections), (2, 900));
        }
        let variables: Environment = settings.variables().into_iter().collect();
        let own = "[listen]\ndevice = \"0.0.0.0:8000\"\n[vad]\nsilence_ms = 350\n";
        let loaded = parse(Some(("v.toml".as_ref(), own)), &variables).map_err(|e| e.to_string()).unwrap();
        assert_eq!((loaded.config.listen.device.port(), loaded.config.limits.connections), (0, 900));
    }

    #[test]
    fn an_assignment_becomes_a_variable() {
        let read = |text| assignment(text);
        assert_eq!(read("vad.silence_ms=350"), Ok(("VOXLANE_VAD_SILENCE_MS".into(), "350".into())));
        assert_eq!(read("llm.persona = a=b"), Ok(("VOXLANE_LLM_PERSONA".into(), "a=b".into())));
        // The server would pass over it in silence, and the search would be of something else than was asked for.
        assert!(assignment("vadd.silence_ms=350").unwrap_err().contains("no section vadd; did you mean vad?"));
        for wrong in ["silence_ms=350", "vad.silence_ms", ".x=1", "vad.=1"] {
            assert!(read(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
