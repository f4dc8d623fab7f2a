//! Flags of the command line that stand for keys of a scenario. They travel to the reader of the file as its environment, so that
//! they are checked by the same rules; a mistake is shown under the flag's own name.

use std::fmt::Write;
use voxlane::config::Environment;
use voxlane::config::mistake::{Mistake, Place, nearest};
use voxlane::config::reader::variable;

/// A flag and the key it overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// Section and key.
    pub key: (&'static str, &'static str),
    /// What its value is, for the help; empty for one that takes none and means `true`.
    pub value: &'static str,
    /// One line of meaning.
    pub meaning: &'static str,
}

/// All of them.
pub const FLAGS: &[Flag] = &[
    flag("devices", ("devices", "count"), "N", "devices at most at a time (100)"),
    flag("arrival", ("devices", "arrival"), "ramp|storm|herd", "how they arrive (ramp)"),
    flag("ramp", ("devices", "ramp_s"), "S", "ramp: from the first to the last arrival (10)"),
    flag("herd", ("devices", "herd_s"), "S", "herd: from one arrival of all to the next (30)"),
    flag(
        "stay",
        ("devices", "stay_s"),
        "S",
        "an idle device hangs up after this and comes back 1 s later; 0 = stays (0)",
    ),
    flag("seed", ("devices", "seed"), "N", "the same seed makes the same run (1)"),
    flag("duration", ("run", "duration_s"), "S", "from the first arrival to the end (60)"),
    flag("warmup", ("run", "warmup_s"), "S", "what happens earlier is not counted (0)"),
    flag("pause", ("talk", "pause_s"), "S", "from the end of a reply to the next utterance (0.9)"),
    flag("turns", ("talk", "turns"), "N", "turns of a device, 0 = as many as fit (0)"),
    flag("mode", ("talk", "mode"), "auto|manual|realtime", "who decides that an utterance is over (auto)"),
    flag("framing", ("device", "framing"), "1|2|3", "binary framing (1)"),
    flag("codec", ("device", "codec"), "opus|pcm", "what goes over the wire (opus)"),
    flag("checkin", ("device", "checkin"), "", "check in by OTA first, as after a boot"),
    flag("talk", ("mix", "talk"), "WEIGHT", "behaviour: talks, listens, pauses (1 if no weight is given)"),
    flag("idle", ("mix", "idle"), "WEIGHT", "behaviour: says hello and then nothing"),
    flag("abort", ("mix", "abort"), "WEIGHT", "behaviour: interrupts each reply by abort"),
    flag("barge-in", ("mix", "barge_in"), "WEIGHT", "behaviour: interrupts each reply by speaking"),
    flag("reconnect", ("mix", "reconnect"), "WEIGHT", "behaviour: says goodbye after each turn, comes back"),
    flag("vanish", ("mix", "vanish"), "WEIGHT", "behaviour: cuts the line within a reply, comes back"),
    flag("slow-reader", ("mix", "slow_reader"), "WEIGHT", "behaviour: reads at a tenth of the speed"),
    flag("deaf", ("mix", "deaf"), "WEIGHT", "behaviour: talks and never reads"),
    flag("rude", ("mix", "rude"), "WEIGHT", "behaviour: sends garbage"),
];

const fn flag(
    name: &'static str,
    key: (&'static str, &'static str),
    value: &'static str,
    meaning: &'static str,
) -> Flag {
    Flag { name, key, value, meaning }
}

/// What the reader finds.
pub(super) fn environment(flags: &[(String, String)]) -> Result<Environment, Mistake> {
    let mut environment = Environment::new();
    for (name, value) in flags {
        let Some(flag) = FLAGS.iter().find(|f| f.name == name) else {
            let help = nearest(name, FLAGS.iter().map(|f| f.name)).map(|near| format!("did you mean --{near}?"));
            return Err(Mistake { place: Place::Key(format!("--{name}")), what: "no such flag".to_owned(), help });
        };
        environment.insert(variable(flag.key.0, flag.key.1), value.clone());
    }
    Ok(environment)
}

/// Gives a mistake in a travelling flag the name that the person wrote.
pub(super) fn rename(mistake: &mut Mistake) {
    let Place::Variable(written) = &mistake.place else { return };
    let flag = FLAGS.iter().find(|f| variable(f.key.0, f.key.1) == *written);
    if let Some(flag) = flag {
        mistake.place = Place::Key(format!("--{}", flag.name));
    }
}

/// The flags, a line each, for the help.
pub fn flags_help() -> String {
    let mut text = String::new();
    for flag in FLAGS {
        let written = format!("--{} {}", flag.name, flag.value);
        let _ = writeln!(text, "  {written:<28} {}", flag.meaning);
    }
    text
}
