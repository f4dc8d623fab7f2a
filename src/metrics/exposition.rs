//! Merged panels as Prometheus text (format 0.0.4): each name once with its help and type, then its lines.

use super::catalog::{Counter, Gauge, Series, Writer};
use super::histogram::{BOUNDS_US, Snapshot};
use super::load::Spent;
use super::process::Usage;
use super::registry::{Home, Registry, Sum};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The content type of [`prometheus`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything the registry knows, as text.
pub fn prometheus(registry: &Registry, usage: &Usage) -> String {
    let mut page = Page::default();
    for sum in &registry.sums() {
        page.sum(sum);
    }
    registry.spent().iter().filter(|spent| spent.home != Home::Process).for_each(|spent| page.spent(spent));
    registry.probes(|probe| {
        let kind = if probe.name.ends_with("_total") { "counter" } else { "gauge" };
        page.line(probe.name, kind, probe.help, &probe.labels, "", (probe.value)());
    });
    page.process(registry, usage);
    page.text()
}

/// Metric families by name.
#[derive(Default)]
struct Page {
    families: BTreeMap<&'static str, Family>,
}

/// One name: its kind, its help, its lines.
struct Family {
    kind: &'static str,
    help: &'static str,
    lines: String,
}

impl Page {
    /// All metrics of one home.
    fn sum(&mut self, sum: &Sum) {
        let home = home_label(sum.home);
        for m in Counter::ALL {
            let value = sum.counter(*m);
            if value == 0 && !is_home(m.writer(), sum.home) {
                continue;
            }
            match m.is_time() {
                true => self.line(m.name(), "counter", m.help(), m.labels(), &home, value as f64 / 1e6),
                false => self.line(m.name(), "counter", m.help(), m.labels(), &home, value),
            }
        }
        for m in Gauge::ALL {
            let value = sum.gauge(*m);
            if value != 0 || is_home(m.writer(), sum.home) {
                self.line(m.name(), "gauge", m.help(), m.labels(), &home, value);
            }
        }
        for m in Series::ALL {
            let snapshot = sum.series(*m);
            // Twenty-four lines each: a series that nobody has used yet is left out.
            if snapshot.count() > 0 {
                self.histogram(*m, &home, snapshot);
            }
        }
    }

    fn histogram(&mut self, m: Series, home: &str, snapshot: &Snapshot) {
        let lines = self.family(m.name(), "histogram", m.help());
        for (bound, below) in BOUNDS_US.into_iter().zip(snapshot.cumulative()) {
            let le = format!("le=\"{}\"", bound as f64 / 1e6);
            write_line(lines, m.name(), "_bucket", &[m.labels(), home, &le], below);
        }
        write_line(lines, m.name(), "_bucket", &[m.labels(), home, "le=\"+Inf\""], snapshot.count());
        write_line(lines, m.name(), "_sum", &[m.labels(), home], snapshot.sum().as_secs_f64());
        write_line(lines, m.name(), "_count", &[m.labels(), home], snapshot.count());
    }

    /// What the system says of a home's threads.
    fn spent(&mut self, spent: &Spent) {
        let home = home_label(spent.home);
        let help = "Processor time of shards and workers.";
        self.line("voxlane_thread_cpu_seconds_total", "counter", help, "", &home, spent.cpu.as_secs_f64());
        let help = "Time that shards and workers were ready to run while others had the core.";
        self.line("voxlane_run_delay_seconds_total", "counter", help, "", &home, spent.run_delay.as_secs_f64());
    }

    fn process(&mut self, registry: &Registry, usage: &Usage) {
        let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
        self.line("voxlane_build_info", "gauge", "Always 1; the label tells the version.", version, "", 1);
        let start = registry.started.0 as f64 / 1e3;
        self.line("process_start_time_seconds", "gauge", "When the process began, Unix time.", "", "", start);
        if let Some(cpu) = usage.cpu {
            let help = "User and system CPU time spent.";
            self.line("process_cpu_seconds_total", "counter", help, "", "", cpu.as_secs_f64());
        }
        if let Some(bytes) = usage.resident_bytes {
            self.line("process_resident_memory_bytes", "gauge", "Resident memory.", "", "", bytes);
        }
        if let Some(threads) = usage.threads {
            self.line("process_threads", "gauge", "Threads of the process.", "", "", threads);
        }
    }

    fn line(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        labels: &str,
        home: &str,
        value: impl std::fmt::Display,
    ) {
        write_line(self.family(name, kind, help), name, "", &[labels, home], value);
    }

    fn family(&mut self, name: &'static str, kind: &'static str, help: &'static str) -> &mut String {
        &mut self.families.entry(name).or_insert(Family { kind, help, lines: String::new() }).lines
    }

    fn text(self) -> String {
        let mut out = String::new();
        for (name, family) in self.families {
            let _ = write!(out, "# HELP {name} {}\n# TYPE {name} {}\n{}", family.help, family.kind, family.lines);
        }
        out
    }
}

fn write_line(out: &mut String, name: &str, suffix: &str, labels: &[&str], value: impl std::fmt::Display) {
    out.push_str(name);
    out.push_str(suffix);
    let mut labels = labels.iter().filter(|label| !label.is_empty());
    if let Some(first) = labels.next() {
        let _ = write!(out, "{{{first}");
        labels.for_each(|label| {
            let _ = write!(out, ",{label}");
        });
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

/// The label that tells a home.
pub(super) fn home_label(home: Home) -> String {
    match home {
        Home::Shard(id) => format!("shard=\"{}\"", id.0),
        Home::Worker(pool) => format!("pool=\"{pool}\""),
        Home::Process => String::new(),
    }
}

fn is_home(writer: Writer, home: Home) -> bool {
    matches!(
        (writer, home),
        (Writer::Shard, Home::Shard(_)) | (Writer::Worker, Home::Worker(_)) | (Writer::Process, Home::Process)
    )
}

#[cfg(test)]
#[path = "exposition/tests.rs"]
mod tests;
