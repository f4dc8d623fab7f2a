//! What the stand-ins say. A reply has so many sentences of plain words, long enough for so much speech, and each sentence
//! carries the word of the voice that was heard. No commas: a server may speak the first part of a first sentence alone.

use crate::dice::Dice;
use crate::identity;
use crate::profile::Profile;

/// Words without a mood: servers look for moods to show a face.
const WORDS: [&str; 24] = [
    "the", "river", "runs", "under", "an", "old", "bridge", "and", "people", "walk", "over", "it", "each", "morning",
    "with", "bread", "from", "a", "small", "shop", "near", "that", "tall", "tower",
];

/// What recognition heard.
pub fn transcript(id: Option<u16>) -> String {
    match id {
        Some(id) => format!("This is {} and I would like to know more.", identity::words(id)),
        None => "I would like to know more about it.".to_owned(),
    }
}

/// What the language model says to that.
pub fn reply(id: Option<u16>, profile: &Profile, dice: &mut Dice) -> String {
    let sentences = profile.sentences.max(1);
    let chars = f64::from(profile.speech_ms) / 1_000.0 * profile.chars_s / f64::from(sentences);
    let name = id.map(identity::words);
    let mut out = String::with_capacity(chars as usize * sentences as usize + 64);
    for nth in 1..=sentences {
        let end = (chars * f64::from(nth)) as usize;
        let start = out.len();
        out.push_str(name.as_deref().unwrap_or("Everyone"));
        out.push_str(" hears");
        let mut at = dice.below(WORDS.len());
        while out.len() + WORDS[at].len() < end {
            out.push(' ');
            out.push_str(WORDS[at]);
            at = (at + 1) % WORDS.len();
        }
        debug_assert!(out.len() > start);
        out.push_str(if nth == sentences { "." } else { ". " });
    }
    out
}

/// Text in tokens: at most four letters each, the blank before a word belongs to it. About as many as a real model's.
pub fn tokens(text: &str) -> Vec<&str> {
    const LETTERS: usize = 4;
    let mut out = Vec::with_capacity(text.len() / 3);
    let mut start = 0;
    let mut letters = 0;
    for (at, c) in text.char_indices() {
        if at > start && (c == ' ' || letters == LETTERS) {
            out.push(&text[start..at]);
            (start, letters) = (at, 0);
        }
        letters += usize::from(c != ' ');
    }
    if start < text.len() {
        out.push(&text[start..]);
    }
    out
}

/// How long the voice takes to say `text`, ms.
pub fn speech_ms(text: &str, profile: &Profile) -> u32 {
    (text.chars().count() as f64 / profile.chars_s * 1_000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Stage;
    use voxlane::session::sentence::Splitter;

    fn say(id: Option<u16>, profile: &Profile) -> String {
        reply(id, profile, &mut Dice::of(1, Stage::Llm, 0))
    }

    #[test]
    fn each_sentence_that_a_server_cuts_out_carries_the_word() {
        for sentences in [1, 3, 7] {
            let profile = Profile { sentences, speech_ms: 1_700 * sentences, ..Profile::R2 };
            let mut splitter = Splitter::default();
            tokens(&say(Some(500), &profile)).iter().for_each(|token| splitter.push(token));
            splitter.end();
            let cut: Vec<String> = std::iter::from_fn(|| splitter.next_sentence()).collect();
            assert_eq!(cut.len(), sentences as usize, "{cut:?}");
            assert!(cut.iter().all(|sentence| identity::find(sentence) == Some(500)), "{cut:?}");
        }
    }

    #[test]
    fn a_reply_is_as_long_as_it_should_be_said() {
        // Three sentences with a name are at least three seconds.
        for speech_ms in [4_000, 5_000, 30_000] {
            let profile = Profile { speech_ms, ..Profile::R2 };
            for id in [None, Some(9)] {
                let said = super::speech_ms(&say(id, &profile), &profile);
                assert!(said.abs_diff(speech_ms) < 500, "{said} of {speech_ms}");
            }
        }
    }

    #[test]
    fn tokens_are_the_text() {
        let text = say(Some(1), &Profile::R2);
        let tokens = tokens(&text);
        assert_eq!(tokens.concat(), text);
        assert!((text.len() / 5..text.len() / 2).contains(&tokens.len()), "{}", tokens.len());
        assert_eq!(super::tokens("你好 a"), ["你好", " a"]);
    }

    #[test]
    fn without_a_voice_there_is_no_word() {
        assert_eq!(identity::find(&say(None, &Profile::R2)), None);
        assert_eq!(identity::find(&transcript(None)), None);
        assert_eq!(identity::find(&transcript(Some(3))), Some(3));
    }
}
