//! The words: each intent in English and in Chinese, short enough to be spoken.

use super::arithmetic::{Operation, Sum, Value};
use super::intent::Intent;
use super::number::Number;
use crate::format::Lang;
use jiff::ToSpan;
use jiff::civil::{DateTime, Weekday};

/// Says it. `before` is our last answer, `turns` how many turns there were.
pub fn say(intent: &Intent, language: Lang, now: DateTime, before: Option<&str>, turns: usize) -> String {
    let pick = |english: &str, chinese: &str| (if language == Lang::ZH { chinese } else { english }).to_owned();
    match intent {
        Intent::Repeat(words) if words.is_empty() => pick("What shall I repeat?", "要我重复什么呢？"),
        Intent::Repeat(words) => words.clone(),
        Intent::SayAgain => match before {
            Some(text) => text.to_owned(),
            None => pick("I have not said anything yet.", "我还没有说过话。"),
        },
        Intent::Sum(sum) => sum_in(sum, language),
        Intent::Time => time_in(now, language),
        Intent::Date(days) => day_in(now, *days, language, true),
        Intent::Weekday(days) => day_in(now, *days, language, false),
        Intent::Year => pick(&format!("It is the year {}.", now.year()), &format!("今年是{}年。", now.year())),
        Intent::Weather => {
            pick("I can't know the weather: I have no connection to a forecast.", "我查不到天气，我没有连接天气预报。")
        }
        Intent::Joke => joke(language, turns),
        Intent::Skills => pick(
            "I can tell the time and the date, do sums, repeat what you say, and tell a joke. For more I need a language model.",
            "我可以报时间和日期，做算术，跟你说话，还会讲笑话。要做更多，我需要接上语言模型。",
        ),
        Intent::Who => pick(
            "I am voxlane, a voice server. No language model is connected, so I only know a few simple things.",
            "我是 voxlane，一个语音服务。我还没有接上语言模型，只会一些简单的事。",
        ),
        Intent::HowAreYou => pick("I am fine, thank you. How are you?", "我很好，谢谢。你呢？"),
        Intent::Thanks => pick("You are welcome.", "不客气。"),
        Intent::Goodbye => pick("Goodbye!", "再见！"),
        Intent::Praise => pick("Thank you, that is kind of you.", "谢谢你的夸奖。"),
        Intent::Greeting => pick("Hello! What can I do for you?", "你好！有什么可以帮你？"),
        Intent::Nothing => pick("I did not hear anything.", "我没有听到什么。"),
        Intent::Unknown => pick(
            "No language model is configured, so I cannot answer that. In the configuration, under llm, set provider to \
             \"openai\", with a base_url and a model.",
            "我还没有接上语言模型，这个问题答不了。请在配置文件的 llm 一节设置一个。",
        ),
    }
}

/// The same while a language model is configured and cannot be reached; `None` where nothing is to be said differently.
pub fn say_standing_in(intent: &Intent, language: Lang) -> Option<&'static str> {
    let pick = |english, chinese| Some(if language == Lang::ZH { chinese } else { english });
    match intent {
        Intent::Skills => pick(
            "Until I am connected again I can tell the time and the date, do sums, repeat what you say, and tell a joke.",
            "在恢复连接之前，我可以报时间和日期，做算术，重复你说的话，还会讲笑话。",
        ),
        Intent::Who => pick("I am your voice assistant.", "我是你的语音助手。"),
        Intent::Unknown => {
            pick("I can't answer that right now. Please try again later.", "这个问题我现在答不了，请过一会儿再试。")
        }
        _ => None,
    }
}

fn joke(language: Lang, turns: usize) -> String {
    const ENGLISH: [&str; 3] = [
        "Why did the bicycle fall over? Because it was two tired.",
        "I would tell you a joke about silence, but you would not hear it.",
        "Why was the clock sent out of class? It kept tocking.",
    ];
    const CHINESE: [&str; 3] = [
        "为什么数学书总是很忧愁？因为它的问题太多了。",
        "小明问：什么东西越洗越脏？答案是水。",
        "为什么电脑很怕冷？因为它总开着窗口。",
    ];
    let jokes = if language == Lang::ZH { CHINESE } else { ENGLISH };
    jokes[turns % jokes.len()].to_owned()
}

fn time_in(now: DateTime, language: Lang) -> String {
    let (hour, minute) = (now.hour(), now.minute());
    let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
    if language != Lang::ZH {
        let half = if hour < 12 { "AM" } else { "PM" };
        return if minute == 0 {
            format!("It is {twelve} {half}.")
        } else {
            format!("It is {twelve}:{minute:02} {half}.")
        };
    }
    let part = match hour {
        0..=4 => "凌晨",
        5..=11 => "上午",
        12 => "中午",
        13..=17 => "下午",
        _ => "晚上",
    };
    match minute {
        0 => format!("现在是{part}{twelve}点整。"),
        1..=9 => format!("现在是{part}{twelve}点零{minute}分。"),
        _ => format!("现在是{part}{twelve}点{minute}分。"),
    }
}

fn day_in(now: DateTime, days: i8, language: Lang, with_date: bool) -> String {
    // Only the ends of the calendar, thousands of years away, have no next day.
    let day = now.checked_add(i64::from(days).days()).unwrap_or(now);
    let (english, chinese) = match days {
        2 => ("The day after tomorrow is", "后天是"),
        1 => ("Tomorrow is", "明天是"),
        -1 => ("Yesterday was", "昨天是"),
        -2 => ("The day before yesterday was", "前天是"),
        _ => ("Today is", "今天是"),
    };
    let (weekday, han) = weekday(day.weekday());
    match (language == Lang::ZH, with_date) {
        (true, true) => format!("{chinese}{}年{}月{}日，{han}。", day.year(), day.month(), day.day()),
        (true, false) => format!("{chinese}{han}。"),
        (false, true) => format!("{english} {weekday}, {} {}, {}.", month(day.month()), day.day(), day.year()),
        (false, false) => format!("{english} {weekday}."),
    }
}

fn weekday(day: Weekday) -> (&'static str, &'static str) {
    match day {
        Weekday::Monday => ("Monday", "星期一"),
        Weekday::Tuesday => ("Tuesday", "星期二"),
        Weekday::Wednesday => ("Wednesday", "星期三"),
        Weekday::Thursday => ("Thursday", "星期四"),
        Weekday::Friday => ("Friday", "星期五"),
        Weekday::Saturday => ("Saturday", "星期六"),
        Weekday::Sunday => ("Sunday", "星期日"),
    }
}

fn month(number: i8) -> &'static str {
    const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    NAMES[(number - 1).clamp(0, 11) as usize]
}

fn sum_in(sum: &Sum, language: Lang) -> String {
    let chinese = language == Lang::ZH;
    let value = match sum.value() {
        Value::Number(value) => value,
        Value::NoDivision if chinese => return "零不能做除数。".to_owned(),
        Value::NoDivision => return "Nothing can be divided by zero.".to_owned(),
        Value::TooLarge if chinese => return "这个数太大了，我算不了。".to_owned(),
        Value::TooLarge => return "That number is too large for me.".to_owned(),
    };
    let mut text = number_in(sum.first, chinese);
    for &(operation, number) in &sum.rest {
        text.push_str(match (operation, chinese) {
            (Operation::Plus, true) => "加",
            (Operation::Minus, true) => "减",
            (Operation::Times, true) => "乘以",
            (Operation::Over, true) => "除以",
            (Operation::PercentOf, true) => "%乘以",
            (Operation::Plus, false) => " plus ",
            (Operation::Minus, false) => " minus ",
            (Operation::Times, false) => " times ",
            (Operation::Over, false) => " divided by ",
            (Operation::PercentOf, false) => " percent of ",
        });
        text.push_str(&number_in(number, chinese));
    }
    let exact = value.digits().is_some_and(|(_, exact)| exact);
    let equals = match (exact, chinese) {
        (true, true) => "等于",
        (false, true) => "约等于",
        (true, false) => " is ",
        (false, false) => " is about ",
    };
    let stop = if chinese { "。" } else { "." };
    format!("{text}{equals}{}{stop}", number_in(value, chinese))
}

fn number_in(number: Number, chinese: bool) -> String {
    let digits = number.digits().map_or_else(String::new, |(digits, _)| digits);
    match (number.is_negative(), chinese) {
        (false, _) => digits,
        (true, true) => format!("负{digits}"),
        (true, false) => format!("minus {digits}"),
    }
}
