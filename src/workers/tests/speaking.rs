//! The synthesis worker, and the phrases.

use super::*;
use crate::audio::opus::{Effort, packet_samples};
use crate::audio::phrase::{Phrase, Phrasebook};
use crate::format::Codec;
use crate::job::PacketBlock;
use crate::providers::{Call, Flow, Sound, Synthesiser};
use std::sync::atomic::Ordering::SeqCst;

/// Says every sentence as a tone of `ms` at `rate`, in pieces of 1,000 samples; "!" fails after that.
pub struct Tone {
    pub rate: u32,
    pub ms: u32,
}

impl Synthesiser for Tone {
    fn speak(&mut self, what: &Speak, _: &Call, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Result<(), Fault> {
        let samples = self.rate as usize * self.ms as usize / 1_000;
        let pcm: Vec<i16> = (0..samples).map(|i| ((i as f32 * 0.05).sin() * 8_000.0) as i16).collect();
        for piece in pcm.chunks(1_000) {
            if on_audio(Sound { rate: self.rate, pcm: piece, packet: None }) == Flow::Stop {
                return Err(Fault::new(Cause::Unavailable, "stopped"));
            }
        }
        match what.text.contains('!') {
            true => Err(Fault::new(Cause::Unavailable, "broken")),
            false => Ok(()),
        }
    }
}

fn rig(rate: u32, ms: u32, complexity: u8) -> Rig {
    let factory: Factory<dyn Synthesiser> = Arc::new(move |_| Ok(Box::new(Tone { rate, ms })));
    Rig::new(|base, _| start_tts(ONE, Arc::new(AtomicU32::new(Effort::full(complexity).to_word())), factory, base))
}

impl Rig {
    pub fn say(&mut self, text: &str, format: ReplyFormat) -> Vec<Answer> {
        let by = self.clock.now() + LONG;
        let what = Speak { sentence: 7, text: text.into(), language: Lang::EN, format, first_byte_by: by };
        self.submit(self.job(1, Work::Speak(Box::new(what))));
        self.finals(1)
    }
}

/// Packets put together from their blocks, and the final outcome.
pub fn packets(answers: &[Answer]) -> (Vec<Vec<u8>>, &Outcome) {
    let (mut packets, mut open) = (Vec::new(), Vec::new());
    for answer in answers {
        if let Outcome::Packet(block) = &answer.outcome {
            assert_eq!(block.sentence, 7);
            open.extend_from_slice(block.bytes());
            if !block.more {
                packets.push(std::mem::take(&mut open));
            }
        }
    }
    (packets, &answers.last().unwrap().outcome)
}

pub const PCM: ReplyFormat = ReplyFormat { codec: Codec::Pcm, ..ReplyFormat::DEFAULT };

#[test]
fn a_sentence_becomes_opus_packets_of_sixty_milliseconds() {
    // The dearest complexity, on a pool thread's small stack.
    for (rate, complexity) in [(22_050, 10), (24_000, 0), (16_000, 5)] {
        let mut rig = rig(rate, 1_000, complexity);
        for _ in 0..2 {
            let answers = rig.say("Hello there.", ReplyFormat::DEFAULT);
            let (packets, end) = packets(&answers);
            assert_eq!(packets.len(), 17, "1,000 ms are 16.7 frames");
            assert!(packets.iter().all(|packet| packet_samples(packet, 24_000) == Ok(1_440)));
            assert!(matches!(end, Outcome::SpeechEnd { sentence: 7, packets: 17 }), "{end:?}");
        }
        rig.end();
    }
}

#[test]
fn pcm_frames_are_whole_and_the_last_is_filled_with_silence() {
    let mut rig = rig(24_000, 100, 5);
    let answers = rig.say("Hi.", PCM);
    let (packets, end) = packets(&answers);
    assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [2_880, 2_880]);
    assert!(packets[0].iter().any(|&byte| byte != 0));
    let silence = 2 * 24 * 40;
    assert!(packets[1][silence..].iter().all(|&byte| byte == 0));
    assert!(packets[1][..silence].iter().any(|&byte| byte != 0));
    assert!(matches!(end, Outcome::SpeechEnd { sentence: 7, packets: 2 }));
}

#[test]
fn opus_after_pcm_after_opus_on_one_worker() {
    let mut rig = rig(24_000, 120, 5);
    for format in
        [ReplyFormat::DEFAULT, PCM, ReplyFormat::DEFAULT, ReplyFormat { rate: 16_000, ..ReplyFormat::DEFAULT }]
    {
        let answers = rig.say("Hi.", format);
        assert_eq!(packets(&answers).0.len(), 2, "{format:?}");
    }
}

#[test]
fn a_synthesiser_that_goes_on_is_cut_off() {
    let mut rig = rig(8_000, 90_000, 5);
    let format = ReplyFormat { rate: 8_000, ..PCM };
    let answers = rig.say("For ever.", format);
    let expected = limits::SENTENCE_AUDIO.as_millis() as u32 / 60;
    let (packets, end) = packets(&answers);
    assert_eq!(packets.len(), expected as usize);
    assert!(matches!(end, Outcome::SpeechEnd { packets, .. } if *packets == expected), "{end:?}");
}

#[test]
fn no_sound_is_malformed_unless_there_was_nothing_to_say() {
    let mut rig = rig(24_000, 0, 5);
    assert!(matches!(packets(&rig.say("  ", PCM)).1, Outcome::SpeechEnd { packets: 0, .. }));
    let answers = rig.say("Hello.", PCM);
    assert!(matches!(packets(&answers).1, Outcome::Failed(f) if f.fault.cause == Cause::Malformed && f.sentence == 7));
}

#[test]
fn a_fault_after_audio_fails_the_sentence_once() {
    let mut rig = rig(24_000, 120, 5);
    let answers = rig.say("Oh!", PCM);
    let (packets, end) = packets(&answers);
    assert_eq!(packets.len(), 2);
    assert!(matches!(end, Outcome::Failed(f) if f.fault.cause == Cause::Unavailable && f.stage == Stage::Tts));
}

#[test]
fn a_cancel_frees_a_worker_that_waits_for_the_reader() {
    let mut rig = rig(24_000, 60_000, 0);
    let by = rig.clock.now() + LONG;
    let what = Speak { sentence: 0, text: "Long.".into(), language: Lang::EN, format: PCM, first_byte_by: by };
    let job = rig.job(1, Work::Speak(Box::new(what)));
    let cancel = rig.submit(job);
    // 6,000 blocks are to come. The reader stops reading: the ring is full after 64, the worker waits or soon will.
    rig.until(|got| !got.is_empty());
    cancel.cancel();
    assert_eq!(rig.failure().fault.cause, Cause::Cancelled);
}

#[test]
fn a_packet_block_holds_a_usual_packet() {
    let mut rig = rig(24_000, 600, 5);
    let answers = rig.say("Hello.", ReplyFormat::DEFAULT);
    let whole = |answer: &&Answer| matches!(&answer.outcome, Outcome::Packet(PacketBlock { more: false, .. }));
    assert_eq!(answers.iter().filter(whole).count(), answers.len() - 1, "no packet needed two blocks");
}

#[test]
fn phrases_are_rendered_in_both_formats_and_failures_are_told() {
    let rig = rig(22_050, 300, 5);
    let text = |phrase: Phrase, lang: Lang| match (phrase, lang == Lang::ZH) {
        (Phrase::Busy, true) => "坏!".to_owned(),
        (Phrase::WakeReply, _) => String::new(),
        (_, true) => "再见".to_owned(),
        (_, false) => "Good bye".to_owned(),
    };
    let book = Arc::new(Phrasebook::new(text));
    let factory: Factory<dyn Synthesiser> = Arc::new(|_| Ok(Box::new(Tone { rate: 22_050, ms: 300 })));
    let base = Base { clock: rig.clock, shards: Vec::new(), registry: rig.registry.clone(), cores: Cores::Own };
    let (tell, told) = crossbeam::channel::unbounded();
    let tell = move |report| tell.send(report).unwrap();
    let complexity = Arc::new(AtomicU32::new(Effort::full(5).to_word()));
    let rendering = base.start_phrases(book.clone(), complexity, factory, Duration::from_secs(3_600), tell).unwrap();
    let failed = told.recv().unwrap().unwrap();
    rendering.end();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].0, failed[0].1), (Phrase::Busy, Lang::ZH));
    for format in phrases::FORMATS {
        assert_eq!(book.audio(Phrase::Farewell, Lang::EN, format).map(|speech| speech.len()), Some(5));
        assert!(book.audio(Phrase::Farewell, Lang::ZH, format).is_some());
        assert!(book.audio(Phrase::Busy, Lang::ZH, format).is_none());
        assert!(book.audio(Phrase::WakeReply, Lang::EN, format).is_none());
    }
}

/// A voice that is down for its first calls.
struct Later(Arc<AtomicU32>);

impl Synthesiser for Later {
    fn speak(&mut self, what: &Speak, call: &Call, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Result<(), Fault> {
        match self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(Fault::new(Cause::Unavailable, "down")),
            Err(_) => Tone { rate: 24_000, ms: 120 }.speak(what, call, on_audio),
        }
    }
}

#[test]
fn phrases_that_could_not_be_spoken_are_spoken_once_the_voice_is_back() {
    let rig = rig(24_000, 300, 5);
    let book = Arc::new(Phrasebook::new(|_, _| "Good bye".to_owned()));
    let faults = Arc::new(AtomicU32::new(11));
    let factory: Factory<dyn Synthesiser> = Arc::new(move |_| Ok(Box::new(Later(faults.clone()))));
    let base = Base { clock: rig.clock, shards: Vec::new(), registry: rig.registry.clone(), cores: Cores::Own };
    let (tell, told) = crossbeam::channel::unbounded();
    let tell = move |report: phrases::Report| tell.send(report.unwrap().len()).unwrap();
    let complexity = Arc::new(AtomicU32::new(Effort::full(5).to_word()));
    let rendering = base.start_phrases(book.clone(), complexity, factory, Duration::from_millis(1), tell).unwrap();
    // It ends by itself when all is spoken.
    assert_eq!(told.iter().collect::<Vec<_>>(), [8, 3, 0]);
    rendering.end();
    assert!(book.audio(Phrase::Busy, Lang::ZH, phrases::FORMATS[1]).is_some());
}
