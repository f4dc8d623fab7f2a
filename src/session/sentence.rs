//! Streaming text to sentences: whole enough to be spoken, early enough that the user does not wait.
//!
//! A border is found only when everything that decides it is there, so the same text gives the same sentences however it was
//! cut into chunks. Rules: Chinese marks always end a sentence; Latin ones only before a space, a Chinese character or the end,
//! and not in decimals, abbreviations, initials or an ellipsis; a line's end always does. The first sentence also ends at a
//! comma-class mark once it is long enough to be worth speaking. Fenced code is dropped: nobody wants it read aloud.

use crate::limits;

/// The splitter of one reply.
#[derive(Debug, Default)]
pub struct Splitter {
    text: String,
    ended: bool,
    /// A sentence has been given out.
    begun: bool,
    in_code: bool,
    /// All that is here was looked at in vain: more text must come first.
    in_vain: bool,
}

impl Splitter {
    /// More text.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.in_vain = false;
    }

    /// No more text comes.
    pub fn end(&mut self) {
        self.ended = true;
        self.in_vain = false;
    }

    /// Bytes not given out yet.
    pub fn waiting(&self) -> usize {
        self.text.len()
    }

    /// Whether everything has been given out and nothing more comes.
    pub fn is_done(&self) -> bool {
        self.ended && self.text.is_empty()
    }

    /// The next whole sentence, trimmed and never empty.
    pub fn next_sentence(&mut self) -> Option<String> {
        if self.in_vain {
            return None;
        }
        let sentence = self.cut_sentence();
        self.in_vain = sentence.is_none();
        sentence
    }

    fn cut_sentence(&mut self) -> Option<String> {
        loop {
            if self.in_code && !self.skip_code() {
                return None;
            }
            let Cut { end, code } = self.find_cut()?;
            let sentence = self.text[..end].trim().to_string();
            self.text.drain(..end);
            if code {
                self.text.drain(..FENCE.len());
                self.in_code = true;
            }
            if !sentence.is_empty() {
                self.begun = true;
                return Some(sentence);
            }
        }
    }

    /// Drops text up to and with the closing fence. Returns whether it was there (or nothing more comes).
    fn skip_code(&mut self) -> bool {
        if let Some(at) = self.text.find(FENCE) {
            self.text.drain(..at + FENCE.len());
            self.in_code = false;
            return true;
        }
        // The last two characters may be the beginning of a fence.
        let mut keep = self.text.len() - self.text.bytes().rev().take(2).take_while(|&b| b == b'`').count();
        if self.ended {
            keep = self.text.len();
            self.in_code = false;
        }
        self.text.drain(..keep);
        self.ended
    }

    /// Where the first sentence in the buffer ends, if that is certain.
    fn find_cut(&self) -> Option<Cut> {
        let text = self.text.as_str();
        let mut weight = 0;
        let mut soft = None;
        for (at, c) in text.char_indices() {
            let rest = &text[at + c.len_utf8()..];
            if at + c.len_utf8() > limits::SENTENCE_BYTES {
                return Some(Cut::at(soft.unwrap_or(at)));
            }
            if c == '`' {
                let ticks = text[at..].bytes().take(FENCE.len()).take_while(|&b| b == b'`').count();
                if ticks == FENCE.len() {
                    return Some(Cut { end: at, code: true });
                }
                if at + ticks == text.len() && !self.ended {
                    return None;
                }
            }
            let verdict = match kind_of(c) {
                Mark::None => Verdict::No,
                Mark::Line => Verdict::Yes,
                Mark::Wide => self.run_out(rest),
                Mark::Narrow => self.narrow(rest),
                Mark::Dot => self.dot(&text[..at], rest),
                Mark::Comma => {
                    soft = Some(at + c.len_utf8());
                    self.comma(c, weight, rest)
                }
            };
            match verdict {
                Verdict::Wait => return None,
                Verdict::Yes if c == '\n' || c == '\r' => return Some(Cut::at(at + 1)),
                Verdict::Yes => return Some(Cut::at(at + c.len_utf8() + closers(rest))),
                Verdict::No => {}
            }
            if c.is_whitespace() {
                soft = Some(at + c.len_utf8());
            }
            weight += weight_of(c);
        }
        (self.ended && !text.is_empty()).then(|| Cut::at(text.len()))
    }

    /// After a mark that certainly ends the sentence: are the marks and quotes that belong to it all there?
    fn run_out(&self, rest: &str) -> Verdict {
        if closers(rest) == rest.len() && !self.ended { Verdict::Wait } else { Verdict::Yes }
    }

    /// `!`, `?`, `;`: the end only where a word could not go on.
    fn narrow(&self, rest: &str) -> Verdict {
        match rest[closers(rest)..].chars().next() {
            None => self.unless_more(Verdict::Yes),
            Some(c) if c.is_whitespace() || is_wide(c) => Verdict::Yes,
            Some(_) => Verdict::No,
        }
    }

    fn dot(&self, before: &str, rest: &str) -> Verdict {
        let after = rest[closers(rest)..].chars().next();
        let Some(after) = after else {
            // At the very end of the text a full stop is one; before that the next character decides.
            return self.unless_more(Verdict::Yes);
        };
        if before.ends_with('.') || rest.starts_with('.') {
            return Verdict::No;
        }
        if list_number(before) {
            return Verdict::No;
        }
        if is_wide(after) {
            return Verdict::Yes;
        }
        if !after.is_whitespace() {
            return Verdict::No;
        }
        match abbreviation(before) {
            Short::No => Verdict::Yes,
            Short::Always => Verdict::No,
            // "at 5 p.m. Then ..." but "at 5 p.m. in the hall".
            Short::Maybe => match rest[closers(rest)..].chars().find(|c| !c.is_whitespace()) {
                None => self.unless_more(Verdict::Yes),
                Some(next) if next.is_uppercase() || is_wide(next) => Verdict::Yes,
                Some(_) => Verdict::No,
            },
        }
    }

    fn comma(&self, c: char, weight: u32, rest: &str) -> Verdict {
        if self.begun || weight < FIRST_WEIGHT_MIN {
            return Verdict::No;
        }
        if !c.is_ascii() {
            return self.run_out(rest);
        }
        // Not in "1,000" or "12:30".
        self.narrow(rest)
    }

    fn unless_more(&self, verdict: Verdict) -> Verdict {
        if self.ended { verdict } else { Verdict::Wait }
    }
}

/// The least weight of a first part cut at a comma: six Chinese characters or a dozen letters, about a second of speech. Less
/// would play out before the rest is synthesised.
const FIRST_WEIGHT_MIN: u32 = 12;

const FENCE: &str = "```";

struct Cut {
    end: usize,
    /// A code fence begins here.
    code: bool,
}

impl Cut {
    fn at(end: usize) -> Cut {
        Cut { end, code: false }
    }
}

enum Verdict {
    Yes,
    No,
    /// What decides has not come yet.
    Wait,
}

enum Mark {
    None,
    /// A line's end.
    Line,
    /// Chinese full marks.
    Wide,
    /// Latin marks that also stand inside words and addresses.
    Narrow,
    Dot,
    Comma,
}

fn kind_of(c: char) -> Mark {
    match c {
        '\n' | '\r' => Mark::Line,
        '。' | '！' | '？' | '；' | '｡' => Mark::Wide,
        '!' | '?' | ';' => Mark::Narrow,
        '.' => Mark::Dot,
        '，' | '、' | '：' | '～' | ',' | ':' | '~' => Mark::Comma,
        _ => Mark::None,
    }
}

/// Marks and quotes that belong to the sentence before them.
fn closers(rest: &str) -> usize {
    let belongs = |c: char| "”’\"')）】》」』]*_~～!！?？。；;".contains(c);
    rest.find(|c| !belongs(c)).unwrap_or(rest.len())
}

/// Chinese, Japanese, Korean characters and their punctuation.
fn is_wide(c: char) -> bool {
    matches!(c, '\u{2E80}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}'
        | '\u{20000}'..='\u{3FFFF}')
}

fn weight_of(c: char) -> u32 {
    if is_wide(c) { 2 } else { u32::from(c.is_alphanumeric()) }
}

/// `1.` at the beginning of a line is the number of an item.
fn list_number(before: &str) -> bool {
    let before = before.trim_start();
    !before.is_empty() && before.len() <= 3 && before.bytes().all(|b| b.is_ascii_digit())
}

enum Short {
    No,
    Maybe,
    Always,
}

fn abbreviation(before: &str) -> Short {
    let start = before
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let word = &before[start..];
    let is = |list: &[&str]| list.iter().any(|short| short.eq_ignore_ascii_case(word));
    if is(&[
        "dr", "mr", "mrs", "ms", "prof", "st", "mt", "vs", "e.g", "i.e", "cf", "fig", "approx", "gen", "sen", "rev",
        "hon",
    ]) {
        return Short::Always;
    }
    if is(&["etc", "jr", "sr", "inc", "ltd", "co", "corp", "a.m", "p.m", "u.s", "u.k", "ph.d", "no", "vol", "dept"]) {
        return Short::Maybe;
    }
    // An initial: "J. Smith". The word "I" is no initial.
    if word.len() == 1 && word != "I" && word.bytes().all(|b| b.is_ascii_uppercase()) {
        return Short::Always;
    }
    Short::No
}

#[cfg(test)]
mod tests;
