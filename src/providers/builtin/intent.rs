//! What a question asks for, by tables of phrases in English and Chinese.

use super::arithmetic::Sum;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Say these words.
    Repeat(String),
    /// Say your last answer once more.
    SayAgain,
    /// Do a sum.
    Sum(Sum),
    /// The time of day.
    Time,
    /// The date, so many days from today.
    Date(i8),
    /// The day of the week, so many days from today.
    Weekday(i8),
    /// The year.
    Year,
    /// The weather, which we cannot know.
    Weather,
    /// A joke.
    Joke,
    /// What we can do.
    Skills,
    /// Who we are.
    Who,
    /// How we are.
    HowAreYou,
    /// Thanks.
    Thanks,
    /// A farewell.
    Goodbye,
    /// A kind word.
    Praise,
    /// A greeting.
    Greeting,
    /// Nothing was said.
    Nothing,
    /// Anything else.
    Unknown,
}

/// Finds out what `question` asks for. The particular goes before the general: "hello, what time is it" asks for the time.
pub fn understand(question: &str) -> Intent {
    let lower = question.to_ascii_lowercase();
    let heard = Heard::new(&lower);
    if heard.is_empty() {
        return Intent::Nothing;
    }
    if heard.has(
        &["say that again", "repeat that", "say it again", "what did you say"],
        &["再说一遍", "再说一次", "你刚才说什么"],
    ) {
        return Intent::SayAgain;
    }
    if let Some(words) = to_repeat(question, &lower) {
        return Intent::Repeat(words);
    }
    if let Some(sum) = Sum::find(&lower) {
        return Intent::Sum(sum);
    }
    if let Some(intent) = calendar(&heard) {
        return intent;
    }
    TABLE.iter().find(|row| heard.has(row.english, row.chinese)).map(|row| row.intent.clone()).unwrap_or_else(|| {
        let greets = heard.is_short() && heard.has(GREETING.english, GREETING.chinese);
        if greets { Intent::Greeting } else { Intent::Unknown }
    })
}

/// A question made easy to search: English as words between single blanks, Chinese without blanks and marks.
struct Heard {
    words: String,
    han: String,
}

impl Heard {
    fn new(lower: &str) -> Heard {
        let spaced: String = lower.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
        let words = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
        let han = words.chars().filter(|c| !c.is_whitespace()).collect();
        Heard { words: format!(" {words} "), han }
    }

    fn has(&self, english: &[&str], chinese: &[&str]) -> bool {
        english.iter().any(|phrase| self.has_words(phrase)) || chinese.iter().any(|part| self.han.contains(part))
    }

    fn has_words(&self, phrase: &str) -> bool {
        self.words.match_indices(phrase).any(|(at, found)| {
            let before = self.words[..at].ends_with(' ');
            let after = self.words[at + found.len()..].starts_with(' ');
            before && after
        })
    }

    fn is(&self, whole: &str) -> bool {
        self.han == whole || self.words.trim() == whole
    }

    fn is_empty(&self) -> bool {
        self.han.is_empty()
    }

    /// Short enough to be nothing but a greeting.
    fn is_short(&self) -> bool {
        self.han.chars().count() <= 6 || (self.han.is_ascii() && self.words.split_whitespace().count() <= 4)
    }
}

const REPEAT: [&str; 10] = [
    "repeat after me",
    "say after me",
    "please repeat",
    "repeat",
    "请跟我说",
    "跟我说",
    "跟我读",
    "跟着我说",
    "学我说",
    "重复",
];

/// The words to be repeated, in their own spelling; `lower` has the same length.
fn to_repeat(question: &str, lower: &str) -> Option<String> {
    let lead = lower.len() - lower.trim_start().len();
    let start = REPEAT.iter().find(|phrase| lower[lead..].starts_with(**phrase)).map(|phrase| lead + phrase.len())?;
    let rest = question.get(start..)?;
    // "repeated" is another word than "repeat".
    if rest.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let words =
        rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | '：' | '，' | '.' | '。' | '-'));
    Some(words.trim_end().to_owned())
}

fn calendar(heard: &Heard) -> Option<Intent> {
    let days = days_from_today(heard);
    let asks_time = ["几点", "几点了", "几点钟"].iter().any(|whole| heard.is(whole));
    if asks_time || heard.has(TIME.english, TIME.chinese) {
        return Some(Intent::Time);
    }
    if heard.has(&["what year", "which year"], &["哪一年", "哪年", "几几年", "今年是多少年", "今年是什么年"])
    {
        return Some(Intent::Year);
    }
    if heard.has(DATE.english, DATE.chinese) {
        return Some(Intent::Date(days));
    }
    let named = heard.has(&["today", "tomorrow", "yesterday", "is it"], &[]);
    let asks_day = heard.has(&["what day", "which day", "what weekday"], &[]) && named;
    if asks_day || heard.has(&["day of the week"], &["星期几", "周几", "礼拜几"]) {
        return Some(Intent::Weekday(days));
    }
    None
}

fn days_from_today(heard: &Heard) -> i8 {
    let table: [(&[&str], &[&str], i8); 5] = [
        (&["the day after tomorrow"], &["后天"], 2),
        (&["the day before yesterday"], &["前天"], -2),
        (&["tomorrow"], &["明天", "明日"], 1),
        (&["yesterday"], &["昨天", "昨日"], -1),
        (&["today"], &["今天"], 0),
    ];
    table.iter().find(|(english, chinese, _)| heard.has(english, chinese)).map_or(0, |row| row.2)
}

struct Row {
    intent: Intent,
    english: &'static [&'static str],
    chinese: &'static [&'static str],
}

const TIME: Row = Row {
    intent: Intent::Time,
    english: &[
        "what time is it",
        "what s the time",
        "what is the time",
        "what is the current time",
        "tell me the time",
        "time please",
        "have the time",
        "know the time",
        "know what time it is",
        "me what time it is",
        "current time",
    ],
    chinese: &[
        "现在几点",
        "几点了",
        "几点钟了",
        "现在是几点",
        "什么时间了",
        "现在的时间",
        "现在什么时间",
        "什么时候了",
    ],
};

const DATE: Row = Row {
    intent: Intent::Date(0),
    english: &[
        "what s the date",
        "what is the date",
        "what date",
        "what is today",
        "what s today",
        "today s date",
        "tomorrow s date",
        "yesterday s date",
        "tell me the date",
        "date today",
        "date is it",
    ],
    chinese: &["几号", "几月几", "日期", "多少号"],
};

const GREETING: Row = Row {
    intent: Intent::Greeting,
    english: &["hello", "hi", "hey", "good morning", "good afternoon", "good evening", "greetings", "hello there"],
    chinese: &["你好", "您好", "早上好", "早安", "上午好", "下午好", "晚上好", "嗨", "哈喽", "在吗", "喂"],
};

const TABLE: [Row; 8] = [
    Row {
        intent: Intent::Weather,
        english: &[
            "weather",
            "raining",
            "going to rain",
            "will it rain",
            "umbrella",
            "forecast",
            "temperature outside",
        ],
        chinese: &["天气", "下雨", "下雪", "气温", "带伞"],
    },
    Row {
        intent: Intent::Joke,
        english: &["joke", "jokes", "make me laugh", "something funny"],
        chinese: &["笑话", "逗我", "搞笑", "段子"],
    },
    Row {
        intent: Intent::Skills,
        english: &[
            "what can you do",
            "what do you do",
            "what else can you do",
            "how can you help",
            "can you help me",
            "what are you able to do",
            "what can i ask",
        ],
        chinese: &[
            "能做什么",
            "会做什么",
            "你会什么",
            "能干什么",
            "会干什么",
            "什么功能",
            "能帮我什么",
            "会干嘛",
            "能干嘛",
            "怎么用",
        ],
    },
    Row {
        intent: Intent::Who,
        english: &[
            "who are you",
            "what are you",
            "what s your name",
            "what is your name",
            "your name",
            "introduce yourself",
            "who made you",
        ],
        chinese: &[
            "你是谁",
            "你叫什么",
            "你的名字",
            "介绍一下自己",
            "介绍你自己",
            "介绍一下你",
            "你是什么",
            "自我介绍",
            "谁做的你",
        ],
    },
    Row {
        intent: Intent::HowAreYou,
        english: &["how are you", "how do you do", "how s it going", "how is it going", "what s up", "how are things"],
        chinese: &["你好吗", "你怎么样", "最近怎么样", "过得怎么样", "还好吗", "最近好吗"],
    },
    Row {
        intent: Intent::Thanks,
        english: &["thank you", "thanks", "thanks a lot", "much appreciated"],
        chinese: &["谢谢", "感谢", "多谢", "谢了"],
    },
    Row {
        intent: Intent::Goodbye,
        english: &["goodbye", "good bye", "bye", "see you", "good night", "farewell"],
        chinese: &["再见", "拜拜", "晚安", "回头见", "明天见"],
    },
    Row {
        intent: Intent::Praise,
        english: &[
            "i love you",
            "i like you",
            "you are great",
            "good job",
            "well done",
            "you re great",
            "you are smart",
        ],
        chinese: &["我爱你", "我喜欢你", "你真棒", "你好棒", "真聪明", "很聪明", "真厉害"],
    },
];
