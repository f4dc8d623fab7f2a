use super::*;
use crate::outcome::Distribution;
use crate::outcome::tests::sample;
use std::fs;

/// A folder that is removed when dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn folder(name: &str, steps: &[(&str, &str, &str)], files: &[(&str, String)]) -> Temporary {
    let path = std::env::temp_dir().join(format!("voxlane-bench-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    let row = |(name, result, reason): &(&str, &str, &str)| {
        format!("{name}\t{result}\t12\t2026-01-01 10:00\ttools/bench-all --only {name}\t{reason}\n")
    };
    fs::write(path.join("machine.tsv"), "processor\tone | two\nkernel\t6.18\n").unwrap();
    fs::write(path.join("steps.tsv"), steps.iter().map(row).collect::<String>()).unwrap();
    for (name, text) in files {
        fs::write(path.join(name), text).unwrap();
    }
    Temporary(path)
}

fn report(folder: &Temporary) -> Report {
    Folder::open(&folder.0).unwrap().report("benches/charts").unwrap()
}

/// The line of the report that begins with that cell.
fn row<'a>(report: &'a Report, first: &str) -> Vec<&'a str> {
    let start = format!("| {first} |");
    let line = report.markdown.lines().find(|line| line.starts_with(&start));
    line.unwrap_or_else(|| panic!("no row {first} in {}", report.markdown)).split(" | ").collect()
}

fn found() -> String {
    r#"{"conversations_per_busy_core": 1473.4, "is_lower_bound": false, "conversations": 1200, "broke_at": 1300,
        "limit": "shard CPU", "cpu_us_per_turn": 6600.0, "profile": "R1", "probes": [
        {"conversations": 1200, "server_cores": 0.8, "broken": []},
        {"conversations": 1300, "server_cores": 0.9, "broken": ["late<0.1% was 0.3 %"]}]}"#
        .to_owned()
}

#[test]
fn every_section_tells_what_its_step_measured() {
    let mut run = sample(1.0);
    run.counts.extend([("devices", 300.0), ("turns_per_s", 20.0)].map(|(n, v)| (n.to_owned(), v)));
    run.times.insert("added".to_owned(), Distribution::of((1..=100).map(|n| n * 10)));
    run.times.insert("connect".to_owned(), Distribution::of([1_000, 2_500_000]));
    run.server.as_mut().unwrap().grown = 300 << 10;
    run.server.as_mut().unwrap().kinds.insert("admin-live".to_owned(), 0.004);
    run.times.insert("hello_resumed".to_owned(), Distribution::of([3_000, 3_100]));
    let json = run.json();
    let bare = r#"{"with_detection": {"cpu_us_per_turn": 4000.0}, "conversations": 300, "doubts": ["a | b"]}"#;
    let start = r#"{"program_bytes": 10485760, "listening_ms": 12.34, "resident_bytes": 5242880}"#;
    let counted = r#"{"rows": [
        {"shards": 2, "kernel": 1.04, "chi2_per_df": 0.5, "random": 1.015, "handed_over": 1, "hand_over_share": 0.0257,
            "talkers": 1.024, "cores_worth": 1.953},
        {"shards": 64, "kernel": 1.16, "chi2_per_df": 0.9, "random": 1.041, "handed_over": 1.046, "hand_over_share": 0.0276,
            "talkers": 1.106, "cores_worth": 57.87}]}"#;
    let compared = r#"{"devices": 200, "rows": [
        {"name": "first audio p50, ms", "a": 700, "b": 693, "ratio": 0.99, "low": 0.985, "high": 0.995, "is_difference": true},
        {"name": "server cores", "a": 0.4, "b": 0.4, "ratio": null, "low": null, "high": null, "is_difference": false}]}"#;
    let folder = folder(
        "all",
        &[
            ("capacity-passed", "ok", ""),
            ("added-passed-50", "broken", "added.p99<=5ms was 9"),
            ("floor-passed", "ok", ""),
            ("connect", "ok", ""),
            ("connect-tls", "ok", ""),
            ("storm", "ok", ""),
            ("idle", "ok", ""),
            ("capacity-2-shards", "skipped", "2 shards need 3 cores"),
            ("scaling", "ok", ""),
            ("setting-spin", "ok", ""),
            ("setting-realtime", "skipped", "not allowed here"),
            ("start", "ok", ""),
            ("page", "ok", ""),
            ("soak", "ok", ""),
        ],
        &[
            ("capacity-passed.json", found()),
            ("capacity-passed.run.json", json.clone()),
            ("added-passed-50.json", json.clone()),
            ("floor-passed.json", bare.to_owned()),
            ("floor-passed-server.json", json.clone()),
            ("connect.json", json.clone()),
            ("connect-tls.json", json.clone()),
            ("storm.json", json.clone()),
            ("storm.herd.json", json.clone()),
            ("idle.json", json.clone()),
            ("scaling.json", counted.to_owned()),
            ("setting-spin.json", compared.to_owned()),
            ("start.json", start.to_owned()),
            ("page.json", json.clone()),
            ("soak.json", json),
            ("soak.memory.tsv", "0\t10240\n60\t20480\n120\t20480\n180\t20480\n240\t20480\n".to_owned()),
        ],
    );
    let report = report(&folder);
    let passed = "Opus passed on, both ways";
    let cells = row(&report, passed);
    assert_eq!(cells[1..6], ["R1", "1,200", "0.120 cores", "**1,473**", "6,600 µs"]);
    assert_eq!(cells[6], "99.960 %");
    assert_eq!(cells[9], "shard CPU; at 1,300: late<0.1% was 0.3 % |");
    let added = format!("{passed} | 50 %");
    assert_eq!(row(&report, &added)[3..6], ["0.120 cores", "0.50 ms", "0.95 ms"]);
    assert!(row(&report, &added).last().unwrap().starts_with("added.p99<=5ms was 9"));
    let floor = format!("{passed} | 300");
    assert_eq!(row(&report, &floor)[2..], ["6,000 µs", "4,000 µs", "**1.50**", "a \\| b |"]);
    assert_eq!(row(&report, "accept to hello, plain")[1], "300");
    assert_eq!(row(&report, "of them: with the session of an earlier visit")[5], "3.10 ms");
    assert_eq!(row(&report, "all connect at the same instant, again and again")[2], "2.50 s");
    assert_eq!(row(&report, "said hello, and stay")[2..5], ["40.0 MiB", "**1.00 KiB**", "400.0 µs/s"]);
    assert_eq!(row(&report, "2")[1], "skipped: 2 shards need 3 cores");
    assert_eq!(row(&report, "64")[1..], ["1.160 (0.90)", "1.041", "1.046", "2.8 %", "1.106", "**57.9** |"]);
    let spin = "`shards.spin_us` | 200 | first audio p50, ms";
    assert_eq!(row(&report, spin)[3..], ["700.00", "693.00", "**0.99** (0.98 to 0.99) |"]);
    assert!(row(&report, "`shards.spin_us` | 200 | server cores").last().unwrap().starts_with("too few rounds"));
    assert_eq!(row(&report, "`shards.realtime`")[1], "skipped: not allowed here");
    assert!(report.markdown.contains("![Scaling](benches/charts/scaling.svg)"));
    assert_eq!(row(&report, "size of the program, models apart")[1], "10.0 MiB");
    assert_eq!(row(&report, "the live page open, CPU of a core")[1], "0.40 % at 300 conversations");
    assert_eq!(row(&report, "conversations without end")[6..], ["20.0 MiB", "20.0 MiB |"]);
    assert_eq!(row(&report, "processor")[1], "one \\| two |", "a bar in a cell is no border");
    assert!(report.markdown.contains("![Soak](benches/charts/memory.svg)"));
    let names: Vec<&str> = report.pictures.iter().map(|picture| picture.name.as_str()).collect();
    assert_eq!(names, ["capacity", "load", "kinds", "added", "lateness", "storm", "scaling", "memory"]);
    assert!(report.pictures.iter().all(|picture| picture.svg.starts_with("<svg")));
    assert!(report.troubles.is_empty(), "{:?}", report.troubles);
}

#[test]
fn what_failed_is_said_and_the_others_stand() {
    let folder = folder(
        "failed",
        &[
            ("capacity-encoded", "failed", "no load was good"),
            ("capacity-passed", "ok", ""),
            ("idle", "ok", ""),
            ("capacity-passed", "failed", "done again: it took more than 200 s"),
            ("start", "ok", ""),
        ],
        &[
            // Left by an earlier time: not to be shown.
            ("capacity-passed.json", found()),
            ("capacity-passed.run.json", sample(1.0).json()),
            ("idle.json", "{\n\"schema\": 1,\n\"tool\" 7}".to_owned()),
            ("start.json", "{\"program_bytes\": 10485760,\n12}".to_owned()),
        ],
    );
    let report = report(&folder);
    assert_eq!(row(&report, "encoded here, 24 kHz")[1], "failed: no load was good");
    assert_eq!(row(&report, "Opus passed on, both ways")[1], "failed: done again: it took more than 200 s");
    assert_eq!(row(&report, "said hello, and stay")[1], "failed: its figures cannot be read");
    let at = |file: &str| folder.0.join(file).display().to_string();
    assert_eq!(report.troubles.len(), 2, "{:?}", report.troubles);
    assert!(report.troubles.iter().any(|t| t.starts_with(&format!("{}:3:8: expected `:`", at("idle.json")))));
    assert!(report.troubles.iter().any(|t| t.starts_with(&format!("{}:2:1: key must be", at("start.json")))));
    assert_eq!(report.markdown.matches("tools/bench-all --only capacity-passed").count(), 1, "told once");
    assert!(!report.pictures.iter().any(|picture| picture.name == "memory"));
}

#[test]
fn a_list_with_a_wrong_line_is_told_by_its_number() {
    let folder = folder("list", &[("idle", "ok", "")], &[]);
    fs::write(folder.0.join("steps.tsv"), "idle\tok\t1\tnow\tx\t\nidle ok\n").unwrap();
    let why = Folder::open(&folder.0).unwrap_err();
    assert!(why.ends_with("steps.tsv:2: 1 columns where 6 belong"), "{why}");
}

#[test]
fn only_what_is_between_the_marks_is_replaced() {
    let page = format!("# By hand\n\n{BEGIN}\nold\n{END}\n\nmore by hand\n");
    let new = spliced(&page, "\nnew\n").unwrap();
    assert_eq!(new, format!("# By hand\n\n{BEGIN}\n\nnew\n\n{END}\n\nmore by hand\n"));
    assert_eq!(spliced(&new, "new").unwrap(), new, "again is the same");
    assert!(spliced("# nothing", "x").unwrap_err().contains("bench-all: begin"));
    assert!(spliced(&format!("{END}{BEGIN}"), "x").unwrap_err().contains("wrong order"));
    assert!(spliced(&format!("{BEGIN}{BEGIN}{END}"), "x").unwrap_err().contains("more than once"));
}

#[test]
fn thousands_stand_apart() {
    let shown = |n| tables::count(Some(n));
    assert_eq!([0.0, 999.4, 1_000.0, 1_234_567.0].map(shown), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(tables::count(None), "–");
}
