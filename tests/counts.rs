//! The check of instruction counts says no when it must: the counting itself is `tools/count`.

#[path = "support/counts.rs"]
mod counts;

use counts::{Baselines, CLOCK_READ, INSTRUMENTS_MAX, Mix, Part, Verdict, collected, compare, read, write};
use std::collections::BTreeMap;

fn baselines() -> Baselines {
    read("[\"this\"]\nframe = 1000\nhello = 20000\n[\"other\"]\nframe = 1\n").expect("a baseline")
}

fn counted(frame: u64, hello: u64) -> Vec<(String, u64)> {
    vec![("frame".to_owned(), frame), ("hello".to_owned(), hello)]
}

#[test]
fn more_than_five_percent_fails_and_names_the_case() {
    for (frame, hello, expected) in [
        (1_000, 20_000, Verdict::Fine),
        (1_050, 20_000, Verdict::Fine),
        (1_051, 20_000, Verdict::Grown),
        (1_000, 21_001, Verdict::Grown),
        (10, 10, Verdict::Fine),
    ] {
        let (table, verdict) = compare(&baselines(), "this", &counted(frame, hello));
        assert_eq!(verdict, expected, "{table}");
        assert_eq!(table.contains("TOO MANY"), expected == Verdict::Grown, "{table}");
    }
}

#[test]
fn a_case_that_is_gone_fails_and_a_new_one_does_not() {
    let (table, verdict) = compare(&baselines(), "this", &counted(1_000, 20_000)[..1]);
    assert_eq!(verdict, Verdict::Grown, "{table}");
    assert!(table.contains("hello") && table.contains("not counted"), "{table}");
    let mut more = counted(1_000, 20_000);
    more.push(("young".to_owned(), 7));
    let (table, verdict) = compare(&baselines(), "this", &more);
    assert_eq!(verdict, Verdict::Fine, "{table}");
    assert!(table.lines().any(|line| line.starts_with("young") && line.ends_with("new")), "{table}");
}

#[test]
fn another_toolchain_is_not_judged_by_this_ones_numbers() {
    assert_eq!(compare(&baselines(), "a third", &counted(9_999_999, 1)).1, Verdict::Unknown);
}

#[test]
fn what_is_written_is_read_again() {
    let all = baselines();
    assert_eq!(read(&write(&all)).as_ref(), Ok(&all));
    assert!(read("frame = ").is_err());
}

#[test]
fn the_stored_baseline_can_be_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");
    let stored = read(&std::fs::read_to_string(path).expect("it is in the repository")).expect("it is TOML");
    assert!(stored.values().all(|cases| cases.values().all(|count| *count > 0)), "{stored:?}");
    assert!(!stored.is_empty());
}

#[test]
fn instruments_are_weighed_by_what_a_turn_is_made_of() {
    let counts = |heard: u64, sent: u64| [("heard".to_owned(), heard), ("sent".to_owned(), sent)].into();
    let parts = [Part { case: "heard", times: 10, clock_reads: 0 }, Part { case: "sent", times: 5, clock_reads: 1 }];
    let share = |with, without| Mix { parts: &parts, with: &with, without: &without }.judge();
    let (table, none) = share(counts(100_000, 4_000), counts(100_000, 4_000 + CLOCK_READ)).expect("counted");
    assert!(none == 0.0 && !table.contains("TOO MANY"), "{table}");
    // 10 x 1,200 more, and the clock: 12,500 of 1,032,500.
    let (table, much) = share(counts(101_200, 4_000), counts(100_000, 4_000)).expect("counted");
    assert!((much - 1.2106).abs() < 0.001 && much > INSTRUMENTS_MAX && table.contains("TOO MANY"), "{much} {table}");
    assert!(share(BTreeMap::new(), counts(1, 1)).is_err(), "a case that was not counted is no proof");
}

#[test]
fn callgrinds_number_is_found() {
    assert_eq!(collected("==9== Events    : Ir\n==9== Collected : 4242\n==9== \n"), Some(4_242));
    assert_eq!(collected("valgrind: no such thing"), None);
}
