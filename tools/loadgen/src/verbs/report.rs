//! `report`: from the JSON of runs to something to look at.

use super::options::Word;
use crate::End;
use std::ffi::OsString;
use std::path::PathBuf;
use voxlane_load::outcome::Outcome;
use voxlane_load::report;
use voxlane_load::slo::Slo;

const HELP: &str = "\
voxlane-load report: charts and tables from the JSON that --json of a run wrote. One file that needs nothing else.

Usage:
  voxlane-load report RUN.json [OTHER.json] [options]

Options:
  --out FILE       where the page goes; default report.html
  --svg DIR        write the charts as single SVG files into this folder instead
  --slo PROMISE    mark what broke it, as in \"first_audio.p95<800ms,errors=0\"; a broken one is exit code 3

Examples:
  voxlane-load report run.json --out run.html
  voxlane-load report before.json after.json
  voxlane-load report run.json --svg docs/charts
";

#[derive(Debug, Default, PartialEq)]
struct Options {
    files: Vec<PathBuf>,
    out: Option<PathBuf>,
    svg: Option<PathBuf>,
    slo: Option<Slo>,
}

/// Runs the verb.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> End {
    let options = match parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return End::Well;
        }
        Err(why) => return End::Misuse(why),
    };
    let mut runs = Vec::new();
    for file in &options.files {
        match Outcome::load(file) {
            Ok(run) => runs.push(run),
            Err(why) => return End::Misuse(why),
        }
    }
    if let Err(why) = write(&options, &runs) {
        return End::Failed(why);
    }
    let kept = options.slo.as_ref().is_none_or(|slo| runs.iter().all(|run| run.judge(slo).is_kept()));
    if kept { End::Well } else { End::Broken }
}

fn write(options: &Options, runs: &[Outcome]) -> Result<(), String> {
    if let Some(folder) = &options.svg {
        let files = report::write_pictures(runs, folder)?;
        println!("{} charts in {}", files.len(), folder.display());
        return Ok(());
    }
    let out = options.out.clone().unwrap_or_else(|| "report.html".into());
    let html = report::html(runs, options.slo.as_ref())?;
    std::fs::write(&out, &html).map_err(|e| format!("{}: {e}", out.display()))?;
    println!("{} ({} KiB)", out.display(), html.len().div_ceil(1_024));
    Ok(())
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut o = Options::default();
    let options = super::options::Options::new("report", ["out", "svg", "slo"], []).and_operands();
    let is_help = !options.read(arguments, |word| {
        match word {
            Word::Operand(file) => o.files.push(file.into()),
            Word::Valued(name, value) if name == "out" => o.out = Some(value.path()),
            Word::Valued(name, value) if name == "svg" => o.svg = Some(value.path()),
            Word::Valued(_, value) => o.slo = Some(value.promise()?),
            Word::Bare(_) => {}
        }
        Ok(())
    })?;
    if is_help {
        return Ok(None);
    }
    match o.files.len() {
        1 | 2 => Ok(Some(o)),
        0 => Err("report needs the JSON of a run; see voxlane-load report --help".to_owned()),
        n => Err(format!("report shows one run or two side by side, not {n}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Options>, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_are_read() {
        let o = read("a.json b.json --svg charts --slo errors=0").unwrap().unwrap();
        assert_eq!(o.files, [PathBuf::from("a.json"), "b.json".into()]);
        assert_eq!((o.svg, o.slo.unwrap().to_string().as_str()), (Some("charts".into()), "errors=0"));
        assert_eq!(read("--help"), Ok(None));
    }

    #[test]
    fn mistakes_are_told() {
        assert!(read("").unwrap_err().contains("needs the JSON"));
        assert!(read("a b c").unwrap_err().contains("not 3"));
        assert!(read("a --slo erors=0").unwrap_err().contains("did you mean errors?"));
        assert!(read("a --sv x").unwrap_err().contains("no option --sv; did you mean --svg?"));
    }
}
