//! Our own few sentences, encoded once: greeting, wake reply, farewell, apology, busy. A turn whose synthesis fails still has
//! something to say, and a greeting starts at once.

use crate::format::{Codec, Lang, ReplyFormat};
use std::sync::{Arc, OnceLock};

/// Which sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phrase {
    /// After a wake word.
    WakeReply,
    /// Before we close.
    Farewell,
    /// A service failed.
    Apology,
    /// No room for the turn.
    Busy,
}

impl Phrase {
    /// All of them.
    pub const ALL: [Phrase; 4] = [Phrase::WakeReply, Phrase::Farewell, Phrase::Apology, Phrase::Busy];
}

/// A sentence as packets, ready to send.
#[derive(Debug, PartialEq, Eq)]
pub struct EncodedSpeech {
    /// The encoding.
    pub format: ReplyFormat,
    /// All packets' bytes, one after another.
    pub bytes: Box<[u8]>,
    /// Where each packet ends in `bytes`.
    pub ends: Box<[u32]>,
}

impl EncodedSpeech {
    /// Packet number `i`.
    pub fn packet(&self, i: usize) -> Option<&[u8]> {
        let end = *self.ends.get(i)? as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        self.bytes.get(start..end)
    }

    /// How many packets.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// The sentences of a process, in both languages, text from the configuration and audio when it is ready. Shared; each place
/// is filled once, read without a lock.
#[derive(Debug, Default)]
pub struct Phrasebook {
    entries: [[Entry; 2]; 4],
}

#[derive(Debug, Default)]
struct Entry {
    text: String,
    opus: OnceLock<Arc<EncodedSpeech>>,
    pcm: OnceLock<Arc<EncodedSpeech>>,
}

impl Phrasebook {
    /// A book with the texts that `text` gives for each phrase and each of English and Chinese; no audio yet.
    pub fn new(text: impl Fn(Phrase, Lang) -> String) -> Phrasebook {
        let mut book = Phrasebook::default();
        for phrase in Phrase::ALL {
            for (i, lang) in [Lang::EN, Lang::ZH].into_iter().enumerate() {
                book.entries[phrase as usize][i].text = text(phrase, lang);
            }
        }
        book
    }

    /// The words.
    pub fn text(&self, phrase: Phrase, lang: Lang) -> &str {
        &self.entry(phrase, lang).text
    }

    /// The audio, if it is ready in this format.
    pub fn audio(&self, phrase: Phrase, lang: Lang, format: ReplyFormat) -> Option<&Arc<EncodedSpeech>> {
        self.place(phrase, lang, format).get().filter(|speech| speech.format == format)
    }

    /// Fills a place; the first filling stays.
    pub fn fill(&self, phrase: Phrase, lang: Lang, speech: EncodedSpeech) {
        let _ = self.place(phrase, lang, speech.format).set(Arc::new(speech));
    }

    fn place(&self, phrase: Phrase, lang: Lang, format: ReplyFormat) -> &OnceLock<Arc<EncodedSpeech>> {
        let entry = self.entry(phrase, lang);
        match format.codec {
            Codec::Opus => &entry.opus,
            Codec::Pcm => &entry.pcm,
        }
    }

    fn entry(&self, phrase: Phrase, lang: Lang) -> &Entry {
        &self.entries[phrase as usize][usize::from(lang.phrase_language() == Lang::ZH)]
    }
}
