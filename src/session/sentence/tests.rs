use super::*;
use proptest::prelude::*;

fn split(text: &str) -> Vec<String> {
    split_chunks(std::iter::once(text))
}

fn split_chunks<'a>(chunks: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut splitter = Splitter::default();
    let mut sentences = Vec::new();
    for chunk in chunks {
        splitter.push(chunk);
        sentences.extend(std::iter::from_fn(|| splitter.next_sentence()));
    }
    splitter.end();
    sentences.extend(std::iter::from_fn(|| splitter.next_sentence()));
    assert!(splitter.is_done());
    sentences
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(split(text), expected, "of {text:?}");
}

#[test]
fn chinese_marks_end_a_sentence() {
    check("你好。今天多云！去吗？", &["你好。", "今天多云！", "去吗？"]);
    check("他说：“走吧。”然后就走了。", &["他说：“走吧。”", "然后就走了。"]);
    check("真的吗？！太好了。", &["真的吗？！", "太好了。"]);
}

#[test]
fn latin_marks_need_a_border_behind_them() {
    check("It is fine. Go on! Why? Ok", &["It is fine.", "Go on!", "Why?", "Ok"]);
    check("See http://a.b/c?d=e for it. Done.", &["See http://a.b/c?d=e for it.", "Done."]);
    check("She said \"no.\" Then left.", &["She said \"no.\"", "Then left."]);
}

#[test]
fn a_full_stop_inside_is_no_end() {
    check("Pi is 3.14 or so. Yes.", &["Pi is 3.14 or so.", "Yes."]);
    check("Ask Dr. Who, e.g. today. Ok.", &["Ask Dr. Who, e.g. today.", "Ok."]);
    check("Wait... what? Yes.", &["Wait... what?", "Yes."]);
    check("By J. Smith. It ends.", &["By J. Smith.", "It ends."]);
    check("At 5 p.m. we go. At 6 p.m. Then rest.", &["At 5 p.m. we go.", "At 6 p.m.", "Then rest."]);
    check("圆周率是3.14。对。", &["圆周率是3.14。", "对。"]);
    check("等等……好吧。", &["等等……好吧。"]);
    check("1. Eggs\n2. Milk\n", &["1. Eggs", "2. Milk"]);
}

#[test]
fn only_the_first_sentence_ends_at_a_comma_and_only_when_long_enough() {
    check("好的，没问题。", &["好的，没问题。"]);
    check(
        "今天的天气很不错，适合出门。明天的天气也不错，适合散步。",
        &["今天的天气很不错，", "适合出门。", "明天的天气也不错，适合散步。"],
    );
    check("Well, that is a good question, my friend.", &["Well, that is a good question,", "my friend."]);
    check("It costs about 1,000,000 dollars.", &["It costs about 1,000,000 dollars."]);
}

#[test]
fn code_is_dropped() {
    check("Look:\n```rust\nfn main() {}\n```\nThat is it.", &["Look:", "That is it."]);
    check("Use `x` here. ```never closed. really", &["Use `x` here."]);
}

#[test]
fn a_text_without_marks_is_cut_at_the_bound() {
    let text = "word ".repeat(600);
    let sentences = split(&text);
    assert!(sentences.iter().all(|s| s.len() <= limits::SENTENCE_BYTES));
    assert_eq!(sentences.join(" "), text.trim());
    assert!(split(&"长".repeat(1_000)).iter().all(|s| s.len() <= limits::SENTENCE_BYTES));
}

#[test]
fn a_sentence_is_given_out_before_the_reply_ends() {
    let mut splitter = Splitter::default();
    splitter.push("今天多云。最");
    assert_eq!(splitter.next_sentence().as_deref(), Some("今天多云。"));
    assert_eq!(splitter.next_sentence(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]
    #[test]
    fn any_chunking_gives_the_same_sentences(
        text in "([a-zA-Z0-9 .,!?;:\n`\"'()~*你好天气。，！？……：“”🙂]|Dr\\. |e\\.g\\. |3\\.5|```){0,60}",
        cuts in prop::collection::vec(0usize..200, 0..20),
    ) {
        let mut borders: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).filter(|&at| text.is_char_boundary(at)).collect();
        borders.extend([0, text.len()]);
        borders.sort_unstable();
        let chunks = borders.windows(2).map(|w| &text[w[0]..w[1]]);
        prop_assert_eq!(split_chunks(chunks), split(&text));
    }
}
