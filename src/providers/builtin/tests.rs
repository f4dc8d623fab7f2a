use super::*;
use crate::job::Cancel;
use crate::time::{Clock, Duration, Instant};
use proptest::prelude::*;

/// Wednesday, 25 November 2026, 15:05.
fn afternoon() -> DateTime {
    jiff::civil::date(2026, 11, 25).at(15, 5, 0, 0)
}

fn user(text: &str) -> Said {
    Said { role: Role::User, text: text.to_owned() }
}

fn check(question: &str, expected: &str) {
    let said = answer(&[user(question)], Lang::EN, afternoon());
    assert_eq!(said, expected, "{question}");
}

const NO_MODEL_EN: &str = "No language model is configured, so I cannot answer that. In the configuration, under llm, set \
                           provider to \"openai\", with a base_url and a model.";
const NO_MODEL_ZH: &str = "我还没有接上语言模型，这个问题答不了。请在配置文件的 llm 一节设置一个。";
const WEATHER_EN: &str = "I can't know the weather: I have no connection to a forecast.";
const WEATHER_ZH: &str = "我查不到天气，我没有连接天气预报。";

#[test]
fn english_questions() {
    let cases = [
        ("Hello!", "Hello! What can I do for you?"),
        ("hi there", "Hello! What can I do for you?"),
        ("Good morning.", "Hello! What can I do for you?"),
        ("How are you?", "I am fine, thank you. How are you?"),
        ("Hello, how are you today?", "I am fine, thank you. How are you?"),
        ("What time is it?", "It is 3:05 PM."),
        ("Hey, could you tell me the time please?", "It is 3:05 PM."),
        ("What's the time?", "It is 3:05 PM."),
        ("Do you know what time it is", "It is 3:05 PM."),
        ("What day is it today?", "Today is Wednesday."),
        ("what day is tomorrow", "Tomorrow is Thursday."),
        ("Which day was yesterday?", "Yesterday was Tuesday."),
        ("What's the date?", "Today is Wednesday, November 25, 2026."),
        ("what is today's date", "Today is Wednesday, November 25, 2026."),
        ("What is the date tomorrow?", "Tomorrow is Thursday, November 26, 2026."),
        ("what is the date the day after tomorrow", "The day after tomorrow is Friday, November 27, 2026."),
        ("What year is it?", "It is the year 2026."),
        ("What is twelve times three?", "12 times 3 is 36."),
        ("What is 3 + 4 * 5?", "3 plus 4 times 5 is 23."),
        ("How much is ten divided by three", "10 divided by 3 is about 3.3333."),
        ("0.1 plus 0.2", "0.1 plus 0.2 is 0.3."),
        ("What is 5 minus 8?", "5 minus 8 is minus 3."),
        ("What is 5 divided by zero?", "Nothing can be divided by zero."),
        ("999999999999999 times 999999999999999", "That number is too large for me."),
        ("What is 15 percent of 200?", "15 percent of 200 is 30."),
        ("Repeat after me: The quick brown Fox.", "The quick brown Fox."),
        ("repeat after me", "What shall I repeat?"),
        ("Please repeat hello world", "hello world"),
        ("repeat after me two plus two", "two plus two"),
        ("Say that again.", "I have not said anything yet."),
        ("Who are you?", WHO_EN),
        ("What's your name?", WHO_EN),
        ("What can you do?", SKILLS_EN),
        ("Can you help me?", SKILLS_EN),
        ("What's the weather like?", WEATHER_EN),
        ("Will it rain tomorrow?", WEATHER_EN),
        ("Thank you very much", "You are welcome."),
        ("Thanks!", "You are welcome."),
        ("I love you", "Thank you, that is kind of you."),
        ("Goodbye", "Goodbye!"),
        ("bye bye", "Goodbye!"),
        ("Tell me a joke", "Why did the bicycle fall over? Because it was two tired."),
        ("Who was the first person on the moon?", NO_MODEL_EN),
        ("I repeated the test", NO_MODEL_EN),
        ("this is high", NO_MODEL_EN),
        ("What is a good time to plant tomatoes?", NO_MODEL_EN),
        ("say hi to everybody who is here today", NO_MODEL_EN),
        ("...", "I did not hear anything."),
    ];
    for (question, expected) in cases {
        check(question, expected);
    }
}

const WHO_EN: &str =
    "I am voxlane, a voice server. No language model is connected, so I only know a few simple things.";
const SKILLS_EN: &str = "I can tell the time and the date, do sums, repeat what you say, and tell a joke. For more I need \
                         a language model.";

#[test]
fn chinese_questions() {
    let who = "我是 voxlane，一个语音服务。我还没有接上语言模型，只会一些简单的事。";
    let cases = [
        ("你好", "你好！有什么可以帮你？"),
        ("早上好！", "你好！有什么可以帮你？"),
        ("你好吗？", "我很好，谢谢。你呢？"),
        ("现在几点了？", "现在是下午3点零5分。"),
        ("几点了", "现在是下午3点零5分。"),
        ("今天星期几", "今天是星期三。"),
        ("明天是礼拜几？", "明天是星期四。"),
        ("今天几号？", "今天是2026年11月25日，星期三。"),
        ("后天是几月几号", "后天是2026年11月27日，星期五。"),
        ("今年是哪一年", "今年是2026年。"),
        ("三加五等于几", "3加5等于8。"),
        ("三点五乘以二等于多少？", "3.5乘以2等于7。"),
        ("一百二十减三十", "120减30等于90。"),
        ("十除以三", "10除以3约等于3.3333。"),
        ("五除以零是多少", "零不能做除数。"),
        ("请问12 + 30等于多少", "12加30等于42。"),
        ("三减五", "3减5等于负2。"),
        ("跟我说，今天真好", "今天真好"),
        ("再说一遍", "我还没有说过话。"),
        ("你是谁", who),
        ("你叫什么名字？", who),
        ("你会做什么", "我可以报时间和日期，做算术，跟你说话，还会讲笑话。要做更多，我需要接上语言模型。"),
        ("今天天气怎么样", WEATHER_ZH),
        ("明天会下雨吗", WEATHER_ZH),
        ("讲个笑话", "为什么数学书总是很忧愁？因为它的问题太多了。"),
        ("谢谢你", "不客气。"),
        ("你真棒", "谢谢你的夸奖。"),
        ("再见", "再见！"),
        ("拜拜。", "再见！"),
        ("中国的首都是哪里", NO_MODEL_ZH),
        ("明天几点开会", NO_MODEL_ZH),
        ("广州市房地产中介协会分析", NO_MODEL_ZH),
    ];
    for (question, expected) in cases {
        check(question, expected);
    }
}

#[test]
fn the_language_of_figures_is_the_turns() {
    let ask = [user("3+5")];
    assert_eq!(answer(&ask, Lang::ZH, afternoon()), "3加5等于8。");
    assert_eq!(answer(&ask, Lang::EN, afternoon()), "3 plus 5 is 8.");
    assert_eq!(answer(&ask, Lang::parse("de").unwrap(), afternoon()), "3 plus 5 is 8.");
}

#[test]
fn the_clock_is_read_as_people_say_it() {
    let cases = [
        (0, 0, "It is 12 AM.", "现在是凌晨12点整。"),
        (9, 30, "It is 9:30 AM.", "现在是上午9点30分。"),
        (12, 1, "It is 12:01 PM.", "现在是中午12点零1分。"),
        (18, 0, "It is 6 PM.", "现在是晚上6点整。"),
    ];
    for (hour, minute, english, chinese) in cases {
        let now = jiff::civil::date(2027, 1, 1).at(hour, minute, 0, 0);
        assert_eq!(answer(&[user("what time is it")], Lang::EN, now), english);
        assert_eq!(answer(&[user("现在几点")], Lang::EN, now), chinese);
    }
}

#[test]
fn an_answer_is_said_again() {
    let last = Said { role: Role::Assistant, text: "It is 3 PM.".to_owned() };
    let dialogue = [user("time please"), last, user("say that again please")];
    assert_eq!(answer(&dialogue, Lang::EN, afternoon()), "It is 3 PM.");
}

#[test]
fn it_streams_in_pieces_and_stops_when_told() {
    let clock = Clock::start();
    let call = Call {
        clock,
        deadline: clock.now() + Duration::from_secs(60),
        cancel: Cancel::new(),
        ticket: Default::default(),
    };
    let ask = Converse { dialogue: vec![user("Who are you?")], language: Lang::EN, first_token_by: Instant::NEVER };
    let mut said = Vec::new();
    let end = Builtin::new().converse(&ask, &call, &mut |piece| {
        said.push(piece.to_owned());
        Flow::Continue
    });
    assert_eq!((end, said.concat().as_str()), (Ok(ReplyEnd::Complete), WHO_EN));
    assert!(said.len() > 10);
    assert_eq!(Builtin::new().converse(&ask, &call, &mut |_| Flow::Stop), Ok(ReplyEnd::Length));
    call.cancel.cancel();
    assert_eq!(Builtin::new().converse(&ask, &call, &mut |_| Flow::Continue), Err(Fault::cancelled()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_said_can_hurt_it(question in "[-0-9一二三十百万亿点加减乘除以负repeat tmsx.,+*/%和 跟我说你好\u{0}-\u{10ffff}]{0,60}") {
        let said = answer(&[user(&question)], Lang::EN, afternoon());
        let is_repeat = matches!(intent::understand(&question), intent::Intent::Repeat(_));
        prop_assert!(is_repeat || said.len() < 2_000);
    }
}

#[test]
fn who_stands_in_for_a_model_does_not_say_that_there_is_none() {
    for (question, words) in
        [("why is the sky blue", "try again later"), ("天空为什么是蓝色的", "过一会儿"), ("what can you do", "Until")]
    {
        let said = reply(&[user(question)], Lang::EN, afternoon(), true);
        assert!(said.contains(words) && !said.contains("configur") && !said.contains("language model"), "{said}");
    }
    assert_eq!(reply(&[user("what is 3 plus 5")], Lang::EN, afternoon(), true), "3 plus 5 is 8.");
    assert!(outage(Lang::ZH).contains("语言模型") && outage(Lang::EN).ends_with(' '));
}
