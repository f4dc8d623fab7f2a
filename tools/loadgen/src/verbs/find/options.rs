//! What a search is asked for: the options of `find`, which `stage` and `compare` take as well.

use super::super::options::{self, Value, Word, believe};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use voxlane_load::engine::Trust;
use voxlane_load::find::ProbeTimes;
use voxlane_load::find::search::Rules;
use voxlane_load::find::settings::{Tts, assignment};
use voxlane_load::slo::Slo;

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    pub url: Option<String>,
    pub is_own: bool,
    pub trust: Trust,
    pub pid: Option<u32>,
    pub stats: Option<SocketAddr>,
    pub tts: Tts,
    pub profile: String,
    pub slo: Option<Slo>,
    pub shards: usize,
    pub complexity: String,
    pub set: Vec<(String, String)>,
    pub config: Option<PathBuf>,
    pub server: Option<PathBuf>,
    pub server_cores: Vec<usize>,
    pub rules: Rules,
    pub times: ProbeTimes,
    pub tick_us: u32,
    pub floor: Option<PathBuf>,
    pub json: Option<PathBuf>,
    pub run: Option<PathBuf>,
}

/// Options that take a value.
pub const VALUED: [&str; 20] = [
    "url",
    "ca",
    "pid",
    "stats",
    "tts",
    "profile",
    "slo",
    "shards",
    "complexity",
    "set",
    "config",
    "server",
    "server-cores",
    "first",
    "max",
    "tries",
    "tick-us",
    "floor",
    "json",
    "run",
];
/// Options that take none.
pub const BARE: [&str; 3] = ["i-own-this-host", "insecure", "smoke"];

/// `None` asks for the help. `verb`: whose mistakes they are; others take these options as well.
pub fn parse(verb: &'static str, arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut o = Options {
        url: None,
        is_own: false,
        trust: Trust::Public,
        pid: None,
        stats: None,
        tts: Tts::Pcm,
        profile: "R2".to_owned(),
        slo: None,
        shards: 1,
        complexity: "auto".to_owned(),
        set: Vec::new(),
        config: None,
        server: None,
        server_cores: vec![0],
        rules: Rules::default(),
        times: ProbeTimes::default(),
        tick_us: 0,
        floor: None,
        json: None,
        run: None,
    };
    let mut has_cores = false;
    let known = options::Options::new(verb, VALUED, BARE);
    let is_help = !known.read(arguments, |word| match word {
        Word::Bare(name) => mark(&mut o, &name),
        Word::Valued(name, value) => {
            has_cores |= name == "server-cores";
            set(&mut o, &name, value)
        }
        Word::Operand(_) => Ok(()),
    })?;
    if is_help {
        return Ok(None);
    }
    if !has_cores {
        o.server_cores = (0..o.shards).collect();
    }
    o.rules.first = o.rules.first.min(o.rules.most);
    Ok(Some(o))
}

fn mark(o: &mut Options, name: &str) -> Result<(), String> {
    match name {
        "i-own-this-host" => o.is_own = true,
        "insecure" => believe(&mut o.trust, Trust::Anybody)?,
        "smoke" => {
            o.rules = Rules { first: 2, most: 4, tries: 2, ..o.rules };
            o.times = ProbeTimes { ramp_ms: 500, hold_ms: 9_000 };
        }
        _ => return Err(format!("there is no option --{name}")),
    }
    Ok(())
}

fn set(o: &mut Options, name: &str, value: Value) -> Result<(), String> {
    match name {
        "url" => o.url = Some(value.text()?),
        "ca" => believe(&mut o.trust, Trust::Authorities(value.path()))?,
        "pid" => o.pid = Some(value.count()?),
        "stats" => o.stats = Some(value.statistics()?),
        "tts" => {
            o.tts = match value.text()?.as_str() {
                "pcm" => Tts::Pcm,
                "opus" => Tts::Opus,
                other => return Err(format!("--tts is pcm or opus, not {other}")),
            }
        }
        "profile" => match value.text()? {
            known if ["R1", "R2", "R3"].contains(&known.as_str()) => o.profile = known,
            other => return Err(format!("--profile is R1, R2 or R3, not {other}")),
        },
        "slo" => o.slo = Some(value.promise()?),
        "shards" => o.shards = value.count()? as usize,
        "complexity" => match value.text()? {
            effort if effort == "auto" || effort.parse::<u8>().is_ok_and(|n| n <= 10) => o.complexity = effort,
            other => return Err(format!("--complexity is auto or 0 to 10, not {other}")),
        },
        "set" => o.set.push(assignment(&value.text()?)?),
        "config" => o.config = Some(value.path()),
        "server" => o.server = Some(value.path()),
        "server-cores" => {
            let text = value.text()?;
            let cores: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
            o.server_cores = cores.map_err(|_| format!("--server-cores wants a list as in 0,1, not {text}"))?;
        }
        "first" => o.rules.first = value.count()?,
        "max" => o.rules.most = value.count()?,
        "tries" => o.rules.tries = value.count()?,
        "tick-us" => o.tick_us = value.tick()?,
        "floor" => o.floor = Some(value.path()),
        "json" => o.json = Some(value.path()),
        "run" => o.run = Some(value.path()),
        _ => return Err(format!("there is no option --{name}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::options::check_all_are_taken;
    use super::*;

    fn read(line: &str) -> Result<Option<Options>, String> {
        parse("find", line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_are_read() {
        let o = read("--tts opus --profile R1 --shards 2 --set vad.silence_ms=350 --max 30").unwrap().unwrap();
        assert_eq!((o.tts, o.profile.as_str(), o.server_cores.len()), (Tts::Opus, "R1", 2));
        assert_eq!((o.set[0].1.as_str(), o.rules.first), ("350", 30));
        assert!(read("--help").unwrap().is_none());
    }

    #[test]
    fn every_option_that_is_listed_is_taken() {
        check_all_are_taken(VALUED, |words| parse("find", words).err());
        check_all_are_taken(BARE, |words| parse("find", words.into_iter().take(1)).err());
    }

    #[test]
    fn mistakes_are_told() {
        let wrong = |line| read(line).err().unwrap();
        assert!(wrong("--tts mp3").contains("pcm or opus"));
        assert!(wrong("--profile R9").contains("R1, R2 or R3"));
        assert!(wrong("--sholo x").contains("no option --sholo"));
        assert!(wrong("--shard 2").contains("did you mean --shards?"));
        assert!(wrong("--first 0").contains("above 0"));
        assert!(wrong("--set silence=3").contains("section.key=value"));
    }
}
