//! What of a sentence is shown, and what is spoken. Models write markdown, emoji and addresses whatever one tells them; a voice
//! must not read "asterisk asterisk".

use super::emotion;

/// A sentence as the screen shows it: without emoji and markdown, spaces in order.
pub fn shown(sentence: &str) -> String {
    let line = strip_line_marks(sentence);
    let line = unlink(line);
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        let last = std::mem::replace(&mut before, c);
        if emotion::is_pictogram(c) || is_markup(last, c, next) {
            continue;
        }
        let c = if c.is_whitespace() || c.is_control() { ' ' } else { c };
        if c != ' ' || !out.ends_with(' ') {
            out.push(c);
        }
    }
    out.trim().to_string()
}

/// A shown sentence as it is synthesised: addresses by their host only, symbols that voices read aloud left out. Empty when
/// nothing in it can be pronounced.
pub fn spoken(shown: &str) -> String {
    let mut out = String::with_capacity(shown.len());
    for word in shown.split_inclusive(char::is_whitespace) {
        match host_of(word) {
            Some((before, host, after)) => {
                out.push_str(before);
                out.push_str(host);
                out.push_str(after);
            }
            None => out.extend(word.chars().filter(|&c| !is_read_aloud(c))),
        }
    }
    let out = out.trim();
    if out.chars().any(char::is_alphanumeric) { out.to_string() } else { String::new() }
}

/// `#`, `>`, `-`, `*` and `|` at a line's beginning.
fn strip_line_marks(line: &str) -> &str {
    let line = line.trim();
    let rest = line.trim_start_matches(['#', '>', '|']).trim_start();
    for bullet in ["- ", "* ", "+ ", "• "] {
        if let Some(rest) = rest.strip_prefix(bullet) {
            return rest.trim_start();
        }
    }
    rest
}

/// `[text](address)` and `![text](address)` become `text`.
fn unlink(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(open) = rest.find('[') {
        let link = rest[open..].find("](").and_then(|middle| {
            let close = rest[open + middle..].find(')')?;
            Some((&rest[open + 1..open + middle], open + middle + close + 1))
        });
        let Some((text, end)) = link else { break };
        out.push_str(rest[..open].trim_end_matches('!'));
        out.push_str(text);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Emphasis and code marks. An underscore inside a word and a star between digits are content.
fn is_markup(before: char, c: char, next: char) -> bool {
    match c {
        '`' => true,
        '*' => !(before.is_ascii_digit() && next.is_ascii_digit() || before == ' ' && next == ' '),
        '_' => !(before.is_alphanumeric() && next.is_alphanumeric()),
        '~' => before == '~' || next == '~',
        '|' => before == ' ' || next == ' ',
        _ => false,
    }
}

fn is_read_aloud(c: char) -> bool {
    matches!(
        c,
        '*' | '_'
            | '~'
            | '～'
            | '#'
            | '|'
            | '<'
            | '>'
            | '{'
            | '}'
            | '['
            | ']'
            | '\\'
            | '^'
            | '`'
            | '"'
            | '“'
            | '”'
            | '「'
            | '」'
            | '『'
            | '』'
            | '【'
            | '】'
            | '《'
            | '》'
    )
}

/// The host of an address in a word, with what stands around the address.
fn host_of(word: &str) -> Option<(&str, &str, &str)> {
    let scheme = word.find("://")?;
    let start = word[..scheme]
        .rfind(|c: char| !c.is_ascii_alphabetic())
        .map_or(0, |at| at + word[at..].chars().next().map_or(1, char::len_utf8));
    let address = &word[scheme + 3..];
    let is_address = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | ')' | ']');
    let end = address.find(|c| !is_address(c)).unwrap_or(address.len());
    let (address, after) = address.split_at(end);
    let host = address.split(['/', '?', '#', ':']).next()?;
    let host = host.strip_prefix("www.").unwrap_or(host);
    let full_stop = if address.ends_with('.') { "." } else { "" };
    let after = if after.is_empty() { full_stop } else { after };
    Some((&word[..start], host.trim_end_matches(['.', ',', ';', '!']), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sentence: &str, on_screen: &str, aloud: &str) {
        assert_eq!(shown(sentence), on_screen);
        assert_eq!(spoken(&shown(sentence)), aloud);
    }

    #[test]
    fn markdown_is_neither_shown_nor_spoken() {
        check("**Yes**, _really_ `now`.", "Yes, really now.", "Yes, really now.");
        check("## A title", "A title", "A title");
        check("- one thing", "one thing", "one thing");
        check("See [the page](http://a.b/c) now.", "See the page now.", "See the page now.");
        check("~~no~~ yes", "no yes", "no yes");
        check("snake_case and 2*3", "snake_case and 2*3", "snakecase and 23");
    }

    #[test]
    fn emoji_are_neither_shown_nor_spoken() {
        check("你好呀😊！", "你好呀！", "你好呀！");
        check("👍🏽 Fine 🇩🇪 👨‍👩‍👧", "Fine", "Fine");
        check("🙂", "", "");
    }

    #[test]
    fn an_address_is_spoken_as_its_host() {
        check("Go to https://www.example.com/a?b=c.", "Go to https://www.example.com/a?b=c.", "Go to example.com.");
        check("请看https://example.com/x。", "请看https://example.com/x。", "请看example.com。");
    }

    #[test]
    fn what_cannot_be_pronounced_is_not_spoken() {
        check("……！", "……！", "");
        check("“好”", "“好”", "好");
    }
}
