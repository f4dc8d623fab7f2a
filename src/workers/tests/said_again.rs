//! The synthesis worker with a shelf: what it keeps, and that kept speech is the same packets without a call.

use super::speaking::{PCM, Tone, packets};
use super::*;
use crate::audio::opus::Effort;
use crate::providers::{About, Call, Fingerprint, Flow, Sound, Synthesiser};
use crate::resilience::choice::Choice;
use crate::resilience::ladder::Rung;
use crate::workers::chain::{self, Line, Rules, Spec};
use crate::workers::shelf::Shelf;
use std::sync::atomic::Ordering::SeqCst;

/// A voice that counts its calls. Each call hums longer than the one before, so no two of them say a text alike.
struct Counted {
    calls: Arc<AtomicU32>,
    is_down: Arc<AtomicU32>,
}

impl Synthesiser for Counted {
    fn speak(&mut self, what: &Speak, call: &Call, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Result<(), Fault> {
        let calls = self.calls.fetch_add(1, SeqCst);
        if self.is_down.load(SeqCst) != 0 {
            return Err(Fault::new(Cause::Refused, "down"));
        }
        let ms = if what.text.contains("long") { 90_000 } else { 300 + 60 * calls };
        Tone { rate: 24_000, ms }.speak(what, call, on_audio)
    }
}

struct Kept {
    rig: Rig,
    calls: Arc<AtomicU32>,
    is_down: Arc<AtomicU32>,
    effort: Arc<AtomicU32>,
    shelf: Arc<Shelf>,
}

fn kept() -> Kept {
    let (calls, is_down) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let effort = Arc::new(AtomicU32::new(Effort::full(5).to_word()));
    let shelf = Shelf::new(1_000_000).unwrap();
    let start = {
        let (calls, is_down, effort, shelf) = (calls.clone(), is_down.clone(), effort.clone(), shelf.clone());
        move |base: &Base, _: &Readiness| {
            let factory: Factory<dyn Synthesiser> =
                Arc::new(move |_| Ok(Box::new(Counted { calls: calls.clone(), is_down: is_down.clone() })));
            let spec = Spec {
                about: About { name: "counted", detail: String::new(), language: None },
                factory,
                is_service: false,
                places: 0,
                rung: Rung::Primary,
                voice: Some(Fingerprint::new(&["counted"])),
            };
            let rules = Rules {
                budget: LONG,
                retry_percent: 0,
                breaker_percent: 100,
                breaker_open: LONG,
                choice: Choice::Ordered,
                hedge: None,
                is_aside: false,
            };
            let line = Line::new(Stage::Tts, vec![spec], rules, base.clock);
            line.watch(&base.registry);
            shelf.watch(&base.registry);
            line.keep_on(shelf);
            start_tts(ONE, effort, chain::synthesisers(line), base)
        }
    };
    Kept { rig: Rig::new(start), calls, is_down, effort, shelf }
}

impl Kept {
    /// The packets of a sentence that is said.
    fn said(&mut self, text: &str, format: ReplyFormat) -> Vec<Vec<u8>> {
        let answers = self.rig.say(text, format);
        let (packets, end) = packets(&answers);
        let said = matches!(end, Outcome::SpeechEnd { sentence: 7, packets: n } if *n as usize == packets.len());
        assert!(said, "{text}: {end:?}");
        packets
    }

    fn calls(&self) -> u32 {
        self.calls.load(SeqCst)
    }
}

#[test]
fn a_sentence_said_again_is_the_same_packets_and_no_call() {
    for format in [ReplyFormat::DEFAULT, PCM] {
        let mut kept = kept();
        let first = kept.said("Hello there.", format);
        assert!(first.len() >= 5);
        for _ in 0..3 {
            assert!(kept.said("Hello there.", format) == first, "other packets");
        }
        assert_eq!(kept.calls(), 1);
        assert!(kept.said("Hello here.", format) != first);
        assert_eq!(kept.calls(), 2);
        let opus = if format == PCM { 0 } else { 3 * first.len() as u64 };
        let shelf = kept.shelf.clone();
        assert!(shelf.bytes() > 0);
        let registry = kept.rig.end();
        assert_eq!(registry.total(Counter::PacketsKept), opus);
        assert_eq!(registry.total(Counter::JobsOk), 5);
    }
}

#[test]
fn what_failed_or_was_cut_is_never_kept() {
    let mut kept = kept();
    // Broken off by the service; cut off by us as too long.
    for _ in 0..2 {
        let answers = kept.rig.say("Oh!", PCM);
        let (packets, end) = packets(&answers);
        assert!(!packets.is_empty() && matches!(end, Outcome::Failed(_)), "{end:?}");
    }
    for _ in 0..2 {
        assert_eq!(kept.said("A long one.", ReplyFormat { rate: 8_000, ..PCM }).len(), 1_000);
    }
    // Nobody took it to its end.
    let by = kept.rig.clock.now() + LONG;
    let format = ReplyFormat::DEFAULT;
    let what = Speak { sentence: 0, text: "A long one.".into(), language: Lang::EN, format, first_byte_by: by };
    let job = kept.rig.job(1, Work::Speak(Box::new(what)));
    let cancel = kept.rig.submit(job);
    kept.rig.until(|got| !got.is_empty());
    cancel.cancel();
    assert_eq!(kept.rig.failure().fault.cause, Cause::Cancelled);
    assert_eq!((kept.calls(), kept.shelf.bytes()), (5, 0));
}

#[test]
fn a_voice_that_is_down_says_what_it_has_said_before() {
    let mut kept = kept();
    let hello = kept.said("Hello there.", ReplyFormat::DEFAULT);
    kept.is_down.store(1, SeqCst);
    for _ in 0..10 {
        let answers = kept.rig.say("Something new.", ReplyFormat::DEFAULT);
        assert!(matches!(packets(&answers).1, Outcome::Failed(_)));
    }
    assert_eq!(kept.calls(), 6, "its breaker opened after five");
    assert!(kept.said("Hello there.", ReplyFormat::DEFAULT) == hello);
    assert_eq!(kept.calls(), 6);
    let text = crate::metrics::exposition::prometheus(&kept.rig.registry, &Default::default());
    for line in [
        r#"voxlane_answers_total{stage="tts",rung="cached"} 1"#,
        r#"voxlane_speech_kept_total{event="hit"} 1"#,
        r#"voxlane_speech_kept_total{event="stored"} 1"#,
        r#"voxlane_speech_kept_sentences 1"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn light_effort_is_made_good_at_ease_and_stands_in_when_that_fails() {
    let mut kept = kept();
    let light = Effort { complexity: 0, is_light: true, bitrate: 24_000 };
    kept.effort.store(light.to_word(), SeqCst);
    let lightly = kept.said("Hello there.", ReplyFormat::DEFAULT);
    assert!(kept.said("Hello there.", ReplyFormat::DEFAULT) == lightly);
    assert_eq!(kept.calls(), 1);
    kept.effort.store(Effort::full(5).to_word(), SeqCst);
    kept.is_down.store(1, SeqCst);
    assert!(kept.said("Hello there.", ReplyFormat::DEFAULT) == lightly, "better than nothing");
    kept.is_down.store(0, SeqCst);
    let well = kept.said("Hello there.", ReplyFormat::DEFAULT);
    assert!(well != lightly);
    kept.effort.store(light.to_word(), SeqCst);
    assert!(kept.said("Hello there.", ReplyFormat::DEFAULT) == well);
    assert_eq!(kept.calls(), 3);
}
