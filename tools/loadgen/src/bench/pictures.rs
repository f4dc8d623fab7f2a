//! The charts. A chart of which nothing was measured is not drawn.

use super::Folder;
use super::tables::{LEVELS, REPLIES, count};
use crate::chart::{Bars, Line, Lines, Scale};
use crate::outcome::Outcome;
use crate::report::Picture;

/// Every chart there is something for.
pub fn all(folder: &Folder) -> Result<Vec<Picture>, String> {
    let drawn = [
        ("capacity", capacity(folder)),
        ("load", load(folder)),
        ("kinds", kinds(folder)),
        ("added", curves(folder, "added", "What the server adds to a turn")),
        ("lateness", curves(folder, "lateness", "Lateness of reply packets")),
        ("storm", storm(folder)),
        ("scaling", scaling(folder)),
        ("memory", memory_over_time(folder)),
    ];
    let named = drawn.into_iter().filter_map(|(name, svg)| Some((name, svg?)));
    named.map(|(name, svg)| Ok(Picture { name: name.to_owned(), svg: svg? })).collect()
}

type Drawn = Option<Result<String, String>>;

fn capacity(folder: &Folder) -> Drawn {
    let bar = |(name, words): (&str, &str)| {
        let found = folder.json(&format!("capacity-{name}.json"))?;
        let n = found["conversations_per_busy_core"].as_f64()?;
        Some((format!("{words}: {}", count(Some(n))), vec![n]))
    };
    let bars: Vec<_> = REPLIES.into_iter().filter_map(bar).collect();
    let chart = Bars {
        title: "Conversations of one busy core".into(),
        x: "conversations".into(),
        pieces: vec!["conversations".into()],
        bars,
    };
    (!chart.bars.is_empty()).then(|| chart.svg())
}

/// What each probe of the searches used.
fn load(folder: &Folder) -> Drawn {
    let line = |(colour, (name, words)): (usize, (&str, &str))| {
        let found = folder.json(&format!("capacity-{name}.json"))?;
        let probe = |probe: &serde_json::Value| {
            Some((probe["conversations"].as_f64()?, probe["server_cores"].as_f64()? * 100.0))
        };
        let mut points: Vec<(f64, f64)> = found["probes"].as_array()?.iter().filter_map(probe).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Some(Line { name: words.to_owned(), points, colour, is_second: false })
    };
    let lines: Vec<Line> = REPLIES.into_iter().enumerate().filter_map(line).collect();
    chart("CPU of the server by load", "conversations", "% of a core", Scale::Even, lines)
}

/// Who uses the server's core.
fn kinds(folder: &Folder) -> Drawn {
    let runs: Vec<(String, Outcome)> = REPLIES
        .into_iter()
        .filter_map(|(name, words)| Some((words.to_owned(), folder.outcome(&format!("capacity-{name}.run.json"))?)))
        .collect();
    let mut pieces: Vec<String> = Vec::new();
    for kind in runs.iter().flat_map(|(_, run)| run.server.iter().flat_map(|server| &server.kinds)) {
        if *kind.1 >= 0.005 && !pieces.contains(kind.0) {
            pieces.push(kind.0.clone());
        }
    }
    let bar = |(words, run): (String, Outcome)| {
        let (server, per_s) = (run.server?, run.counts.get("turns_per_s").copied().filter(|n| *n > 0.0)?);
        let us = |kind: &String| server.kinds.get(kind).copied().unwrap_or(0.0) * 1e6 / per_s;
        Some((words, pieces.iter().map(us).collect()))
    };
    let bars: Vec<_> = runs.into_iter().filter_map(bar).collect();
    let chart = Bars { title: "CPU of a turn by kind of thread".into(), x: "µs".into(), pieces: pieces.clone(), bars };
    (!chart.bars.is_empty() && !pieces.is_empty()).then(|| chart.svg())
}

fn curves(folder: &Folder, time: &str, title: &str) -> Drawn {
    let mut lines = Vec::new();
    for (i, (name, words)) in REPLIES.into_iter().enumerate() {
        for (j, level) in LEVELS.into_iter().enumerate() {
            let Some(run) = folder.outcome(&format!("added-{name}-{level}.json")) else { continue };
            let Some(distribution) = run.times.get(time).filter(|d| d.count() > 0) else { continue };
            let short = words.split(',').next().unwrap_or(words);
            lines.push(Line {
                name: format!("{short}, {level} % CPU"),
                points: distribution.curve(),
                colour: 2 * i + j,
                is_second: false,
            });
        }
    }
    chart(title, "percentile", "ms", Scale::Percentile, lines)
}

/// Devices connected and packets late, second by second.
fn storm(folder: &Folder) -> Drawn {
    let (herd, live) = (folder.outcome("storm.herd.json")?, folder.outcome("storm.json")?);
    let line = |name: &str, run: &Outcome, colour| Line {
        name: name.to_owned(),
        points: run.seconds.iter().map(|s| (f64::from(s.at), f64::from(s.devices))).collect(),
        colour,
        is_second: false,
    };
    let lines = vec![line("devices of the storm", &herd, 0), line("in conversation", &live, 1)];
    chart("Connected during the storm", "s", "devices", Scale::Even, lines)
}

/// What so many shards are worth, beside what they would be if every one had its even share.
fn scaling(folder: &Folder) -> Drawn {
    let counted = folder.step("scaling").and_then(|_| folder.json("scaling.json"))?;
    let row = |row: &serde_json::Value| Some((row["shards"].as_f64()?, row["cores_worth"].as_f64()?));
    let points: Vec<(f64, f64)> = counted["rows"].as_array()?.iter().filter_map(row).collect();
    let even = points.iter().map(|(shards, _)| (*shards, *shards)).collect();
    let lines = vec![
        Line { name: "as talkers come to be spread".into(), points, colour: 0, is_second: false },
        Line { name: "if all shards were equally full".into(), points: even, colour: 5, is_second: true },
    ];
    chart("What shards are worth, counted", "shards", "cores' worth", Scale::Even, lines)
}

/// Seconds of the soak and resident memory, MiB.
pub fn memory(folder: &Folder) -> Vec<(f64, f64)> {
    let text = folder.file("soak.memory.tsv").and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let row = |line: &str| {
        let (seconds, kib) = line.split_once('\t')?;
        Some((seconds.trim().parse().ok()?, kib.trim().parse::<f64>().ok()? / 1_024.0))
    };
    text.lines().filter_map(row).collect()
}

fn memory_over_time(folder: &Folder) -> Drawn {
    let points: Vec<(f64, f64)> = memory(folder).into_iter().map(|(s, mib)| (s / 60.0, mib)).collect();
    let line = Line { name: "resident".into(), points, colour: 0, is_second: false };
    let lines = Some(line).filter(|line| line.points.len() > 1).into_iter().collect();
    chart("Memory of the server during the soak", "minutes", "MiB", Scale::Even, lines)
}

fn chart(title: &str, x: &str, y: &str, x_scale: Scale, lines: Vec<Line>) -> Drawn {
    let chart = Lines { title: title.into(), x: x.into(), y: y.into(), x_scale, y_scale: Scale::Even, lines };
    chart.lines.iter().any(|line| !line.points.is_empty()).then(|| chart.svg())
}
