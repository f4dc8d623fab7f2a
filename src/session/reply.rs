//! A reply as a stream: sentences go in at one end, packets come out at the other, in the order in which they were added.
//!
//! ```text
//!   add --> [ waiting | asked, asked | playing ] --> packets
//!             text      synthesis      audio
//! ```
//!
//! This is the seed's ResponseStream with its slips repaired: one ring, so that nothing is overtaken; `end` is a marker in
//! order, delivered after everything before it and never shown to anybody; full is an answer that makes the producer wait, and
//! words are never dropped; cancel has a reason, and what has really been delivered is known.

use crate::audio::phrase::EncodedSpeech;
use crate::job::{Cancel, PacketBlock};
use crate::limits;
use crate::time::Instant;
use std::collections::VecDeque;
use std::sync::Arc;

/// The stream. Pure: it is told what came and asked what is next.
#[derive(Debug, Default)]
pub struct Reply {
    ring: VecDeque<Sentence>,
    /// Index of the ring's first sentence, the one that is playing.
    head: u16,
    /// Sentences below this index have been given to synthesis.
    asked: u16,
    ended: bool,
    cancelled: Option<CancelReason>,
    added_late: u32,
    packets_sent: u32,
    delivered: Vec<Delivered>,
    /// Jobs nobody waits for any more.
    dropped: Vec<Cancel>,
}

/// Why a reply was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// The device asked for silence, or another turn took its place.
    Abort,
    /// The user spoke over it.
    BargeIn,
    /// Its budget was used up.
    Timeout,
    /// The connection ends.
    Close,
}

/// Why a sentence was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// The ring is full: ask again when [`Reply::has_room`].
    Full,
    /// The end has been marked; counted, see [`Reply::added_late`].
    Ended,
    /// The reply was cancelled.
    Cancelled,
}

/// What the reader does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A packet is ready: [`Reply::take_packet`] when the pacer says so.
    Packet,
    /// The next sentence has no audio and never will: [`Reply::take_text`].
    Text,
    /// Nothing yet.
    Wait,
    /// The end marker has been reached; everything before it was delivered.
    End,
}

/// A packet on its way out.
#[derive(Debug)]
pub struct Taken<'a> {
    /// The text to announce before it, when it is its sentence's first.
    pub begins: Option<&'a str>,
    /// Its bytes.
    pub packet: &'a [u8],
}

#[derive(Debug)]
struct Sentence {
    /// As shown; empty when only audio matters.
    shown: Box<str>,
    /// As synthesised.
    speech: Box<str>,
    audio: Audio,
    /// No more audio comes.
    complete: bool,
    /// Packets taken by the reader.
    taken: u32,
    /// When audio must have come (again).
    by: Instant,
    job: Option<Cancel>,
}

#[derive(Debug)]
enum Audio {
    Own(Packets),
    Phrase(Arc<EncodedSpeech>),
}

/// Packets back to back: no heap object for each.
#[derive(Debug, Default)]
struct Packets {
    bytes: Vec<u8>,
    ends: VecDeque<u32>,
    /// Where the first untaken packet begins.
    start: u32,
    /// All packets that ever came.
    count: u32,
}

/// A sentence that has begun to be delivered.
#[derive(Debug)]
struct Delivered {
    text: Box<str>,
    first_packet: u32,
    packets: u32,
    /// Packets known to belong to it.
    total: u32,
}

impl Reply {
    /// Whether another sentence can be added.
    pub fn has_room(&self) -> bool {
        let waiting: usize = self.ring.iter().map(|s| s.shown.len() + s.speech.len()).sum();
        self.ring.len() < limits::REPLY_SENTENCES && waiting < limits::REPLY_WAITING_BYTES
    }

    /// Adds a sentence: as shown, and as spoken (empty: shown only). Returns its index.
    pub fn add(&mut self, shown: &str, speech: &str) -> Result<u16, NotAdded> {
        if self.cancelled.is_some() {
            return Err(NotAdded::Cancelled);
        }
        if self.ended {
            self.added_late += 1;
            return Err(NotAdded::Ended);
        }
        if !self.has_room() {
            return Err(NotAdded::Full);
        }
        let mut sentence = Sentence::new(shown, speech, Audio::Own(Packets::default()));
        sentence.complete = speech.is_empty();
        self.ring.push_back(sentence);
        Ok(self.head + (self.ring.len() - 1) as u16)
    }

    /// Marks the end: what was added before is still delivered.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Puts one of our own phrases in place of everything that has not been delivered, and ends.
    pub fn replace_with_phrase(&mut self, text: &str, speech: Option<Arc<EncodedSpeech>>) {
        self.drop_from(0);
        self.head = self.asked.max(self.head);
        let audio = speech.map_or_else(|| Audio::Own(Packets::default()), Audio::Phrase);
        let mut sentence = Sentence::new(text, "", audio);
        sentence.complete = true;
        self.ring.push_back(sentence);
        self.asked = self.head + 1;
        self.ended = true;
    }

    /// Drops everything after the sentence that is playing, and ends. Returns whether one is playing.
    pub fn keep_playing_only(&mut self) -> bool {
        let playing = self.ring.front().is_some_and(|s| s.taken > 0);
        self.drop_from(usize::from(playing));
        self.ended = true;
        playing
    }

    /// Cuts the reply: nothing more comes out.
    pub fn cancel(&mut self, reason: CancelReason) {
        self.drop_from(0);
        self.cancelled.get_or_insert(reason);
        self.ended = true;
    }

    /// Why it was cut, if it was.
    pub fn cancelled(&self) -> Option<CancelReason> {
        self.cancelled
    }

    /// Sentences that came after the end.
    pub fn added_late(&self) -> u32 {
        self.added_late
    }

    /// The next sentence to synthesise, if one waits within [`limits::SENTENCES_AHEAD`] of the one that plays.
    pub fn next_to_speak(&mut self) -> Option<u16> {
        while usize::from(self.asked - self.head) <= limits::SENTENCES_AHEAD {
            let sentence = self.ring.get(usize::from(self.asked - self.head))?;
            self.asked += 1;
            if !sentence.complete {
                return Some(self.asked - 1);
            }
        }
        None
    }

    /// What is to be spoken for a sentence.
    pub fn speech(&self, index: u16) -> &str {
        self.place(index).map_or("", |place| &self.ring[place].speech)
    }

    /// Remembers the job of a sentence, and when its first audio must have come.
    pub fn asked(&mut self, index: u16, job: Cancel, by: Instant) {
        if let Some(sentence) = self.sentence(index) {
            sentence.job = Some(job);
            sentence.by = by;
        }
    }

    /// Whether a packet of this sentence can be taken in. Sentences that are gone take anything (and drop it).
    pub fn has_audio_room(&self, index: u16) -> bool {
        let Some(place) = self.place(index) else { return true };
        match &self.ring[place].audio {
            Audio::Own(packets) => packets.waiting() < limits::REPLY_AUDIO_BYTES,
            Audio::Phrase(_) => true,
        }
    }

    /// Takes a piece of audio in; `by` is when the next must come, `packets_max` how many the sentence may have.
    pub fn packet(&mut self, block: &PacketBlock, by: Instant, packets_max: u32) -> Packed {
        let Some(sentence) = self.sentence(block.sentence) else { return Packed::Late };
        let Audio::Own(packets) = &mut sentence.audio else { return Packed::Late };
        if sentence.complete {
            return Packed::Late;
        }
        sentence.by = by;
        if packets.count >= packets_max || packets.open_len() + block.bytes().len() > limits::PACKET_BYTES {
            return Packed::TooMuch;
        }
        packets.push(block)
    }

    /// Whether a job of this sentence is under way.
    pub fn awaits(&self, index: u16) -> bool {
        self.place(index).is_some_and(|place| self.ring[place].job.is_some() && !self.ring[place].complete)
    }

    /// A sentence's audio is complete.
    pub fn speech_end(&mut self, index: u16) -> bool {
        let Some(sentence) = self.sentence(index).filter(|s| !s.complete) else { return false };
        sentence.complete = true;
        sentence.job = None;
        true
    }

    /// The job of a sentence has ended by itself: there is nothing to take back.
    pub fn job_ended(&mut self, index: u16) {
        if let Some(sentence) = self.sentence(index) {
            sentence.job = None;
        }
    }

    /// A sentence gets no more audio: what has come of it is played, its text is shown in any case. A job that still runs is
    /// dropped.
    pub fn speech_failed(&mut self, index: u16) -> bool {
        let Some(place) = self.place(index) else { return false };
        let sentence = &mut self.ring[place];
        sentence.complete = true;
        self.dropped.extend(sentence.job.take());
        true
    }

    /// Jobs nobody waits for any more, to be taken back.
    pub fn take_dropped(&mut self) -> std::vec::Drain<'_, Cancel> {
        self.dropped.drain(..)
    }

    /// When audio of the playing sentence must have come, while it is awaited: the instant and the sentence.
    pub fn overdue_at(&self) -> Option<(Instant, u16)> {
        let sentence = self.ring.front()?;
        let awaited = sentence.job.is_some() && sentence.ready() == 0 && !sentence.complete;
        awaited.then_some((sentence.by, self.head))
    }

    /// What comes next.
    pub fn poll_next(&mut self) -> Next {
        loop {
            let Some(sentence) = self.ring.front() else {
                return if self.ended { Next::End } else { Next::Wait };
            };
            if sentence.ready() > 0 {
                return Next::Packet;
            }
            if !sentence.complete {
                return Next::Wait;
            }
            if sentence.taken == 0 {
                return Next::Text;
            }
            self.advance();
        }
    }

    /// The packet that [`Next::Packet`] spoke of.
    pub fn take_packet(&mut self) -> Option<Taken<'_>> {
        let number = self.packets_sent;
        let sentence = self.ring.front_mut().filter(|s| s.ready() > 0)?;
        let total = sentence.total();
        let Sentence { shown, audio, taken, .. } = sentence;
        let begins = (*taken == 0).then_some(&**shown);
        if let Some(text) = begins {
            self.delivered.push(Delivered { text: text.into(), first_packet: number, packets: 0, total });
        }
        if let Some(delivered) = self.delivered.last_mut() {
            delivered.packets += 1;
            delivered.total = total;
        }
        *taken += 1;
        self.packets_sent += 1;
        let packet = match audio {
            Audio::Own(packets) => packets.take()?,
            Audio::Phrase(speech) => speech.packet(*taken as usize - 1)?,
        };
        Some(Taken { begins: begins.filter(|text| !text.is_empty()), packet })
    }

    /// The text that [`Next::Text`] spoke of: its sentence is over with it.
    pub fn take_text(&mut self) -> Option<String> {
        let sentence = self.ring.front().filter(|s| s.complete && s.ready() == 0 && s.taken == 0)?;
        let text = sentence.shown.clone();
        let first_packet = self.packets_sent;
        self.delivered.push(Delivered { text: text.clone(), first_packet, packets: 0, total: 0 });
        self.advance();
        Some(text.into_string())
    }

    /// Whether a whole packet waits at the head.
    pub fn packet_waits(&self) -> bool {
        self.ring.front().is_some_and(|s| s.ready() > 0)
    }

    /// The sentence that is playing, or would be next.
    pub fn head(&self) -> u16 {
        self.head
    }

    /// Whether anything was delivered or waits to be.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.delivered.is_empty()
    }

    /// Packets given to the reader.
    pub fn packets_sent(&self) -> u32 {
        self.packets_sent
    }

    /// What the user has heard when `played` packets have been played: whole sentences, and of the one under way the part that
    /// corresponds, cut between words.
    pub fn heard(&self, played: u32) -> String {
        let mut heard = String::new();
        for delivered in &self.delivered {
            if delivered.first_packet > played || (delivered.first_packet == played && delivered.packets > 0) {
                break;
            }
            let of_it = played - delivered.first_packet;
            let whole = of_it >= delivered.total.max(delivered.packets);
            let text = if whole { &*delivered.text } else { part_of(&delivered.text, of_it, delivered.total) };
            join(&mut heard, text);
            if !whole {
                break;
            }
        }
        heard
    }

    /// Everything that was delivered.
    pub fn delivered(&self) -> String {
        self.heard(u32::MAX)
    }

    fn advance(&mut self) {
        if let Some(sentence) = self.ring.pop_front() {
            self.dropped.extend(sentence.job);
            self.head += 1;
            self.asked = self.asked.max(self.head);
        }
    }

    /// Drops the sentences from this place on. Their indices are never used again.
    fn drop_from(&mut self, place: usize) {
        for sentence in self.ring.drain(place.min(self.ring.len())..) {
            self.dropped.extend(sentence.job);
        }
    }

    fn place(&self, index: u16) -> Option<usize> {
        let place = usize::from(index.checked_sub(self.head)?);
        (place < self.ring.len()).then_some(place)
    }

    fn sentence(&mut self, index: u16) -> Option<&mut Sentence> {
        let place = self.place(index)?;
        self.ring.get_mut(place)
    }
}

/// What became of a piece of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// A packet is whole.
    Whole,
    /// Its packet goes on.
    Part,
    /// Nobody waits for it any more.
    Late,
    /// The sentence has more audio, or a longer packet, than it may have.
    TooMuch,
}

impl Sentence {
    fn new(shown: &str, speech: &str, audio: Audio) -> Sentence {
        Sentence {
            shown: shown.into(),
            speech: speech.into(),
            audio,
            complete: false,
            taken: 0,
            by: Instant::NEVER,
            job: None,
        }
    }

    fn ready(&self) -> usize {
        match &self.audio {
            Audio::Own(packets) => packets.ends.len(),
            Audio::Phrase(speech) => speech.len().saturating_sub(self.taken as usize),
        }
    }

    fn total(&self) -> u32 {
        match &self.audio {
            Audio::Own(packets) => packets.count,
            Audio::Phrase(speech) => speech.len() as u32,
        }
    }
}

impl Packets {
    fn push(&mut self, block: &PacketBlock) -> Packed {
        if self.start as usize > limits::REPLY_AUDIO_BYTES / 2 {
            self.forget_taken();
        }
        self.bytes.extend_from_slice(block.bytes());
        if block.more {
            return Packed::Part;
        }
        self.ends.push_back(self.bytes.len() as u32);
        self.count += 1;
        Packed::Whole
    }

    fn take(&mut self) -> Option<&[u8]> {
        let end = self.ends.pop_front()?;
        let start = std::mem::replace(&mut self.start, end);
        self.bytes.get(start as usize..end as usize)
    }

    /// Bytes of the packet that goes on.
    fn open_len(&self) -> usize {
        self.bytes.len() - self.ends.back().copied().unwrap_or(self.start) as usize
    }

    fn waiting(&self) -> usize {
        self.bytes.len() - self.start as usize
    }

    fn forget_taken(&mut self) {
        self.bytes.drain(..self.start as usize);
        self.ends.iter_mut().for_each(|end| *end -= self.start);
        self.start = 0;
    }
}

/// Adds a sentence to what was heard; Latin letters get a space between sentences, Chinese none.
fn join(heard: &mut String, text: &str) {
    let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii());
    if latin(heard.chars().next_back()) && latin(text.chars().next()) {
        heard.push(' ');
    }
    heard.push_str(text);
}

/// The part of a sentence heard when `played` of `total` packets were played: as many characters in proportion, back to the end
/// of a word. Chinese has no spaces: a character there is as good as a word.
fn part_of(text: &str, played: u32, total: u32) -> &str {
    let chars = text.chars().count() as u64 * u64::from(played) / u64::from(total.max(1));
    let end = text.char_indices().nth(chars as usize).map_or(text.len(), |(at, _)| at);
    let part = &text[..end];
    let in_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '\'');
    if in_word(part.chars().next_back()) && in_word(text[end..].chars().next()) {
        return part.rfind(|c: char| !in_word(Some(c))).map_or("", |at| part[..at].trim_end());
    }
    part.trim_end()
}

#[cfg(test)]
mod tests;
