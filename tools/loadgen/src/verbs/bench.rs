//! `bench-report`: from the folder that `tools/bench-all` filled to BENCHMARKS.md and its charts.

use super::options::Word;
use crate::End;
use std::ffi::OsString;
use std::path::PathBuf;
use voxlane_load::bench::{BEGIN, END, Folder, spliced};

const HELP: &str = "\
voxlane-load bench-report: tables and charts of what tools/bench-all measured.

Usage:
  voxlane-load bench-report FOLDER [options]

Options:
  --into FILE      replace what stands there between the marks of bench-all; without it the tables are printed
  --charts DIR     where the charts go (SVG); without it there are none
  --seen-as PATH   that folder as seen from FILE (--charts itself)

Example:
  voxlane-load bench-report target/bench --into BENCHMARKS.md --charts benches/charts
";

#[derive(Debug, Default, PartialEq)]
struct Options {
    folder: PathBuf,
    into: Option<PathBuf>,
    charts: Option<PathBuf>,
    seen_as: Option<String>,
}

/// Runs the verb. What could not be read is told after the rest has been written.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> End {
    let options = match parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return End::Well;
        }
        Err(why) => return End::Misuse(why),
    };
    match write(&options) {
        Ok(troubles) if troubles.is_empty() => End::Well,
        Ok(troubles) => End::Failed(troubles.join("\nvoxlane-load: ")),
        Err(why) => End::Misuse(why),
    }
}

fn write(options: &Options) -> Result<Vec<String>, String> {
    let charts = options.charts.as_ref().map(|folder| folder.display().to_string());
    let seen_as = options.seen_as.clone().or(charts).unwrap_or_else(|| "charts".to_owned());
    let report = Folder::open(&options.folder)?.report(&seen_as)?;
    let named = |path: &PathBuf| {
        let path = path.clone();
        move |e: std::io::Error| format!("{}: {e}", path.display())
    };
    if let Some(folder) = &options.charts {
        std::fs::create_dir_all(folder).map_err(named(folder))?;
        for picture in &report.pictures {
            let file = folder.join(format!("{}.svg", picture.name));
            std::fs::write(&file, &picture.svg).map_err(named(&file))?;
        }
    }
    match &options.into {
        None => print!("{}", report.markdown),
        Some(file) => {
            let page = std::fs::read_to_string(file).map_err(named(file))?;
            let page = spliced(&page, &report.markdown).map_err(|why| format!("{}: {why}", file.display()))?;
            std::fs::write(file, page).map_err(named(file))?;
            println!("{}: the tables are written anew, {} charts", file.display(), report.pictures.len());
        }
    }
    Ok(report.troubles)
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, String> {
    let (mut o, mut folders) = (Options::default(), Vec::<PathBuf>::new());
    let options = super::options::Options::new("bench-report", ["into", "charts", "seen-as"], []).and_operands();
    let is_help = !options.read(arguments, |word| {
        match word {
            Word::Operand(folder) => folders.push(folder.into()),
            Word::Valued(name, value) if name == "into" => o.into = Some(value.path()),
            Word::Valued(name, value) if name == "charts" => o.charts = Some(value.path()),
            Word::Valued(_, value) => o.seen_as = Some(value.text()?),
            Word::Bare(_) => {}
        }
        Ok(())
    })?;
    if is_help {
        return Ok(None);
    }
    match <[PathBuf; 1]>::try_from(folders) {
        Ok([folder]) => Ok(Some(Options { folder, ..o })),
        Err(_) => Err(format!("bench-report needs one folder of tools/bench-all; the marks are {BEGIN} and {END}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Options>, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_are_read_and_mistakes_told() {
        let o = read("target/bench --into B.md --charts charts --seen-as c").unwrap().unwrap();
        assert_eq!((o.folder, o.into), ("target/bench".into(), Some("B.md".into())));
        assert_eq!((o.charts, o.seen_as.as_deref()), (Some("charts".into()), Some("c")));
        assert_eq!(read("--help"), Ok(None));
        assert!(read("").unwrap_err().contains("needs one folder"));
        assert!(read("a b").unwrap_err().contains("needs one folder"));
        assert!(read("a --int x").unwrap_err().contains("no option --int; did you mean --into?"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let why = write(&Options { folder: "/nowhere".into(), ..Options::default() }).unwrap_err();
        assert!(why.starts_with("/nowhere/machine.tsv: No such file"), "{why}");
    }
}
