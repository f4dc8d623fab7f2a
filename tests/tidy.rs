//! The house rules that a machine can check. The table of who may use whom is read from the documentation of `src/lib.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const LINES_MAX: usize = 600;
const VALUES: [&str; 5] = ["time", "ids", "format", "limits", "secret"];
const PURE: [&str; 5] = ["wire", "audio", "session", "resilience", "job"];

#[test]
fn rooms_use_only_whom_they_may() {
    let table = table();
    let mut wrong = Vec::new();
    for (room, allowed) in &table {
        for (file, text) in files_of(room) {
            for used in uses(&production(&text)) {
                let ok = used.starts_with(room.as_str())
                    || allowed.iter().any(|a| a == "everything" || used == *a || used.starts_with(&format!("{a}::")));
                if !ok {
                    wrong.push(format!("{}: `{room}` may not use `{used}`", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_stands_in_the_table() {
    let table = table();
    for entry in std::fs::read_dir(root().join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let room = name.trim_end_matches(".rs");
        assert!(
            ["lib", "main"].contains(&room) || table.contains_key(room),
            "`{room}` is not in the table of src/lib.rs"
        );
    }
}

#[test]
fn pure_rooms_are_pure() {
    let forbidden = [
        "std::net",
        "std::fs",
        "std::thread",
        "std::process",
        "std::env",
        "SystemTime",
        "Clock",
        "UnixMs::now",
        "getrandom",
        "tracing::",
        "log::",
        "mio::",
        "parking_lot",
        "println!",
        "eprintln!",
    ];
    let mut wrong = Vec::new();
    for room in PURE {
        for (file, text) in files_of(room) {
            for (number, line) in code_lines(&production(&text)) {
                if let Some(word) = forbidden.iter().find(|word| line.contains(*word)) {
                    wrong.push(format!("{}:{number}: `{word}` in a pure room", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_clock_asks_for_the_time() {
    let now = ["Instant", "::now"].concat();
    for (file, text) in sources("src") {
        let allowed = file.ends_with("src/time.rs");
        assert!(
            allowed || !code_lines(&text).any(|(_, line)| line.contains(&now)),
            "{} asks for the time",
            file.display()
        );
    }
}

#[test]
fn shards_and_workers_never_mention_each_other() {
    for (room, other) in [("shard", "workers"), ("workers", "shard")] {
        for (file, text) in files_of(room) {
            let mentions = text.contains(&format!("crate::{other}"));
            assert!(!mentions, "{} mentions `{other}`", file.display());
        }
    }
}

#[test]
fn unsafe_gives_its_reason() {
    let mut wrong = Vec::new();
    for (file, text) in sources("src").into_iter().chain(sources("tools")).chain(sources("tests")) {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in code_lines(&text) {
            let opens = line.contains(&["unsafe", " {"].concat()) || line.contains(&["unsafe", " impl"].concat());
            let reason = lines[number.saturating_sub(7)..number].iter().any(|l| l.contains("SAFETY"));
            if opens && !reason {
                wrong.push(format!("{}:{number}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe without a reason: {}", wrong.join(", "));
}

#[test]
fn no_file_is_too_long() {
    let all = ["src", "tests", "tools", "benches"].into_iter().flat_map(sources);
    let long: Vec<_> =
        all.filter(|(_, t)| t.lines().count() > LINES_MAX).map(|(f, t)| (f, t.lines().count())).collect();
    assert!(long.is_empty(), "over {LINES_MAX} lines: {long:?}");
}

#[test]
fn every_public_item_is_documented() {
    let map = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(
        map.contains(&["#![warn(", "missing_docs)]"].concat()),
        "the lint stands in src/lib.rs; clippy runs with -D warnings"
    );
}

#[test]
fn no_test_sleeps() {
    let sleep = ["thread", "::sleep"].concat();
    for (file, text) in sources("tests") {
        assert!(!text.contains(&sleep), "{} sleeps", file.display());
    }
}

#[test]
fn no_machine_path_and_no_registry_host() {
    let words: Vec<String> = [
        ["/ro", "ot/"],
        ["/wo", "rk/"],
        ["/tmp", "/w/"],
        ["index.crates", ".io"],
        ["pypi", ".org"],
        ["python", "hosted"],
        ["registry.npm", "js"],
        ["deb.deb", "ian"],
    ]
    .iter()
    .map(|parts| parts.concat())
    .collect();
    let mut wrong = Vec::new();
    for file in tracked() {
        if file.ends_with("Cargo.lock") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        wrong.extend(words.iter().filter(|w| text.contains(*w)).map(|w| format!("{}: {w}", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_async_runtime_in_the_server() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-p", "voxlane", "-e", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.lines().any(|l| l.starts_with("mio ")), "the tree of the server was not read:\n{tree}");
    for name in ["tokio", "async-std", "smol", "glommio", "monoio", "async-executor", "futures-executor", "aws-lc-rs"] {
        assert!(!tree.lines().any(|l| l.starts_with(&format!("{name} "))), "{name} is in the server's tree");
    }
}

/// Room → what it may use, from the table in the documentation of `src/lib.rs`.
fn table() -> BTreeMap<String, Vec<String>> {
    let map = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows = map.lines().skip_while(|l| !l.contains("| may use |")).skip(2).take_while(|l| l.starts_with("//! |"));
    let mut table = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_start_matches("//! |").split('|').map(str::trim).collect();
        let mut allowed: Vec<String> = Vec::new();
        for word in cells[1].split(',').map(str::trim) {
            match word {
                "values" => allowed.extend(VALUES.map(str::to_owned)),
                word => allowed.push(word.to_owned()),
            }
        }
        for room in cells[0].split_whitespace() {
            table.insert(room.trim_matches('`').to_owned(), allowed.clone());
        }
    }
    assert!(table.len() > 10, "the table was not found in src/lib.rs");
    table
}

/// `crate::a::b` paths of a text, braces after `crate::` and after a room expanded one level.
fn uses(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let code: String = code_lines(text).map(|(_, l)| l.to_owned() + "\n").collect();
    for part in code.split("crate::").skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            let group = &group[..group.find("};").unwrap_or(group.len())];
            found.extend(split_group(group).into_iter().map(|p| head(&p)));
            continue;
        }
        let first = word(part);
        match part[first.len()..].strip_prefix("::{") {
            Some(group) => {
                let group = &group[..group.find('}').unwrap_or(group.len())];
                found.extend(split_group(group).into_iter().map(|p| format!("{first}::{}", word(&p))));
            }
            None => {
                found.insert(head(part));
            }
        }
    }
    found
}

fn split_group(group: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    parts.into_iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

fn head(path: &str) -> String {
    let first = word(path);
    match path[first.len()..].strip_prefix("::").map(word) {
        Some(second) if !second.is_empty() => format!("{first}::{second}"),
        _ => first.to_owned(),
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The text without its test module.
fn production(text: &str) -> String {
    match text.find("\n#[cfg(test)]\nmod tests {") {
        Some(at) => text[..at].to_owned(),
        None => text.to_owned(),
    }
}

/// Lines that are no comment, with their number from 1.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.trim_start().starts_with("//"))
}

fn files_of(room: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join("src").join(room);
    let file = root().join(format!("src/{room}.rs"));
    let all = sources("src").into_iter();
    all.filter(|(f, _)| {
        (f.starts_with(&folder) || *f == file) && !f.ends_with("tests.rs") && !f.iter().any(|p| p == "tests")
    })
    .collect()
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    tracked()
        .into_iter()
        .filter(|f| f.starts_with(folder) && f.extension().is_some_and(|e| e == "rs"))
        .map(|f| root().join(f))
        .filter_map(|f| std::fs::read_to_string(&f).ok().map(|text| (f, text)))
        .collect()
}

fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let files: Vec<PathBuf> = list.lines().map(PathBuf::from).collect();
    assert!(files.len() > 20, "git ls-files lists the tree");
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
