//! A backup: one text that names a provider and what differs, `openai base_url=http://10.0.0.2:8080/v1 model=small`.
//!
//! Its words are read by the same calls as the section's own keys, so they have the same meanings, ranges and advice.

use super::mistake::{Mistake, Place};
use super::reader::{Environment, Reader, variable};

/// Backups of one stage: more have no time left in a turn.
const MOST: usize = 3;

/// Reads `backups` of a section: each text by `read`, then checked by `check`.
pub(super) fn read<T>(
    r: &mut Reader<'_>,
    section: &'static str,
    read: impl Fn(&mut Reader<'_>) -> T,
    check: impl Fn(&mut Reader<'_>, &T),
) -> Vec<T> {
    let meaning =
        "Who stands in when it fails, in order: a provider, then key=value for what differs from the defaults.";
    let texts = r.list(section, "backups", &[], meaning);
    if texts.len() > MOST {
        let help = format!("keep the best {MOST}: a turn has no time for more");
        r.refuse(section, "backups", format!("there are {} backups", texts.len()), Some(help));
    }
    let mut backups = Vec::new();
    for text in texts.iter().take(MOST) {
        let environment = match words(section, text) {
            Ok(environment) => environment,
            Err(help) => {
                r.refuse(section, "backups", format!("{text:?} is no backup"), Some(help));
                continue;
            }
        };
        let mut own = Reader::new(None, &environment);
        let backup = read(&mut own);
        check(&mut own, &backup);
        match own.finish() {
            Ok(_) => backups.push(backup),
            Err(mistakes) => mistakes.into_iter().for_each(|mistake| refuse(r, section, text, mistake)),
        }
    }
    backups
}

/// The words as variables of an environment of their own.
fn words(section: &str, text: &str) -> Result<Environment, String> {
    let mut environment = Environment::new();
    for (i, word) in text.split_whitespace().enumerate() {
        let (key, value) = match word.split_once('=') {
            None if i == 0 => ("provider", word),
            Some(("api_key", _)) => {
                return Err("a key in a list is not masked; put it into a file and give api_key_file=".to_owned());
            }
            Some((key, value)) if i > 0 && !key.is_empty() => (key, value),
            _ => {
                return Err(
                    "write a provider, then key=value, as in \"openai base_url=http://h:1/v1 model=m\"".to_owned()
                );
            }
        };
        if environment.insert(variable(section, key), value.to_owned()).is_some() {
            return Err(format!("{key} is given twice"));
        }
    }
    match environment.is_empty() {
        true => Err("it is empty".to_owned()),
        false => Ok(environment),
    }
}

/// A mistake in a backup, in the words of the list.
fn refuse(r: &mut Reader<'_>, section: &'static str, text: &str, mistake: Mistake) {
    let upper = variable(section, "");
    let lower = |text: &str| match text.split_once(&upper) {
        Some((before, rest)) => format!("{before}{section}.{}", rest.to_lowercase()),
        None => text.to_owned(),
    };
    let what = match mistake.what.as_str() {
        "names no key of the configuration" => "unknown key".to_owned(),
        what => what.to_owned(),
    };
    let place = match &mistake.place {
        Place::Variable(name) => name.strip_prefix(&upper).unwrap_or(name).to_lowercase(),
        Place::Key(name) => name.clone(),
        Place::File(_) | Place::Path(_) => String::new(),
    };
    r.refuse(section, "backups", format!("in {text:?}, {place}: {what}"), mistake.help.as_deref().map(lower));
}
