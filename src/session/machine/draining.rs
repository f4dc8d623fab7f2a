//! What a session does when the server goes down.

use crate::session::Event;
use crate::session::world::check;
use crate::wire::message::ClientMessage;

fn text(text: &str) -> ClientMessage {
    ClientMessage::Text(text.into())
}

#[test]
fn when_the_time_for_it_is_over_what_plays_is_cut_with_its_stop() {
    check(|w| w.event(Event::DrainOver), &["close 1001"]);
    check(
        |w| {
            w.say(text("hi"));
            w.event(Event::DrainOver);
        },
        &["stt hi", "tts start", "ask llm", "drop", "tts stop", "close 1001"],
    );
}

#[test]
fn drain_lets_the_turn_end_and_no_other_begin() {
    check(|w| w.event(Event::Drain), &["close 1001"]);
    check(
        |w| {
            w.say(text("hi"));
            w.event(Event::Drain);
            w.say(text("and another thing"));
            w.reply("One one. Two two.");
            w.audio(0, 2);
            w.speech(1, 5);
            w.speech(0, 2);
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
            "4 packets",
            "says Two two.",
            "5 packets",
            "tts stop",
            "close 1001",
        ],
    );
}

#[test]
fn a_drain_that_is_nearly_over_finishes_the_sentence_that_plays_and_nothing_else() {
    check(|w| w.event(Event::DrainSoon), &["close 1001"]);
    check(
        |w| {
            w.say(text("hi"));
            w.event(Event::DrainSoon);
        },
        &["stt hi", "tts start", "ask llm", "drop", "tts stop", "close 1001"],
    );
    check(
        |w| {
            w.say(text("hi"));
            w.reply("One one. Two two.");
            w.audio(0, 2);
            w.speech(1, 5);
            w.pass(60);
            w.event(Event::Drain);
            w.event(Event::DrainSoon);
            w.speech(0, 2);
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
            "4 packets",
            "tts stop",
            "close 1001",
        ],
    );
}
