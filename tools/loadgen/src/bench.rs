//! The report of `tools/bench-all`: from a folder of measurements to the tables and charts of BENCHMARKS.md.
//!
//! ```text
//!   FOLDER/machine.tsv            what it was measured on: name, value
//!   FOLDER/steps.tsv              what was done: name, result, seconds, when, command, reason
//!   FOLDER/STEP.json, STEP.log    what each step wrote
//! ```
//!
//! A step that failed is said in its table, with the reason; the others stand. Nothing here measures, and nothing is made up
//! for what is not there.

mod pictures;
mod tables;

use crate::outcome::Outcome;
use crate::report::Picture;
use serde_json::Value;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Everything between these two lines of BENCHMARKS.md is written by the tool, and everything else by people.
pub const BEGIN: &str = "<!-- bench-all: begin. Written by tools/bench-all: changes are lost. -->";
/// See [`BEGIN`].
pub const END: &str = "<!-- bench-all: end -->";
/// Most of a log that is looked at, bytes.
const LOG_MAX: u64 = 1 << 20;

/// A folder of measurements.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    machine: Vec<(String, String)>,
    steps: Vec<Step>,
    troubles: RefCell<Vec<String>>,
}

/// One step, as it was done last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// `capacity-passed`.
    pub name: String,
    /// `ok`, `broken` (measured, but not what was promised), `failed` or `skipped`.
    pub result: String,
    /// How long it took.
    pub seconds: String,
    /// When it began.
    pub when: String,
    /// What a person types to do it again.
    pub command: String,
    /// Why the result is what it is; empty where all is well.
    pub reason: String,
}

/// What was made of a folder.
#[derive(Debug)]
pub struct Report {
    /// Tables, for between the marks.
    pub markdown: String,
    /// Charts, to stand in one folder.
    pub pictures: Vec<Picture>,
    /// Files that could not be read, a line each.
    pub troubles: Vec<String>,
}

impl Folder {
    /// Reads the lists; the steps' own files are read when they are shown.
    pub fn open(path: &Path) -> Result<Folder, String> {
        let rows = |name: &str, columns: usize| -> Result<Vec<Vec<String>>, String> {
            let file = path.join(name);
            let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            let row = |(i, line): (usize, &str)| {
                let cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
                let n = cells.len();
                let wrong = || format!("{}:{}: {n} columns where {columns} belong", file.display(), i + 1);
                (n == columns).then_some(cells).ok_or_else(wrong)
            };
            text.lines().enumerate().map(row).collect()
        };
        let machine = rows("machine.tsv", 2)?.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
        let mut steps: Vec<Step> = Vec::new();
        for row in rows("steps.tsv", 6)? {
            let [name, result, seconds, when, command, reason] = <[String; 6]>::try_from(row).expect("six columns");
            // Done again: the last time counts, in the place of the first.
            let step = Step { name, result, seconds, when, command, reason };
            match steps.iter_mut().find(|known| known.name == step.name) {
                Some(known) => *known = step,
                None => steps.push(step),
            }
        }
        Ok(Folder { path: path.to_owned(), machine, steps, troubles: RefCell::default() })
    }

    /// Tables and charts. `charts`: the folder of the charts, as seen from the page.
    pub fn report(&self, charts: &str) -> Result<Report, String> {
        let pictures = pictures::all(self)?;
        let mut markdown = String::new();
        for section in tables::all(self) {
            let _ = writeln!(markdown, "## {}\n\n{}", section.title, section.text.trim_end());
            for picture in pictures.iter().filter(|picture| section.pictures.contains(&picture.name.as_str())) {
                let _ = write!(markdown, "\n![{}]({charts}/{}.svg)\n", section.title, picture.name);
            }
            markdown.push('\n');
        }
        Ok(Report { markdown, pictures, troubles: self.troubles.take() })
    }

    /// What was done under that name.
    fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// A run that a step wrote; `None` when there is none, or not to be read, which is noted.
    fn outcome(&self, file: &str) -> Option<Outcome> {
        let path = self.file(file)?;
        Outcome::load(&path).map_err(|why| self.note(why)).ok()
    }

    /// Any other JSON.
    fn json(&self, file: &str) -> Option<Value> {
        let path = self.file(file)?;
        let text = std::fs::read_to_string(&path).map_err(|e| self.note(format!("{}: {e}", path.display()))).ok()?;
        let at = |e: serde_json::Error| {
            let what = e.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            self.note(format!("{}:{}:{}: {what}", path.display(), e.line(), e.column()));
        };
        serde_json::from_str(&text).map_err(at).ok()
    }

    /// Lines that a step printed; of a failed one, nothing is to be shown.
    fn log(&self, step: &str) -> Option<String> {
        self.step(step).filter(|step| step.result == "ok")?;
        let path = self.file(&format!("{step}.log"))?;
        if std::fs::metadata(&path).ok()?.len() > LOG_MAX {
            self.note(format!("{}: too long to show", path.display()));
            return None;
        }
        std::fs::read_to_string(path).ok()
    }

    /// The path of a file that is there and was not left by an earlier, better time of a step.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let path = self.path.join(name);
        path.is_file().then_some(path)
    }

    fn note(&self, trouble: String) {
        let mut troubles = self.troubles.borrow_mut();
        if !troubles.contains(&trouble) {
            troubles.push(trouble);
        }
    }
}

/// The page with what is between its marks replaced.
pub fn spliced(page: &str, between: &str) -> Result<String, String> {
    let once = |mark: &str| match page.match_indices(mark).map(|(at, _)| at).collect::<Vec<_>>()[..] {
        [at] => Ok(at),
        [] => Err(format!("the line {mark} is not there: the tables have no place")),
        _ => Err(format!("the line {mark} stands there more than once")),
    };
    let (begin, end) = (once(BEGIN)? + BEGIN.len(), once(END)?);
    if end < begin {
        return Err("its marks are in the wrong order".to_owned());
    }
    Ok(format!("{}\n\n{}\n\n{}", &page[..begin], between.trim(), &page[end..]))
}

#[cfg(test)]
mod tests;
