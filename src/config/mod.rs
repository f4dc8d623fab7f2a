//! File and environment to one checked [`Config`].
//!
//! TOML; every key is optional and has an embedded default; `VOXLANE_<SECTION>_<KEY>` overrides the file. All mistakes are
//! reported at once, each with file, line, column and what was probably meant, and nothing starts while there is one.
//! Neighbours: `server` turns a [`Config`] into the rules and providers of the rooms; no room imports this one.

mod alerts;
mod backup;
mod keys;
mod memory;
pub mod mistake;
pub mod reader;
mod values;

pub use mistake::Mistakes;
pub use reader::{Environment, Known, Origin};
pub use values::*;

use mistake::{Mistake, Place};
use reader::Reader;
use std::path::Path;
use toml::de::DeTable;

/// A configuration in force, and where each value of it comes from.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Every key in reading order, for the explanation.
    pub keys: Vec<Known>,
}

/// Reads the file (none: embedded defaults) and the environment.
pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Loaded, Box<Mistakes>> {
    let Some(path) = path else { return parse(None, environment) };
    match std::fs::read_to_string(path) {
        Ok(text) => parse(Some((path, &text)), environment),
        Err(error) => {
            let what = format!("cannot read the configuration: {error}");
            let help = (error.kind() == std::io::ErrorKind::NotFound).then(|| {
                "config/voxlane.toml is a commented example to copy; without --config the defaults are used".to_owned()
            });
            Err(Box::new(Mistakes {
                file: None,
                list: vec![Mistake { place: Place::Path(path.to_owned()), what, help }],
            }))
        }
    }
}

/// Like [`load`], of a text that has been read.
pub fn parse(file: Option<(&Path, &str)>, environment: &Environment) -> Result<Loaded, Box<Mistakes>> {
    let text = file.map_or("", |f| f.1);
    let mistakes = |list| Box::new(Mistakes { file: file.map(|(p, t)| (p.to_owned(), t.to_owned())), list });
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        mistakes(vec![Mistake { place: Place::File(span), what: error.message().to_owned(), help: None }])
    })?;
    let mut reader = Reader::new(Some(table.get_ref()), environment);
    let config = Config::read(&mut reader);
    let keys = reader.finish().map_err(mistakes)?;
    Ok(Loaded { config, keys })
}

/// The variables of this process that may concern us.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("VOXLANE_"))
        .collect()
}

#[cfg(test)]
mod tests;
