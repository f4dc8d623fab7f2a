//! Reads keys one by one: environment over file over default. Every key is named in exactly one call, with its default and its
//! meaning; from these calls come the list of known keys (for "did you mean"), the explanation that `voxlane check` prints,
//! and the test that the example file is complete.

use super::mistake::{Mistake, Place, nearest};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Variables of the environment, as far as they concern us.
pub type Environment = BTreeMap<String, String>;

/// Reads one configuration.
pub struct Reader<'a> {
    file: Option<&'a DeTable<'a>>,
    environment: &'a Environment,
    known: Vec<Known>,
    mistakes: Vec<Mistake>,
}

/// A key that was read.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its section.
    pub section: &'static str,
    /// Its name.
    pub key: &'static str,
    /// The value in force as it would stand in a file; a secret is masked.
    pub value: String,
    /// The default, likewise.
    pub default: String,
    /// Where the value comes from.
    pub origin: Origin,
    /// One line of meaning.
    pub meaning: &'static str,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Embedded.
    Default,
    /// The file, at these bytes.
    File(Range<usize>),
    /// The environment, in this variable.
    Variable(String),
}

/// A value as written.
#[derive(Clone, Debug)]
enum Raw {
    Text(String),
    Integer(String),
    Float(String),
    Flag(bool),
    List(Vec<String>),
    Other(&'static str),
}

impl<'a> Reader<'a> {
    /// A reader of a parsed file (or none) and the environment.
    pub fn new(file: Option<&'a DeTable<'a>>, environment: &'a Environment) -> Reader<'a> {
        Reader { file, environment, known: Vec::new(), mistakes: Vec::new() }
    }

    /// A text.
    pub fn text(&mut self, section: &'static str, key: &'static str, default: &str, meaning: &'static str) -> String {
        self.read(section, key, meaning, default.to_owned(), quoted, "a text", |raw| match raw {
            Raw::Text(text) => Ok(text.clone()),
            other => Err(Misread::type_of(other)),
        })
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: &'static str,
        options: &[(&'static str, T)],
        meaning: &'static str,
    ) -> T {
        let names: Vec<&str> = options.iter().map(|o| o.0).collect();
        let listed = names.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
        let word = self.read(section, key, meaning, default.to_owned(), quoted, &format!("one of {listed}"), |raw| {
            let Raw::Text(text) = raw else { return Err(Misread::type_of(raw)) };
            if names.contains(&text.as_str()) {
                return Ok(text.clone());
            }
            let help = match nearest(text, names.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"? Possible are {listed}"),
                None => format!("possible are {listed}"),
            };
            Err(Misread { what: format!("\"{text}\" is not a known value"), help: Some(help) })
        });
        options.iter().find(|o| o.0 == word).unwrap_or(&options[0]).1
    }

    /// A whole number within a range.
    pub fn number(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
        meaning: &'static str,
    ) -> u64 {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(section, key, meaning, default, display, &wanted, |raw| match raw {
            Raw::Integer(digits) => {
                let value = i128::from_str(&digits.replace('_', ""));
                value.ok().and_then(|v| u64::try_from(v).ok()).filter(|v| range.contains(v)).ok_or_else(|| Misread {
                    what: format!("{digits} is out of range"),
                    help: Some(format!("it must be {wanted}")),
                })
            }
            other => Err(Misread::type_of(other)),
        })
    }

    /// A number with a fraction within a range.
    pub fn decimal(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
        meaning: &'static str,
    ) -> f64 {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        self.read(
            section,
            key,
            meaning,
            default,
            |v| format!("{v:?}"),
            &wanted,
            |raw| match raw {
                Raw::Integer(digits) | Raw::Float(digits) => {
                    let value = f64::from_str(&digits.replace('_', ""));
                    value.ok().filter(|v| range.contains(v)).ok_or_else(|| Misread {
                        what: format!("{digits} is out of range"),
                        help: Some(format!("it must be {wanted}")),
                    })
                }
                other => Err(Misread::type_of(other)),
            },
        )
    }

    /// Yes or no.
    pub fn flag(&mut self, section: &'static str, key: &'static str, default: bool, meaning: &'static str) -> bool {
        self.read(section, key, meaning, default, display, "true or false", |raw| match raw {
            Raw::Flag(value) => Ok(*value),
            other => Err(Misread::type_of(other)),
        })
    }

    /// An address with a port.
    pub fn address(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: &str,
        meaning: &'static str,
    ) -> SocketAddr {
        let fallback = SocketAddr::from_str(default).expect("defaults are valid addresses");
        self.read(section, key, meaning, fallback, quoted, "an address and port like \"0.0.0.0:8000\"", |raw| {
            let Raw::Text(text) = raw else { return Err(Misread::type_of(raw)) };
            SocketAddr::from_str(text).map_err(|_| Misread {
                what: format!("\"{text}\" is not an address with a port"),
                help: Some("write an IP address and a port, as in \"0.0.0.0:8000\" or \"[::]:8000\"".to_owned()),
            })
        })
    }

    /// A list of texts.
    pub fn list(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: &[&str],
        meaning: &'static str,
    ) -> Vec<String> {
        let default: Vec<String> = default.iter().map(|s| s.to_string()).collect();
        let show = |list: &Vec<String>| format!("[{}]", list.iter().map(quoted).collect::<Vec<_>>().join(", "));
        self.read(section, key, meaning, default, show, "a list of texts", |raw| match raw {
            Raw::List(list) => Ok(list.clone()),
            other => Err(Misread::type_of(other)),
        })
    }

    /// A path; `~/` is the home folder. Empty when not given.
    pub fn path(&mut self, section: &'static str, key: &'static str, meaning: &'static str) -> Option<PathBuf> {
        let text = self.text(section, key, "", meaning);
        if text.is_empty() {
            return None;
        }
        match (text.strip_prefix("~/"), std::env::var_os("HOME")) {
            (Some(rest), Some(home)) => Some(PathBuf::from(home).join(rest)),
            _ => Some(PathBuf::from(text)),
        }
    }

    /// A secret, given directly under `key` or as the name of a file under `key_file`. Empty is none.
    pub fn secret(
        &mut self,
        section: &'static str,
        key: &'static str,
        file_key: &'static str,
        meaning: &'static str,
    ) -> Option<String> {
        let mask = |text: &String| if text.is_empty() { quoted(text) } else { "\"***\"".to_owned() };
        let direct = self.read(section, key, meaning, String::new(), mask, "a text", |raw| match raw {
            Raw::Text(text) => Ok(text.trim().to_owned()),
            other => Err(Misread::type_of(other)),
        });
        let file = self.path(section, file_key, "A file that holds it instead.");
        match (direct.is_empty(), file) {
            (true, None) => None,
            (false, None) => Some(direct),
            (false, Some(_)) => {
                self.refuse(
                    section,
                    file_key,
                    format!("{section}.{key} is given too"),
                    Some("keep one of the two".into()),
                );
                None
            }
            (true, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
                Ok(_) => {
                    self.refuse(section, file_key, format!("{} is empty", path.display()), None);
                    None
                }
                Err(error) => {
                    self.refuse(section, file_key, format!("cannot read {}: {error}", path.display()), None);
                    None
                }
            },
        }
    }

    /// Notes a mistake at a key that has been read: a value that is well-formed and yet impossible.
    pub fn refuse(&mut self, section: &'static str, key: &'static str, what: String, help: Option<String>) {
        let origin = self.known.iter().find(|k| k.section == section && k.key == key).map(|k| k.origin.clone());
        let place = match origin {
            Some(Origin::File(span)) => Place::File(span),
            Some(Origin::Variable(name)) => Place::Variable(name),
            _ => Place::Key(format!("{section}.{key}")),
        };
        self.mistakes.push(Mistake { place, what, help });
    }

    /// Whether a text key that has been read has this value.
    pub fn is_value(&self, section: &str, key: &str, value: &str) -> bool {
        self.known.iter().any(|k| k.section == section && k.key == key && k.value == quoted(&value))
    }

    /// Ends the reading: what nobody asked for is unknown. Returns all keys, or all mistakes.
    pub fn finish(mut self) -> Result<Vec<Known>, Vec<Mistake>> {
        self.find_unknown_in_file();
        self.find_unknown_in_environment();
        if self.mistakes.is_empty() {
            return Ok(self.known);
        }
        self.mistakes.sort_by_key(|m| match &m.place {
            Place::File(span) => span.start,
            _ => usize::MAX,
        });
        Err(self.mistakes)
    }

    #[allow(clippy::too_many_arguments)]
    fn read<T>(
        &mut self,
        section: &'static str,
        key: &'static str,
        meaning: &'static str,
        default: T,
        show: impl Fn(&T) -> String,
        wanted: &str,
        take: impl Fn(&Raw) -> Result<T, Misread>,
    ) -> T {
        let shown_default = show(&default);
        let (value, origin) = match self.find(section, key) {
            None => (default, Origin::Default),
            Some((candidates, origin)) => match first_ok(&candidates, take) {
                Ok(value) => (value, origin),
                Err(misread) => {
                    let place = match &origin {
                        Origin::File(span) => Place::File(span.clone()),
                        Origin::Variable(name) => Place::Variable(name.clone()),
                        Origin::Default => Place::Key(format!("{section}.{key}")),
                    };
                    let help = misread.help.or_else(|| Some(format!("{section}.{key} must be {wanted}")));
                    self.mistakes.push(Mistake { place, what: misread.what, help });
                    (default, origin)
                }
            },
        };
        let shown = show(&value);
        self.known.push(Known { section, key, value: shown, default: shown_default, origin, meaning });
        value
    }

    /// What was written for a key: from the environment every reading its text allows, from the file the one it has.
    fn find(&self, section: &str, key: &str) -> Option<(Vec<Raw>, Origin)> {
        let name = variable(section, key);
        if let Some(text) = self.environment.get(&name) {
            return Some((readings(text), Origin::Variable(name)));
        }
        let table = self.file?.iter().find(|(k, _)| k.get_ref().as_ref() == section)?.1.get_ref().as_table()?;
        let (_, value) = table.iter().find(|(k, _)| k.get_ref().as_ref() == key)?;
        Some((vec![raw(value)], Origin::File(value.span())))
    }

    fn find_unknown_in_file(&mut self) {
        let Some(file) = self.file else { return };
        for (name, value) in file {
            let section = name.get_ref().as_ref();
            let here = Place::File(name.span());
            if !self.known.iter().any(|k| k.section == section) {
                self.mistakes.push(self.unknown_top(section, here));
                continue;
            }
            let Some(table) = value.get_ref().as_table() else {
                let what = format!("`{section}` is a section, not a value");
                self.mistakes.push(Mistake {
                    place: here,
                    what,
                    help: Some(format!("write [{section}] on a line of its own")),
                });
                continue;
            };
            for (key, _) in table {
                let written = key.get_ref().as_ref();
                if !self.known.iter().any(|k| k.section == section && k.key == written) {
                    let what = format!("unknown key `{written}` in [{section}]");
                    let help = self.suggest_key(section, written);
                    self.mistakes.push(Mistake { place: Place::File(key.span()), what, help });
                }
            }
        }
    }

    fn unknown_top(&self, written: &str, place: Place) -> Mistake {
        let help = match nearest(written, self.known.iter().map(|k| k.section)) {
            Some(near) => Some(format!("did you mean [{near}]?")),
            None => self.homes_of(written).map(|homes| format!("the key `{written}` belongs into {homes}")),
        };
        let help = help.or_else(|| {
            let mut sections: Vec<_> = self.known.iter().map(|k| k.section).collect();
            sections.dedup();
            Some(format!("sections are {}", sections.join(", ")))
        });
        Mistake { place, what: format!("unknown section `{written}`"), help }
    }

    fn suggest_key(&self, section: &str, written: &str) -> Option<String> {
        let keys = || self.known.iter().filter(|k| k.section == section).map(|k| k.key);
        if let Some(near) = nearest(written, keys()) {
            return Some(format!("did you mean `{near}`?"));
        }
        if let Some(homes) = self.homes_of(written) {
            return Some(format!("`{written}` belongs into {homes}"));
        }
        Some(format!("keys of [{section}] are {}", keys().collect::<Vec<_>>().join(", ")))
    }

    fn homes_of(&self, key: &str) -> Option<String> {
        let homes: Vec<_> = self.known.iter().filter(|k| k.key == key).map(|k| format!("[{}]", k.section)).collect();
        (!homes.is_empty()).then(|| homes.join(" or "))
    }

    /// A variable that names one of our sections and no key of it is a mistake. Others that begin with VOXLANE_ are left
    /// alone: container systems set such names for a service called voxlane.
    fn find_unknown_in_environment(&mut self) {
        let names: Vec<String> = self.known.iter().map(|k| variable(k.section, k.key)).collect();
        for written in self.environment.keys() {
            let Some(rest) = written.strip_prefix("VOXLANE_") else { continue };
            let ours = self
                .known
                .iter()
                .any(|k| rest.strip_prefix(&k.section.to_uppercase()).is_some_and(|r| r.starts_with('_')));
            if !ours || names.contains(written) {
                continue;
            }
            let help = nearest(written, names.iter().map(String::as_str)).map(|near| format!("did you mean {near}?"));
            self.mistakes.push(Mistake {
                place: Place::Variable(written.clone()),
                what: "names no key of the configuration".to_owned(),
                help,
            });
        }
    }
}

/// The variable that overrides a key.
pub fn variable(section: &str, key: &str) -> String {
    format!("VOXLANE_{}_{}", section.to_uppercase(), key.to_uppercase())
}

struct Misread {
    what: String,
    help: Option<String>,
}

impl Misread {
    fn type_of(raw: &Raw) -> Misread {
        let found = match raw {
            Raw::Text(_) => "a text",
            Raw::Integer(_) => "a whole number",
            Raw::Float(_) => "a number with a fraction",
            Raw::Flag(_) => "true or false",
            Raw::List(_) => "a list of texts",
            Raw::Other(name) => name,
        };
        Misread { what: format!("this is {found}"), help: None }
    }
}

fn first_ok<T>(candidates: &[Raw], take: impl Fn(&Raw) -> Result<T, Misread>) -> Result<T, Misread> {
    let mut last = None;
    for candidate in candidates {
        match take(candidate) {
            Ok(value) => return Ok(value),
            Err(misread) => last = Some(last.unwrap_or(misread)),
        }
    }
    Err(last.unwrap_or(Misread { what: "nothing is written here".to_owned(), help: None }))
}

/// The environment has no types: a text may be a number, a flag or a list as well. The likeliest comes first, so that its
/// message is the one shown.
fn readings(text: &str) -> Vec<Raw> {
    let mut all = Vec::new();
    if i128::from_str(text).is_ok() {
        all.push(Raw::Integer(text.to_owned()));
    } else if f64::from_str(text).is_ok() {
        all.push(Raw::Float(text.to_owned()));
    }
    if let Ok(flag) = bool::from_str(text) {
        all.push(Raw::Flag(flag));
    }
    all.push(Raw::Text(text.to_owned()));
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    all.push(Raw::List(items.map(str::to_owned).collect()));
    all
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Raw::Integer(number.as_str().to_owned()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(parsed) => Raw::Integer(parsed.to_string()),
            Err(_) => Raw::Other("a number too large"),
        },
        DeValue::Float(number) => Raw::Float(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Raw::Flag(*flag),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|i| i.get_ref().as_str().map(str::to_owned)).collect();
            texts.map_or(Raw::Other("a list of other things than texts"), Raw::List)
        }
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a section"),
    }
}

fn quoted(value: &impl Display) -> String {
    format!("{:?}", value.to_string())
}

fn display(value: &impl Display) -> String {
    value.to_string()
}
