//! `compare`: two servers or two configurations, in turns.

use super::find::{self, Options, set_up};
use super::interrupt::Interrupt;
use super::options::Word;
use crate::End;
use std::cell::RefCell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use voxlane_load::compare::{Comparison, order};
use voxlane_load::engine::{self, Glance, Live};
use voxlane_load::find::{Probe, Wish};
use voxlane_load::scenario::Scenario;
use voxlane_load::screen::Screen;
use voxlane_load::slo::Slo;
use voxlane_load::voices;

const HELP: &str = "\
voxlane-load compare: two servers or two configurations, in turns (A B, B A, ...), ratios with intervals.

Usage:
  voxlane-load compare --config-a FILE --config-b FILE [options]
  voxlane-load compare --a URL --b URL [--pid-a PID --pid-b PID] [options]
  voxlane-load compare --set-b tts.opus_complexity=0 [options]         the same configuration but for one key

  --a, --b URL               servers that run already; else each is started on --server-cores with stand-ins beside it
  --pid-a, --pid-b PID       their processes, for CPU and memory
  --config-a, --config-b F   configurations of the servers to start; none: the generated one
  --server-a, --server-b F   programs to start (voxlane beside this one)
  --set-a, --set-b S.K=V     a key of one configuration, again and again
  --devices N                conversations at a time (40)
  --rounds N                 rounds, each with A and B (5); three at least give an interval
  --json FILE                the table for programs
  and of find: --tts --profile --shards --complexity --set --server-cores --tick-us --ca --insecure --i-own-this-host
";

/// Runs the verb.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> End {
    let plan = match parse(arguments) {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            print!("{HELP}");
            return End::Well;
        }
        Err(why) => return End::Misuse(why),
    };
    let watched = [&plan.a, &plan.b].map(|side| super::can_begin(&[&plan.json], side.pid, side.stats));
    if let Some(why) = watched.into_iter().find_map(Result::err) {
        return End::Misuse(why);
    }
    match compare(&plan) {
        Ok((comparison, is_interrupted)) => {
            print!("{}", comparison.table());
            match plan.json.as_ref().map(|file| (file, std::fs::write(file, comparison.json(plan.devices).to_string())))
            {
                Some((file, Err(e))) => End::Failed(format!("{}: {e}", file.display())),
                _ if is_interrupted => End::Interrupted,
                _ => End::Well,
            }
        }
        Err(why) => End::Failed(why),
    }
}

#[derive(Debug)]
struct Pair {
    a: Options,
    b: Options,
    devices: u32,
    rounds: usize,
    json: Option<PathBuf>,
}

/// The rounds, and whether they were ended early.
fn compare(pair: &Pair) -> Result<(Comparison, bool), String> {
    let voices = voices::gather(voices::cache_folder().as_deref());
    let utterances = engine::utterances(&voices)?;
    let live = Arc::new(Live::default());
    let _interrupt = Interrupt::of(&live)?;
    let screen = RefCell::new(Screen::open(""));
    let look = |_: u32, glance: &Glance| {
        let mut screen = screen.borrow_mut();
        if screen.is_drawn() {
            screen.show(glance);
        }
    };
    let measure = |options: &Options| -> Result<Probe, String> {
        // A server of its own for every probe: nothing is left of the one before.
        let stage = set_up(options)?;
        let wish = Wish {
            subject: stage.subject.clone(),
            slo: Slo { conditions: Vec::new() },
            rules: options.rules,
            times: options.times,
            tick_us: options.tick_us,
            scenario: Scenario::default(),
            voices: &utterances,
            services: &|| None,
            live: &live,
            look: &look,
        };
        wish.probe(pair.devices)
    };
    let mut comparison = Comparison::default();
    for round in 0..pair.rounds {
        let (mut a, mut b) = (None, None);
        for is_b in order(round) {
            let (options, place, name) = if is_b { (&pair.b, &mut b, 'B') } else { (&pair.a, &mut a, 'A') };
            screen.borrow_mut().set_title(&format!("round {} of {}: {name}", round + 1, pair.rounds));
            let probe = measure(options)?;
            screen.borrow_mut().clear();
            if live.is_stopped() {
                // Of half a round nothing can be said; of those before it, it is.
                return Ok((comparison, true));
            }
            println!("round {} of {}: {name} {}", round + 1, pair.rounds, super::find::line(&probe));
            *place = Some(probe);
        }
        comparison.rounds.extend(a.zip(b));
    }
    Ok((comparison, false))
}

/// Its own options, and those of find: for both sides, or for one by its letter.
fn known() -> super::options::Options {
    let sided: Vec<String> = find::VALUED.iter().flat_map(|name| [format!("{name}-a"), format!("{name}-b")]).collect();
    let own = ["devices", "rounds", "a", "b"].into_iter();
    let valued = own.chain(find::VALUED).chain(sided.iter().map(String::as_str));
    super::options::Options::new("compare", valued, find::BARE)
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Pair>, String> {
    let (mut devices, mut rounds, mut json) = (40, 5, None);
    // What is for both, for A and for B; each read as the options of find.
    let (mut both, mut a, mut b): (Vec<OsString>, Vec<OsString>, Vec<OsString>) = Default::default();
    let is_help = !known().read(arguments, |word| {
        match word {
            Word::Bare(name) => both.push(format!("--{name}").into()),
            Word::Valued(name, value) => match name.as_str() {
                "devices" => devices = value.count()?,
                "rounds" => rounds = value.count()? as usize,
                "json" => json = Some(value.path()),
                "a" => a.extend(["--url".into(), value.raw()]),
                "b" => b.extend(["--url".into(), value.raw()]),
                _ => match (name.strip_suffix("-a"), name.strip_suffix("-b")) {
                    (Some(name), _) => a.extend([format!("--{name}").into(), value.raw()]),
                    (_, Some(name)) => b.extend([format!("--{name}").into(), value.raw()]),
                    _ => both.extend([format!("--{name}").into(), value.raw()]),
                },
            },
            Word::Operand(_) => {}
        }
        Ok(())
    })?;
    if is_help {
        return Ok(None);
    }
    if a == b {
        return Err("A and B are the same; see voxlane-load compare --help".to_owned());
    }
    let options = |own: &[OsString]| -> Result<Options, String> {
        let all = both.iter().chain(own).cloned();
        super::find::parse("compare", all)?.ok_or_else(|| "--help".to_owned())
    };
    let mut pair = Pair { a: options(&a)?, b: options(&b)?, devices, rounds, json };
    if pair.a.url.is_some() != pair.b.url.is_some() {
        return Err("give --a and --b, or neither".to_owned());
    }
    for side in [&mut pair.a, &mut pair.b] {
        side.rules.most = side.rules.most.max(devices);
    }
    Ok(Some(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Pair>, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_belong_to_one_side_or_to_both() {
        let pair =
            read("--config-a a.toml --config-b b.toml --tts opus --rounds 3 --devices 7 --json x").unwrap().unwrap();
        assert_eq!(pair.json, Some("x".into()));
        let configs = [&pair.a.config, &pair.b.config].map(|c| c.as_ref().unwrap().display().to_string());
        assert_eq!(configs, ["a.toml", "b.toml"]);
        assert_eq!((pair.rounds, pair.devices, pair.a.tts == pair.b.tts), (3, 7, true));
        let pair = read("--set-b vad.silence_ms=350").unwrap().unwrap();
        assert_eq!((pair.a.set.len(), pair.b.set.len()), (0, 1));
    }

    #[test]
    fn mistakes_are_told() {
        let wrong = |line| read(line).err().unwrap();
        assert!(wrong("--rounds 3").contains("are the same"));
        assert!(wrong("--a ws://127.0.0.1:1/").contains("give --a and --b"));
        assert!(wrong("--round 3").contains("did you mean --rounds?") && wrong("--set-c x").contains("--set-"));
        assert!(wrong("--set-b x").contains("section.key=value"));
        assert!(wrong("--rounds 0 --set-b a.b=1").contains("above 0"));
    }
}
