//! Speech that was said before: whole sentences as packets, so that the same words in the same voice are synthesised and encoded
//! once. A greeting, "Done.", the answer that everybody asks for: said again they cost no service, no money and no encoder.
//!
//! Shared by the workers of speech synthesis. The lock is held to look a sentence up or put one in, never while it is played. In
//! memory only; the least recently said makes room.

use crate::audio::phrase::EncodedSpeech;
use crate::format::{Lang, ReplyFormat};
use crate::job::Speak;
use crate::limits;
use crate::metrics::registry::{Probe, Registry};
use crate::providers::Fingerprint;
use lru::LruCache;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The shelf.
#[derive(Debug)]
pub struct Shelf {
    inner: Mutex<Inner>,
    bytes_max: usize,
    tally: Tally,
}

#[derive(Debug)]
struct Inner {
    speech: LruCache<Key, Kept>,
    bytes: usize,
}

/// All that a sentence's packets depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    voice: Fingerprint,
    text: Box<str>,
    language: Lang,
    format: ReplyFormat,
}

impl Key {
    /// Of a sentence in that voice.
    pub fn new(voice: Fingerprint, what: &Speak) -> Key {
        Key { voice, text: what.text.as_str().into(), language: what.language, format: what.format }
    }
}

#[derive(Clone, Debug)]
struct Kept {
    speech: Arc<EncodedSpeech>,
    /// Encoded with light effort, under load: said again at ease it is made anew.
    is_light: bool,
}

#[derive(Debug, Default)]
struct Tally {
    hits: AtomicU64,
    misses: AtomicU64,
    stored: AtomicU64,
    evicted: AtomicU64,
    too_long: AtomicU64,
}

impl Shelf {
    /// An empty one for so many bytes; `None` for none.
    pub fn new(bytes_max: usize) -> Option<Arc<Shelf>> {
        let inner = Mutex::new(Inner { speech: LruCache::unbounded(), bytes: 0 });
        (bytes_max > 0).then(|| Arc::new(Shelf { inner, bytes_max, tally: Tally::default() }))
    }

    /// The sentence, if it was said; one of light effort only if `takes_light`. Counts.
    pub fn find(&self, key: &Key, takes_light: bool) -> Option<Arc<EncodedSpeech>> {
        let kept = self.inner.lock().speech.get(key).cloned();
        let speech = kept.filter(|kept| takes_light || !kept.is_light).map(|kept| kept.speech);
        let counter = if speech.is_some() { &self.tally.hits } else { &self.tally.misses };
        counter.fetch_add(1, Relaxed);
        speech
    }

    /// The first of these sentences that was said, whatever its effort, when nobody can say one. Counts only if there is one.
    pub fn find_any(&self, mut keys: impl Iterator<Item = Key>) -> Option<Arc<EncodedSpeech>> {
        let mut inner = self.inner.lock();
        let speech = keys.find_map(|key| inner.speech.get(&key).map(|kept| kept.speech.clone()));
        self.tally.hits.fetch_add(u64::from(speech.is_some()), Relaxed);
        speech
    }

    /// Keeps a sentence that was said to its end. One longer than [`limits::SPEECH_KEPT_BYTES`] is not worth what it would push
    /// out; one of light effort never takes the place of a better one.
    pub fn keep(&self, key: Key, speech: EncodedSpeech, is_light: bool) {
        let bytes = weight(&key, &speech);
        if speech.bytes.len() > limits::SPEECH_KEPT_BYTES || bytes > self.bytes_max {
            self.tally.too_long.fetch_add(1, Relaxed);
            return;
        }
        let mut inner = self.inner.lock();
        if is_light && inner.speech.peek(&key).is_some_and(|kept| !kept.is_light) {
            return;
        }
        self.tally.stored.fetch_add(1, Relaxed);
        inner.bytes += bytes;
        let kept = Kept { speech: Arc::new(speech), is_light };
        if let Some((key, before)) = inner.speech.push(key, kept) {
            inner.bytes -= weight(&key, &before.speech);
        }
        while inner.bytes > self.bytes_max
            && let Some((key, oldest)) = inner.speech.pop_lru()
        {
            inner.bytes -= weight(&key, &oldest.speech);
            self.tally.evicted.fetch_add(1, Relaxed);
        }
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Shows it among the metrics.
    pub fn watch(self: &Arc<Shelf>, registry: &Registry) {
        type Value = fn(&Shelf) -> u64;
        const EVENTS: [(&str, Value); 5] = [
            (r#"event="hit""#, |shelf| shelf.tally.hits.load(Relaxed)),
            (r#"event="miss""#, |shelf| shelf.tally.misses.load(Relaxed)),
            (r#"event="stored""#, |shelf| shelf.tally.stored.load(Relaxed)),
            (r#"event="evicted""#, |shelf| shelf.tally.evicted.load(Relaxed)),
            (r#"event="too_long""#, |shelf| shelf.tally.too_long.load(Relaxed)),
        ];
        for (labels, value) in EVENTS {
            let shelf = self.clone();
            registry.watch(Probe {
                name: "voxlane_speech_kept_total",
                labels: labels.into(),
                help: "Sentences by what the shelf of kept speech did for them.",
                value: Box::new(move || value(&shelf)),
            });
        }
        const GAUGES: [(&str, &str, Value); 2] = [
            ("voxlane_speech_kept_bytes", "Bytes of kept speech.", |shelf| shelf.bytes() as u64),
            ("voxlane_speech_kept_sentences", "Sentences of kept speech.", |shelf| {
                shelf.inner.lock().speech.len() as u64
            }),
        ];
        for (name, help, value) in GAUGES {
            let shelf = self.clone();
            registry.watch(Probe { name, labels: "".into(), help, value: Box::new(move || value(&shelf)) });
        }
    }
}

/// What a sentence takes, with its share of the table.
fn weight(key: &Key, speech: &EncodedSpeech) -> usize {
    /// Key, value and place in the list and table.
    const PLACE: usize = 256;
    speech.bytes.len() + size_of_val(&*speech.ends) + key.text.len() + PLACE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::phrase::SpeechBuilder;
    use crate::time::Instant;

    fn key(voice: &str, text: &str) -> Key {
        let (language, format) = (Lang::EN, ReplyFormat::DEFAULT);
        let what = Speak { sentence: 3, text: text.into(), language, format, first_byte_by: Instant::ZERO };
        Key::new(Fingerprint::new(&[voice]), &what)
    }

    fn speech(bytes: usize) -> EncodedSpeech {
        let mut speech = SpeechBuilder::new(ReplyFormat::DEFAULT);
        speech.push(&vec![7; bytes]);
        speech.build()
    }

    fn has(shelf: &Shelf, text: &str) -> bool {
        shelf.inner.lock().speech.contains(&key("a", text))
    }

    #[test]
    fn the_least_recently_said_makes_room() {
        // Three of 1,000 bytes and their places fit.
        let shelf = Shelf::new(3 * (1_000 + 4 + 256 + 1)).unwrap();
        for text in ["1", "2", "3"] {
            shelf.keep(key("a", text), speech(1_000), false);
        }
        assert!(shelf.find(&key("a", "1"), false).is_some());
        shelf.keep(key("a", "4"), speech(1_000), false);
        assert_eq!(["1", "2", "3", "4"].map(|text| has(&shelf, text)), [true, false, true, true]);
        assert_eq!(shelf.bytes(), shelf.bytes_max);
        // One that needs the room of two.
        shelf.keep(key("a", "5"), speech(2_000), false);
        assert_eq!(["1", "3", "4", "5"].map(|text| has(&shelf, text)), [false, false, true, true]);
        assert!(shelf.bytes() <= shelf.bytes_max);
        assert_eq!(shelf.tally.evicted.load(Relaxed), 3);
    }

    #[test]
    fn what_is_too_long_is_not_kept_and_pushes_nothing_out() {
        let shelf = Shelf::new(limits::SPEECH_KEPT_BYTES * 2).unwrap();
        shelf.keep(key("a", "short"), speech(10), false);
        shelf.keep(key("a", "long"), speech(limits::SPEECH_KEPT_BYTES + 1), false);
        assert_eq!((has(&shelf, "short"), has(&shelf, "long")), (true, false));
        let small = Shelf::new(1_000).unwrap();
        small.keep(key("a", "long"), speech(1_000), false);
        assert_eq!((small.bytes(), small.tally.too_long.load(Relaxed)), (0, 1));
        assert!(Shelf::new(0).is_none());
    }

    #[test]
    fn a_key_is_all_that_the_packets_depend_on() {
        let shelf = Shelf::new(100_000).unwrap();
        shelf.keep(key("a", "Hello."), speech(10), false);
        let base = key("a", "Hello.");
        let others = [
            key("b", "Hello."),
            key("a", "Hello!"),
            Key { language: Lang::ZH, ..base.clone() },
            Key { format: ReplyFormat { rate: 16_000, ..ReplyFormat::DEFAULT }, ..base.clone() },
        ];
        assert!(others.iter().all(|other| shelf.find(other, true).is_none()));
        assert!(shelf.find(&base, false).is_some());
        assert_eq!((shelf.tally.hits.load(Relaxed), shelf.tally.misses.load(Relaxed)), (1, 4));
        let any = |keys: &[&Key]| shelf.find_any(keys.iter().map(|&key| key.clone())).is_some();
        assert!(any(&[&others[0], &base]) && !any(&[&others[0]]));
    }

    #[test]
    fn light_effort_is_made_anew_at_ease_and_never_replaces_better() {
        let (shelf, hello) = (Shelf::new(100_000).unwrap(), key("a", "Hello."));
        shelf.keep(hello.clone(), speech(10), true);
        assert!(shelf.find(&hello, false).is_none());
        assert_eq!(shelf.find(&hello, true).map(|speech| speech.bytes.len()), Some(10));
        shelf.keep(hello.clone(), speech(20), false);
        shelf.keep(hello.clone(), speech(30), true);
        assert_eq!(shelf.find(&hello, false).map(|speech| speech.bytes.len()), Some(20));
        assert_eq!(shelf.bytes(), weight(&hello, &speech(20)));
    }
}
