//! The remembered turns of one session, and the window of them that the model is given.

use crate::job::{Role, Said};
use std::collections::VecDeque;

/// What was said, oldest first: only what the user has really heard of our replies.
#[derive(Debug, Default)]
pub struct Dialogue {
    turns: VecDeque<Exchange>,
    tokens: usize,
}

#[derive(Debug)]
struct Exchange {
    user: Box<str>,
    reply: Box<str>,
}

impl Exchange {
    fn tokens(&self) -> usize {
        tokens(&self.user) + tokens(&self.reply)
    }
}

impl Dialogue {
    /// Remembers a turn: what the user said, and what was heard of the reply (perhaps nothing). Whole old turns are forgotten
    /// beyond `turns_max` and `tokens_max`; the newest always stays.
    pub fn record(&mut self, user: &str, reply: &str, turns_max: usize, tokens_max: usize) {
        if user.is_empty() && reply.is_empty() {
            return;
        }
        let exchange = Exchange { user: user.into(), reply: reply.into() };
        self.tokens += exchange.tokens();
        self.turns.push_back(exchange);
        while self.turns.len() > 1 && (self.turns.len() > turns_max || self.tokens > tokens_max) {
            if let Some(oldest) = self.turns.pop_front() {
                self.tokens -= oldest.tokens();
            }
        }
    }

    /// What the model gets: the persona, the remembered turns as far as they fit beside the question, the question. Neighbours of
    /// the same role are joined, as services refuse two in a row: an unanswered question goes with the next.
    pub fn window(&self, persona: &str, question: &str, tokens_max: usize) -> Vec<Said> {
        let mut left = tokens_max.saturating_sub(tokens(persona) + tokens(question));
        let fits = self.turns.iter().rev().take_while(|turn| {
            let cost = turn.tokens();
            let fits = cost <= left;
            left = left.saturating_sub(cost);
            fits
        });
        let first = self.turns.len() - fits.count();
        let mut window = Vec::new();
        say(&mut window, Role::System, persona);
        for turn in self.turns.iter().skip(first) {
            say(&mut window, Role::User, &turn.user);
            say(&mut window, Role::Assistant, &turn.reply);
        }
        say(&mut window, Role::User, question);
        window
    }

    /// How many turns are remembered.
    pub fn len(&self) -> usize {
        self.turns.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

fn say(window: &mut Vec<Said>, role: Role, text: &str) {
    if text.is_empty() {
        return;
    }
    match window.last_mut().filter(|last| last.role == role) {
        Some(last) => {
            last.text.push('\n');
            last.text.push_str(text);
        }
        None => window.push(Said { role, text: text.to_string() }),
    }
}

/// An estimate without any model's vocabulary: a Chinese character is about one token, four Latin letters are; and each entry
/// costs a few for its frame.
fn tokens(text: &str) -> usize {
    if text.is_empty() {
        return 0;
    }
    let (ascii, other) = text.chars().fold((0, 0), |(a, o), c| if c.is_ascii() { (a + 1, o) } else { (a, o + 1) });
    ascii / 4 + other + 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(window: &[Said]) -> Vec<&str> {
        window.iter().map(|said| said.text.as_str()).collect()
    }

    #[test]
    fn the_window_holds_the_persona_whole_turns_and_the_question() {
        let mut dialogue = Dialogue::default();
        dialogue.record("a", "b", 20, 3_000);
        assert_eq!(texts(&dialogue.window("P", "q", 3_000)), ["P", "a", "b", "q"]);
    }

    #[test]
    fn old_turns_are_dropped_whole_by_number_and_by_tokens() {
        let mut dialogue = Dialogue::default();
        (0..30).for_each(|i| dialogue.record(&format!("u{i}"), &format!("r{i}"), 20, 3_000));
        assert_eq!(dialogue.len(), 20);
        assert_eq!(dialogue.window("P", "q", 3_000)[1].text, "u10");
        dialogue.record(&"长".repeat(2_900), "ok", 20, 3_000);
        assert!(dialogue.tokens <= 3_000 && dialogue.len() < 20);
        // A question that leaves no room still goes, with the persona.
        assert_eq!(dialogue.window("P", &"问".repeat(4_000), 3_000).len(), 2);
    }

    #[test]
    fn an_unanswered_question_goes_with_the_next() {
        let mut dialogue = Dialogue::default();
        dialogue.record("What is", "", 20, 3_000);
        assert_eq!(texts(&dialogue.window("P", "the time?", 3_000)), ["P", "What is\nthe time?"]);
    }
}
