//! The log: one event is one line on stderr, or in files that are turned over (`store`), written by a thread of its own.
//!
//! A thread that logs never waits: where the writer cannot keep up, lines are lost and counted ([`Guard::dropped`]). What
//! outsiders say (device ids, transcripts) cannot forge a line or paint a terminal: every control character, and every mark that
//! turns the direction of text, leaves as an escape.

pub mod store;

use crate::limits::{LOG_LINE_BYTES, LOG_LINES};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How to log.
#[derive(Clone, Debug)]
pub struct Config {
    /// One JSON object a line instead of text for people.
    pub json: bool,
    /// Least level, or a filter in the syntax of `tracing`'s `EnvFilter`: `info`, `warn,voxlane::shard=debug`.
    pub level: String,
    /// Files instead of stderr.
    pub store: Option<store::Rules>,
}

/// Keeps the log's thread; what still waits is written when this is dropped (at most a second).
#[must_use = "the log ends when this is dropped"]
pub struct Guard {
    dropped: ErrorCounter,
    /// Lines that the store could not write.
    unwritten: Arc<AtomicU64>,
    _writer: WorkerGuard,
}

impl Guard {
    /// Lines lost so far, as a function to be kept where metrics are collected.
    pub fn dropped(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let (counter, unwritten) = (self.dropped.clone(), self.unwritten.clone());
        move || counter.dropped_lines() as u64 + unwritten.load(Relaxed)
    }
}

/// Starts the log of the process, once. `wish` is the value of `VOXLANE_LOG` and goes before the configured level.
///
/// # Errors
/// A sentence: the filter cannot be read, the file cannot be opened, or the process has a log already.
pub fn install(config: &Config, wish: Option<&str>) -> Result<Guard, String> {
    let filter = filter(config, wish)?;
    let mut unwritten = Arc::default();
    let (writer, guard) = match &config.store {
        None => writer(io::stderr()),
        Some(rules) => {
            let store = store::Store::open(rules.clone());
            let store = store.map_err(|error| format!("log.file = {:?}: {error}", rules.path))?;
            unwritten = store.lost();
            writer(store)
        }
    };
    let dropped = writer.error_counter();
    let subscriber = subscriber(config.json, filter, writer);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| "the log is already running".to_owned())?;
    Ok(Guard { dropped, unwritten, _writer: guard })
}

fn filter(config: &Config, wish: Option<&str>) -> Result<EnvFilter, String> {
    let wish = wish.map(str::trim).filter(|wish| !wish.is_empty());
    let (text, from) = wish.map_or((config.level.as_str(), "log.level"), |wish| (wish, "VOXLANE_LOG"));
    EnvFilter::builder().parse(text).map_err(|error| format!("{from} = {text:?}: {error}"))
}

fn writer(to: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(LOG_LINES).lossy(true).thread_name("log").finish(to)
}

fn subscriber<W>(json: bool, filter: EnvFilter, writer: W) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // No colours: a log that may hold others' words has no use for escape sequences.
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Lines { to: writer, json });
    match json {
        true => Box::new(lines.json().flatten_event(true).with_current_span(false).with_span_list(false).finish()),
        false => Box::new(lines.finish()),
    }
}

/// Makes writers that let one clean line through per event.
struct Lines<W> {
    to: W,
    json: bool,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Lines<W> {
    type Writer = Line<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { to: self.to.make_writer(), json: self.json }
    }
}

/// The writer of one event. The formatter hands an event over in one piece, with its line end.
struct Line<W> {
    to: W,
    json: bool,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        if is_clean(text) {
            self.to.write_all(event)?;
        } else {
            self.to.write_all(clean(&String::from_utf8_lossy(text), self.json).as_bytes())?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Nothing to escape, nothing to cut: most lines.
fn is_clean(text: &[u8]) -> bool {
    text.len() <= LOG_LINE_BYTES && text.iter().all(|byte| (0x20..0x7f).contains(byte))
}

/// One line: escapes what is not to be printed, cuts what is too long.
fn clean(text: &str, json: bool) -> String {
    let fits = (0..=text.len().min(LOG_LINE_BYTES)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let kept = &text[..fits];
    let is_cut = kept.len() < text.len();
    // A JSON object cut in the middle is none; its beginning goes as a string into one that says so.
    let whole =
        if is_cut && json { serde_json::json!({ "cut": text.len(), "begin": kept }).to_string() } else { kept.into() };
    let mut line = String::with_capacity(whole.len() + 16);
    for c in whole.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            // Four digits: valid inside a JSON string, where alone such a character can stand.
            c if is_unprintable(c) => line.push_str(&format!("\\u{:04x}", c as u32)),
            c => line.push(c),
        }
    }
    if is_cut && !json {
        line.push_str(&format!("… ({} bytes)", text.len()));
    }
    line.push('\n');
    line
}

/// Control characters, line and paragraph separators, and the marks that turn the direction of text (Unicode 9, UAX 9).
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the log writes while `say` runs.
    fn logged(json: bool, wish: Option<&str>, say: impl FnOnce()) -> String {
        let memory = Memory::default();
        let to = memory.clone();
        let config = Config { json, level: "info".into(), store: None };
        let subscriber = subscriber(json, filter(&config, wish).unwrap(), move || to.clone());
        tracing::subscriber::with_default(subscriber, say);
        String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
    }

    const NASTY: &str = "a\r\n2026-01-01 INFO forged\u{1b}[31mred\u{202e}evil\u{85}\u{2028}\u{7f}你好";

    #[test]
    fn nobody_can_forge_a_line() {
        for json in [false, true] {
            let text = logged(json, None, || {
                tracing::info!(device = NASTY, debug = ?NASTY, "heard {NASTY}");
                tracing::warn!(turn = 2, "next");
            });
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(text.trim_end_matches('\n').chars().all(|c| c == '\n' || !is_unprintable(c)), "{text}");
            assert!(text.contains("你好"), "what can be read stays readable");
        }
    }

    #[test]
    fn a_json_line_is_json_and_says_the_same() {
        let text = logged(true, None, || tracing::info!(device = NASTY, turn = 7, "heard"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["device"], &line["turn"], &line["message"]), (&NASTY.into(), &7.into(), &"heard".into()));
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn a_line_too_long_is_cut_at_a_character_and_stays_one_line() {
        let long = "語".repeat(LOG_LINE_BYTES);
        let text = logged(false, None, || tracing::info!(long, "x"));
        assert!(text.len() < LOG_LINE_BYTES + 100 && text.ends_with(" bytes)\n"), "{}", text.len());
        let text = logged(true, None, || tracing::info!(long, "x"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(line["cut"].as_u64().unwrap() > 3 * LOG_LINE_BYTES as u64);
        assert!(line["begin"].as_str().unwrap().contains("INFO"));
    }

    #[test]
    fn the_wish_goes_before_the_level_and_a_wrong_one_is_named() {
        let say = || {
            tracing::debug!("quiet");
            tracing::info!("loud");
        };
        assert_eq!(logged(false, None, say).lines().count(), 1);
        assert_eq!(logged(false, Some(" "), say).lines().count(), 1);
        assert_eq!(logged(false, Some("voxlane::log=debug"), say).lines().count(), 2);
        assert_eq!(logged(false, Some("error"), say), "");
        let config = Config { json: false, level: "info".into(), store: None };
        let wrong = filter(&config, Some("voxlane=loud")).unwrap_err();
        assert!(wrong.starts_with("VOXLANE_LOG = \"voxlane=loud\""), "{wrong}");
    }

    /// A sink that takes nothing until it is told to.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_writer_costs_lines_and_no_time() {
        let (go, wait) = std::sync::mpsc::channel();
        let (writer, guard) = writer(Stuck(wait));
        let log = Guard { dropped: writer.error_counter(), unwritten: Arc::default(), _writer: guard };
        let dropped = log.dropped();
        let subscriber = subscriber(false, EnvFilter::new("info"), writer);
        let many = 2 * LOG_LINES;
        tracing::subscriber::with_default(subscriber, || (0..many).for_each(|i| tracing::info!(i, "flood")));
        let lost = dropped();
        assert!(lost >= (many - LOG_LINES - 2) as u64, "{lost} of {many}");
        drop(go);
    }
}
