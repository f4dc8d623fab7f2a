//! Conversations as scripts. Turns by voice stand in `listening`, the order of a reply here.

use super::*;
use crate::job::Stage;
use crate::resilience::fault::Cause;
use crate::session::world::{World, check, check_in};

fn text(text: &str) -> ClientMessage {
    ClientMessage::Text(text.into())
}

#[test]
fn a_session_is_small() {
    // All of it: no heap before the first turn. The goal for everything an idle device costs is 768 bytes.
    assert!(size_of::<Session>() <= 160, "{} bytes", size_of::<Session>());
}

#[test]
fn hello_is_answered_once() {
    let mut world = World::ungreeted(Rules::default());
    world.hello(Features::default());
    world.hello(Features { emoji: false, ..Features::default() });
    assert_eq!(world.log, ["hello Opus 24000 60"]);
    assert_eq!(world.count(Count::SecondHello), 1);
    // Its features count.
    world.say(text("hi"));
    world.reply("Hello.");
    assert!(!world.log.iter().any(|line| line.starts_with("face")));
}

#[test]
fn nothing_counts_before_hello_and_without_one_the_session_ends() {
    check_in(
        World::ungreeted(Rules::default()),
        |w| {
            w.say(text("hi"));
            w.packet(8_000);
            w.abort();
            assert_eq!((w.count(Count::IgnoredMessage), w.count(Count::EarlyAudio)), (2, 1));
            w.pass(4_999);
            assert_eq!(w.phase(), Phase::Greeting);
            w.pass(1);
        },
        &["close 1008"],
    );
}

#[test]
fn pcm_is_spoken_to_who_asks_for_it() {
    let mut world = World::ungreeted(Rules::default());
    let uplink = UplinkFormat { codec: Codec::Pcm, rate: 16_000, channels: 1 };
    let hello =
        ClientHello { version: None, uplink, wants_pcm: true, is_browser: false, features: Features::default() };
    world.say(ClientMessage::Hello(Box::new(hello)));
    assert_eq!(world.log, ["hello Pcm 24000 60"]);
}

#[test]
fn a_whole_turn_in_order() {
    check(
        |w| {
            w.say(text("What is the time?"));
            w.pass(300);
            w.reply("It is noon. Have lunch 🙂!");
            w.pass(200);
            w.speech(0, 4);
            w.speech(1, 2);
            w.pass(10_000);
        },
        &[
            "stt What is the time",
            "tts start",
            "ask llm",
            "face Neutral",
            "ask tts 0: It is noon.",
            "ask tts 1: Have lunch !",
            "says It is noon.",
            "4 packets",
            "says Have lunch !",
            "2 packets",
            "tts stop",
        ],
    );
}

#[test]
fn packets_keep_time_and_stop_follows_the_playout_by_200_ms() {
    let mut world = World::new();
    world.say(text("hi"));
    world.reply("Hello.");
    world.speech(0, 6);
    // Before the audio the device gets 60 ms for `tts start`; a lead of three leaves at once.
    world.pass(60 + 6 * 60 + 199);
    assert_eq!(world.packets, [(60, 0), (60, 60), (60, 120), (120, 180), (180, 240), (240, 300)]);
    assert_ne!(world.log.last().unwrap(), "tts stop");
    world.pass(1);
    assert_eq!(world.log.last().unwrap(), "tts stop");
}

#[test]
fn the_browser_client_is_given_400_ms_after_the_playout() {
    let mut world = World::ungreeted(Rules::default());
    let uplink = UplinkFormat { codec: Codec::Opus, rate: 16_000, channels: 1 };
    let hello =
        ClientHello { version: None, uplink, wants_pcm: false, is_browser: true, features: Features::default() };
    world.say(ClientMessage::Hello(Box::new(hello)));
    world.say(text("hi"));
    world.reply("Hello.");
    world.speech(0, 6);
    world.pass(60 + 6 * 60 + 399);
    assert_ne!(world.log.last().unwrap(), "tts stop");
    world.pass(1);
    assert_eq!(world.log.last().unwrap(), "tts stop");
}

#[test]
fn sentences_play_by_index_though_they_come_out_of_order() {
    check(
        |w| {
            w.say(text("hi"));
            w.reply("One one. Two two. Three three.");
            w.speech(2, 1);
            w.speech(1, 1);
            w.pass(500);
            w.speech(0, 1);
            w.pass(2_000);
        },
        &[
            "stt hi",
            "tts start",
            "ask llm",
            "face Neutral",
            "ask tts 0: One one.",
            "ask tts 1: Two two.",
            "ask tts 2: Three three.",
            "says One one.",
            "1 packets",
            "says Two two.",
            "1 packets",
            "says Three three.",
            "1 packets",
            "tts stop",
        ],
    );
}

#[test]
fn synthesis_is_asked_no_further_ahead_than_two_sentences() {
    let mut world = World::new();
    world.say(text("hi"));
    world.reply("A one. B two. C three. D four. E five.");
    let asked = |world: &World| world.jobs.iter().filter(|job| job.stage() == Stage::Tts).count();
    assert_eq!(asked(&world), 3);
    world.speech(0, 1);
    world.pass(60);
    assert_eq!(asked(&world), 4);
}

#[test]
fn abort_is_answered_with_stop_in_every_state() {
    check(|w| w.abort(), &["tts stop"]);
    check(
        |w| {
            w.start(ListenMode::Auto);
            w.abort();
            assert_eq!(w.phase(), Phase::Listening);
        },
        &["tts stop"],
    );
    check(
        |w| {
            w.say(text("hi"));
            w.abort();
            w.reply("Late.");
            assert_eq!(w.count(Count::LateOutcome), 2);
            assert_eq!(w.cancelled(Stage::Llm), 1);
            w.pass(20_000);
        },
        &["stt hi", "tts start", "ask llm", "drop", "tts stop"],
    );
    check(
        |w| {
            w.say(text("hi"));
            w.reply("Hello.");
            w.audio(0, 9);
            w.pass(100);
            w.abort();
            w.speech(0, 9);
            w.pass(20_000);
            assert_eq!(w.cancelled(Stage::Tts), 1);
        },
        &[
            "stt hi",
            "tts start",
            "ask llm",
            "face Happy",
            "ask tts 0: Hello.",
            "says Hello.",
            "3 packets",
            "drop",
            "tts stop",
        ],
    );
}

#[test]
fn only_what_was_played_is_remembered() {
    let mut world = World::new();
    world.say(text("tell me"));
    world.reply("One is the first. Two comes behind it.");
    world.speech(0, 5);
    world.speech(1, 10);
    world.pass(60 + 5 * 60 + 5 * 60 + 10);
    world.abort();
    world.say(text("go on"));
    let said: Vec<_> = world.asked().iter().skip(1).map(|said| said.text.as_str()).collect();
    assert_eq!(said, ["tell me", "One is the first. Two comes", "go on"]);
}

#[test]
fn a_question_whose_answer_was_not_heard_is_remembered() {
    let mut world = World::new();
    world.say(text("who"));
    world.say(text("when"));
    let said: Vec<_> = world.asked().iter().skip(1).map(|said| said.text.as_str()).collect();
    assert_eq!(said, ["who\nwhen"]);
}

#[test]
fn text_over_a_reply_takes_its_place() {
    check(
        |w| {
            w.say(text("one"));
            w.detect("two");
        },
        &["stt one", "tts start", "ask llm", "drop", "tts stop", "stt two", "tts start", "ask llm"],
    );
}

#[test]
fn a_wake_word_is_greeted_or_met_with_silence() {
    let greeted = ["tts start", "says <WakeReply en>", "2 packets", "tts stop"];
    check(
        |w| {
            w.detect("你好小智");
            // Devices send it right behind: the greeting goes on.
            w.start(ListenMode::Auto);
            w.pass(2_000);
            assert_eq!(w.phase(), Phase::Listening);
        },
        &greeted,
    );
    let quiet = Rules { wake_reply: false, ..Rules::default() };
    check_in(World::with(quiet, Features::default()), |w| w.detect("Hi, ESP"), &[]);
    check(|w| w.detect(""), &[]);
}

#[test]
fn exit_words_are_answered_with_a_farewell_and_the_end() {
    check(
        |w| {
            w.say(text("退出！"));
            w.pass(2_000);
        },
        &["stt 退出", "tts start", "says <Farewell zh>", "2 packets", "tts stop", "close 1000"],
    );
}

#[test]
fn who_says_nothing_for_long_is_bid_farewell() {
    check(
        |w| {
            w.pass(119_999);
            assert!(w.log.is_empty());
            w.pass(3_000);
        },
        &["tts start", "says <Farewell en>", "2 packets", "tts stop", "close 1000"],
    );
    let never = Rules { idle: Duration::ZERO, ..Rules::default() };
    let world = World::with(never, Features::default());
    assert_eq!(world.session.poll_timeout(), None);
}

#[test]
fn a_failed_model_is_apologised_for_before_its_first_token_and_cut_short_after_it() {
    let apology = ["stt hi", "tts start", "ask llm", "says <Apology en>", "2 packets", "tts stop"];
    check(
        |w| {
            w.say(text("hi"));
            w.fails(Stage::Llm, 0, Cause::Unavailable);
            w.pass(2_000);
            assert!(w.notes.last().unwrap().contains("Failed(Llm, Unavailable)"));
        },
        &apology,
    );
    // It says nothing at all, or too late.
    check(
        |w| {
            w.say(text("hi"));
            w.reply_end();
            w.pass(2_000);
        },
        &apology,
    );
    check(
        |w| {
            w.say(text("hi"));
            w.pass(8_000);
            assert_eq!(w.cancelled(Stage::Llm), 1);
        },
        &apology,
    );
    check(
        |w| {
            w.say(text("hi"));
            w.token("So far. And th");
            w.fails(Stage::Llm, 0, Cause::Unavailable);
            w.speech(0, 1);
            w.speech(1, 1);
            w.pass(2_000);
        },
        &[
            "stt hi",
            "tts start",
            "ask llm",
            "face Neutral",
            "ask tts 0: So far.",
            "ask tts 1: And th",
            "says So far.",
            "1 packets",
            "says And th",
            "1 packets",
            "tts stop",
        ],
    );
}

#[test]
fn a_sentence_that_can_not_be_synthesised_is_shown_and_the_reply_goes_on() {
    check(
        |w| {
            w.say(text("hi"));
            w.reply("One one. Two two.");
            w.fails(Stage::Tts, 0, Cause::Unavailable);
            w.speech(1, 2);
            w.pass(2_000);
        },
        &[
            "stt hi",
            "tts start",
            "ask llm",
            "face Neutral",
            "ask tts 0: One one.",
            "ask tts 1: Two two.",
            "says One one.",
            "says Two two.",
            "2 packets",
            "tts stop",
        ],
    );
    // None at all: an apology, which needs no synthesis.
    check(
        |w| {
            w.say(text("hi"));
            w.reply("One one.");
            w.pass(3_000);
            assert_eq!(w.cancelled(Stage::Tts), 1);
            w.pass(2_000);
        },
        &[
            "stt hi",
            "tts start",
            "ask llm",
            "face Neutral",
            "ask tts 0: One one.",
            "says One one.",
            "says <Apology en>",
            "2 packets",
            "tts stop",
        ],
    );
}

#[test]
fn a_turn_without_audio_ends_with_its_budget() {
    let rules = Rules { first_byte: Duration::from_secs(60), ..Rules::default() };
    check_in(
        World::with(rules, Features::default()),
        |w| {
            w.say(text("hi"));
            w.reply("Hello.");
            w.pass(11_999);
            assert_eq!(w.log.len(), 5);
            w.pass(2_000);
        },
        &[
            "stt hi",
            "tts start",
            "ask llm",
            "face Happy",
            "ask tts 0: Hello.",
            "says <Apology en>",
            "2 packets",
            "tts stop",
        ],
    );
}

#[test]
fn no_room_is_said_to_be_busy() {
    check(
        |w| {
            w.say(text("hi"));
            w.refuse();
            w.pass(2_000);
        },
        &["stt hi", "tts start", "ask llm", "says <Busy en>", "2 packets", "tts stop"],
    );
}

#[test]
fn a_phrase_without_audio_is_shown() {
    check_in(
        World { phrases: Phrasebook::new(|phrase, _| format!("{phrase:?}!")), ..World::new() },
        |w| {
            w.say(text("hi"));
            w.fails(Stage::Llm, 0, Cause::Refused);
        },
        &["stt hi", "tts start", "ask llm", "says Apology!", "tts stop"],
    );
}

#[test]
fn a_dry_reply_is_anchored_anew_and_counted() {
    let mut world = World::new();
    world.say(text("hi"));
    world.reply("Hello.");
    world.audio(0, 1);
    world.pass(1_000);
    world.speech(0, 1);
    world.pass(0);
    assert_eq!(world.packets, [(60, 0), (1_000, 60)]);
    assert_eq!(world.count(Count::Underrun), 1);
    world.pass(259);
    assert_ne!(world.log.last().unwrap(), "tts stop");
    world.pass(1);
    assert_eq!(world.log.last().unwrap(), "tts stop");
}

#[test]
fn the_model_waits_when_it_writes_faster_than_we_speak() {
    let mut world = World::new();
    world.say(text("hi"));
    let mut blocks = 0;
    let (block, _) = crate::job::TextBlock::split_from("Ten words of text that are said in one breath. ");
    while world.session.has_room(world.session.turn(), &Outcome::Token(block.clone())) {
        world.outcome(Outcome::Token(block.clone()));
        blocks += 1;
        assert!(blocks < 1_000, "no bound");
    }
    assert!(blocks * 47 >= limits::REPLY_WAITING_BYTES && world.jobs.len() == 4);
    // Speaking makes room again.
    (0..8).for_each(|i| world.speech(i, 1));
    world.pass(3_000);
    assert!(world.session.has_room(world.session.turn(), &Outcome::Token(block)));
}

#[test]
fn an_endless_answer_is_cut() {
    let mut world = World::new();
    world.say(text("hi"));
    for _ in 0..400 {
        world.token("and so on and so on and so on and so on and so on ");
    }
    assert_eq!((world.count(Count::ReplyCut), world.cancelled(Stage::Llm)), (1, 1));
    assert!(world.session.turn.as_ref().unwrap().voice.as_ref().unwrap().text_bytes <= limits::REPLY_BYTES);
}

#[test]
fn audio_waits_in_its_lane_when_too_much_of_it_is_here() {
    let mut world = World::new();
    world.say(text("hi"));
    world.reply("One one. Two two.");
    let block = |sentence| crate::job::PacketBlock::cut(sentence, &[0; 480]).next().unwrap();
    let turn = world.session.turn();
    while world.session.has_room(turn, &Outcome::Packet(block(1))) {
        world.outcome(Outcome::Packet(block(1)));
    }
    // The sentence that plays has room of its own: nobody waits for the other.
    assert!(world.session.has_room(turn, &Outcome::Packet(block(0))));
    assert!(world.session.has_room(turn, &Outcome::SpeechEnd { sentence: 1, packets: 1 }));
    assert!(world.session.has_room(TurnId(77), &Outcome::Packet(block(1))));
}

#[test]
fn milestones_are_told_once_from_the_end_of_speech() {
    let mut world = World::new();
    world.say(text("hi"));
    world.pass(100);
    world.token("Hello. ");
    world.pass(100);
    world.reply("There.");
    world.speech(0, 2);
    world.speech(1, 1);
    world.pass(1_000);
    assert_eq!(
        world.marks,
        ["FirstToken 100", "FirstSentence 100", "FirstAudioReady 200", "FirstAudio 200", "ReplyEnd 380"]
    );
}

#[test]
fn close_gives_everything_back() {
    let mut world = World::new();
    world.say(text("hi"));
    world.reply("Hello.");
    world.close();
    assert_eq!(world.cancelled(Stage::Tts), 1);
    assert_eq!(world.session.poll_timeout(), None);
    assert_eq!(world.phase(), Phase::Closing);
}
