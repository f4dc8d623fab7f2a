//! Conversations by voice, as scripts.

use super::*;
use crate::job::Stage;
use crate::resilience::fault::Cause;
use crate::session::machine::Session;
use crate::session::world::{World, check, check_in};
use crate::session::{Event, Phase, Rules};
use crate::wire::message::{ClientMessage, Features, Listen};

/// An utterance and its transcript.
fn ask(world: &mut World) {
    world.utterance();
    world.transcript("Hello there.");
}

/// The reply to it, five packets long, not yet played.
fn answer(world: &mut World) {
    world.reply("Fine.");
    world.speech(0, 5);
}

fn spoken() -> Vec<&'static str> {
    [&["ask asr", "stt Hello there", "tts start", "ask llm", "face Neutral", "ask tts 0: Fine.", "says Fine."][..]]
        .concat()
}

#[test]
fn an_auto_turn_begins_with_the_end_of_speech() {
    check(
        |w| {
            w.start(ListenMode::Auto);
            assert_eq!(w.phase(), Phase::Listening);
            ask(w);
            assert_eq!(w.phase(), Phase::Thinking);
            answer(w);
            w.pass(100);
            assert_eq!(w.phase(), Phase::Speaking);
            w.pass(2_000);
            assert_eq!(w.phase(), Phase::Listening);
            assert_eq!(w.blocks.iter().filter(|(_, last)| *last).count(), 1);
            assert!(w.blocks.last().unwrap().1 && w.blocks.len() > 15);
        },
        &[&spoken()[..], &["5 packets", "tts stop"]].concat(),
    );
}

#[test]
fn after_a_reply_auto_and_realtime_listen_again_without_being_asked() {
    for mode in [ListenMode::Auto, ListenMode::Realtime] {
        let mut world = World::new();
        world.start(mode);
        for _ in 0..3 {
            ask(&mut world);
            answer(&mut world);
            world.pass(2_000);
        }
        assert_eq!(world.log.iter().filter(|line| *line == "tts stop").count(), 3, "{mode:?}");
    }
}

#[test]
fn audio_before_the_first_start_and_after_stop_means_nothing() {
    check(
        |w| {
            w.utterance();
            assert!(w.count(Count::EarlyAudio) > 20);
            w.start(ListenMode::Auto);
            w.stop();
            w.utterance();
        },
        &[],
    );
}

#[test]
fn silence_starts_no_turn_and_is_no_activity() {
    check(
        |w| {
            w.start(ListenMode::Auto);
            w.silence(121_000);
        },
        &["tts start", "says <Farewell en>", "2 packets", "tts stop", "close 1000"],
    );
}

#[test]
fn a_false_start_takes_its_recognition_back() {
    check(
        |w| {
            w.start(ListenMode::Auto);
            w.speak(120);
            w.silence(1_200);
            assert_eq!((w.count(Count::FalseStart), w.cancelled(Stage::Asr)), (1, 1));
            assert_eq!(w.phase(), Phase::Listening);
            w.transcript("Late.");
            assert_eq!(w.count(Count::LateOutcome), 1);
        },
        &["ask asr"],
    );
}

#[test]
fn nothing_recognised_is_met_with_silence() {
    check(
        |w| {
            w.start(ListenMode::Auto);
            w.utterance();
            w.transcript(" …");
            assert_eq!(w.phase(), Phase::Listening);
        },
        &["ask asr"],
    );
}

#[test]
fn a_manual_turn_is_what_was_said_between_start_and_stop() {
    check(
        |w| {
            w.start(ListenMode::Manual);
            w.speak(600);
            w.silence(1_800);
            w.speak(600);
            w.stop();
            w.utterance();
            w.transcript("Hello there.");
            answer(w);
            w.pass(2_000);
            assert_eq!(w.phase(), Phase::Idle);
            w.utterance();
        },
        &[&spoken()[..], &["5 packets", "tts stop"]].concat(),
    );
}

#[test]
fn a_manual_turn_without_speech_is_none() {
    check(
        |w| {
            w.start(ListenMode::Manual);
            w.silence(600);
            w.stop();
            w.start(ListenMode::Manual);
            w.stop();
            assert_eq!(w.phase(), Phase::Idle);
        },
        &[],
    );
}

#[test]
fn a_manual_turn_whose_stop_is_lost_ends_at_the_cap() {
    check(
        |w| {
            w.start(ListenMode::Manual);
            w.speak(29_760);
            assert_eq!(w.phase(), Phase::Listening);
            w.speak(240);
            assert_eq!(w.phase(), Phase::Thinking);
            w.speak(3_000);
        },
        &["ask asr"],
    );
}

#[test]
fn an_utterance_whose_audio_stops_is_over() {
    for mode in [ListenMode::Auto, ListenMode::Realtime, ListenMode::Manual] {
        check(
            |w| {
                w.start(mode);
                w.speak(600);
                w.pass(1_900);
                assert_eq!(w.phase(), Phase::Listening);
                w.pass(100);
                assert_eq!(w.phase(), Phase::Thinking);
            },
            &["ask asr"],
        );
    }
}

#[test]
fn starts_are_idempotent_and_begin_anew() {
    let mut world = World::new();
    world.start(ListenMode::Auto);
    world.start(ListenMode::Auto);
    ask(&mut world);
    answer(&mut world);
    world.pass(2_000);
    assert_eq!(world.log, [&spoken()[..], &["5 packets", "tts stop"]].concat());
    // A start within an utterance forgets it.
    check(
        |w| {
            w.start(ListenMode::Auto);
            w.speak(600);
            w.start(ListenMode::Auto);
            w.silence(1_200);
            assert_eq!(w.cancelled(Stage::Asr), 1);
        },
        &["ask asr"],
    );
}

#[test]
fn a_start_over_a_reply_changes_nothing_in_auto_and_cuts_it_in_manual() {
    let script = |mode: ListenMode| {
        move |w: &mut World| {
            w.start(mode);
            w.detect("what is it");
            w.start(mode);
            w.reply("Fine.");
            w.speech(0, 1);
            w.pass(1_000);
        }
    };
    let played = [
        "stt what is it",
        "tts start",
        "ask llm",
        "face Neutral",
        "ask tts 0: Fine.",
        "says Fine.",
        "1 packets",
        "tts stop",
    ];
    check(script(ListenMode::Auto), &played);
    check(script(ListenMode::Realtime), &played);
    check(script(ListenMode::Manual), &["stt what is it", "tts start", "ask llm", "drop", "tts stop"]);
}

#[test]
fn detect_and_start_in_either_order_answer_the_text() {
    let expected = ["stt hi", "tts start", "ask llm"];
    check(
        |w| {
            w.detect("hi");
            w.start(ListenMode::Auto);
        },
        &expected,
    );
    check(
        |w| {
            w.start(ListenMode::Manual);
            w.detect("hi");
        },
        &expected,
    );
}

#[test]
fn the_tail_of_the_wake_word_is_not_speech() {
    let quiet = || World::with(Rules { wake_reply: false, ..Rules::default() }, Features::default());
    check_in(
        quiet(),
        |w| {
            w.start(ListenMode::Auto);
            w.detect("你好小智");
            w.speak(240);
            w.silence(1_000);
        },
        &[],
    );
    check_in(
        quiet(),
        |w| {
            w.detect("你好小智");
            w.start(ListenMode::Auto);
            w.speak(240);
            w.speak(600);
        },
        &["ask asr"],
    );
}

#[test]
fn in_auto_and_manual_mode_audio_over_a_reply_changes_nothing() {
    for mode in [ListenMode::Auto, ListenMode::Manual] {
        check(
            |w| {
                w.start(mode);
                w.speak(1_020);
                if mode == ListenMode::Manual {
                    w.stop();
                } else {
                    w.silence(600);
                }
                w.speak(600);
                w.transcript("Hello there.");
                w.speak(600);
                answer(w);
                w.speak(240);
                assert!(w.count(Count::IgnoredAudio) >= 24);
            },
            &[&spoken()[..], &["5 packets"]].concat(),
        );
    }
}

#[test]
fn speech_over_a_reply_takes_the_floor_in_realtime() {
    let check_barge_in = |mut world: World, mode| {
        world.start(mode);
        ask(&mut world);
        world.reply("One two three four five six seven eight nine ten.");
        world.speech(0, 50);
        world.silence(600);
        assert_eq!(world.log.last().unwrap(), "12 packets");
        world.speak(600);
        // Two packets of onset, and as much again until we are sure.
        let log = &world.log[world.log.len() - 4..];
        assert_eq!(log[1..], ["drop", "tts stop", "ask asr"]);
        assert!(["15 packets", "16 packets"].contains(&log[0].as_str()), "{}", log[0]);
        world.silence(600);
        world.transcript("And then?");
        let said: Vec<_> = world.asked().iter().skip(1).map(|said| said.text.as_str()).collect();
        assert_eq!(said, ["Hello there.", "One two", "And then?"]);
    };
    check_barge_in(World::new(), ListenMode::Realtime);
    let aec = Features { aec: true, ..Features::default() };
    check_barge_in(World::with(Rules::default(), aec), ListenMode::Auto);
}

#[test]
fn a_noise_over_a_reply_does_not_end_it() {
    check(
        |w| {
            w.start(ListenMode::Realtime);
            ask(w);
            w.reply("Fine.");
            w.speech(0, 20);
            w.speak(120);
            w.silence(1_200);
            assert_eq!(w.count(Count::FalseStart), 1);
            w.pass(2_000);
        },
        &[&spoken()[..], &["20 packets", "tts stop"]].concat(),
    );
}

#[test]
fn who_goes_on_speaking_while_we_recognise_is_answered_once() {
    check(
        |w| {
            w.start(ListenMode::Realtime);
            w.utterance();
            let first = w.session.turn();
            w.speak(600);
            assert_eq!(w.jobs.len(), 1, "the lane takes one utterance at a time");
            w.outcome_of(first, transcript("What is"));
            assert!(w.blocks.iter().any(|(turn, last)| *turn == first && *last));
            w.silence(600);
            w.transcript("the time?");
            assert_eq!(w.asked().last().unwrap().text, "What is\nthe time?");
        },
        &["ask asr", "stt What is", "ask asr", "stt the time", "tts start", "ask llm"],
    );
}

#[test]
fn an_utterance_that_waits_for_its_lane_is_not_lost() {
    for mode in [ListenMode::Auto, ListenMode::Realtime] {
        let mut world = World::new();
        world.start(mode);
        world.lane_full = true;
        world.utterance();
        world.speak(600);
        assert!(!world.pour() && world.blocks.is_empty());
        world.lane_full = false;
        assert!(world.pour());
        let turn = world.session.turn();
        assert!(world.blocks.len() > 15 && world.blocks.iter().all(|(of, _)| *of == turn), "{mode:?}");
        assert!(world.blocks.last().unwrap().1);
    }
}

fn transcript(text: &str) -> crate::job::Outcome {
    let transcript = crate::job::Transcript { text: text.into(), language: None, confidence: None };
    crate::job::Outcome::Transcript(Box::new(transcript))
}

#[test]
fn a_failed_recognition_is_apologised_for_after_the_utterance() {
    let apology = ["ask asr", "tts start", "says <Apology en>", "2 packets", "tts stop"];
    check(
        |w| {
            w.start(ListenMode::Auto);
            w.speak(600);
            w.fails(Stage::Asr, 0, Cause::Unavailable);
            assert_eq!(w.log, ["ask asr"]);
            w.silence(600);
            w.pass(2_000);
            assert_eq!(w.phase(), Phase::Listening);
        },
        &apology,
    );
    check(
        |w| {
            w.start(ListenMode::Auto);
            w.utterance();
            w.pass(7_800);
            assert_eq!(w.log, ["ask asr"]);
            w.pass(2_000);
            assert_eq!(w.cancelled(Stage::Asr), 1);
        },
        &apology,
    );
    check(
        |w| {
            w.start(ListenMode::Auto);
            w.speak(600);
            w.refuse();
            w.silence(600);
            w.pass(2_000);
        },
        &["ask asr", "tts start", "says <Busy en>", "2 packets", "tts stop"],
    );
}

#[test]
fn the_last_language_is_spoken_from_then_on() {
    let mut world = World::new();
    world.start(ListenMode::Auto);
    world.utterance();
    world.transcript("今天天气怎么样？");
    assert_eq!(world.session.language(), Lang::ZH);
    assert!(world.log.contains(&"stt 今天天气怎么样".to_string()));
    world.fails(Stage::Llm, 0, Cause::Unavailable);
    world.pass(1_000);
    assert!(world.log.contains(&"says <Apology zh>".to_string()));
}

#[test]
fn a_hundred_bad_packets_in_a_row_end_the_session() {
    let mut world = World::new();
    world.start(ListenMode::Auto);
    let bad = |world: &mut World, times| (0..times).for_each(|_| world.event(Event::Packet(&[1, 2, 3])));
    bad(&mut world, 99);
    world.packet(0);
    bad(&mut world, 99);
    // An empty one means nothing, and is no proof of a good one.
    world.event(Event::Packet(&[]));
    assert!(world.log.is_empty());
    bad(&mut world, 1);
    assert_eq!(world.log.last().unwrap(), "close 1003");
    assert_eq!(world.count(Count::BadPacket), 199);
}

#[test]
fn bad_framing_counts_as_bad_audio_while_we_listen() {
    let mut world = World::new();
    let bad = |world: &mut World, times| (0..times).for_each(|_| world.event(Event::BadFrame));
    bad(&mut world, 150);
    assert!(world.log.is_empty(), "nobody listens");
    world.start(ListenMode::Auto);
    bad(&mut world, 99);
    world.packet(0);
    bad(&mut world, 50);
    (0..49).for_each(|_| world.event(Event::Packet(&[1, 2, 3])));
    assert!(world.log.is_empty());
    bad(&mut world, 1);
    assert_eq!(world.log.last().unwrap(), "close 1003");
    assert_eq!(world.count(Count::BadPacket), 150 + 199);
}

#[test]
fn an_ear_is_held_only_while_it_is_needed() {
    let holds = |session: &Session| session.ear.is_some();
    let mut world = World::new();
    world.start(ListenMode::Auto);
    assert!(!holds(&world.session), "not before there is audio");
    world.utterance();
    assert!(holds(&world.session), "the utterance may not all be in its lane");
    world.transcript("Hello there.");
    assert!(!holds(&world.session));
    answer(&mut world);
    world.pass(2_000);
    world.silence(60);
    assert!(holds(&world.session));
    world.pass(2_000);
    assert!(!holds(&world.session), "a microphone that is off needs no ear");
    world.packet(0);
    world.close();
    assert!(!holds(&world.session));
}

#[test]
fn milestones_of_a_spoken_turn_begin_before_the_endpoint() {
    let mut world = World::new();
    world.start(ListenMode::Auto);
    world.utterance();
    world.pass(100);
    world.transcript("Hello there.");
    let since = |mark: &str| mark.rsplit(' ').next().and_then(|ms| ms.parse::<u64>().ok()).unwrap();
    assert!(world.marks[0].starts_with("EndOfUtterance") && (500..600).contains(&since(&world.marks[0])));
    assert!(world.marks[1].starts_with("FinalTranscript") && since(&world.marks[1]) >= since(&world.marks[0]) + 100);
}

#[test]
fn messages_without_a_meaning_here_change_nothing() {
    check(
        |w| {
            w.say(ClientMessage::Iot);
            w.say(ClientMessage::Mcp("{}".into()));
            w.say(ClientMessage::Text("  ".into()));
            w.say(ClientMessage::Listen(Listen::Stop));
            w.say(ClientMessage::Ping);
            w.say(ClientMessage::Goodbye);
        },
        &["Pong", "close 1000"],
    );
}
