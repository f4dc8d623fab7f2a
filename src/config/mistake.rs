//! Mistakes in the configuration, shown where they are: file, line, column, the line itself, and what was probably meant.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// Everything that is wrong with one configuration. Nothing is started while there is one mistake.
#[derive(Debug, Default)]
pub struct Mistakes {
    /// The file and its text, when there was one.
    pub file: Option<(PathBuf, String)>,
    /// In the order of the file; those of the environment after them.
    pub list: Vec<Mistake>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What, in one sentence without a full stop.
    pub what: String,
    /// What to do: "did you mean …", a list of what is possible.
    pub help: Option<String>,
}

/// Where a mistake stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes of the file.
    File(Range<usize>),
    /// A variable of the environment.
    Variable(String),
    /// The file as a whole: missing, unreadable.
    Path(PathBuf),
    /// Values that do not fit together; the key that gave the second of them.
    Key(String),
}

impl Mistakes {
    /// Line and column, both from 1, columns in characters.
    pub fn line_column(text: &str, at: usize) -> (usize, usize) {
        let at = floor_char(text, at);
        let before = &text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before[before.rfind('\n').map_or(0, |i| i + 1)..].chars().count() + 1;
        (line, column)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.list.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            match (&mistake.place, &self.file) {
                (Place::File(span), Some((path, text))) => {
                    show_line(f, &path.display().to_string(), text, span, mistake)?
                }
                (Place::File(_), None) => writeln!(f, "configuration: {}", mistake.what)?,
                (Place::Variable(name), _) => writeln!(f, "environment variable {name}: {}", mistake.what)?,
                (Place::Path(path), _) => writeln!(f, "{}: {}", path.display(), mistake.what)?,
                (Place::Key(key), _) => writeln!(f, "{key}: {}", mistake.what)?,
            }
            if let Some(help) = &mistake.help {
                writeln!(f, "  = {help}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

fn show_line(f: &mut fmt::Formatter<'_>, path: &str, text: &str, span: &Range<usize>, m: &Mistake) -> fmt::Result {
    let (line, column) = Mistakes::line_column(text, span.start);
    writeln!(f, "{path}:{line}:{column}: {}", m.what)?;
    let shown = text.lines().nth(line - 1).unwrap_or("");
    let start = floor_char(text, span.start);
    let marked = text[start..floor_char(text, span.end.max(start))].lines().next().unwrap_or("").chars().count().max(1);
    let gutter = line.to_string().len();
    writeln!(f, "{:gutter$} |", "")?;
    writeln!(f, "{line} | {shown}")?;
    writeln!(f, "{:gutter$} | {:>pad$}{}", "", "", "^".repeat(marked), pad = column - 1)
}

fn floor_char(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The nearest of `options` to what was written, if it is near enough to be meant.
pub fn nearest<'a>(written: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    options
        .into_iter()
        .map(|option| (strsim::damerau_levenshtein(&lower, &option.to_lowercase()), option))
        .filter(|&(distance, option)| distance <= (option.chars().count().max(written.chars().count()) / 3).max(1))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, option)| option)
}
