//! How every verb's command line is read: which options it knows, what a value must be, and what was probably meant by one that
//! it does not know. A mistake is one line that names the option.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use voxlane::config::mistake::nearest;
use voxlane_load::engine::{TICK_US_MAX, Trust};
use voxlane_load::slo::Slo;

/// The options of a verb.
pub struct Options {
    verb: &'static str,
    valued: Vec<String>,
    bare: Vec<String>,
    takes_operands: bool,
}

/// A part of a command line.
pub enum Word {
    /// An option that takes no value, without its dashes.
    Bare(String),
    /// An option and its value.
    Valued(String, Value),
    /// What is no option, such as a file.
    Operand(OsString),
}

/// What was written after an option.
pub struct Value {
    option: String,
    raw: OsString,
}

impl Options {
    /// Of a verb: those that take a value, and those that take none; names without dashes. `--help` and `-h` are always there.
    pub fn new<'a>(
        verb: &'static str,
        valued: impl IntoIterator<Item = &'a str>,
        bare: impl IntoIterator<Item = &'a str>,
    ) -> Options {
        let owned = |name: &str| name.to_owned();
        let (valued, bare) = (valued.into_iter().map(owned).collect(), bare.into_iter().map(owned).collect());
        Options { verb, valued, bare, takes_operands: false }
    }

    /// It takes words that are no options as well.
    pub fn and_operands(self) -> Options {
        Options { takes_operands: true, ..self }
    }

    /// Gives each part of the command line to `take`, in order. `false`: help was asked for, and the rest was not read.
    pub fn read(
        &self,
        arguments: impl IntoIterator<Item = OsString>,
        mut take: impl FnMut(Word) -> Result<(), String>,
    ) -> Result<bool, String> {
        use lexopt::Arg::{Long, Short, Value as Operand};
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
            let name = match argument {
                Short('h') | Long("help") => return Ok(false),
                Long(name) => name.to_owned(),
                Operand(word) if self.takes_operands => {
                    take(Word::Operand(word))?;
                    continue;
                }
                other => return Err(format!("{}{}", other.unexpected(), self.see_help())),
            };
            if self.bare.contains(&name) {
                take(Word::Bare(name))?;
            } else if self.valued.contains(&name) {
                let raw = parser.value().map_err(|_| format!("--{name} wants a value{}", self.see_help()))?;
                take(Word::Valued(name.clone(), Value { option: name, raw }))?;
            } else {
                return Err(self.unknown(&name));
            }
        }
        Ok(true)
    }

    fn unknown(&self, name: &str) -> String {
        let near = nearest(name, self.valued.iter().chain(&self.bare).map(String::as_str));
        let hint = near.map_or(String::new(), |near| format!("; did you mean --{near}?"));
        format!("there is no option --{name}{hint}{}", self.see_help())
    }

    fn see_help(&self) -> String {
        format!("; see voxlane-load {} --help", self.verb)
    }
}

impl Value {
    /// As words.
    pub fn text(self) -> Result<String, String> {
        self.raw.into_string().map_err(|raw| format!("--{}: {} is not UTF-8", self.option, raw.to_string_lossy()))
    }

    /// As the name of a file, a folder or a program.
    pub fn path(self) -> PathBuf {
        self.raw.into()
    }

    /// As it is written, to be given to another.
    pub fn raw(self) -> OsString {
        self.raw
    }

    /// A number within bounds.
    pub fn number(self, bounds: RangeInclusive<u32>) -> Result<u32, String> {
        let (option, text) = (self.option.clone(), self.text()?);
        let number = text.parse().ok().filter(|n| bounds.contains(n));
        let (least, most) = bounds.into_inner();
        let wanted = match (least, most) {
            (0, u32::MAX) => "a number".to_owned(),
            (1, u32::MAX) => "a number above 0".to_owned(),
            _ => format!("a number from {least} to {most}"),
        };
        number.ok_or_else(|| format!("--{option} wants {wanted}, not {text}"))
    }

    /// A number above 0.
    pub fn count(self) -> Result<u32, String> {
        self.number(1..=u32::MAX)
    }

    /// A promise; a mistake is shown at its column.
    pub fn promise(self) -> Result<Slo, String> {
        Slo::parse(&self.text()?).map_err(|fault| fault.to_string())
    }

    /// The address in the URL of a statistics page.
    pub fn statistics(self) -> Result<SocketAddr, String> {
        let (option, url) = (self.option.clone(), self.text()?);
        let host = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).split('/').next().unwrap_or("");
        host.parse().map_err(|_| format!("--{option} wants http://ADDRESS:PORT/stats.json, not {url}"))
    }

    /// How often a fleet looks at what came, µs.
    pub fn tick(self) -> Result<u32, String> {
        let (option, text) = (self.option.clone(), self.text()?);
        text.parse().ok().filter(|us| *us <= TICK_US_MAX).ok_or_else(|| {
            format!("--{option} wants a number from 0 (woken by each arrival) to {TICK_US_MAX}, not {text}")
        })
    }
}

/// What was said of trust so far, and now.
pub fn believe(before: &mut Trust, now: Trust) -> Result<(), String> {
    match std::mem::replace(before, now) {
        Trust::Public => Ok(()),
        _ => Err("--ca FILE or --insecure: one of them, once".to_owned()),
    }
}

/// Asserts that a verb takes each option that it lists: none is refused as unknown by the one who handles it.
#[cfg(test)]
pub fn check_all_are_taken<'a>(
    listed: impl IntoIterator<Item = &'a str>,
    read: impl Fn(Vec<OsString>) -> Option<String>,
) {
    for name in listed {
        let mistake = read(vec![format!("--{name}").into(), "1".into()]).unwrap_or_default();
        assert!(!mistake.contains("no option"), "--{name}: {mistake}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(bool, Vec<String>), String> {
        let mut seen = Vec::new();
        let options = Options::new("x", ["rounds", "json"], ["smoke"]);
        let options = if line.starts_with("file") { options.and_operands() } else { options };
        let went_on = options.read(line.split(' ').map(OsString::from), |word| {
            seen.push(match word {
                Word::Bare(name) => name,
                Word::Valued(name, value) => format!("{name} {}", value.text()?),
                Word::Operand(word) => format!("<{}>", word.display()),
            });
            Ok(())
        })?;
        Ok((went_on, seen))
    }

    #[test]
    fn options_values_and_operands_are_told_apart() {
        let seen = |list: &[&str]| Ok((true, list.iter().map(|s| (*s).to_owned()).collect()));
        assert_eq!(read("--rounds 3 --smoke --json=-"), seen(&["rounds 3", "smoke", "json -"]));
        assert_eq!(read("file --smoke"), seen(&["<file>", "smoke"]));
        for help in ["--help", "-h"] {
            assert_eq!(read(&format!("--smoke {help} --nonsense")), Ok((false, vec!["smoke".to_owned()])));
        }
    }

    #[test]
    fn what_is_not_known_is_told_with_what_was_meant() {
        let wrong = |line| read(line).unwrap_err();
        assert_eq!(wrong("--round 3"), "there is no option --round; did you mean --rounds?; see voxlane-load x --help");
        assert_eq!(wrong("--zebra"), "there is no option --zebra; see voxlane-load x --help");
        assert_eq!(wrong("--rounds"), "--rounds wants a value; see voxlane-load x --help");
        assert!(wrong("word").contains("word") && wrong("-q").contains("-q") && wrong("--smoke=1").contains("--smoke"));
    }

    #[test]
    fn values_are_what_they_must_be() {
        let value = |text: &str| Value { option: "o".into(), raw: text.into() };
        assert_eq!(value("7").number(0..=9), Ok(7));
        assert_eq!(value("10").number(0..=9), Err("--o wants a number from 0 to 9, not 10".into()));
        assert_eq!(value("0").count(), Err("--o wants a number above 0, not 0".into()));
        assert_eq!(value("x").number(0..=u32::MAX), Err("--o wants a number, not x".into()));
        assert_eq!(value("http://127.0.0.1:8009/stats.json").statistics().map(|a| a.port()), Ok(8_009));
        assert!(value("nowhere").statistics().unwrap_err().contains("http://ADDRESS:PORT/stats.json, not nowhere"));
        assert!(value("1001").tick().unwrap_err().contains("from 0 (woken by each arrival) to 1000, not 1001"));
        assert!(value("erors=0").promise().unwrap_err().contains("did you mean errors?"));
        let mut trust = Trust::Public;
        assert!(believe(&mut trust, Trust::Anybody).is_ok() && believe(&mut trust, Trust::Anybody).is_err());
    }
}
