//! Speech that was said before, in place of a call and in place of an answer that nobody gave.

use super::*;
use crate::audio::phrase::SpeechBuilder;
use crate::providers::Keeping;

const DOWN: [Does; 6] = [const { Fail(Cause::Refused) }; 6];

fn what(rig: &Rig<dyn Synthesiser>, text: &str) -> Speak {
    let first_byte_by = rig.clock.now() + Duration::from_secs(3);
    Speak { sentence: 0, text: text.to_owned(), language: Lang::EN, format: ReplyFormat::DEFAULT, first_byte_by }
}

/// A row with a shelf, and a worker's chain.
fn shelved(scripts: &[(&'static str, Rung, &[Does])]) -> (Rig<dyn Synthesiser>, Chain<dyn Synthesiser>) {
    let rig = tts(RULES, scripts);
    rig.line.keep_on(Shelf::new(1_000_000).unwrap());
    let chain = rig.chain();
    (rig, chain)
}

/// Whether it is said; keeps it as the one packet `mark`.
fn say_and_keep(
    rig: &Rig<dyn Synthesiser>,
    chain: &mut Chain<dyn Synthesiser>,
    (turn, text, mark): (u32, &str, &[u8]),
) -> bool {
    let what = what(rig, text);
    let is_said = chain.speak(&what, &rig.call(turn), &mut |_| Flow::Continue).is_ok();
    let mut speech = SpeechBuilder::new(what.format);
    speech.push(mark);
    chain.keep(&what, speech.build(), false);
    is_said
}

/// The packet that is kept.
fn kept(rig: &Rig<dyn Synthesiser>, chain: &mut Chain<dyn Synthesiser>, turn: u32, text: &str) -> Option<Vec<u8>> {
    let speech = chain.kept(&what(rig, text), &rig.call(turn), false)?;
    speech.packet(0).map(<[u8]>::to_vec)
}

#[test]
fn kept_speech_takes_the_place_of_a_call_and_is_no_degradation() {
    let (rig, mut chain) = shelved(&[("one", Rung::Primary, &[])]);
    assert_eq!(kept(&rig, &mut chain, 1, "hm"), None);
    assert!(say_and_keep(&rig, &mut chain, (1, "hm", b"by one")));
    assert_eq!(kept(&rig, &mut chain, 2, "hm").as_deref(), Some(&b"by one"[..]));
    assert_eq!(kept(&rig, &mut chain, 2, "ha"), None);
    assert_eq!(rig.asked(), ["one"]);
    assert_eq!(rig.line.ladder.lock().rung(), Rung::Primary);
    assert_eq!(rig.line.answers[Rung::Primary as usize].load(Relaxed), 1, "an answer is what somebody gave");
}

#[test]
fn an_answer_keeps_its_voice_through_kept_speech_too() {
    let (rig, mut chain) =
        shelved(&[("one", Rung::Primary, &[Answer, Fail(Cause::Timeout)]), ("two", Rung::Backup, &[])]);
    assert!(say_and_keep(&rig, &mut chain, (1, "hm", b"by one")));
    // The second answer begins with the other voice and stays with it, though the first has said this before.
    assert!(say_and_keep(&rig, &mut chain, (2, "ha", b"by two")));
    assert_eq!(kept(&rig, &mut chain, 2, "hm"), None);
    assert_eq!(kept(&rig, &mut chain, 2, "ha").as_deref(), Some(&b"by two"[..]));
    // The third begins with kept speech of the first voice and stays with that.
    assert_eq!(kept(&rig, &mut chain, 3, "ha"), None);
    assert_eq!(kept(&rig, &mut chain, 3, "hm").as_deref(), Some(&b"by one"[..]));
    rig.asked();
    assert!(say_and_keep(&rig, &mut chain, (3, "ho", b"by one")));
    assert_eq!(rig.asked(), ["one"]);
}

#[test]
fn while_the_first_voice_is_left_to_recover_the_others_speech_counts() {
    let script = [&[Answer], &DOWN[..]].concat();
    let (rig, mut chain) = shelved(&[("one", Rung::Primary, &script), ("two", Rung::Backup, &[])]);
    assert!(say_and_keep(&rig, &mut chain, (1, "hm", b"by one")));
    (2..7).for_each(|turn| assert!(say_and_keep(&rig, &mut chain, (turn, "ha", b"by two"))));
    assert_eq!(rig.line.members[0].gate.state(rig.clock.now()), 2, "its breaker is open");
    assert_eq!(kept(&rig, &mut chain, 9, "ha").as_deref(), Some(&b"by two"[..]));
    assert_eq!(kept(&rig, &mut chain, 10, "hm"), None, "somebody can say it");
    assert_eq!(rig.line.ladder.lock().rung(), Rung::Backup);
}

#[test]
fn when_nobody_can_speak_kept_speech_does_and_that_is_seen() {
    let script = [&[Answer], &DOWN[..]].concat();
    let (rig, mut chain) = shelved(&[("one", Rung::Primary, &script)]);
    assert!(say_and_keep(&rig, &mut chain, (1, "hm", b"by one")));
    (2..7).for_each(|turn| assert!(!say_and_keep(&rig, &mut chain, (turn, "ha", b"never"))));
    assert_eq!(rig.line.members[0].gate.state(rig.clock.now()), 2, "its breaker is open");
    assert_eq!(rig.line.ladder.lock().rung(), Rung::Text);
    assert_eq!(kept(&rig, &mut chain, 9, "ha"), None, "what failed was not kept");
    assert_eq!(kept(&rig, &mut chain, 9, "hm").as_deref(), Some(&b"by one"[..]));
    assert_eq!(rig.line.answers[Rung::Cached as usize].load(Relaxed), 1);
    assert!(rig.line.ladder.lock().outage().is_some());
}

#[test]
fn a_call_that_fails_falls_back_to_what_was_said_before_in_any_voice() {
    let script = [Answer, Fail(Cause::Refused), Fail(Cause::Refused), Answer];
    let (rig, mut chain) = shelved(&[("one", Rung::Primary, &script)]);
    assert!(say_and_keep(&rig, &mut chain, (1, "hm", b"by one")));
    for (text, rung, instead) in [("hm", Rung::Cached, true), ("ha", Rung::Text, false)] {
        assert!(chain.speak(&what(&rig, text), &rig.call(2), &mut |_| Flow::Continue).is_err());
        assert_eq!(rig.line.ladder.lock().rung(), rung);
        assert_eq!((chain.instead().is_some(), chain.instead().is_some()), (instead, false), "{text}");
    }
    assert!(say_and_keep(&rig, &mut chain, (3, "ho", b"by one")));
    assert!(chain.instead().is_none());
}
