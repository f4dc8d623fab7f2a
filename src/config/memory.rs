//! The keys of `[memory]`: what is remembered, how surely, for how long.

use super::reader::Reader;
use super::values::Memory;
use crate::memory::cleaning::Retention;
use crate::session::record::Durability;
use crate::time::Duration;

const DAY: u64 = 24 * 3_600;

impl Memory {
    pub(super) fn read(r: &mut Reader<'_>) -> Memory {
        let path = r.path("memory", "path", "Folder of what is remembered; empty = memory in state.dir.");
        let choices = [("none", Durability::None), ("interval", Durability::Interval), ("turn", Durability::Turn)];
        let promise = "none: nothing is remembered; interval: written once a second; turn: tts stop tells that the turn is on disk.";
        let durability = r.choice("memory", "durability", "turn", &choices, promise);
        let resume =
            "A device that was away for longer begins a new conversation, with a summary of the old one, minutes.";
        let resume_minutes = r.number("memory", "resume_minutes", 30, 0..=525_600, resume);
        let mut days =
            |key, default, meaning| Duration::from_secs(r.number("memory", key, default, 0..=36_500, meaning) * DAY);
        let retention = Retention {
            turns: days("turns_days", 90, "What was said, word for word, is kept for so many days; 0 = for ever."),
            summaries: days(
                "summaries_days",
                365,
                "Summaries of conversations are kept for so many days; 0 = for ever.",
            ),
            events: days("events_days", 30, "Everything else is kept for so many days; 0 = for ever."),
        };
        let key = r.secret(
            "memory",
            "key",
            "key_file",
            "Seals what is remembered; empty = readable by who can read the folder.",
        );
        if key.as_ref().is_some_and(|key| key.len() < 32) {
            let help = "make one as in: openssl rand -hex 32".to_owned();
            r.refuse("memory", "key", "a key has at least 32 characters".to_owned(), Some(help));
        }
        let (path, resume) = (path.unwrap_or_default(), Duration::from_secs(resume_minutes * 60));
        Memory { path, durability, resume, retention, key }
    }
}
