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

/// Collects packets to an [`EncodedSpeech`].
#[derive(Debug)]
pub struct SpeechBuilder {
    format: ReplyFormat,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl SpeechBuilder {
    /// An empty one.
    pub fn new(format: ReplyFormat) -> SpeechBuilder {
        SpeechBuilder { format, bytes: Vec::new(), ends: Vec::new() }
    }

    /// Adds a packet.
    pub fn push(&mut self, packet: &[u8]) {
        self.bytes.extend_from_slice(packet);
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// What was collected.
    pub fn build(self) -> EncodedSpeech {
        EncodedSpeech { format: self.format, bytes: self.bytes.into_boxed_slice(), ends: self.ends.into_boxed_slice() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in() {
        let mut builder = SpeechBuilder::new(ReplyFormat::DEFAULT);
        let packets: [&[u8]; 3] = [b"one", b"", b"three"];
        packets.iter().for_each(|p| builder.push(p));
        let speech = builder.build();
        assert_eq!((speech.len(), speech.is_empty()), (3, false));
        assert_eq!(
            (0..4).map(|i| speech.packet(i)).collect::<Vec<_>>(),
            [Some(packets[0]), Some(packets[1]), Some(packets[2]), None]
        );
    }

    #[test]
    fn a_phrase_is_found_in_its_language_and_format_only() {
        let book = Phrasebook::new(|phrase, lang| format!("{phrase:?} {lang:?}"));
        let lang = |tag| Lang::parse(tag).unwrap();
        assert!(book.text(Phrase::Busy, lang("fr")).starts_with("Busy"));
        assert_eq!(book.text(Phrase::Busy, lang("fr")), book.text(Phrase::Busy, Lang::EN));
        assert_ne!(book.text(Phrase::Busy, lang("zh-TW")), book.text(Phrase::Busy, Lang::EN));
        book.fill(Phrase::Busy, Lang::EN, SpeechBuilder::new(ReplyFormat::DEFAULT).build());
        assert!(book.audio(Phrase::Busy, lang("de"), ReplyFormat::DEFAULT).is_some());
        assert!(book.audio(Phrase::Busy, Lang::ZH, ReplyFormat::DEFAULT).is_none());
        let other = ReplyFormat { frame_ms: 20, ..ReplyFormat::DEFAULT };
        assert!(book.audio(Phrase::Busy, Lang::EN, other).is_none());
    }
}
