//! A script: a TOML file that says how the stand-ins behave, over the profile it begins with. Checked as the server checks its
//! configuration: every mistake at once, each with file, line, column and what was probably meant.

use crate::profile::{Fault, Faults, Manner, Profile};
use std::path::Path;
use toml::de::DeTable;
use voxlane::config::Mistakes;
use voxlane::config::mistake::{Mistake, Place};
use voxlane::config::reader::{Environment, Reader};

/// Reads the file at `path` over `base`.
///
/// # Errors
/// All mistakes in it, or that it cannot be read.
pub fn load(path: &Path, base: &Profile) -> Result<Profile, Box<Mistakes>> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text, base),
        Err(error) => {
            let what = format!("cannot read the script: {error}");
            let help = Some("without --script a profile alone decides: --profile R1, R2 or R3".to_owned());
            Err(Box::new(Mistakes {
                file: None,
                list: vec![Mistake { place: Place::Path(path.to_owned()), what, help }],
            }))
        }
    }
}

/// Like [`load`], of a text that has been read; `path` is for messages.
///
/// # Errors
/// All mistakes in it.
pub fn parse(path: &Path, text: &str, base: &Profile) -> Result<Profile, Box<Mistakes>> {
    let mistakes = |list| Box::new(Mistakes { file: Some((path.to_owned(), text.to_owned())), list });
    let table = DeTable::parse(text).map_err(|error| {
        let place = Place::File(error.span().unwrap_or(0..0));
        mistakes(vec![Mistake { place, what: error.message().to_owned(), help: None }])
    })?;
    let environment = Environment::new();
    let mut reader = Reader::new(Some(table.get_ref()), &environment);
    let profile = read(&mut reader, base);
    reader.finish().map_err(mistakes)?;
    Ok(profile)
}

fn read(r: &mut Reader<'_>, base: &Profile) -> Profile {
    let manners = [read_manner(r, "asr", &base.manners[0]), read_manner(r, "llm", &base.manners[1]), {
        read_manner(r, "tts", &base.manners[2])
    }];
    let whole = |r: &mut Reader<'_>, section, key, base: u32, range, meaning| {
        r.number(section, key, u64::from(base), range, meaning) as u32
    };
    Profile {
        manners,
        tokens_s: r.decimal("llm", "tokens_s", base.tokens_s, 0.0..=10_000.0, "Tokens per second; 0: all at once."),
        event_tokens: whole(r, "llm", "event_tokens", base.event_tokens, 1..=100, "Tokens in an event."),
        speed: r.decimal("tts", "speed", base.speed, 0.0..=1_000.0, "Times real time; 0: all at once."),
        chars_s: r.decimal("tts", "chars_s", base.chars_s, 1.0..=100.0, "Characters spoken in a second."),
        speech_ms: whole(r, "reply", "speech_ms", base.speech_ms, 500..=120_000, "Speech in a reply."),
        sentences: whole(r, "reply", "sentences", base.sentences, 1..=50, "Sentences in a reply."),
        hang_s: r.decimal("faults", "hang_s", base.hang_s, 0.1..=3_600.0, "How long one hangs or stalls."),
        drip_ms: r.decimal("faults", "drip_ms", base.drip_ms, 1.0..=60_000.0, "Time between drips."),
    }
}

fn read_manner(r: &mut Reader<'_>, section: &'static str, base: &Manner) -> Manner {
    let delay_ms = r.decimal(section, "delay_ms", base.delay_ms, 0.0..=60_000.0, "Median time to the first byte.");
    let sigma = r.decimal(section, "sigma", base.sigma, 0.0..=3.0, "Spread of it, log-normal; 0: none.");
    let mut chance =
        |fault: Fault, meaning| r.decimal(section, fault.name(), base.faults.of(fault), 0.0..=1.0, meaning);
    let faults = Faults {
        error: chance(Fault::Error, "Part of requests that get a status of 5xx."),
        hang: chance(Fault::Hang, "Part that gets no answer."),
        stall: chance(Fault::Stall, "Part whose answer stops in the middle."),
        drip: chance(Fault::Drip, "Part whose answer comes a few bytes at a time."),
        malformed: chance(Fault::Malformed, "Part whose answer is none."),
        cut: chance(Fault::Cut, "Part whose connection is closed in the middle."),
    };
    if faults.sum() > 1.0 + 1e-9 {
        let last = Fault::ALL.into_iter().rev().find(|&fault| faults.of(fault) > base.faults.of(fault));
        let key = last.map_or("error", Fault::name);
        let what = format!("the faults of [{section}] come to {:.3} of all requests", faults.sum());
        r.refuse(section, key, what, Some("their sum must be at most 1".to_owned()));
    }
    Manner { delay_ms, sigma, faults }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Profile, String> {
        parse(Path::new("bad day.toml"), text, &Profile::R2).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn what_is_not_written_is_as_in_the_profile() {
        assert_eq!(read("").unwrap(), Profile::R2);
        let all = "[asr]\ndelay_ms = 50\nhang = 0.5\n[llm]\ntokens_s = 20.5\n[tts]\nspeed = 1\n[reply]\nsentences = 1\n\
                   [faults]\nhang_s = 2\n";
        let profile = read(all).unwrap();
        assert_eq!((profile.manners[0].delay_ms, profile.manners[0].faults.hang), (50.0, 0.5));
        assert_eq!((profile.tokens_s, profile.speed, profile.sentences, profile.hang_s), (20.5, 1.0, 1, 2.0));
        assert_eq!(profile.manners[1], Profile::R2.manners[1]);
    }

    #[test]
    fn a_mistake_is_shown_where_it_is_with_what_was_meant() {
        let shown = read("[llm]\ntoken_s = 20\n[tts]\nerror = 1.5\n").unwrap_err();
        for part in ["bad day.toml:2:1: unknown key `token_s` in [llm]", "did you mean `tokens_s`?", "4:9: 1.5 is out"]
        {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
        let shown = read("[lllm]\n").unwrap_err();
        assert!(shown.contains(":1:2: unknown section `lllm`") && shown.contains("[llm]"), "{shown}");
        assert!(read("[llm\n").unwrap_err().contains("bad day.toml:1:"));
        let shown = read("[asr]\nhang = 0.5\ncut = 0.6\n").unwrap_err();
        assert!(shown.contains("bad day.toml:3:7: the faults of [asr] come to 1.100"), "{shown}");
    }

    #[test]
    fn a_file_that_is_not_there_is_said_so() {
        let shown = load(Path::new("/nowhere/x.toml"), &Profile::R1).unwrap_err().to_string();
        assert!(shown.contains("/nowhere/x.toml: cannot read the script"), "{shown}");
    }
}
