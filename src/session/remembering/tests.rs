use super::*;
use crate::session::dialogue::Dialogue;
use crate::session::rules::Rules;
use crate::session::world::{World, check_in};
use crate::session::{Event, effect::Count};
use crate::time::Duration;
use crate::wire::message::{ClientMessage, Features};

fn world(durability: Durability) -> World {
    World::with(Rules { durability, ..Rules::default() }, Features { emoji: false, ..Features::default() })
}

fn text(text: &str) -> ClientMessage {
    ClientMessage::Text(text.into())
}

fn remembered(age_s: u64, turns: &[&str]) -> Remembered {
    let mut dialogue = Dialogue::default();
    for user in turns {
        let turn = Operation::Turn { user: (*user).into(), reply: "ok".into(), complete: true };
        dialogue.apply(UnixMs(1), &turn, Bounds::default());
    }
    Remembered { dialogue, age: Duration::from_secs(age_s) }
}

/// A question, and a reply of six packets: sent at 60 ms, played at 420 ms, `tts stop` due at 620 ms.
fn turn(w: &mut World) {
    w.say(text("hi"));
    w.reply("Hello there.");
    w.speech(0, 6);
}

const TURN: [&str; 6] = ["stt hi", "tts start", "ask llm", "ask tts 0: Hello there.", "says Hello there.", "6 packets"];

fn expect(script: impl FnOnce(&mut World), tail: &[&str]) {
    check_in(world(Durability::Turn), script, &[&TURN[..], tail].concat());
}

#[test]
fn what_was_played_is_written_and_the_stop_waits_for_its_time_only() {
    expect(
        |w| {
            turn(w);
            w.pass(419);
            assert_eq!(w.log.last().unwrap(), "6 packets");
            w.pass(1);
            assert_eq!(w.log.last().unwrap(), "write hi / Hello there.");
            w.event(Event::Written(TurnId(1), true));
            w.pass(199);
            assert_eq!(w.log.last().unwrap(), "write hi / Hello there.", "no earlier than without a memory");
            w.pass(1);
        },
        &["write hi / Hello there.", "tts stop"],
    );
}

#[test]
fn a_disk_that_is_late_delays_the_stop_a_little() {
    expect(
        |w| {
            turn(w);
            w.pass(640);
            assert_eq!(w.log.last().unwrap(), "write hi / Hello there.");
            w.event(Event::Written(TurnId(1), true));
        },
        &["write hi / Hello there.", "tts stop"],
    );
}

#[test]
fn a_disk_that_is_too_late_is_not_waited_for_and_the_stop_says_so() {
    expect(
        |w| {
            turn(w);
            w.pass(669);
            assert_eq!(w.log.last().unwrap(), "write hi / Hello there.");
            w.pass(1);
            w.event(Event::Written(TurnId(1), true));
            assert_eq!(w.count(Count::StopNotDurable), 1);
        },
        &["write hi / Hello there.", "tts stop, not durable"],
    );
}

#[test]
fn a_disk_that_takes_nothing_delays_nothing() {
    expect(
        |w| {
            turn(w);
            w.pass(500);
            w.event(Event::Written(TurnId(1), false));
            w.pass(120);
        },
        &["write hi / Hello there.", "tts stop, not durable"],
    );
}

#[test]
fn a_reply_cut_short_is_written_as_it_was_heard_and_promises_nothing() {
    expect(
        |w| {
            turn(w);
            w.pass(240);
            w.abort();
        },
        &["write hi / Hello, cut short", "drop", "tts stop, not durable"],
    );
}

#[test]
fn an_abort_after_the_last_sample_changes_nothing_that_was_written() {
    expect(
        |w| {
            turn(w);
            w.pass(500);
            w.event(Event::Written(TurnId(1), true));
            w.abort();
        },
        &["write hi / Hello there.", "drop", "tts stop"],
    );
}

#[test]
fn a_connection_that_is_lost_leaves_what_was_heard() {
    let mut w = world(Durability::Turn);
    turn(&mut w);
    w.pass(240);
    w.close();
    assert_eq!(w.log.last().unwrap(), "write hi / Hello, cut short");
}

#[test]
fn by_interval_nothing_waits() {
    let mut w = world(Durability::Interval);
    turn(&mut w);
    w.pass(620);
    assert_eq!(w.log[6..], ["write hi / Hello there.", "tts stop"]);
    assert_eq!(w.count(Count::StopNotDurable), 0);
}

#[test]
fn without_a_memory_nothing_is_asked_of_it() {
    let mut w = World::ungreeted(Rules::default());
    w.hello(Features { emoji: false, ..Features::default() });
    turn(&mut w);
    w.pass(620);
    assert!(!w.log.iter().any(|line| line.starts_with("write") || line == "recall"), "{:?}", w.log);
}

#[test]
fn greetings_and_farewells_are_not_written() {
    let mut w = world(Durability::Turn);
    w.detect("alexa");
    w.pass(3_000);
    assert!(!w.log.iter().any(|line| line.starts_with("write")), "{:?}", w.log);
    assert_eq!(w.log.last().unwrap(), "tts stop", "it promises nothing and breaks nothing");
}

#[test]
fn a_device_that_was_away_for_a_moment_goes_on_in_its_dialogue() {
    let mut w = World::ungreeted(Rules { durability: Durability::Turn, ..Rules::default() });
    w.hello(Features::default());
    assert_eq!(w.log[1..], ["recall"]);
    w.event(Event::Recalled(remembered(60, &["my name is Ada"])));
    w.say(text("what is my name?"));
    let asked: Vec<_> = w.asked().iter().skip(1).map(|said| said.text.as_str()).collect();
    assert_eq!(asked, ["my name is Ada", "ok", "what is my name?"]);
    assert!(!w.log.iter().any(|line| line.starts_with("write")));
}

#[test]
fn a_device_that_was_away_for_long_is_known_by_a_summary_which_is_written() {
    let mut w = world(Durability::Turn);
    w.event(Event::Recalled(remembered(3_600, &["my name is Ada", "I like tea"])));
    assert_eq!(w.log, ["write Summary(\"my name is Ada\\nI like tea\")", "write Truncate(0)"]);
    w.event(Event::Written(TurnId(0), true));
    w.say(text("what is my name?"));
    let asked = w.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].text.ends_with("my name is Ada\nI like tea"), "{}", asked[0].text);
}

#[test]
fn a_memory_that_is_late_joins_what_was_said_meanwhile() {
    let mut w = world(Durability::Turn);
    turn(&mut w);
    w.pass(1_000);
    w.event(Event::Recalled(remembered(3_600, &["my name is Ada"])));
    assert_eq!(w.log.last().unwrap(), "write Truncate(1)", "the newest turn stays");
    w.say(text("and now?"));
    let asked: Vec<_> = w.asked().iter().skip(1).map(|said| said.text.as_str()).collect();
    assert_eq!(asked, ["hi", "Hello there.", "and now?"]);
    assert!(w.asked()[0].text.ends_with("my name is Ada"));
}
