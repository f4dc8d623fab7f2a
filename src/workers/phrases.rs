//! Renders our own sentences at start, so that a greeting begins at once and an apology needs no service. What could not be
//! spoken, the voice being down, is tried again until it is.

use super::bench::Built;
use super::voice::Voice;
use crate::audio::phrase::{EncodedSpeech, Phrase, Phrasebook, SpeechBuilder};
use crate::format::{Codec, Lang, ReplyFormat};
use crate::job::{Cancel, Speak};
use crate::limits;
use crate::providers::{Call, Flow, Sound, Synthesiser};
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Clock, Duration};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::JoinHandle;

/// What the phrases are rendered in: the default reply format, as Opus and as PCM.
pub const FORMATS: [ReplyFormat; 2] = [ReplyFormat::DEFAULT, ReplyFormat { codec: Codec::Pcm, ..ReplyFormat::DEFAULT }];

/// The thread that renders ([`super::crew::Base::start_phrases`]).
pub struct Rendering {
    pub(super) recall: Recall,
    pub(super) over: Sender<()>,
    pub(super) thread: JoinHandle<()>,
}

impl Rendering {
    /// Takes back what is being spoken, and waits for the thread.
    pub fn end(self) {
        self.recall.end();
        drop(self.over);
        let _ = self.thread.join();
    }
}

/// Takes calls back that are made one after the other: each has a [`Cancel`] of its own. Clones are the same.
#[derive(Clone, Default)]
pub struct Recall(Arc<Mutex<Current>>);

#[derive(Default)]
struct Current {
    is_over: bool,
    call: Cancel,
}

impl Recall {
    /// For the next call.
    fn next_call(&self) -> Cancel {
        let mut current = self.0.lock();
        current.call = Cancel::new();
        if current.is_over {
            current.call.cancel();
        }
        current.call.clone()
    }

    fn end(&self) {
        let mut current = self.0.lock();
        current.is_over = true;
        current.call.cancel();
    }

    fn is_over(&self) -> bool {
        self.0.lock().is_over
    }
}

/// Speaks every phrase that the book has no audio of, in both languages, and fills the book. Blocks. Returns what failed: those
/// phrases have text only.
pub fn render(
    book: &Phrasebook,
    synthesiser: &mut dyn Synthesiser,
    voice: &mut Voice,
    clock: Clock,
    recall: &Recall,
) -> Vec<(Phrase, Lang, Fault)> {
    let mut failed = Vec::new();
    for phrase in Phrase::ALL {
        for language in [Lang::EN, Lang::ZH] {
            if FORMATS.iter().all(|&format| book.audio(phrase, language, format).is_some()) {
                continue;
            }
            match speak(book.text(phrase, language), language, synthesiser, voice, clock, recall) {
                Ok(speeches) => speeches.into_iter().for_each(|speech| book.fill(phrase, language, speech)),
                Err(fault) => failed.push((phrase, language, fault)),
            }
        }
    }
    failed
}

/// One phrase in all [`FORMATS`], synthesised once. No text is no speech.
fn speak(
    text: &str,
    language: Lang,
    synthesiser: &mut dyn Synthesiser,
    voice: &mut Voice,
    clock: Clock,
    recall: &Recall,
) -> Result<Vec<EncodedSpeech>, Fault> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let now = clock.now();
    let first_byte_by = now + limits::PHRASE;
    // Samples, for they are encoded in every format.
    let format = ReplyFormat { codec: Codec::Pcm, ..ReplyFormat::DEFAULT };
    let what = Speak { sentence: 0, text: text.to_owned(), language, format, first_byte_by };
    let call = Call { clock, deadline: first_byte_by, cancel: recall.next_call(), ticket: Default::default() };
    let (mut rate, mut pcm) = (0, Vec::new());
    synthesiser.speak(&what, &call, &mut |sound| {
        rate = sound.rate;
        pcm.extend_from_slice(sound.pcm);
        let full = pcm.len() as u64 >= u64::from(rate) * limits::SENTENCE_AUDIO.as_secs();
        if full { Flow::Stop } else { Flow::Continue }
    })?;
    if pcm.is_empty() {
        return Err(Fault::new(Cause::Malformed, "speech without sound"));
    }
    FORMATS.iter().map(|&format| encode(Sound { rate, pcm: &pcm, packet: None }, format, voice)).collect()
}

fn encode(sound: Sound<'_>, format: ReplyFormat, voice: &mut Voice) -> Result<EncodedSpeech, Fault> {
    let mut speech = SpeechBuilder::new(format);
    let on_packet = &mut |packet: &[u8]| {
        speech.push(packet);
        Flow::Continue
    };
    voice.begin(format)?;
    voice.push(sound, on_packet)?;
    voice.finish(on_packet)?;
    Ok(speech.build())
}

/// What came of one round, for the caller's log.
pub type Report = Result<Vec<(Phrase, Lang, Fault)>, Fault>;

/// One round after another, until everything is spoken or the server ends; `pause` is the first wait between two, each next one
/// is twice as long, to [`limits::PHRASE_AGAIN_MOST`].
pub(super) fn run(
    book: &Phrasebook,
    build: &dyn Fn() -> Built<dyn Synthesiser>,
    voice: &mut Voice,
    clock: Clock,
    (recall, over): (&Recall, &Receiver<()>),
    mut pause: Duration,
    told: &mut dyn FnMut(Report),
) {
    loop {
        let report = build().map(|mut synthesiser| render(book, synthesiser.as_mut(), voice, clock, recall));
        let is_done = report.as_ref().is_ok_and(Vec::is_empty);
        if recall.is_over() {
            return;
        }
        told(report);
        if is_done || over.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        pause = (pause * 2).min(limits::PHRASE_AGAIN_MOST);
    }
}
