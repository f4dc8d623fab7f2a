//! The face for a turn, from what its first sentence says: an emoji in it decides, else a telling word, else the face stays
//! neutral. At most one per turn (`protocol.md` 3.2).

use crate::wire::message::Emotion;

/// The emotion of a sentence as the model wrote it.
pub fn of(sentence: &str) -> Emotion {
    if let Some(emotion) = sentence.chars().find_map(of_emoji) {
        return emotion;
    }
    let sentence = sentence.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| sentence.contains(word));
    WORDS.iter().find(|(words, _)| says(words)).map_or(Emotion::Neutral, |&(_, emotion)| emotion)
}

/// Whether a character is an emoji or a part of one; digits and marks that only may be emoji are not.
pub fn is_pictogram(c: char) -> bool {
    matches!(c,
        '\u{1F000}'..='\u{1FAFF}' | '\u{2600}'..='\u{27BF}' | '\u{2B00}'..='\u{2BFF}' | '\u{2300}'..='\u{23FF}'
        | '\u{200D}' | '\u{20E3}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0000}'..='\u{E007F}' | '\u{2190}'..='\u{21FF}')
}

const WORDS: &[(&[&str], Emotion)] = &[
    (&["哈哈", "haha"], Emotion::Laughing),
    (&["对不起", "抱歉", "遗憾", "难过", "sorry", "unfortunately", "sadly"], Emotion::Sad),
    (&["让我想想", "我想想", "let me think", "hmm"], Emotion::Thinking),
    (&["哇", "居然", "没想到", "wow", "amazing"], Emotion::Surprised),
    (&["爱你", "喜欢你", "love you"], Emotion::Loving),
    (&["好吃", "美味", "delicious", "tasty"], Emotion::Delicious),
    (&["晚安", "困了", "good night", "sleepy"], Emotion::Sleepy),
    (&["当然", "没问题", "of course", "certainly"], Emotion::Confident),
    (&["你好", "欢迎", "太好了", "高兴", "hello", "welcome", "great", "glad", "happy"], Emotion::Happy),
];

fn of_emoji(c: char) -> Option<Emotion> {
    Some(match c {
        '😶' | '😐' | '😑' => Emotion::Neutral,
        '🙂' | '😊' | '😀' | '😃' | '😄' | '☺' | '🎉' => Emotion::Happy,
        '😆' | '😁' => Emotion::Laughing,
        '😂' | '🤣' => Emotion::Funny,
        '😔' | '😞' | '🙁' | '☹' | '😟' => Emotion::Sad,
        '😠' | '😡' => Emotion::Angry,
        '😭' | '😢' => Emotion::Crying,
        '😍' | '🥰' | '❤' | '💕' => Emotion::Loving,
        '😳' | '😅' => Emotion::Embarrassed,
        '😯' | '😲' | '😮' => Emotion::Surprised,
        '😱' => Emotion::Shocked,
        '🤔' => Emotion::Thinking,
        '😉' => Emotion::Winking,
        '😎' => Emotion::Cool,
        '😌' => Emotion::Relaxed,
        '🤤' | '😋' => Emotion::Delicious,
        '😘' | '😗' => Emotion::Kissy,
        '😏' | '💪' => Emotion::Confident,
        '😴' | '😪' => Emotion::Sleepy,
        '😜' | '😝' | '🤪' => Emotion::Silly,
        '🙄' | '😕' => Emotion::Confused,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emoji_decides_then_a_word_then_nothing() {
        assert_eq!(of("抱歉😂"), Emotion::Funny);
        assert_eq!(of("Sorry, I can not."), Emotion::Sad);
        assert_eq!(of("The sum is four."), Emotion::Neutral);
    }

    #[test]
    fn text_is_no_pictogram() {
        assert!("abc 123 #*, 你好。！？…—“”°C€".chars().all(|c| !is_pictogram(c)));
        assert!("🙂❤⏰➡️🇨🇳".chars().all(is_pictogram));
    }
}
