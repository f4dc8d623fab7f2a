use super::*;
use crate::format::ReplyFormat;
use crate::job::Cancel;
use crate::time::{Clock, Duration};

fn split(text: &str, is_chinese: bool) -> Vec<(String, bool)> {
    runs(text, is_chinese).into_iter().map(|r| (r.text.to_owned(), r.is_chinese)).collect()
}

#[test]
fn text_is_cut_where_the_script_changes() {
    let run = |text: &str, zh| (text.to_owned(), zh);
    assert_eq!(split("Hello there.", false), [run("Hello there.", false)]);
    assert_eq!(split("打开WiFi，好吗？", true), [run("打开", true), run("WiFi，", false), run("好吗？", true)]);
    assert_eq!(split("25.5度", false), [run("25.5度", true)]);
    assert_eq!(split("12", true), [run("12", true)]);
    assert_eq!(split("…!", false), []);
}

#[test]
fn text_commands_nothing() {
    assert_eq!(harmless("a [[h@l'oU]] b"), "a [h@l'oU]] b");
    assert_eq!(harmless("[[[x"), "[x");
    assert_eq!(harmless("<break time='10s'/>\0\n"), " break time='10s'/   ");
    assert_eq!(bounded(&"你".repeat(1_000)).len(), 999);
}

fn seconds(text: &str, language: Lang) -> f64 {
    let clock = Clock::start();
    let deadline = clock.now() + Duration::from_secs(10);
    let call = Call { clock, deadline, cancel: Cancel::new(), ticket: Default::default() };
    let what =
        Speak { sentence: 0, text: text.to_owned(), language, format: ReplyFormat::DEFAULT, first_byte_by: deadline };
    let (mut heard, mut rate) = (0, 1);
    Espeak::default()
        .speak(&what, &call, &mut |sound| {
            (heard, rate) = (heard + sound.pcm.len(), sound.rate);
            Flow::Continue
        })
        .unwrap();
    heard as f64 / f64::from(rate)
}

#[test]
fn it_speaks_both_languages_and_both_in_one_sentence() {
    assert!((0.5..3.0).contains(&seconds("Good morning.", Lang::EN)));
    assert!((0.5..3.0).contains(&seconds("早上好。", Lang::ZH)));
    assert!((1.0..6.0).contains(&seconds("请打开WiFi，谢谢你。", Lang::ZH)));
    assert_eq!(seconds("", Lang::EN), 0.0);
    assert_eq!(seconds("…", Lang::ZH), 0.0);
}
