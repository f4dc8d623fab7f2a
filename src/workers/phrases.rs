//! Renders our own sentences at start, so that a greeting begins at once and an apology needs no service.

use super::bench::Built;
use super::voice::Voice;
use crate::audio::phrase::{EncodedSpeech, Phrase, Phrasebook, SpeechBuilder};
use crate::format::{Codec, Lang, ReplyFormat};
use crate::job::{Cancel, Speak};
use crate::limits;
use crate::providers::{Call, Flow, Sound, Synthesiser};
use crate::resilience::fault::{Cause, Fault};
use crate::time::Clock;

/// What the phrases are rendered in: the default reply format, as Opus and as PCM.
pub const FORMATS: [ReplyFormat; 2] = [ReplyFormat::DEFAULT, ReplyFormat { codec: Codec::Pcm, ..ReplyFormat::DEFAULT }];

/// Speaks every phrase in both languages and fills the book. Blocks; for a worker thread of its own
/// ([`super::crew::Base::start_phrases`]). Returns what failed: those phrases have text only.
pub fn render(
    book: &Phrasebook,
    synthesiser: &mut dyn Synthesiser,
    voice: &mut Voice,
    clock: Clock,
) -> Vec<(Phrase, Lang, Fault)> {
    let mut failed = Vec::new();
    for phrase in Phrase::ALL {
        for language in [Lang::EN, Lang::ZH] {
            match speak(book.text(phrase, language), language, synthesiser, voice, clock) {
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
) -> Result<Vec<EncodedSpeech>, Fault> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let now = clock.now();
    let first_byte_by = now + limits::PHRASE;
    let what = Speak { sentence: 0, text: text.to_owned(), language, format: ReplyFormat::DEFAULT, first_byte_by };
    let call = Call { clock, deadline: first_byte_by, cancel: Cancel::new() };
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
    FORMATS.iter().map(|&format| encode(Sound { rate, pcm: &pcm }, format, voice)).collect()
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

/// What happened to the rendering, for the caller's log.
pub type Report = Result<Vec<(Phrase, Lang, Fault)>, Fault>;

/// Builds the synthesiser and renders.
pub(super) fn run(book: &Phrasebook, built: Built<dyn Synthesiser>, voice: &mut Voice, clock: Clock) -> Report {
    Ok(render(book, built?.as_mut(), voice, clock))
}
