//! Words that are not questions: wake words and exit words; and what a text tells about its language.

use crate::format::Lang;

/// Whether `text` as a whole is one of `list`, without regard to case, spaces and punctuation.
pub fn is_one_of(text: &str, list: &[String]) -> bool {
    let bare =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    // The longest of the list is short: a long text is none of them, and is not copied to find out.
    let longest = list.iter().map(String::len).max().unwrap_or(0);
    if text.len() > longest.saturating_mul(2) + 64 {
        return false;
    }
    let text = bare(text);
    !text.is_empty() && list.iter().any(|word| bare(word) == text)
}

/// A text without punctuation at its ends, as the screen shows what the user said.
pub fn without_outer_marks(text: &str) -> &str {
    text.trim_matches(|c: char| !c.is_alphanumeric() && !super::emotion::is_pictogram(c))
}

/// The language a text shows by its characters: Chinese if it has any Chinese character and is not Japanese, `other` if it has
/// other letters, nothing if it has none.
pub fn language_of(text: &str, other: Lang) -> Option<Lang> {
    let kana = |c: char| matches!(c, '\u{3040}'..='\u{30FF}');
    let han = |c: char| matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}');
    let japanese = text.chars().any(kana) || other.code() == "ja";
    if !japanese && text.chars().any(han) {
        return Some(Lang::ZH);
    }
    text.chars().any(char::is_alphabetic).then_some(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Rules;

    #[test]
    fn whole_utterances_count_and_nothing_else() {
        let rules = Rules::default();
        for text in ["退出", "退出。", " Goodbye! ", "GOOD BYE", "再见！"] {
            assert!(is_one_of(text, &rules.exit_words), "{text}");
        }
        for text in ["不要退出", "how do I say goodbye", "", "。", &"退出".repeat(100)] {
            assert!(!is_one_of(text, &rules.exit_words), "{text}");
        }
        assert!(is_one_of("嘿，你好呀", &rules.wake_words));
        assert!(is_one_of("Hi,ESP", &rules.wake_words));
    }

    #[test]
    fn the_screen_shows_no_outer_marks() {
        assert_eq!(without_outer_marks("今天天气怎么样？"), "今天天气怎么样");
        assert_eq!(without_outer_marks(" \"What's up?\" "), "What's up");
        assert_eq!(without_outer_marks("?!"), "");
    }

    #[test]
    fn characters_tell_the_language() {
        assert_eq!(language_of("hello 你好", Lang::EN), Some(Lang::ZH));
        assert_eq!(language_of("hello", Lang::EN), Some(Lang::EN));
        assert_eq!(language_of("12 + 3", Lang::EN), None);
    }
}
