//! Traditional characters to simplified ones: Whisper writes Mandarin in either, as it happened to be trained.

use std::sync::OnceLock;

/// The text in simplified characters, without the spaces that Whisper puts between Chinese words now and then.
pub fn simplify(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let is_within = out.ends_with(is_han) && characters.peek().copied().is_some_and(is_han);
        if !(c == ' ' && is_within) {
            out.push(simple(c));
        }
    }
    out
}

fn is_han(c: char) -> bool {
    ('\u{3400}'..='\u{9fff}').contains(&c)
}

fn simple(c: char) -> char {
    if !is_han(c) {
        return c;
    }
    let table = table();
    table.binary_search_by_key(&c, |pair| pair.0).map_or(c, |at| table[at].1)
}

/// About 3,000 pairs, read at the first use.
fn table() -> &'static [(char, char)] {
    static TABLE: OnceLock<Vec<(char, char)>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let lines = include_str!("simplified.txt").lines().filter(|line| !line.starts_with('#'));
        let pair = |word: &str| {
            let mut characters = word.chars();
            Some((characters.next()?, characters.next()?))
        };
        let mut pairs: Vec<_> = lines.flat_map(str::split_whitespace).filter_map(pair).collect();
        pairs.sort_unstable();
        pairs
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traditional_becomes_simplified_and_all_else_stays() {
        assert_eq!(simplify("廣州市房地產中介協會分析"), "广州市房地产中介协会分析");
        assert_eq!(simplify("請問現在幾點？Hello 12"), "请问现在几点？Hello 12");
        assert_eq!(simplify("明天会下雨吗"), "明天会下雨吗");
        assert_eq!(simplify("廣州市 房地產 iPhone 15 好"), "广州市房地产 iPhone 15 好");
        assert!(table().len() > 2_500);
    }
}
