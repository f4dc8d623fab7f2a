//! The session's rules, filled from the configuration: one immutable copy for all sessions.

use super::record::Durability;
use crate::format::{Lang, ReplyFormat};
use crate::limits;
use crate::time::Duration;

/// How sessions behave. [`Rules::default`] is what a server without a configuration file does.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Time without speech after which we say goodbye and close; zero is never (decision 10).
    pub idle: Duration,
    /// How far ahead of the playhead we send, ms.
    pub lead_ms: u32,
    /// Reply packets that leave together; `None`: as the shard finds right ([`super::Kit::group`]).
    pub group: Option<u32>,
    /// What replies are encoded as, unless hello asks for PCM (then with this rate and duration).
    pub reply: ReplyFormat,
    /// Answer a wake word with a phrase; otherwise it only resets the ear.
    pub wake_reply: bool,
    /// What counts as a wake word when it comes as `listen/detect`; compared without case, spaces and punctuation.
    pub wake_words: Vec<String>,
    /// Whole utterances that end the conversation; compared in the same way.
    pub exit_words: Vec<String>,
    /// The system prompt, for users of any language but Chinese. `{language}` becomes the language's code.
    pub persona: String,
    /// The system prompt for users who speak Chinese.
    pub persona_zh: String,
    /// The language to recognise; `None` lets the recogniser find out.
    pub language: Option<Lang>,
    /// From the end of the utterance to first audio.
    pub turn: Duration,
    /// Recognition, from the end of the utterance ([`limits::ASR_LOCAL`] where it runs on our own cores).
    pub asr: Duration,
    /// From the question to the model's first token.
    pub first_token: Duration,
    /// The model's whole answer.
    pub llm: Duration,
    /// From a sentence to its first byte of audio.
    pub first_byte: Duration,
    /// From playout end to `tts stop` (decision 16).
    pub stop_after: Duration,
    /// The same for the browser client, which plays later and throws away what it has not played (decision 16).
    pub stop_after_browser: Duration,
    /// How long voice is not believed after `listen/detect`: the tail of the wake word (decision 16).
    pub mute: Duration,
    /// Voice after the onset that makes speech over our reply a barge-in, ms: with the onset's 96 ms about 200 ms of confident
    /// speech (`protocol.md` 4.3).
    pub barge_in_ms: u32,
    /// Turns in the dialogue's window.
    pub dialogue_turns: usize,
    /// Estimated tokens in the dialogue's window.
    pub dialogue_tokens: usize,
    /// What is promised about the memory; without one nothing is asked of it.
    pub durability: Durability,
    /// A device that was away for longer begins a new conversation, with a summary of the old one.
    pub resume: Duration,
}

impl Default for Rules {
    fn default() -> Rules {
        let words = |list: &[&str]| list.iter().map(|word| word.to_string()).collect();
        Rules {
            idle: Duration::from_secs(120),
            lead_ms: 180,
            group: None,
            reply: ReplyFormat::DEFAULT,
            wake_reply: true,
            wake_words: words(WAKE_WORDS),
            exit_words: words(EXIT_WORDS),
            persona: PERSONA.into(),
            persona_zh: PERSONA_ZH.into(),
            language: None,
            turn: limits::TURN,
            asr: limits::ASR_LOCAL,
            first_token: limits::LLM_FIRST_TOKEN,
            llm: limits::LLM_TOTAL,
            first_byte: limits::TTS_FIRST_BYTE,
            stop_after: Duration::from_millis(200),
            stop_after_browser: Duration::from_millis(400),
            mute: Duration::from_millis(300),
            barge_in_ms: 100,
            dialogue_turns: limits::DIALOGUE_TURNS,
            dialogue_tokens: limits::DIALOGUE_TOKENS,
            durability: Durability::None,
            resume: Duration::from_secs(30 * 60),
        }
    }
}

// What devices and the browser client say by default (`seed-requirements.md`, tables), and the names of the firmware's
// wake-word models, which it sends in place of the phrase.
const WAKE_WORDS: &[&str] = &[
    "你好小智",
    "嘿你好呀",
    "你好小志",
    "小爱同学",
    "你好小鑫",
    "你好小新",
    "小美同学",
    "小龙小龙",
    "喵喵同学",
    "小滨小滨",
    "小冰小冰",
    "hi esp",
    "hi xiaozhi",
    "hey xiaozhi",
    "hi lexin",
    "alexa",
    "jarvis",
];

const EXIT_WORDS: &[&str] = &["退出", "关闭", "再见", "拜拜", "goodbye", "good bye", "bye", "bye bye", "exit", "quit"];

const PERSONA: &str = "You are a friendly voice assistant in a small device. Your answers are spoken aloud: keep them to one \
to three short sentences, without lists, markdown, emoji or links. Answer in the user's language ({language}).";

const PERSONA_ZH: &str = "你是一台小设备里的语音助手，友好、自然。你的回答会被朗读：请用一到三句简短的话回答，不要使用列表、Markdown、\
表情符号或链接。用中文回答。";
