//! Runs as a file to look at and to send around: one HTML page of one run, or of two side by side, and single charts for a
//! Markdown page.

pub mod page;

use crate::chart::{Bars, Line, Lines, Scale};
use crate::outcome::{Failures, Outcome, Second, ServerSeen, ShardSeen, Stage};
use crate::slo::{Kind, METRICS, Metric, Slo, Statistic};
use page::{Page, Table};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A chart and the name of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Without ending: `first-audio`.
    pub name: String,
    /// SVG text.
    pub svg: String,
}

/// Times whose curves are charts of their own.
const CURVES: [(&str, &str); 6] = [
    ("first_audio", "Time to first audio"),
    ("stt", "Time to the transcript"),
    ("lateness", "Lateness of reply packets"),
    ("hello", "Accept to hello"),
    ("gap", "Gaps between reply packets"),
    ("barge_in", "Silence after abort"),
];

/// One page of one run, or of two side by side. `slo`: what they promised.
pub fn html(runs: &[Outcome], slo: Option<&Slo>) -> Result<String, String> {
    let names: Vec<String> = names(runs);
    let page = Page {
        title: format!("voxlane-load: {}", names.join(" and ")),
        subtitle: runs.iter().map(subtitle).collect::<Vec<_>>().join(" | "),
        warnings: runs.iter().zip(&names).flat_map(|(run, name)| warnings(run, name, slo)).collect(),
        tables: vec![latencies(runs, &names), quality(runs, &names), server(runs, &names)],
        charts: pictures(runs)?.into_iter().map(|p| p.svg).collect(),
        appendix: runs.iter().zip(&names).flat_map(|(run, name)| failures(run, name)).collect(),
    };
    Ok(page.html())
}

/// Every chart that the runs have something for.
pub fn pictures(runs: &[Outcome]) -> Result<Vec<Picture>, String> {
    let names = names(runs);
    let mut pictures = Vec::new();
    let mut add = |name: &str, chart: Option<Result<String, String>>| match chart {
        None => Ok(()),
        Some(svg) => svg.map(|svg| pictures.push(Picture { name: name.to_owned(), svg })),
    };
    for (name, title) in CURVES {
        add(&name.replace('_', "-"), curve(runs, &names, name, title))?;
    }
    add("stages", stages(runs, &names))?;
    let first_audio = |title, pick: fn(&Second) -> Option<f64>| (title, pick);
    add(
        "first-audio-over-time",
        series(
            runs,
            &names,
            "Time to first audio, second by second",
            "ms",
            &[first_audio("p50", |s| s.first_audio_p50), first_audio("p95", |s| s.first_audio_p95)],
        ),
    )?;
    add(
        "devices",
        series(runs, &names, "Devices connected", "devices", &[("devices", |s| Some(f64::from(s.devices)))]),
    )?;
    add(
        "turns",
        series(
            runs,
            &names,
            "Turns and failures in each second",
            "per second",
            &[("turns", |s| Some(f64::from(s.turns))), ("failures", |s| Some(f64::from(s.failures)))],
        ),
    )?;
    add(
        "late",
        series(
            runs,
            &names,
            "Reply packets more than 5 ms late",
            "%",
            &[("late", |s| (s.packets > 0).then(|| f64::from(s.late) * 100.0 / f64::from(s.packets)))],
        ),
    )?;
    add(
        "cpu",
        series(runs, &names, "CPU", "cores", &[("server", |s| s.server_cores), ("load tool", |s| Some(s.own_cpu))]),
    )?;
    add("shards", shards(runs, &names))?;
    Ok(pictures)
}

/// Writes every chart into a folder, which is made if need be. Returns the files.
pub fn write_pictures(runs: &[Outcome], folder: &Path) -> Result<Vec<PathBuf>, String> {
    let named = |e: std::io::Error| format!("{}: {e}", folder.display());
    std::fs::create_dir_all(folder).map_err(named)?;
    let mut files = Vec::new();
    for picture in pictures(runs)? {
        let file = folder.join(format!("{}.svg", picture.name));
        std::fs::write(&file, picture.svg).map_err(named)?;
        files.push(file);
    }
    Ok(files)
}

/// What the runs are called: by their labels; two of the same are A and B.
fn names(runs: &[Outcome]) -> Vec<String> {
    let labels: BTreeSet<&str> = runs.iter().map(|r| r.label.as_str()).collect();
    let is_clear = labels.len() == runs.len() && !labels.contains("");
    let letter = |i: usize| char::from(b'A' + i as u8).to_string();
    let name = |(i, run): (usize, &Outcome)| match (is_clear, run.label.is_empty()) {
        (true, _) => run.label.clone(),
        (false, true) => letter(i),
        (false, false) if runs.len() > 1 => format!("{} {}", letter(i), run.label),
        (false, false) => run.label.clone(),
    };
    runs.iter().enumerate().map(name).collect()
}

fn subtitle(run: &Outcome) -> String {
    let at = i64::try_from(run.started_unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let at = at.map_or(String::new(), |at| format!("{}, ", at.strftime("%Y-%m-%d %H:%M:%S UTC")));
    format!("{at}{} to {}, took {:.1} s", run.scenario, run.target, run.took_ms as f64 / 1e3)
}

fn warnings(run: &Outcome, name: &str, slo: Option<&Slo>) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(run.unmeasured.as_ref().map(|why| format!("{name}: latencies were not measured: {why}")));
    if run.interrupted {
        all.push(format!("{name}: ended before its time"));
    }
    let verdict = slo.map(|slo| run.judge(slo));
    all.extend(verdict.iter().flat_map(|v| v.broken()).map(|finding| format!("{name}: {finding}")));
    all
}

fn head(first: &str, names: &[String]) -> Vec<String> {
    let mut head = vec![first.to_owned()];
    head.extend_from_slice(names);
    if names.len() == 2 {
        head.push("B / A".to_owned());
    }
    head
}

/// A row of figures, and their ratio where there are two.
fn row(name: String, values: &[Option<f64>], show: impl Fn(f64) -> String) -> Option<Vec<String>> {
    if values.iter().all(Option::is_none) {
        return None;
    }
    let mut row = vec![name];
    row.extend(values.iter().map(|v| v.map_or("–".to_owned(), &show)));
    if let [Some(a), Some(b)] = values
        && *a > 0.0
    {
        row.push(format!("{:.2}", b / a));
    }
    Some(row)
}

fn latencies(runs: &[Outcome], names: &[String]) -> Table {
    let mut rows = Vec::new();
    for metric in METRICS.iter().filter(|m| m.kind == Kind::Time) {
        for (label, statistic) in [
            ("p50", Statistic::Percentile(50.0)),
            ("p95", Statistic::Percentile(95.0)),
            ("p99", Statistic::Percentile(99.0)),
            ("p99.9", Statistic::Percentile(99.9)),
            ("max", Statistic::Max),
        ] {
            let values: Vec<_> = runs.iter().map(|run| run.figure(metric, statistic)).collect();
            rows.extend(row(format!("{} {label}", metric.name), &values, milliseconds));
        }
    }
    Table { caption: "Durations, ms".into(), head: head("", names), rows }
}

fn quality(runs: &[Outcome], names: &[String]) -> Table {
    let show = |metric: &Metric| {
        let kind = metric.kind;
        move |v: f64| if kind == Kind::Share { format!("{:.3} %", v * 100.0) } else { number(v) }
    };
    let rows = METRICS.iter().filter(|m| m.kind != Kind::Time).filter_map(|metric| {
        let values: Vec<_> = runs.iter().map(|run| run.figure(metric, Statistic::Value)).collect();
        row(metric.name.to_owned(), &values, show(metric))
    });
    Table { caption: "Counts and shares".into(), head: head("", names), rows: rows.collect() }
}

fn server(runs: &[Outcome], names: &[String]) -> Table {
    let seen = |pick: &dyn Fn(&ServerSeen) -> Option<f64>| -> Vec<Option<f64>> {
        runs.iter().map(|run| run.server.as_ref().and_then(pick)).collect()
    };
    let mut rows = Vec::new();
    rows.extend(row("server, cores used".into(), &seen(&|s| Some(s.cores)), |v| format!("{v:.3}")));
    let kinds: BTreeSet<&String> = runs.iter().filter_map(|r| r.server.as_ref()).flat_map(|s| s.kinds.keys()).collect();
    for kind in kinds {
        let cores = seen(&|s| s.kinds.get(kind).copied().filter(|v| *v >= 0.000_5));
        rows.extend(row(format!("threads {kind}, cores"), &cores, |v| format!("{v:.3}")));
    }
    rows.extend(row("server memory, MiB".into(), &seen(&|s| Some(s.rss as f64 / 1_048_576.0)), number));
    let pools: BTreeSet<&String> =
        runs.iter().filter_map(|r| r.server.as_ref()).flat_map(|s| s.job_wait.keys()).collect();
    for pool in pools {
        rows.extend(row(format!("{pool} job wait p95, ms"), &seen(&|s| s.job_wait.get(pool).copied()), milliseconds));
    }
    let shards = runs.iter().filter_map(|r| r.server.as_ref()).map(|s| s.shards.len()).max().unwrap_or(0);
    for i in 0..shards {
        let of = |pick: fn(&ShardSeen) -> f64| seen(&|s| s.shards.get(i).map(pick));
        rows.extend(row(format!("shard {i} busy"), &of(|s| s.busy * 100.0), |v| format!("{v:.1} %")));
        rows.extend(row(format!("shard {i} woke late p99, ms"), &of(|s| s.lateness_p99), milliseconds));
        rows.extend(row(format!("shard {i} sent late p99, ms"), &of(|s| s.frame_lateness_p99), milliseconds));
    }
    let own = |pick: fn(&Outcome) -> f64| runs.iter().map(|run| Some(pick(run))).collect::<Vec<_>>();
    rows.extend(row("load tool, busiest thread".into(), &own(|r| r.own.cpu * 100.0), |v| format!("{v:.1} %")));
    Table { caption: "Server and load tool".into(), head: head("", names), rows }
}

fn failures(run: &Outcome, name: &str) -> Option<Table> {
    let line = |(class, f): (&String, &Failures)| vec![class.clone(), f.count.to_string(), f.examples.join("; ")];
    let rows: Vec<_> = run.failures.iter().map(line).collect();
    let head = ["class", "count", "first examples"].map(str::to_owned).to_vec();
    (!rows.is_empty()).then(|| Table { caption: format!("Failures of {name}"), head, rows })
}

fn curve(runs: &[Outcome], names: &[String], metric: &str, title: &str) -> Option<Result<String, String>> {
    let line = |(i, run): (usize, &Outcome)| {
        let points = run.times.get(metric)?.curve();
        (points.len() > 1).then(|| Line { name: names[i].clone(), points, colour: i, is_second: i > 0 })
    };
    let lines: Vec<Line> = runs.iter().enumerate().filter_map(line).collect();
    if lines.is_empty() {
        return None;
    }
    let chart = Lines {
        title: title.to_owned(),
        x: "percentile".into(),
        y: "ms".into(),
        x_scale: Scale::Percentile,
        y_scale: Scale::Even,
        lines,
    };
    Some(chart.svg())
}

type Pick = fn(&Second) -> Option<f64>;

fn series(
    runs: &[Outcome],
    names: &[String],
    title: &str,
    y: &str,
    picks: &[(&str, Pick)],
) -> Option<Result<String, String>> {
    let mut lines = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        for (colour, (what, pick)) in picks.iter().enumerate() {
            let points: Vec<_> = run.seconds.iter().filter_map(|s| Some((f64::from(s.at), pick(s)?))).collect();
            let name = if runs.len() > 1 { format!("{what}, {}", names[i]) } else { (*what).to_owned() };
            if !points.is_empty() {
                lines.push(Line { name, points, colour, is_second: i > 0 });
            }
        }
    }
    over_time(title, y, lines)
}

fn shards(runs: &[Outcome], names: &[String]) -> Option<Result<String, String>> {
    let mut lines = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        for shard in 0..run.seconds.iter().map(|s| s.shards.len()).max().unwrap_or(0) {
            let point = |s: &Second| Some((f64::from(s.at), s.shards.get(shard)? * 100.0));
            let points: Vec<_> = run.seconds.iter().filter_map(point).collect();
            let name = if runs.len() > 1 { format!("shard {shard}, {}", names[i]) } else { format!("shard {shard}") };
            lines.push(Line { name, points, colour: shard, is_second: i > 0 });
        }
    }
    over_time("Busy share of each shard", "%", lines)
}

fn over_time(title: &str, y: &str, lines: Vec<Line>) -> Option<Result<String, String>> {
    if lines.is_empty() {
        return None;
    }
    let chart = Lines {
        title: title.to_owned(),
        x: "second of the run".into(),
        y: y.to_owned(),
        x_scale: Scale::Even,
        y_scale: Scale::Even,
        lines,
    };
    Some(chart.svg())
}

fn stages(runs: &[Outcome], names: &[String]) -> Option<Result<String, String>> {
    let seen: Vec<(&String, &[Stage])> =
        names.iter().zip(runs).filter_map(|(n, r)| Some((n, r.server.as_ref()?.stages.as_slice()))).collect();
    let pieces: Vec<String> = seen.first()?.1.iter().map(|s| s.name.clone()).collect();
    if pieces.is_empty() {
        return None;
    }
    let bar = |(name, stages): &(&String, &[Stage])| {
        let of = |pick: fn(&Stage) -> f64| -> Vec<f64> {
            pieces.iter().map(|p| stages.iter().find(|s| s.name == *p).map_or(0.0, pick)).collect()
        };
        let label = |p: &str| if runs.len() > 1 { format!("{name} {p}") } else { p.to_owned() };
        [(label("p50"), of(|s| s.p50)), (label("p95"), of(|s| s.p95))]
    };
    let bars = seen.iter().flat_map(bar).collect();
    Some(Bars { title: "Where the time to first audio went".into(), x: "ms".into(), pieces, bars }.svg())
}

fn milliseconds(v: f64) -> String {
    match v {
        _ if v >= 100.0 => format!("{v:.0}"),
        _ if v >= 10.0 => format!("{v:.1}"),
        _ => format!("{v:.2}"),
    }
}

fn number(v: f64) -> String {
    if v.fract() == 0.0 { format!("{v:.0}") } else { format!("{v:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::sample;

    #[test]
    fn one_run_is_a_page_with_charts_tables_and_failures() {
        let html = html(&[sample(1.0)], Some(&Slo::parse("errors=0,late<1%").unwrap())).unwrap();
        for wanted in [
            "Time to first audio",
            "Where the time to first audio went",
            "first_audio p99.9",
            "0.040 %",
            "BROKEN errors=0: 1",
            "&lt;connection refused&gt;",
            "shard 1",
        ] {
            assert!(html.contains(wanted), "{wanted}");
        }
        assert!(html.len() <= page::BYTES_MAX && html.matches("<svg").count() >= 8, "{}", html.len());
        assert!(!html.contains("late&lt;1%"), "what was kept is no warning");
    }

    #[test]
    fn two_runs_stand_side_by_side() {
        let html = html(&[sample(1.0), sample(0.5)], None).unwrap();
        assert!(html.contains("B / A") && html.contains("<td>0.50</td>"));
        assert!(html.contains("sample 1 and sample 0.5"));
        assert!(html.len() <= page::BYTES_MAX, "{}", html.len());
    }

    #[test]
    fn a_long_run_with_many_shards_stays_within_its_size() {
        let mut run = sample(1.0);
        let second = |at| Second { at, shards: vec![0.5; 32], ..run.seconds[(at % 60) as usize].clone() };
        run.seconds = (0..86_400).map(second).collect();
        let html = html(&[run.clone(), run], None).unwrap();
        assert!(html.len() <= page::BYTES_MAX, "{}", html.len());
    }

    #[test]
    fn a_run_that_measured_nothing_says_why() {
        let run = Outcome { unmeasured: Some("the load tool used 93 % of its core".into()), ..Outcome::default() };
        let html = html(&[run], None).unwrap();
        assert!(html.contains("latencies were not measured: the load tool used 93 % of its core"));
    }

    #[test]
    fn charts_can_be_had_alone() {
        let folder = std::env::temp_dir().join(format!("voxlane-load-charts-{}", std::process::id()));
        let files = write_pictures(&[sample(1.0)], &folder).unwrap();
        let names: Vec<_> = files.iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect();
        let text = std::fs::read_to_string(&files[0]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(names.contains(&"first-audio.svg".to_owned()) && names.contains(&"stages.svg".to_owned()), "{names:?}");
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn runs_of_the_same_name_are_told_apart() {
        let run = |label: &str| Outcome { label: label.into(), ..Outcome::default() };
        assert_eq!(names(&[run("x"), run("x")]), ["A x", "B x"]);
        assert_eq!(names(&[run(""), run("y")]), ["A", "B y"]);
        assert_eq!(names(&[run("x"), run("y")]), ["x", "y"]);
    }
}
